"""Rows by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.gather_scatter import Check

from .samples import NUMPY, Sample, on_both

INNER = (1, 3, 40, 300)


def rows_of_places(gpu: Backend, sample: Sample) -> None:
    """Rows gathered and scattered, bit for bit, by indices that are negative, repeated or out of
    range."""
    n, rng = sample.columns, sample.rng
    for dtype in (sample.dtype, "int32", "bool"):
        for count in (7, 33 + min(sample.rows * 9, 700)):
            outer, inner = int(rng.integers(1, 4)), int(rng.choice(INNER))
            sets = int(rng.choice([1, outer]))
            x = 100 * rng.normal(size=(outer, n, inner))
            rows = 100 * rng.normal(size=(outer, count, inner))
            for values in (x, rows):
                values[rng.random(values.shape) < 0.01] = 0 if dtype == "int32" else np.nan
            x, rows = x.astype(dtype), rows.astype(dtype)
            places = (n * rng.normal(size=(sets, count))).astype(np.int32) // 2
            for wraps in (True, False):

                def move(backend: Backend, a: dict[str, Any], wraps: bool = wraps) -> None:
                    backend.take_rows(a["x"], a["places"], a["taken"], wraps)
                    if a["x"].dtype.kind != "b":
                        backend.scatter_rows("Sum", a["rows"], a["places"], a["sum"], wraps)
                        for merging in ("Largest", "Last"):
                            out = a["most" if merging == "Largest" else "last"]
                            backend.scatter_rows(merging, a["rows"], a["places"], out, wraps)

                both = on_both(
                    gpu, move, x=x, rows=rows, places=places, taken=rows, sum=x, most=x, last=x
                )
                for name, expected in both[0].items():
                    np.testing.assert_array_equal(both[1][name], expected, name)


def checked_numbers(gpu: Backend, sample: Sample) -> None:
    """The number of indices out of range, and the smallest and largest of them."""
    x = sample.numbers()
    low, high = -float(sample.rng.integers(0, 5)), 3.0
    whole = np.clip(np.nan_to_num(x), -99, 99).astype(np.int32)
    for numbers in (np.clip(x, low, high), x, whole):
        found = []
        for backend in (NUMPY, gpu):
            check = Check(backend, low, high, lambda *args: ValueError(*args))
            args: Any = None
            try:
                backend.check_range(backend.upload(numbers.copy()), check)
                backend.synchronize()
            except ValueError as error:
                args = error.args
            found.append(args)
        np.testing.assert_equal(found[1], found[0])
