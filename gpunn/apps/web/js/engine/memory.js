// The memory of gpunn.wasm, and programs in it: lists of calls, each an operation of the kernels with
// the addresses of its arguments.

const MOST = 2 ** 32;
const WORD = 8; // bytes of an argument, and of a call

/**
 * @typedef {[string, ...(number|bigint|boolean|null)[]]} Call an operation with its variants, "matmul
 *   float32", and its arguments in order; an array is its address, null for none, and several
 *   together are the address from `Room.listed`
 */

/**
 * The kernels and their memory.
 */
export class Kernels {
  #exports;
  /** @type {Set<number>|undefined} */
  #taken;
  /** @type {Map<string, {number: number, kinds: string}>} */
  #operations = new Map();

  /** @param {WebAssembly.Exports} exports of gpunn.wasm */
  constructor(exports) {
    this.#exports = /** @type {any} */ (exports);
    this.#exports._initialize();
    const count = this.#exports.operation_count();
    for (let number = 0; number < count; number++) {
      const [name, kinds] = this.#text(this.#exports.operation_text(number)).split(": ");
      this.#operations.set(name, { number, kinds });
    }
  }

  /**
   * @param {BufferSource} bytes gpunn.wasm
   * @returns {Promise<Kernels>}
   */
  static async load(bytes) {
    // System calls of the C library: there is nothing to write to.
    const refuse = () => 8; // "bad file descriptor"
    const wasi = { fd_close: refuse, fd_seek: refuse, fd_write: refuse };
    const { instance } = await WebAssembly.instantiate(bytes, { wasi_snapshot_preview1: wasi });
    return new Kernels(instance.exports);
  }

  /** @returns {ArrayBuffer} replaced after each growth: views of an older buffer are empty */
  get buffer() {
    return this.#exports.memory.buffer;
  }

  /** @param {string} name an operation with its variants */
  has(name) {
    return this.#operations.has(name);
  }

  /** @param {string} name */
  operation(name) {
    const found = this.#operations.get(name);
    if (!found) throw new Error(`The kernels have no operation "${name}".`);
    return found;
  }

  /**
   * @param {number} bytes
   * @returns {number} address of that many zeros
   */
  allocate(bytes) {
    // Above 4 GB, the number of bytes would lose its upper bits.
    const at = bytes < MOST ? this.#exports.allocate(bytes) >>> 0 : 0;
    if (!at) throw new Error(`Out of memory: could not allocate ${bytes.toLocaleString("en")} bytes.`);
    this.#taken?.add(at);
    return at;
  }

  /** @param {number} at */
  release(at) {
    this.#taken?.delete(at);
    this.#exports.release(at);
  }

  /**
   * Return the result of some work. If it fails, its memory is released.
   * @template T
   * @param {() => T} work
   * @returns {T}
   */
  attempt(work) {
    const around = this.#taken;
    const taken = (this.#taken = new Set());
    try {
      const made = work();
      for (const at of taken) around?.add(at);
      return made;
    } catch (error) {
      for (const at of taken) this.release(at);
      throw error;
    } finally {
      this.#taken = around;
    }
  }

  /**
   * @param {number} calls
   * @param {number} count
   * @param {number} steps
   */
  run(calls, count, steps) {
    this.#exports.run(calls, count, steps);
  }

  /** @param {number} at */
  #text(at) {
    const bytes = new Uint8Array(this.buffer);
    return new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
  }
}

/**
 * Arrays that are released together.
 */
export class Room {
  /** @type {number[]} */
  #taken = [];

  /** @param {Kernels} kernels */
  constructor(kernels) {
    this.kernels = kernels;
  }

  /** @param {number} bytes */
  bytes(bytes) {
    const at = this.kernels.allocate(Math.max(bytes, 1));
    this.#taken.push(at);
    return at;
  }

  /** @param {number} count */
  floats(count) {
    return this.bytes(4 * count);
  }

  /**
   * @param {ArrayLike<number>} numbers
   * @returns {number} their address, as doubles
   */
  doubles(numbers) {
    const at = this.bytes(8 * numbers.length);
    new Float64Array(this.kernels.buffer, at, numbers.length).set(numbers);
    return at;
  }

  /**
   * @param {number[]} numbers
   * @returns {number} their address, as 64-bit integers
   */
  integers(numbers) {
    const at = this.bytes(8 * numbers.length);
    new BigInt64Array(this.kernels.buffer, at, numbers.length).set(numbers.map(BigInt));
    return at;
  }

  /**
   * @param {number[][]} arrays for each its address, the number of its type in
   *   kernels/cpu/operation.hpp, and its size
   * @returns {number} address of the list, for an operation that takes several arrays
   */
  listed(arrays) {
    const at = this.bytes(16 * arrays.length);
    const memory = new DataView(this.kernels.buffer);
    arrays.forEach(([data, type, size], k) => {
      memory.setUint32(at + 16 * k, data, true);
      memory.setInt32(at + 16 * k + 4, type, true);
      memory.setBigInt64(at + 16 * k + 8, BigInt(size), true);
    });
    return at;
  }

  /**
   * @param {number} at
   * @param {number} count
   */
  view(at, count) {
    return new Float32Array(this.kernels.buffer, at, count);
  }

  free() {
    for (const at of this.#taken) this.kernels.release(at);
    this.#taken = [];
  }
}

/**
 * Calls, written to memory once and run any number of times.
 */
export class Program {
  #kernels;
  #calls;
  #count;

  /**
   * @param {Room} room that owns its memory
   * @param {Call[]} calls
   */
  constructor(room, calls) {
    const kernels = room.kernels;
    const found = calls.map(([name]) => kernels.operation(name));
    const words = found.reduce((sum, operation) => sum + operation.kinds.length, 0);
    this.#kernels = kernels;
    this.#count = calls.length;
    this.#calls = room.bytes(WORD * (calls.length + words));
    let word = this.#calls + WORD * calls.length;
    const memory = new DataView(kernels.buffer);
    calls.forEach(([name, ...values], k) => {
      const { number, kinds } = found[k];
      if (values.length !== kinds.length)
        throw new Error(`${name} takes ${kinds.length} arguments, not ${values.length}.`);
      memory.setUint32(this.#calls + WORD * k, number, true);
      memory.setUint32(this.#calls + WORD * k + 4, word, true);
      values.forEach((value, i) => {
        if ("al".includes(kinds[i])) memory.setUint32(word, Number(value ?? 0), true);
        else if (kinds[i] === "n") memory.setFloat64(word, Number(value), true);
        else memory.setBigInt64(word, BigInt.asIntN(64, BigInt(value ?? 0)), true);
        word += WORD;
      });
    });
  }

  /** @param {number} [steps] */
  run(steps = 1) {
    this.#kernels.run(this.#calls, this.#count, steps);
  }
}
