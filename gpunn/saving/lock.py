"""A folder lock for one run at a time; the system releases it when the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from collections import deque
from typing import Any

# The descriptor of each taken lock; it is closed at the latest when the lock is deleted.
_descriptors: dict[weakref.ref[FolderLock], int] = {}


def _give_back(lock: weakref.ref[FolderLock]) -> None:
    if lock in _descriptors:
        # Both in one C call: Ctrl-C comes before or after it, never in between.
        deque(map(os.close, map(_descriptors.pop, (lock,))), 0)


class FolderLock:
    """A lock that lets one run of one process write to a folder, which it creates if needed.

    Nothing is left in the folder, and nothing stays locked when the process ends, however it ends.
    On a file system without locks (some network file systems) every process gets the lock.

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
        hash(self._own)  # computed now, so that it is known when this lock is deleted

    def __reduce__(self) -> tuple[Any, ...]:  # a copy must take the lock again
        return FolderLock, (self.folder,)

    def take(self, model: Any = None) -> bool:
        """Take the lock; return False if another run has it. When the training of the model is
        over, other runs of this process can take the lock, released or not."""
        for lock in list(_descriptors):
            if lock() is None:  # an interrupt prevented its release
                _give_back(lock)
        if self._own in _descriptors:
            self._model = model
            return True
        while True:
            os.makedirs(self.folder, exist_ok=True)
            try:
                descriptor = _open(self.folder)
            except FileNotFoundError:  # its last owner has just removed it
                continue
            _descriptors[self._own] = descriptor
            if not _lock(descriptor):
                self.release()
                if self._release_finished(model):
                    continue
                return False
            if _is(descriptor, self.folder):
                self._model = model
                return True
            self.release()  # the folder was removed and created again in between

    def _release_finished(self, model: Any) -> bool:
        """Whether a finished run of this process still had the lock; if so, release it."""
        for own in list(_descriptors):
            lock = own()
            if lock is None or lock._model is None:
                continue
            if os.path.realpath(lock.folder) != os.path.realpath(self.folder):
                continue
            if lock._model is model or not lock._model._in_training:
                lock.release()
                return True
        return False

    def remove_folder(self) -> None:
        """Release the lock, and remove the folder if it is empty."""
        if sys.platform == "win32":
            self.release()
        with contextlib.suppress(OSError):
            os.rmdir(self.folder)
        self.release()

    def release(self) -> None:
        """Release the lock."""
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
        return True  # an open file cannot be removed

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
            pass  # the file system has no locks
        return True

    def _is(descriptor: int, folder: str) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(folder))
        except FileNotFoundError:
            return False

    def _clean(folder: str) -> None:
        pass

    def _let_go() -> None:
        """Release the locks in a forked child: inherited ones would outlive their owner."""
        for lock in list(_descriptors):
            _give_back(lock)

    os.register_at_fork(after_in_child=_let_go)
