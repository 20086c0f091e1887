// A network and its training: implements `Network` of ../engine.js.
import { stepEnds } from "./ends.js";
import { firstWeights } from "./initializers.js";
import { Room } from "./memory.js";
import { checkLength, Plan } from "./plan.js";
import { Generator } from "./random.js";
import { checkNotNegative, checkWhole, find, initializerOf, layOut, optimizerOf, partsOf } from "./settings.js";

/** @typedef {import("./memory.js").Call} Call */

const [PASS, POSITION, BAD_BATCH, COUNTERS] = [2, 3, 4, 8]; // updates and batches come before
const MOST_PLANS = 6;

export class Network {
  #kernels;
  #parts;
  #room;
  #optimizer;
  #shared;
  #slots;
  #rates;
  #parameters;
  #ends;
  #totals;
  /** @type {Map<string, Plan>} */
  #plans = new Map();
  /** @type {{x: number, y: number, rows: number, room: Room}|null} */
  #data = null;
  #seed;
  #pass = -1;
  #position = 0;
  steps = 0;
  epochs = 0;

  /**
   * @param {import("./memory.js").Kernels} kernels
   * @param {any} parts
   * @param {import("../engine.js").NetworkSettings} settings
   */
  constructor(kernels, parts, settings) {
    const layers = partsOf(settings, parts);
    const loss = find(parts.losses, settings.loss, "loss");
    checkWhole(settings.batch, "batch", 1);
    this.#seed = checkWhole(settings.seed ?? 0, "seed", 0, 2 ** 32 - 1);
    this.settings = settings;
    this.#kernels = kernels;
    this.#parts = parts;
    this.#optimizer = optimizerOf(settings, parts);
    const room = (this.#room = new Room(kernels));
    const { size, stateSize, places } = layOut(layers);
    this.#slots = [0, 1, 2].map(() => room.floats(size));
    this.#optimizer.first.forEach((/** @type {string|null} */ name, /** @type {number} */ slot) => {
      if (name) room.view(this.#slots[slot], size).fill(this.#optimizer.numbers[name]);
    });
    this.#shared = {
      kernels, layers, loss, inputs: settings.inputs, outputs: settings.outputs, size, stateSize,
      values: room.floats(size), gradients: room.floats(size), state: room.floats(stateSize),
      counters: room.integers(new Array(COUNTERS).fill(0)), seed: new Generator(this.#seed).seed(),
    };
    this.#rates = room.doubles(new Array(16).fill(0));
    this.#parameters = room.doubles([...this.#optimizer.parameters(), 0]);
    this.#totals = room.bytes(24);
    this.#ends = stepEnds(room, this.#optimizer, {
      ...this.#shared, places, slots: this.#slots, rates: this.#rates, totals: this.#totals,
      parameters: this.#parameters,
    });
    this.#begin(layers);
    this.layers = layers.map((layer, k) => this.#layer(layer, k));
    this.#writeOptimizer();
  }

  /** The loss of the epoch so far. */
  get loss() {
    const [sum, rows] = this.#sums();
    return rows ? sum / rows : NaN;
  }

  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {number} rows
   */
  setData(x, y, rows) {
    const { inputs, outputs } = this.settings;
    checkWhole(rows, "rows", 1);
    checkLength(x, rows * inputs, `x must hold ${rows} rows of ${inputs} numbers`);
    checkLength(y, rows * outputs, `y must hold ${rows} rows of ${outputs} numbers`);
    this.#data?.room.free();
    for (const [key, plan] of this.#plans) if (key.startsWith("train")) this.#drop(key, plan);
    const room = new Room(this.#kernels);
    const data = (this.#data = { x: room.floats(x.length), y: room.floats(y.length), rows, room });
    room.view(data.x, x.length).set(x);
    room.view(data.y, y.length).set(y);
    if (this.#pass >= 0 && this.#position > 0) this.#beginPass(this.#pass + 1);
  }

  /** @param {number} [count] */
  step(count = 1) {
    for (let left = count; left > 0; ) left -= this.#some(left);
  }

  /** @param {number} [count] */
  epoch(count = 1) {
    for (let done = 0; done < count; done++) {
      const { rows } = this.#given();
      if (this.#pass < 0 || this.#position >= rows) this.#beginPass(this.#pass + 1);
      while (this.#position < rows) this.#some(Infinity);
    }
  }

  /**
   * @param {Float32Array} x
   * @param {number} rows
   */
  predict(x, rows) {
    if (!rows) return new Float32Array(0);
    const plan = this.#plan("predict", rows);
    plan.put(x);
    plan.program.run();
    return plan.copy(plan.y, rows * this.settings.outputs);
  }

  /**
   * @param {Float32Array} x
   * @param {number} rows
   */
  outputs(x, rows) {
    if (!rows) return this.layers.map(() => new Float32Array(0));
    const plan = this.#plan("predict", rows);
    plan.put(x);
    plan.program.run();
    return plan.layers.map(({ y, units }) => plan.copy(y, rows * units));
  }

  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {number} rows
   */
  evaluate(x, y, rows) {
    if (!rows) return NaN;
    const plan = this.#plan("evaluate", rows);
    plan.put(x, y);
    return plan.run();
  }

  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {number} rows
   */
  explain(x, y, rows) {
    checkWhole(rows, "rows", 1);
    const plan = this.#plan("explain", rows);
    plan.put(x, y);
    const loss = plan.run();
    plan.finish?.run();
    const of = (/** @type {"y"|"dy"|"z"|"dz"} */ name) =>
      plan.layers.map((layer) => plan.copy(layer[name] ?? 0, rows * layer.units));
    const parameter = (/** @type {"kernel"|"bias"} */ name) =>
      this.#shared.layers.map(({ dense }) =>
        plan.copy(plan.gradients + 4 * dense.at[name], dense.parameters[name]));
    return {
      loss, outputs: of("y"), gradients: of("dy"), sums: of("z"), sumGradients: of("dz"),
      kernelGradients: parameter("kernel"), biasGradients: parameter("bias"),
    };
  }

  /** @returns {import("../engine.js").NetworkState} */
  save() {
    const { size, stateSize, values, state, counters } = this.#shared;
    const copy = (/** @type {number} */ at, /** @type {number} */ n) =>
      this.#room.view(at, n).slice();
    const counted = new BigInt64Array(this.#kernels.buffer, counters, COUNTERS);
    return {
      values: copy(values, size), state: copy(state, stateSize),
      slots: this.#slots.map((slot) => copy(slot, size)), counters: Array.from(counted, Number),
      totals: [...this.#sums()], steps: this.steps, epochs: this.epochs, pass: this.#pass,
    };
  }

  /** @param {import("../engine.js").NetworkState} saved */
  restore(saved) {
    const { size, stateSize, values, state, counters } = this.#shared;
    const arrays = [saved?.values, ...(saved?.slots ?? [])];
    if (arrays.length !== 4 || arrays.some((array) => array?.length !== size) ||
        saved.state?.length !== stateSize || saved.counters?.length !== COUNTERS)
      throw new Error("This state belongs to a network with other layers.");
    this.#room.view(values, size).set(saved.values);
    this.#room.view(state, stateSize).set(saved.state);
    this.#slots.forEach((slot, k) => this.#room.view(slot, size).set(saved.slots[k]));
    new BigInt64Array(this.#kernels.buffer, counters, COUNTERS).set(saved.counters.map(BigInt));
    this.#sums().set(saved.totals);
    [this.steps, this.epochs, this.#pass] = [saved.steps, saved.epochs, saved.pass];
    this.#position = saved.counters[POSITION];
  }

  /**
   * @param {string} name
   * @param {number} value
   */
  setOptimizer(name, value) {
    const { functor, numbers, name: own } = this.#optimizer;
    if (!Object.hasOwn(numbers, name)) throw new Error(`${own} has no ${name}.`);
    const [before, formula] = [numbers[name], functor()];
    numbers[name] = checkNotNegative(value, `${name} of ${own}`);
    if (functor() !== formula) {
      numbers[name] = before;
      throw new Error(`${name} of ${own} cannot change from or to 0 during training: make a new network.`);
    }
    this.#writeOptimizer();
  }

  free() {
    for (const [key, plan] of this.#plans) this.#drop(key, plan);
    this.#data?.room.free();
    this.#data = null;
    this.#room.free();
  }

  #given() {
    if (!this.#data) throw new Error("The network has no data yet: call setData(x, y, rows).");
    return this.#data;
  }

  #sums() {
    return new Float64Array(this.#kernels.buffer, this.#totals, 3);
  }

  /** @param {number} number */
  #beginPass(number) {
    this.#pass = number;
    this.#position = 0;
    this.#sums().fill(0);
    const counters = new BigInt64Array(this.#kernels.buffer, this.#shared.counters, COUNTERS);
    counters[PASS] = BigInt(number);
    counters[POSITION] = 0n;
  }

  /**
   * Run steps of one batch size, in this pass or the next one.
   * @param {number} most
   */
  #some(most) {
    const { rows } = this.#given();
    if (this.#pass < 0 || this.#position >= rows) this.#beginPass(this.#pass + 1);
    const rest = rows - this.#position;
    const batch = Math.min(this.settings.batch, rest);
    const count = Math.min(Math.floor(rest / batch), most);
    this.#trainingPlan(batch).program.run(count);
    this.#position += count * batch;
    this.steps += count;
    if (this.#position >= rows) this.epochs += 1;
    return count;
  }

  /** @param {number} batch */
  #trainingPlan(batch) {
    const key = `train ${batch}`;
    const found = this.#plans.get(key);
    if (found) return found;
    const { counters, inputs, outputs, seed } = this.#shared;
    const data = this.#given();
    const room = new Room(this.#kernels);
    const x = room.floats(batch * inputs);
    const y = room.floats(batch * outputs);
    /** @type {(from: number, width: number, to: number) => Call} */
    const gather = (from, width, to) =>
      ["gather float32 float32", from, data.rows, width, seed, this.settings.shuffle ?? true, counters,
        0, batch, 1, 0, to];
    const before = [gather(data.x, inputs, x), gather(data.y, outputs, y)];
    const after = this.#ends(batch);
    const plan = new Plan(this.#shared, batch, "train", { before, after, totals: this.#totals, x, y });
    const free = plan.free.bind(plan);
    plan.free = () => (free(), room.free());
    return this.#keep(key, plan);
  }

  /**
   * @param {"predict"|"evaluate"|"explain"} kind
   * @param {number} rows
   */
  #plan(kind, rows) {
    checkWhole(rows, "rows", 1);
    const key = `${kind} ${rows}`;
    const made = () => this.#kernels.attempt(() => new Plan(this.#shared, rows, kind));
    return this.#plans.get(key) ?? this.#keep(key, made());
  }

  /**
   * @param {string} key
   * @param {Plan} plan
   */
  #keep(key, plan) {
    const others = [...this.#plans].filter(([name]) => !name.startsWith("train"));
    if (others.length >= MOST_PLANS) this.#drop(...others[0]);
    this.#plans.set(key, plan);
    return plan;
  }

  /**
   * @param {string} key
   * @param {Plan} plan
   */
  #drop(key, plan) {
    plan.free();
    this.#plans.delete(key);
  }

  #writeOptimizer() {
    const { parameters, numbers } = this.#optimizer;
    const now = parameters();
    new Float64Array(this.#kernels.buffer, this.#parameters, now.length).set(now);
    new Float64Array(this.#kernels.buffer, this.#rates, 1)[0] = numbers.learning_rate;
  }

  /** Set the initial weights. @param {any[]} layers */
  #begin(layers) {
    const { values, counters } = this.#shared;
    layers.forEach(({ dense, parts, settings }, k) => {
      const { kernel, bias } = settings;
      const { how, given } = initializerOf(settings, this.#parts);
      const { inputs, units } = dense;
      const drawn = kernel ?? firstWeights(how, given, inputs, units, this.#seed + k);
      checkLength(drawn, inputs * units, `kernel of layer ${k + 1} must hold ${inputs} rows of ${units} numbers`);
      this.#room.view(values + 4 * dense.at.kernel, drawn.length).set(drawn);
      if (bias) {
        checkLength(bias, units, `bias of layer ${k + 1} must hold ${units} numbers`);
        this.#room.view(values + 4 * dense.at.bias, units).set(bias);
      }
      const normalization = this.#normalization(parts);
      if (!normalization) return;
      normalization.gamma.fill(1);
      normalization.variance.fill(1);
      for (const [name, array] of Object.entries(settings.normalization ?? {})) {
        checkLength(array, units, `${name} of layer ${k + 1} must hold ${units} numbers`);
        normalization[/** @type {"gamma"} */ (name)].set(array);
      }
    });
    new BigInt64Array(this.#kernels.buffer, counters, COUNTERS)[BAD_BATCH] = -1n;
  }

  /**
   * @param {any[]} parts of a layer
   * @returns {import("../engine.js").Normalization | null}
   */
  #normalization(parts) {
    const part = parts.find((each) => each.state.variance);
    if (!part) return null;
    const { values, state } = this.#shared;
    const { at, stateAt, units } = part;
    const view = (/** @type {number} */ where) => this.#room.view(where, units);
    return {
      gamma: view(values + 4 * at.gamma), beta: view(values + 4 * at.beta),
      mean: view(state + 4 * stateAt.mean), variance: view(state + 4 * stateAt.variance),
    };
  }

  /**
   * @param {any} layer
   * @param {number} k
   * @returns {import("../engine.js").NetworkLayer}
   */
  #layer({ dense, parts }, k) {
    const { values, gradients } = this.#shared;
    const { inputs, units, at, parameters } = dense;
    const view = (/** @type {number} */ where, /** @type {number} */ n) => this.#room.view(where, n);
    const last = (/** @type {"y"|"dy"} */ name) => {
      const plan = [...this.#plans].filter(([key]) => key.startsWith("train")).pop()?.[1];
      if (!plan) return new Float32Array(0);
      plan.finish?.run();
      return view(plan.layers[k][name], plan.rows * units);
    };
    const normalization = () => this.#normalization(parts);
    return {
      inputs, units,
      get normalization() { return normalization(); },
      get kernel() { return view(values + 4 * at.kernel, parameters.kernel); },
      get bias() { return view(values + 4 * at.bias, units); },
      get kernelGradient() { return view(gradients + 4 * at.kernel, parameters.kernel); },
      get biasGradient() { return view(gradients + 4 * at.bias, units); },
      get output() { return last("y"); },
      get gradient() { return last("dy"); },
    };
  }
}
