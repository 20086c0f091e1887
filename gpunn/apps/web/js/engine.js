// Trains networks in a browser with gpunn's own kernels, compiled to WebAssembly. Defines the interface
// that pages use: the settings, methods and results of a network.
import { ForwardProgram } from "./engine/forward.js";
import { Kernels } from "./engine/memory.js";
import { Network as Trained } from "./engine/network.js";

/**
 * A layer of a network: x W + b, then, if requested, batch normalization, the activation and dropout,
 * in this order.
 * @typedef {Object} LayerSettings
 * @property {number} units
 * @property {string} [activation] its name in Python, "relu"; "linear" by default
 * @property {number} [dropout] fraction of the outputs dropped in training, at least 0 and below 1
 * @property {boolean} [normalize] whether the batch is normalized before the activation
 * @property {number} [l1] factor of the sum of the weights' absolute values, added to the loss
 * @property {number} [l2] factor of the sum of their squares
 * @property {{name: string, [setting: string]: number|string}} [initializer] of W: its name in Python
 *   and the settings that differ from the defaults; "glorot_uniform" by default
 * @property {Float32Array} [kernel] W itself, (inputs, units) row by row, instead of an initializer
 * @property {Float32Array} [bias] b, zeros by default
 * @property {Normalization | null} [normalization] initial values of batch normalization;
 *   ones and zeros by default
 */

/**
 * The state of batch normalization, for each unit: trainable scale and offset, and the moving mean and
 * variance, by which it normalizes outside training.
 * @typedef {Object} Normalization
 * @property {Float32Array} gamma
 * @property {Float32Array} beta
 * @property {Float32Array} mean
 * @property {Float32Array} variance
 */

/**
 * @typedef {Object} NetworkSettings
 * @property {number} inputs values in a row of x
 * @property {number} outputs values in a row of y; the units of the last layer
 * @property {LayerSettings[]} layers the last one computes the outputs
 * @property {string} loss its name in Python, "mean_squared_error"
 * @property {{name: string, learning_rate?: number, [setting: string]: unknown}} optimizer its name
 *   in Python and the settings that differ from the defaults
 * @property {number} batch rows per step
 * @property {number} [seed] of weights, order and dropout, 0 by default. Order and dropout are those of
 *   a model in Python that was compiled right after `gpunn.utils.set_random_seed(seed)`; layer k,
 *   from 0 on, is initialized with the seed `seed + k`
 * @property {boolean} [shuffle] whether to reshuffle each epoch; true by default
 */

/**
 * The arrays of a layer. All are views of the engine's memory: they change during training, and values
 * written to `kernel`, `bias` and `normalization` are used from the next step on. Views become invalid
 * with the network: get them again from a new one.
 * @typedef {Object} NetworkLayer
 * @property {number} inputs
 * @property {number} units
 * @property {Float32Array} kernel W (inputs, units), row by row
 * @property {Float32Array} bias b (units)
 * @property {Normalization | null} normalization null if there is none
 * @property {Float32Array} kernelGradient of the last step
 * @property {Float32Array} biasGradient
 * @property {Float32Array} output of the last batch (batch, units), after the activation
 * @property {Float32Array} gradient of the loss with respect to that output, or, if loss and activation
 *   are computed together, to the input of the activation
 */

/**
 * A network and its training.
 * @typedef {Object} Network
 * @property {NetworkSettings} settings
 * @property {NetworkLayer[]} layers
 * @property {number} loss mean over the rows of the epoch so far, with the penalties
 * @property {number} epochs completed epochs
 * @property {number} steps completed steps
 * @property {(x: Float32Array, y: Float32Array, rows: number) => void} setData (rows, inputs) and
 *   (rows, outputs): the training data, which are copied
 * @property {(count?: number) => void} step train on the next batch, or `count` batches; the last one
 *   of an epoch may be smaller
 * @property {(count?: number) => void} epoch train for the rest of this epoch, or `count` epochs
 * @property {(x: Float32Array, rows: number) => Float32Array} predict (rows, outputs), a copy, as
 *   outside training
 * @property {(x: Float32Array, rows: number) => Float32Array[]} outputs of each layer for these rows,
 *   (rows, units), copies, as outside training
 * @property {(x: Float32Array, y: Float32Array, rows: number) => number} evaluate the mean loss of
 *   rows, without penalties
 * @property {(x: Float32Array, y: Float32Array, rows: number) => Explanation} explain one forward and
 *   backward pass, as outside training, that changes nothing
 * @property {() => NetworkState} save
 * @property {(state: NetworkState) => void} restore continue from a state; throws an error for the
 *   state of a network with other layers
 * @property {(name: string, value: number) => void} setOptimizer change a setting of the optimizer,
 *   such as "learning_rate", during training; throws an error if that would select another formula,
 *   such as a momentum that was 0
 * @property {() => void} free release its memory
 */

/**
 * The results of a pass, for each layer: sums x W + b (rows, units), outputs after the activation, and
 * the gradients of the loss with respect to both, to W and to b. If loss and activation are computed
 * together, the last layer's `gradients` are with respect to its sums too.
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
 * Everything that changes in training: weights, slots, counters, the position in the order. Plain data.
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
 * @property {(settings: NetworkSettings) => Network} network throws an Error for invalid settings
 * @property {(document: import("./engine/forward.js").ForwardDocument) => ForwardProgram} forward a
 *   trained model's forward pass, as recorded by Python
 * @property {Parts} parts
 */

/**
 * The available choices, by their names in Python's registry, as `gpunn.apps.web.parts` lists them.
 * Functors are names of formulas in the kernels, parameters their values.
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
 * Load the engine of a page.
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
