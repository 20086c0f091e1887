"""Trainings of each rank alone, after ``set_distribution(None)``.

Prints the number of threads, and the GPUs that CUDA may see.
"""

from __future__ import annotations

import os

import numpy as np
import threadpoolctl

from gpunn import Input, Sequential, layers
from gpunn.distribution import initialize, rank, set_distribution


def main() -> None:
    initialize(timeout=60)
    set_distribution(None)
    x = np.random.default_rng(rank()).normal(size=(20 + rank(), 4))  # others on each rank
    model = Sequential([Input((4,)), layers.Dense(1 + rank())])
    model.compile(optimizer="sgd", loss="mse")
    for _ in range(1 + rank()):
        y = np.tile(x[:, :1], 1 + rank())
        history = model.fit(x, y, epochs=5, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
    pools = threadpoolctl.threadpool_info()
    threads = max(pool["num_threads"] for pool in pools)
    print(threads, os.environ["CUDA_VISIBLE_DEVICES"], sep="; ")


if __name__ == "__main__":
    main()
