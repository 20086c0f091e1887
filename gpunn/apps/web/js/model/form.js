// The page of a model of tables: a form with a field for each column, the prediction, and how it
// changes with each column while the others stay fixed.
import { choice, fill, labelled, make, makeSvg, tick } from "../playground/dom.js";
import { CLASSES } from "../playground/colours.js";
import { Answers, percent, readable, shares } from "./answers.js";
import { Boundary } from "./boundary.js";
import { curve, said } from "./curve.js";
import { between, share } from "./dates.js";
import { encoded } from "./encodings.js";
import { amounts, show } from "./reasons.js";

/** @typedef {import("./encodings.js").Value} Value null is missing */

/**
 * @typedef {{kind: "number", name: string, first: number, low: number, high: number, step: number,
 *   range: [number, number], gaps: boolean}} NumberColumn the slider's bounds, step and initial value,
 *   the range of the training data, and whether the model has an indicator for missing numbers
 * @typedef {{kind: "category", name: string, categories: string[]}} CategoryColumn
 * @typedef {{kind: "date", name: string, form: import("./dates.js").Form, first: string, low: string,
 *   high: string}} DateColumn
 * @typedef {{kind: "text", name: string}} TextColumn
 * @typedef {NumberColumn | CategoryColumn | DateColumn | TextColumn} Column
 * @typedef {import("./main.js").Description & {target: string, unsure_below?: number, factors?: number[],
 *   columns: Column[], orders: number[][], most?: number[]}} TableDescription
 *   `orders` are those of `amounts`, and `most` has the most important columns, if there are too many
 *   to show all
 */

const POINTS = 41; // of a curve over a numeric column
const FRAME = 12; // milliseconds of computing between two frames
const MISSING = "missing or other";
const OUTSIDE = "This is outside the range of the training data.";
const NAMED = 6; // maximum number of bars with names below them

/**
 * @param {HTMLElement} root
 * @param {import("../engine/forward.js").ForwardProgram} model with the number of rows computed at once
 * @param {TableDescription} description
 */
export function form(root, model, description) {
  return new Form(root, model, description);
}

class Form {
  #model;
  #description;
  #answers;
  #said = make("p", { class: "quiet" });
  #count = make("p", { class: "quiet", id: "count", role: "status" });
  #why = make("div", { id: "why" });
  #grid = make("div", { class: "columns" });
  #shown = /** @type {{k: number, drawing: SVGElement}[]} */ ([]);
  #boundary = /** @type {Boundary | null} */ (null);
  #frame = 0;

