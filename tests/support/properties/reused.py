"""Objects that are used, left early and used again, and what that leaves behind."""

from __future__ import annotations

import contextlib
import gc
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gpunn
from gpunn import layers
from properties.allocated import growth

LEAVING = (KeyboardInterrupt, ValueError)
"""Errors by which a use is left: Ctrl-C, and one of a user's own."""


class Trap:
    """A function of what passes by, which raises an error at the chosen one.

    Attributes:
        left: how many pass before the error; None to let all pass.
        kind: the class of the error.
    """

    left: int | None = None
    kind: type[BaseException] = KeyboardInterrupt

    def set(self, left: int, kind: type[BaseException] = KeyboardInterrupt) -> None:
        self.left, self.kind = left, kind

    def __call__(self, value: Any = None) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise self.kind("left early")
        return value


def interrupted_by(trap: Trap, work: Callable[[], Any]) -> bool:
    """Do work; return whether the trap ended it."""
    try:
        work()
    except LEAVING as error:
        if str(error) != "left early":
            raise
        return True
    trap.left = None  # not reached, or by a thread ahead of what was read
    return False


class Leaving(gpunn.callbacks.Callback):
    """Calls a trap in one hook, with nothing."""

    def __init__(self, hook: str, trap: Trap) -> None:
        setattr(self, hook, lambda *args, **kwargs: trap())


HOOKS = (
    "on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end",
    "on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end", "on_epoch_end",
    "on_train_end",
)  # fmt: skip
"""The hooks of a fit with validation data."""


def plain(value: Any) -> Any:
    """Return numbers and arrays in any structure as what can be compared by ``==``, bit by bit."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (str, type(None))):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        return array.tolist()
    return array.dtype.name, array.shape, array.tobytes()


def network(backend: str | None, *chain: Any, **options: Any) -> Any:
    """Return a small compiled network, always with the same weights."""
    gpunn.utils.set_random_seed(3)
    chain = chain or (
        layers.Flatten(),
        layers.Dense(2, "tanh", name="one"),
        layers.Dense(2, name="two"),
    )
    model = gpunn.Sequential([*chain], backend=backend)
    given = {"optimizer": gpunn.optimizers.Adam(0.1), "loss": "mse", "metrics": ["mae"], **options}
    model.compile(**given)
    return model


# -- what is left


def threads_end(before: set[threading.Thread]) -> bool:
    """Whether all threads but these end, and those that they start."""
    until = time.monotonic() + 20
    while left := {*threading.enumerate()} - before:
        if time.monotonic() > until:
            return False
        for thread in left:
            with contextlib.suppress(RuntimeError):  # it is just being started
                thread.join(0.1)
    return True


def objects() -> Counter[str]:
    """Return how many objects of gpunn's classes there are: programs, traces, tensors, storages."""
    gc.collect()
    kinds = (type(found) for found in gc.get_objects())
    return Counter(f"{k.__module__}.{k.__qualname__}" for k in kinds if is_ours(k))


def is_ours(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] == "gpunn"


def assert_leaves_nothing(
    use: Callable[[], Any], times: int = 20, allowed: int | None = 50_000, first: int = 3
) -> None:
    """Check that no use but the ``first`` ones leaves a thread, a temporary file, or an object of
    gpunn's classes; and all of them together at most ``allowed`` bytes.

    A use has an array of more than ``allowed / times`` bytes, so that none of these can stay.
    ``allowed=None`` measures no bytes, which takes several times as long.
    """
    kept = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            for _ in range(first):
                use()
            before, known = {*threading.enumerate()}, objects()

            def settle() -> None:
                threads_end(before)  # one that is just ending has its last samples still
                gc.collect()

            for _ in range(times if allowed is None else 0):
                use()
            more = 0 if allowed is None else growth(use, times, settle=settle)
            assert threads_end(before), threading.enumerate()
            assert not [*Path(folder).iterdir()]
            grown = objects() - known  # a few, where what is kept for the next use varies
            assert max(grown.values(), default=0) < times, grown.most_common(20)
            assert allowed is None or more < allowed, f"{times} uses leave {more} bytes"
        finally:
            tempfile.tempdir = kept
