// The page of a model that takes pictures: a pad, what the model says of what is drawn on it,
// and what each of its layers makes of it.
import { fill, make, tick } from "../playground/dom.js";
import { Activations } from "./activations.js";
import { Answers } from "./answers.js";
import { ACCEPTED, opened } from "./opened.js";
import { canvasOf, Pad } from "./pad.js";
import { asMnist, resized, squared } from "./preparing.js";
import { Saliency } from "./saliency.js";

/** @typedef {import("./preparing.js").Planes} Planes */

/**
 * @typedef {import("./main.js").Description & {height: number, width: number, channels: number,
 *   centred: boolean, as_is: boolean, scale: [factor: number, offset: number], unsure_below: number,
 *   hidden: string[]}} PictureDescription
 *   centred: whether pictures are prepared as MNIST's digits; as_is: whether it knows dark ink on
 *   light paper, if only in files; scale: what bytes become
 */

/**
 * @param {HTMLElement} root
 * @param {import("../engine/forward.js").ForwardProgram} model
 * @param {PictureDescription} description
 */
export function picture(root, model, description) {
  const { height, width, channels, centred, scale: [factor, offset] } = description;
  let dark = false; // ink on light paper
  const answers = new Answers(description);
  const activations = new Activations(description.hidden);
  const saliency = new Saliency(model, description);
  const seen = /** @type {HTMLCanvasElement} */ (make("canvas", {
    id: "seen", width, height, role: "img", "aria-label": "What the model is given",
  }));
  const pictures = make("section", { hidden: true },
    make("h2", {}, "What each layer makes of it"),
    make("p", { class: "quiet" }, "Orange is above 0, blue below; the strongest colour is the layer's largest number."),
    activations.element);

  /**
   * @param {Planes} drawn of any size
   * @returns {Planes | null} bytes of the size that the model takes
   */
  function prepared(drawn) {
    if (centred) {
      const digit = asMnist(drawn[0], height, width);
      return digit && [digit];
    }
    return drawn.map((plane) => {
      const small = resized(squared(plane), height, width, "bilinear");
      return dark ? { ...small, values: Uint8Array.from(small.values, (v) => 255 - v) } : small;
    });
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
    canvasOf(given ?? [{ height, width, values: new Uint8Array(height * width) }], seen);
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
  /** @param {File} file a picture; another file leaves all as it was, and is told why */
  async function take(file) {
    const number = ++files;
    try {
      const { picture, said: done } = await opened(file, channels, description.as_is);
      if (number !== files) return; // another one was opened since
      pad.put(picture);
      fill(said, done);
    } catch (error) {
      if (number === files) fill(said, /** @type {Error} */ (error).message);
    }
  }
  pad.buttons.append(" ", make("button", { type: "button", id: "open", onclick: () => field.click() }, "Open a picture"));
  const field = make("input", {
    type: "file", accept: ACCEPTED, hidden: true, onchange: () => {
      if (field.files.length) take(field.files[0]);
      field.value = "";
    },
  });
  const light = !centred && channels === 1 && make("label", { class: "tick" }, tick(false, (on) => {
    dark = on;
    soon();
  }), " Give it dark ink on light paper");
  fill(root,
    make("div", { class: "rooms" },
      make("section", {}, make("h2", {}, "Draw"), pad.canvas, pad.buttons, field,
        make("p", { class: "quiet" }, "A picture can be dropped on the page too."), said, light),
      make("section", {}, make("h2", {}, "It says"), answers.element,
        make("h2", {}, "It is given"),
        make("p", { class: "quiet" }, centred
          ? `Cropped, scaled and centred as MNIST's digits: ${width} × ${height}.` : `Scaled to ${width} × ${height}.`),
        seen, saliency.element)),
    pictures);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  update();
  return { pad, prepared, answer, saliency, take };
}
