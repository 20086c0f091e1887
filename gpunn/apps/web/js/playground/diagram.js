// The network as a diagram: each unit with its output over the plane, each weight as a line, thicker
// if larger and dashed if negative.
import { css, ofPage, ofValue } from "./colours.js";
import { fill, make, makeSvg, set, written } from "./dom.js";

/** @typedef {import("./backprop.js").Passed} Passed */

export const DETAIL = 20; // points in each direction of a unit's picture
const NARROW = 62; // least width of a column
const SHORT = 13; // least height of a row
const [ROW, DENSE, MANY] = [50, 30, 12]; // height of a row, and for more units than this, in a frame that grows
const NAME = 15; // height of a unit's name and value, below its picture
const [SMALLEST, LARGEST] = [20, 56]; // side of a unit's picture with a name below it
const SPREAD = 1.9; // largest distance of a column's units, in sides of a picture with its name
const ALONG = 0.36; // position on a line of its values
const [TEXT, LINES] = [52, 23]; // room that the values on a line need, across and down

/** @typedef {import("./words.js").UnitState} UnitState */

export class Diagram {
  /**
   * @param {HTMLElement} container
   * @param {(layer: number, unit: number, input: number | null) => void} chosen called with a layer of
   *   the network and a unit; with an input: the weight of that input
   */
  constructor(container, chosen) {
    this.container = container;
    this.chosen = chosen;
    /** @type {HTMLCanvasElement[][]} of the inputs, then of each layer */
    this.pictures = [];
    /** @type {SVGLineElement[][]} of each layer, in the order of its kernel */
    this.lines = [];
    this.column = this.height = this.unit = 0;
    /** @type {number[]} width and height of the frame that the diagram was built for */
    this.frame = [];
    /** @type {{layer: number, unit: number}} whose values are shown on the lines */
    this.shown = { layer: -1, unit: -1 };
    this.svg = makeSvg("svg", { "aria-hidden": "true", class: "edges" });
    this.svg.addEventListener("click", (/** @type {MouseEvent} */ event) => this.clicked(event));
  }

  /**
   * @param {number[]} sizes of the inputs and of each layer
   * @param {string[]} inputNames
   * @param {string[]} outputNames
   */
  build(sizes, inputNames, outputNames) {
    this.sizes = sizes;
    fill(this.container);
    this.frame = this.size();
    const [across, down] = this.frame;
    const most = Math.max(...sizes);
    this.column = Math.max(NARROW, Math.floor(across / sizes.length));
    this.height = Math.max(SHORT * most, down || (most > MANY ? DENSE : ROW) * most);
    const row = this.height / most;
    const room = row - NAME - 2 < SMALLEST ? row - 3 : row - NAME - 2;
    this.unit = Math.floor(Math.min(LARGEST, this.column - 22, room));
    const [width, height, side] = [this.column * sizes.length, this.height, this.unit];
    set(this.svg, { viewBox: `0 0 ${width} ${height}`, width, height });
    this.lines = sizes.slice(1).map((units, l) => Array.from({ length: sizes[l] * units }, (_, i) => {
      const [x1, y1] = this.place(l, Math.floor(i / units));
      const [x2, y2] = this.place(l + 1, i % units);
      return makeSvg("line", { x1: x1 + side / 2, y1, x2: x2 - side / 2, y2 });
    }));
    this.along = makeSvg("g", {});
    fill(this.svg, ...this.lines.flat(), this.along);
    /** @type {HTMLElement[]} */
    const nodes = [];
    this.buttons = sizes.map((count, l) => Array.from({ length: count }, (_, unit) => {
      const canvas = make("canvas", { width: DETAIL, height: DETAIL, "aria-hidden": "true" });
      const last = l === sizes.length - 1;
      const name = l === 0 ? inputNames[unit] : last ? outputNames[unit] : "";
      const button = l === 0 ? make("div", { class: "unit input" }, canvas)
        : make("button", { type: "button", class: "unit", "aria-pressed": "false",
          "aria-label": last ? `Output ${name}` : `Layer ${l}, unit ${unit + 1}`,
          onclick: () => this.chosen(l - 1, unit, null) }, canvas);
      const [x, y] = this.place(l, unit);
      button.style.left = `${x - side / 2}px`;
      button.style.top = `${y - side / 2}px`;
      button.style.width = button.style.height = `${side}px`;
      nodes.push(button);
      const text = make("span", { class: "unit-name", title: name }, name);
      text.style.left = `${x - this.column / 2}px`;
      text.style.width = `${this.column}px`;
      text.style.top = `${y + side / 2 + 1}px`;
      text.hidden = !this.named(l);
      nodes.push(text);
      button.dataset.name = name;
      return button;
    }));
    this.pictures = this.buttons.map((column) => column.map((b) => b.firstChild));
    const inner = make("div", { class: "net-inner" }, this.svg, nodes);
    inner.style.width = `${width}px`;
    inner.style.height = `${height}px`;
    fill(this.container, inner);
  }

  /** @returns {number[]} width of the frame, and its height if it does not depend on the diagram's */
  size() {
    const { clientWidth, clientHeight } = this.container;
    const own = getComputedStyle(this.container).flexGrow === "1";
    return [clientWidth, own ? clientHeight : 0];
  }

  /** @returns {boolean} whether the frame has another size than the diagram was built for */
  get outgrown() {
    return this.sizes !== undefined && this.size().some((size, i) => size !== this.frame[i]);
  }

  /**
   * @param {number} column
   * @returns {number} distance of its units
   */
  spacing(column) {
    const count = /** @type {number[]} */ (this.sizes)[column];
    return Math.min(this.height / count, SPREAD * (this.unit + NAME));
  }

