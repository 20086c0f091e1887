// The state of the page: the settings, the network in training, and its display.
import { CLASSES, MARKS, css, trace } from "./colours.js";
import { dataControls, layerControls, trainingControls } from "./controls.js";
import { drawCurves } from "./curves.js";
import { CLASS_NAMES, boundsOf, makeData, mismatch } from "./points/data.js";
import { DETAIL, Diagram } from "./diagram.js";
import { fill, find, make, written } from "./dom.js";
import { lessonCard, lessonMenu, unknownLesson } from "./lesson_card.js";
import { LESSONS } from "./lessons.js";
import { Pen } from "./pen.js";
import { Plane, placesOf } from "./plane.js";
import { defaults, fromAddress, toAddress } from "./settings.js";
import { SHAPES, points } from "./points/shapes.js";
import { Slopes } from "./slopes.js";
import { Training } from "./training.js";
import { unitPanel } from "./unit.js";
import { diverging, findings, overfitting, unitStates, unscaled } from "./words.js";

const BUDGET = 9; // milliseconds of training between two frames
const WORDS_EVERY = 400; // milliseconds
const WATCHED = 60; // epochs that have a frame each: a second in which one sees it learn

export class Playground {
  /**
   * @param {import("../engine.js").Engine} engine
   * @param {import("./settings.js").Catalogue} catalogue
   */
  constructor(engine, catalogue) {
    this.engine = engine;
    this.catalogue = catalogue;
    this.slopes = new Slopes(engine);
    this.plane = new Plane(find("plane"));
    this.diagram = new Diagram(find("net"), (layer, unit, input) => this.select(layer, unit, input));
    /** @type {Training | null} */
    this.training = null;
    this.running = false;
    /** @type {number | null} */
    this.point = null;
    /** @type {{layer: number, unit: number} | null} */
    this.selected = null;
    /** @type {(() => void) | null} */
    this.renewUnit = null;
    this.from = 0; // the epoch from which on it runs
    this.told = 0; // when the diagnostics were last updated
    this.rate = { steps: 0, since: 0, text: "" };
    this.pen = new Pen(this.plane, {
      data: () => this.data,
      choose: (point) => {
        this.point = point;
        this.showUnit();
        this.draw();
      },
      take: (drawn, classes) => this.takeDrawn(drawn, classes),
      redraw: () => this.draw(),
    });
    /** @type {import("./points/data.js").Data} */
    this.data = makeData({ task: "numbers", points: [] }, 0, 0);
    /** @type {string[]} */
    this.outputNames = [];
    /** @type {Float32Array} */
    this.details = new Float32Array();
    this.drawn = false;
    /** @type {(() => void) | null} called whenever the network may have changed */
    this.changed = null;
    this.lesson = ""; // the name of the one that is shown
    this.cured = false;
    this.settings = defaults();
    this.open(location.hash.slice(1));
    new ResizeObserver(() => this.fit()).observe(find("net"));
  }

  /** Build the diagram again if its frame has another size. */
  fit() {
    if (!this.training || !this.diagram.outgrown) return;
    this.buildDiagram(this.training);
    this.showUnit();
    this.draw(true);
  }

  /** @param {string} text settings, in the form of the page's address */
  open(text) {
    this.stop();
    this.say("");
    const { settings, refused, lesson, cured } = fromAddress(text, this.catalogue);
    const known = Object.hasOwn(LESSONS, lesson);
    if (refused.length) this.say(`Ignored invalid settings in the address: ${refused.join(", ").slice(0, 200)}.`, true);
    if (lesson && !known) this.say(unknownLesson(lesson), true);
    this.settings = settings;
    this.lesson = known ? lesson : "";
    this.cured = cured;
    this.renew("points");
    if (this.lesson) this.training?.epochs(LESSONS[lesson].epochs);
    this.showLesson();
    this.draw(true);
  }

  /** @returns {{text: string, complete: boolean}} the settings, in the form of the page's address */
  get address() {
    return toAddress(this.settings, this.catalogue, this.lesson);
  }

