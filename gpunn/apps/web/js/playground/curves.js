// Loss curves over the epochs, on a logarithmic scale: of the training points, and dashed of the test points.
import { ticks } from "./plane.js";
import { fill, makeSvg, set } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 124, 54, 8, 16, 28];
const MOST_LINES = 5; // of the grid

/**
 * @param {SVGElement} svg
 * @param {import("./training.js").Moment[]} moments
 */
export function drawCurves(svg, moments) {
  set(svg, { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  const values = moments.flatMap((m) => [m.train, m.test]).filter((v) => Number.isFinite(v) && v > 0);
  const last = moments[moments.length - 1];
  if (!values.length) {
    fill(svg, makeSvg("text", { x: 10, y: 20 }, "No loss to plot"));
    return;
  }
  const [least, most] = [Math.min(...values), Math.max(...values)].map(Math.log10);
  const [low, high] = [Math.min(least, most - 0.3), Math.max(most, least + 0.3)];
  const first = moments[0].epoch;
  const end = Math.max(last.epoch, first + 1);
  const x = (/** @type {number} */ epoch) => LEFT + ((epoch - first) / (end - first)) * (WIDTH - LEFT - RIGHT);
  const y = (/** @type {number} */ v) => TOP + ((high - Math.log10(v)) / (high - low)) * (HEIGHT - BOTTOM - TOP);
  const path = (/** @type {"train" | "test"} */ of) => moments
    .filter((m) => Number.isFinite(m[of]) && m[of] > 0)
    .map((m, i) => `${i ? "L" : "M"}${x(m.epoch).toFixed(1)} ${y(m[of]).toFixed(1)}`).join("");
  const tested = moments.some((m) => !Number.isNaN(m.test));
  fill(
    svg,
    logTicks(low, high).map((v) => [
      makeSvg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v), class: "grid" }),
      makeSvg("text", { x: LEFT - 4, y: y(v) + 3.5, "text-anchor": "end" }, shortest(v)),
    ]).flat(),
    ticks(first, end).filter(Number.isInteger).map((epoch) =>
      makeSvg("text", { x: Math.min(x(epoch), WIDTH - RIGHT - 8), y: HEIGHT - BOTTOM + 13, "text-anchor": "middle" },
        epoch.toLocaleString("en"))),
    makeSvg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "epoch"),
    makeSvg("text", { x: 9, y: (TOP + HEIGHT - BOTTOM) / 2, "text-anchor": "middle",
      transform: `rotate(-90 9 ${(TOP + HEIGHT - BOTTOM) / 2})` }, "loss (log scale)"),
    key("train", "training", LEFT),
    tested && key("test", "test", LEFT + 84),
    makeSvg("path", { d: path("test"), class: "test" }),
    makeSvg("path", { d: path("train"), class: "train" }),
  );
}

/**
 * @param {"train" | "test"} of
 * @param {string} text
 * @param {number} x
 */
function key(of, text, x) {
  return makeSvg("g", {}, makeSvg("path", { d: `M${x} 6h22`, class: of }), makeSvg("text", { x: x + 27, y: 9.5 }, text));
}

/**
 * @param {number} low a power of ten
 * @param {number} high
 * @returns {number[]} round numbers from 10 ** low to 10 ** high: powers of ten, with 2 and 5 times these if
 *   there is room, or the round numbers of a linear scale if that gives fewer than two
 */
export function logTicks(low, high) {
  const inside = (/** @type {number} */ v) => Math.log10(v) >= low - 1e-9 && Math.log10(v) <= high + 1e-9;
  const powers = Array.from({ length: Math.floor(high) - Math.floor(low) + 1 }, (_, i) => Math.floor(low) + i);
  for (const [factors, every] of [[[1, 2, 5], 1], [[1, 3], 1], [[1], 1], [[1], 2], [[1], 5], [[1], 20]]) {
    const found = powers.filter((p) => p % Number(every) === 0)
      .flatMap((p) => [factors].flat().map((f) => Number(`${f}e${p}`))).filter(inside);
    if (found.length < 2) return ticks(10 ** low, 10 ** high).filter((v) => v > 0);
    if (found.length <= MOST_LINES) return found;
  }
  return [10 ** low, 10 ** high];
}

/** @param {number} value */
function shortest(value) {
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e4 ? value.toExponential().replace("e+", "e").replaceAll("-", "−") : String(Number(value.toPrecision(3)));
}
