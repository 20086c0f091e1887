// The controls of data, network and training, rebuilt from the settings when these change.
import { choice, fill, labelled, make, number, tick } from "./dom.js";
import { LARGEST, LIMITS, newLayer } from "./settings.js";
import { SHAPES } from "./points/shapes.js";

/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./settings.js").Catalogue} Catalogue */
/** @typedef {(what: "points" | "network" | "rate") => void} Changed */

/**
 * @param {HTMLElement} place
 * @param {Settings} settings
 * @param {Changed} changed
 */
export function dataControls(place, settings, changed) {
  const shape = SHAPES[settings.data];
  /**
   * @param {string} text
   * @param {"rows" | "noise" | "classes" | "held" | "draw"} name
   */
  const field = (text, name) => labelled(text, number(settings[name], LIMITS[name], (value) => {
    settings[name] = value;
    changed("points");
  }));
  const tasks = /** @type {const} */ ([["classes", "Classification"], ["numbers", "Regression"]]);
  const select = choice([], settings.data, (name) => {
    settings.data = name;
    settings.noise = SHAPES[name]?.noise ?? settings.noise;
    changed("points");
  });
  for (const [task, text] of tasks) {
    const group = make("optgroup", { label: text });
    for (const [name, { text: shown, task: of }] of Object.entries(SHAPES)) {
      if (of === task) group.append(make("option", { value: name, selected: name === settings.data }, shown));
    }
    select.append(group);
  }
  if (settings.own) select.append(make("option", { value: "own", selected: settings.data === "own" }, "Your own points"));
  fill(
    place,
    labelled("Dataset", select),
    shape && !shape.rows && field("Points", "rows"),
    shape?.noise !== undefined && field("Noise", "noise"),
    (shape?.most ?? 2) > 2 && field("Classes", "classes"),
    field("Test fraction", "held"),
    field("Data seed", "draw"),
  );
}

/**
 * @param {HTMLElement} place
 * @param {Settings} settings
 * @param {Catalogue} catalogue
 * @param {Changed} changed
 */
export function layerControls(place, settings, catalogue, changed) {
  const activations = named(catalogue.activations);
  const boxes = settings.layers.map((layer, i) => {
    /**
     * @param {string} text
     * @param {"units" | "dropout" | "l1" | "l2"} name
     */
    const field = (text, name) => labelled(text, number(layer[name], LIMITS[name], (value) => {
      layer[name] = value;
      changed("network");
    }));
    const more = make("details", { open: uncommon(layer) }, make("summary", {}, "More"), make("div", { class: "fields" },
      labelled("Initializer", choice(named(catalogue.initializers), layer.initializer.name, (name) => {
        layer.initializer = { name, settings: {} };
        changed("network");
      })),
      ...initializerControls(layer.initializer, catalogue, () => changed("network")),
      field("Dropout", "dropout"), field("L1 penalty", "l1"), field("L2 penalty", "l2"),
      labelled("Batch normalization", tick(layer.normalize, (value) => {
        layer.normalize = value;
        changed("network");
      })),
      make("button", { type: "button", onclick: () => {
        settings.layers.splice(i, 1);
        changed("network");
      } }, `Remove layer ${i + 1}`)));
    return make("fieldset", {}, make("legend", {}, `Layer ${i + 1}`), make("div", { class: "pair" },
      field("Units", "units"),
      labelled("Activation", choice(activations, layer.activation, (name) => {
        layer.activation = name;
        changed("network");
      }))), more);
  });
  const full = settings.layers.length >= LIMITS.layers.most;
  fill(place, boxes, make("button", { type: "button", disabled: full, onclick: () => {
    const last = settings.layers[settings.layers.length - 1];
    settings.layers.push(last ? structuredClone(last) : newLayer());
    changed("network");
  } }, "Add layer"));
}

/**
 * @param {HTMLElement} place
 * @param {Settings} settings
 * @param {Catalogue} catalogue
 * @param {{activation: string, loss: string, each: boolean}} output as resolved
 * @param {import("./points/data.js").Data} data
 * @param {Changed} changed
 */
export function trainingControls(place, settings, catalogue, output, data, changed) {
  const { optimizer } = settings;
  const kind = catalogue.optimizers[optimizer.name];
  const rates = Object.entries(kind.settings).map(([name, usual]) => {
    const value = optimizer.settings[name] ?? usual;
    /** @param {number} now */
    const take = (now) => {
      if (now === usual) delete optimizer.settings[name];
      else optimizer.settings[name] = now;
      changed(name === "learning_rate" ? "rate" : "network");
    };
    const text = name === "learning_rate" ? "Learning rate" : words(name);
    return labelled(text, kind.flags.includes(name) ? tick(value !== 0, (on) => take(on ? 1 : 0))
      : number(value, { least: 0, most: LARGEST }, take));
  });
  /**
   * @param {"loss" | "output"} name
   * @param {[string, string][]} options
   * @param {string} taken
   */
  const open = (name, options, taken) => choice(
    [["auto", `auto: ${taken}`], ...options], settings[name], (value) => {
      settings[name] = value;
      changed("network");
    });
  fill(
    place,
    labelled("Optimizer", choice(named(catalogue.optimizers), optimizer.name, (name) => {
      const rate = optimizer.settings.learning_rate;
      settings.optimizer = { name, settings: rate === undefined ? {} : { learning_rate: rate } };
      changed("network");
    })),
    rates[0],
    make("details", { open: Object.keys(optimizer.settings).some((name) => name !== "learning_rate") },
      make("summary", {}, `More ${optimizer.name} settings`), rates.slice(1)),
    labelled("Batch size", number(settings.batch, LIMITS.batch, (value) => {
      settings.batch = value;
      changed("network");
    })),
    labelled("Loss", open("loss", named(catalogue.losses), output.loss)),
    labelled("Output activation", open("output", named(catalogue.activations), output.activation)),
    data.classes.length === 2 && labelled("One output per class", tick(output.each, (value) => {
      settings.each = value;
      changed("network");
    })),
    labelled("Seed for weights", number(settings.seed, LIMITS.seed, (value) => {
      settings.seed = value;
      changed("network");
    })),
  );
}

/**
 * @param {import("./settings.js").LayerChoice["initializer"]} initializer
 * @param {Catalogue} catalogue
 * @param {() => void} changed
 */
function initializerControls({ name: how, settings }, catalogue, changed) {
  const known = catalogue.initializers[how];
  return Object.entries(known.settings).map(([name, usual]) => {
    /** @param {number | string} now */
    const take = (now) => {
      if (now === usual) delete settings[name];
      else settings[name] = now;
      changed();
    };
    const value = settings[name] ?? usual;
    return labelled(words(name), known.choices[name]
      ? choice(known.choices[name].map((option) => [option, words(option)]), String(value), take)
      : number(Number(value), { least: known.least[name], most: LARGEST }, take));
  });
}

/** @param {string} name of a setting */
function words(name) {
  return name.replaceAll("_", " ");
}

/**
 * @param {{[name: string]: unknown}} parts
 * @returns {[string, string][]}
 */
function named(parts) {
  return Object.keys(parts).map((name) => [name, name]);
}

/** @param {import("./settings.js").LayerChoice} layer */
function uncommon(layer) {
  const usual = newLayer(layer.units, layer.activation);
  return JSON.stringify(layer) !== JSON.stringify(usual);
}
