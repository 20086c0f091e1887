// What `steps.py` beside it measures, in a browser or in node.
import { load } from "../../gpunn/apps/web/js/engine.js";

const ROUNDS = 9;

/**
 * Numbers from 0 to 1, the same ones each time.
 * @param {number} count
 */
function numbers(count) {
  let state = 1;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Float32Array.from({ length: count }, next);
}

/** @param {any} network @param {number} epochs */
function rounds(network, epochs) {
  network.epoch(epochs);
  return Array.from({ length: ROUNDS }, () => {
    const begin = performance.now();
    network.epoch(epochs);
    return performance.now() - begin;
  });
}

/**
 * Milliseconds of each round.
 * @param {BufferSource} bytes gpunn.wasm
 * @param {any} parts
 */
export async function measure(bytes, parts) {
  const engine = await load(bytes, parts);
  const units = [8, 8, 8, 8, 8, 8, 1];
  const playground = engine.network({
    inputs: 2, outputs: 1, layers: units.map((n) => ({ units: n, activation: "tanh" })),
    loss: "mean_squared_error", optimizer: { name: "SGD", learning_rate: 0.03 }, batch: 10,
  });
  playground.setData(numbers(500), numbers(250), 250);
  const w2 = engine.network({
    inputs: 784, outputs: 10, loss: "categorical_crossentropy", optimizer: { name: "Adam" }, batch: 32,
    layers: [{ units: 128, activation: "relu", dropout: 0.2 }, { units: 10, activation: "softmax" }],
  });
  const answers = Float32Array.from({ length: 32000 }, (_, i) => Number(i % 11 === 0));
  w2.setData(numbers(784 * 3200), answers, 3200);
  return { playground: rounds(playground, 1000), w2: rounds(w2, 2) };
}
