"""Learning from a stream: one step per batch as it arrives, compared with periodic refitting.

A stream of points in the plane, 32 at a time. Each batch is first predicted, then learnt from,
so every prediction is on unseen points. The boundary between the two classes turns
slowly: what was right at the beginning is wrong at the end. The online network takes one step
for each batch (``train_on_batch``). The other network is fitted again after every 50 batches on
all points so far. That is optimal for a fixed boundary; here outdated points hold it back, and it
takes many times as many steps.

Run:       python examples/online_learning.py [--batches 1000]
Takes:     about ten seconds.
Prints:    the accuracy of both, early, late and overall, how many samples
           each learnt from (each repetition counted), and the time.
Saves:     online_learning.png, if matplotlib is installed: accuracy over time.
"""

import argparse
import time

import numpy as np

import gpunn
from gpunn import layers, plots

BATCH, REFIT_EVERY, SHOWN = 32, 50, 25
TURN = 2 * np.pi / 1000  # rotation of the boundary from batch to batch


def draw(number, rng):
    """Return a batch of the stream: the class is the side of a bent boundary that turns."""
    angle = TURN * number
    x = rng.uniform(-1, 1, (BATCH, 2))
    along = x @ [np.cos(angle), np.sin(angle)]
    across = x @ [-np.sin(angle), np.cos(angle)]
    return x, (across > 0.3 * np.sin(3 * along)).astype(int)[:, None]


def make_network():
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [layers.Input((2,)), layers.Dense(16, "tanh"), layers.Dense(1, "sigmoid")]
    )
    model.compile(gpunn.optimizers.Adam(0.02), "binary_crossentropy")
    return model


def right(model, x, y):
    return np.mean((model.predict_on_batch(x) > 0.5) == y)


def online(stream):
    model = make_network()
    shares = []
    for x, y in stream:
        shares.append(right(model, x, y))
        model.train_on_batch(x, y)
    return np.array(shares), len(stream) * BATCH


def refitting(stream):
    model = make_network()
    shares, learnt = [], 0
    for number, (x, y) in enumerate(stream):
        if number and number % REFIT_EVERY == 0:
            model = make_network()
            past = [np.vstack(part) for part in zip(*stream[:number], strict=True)]
            model.fit(*past, batch_size=BATCH, epochs=5, verbose=0)
            learnt += 5 * len(past[0])
        shares.append(right(model, x, y))
    return np.array(shares), learnt


def main():
    parser = argparse.ArgumentParser(description="Learn from a stream that changes.")
    parser.add_argument("--batches", type=int, default=1_000, help="length of the stream")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    stream = [draw(number, rng) for number in range(options.batches)]
    quarter = options.batches // 4
    print(f"{options.batches:,} batches of {BATCH}; share of right answers")
    print(
        f"{'':14}{'first quarter':>14}{'last quarter':>14}{'all':>8}{'learnt from':>14}{'time':>9}"
    )
    shown = {}
    for name, learn in (("online", online), ("refitting", refitting)):
        started = time.perf_counter()
        shares, learnt = learn(stream)
        seconds = time.perf_counter() - started
        print(
            f"{name:14}{shares[:quarter].mean():14.3f}{shares[-quarter:].mean():14.3f}"
            f"{shares.mean():8.3f}{learnt:14,}{seconds:8.1f}s"
        )
        whole = len(shares) // SHOWN * SHOWN
        batches = np.arange(SHOWN, whole + 1, SHOWN)
        shown[name] = (batches, shares[:whole].reshape(-1, SHOWN).mean(axis=1))
    try:
        figure = plots.curves(
            shown, "batches seen", f"right answers, share of {SHOWN} batches",
            "A border that turns",
        )  # fmt: skip
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("online_learning.png", dpi=150)


if __name__ == "__main__":
    main()
