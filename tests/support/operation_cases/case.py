"""Declarations of operations' test inputs and of the library that computes the expected results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Difference:
    """A deliberate difference between an operation and its reference; `make docs` documents it.

    Attributes:
        inputs: the inputs concerned, in words.
        theirs, ours: what the reference returns for them, and what gpunn returns.
        where: function of the inputs, as arrays: a boolean, or one for each element of the result.
        of: what differs: "value", "gradient", or both ("result").
    """

    inputs: str
    theirs: str
    ours: str
    where: Callable[..., Any] = lambda *arrays: True
    of: str = "result"


@dataclass(frozen=True, eq=False)
class Call:
    """One way to call an operation.

    Attributes:
        function: of a library (see `libraries`) and its tensors; None: the operation by its name,
            with the options.
        arrays: the inputs. Float arrays are tested in float32 and float64.
        options: further arguments of the operation.
        values: the library that computes the expected result, if not the operation's.
        refused: why gpunn rejects a call that the reference accepts.
        eager_only: whether it needs values, and so raises an error in a trace.
        unseen: whether a trace does not detect the invalid input.
        smooth: whether the gradients are compared, if those of the operation are.
        once: whether there are no gradients of gradients.
    """

    function: Callable[..., Any] | None
    arrays: tuple[np.ndarray, ...]
    options: dict[str, Any] = field(default_factory=dict)
    values: str = ""
    refused: Difference | None = None
    eager_only: bool = False
    unseen: bool = False
    smooth: bool = True
    once: bool = False

    def given(self, dtype: str) -> Arrays:
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays]


def of(
    *arrays: np.ndarray,
    by: Callable[..., Any] | None = None,
    values: str = "",
    refused: Difference | None = None,
    eager_only: bool = False,
    unseen: bool = False,
    smooth: bool = True,
    once: bool = False,
    **options: Any,
) -> Call:
    """A call with these arrays: ``of(floats(3), axis=0)``, ``of(x, by=lambda k, x: k.sum(x))``."""
    return Call(by, arrays, options, values, refused, eager_only, unseen, smooth, once)


EVERY = "zeros", "ties", "huge", "tiny", "inf", "nan", "limits"
MOVED = "zeros", "huge", "tiny", "inf", "nan"


@dataclass(frozen=True, eq=False)
class Oracle:
    """An operation and its reference.

    Attributes:
        name: of the operation.
        calls: the calls to test.
        values: the library that computes the expected results: "numpy" or "keras".
        edges: the kinds of edge values that replace ordinary ones, see `edges`.
        smooth: whether the gradients are compared, with Keras's on PyTorch.
        ulps: the allowed error in units in the last place.
        scale: the value whose units these are: "own", "one" (its own, but at least 1), or
            "largest" (of a result, as for sums).
        differs: the deliberate differences.
    """

    name: str
    calls: tuple[Call, ...]
    values: str
    edges: tuple[str, ...]
    smooth: bool
    ulps: float
    scale: str
    differs: tuple[Difference, ...]

    def function(self, call: Call) -> Callable[..., Any]:
        """Return the call as a function of a library and its tensors."""
        if call.function is not None:
            return call.function
        return lambda k, *xs: getattr(k, self.name)(*xs, **call.options)


ORACLES: dict[str, Oracle] = {}


def oracle(
    name: str,
    *calls: Call | Iterable[Call],
    values: str = "numpy",
    edges: Iterable[str] = EVERY,
    smooth: bool = True,
    ulps: float = 4,
    scale: str = "own",
    differs: Iterable[Difference] = (),
) -> None:
    """Declare the oracle of an operation; arguments as for `Oracle`."""
    flat = [c for call in calls for c in ([call] if isinstance(call, Call) else call)]
    assert name not in ORACLES, name
    ORACLES[name] = Oracle(
        name, tuple(flat), values, tuple(edges), smooth, ulps, scale, tuple(differs)
    )


def floats(*shape: int, seed: int = 0, low: float | None = None, high: float = 1.0) -> np.ndarray:
    """Random values that float32 can represent: normal, or uniform between two bounds."""
    random = np.random.default_rng([seed, *shape])
    values = random.standard_normal(shape) if low is None else random.uniform(low, high, shape)
    return values.astype(np.float32).astype(np.float64)


def ints(*shape: int, seed: int = 0, low: int = -5, high: int = 6) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.int32)


def bools(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).random(shape) < 0.5
