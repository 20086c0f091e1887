// A trained model's forward pass, as recorded by `forward_program` in gpunn/apps/web/program.py.
import { Program, Room } from "./memory.js";

/**
 * @typedef {{at: number, shape: number[]}} Place position of an array in the program's memory
 * @typedef {[string, ...(number|string|boolean|null|number[][])[]]} Recorded
 * @typedef {Object} ForwardDocument
 * @property {number} bytes of memory, 4 or more for each value
 * @property {string} constants the beginning of the memory, in base64
 * @property {Recorded[]} calls operations and their arguments
 * @property {import("../model/encodings.js").Encodings} given how inputs are made from user data
 * @property {Place[]} inputs
 * @property {Place[]} outputs
 * @property {({name: string} & Place)[]} layers their outputs
 * @property {{logits: boolean, calls: Recorded[], by: Place[], inputs: Place[]} | null} gradient of the
 *   inputs, from the gradients `by` of the outputs, or of the logits before a softmax or sigmoid
 */

/** @param {number[]} shape */
const size = (shape) => shape.reduce((product, n) => product * n, 1);

export class ForwardProgram {
  #room;
  #begin;
  #program;
  /** @type {Program | null} */
  #back = null;
  #document;

  /**
   * @param {import("./memory.js").Kernels} kernels
   * @param {ForwardDocument} document
   */
  constructor(kernels, document) {
    const room = (this.#room = new Room(kernels));
    this.#document = document;
    this.#begin = room.bytes(document.bytes);
    const constants = Uint8Array.from(atob(document.constants), (c) => c.charCodeAt(0));
    if (constants.length > document.bytes) throw new Error("The model's program is damaged.");
    new Uint8Array(kernels.buffer, this.#begin, constants.length).set(constants);
    this.#program = this.#made(document.calls);
    if (document.gradient) this.#back = this.#made(document.gradient.calls);
  }

  /** @param {Recorded[]} recorded */
  #made(recorded) {
    const room = this.#room;
    const place = (/** @type {unknown} */ at) => {
      if (!(Number(at) >= 0 && Number(at) < this.#document.bytes))
        throw new Error("The model's program is damaged.");
      return this.#begin + Number(at);
    };
    /** @type {import("./memory.js").Call[]} */
    const calls = recorded.map(([name, ...given]) => {
      const { kinds } = room.kernels.operation(name);
      const values = given.map((value, i) => {
        if (Array.isArray(value))
          return room.listed(value.map(([at, type, size]) => [place(at), type, size]));
        if (kinds[i] === "a" && value !== null) return place(value);
        return kinds[i] === "i" && typeof value === "string" ? BigInt(value) : value;
      });
      return /** @type {any} */ ([name, ...values]);
    });
    return new Program(room, calls);
  }

  /** How inputs are made from user data: see `encoded` of model/encodings.js. */
  get given() {
    return this.#document.given;
  }

  get inputs() {
    return this.#document.inputs.map(({ shape }) => shape);
  }

  /**
   * @param {...ArrayLike<number>} inputs values of each, by the shapes in `inputs`
   * @returns {Float32Array[]} the outputs
   */
  run(...inputs) {
    this.#put("Input", this.#document.inputs, inputs);
    this.#program.run();
    return this.#document.outputs.map((place) => this.#copy(place));
  }

  /** Whether gradients are those of logits, before a softmax or sigmoid; null if there are none. */
  get logits() {
    return this.#document.gradient?.logits ?? null;
  }

  /**
   * @param {...ArrayLike<number>} gradients with respect to each output or, if `logits` is true, to
   *   the input of the output's softmax or sigmoid
   * @returns {Float32Array[]} the gradients with respect to the inputs of the last run
   */
  gradient(...gradients) {
    const { gradient } = this.#document;
    if (!gradient || !this.#back) throw new Error("The model's program has no gradients.");
    this.#put("Gradient", gradient.by, gradients);
    this.#back.run();
    return gradient.inputs.map((place) => this.#copy(place));
  }

  /**
   * @param {string} what
   * @param {Place[]} places
   * @param {ArrayLike<number>[]} given
   */
  #put(what, places, given) {
    places.forEach(({ at, shape }, k) => {
      if (given[k]?.length !== size(shape))
        throw new Error(`${what} ${k + 1} must hold ${size(shape)} numbers; got ${given[k]?.length}.`);
      this.#room.view(this.#begin + at, size(shape)).set(given[k]);
    });
  }

  /** @returns {{name: string, shape: number[], values: Float32Array}[]} the last output of each */
  get layers() {
    return this.#document.layers.map((layer) => ({
      name: layer.name, shape: layer.shape, values: this.#copy(layer),
    }));
  }

  free() {
    this.#room.free();
  }

  /** @param {Place} place */
  #copy({ at, shape }) {
    return this.#room.view(this.#begin + at, size(shape)).slice();
  }
}
