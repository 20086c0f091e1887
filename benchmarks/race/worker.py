"""The code inside a contestant's process: one question per line on stdin, one answer on stdout.

    python worker.py CONTESTANT.py VARIANT DATA_FOLDER THREADS

A contestant is a file with ``VARIANTS`` (name: options) and ``prepare(data, **options)``. Its
result has ``epoch()`` (one pass over ``data["x"]``, complete on return), ``accuracy()``
(on the test images), ``predict(x)`` (probabilities, a NumPy array (rows, 10)), and if
the framework has it ``predict_on_batch(x)``; x is float32 (rows, 784) from 0 to 1. ``data``
holds x, y, x_test, y_test (bytes), weights, seed, threads, workload.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


class Contestant:
    """Answers the questions of the race; each method except `answer` is one."""

    def __init__(self, file: Path, variant: str, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder, threads
        # Not this file's folder: its modules must not be importable here.
        sys.path[0] = str(file.parent)
        module = importlib.import_module(file.stem)
        self._options, self._prepare = module.VARIANTS[variant], module.prepare
        self._program: Any = None
        self._images: dict[int, Any] = {}

    def answer(self, do: str, **given: Any) -> Any:
        return getattr(self, do)(**given)

    def prepare(
        self,
        workload: dict[str, Any],
        seed: int,
        weights: list[str],
        rows: int | None = None,
        test_rows: int | None = None,
    ) -> None:
        arrays = {name: self._array(name, rows) for name in ("x", "y")}
        arrays |= {name: self._array(name, test_rows) for name in ("x_test", "y_test")}
        self._x_test = arrays["x_test"]
        self._program, self._images = None, {}
        data = {
            **arrays, "seed": seed, "threads": self._threads, "workload": workload,
            "weights": [np.load(self._folder / name) for name in weights],
        }  # fmt: skip
        self._program = self._prepare(data, **self._options)

    def _array(self, name: str, rows: int | None) -> np.ndarray:
        # Read, not memory-mapped: mapped pages would count as this process's memory.
        path = self._folder / f"{name}.npy"
        mapped = np.load(path, mmap_mode="r")
        shape = mapped[:rows].shape
        count = math.prod(shape)
        return np.fromfile(path, mapped.dtype, count, offset=mapped.offset).reshape(shape)

    def epoch(self, times: int = 1) -> float:
        """Return the seconds of one pass, averaged over ``times``."""
        epoch = self._program.epoch
        started = time.perf_counter()
        for _ in range(times):
            epoch()
        return (time.perf_counter() - started) / times

    def predict(self, rows: int, times: int = 1, how: str = "predict") -> float | None:
        """Return the seconds of one call on ``rows`` test images; None if not supported."""
        predict = getattr(self._program, how, None)
        if predict is None:
            return None
        if rows not in self._images:
            images = self._x_test[:rows].reshape(rows, -1)
            self._images[rows] = images.astype(np.float32) / np.float32(255)
        x, output = self._images[rows], None
        started = time.perf_counter()
        for _ in range(times):
            output = predict(x)
        seconds = (time.perf_counter() - started) / times
        if output is None:
            return None
        if np.shape(output) != (rows, 10):
            raise ValueError(f"{how} gave shape {np.shape(output)}, not ({rows}, 10)")
        return seconds

    def accuracy(self) -> float | None:
        """Return the test accuracy; None for a reference program that does not train."""
        value = float(self._program.accuracy())
        return None if math.isnan(value) else value

    def memory(self) -> dict[str, int | None]:
        """Return peak bytes of this process on the host, and on the GPU if known."""
        return {"host": host_peak(), "card": gpu_peak()}


def host_peak() -> int | None:
    # On Linux, resource.getrusage includes the parent's memory before the start.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        if sys.platform == "win32":
            return None
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def gpu_peak() -> int | None:
    cupy, torch, jax = (sys.modules.get(name) for name in ("cupy", "torch", "jax"))
    if cupy is not None:
        return int(cupy.get_default_memory_pool().total_bytes())
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return int(torch.cuda.max_memory_reserved())
    if jax is not None and jax.default_backend() == "gpu":
        return int(jax.devices()[0].memory_stats()["peak_bytes_in_use"])
    return None


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to the log
    file, variant, folder, threads = sys.argv[1:]

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        contestant = Contestant(Path(file), variant, Path(folder), int(threads))
        say({"answer": "ready"})
        for line in sys.stdin:
            say({"answer": contestant.answer(**json.loads(line))})
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"})
        raise


if __name__ == "__main__":
    main()
