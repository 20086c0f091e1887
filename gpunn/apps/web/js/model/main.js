// Entry point of a model's page: unpacks the engine and shows the page of the model's kind.
import { ForwardProgram } from "../engine/forward.js";
import { Kernels } from "../engine/memory.js";
import { unpacked } from "../packed.js";
import { find } from "../playground/dom.js";
import { area } from "./area.js";
import { form } from "./form.js";
import { picture } from "./picture.js";

/**
 * The description of a model, from `gpunn.apps.web.model_page`; each kind adds its own properties.
 * @typedef {Object} Description
 * @property {"picture" | "plane" | "table"} kind of its input
 * @property {"shares" | "share" | "number"} answer kind of the output: class probabilities, the
 *   probability of the second of two classes, or a number
 * @property {string[]} classes their names; empty for a number
 */

/** @type {{[kind: string]: (root: HTMLElement, model: ForwardProgram, description: any) => object}} */
const SHOWN = { picture, plane: area, table: form };

try {
  const { constants, known, engine } = JSON.parse(find("data").textContent);
  const { description, program } = JSON.parse(new TextDecoder().decode(await unpacked(known)));
  const model = new ForwardProgram(await Kernels.load(await unpacked(engine)), { ...program, constants });
  const shown = SHOWN[description.kind](find("model"), model, description);
  Object.assign(globalThis, { model, shown });
  const { take } = /** @type {{take?: (file: File) => void}} */ (shown);
  onFiles(take ?? (() => (find("message").textContent = "This page does not accept files.")));
  document.documentElement.dataset.ready = "true";
} catch (error) {
  find("message").textContent = `The model could not be shown: ${/** @type {Error} */ (error).message} `
    + "The page needs a browser from 2023 or later.";
  throw error;
}

/**
 * Handle dropped files, which otherwise would replace the page.
 * @param {(file: File) => void} take
 */
function onFiles(take) {
  const has = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (has(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!has(event)) return;
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  });
}
