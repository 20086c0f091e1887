"""What draws in a function that Python runs, outside of tapes: as if it were inside one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn.ops.tensor import Tensor

from .tape_trace import TapeTrace


def in_trace(work: Callable[[], Any]) -> tuple[Any, Sequence[Tensor]]:
    """Return the result of ``work()``, computed at once in a trace, and the losses that it adds."""
    trace = TapeTrace()
    try:
        with trace.active():
            result = work()
        return result, list(trace.losses)
    finally:
        trace.end()
