"""A variational autoencoder on MNIST: digits that nobody wrote.

The encoder returns, for each digit, a distribution of codes: a mean and a variance
of two numbers (Kingma and Welling, 2014). The decoder turns a sampled code into a digit. Two
losses are added inside the call: the reconstruction error, and the divergence of the codes from
a standard normal distribution:

    L = crossentropy(x, y) + sum((mean^2 + variance - log variance - 1) / 2)

Since codes are sampled in each step, codes between those of known digits also decode to digits.

Run:       python examples/variational_autoencoder.py [--epochs 10] [--rows 60000]
Takes:     about a minute on two CPU cores, and the download of MNIST.
Prints:    the loss of each epoch, and the mean and deviation of the codes of new digits.
Saves:     variational_autoencoder.png, if matplotlib is installed: a map of all codes.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops


class Sampling(layers.Layer):
    """Sample a code (batch, n), given its mean and log variance (batch, n)."""

    def call(self, inputs):
        mean, log_variance = inputs
        distance = ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0
        self.add_loss(ops.mean(ops.sum(0.5 * distance, axis=-1)))
        return mean + ops.exp(0.5 * log_variance) * gpunn.random.normal(mean.shape)


def make_models(code=2):
    """Return the whole model, the encoder to a code's mean, and the decoder."""
    gpunn.utils.set_random_seed(0)
    x = layers.Input((784,))
    hidden = layers.Dense(256, "relu")(x)
    mean = layers.Dense(code, name="mean")(hidden)
    log_variance = layers.Dense(code, name="log_variance")(hidden)
    decode = [layers.Dense(256, "relu"), layers.Dense(784, "sigmoid")]
    drawn = Sampling()([mean, log_variance])
    given = layers.Input((code,))
    y, made = drawn, given
    for layer in decode:
        y, made = layer(y), layer(made)
    whole = gpunn.Model(x, y)
    whole.compile(gpunn.optimizers.Adam(0.002), crossentropy)
    return whole, gpunn.Model(x, mean), gpunn.Model(given, made)


def crossentropy(y_true, y_pred):
    """Sum the cross-entropy over the pixels of an image."""
    y_pred = ops.clip(y_pred, 1e-6, 1 - 1e-6)
    of_pixels = y_true * ops.log(y_pred) + (1 - y_true) * ops.log(1 - y_pred)
    return -ops.sum(of_pixels, axis=-1)


def main():
    parser = argparse.ArgumentParser(description="A variational autoencoder on MNIST.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=60_000)
    options = parser.parse_args()

    (x, _), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    x, x_test = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, x_test))
    whole, encoder, decoder = make_models()
    history = whole.fit(
        x[: options.rows], x[: options.rows], batch_size=128, epochs=options.epochs, verbose=0
    )
    for number, loss in enumerate(history.history["loss"], 1):
        print(f"pass {number}: loss {loss:.2f}")
    codes = encoder.predict(x_test, verbose=0)
    print(f"codes of new digits: mean {codes.mean():.2f}, deviation {codes.std():.2f}")

    side = np.linspace(-2, 2, 15)
    grid = np.stack(np.meshgrid(side, side[::-1]), axis=-1).reshape(-1, 2)
    pictures = decoder.predict(grid, verbose=0).reshape(15, 15, 28, 28)
    print(f"made {len(grid)} digits, {pictures.mean():.3f} ink each; MNIST has {x.mean():.3f}")
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
    left.imshow(pictures.transpose(0, 2, 1, 3).reshape(15 * 28, 15 * 28), cmap="gray_r")
    left.set_axis_off()
    left.set_title("what the decoder makes of codes from -2 to 2")
    points = right.scatter(*codes.T, c=y_test, cmap="tab10", s=3)
    right.legend(*points.legend_elements(), title="digit")
    right.set_title("where new digits lie")
    figure.savefig("variational_autoencoder.png", dpi=120)


if __name__ == "__main__":
    main()
