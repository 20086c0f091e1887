// Saves the network of the page as a gpunn model file, and loads such a model as a network of the page.
import { readFile, writeFile } from "./format.js";

/** @typedef {import("./format.js").Tensor} Tensor */
/** @typedef {import("../settings.js").LayerChoice} LayerChoice */
/** @typedef {import("../settings.js").Catalogue} Catalogue */
/** @typedef {import("../training.js").Weights} Weights */

/**
 * A layer that was read. `choice` has the settings in the file; for a file that holds only weights,
 * whether batches are normalized.
 * @typedef {Object} ReadLayer
 * @property {number} inputs
 * @property {number} units
 * @property {Partial<LayerChoice>} choice
 * @property {Weights} weights
 */

const NORMALIZATION = /** @type {const} */ (["gamma", "beta", "moving_mean", "moving_variance"]);

/**
 * @param {import("../training.js").Training} training
 * @param {import("../settings.js").Settings} settings
 * @returns {Uint8Array} the file, for `gpunn.models.load_model` and for `load_weights`
 */
export function modelFile({ network, catalogue, data, output }, settings) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  /** @type {{class_name: string, config: {[name: string]: unknown}}[]} */
  const layers = [];
  /** @type {Map<string, Tensor>} */
  const tensors = new Map();
  /**
   * @param {string} name
   * @param {string} class_name
   * @param {{[name: string]: unknown}} config
   * @param {[string, Float32Array, number[]][]} [weights]
   */
  const add = (name, class_name, config, weights = []) => {
    const count = counts.get(name) ?? 0;
    counts.set(name, count + 1);
    const own = count ? `${name}_${count}` : name;
    layers.push({ class_name, config: { name: own, ...config } });
    for (const [weight, values, shape] of weights) tensors.set(`${own}/${weight}`, { values, shape });
  };
  add("input_layer", "InputLayer", { shape: [data.inputs] });
  const choices = [...settings.layers, { units: output.units, activation: output.activation }];
  choices.forEach((/** @type {Partial<LayerChoice>} */ choice, i) => {
    const { units, activation, normalize, dropout = 0, l1 = 0, l2 = 0 } = choice;
    const { kernel, bias, inputs, normalization } = network.layers[i];
    add("dense", "Dense", {
      units, activation: normalize ? "linear" : activation,
      ...((l1 || l2) && { kernel_regularizer: { class_name: "L1L2", config: { l1, l2 } } }),
    }, [["kernel", kernel, [inputs, Number(units)]], ["bias", bias, [Number(units)]]]);
    if (normalize && normalization) {
      const { gamma, beta, mean, variance } = normalization;
      add("batch_normalization", "BatchNormalization", {},
        [gamma, beta, mean, variance].map((values, k) => [NORMALIZATION[k], values, [Number(units)]]));
      add("activation", "Activation", { activation });
    }
    if (dropout) add("dropout", "Dropout", { rate: dropout });
  });
  const { name, settings: chosen } = settings.optimizer;
  const { flags } = catalogue.optimizers[name];
  const numbers = Object.entries(chosen).map(([key, v]) => [key, flags.includes(key) ? v !== 0 : v]);
  return writeFile({
    kind: "model", class_name: "Sequential", config: { name: "playground", layers },
    compile: { optimizer: { class_name: name, config: Object.fromEntries(numbers) }, loss: output.loss },
    training: null,
  }, tensors);
}

/**
 * The layers of a model, a checkpoint, or a file of weights.
 * @param {Uint8Array} file
 * @param {Catalogue} catalogue
 * @returns {{layers: ReadLayer[], whole: boolean, notes: string[]}} whole: whether the file describes
 *   the layers, and not only their weights; notes: what the page ignored
 */
export function readModel(file, catalogue) {
  const { document, weights } = readFile(file);
  const groups = grouped(weights);
  /** @type {string[]} */
  const notes = [];
  const whole = document.config !== undefined;
  const layers = whole ? described(document, groups, catalogue, notes) : groups.reduce(stacked, []);
  layers.forEach((layer, i) => {
    if (i && layer.inputs !== layers[i - 1].units) {
      throw new Error(`The layers do not form a chain: ${layers[i - 1].units} outputs, but ${layer.inputs} inputs follow.`);
    }
  });
  const last = layers[layers.length - 1];
  if (!last) throw new Error("The file contains no Dense layer.");
  if (last.choice.normalize) throw new Error("The last layer normalizes its outputs, which this page does not support.");
  if (last.choice.dropout) notes.push("Dropout after the last layer was ignored.");
  return { layers, whole, notes };
}

/** @typedef {{name: string, tensors: {[name: string]: Tensor}}} Group weights of one layer */

/**
 * @param {Map<string, Tensor>} weights
 * @returns {Group[]} in the order of the file
 */
function grouped(weights) {
  /** @type {Map<string, {[name: string]: Tensor}>} */
  const found = new Map();
  for (const [place, tensor] of weights) {
    const cut = place.lastIndexOf("/");
    const layer = place.slice(0, cut);
    const of = found.get(layer) ?? Object.create(null);
    of[place.slice(cut + 1)] = tensor;
    found.set(layer, of);
  }
  return [...found].map(([name, tensors]) => ({ name, tensors }));
}

/**
 * @param {ReadLayer[]} layers so far
 * @param {Group} group of the next layer
 * @returns {ReadLayer[]}
 */
function stacked(layers, group) {
  if (group.tensors.kernel) layers.push(dense(group));
  else normalize(layers[layers.length - 1], group);
  return layers;
}

/**
 * @param {Group | undefined} group
 * @returns {ReadLayer}
 */
