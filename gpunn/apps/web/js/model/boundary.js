// Shows the output of a model of two numbers over the plane, where a point can be selected.
import { CLASSES } from "../playground/colours.js";
import { fill, make } from "../playground/dom.js";
import { Plane } from "../playground/plane.js";
import { readable } from "./answers.js";

const LABEL = "Model output over the plane. Arrow keys move the selected point";
const MOVES = 60; // arrow-key steps from one end to the other

/** @typedef {[number, number]} Place */

export class Boundary {
  #description;
  #all;
  #field = /** @type {Float32Array} */ (new Float32Array());
  #data;
  #legend;

  /**
   * @param {import("./main.js").Description & {names: string[]}} description names of the axes
   * @param {(places: Float32Array) => Float32Array} all computes the outputs at points (rows, 2)
   * @param {(place: Place) => void} chosen called with a point that the user selects
   * @param {Place} [steps] the minimum distance that arrow keys move
   */
  constructor(description, all, chosen, steps = [0, 0]) {
    const { names, answer, classes } = description;
    this.#description = description;
    this.#all = all;
    this.canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {
      id: "plane", tabindex: 0, role: "application", "aria-label": `${LABEL}.`,
    }));
    this.plane = new Plane(this.canvas);
    /** @type {Place | null} */
    this.place = null;
    this.#legend = make(classes.length ? "ul" : "p", { id: "legend" });
    this.element = make("div", {}, this.canvas, this.#legend);
    this.#data = /** @type {any} */ ({
      task: answer === "number" ? "numbers" : "classes", inputs: 2, names, classes, points: [], test: [], scales: [],
    });
    /** @param {PointerEvent} event */
    const choose = (event) => {
      const box = this.canvas.getBoundingClientRect();
      chosen(this.plane.fromScreen(event.clientX - box.left, event.clientY - box.top));
    };
    this.canvas.addEventListener("pointerdown", choose);
    this.canvas.addEventListener("pointermove", (event) => event.buttons && choose(event));
    this.canvas.addEventListener("keydown", (event) => {
      /** @type {{[key: string]: Place}} */
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      const from = this.place ?? this.plane.bounds.map(([low, high]) => (low + high) / 2);
      chosen(/** @type {Place} */ (move.map((by, axis) => {
        const [low, high] = this.plane.bounds[axis];
        return Math.min(high, Math.max(low, from[axis] + by * Math.max(steps[axis], (high - low) / MOVES)));
      })));
    });
    addEventListener("resize", () => this.#draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** @param {Place[]} bounds of the axes */
  compute(bounds) {
    this.plane.frame([...bounds, [-1, 1]], 2);
    const output = this.#all(this.plane.places);
    const { answer, classes } = this.#description;
    if (answer === "share") {
      this.#field = Float32Array.from({ length: 2 * output.length }, (_, i) =>
        i % 2 ? output[(i - 1) / 2] : 1 - output[i / 2]);
    } else this.#field = output;
    if (answer === "number") {
      const low = output.reduce((a, b) => Math.min(a, b), Infinity);
      const high = output.reduce((a, b) => Math.max(a, b), -Infinity);
      const middle = low < 0 && high > 0 ? 0 : (low + high) / 2;
      this.#field = output.map((v) => v - middle);
      const most = Math.max(high - middle, middle - low) || 1;
      this.plane.bounds[2] = [-most, most];
      fill(this.#legend, `Orange is above ${readable(middle, 4)}, up to ${readable(high, 4)}; blue is below it, down to ${readable(low, 4)}.`);
    } else fill(this.#legend, classes.slice(0, CLASSES.length).map((name, k) => make("li", {}, mark(k), " ", name)));
    this.#draw();
  }

  /** @param {Place | null} place the selected point */
  show(place) {
    this.place = place;
    const said = place?.map((v, axis) => `${this.#description.names[axis]} ${readable(v)}`).join(", ");
    this.canvas.setAttribute("aria-label", `${LABEL}: ${said ?? "no point is selected"}.`);
    this.#draw();
  }

  #draw() {
    this.plane.draw(this.#data, this.#field, { chosen: null, cursor: this.place });
  }
}

/** @param {number} k a class */
function mark(k) {
  const canvas = make("canvas", { class: "mark", width: 1, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${CLASSES[k].join(" ")})`;
  context.fillRect(0, 0, 1, 1);
  return canvas;
}