  showLesson() {
    lessonMenu(find("lessons"), this.lesson);
    lessonCard(find("lesson"), this.lesson, this.cured, (text) => this.open(text));
  }

  /**
   * @param {string} message
   * @param {boolean} [bad] whether something went wrong
   */
  say(message, bad = false) {
    const place = find("message");
    place.textContent = message;
    place.classList.toggle("bad", bad);
  }

  /**
   * @param {"points" | "network" | "rate"} what changed
   * @param {import("./training.js").Weights[] | null} [weights] initial weights
   */
  renew(what, weights = null) {
    if (what === "rate") {
      const { settings } = this.settings.optimizer;
      const { name } = this.settings.optimizer;
      this.training?.network.setOptimizer("learning_rate",
        settings.learning_rate ?? this.catalogue.optimizers[name].settings.learning_rate);
      this.training?.edited();
    } else {
      if (what === "points") this.makeData();
      this.begin(weights);
    }
    const { training } = this;
    if (training) {
      rebuilt(find("data-controls"), (place) => dataControls(place, this.settings, (w) => this.renew(w)));
      rebuilt(find("layer-controls"), (place) =>
        layerControls(place, this.settings, this.catalogue, (w) => this.renew(w)));
      rebuilt(find("training-controls"), (place) =>
        trainingControls(place, this.settings, this.catalogue, training.output, this.data, (w) => this.renew(w)));
      find("advice").textContent = mismatch(training.output, this.data, this.catalogue);
    }
    try {
      history.replaceState(null, "", `#${this.address.text}`);
    } catch {
      // some browsers forbid this for pages opened from disk; "Copy link" still works
    }
    this.draw(true);
  }

  makeData() {
    const { settings } = this;
    const own = settings.data === "own" ? settings.own : null;
    const shape = SHAPES[settings.data];
    if (shape) settings.classes = Math.min(settings.classes, shape.most ?? 2);
    const given = own ?? {
      task: shape.task, inputs: shape.inputs,
      points: points(settings.data, {
        rows: settings.rows, noise: shape.noise === undefined ? 0 : settings.noise,
        classes: settings.classes, seed: settings.draw,
      }),
      classes: shape.task === "classes" ? CLASS_NAMES.slice(0, shape.most ? settings.classes : 2) : [],
    };
    this.data = makeData(given, settings.held, settings.draw);
    this.point = this.data.train[0] ?? null;
    if (!this.drawn) this.plane.frame(boundsOf(this.data), this.data.inputs);
    this.details = placesOf(this.plane.bounds, this.data.inputs, DETAIL);
    this.pen.controls(find("pen-controls"));
    this.legend();
  }

  /** @param {import("./training.js").Weights[] | null} weights */
  begin(weights) {
    this.training?.free();
    this.training = null;
    this.from = 0;
    if (this.data.points.length < 2) {
      this.stop();
      this.say("Draw at least two points.");
      return;
    }
    try {
      this.training = new Training(this.engine, this.catalogue, this.settings, this.data, weights);
    } catch (error) {
      this.stop();
      this.say(/** @type {Error} */ (error).message, true);
      return;
    }
    const { network } = this.training;
    this.outputNames = this.data.task === "numbers" ? [this.data.names[this.data.inputs]]
      : this.training.output.each ? this.data.classes : [this.data.classes[1]];
    this.buildDiagram(this.training);
    const { selected } = this;
    if (selected && !(selected.unit < network.layers[selected.layer]?.units)) this.selected = null;
    this.showUnit();
  }

  /** @param {Training} training */
  buildDiagram({ network }) {
    this.diagram.build([this.data.inputs, ...network.layers.map((l) => l.units)], this.data.names, this.outputNames);
  }

