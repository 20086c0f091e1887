"""The cost of callbacks: the program of `contestants/gpunn_fit.py` with callbacks."""

from __future__ import annotations

import tempfile

from benchmarks.contestants import gpunn_fit
from gpunn.backends.compiled import cpu_kernels
from gpunn.callbacks import TensorBoard

VARIANTS = {
    "bare fit": {},
    "progress bar": {"verbose": 1},
    "TensorBoard, histograms each epoch": {"histograms": True},
}


def prepare(data, verbose=0, histograms=False):
    watchers = [TensorBoard(tempfile.mkdtemp(), histogram_freq=1)] if histograms else []
    backend = "compiled" if cpu_kernels.why_not() is None else "numpy"
    return gpunn_fit.prepare(data, backend, verbose, watchers)
