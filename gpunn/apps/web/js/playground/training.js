// The training of a network on its data: steps, curves, earlier states to go back to, and the weights
// from which training could be repeated.
import { accuracy, inputsOf, outputOf, probabilities, targetsOf } from "./points/data.js";

/** @typedef {import("../engine.js").Engine} Engine */
/** @typedef {import("../engine.js").Network} Network */
/** @typedef {import("../engine.js").NetworkState} NetworkState */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./settings.js").Catalogue} Catalogue */
/** @typedef {import("./points/data.js").Data} Data */

/**
 * @typedef {Object} Weights of a layer
 * @property {Float32Array} kernel
 * @property {Float32Array} bias
 * @property {import("../engine.js").Normalization | null} [normalization]
 */

/**
 * @typedef {Object} Moment
 * @property {number} step
 * @property {number} epoch including its fraction
 * @property {number} train mean loss of the training points
 * @property {number} test mean loss of the test points, NaN without any
 * @property {number} trainRight fraction of correct predictions, NaN for numbers
 * @property {number} testRight
 */

const STATES = 100;
const MOMENTS = 600;

export class Training {
  /**
   * @param {Engine} engine
   * @param {Catalogue} catalogue
   * @param {Settings} settings
   * @param {Data} data
   * @param {Weights[] | null} [weights] initial weights
   */
  constructor(engine, catalogue, settings, data, weights = null) {
    this.catalogue = catalogue;
    this.data = data;
    this.output = outputOf(settings, data, catalogue);
    this.batch = Math.min(settings.batch, data.train.length);
    const last = { units: this.output.units, activation: this.output.activation };
    this.network = engine.network({
      inputs: data.inputs,
      outputs: this.output.units,
      layers: [...settings.layers.map(({ initializer: { name, settings: own }, ...layer }) =>
        ({ ...layer, initializer: { name, ...own } })), last].map((layer, i) => ({ ...layer, ...weights?.[i] })),
      loss: this.output.loss,
      optimizer: { name: settings.optimizer.name, ...settings.optimizer.settings },
      batch: this.batch,
      seed: settings.seed,
    });
    this.sets = {
      train: { x: inputsOf(data, data.train), y: targetsOf(data, data.train, this.output, catalogue) },
      test: { x: inputsOf(data, data.test), y: targetsOf(data, data.test, this.output, catalogue) },
    };
    this.network.setData(this.sets.train.x, this.sets.train.y, data.train.length);
    this.stepsPerEpoch = Math.ceil(data.train.length / this.batch);
    /** @type {{state: NetworkState, moment: Moment}[]} */
    this.past = [];
    /** @type {Moment[]} */
    this.moments = [];
    this.start = this.weights();
    this.startSteps = 0;
    this.look();
  }

  /** @returns {Weights[]} copies */
  weights() {
    return this.network.layers.map(({ kernel, bias, normalization: n }) => ({
      kernel: kernel.slice(), bias: bias.slice(),
      normalization: n && {
        gamma: n.gamma.slice(), beta: n.beta.slice(), mean: n.mean.slice(), variance: n.variance.slice(),
      },
    }));
  }

  /** @returns {Moment} the current state, as last measured */
  get now() {
    return this.moments[this.moments.length - 1];
  }

  /** @returns {boolean} whether the loss is still finite */
  get finite() {
    return Number.isFinite(this.now.train);
  }

  /** @returns {{loss: number, start: number, growth: number}} see `diverging` */
  get progress() {
    const growths = this.network.layers.map(({ kernel }, i) =>
      Math.hypot(...kernel) / Math.max(1, Math.hypot(...this.start[i].kernel)));
    return { loss: this.now.train, start: this.moments[0].train, growth: Math.max(...growths) };
  }

  /** @param {number} [steps] */
  step(steps = 1) {
    this.keep();
    this.network.step(steps);
    this.look();
  }

  epoch() {
    this.keep();
    this.network.epoch();
    this.look();
  }

  /** @param {number} count */
  epochs(count) {
    for (let i = 0; i < count && this.finite; i++) this.epoch();
  }

  /**
   * Train for at most about this long, in whole epochs if they are short.
   * @param {number} milliseconds
   * @param {() => number} clock in milliseconds
   * @param {number} most epochs; one is trained anyway
   * @returns {number} steps
   */
  run(milliseconds, clock, most) {
    this.keep();
    const [before, begin] = [this.network.steps, clock()];
    const last = before + (most - 1) * this.stepsPerEpoch;
    do {
      if (this.stepsPerEpoch <= 100) this.network.epoch();
      else this.network.step(100);
    } while (this.network.steps <= last && clock() - begin < milliseconds);
    this.look();
    return this.network.steps - before;
  }

  /** Go back to the state before the last step, epoch or frame; return false if there is none. */
  back() {
    const last = this.past.pop();
    if (!last) return false;
    this.network.restore(last.state);
    this.moments = this.moments.filter((m) => m.step < last.moment.step);
    this.moments.push(last.moment);
    return true;
  }

  /** Restart the record: training can be repeated only from these weights, which were changed by hand. */
  edited() {
    this.start = this.weights();
    this.startSteps = this.network.steps;
    this.look();
  }

  /**
   * @param {Float32Array} x (rows, inputs)
   * @param {number} rows
   * @returns {Float32Array} (rows, classes), or (rows, 1) of numbers
   */
  answers(x, rows) {
    return this.read(this.network.predict(x, rows));
  }

  /** @param {Float32Array} outputs */
  read(outputs) {
    return this.data.task === "classes" ? probabilities(outputs, this.output, this.catalogue) : outputs;
  }

  free() {
    this.network.free();
  }

  keep() {
    this.past.push({ state: this.network.save(), moment: this.now });
    if (this.past.length > STATES) this.past.shift();
  }

  /** Measure the losses for the curves. */
  look() {
    const { data, network } = this;
    const [train, test] = /** @type {const} */ (["train", "test"]).map((name) => {
      const { x, y } = this.sets[name];
      const rows = data[name].length;
      if (!rows) return { loss: NaN, right: NaN };
      const right = data.task === "classes" ? accuracy(data, data[name], this.answers(x, rows)) : NaN;
      return { loss: network.evaluate(x, y, rows), right };
    });
    const moment = {
      step: network.steps, epoch: network.steps / this.stepsPerEpoch,
      train: train.loss, test: test.loss, trainRight: train.right, testRight: test.right,
    };
    if (this.moments.length && this.now.step === moment.step) this.moments.pop();
    this.moments.push(moment);
    if (this.moments.length > MOMENTS) this.moments = this.moments.filter((_, i, all) => i % 2 === 0 || i === all.length - 1);
  }
}
