"""The inputs on which kernels are compared, the comparison itself, and its tolerances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import emulated
import numpy as np

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch import kernel_source

NUMPY: Backend = gpunn.backends.get_backend("numpy")
DTYPES = ("float32", "float64")
# Relative to the norm. A sum of n values is rounded n times, each time by up to u = 2^-24 or 2^-53
# of it: sqrt(n) u in all, if rounding goes up as often as down. Sums of float32 have up to 1023
# values here: 32 u = 1.9e-6. Sums of float64 have up to 20,000: 141 u = 1.6e-14, and twice that if
# rounding is biased. Those of metrics have more, see `summed`.
TOLERANCE = {"float32": 2e-6, "float64": 3e-14}
SOURCES = [
    np.dtype({"float": "float32", "double": "float64"}.get(name, name)).name
    for name in kernel_source.options("Source")
]
ORDERS = (0, 1, 2, 3)  # of threads: ascending, descending and two shuffled


def make_gpu(**how: Any) -> CupyBackend:
    """Return a CuPy backend on the CPU that checks every launch, see `HostKernels`."""
    kernels = emulated.EmulatedKernels(**{"orders": ORDERS, **how})
    return CupyBackend(
        emulated.ArrayModule(), kernels, emulated.Products(), emulated.STREAM,
        name="emulated",
    )  # fmt: skip


def on_both(
    gpu: Backend,
    operation: Callable[[Backend, dict[str, Any]], None],
    **arrays: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run ``operation(backend, arrays)`` on copies of the arrays and return their contents."""
    results = []
    for backend in (NUMPY, gpu):
        mine = {
            name: None if array is None else backend.upload(array.copy())
            for name, array in arrays.items()
        }
        with np.errstate(all="ignore"), backend.stream_lock:
            operation(backend, mine)
        results.append({n: backend.read(a) for n, a in mine.items() if a is not None})
    return results[0], results[1]


def summed(values: int) -> float:
    """Return the tolerance of float64 sums of so many values."""
    return max(TOLERANCE["float64"], 2 * values**0.5 * 2.0**-53)


# Callbacks that get a backend's results before these are compared with NumPy's.
onlookers: list[Callable[[dict[str, np.ndarray]], None]] = []


def assert_alike(
    a: dict[str, np.ndarray],
    b: dict[str, np.ndarray],
    dtype: str,
    size: float = 0.0,
    tolerance: float | None = None,
) -> None:
    """Compare by the norm of the difference: orders of summation differ in single small elements.

    ``size`` is the norm of what was summed or subtracted, for results that may be far smaller.
    ``tolerance`` is that of the type unless given.
    """
    tolerance = TOLERANCE[dtype] if tolerance is None else tolerance
    for look in onlookers:
        look(b)
    assert a.keys() == b.keys()
    size = max(size, 1e-30)  # anything smaller is irrelevant
    for name in a:
        assert a[name].dtype == b[name].dtype
        if a[name].dtype.kind in "biu":
            np.testing.assert_array_equal(b[name], a[name], err_msg=name)
            continue
        with np.errstate(all="ignore"):
            x, y = a[name].astype(np.float64), b[name].astype(np.float64)
            finite = np.isfinite(x)
            np.testing.assert_array_equal(y[~finite], x[~finite], err_msg=name)
            # Scaled, so that no square overflows.
            unit = max(np.abs(x[finite]).max(initial=0.0), size)
            difference = np.linalg.norm((x[finite] - y[finite]) / unit)
            limit = tolerance * max(np.linalg.norm(x[finite] / unit), size / unit)
        assert difference <= limit, f"{name}: {difference} above {limit}"


@dataclass(frozen=True)
class Sample:
    """The input of an operation under test: values of one kind, of shape (rows, columns).

    Values are drawn in sequence; `dataclasses.replace` returns a sample that starts again.
    """

    rows: int
    columns: int
    dtype: str = "float32"
    values: str = "normal"  # or one of VALUES
    seed: int = 0

    @cached_property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.columns

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape or self.shape).astype(self.dtype)

    def numbers(self) -> np.ndarray:
        """Values as a layer outputs them, or values that overflow a careless formula."""
        if self.values == "huge":
            x = self.rng.choice([1e4, -1e4, 88.0, -88.0, 1.0, 0.0], self.shape)
        elif self.values == "equal":
            x = np.full(self.shape, self.rng.choice([1e4, -1e4, 5.0, 0.0]))
        else:
            x = 3 * self.rng.normal(size=self.shape)
            if self.values == "infinite":
                x[self.rng.random(self.shape) < 0.2] = -np.inf
                x[self.rng.random(self.shape) < 0.02] = np.inf
            elif self.values == "undefined":
                x[self.rng.random(self.shape) < 0.1] = np.nan
        return x.astype(self.dtype)

    def probabilities(self) -> np.ndarray:
        if self.values == "normal":
            return self.rng.uniform(0.05, 0.9, self.shape).astype(self.dtype)
        if self.values == "equal":
            return np.full(self.shape, 0.5, self.dtype)
        numbers = [0.0, 1e-9, 0.5, 1.0, *[np.nan] * (self.values == "undefined")]
        return self.rng.choice(numbers, self.shape).astype(self.dtype)


VALUES = ("normal", "huge", "equal", "infinite", "undefined")
Comparison = Callable[[Backend, Sample], None]
