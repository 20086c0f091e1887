"""Networks that are not chains: missing connections, two inputs, shortcuts, nested models.

The data are pairs of points, each on one of two rings. The script trains a layer whose units each
see only one of the two points; a network that reads both points with shared layers and answers two
questions, whether they are on the same ring, and on which the first is; and twenty layers with and
without a shortcut around each. Last, the part that reads a point is reused in another network,
frozen while the rest learns, and then thawed.

Run:       python examples/wiring.py
Takes:     about five seconds.
Prints:    the result of each way of merging two rows; the summaries of two of the networks;
           and for each network a figure or two that confirms its structure.
Saves:     wiring.png, if matplotlib is installed: the weights of the layer with missing
           connections, and the loss of twenty layers with and without shortcuts.
"""

import numpy as np

import gpunn
from gpunn import layers, plots
from gpunn.datasets import toy

MERGING = {
    "Add": layers.Add, "Subtract": layers.Subtract, "Multiply": layers.Multiply,
    "Average": layers.Average, "Maximum": layers.Maximum, "Minimum": layers.Minimum,
    "Concatenate": layers.Concatenate,
}  # fmt: skip
# Of sixteen units the first eight see the first point (two numbers), the others the second.
MASK = np.kron(np.eye(2, dtype=int), np.ones((2, 8), int))


def draw(rows, seed):
    """Return the first and second points (rows, 2), the first's ring, and whether they share it."""
    (a, ring), (b, other) = (toy.rings(rows, noise=0.05, seed=2 * seed + i) for i in (0, 1))
    return a, b, ring, (ring == other).astype(int)


def compiled(model, rate=0.01, outputs=1):
    metrics = ["accuracy"] if outputs == 1 else [["accuracy"]] * outputs
    model.compile(gpunn.optimizers.Adam(rate), ["binary_crossentropy"] * outputs, metrics=metrics)
    return model


def not_all_connected():
    """Return a 4-16-16-1 network whose first layer has half of the possible connections."""
    gpunn.utils.set_random_seed(0)
    first = layers.Dense(16, "relu", connections=MASK, name="one_point_each")
    rest = [layers.Dense(16, "relu"), layers.Dense(1, "sigmoid")]
    return compiled(gpunn.Sequential([layers.Input((4,)), first, *rest]))


def point_reader():
    return gpunn.Sequential(
        [layers.Input((2,)), layers.Dense(16, "tanh"), layers.Dense(8, "tanh")], name="reader"
    )


def two_inputs_and_outputs(reader):
    """Apply the reader, itself a model, to both points, so that they share its weights.

    Maximum and minimum do not depend on the order of their arguments, so the answer
    to "the same ring?" does not depend on the order of the points.
    """
    one, two = layers.Input((2,)), layers.Input((2,))
    a, b = reader(one), reader(two)
    both = layers.Concatenate()([layers.Maximum()([a, b]), layers.Minimum()([a, b])])
    same = layers.Dense(1, "sigmoid", name="same")(layers.Dense(16, "relu")(both))
    first = layers.Dense(1, "sigmoid", name="first")(a)
    return compiled(gpunn.Model([one, two], [same, first]), outputs=2)


def deep(shortcuts, depth=20):
    """``depth`` layers of sixteen sigmoid units; with shortcuts, x + f(x) instead of f(x)."""
    gpunn.utils.set_random_seed(0)
    inputs = layers.Input((2,))
    x = layers.Dense(16, "sigmoid")(inputs)
    for _ in range(depth):
        y = layers.Dense(16, "sigmoid")(x)
        x = layers.Add()([x, y]) if shortcuts else y
    return compiled(gpunn.Model(inputs, layers.Dense(1, "sigmoid")(x)), rate=0.01)


def freeze_and_thaw(reader, x, y):
    """Count the reader's weights that changed in 20 epochs frozen, then in 20 thawed."""
    model = gpunn.Sequential([layers.Input((2,)), reader, layers.Dense(1, "sigmoid")])
    changed = []
    for trainable in (False, True):
        reader.trainable = trainable
        compiled(model)  # determines which weights are trained
        before = reader.get_weights()
        model.fit(x, y, epochs=20, verbose=0)
        pairs = zip(before, reader.get_weights(), strict=True)
        changed.append(sum(int(np.sum(old != new)) for old, new in pairs))
    return changed


def picture(kernel, losses):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    size = np.abs(kernel).max()
    shown = np.ma.masked_where(MASK == 0, kernel)
    left.imshow(shown, cmap="RdBu", vmin=-2 * size, vmax=2 * size, aspect="auto")
    for row, column in np.argwhere(MASK):
        weight = f"{kernel[row, column]:.1f}"
        left.text(column, row, weight, ha="center", va="center", fontsize=7)
    left.set_facecolor("0.85")
    left.set(title="Weights; grey is no connection", xlabel="unit", ylabel="input", yticks=range(4))
    plots.curves(losses, title="Twenty layers", ax=right)
    figure.savefig("wiring.png", dpi=150)


def main():
    one, two = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
    for name, layer in MERGING.items():
        print(f"{name:12}(1, 5), (3, 2) -> {np.ravel(layer()([one, two])).tolist()}")
    a, b, ring, same = draw(600, seed=0)
    new_a, new_b, new_ring, new_same = draw(600, seed=1)

    print("\nNot fully connected")
    model = not_all_connected()
    model.summary()
    model.fit(np.hstack([a, b]), same, epochs=60, verbose=0)
    kernel = model.layers[0].kernel.numpy()
    right = model.evaluate(np.hstack([new_a, new_b]), new_same, verbose=0)[1]
    used = np.sum(kernel != 0)
    print(f"{MASK.sum()} connections of {MASK.size}; weights not 0 after 60 epochs: {used}")
    print(f"the same ring? {right:.3f} of new pairs right")

    print("\nTwo inputs, two outputs, a shared model")
    gpunn.utils.set_random_seed(0)
    reader = point_reader()
    model = two_inputs_and_outputs(reader)
    model.summary(expand_nested=True)
    model.fit([a, b], [same, ring], epochs=60, verbose=0)
    answers = model.predict([new_a, new_b])
    swapped = model.predict([new_b, new_a])
    questions = {"same": new_same, "first": new_ring}
    for (question, wanted), answer in zip(questions.items(), answers, strict=True):
        print(f"{question:6}{np.mean((answer[:, 0] > 0.5) == wanted):.3f} of new pairs right")
    print(f"points exchanged: 'same' differs by {np.abs(answers[0] - swapped[0]).max():.1g}")
    step = new_a
    for layer in reader.layers:
        step = layer(step)
    apart = np.abs(reader.predict(new_a) - step).max()
    print(f"the reader, and its layers one after the other: they differ by {apart:.1g}")

    print("\nA shortcut around each of twenty layers")
    losses = {}
    for name, shortcuts in (("plain", False), ("shortcuts", True)):
        model = deep(shortcuts)
        losses[name] = model.fit(a, ring, epochs=60, verbose=0).history["loss"]
        right = model.evaluate(new_a, new_ring, verbose=0)[1]
        print(f"{name:10} loss {losses[name][-1]:.3f}; {right:.3f} of new points right")

    print("\nFreezing and thawing")
    frozen, thawed = freeze_and_thaw(reader, new_a, 1 - new_ring)
    print(f"of the reader's {reader.count_params()} weights {frozen} changed while it was frozen,")
    print(f"{thawed} when it was thawed")
    try:
        picture(kernel, losses)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
