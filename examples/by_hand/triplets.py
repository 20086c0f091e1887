"""Triplet loss: a map of digits on which those of one kind lie together.

No class is predicted. The network gives each image a point in the plane, and the loss compares
points of three images: an anchor must be nearer to an image of the same digit than to one of
another, by a margin (Schroff et al., 2015). In each batch the triplets are made from all pairs:

    mean of max(0, distance(anchor, same) - distance(anchor, other) + margin)

over those that are not met yet. Which those are is known once the points are: the step is
written by hand, and compiled by `gpunn.function`. Principal components are another map, which
does not know the digits.

Run:       python examples/by_hand/triplets.py [--steps 1000]
Takes:     ten seconds on two CPU cores, and the download of MNIST.
Prints:    the loss and the share of triplets not met, and how many new digits are of the kind of
           most of their five neighbours, on both maps.
Saves:     triplets.png, if matplotlib is installed: both maps of new digits.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

EACH, MARGIN = 6, 1.0  # images of each digit in a batch
LABELS = np.repeat(np.arange(10), EACH)  # of every batch
SAME = LABELS[:, None] == LABELS  # (60, 60)
# For each anchor, pairs of another image of its digit and an image of another digit.
MADE = (SAME & ~np.eye(len(LABELS), dtype=bool))[:, :, None] & ~SAME[:, None, :]


def make_step(network):
    optimizer = gpunn.optimizers.Adam(0.001)

    @gpunn.function
    def step(images):
        """One update; (60, 784) -> the loss, and the share of triplets that are not met."""
        with gpunn.GradientTape() as tape:
            points = network(images, training=True)  # (60, 2)
            squares = ops.sum(ops.square(points[:, None] - points[None]), axis=-1)
            distances = ops.sqrt(squares + 1e-9)  # (60, 60); the root has a slope at 0
            each = ops.relu(distances[:, :, None] - distances[:, None, :] + MARGIN)
            each = ops.where(MADE, each, 0.0)  # (anchors, same, others)
            count = ops.sum(ops.cast(each > 0.0, "float32"))
            loss = ops.sum(each) / ops.maximum(count, 1.0)
        slopes = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(slopes, network.trainable_variables)
        return loss, count / MADE.sum()

    return step


def principal(x, new):
    """New rows in the plane of the two directions in which the given rows vary most."""
    middle = x.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(x - middle, rowvar=False))
    return (new - middle) @ directions[:, :-3:-1]


def right_neighbours(points, labels, new, wanted):
    """The share of new points whose five nearest known ones are mostly of their label."""
    squares = ((new[:, None] - points[None]) ** 2).sum(axis=-1)  # (new, points)
    nearest = labels[np.argpartition(squares, 5, axis=1)[:, :5]]
    votes = (nearest[:, :, None] == np.arange(10)).sum(axis=1)
    return np.mean(votes.argmax(axis=1) == wanted)


def main():
    parser = argparse.ArgumentParser(description="A map of digits by a triplet loss.")
    parser.add_argument("--steps", type=int, default=1000)
    steps = parser.parse_args().steps

    (x, labels), (new, wanted) = gpunn.datasets.mnist.load_data()
    x, new = (a.reshape(-1, 784).astype("float32") / 255 for a in (x, new))
    gpunn.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    network = gpunn.Sequential(
        [
            layers.Input((784,)),
            layers.Dense(256, "relu"),
            layers.Dense(128, "relu"),
            layers.Dense(2),
        ]
    )
    step, rows_of = make_step(network), [np.flatnonzero(labels == digit) for digit in range(10)]
    found = []
    for number in range(1, steps + 1):
        batch = np.concatenate([random.choice(rows, EACH) for rows in rows_of])
        found.append([float(value) for value in step(x[batch])])
        if number % max(1, steps // 5) == 0:
            loss, share = np.mean(found[-100:], axis=0)
            print(f"step {number:5}: loss {loss:.2f}, {share:6.1%} of the triplets not met")
    rows = x[:3000], new[:2000]
    maps = {
        "principal components": [principal(x[:5000], part) for part in rows],
        "triplet loss": [network.predict(part, verbose=0) for part in rows],
    }
    for name, (known, points) in maps.items():
        share = right_neighbours(known, labels[:3000], points, wanted[:2000])
        print(f"{name:21} {share:6.1%} of new digits have neighbours of their kind")

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    for axis, (name, (_, points)) in zip(axes, maps.items(), strict=True):
        dots = axis.scatter(*points.T, c=wanted[:2000], cmap="tab10", s=6)
        axis.set(title=f"{name}: new digits", xticks=[], yticks=[])
    axes[0].legend(*dots.legend_elements(), title="digit", loc="lower left", ncols=2)
    for digit in range(10):  # on the second map the kinds lie apart
        middle = np.median(points[wanted[:2000] == digit], axis=0)
        box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "grey", "alpha": 0.8}
        axes[1].text(*middle, digit, ha="center", va="center", fontsize=11, bbox=box)
    figure.savefig("triplets.png", dpi=120)
    print("saved triplets.png")


if __name__ == "__main__":
    main()
