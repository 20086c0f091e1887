"""Handling of Ctrl-C between two steps, not within one.

A step changes weights, the optimizer's state and counters one after the other, in several
calls from Python. An interrupt between two of them would leave a step half done. So a signal
that arrives within a step waits for its end. An interrupt that is raised without a signal, as by
`PyThreadState_SetAsyncExc`, lets the step end if it comes between two calls.

Python delivers signals to the main thread alone. Where others work for it, `ended_by` passes on
that they shall end.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

# `signal` wraps these two in enumerations, which take ten times as long.
_get_handler: Callable[[int], Any] = _signal.getsignal
_set_handler: Callable[[int, Any], Any] = _signal.signal

Calls = Sequence[Callable[[], Any]]

_SIGINT = int(_signal.SIGINT)


class _Handler:
    """Replaces the handler of SIGINT while steps are performed; ``pending``: whether a signal is
    waiting for the end of a step."""

    def __init__(self, before: Any) -> None:
        self.before = before
        self.pending = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _within_step(frame):
            self.pending = True
        else:
            self.before(number, frame)

    def deliver(self) -> None:
        """Pass a pending signal to the replaced handler."""
        if self.pending:
            self.pending = False
            self.before(_SIGINT, None)


def _within_step(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not _step.__code__:
        frame = frame.f_back
    return frame is not None


def _step(calls: Calls) -> None:
    for call in calls:
        call()


def _end_step(calls: Calls, error: BaseException) -> None:
    """Do the rest of a step that an interrupt has left between two calls, by no signal."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    names = {} if trace is None else trace.tb_frame.f_locals
    done = [call is names.get("call") for call in calls]
    between = isinstance(error, KeyboardInterrupt) and names.get("calls") is calls
    if between and done.count(True) == 1:
        for call in calls[done.index(True) + 1 :]:
            call()


def perform(calls: Calls, steps: int) -> None:
    """Perform the calls of a step ``steps`` times. An interrupt waits for the end of a step, or
    of the outermost one if a step performs another.

    >>> import os, signal
    >>> done = []
    >>> def interrupt():
    ...     signal.raise_signal(signal.SIGINT)
    >>> try:
    ...     perform([lambda: done.append("begun"), interrupt, lambda: done.append("ended")], 9)
    ... except KeyboardInterrupt:
    ...     done
    ['begun', 'ended']
    """
    handler = _handler()
    if handler is None:
        try:
            for _ in range(steps):
                _step(calls)
        except BaseException as error:
            _end_step(calls, error)
            raise
        return
    try:
        _set_handler(_SIGINT, handler)
        for _ in range(steps):
            _step(calls)
            if handler.pending:
                handler.deliver()
    except BaseException as error:
        try:
            _end_step(calls, error)
        finally:
            _set_handler(_SIGINT, handler.before)
            handler.deliver()
        raise
    _set_handler(_SIGINT, handler.before)
    handler.deliver()


def _handler() -> _Handler | None:
    """Return the handler to install; None if no Python code handles the signal, or an outer step
    has a handler."""
    before: Any = _get_handler(_SIGINT)
    if type(before) is _Handler:
        if _within_step(sys._getframe()):
            return None
        before = before.before  # left there by a call that was itself interrupted
    signalled = threading.main_thread().ident  # the thread to which Python delivers signals
    return _Handler(before) if callable(before) and threading.get_ident() == signalled else None


class _OfThread(threading.local):
    ended: np.ndarray | None = None


_of_thread = _OfThread()


@contextmanager
def ended_by(ended: np.ndarray) -> Iterator[None]:
    """Return a ``with`` block in which `end_if_asked` looks at a flag.

    Args:
        ended: one bool, (1,).

    Raises:
        KeyboardInterrupt: if the flag is set already.

    >>> ended = np.zeros(1, bool)
    >>> try:
    ...     with ended_by(ended):
    ...         ended[0] = True
    ...         end_if_asked()
    ... except KeyboardInterrupt:
    ...     "ended"
    'ended'
    """
    before, _of_thread.ended = _of_thread.ended, ended
    try:
        end_if_asked()
        yield
    finally:
        _of_thread.ended = before


def end_if_asked() -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does in the main thread, if the flag of this thread is
    set."""
    if _of_thread.ended is not None and _of_thread.ended[0]:
        raise KeyboardInterrupt
