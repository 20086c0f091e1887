// What is trained: the same points, rows and first weights for every contestant.

export const PLAYGROUND = { inputs: 2, units: [8, 8, 8, 8, 8, 8, 1], rows: 250, batch: 10, learningRate: 0.03 };
export const W2 = { inputs: 784, units: [128, 10], rows: 3200, batch: 32, dropout: 0.2 };

/**
 * Numbers from `low` to `high`, the same ones each time.
 * @param {number} count @param {number} low @param {number} high
 */
function numbers(count, low, high) {
  let state = 1;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Float32Array.from({ length: count }, () => low + next() * (high - low));
}

/** Points of a square: 1 where both coordinates have the same sign, else -1. */
export function points() {
  const x = numbers(PLAYGROUND.inputs * PLAYGROUND.rows, -1, 1);
  const y = Float32Array.from({ length: PLAYGROUND.rows }, (_, i) => Math.sign(x[2 * i] * x[2 * i + 1]));
  return { x, y };
}

/** Rows of noise, of which the first ten numbers tell the class. */
export function rows() {
  const x = numbers(W2.inputs * W2.rows, 0, 1);
  const y = new Float32Array(10 * W2.rows);
  for (let row = 0; row < W2.rows; row++) {
    const first = x.subarray(row * W2.inputs, row * W2.inputs + 10);
    y[row * 10 + first.indexOf(Math.max(...first))] = 1;
  }
  return { x, y };
}

/**
 * The first weights of each layer, (inputs, units) row by row; biases begin with zeros.
 * @param {{inputs: number, units: number[]}} network
 */
export function kernels({ inputs, units }) {
  return units.map((count, i) => {
    const before = i ? units[i - 1] : inputs;
    const bound = Math.sqrt(6 / (before + count));
    return numbers(before * count, -bound, bound);
  });
}

/**
 * @typedef {Object} Trained
 * @property {(count: number) => void | Promise<void>} train so many epochs of the playground's
 *   network, or steps of W2
 * @property {() => number | Promise<number>} loss of all rows, as outside training
 */

/**
 * Put on the page what `browser.py` and `steps.py` call.
 * @param {(given: any) => Promise<Object<string, Trained>>} prepare
 */
export function takePart(prepare) {
  /** @type {Object<string, Trained>} */
  let contestant;
  Object.assign(globalThis, {
    prepare: async (/** @type {unknown} */ given) => {
      contestant = await prepare(given);
    },
    timed: async (/** @type {[string, number]} */ [workload, count]) => {
      const begin = performance.now();
      await contestant[workload].train(count);
      return performance.now() - begin;
    },
    loss: (/** @type {string} */ workload) => contestant[workload].loss(),
  });
}
