"""CuPy's streams: each thread has a current stream and submits its work to it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class _Current(threading.local):
    """The streams and the GPUs' numbers that a thread has entered, the innermost last."""

    def __init__(self) -> None:
        self.entered: list[Stream] = []
        self.gpus: list[int] = []


_currents = _Current()


def current_gpu() -> int:
    return _currents.gpus[-1] if _currents.gpus else 0


class Gpu:
    """A GPU, current in a block."""

    def __init__(self, number: int) -> None:
        self.id = number

    def __enter__(self) -> Any:
        _currents.gpus.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        _currents.gpus.pop()


def current_stream() -> Stream:
    return _currents.entered[-1] if _currents.entered else NULL


def use(stream: Stream) -> None:
    """Make it this thread's current stream until another is."""
    _currents.entered[-1:] = [stream]


class Stream(ABC):
    """A stream that can be current; `perform` and `synchronize` define how it works.

    Attributes:
        captured: the work submitted by any thread since a capture began; otherwise None.
    """

    captured: list[Callable[[], Any]] | None = None

    @property
    def eager(self) -> bool:
        """Whether it does its work as soon as it gets it."""
        return False

    def __enter__(self) -> Any:
        _currents.entered.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _currents.entered.pop()

    @abstractmethod
    def perform(self, work: Callable[[], Any]) -> None:
        """Do this work, now or later; during a capture, record it instead."""

    @abstractmethod
    def synchronize(self) -> None:
        """Do all remaining work."""

    def keep(self, memory: np.ndarray) -> None:  # noqa: B027  if the work is done at once
        """Keep the memory of an array if work on it may outlast the array."""

    def refuse(self, what: str) -> None:
        if self.captured is not None:
            raise CaptureError(f"a step that is captured cannot {what}: it would wait for the GPU")

    def refuse_library(self, library: str, function: str) -> None:
        """CuPy refuses to use its handles of cuBLAS and cuSOLVER during a capture."""
        if self.captured is not None:
            raise NotImplementedError(f"calling {library} API during stream capture: {function}")


class CaptureError(RuntimeError):
    """CuPy's CUDARuntimeError with the status cudaErrorStreamCaptureUnsupported."""

    status = 900


class NullStream(Stream):
    def record(self) -> Any:
        return SimpleNamespace(synchronize=lambda: None)

    def perform(self, work: Callable[[], Any]) -> None:
        raise RuntimeError("work for the null stream, which nothing orders with the backend's")

    def synchronize(self) -> None:
        raise RuntimeError("whoever waits for the null stream does not wait for the backend's")


NULL = NullStream()
