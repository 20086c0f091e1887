"""The available backends, and how one is chosen."""

from __future__ import annotations

import copyreg
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunn.common import snapshots
from gpunn.common.holds import Exclusive
from gpunn.common.importing.lazy import offer
from gpunn.common.names import closest, warn

from .compiled import cpu_kernels
from .contract.backend import Backend
from .cupy.driver import gpu
from .numpy.backend import NumpyBackend

__all__ = [
    "Backend", "get_backend", "register_backend", "use_backend",
]
__experimental__ = frozenset({"Backend", "register_backend"})
offer(__name__)

_factories: dict[str, Callable[..., Backend]] = {}
_instances: dict[str, Backend] = {}
_making = Exclusive()
_chosen: str | None = None
_chosen_here: ContextVar[str | Backend | None] = ContextVar(
    "the backend of this block", default=None
)


def register_backend(name: str, factory: Callable[[], Backend]) -> None:
    """Register a backend under a name, by which `use_backend` and models then choose it.

    Args:
        name: of the backend; one that is registered already is replaced.
        factory: a function without arguments that returns a `Backend`; called at its first use.

    >>> with as_in_a_new_process():  # what is registered in the block is forgotten at its end
    ...     register_backend("own", NumpyBackend)
    ...     type(get_backend("own")).__name__
    'NumpyBackend'
    """
    _factories[name] = factory
    _instances.pop(name, None)


def use_backend(name: str) -> None:
    """Choose the backend of models created from now on.

    Args:
        name: ``"numpy"``; ``"compiled"``, NumPy with compiled kernels instead of array
            passes; ``"cupy"``, on a GPU, ``"cupy:1"`` on the second one; or ``"auto"``: cupy
            where a GPU is usable,
            otherwise compiled where the kernels were built, otherwise numpy. If a GPU is
            present but cannot be used, a message reports the reason once; `gpunn doctor`
            always reports it.

    Raises:
        ValueError: for an unknown name.
        RuntimeError: for ``"compiled"`` without its kernels, and for ``"cupy"`` without a
            usable GPU: the message is one line and names what is missing.

    >>> from gpunn import get_backend, use_backend
    >>> use_backend("numpy")
    >>> get_backend().name
    'numpy'
    >>> use_backend("auto")
    """
    global _chosen
    _check(name, "use_backend()")
    if name.startswith(("compiled", "cupy")):
        get_backend(name)
    _chosen = name


def used_within(name: str | Backend) -> AbstractContextManager[None]:
    """A ``with`` block in which this backend is chosen, in this thread."""
    get_backend(name)
    return snapshots.set_within(_chosen_here, name)


def get_backend(name: str | Backend | None = None) -> Backend:
    """Return the backend of this name, or the chosen one if no name is given.

    `use_backend` chooses it, else the environment variable ``GPUNN_BACKEND``, else it is
    ``"auto"``.

    Args:
        name: ``"numpy"``, ``"compiled"``, ``"cupy"``, ``"cupy:1"`` for the second GPU, ``"auto"``,
            a backend, which is returned, or None.

    Returns:
        the one instance of that backend, which models share.

    Raises:
        ValueError: for an unknown name.
        RuntimeError: for ``"compiled"`` without its kernels, and for ``"cupy"`` without a usable
            GPU.

    >>> from gpunn import get_backend
    >>> get_backend("numpy").name
    'numpy'
    """
    if isinstance(name, Backend):
        return name
    if name is None:
        here = _chosen_here.get()
        if isinstance(here, Backend):
            return here
        name = here or _chosen or os.environ.get("GPUNN_BACKEND") or "auto"
        _check(name, "GPUNN_BACKEND")
    else:
        _check(name, "backend")
    if name == "auto":
        return _automatic()
    if name not in _instances:
        with _making:  # one of each, even if several threads are the first to ask
            if name not in _instances:
                kind, _, number = name.partition(":")
                _instances[name] = _factories[kind](*map(int, filter(None, [number])))
                copyreg.pickle(type(_instances[name]), _by_name)
    return _instances[name]


def _by_name(backend: Backend) -> tuple[Any, ...]:
    """Pickle and copy a backend by its name, since it represents a device."""
    name = next((name for name, one in _instances.items() if one is backend.root), None)
    if name is None:
        raise pickle.PicklingError(
            f"{backend!r} cannot be pickled because it has no name: "
            f"register it with register_backend(name, factory)."
        )
    return _named_or_chosen, (name,)


def _named_or_chosen(name: str) -> Backend:
    """Return the backend of this name, or the chosen one if it is unavailable, as without a GPU."""
    try:
        return get_backend(name)
    except (RuntimeError, ValueError) as error:
        chosen = get_backend()
        warn(f"a model of the backend {name!r} now uses {chosen.name!r}: {error}")
        return chosen


@contextmanager
def choice_put_back() -> Iterator[None]:
    """Undo at the end of the block what `use_backend` chose within it."""
    global _chosen
    before = _chosen
    try:
        yield
    finally:
        _chosen = before


@contextmanager
def as_in_a_new_process() -> Iterator[None]:
    """Within the block no backend is chosen, created or announced, as in a new process.

    The previous state is restored at its end; backends registered within it are forgotten.
    """
    global _chosen
    with (
        choice_put_back(),
        snapshots.restored_after(_factories, _instances),
        snapshots.as_in_a_new_process(),
    ):
        _chosen = None
        _instances.clear()
        yield


def fastest_on_cpu() -> str:
    """Return the name of the fastest backend of the CPU."""
    return "numpy" if cpu_kernels.why_not() else "compiled"


def _automatic() -> Backend:
    if gpu.is_usable():
        return get_backend("cupy")
    no_kernels = cpu_kernels.why_not()
    if snapshots.first_time("the backend") and (
        (seen := gpu.is_seen()) or (no_kernels is not None and cpu_kernels.hidden())
    ):
        no_gpu = gpu.why_not() if seen else None
        if no_kernels is None:
            message = f"the compiled backend ({cpu_kernels.chosen()}). {no_gpu}"
        else:
            message = " ".join(filter(None, ("the NumPy backend.", no_gpu, no_kernels)))
        print(f"gpunn: using {message}", file=sys.stderr)
    return get_backend(fastest_on_cpu())


def _check(name: Any, argument: str) -> None:
    known = ["auto", *_factories]
    kind, _, number = str(name).partition(":")
    if name not in known and not (kind == "cupy" and number.isdecimal()):
        raise ValueError(
            f"{argument} must be one of {', '.join(known)}; got {name!r}."
            f"{closest(str(name), known)}"
        )


def _cupy(number: int | None = None) -> Backend:
    from .cupy.driver.cuda import make_backend

    return make_backend(number)


def _compiled() -> Backend:
    from .compiled.backend import CompiledBackend

    return CompiledBackend()


def host_array(x: Any, dtype: Any = None) -> np.ndarray:
    """Return ``x`` as a C-contiguous NumPy array of float32 or float64.

    Lists and integers become ``gpunn.config.floatx``; arrays and tensors of float64 stay float64
    unless ``dtype`` is given.
    """
    from gpunn.common.config import floatx

    if hasattr(x, "get") and hasattr(x, "__cuda_array_interface__"):
        x = x.get()
    array = np.asarray(x)
    if dtype is None:
        kept = hasattr(x, "dtype") and array.dtype in (np.float32, np.float64)
        dtype = array.dtype if kept else floatx()
    return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)


register_backend("numpy", NumpyBackend)
register_backend("compiled", _compiled)
register_backend("cupy", _cupy)
