// The settings, their defaults, and their form in the page's address. An address may come from anyone:
// invalid settings are ignored and reported.
import { LESSONS } from "./lessons.js";
import { SHAPES } from "./points/shapes.js";

/**
 * The available choices, by their names in Python (`gpunn.apps.web.playground.catalogue`).
 * Infinite bounds have size 1e300.
 * @typedef {Object} Catalogue
 * @property {{[name: string]: {range: [number, number] | null, rowwise: boolean,
 *   steepest: number | null, settings: {[name: string]: unknown}}}} activations steepest: the largest
 *   slope of one with two flat ends
 * @property {{[name: string]: {predictions: string | null,
 *   targets: string | null, several: boolean, fuses: string | null}}} losses
 * @property {{[name: string]: {settings: {[name: string]: number}, flags: string[]}}} optimizers
 *   flags: the settings that are true (1) or false (0)
 * @property {{[name: string]: {settings: {[name: string]: number | string},
 *   choices: {[name: string]: string[]}, least: {[name: string]: number}}}} initializers choices: of
 *   string settings; least: of numeric ones
 * @property {{flat: number, many: number, far_apart: number}} bounds of `GradientMonitor`
 * @property {number} epsilon of batch normalization
 * @property {string[]} missing strings that mark a missing value in a table
 */

/**
 * @typedef {Object} LayerChoice
 * @property {number} units
 * @property {string} activation
 * @property {{name: string, settings: {[name: string]: number | string}}} initializer and the settings
 *   that differ from its defaults
 * @property {number} dropout
 * @property {boolean} normalize
 * @property {number} l1
 * @property {number} l2
 */

/**
 * @typedef {Object} Settings
 * @property {string} data name of a shape, or "own"
 * @property {number} rows
 * @property {number} noise
 * @property {number} classes
 * @property {number} held fraction of the points held out for testing
 * @property {number} draw seed of the data
 * @property {LayerChoice[]} layers the hidden layers
 * @property {string} output activation of the last layer, or "auto"
 * @property {string} loss or "auto"
 * @property {boolean} each whether each of two classes has its own unit
 * @property {{name: string, settings: {[name: string]: number}}} optimizer settings that differ from the defaults
 * @property {number} batch
 * @property {number} seed
 * @property {OwnPoints | null} own
 */

/**
 * @typedef {Object} OwnPoints
 * @property {"classes" | "numbers"} task
 * @property {1 | 2} inputs
 * @property {number[][]} points
 * @property {string[]} classes
 * @property {string[]} [names]
 * @property {{mean: number, deviation: number}[]} [scales]
 */

/** @typedef {{least: number, most: number, whole?: boolean, step?: number | "any"}} Bounds */

export const LIMITS = bounds({
  rows: { least: 10, most: 2000, whole: true },
  noise: { least: 0, most: 1, step: 0.01 },
  classes: { least: 2, most: 6, whole: true },
  held: { least: 0, most: 0.9, step: 0.05 },
  draw: { least: 0, most: 999, whole: true },
  batch: { least: 1, most: 2000, whole: true },
  seed: { least: 0, most: 99, whole: true },
  layers: { least: 0, most: 8, whole: true },
  units: { least: 1, most: 24, whole: true },
  dropout: { least: 0, most: 0.95, step: 0.05 },
  l1: { least: 0, most: 10, step: "any" },
  l2: { least: 0, most: 10, step: "any" },
});
export const LARGEST = 1000; // value of an optimizer's or an initializer's setting
export const MOST_OWN = 2000; // points
const MOST_IN_ADDRESS = 30_000; // characters of points

/**
 * @template {string} Name
 * @param {{[name in Name]: Bounds}} given
 */
function bounds(given) {
  return given;
}

/** @returns {LayerChoice} */
export function newLayer(units = 8, activation = "tanh") {
  return { units, activation, initializer: { name: "glorot_uniform", settings: {} }, dropout: 0, normalize: false, l1: 0, l2: 0 };
}

/** @returns {Settings} */
export function defaults() {
  return {
    data: "moons", rows: 250, noise: 0.1, classes: 2, held: 0.3, draw: 0,
    layers: [newLayer(), newLayer()], output: "auto", loss: "auto", each: false,
    optimizer: { name: "Adam", settings: { learning_rate: 0.01 } }, batch: 10, seed: 0, own: null,
  };
}