  /**
   * @param {number} column
   * @returns {boolean} whether there is room for names below its units
   */
  named(column) {
    return this.spacing(column) >= this.unit + NAME;
  }

  /**
   * @param {number} column
   * @param {number} unit
   * @returns {[number, number]} the middle of its picture
   */
  place(column, unit) {
    const sizes = /** @type {number[]} */ (this.sizes);
    const y = this.height / 2 + this.spacing(column) * (unit - (sizes[column] - 1) / 2);
    return [this.column * (column + 0.5), this.named(column) ? y - NAME / 2 : y];
  }

  /**
   * @param {Float32Array} places points, (rows, inputs)
   * @param {Float32Array[]} outputs of each layer at these points
   * @param {number} inputs
   */
  paint(places, outputs, inputs) {
    const { paper, ink } = ofPage();
    this.pictures.forEach((column, l) => {
      const values = l ? outputs[l - 1] : places;
      column.forEach((canvas, unit) => {
        const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
        const found = values.filter((_, i) => i % column.length === unit);
        const most = found.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
        if (inputs === 1) {
          context.fillStyle = css(paper);
          context.fillRect(0, 0, DETAIL, DETAIL);
          context.fillStyle = css(ink);
          found.forEach((v, i) => context.fillRect(i, (DETAIL / 2) * (1 - (0.9 * v) / most) - 1, 1, 2));
          return;
        }
        const image = context.createImageData(DETAIL, DETAIL);
        found.forEach((v, i) => {
          const colour = ofValue(v / most, paper);
          for (let c = 0; c < 3; c++) image.data[4 * i + c] = colour[c];
          image.data[4 * i + 3] = 255;
        });
        context.putImageData(image, 0, 0);
      });
    });
  }

  /**
   * Show the selected point's values: the output of each unit, and on the lines into one unit its
   * inputs (w x) and the gradients passed back (w dL/dz).
   * @param {Passed[] | null} passed of each layer; null without a point
   * @param {import("../engine.js").NetworkLayer[]} layers
   * @param {{layer: number, unit: number}} shown
   */
  show(passed, layers, shown) {
    this.shown = shown;
    this.buttons?.forEach((column, l) => column.forEach((button, unit) => {
      const value = !passed ? "" : written(l ? passed[l - 1].outputs[unit] : passed[0].inputs[unit], 2);
      const text = /** @type {HTMLElement} */ (button.nextSibling);
      text.textContent = [button.dataset.name, value].filter(Boolean).join(" ");
    }));
    if (!passed || !this.along) return fill(/** @type {Element} */ (this.along));
    const apart = this.spacing(shown.layer) * (1 - ALONG);
    if (this.column - this.unit < TEXT || apart < LINES) return fill(this.along);
    const { inputs, byZ } = passed[shown.layer];
    const { kernel, units } = layers[shown.layer];
    const [x2, y2] = this.place(shown.layer + 1, shown.unit);
    fill(this.along, [...inputs].map((value, i) => {
      const [x1, y1] = this.place(shown.layer, i);
      const x = x1 + this.unit / 2 + ALONG * (x2 - x1 - this.unit);
      const y = y1 + ALONG * (y2 - y1);
      const w = kernel[i * units + shown.unit];
      return [makeSvg("text", { x, y: y - 1 }, `→ ${written(w * value, 2)}`),
        makeSvg("text", { x, y: y + 9 }, `← ${written(w * byZ[shown.unit], 2)}`)];
    }).flat());
  }

  /** @param {import("../engine.js").NetworkLayer[]} layers */
  weigh(layers) {
    layers.forEach(({ kernel }, l) => {
      const most = kernel.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-30);
      this.lines[l].forEach((line, i) => {
        line.setAttribute("stroke-width", (0.4 + (4.6 * Math.abs(kernel[i])) / Math.max(most, 1)).toFixed(1));
        const picked = l === this.shown.layer && i % layers[l].units === this.shown.unit;
        line.setAttribute("class", `${kernel[i] < 0 ? "low" : "high"}${picked ? " picked" : ""}`);
      });
    });
  }

  /**
   * @param {UnitState[][]} states of the hidden layers
   * @param {{layer: number, unit: number} | null} selected
   */
  mark(states, selected) {
    this.buttons?.slice(1).forEach((column, l) => column.forEach((button, unit) => {
      const state = states[l]?.[unit];
      const word = state?.dead ? "dead" : state && state.saturated >= 0.5 ? "saturated" : "";
      button.classList.toggle("dead", word === "dead");
      button.classList.toggle("saturated", word === "saturated");
      const here = selected?.layer === l && selected.unit === unit;
      button.setAttribute("aria-pressed", String(here));
      if (state) {
        button.setAttribute("aria-label",
          `Layer ${l + 1}, unit ${unit + 1}${word && `, ${word}`}, mean ${written(state.mean)}`);
        button.title = word;
      }
    }));
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = { far: 12, layer: -1, at: 0 };
    this.lines.forEach((lines, layer) => lines.forEach((line, at) => {
      const [x1, y1, x2, y2] = ["x1", "y1", "x2", "y2"].map((n) => Number(line.getAttribute(n)));
      const t = Math.min(1, Math.max(0, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1))
        / ((x2 - x1) ** 2 + (y2 - y1) ** 2)));
      const far = Math.hypot(x1 + t * (x2 - x1) - x, y1 + t * (y2 - y1) - y);
      if (far < best.far) best = { far, layer, at };
    }));
    if (best.layer < 0) return;
    const units = /** @type {number[]} */ (this.sizes)[best.layer + 1];
    this.chosen(best.layer, best.at % units, Math.floor(best.at / units));
  }
}
