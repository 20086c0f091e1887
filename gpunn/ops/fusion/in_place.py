"""Formulas of a part as functions of arrays, built on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpunn.core.settings import Cached, Settings

if TYPE_CHECKING:
    from .formulas import Formula

Function = Callable[..., Any]
PIECE = 1 << 17  # elements that fit in a cache together with work arrays
LARGE = 1 << 22  # elements; such an array has left the cache when it is read again


class Stated:
    """Base of parts with one formula; holds the functions of arrays that are built from it."""

    _not_watched: ClassVar[frozenset[str]] = frozenset({"_made"})

    def _functions(self, dtype: str) -> Sequence[Function]:
        """Build the functions of arrays (or numbers) of a dtype."""
        raise NotImplementedError

    def _of_functions(self) -> Settings:
        """Return what these depend on."""
        return Settings([self])

    def in_place(self, dtype: str) -> Sequence[Function]:
        """Return `_functions`, rebuilt if what they depend on has changed."""
        made: dict[Any, Cached[Sequence[Function]]] = self.__dict__.setdefault("_made", {})
        key = id(self), dtype  # a copy of the part may hold them too
        if key not in made:
            made[key] = Cached(self._of_functions, partial(self._functions, dtype))
        return made[key].get()

    def __getstate__(self) -> dict[str, Any]:
        return {name: x for name, x in vars(self).items() if name != "_made"}


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
    from .calls import GLOBALS, calls  # kernels compute most formulas

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
