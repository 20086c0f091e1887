// What goes out of the page and comes in: the address, a script for Python, weights, a picture, a
// table. Nothing is sent anywhere: files are made here and saved by the browser.
import { readTable, suggested, tablePoints, MOST_TEXT } from "./points/csv.js";
import { choice, counted, fill, find, labelled, make } from "./dom.js";
import { MOST_BYTES } from "./files/format.js";
import { modelFile, readModel } from "./files/model.js";
import { LIMITS } from "./settings.js";

/**
 * Offer a file for saving.
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
 * Show a text, and copy it where the browser lets pages from disk do so.
 * @param {string} title
 * @param {string} text
 * @param {(message: string) => void} say
 */
export async function copy(title, text, say) {
  const box = find("copied");
  const area = make("textarea", { readonly: true, rows: 12, spellcheck: "false", "aria-label": title });
  area.value = text;
  fill(box, area);
  box.hidden = false;
  area.focus();
  area.select();
  try {
    await navigator.clipboard.writeText(text);
    say(`${title}: copied.`);
  } catch {
    say(`${title}: below, selected. Copy it with Ctrl+C.`);
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
 * @param {import("./training.js").Training} training of the network as it is
 * @returns {Promise<ReturnType<typeof readModel>>}
 */
export async function loadModel(file, { data, catalogue, output }) {
  if (file.size > MOST_BYTES) throw new Error(`The file has ${file.size.toLocaleString("en")} bytes: too many.`);
  const found = readModel(new Uint8Array(await file.arrayBuffer()), catalogue);
  const [first, last] = [found.layers[0], found.layers[found.layers.length - 1]];
  if (first.inputs !== data.inputs) {
    throw new Error(`The file's network takes ${counted(first.inputs, "input")}, and these points have ${data.inputs}.`);
  }
  const fits = last.units === output.units || (data.classes.length === 2 && last.units <= 2);
  if (!fits) {
    throw new Error(`The file's network gives ${counted(last.units, "output")}, and these points want ${output.units}.`);
  }
  if (found.layers.length - 1 > LIMITS.layers.most
    || found.layers.slice(0, -1).some(({ units }) => units > LIMITS.units.most)) {
    throw new Error(`At most ${LIMITS.layers.most} layers in between, of at most ${LIMITS.units.most} units, are shown here.`);
  }
  return found;
}

/**
 * The part of the page that takes tables: pasted, dropped or chosen.
 * @param {(own: import("./settings.js").OwnPoints, notes: string[]) => void} take
 * @param {(message: string) => void} say
 * @param {string[]} missing what stands for nothing in a cell
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
      say(`The table was not taken. ${/** @type {Error} */ (error).message}`);
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
          throw new Error(`“${table.names[chosen.answer].slice(0, 40)}” is an answer of classes: choose two columns of numbers as `
            + `axes.${numeric.length < 2 ? " This table has one." : ""}`);
        }
        take({ ...own, inputs: /** @type {1 | 2} */ (chosen.inputs.length) }, notes);
      } catch (error) {
        say(/** @type {Error} */ (error).message);
      }
    };
    fill(place, labelled("Across", axis(0)), labelled("Up", axis(1)),
      labelled("Answer", choice(options, String(chosen.answer), (value) => {
        chosen.answer = Number(value);
        use();
      })));
    place.closest("details")?.setAttribute("open", ""); // what was dropped elsewhere shows its columns too
    use();
  };
  find("table-use").addEventListener("click", () => read(area.value));
  /** @param {File | undefined} file */
  const open = async (file) => {
    if (!file) return;
    if (file.size > 4 * MOST_TEXT) say(`${file.name} is too large to be read here.`);
    else read(await file.text());
  };
  const input = find("table-file");
  input.addEventListener("change", () => {
    open(input.files[0]);
    input.value = "";
  });
  return open;
}
