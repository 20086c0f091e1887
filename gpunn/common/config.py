"""Settings of the process: the default dtype, the smallest number in a logarithm, and whether what
a user writes is called in each step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

_floatx = "float32"
_epsilon = 1e-7
_eager = False
_eager_here: ContextVar[bool] = ContextVar("whether a model asks for eager steps", default=False)


def floatx() -> str:
    """The dtype of models and layers that name none: ``"float32"`` at first."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the default dtype, ``"float32"`` or ``"float64"``.

    Raises:
        ValueError: for any other dtype.

    >>> set_floatx("float64"); floatx()
    'float64'
    >>> set_floatx("float32")
    """
    global _floatx
    _floatx = resolve_dtype(dtype)


def epsilon() -> float:
    """The fuzz that keeps logarithms and quotients of probabilities finite: 1e-7."""
    return _epsilon


def run_eagerly(eager: bool) -> None:
    """Call what a user writes (a layer's ``call``, a loss, ...) in each step, or not.

    Ordinarily it is called once, to find out what it computes. Eagerly each operation computes at
    once: its result has numbers, so that ``print``, a debugger and ``if`` work there, and a step
    takes many times longer. The results are the same; what NumPy computes there has no gradient.
    ``compile(run_eagerly=True)`` asks for it for one model. Shapes are found out beforehand, by a
    call with zeros.

    >>> run_eagerly(True); runs_eagerly()
    True
    >>> run_eagerly(False)
    """
    global _eager
    _eager = bool(eager)


def runs_eagerly() -> bool:
    """Whether steps that run now are eager ones."""
    return _eager or _eager_here.get()


@contextmanager
def eagerly(asked: bool) -> Iterator[None]:
    """A block whose steps are eager ones if that is ``asked``."""
    before = _eager_here.set(asked or _eager_here.get())
    try:
        yield
    finally:
        _eager_here.reset(before)


def resolve_dtype(dtype: Any) -> str:
    """``"float32"`` or ``"float64"`` from a name, a NumPy dtype or None (the default).

    >>> resolve_dtype(None), resolve_dtype(np.float64)
    ('float32', 'float64')
    """
    if dtype is None:
        return _floatx
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    return name
