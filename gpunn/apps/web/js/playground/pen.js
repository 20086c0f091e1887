// Input on the plane by mouse, touch and keyboard: selects, draws or erases a point at the pointer or
// the cursor.
import { CLASS_NAMES } from "./points/data.js";
import { choice, fill, labelled, make, number } from "./dom.js";
import { MOST_OWN } from "./settings.js";

/** @typedef {import("./plane.js").Plane} Plane */
/** @typedef {"choose" | "draw" | "erase"} Mode */

const APART = 12; // minimum distance between points of one stroke, in CSS pixels
const NEAR = 20; // maximum distance of an erased point, in CSS pixels

export class Pen {
  /**
   * @param {Plane} plane
   * @param {{data: () => import("./points/data.js").Data, choose: (point: number) => void,
   *   take: (points: number[][], classes: string[]) => void, redraw: () => void}} page
   */
  constructor(plane, page) {
    this.plane = plane;
    this.page = page;
    /** @type {Mode} */
    this.mode = "choose";
    this.kind = 0; // class of drawn points
    this.value = 1; // target of drawn points, for two inputs
    /** @type {[number, number] | null} */
    this.cursor = null;
    /** @type {[number, number] | null} */
    this.last = null;
    const { canvas } = plane;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      if (this.mode !== "choose") {
        canvas.setPointerCapture(event.pointerId);
        event.preventDefault();
      }
      this.cursor = null;
      this.last = this.at(event);
      this.act(...this.last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.last || this.mode === "choose" || !event.buttons) return;
      const [x, y] = this.at(event);
      if (Math.hypot(x - this.last[0], y - this.last[1]) < APART) return;
      this.last = [x, y];
      this.act(x, y);
    });
    canvas.addEventListener("pointerup", () => (this.last = null));
    canvas.addEventListener("pointercancel", () => (this.last = null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      page.redraw();
    });
  }

  /**
   * @param {PointerEvent} event
   * @returns {[number, number]} in CSS pixels of the canvas
   */
  at(event) {
    const box = this.plane.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    /** @type {{[key: string]: [number, number]}} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    const { plane } = this;
    if (event.key === "Escape") this.cursor = null;
    else if (move) {
      const far = event.shiftKey ? 2 : 12;
      const [x, y] = this.cursor ? plane.toScreen(...this.cursor) : [plane.size / 2, plane.size / 2];
      this.cursor = plane.fromScreen(x + far * move[0], y + far * move[1]);
    } else if ((event.key === "Enter" || event.key === " ") && this.cursor) {
      this.act(...plane.toScreen(...this.cursor));
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.page.redraw();
  }

  /**
   * @param {number} px
   * @param {number} py
   */
  act(px, py) {
    const [x, y] = this.plane.fromScreen(px, py);
    const data = this.page.data();
    if (this.mode === "draw") {
      const answer = data.task === "classes" ? this.kind : this.value;
      const point = data.inputs === 1 ? [x, y] : [x, y, answer];
      const classes = [...data.classes];
      while (data.task === "classes" && classes.length <= this.kind) classes.push(CLASS_NAMES[classes.length]);
      if (data.points.length < MOST_OWN) this.page.take([...data.points, point], classes);
      return;
    }
    if (!data.points.length) return;
    const nearest = this.plane.nearest(data, x, y);
    if (this.mode === "choose") this.page.choose(nearest);
    else {
      const [nx, ny] = this.plane.toScreen(data.points[nearest][0], data.points[nearest][1]);
      if (Math.hypot(nx - px, ny - py) > NEAR) return;
      this.page.take(data.points.filter((_, i) => i !== nearest), [...data.classes]);
    }
  }

  /** @param {HTMLElement} place */
  controls(place) {
    const data = this.page.data();
    const again = () => this.controls(place);
    const { canvas } = this.plane;
    canvas.style.touchAction = this.mode === "choose" ? "manipulation" : "none";
    const names = [...data.classes];
    if (names.length < CLASS_NAMES.length) names.push(`${CLASS_NAMES[names.length]} (new class)`);
    this.kind = Math.min(this.kind, names.length - 1);
    const what = this.mode !== "draw" ? null
      : data.task === "classes" ? labelled("Class", choice(
        names.map((name, i) => [String(i), name]), String(this.kind), (i) => (this.kind = Number(i))))
        : data.inputs === 2 ? labelled("Value", number(this.value, { least: -1e6, most: 1e6 }, (v) => (this.value = v)))
          : null;
    fill(
      place,
      labelled("Click or touch to", choice(
        [["choose", "select a point"], ["draw", "draw points"], ["erase", "erase points"]], this.mode, (mode) => {
          this.mode = /** @type {Mode} */ (mode);
          again();
          /** @type {HTMLElement | null} */ (place.querySelector("select"))?.focus();
        })),
      what,
      this.mode !== "choose" && make("button", {
        type: "button", onclick: () => this.page.take([], [...data.classes]),
      }, "Erase all"),
    );
  }
}
