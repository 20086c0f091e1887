"""What would make this a 3? The gradient of a digit's class with respect to its pixels.

A network that reads digits is trained on MNIST. Then its weights stay fixed, and the image
changes: the gradient of log p(3) shows which pixels are evidence for a three. Small steps
along it change other digits until the network is sure that they are threes (Szegedy et
al., 2014). The changes are so small that people still see the original digits.

Run:       python examples/what_would_make_it_a_three.py [--rows 20000]
Takes:     about ten seconds, and the download of MNIST.
Prints:    for each digit, p(3) before and after, and how far its pixels moved.
Saves:     what_would_make_it_a_three.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

WANTED, DIGITS = 3, (0, 1, 5, 7, 8)


def make_model():
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [layers.Input((784,)), layers.Dense(128, "relu"), layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def changed(model, picture, wanted, steps=100, size=0.05, sure=0.99):
    """Return the images (784,) on the way to another class, and the first gradient."""
    gradient_of = gpunn.grad(lambda x: ops.log(model(x)[0, wanted]))
    pictures, first = [picture], None
    while len(pictures) <= steps and probability(model, pictures[-1], wanted) < sure:
        slope = gradient_of(pictures[-1][None]).numpy()[0]
        first = slope if first is None else first
        moved = pictures[-1] + size * slope / np.abs(slope).max()
        pictures.append(np.clip(moved, 0, 1).astype("float32"))
    return pictures, first


def probability(model, picture, wanted):
    return float(model.predict_on_batch(picture[None])[0, wanted])


def main():
    parser = argparse.ArgumentParser(description="Change digits until they are read as a 3.")
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()

    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    x, x_test = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, x_test))
    model = make_model()
    model.fit(x[: options.rows], y[: options.rows], epochs=3, verbose=0)
    print(f"accuracy {model.evaluate(x_test, y_test, verbose=0)[1]:.3f}")

    rows = []
    for digit in DIGITS:
        picture = x_test[y_test == digit][0]
        pictures, slope = changed(model, picture, WANTED)
        before, after = (probability(model, p, WANTED) for p in (picture, pictures[-1]))
        moved = np.abs(pictures[-1] - picture).mean()
        print(
            f"a {digit}: p({WANTED}) {before:.4f} -> {after:.4f} in {len(pictures) - 1} steps, "
            f"pixels moved by {moved:.3f} of 1"
        )
        rows.append((picture, slope, pictures[-1]))

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, axes = plt.subplots(3, len(rows), figsize=(9, 5.6), layout="constrained")
    titles = "the digit", "for and against a 3", "read as a 3"
    for column, (picture, slope, last) in enumerate(rows):
        for row, (shown, limit, colours) in enumerate(
            ((picture, 1, "gray_r"), (slope, np.abs(slope).max(), "RdBu_r"), (last, 1, "gray_r"))
        ):
            low = -limit if row == 1 else 0
            axes[row, column].imshow(shown.reshape(28, 28), colours, vmin=low, vmax=limit)
            axes[row, column].set(xticks=[], yticks=[])
            axes[row, 0].set_ylabel(titles[row])
    figure.savefig("what_would_make_it_a_three.png", dpi=120)


if __name__ == "__main__":
    main()
