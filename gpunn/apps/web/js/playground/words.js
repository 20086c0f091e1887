// Descriptions of training problems, in the words of gpunn.callbacks.GradientMonitor and of fit's errors,
// from one pass over the training points. Lessons (lessons.js) use these words too.
import { written } from "./dom.js";

const JUMPED = { loss: 2, growth: 3 }; // times the loss at the start, in a network that has moved
const GREW = { loss: 0.5, growth: 100 }; // times the weights at the start, without having learned much
const LEARNED = 0.5; // times the loss at the start: below it, saturated layers have done no harm
const OVERFITTED = 1.5; // times the lowest test loss, and the training loss
const UNUSUAL = 10; // mean or deviation of an input: one that is scaled has 0 and 1

/** @typedef {import("./settings.js").Catalogue["bounds"]} Bounds */

/**
 * @typedef {Object} UnitState
 * @property {number} mean of its outputs
 * @property {boolean} dead whether its slope is 0 for every point
 * @property {number} saturated fraction of its outputs at a flat end
 */

/**
 * @param {Float32Array} outputs (rows, units) of one layer
 * @param {Float32Array} slopes of its activation at these outputs, (rows, units)
 * @param {number} units
 * @param {number | null} steepest the largest slope of an activation with two flat ends
 * @param {Bounds} bounds
 * @returns {UnitState[]}
 */
export function unitStates(outputs, slopes, units, steepest, bounds) {
  const rows = outputs.length / units;
  return Array.from({ length: units }, (_, unit) => {
    let sum = 0;
    let flat = 0;
    let zero = 0;
    for (let row = 0; row < rows; row++) {
      const at = row * units + unit;
      sum += outputs[at];
      if (slopes[at] === 0) zero++;
      if (steepest !== null && Math.abs(slopes[at]) < bounds.flat * steepest) flat++;
    }
    return { mean: sum / rows, dead: steepest === null && zero === rows, saturated: flat / rows };
  });
}

/**
 * Describe training that diverges. Everything else that is then found, such as saturated layers and
 * vanishing gradients, only follows from it.
 * @param {{loss: number, start: number, growth: number}} progress the loss now and at the start, and how many
 *   times as large as there the weights of a layer are
 * @returns {string} a sentence, empty if it does not diverge
 */
export function diverging({ loss, start, growth }) {
  const cure = "The learning rate is too high, or the inputs are not scaled. Try a tenth of the learning rate, then Reset.";
  if (!Number.isFinite(loss)) return `Training diverges: the loss is no longer finite. ${cure}`;
  const times = loss / start;
  if (times > JUMPED.loss && growth > JUMPED.growth) {
    return `Training diverges: the loss is ${written(loss)}, and was ${written(start)} at the start. ${cure}`;
  }
  if (times > GREW.loss && growth > GREW.growth) {
    return `Training diverges: weights are ${written(growth, 2)} times as large as at the start. ${cure}`;
  }
  return "";
}

/**
 * @param {import("./training.js").Moment[]} moments from the first to now
 * @returns {string[]} a sentence for a test loss that has risen while the training loss fell
 */
export function overfitting(moments) {
  const now = moments[moments.length - 1];
  const best = moments.reduce((least, m) => (m.test < least.test ? m : least), now);
  const overfits = now.test > OVERFITTED * Math.max(best.test, now.train) && now.train < best.train;
  return overfits ? [`The network overfits: since epoch ${Math.round(best.epoch).toLocaleString("en")} the test loss has risen from `
    + `${written(best.test)} to ${written(now.test)}, while the training loss fell from ${written(best.train)} to ${written(now.train)}.`]
    : [];
}

/**
 * @param {string[]} names of the inputs
 * @param {Float32Array} x (rows, inputs)
 * @returns {string[]} a sentence for inputs that are not scaled
 */
export function unscaled(names, x) {
  const odd = names.flatMap((name, i) => {
    const values = x.filter((_, at) => at % names.length === i);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
    return Math.max(Math.abs(mean), deviation) < UNUSUAL ? []
      : [`${name} has mean ${written(mean, 2)} and standard deviation ${written(deviation, 2)}`];
  });
  return odd.length ? [`The inputs are not scaled: ${odd.join(", ")}. Scale them to mean 0 and deviation 1.`] : [];
}

/**
 * @param {UnitState[][]} layers the hidden layers; empty where the activation is not examined
 * @param {number[]} gradients root mean square of each layer's weight gradient
 * @param {Bounds} bounds
 * @param {{loss: number, start: number}} progress the loss now and at the start
 * @returns {{bad: string[], notes: string[]}} sentences; notes: what is usual in a network that has learned
 */
export function findings(layers, gradients, bounds, { loss, start }) {
  /** @type {string[]} */
  const bad = [];
  /** @type {string[]} */
  const notes = [];
  const learned = loss < LEARNED * start;
  layers.forEach((units, i) => {
    const dead = units.map((u, j) => (u.dead ? j + 1 : 0)).filter(Boolean);
    if (dead.length) {
      bad.push(`Layer ${i + 1}: ${units_(dead)} dead: ${dead.length > 1 ? "their slopes are" : "its slope is"} `
        + "0 at every point, so no weight changes there.");
    }
    const share = units.reduce((sum, u) => sum + u.saturated, 0) / units.length;
    if (share >= bounds.many) {
      (learned ? notes : bad).push(`Layer ${i + 1} is saturated: ${Math.round(100 * share)}% of its outputs are at a flat end `
        + `of the activation, ${learned ? "as is usual in a network that has learned" : "where it hardly learns"}.`);
    }
  });
  const some = layers.flat().filter((u) => u.saturated >= bounds.many).length;
  if (some && ![...bad, ...notes].some((text) => text.includes("saturated"))) {
    notes.push(`${some === 1 ? "One unit is" : `${some} units are`} saturated, but no layer as a whole.`);
  }
  const [first, last] = [gradients[0], gradients[gradients.length - 1]];
  if (gradients.length > 1 && first * bounds.far_apart < last) {
    bad.push(`Vanishing gradients: the RMS gradient of layer 1 is ${first.toExponential(1)}, that of the last `
      + `layer ${last.toExponential(1)}.`);
  } else if (gradients.length > 1 && last * bounds.far_apart < first) {
    bad.push(`Exploding gradients: the RMS gradient of layer 1 is ${first.toExponential(1)}, that of the last `
      + `layer ${last.toExponential(1)}.`);
  }
  return { bad, notes };
}

/** @param {number[]} numbers */
function units_(numbers) {
  return numbers.length === 1 ? `unit ${numbers[0]} is`
    : `units ${numbers.slice(0, -1).join(", ")} and ${numbers[numbers.length - 1]} are`;
}
