"""Twenty layers: vanishing gradients, exploding gradients, and their remedies.

Five networks of 20 hidden layers with 32 units learn digits from 4,000 images of MNIST:

- sigmoid: each layer multiplies the error by at most a quarter of its weights, so almost
  nothing reaches the first layers (Hochreiter, 1991). The network does not learn.
- tanh with weights that are too large: nearly all units are saturated, and little error passes.
- linear units with weights four times as large as they should be: the gradient explodes.
- sigmoid, with residual connections around each layer: x + f(x) (He et al., 2016). The error
  flows back along the sums.
- sigmoid, with batch normalization before each activation (Ioffe and Szegedy, 2015).

`callbacks.GradientMonitor` examines a step of each epoch, and reports its findings.

Run:       python examples/lessons/vanishing_gradient.py [--epochs 5]
Takes:     about half a minute on two CPU cores, and the download.
Prints:    the monitor's findings; the norms of the gradient in the first, the tenth and the
           last layer in the first epoch, and the accuracy on 2,000 other images.
Saves:     vanishing_gradient.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import callbacks, initializers, layers

DEPTH, WIDTH = 20, 32
ROWS, HELD_OUT = 4_000, 2_000


def dense(activation, scale=None):
    """Return a layer; with ``scale``, weights of deviation scale / sqrt(inputs)."""
    initial = "glorot_uniform"
    if scale is not None:
        initial = initializers.VarianceScaling(scale**2, "fan_in", "untruncated_normal")
    return layers.Dense(WIDTH, activation, kernel_initializer=initial)


def sigmoid(x):
    return dense("sigmoid")(x)


def large_tanh(x):
    return dense("tanh", 3.0)(x)


def large_linear(x):
    return dense("linear", 4.0)(x)


def residual(x):
    return layers.Add()([x, dense("sigmoid")(x)])


def normalized(x):
    return layers.Activation("sigmoid")(layers.BatchNormalization()(dense(None)(x)))


NETWORKS = {
    "sigmoid": (sigmoid, 0.1),
    "tanh, large weights": (large_tanh, 0.1),
    "linear, large weights": (large_linear, 1e-30),
    "sigmoid, residual": (residual, 0.1),
    "sigmoid, batch norm": (normalized, 0.1),
}


def make(block, rate):
    gpunn.utils.set_random_seed(0)
    inputs = layers.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    x = layers.Dense(WIDTH, "sigmoid")(x)
    for _ in range(DEPTH - 1):
        x = block(x)
    model = gpunn.Model(inputs, layers.Dense(10, "softmax")(x))
    model.compile(
        gpunn.optimizers.SGD(rate, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def main():
    parser = argparse.ArgumentParser(description="Vanishing and exploding gradients.")
    parser.add_argument("--epochs", type=int, default=5, help="of each network")
    options = parser.parse_args()

    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    norms, rows = {}, []
    for name, (block, rate) in NETWORKS.items():
        print(f"{name}:")
        model = make(block, rate)
        monitor = callbacks.GradientMonitor(frequency=1)
        model.fit(
            x[:ROWS], y[:ROWS], epochs=options.epochs, verbose=0, callbacks=[monitor]
        )  # fmt: skip
        first = [r for r in monitor.records if r["epoch"] == 0 and "dense" in r["layer"]]
        norms[name] = [record["gradient_norm"] for record in first]
        accuracy = model.evaluate(x_test[:HELD_OUT], y_test[:HELD_OUT], verbose=0)[1]
        rows.append((name, norms[name][0], norms[name][DEPTH // 2 - 1], norms[name][-1], accuracy))
        if not monitor.findings:
            print("nothing to say")

    print(f"\n{'norm of the gradient':24}{'first':>12}{'tenth':>12}{'last':>12}{'accuracy':>12}")
    for name, *figures, accuracy in rows:
        print(f"{name:24}" + "".join(f"{n:12.1e}" for n in figures) + f"{accuracy:12.3f}")
    try:
        from gpunn import plots

        figure = plots.curves(
            {name: np.array(values) for name, values in norms.items()},
            xlabel="layer", ylabel="norm of the gradient", logy=True,
            title=f"{DEPTH} hidden layers, first epoch",
        )  # fmt: skip
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("vanishing_gradient.png", dpi=150)


if __name__ == "__main__":
    main()
