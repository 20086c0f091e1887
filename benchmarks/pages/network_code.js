// The network code of the well-known playground, called as its page calls it: point by point, with
// an update behind each batch. Half the squared error is its loss, so that its rate is twice ours.
import { PLAYGROUND, kernels, points, takePart } from "./workloads.js";

takePart(async ({ address }) => {
  const nn = await import(address);
  const network = nn.buildNetwork(
    [PLAYGROUND.inputs, ...PLAYGROUND.units], nn.Activations.TANH, nn.Activations.TANH, null,
    ["x", "y"], true, // biases begin with zeros
  );
  kernels(PLAYGROUND).forEach((kernel, i) => network[i + 1].forEach((node, unit, { length }) => {
    node.inputLinks.forEach((link, input) => (link.weight = kernel[input * length + unit]));
  }));
  const { x, y } = points();
  const inputs = Array.from(y, (_, i) => [x[2 * i], x[2 * i + 1]]);
  const targets = Array.from(y);
  return {
    playground: {
      train: (epochs) => {
        for (let epoch = 0; epoch < epochs; epoch++) {
          inputs.forEach((input, i) => {
            nn.forwardProp(network, input);
            nn.backProp(network, targets[i], nn.Errors.SQUARE);
            if ((i + 1) % PLAYGROUND.batch === 0) nn.updateWeights(network, 2 * PLAYGROUND.learningRate, 0);
          });
        }
      },
      loss: () => inputs.reduce(
        (sum, input, i) => sum + (nn.forwardProp(network, input) - targets[i]) ** 2 / y.length, 0,
      ),
    },
  };
});
