"""The cold start: from the start of the process to the accuracy after one epoch.

    GPUNN_BENCH_DATA=mnist.npz python torch_mlp.py cold "PyTorch"

Every contestant's file calls this at its end. It imports only NumPy, so that no contestant
waits for another's imports. The file holds x, y, x_test and y_test, uncompressed.
"""

from __future__ import annotations

import itertools
import os
import sys

import numpy as np

SIZES = (784, 128, 10)
WORKLOAD = {"sizes": SIZES, "dropout": 0.2, "optimizer": "adam", "batch": 32}


def main(prepare, variants):
    if sys.argv[1:2] != ["cold"] or len(sys.argv) != 3 or sys.argv[2] not in variants:
        sys.exit(f'usage: {sys.argv[0]} cold "{" | ".join(variants)}"')
    with np.load(os.environ["GPUNN_BENCH_DATA"]) as file:
        data = {name: file[name] for name in ("x", "y", "x_test", "y_test")}
    generator = np.random.default_rng(0)
    weights = []
    for n_in, n_out in itertools.pairwise(SIZES):
        limit = (6 / (n_in + n_out)) ** 0.5  # Glorot, uniform
        weights.append(generator.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        weights.append(np.zeros(n_out, np.float32))
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    data |= {"weights": weights, "threads": threads, "workload": WORKLOAD}
    program = prepare(data, **variants[sys.argv[2]])
    program.epoch()
    print(f"{program.accuracy():.4f}")
