// Entry point of the playground: unpacks the engine and handles buttons, keys and files.
import { load } from "../engine.js";
import { unpacked } from "../packed.js";
import { counted, find } from "./dom.js";
import { copy, loadModel, save, saveModel, tables } from "./out.js";
import { Playground } from "./playground.js";
import { pythonScript } from "./python.js";
import { Sender } from "./sending.js";
import { lessonAddress, newLayer } from "./settings.js";

/** @param {Playground} playground */
function listen(playground) {
  const on = (/** @type {string} */ id, /** @type {() => unknown} */ act) => find(id).addEventListener("click", async () => {
    playground.say("");
    try {
      await act();
    } catch (error) {
      playground.say(/** @type {Error} */ (error).message, true);
    }
  });
  const say = (/** @type {string} */ message, bad = false) => playground.say(message, bad);
  on("run", () => (playground.running ? playground.once(() => {}) : playground.start()));
  on("step", () => playground.once(() => playground.training?.step()));
  on("epoch", () => playground.once(() => playground.training?.epoch()));
  on("back", () => playground.once(() => playground.training?.back()));
  on("reset", () => {
    playground.stop();
    playground.renew("network");
  });
  find("lessons").addEventListener("change", () => {
    const { value } = find("lessons");
    playground.open(value && lessonAddress(value, false));
  });
  on("copy-address", () => {
    const { text, complete } = playground.address;
    const here = location.href.split("#")[0];
    return copy("Link", `${here}#${text}`, say, true).then(() => complete
      || say("The link contains all settings but not the points: there are too many."));
  });
  on("copy-python", () => playground.training
    && copy("Script", pythonScript(playground.training, playground.settings), say));
  on("save-weights", () => playground.training && saveModel(playground.training, playground.settings));
  on("save-picture", () => playground.plane.canvas.toBlob((blob) => blob && save(blob, "playground.png", "image/png")));
  const weights = find("weights-file");
  weights.addEventListener("change", () => {
    takeFile(playground, weights.files[0], openTable);
    weights.value = "";
  });
  const openTable = tables((own, notes) => {
    playground.settings.own = own;
    playground.settings.data = "own";
    playground.say([`Loaded ${counted(own.points.length, "point")}.`, ...notes].join(" "));
    playground.renew("points");
  }, say, playground.catalogue.missing);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) takeFile(playground, file, openTable);
  });
  addEventListener("keydown", (event) => key(event));
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === playground.address.text) return;
    playground.open(location.hash.slice(1));
  });
  const { documentElement: root } = document;
  new ResizeObserver(([{ target }]) => { // what gets the focus must not lie below the bar
    root.style.scrollPaddingTop = `${target.clientHeight + 8}px`;
  }).observe(find("top"));
  addEventListener("resize", () => playground.draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => playground.draw(true));
}

/** @param {KeyboardEvent} event */
function key(event) {
  const { target } = event;
  const typing = target instanceof HTMLElement && target.closest("input, select, textarea, button, summary, a");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const id = { " ": "run", s: "step", e: "epoch", b: "back" }[event.key];
  if (!id) return;
  event.preventDefault();
  find(id).click();
}

/**
 * @param {Playground} playground
 * @param {File | undefined} file weights or a table
 * @param {(file: File) => unknown} openTable
 */
async function takeFile(playground, file, openTable) {
  if (!file) return;
  if (!/\.(gpunn|safetensors)$/i.test(file.name)) {
    await openTable(file);
    return;
  }
  try {
    if (!playground.training) throw new Error("There are no points to train on yet.");
    const { layers, whole, notes } = await loadModel(file, playground.training);
    playground.stop();
    const { settings } = playground;
    const known = whole ? [] : settings.layers;
    settings.layers = layers.slice(0, -1).map(({ units, choice }, i) => ({ ...(known[i] ?? newLayer()), ...choice, units }));
    const { units, choice } = layers[layers.length - 1];
    if (playground.data.classes.length === 2) settings.each = units === 2;
    if (whole && choice.activation !== playground.training.output.activation) settings.output = choice.activation ?? "auto";
    playground.renew("network", layers.map((layer) => layer.weights));
    playground.say([`Loaded ${whole ? "a model" : "the weights"} of ${counted(layers.length, "layer")}.`, ...notes].join(" "));
  } catch (error) {
    playground.say(`The file was not loaded. ${/** @type {Error} */ (error).message}`, true);
  }
}

/**
 * Show what Python has given (gpunn.apps.web.given), and send the network back.
 * @param {Playground} playground
 * @param {{settings: string, model: string, rows: number}} given
 */
async function openGiven(playground, { settings, model, rows }) {
  playground.open(settings);
  const bytes = Uint8Array.from(atob(model), (c) => c.charCodeAt(0));
  await takeFile(playground, new File([bytes], "model.gpunn"), () => {});
  const { length } = playground.data.points;
  if (length < rows) playground.say(`Showing ${counted(length, "row")} of ${rows.toLocaleString("en")}, evenly spread.`);
  new Sender(playground);
}

try {
  const { catalogue, parts, engine, given } = JSON.parse(find("data").textContent);
  const playground = new Playground(await load(await unpacked(engine), parts), catalogue);
  listen(playground);
  if (given) await openGiven(playground, given);
  document.documentElement.dataset.ready = "true";
  Object.assign(globalThis, { playground });
} catch (error) {
  find("message").textContent = `The playground could not start: ${/** @type {Error} */ (error).message} `
    + "It needs a browser from 2023 or later.";
  throw error;
}
