// The output of each layer of a model, as images: orange is positive, blue is negative.
import { ofPage, ofValue } from "../playground/colours.js";
import { fill, make } from "../playground/dom.js";

const MAPS = 64; // maximum number of maps shown of a layer
const UNITS = 1024; // maximum number of units shown of a dense layer
const ACROSS = 32; // units in a row
const WIDEST = 360; // CSS pixels

/** @typedef {{name: string, shape: number[], values: Float32Array}} Layer */

/**
 * @param {number[]} shape of a layer's output, rows first
 * @returns {{height: number, width: number, maps: number}}
 */
function sizes([, ...sample]) {
  if (sample.length === 3) return { height: sample[0], width: sample[1], maps: sample[2] };
  if (sample.length === 2) return { height: sample[0], width: sample[1], maps: 1 };
  return { height: 1, width: 1, maps: sample.reduce((product, n) => product * n, 1) };
}

export class Activations {
  /** @type {Map<string, HTMLCanvasElement>} */
  #pictures = new Map();

  /** @param {string[]} hidden names of layers that only pass on their input */
  constructor(hidden) {
    this.hidden = new Set(hidden);
    this.element = make("div", { class: "activations" });
  }

  /** @param {Layer[]} layers as last computed */
  show(layers) {
    const shown = layers.filter(({ name }) => !this.hidden.has(name));
    if (!this.#pictures.size) fill(this.element, ...shown.map((layer) => this.#figure(layer)));
    const { paper } = ofPage();
    for (const layer of shown) this.#draw(layer, paper);
  }

  /** @param {Layer} layer */
  #figure({ name, shape }) {
    const { height, width, maps } = sizes(shape);
    const what = shape.length > 2 ? `${height} × ${width} × ${maps}` : `${maps} values`;
    const most = shape.length > 2 ? MAPS : UNITS;
    const part = maps > most ? `, first ${most} shown` : "";
    const canvas = make("canvas", { role: "img", "aria-label": `Output of ${name}: ${what}${part}` });
    this.#pictures.set(name, canvas);
    return make("figure", {}, make("figcaption", {}, `${name}: ${what}${part}`), canvas);
  }

  /**
   * @param {Layer} layer
   * @param {import("../playground/colours.js").Colour} paper
   */
  #draw({ name, shape, values }, paper) {
    const canvas = /** @type {HTMLCanvasElement} */ (this.#pictures.get(name));
    const { height, width, maps } = sizes(shape);
    const flat = shape.length <= 2;
    const count = Math.min(maps, flat ? UNITS : MAPS);
    const gap = flat ? 0 : 1;
    const columns = Math.min(count, flat ? ACROSS : count > 16 ? 8 : 4);
    const [wide, high] = [columns * (width + gap), Math.ceil(count / columns) * (height + gap)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    canvas.style.width = `${Math.min(WIDEST, wide * (flat ? 11 : Math.max(1, Math.floor(WIDEST / wide))))}px`;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = context.createImageData(wide, high);
    const most = values.reduce((largest, v) => Math.max(largest, Math.abs(v)), 0) || 1;
    for (let map = 0; map < count; map++) {
      const [left, top] = [(map % columns) * (width + gap), Math.floor(map / columns) * (height + gap)];
      for (let i = 0; i < height * width; i++) {
        const colour = ofValue(values[i * maps + map] / most, paper);
        const at = 4 * ((top + Math.floor(i / width)) * wide + left + (i % width));
        image.data.set([...colour, 255], at);
      }
    }
    context.putImageData(image, 0, 0);
  }
}
