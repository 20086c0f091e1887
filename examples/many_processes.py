"""MNIST on several processes: each computes its share of the rows of a batch.

The gradients are summed over the processes in every step. Started without mpiexec, the same program
trains in one process, with the same result up to rounding.

Run:       python examples/many_processes.py [--epochs 3] [--rows 60000], or with
           mpiexec -n 2 in front: the processes share the work.
Takes:     a few seconds; it downloads MNIST at the first run.
Prints:    the progress, the number of processes, accuracy and loss on the test images.
"""

from __future__ import annotations

import argparse

import gpunn
from gpunn import Input, Sequential, layers

gpunn.distribution.initialize()  # before anything else


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000, help="training images")
    args = parser.parse_args()

    gpunn.utils.set_random_seed(0)
    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    model = Sequential([
        Input((28, 28)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ])
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    # 512 rows in each step, of which every process computes its share.
    model.fit(x[: args.rows], y[: args.rows], batch_size=512, epochs=args.epochs)

    if gpunn.distribution.rank() == 0:  # evaluate and predict need no other process
        loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
        print(f"processes {gpunn.distribution.size()}, accuracy {accuracy:.4f}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
