// The page of a model that takes grey pictures: a pad, what the model says of what is drawn on it,
// and what each of its layers makes of it.
import { fill, make, tick } from "../playground/dom.js";
import { Activations } from "./activations.js";
import { Answers } from "./answers.js";
import { Pad } from "./pad.js";
import { asMnist, resized } from "./preparing.js";

/** @typedef {import("./preparing.js").Grey} Grey */

/**
 * @typedef {import("./main.js").Description & {height: number, width: number, centred: boolean,
 *   scale: [factor: number, offset: number], unsure_below: number, hidden: string[]}} PictureDescription
 *   centred: whether pictures are prepared as MNIST's digits; scale: what bytes become
 */

/**
 * @param {HTMLElement} root
 * @param {import("../engine/forward.js").ForwardProgram} model
 * @param {PictureDescription} description
 */
export function picture(root, model, description) {
  const { height, width, centred, scale: [factor, offset] } = description;
  let dark = false; // ink on light paper
  const answers = new Answers(description);
  const activations = new Activations(description.hidden);
  const seen = /** @type {HTMLCanvasElement} */ (make("canvas", {
    id: "seen", width, height, role: "img", "aria-label": "What the model is given",
  }));
  const pictures = make("section", { hidden: true },
    make("h2", {}, "What each layer makes of it"),
    make("p", { class: "quiet" }, "Orange is above 0, blue below; the strongest colour is the layer's largest number."),
    activations.element);

  /**
   * @param {Grey} drawn light ink on dark
   * @returns {Grey | null} bytes of the size that the model takes
   */
  function prepared(drawn) {
    if (centred) return asMnist(drawn, height, width);
    const small = resized(drawn, height, width, "bilinear");
    return dark ? { ...small, values: Uint8Array.from(small.values, (v) => 255 - v) } : small;
  }

  /** @param {Grey} given bytes */
  function answer({ values }) {
    return model.run(Float32Array.from(values, (v) => Math.fround(Math.fround(v * factor) + offset)))[0];
  }

  function update() {
    waiting = false;
    const given = pad.empty ? null : prepared(pad.picture);
    pictures.hidden = !given;
    show(seen, given ?? { height, width, values: new Uint8Array(height * width) });
    if (!given) return answers.show("Nothing is drawn yet.");
    answers.show(answer(given));
    activations.show(model.layers);
  }

  let waiting = false;
  const soon = () => {
    if (!waiting) requestAnimationFrame(update);
    waiting = true;
  };
  const pad = new Pad(soon);
  const light = !centred && make("label", { class: "tick" }, tick(false, (on) => {
    dark = on;
    soon();
  }), " Give it dark ink on light paper");
  fill(root,
    make("div", { class: "rooms" },
      make("section", {}, make("h2", {}, "Draw"), pad.canvas, pad.buttons, light),
      make("section", {}, make("h2", {}, "It says"), answers.element,
        make("h2", {}, "It is given"),
        make("p", { class: "quiet" }, centred
          ? `Cropped, scaled and centred as MNIST's digits: ${width} × ${height}.` : `Scaled to ${width} × ${height}.`),
        seen)),
    pictures);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  update();
  return { pad, prepared, answer };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Grey} picture
 */
function show(canvas, { height, width, values }) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) image.data.set([values[i], values[i], values[i], 255], 4 * i);
  context.putImageData(image, 0, 0);
}
