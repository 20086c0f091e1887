"""Locks that walk stack frames, to be safe from interrupts at any instruction.

Ctrl-C can raise an exception between any two instructions, even after a lock is taken and before
the ``try`` whose ``finally`` would release it. So no lock here depends on being released. A `Hold`
remembers the frame of the function call that took it, and ends when that call ends, released or
not: the lock walks the thread's frames to see whether the call still runs. Only a thread itself
can see which of its calls still run. So a lock that an interrupted call has not released becomes
free when its thread takes its next hold, or ends.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

_SUSPENDS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
WAIT = 0.05  # seconds between checks whether a call that holds a lock still runs


class _Life:
    """An object that exists as long as its thread."""


class _ThisThread(threading.local):
    def __init__(self) -> None:
        self._own = _Life()
        self.life = weakref.ref(self._own)
        self.taken: list[Hold] = []  # holds of this thread that may not be released


_this_thread = _ThisThread()


class Hold:
    """A hold of a function call, which lasts until it is released or the call ends.

    Args:
        frame: The frame of the call, ``sys._getframe()``. For a generator used as a context
            manager, the holding call is the one with the ``with`` block. Any other generator
            keeps the hold until it releases it, since it is not visible from outside whether
            the generator will be resumed.
    """

    __slots__ = ("_frame", "_life", "_next", "_released", "_waiting", "depth", "thread")

    def __init__(self, frame: FrameType) -> None:
        self.thread = threading.get_ident()
        self._life = _this_thread.life
        for other in _this_thread.taken[::-1]:
            if other._frame is not frame and not other.alive:  # released or interrupted
                _this_thread.taken.remove(other)
                other.release()
            elif other._frame is not None:
                # Its call still runs, and so do the outer calls, which took the earlier holds.
                break
        self.depth = 1  # nested ``with`` blocks of its thread that share this hold
        suspends = frame.f_code.co_flags & _SUSPENDS
        self._frame: FrameType | None = _caller(frame) if suspends else frame
        self._released = False
        self._waiting: list[threading.Lock] = []  # a locked one for each waiting thread
        self._next: dict[None, Hold] = {}  # the hold taken after this one, if any
        _this_thread.taken.append(self)

    def release(self) -> None:
        """End the hold; waiting threads continue."""
        if not self._released:
            self._released, self._frame = True, None
            taken = _this_thread.taken
            if taken and taken[-1] is self:
                taken.pop()
            for lock in self._waiting:
                lock.release()

    @property
    def alive(self) -> bool:
        """Whether the hold was not released and the call that took it still runs.

        >>> def take():
        ...     return Hold(sys._getframe())
        >>> Hold(sys._getframe()).alive, take().alive
        (True, False)
        """
        wanted = self._frame
        if wanted is None:
            return not self._released
        if self.thread != threading.get_ident():
            # The stack of another thread changes while it is read. So each thread checks its
            # own holds, see `__init__`.
            return not (self._released or self._next or self._life() is None)
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame is not wanted:
            frame = frame.f_back
        return frame is not None

    def wait(self) -> None:
        """Wait until the hold is released, or the call that took it ends."""
        lock = threading.Lock()
        lock.acquire()
        self._waiting.append(lock)  # before the check, so that no later release is missed
        while self.alive:
            lock.acquire(timeout=WAIT)


def _caller(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the function call that holds a lock; None if it cannot be known."""
    while frame is not None and frame.f_code.co_flags & _SUSPENDS:
        frame = frame.f_back
        if frame is None or frame.f_code.co_filename != contextlib.__file__:
            return None
        while frame is not None and frame.f_code.co_filename == contextlib.__file__:
            frame = frame.f_back
    return frame


