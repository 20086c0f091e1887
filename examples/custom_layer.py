"""A custom layer: a call of operations, on the CPU and on the GPU.

Swish with a learned slope (Ramachandran et al., 2017), one slope beta per feature:

    y = x s    with    s = sigmoid(beta x)

The layer defines only its forward pass; gpunn derives the backward pass. This script compares the
gradients with finite differences before training.

Run:       python examples/custom_layer.py [--epochs 200]
Takes:     about two seconds.
Prints:    that the gradients are right, the accuracy (about 0.97) on points inside and
           outside a ring, the slopes learned, and that the saved model, loaded again,
           predicts the same.
Saves:     custom_layer.png, if matplotlib is installed: the ring as the network sees it.
"""

import argparse
import os
import tempfile

import numpy as np

import gpunn
from gpunn import layers, ops, plots
from gpunn.testing import check_gradients


@gpunn.saving.register_serializable(package="examples")  # so that saved files can refer to it
class Swish(layers.Layer):
    """y = x sigmoid(beta x), x (batch, features), beta (features,) starting at ``start``."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        start = gpunn.initializers.Constant(self.start)
        self.beta = self.add_weight(input_shape[1:], start, name="beta")

    def call(self, x):
        return x * ops.sigmoid(self.beta * x)


def make_model(dtype=None):
    model = gpunn.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(8),
            Swish(),
            layers.Dense(1, activation="sigmoid"),
        ],
        dtype=dtype,
    )
    model.compile(gpunn.optimizers.Adam(0.03), "binary_crossentropy", metrics=["accuracy"])
    return model


def ring(points, generator):
    """Return points (n, 2) in a square, and 1 for those inside a ring, 0 for the others."""
    x = generator.uniform(-1, 1, (points, 2))
    radius = np.hypot(x[:, 0], x[:, 1])
    return x, ((radius > 0.4) & (radius < 0.8)).astype(int)


def main():
    parser = argparse.ArgumentParser(description="Check, train, save and load a layer.")
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()

    gpunn.utils.set_random_seed(0)
    x, y = ring(1000, np.random.default_rng(0))

    check_gradients(Swish(), (5, 3))  # raises an error that names the wrong gradient
    print("the gradients agree with finite differences")

    model = make_model()
    model.fit(x, y, epochs=options.epochs, verbose=0)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    print(f"trained: loss {loss:.4f}, accuracy {accuracy:.3f}")
    print("slopes: ", model.layers[1].get_weights()[0].round(2))

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ring.gpunn")
        model.save(path)
        loaded = gpunn.saving.load_model(path)
    print("loaded, predicts the same:", np.array_equal(loaded.predict(x), model.predict(x)))
    try:
        figure = plots.decision_boundary(loaded, x, y)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("custom_layer.png", dpi=150)


if __name__ == "__main__":
    main()
