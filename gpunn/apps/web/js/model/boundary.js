// What a model of two numbers says of the plane, as a picture in which a place is chosen.
import { CLASSES } from "../playground/colours.js";
import { fill, make } from "../playground/dom.js";
import { Plane } from "../playground/plane.js";
import { readable } from "./answers.js";

const LABEL = "What the model says of the plane. Arrow keys move the chosen place";
const MOVES = 60; // by arrow keys from one end to the other

/** @typedef {[number, number]} Place */

export class Boundary {
  #description;
  #all;
  #field = /** @type {Float32Array} */ (new Float32Array());
  #data;
  #legend;

  /**
   * @param {import("./main.js").Description & {names: string[]}} description names of the axes
   * @param {(places: Float32Array) => Float32Array} all the outputs for places (rows, 2)
   * @param {(place: Place) => void} chosen what is done with a place that a user chooses
   * @param {Place} [steps] the least by which arrow keys move
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
      fill(this.#legend, `Orange is above ${readable(middle, 4)}, up to ${readable(high, 4)}; blue below, down to ${readable(low, 4)}.`);
    } else fill(this.#legend, classes.slice(0, CLASSES.length).map((name, k) => make("li", {}, mark(k), " ", name)));
    this.#draw();
  }

  /** @param {Place | null} place the one that is chosen */
  show(place) {
    this.place = place;
    const said = place?.map((v, axis) => `${this.#description.names[axis]} ${readable(v)}`).join(", ");
    this.canvas.setAttribute("aria-label", `${LABEL}: ${said ?? "none is chosen"}.`);
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
