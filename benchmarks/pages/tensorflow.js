// TensorFlow.js by its layers; a script of the page has set `tf`.
import { PLAYGROUND, W2, kernels, points, rows, takePart } from "./workloads.js";

/**
 * @param {any} model compiled
 * @param {typeof PLAYGROUND | typeof W2} network
 * @param {{x: Float32Array, y: Float32Array}} data
 * @param {number} steps in one of what is counted
 */
function trained(model, network, { x, y }, steps) {
  const { tf } = globalThis;
  const inputs = tf.tensor2d(x, [network.rows, network.inputs]);
  const targets = tf.tensor2d(y, [network.rows, y.length / network.rows]);
  const batches = Array.from({ length: network.rows / network.batch }, (_, i) => [inputs, targets].map(
    (all) => all.slice([i * network.batch], [network.batch]),
  ));
  const layers = model.layers.filter((/** @type {any} */ layer) => layer.getWeights().length > 0);
  kernels(network).forEach((kernel, i) => {
    const { shape } = layers[i].getWeights()[0];
    layers[i].setWeights([tf.tensor2d(kernel, shape), tf.zeros([shape[1]])]);
  });
  let next = 0;
  return {
    train: async (/** @type {number} */ count) => {
      for (let step = 0; step < count * steps; step++) {
        await model.trainOnBatch(...batches[next]);
        next = (next + 1) % batches.length;
      }
    },
    loss: () => tf.tidy(() => model.evaluate(inputs, targets, { batchSize: network.rows }).dataSync()[0]),
  };
}

takePart(async ({ backend, wasm }) => {
  const { tf } = globalThis;
  if (backend === "wasm") tf.wasm.setWasmPaths(wasm);
  if (!await tf.setBackend(backend)) throw new Error(`no backend ${backend}`);
  await tf.ready();

  const small = tf.sequential();
  PLAYGROUND.units.forEach((units, i) => small.add(tf.layers.dense({
    units, activation: "tanh", ...(i ? {} : { inputShape: [PLAYGROUND.inputs] }),
  })));
  small.compile({ loss: "meanSquaredError", optimizer: tf.train.sgd(PLAYGROUND.learningRate) });

  const w2 = tf.sequential();
  w2.add(tf.layers.dense({ units: W2.units[0], activation: "relu", inputShape: [W2.inputs] }));
  w2.add(tf.layers.dropout({ rate: W2.dropout }));
  w2.add(tf.layers.dense({ units: W2.units[1], activation: "softmax" }));
  w2.compile({ loss: "categoricalCrossentropy", optimizer: tf.train.adam() });

  return {
    playground: trained(small, PLAYGROUND, points(), PLAYGROUND.rows / PLAYGROUND.batch),
    w2: trained(w2, W2, rows(), 1),
  };
});
