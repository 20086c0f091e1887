"""A lock on a folder, for one run at a time; the system releases it when the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from collections import deque
from typing import Any

# The descriptor of each lock that is taken; it is closed at the latest when the lock is gone.
_held: dict[weakref.ref[FolderLock], int] = {}


def _give_back(lock: weakref.ref[FolderLock]) -> None:
    if lock in _held:
        # Both in one call of C: Ctrl-C comes before or after it, never in between.
        deque(map(os.close, map(_held.pop, (lock,))), 0)


class FolderLock:
    """The right to write into a folder, of one process and in it of one run.

    Nothing is left in the folder, and nothing stays locked when the process ends, however it
    does. On a file system without locks (some network file systems) every process gets the right.

    Args:
        folder: its path; it is made if it is not there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     one, other = FolderLock(folder), FolderLock(folder)
    ...     first = one.take(), one.take(), other.take()
    ...     one.release()
    ...     first, other.take(), other.release()
    ((True, True, False), True, None)
    """

    _model: Any = None

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._own = weakref.ref(self, _give_back)
        hash(self._own)  # computed now, and known when this lock is gone

    def __reduce__(self) -> tuple[Any, ...]:  # a copy has to take it anew
        return FolderLock, (self.folder,)

    def take(self, model: Any = None) -> bool:
        """Take the lock; False if another run has it.

        Args:
            model: the model that is trained meanwhile. When its training is over, other runs of
                this process can take the lock, released or not.
        """
        for lock in list(_held):
            if lock() is None:  # an interrupt prevented its release
                _give_back(lock)
        if self._own in _held:
            self._model = model
            return True
        while True:
            os.makedirs(self.folder, exist_ok=True)
            try:
                descriptor = _open(self.folder)
            except FileNotFoundError:  # its last owner has just removed it
                continue
            _held[self._own] = descriptor
            if not _lock(descriptor):
                self.release()
                if self._is_left_behind(model):
                    continue
                return False
            if _is(descriptor, self.folder):
                self._model = model
                return True
            self.release()  # it was removed in between, and is another one now

    def _is_left_behind(self, model: Any) -> bool:
        """Whether a run of this process that is over still had the lock; it is released then."""
        for own in list(_held):
            lock = own()
            if lock is None or lock._model is None:
                continue
            if os.path.realpath(lock.folder) != os.path.realpath(self.folder):
                continue
            if lock._model is model or not lock._model.in_training:
                lock.release()
                return True
        return False

    def remove_folder(self) -> None:
        """Give it back, and remove the folder if there is nothing in it."""
        if sys.platform == "win32":
            self.release()
        with contextlib.suppress(OSError):
            os.rmdir(self.folder)
        self.release()

    def release(self) -> None:
        """Give it back."""
        self._model = None
        _give_back(self._own)
        _clean(self.folder)


if sys.platform == "win32":
    import msvcrt

    _NAME = ".lock"

    def _open(folder: str) -> int:
        return os.open(os.path.join(folder, _NAME), os.O_RDWR | os.O_CREAT)

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _is(descriptor: int, folder: str) -> bool:
        return True  # what is open cannot be removed

    def _clean(folder: str) -> None:
        with contextlib.suppress(OSError):  # another process has it open
            os.remove(os.path.join(folder, _NAME))

else:
    import fcntl

    def _open(folder: str) -> int:
        return os.open(folder, os.O_RDONLY)

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # there are no locks here
        return True

    def _is(descriptor: int, folder: str) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(folder))
        except FileNotFoundError:
            return False

    def _clean(folder: str) -> None:
        pass

    def _let_go() -> None:
        """In a child that was forked: what it has inherited would outlive the owner."""
        for lock in list(_held):
            _give_back(lock)

    os.register_at_fork(after_in_child=_let_go)
