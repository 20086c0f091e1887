// The page of a model that takes two numbers: what it says of the plane, and of a place there.
import { Plane } from "../playground/plane.js";
import { CLASSES } from "../playground/colours.js";
import { fill, labelled, make, number, written } from "../playground/dom.js";
import { Answers, shares } from "./answers.js";

const FAR = 1e30;

/**
 * @typedef {import("./main.js").Description & {bounds: [number, number][], names: string[]}} AreaDescription
 *   bounds and names of the axes
 */

/**
 * @param {HTMLElement} root
 * @param {import("../engine/forward.js").ForwardProgram} model of as many rows as the plane has places
 * @param {AreaDescription} description
 */
export function area(root, model, description) {
  const { names, answer } = description;
  const bounds = description.bounds.map(([low, high]) => /** @type {[number, number]} */ ([low, high]));
  const canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {
    id: "plane", tabindex: 0, role: "application",
    "aria-label": "What the model says of the plane. Arrow keys move the chosen place.",
  }));
  const plane = new Plane(canvas);
  const answers = new Answers(description);
  const where = make("p", { id: "where" });
  const message = make("p", { role: "status", class: "advice" });
  /** @type {[number, number]} */
  let place = [(bounds[0][0] + bounds[0][1]) / 2, (bounds[1][0] + bounds[1][1]) / 2];
  const data = /** @type {any} */ ({
    task: answer === "number" ? "numbers" : "classes", inputs: 2, names, classes: description.classes,
    points: [], test: [], scales: [],
  });
  /** @type {Float32Array} */
  let field;

  /** @param {Float32Array} places */
  const all = (places) => model.run(places)[0];

  function compute() {
    plane.frame([...bounds, [-1, 1]], 2);
    const output = all(plane.places);
    const most = output.reduce((largest, v) => Math.max(largest, Math.abs(v)), 0) || 1;
    plane.bounds[2] = [-most, most];
    field = answer === "share" ? Float32Array.from({ length: 2 * output.length }, (_, i) =>
      i % 2 ? output[(i - 1) / 2] : 1 - output[i / 2]) : output;
    draw();
  }

  function draw() {
    plane.draw(data, field, { chosen: null, cursor: place });
    canvas.setAttribute("aria-valuetext", place.map((v) => written(v)).join(", "));
  }

  function say() {
    const places = plane.places.slice();
    places.set(place);
    const output = all(places);
    fill(where, `Of ${names[0]} = ${written(place[0])}, ${names[1]} = ${written(place[1])}:`);
    answers.show(output.slice(0, output.length / plane.rows));
    draw();
  }

  /** @param {PointerEvent} event */
  function choose(event) {
    const box = canvas.getBoundingClientRect();
    place = plane.fromScreen(event.clientX - box.left, event.clientY - box.top);
    say();
  }

  canvas.addEventListener("pointerdown", choose);
  canvas.addEventListener("pointermove", (event) => event.buttons && choose(event));
  canvas.addEventListener("keydown", (event) => {
    /** @type {{[key: string]: [number, number]}} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const [x, y] = plane.toScreen(...place);
    place = plane.fromScreen(x + 6 * move[0], y + 6 * move[1]);
    say();
  });
  const edge = (/** @type {number} */ axis, /** @type {number} */ end) => labelled(
    `${names[axis]} ${end ? "to" : "from"}`,
    number(bounds[axis][end], { least: -FAR, most: FAR }, (value) => {
      bounds[axis][end] = value;
      const ordered = bounds.every(([low, high]) => low < high);
      fill(message, ordered ? "" : "An axis must go from the smaller number to the larger one.");
      if (!ordered) return;
      place = /** @type {[number, number]} */ (place.map((v, i) => Math.min(bounds[i][1], Math.max(bounds[i][0], v))));
      compute();
      say();
    }));
  const legend = description.classes.slice(0, CLASSES.length).map((name, k) => {
    const mark = make("canvas", { class: "mark", width: 1, height: 1, "aria-hidden": "true" });
    const context = mark.getContext("2d");
    context.fillStyle = `rgb(${CLASSES[k].join(" ")})`;
    context.fillRect(0, 0, 1, 1);
    return make("li", {}, mark, " ", name);
  });
  fill(root,
    make("div", { class: "rooms" },
      make("section", {}, make("h2", {}, "The plane"), canvas,
        legend.length ? make("ul", { id: "legend" }, legend)
          : make("p", { class: "quiet" }, "Orange is above 0, blue below."),
        make("div", { class: "fields" }, edge(0, 0), edge(0, 1), edge(1, 0), edge(1, 1)), message),
      make("section", {}, make("h2", {}, "It says"), where, answers.element,
        make("p", { class: "quiet" }, "Click, touch or use the arrow keys to choose another place."))));
  compute();
  say();
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return { shares: (/** @type {[number, number]} */ at) => {
    const places = plane.places.slice();
    places.set(at);
    const output = all(places);
    return shares(description, output.slice(0, output.length / plane.rows));
  }, all, plane };
}
