// A pad to draw on by mouse, touch, pen or keyboard, in light ink on dark; it can also hold an
// image.
import { make } from "../playground/dom.js";
import { squared } from "./preparing.js";

export const SIDE = 280; // pixels in each direction
const BRUSH = 20; // pixels
const MOVE = 8; // pixels per arrow key

/** @typedef {[x: number, y: number]} Point */
/** @typedef {import("./preparing.js").Planes} Planes */
/** @typedef {{picture: Planes, canvas: HTMLCanvasElement}} Laid an image, and a canvas with it */

/**
 * @param {Planes} picture
 * @param {HTMLCanvasElement} [canvas] of the image's size
 */
export function canvasOf(picture, canvas) {
  const [{ height, width }] = picture;
  canvas ??= /** @type {HTMLCanvasElement} */ (make("canvas", { width, height }));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const planes = [0, 1, 2].map((k) => picture[k % picture.length].values);
  for (let i = 0; i < 4 * height * width; i++) image.data[i] = i % 4 === 3 ? 255 : planes[i % 4][i >> 2];
  context.putImageData(image, 0, 0);
  return canvas;
}

export class Pad {
  /** @type {(Point[] | Laid)[]} */
  #strokes = []; // and images, each over the earlier ones
  /** @type {Point[] | null} */
  #open = null;
  /** @type {Point | null} */
  #cursor = null;

  /**
   * @param {() => void} changed
   * @param {number} channels 1, or 3 for red, green and blue
   */
  constructor(changed, channels) {
    this.changed = changed;
    this.channels = channels;
    this.canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {
      id: "pad", width: SIDE, height: SIDE, tabindex: 0, role: "application",
      "aria-label": "Drawing pad. Arrow keys move the pen, space lowers or lifts it, Control and Z undo the last stroke.",
    }));
    const options = { willReadFrequently: true };
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", options));
    const button = (/** @type {string} */ id, /** @type {string} */ text, /** @type {() => void} */ act) =>
      make("button", { type: "button", id, onclick: act }, text);
    this.buttons = make("p", {}, button("undo", "Undo", () => this.undo()), " ",
      button("clear", "Clear", () => this.clear()));
    this.#listen();
    this.#draw();
  }

  undo() {
    this.#open = null;
    this.#strokes.pop();
    this.#draw();
    this.changed();
  }

  clear() {
    this.#open = null;
    this.#strokes = [];
    this.#draw();
    this.changed();
  }

  /** @param {Planes} picture light on dark; `undo` removes it */
  put(picture) {
    this.#open = null;
    this.#strokes.push({ picture, canvas: canvasOf(picture.map(squared)) });
    this.#draw();
    this.changed();
  }

  /** @returns {Planes} the drawing, with ink as 255; an image alone is returned as it is */
  get picture() {
    const last = this.#strokes[this.#strokes.length - 1];
    if (last && "picture" in last) return last.picture;
    this.#draw();
    const { data } = this.context.getImageData(0, 0, SIDE, SIDE);
    if (this.#cursor) this.#drawCursor(this.#cursor);
    return Array.from({ length: this.channels }, (_, k) => ({
      height: SIDE, width: SIDE, values: Uint8Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i + k]),
    }));
  }

  get empty() {
    return this.#strokes.length === 0;
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0 || !event.isPrimary) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      this.#cursor = null;
      this.#begin(this.#at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#open || !event.isPrimary || !event.buttons) return;
      const passed = event.getCoalescedEvents?.() ?? [];
      for (const one of passed.length ? passed : [event]) this.#open.push(this.#at(one));
      this.#draw();
      this.changed();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.#open = null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => {
      this.#open = this.#cursor = null;
      this.#draw();
    });
  }

  /**
   * @param {PointerEvent} event
   * @returns {Point}
   */
  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  }

  /** @param {Point} point */
  #begin(point) {
    this.#open = [point];
    this.#strokes.push(this.#open);
    this.#draw();
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {{[key: string]: Point}} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    const undo = (event.ctrlKey || event.metaKey) && event.key === "z";
    if (undo) this.undo();
    else if (move) {
      const [x, y] = this.#cursor ?? [SIDE / 2, SIDE / 2];
      const within = (/** @type {number} */ v) => Math.min(SIDE, Math.max(0, v));
      this.#cursor = [within(x + MOVE * move[0]), within(y + MOVE * move[1])];
      this.#open?.push(this.#cursor);
      if (this.#open) this.changed();
    } else if (event.key === " ") {
      this.#cursor ??= [SIDE / 2, SIDE / 2];
      if (this.#open) this.#open = null;
      else this.#begin(this.#cursor);
    } else return;
    event.preventDefault();
    this.#draw();
    if (this.#cursor) this.#drawCursor(this.#cursor);
  }

  #draw() {
    const { context } = this;
    context.fillStyle = "black";
    context.fillRect(0, 0, SIDE, SIDE);
    context.strokeStyle = "white";
    context.lineWidth = BRUSH;
    context.lineCap = context.lineJoin = "round";
    for (const points of this.#strokes) {
      if ("canvas" in points) {
        context.drawImage(points.canvas, 0, 0, SIDE, SIDE);
        continue;
      }
      context.beginPath();
      context.moveTo(...points[0]);
      for (let i = 1; i < points.length - 1; i++) { // curves through the midpoints, without corners
        const [[x, y], [x2, y2]] = [points[i], points[i + 1]];
        context.quadraticCurveTo(x, y, (x + x2) / 2, (y + y2) / 2);
      }
      context.lineTo(...points[points.length - 1]);
      context.stroke();
    }
  }

  /** @param {Point} point */
  #drawCursor([x, y]) {
    this.context.strokeStyle = this.#open ? "#f0883e" : "#58a6ff";
    this.context.lineWidth = 2;
    this.context.beginPath();
    this.context.arc(x, y, BRUSH / 2 + 2, 0, 2 * Math.PI);
    this.context.stroke();
  }
}