  /**
   * @param {HTMLElement} root
   * @param {import("../engine/forward.js").ForwardProgram} model
   * @param {TableDescription} description
   */
  constructor(root, model, description) {
    this.#model = model;
    this.#description = description;
    this.#answers = new Answers(description);
    const { columns, target, most } = description;
    /** @type {Value[]} the values of the fields */
    this.values = columns.map(first);
    const search = make("input", { type: "search", autocomplete: "off", oninput: () => this.#find(search.value) });
    const again = make("button", { type: "button", onclick: () => {
      this.values = columns.map(first);
      this.#find(search.value);
    } }, "Reset");
    fill(root,
      make("section", { class: "told" }, make("h2", {}, target), this.#answers.element),
      this.#why,
      make("div", { class: "fields" }, most && labelled(`Search the ${readable(columns.length)} columns`, search), again),
      this.#count,
      this.#said,
      this.#grid);
    this.#plane(root);
    this.#find("");
  }

  /**
   * For two numeric columns, show the model's output over the plane.
   * @param {HTMLElement} root
   */
  #plane(root) {
    const { columns, classes } = this.#description;
    const numbers = columns.filter((column) => column.kind === "number");
    if (numbers.length !== 2 || columns.length !== 2 || classes.length > CLASSES.length) return;
    const description = { ...this.#description, names: numbers.map(({ name }) => name) };
    const boundary = new Boundary(description, (places) => {
      const rows = Array.from({ length: places.length / 2 }, (_, i) => [places[2 * i], places[2 * i + 1]]);
      return Float32Array.from(this.outputs(rows).flatMap((output) => Array.from(output)));
    }, (place) => {
      this.values = place.map((value, k) => rounded(value, numbers[k]));
      this.#find("");
    }, /** @type {[number, number]} */ (numbers.map(({ step }) => step)));
    root.append(make("section", {}, make("h2", {}, "Plane"), boundary.element,
      make("p", { class: "quiet" }, "Click, touch or use the arrow keys to select another point.")));
    boundary.compute(numbers.map(({ low, high }) => [low, high]));
    this.#boundary = boundary;
  }

  /**
   * Show the columns whose names contain a text, as many as fit.
   * @param {string} text empty for the most important columns
   */
  #find(text) {
    const { columns, most } = this.#description;
    let found = columns.map((_, k) => k);
    const room = most ? most.length : columns.length;
    const note = "An empty number or date is treated as missing; the model replaces it by the median of the training data.";
    if (most && !text.trim()) {
      fill(this.#count, `Showing the ${room} columns along which the prediction changes most from the initial values. `
        + `The others have typical values; search for them by name to change them. ${note}`);
      found = most;
    } else if (most) {
      const wanted = text.trim().toLowerCase();
      found = found.filter((k) => columns[k].name.toLowerCase().includes(wanted));
      const first = found.length > room ? `; the first ${room} are shown` : "";
      fill(this.#count, `${readable(found.length)} ${found.length === 1 ? "column matches" : "columns match"}${first}.`);
    } else {
      fill(this.#count, note);
    }
    this.#shown = [];
    fill(this.#grid, found.slice(0, room).map((k) => {
      const column = columns[k];
      if (column.kind === "text") return make("div", { class: "column" }, this.#text(column, k));
      const drawing = makeSvg("svg", { role: "img", class: "curve" });
      this.#shown.push({ k, drawing });
      const controls = column.kind === "number" ? this.#number(column, k)
        : column.kind === "date" ? this.#date(column, k) : this.#category(column, k);
      return make("div", { class: "column" }, controls, drawing, below(column));
    }));
    this.#changed();
  }

  /**
   * @param {NumberColumn} column
   * @param {number} k
   */
  #number({ name, low, high, step, range: [least, most], gaps }, k) {
    const now = this.values[k];
    const slider = make("input", {
      type: "range", min: low, max: high, step, value: now ?? first(this.#description.columns[k]),
      "aria-label": `${name}, slider`,
      oninput: () => {
        box.value = slider.value;
        set(Number(slider.value));
      },
    });
    const box = make("input", {
      type: "number", step: "any", value: now, inputmode: "decimal",
      oninput: () => {
        if (box.validity.badInput) return; // a number that is still being typed
        const empty = box.value === "";
        if (!empty) slider.value = box.value;
        set(empty ? null : Number(box.value));
      },
    });
    const missing = tick(now === null, (value) => {
      box.value = value ? "" : slider.value;
      set(value ? null : Number(box.value));
    });
    missing.setAttribute("aria-label", `${name} is missing`);
    const note = make("p", { class: "advice", role: "status" });
    const judge = (/** @type {Value} */ value) =>
      fill(note, typeof value === "number" && (value < least || value > most) && OUTSIDE);
    judge(now);
    const set = (/** @type {Value} */ value) => {
      missing.checked = value === null;
      judge(value);
      this.#changed(k, value);
    };
    const gap = gaps && make("label", { class: "gap" }, missing, " missing");
    return [make("div", { class: "entry" }, labelled(name, box), gap), note, slider];
  }

  /**
   * @param {DateColumn} column
   * @param {number} k
   */
  #date({ name, form, low, high }, k) {
    const note = make("p", { class: "advice", role: "status" });
    const judge = (/** @type {string} */ value) =>
      fill(note, value !== "" && (value < low || value > high) && OUTSIDE);
    const box = make("input", {
      type: form === "datetime" ? "datetime-local" : form, value: this.values[k] ?? "",
      oninput: () => {
        if (box.validity.badInput) return; // a date that is still being typed
        judge(box.value);
        this.#changed(k, box.value || null);
      },
    });
    judge(box.value);
    return [labelled(name, box), note];
  }

  /**
   * @param {TextColumn} column
   * @param {number} k
   */
  #text({ name }, k) {
    const box = make("textarea", { rows: 3, value: this.values[k], oninput: () => this.#changed(k, box.value) });
    return [labelled(name, box)];
  }

  /**
   * @param {CategoryColumn} column
   * @param {number} k
   */
  #category({ name, categories }, k) {
    const options = categories.map((category, i) => /** @type {[string, string]} */ ([String(i), category]));
    options.push(["missing", `(${MISSING})`]);
    const now = this.values[k];
    const chosen = now === null ? "missing" : String(categories.indexOf(String(now)));
    return [labelled(name, choice(options, chosen, (i) => this.#changed(k, i === "missing" ? null : categories[Number(i)])))];
  }

  /**
   * Show the prediction at once, and the curves when there is time.
   * @param {number} [k] index of the changed field
   * @param {Value} [value] its new value
   */
  #changed(k, value) {
    if (k !== undefined) this.values[k] = value;
    cancelAnimationFrame(this.#frame);
    const [output] = this.outputs([this.values]);
    this.#answers.show(output);
    this.#boundary?.show(this.values.includes(null) ? null
      : /** @type {[number, number]} */ (this.values.map(Number)));
    const found = shares(this.#description, output);
    this.#begin(found.indexOf(Math.max(...found)));
  }

  /** @param {number} best the class whose probability the curves show, -1 for a number */
  #begin(best) {
    const curves = /** @type {import("./curve.js").Curve[]} */ ([]);
    const on = () => {
      const begin = performance.now();
      while (curves.length < this.#shown.length && performance.now() - begin < FRAME)
        curves.push(this.#curve(this.#shown[curves.length].k, best));
      if (curves.length < this.#shown.length) this.#frame = requestAnimationFrame(on);
      else {
        this.#reasons(best);
        this.#draw(curves, best);
      }
    };
    this.#frame = requestAnimationFrame(on);
  }

  /** @param {number} best the most probable class, -1 for a number */
  #reasons(best) {
    const { columns, classes, orders } = this.#description;
    const answers = (/** @type {Value[][]} */ samples) => this.outputs(samples).map((output) => this.#answer(output, best));
    const begin = columns.map(first);
    const [from] = answers([begin]);
    const what = best < 0 ? `${readable(from)}, the prediction for a typical row`
      : `${percent(from)}, the probability of ${classes[best]} for a typical row`;
    show(this.#why, columns.map(({ name }) => name), amounts(answers, this.values, begin, orders), best >= 0, what);
  }

  /**
   * @param {Float32Array} output of one sample
   * @param {number} best a class, -1 for a number
   */
  #answer(output, best) {
    return best < 0 ? output[0] : shares(this.#description, output)[best];
  }

  /**
   * @param {number} k
   * @param {number} best
   * @returns {import("./curve.js").Curve}
   */
  #curve(k, best) {
    const column = this.#description.columns[k];
    const kind = column.kind === "category" ? "category" : "number";
    const points = places(column);
    const outputs = this.outputs(points.map((point) => this.values.with(k, point)));
    const answers = outputs.map((output) => this.#answer(output, best));
    const labels = points.map((point) => (point === null ? MISSING : typeof point === "number" ? readable(point) : String(point)));
    const now = this.values[k];
    const at = column.kind === "category" ? points.indexOf(now) : shareOf(column, now) * (points.length - 1);
    return { name: column.name, kind, labels, answers, at };
  }

  /**
   * Compute the model's outputs for samples.
   * @param {Value[][]} samples the values of all columns, for each sample
   * @returns {Float32Array[]} the output for each sample
   */
  outputs(samples) {
    const rows = this.#model.inputs[0][0];
    const found = [];
    for (let at = 0; at < samples.length; at += rows) {
      const inputs = this.values.map((_, k) =>
        Array.from({ length: rows }, (_, i) => samples[Math.min(at + i, samples.length - 1)][k]));
      const [output] = this.#model.run(...encoded(this.#model.given, inputs));
      const width = output.length / rows;
      for (let i = 0; i < rows && at + i < samples.length; i++)
        found.push(output.subarray(i * width, (i + 1) * width));
    }
    return found;
  }

  /**
   * Draw all curves on one scale, so that important columns stand out.
   * @param {import("./curve.js").Curve[]} curves
   * @param {number} best
   */
  #draw(curves, best) {
    const { classes, target } = this.#description;
    const all = curves.flatMap(({ answers }) => answers).filter(Number.isFinite);
    const [low, high] = best < 0 ? [Math.min(...all), Math.max(...all)] : [0, 1];
    const what = best < 0 ? target : `the probability of ${classes[best]}`;
    const number = best < 0 ? (/** @type {number} */ v) => readable(v, 4) : percent;
    const scale = best < 0 ? `${number(low)} to ${number(high)}` : "0 to 100%";
    fill(this.#said, curves.length > 0 && `The curve below each field shows how ${what} changes with it while the others stay fixed, from ${scale}.`);
    curves.forEach((one, i) => {
      const { drawing } = this.#shown[i];
      drawing.setAttribute("aria-label", said(one, what, number));
      curve(drawing, one, [low, high], number);
    });
  }
}

/**
 * The points of a curve: each category, or each step of the slider and each day, if there are few.
 * @param {Column} column
 * @returns {Value[]}
 */
function places(column) {
  if (column.kind === "category") return [...column.categories, null];
  if (column.kind === "text") return [];
  if (column.kind === "date") return between(column, POINTS);
  const { low, high, step } = column;
  const steps = Math.min(POINTS - 1, Math.max(1, Math.round((high - low) / step)));
  return Array.from({ length: steps + 1 }, (_, i) => low + ((high - low) * i) / steps);
}

/**
 * Where a value lies between the ends of its column: 0 to 1, NaN if it is missing.
 * @param {Column} column
 * @param {Value} value
 */
function shareOf(column, value) {
  if (value === null) return NaN;
  if (column.kind === "date") return share(column, String(value));
  return column.kind === "number" ? (Number(value) - column.low) / (column.high - column.low) : NaN;
}

/**
 * The labels below a column's curve: its ends, or the names of its bars, if they fit.
 * @param {Column} column
 */
function below(column) {
  const names = column.kind === "category" ? [...column.categories, MISSING]
    : column.kind === "text" ? [] : [column.low, column.high].map((end) => (typeof end === "number" ? readable(end) : end));
  return names.length <= NAMED && make("div", { class: `ends of-${column.kind}`, "aria-hidden": "true" },
    names.map((name) => make("span", { title: name }, name)));
}

/**
 * @param {number} value
 * @param {NumberColumn} column
 * @returns {number} the nearest value of its slider
 */
const rounded = (value, { step }) => Number((Math.round(value / step) * step).toPrecision(9));

/**
 * @param {Column} column
 * @returns {Value} the initial value of its field
 */
const first = (column) => (column.kind === "category" ? column.categories[0] ?? null
  : column.kind === "text" ? "" : column.first);