  /**
   * Replace the points by those drawn by hand, within the same axes.
   * @param {number[][]} drawn
   * @param {string[]} classes
   */
  takeDrawn(drawn, classes) {
    const { task, inputs, names, scales } = this.data;
    this.settings.own = { task, inputs: /** @type {1 | 2} */ (inputs), points: drawn, classes, names, scales };
    this.settings.data = "own";
    const kept = this.training && drawn.length >= 2 ? this.training.weights() : null;
    const outputs = this.training?.output.units;
    this.drawn = true;
    this.say("");
    this.makeData();
    this.drawn = false;
    const same = kept && outputs === (classes.length > 2 ? classes.length : outputs);
    try {
      this.renew("network", same ? kept : null);
    } catch {
      this.renew("network");
    }
  }

  /**
   * @param {number} layer
   * @param {number} unit
   * @param {number | null} input
   */
  select(layer, unit, input) {
    this.selected = { layer, unit };
    const panel = this.showUnit();
    this.draw(true);
    if (input !== null) panel?.focus(input);
  }

  showUnit() {
    const { training, selected } = this;
    const place = find("unit");
    if (!training) return null;
    const { layer, unit } = selected ?? { layer: training.network.layers.length - 1, unit: 0 };
    const panel = unitPanel(place, {
      training, slopes: this.slopes, layer, unit, point: this.point,
      inputNames: this.data.names, outputNames: this.outputNames,
      changed: () => {
        training.edited();
        this.draw(true);
      },
      shown: (passed) => this.diagram.show(passed, training.network.layers, { layer, unit }),
    });
    this.renewUnit = panel;
    return panel;
  }

  legend() {
    const { data } = this;
    const marks = data.classes.map((name, i) => {
      const canvas = make("canvas", { width: 32, height: 32, class: "mark", "aria-hidden": "true" });
      const context = canvas.getContext("2d");
      trace(context, MARKS[i], 16, 16, 11);
      context.fillStyle = css(CLASSES[i]);
      context.fill();
      return make("li", {}, canvas, name);
    });
    fill(find("legend"), marks.length ? marks : make("li", {}, data.inputs === 2
      ? "Blue is negative, orange is positive, paler is nearer to 0" : "The line is the network's output"),
    data.test.length > 0 && make("li", {}, data.task === "numbers" && data.inputs === 2
      ? "Dashed edge: test points" : "Hollow: test points"));
  }

  // -- training

  start() {
    if (!this.training || this.running) return;
    this.running = true;
    find("words").setAttribute("aria-live", "off"); // its figures change with each frame
    this.from = this.training.now.epoch;
    this.rate = { steps: 0, since: performance.now(), text: "" };
    find("run").textContent = "Pause";
    requestAnimationFrame((now) => this.frame(now));
  }

  stop() {
    this.running = false;
    find("run").textContent = "Run";
    this.rate.text = "";
  }

  /** @param {number} now */
  frame(now) {
    if (!this.running || !this.training) return;
    const before = this.training.network.steps;
    const pace = find("pace").value;
    if (pace === "step") this.training.step();
    else if (pace === "epoch") this.training.epoch();
    else {
      const done = this.training.now.epoch - this.from;
      this.training.run(BUDGET, () => performance.now(), 1 + done / WATCHED);
    }
    this.rate.steps += this.training.network.steps - before;
    if (now - this.rate.since > 700) {
      const second = (1000 * this.rate.steps) / (now - this.rate.since);
      this.rate = { steps: 0, since: now, text: `${Math.round(second).toLocaleString("en")} steps per second` };
    }
    if (!this.training.finite) this.stop();
    this.draw();
    if (this.running) requestAnimationFrame((time) => this.frame(time));
  }

  /** @param {() => unknown} act performed once, then training pauses */
  once(act) {
    this.stop();
    if (!this.training) return;
    act();
    this.draw(true);
  }

  // -- display

