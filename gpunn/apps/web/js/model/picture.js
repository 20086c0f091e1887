// The page of a model of images: a pad, the model's prediction for the drawing, and the output of
// each layer.
import { fill, make, tick } from "../playground/dom.js";
import { Activations } from "./activations.js";
import { Answers, readable } from "./answers.js";
import { ACCEPTED, opened } from "./opened.js";
import { canvasOf, Pad } from "./pad.js";
import { asMnist, inverted, resized, squared } from "./preparing.js";
import { Saliency } from "./saliency.js";

/** @typedef {import("./preparing.js").Planes} Planes */

/**
 * @typedef {import("./main.js").Description & {height: number, width: number, channels: number,
 *   centred: boolean, as_is: boolean, scale: [factor: number, offset: number], unsure_below: number,
 *   hidden: string[]}} PictureDescription
 *   centred: whether images are prepared as MNIST's digits; as_is: whether files with dark ink on
 *   light paper are left as they are; scale: how bytes are scaled, with a negative factor for a model
 *   of dark ink on light paper
 */

/**
 * @param {HTMLElement} root
 * @param {import("../engine/forward.js").ForwardProgram} model
 * @param {PictureDescription} description
 */
export function picture(root, model, description) {
  const { height, width, channels, centred, scale: [factor, offset] } = description;
  const [paper, ink] = [offset, 255 * factor + offset].map((value) => readable(value, 3));
  const values = `with values from ${paper} to ${ink}`;
  let dark = false; // ink on light paper
  const answers = new Answers(description);
  const activations = new Activations(description.hidden);
  const saliency = new Saliency(model, description);
  const seen = /** @type {HTMLCanvasElement} */ (make("canvas", {
    id: "seen", width, height, role: "img", "aria-label": "Model input",
  }));
  const pictures = make("section", { hidden: true },
    make("h2", {}, "Layer outputs"),
    make("p", { class: "quiet" }, "Orange is positive, blue is negative; the strongest colour marks the layer's largest value."),
    activations.element);

  /**
   * @param {Planes} drawn of any size
   * @returns {Planes | null} bytes, in the size of the model's input
   */
  function prepared(drawn) {
    if (centred) {
      const digit = asMnist(drawn[0], height, width);
      return digit && [digit];
    }
    const small = drawn.map((plane) => resized(squared(plane), height, width, "bilinear"));
    return dark ? inverted(small) : small;
  }

  /** @param {Planes} given bytes */
  function answer(given) {
    const all = Float32Array.from({ length: height * width * channels }, (_, i) => {
      const value = given[i % channels].values[Math.floor(i / channels)];
      return Math.fround(value * factor) + offset;
    });
    return model.run(all)[0];
  }

  function update() {
    waiting = false;
    const given = pad.empty ? null : prepared(pad.picture);
    pictures.hidden = !given;
    const bytes = given ?? [{ height, width, values: new Uint8Array(height * width) }];
    canvasOf(factor < 0 ? inverted(bytes) : bytes, seen);
    const output = given && answer(given);
    answers.show(output ?? "Nothing is drawn yet.");
    saliency.show(output);
    if (output) activations.show(model.layers);
  }

  let waiting = false;
  const soon = () => {
    if (!waiting) requestAnimationFrame(update);
    waiting = true;
  };
  const pad = new Pad(soon, channels);

  let files = 0;
  const said = make("p", { role: "status", class: "quiet" });
  /** @param {File} file an image; for another file, the reason is shown and nothing else changes */
  async function take(file) {
    const number = ++files;
    try {
      const { picture, said: done } = await opened(file, channels, centred ? "digit" : description.as_is ? "none" : "light paper");
      if (number !== files) return; // another file was opened meanwhile
      pad.put(picture);
      fill(said, done);
    } catch (error) {
      if (number === files) fill(said, /** @type {Error} */ (error).message);
    }
  }
  pad.buttons.append(" ", make("button", { type: "button", id: "open", onclick: () => field.click() }, "Open image"));
  const field = make("input", {
    type: "file", accept: ACCEPTED, hidden: true, onchange: () => {
      if (field.files.length) take(field.files[0]);
      field.value = "";
    },
  });
  const light = !centred && channels === 1 && make("label", { class: "tick" }, tick(false, (on) => {
    dark = on;
    soon();
  }), " Invert to dark ink on light paper");
  fill(root,
    make("div", { class: "rooms" },
      make("section", {}, make("h2", {}, "Draw"), pad.canvas, pad.buttons, field,
        make("p", { class: "quiet" }, "You can also drop an image on the page."), said, light),
      make("section", {}, make("h2", {}, "Prediction"), answers.element,
        make("h2", {}, "Model input"),
        make("p", { class: "quiet" }, centred
          ? `Cropped, scaled and centred like MNIST's digits: ${width} × ${height}, ${values}.` : `Scaled to ${width} × ${height}, ${values}.`),
        seen, saliency.element)),
    pictures);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  update();
  return { pad, prepared, answer, saliency, take };
}
