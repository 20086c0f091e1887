"""Process settings: default dtype, smallest number in a logarithm, and eager execution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import registry
from .importing.lazy import offer
from .numeric.dtypes import name_of
from .snapshots import set_within

__all__ = [
    "disable_interactive_logging", "eagerly", "enable_interactive_logging", "epsilon", "floatx",
    "is_interactive_logging_enabled", "max_epochs", "run_eagerly", "set_floatx", "set_max_epochs",
]
offer(__name__)

_floatx = "float32"
_epsilon = 1e-7
_max_epochs: int | None = None
_interactive = True
_eager = False
_eager_here: ContextVar[bool] = ContextVar("whether a model asks for eager steps", default=False)


def floatx() -> str:
    """Return the default dtype of models, layers and tensors of floats, initially ``"float32"``.

    `set_floatx` changes it; arrays of float64 become floatx unless a dtype is given.

    Returns:
        ``"float32"`` or ``"float64"``.

    >>> from gpunn.config import floatx
    >>> floatx()
    'float32'
    """
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the default dtype of models, layers and tensors that are created from now on.

    Models and layers that exist keep their dtype.

    Args:
        dtype: ``"float32"`` or ``"float64"``, as a name or a NumPy dtype.

    Raises:
        ValueError: for any other dtype.

    >>> from gpunn.config import floatx, set_floatx
    >>> set_floatx("float64"); floatx()
    'float64'
    >>> set_floatx("float32")
    """
    global _floatx
    _floatx = resolve_dtype(dtype)
    registry.record_change()


def epsilon() -> float:
    """Return the constant that keeps logarithms and quotients of probabilities finite: 1e-7.

    Losses clip probabilities to the interval from it to 1 minus it, as in Keras.

    Returns:
        1e-07, which cannot be changed.

    >>> from gpunn.config import epsilon
    >>> epsilon()
    1e-07
    """
    return _epsilon


def max_epochs() -> int | None:
    """Return the most epochs of each `fit`, as `set_max_epochs` sets it; None for any number.

    >>> import gpunn
    >>> gpunn.config.max_epochs() is None
    True
    """
    return _max_epochs


def set_max_epochs(max_epochs: int | None) -> None:
    """Set the most epochs that each `fit` of this process runs, to try a script quickly.

    Args:
        max_epochs: At least 1, or None for any number.

    Raises:
        ValueError: for another value.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> gpunn.config.set_max_epochs(2)
    >>> len(model.fit([[1.0]], [[2.0]], epochs=100, verbose=0).epoch)
    2
    >>> gpunn.config.set_max_epochs(None)
    """
    global _max_epochs
    if max_epochs is not None and (type(max_epochs) is not int or max_epochs < 1):
        raise ValueError(
            f"max_epochs must be an integer of at least 1, or None; got {max_epochs!r}."
        )
    _max_epochs = max_epochs


def enable_interactive_logging() -> None:
    """Let ``verbose="auto"``, the default of `fit`, print progress: the initial state.

    >>> import gpunn
    >>> gpunn.config.enable_interactive_logging()
    >>> gpunn.config.is_interactive_logging_enabled()
    True
    """
    global _interactive
    _interactive = True


def disable_interactive_logging() -> None:
    """Let ``verbose="auto"``, the default of `fit`, print nothing.

    >>> import gpunn
    >>> gpunn.config.disable_interactive_logging()
    >>> gpunn.config.is_interactive_logging_enabled()
    False
    >>> gpunn.config.enable_interactive_logging()
    """
    global _interactive
    _interactive = False


def is_interactive_logging_enabled() -> bool:
    """Return whether ``verbose="auto"``, the default of `fit`, prints; see
    `disable_interactive_logging`.

    >>> import gpunn
    >>> gpunn.config.is_interactive_logging_enabled()
    True
    """
    return _interactive


def run_eagerly(eager: bool) -> None:
    """Set whether user-defined code (a layer's ``call``, a loss, ...) runs in each step.

    By default it is called once, to trace it. In eager mode each operation computes at once: its
    result has concrete values, so that ``print``, a debugger and ``if`` work there. A step then
    takes many times longer. The results are the same; values computed with NumPy have no gradient.
    ``compile(run_eagerly=True)`` sets it for one model. Shapes are inferred beforehand, by a call
    with zeros.

    Args:
        eager: whether it runs in each step; False is the initial state.

    >>> from gpunn.config import run_eagerly, runs_eagerly
    >>> run_eagerly(True); runs_eagerly()
    True
    >>> run_eagerly(False)
    """
    global _eager
    _eager = bool(eager)


def runs_eagerly() -> bool:
    """Return whether steps that run now are eager: each operation computes at once.

    It is True after `run_eagerly`, and in a model with ``compile(run_eagerly=True)``.

    >>> runs_eagerly()
    False
    """
    return _eager or _eager_here.get()


@contextmanager
def eagerly(asked: bool) -> Iterator[None]:
    """A ``with`` block whose steps are eager if ``asked`` is true, in this thread only.

    ``asked``: whether each operation computes at once, as after `run_eagerly`. False changes
    nothing.

    >>> from gpunn.config import eagerly, runs_eagerly
    >>> with eagerly(True):
    ...     runs_eagerly()
    True
    >>> runs_eagerly()
    False
    """
    with set_within(_eager_here, asked or _eager_here.get()):
        yield


def resolve_dtype(dtype: Any) -> str:
    """Return ``"float32"`` or ``"float64"`` for a name, a NumPy dtype or None (the default).

    >>> resolve_dtype(None), resolve_dtype(np.float64)
    ('float32', 'float64')
    """
    if dtype is None:
        return _floatx
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):  # Keras's, of a policy
        dtype = dtype["config"].get("name", dtype)
    dtype = getattr(dtype, "variable_dtype", dtype)  # of a policy
    try:
        name = name_of(np.dtype(dtype))
    except (TypeError, ValueError):  # the latter for a dictionary, which NumPy takes for fields
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {dtype!r}.")
    return name
