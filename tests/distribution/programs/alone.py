"""Trainings of each rank alone, after ``set_distribution(None)``.

Prints the number of threads, and the GPUs that CUDA may see.
"""

from __future__ import annotations

import os

import numpy as np
import threadpoolctl

from gpunn import Input, Sequential, layers
from gpunn.distribution import initialize, rank, set_distribution

initialize(timeout=60)
set_distribution(None)
x = np.random.default_rng(rank()).normal(size=(20 + rank(), 4))  # others on each rank
model = Sequential([Input((4,)), layers.Dense(1 + rank())])
model.compile(optimizer="sgd", loss="mse")
for _ in range(1 + rank()):
    history = model.fit(x, np.tile(x[:, :1], 1 + rank()), epochs=5, verbose=0).history
assert history["loss"][-1] < history["loss"][0]
pools = threadpoolctl.threadpool_info()
print(max(pool["num_threads"] for pool in pools), os.environ["CUDA_VISIBLE_DEVICES"], sep="; ")
