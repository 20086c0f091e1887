"""A batch of ten digits as matrices, from the pixels to the predictions.

A network 784-16-16-10 takes ten images at once: a matrix of 10 rows (images) by 784 columns
(pixels), times a matrix 784 x 16 of weights, and so on. One image is printed as its numbers and
as a picture, and its activations in each layer are drawn.

Run:       python examples/lessons/one_batch.py [--row 0]
Takes:     about two seconds once the data set is there; ten before.
Prints:    the shape of every intermediate matrix, a digit as numbers (two hexadecimal digits per
           pixel, as in the file) and as a picture, and the network's prediction for it.
Saves:     if matplotlib is installed, one_batch.png, the ten digits and their predictions,
           and one_digit.png, the activations of each layer for the one digit.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers

SHADES = " .:-=+*#%@"


def make_network():
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [
            layers.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(16, "sigmoid"),
            layers.Dense(16, "sigmoid"),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def print_shapes(model, batch):
    """Print each layer as a matrix product, and verify it."""
    a = batch.reshape(len(batch), -1) / np.float32(255)
    print(f"{len(batch)} images of 28 x 28 pixels are a matrix {' x '.join(map(str, a.shape))}")
    outputs = model.activations(batch)
    for layer in model.layers[2:]:
        kernel, bias = layer.get_weights()
        z = a @ kernel + bias
        a = layer.activation(z)
        shapes = [" x ".join(map(str, m.shape)) for m in (kernel, z)]
        then = layer.activation.__name__
        print(f"  times {shapes[0]:9} plus {bias.size:2} = {shapes[1]}, then {then}")
        assert np.allclose(a, outputs[layer.name], atol=1e-5)
    sums = a.sum(axis=1)
    print(f"each row of the last one adds up to 1: from {sums.min():.6f} to {sums.max():.6f}")


def main():
    parser = argparse.ArgumentParser(description="Follow ten digits through a network.")
    parser.add_argument("--row", type=int, default=0, choices=range(10), help="the digit to draw")
    options = parser.parse_args()

    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    model = make_network()
    model.fit(x, y, batch_size=128, epochs=2, verbose=0)
    batch, digit = x_test[:10], x_test[options.row]
    print_shapes(model, batch)

    print(f"\nrow {options.row} of the batch, as numbers")
    for line in digit:
        print("".join(f"{pixel:02x}" if pixel else " ." for pixel in line))
    print("\nand as a picture")
    for line in digit:
        print("".join(SHADES[int(pixel) * len(SHADES) // 256] * 2 for pixel in line).rstrip())

    answer = model.predict(digit[None])[0]
    print(f"\na {y_test[options.row]} is read as {answer.argmax()}:")
    print(" ".join(f"{i}:{p:.3f}" for i, p in enumerate(answer)))
    try:
        from gpunn import plots

        read_as = [f"{y}: {r.argmax()}" for y, r in zip(y_test, model.predict(batch), strict=False)]
        ten = plots.images(batch, read_as, columns=10, title="Ten digits: what each is read as")
        one = plots.layer_activations(model, digit)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        ten.savefig("one_batch.png", dpi=150)
        one.savefig("one_digit.png", dpi=150)


if __name__ == "__main__":
    main()
