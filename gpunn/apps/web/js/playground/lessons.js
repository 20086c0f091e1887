// Lessons for teachers: each is a state of the page that shows a symptom, with its diagnosis and a cure.
// Settings are in the form of the page's address. Symptoms have the words of words.js and of fit's errors.
import { Random } from "./points/random.js";

/** @typedef {import("./settings.js").OwnPoints} OwnPoints */

/**
 * @typedef {Object} Lesson
 * @property {string} title
 * @property {string} symptom
 * @property {string} diagnosis
 * @property {string} cure
 * @property {string} button that applies the cure
 * @property {number} epochs trained before the page is shown, and again after the cure
 * @property {string} settings
 * @property {string} cured the settings that the cure changes
 * @property {(cured: boolean) => OwnPoints} [own] the points, if no formula of shapes.js gives them
 */

/** @type {{[name: string]: Lesson}} */
export const LESSONS = {
  "learning-rate": {
    title: "Learning rate too high",
    symptom: "Training diverges: the loss jumps, and is higher than at the start. Many units are saturated.",
    diagnosis: "The learning rate is too high. Each step goes far past the minimum, and the next one starts from a worse place.",
    cure: "Try a tenth of the learning rate, and again a tenth, until the loss falls steadily: here from 10 to 0.1.",
    button: "Set the learning rate to 0.1",
    epochs: 20,
    settings: "data=moons&net=8:tanh,8:tanh&optimizer=SGD:learning_rate=10",
    cured: "optimizer=SGD:learning_rate=0.1",
  },
  "dead-relu": {
    title: "Dead ReLU units",
    symptom: "All units of layer 1 are dead: their output is 0 at every point. The loss stays where it started.",
    diagnosis: "The inputs are positive and the initial weights negative, so each unit's z is negative. There relu "
      + "has slope 0: no gradient passes, and no weight changes.",
    cure: "Use an activation with a slope on both sides, such as leaky_relu. Initial weights with mean 0 (he_normal) "
      + "and a lower learning rate also help.",
    button: "Use leaky_relu",
    epochs: 1000,
    settings: "data=ten_points&held=0&batch=5&net=6:relu:initializer=random_normal:mean=-1:stddev=0.3",
    cured: "net=6:leaky_relu:initializer=random_normal:mean=-1:stddev=0.3",
  },
  "unscaled-inputs": {
    title: "Inputs that are not scaled",
    symptom: "Layer 1 is saturated, and the output depends only on the income. The loss hardly falls.",
    diagnosis: "The inputs are not scaled: one goes from 0 to 1, the other to 1,000. The larger one drives every unit "
      + "to a flat end of tanh, where it hardly learns.",
    cure: "Scale each input to mean 0 and deviation 1, in Python with a Normalization layer. The axes still show the "
      + "original numbers.",
    button: "Scale the inputs",
    epochs: 40,
    settings: "data=own&net=8:tanh&optimizer=Adam:learning_rate=0.01",
    cured: "",
    own: (scaled) => {
      const random = new Random(3);
      const rows = Array.from({ length: 240 }, () => [random.uniform(), random.uniform(0, 1000)]);
      const points = rows.map(([x, y]) => [x, y, Number(Math.hypot(x - 0.5, y / 1000 - 0.5) < 0.38)]);
      const names = ["share", "income", "class"];
      const own = { task: /** @type {const} */ ("classes"), inputs: /** @type {const} */ (2), classes: ["no", "yes"], names };
      if (!scaled) return { ...own, points };
      const scales = [0, 1].map((axis) => {
        const mean = points.reduce((sum, p) => sum + p[axis], 0) / points.length;
        return { mean, deviation: Math.sqrt(points.reduce((sum, p) => sum + (p[axis] - mean) ** 2, 0) / points.length) };
      });
      const moved = points.map(([x, y, k]) => [
        ...[x, y].map((v, axis) => (v - scales[axis].mean) / scales[axis].deviation), k]);
      return { ...own, points: moved, scales };
    },
  },
  outlier: {
    title: "An outlier",
    symptom: "The line misses the points: one of them, at the lower right, pulls it down.",
    diagnosis: "The squared error of an outlier outweighs all others: an error ten times as large counts a hundred times.",
    cure: "Check the point: correct or remove it if it is a mistake. Or use a loss that grows linearly, such as huber.",
    button: "Use the loss huber",
    epochs: 150,
    settings: "data=own&held=0&net=&optimizer=Adam:learning_rate=0.02",
    cured: "loss=huber",
    own: () => {
      const random = new Random(5);
      const points = Array.from({ length: 24 }, (_, i) => {
        const x = -1 + i / 12;
        return [x, 0.8 * x + 0.2 + 0.06 * random.normal()];
      });
      return { task: "numbers", inputs: 1, classes: [], points: [...points, [0.97, -5]] };
    },
  },
  leak: {
    title: "Test points leak into training",
    symptom: "Nearly all test points are classified correctly, although their classes were drawn by coin flips.",
    diagnosis: "Test points leak: each point is in the data three times, so nearly all test points have a copy among "
      + "the training points. The network has memorized them.",
    cure: "Remove the copies before the data are split. The test accuracy is then honest: half, like guessing.",
    button: "Remove the copies",
    epochs: 400,
    settings: "data=own&held=0.3&net=16:tanh,16:tanh&batch=20&optimizer=Adam:learning_rate=0.02",
    cured: "",
    own: (once) => {
      const random = new Random(9);
      const points = Array.from({ length: 60 }, () =>
        [random.uniform(-1, 1), random.uniform(-1, 1), Number(random.uniform() < 0.5)]);
      return { task: "classes", inputs: 2, classes: ["heads", "tails"], points: once ? points : [...points, ...points, ...points] };
    },
  },
  "too-little-data": {
    title: "Too little data",
    symptom: "The training loss falls towards 0, while the test loss rises: the network overfits.",
    diagnosis: "There are too few points for so many weights. The network learns each training point by heart, "
      + "with its noise, instead of what they share.",
    cure: "Collect more data: here 1,000 points in place of 24. Fewer units, dropout or an L2 penalty also help.",
    button: "Use 1,000 points",
    epochs: 150,
    settings: "data=moons&rows=24&noise=0.3&held=0.5&net=16:tanh,16:tanh",
    cured: "rows=1000",
  },
};
