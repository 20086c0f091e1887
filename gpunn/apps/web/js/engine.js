// Networks that learn in a browser: gpunn's own kernels, compiled to WebAssembly, and the names that
// pages use: what a network is given and what it gives.
import { ForwardProgram } from "./engine/forward.js";
import { Kernels } from "./engine/memory.js";
import { Network as Trained } from "./engine/network.js";

/**
 * A layer of a network: x W + b, then, as far as asked for, batch normalization, the activation and
 * dropout, in this order.
 * @typedef {Object} LayerSettings
 * @property {number} units
 * @property {string} [activation] its name in Python, "relu"; "linear" by default
 * @property {number} [dropout] which part of the outputs is dropped in training, from 0 to below 1
 * @property {boolean} [normalize] whether the batch is normalized before the activation
 * @property {number} [l1] factor of the sum of the weights' sizes that is added to the loss
 * @property {number} [l2] factor of the sum of their squares
 * @property {{name: string, [setting: string]: number|string}} [initializer] of W: its name in Python
 *   and what differs from the defaults there; "glorot_uniform" by default
 * @property {Float32Array} [kernel] W itself, (inputs, units) row by row, in place of a draw
 * @property {Float32Array} [bias] b, zeros by default
 * @property {Normalization | null} [normalization] what batch normalization begins with; ones and
 *   zeros by default
 */

/**
 * What batch normalization holds, of each unit: factor and summand, which are learned, and the moving
 * mean and variance, by which it normalizes outside training.
 * @typedef {Object} Normalization
 * @property {Float32Array} gamma
 * @property {Float32Array} beta
 * @property {Float32Array} mean
 * @property {Float32Array} variance
 */

/**
 * @typedef {Object} NetworkSettings
 * @property {number} inputs numbers in a row of x
 * @property {number} outputs numbers in a row of y; the units of the last layer
 * @property {LayerSettings[]} layers the last one gives the outputs
 * @property {string} loss its name in Python, "mean_squared_error"
 * @property {{name: string, learning_rate?: number, [setting: string]: unknown}} optimizer its name
 *   in Python and what differs from the defaults there
 * @property {number} batch rows of a step
 * @property {number} [seed] of weights, order and dropout, 0 by default. Order and dropout are those of
 *   a model in Python that was compiled right after `gpunn.utils.set_random_seed(seed)`; layer k,
 *   from 0 on, begins as with the seed `seed + k` in its initializer
 * @property {boolean} [shuffle] whether each epoch has an order of its own; true by default
 */

/**
 * What a layer holds. All arrays are views of the engine's memory: they change as the network
 * learns, and what is written to `kernel`, `bias` and `normalization` counts from the next step on.
 * Views end with the network: take them anew from one that was made since.
 * @typedef {Object} NetworkLayer
 * @property {number} inputs
 * @property {number} units
 * @property {Float32Array} kernel W (inputs, units), row by row
 * @property {Float32Array} bias b (units)
 * @property {Normalization | null} normalization null without
 * @property {Float32Array} kernelGradient of the last step
 * @property {Float32Array} biasGradient
 * @property {Float32Array} output of the last batch (batch, units), behind the activation
 * @property {Float32Array} gradient of the loss by that output, or, where loss and activation are
 *   computed as one, by what the activation is given
 */

/**
 * A network and its training.
 * @typedef {Object} Network
 * @property {NetworkSettings} settings
 * @property {NetworkLayer[]} layers
 * @property {number} loss mean over the rows since the epoch began, with the penalties
 * @property {number} epochs that are done
 * @property {number} steps that are done
 * @property {(x: Float32Array, y: Float32Array, rows: number) => void} setData (rows, inputs) and
 *   (rows, outputs): what is learned from; copied
 * @property {(count?: number) => void} step the next batch, or so many; the last one of an epoch may
 *   be smaller
 * @property {(count?: number) => void} epoch the rest of this epoch, or so many epochs
 * @property {(x: Float32Array, rows: number) => Float32Array} predict (rows, outputs), a copy, as
 *   outside training
 * @property {(x: Float32Array, rows: number) => Float32Array[]} outputs of each layer for these rows,
 *   (rows, units), copies, as outside training
 * @property {(x: Float32Array, y: Float32Array, rows: number) => number} evaluate the mean loss of
 *   rows, without penalties
 * @property {(x: Float32Array, y: Float32Array, rows: number) => Explanation} explain one pass forward
 *   and backward, as outside training, that changes nothing
 * @property {() => NetworkState} save
 * @property {(state: NetworkState) => void} restore go on from there; refuses the state of a network
 *   with other layers
 * @property {(name: string, value: number) => void} setOptimizer change a number of the optimizer,
 *   "learning_rate", while it learns; refuses one that would choose another formula, as momentum
 *   that was 0
 * @property {() => void} free give its memory back
 */

/**
 * Of each layer what a pass computed: sums x W + b (rows, units), outputs behind the activation, and
 * the gradients of the loss by both, by W and by b. Where loss and activation are computed as one,
 * the last layer's `gradients` are those by its sums too.
 * @typedef {Object} Explanation
 * @property {number} loss
 * @property {Float32Array[]} sums
 * @property {Float32Array[]} outputs
 * @property {Float32Array[]} gradients
 * @property {Float32Array[]} sumGradients
 * @property {Float32Array[]} kernelGradients
 * @property {Float32Array[]} biasGradients
 */

/**
 * All that changes in training: weights, moments, counters, the order's place. Plain data.
 * @typedef {Object} NetworkState
 * @property {Float32Array} values
 * @property {Float32Array} state moving averages
 * @property {Float32Array[]} slots
 * @property {number[]} counters
 * @property {number[]} totals of the epoch: losses, rows
 * @property {number} steps
 * @property {number} epochs
 * @property {number} pass
 */

/**
 * @typedef {Object} Engine
 * @property {(settings: NetworkSettings) => Network} network refuses settings in words, by an Error
 * @property {(document: import("./engine/forward.js").ForwardDocument) => ForwardProgram} forward a
 *   trained model's forward pass, as Python has written it down
 * @property {Parts} parts
 */

/**
 * What there is to choose from, by name, as Python's registry has it: `gpunn.apps.web.parts` writes
 * it. Functors are names of formulas in the kernels, parameters their numbers.
 * @typedef {Object} Parts
 * @property {Object<string, {functor: string, saves: "input"|"output", rowwise: boolean, parameters:
 *   number[]}>} activations
 * @property {Object<string, {functor: string, parameters: number[], fuses: string|null, fused:
 *   [string, number[]]|null, predictions: string|null, targets: string|null}>} losses
 * @property {Object<string, {functors: Object<string, string>, options: string[], parameters:
 *   string[], defaults: Object<string, number>, constants: number[], first: (string|null)[],
 *   by_norms: boolean}>} optimizers
 * @property {Object<string, import("./engine/initializers.js").Initializer>} initializers
 * @property {{momentum: number, epsilon: number}} batch_normalization
 */

/**
 * The engine of a page.
 * @param {BufferSource} bytes gpunn.wasm
 * @param {Parts} parts
 * @returns {Promise<Engine>}
 */
export async function load(bytes, parts) {
  const kernels = await Kernels.load(bytes);
  return {
    parts,
    network: (settings) => kernels.attempt(() => new Trained(kernels, parts, settings)),
    forward: (document) => kernels.attempt(() => new ForwardProgram(kernels, document)),
  };
}
