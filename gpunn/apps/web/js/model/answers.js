// Shows a model's prediction as text and bars.
import { fill, make } from "../playground/dom.js";

const TOP = 3; // number of classes shown

/** @param {number} share */
export const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9895 ? 0 : 1)}%`;

const LARGEST = 1e15; // numbers from here on are written in scientific notation

/**
 * Format a number for readers, such as 0.0123, 1,234,500 or 1.2e-7.
 * @param {number} value
 * @param {number} [digits] significant digits
 */
export function readable(value, digits = 5) {
  const size = Math.abs(value);
  const power = size !== 0 && (size < 1e-4 || size >= LARGEST);
  const text = power ? value.toExponential(digits - 1)
    : new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);
  return text.replace(/^-/, "−");
}

/**
 * Return a prediction as class probabilities.
 * @param {import("./main.js").Description} description
 * @param {ArrayLike<number>} output of one sample
 * @returns {number[]} empty for a number
 */
export function shares({ answer }, output) {
  if (answer === "share") return [1 - output[0], output[0]];
  return answer === "shares" ? Array.from(output) : [];
}

/**
 * Scale probabilities so that the class that is named has the largest: see gpunn/apps/decisions.py.
 * @param {{factors?: number[]}} description factors: of the classes; empty if it has it anyway
 * @param {number[]} shares
 */
export function weighed({ factors = [] }, shares) {
  if (!factors.length) return shares;
  const products = shares.map((share, k) => share * factors[k]);
  const sum = products.reduce((a, b) => a + b);
  return products.map((product) => product / sum);
}

/**
 * Join the names of classes; see `alternatives` in gpunn/apps/tables/intervals.py.
 * @param {string[]} names
 */
export const alternatives = (names) => names
  .map((name) => (` ${name} `.includes(" / ") || name.startsWith('"') ? `"${name.replaceAll('"', '""')}"` : name))
  .join(" / ");

/**
 * How far a prediction may be off; see `Intervals` and `ClassSets` in gpunn/apps/tables/intervals.py.
 * @typedef {Object} Interval
 * @property {number} level
 * @property {number[]} ends of the errors of a number, or the least probability of a class in the set
 * @property {number} [power] of the prediction that the width grows with
 * @property {number} [least] the smallest prediction
 * @property {boolean} [is_positive] whether no interval begins below 0
 */

/**
 * Say between which numbers, or in which classes, the truth is at the interval's level.
 * @param {Interval} interval
 * @param {import("./main.js").Description & {factors?: number[]}} description
 * @param {ArrayLike<number>} output of one sample
 */
export function range({ level, ends, power = 0, least = 0, is_positive }, description, output) {
  const found = shares(description, output);
  const share = percent(level);
  if (found.length) {
    const scaled = weighed(description, found);
    const named = found[scaled.indexOf(Math.max(...scaled))];
    const names = description.classes.filter((_, k) => found[k] >= Math.min(ends[0], named));
    return `In ${share} of cases it is ${alternatives(names)}`;
  }
  const spread = power ? Math.max(output[0], least) ** power : 1;
  const [low, high] = ends.map((end) => Math.max(output[0] + end * spread, is_positive ? 0 : -Infinity));
  return `In ${share} of cases it is from ${readable(low)} to ${readable(high)}`;
}

export class Answers {
  #text = "";

  /**
   * @param {import("./main.js").Description & {unsure_below?: number, rows?: number, factors?: number[],
   *   interval?: Interval}} description rows: the number of held-out rows that decided when a prediction is unsure
   */
  constructor(description) {
    this.description = description;
    this.said = make("output", { id: "answer", "aria-live": "polite" });
    this.bars = make("table", { id: "bars", "aria-label": "Most probable classes" });
    this.why = make("p", { id: "unsure", class: "quiet", hidden: true });
    this.range = make("p", { id: "range", hidden: !description.interval });
    this.element = make("div", { class: "answers" }, this.said, this.range, this.bars, this.why);
    const { unsure_below: below = 0, rows = 0 } = description;
    fill(this.why, `Unsure: the probability is below ${percent(below)}, as that of half of the mistakes on `
      + `${rows.toLocaleString("en")} samples held out from training.`);
  }

  /** @param {ArrayLike<number> | string} output of one sample, or the reason that there is none */
  show(output) {
    this.why.hidden = true;
    if (typeof output === "string") {
      fill(this.bars);
      fill(this.range);
      this.#say(output);
      return;
    }
    const found = shares(this.description, output);
    const { interval } = this.description;
    if (interval) fill(this.range, range(interval, this.description, output));
    if (!found.length) {
      this.#say(readable(output[0]));
      return;
    }
    const names = this.description.classes;
    const scaled = weighed(this.description, found);
    const best = found.map((_, k) => k).sort((a, b) => scaled[b] - scaled[a] || a - b).slice(0, TOP);
    const unsure = scaled[best[0]] < (this.description.unsure_below ?? 0);
    this.why.hidden = !(unsure && this.description.rows);
    this.#say(`${names[best[0]]}${unsure ? ", unsure" : ""}`);
    fill(this.bars, ...best.map((k) => make("tr", {},
      make("th", { scope: "row" }, names[k]),
      make("td", {}, make("progress", { max: 1, value: found[k], "aria-label": names[k] })),
      make("td", { class: "number" }, percent(found[k])),
    )));
  }

  /** @param {string} text read aloud by screen readers, so set only if it changes */
  #say(text) {
    if (text !== this.#text) fill(this.said, text);
    this.#text = text;
  }
}
