// Loss curves: of the training points, and dashed of the test points.
import { fill, makeSvg, set, written } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [320, 150, 46, 22];

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
  const end = Math.max(last.epoch, 1e-9);
  const first = Math.min(moments[0].epoch, end);
  const x = (/** @type {number} */ epoch) => LEFT + ((epoch - first) / (end - first || 1)) * (WIDTH - LEFT - 8);
  const y = (/** @type {number} */ v) => 8 + ((high - Math.log10(v)) / (high - low)) * (HEIGHT - BOTTOM - 8);
  const path = (/** @type {"train" | "test"} */ of) => moments
    .filter((m) => Number.isFinite(m[of]) && m[of] > 0)
    .map((m, i) => `${i ? "L" : "M"}${x(m.epoch).toFixed(1)} ${y(m[of]).toFixed(1)}`).join("");
  fill(
    svg,
    [high, (high + low) / 2, low].map((v) => [
      makeSvg("line", { x1: LEFT, x2: WIDTH - 8, y1: y(10 ** v), y2: y(10 ** v), class: "grid" }),
      makeSvg("text", { x: LEFT - 4, y: y(10 ** v) + 4, "text-anchor": "end" }, written(10 ** v, 2)),
    ]).flat(),
    makeSvg("text", { x: LEFT, y: HEIGHT - 6 }, `epoch ${Math.round(first).toLocaleString("en")}`),
    makeSvg("text", { x: WIDTH - 8, y: HEIGHT - 6, "text-anchor": "end" }, Math.round(end).toLocaleString("en")),
    makeSvg("path", { d: path("test"), class: "test" }),
    makeSvg("path", { d: path("train"), class: "train" }),
  );
}