/**
 * @param {string} name of a lesson
 * @param {boolean} cured
 * @returns {string} its address
 */
export function lessonAddress(name, cured) {
  return `lesson=${name}${cured ? "&cured=true" : ""}`;
}

/**
 * @param {Settings} settings
 * @param {Catalogue} catalogue
 * @param {string} [lesson] the one that is shown: while nothing is changed, its name is the address
 * @returns {{text: string, complete: boolean}} the part after the "#"; incomplete if there are too
 *   many user-defined points
 */
export function toAddress(settings, catalogue, lesson = "") {
  for (const cured of lesson ? [false, true] : []) {
    const text = lessonAddress(lesson, cured);
    if (JSON.stringify(fromAddress(text, catalogue).settings) === JSON.stringify(settings)) return { text, complete: true };
  }
  const found = new URLSearchParams();
  const usual = { ...defaults(), noise: SHAPES[settings.data]?.noise ?? defaults().noise };
  for (const name of /** @type {const} */ (
    ["data", "rows", "noise", "classes", "held", "draw", "output", "loss", "each", "batch", "seed"])) {
    if (settings[name] !== usual[name]) found.set(name, String(settings[name]));
  }
  found.set("net", settings.layers.map(layerText).join(","));
  found.set("optimizer", [settings.optimizer.name, ...settingTexts(settings.optimizer.settings)].join(":"));
  let complete = true;
  if (settings.data === "own" && settings.own) {
    const points = settings.own.points.map((p) => p.map((v) => Number(v.toPrecision(5))));
    const text = JSON.stringify({ ...settings.own, points });
    complete = text.length <= MOST_IN_ADDRESS;
    if (complete) found.set("own", text);
  }
  return { text: found.toString(), complete };
}

