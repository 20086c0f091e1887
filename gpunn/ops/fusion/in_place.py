"""Formulas of a part as functions of arrays, built on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar

import numpy as np

from gpunn.common import registry

from .calls import GLOBALS, calls
from .formulas import Formula

Function = Callable[..., Any]
PIECE = 1 << 17  # elements that fit in a cache together with work arrays
LARGE = 1 << 22  # elements; such an array has left the cache when it is read again


class InPlace:
    """Functions of arrays for each dtype, and the state of the part that they were built for."""

    def __init__(self, part: Any, make: Callable[[Any, str], Sequence[Function]]) -> None:
        self._seen = registry.last_change  # read before the state
        self._part, self._make, self._state = part, make, _state(part)
        self._made: dict[str, Sequence[Function]] = {}

    def is_of(self, part: Any) -> bool:
        """Return whether the functions still match the part."""
        now = registry.last_change
        if part is not self._part:  # a copy of the part holds them too
            return False
        if self._seen != now and self._state != _state(part):
            return False
        self._seen = now
        return True

    def of(self, dtype: str) -> Sequence[Function]:
        found = self._made.get(dtype)
        if found is None:
            found = self._made[dtype] = self._make(self._part, dtype)
        return found


class Stated:
    """Base of parts with one formula; holds the functions of arrays that are built from it."""

    _not_watched: ClassVar[frozenset[str]] = frozenset({"_made"})

    def _functions(self, dtype: str) -> Sequence[Function]:
        """Build the functions of arrays (or numbers) of a dtype."""
        raise NotImplementedError

    def _of_arrays(self) -> InPlace:
        """Create the cache of functions."""
        return InPlace(self, type(self)._functions)

    def in_place(self, dtype: str) -> Sequence[Function]:
        """Return `_functions`, rebuilt if attributes have changed."""
        found: InPlace | None = self.__dict__.get("_made")
        if found is None or not found.is_of(self):
            found = self.__dict__["_made"] = self._of_arrays()
        return found.of(dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).items() if name != "_made"}


def _state(part: Any) -> dict[str, Any]:
    return dict(part._watched())


def function(
    formula: Formula,
    given: Sequence[str],
    outputs: Mapping[str, str],
    over: Mapping[str, str] | None = None,
) -> Function:
    """Build a function ``(backend, *given, *outputs)`` that computes a formula.

    Args:
        given: the arrays (and numbers) of inputs, in order.
        outputs: the array of each output; of shape (rows,) or (rows, 1) for one value per row.
        over: see `calls`; by default all arrays are distinct.

    >>> from gpunn.backends import get_backend
    >>> from .formulas import Recorder
    >>> recorder = Recorder()
    >>> a, b = recorder.array("a"), recorder.array("b")
    >>> formula = recorder.record(lambda: (a + b) * b, lambda y: {"y": y})
    >>> out = np.empty(2)
    >>> function(formula, ["a", "b"], {"y": "out"})(get_backend("numpy"), *np.ones((2, 2)), out)
    >>> out.tolist()
    [2.0, 2.0]
    """
    arguments = ", ".join(["backend", *given, *outputs.values()])
    lines = [f"def function({arguments}):", "xp = backend.xp"]
    rows = [name for name, line in formula.outputs.items() if line.of_row]
    like = next((array for name, array in outputs.items() if name not in rows), given[0])
    lines += [f"{outputs[name]} = {outputs[name]}.reshape(*{like}.shape[:-1], 1)" for name in rows]
    lines += calls(formula, lambda name: outputs.get(name, name), str, like, over or {})
    space: dict[str, Any] = dict(GLOBALS)
    exec("\n    ".join(lines), space)
    made: Function = space["function"]
    if not any(line.of_row for line in formula.lines):
        made = _in_pieces(made)
    if any(line.function == "sigmoid" for line in formula.lines):
        return np.errstate(over="ignore")(made)  # exp(-x) may overflow; its reciprocal is 0
    return made


def _in_pieces(whole: Function) -> Function:
    """Apply the function to pieces of large arrays; intermediate values then stay in the cache."""

    @wraps(whole)
    def function(backend: Any, *given: Any) -> None:
        out = given[-1]
        if not backend.cache_bytes or out.size <= LARGE or not _are_alike(given, out.shape):
            whole(backend, *given)
            return
        flat = [x.reshape(-1) if np.ndim(x) else x for x in given]
        for start in range(0, out.size, PIECE):
            whole(backend, *(x[start : start + PIECE] if np.ndim(x) else x for x in flat))

    return function


def _are_alike(given: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Return whether all arguments except numbers are contiguous arrays of this shape."""
    arrays = [x for x in given if np.ndim(x)]
    return all(x.shape == shape and x.flags.c_contiguous for x in arrays)
