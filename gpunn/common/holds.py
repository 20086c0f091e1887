"""What a running call has for itself, and what becomes of it if the call is interrupted.

Ctrl-C can end a call between any two lines, also between a lock's release and the ``finally``
that should do it. So nobody is trusted to give anything back: a `Hold` knows the function call
that took it, and ends with this call, given back or not. Only a thread itself can see which of
its calls still run; so what it has left is free for others when it takes its next hold, or ends.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

_SUSPENDS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
WAIT = 0.05  # seconds between two looks at whether a call that holds something still runs


class _Life:
    """As long as a thread lives."""


class _ThisThread(threading.local):
    def __init__(self) -> None:
        self._own = _Life()
        self.life = weakref.ref(self._own)
        self.taken: list[Hold] = []  # by this thread, and perhaps not given back


_this_thread = _ThisThread()


class Hold:
    """Something taken by a function call, as long as that call runs and has not given it back.

    Args:
        frame: of the call, ``sys._getframe()``. Of a generator that is a context manager, it is
            the call whose ``with`` block that is; another generator has it until it gives it
            back, since nobody can see from outside whether it will go on.
    """

    __slots__ = ("_frame", "_life", "_next", "_released", "_waiting", "depth", "thread")

    def __init__(self, frame: FrameType) -> None:
        self.thread = threading.get_ident()
        self._life = _this_thread.life
        for other in _this_thread.taken[::-1]:
            if not other.alive:  # given back, or what an interrupted call has left
                _this_thread.taken.remove(other)
                other.release()
            elif other._frame is not None:
                break  # its call runs, and so do those further out, which took the ones before
        self.depth = 1  # blocks of one thread that it stands for
        suspends = frame.f_code.co_flags & _SUSPENDS
        self._frame: FrameType | None = _caller(frame) if suspends else frame
        self._released = False
        self._waiting: list[threading.Lock] = []  # one for each who waits, held until then
        self._next: dict[None, Hold] = {}  # the hold that was taken after this one, if any
        _this_thread.taken.append(self)

    def release(self) -> None:
        """Give it back; others that wait for it go on."""
        if not self._released:
            self._released, self._frame = True, None
            taken = _this_thread.taken
            if taken and taken[-1] is self:
                taken.pop()
            for lock in self._waiting:
                lock.release()

    @property
    def alive(self) -> bool:
        """Whether it was not given back and the call that took it still runs.

        >>> def take():
        ...     return Hold(sys._getframe())
        >>> Hold(sys._getframe()).alive, take().alive
        (True, False)
        """
        wanted = self._frame
        if wanted is None:
            return not self._released
        if self.thread != threading.get_ident():
            # The stack of a thread that runs cannot be gone over: it changes meanwhile. Its holds
            # are looked at by itself, see `__init__`.
            return not (self._released or self._next or self._life() is None)
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame is not wanted:
            frame = frame.f_back
        return frame is not None

    def wait(self) -> None:
        """Wait until it is given back, or the call that took it has ended."""
        lock = threading.Lock()
        lock.acquire()
        self._waiting.append(lock)  # before it looks: what is given back from now on is seen
        while self.alive:
            lock.acquire(timeout=WAIT)


def _caller(frame: FrameType | None) -> FrameType | None:
    """The frame of the function call that something is held by; None if that cannot be known."""
    while frame is not None and frame.f_code.co_flags & _SUSPENDS:
        frame = frame.f_back
        if frame is None or frame.f_code.co_filename != contextlib.__file__:
            return None
        while frame is not None and frame.f_code.co_filename == contextlib.__file__:
            frame = frame.f_back
    return frame


class Exclusive:
    """A lock for one call at a time, which a call that no longer runs cannot keep.

    A ``with`` block waits for it, but for one inside of another in the same thread.

    >>> lock = Exclusive()
    >>> def taken_and_given_back():
    ...     hold = lock.take(sys._getframe())
    ...     again = lock.take(sys._getframe())
    ...     hold.release()
    ...     return hold, again
    >>> hold, again = taken_and_given_back()
    >>> hold is None, again is None
    (False, True)
    """

    def __init__(self) -> None:
        self._last = Hold(sys._getframe())
        self._last.release()

    @property
    def holder(self) -> Hold | None:
        """The hold of the call that has it just now."""
        last = self._end()
        return None if last._released or not last.alive else last

    def _end(self) -> Hold:
        last = self._last
        while last._next:
            last = last._next[None]
        return last

    def take(self, frame: FrameType) -> Hold | None:
        """It, for the call with this frame; None if another call has it."""
        mine, last = Hold(frame), self._last
        while last._released or not last.alive:
            # Of all who found that it is free, one comes next: setdefault is one step.
            following = last._next.setdefault(None, mine)
            if following is mine:
                self._last = mine
                return mine
            last = following
        mine.release()
        return None

    def wait(self, frame: FrameType) -> Hold:
        """It, for the call with this frame, as soon as no other call has it."""
        while (hold := self.take(frame)) is None:
            self._end().wait()
        return hold

    def __enter__(self) -> None:
        frame = sys._getframe(1)
        if self.take(frame) is None:
            holder = self.holder
            if holder is not None and holder.thread == threading.get_ident():
                holder.depth += 1
            else:
                self.wait(frame)

    def __exit__(self, *error: object) -> None:
        holder = self._last
        holder.depth -= 1
        if holder.depth == 0:
            holder.release()


class Access:
    """Arrays that some read while one writes: weights, that predictions read and steps change.

    Writers write one after the other. Who only reads may either exclude them, `reading`, or,
    if reading twice does no harm, go ahead and find out afterwards, `read`, which costs less.
    A writer that writes again and again lets those in that wait.
    """

    def __init__(self) -> None:
        self._writers = Exclusive()
        self._revision = 0  # odd while somebody writes
        self._readers: dict[Hold, None] = {}  # those that writers wait for
        self._asking: dict[Hold, None] = {}  # those that wait for a writer

    def read(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """What ``work(*arguments)`` gives while nobody writes. It may be called twice."""
        before = self._revision
        if not before & 1:
            result = work(*arguments)
            if self._revision == before:
                return result
        with self.reading():
            return work(*arguments)

    def reading(self) -> _Reading:
        """A block in which nobody writes, but this thread."""
        return _Reading(self)

    def writing(self) -> _Writing:
        """A block in which nobody else writes or is `reading`."""
        return _Writing(self)


class _Reading:
    def __init__(self, access: Access) -> None:
        self._access = access

    def __enter__(self) -> None:
        access, frame = self._access, sys._getframe(1)
        mine = self._hold = Hold(frame)
        if any(other.thread == mine.thread and other.alive for other in list(access._readers)):
            access._readers[mine] = None  # within a block of its own, for which writers wait
            return
        if (writer := access._writers.holder) is None or writer.thread == mine.thread:
            access._readers[mine] = None
            if (writer := access._writers.holder) is None or writer.thread == mine.thread:
                return  # whoever writes from now on sees it
            del access._readers[mine]  # somebody began to write, and may not have seen it
        access._asking[mine] = None
        with access._writers:
            access._readers[mine] = None
        del access._asking[mine]

    def __exit__(self, *error: object) -> None:
        self._access._readers.pop(self._hold, None)
        self._hold.release()


class _Writing:
    def __init__(self, access: Access) -> None:
        self._access = access

    def __enter__(self) -> None:
        access, frame = self._access, sys._getframe(1)
        writers = access._writers
        if access._asking or writers.take(frame) is None:
            holder = writers.holder
            if holder is not None and holder.thread == threading.get_ident():
                holder.depth += 1
                return
            for reader in list(access._asking):
                reader.wait()
            writers.wait(frame)
        if not access._revision & 1:  # it is odd if the last writer was interrupted
            access._revision += 1
        for reader in list(access._readers):
            if reader.thread != threading.get_ident():
                reader.wait()

    def __exit__(self, *error: object) -> None:
        access = self._access
        if access._writers._last.depth == 1:
            access._revision += 1
        access._writers.__exit__()
