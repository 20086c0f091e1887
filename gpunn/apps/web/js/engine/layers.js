// The kernel calls of each part of a layer, forward and backward, and the addresses of its arrays.
// The calls are those that `gpunn/backends/compiled/` makes.

/** @typedef {import("./memory.js").Call} Call */
/** @typedef {import("./memory.js").Room} Room */

const FLOAT = "float32";
const CHUNK = 256; // rows per partial sum of batch normalization
const WIDTH = 64; // width to which a row of few features is repeated

/**
 * A part of a layer in one batch size: x (rows, inputs) becomes y (rows, units).
 * @typedef {Object} Pass
 * @property {number} x
 * @property {number} y
 * @property {number} dx gradient of the loss with respect to x, 0 if not needed
 * @property {number} dy
 * @property {number} rows
 * @property {boolean} training
 * @property {boolean} keeps whether to keep z and its gradient for inspection
 * @property {number} values address of the network's parameters
 * @property {number} gradients address of their gradients; 0 for none
 * @property {number} state address of the moving averages
 * @property {number} counters
 * @property {bigint} seed
 * @property {Room} room
 */

/**
 * A numbered part of a network. `parameters` and `state` are sizes; the network sets their
 * offsets in the flat arrays, `at` and `stateAt`.
 * @typedef {Object} Part
 * @property {number} inputs
 * @property {number} units
 * @property {Object<string, number>} parameters
 * @property {Object<string, number>} state
 * @property {Object<string, number>} at
 * @property {Object<string, number>} stateAt
 * @property {number} number
 * @property {(pass: Pass) => {forward: Call[], backward: Call[], z?: number, dz?: number}} calls
 */

/** @param {number} numbers */
const bytes = (numbers) => 4 * numbers;

/**
 * The calls of an activation of x, plus a bias if there is one.
 * @param {{functor: string, rowwise: boolean, parameters: number[], saves: string}} activation
 * @param {Room} room
 * @param {number} rows
 * @param {number} units
 */
function applied(activation, room, rows, units) {
  const parameters = room.doubles(activation.parameters);
  const kind = activation.rowwise ? "row_activation" : "bias_activation";
  const sizes = activation.rowwise ? [rows, units] : [rows * units];
  const keeps = activation.saves === "input";
  return {
    keeps,
    /** @type {(x: number, bias: number, y: number) => Call} */
    forward: (x, bias, y) =>
      [`${kind} ${FLOAT} ${activation.functor}`, x, bias, parameters, rows, units, keeps && bias ? x : 0, y],
    /** @type {(saved: number, dy: number, dz: number) => Call} */
    backward: (saved, dy, dz) =>
      [
        `${activation.rowwise ? kind : "activation"}_gradient ${FLOAT} ${activation.functor}`,
        saved, dy, parameters, ...sizes, false, dz,
      ],
  };
}

/**
 * y = activation(x W + b)
 * @implements {Part}
 */
export class Dense {
  /** @type {Object<string, number>} */
  at = {};
  /** @type {Object<string, number>} */
  state = {};
  /** @type {Object<string, number>} */
  stateAt = {};
  number = 0;

  /**
   * @param {number} inputs
   * @param {number} units
   * @param {any} activation of the parts; null for none
   */
  constructor(inputs, units, activation) {
    this.inputs = inputs;
    this.units = units;
    this.activation = activation;
    /** @type {Object<string, number>} */
    this.parameters = { kernel: inputs * units, bias: units };
  }

  /**
   * @param {Pass} pass
   * @param {any} [activation] replaces its own
   */
  calls(pass, activation = this.activation) {
    const { x, y, dx, dy, rows, room } = pass;
    const { inputs, units } = this;
    const { at } = this;
    const kernel = pass.values + bytes(at.kernel);
    const bias = pass.values + bytes(at.bias);
    const plain = !activation || activation.functor === "Linear";
    const f = applied(
      plain ? { functor: "Linear", rowwise: false, parameters: [], saves: "output" } : activation,
      room, rows, units,
    );
    const z = f.keeps || pass.keeps ? room.floats(rows * units) : y;
    /** @type {Call[]} */
    const forward = [
      [`matmul ${FLOAT}`, x, kernel, z, rows, units, inputs, inputs, units, units, false, false, false],
    ];
    if (pass.keeps) {
      const linear = { functor: "Linear", rowwise: false, parameters: [], saves: "output" };
      forward.push(applied(linear, room, rows, units).forward(z, bias, z), f.forward(z, 0, y));
    } else {
      forward.push(f.forward(z, bias, y));
    }
    /** @type {Call[]} */
    const backward = [];
    let dz = dy;
    if (dy && !plain) {
      dz = room.floats(rows * units);
      backward.push(f.backward(f.keeps ? z : y, dy, dz));
    }
    if (dy && pass.gradients) {
      const ofKernel = pass.gradients + bytes(at.kernel);
      backward.push(
        [`matmul ${FLOAT}`, x, dz, ofKernel, inputs, units, rows, inputs, units, units, true, false,
          false],
        [`column_sums ${FLOAT}`, dz, rows, units, false, pass.gradients + bytes(at.bias)],
      );
    }
    if (dx)
      backward.push(
        [`matmul ${FLOAT}`, dz, kernel, dx, rows, inputs, units, units, units, inputs, false, true,
          false],
      );
    return { forward, backward, z, dz };
  }
}

