// How the prediction changes along one column, as a small plot and in words.
import { fill, makeSvg } from "../playground/dom.js";

/**
 * @typedef {Object} Curve
 * @property {string} name of the column
 * @property {"number" | "category"} kind
 * @property {string[]} labels of the points
 * @property {number[]} answers predictions at the points
 * @property {number} at index of the current point; fractional between two numbers, NaN for none
 */

const [WIDTH, HEIGHT, EDGE] = [240, 64, 6];
const LISTED = 12; // maximum number of categories listed

/**
 * @param {SVGElement} drawing
 * @param {Curve} curve
 * @param {[number, number]} ends the predictions at the bottom and at the top
 * @param {(answer: number) => string} number how an answer is written
 */
export function curve(drawing, { kind, labels, answers, at }, [low, high], number) {
  const titles = labels.map((label, i) => `${label}: ${number(answers[i])}`);
  const y = (/** @type {number} */ answer) =>
    round(EDGE + (HEIGHT - 2 * EDGE) * (high > low ? (high - answer) / (high - low) : 0.5));
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  fill(drawing,
    makeSvg("rect", { class: "frame", x: 0.5, y: 0.5, width: WIDTH - 1, height: HEIGHT - 1 }),
    kind === "category" ? bars(answers, at, y, titles) : line(answers, at, y));
}

/**
 * Describe a curve in words.
 * @param {Curve} curve
 * @param {string} what changes
 * @param {(answer: number) => string} number how an answer is written
 */
export function said({ name, kind, labels, answers }, what, number) {
  const last = answers.length - 1;
  const told = kind === "category"
    ? answers.slice(0, LISTED).map((answer, i) => `${number(answer)} for ${labels[i]}`)
    : [...new Set([0, last >> 1, last])].map((i) => `${number(answers[i])} at ${labels[i]}`);
  return `${name}: ${what} is ${told.join(", ")}${kind === "category" && last >= LISTED ? ", …" : ""}.`;
}

/** @param {number} value */
const round = (value) => Math.round(100 * value) / 100;

/**
 * @param {number[]} answers
 * @param {number} at
 * @param {(answer: number) => number} y
 */
function line(answers, at, y) {
  const x = (/** @type {number} */ i) => round(EDGE + ((WIDTH - 2 * EDGE) * i) / (answers.length - 1));
  const points = answers.map((answer, i) => (Number.isFinite(answer) ? `${x(i)},${y(answer)}` : ""));
  const drawn = [makeSvg("polyline", { class: "line", points: points.join(" ").trim() })];
  const [before, after] = [answers[Math.floor(at)], answers[Math.ceil(at)]];
  const answer = before + (after - before) * (at % 1);
  if (Number.isFinite(answer)) drawn.push(makeSvg("circle", { class: "now", cx: x(at), cy: y(answer), r: 4 }));
  return drawn;
}

/**
 * @param {number[]} answers
 * @param {number} at
 * @param {(answer: number) => number} y
 * @param {string[]} titles
 */
function bars(answers, at, y, titles) {
  const each = (WIDTH - 2 * EDGE) / answers.length;
  return answers.map((answer, i) => Number.isFinite(answer) && makeSvg("rect", {
    class: i === at ? "bar now" : "bar", x: round(EDGE + (i + 0.1) * each), width: round(0.8 * each),
    y: y(answer), height: round(HEIGHT - EDGE - y(answer) + 1),
  }, makeSvg("title", {}, titles[i])));
}
