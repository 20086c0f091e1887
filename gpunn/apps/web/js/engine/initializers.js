// The initial weights of a layer, as gpunn.initializers draw them, from the same random numbers.
import { Generator } from "./random.js";

/**
 * An initializer as in `parts`: its kind and its settings, by their names in Python. `fixed` are the
 * settings that cannot be chosen.
 * @typedef {Object} Initializer
 * @property {string} draw
 * @property {Object<string, number|string>} settings
 * @property {Object<string, number|string>} fixed
 * @property {Object<string, string[]>} choices allowed values of a string setting
 */

/** The standard deviation of a standard normal distribution truncated at two deviations. */
const TRUNCATED = 0.87962566103423978;

/**
 * @typedef {Object} Asked
 * @property {number} rows inputs of the layer
 * @property {number} columns its units
 * @property {Generator} generator
 */

/** @type {Object<string, (given: any, asked: Asked) => ArrayLike<number>>} */
const DRAWS = {
  constant: ({ value }, asked) => filled(asked, () => value),
  uniform: ({ minval, maxval }, asked) => filled(asked, () => asked.generator.uniform(minval, maxval)),
  normal: ({ mean, stddev }, asked) => filled(asked, () => mean + stddev * asked.generator.normal()),
  truncated: ({ mean, stddev }, asked) => truncated(asked).map((drawn) => mean + stddev * drawn),
  scaled,
  identity: ({ gain }, { rows, columns }) =>
    Array.from({ length: rows * columns }, (_, i) => (i % (columns + 1) === 0 && i < columns * columns ? gain : 0)),
  orthogonal,
};

/**
 * The initial weights of a layer: those of gpunn's initializer with this seed.
 * @param {Initializer} how
 * @param {Object<string, number|string>} given settings that differ from the defaults
 * @param {number} rows inputs of the layer
 * @param {number} columns its units
 * @param {number} seed
 * @returns {Float32Array} (rows, columns)
 */
export function firstWeights(how, given, rows, columns, seed) {
  if (!Object.hasOwn(DRAWS, how.draw)) throw new Error(`Unknown kind of initializer "${how.draw}".`);
  const settings = { ...how.settings, ...how.fixed, ...given };
  return Float32Array.from(DRAWS[how.draw](settings, { rows, columns, generator: new Generator(seed) }));
}

/**
 * @param {Asked} asked
 * @param {() => number} draw
 */
function filled({ rows, columns }, draw) {
  return Float64Array.from({ length: rows * columns }, draw);
}

/** Normal numbers; those beyond two deviations are redrawn, in order. @param {Asked} asked */
function truncated(asked) {
  const { generator } = asked;
  const found = filled(asked, () => generator.normal());
  for (;;) {
    const outside = [...found.keys()].filter((i) => Math.abs(found[i]) > 2);
    if (!outside.length) return found;
    for (const i of outside) found[i] = generator.normal();
  }
}

/**
 * Draws whose variance is scale / n.
 * @param {{scale: number, mode: string, distribution: string}} given
 * @param {Asked} asked
 */
function scaled({ scale, mode, distribution }, asked) {
  const { rows, columns, generator } = asked;
  const fans = { fan_in: rows, fan_out: columns, fan_avg: (rows + columns) / 2 };
  const n = fans[/** @type {keyof typeof fans} */ (mode)];
  const variance = scale / Math.max(1, n);
  const deviation = Math.sqrt(variance);
  const limit = Math.sqrt(3 * variance);
  if (distribution === "uniform") return filled(asked, () => generator.uniform(-limit, limit));
  if (distribution === "untruncated_normal") return filled(asked, () => deviation * generator.normal());
  return truncated(asked).map((drawn) => (deviation / TRUNCATED) * drawn);
}

/**
 * The Q of a QR decomposition of normal numbers, where R has a positive diagonal: by Gram-Schmidt,
 * applied twice to each column, which is as accurate as Householder reflections.
 * @param {{gain: number}} given
 * @param {Asked} asked
 */
function orthogonal({ gain }, { rows, columns, generator }) {
  const [long, short] = [Math.max(rows, columns), Math.min(rows, columns)];
  const vectors = Array.from({ length: short }, () => new Float64Array(long));
  for (let i = 0; i < long; i++) for (const vector of vectors) vector[i] = generator.normal();
  const product = (/** @type {Float64Array} */ a, /** @type {Float64Array} */ b) =>
    a.reduce((sum, v, i) => sum + v * b[i], 0);
  vectors.forEach((vector, j) => {
    for (const before of [...vectors.slice(0, j), ...vectors.slice(0, j)]) {
      const share = product(vector, before);
      before.forEach((v, i) => (vector[i] -= share * v));
    }
    const length = Math.sqrt(product(vector, vector));
    vector.forEach((v, i) => (vector[i] = v / length));
  });
  const at = (/** @type {number} */ row, /** @type {number} */ column) =>
    rows >= columns ? vectors[column][row] : vectors[row][column];
  return Array.from({ length: rows * columns }, (_, i) => gain * at(Math.floor(i / columns), i % columns));
}
