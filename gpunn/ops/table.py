"""The operations by name, for Python's operators, symbolic tensors and saved models."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS
from gpunn.core.recording import active

from .tensor import Symbolic

Function = TypeVar("Function", bound=Callable[..., Any])

KEEPS_MESSAGES = frozenset(
    ("get_item", "cond", "map", "vectorized_map", "fori_loop", "while_loop", "scan",
     "associative_scan")
)
"""Operations whose errors keep their messages: user-defined functions raise in them, or it is the
operator ``x[...]``."""

_EIGENVALUES = (
    "eigenvalues may be complex, and tensors hold real numbers: use gpunn.ops.eigh for symmetric "
    "matrices, or numpy.linalg before fit"
)

_COMPLEX = "it needs complex numbers, which tensors do not support: use NumPy, before fit"

INSTEAD = {
    **dict.fromkeys(("eig", "eigvals"), _EIGENVALUES),
    "eigvalsh": "gpunn.ops.eigh returns eigenvalues and eigenvectors",
    **dict.fromkeys(("polar", "view_as_complex", "view_as_real"), _COMPLEX),
    "jvp": "gpunn.jvp is this function",
}
"""Keras operations that are not supported here, and what to use instead."""

on_graphs: list[Callable[..., Any]] = []
"""The function that applies operations to symbolic tensors; set by `gpunn.layers`."""


def operation(function: Function, name: str = "") -> Function:
    """Register ``function`` as an operation under its name.

    With a symbolic tensor anywhere in its arguments, a call becomes a node of the graph.
    """
    known_as = name or function.__name__
    if "<locals>" in function.__qualname__:  # of a factory: Python's messages say this name
        function.__qualname__ = function.__name__

    @wraps(function)
    def performed(*args: Any, **kwargs: Any) -> Any:
        if any(map(_is_symbolic, (*args, *kwargs.values()))):
            return on_graphs[0](known_as, args, kwargs)
        if (watcher := active.watcher) is not None and watcher.records:
            return watcher.call(performed, args, kwargs, False)
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError, IndexError) as error:
            _name(error, known_as)
            raise

    performed.__name__ = performed.__qualname__ = known_as
    performed.__module__ = "gpunn.ops"  # where users, and pickles, find it
    if "." not in known_as:  # others are imported when they are first used
        FUNCTIONS[known_as] = performed
    return performed  # type: ignore[return-value]


def _name(error: Exception, name: str) -> None:
    """Let the message of an error begin with the operation that was called, in place of one that
    is part of it. Python's own message about a call's signature stays."""
    text = error.args[0] if len(error.args) == 1 else None
    within = error.__traceback__.tb_next if error.__traceback__ else None
    if name not in KEEPS_MESSAGES and isinstance(text, str) and within is not None:
        part, colon, rest = text.partition(": ")
        inner = colon and (part in FUNCTIONS or part in ("indexing", "x[indices]"))
        error.args = (f"{name}: {rest if inner else text}",)


def operation_named(name: str) -> Callable[[Function], Function]:
    """Return `operation` for another name than the function's, such as a Python built-in's."""
    return lambda function: operation(function, name)


def complaint(name: str) -> str:
    """Return the error message for an operation that does not exist."""
    if name in INSTEAD:
        return f"gpunn.ops has no operation {name!r}: {INSTEAD[name]}."
    return (
        f"gpunn.ops has no operation {name!r}.{closest(name, sorted(FUNCTIONS))} "
        "All operations are listed in docs/reference/ops.md; see also gpunn.layers and "
        "gpunn.activations."
    )


class _ByName:
    """Late-bound access, ``ops.where(...)``, to operations that are defined elsewhere or later."""

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        raise AttributeError(name if name.startswith("__") else complaint(name))


ops = _ByName()


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, Symbolic) or (isinstance(x, (list, tuple)) and any(map(_is_symbolic, x)))
