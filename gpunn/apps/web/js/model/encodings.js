// Encodes data before a model's forward pass: imputes missing numbers, converts strings and whole
// numbers to codes, and dates and texts to numbers, as the layers in Python do. `encodings` in gpunn/apps/web/encodings.py describes
// the steps.

import { features, moment } from "./dates.js";
import { hashedWords } from "./hashing.js";

/**
 * A value from the user: null, undefined and NaN are missing.
 * @typedef {number | bigint | boolean | string | null | undefined} Value
 */

/**
 * A step reads data by number: -1 and below are the inputs, 0 and above the outputs of steps.
 * @typedef {Object} Step
 * @property {"fill" | "missing" | "text" | "integer" | "date" | "words"} kind
 * @property {string} layer its name
 * @property {number} of number of the data that it reads
 * @property {number[]} [markers] numbers that stand for missing ones
 * @property {number[]} [with] values that replace missing ones, by index along the last axis
 * @property {string[]} [tokens] the vocabulary of a lookup
 * @property {number} [first] code of its first entry
 * @property {number} [unknown] number of codes before that, for values not in the vocabulary
 * @property {[string, number] | null} [mask] the token for missing values, and its code
 * @property {boolean} [fold] whether strings that differ in case or in blanks alone have one code
 * @property {[string, number, number][]} [features] what dates become; see `features` in dates.js
 * @property {boolean} [dayFirst] whether 03/04/2024 is in April
 * @property {boolean} [takesTimes] whether times of day alone are dates here
 * @property {number} [count] how many numbers the words of a text become
 * @property {string | null} [norm] by which they are divided
 * @property {boolean} [signed] whether words have signs
 *
 * @typedef {Object} Encodings
 * @property {{name: string, shape: number[]}[]} inputs names, with the shape of one sample
 * @property {Step[]} steps
 * @property {{layer: string, of: number, from?: number, below: number | null}[]} checks data that must
 *   be whole numbers, and at least `from` (0) and less than `below`, if that is given
 * @property {number[]} fed numbers of the data that the forward pass reads
 */

/**
 * @param {Encodings} encodings
 * @param {Value[][]} inputs the values of each input, sample by sample
 * @returns {Float32Array[]} the inputs of the forward pass
 * @throws {Error} for invalid values
 */
export function encoded({ inputs: known, steps, checks, fed }, inputs) {
  if (inputs.length !== known.length)
    throw new Error(`The model takes ${known.length} inputs; got ${inputs.length}.`);
  /** @type {Value[][]} */
  const made = [];
  const numbered = (/** @type {number} */ n) => (n < 0 ? inputs[-1 - n] : made[n]);
  const named = (/** @type {number} */ n) => {
    while (n >= 0) n = steps[n].of;
    return known[-1 - n].name;
  };
  for (const step of steps) made.push(STEPS[step.kind](numbered(step.of), step, named(step.of)));
  for (const { of, from = 0, below, layer } of checks) {
    const wrong = numbered(of).find((v) => !(Number.isInteger(v) || typeof v === "boolean")
      || (below !== null && !(Number(v) >= from && Number(v) < below)));
    if (wrong !== undefined) {
      const bounds = below === null ? "" : ` from ${from} to ${below - 1}`;
      throw new Error(`${named(of)} holds ${shown(wrong)}; ${layer} takes whole numbers${bounds}.`);
    }
  }
  return fed.map((n) => Float32Array.from(numbered(n), (v) => number(v, named(n))));
}

/** @param {Value} value */
const isMissing = (value) => value === null || value === undefined || Number.isNaN(value);

/** @param {Value} value */
const shown = (value) => (typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value));

/**
 * @param {Value} value
 * @param {string} input its name
 * @returns {number} NaN for a missing value
 */
function number(value, input) {
  if (isMissing(value)) return NaN;
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "bigint")
    return Number(value);
  throw new Error(`${input} holds ${shown(value)}; numbers are expected.`);
}

/**
 * @param {Value} value
 * @param {string} input
 */
function integer(value, input) {
  const whole = typeof value === "bigint" || typeof value === "boolean" || Number.isInteger(value);
  const found = whole ? BigInt(/** @type {number} */ (value)) : null;
  if (found === null || BigInt.asIntN(64, found) !== found)
    throw new Error(`${input} holds ${shown(value)}; integers of 64 bits are expected.`);
  return found;
}

/**
 * @param {Value} value
 * @param {string} input
 */
function text(value, input) {
  if (typeof value !== "string") throw new Error(`${input} holds ${shown(value)}; texts are expected.`);
  return value;
}

/** @param {string} value */
const folded = (value) => value.toLowerCase().replace(/\s+/gu, " ").replace(/^ | $/gu, "");

/**
 * @template {string | bigint} T
 * @param {Value[]} values
 * @param {Step} step
 * @param {string} input
 * @param {(value: Value, input: string) => T} read reads a value that is not missing
 * @param {(token: string) => T} token
 * @returns {number[]} codes
 */
function codes(values, { layer, tokens = [], first = 0, unknown = 0, mask = null, fold = false }, input, read, token) {
  const table = new Map(tokens.map((entry, k) => [token(entry), first + k]));
  const spellings = new Map(fold ? tokens.map((entry, k) => [folded(entry), first + k]) : []);
  if (mask) table.set(token(mask[0]), mask[1]);
  const start = first - unknown;
  return values.map((value) => {
    if (isMissing(value)) {
      if (mask) return mask[1];
      if (unknown) return start;
      throw new Error(`${input} holds no value, and ${layer} has no code for that.`);
    }
    const entry = read(value, input);
    const code = table.get(entry) ?? (fold ? spellings.get(folded(String(entry))) : undefined);
    if (code !== undefined) return code;
    if (!unknown) throw new Error(`${input} holds ${shown(value)}, which is not in the vocabulary of ${layer}.`);
    if (typeof entry !== "bigint") return start;
    const count = BigInt(unknown); // the remainder has the divisor's sign, as in Python
    return start + Number(((entry % count) + count) % count);
  });
}

/**
 * @param {Value} value
 * @param {Step} step
 * @param {string} input
 */
function date(value, { layer, dayFirst = false, takesTimes = false }, input) {
  if (isMissing(value) || value === "") return null;
  const found = typeof value === "string" ? moment(value, dayFirst) : null;
  if (!found || (found.day === null && !takesTimes))
    throw new Error(`${input} holds ${shown(value)}${found ? ", a time of day" : ""}; ${layer} takes dates.`);
  return found;
}

/** @type {{[kind: string]: (values: Value[], step: Step, input: string) => Value[]}} */
const STEPS = {
  fill: (values, { with: by = [0], markers = [] }, input) => values.map((value, k) => {
    const found = number(value, input);
    return isMissing(value) || markers.includes(found) ? by[k % by.length] : found;
  }),
  missing: (values, { markers = [] }, input) => values.map((value) => {
    const found = number(value, input);
    return Number.isNaN(found) || markers.includes(found) ? 1 : 0;
  }),
  text: (values, step, input) => codes(values, step, input, text, (token) => token),
  integer: (values, step, input) => codes(values, step, input, integer, BigInt),
  date: (values, step, input) => values.flatMap((value) => features(date(value, step, input), step.features ?? [])),
  words: (values, { count = 0, norm = null, signed = true }, input) =>
    values.flatMap((value) => hashedWords(isMissing(value) ? "" : text(value, input), count, norm, signed)),
};
