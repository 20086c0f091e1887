// Draws a network's output over the plane, class probabilities or numbers, and the points; test points
// are hollow.
import { CLASSES, MARKS, css, mixed, ofPage, ofShares, ofValue, trace } from "./colours.js";

/** @typedef {import("./points/data.js").Data} Data */

export const SIDE = 72; // points in each direction
const ALONG = 240; // points along a single input
const MARGIN = 38; // for the axes, in CSS pixels

export class Plane {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.field = document.createElement("canvas");
    this.field.width = this.field.height = SIDE;
    this.size = 0;
    /** @type {[number, number][]} */
    this.bounds = [[-1, 1], [-1, 1], [-1, 1]];
    /** @type {Float32Array} */
    this.places = new Float32Array();
  }

  /**
   * @param {[number, number][]} bounds of the axes and the target
   * @param {number} inputs
   */
  frame(bounds, inputs) {
    this.bounds = bounds;
    this.inputs = inputs;
    this.places = placesOf(bounds, inputs, inputs === 1 ? ALONG : SIDE);
  }

  /** @returns {number} rows of `places` */
  get rows() {
    return this.places.length / (this.inputs ?? 2);
  }

  /**
   * @param {Data} data
   * @param {Float32Array} answers outputs of the network for `places`: (rows, classes) or (rows, 1)
   * @param {{chosen: number | null, cursor: [number, number] | null}} more index of the
   *   selected point in data, and position of the cursor in axis coordinates
   */
  draw(data, answers, { chosen, cursor }) {
    const { context, canvas } = this;
    const size = Math.round(canvas.clientWidth) || 400;
    const scale = Math.min(2, window.devicePixelRatio || 1);
    if (canvas.width !== size * scale) canvas.width = canvas.height = size * scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.size = size;
    const { paper, ink } = ofPage();
    context.fillStyle = css(paper);
    context.fillRect(0, 0, size, size);
    if (data.inputs === 2) this.drawField(data, answers, paper, ink);
    else this.drawCurve(answers, ink);
    this.drawAxes(data, ink);
    this.drawPoints(data, paper, ink, chosen);
    if (cursor) {
      const [x, y] = this.toScreen(cursor[0], cursor[1]);
      context.strokeStyle = css(ink);
      context.lineWidth = 1.5;
      context.beginPath();
      context.moveTo(x - 12, y);
      context.lineTo(x + 12, y);
      context.moveTo(x, y - 12);
      context.lineTo(x, y + 12);
      context.stroke();
    }
  }

  /**
   * @param {Data} data
   * @param {Float32Array} answers
   * @param {import("./colours.js").Colour} paper
   * @param {import("./colours.js").Colour} ink
   */
  drawField(data, answers, paper, ink) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.field.getContext("2d"));
    const image = context.createImageData(SIDE, SIDE);
    const k = data.task === "classes" ? answers.length / SIDE ** 2 : 1;
    const most = Math.max(...this.bounds[2].map(Math.abs));
    for (let i = 0; i < SIDE ** 2; i++) {
      const shares = answers.subarray(i * k, i * k + k);
      const colour = k > 1 ? ofShares(shares, paper) : ofValue(shares[0] / most, paper);
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = colour[c];
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    const [left, top, side] = [MARGIN, 6, this.size - MARGIN - 6];
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(this.field, left, top, side, side);
    if (k === 1) return;
    const cell = side / SIDE;
    this.context.strokeStyle = css(mixed(paper, ink, 0.75));
    this.context.lineWidth = 1.5;
    this.context.beginPath();
    for (const [x1, y1, x2, y2] of borders(answers, k, SIDE)) {
      this.context.moveTo(left + (x1 + 0.5) * cell, top + (y1 + 0.5) * cell);
      this.context.lineTo(left + (x2 + 0.5) * cell, top + (y2 + 0.5) * cell);
    }
    this.context.stroke();
  }

  /**
   * @param {Float32Array} answers
   * @param {import("./colours.js").Colour} ink
   */
  drawCurve(answers, ink) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(MARGIN, 6, this.size - MARGIN - 6, this.size - MARGIN - 6);
    context.clip();
    context.strokeStyle = css(ink);
    context.lineWidth = 2.5;
    context.beginPath();
    answers.forEach((v, i) => context.lineTo(...this.toScreen(this.places[i], v)));
    context.stroke();
    context.restore();
  }

  /**
   * @param {Data} data
   * @param {import("./colours.js").Colour} ink
   */
  drawAxes(data, ink) {
    const { context, size } = this;
    const end = size - MARGIN;
    context.strokeStyle = css(ink, 0.5);
    context.lineWidth = 1;
    context.strokeRect(MARGIN + 0.5, 6.5, end - 7, end - 7);
    context.fillStyle = css(ink);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const axis of [0, 1]) {
      const { mean, deviation } = data.scales[axis] ?? { mean: 0, deviation: 1 };
      const [low, high] = this.bounds[axis].map((v) => v * deviation + mean);
      for (const tick of ticks(low, high)) {
        const v = (tick - mean) / deviation;
        const [x, y] = axis ? this.toScreen(this.bounds[0][0], v) : this.toScreen(v, this.bounds[1][0]);
        const text = tickText(tick);
        const half = context.measureText(text).width / 2;
        context.textAlign = axis ? "right" : "center";
        context.fillText(text, axis ? MARGIN - 3 : Math.min(x, size - half), axis ? y : end + 8, axis ? MARGIN - 3 : size);
      }
    }
    context.textAlign = "center";
    context.fillText(data.names[0].slice(0, 40), MARGIN + (end - 6) / 2, size - 8);
    context.save();
    context.translate(8, 6 + (end - 6) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(data.names[1].slice(0, 40), 0, 0);
    context.restore();
  }

  /**
   * @param {Data} data
   * @param {import("./colours.js").Colour} paper
   * @param {import("./colours.js").Colour} ink
   * @param {number | null} chosen
   */
  drawPoints(data, paper, ink, chosen) {
    const { context } = this;
    const held = new Set(data.test);
    const most = Math.max(...this.bounds[data.inputs].map(Math.abs));
    const r = data.points.length > 600 ? 3 : 4.5;
    data.points.forEach((point, i) => {
      const [x, y] = this.toScreen(point[0], point[1]);
      const answer = point[data.inputs];
      const classes = data.task === "classes";
      const colour = classes ? CLASSES[answer] : data.inputs === 2 ? ofValue(answer / most, paper) : CLASSES[0];
      trace(context, classes ? MARKS[answer] : "circle", x, y, i === chosen ? r + 3 : r);
      const hollow = held.has(i);
      const shaded = !classes && data.inputs === 2; // may have any colour, so the edge is ink
      context.fillStyle = css(hollow && !shaded ? paper : colour);
      context.strokeStyle = css(shaded ? ink : hollow ? colour : paper);
      context.lineWidth = hollow ? 2 : 1;
      if (shaded && hollow) context.setLineDash([2, 2]);
      context.fill();
      context.stroke();
      context.setLineDash([]);
      if (i === chosen) {
        context.strokeStyle = css(ink);
        context.lineWidth = 2.5;
        context.beginPath();
        context.arc(x, y, r + 7, 0, 2 * Math.PI);
        context.stroke();
      }
    });
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]} in CSS pixels of the canvas
   */
  toScreen(x, y) {
    const [[left, right], [bottom, top]] = this.bounds;
    const side = this.size - MARGIN - 6;
    return [MARGIN + ((x - left) / (right - left)) * side, 6 + ((top - y) / (top - bottom)) * side];
  }

  /**
   * @param {number} px
   * @param {number} py
   * @returns {[number, number]} the coordinates there, within the axes
   */
  fromScreen(px, py) {
    const [[left, right], [bottom, top]] = this.bounds;
    const side = this.size - MARGIN - 6;
    const [x, y] = [(px - MARGIN) / side, (py - 6) / side].map((v) => Math.min(1, Math.max(0, v)));
    return [left + x * (right - left), top - y * (top - bottom)];
  }

  /**
   * @param {Data} data
   * @param {number} x
   * @param {number} y
   * @returns {number} index in data of the nearest point
   */
  nearest(data, x, y) {
    const [sx, sy] = this.toScreen(x, y);
    const far = data.points.map((p) => {
      const [px, py] = this.toScreen(p[0], p[1]);
      return (px - sx) ** 2 + (py - sy) ** 2;
    });
    return far.indexOf(Math.min(...far));
  }
}

