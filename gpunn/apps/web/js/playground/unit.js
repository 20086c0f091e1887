// Details of one unit: its editable weights and, for the selected point, its forward and backward
// values with the chain rule in numbers.
import { chainRule, passed } from "./backprop.js";
import { fill, make, number, written } from "./dom.js";

/** @typedef {import("./training.js").Training} Training */

/**
 * @param {HTMLElement} place
 * @param {{training: Training, slopes: import("./slopes.js").Slopes, layer: number, unit: number,
 *   point: number | null, inputNames: string[], outputNames: string[], changed: () => void,
 *   shown: (passed: import("./backprop.js").Passed[] | null) => void}} of
 * @returns {(() => void) & {focus: (input: number) => void}} updates the numbers after steps
 */
export function unitPanel(place, { training, slopes, layer, unit, point, inputNames, outputNames, changed, shown }) {
  const { network, data, catalogue, output } = training;
  const settings = network.settings.layers.map(({ activation = "linear", normalize = false }) => ({ activation, normalize }));
  const last = layer === network.layers.length - 1;
  const { inputs, units } = network.layers[layer];
  const before = Array.from({ length: inputs }, (_, i) =>
    layer ? `unit ${i + 1} of layer ${layer}` : inputNames[i]);
  const title = last ? `Output ${outputNames[unit]}` : `Layer ${layer + 1}, unit ${unit + 1}`;
  const values = Array.from({ length: inputs + 1 }, () => [make("td", { class: "number" }), make("td", { class: "number" })]);
  const fields = [...before, "bias"].map((name, i) => {
    const array = () => (i < inputs ? network.layers[layer].kernel : network.layers[layer].bias);
    const at = i < inputs ? i * units + unit : unit;
    const field = number(Number(array()[at].toPrecision(4)), { least: -1e4, most: 1e4 }, (value) => {
      array()[at] = value;
      changed();
    });
    field.setAttribute("aria-label", i < inputs ? `weight from ${name}` : "bias");
    return { field, read: () => array()[at] };
  });
  const table = make("table", {}, make("thead", {}, make("tr", {},
    ["from", "input x", "weight w", "∂L/∂w"].map((t) => make("th", { scope: "col" }, t)))),
  make("tbody", {}, [...before, "bias"].map((name, i) => make("tr", {},
    make("th", { scope: "row" }, name), values[i][0], make("td", {}, fields[i].field), values[i][1]))));
  const lines = make("ol", { class: "chain" });
  const about = make("p", {});
  fill(place, make("h3", {}, title), about,
    make("div", { class: "unit-body" }, make("div", { class: "scroll" }, table), lines));
  const renew = () => {
    for (const { field, read } of fields) {
      if (document.activeElement !== field) field.value = String(Number(read().toPrecision(4)));
    }
    if (point === null) {
      shown(null);
      fill(about, "Select a point on the plane to see its forward and backward pass here.");
      return;
    }
    const set = data.train.includes(point) ? "train" : "test";
    const row = data[set].indexOf(point);
    const { x, y } = training.sets[set];
    const wanted = y.slice(row * output.units, (row + 1) * output.units);
    const { layers, loss } = passed(network, slopes, catalogue, settings,
      x.slice(row * data.inputs, (row + 1) * data.inputs), wanted);
    shown(layers);
    const here = layers[layer];
    const answers = Array.from(layers[layers.length - 1].outputs, (v) => written(v)).join(", ");
    fill(about, `Selected point: output ${answers}, target ${Array.from(wanted, (v) => written(v)).join(", ")}, `
      + `loss L = ${written(loss)}.`);
    values.forEach(([given, gradient], i) => {
      const value = i < inputs ? here.inputs[i] : 1;
      given.textContent = written(value);
      gradient.textContent = written(here.byZ[unit] * value);
    });
    const texts = chainRule(layers, network, settings.map((s) => s.activation), output.loss, layer, unit, written);
    fill(lines, texts.map((text) => make("li", {}, text)));
  };
  renew();
  return Object.assign(renew, { focus: (/** @type {number} */ i) => fields[i]?.field.focus() });
}
