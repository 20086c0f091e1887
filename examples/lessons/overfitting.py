"""Underfitting, overfitting and their remedies: networks on unseen digits.

1,000 images of MNIST for training, 5,000 others held out. A network with two hidden units
is too simple: both errors stay high (underfitting). One with 512 memorizes the 1,000
while the loss on the held-out images rises again (overfitting). Remedies are dropout, a
penalty on the weights (L2), early stopping, and, most of all, more data.

Run:       python examples/lessons/overfitting.py [--epochs 60]
Takes:     about a minute on two CPU cores, and the download. Needs matplotlib:
           pip install "gpunn[plot]"
Prints:    for each network cross-entropy and accuracy on both parts; the learning curve: the
           error on both parts by the number of training images.
Saves:     overfitting.png with the curves of both parts, learning_curve.png
"""

import argparse

try:
    from matplotlib.figure import Figure
except ImportError:
    raise SystemExit('This example needs matplotlib: pip install "gpunn[plot]"') from None

import gpunn
from gpunn import callbacks, layers, plots, regularizers

ENTROPY = "sparse_categorical_crossentropy"  # as a metric: the loss includes the penalty
TRAINING, HELD_OUT = 1_000, 5_000
SIZES = (125, 250, 500, 1_000, 2_000, 4_000, 8_000)


def make(hidden=512, dropout=0.0, penalty=0.0):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten()])
    weight_penalty = regularizers.L2(penalty) if penalty else None
    model.add(layers.Dense(hidden, "relu", kernel_regularizer=weight_penalty))
    if dropout:
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(10, "softmax", kernel_regularizer=weight_penalty))
    model.compile("adam", ENTROPY, metrics=["accuracy", ENTROPY])
    return model


def learn(model, data, rows, epochs, **watching):
    x, y = data
    return model.fit(x[:rows], y[:rows], epochs=epochs, verbose=0, **watching)


def main():
    parser = argparse.ArgumentParser(description="Under- and overfitting on MNIST.")
    parser.add_argument("--epochs", type=int, default=60, help="of each network")
    options = parser.parse_args()
    epochs = options.epochs

    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    data, held_out = (x, y), (x_test[:HELD_OUT], y_test[:HELD_OUT])

    stop = callbacks.EarlyStopping(f"val_{ENTROPY}", patience=5, restore_best_weights=True)
    networks = {
        "2 hidden units: too simple": (make(hidden=2), ()),
        "512: too free": (make(), ()),
        "512, dropout 0.5": (make(dropout=0.5), ()),
        "512, L2 0.002": (make(penalty=0.002), ()),
        "512, stopped early": (make(), (stop,)),
    }
    print(f"{TRAINING:,} images to learn from, {HELD_OUT:,} held out")
    print(f"{'':28}{'cross-entropy':>17}{'':5}{'accuracy':>14}")
    print(f"{'':28}{'learnt':>9}{'held out':>10}{'learnt':>12}{'held out':>10}{'epochs':>8}")
    runs = []
    for name, (model, more) in networks.items():
        watching = {"validation_data": held_out, "callbacks": list(more)}
        history = learn(model, data, TRAINING, epochs, **watching)
        runs.append((name, history))
        (_, right, entropy), (_, val_right, val_entropy) = (
            model.evaluate(*part, verbose=0) for part in ((x[:TRAINING], y[:TRAINING]), held_out)
        )
        print(
            f"{name:28}{entropy:9.3f}{val_entropy:10.3f}{right:12.3f}{val_right:10.3f}"
            f"{len(history.epoch):8}"
        )
    figure = Figure(figsize=(11, 7), layout="constrained")
    *panels, surplus = figure.subplots(2, 3).flat
    surplus.remove()
    for ax, (name, history) in zip(panels, runs, strict=True):
        plots.history(history, [ENTROPY], ax=ax)
        ax.set(title=name, ylabel="cross-entropy", ylim=(0, 2.4))
    figure.savefig("overfitting.png", dpi=150)

    print("\nMore data: error of the network with dropout")
    print(f"{'images':>8}{'learnt':>10}{'held out':>10}")
    errors = {"learnt": [], "held out": []}
    for size in SIZES:
        model = make(dropout=0.5)
        # The same number of steps for each size: only the data differ.
        learn(model, data, size, max(1, epochs * TRAINING // size))
        for name, part in (("learnt", (x[:size], y[:size])), ("held out", held_out)):
            errors[name].append(1 - model.evaluate(*part, verbose=0)[1])
        print(f"{size:8,}{errors['learnt'][-1]:10.3f}{errors['held out'][-1]:10.3f}")
    figure = plots.learning_curve(SIZES, errors["learnt"], errors["held out"], "error")
    figure.savefig("learning_curve.png", dpi=150)


if __name__ == "__main__":
    main()
