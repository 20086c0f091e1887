// The points of a page: the split into training and test points, the network's inputs and targets, and
// the conversion of its outputs to probabilities.
import { Random } from "./random.js";

/** @typedef {import("../settings.js").Catalogue} Catalogue */

/**
 * @typedef {Object} Data
 * @property {"classes" | "numbers"} task
 * @property {number} inputs 1 or 2
 * @property {string[]} classes their names, empty for numbers
 * @property {string[]} names of the axes and of the target
 * @property {{mean: number, deviation: number}[]} scales of axes and target: shown = value * deviation + mean
 * @property {number[][]} points inputs and target
 * @property {number[]} train indices of the training points
 * @property {number[]} test indices of the test points
 */

export const CLASS_NAMES = ["A", "B", "C", "D", "E", "F"];

/**
 * @param {Partial<Data> & {task: Data["task"], points: number[][]}} given
 * @param {number} held fraction held out, at least 0 and below 1
 * @param {number} seed
 * @returns {Data}
 */
export function makeData(given, held, seed) {
  const inputs = given.inputs ?? 2;
  const order = new Random(seed + 1).order(given.points.length);
  const test = Math.min(given.points.length - 1, Math.round(held * given.points.length));
  const inOrder = (/** @type {number} */ a, /** @type {number} */ b) => a - b;
  return {
    task: given.task,
    inputs,
    points: given.points,
    classes: given.classes ?? [],
    names: given.names ?? (inputs === 2 ? ["x₁", "x₂", "y"] : ["x", "y"]),
    scales: given.scales ?? Array(inputs + 1).fill({ mean: 0, deviation: 1 }),
    test: Array.from(order.slice(0, test)).sort(inOrder),
    train: Array.from(order.slice(test)).sort(inOrder),
  };
}

/**
 * Choose the last layer's activation and the loss where the settings say "auto".
 * @param {import("../settings.js").Settings} settings
 * @param {Data} data
 * @param {Catalogue} catalogue
 * @returns {{units: number, activation: string, loss: string, each: boolean}} each: whether each class has a unit
 */
export function outputOf(settings, data, catalogue) {
  const classes = data.task === "classes" ? data.classes.length : 0;
  const rows = settings.output !== "auto" && catalogue.activations[settings.output].rowwise;
  const wants = settings.loss !== "auto" && catalogue.losses[settings.loss].several;
  const each = classes > 0 && (settings.each || classes > 2 || rows || wants);
  const [activation, loss] = !classes ? ["linear", "mean_squared_error"]
    : each ? ["softmax", "categorical_crossentropy"] : ["sigmoid", "binary_crossentropy"];
  return {
    units: each ? classes : 1,
    activation: settings.output === "auto" ? suits(settings.loss, activation, catalogue) : settings.output,
    loss: settings.loss === "auto" ? loss : settings.loss,
    each,
  };
}

/**
 * @param {string} loss
 * @param {string} activation
 * @param {Catalogue} catalogue
 * @returns {string} the last activation for a given loss: scores are unbounded
 */
function suits(loss, activation, catalogue) {
  if (loss === "auto") return activation;
  return catalogue.losses[loss].predictions === "scores" ? "linear" : activation;
}

/**
 * Describe settings that do not fit together; empty if all do.
 * @param {{activation: string, loss: string, each: boolean}} output
 * @param {Data} data
 * @param {Catalogue} catalogue
 * @returns {string}
 */
export function mismatch(output, data, catalogue) {
  const loss = catalogue.losses[output.loss];
  const bounds = catalogue.activations[output.activation].range;
  const inside = bounds && bounds[0] >= 0 && bounds[1] <= 1;
  if (loss.predictions === "probabilities" && !inside) {
    return `${output.loss} expects probabilities from 0 to 1, but ${output.activation} also gives other values.`;
  }
  if (data.task === "numbers" && (loss.predictions || loss.targets)) {
    return `${output.loss} is a classification loss, but these targets are numbers.`;
  }
  if (data.task === "numbers" && bounds && (bounds[0] > -1 || bounds[1] < 1)) {
    return `The targets are numbers of both signs, but ${output.activation} cannot output all of them.`;
  }
  return "";
}