/**
 * Normalize the batch to mean 0 and variance 1, then scale it.
 * @implements {Part}
 */
export class BatchNormalization {
  /** @type {Object<string, number>} */
  at = {};
  /** @type {Object<string, number>} */
  stateAt = {};
  number = 0;

  /**
   * @param {number} units
   * @param {{momentum: number, epsilon: number}} numbers
   */
  constructor(units, numbers) {
    this.inputs = this.units = units;
    this.numbers = numbers;
    this.parameters = { gamma: units, beta: units };
    this.state = { mean: units, variance: units };
  }

  /** @param {Pass} pass */
  calls(pass) {
    const { x, y, dx, dy, rows, room, training } = pass;
    const { units } = this;
    const { momentum, epsilon } = this.numbers;
    const { at, stateAt } = this;
    const gamma = pass.values + bytes(at.gamma);
    const beta = pass.values + bytes(at.beta);
    const moving = [pass.state + bytes(stateAt.mean), pass.state + bytes(stateAt.variance)];
    const now = training ? [room.floats(units), room.floats(units)] : moving;
    const partial = room.floats(Math.max(1, Math.ceil(rows / CHUNK)) * 2 * units);
    const width = units * Math.ceil(WIDTH / units);
    const table = room.floats(5 * width);
    const shape = [rows, units, 1];
    /** @type {Call[]} */
    const forward = [];
    if (training)
      forward.push(
        [`batch_statistics ${FLOAT}`, x, ...shape, CHUNK, momentum, partial, ...now, ...moving],
      );
    forward.push(
      [`normalize ${FLOAT}`, x, ...now, gamma, beta, epsilon, ...shape, width, table, y],
    );
    /** @type {Call[]} */
    const backward = [];
    if (dy) {
      const of = pass.gradients;
      const sums = of ? [of + bytes(at.gamma), of + bytes(at.beta)] : [0, 0];
      const summed = training || of ? partial : 0;
      backward.push(
        [`normalize_gradient ${FLOAT}`, x, dy, ...now, gamma, epsilon, ...shape, CHUNK, width,
          !training, false, false, summed, table, ...sums, dx],
      );
    }
    return { forward, backward };
  }
}

/**
 * A separate activation.
 * @implements {Part}
 */
export class Activation {
  /** @type {Object<string, number>} */
  at = {};
  /** @type {Object<string, number>} */
  stateAt = {};
  /** @type {Object<string, number>} */
  parameters = {};
  /** @type {Object<string, number>} */
  state = {};
  number = 0;

  /**
   * @param {number} units
   * @param {any} activation of the parts
   */
  constructor(units, activation) {
    this.inputs = this.units = units;
    this.activation = activation;
  }

  /**
   * @param {Pass} pass
   * @param {any} [activation] replaces its own
   */
  calls(pass, activation = this.activation) {
    const { x, y, dx, dy, rows, room } = pass;
    const f = applied(activation, room, rows, this.units);
    /** @type {Call[]} */
    const backward = dy && dx ? [f.backward(f.keeps ? x : y, dy, dx)] : [];
    return { forward: [f.forward(x, 0, y)], backward };
  }
}

/**
 * Set some values to 0 in training, and scale up the others.
 * @implements {Part}
 */
export class Dropout {
  /** @type {Object<string, number>} */
  at = {};
  /** @type {Object<string, number>} */
  stateAt = {};
  /** @type {Object<string, number>} */
  parameters = {};
  /** @type {Object<string, number>} */
  state = {};
  number = 0;

  /**
   * @param {number} units
   * @param {number} rate
   */
  constructor(units, rate) {
    this.inputs = this.units = units;
    this.rate = rate;
  }

  /** @param {Pass} pass */
  calls(pass) {
    const { x, y, dx, dy, rows, room } = pass;
    const n = rows * this.units;
    const mask = room.bytes(n);
    const scale = 1 / (1 - this.rate);
    /** @type {Call[]} */
    const forward = [
      [`dropout ${FLOAT}`, x, 1 - this.rate, scale, pass.seed, BigInt(this.number), pass.counters, 0, n,
        y, mask],
    ];
    /** @type {Call[]} */
    const backward =
      dy && dx ? [[`dropout_gradient ${FLOAT}`, dy, mask, scale, n, false, dx]] : [];
    return { forward, backward };
  }
}
