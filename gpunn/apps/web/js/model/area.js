// The page of a model of two numbers: its output over the plane and at a point.
import { fill, labelled, make, number, written } from "../playground/dom.js";
import { Answers, shares } from "./answers.js";
import { Boundary } from "./boundary.js";

const FAR = 1e30;

/**
 * @typedef {import("./main.js").Description & {bounds: [number, number][], names: string[]}} AreaDescription
 *   bounds and names of the axes
 */

/**
 * @param {HTMLElement} root
 * @param {import("../engine/forward.js").ForwardProgram} model with as many rows as the plane has points
 * @param {AreaDescription} description
 */
export function area(root, model, description) {
  const { names } = description;
  const bounds = description.bounds.map(([low, high]) => /** @type {[number, number]} */ ([low, high]));
  const answers = new Answers(description);
  const where = make("p", { id: "where" });
  const message = make("p", { role: "status", class: "advice" });
  /** @type {[number, number]} */
  let place = [(bounds[0][0] + bounds[0][1]) / 2, (bounds[1][0] + bounds[1][1]) / 2];

  /** @param {Float32Array} places */
  const all = (places) => model.run(places)[0];
  const boundary = new Boundary(description, all, (chosen) => {
    place = chosen;
    say();
  });
  const { plane } = boundary;

  /** @param {[number, number]} at */
  function output(at) {
    const places = plane.places.slice();
    places.set(at);
    const found = all(places);
    return found.slice(0, found.length / plane.rows);
  }

  function say() {
    fill(where, `At ${names[0]} = ${written(place[0])}, ${names[1]} = ${written(place[1])}:`);
    answers.show(output(place));
    boundary.show(place);
  }

  const edge = (/** @type {number} */ axis, /** @type {number} */ end) => labelled(
    `${names[axis]} ${end ? "maximum" : "minimum"}`,
    number(bounds[axis][end], { least: -FAR, most: FAR }, (value) => {
      bounds[axis][end] = value;
      const ordered = bounds.every(([low, high]) => low < high);
      fill(message, ordered ? "" : "The minimum of an axis must be smaller than its maximum.");
      if (!ordered) return;
      place = /** @type {[number, number]} */ (place.map((v, i) => Math.min(bounds[i][1], Math.max(bounds[i][0], v))));
      boundary.compute(bounds);
      say();
    }));
  fill(root,
    make("div", { class: "rooms" },
      make("section", {}, make("h2", {}, "Plane"), boundary.element,
        make("div", { class: "fields" }, edge(0, 0), edge(0, 1), edge(1, 0), edge(1, 1)), message),
      make("section", {}, make("h2", {}, "Prediction"), where, answers.element,
        make("p", { class: "quiet" }, "Click, touch or use the arrow keys to select another point."))));
  boundary.compute(bounds);
  say();
  return { shares: (/** @type {[number, number]} */ at) => shares(description, output(at)), all, plane };
}