/**
 * A grid of points over the plane, or along the line, row by row from the top.
 * @param {[number, number][]} bounds
 * @param {number} inputs
 * @param {number} side
 * @returns {Float32Array} (rows, inputs)
 */
export function placesOf([[left, right], [bottom, top]], inputs, side) {
  const x = (/** @type {number} */ i) => left + ((i + 0.5) / side) * (right - left);
  if (inputs === 1) return Float32Array.from({ length: side }, (_, i) => x(i));
  const found = new Float32Array(2 * side * side);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      found[2 * (row * side + column)] = x(column);
      found[2 * (row * side + column) + 1] = top - ((row + 0.5) / side) * (top - bottom);
    }
  }
  return found;
}

/**
 * Where the most probable class changes: lines through squares of neighbouring points (marching
 * squares, Lorensen and Cline, 1987, in the plane).
 * @param {Float32Array} shares (side * side, k)
 * @param {number} k
 * @param {number} side
 * @returns {[number, number, number, number][]} start and end, in columns and rows
 */
export function borders(shares, k, side) {
  /** @type {[number, number, number, number][]} */
  const found = [];
  const ahead = new Float32Array(side * side); // lead of one class over the best other class
  for (let of = 0; of < (k === 2 ? 1 : k); of++) {
    for (let i = 0; i < side * side; i++) {
      let rival = 0;
      for (let j = 0; j < k; j++) if (j !== of) rival = Math.max(rival, shares[i * k + j]);
      ahead[i] = shares[i * k + of] - rival;
    }
    for (let row = 0; row + 1 < side; row++) {
      for (let column = 0; column + 1 < side; column++) {
        const at = row * side + column;
        const first = ahead[at] > 0;
        if (first === ahead[at + 1] > 0 && first === ahead[at + side] > 0
          && first === ahead[at + side + 1] > 0) continue;
        const corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
          .map(([dx, dy]) => [column + dx, row + dy, ahead[at + dy * side + dx]]);
        const crossings = corners.flatMap(([x, y, v], i) => {
          const [x2, y2, w] = corners[(i + 1) % 4];
          if (v > 0 === w > 0) return [];
          const t = v / (v - w);
          return [[x + t * (x2 - x), y + t * (y2 - y)]];
        });
        for (let i = 0; i + 1 < crossings.length; i += 2) {
          found.push(/** @type {[number, number, number, number]} */ ([...crossings[i], ...crossings[i + 1]]));
        }
      }
    }
  }
  return found;
}

/**
 * @param {number} low
 * @param {number} high
 * @returns {number[]} three to six round numbers in between
 */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(Number((i * step).toPrecision(6)));
  return found;
}

/**
 * @param {number} tick
 * @returns {string} short: 0.5, −20, 1.02e9
 */
function tickText(tick) {
  const size = Math.abs(tick);
  const text = size && (size < 1e-3 || size >= 1e5) ? tick.toExponential().replace("e+", "e") : String(tick);
  return text.replaceAll("-", "−");
}