  /** @param {boolean} [all] whether to update the diagnostics even if they were updated recently */
  draw(all = false) {
    const { training, data, plane } = this;
    if (!training) {
      const nothing = new Float32Array(plane.rows * Math.max(1, data.classes.length))
        .fill(data.classes.length ? 1 / data.classes.length : 0);
      plane.draw(data, nothing, { chosen: null, cursor: this.pen.cursor });
      return;
    }
    const { network } = training;
    plane.draw(data, training.answers(plane.places, plane.rows), { chosen: this.point, cursor: this.pen.cursor });
    const places = this.details;
    this.diagram.paint(places, network.outputs(places, places.length / data.inputs), data.inputs);
    const { now } = training;
    const percent = (/** @type {number} */ v) => (Number.isNaN(v) ? "" : `, ${(100 * v).toFixed(1)}%`);
    fill(find("figures"),
      figure("Epoch", Math.floor(now.epoch + 1e-9).toLocaleString("en")),
      figure("Step", now.step.toLocaleString("en")),
      figure("Training loss", written(now.train), percent(now.trainRight)),
      data.test.length ? figure("Test loss", written(now.test), percent(now.testRight)) : null,
      this.rate.text ? figure("Speed", this.rate.text) : null);
    find("back").disabled = training.past.length === 0;
    this.changed?.();
    const time = performance.now();
    if (!all && this.running && time - this.told < WORDS_EVERY) return;
    this.told = time;
    this.renewUnit?.();
    this.diagram.weigh(network.layers);
    drawCurves(find("curves"), training.moments);
    find("curves").setAttribute("aria-label", `Loss after ${Math.floor(now.epoch)} epochs: training `
      + `${written(now.train)}${data.test.length ? `, test ${written(now.test)}` : ""}.`);
    plane.canvas.setAttribute("aria-label", `Network output over the plane. Training loss ${written(now.train)}${
      now.trainRight >= 0 ? `${percent(now.trainRight)} correct` : ""}. Arrow keys move a cursor; Enter ${
      this.pen.mode === "choose" ? "selects the nearest point" : "draws or erases there"}.`);
    this.tell();
  }

  tell() {
    const training = /** @type {Training} */ (this.training);
    const { network, data } = training;
    const { x } = training.sets.train;
    const { outputs, sums } = network.explain(x, training.sets.train.y, data.train.length);
    const settings = network.settings.layers;
    const states = settings.slice(0, -1).map(({ activation = "linear", normalize }, l) => {
      const { rowwise, steepest } = this.catalogue.activations[activation];
      if (rowwise || normalize || activation === "linear") return [];
      return unitStates(outputs[l], this.slopes.of(activation, sums[l]), network.layers[l].units, steepest,
        this.catalogue.bounds);
    });
    const gradients = network.layers.map(({ kernelGradient }) =>
      Math.sqrt(kernelGradient.reduce((sum, g) => sum + g * g, 0) / kernelGradient.length));
    const diverges = network.steps ? diverging(training.progress) : "";
    const found = findings(states, network.steps ? gradients : [], this.catalogue.bounds, training.progress);
    const bad = diverges ? [diverges] : [
      ...unscaled(data.names.slice(0, data.inputs), x), ...overfitting(training.moments), ...found.bad];
    const notes = diverges ? [] : found.notes;
    const text = [...bad, "", ...notes].join("\n");
    const place = find("words");
    if (place.dataset.text !== text) {
      place.dataset.text = text;
      fill(place, bad.map((sentence) => make("li", { class: "bad" }, sentence)),
        notes.map((sentence) => make("li", {}, sentence)),
        !bad.length && !notes.length && make("li", {}, "No dead units, no saturated layers, no overfitting."));
    }
    this.diagram.mark(states, this.selected);
  }
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} [right] the fraction of correct predictions
 */
function figure(name, value, right) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value, right, right && make("span", { class: "word" }, " correct")));
}

/**
 * Rebuild controls, preserving the focus and what was expanded.
 * @param {HTMLElement} place
 * @param {(place: HTMLElement) => void} build
 */
function rebuilt(place, build) {
  const all = () => [...place.querySelectorAll("input, select, button, summary")];
  const at = document.activeElement ? all().indexOf(document.activeElement) : -1;
  const open = [...place.querySelectorAll("details")].map((d) => d.open);
  build(place);
  place.querySelectorAll("details").forEach((d, i) => (d.open ||= open[i] ?? false));
  if (at >= 0) /** @type {HTMLElement} */ (all()[Math.min(at, all().length - 1)])?.focus();
}
