// gpunn's engine, as the playground has it.
import { load } from "../../gpunn/apps/web/js/engine.js";
import { PLAYGROUND, W2, kernels, points, rows, takePart } from "./workloads.js";

takePart(async ({ wasm, parts }) => {
  const engine = await load(Uint8Array.from(atob(wasm), (c) => c.charCodeAt(0)), parts);

  const small = engine.network({
    inputs: PLAYGROUND.inputs, outputs: 1, batch: PLAYGROUND.batch, shuffle: false,
    layers: kernels(PLAYGROUND).map((kernel, i) => ({ units: PLAYGROUND.units[i], activation: "tanh", kernel })),
    loss: "mean_squared_error", optimizer: { name: "SGD", learning_rate: PLAYGROUND.learningRate },
  });
  const square = points();
  small.setData(square.x, square.y, PLAYGROUND.rows);

  const [hidden, last] = kernels(W2);
  const w2 = engine.network({
    inputs: W2.inputs, outputs: 10, batch: W2.batch, shuffle: false,
    layers: [
      { units: W2.units[0], activation: "relu", dropout: W2.dropout, kernel: hidden },
      { units: W2.units[1], activation: "softmax", kernel: last },
    ],
    loss: "categorical_crossentropy", optimizer: { name: "Adam" },
  });
  const noise = rows();
  w2.setData(noise.x, noise.y, W2.rows);

  return {
    playground: {
      train: (epochs) => small.epoch(epochs),
      loss: () => small.evaluate(square.x, square.y, PLAYGROUND.rows),
    },
    w2: { train: (steps) => w2.step(steps), loss: () => w2.evaluate(noise.x, noise.y, W2.rows) },
  };
});
