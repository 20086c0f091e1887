// Which pixels a prediction depends on: its gradient with respect to each, orange if positive and blue
// if negative.
import { ofPage, ofValue } from "../playground/colours.js";
import { fill, make } from "../playground/dom.js";
import { shares } from "./answers.js";

export class Saliency {
  /**
   * @param {import("../engine/forward.js").ForwardProgram} model
   * @param {import("./picture.js").PictureDescription} description
   */
  constructor(model, description) {
    this.model = model;
    this.description = description;
    const { height, width } = description;
    this.canvas = /** @type {HTMLCanvasElement} */ (make("canvas", {
      id: "saliency", width, height, role: "img", "aria-describedby": "saliency-said",
      "aria-label": "Saliency map",
    }));
    this.said = make("p", { class: "quiet", id: "saliency-said" });
    this.element = make("section", { hidden: true }, make("h2", {}, "Saliency"), this.said, this.canvas);
  }

  /**
   * @param {ArrayLike<number> | null} output of the last run, or null if nothing is drawn
   * @returns {Float32Array | null} the gradient of the shown prediction
   */
  show(output) {
    this.element.hidden = !output;
    if (!output) return null;
    const found = shares(this.description, output);
    const best = found.indexOf(Math.max(...found));
    const by = this.description.answer === "share" ? [best ? 1 : -1]
      : Float32Array.from(output, (_, k) => Number(k === best));
    const [each] = this.model.gradient(by);
    const { channels } = this.description;
    // More light means more of each colour.
    const gradient = Float32Array.from({ length: each.length / channels }, (_, i) =>
      each.subarray(i * channels, (i + 1) * channels).reduce((sum, v) => sum + v, 0));
    const what = this.model.logits ? "logit (the score before the probabilities)" : "probability";
    fill(this.said, "The gradient of the ", what, " of ", make("b", {}, this.description.classes[best]),
      " with respect to each input pixel: orange where more light raises it, blue where it lowers it; ",
      "the strongest colour marks the largest value.");
    this.#draw(gradient);
    return gradient;
  }

  /** @param {Float32Array} gradient */
  #draw(gradient) {
    const { height, width } = this.description;
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const image = context.createImageData(width, height);
    const { paper } = ofPage();
    const most = gradient.reduce((largest, v) => Math.max(largest, Math.abs(v)), 0) || 1;
    gradient.forEach((v, i) => image.data.set([...ofValue(v / most, paper), 255], 4 * i));
    context.putImageData(image, 0, 0);
  }
}
