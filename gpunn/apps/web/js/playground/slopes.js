// Slopes of activations, by the engine's own formulas. In a network of two chained units whose loss is
// far from its minimum, the ratio of the gradients by their outputs is the slope.

/** @typedef {import("../engine.js").Engine} Engine */

const FAR = -4096; // target of the outputs, never reached

export class Slopes {
  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
    /** @type {Map<string, import("../engine.js").Network>} */
    this.networks = new Map();
  }

  /**
   * @param {string} activation an element-wise one
   * @param {Float32Array} z
   * @returns {Float32Array}
   */
  of(activation, z) {
    if (activation === "linear") return z.map(() => 1);
    const network = this.networks.get(activation) ?? this.make(activation);
    const { gradients } = network.explain(z, z.map(() => FAR), z.length);
    return gradients[0].map((g, i) => g / gradients[1][i]);
  }

  /** @param {string} activation */
  make(activation) {
    const unit = { units: 1, kernel: Float32Array.of(1), bias: Float32Array.of(0) };
    const network = this.engine.network({
      inputs: 1, outputs: 1, layers: [unit, { ...unit, activation }], loss: "mean_squared_error",
      optimizer: { name: "SGD" }, batch: 1,
    });
    this.networks.set(activation, network);
    return network;
  }
}