/** @param {{[name: string]: number | string}} settings */
function settingTexts(settings) {
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`);
}

/** @param {LayerChoice} layer */
function layerText(layer) {
  const usual = newLayer();
  const { name: how, settings } = layer.initializer;
  const more = /** @type {const} */ (["dropout", "normalize", "l1", "l2"])
    .filter((name) => layer[name] !== usual[name]).map((name) => `${name}=${layer[name]}`);
  if (how !== usual.initializer.name) more.unshift(`initializer=${how}`, ...settingTexts(settings));
  return [layer.units, layer.activation, ...more].join(":");
}

/**
 * @param {string} text the part after the "#"
 * @param {Catalogue} catalogue
 * @returns {{settings: Settings, refused: string[], lesson: string, cured: boolean}} refused: names of the
 *   ignored settings; lesson: the name that is given, perhaps of an unknown one
 */
export function fromAddress(text, catalogue) {
  const settings = defaults();
  /** @type {string[]} */
  const refused = [];
  let given = new URLSearchParams(text);
  const [lesson, cured] = [given.get("lesson") ?? "", given.get("cured") === "true"];
  given.delete("lesson");
  given.delete("cured");
  if (Object.hasOwn(LESSONS, lesson)) {
    const { settings: start, cured: changes, own } = LESSONS[lesson];
    settings.own = own?.(cured) ?? null;
    given = new URLSearchParams([start, cured ? changes : "", String(given)].filter(Boolean).join("&"));
  }
  const shape = given.get("data") ?? settings.data;
  if (Object.hasOwn(SHAPES, shape)) settings.noise = SHAPES[shape].noise ?? settings.noise;
  for (const [name, value] of given) {
    const change = read(name, value, catalogue);
    if (change) Object.assign(settings, change);
    else refused.push(name);
  }
  if (settings.data === "own" && !settings.own) {
    settings.data = "moons";
    if (!refused.includes("own")) refused.push("data");
  }
  return { settings, refused, lesson, cured };
}

/**
 * @param {string} name
 * @param {string} value
 * @param {Catalogue} catalogue
 * @returns {Partial<Settings> | null}
 */
function read(name, value, catalogue) {
  switch (name) {
    case "data":
      return value === "own" || Object.hasOwn(SHAPES, value) ? { data: value } : null;
    case "rows": case "noise": case "classes": case "held": case "draw": case "batch": case "seed": {
      const found = within(value, LIMITS[name]);
      return found === null ? null : { [name]: found };
    }
    case "output":
      return value === "auto" || Object.hasOwn(catalogue.activations, value) ? { output: value } : null;
    case "loss":
      return value === "auto" || Object.hasOwn(catalogue.losses, value) ? { loss: value } : null;
    case "each":
      return { each: value === "true" };
    case "net": {
      const layers = value === "" ? [] : value.split(",").map((layer) => readLayer(layer, catalogue));
      return layers.length <= LIMITS.layers.most && !layers.includes(null)
        ? { layers: /** @type {LayerChoice[]} */ (layers) } : null;
    }
    case "optimizer": {
      const [kind, ...parts] = value.split(":");
      if (!Object.hasOwn(catalogue.optimizers, kind)) return null;
      /** @type {{[name: string]: number}} */
      const chosen = {};
      for (const part of parts) {
        const [setting, number] = part.split("=");
        const found = within(number ?? "", { least: 0, most: LARGEST });
        if (found === null || !Object.hasOwn(catalogue.optimizers[kind].settings, setting)) return null;
        chosen[setting] = found;
      }
      return { optimizer: { name: kind, settings: chosen } };
    }
    case "own": {
      const own = readOwn(value);
      return own && { own };
    }
    default:
      return null;
  }
}

/**
 * @param {string} text
 * @param {{least: number, most: number, whole?: boolean}} bounds
 * @returns {number | null}
 */
function within(text, { least, most, whole }) {
  const value = text.trim() === "" ? NaN : Number(text);
  return value >= least && value <= most && (!whole || Number.isInteger(value)) ? value : null;
}

/**
 * @param {string} text
 * @param {Catalogue} catalogue
 * @returns {LayerChoice | null}
 */
function readLayer(text, catalogue) {
  const [units, activation = "tanh", ...parts] = text.split(":");
  const count = within(units, LIMITS.units);
  if (count === null || !Object.hasOwn(catalogue.activations, activation)) return null;
  const layer = newLayer(count, activation);
  for (const part of parts) {
    const [name, value = ""] = part.split("=");
    if (name === "normalize") layer.normalize = value === "true";
    else if (name === "initializer" && Object.hasOwn(catalogue.initializers, value)) {
      layer.initializer = { name: value, settings: {} };
    }
    else if (name === "dropout" || name === "l1" || name === "l2") {
      const found = within(value, LIMITS[name]);
      if (found === null) return null;
      layer[name] = found;
    } else {
      const found = ofInitializer(catalogue.initializers[layer.initializer.name], name, value);
      if (found === null) return null;
      layer.initializer.settings[name] = found;
    }
  }
  return layer;
}

/**
 * @param {Catalogue["initializers"][string]} known
 * @param {string} name of a setting
 * @param {string} value
 * @returns {number | string | null}
 */
function ofInitializer(known, name, value) {
  if (!Object.hasOwn(known.settings, name)) return null;
  const { [name]: options } = known.choices;
  if (options) return options.includes(value) ? value : null;
  return within(value, { least: known.least[name], most: LARGEST });
}

/**
 * @param {string} text
 * @returns {OwnPoints | null}
 */
function readOwn(text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch {
    return null;
  }
  const { task, inputs, points, classes = [], names, scales } = given ?? {};
  const texts = (/** @type {unknown} */ list, /** @type {number} */ count) => Array.isArray(list)
    && list.length === count && list.every((t) => typeof t === "string" && t.length <= 200);
  const fine = (task === "classes" || task === "numbers") && (inputs === 1 || inputs === 2)
    && Array.isArray(classes) && texts(classes, classes.length)
    && (task === "numbers" ? classes.length === 0 : classes.length >= 2 && classes.length <= 6)
    && (task === "numbers" || inputs === 2)
    && Array.isArray(points) && points.length >= 2 && points.length <= MOST_OWN
    && points.every((p) => Array.isArray(p) && p.length === inputs + 1
      && p.every((v) => typeof v === "number" && Math.abs(v) <= 1e6)
      && (task === "numbers" || (Number.isInteger(p[inputs]) && p[inputs] >= 0 && p[inputs] < classes.length)))
    && (names === undefined || texts(names, inputs + 1))
    && (scales === undefined || (Array.isArray(scales) && scales.length >= inputs && scales.length <= inputs + 1
      && scales.every((s) => s && Number.isFinite(s.mean) && Number.isFinite(s.deviation) && s.deviation > 0)));
  if (!fine) return null;
  return { task, inputs, points, classes, ...(names && { names }), ...(scales && { scales }) };
}
