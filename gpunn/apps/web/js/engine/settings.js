// Checks the settings of a network and converts them to parts that the kernels support.
import { Activation, BatchNormalization, Dense, Dropout } from "./layers.js";

const ALIGNMENT = 16; // values: parameters begin on a cache line

/**
 * @template T
 * @param {Object<string, T>} known
 * @param {string} name
 * @param {string} what
 * @returns {T}
 */
export function find(known, name, what) {
  if (Object.hasOwn(known, name)) return known[name];
  throw new Error(`Unknown ${what} "${name}"; use one of ${Object.keys(known).join(", ")}.`);
}

/**
 * @param {unknown} value
 * @param {string} what
 * @param {number} least
 * @param {number} [most]
 */
export function checkWhole(value, what, least, most = 2 ** 31) {
  if (!Number.isInteger(value) || Number(value) < least || Number(value) > most)
    throw new Error(`${what} must be a whole number from ${least} to ${most}; got ${value}.`);
  return Number(value);
}

/**
 * @param {unknown} value
 * @param {string} what
 */
export function checkNotNegative(value, what) {
  if (typeof value !== "number" || !(value >= 0 && value < Infinity))
    throw new Error(`${what} must be a number of at least 0; got ${value}.`);
  return value;
}

/**
 * Return the parts of each layer. The activation belongs to the dense part if nothing is between them.
 * @param {import("../engine.js").NetworkSettings} settings
 * @param {any} parts see `Parts`
 */
export function partsOf(settings, parts) {
  if (!settings.layers?.length) throw new Error("A network needs at least one layer.");
  let inputs = checkWhole(settings.inputs, "inputs", 1);
  let number = 0;
  const layers = settings.layers.map((layer, k) => {
    const units = checkWhole(layer.units, `units of layer ${k + 1}`, 1, 65536);
    const activation = find(parts.activations, layer.activation ?? "linear", "activation");
    const rate = checkNotNegative(layer.dropout ?? 0, `dropout of layer ${k + 1}`);
    if (rate >= 1) throw new Error(`dropout of layer ${k + 1} must be below 1; got ${rate}.`);
    const dense = new Dense(inputs, units, layer.normalize ? null : activation);
    /** @type {any[]} */
    const own = [dense];
    if (layer.normalize)
      own.push(new BatchNormalization(units, parts.batch_normalization), new Activation(units, activation));
    const shown = own[own.length - 1];
    if (rate > 0) own.push(new Dropout(units, rate));
    for (const part of own) part.number = number++;
    inputs = units;
    return { dense, shown, activation, parts: own, settings: layer };
  });
  if (inputs !== settings.outputs)
    throw new Error(`The last layer has ${inputs} units, but there are ${settings.outputs} outputs.`);
  return layers;
}

/**
 * Return the optimizer: its formula, and its settings by name.
 * @param {import("../engine.js").NetworkSettings} settings
 * @param {any} parts
 */
export function optimizerOf(settings, parts) {
  const { name, ...given } = settings.optimizer ?? {};
  const found = find(parts.optimizers, name ?? "none", "optimizer");
  /** @type {Object<string, number>} */
  const numbers = { ...found.defaults };
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(numbers, key))
      throw new Error(`${name} has no ${key}; it has ${Object.keys(numbers).join(", ")}.`);
    numbers[key] = checkNotNegative(Number(value ?? 0), `${key} of ${name}`);
  }
  const parameters = () =>
    [...found.parameters.map((/** @type {string} */ key) => numbers[key]), ...found.constants];
  /** The formula selected by the options that are not 0. @returns {string} */
  const functor = () =>
    found.functors[found.options.filter((/** @type {string} */ key) => numbers[key]).join(" ")];
  return { name, functor, numbers, parameters, first: found.first, byNorms: found.by_norms };
}

/**
 * Return the initializer of a layer, and the settings that differ from its defaults.
 * @param {import("../engine.js").LayerSettings} settings
 * @param {any} parts
 */
export function initializerOf(settings, parts) {
  const { name, ...given } = settings.initializer ?? { name: "glorot_uniform" };
  /** @type {import("./initializers.js").Initializer} */
  const how = find(parts.initializers, name, "initializer");
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(how.settings, key))
      throw new Error(`${name} has no ${key}; it has ${Object.keys(how.settings).join(", ") || "no settings"}.`);
    if (how.choices[key] && !how.choices[key].includes(String(value)))
      throw new Error(`${key} of ${name} must be ${how.choices[key].join(" or ")}; got ${value}.`);
    if (typeof value !== typeof how.settings[key] || (typeof value === "number" && !Number.isFinite(value)))
      throw new Error(`${key} of ${name} must be a ${typeof how.settings[key]}; got ${value}.`);
  }
  return { how, given: /** @type {Object<string, number|string>} */ (given) };
}

/**
 * Assign the parameters of all parts their offsets in the flat arrays.
 * @param {any[]} layers
 */
export function layOut(layers) {
  let [size, stateSize] = [0, 0];
  const places = [];
  const whole = (/** @type {number} */ n) => Math.ceil(n / ALIGNMENT) * ALIGNMENT;
  for (const part of layers.flatMap((layer) => layer.parts)) {
    for (const [name, n] of Object.entries(part.parameters)) {
      part.at[name] = size;
      places.push({ at: size, size: /** @type {number} */ (n) });
      size += whole(/** @type {number} */ (n));
    }
    for (const [name, n] of Object.entries(part.state)) {
      part.stateAt[name] = stateSize;
      stateSize += whole(/** @type {number} */ (n));
    }
  }
  return { size, stateSize, places };
}
