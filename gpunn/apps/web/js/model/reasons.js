// Why a model of tables answers as it does: how much each column moved the answer from that for the
// row that the form begins with. gpunn/apps/tables/shapley.py says what the amounts are.
import { fill, make } from "../playground/dom.js";
import { readable } from "./answers.js";

/** @typedef {import("./encodings.js").Value} Value null is missing */

const SHOWN = 3; // columns with the largest amounts

/**
 * How much each column moved the answer: Shapley values over the given orders.
 * @param {(samples: Value[][]) => number[]} answers the answer for each sample
 * @param {Value[]} values of the row
 * @param {Value[]} first the row that the answer moved from
 * @param {number[][]} orders in which columns get the row's values
 * @returns {number[]} they add up to the difference of the two answers
 */
export function amounts(answers, values, first, orders) {
  const samples = [first];
  const places = new Map([["", 0]]); // of the samples, by the columns that have the row's values
  const chains = orders.map((order) => {
    const has = new Set();
    return order.filter((k) => values[k] !== first[k]).map((k) => {
      has.add(k);
      const key = [...has].sort((a, b) => a - b).join();
      const known = places.get(key);
      if (known !== undefined) return [k, known];
      places.set(key, samples.length);
      samples.push(first.map((value, i) => (has.has(i) ? values[i] : value)));
      return [k, samples.length - 1];
    });
  });
  const found = answers(samples);
  const sums = values.map(() => 0);
  for (const chain of chains) {
    let before = 0;
    for (const [k, place] of chain) {
      sums[k] += found[place] - found[before];
      before = place;
    }
  }
  return sums.map((sum) => sum / orders.length);
}

/**
 * The largest amounts, as rows of a table with bars.
 * @param {HTMLElement} element
 * @param {string[]} names of the columns
 * @param {number[]} found their amounts
 * @param {boolean} isShare whether they are of a probability
 * @param {string} from the answer that they are relative to, in words
 */
export function show(element, names, found, isShare, from) {
  const least = isShare ? 0.0005 : 1e-6 * Math.max(...found.map(Math.abs));
  const best = found.map((_, k) => k).sort((a, b) => Math.abs(found[b]) - Math.abs(found[a]) || a - b)
    .slice(0, SHOWN).filter((k) => Math.abs(found[k]) > least);
  fill(element, make("p", { class: "quiet" }, best.length > 0 ? `What moved it most from ${from}:`
    : `This is about ${from}. Change a field to see what moves it.`),
    make("ul", {}, best.map((k) => make("li", {}, `${names[k]} `, make("b", {}, signed(found[k], isShare))))));
}

/**
 * @param {number} amount
 * @param {boolean} isShare
 */
const signed = (amount, isShare) => `${amount > 0 ? "+" : ""}${isShare
  ? `${(100 * amount).toFixed(1)} points`.replace("-", "\u2212") : readable(amount, 3)}`;
