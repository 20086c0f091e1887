// Export and import: the address, a Python script, weights, an image, a table. Nothing is sent
// anywhere: files are created in the page and saved by the browser.
import { readTable, suggested, tablePoints, MOST_TEXT } from "./points/csv.js";
import { choice, counted, fill, find, labelled, make } from "./dom.js";
import { MOST_BYTES } from "./files/format.js";
import { modelFile, readModel } from "./files/model.js";
import { LIMITS } from "./settings.js";

/**
 * Offer a file for download.
 * @param {BlobPart} content
 * @param {string} name
 * @param {string} type
 */
export function save(content, name, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Show a text, and copy it if the browser allows that for pages opened from disk.
 * @param {string} title
 * @param {string} text
 * @param {(message: string) => void} say
 * @param {boolean} [unseen] whether it is shown only if the browser does not copy it
 */
export async function copy(title, text, say, unseen = false) {
  const box = find("copied");
  if (unseen) {
    box.hidden = true;
    try {
      await navigator.clipboard.writeText(text);
      say(`${title} copied.`);
      return;
    } catch {
      // it is shown
    }
  }
  const area = make("textarea", { readonly: true, rows: 12, spellcheck: "false", "aria-label": title });
  area.value = text;
  fill(box, area);
  box.hidden = false;
  area.focus();
  area.select();
  try {
    await navigator.clipboard.writeText(text);
    say(`${title} copied.`);
  } catch {
    say(`${title} selected below. Press Ctrl+C to copy it.`);
  }
}

/**
 * @param {import("./training.js").Training} training
 * @param {import("./settings.js").Settings} settings
 */
export function saveModel(training, settings) {
  const file = /** @type {Uint8Array<ArrayBuffer>} */ (modelFile(training, settings));
  save(file, "playground.gpunn", "application/octet-stream");
}

/**
 * @param {File} file
 * @param {import("./training.js").Training} training of the current network
 * @returns {Promise<ReturnType<typeof readModel>>}
 */
export async function loadModel(file, { data, catalogue, output }) {
  if (file.size > MOST_BYTES) throw new Error(`The file is too large: ${file.size.toLocaleString("en")} bytes.`);
  const found = readModel(new Uint8Array(await file.arrayBuffer()), catalogue);
  const [first, last] = [found.layers[0], found.layers[found.layers.length - 1]];
  if (first.inputs !== data.inputs) {
    throw new Error(`The file's network takes ${counted(first.inputs, "input")}, but these points have ${data.inputs}.`);
  }
  const fits = last.units === output.units || (data.classes.length === 2 && last.units <= 2);
  if (!fits) {
    throw new Error(`The file's network has ${counted(last.units, "output")}, but these points need ${output.units}.`);
  }
  if (found.layers.length - 1 > LIMITS.layers.most
    || found.layers.slice(0, -1).some(({ units }) => units > LIMITS.units.most)) {
    throw new Error(`This page supports at most ${LIMITS.layers.most} hidden layers of at most ${LIMITS.units.most} units.`);
  }
  return found;
}

/**
 * The part of the page that loads tables: pasted, dropped or chosen.
 * @param {(own: import("./settings.js").OwnPoints, notes: string[]) => void} take
 * @param {(message: string, bad?: boolean) => void} say
 * @param {string[]} missing strings that mark a missing value
 */
export function tables(take, say, missing) {
  const [area, place] = [find("table-text"), find("table-columns")];
  /** @param {string} text */
  const read = (text) => {
    try {
      const table = readTable(text, missing);
      columns(table, suggested(table));
    } catch (error) {
      fill(place);
      say(`The table was not loaded. ${/** @type {Error} */ (error).message}`, true);
    }
  };
  /**
   * @param {import("./points/csv.js").Table} table
   * @param {{inputs: number[], answer: number}} chosen
   */
  const columns = (table, chosen) => {
    const options = table.names.map((name, i) => /** @type {[string, string]} */ ([String(i), name.slice(0, 60)]));
    const numeric = options.filter((_, i) => table.numeric.includes(i));
    /** @param {number} axis */
    const axis = (axis) => choice(axis ? [["", "none"], ...numeric] : numeric, String(chosen.inputs[axis] ?? ""),
      (value) => {
        chosen.inputs[axis] = Number(value);
        if (value === "") chosen.inputs.length = 1;
        use();
      });
    const use = () => {
      try {
        const { notes, ...own } = tablePoints(table, chosen);
        if (own.task === "classes" && chosen.inputs.length < 2) {
          throw new Error(`“${table.names[chosen.answer].slice(0, 40)}” is a target with classes: choose two numeric columns as `
            + `axes.${numeric.length < 2 ? " This table has only one." : ""}`);
        }
        take({ ...own, inputs: /** @type {1 | 2} */ (chosen.inputs.length) }, notes);
      } catch (error) {
        say(/** @type {Error} */ (error).message, true);
      }
    };
    fill(place, labelled("x-axis", axis(0)), labelled("y-axis", axis(1)),
      labelled("Target", choice(options, String(chosen.answer), (value) => {
        chosen.answer = Number(value);
        use();
      })));
    place.closest("details")?.setAttribute("open", ""); // show the columns of a table dropped elsewhere too
    use();
  };
  find("table-use").addEventListener("click", () => read(area.value));
  /** @param {File | undefined} file */
  const open = async (file) => {
    if (!file) return;
    if (file.size > 4 * MOST_TEXT) say(`${file.name} is too large for this page.`, true);
    else read(await file.text());
  };
  const input = find("table-file");
  input.addEventListener("change", () => {
    open(input.files[0]);
    input.value = "";
  });
  return open;
}
