// A model's page begins: its engine is unpacked, and what it takes is shown, by its kind.
import { ForwardProgram } from "../engine/forward.js";
import { Kernels } from "../engine/memory.js";
import { unpacked } from "../packed.js";
import { find } from "../playground/dom.js";
import { area } from "./area.js";
import { form } from "./form.js";
import { picture } from "./picture.js";

/**
 * What a page knows of its model, from `gpunn.apps.web.model_page`; each kind adds its own.
 * @typedef {Object} Description
 * @property {"picture" | "plane" | "table"} kind what it takes
 * @property {"shares" | "share" | "number"} answer of the one output: probabilities of classes, that
 *   of the second of two, or a number
 * @property {string[]} classes their names; none of a number
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
  onFiles(take ?? (() => (find("message").textContent = "This page takes no files.")));
  document.documentElement.dataset.ready = "true";
} catch (error) {
  find("message").textContent = `The model could not be shown: ${/** @type {Error} */ (error).message} `
    + "The page needs a browser of 2023 or newer.";
  throw error;
}

/**
 * A file that is dropped must not take the place of the page.
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
