"""Choices in training, one at a time: the optimizer, limits on the weights, when to stop.

The same network, 64-32-10, learns scikit-learn's digits: 1,000 images of 8 x 8 pixels, with
the other 797 held out. First with each optimizer, at a suitable rate. Then with plain Adam
and one addition each: clipped gradients, weight decay, penalties, limits on the weights, an
average of the weights during training, gradients accumulated over four batches. Last, a
rule decides when to stop, or to lower the rate.

Most of these make little difference to the accuracy here, and tight limits reduce it; their
purpose is the effect on the weights. Clipping has hardly any effect with Adam, which divides
by the size of the gradients; it is for steps that explode.

Run:       python examples/lessons/training_choices.py [--epochs 20]
Takes:     about ten seconds. Needs scikit-learn: pip install scikit-learn
Prints:    for each optimizer the training loss and the held-out accuracy; for each addition
           also the largest weight of the first layer, the smallest and largest norm of a unit's
           incoming weights, and the fraction of weights near 0; for each rule the
           epoch it ended with and why.
Saves:     training_choices.png, if matplotlib is installed: the loss by each optimizer.
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

import gpunn
from gpunn import callbacks, constraints, layers, optimizers, plots, regularizers

ROWS = 1_000
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(0.2),
    "SGD, momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "Adagrad": lambda: optimizers.Adagrad(0.05),
    "Adadelta": lambda: optimizers.Adadelta(1.0),
    "RMSprop": lambda: optimizers.RMSprop(0.003),
    "Adam": lambda: optimizers.Adam(0.005),
    "AdamW": lambda: optimizers.AdamW(0.005),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Nadam": lambda: optimizers.Nadam(0.005),
    "LAMB": lambda: optimizers.Lamb(0.005),
    "Lion": lambda: optimizers.Lion(0.001),
}
# Arguments of the optimizer, and of both layers with weights.
ADDITIONS = {
    "nothing": ({}, {}),
    "clipping by value": ({"clipvalue": 0.01}, {}),
    "clipping by norm": ({"clipnorm": 0.1}, {}),
    "clipping by global norm": ({"global_clipnorm": 0.1}, {}),
    "weight decay": ({"weight_decay": 0.5}, {}),
    "L1 penalty": ({}, {"kernel_regularizer": regularizers.L1(1e-3)}),
    "L1 and L2 penalty": ({}, {"kernel_regularizer": regularizers.L1L2(5e-4, 5e-4)}),
    "orthogonal penalty": (
        {},
        {"kernel_regularizer": regularizers.OrthogonalRegularizer(0.1, mode="columns")},
    ),
    "norm at most 2": ({}, {"kernel_constraint": constraints.MaxNorm(2.0)}),
    "norm 1": ({}, {"kernel_constraint": constraints.UnitNorm()}),
    "norm from 1 to 1.5": ({}, {"kernel_constraint": constraints.MinMaxNorm(1.0, 1.5)}),
    "no negative weights": ({}, {"kernel_constraint": constraints.NonNeg()}),
    "average of the weights": ({"use_ema": True}, {}),
    "sums of four batches": ({"gradient_accumulation_steps": 4}, {}),
}
RULES = {
    "small change": lambda: callbacks.StopOnSmallChange(tolerance=0.01),
    "small gradient": lambda: callbacks.StopOnSmallGradient(tolerance=0.05),
    "target reached": lambda: callbacks.StopAtTarget("val_accuracy", 0.95),
    "500 updates": lambda: callbacks.StopAfter(updates=500),
    "one minute": lambda: callbacks.StopAfter(seconds=60),
    "rate by epoch": lambda: callbacks.LearningRateScheduler(lambda n, rate: 0.005 * 0.9**n),
    "rate at plateaus": lambda: callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=2),
}


def data():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order].astype(np.float32) / 16, y[order]
    return (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])


def learn(optimizer, epochs, rules=(), **of_layers):
    """Return the trained network, and its metrics by epoch."""
    gpunn.utils.set_random_seed(0)
    training, held_out = data()
    hidden, output = (layers.Dense(units, **of_layers) for units in (32, 10))
    chain = [layers.Input((64,)), hidden, layers.ReLU(), output, layers.Softmax()]
    model = gpunn.Sequential(chain)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        *training, epochs=epochs, validation_data=held_out, verbose=0, callbacks=list(rules)
    )  # fmt: skip
    return model, model.history.history


def with_addition(name, epochs):
    for_optimizer, for_layers = ADDITIONS[name]
    return learn(optimizers.Adam(0.005, **for_optimizer), epochs, **for_layers)


def main():
    parser = argparse.ArgumentParser(description="Choices in training, one at a time.")
    parser.add_argument("--epochs", type=int, default=20, help="of each network")
    options = parser.parse_args()

    losses = {}
    print(f"{'optimizer':24}{'loss':>10}{'held out':>10}")
    for name, make in OPTIMIZERS.items():
        _, past = learn(make(), options.epochs)
        losses[name] = past["loss"]
        print(f"{name:24}{past['loss'][-1]:10.4f}{past['val_accuracy'][-1]:10.3f}")

    print(f"\n{'Adam with':24}{'held out':>10}{'largest':>10}{'norms of units':>17}{'near 0':>10}")
    for name in ADDITIONS:
        model, past = with_addition(name, options.epochs)
        kernel = model.layers[0].kernel.numpy()
        norms = np.linalg.norm(kernel, axis=0)
        accuracy = model.evaluate(*data()[1], verbose=0)[1]
        print(f"{name:24}{accuracy:10.3f}{np.abs(kernel).max():10.3f}", end="")
        print(f"{norms.min():9.2f}{norms.max():8.2f}{np.mean(np.abs(kernel) < 0.01):10.2f}")

    print(f"\n{'rule':18}{'epochs':>8}{'held out':>10}{'rate':>10}")
    for name, make in RULES.items():
        rule = make()
        model, past = learn(optimizers.Adam(0.005), 2 * options.epochs, [rule])
        print(f"{name:18}{len(past['loss']):8}{past['val_accuracy'][-1]:10.3f}", end="")
        print(f"{float(model.optimizer.learning_rate):10.5f}")
        if reason := getattr(rule, "reason", None):
            print(f"  {reason}")
    try:
        figure = plots.curves(losses, title="Eleven optimizers", logy=True)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.axes[0].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        figure.savefig("training_choices.png", dpi=150)


if __name__ == "__main__":
    main()
