"""Recipes for the digits of MNIST (and the clothes of Fashion-MNIST), with their accuracies.

- mlp: two hidden layers of 512 with dropout, as in Keras's old example: at least 98.3%.
- best: the best plain MLP we know of without distorted images: 2 x 1024, dropout of a fifth of
  the inputs and half of the hidden units, a cosine schedule of the learning rate down to 0. At
  least 98.8%. (Srivastava et al., 2014, report 98.95% for 3 x 1024 with max-norm; the first
  convolutional networks did as well.)
- convnet: Keras's small convolutional network: 99.0% within 12 epochs.
- fashion: one hidden layer on Fashion-MNIST: at least 88%.

Run:       python examples/mnist_recipes.py mlp [--seeds 5] [--epochs 20]
Takes:     for each seed on two CPU cores: mlp a minute, best 5 minutes, convnet 3 minutes,
           fashion 10 seconds; and the download.
Prints:    the network, a line for each epoch, and the accuracy on the 10,000 test images,
           with the mean if there are several seeds.
Saves:     mnist_<recipe>.png, if matplotlib is installed: the confusion matrix of the last
           network.
"""

import argparse
import time

import numpy as np

import gpunn
from gpunn import layers, optimizers, plots


def mlp():
    return [
        layers.Flatten(),
        layers.Dense(512, "relu"),
        layers.Dropout(0.2),
        layers.Dense(512, "relu"),
        layers.Dropout(0.2),
        layers.Dense(10, "softmax"),
    ]


def best():
    hidden = [
        layer
        for _ in range(2)
        for layer in (
            layers.Dense(1024, "relu", kernel_initializer="he_normal"),
            layers.Dropout(0.5),
        )
    ]
    return [layers.Flatten(), layers.Dropout(0.2), *hidden, layers.Dense(10, "softmax")]


def convnet():
    return [
        layers.Reshape((28, 28, 1)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, "softmax"),
    ]


def fashion():
    return [
        layers.Flatten(),
        layers.Dense(256, "relu"),
        layers.Dropout(0.2),
        layers.Dense(10, "softmax"),
    ]


# Layers, data set, epochs, and Adam's initial learning rate, which falls to 0 along a cosine.
RECIPES = {
    "mlp": (mlp, gpunn.datasets.mnist, 20, 1e-3),
    "best": (best, gpunn.datasets.mnist, 60, 1e-3),
    "convnet": (convnet, gpunn.datasets.mnist, 12, 3e-3),
    "fashion": (fashion, gpunn.datasets.fashion_mnist, 10, 1e-3),
}
BATCH = 128


def train(name, epochs, seed, data, verbose):
    """Return the model, and its accuracy on the test images."""
    (x, y), test = data
    gpunn.utils.set_random_seed(seed)
    make, _, _, rate = RECIPES[name]
    model = gpunn.Sequential([layers.Input((28, 28)), layers.Rescaling(1 / 255), *make()])
    rate = optimizers.schedules.CosineDecay(rate, epochs * -(-len(x) // BATCH))
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    if verbose:
        model.summary()
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=verbose)
    return model, model.evaluate(*test, verbose=0)[1]


def main():
    parser = argparse.ArgumentParser(description="Train a network on MNIST by a recipe.")
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--seeds", type=int, default=1, help="number of trainings")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    options = parser.parse_args()

    _, dataset, epochs, _ = RECIPES[options.recipe]
    data = dataset.load_data()
    found = []
    for seed in range(options.seeds):
        started = time.perf_counter()
        model, accuracy = train(
            options.recipe, options.epochs or epochs, seed, data, 2 if seed == 0 else 0
        )
        found.append(accuracy)
        seconds = time.perf_counter() - started
        print(f"seed {seed}: test accuracy {accuracy:.4f} ({seconds:.0f} s)", flush=True)
    if len(found) > 1:
        print(f"mean of {len(found)} seeds: {np.mean(found):.4f}, deviation {np.std(found):.4f}")
    try:
        x_test, y_test = data[1]
        figure = plots.confusion_matrix(y_test, model.predict(x_test))
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig(f"mnist_{options.recipe}.png", dpi=150)


if __name__ == "__main__":
    main()
