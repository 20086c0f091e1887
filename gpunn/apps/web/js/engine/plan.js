// The arrays and the program of one batch size.
import { Program, Room } from "./memory.js";

/** @typedef {import("./memory.js").Call} Call */

/**
 * The parts of a network that its plans use: the addresses of its flat arrays.
 * @typedef {Object} Shared
 * @property {import("./memory.js").Kernels} kernels
 * @property {any[]} layers see `partsOf`
 * @property {any} loss of the parts
 * @property {number} inputs
 * @property {number} outputs
 * @property {number} values
 * @property {number} gradients
 * @property {number} state
 * @property {number} counters
 * @property {bigint} seed
 * @property {number} size of the flat arrays
 */

/**
 * A pass over a number of rows: "train", with the other calls of a step around it; "predict", forward as
 * outside training; "evaluate", with the loss; "explain", also backward, without changing anything.
 */
export class Plan {
  /** @type {{z?: number, dz?: number, y: number, dy: number, units: number}[]} */
  layers = [];

  /**
   * @param {Shared} shared
   * @param {number} rows
   * @param {"train"|"predict"|"evaluate"|"explain"} kind
   * @param {{before?: Call[], after?: Call[], totals?: number, x?: number, y?: number}} [around]
   */
  constructor(shared, rows, kind, around = {}) {
    const { layers, loss } = shared;
    const room = (this.room = new Room(shared.kernels));
    const training = kind === "train";
    const backward = training || kind === "explain";
    const keeps = kind === "explain";
    this.shared = shared;
    this.rows = rows;
    this.x = around.x || room.floats(rows * shared.inputs);
    this.targets = around.y || room.floats(rows * shared.outputs);
    this.totals = around.totals || room.bytes(24);
    this.gradients = training ? shared.gradients : keeps ? room.floats(shared.size) : 0;
    const last = layers[layers.length - 1];
    const fused = kind !== "predict" && fuses(loss, last);
    /** @type {Call[]} */
    const forwardCalls = [];
    /** @type {Call[]} */
    let backwardCalls = [];
    let x = this.x;
    let dx = 0;
    for (const layer of layers) {
      /** @type {{z?: number, dz?: number, y: number, dy: number, units: number}} */
      let shown = { y: 0, dy: 0, units: layer.dense.units };
      let sums = {};
      for (const part of layer.parts) {
        if (!training && "rate" in part) continue; // dropout
        const y = room.floats(rows * part.units);
        const dy = backward ? room.floats(rows * part.units) : 0;
        const pass = {
          x, y, dx, dy, rows, training, keeps, room, values: shared.values,
          gradients: backward ? this.gradients : 0, state: shared.state,
          counters: shared.counters, seed: shared.seed,
        };
        const linear = fused && part === last.shown;
        const calls = linear ? part.calls(pass, LINEAR) : part.calls(pass);
        forwardCalls.push(...calls.forward);
        backwardCalls = [...calls.backward, ...backwardCalls];
        if (part === layer.dense) sums = { z: calls.z, dz: calls.dz };
        if (part === layer.shown) shown = { ...shown, y, dy };
        x = y;
        dx = dy;
      }
      this.layers.push({ ...shown, ...sums });
    }
    this.y = x;
    const calls = [...(around.before ?? []), ...forwardCalls];
    if (kind !== "predict") {
      const [functor, parameters] = fused ? loss.fused : [loss.functor, loss.parameters];
      calls.push([
        `loss float32 ${functor}`, x, this.targets, 0, 0, room.doubles(parameters), 1 / rows,
        (1 / rows) * rows, rows, shared.outputs, dx, room.floats(rows), 0, this.totals,
      ]);
    }
    this.program = new Program(room, [...calls, ...backwardCalls, ...(around.after ?? [])]);
    if (fused) {
      // The activation that the loss replaces, for inspection.
      const show = { ...last.activation };
      const end = this.layers[this.layers.length - 1];
      const y = room.floats(rows * end.units);
      const kind = show.rowwise ? "row_activation" : "bias_activation";
      this.finish = new Program(room, [[
        `${kind} float32 ${show.functor}`, end.y, 0, room.doubles(show.parameters), rows, end.units,
        0, y,
      ]]);
      end.y = y;
    }
  }

  /**
   * @param {Float32Array} x
   * @param {Float32Array} [y]
   */
  put(x, y) {
    const { inputs, outputs } = this.shared;
    checkLength(x, this.rows * inputs, `x must hold ${this.rows} rows of ${inputs} numbers`);
    this.room.view(this.x, x.length).set(x);
    if (!y) return;
    checkLength(y, this.rows * outputs, `y must hold ${this.rows} rows of ${outputs} numbers`);
    this.room.view(this.targets, y.length).set(y);
  }

  /** Run one pass and return the mean of the losses. */
  run() {
    new Float64Array(this.room.kernels.buffer, this.totals, 3).fill(0);
    this.program.run();
    const [sum, rows] = new Float64Array(this.room.kernels.buffer, this.totals, 3);
    return sum / rows;
  }

  /**
   * @param {number} at
   * @param {number} count
   */
  copy(at, count) {
    return this.room.view(at, count).slice();
  }

  free() {
    this.room.free();
  }
}

const LINEAR = { functor: "Linear", rowwise: false, parameters: [], saves: "output" };

/**
 * Whether a loss includes the activation of the last layer.
 * @param {any} loss
 * @param {any} layer
 */
function fuses(loss, layer) {
  const last = layer.parts[layer.parts.length - 1];
  return loss.fuses !== null && loss.fuses === layer.activation.functor && last === layer.shown;
}

/**
 * @param {ArrayLike<number>} array
 * @param {number} wanted
 * @param {string} what
 */
export function checkLength(array, wanted, what) {
  if (array?.length !== wanted)
    throw new Error(`${what}, ${wanted} in all; got ${array?.length ?? "none"}.`);
}
