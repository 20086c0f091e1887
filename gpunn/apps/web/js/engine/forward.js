// A trained model's forward pass, as Python has written it down: `forward_program` of
// gpunn/apps/web/program.py.
import { Program, Room } from "./memory.js";

/**
 * @typedef {{at: number, shape: number[]}} Place where an array lies in the program's memory
 * @typedef {[string, ...(number|string|boolean|null|number[][])[]]} Recorded
 * @typedef {Object} ForwardDocument
 * @property {number} bytes of memory, 4 or more for each number
 * @property {string} constants what the memory begins with, in base64
 * @property {Recorded[]} calls operations and their arguments
 * @property {import("../model/encodings.js").Encodings} given how the inputs are made of what users give
 * @property {Place[]} inputs
 * @property {Place[]} outputs
 * @property {({name: string} & Place)[]} layers what each gives
 * @property {{logits: boolean, calls: Recorded[], by: Place[], inputs: Place[]} | null} gradient of the
 *   inputs, from those of the outputs, `by`: those of the logits, before a softmax or sigmoid
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

  /** How the inputs are made of what users give: see `encoded` of model/encodings.js. */
  get given() {
    return this.#document.given;
  }

  get inputs() {
    return this.#document.inputs.map(({ shape }) => shape);
  }

  /**
   * @param {...ArrayLike<number>} inputs numbers of each, as the shapes in `inputs` say
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
   * @param {...ArrayLike<number>} gradients of something by each output: where `logits` says so, by
   *   what the output's softmax or sigmoid is given
   * @returns {Float32Array[]} its gradients by the inputs of the last run
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

  /** @returns {{name: string, shape: number[], values: Float32Array}[]} what each gave last */
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