function dense(group) {
  const { kernel, bias, ...more } = group?.tensors ?? {};
  if (!group || !kernel || kernel.shape.length !== 2 || Object.keys(more).length) {
    throw new Error(`The layer “${group?.name}” is not a Dense layer.`);
  }
  const [inputs, units] = kernel.shape;
  const values = bias ? bias.values : new Float32Array(units);
  if (values.length !== units) throw new Error(`The length of the bias of the layer “${group.name}” is not its number of units.`);
  return { inputs, units, choice: { normalize: false }, weights: { kernel: kernel.values, bias: values } };
}

/**
 * @param {ReadLayer | undefined} layer the layer to normalize
 * @param {Group | undefined} group
 */
function normalize(layer, group) {
  const { moving_mean: mean, moving_variance: variance, gamma, beta, ...more } = group?.tensors ?? {};
  if (!mean || !variance || Object.keys(more).length) {
    throw new Error(`The weights of “${group?.name}” belong to neither a Dense nor a BatchNormalization layer.`);
  }
  if (!layer || layer.choice.normalize) throw new Error(`“${group?.name}” does not directly follow a Dense layer.`);
  const { units } = layer;
  /** @type {(tensor: Tensor | undefined, usual: number) => Float32Array} */
  const values = (tensor, usual) => tensor?.values ?? new Float32Array(units).fill(usual);
  const arrays = [values(gamma, 1), values(beta, 0), mean.values, variance.values];
  if (arrays.some(({ length }) => length !== units)) {
    throw new Error(`“${group?.name}” does not match the number of units of the previous layer.`);
  }
  layer.choice.normalize = true;
  layer.weights.normalization = { gamma: arrays[0], beta: arrays[1], mean: arrays[2], variance: arrays[3] };
}

/**
 * @param {any} document of a model
 * @param {Group[]} groups
 * @param {Catalogue} catalogue
 * @param {string[]} notes
 * @returns {ReadLayer[]}
 */
function described(document, groups, catalogue, notes) {
  /** @type {ReadLayer[]} */
  const layers = [];
  let next = 0;
  let acted = false; // whether the layer already has its activation
  for (const { class_name: kind, config } of chain(document)) {
    const layer = layers[layers.length - 1];
    if (kind === "Dense") {
      const made = dense(groups[next++]);
      const activation = activationOf(config?.activation, catalogue);
      acted = activation !== "linear";
      Object.assign(made.choice, { activation, dropout: 0, ...penalties(config?.kernel_regularizer, notes) });
      layers.push(made);
    } else if (kind === "BatchNormalization" && layer && !acted && !layer.choice.dropout) {
      if ((config?.epsilon ?? catalogue.epsilon) !== catalogue.epsilon) {
        throw new Error(`A BatchNormalization has epsilon = ${config.epsilon}; this page uses ${catalogue.epsilon}.`);
      }
      normalize(layer, groups[next++]);
    } else if (kind === "Activation" && layer && !acted && !layer.choice.dropout) {
      layer.choice.activation = activationOf(config?.activation, catalogue);
      acted = layer.choice.activation !== "linear";
    } else if (kind === "Dropout" && layer && !layer.choice.dropout) {
      const rate = Number(config?.rate);
      layer.choice.dropout = rate >= 0 && rate <= 0.95 ? rate : 0;
      if (layer.choice.dropout !== rate) notes.push(`A dropout rate of ${config?.rate} was ignored.`);
      acted = true;
    } else if (kind !== "InputLayer") {
      throw new Error(`The model has a layer “${kind}” ${layer ? `after Dense layer ${layers.length}` : "at its beginning"}. This page supports `
        + "Dense layers, each followed by an optional BatchNormalization, Activation and Dropout, in this order.");
    }
  }
  if (next !== groups.length) throw new Error(`The weights of “${groups[next].name}” belong to no layer in the file.`);
  return layers;
}

/**
 * @param {any} document
 * @returns {{class_name: unknown, config: any}[]} the layers of a model that is a chain
 */
function chain({ class_name: kind, config }) {
  const layers = (Array.isArray(config?.layers) ? config.layers : []).map(Object);
  if (kind === "Sequential") return layers;
  const straight = layers.every((/** @type {any} */ { layer, calls }, /** @type {number} */ i) =>
    (i ? calls?.length === 1 && JSON.stringify(calls[0].inputs) === JSON.stringify([[layers[i - 1].layer?.config?.name, 0, 0]])
      : layer?.class_name === "InputLayer"));
  if (!straight || !layers.length) throw new Error("The model's layers do not form a chain.");
  return layers.map((/** @type {any} */ { layer }) => Object(layer));
}

/**
 * @param {any} given a name, or a class name with settings
 * @param {Catalogue} catalogue
 * @returns {string} its name on the page
 */
function activationOf(given, catalogue) {
  const kind = typeof given === "string" ? given : String(given?.class_name ?? "linear");
  const name = kind.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase();
  if (!Object.hasOwn(catalogue.activations, name)) throw new Error(`This page does not support the activation “${kind}”.`);
  const { settings } = catalogue.activations[name];
  for (const [setting, value] of Object.entries(given?.config ?? {})) {
    if (settings[setting] !== value) {
      throw new Error(`An activation ${name} has ${setting} = ${value}; this page uses ${settings[setting]}.`);
    }
  }
  return name;
}

/**
 * @param {any} given a regularizer
 * @param {string[]} notes
 * @returns {{l1: number, l2: number}}
 */
function penalties(given, notes) {
  const { l1 = 0, l2 = 0 } = given?.config ?? {};
  const known = !given || ["L1", "L2", "L1L2"].includes(given.class_name);
  if (known && [l1, l2].every((v) => v >= 0 && v <= 10)) return { l1, l2 };
  notes.push("An unsupported regularizer was ignored.");
  return { l1: 0, l2: 0 };
}
