"""What to say when a device has no memory left: what was tried, and what would fit."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from ..backends.base import Backend
from ..plan import Plan

SPARE = 1.25  # beside the arrays counted here: work arrays, dropout's masks, rounding up


class OutOfMemoryError(MemoryError):
    """The device has no room for what was asked; the message says what would fit."""


class Cache(Protocol):
    """What keeps arrays for the next batch and can do without."""

    def clear(self) -> None: ...


def sample_bytes(plan: Plan, dtype: str, training: bool) -> int:
    """About how many bytes of the device a sample of a batch takes.

    These are its input and every layer's output, with a gradient for each in training.

    >>> from gpunn import layers, models
    >>> plan = models.Sequential([layers.Input((784,)), layers.Dense(16)]).plan
    >>> sample_bytes(plan, "float32", training=True)
    4080
    """
    outputs = sum(math.prod(node.output_shape) for node in plan.nodes)
    values = math.prod(plan.input_shape) + outputs * (2 if training else 1)
    return int(values * np.dtype(dtype).itemsize * SPARE)


@contextmanager
def _explained(message: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)  # their variables hold arrays
        raise OutOfMemoryError(message()) from error


def room_for_batch(
    size: int, plan: Plan, backend: Backend, dtype: str, training: bool, *caches: Cache
) -> Any:
    """Around work on batches of ``size``: if memory runs out, the error names what would fit.

    What the attempt has taken so far is given back, ``caches`` included, so that the next
    one, with a smaller batch, finds it.
    """

    def message() -> str:
        for cache in caches:
            cache.clear()
        backend.release()
        each, free = sample_bytes(plan, dtype, training), backend.free_bytes()
        if free is None:
            advice = "a smaller batch_size takes less."
        elif fits := max(min(free // each, size - 1), 0):
            fits = 1 << fits.bit_length() - 1  # a power of two leaves some to spare
            advice = f"{free:,} are free: batch_size={fits} would fit."
        else:
            advice = f"{free:,} are free: not one fits. Free memory, or make the model smaller."
        return (
            f"The {backend.name} backend ran out of memory with batch_size={size}. A sample "
            f"takes about {each:,} bytes; {advice}"
        )

    return _explained(message)


def room_for_data(argument: str, array: Any, backend: Backend) -> Any:
    """Around the upload of ``array``: if memory runs out, the error says how much there is."""

    def message() -> str:
        free = backend.free_bytes()
        there = "" if free is None else f", {free:,} are free"
        return (
            f"{argument} does not fit into the memory of the {backend.name} backend: its shape "
            f"is {tuple(array.shape)}, {array.nbytes:,} bytes{there}. Pass it in pieces, as "
            f"something that yields batches (x, y)."
        )

    return _explained(message)
