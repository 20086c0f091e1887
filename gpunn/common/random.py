"""Random seeds: one process-wide source for everything without an explicit seed."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

import numpy as np

from .snapshots import set_within

_MASK64 = (1 << 64) - 1
_lock = threading.Lock()
# Made at the first draw: importing numpy.random takes a tenth of importing gpunn.
_source: np.random.Generator | None = None
_times = 0  # that `set_random_seed` was called
_of_block: ContextVar[np.random.Generator | Draws | None] = ContextVar("source", default=None)


def set_random_seed(seed: int) -> None:
    """Seed Python's ``random``, NumPy's global generator and gpunn.

    A model that is created, trained and evaluated after this call gives the same bits in every
    process on the same machine.

    Args:
        seed: an integer from 0 to 2**32 - 1 (the limit of NumPy's global generator).

    Raises:
        ValueError: if ``seed`` is not such an integer.

    >>> import gpunn
    >>> def weights():
    ...     gpunn.utils.set_random_seed(1)
    ...     return gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)]).get_weights()
    >>> bool((weights()[0] == weights()[0]).all())
    True
    """
    global _source, _times
    import random

    source = _source_of(seed)
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002  Keras's function seeds it, scripts rely on it
    with _lock:
        _source, _times = source, _times + 1


def times_seeded() -> int:
    """Return how often `set_random_seed` was called so far."""
    return _times


set_seed = set_random_seed  # TensorFlow's name


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A ``with`` block in which gpunn draws seeds as if ``seed`` had been set, in this thread only.

    Models that several threads create, compile and build in such blocks are the same in each
    run: `set_random_seed` sets one source for the whole process, which all threads draw from.
    Python's ``random`` and NumPy's global generator are left alone.

    Args:
        seed: An integer from 0 to 2**32 - 1.

    Raises:
        ValueError: if ``seed`` is not such an integer.

    >>> import gpunn
    >>> def weights():
    ...     with gpunn.utils.seeded(1):
    ...         return gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)]).get_weights()
    >>> bool((weights()[0] == weights()[0]).all())
    True
    """
    with set_within(_of_block, _source_of(seed)):
        yield


def seeded_context(seed: int) -> Context:
    """Return a copy of this context, in which gpunn draws seeds as in one block of `seeded`.

    >>> context = seeded_context(1)
    >>> with seeded(1):
    ...     expected = [draw_seed(), draw_seed()]
    >>> [context.run(draw_seed), context.run(draw_seed)] == expected
    True
    """
    context = copy_context()
    context.run(_of_block.set, _source_of(seed))
    return context


class Draws:
    """A source of seeds with seeds of its own; it costs nothing until something is drawn."""

    def __init__(self, *seeds: int) -> None:
        self._seeds = seeds
        self._made: np.random.Generator | None = None

    def integers(self, low: int, high: int) -> Any:
        """Draw an integer, as NumPy's generators do."""
        if self._made is None:
            self._made = np.random.default_rng(self._seeds)
        return self._made.integers(low, high)


def drawing_from(source: Draws) -> AbstractContextManager[None]:
    """A ``with`` block in which gpunn draws seeds from ``source``, in this thread only.

    >>> import gpunn
    >>> def numbers():
    ...     with drawing_from(Draws(1, 2)):
    ...         return gpunn.random.normal((2,)).tolist()
    >>> numbers() == numbers()
    True
    """
    return set_within(_of_block, source)


def _source_of(seed: Any) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - 1; got {seed!r}.")
    return np.random.Generator(np.random.PCG64(int(seed)))


def draw_seed() -> int:
    """Draw a new 63-bit seed from the enclosing block, else from the process-wide source.

    The block belongs to `seeded`; the source is seeded by `set_random_seed`.

    >>> 0 <= draw_seed() < 2**63
    True
    """
    return int((_of_block.get() or _source_of_process()).integers(0, 2**63))


def _source_of_process() -> np.random.Generator:
    global _source
    with _lock:  # another thread may set the seed meanwhile
        if _source is None:
            _source = np.random.Generator(np.random.PCG64(int.from_bytes(os.urandom(8))))
        return _source


def check_seed(name: str, seed: Any) -> int | None:
    """Return ``seed`` if it is None or an integer that fits in 64 bits.

    Args:
        name: of the argument, used in the message.
        seed: the value to check.

    Raises:
        ValueError: otherwise.

    >>> check_seed("seed", 7), check_seed("seed", None)
    (7, None)
    """
    if seed is None:
        return None
    if (
        isinstance(seed, bool)
        or not isinstance(seed, (int, np.integer))
        or not 0 <= seed <= _MASK64
    ):
        raise ValueError(f"{name} must be None or an integer from 0 to 2**64 - 1; got {seed!r}.")
    return int(seed)


class Counter:
    """Counts 0, 1, 2, ...; each `next` returns a different number, in any thread.

    `itertools.count` itself cannot be pickled from Python 3.14 on.

    >>> import pickle
    >>> calls = Counter()
    >>> next(calls), next(calls), next(pickle.loads(pickle.dumps(calls))), next(calls)
    (0, 1, 2, 2)
    """

    def __init__(self, first: int = 0) -> None:
        self._numbers = itertools.count(first)

    def __iter__(self) -> Counter:
        return self

    def __next__(self) -> int:
        return next(self._numbers)

    def __reduce__(self) -> tuple[Any, ...]:
        return Counter, (int(repr(self._numbers).removeprefix("count(")[:-1]),)