class Exclusive:
    """A lock for one call at a time; a call that has ended does not keep it.

    A ``with`` block waits for the lock, unless an outer block of its thread has it already.

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

    def __reduce__(self) -> tuple[Any, ...]:  # a copy of the guarded object has its own lock
        return Exclusive, ()

    @property
    def holder(self) -> Hold | None:
        """The hold of the call that has the lock; None if it is free."""
        last = self._end()
        return None if last._released or not last.alive else last

    def _end(self) -> Hold:
        last = self._last
        while last._next:
            last = last._next[None]
        return last

    def take(self, frame: FrameType) -> Hold | None:
        """Take the lock for the call with this frame; None if another call has it."""
        mine, last = Hold(frame), self._last
        while last._released or not last.alive:
            # Several threads may find it free. setdefault is atomic, so exactly one is next.
            following = last._next.setdefault(None, mine)
            if following is mine:
                self._last = mine
                return mine
            last = following
        mine.release()
        return None

    def wait(self, frame: FrameType) -> Hold:
        """Take the lock for the call with this frame as soon as no other call has it."""
        while (hold := self.take(frame)) is None:
            self._end().wait()
        return hold

    def __enter__(self) -> None:
        self.enter(sys._getframe(1))

    def enter(self, frame: FrameType) -> bool:
        """Begin a ``with`` block of the call with this frame; `__exit__` ends it.

        Returns whether it is the outermost block of its thread.
        """
        if self.take(frame) is None:
            holder = self.holder
            if holder is not None and holder.thread == threading.get_ident():
                holder.depth += 1
                return False
            self.wait(frame)
        return True

    def __exit__(self, *error: object) -> None:
        holder = self._last
        holder.depth -= 1
        if holder.depth == 0:
            holder.release()


class Access:
    """A readers-writer lock for arrays, such as weights, which predictions read and training
    steps write.

    Writers write one after the other. A reader may exclude them with `reading`. Or it uses
    `read`, which costs less: it reads at once, checks afterwards whether a writer wrote
    meanwhile, and if so reads again. A writer that writes repeatedly lets waiting readers in.
    Whoever needs several at once takes them by `with_all`.
    """

    _numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self._numbers)  # several are taken in the order of their numbers
        self._writers = Exclusive()
        self._revision = 0  # odd while a writer writes
        self._readers: dict[Hold, None] = {}  # readers that writers wait for
        self._asking: dict[Hold, None] = {}  # readers that wait for a writer

    def __reduce__(self) -> tuple[Any, ...]:  # see Exclusive
        return Access, ()

    @property
    def revision(self) -> int:
        """A number that is another one after each write."""
        return self._revision

    def read(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Return ``work(*arguments)`` computed from arrays that no writer changed meanwhile.

        ``work`` may be called twice.
        """
        before = self._revision
        if not before & 1:
            result = work(*arguments)
            if self._revision == before:
                return result
        with self.reading():
            return work(*arguments)

    def reading(self) -> _Reading:
        """Return a ``with`` block during which no other thread writes."""
        return _Reading(self)

    def writing(self) -> _Writing:
        """Return a ``with`` block during which no other thread writes or is `reading`."""
        return _Writing(self)


def in_order(wanted: Iterable[tuple[Access, bool]]) -> list[tuple[Access, bool]]:
    """Return each access once, in the order in which all threads take them, and whether anyone
    wants to write.

    >>> one, two = Access(), Access()
    >>> found = in_order([(two, False), (one, False), (two, True)])
    >>> found == [(one, False), (two, True)]
    True
    """
    found: dict[int, tuple[Access, bool]] = {}
    for access, writes in wanted:
        found[access.number] = access, writes or found.get(access.number, (access, False))[1]
    return [found[number] for number in sorted(found)]


def with_all(wanted: Sequence[tuple[Access, bool]], work: Callable[[], Result]) -> Result:
    """Return ``work()``; meanwhile no other thread writes the arrays, nor reads those that are
    written here (True). ``wanted`` is `in_order`.

    Each block is a call's, with which its hold ends: an `ExitStack` would end it at once.
    """
    if not wanted:
        return work()
    (access, writes), *others = wanted
    with access.writing() if writes else access.reading():
        return with_all(others, work)


class _Reading:
    def __init__(self, access: Access) -> None:
        self._access = access

    def __enter__(self) -> None:
        access, frame = self._access, sys._getframe(1)
        mine = self._hold = Hold(frame)
        readers = list(access._readers)
        if readers and any(other.thread == mine.thread and other.alive for other in readers):
            access._readers[mine] = None  # inside another `reading` block: writers wait already
            return
        if (writer := access._writers.holder) is None or writer.thread == mine.thread:
            access._readers[mine] = None
            if (writer := access._writers.holder) is None or writer.thread == mine.thread:
                return  # every writer from now on sees this reader
            # A writer has begun. It may not have seen this reader; if it has, it waits for it.
            del access._readers[mine]
            mine.release()
            mine = self._hold = Hold(frame)
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
        if not access._revision & 1:  # already odd if the last writer was interrupted
            access._revision += 1
        for reader in list(access._readers):
            if reader.thread != threading.get_ident():
                reader.wait()

    def __exit__(self, *error: object) -> None:
        access = self._access
        if access._writers._last.depth == 1:
            access._revision += 1
        access._writers.__exit__()