/**
 * @param {Data} data
 * @param {number[]} places
 * @returns {Float32Array} (rows, inputs)
 */
export function inputsOf(data, places) {
  return Float32Array.from(places.flatMap((i) => data.points[i].slice(0, data.inputs)));
}

/**
 * @param {Data} data
 * @param {number[]} places
 * @param {{units: number, activation: string, loss: string, each: boolean}} output
 * @param {Catalogue} catalogue
 * @returns {Float32Array} (rows, outputs): numbers, or 1 for the class and 0 (or -1) for the others
 */
export function targetsOf(data, places, output, catalogue) {
  if (data.task === "numbers") return Float32Array.from(places, (i) => data.points[i][data.inputs]);
  const not = signed(output, catalogue) ? -1 : 0;
  const classes = places.map((i) => data.points[i][data.inputs]);
  if (!output.each) return Float32Array.from(classes, (k) => (k ? 1 : not));
  return Float32Array.from(
    classes.flatMap((k) => Array.from({ length: output.units }, (_, j) => (j === k ? 1 : not))),
  );
}

/**
 * @param {{activation: string, loss: string}} output
 * @param {Catalogue} catalogue
 * @returns {boolean} whether the other class is -1, as some losses and activations require, instead of 0
 */
function signed(output, catalogue) {
  const { targets } = catalogue.losses[output.loss];
  return targets === "signs" || (!targets && catalogue.activations[output.activation].range?.[0] === -1);
}

/**
 * Convert a classifier's outputs to class probabilities.
 * @param {Float32Array} outputs (rows, units)
 * @param {{units: number, activation: string, loss: string, each: boolean}} output
 * @param {Catalogue} catalogue
 * @returns {Float32Array} (rows, classes)
 */
export function probabilities(outputs, output, catalogue) {
  const bounds = catalogue.activations[output.activation].range;
  const unit = bounds !== null && bounds[0] >= 0 && bounds[1] <= 1;
  const signs = signed(output, catalogue);
  /** @param {number} v */
  const share = (v) => Math.min(1, Math.max(0, unit || !signs ? v : (v + 1) / 2));
  if (!output.each) {
    const found = new Float32Array(2 * outputs.length);
    outputs.forEach((v, i) => {
      found[2 * i + 1] = share(v);
      found[2 * i] = 1 - found[2 * i + 1];
    });
    return found;
  }
  const k = output.units;
  const found = new Float32Array(outputs.length);
  for (let row = 0; row < outputs.length; row += k) {
    const values = outputs.subarray(row, row + k);
    const positive = unit ? values : values.map(Math.exp);
    const sum = positive.reduce((a, b) => a + b, 0);
    for (let j = 0; j < k; j++) found[row + j] = sum > 0 ? Math.min(1, positive[j] / sum) : 1 / k;
  }
  return found;
}

/**
 * @param {Data} data
 * @param {number[]} places
 * @param {Float32Array} shares (rows, classes)
 * @returns {number} fraction of points that are classified correctly
 */
export function accuracy(data, places, shares) {
  const k = Math.max(2, data.classes.length);
  let right = 0;
  places.forEach((place, row) => {
    const found = shares.subarray(row * k, row * k + k);
    if (found.indexOf(Math.max(...found)) === data.points[place][data.inputs]) right++;
  });
  return places.length ? right / places.length : NaN;
}

/**
 * Return the range of the axes: all points, with a margin.
 * @param {Data} data
 * @returns {[low: number, high: number][]} of each axis, then of the target
 */
export function boundsOf(data) {
  return [...Array(data.inputs + 1).keys()].map((axis) => {
    const values = data.points.map((p) => p[axis]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = 0.12 * (high - low) || 1;
    return [low - room, high + room];
  });
}
