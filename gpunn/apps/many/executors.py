"""Trials in other threads, processes and machines, by executors that exist.

The plan of a search is written to a folder once, and each process that gets trials reads it there
once. A process that does not see the folder, on another machine, says so, and gets the plan itself.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from glob import escape, glob
from typing import Any

import numpy as np

from gpunn.backends import used_within
from gpunn.backends.shared.interrupts import ended_by
from gpunn.common.config import floatx, set_floatx
from gpunn.saving.lock import FolderLock

from .engines import WAKING
from .trials import Plan, Result, Trial

CHUNKS = 4  # for each worker, at least
MOST = 64  # trials in a chunk
SMALL = 1 << 26  # bytes of an array that a process reads; a larger one is mapped
# What executors raise if a process dies, by the name of the class: they are not imported.
LOST = ("BrokenProcessPool", "TerminatedWorkerError", "KilledWorker", "WorkerCrashedError")
PREFIX = "gpunn-search-"
OLD = 600  # seconds after which a folder that no process has locked is removed


@dataclass
class _Known:
    """A plan that this process has.

    Attributes:
        ended: whether nobody waits for its trials any more, (1,).
        folder: where it was read, which is there until then.
    """

    plan: Plan
    ended: np.ndarray = field(default_factory=lambda: np.zeros(1, bool))
    folder: str = ""

    def look(self, result: Result | None = None) -> None:
        """Set ``ended`` if the folder is gone."""
        self.ended |= bool(self.folder) and not os.path.isdir(self.folder)


_plans: dict[str, _Known] = {}  # of this process


class Sent:
    """A plan for other processes: a ``with`` block in which they can get it.

    Args:
        writes: whether it is written; threads of this process find it in memory.

    Raises:
        TypeError: if it cannot be pickled.
    """

    def __init__(self, plan: Plan, writes: bool) -> None:
        self.key = uuid.uuid4().hex
        self.folder = os.path.join(tempfile.gettempdir(), PREFIX + self.key) if writes else ""
        self._lock = FolderLock(self.folder)
        self._plan, self._known = plan, _Known(plan, folder=self.folder)

    def __enter__(self) -> Sent:
        _plans[self.key] = self._known
        if self.folder:
            _remove_left()
            try:
                self._write()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *error: object) -> None:
        self._known.ended[0] = True
        _plans.pop(self.key, None)
        if self.folder:
            _remove(self.folder, self._lock)

    def _write(self) -> None:
        os.mkdir(self.folder, 0o700)  # others may not read the data
        self._lock.take()
        buffers: list[pickle.PickleBuffer] = []
        text = _pickled(self._plan, buffers.append)
        for k, buffer in enumerate(buffers):
            with open(os.path.join(self.folder, f"{k}.bin"), "wb") as file:
                file.write(buffer.raw())
        with open(os.path.join(self.folder, "plan.pickle"), "wb") as file:
            file.write(text)

    @property
    def whole(self) -> bytes:
        """The plan, for a process that does not see the folder."""
        return _pickled(self._plan, None)


def _remove(folder: str, lock: FolderLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.remove_folder()


def _remove_left() -> None:
    """Remove the folders of searches whose process was killed."""
    for folder in glob(os.path.join(escape(tempfile.gettempdir()), f"{PREFIX}*")):
        with suppress(OSError):  # of another user, or just removed
            lock = FolderLock(folder)
            if time.time() - os.stat(folder).st_mtime > OLD and lock.take():
                _remove(folder, lock)


def _pickled(plan: Plan, keep: Callable[[pickle.PickleBuffer], Any] | None) -> bytes:
    try:
        return pickle.dumps(plan, protocol=5, buffer_callback=keep)
    except Exception as error:
        try:
            import cloudpickle  # type: ignore[import-untyped]
        except ImportError:
            raise TypeError(
                f"The search cannot be sent to other processes ({error}). Define build in a "
                f"module, or install cloudpickle."
            ) from None
        return cloudpickle.dumps(plan, protocol=5, buffer_callback=keep)


def _read(folder: str) -> Plan:
    """Read a plan; its arrays share the memory of all processes that map them."""
    with open(os.path.join(folder, "plan.pickle"), "rb") as file:
        text = file.read()
    buffers: list[Any] = []
    while os.path.exists(name := os.path.join(folder, f"{len(buffers)}.bin")):
        if os.path.getsize(name) > SMALL:
            buffers.append(np.memmap(name, np.uint8, "r"))
        else:
            with open(name, "rb") as file:
                buffers.append(file.read())
    return pickle.loads(text, buffers=buffers)


def work(
    key: str, folder: str, home: int, trials: Sequence[Trial], digests: bool, whole: bytes | None
) -> list[Result] | None:
    """Train the models of trials in this process; return None if it cannot get the plan.

    Args:
        home: the process that searches.
    """
    known = _plans.get(key)
    if known is None:
        if whole is not None:
            known = _Known(pickle.loads(whole))
        else:
            try:
                known = _Known(_read(folder), folder=folder)
            except FileNotFoundError:
                return None
        _plans.clear()  # those of earlier searches
        _plans[key] = known
    known.look()
    plan = replace(known.plan, threads=1)  # as many workers as cores train already
    with ended_by(known.ended):
        if os.getpid() == home:
            return plan.train(trials, digests=digests)
        import threadpoolctl

        before = floatx()
        try:
            set_floatx(plan.floatx)
            with used_within(plan.backend), threadpoolctl.threadpool_limits(1, "blas"):
                return plan.train(trials, known.look, digests)
        except Exception as error:
            _check_sendable(error)
            raise
        finally:
            set_floatx(before)


def _check_sendable(error: Exception) -> None:
    """Raise the text of an error that no other process could read: it would seem to have died."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        raise told from error


def over_executor(
    executor: Any, plan: Plan, trials: Sequence[Trial], digests: bool
) -> Iterator[list[Result]]:
    """Yield the results of trials as they come; a trial whose process died twice has an error.

    Raises:
        TypeError: for something that is no executor.
        Exception: of a build or a training.
    """
    if hasattr(executor, "get_executor"):  # a client of Dask
        executor = executor.get_executor()
    joblib = callable(executor) and hasattr(executor, "n_jobs")
    if isinstance(executor, type) or not (joblib or callable(getattr(executor, "submit", None))):
        raise TypeError(
            f"executor must be one of concurrent.futures, a joblib.Parallel, a client of Dask or "
            f"an mpi4py.futures.MPIPoolExecutor; got {executor!r:.80}."
        )
    engine = _Joblib(executor) if joblib else _Futures(executor)
    writes = not isinstance(executor, ThreadPoolExecutor)
    with closing(engine), Sent(plan, writes) as sent:
        arguments = sent.key, sent.folder, os.getpid()
        waiting = _chunks(trials, engine.workers)
        attempts: dict[int, int] = {}
        alone: list[list[Trial]] = []
        while waiting or alone:
            now = waiting or [alone.pop()]
            waiting = []
            for chunk, found in engine.run(now, lambda c: (*arguments, c, digests, None)):
                if isinstance(found, BaseException):
                    for trial in chunk:
                        attempts[trial.number] = attempts.get(trial.number, 0) + 1
                        if attempts[trial.number] < 2 or len(chunk) > 1:
                            alone.append([trial])
                        else:
                            why = "The process that trained it died, twice."
                            yield [Result(trial, float("nan"), {}, why)]
                    continue
                for whole in (b"", sent.whole) if found is None else ():  # another machine
                    again = *arguments, chunk, digests, whole or None
                    ((_, found),) = engine.run([chunk], partial(_given, again))
                    if found is not None:  # perhaps it has got the plan with another chunk
                        break
                yield found


def _given(arguments: tuple[Any, ...], chunk: list[Trial]) -> tuple[Any, ...]:
    return arguments


def _is_lost(error: BaseException) -> bool:
    return any(kind.__name__ in LOST for kind in type(error).__mro__)


def _chunks(trials: Sequence[Trial], workers: int) -> list[list[Trial]]:
    """Divide trials of the same number of epochs into chunks for some workers."""
    size = min(MOST, max(1, -(-len(trials) // (CHUNKS * workers))))
    return [list(trials[k : k + size]) for k in range(0, len(trials), size)]


Found = tuple[list[Trial], Any]
Arguments = Callable[[list[Trial]], tuple[Any, ...]]


class _Futures:
    """An executor with ``submit``; one of processes is replaced if a process dies."""

    def __init__(self, executor: Any) -> None:
        self._executor, self._own = executor, False
        count = getattr(executor, "_max_workers", None) or getattr(executor, "num_workers", None)
        self.workers = int(count or os.cpu_count() or 1)

    def run(self, chunks: Sequence[list[Trial]], arguments: Arguments) -> Iterator[Found]:
        """Yield each chunk with its results, None, or the error of a process that died."""
        left, running = list(chunks)[::-1], dict[Any, list[Trial]]()
        try:
            while left or running:
                # No more than they need: a process that dies takes with it what was handed over.
                while left and len(running) < 2 * self.workers:
                    try:
                        future = self._executor.submit(work, *arguments(left[-1]))
                    except BrokenProcessPool:
                        if running:
                            break  # which say so too
                        self._replace()
                    else:
                        running[future] = left.pop()
                done, _ = wait(running, WAKING, FIRST_COMPLETED)
                broken = False
                for future in done:
                    chunk, error = running.pop(future), future.exception()
                    if error is not None and not _is_lost(error):
                        raise error
                    broken = broken or isinstance(error, BrokenProcessPool)
                    yield chunk, future.result() if error is None else error
                if broken:
                    yield from ((chunk, BrokenProcessPool()) for chunk in running.values())
                    running.clear()
                    self._replace()
        finally:
            for future in running:
                future.cancel()

    def _replace(self) -> None:
        """Begin with new processes in place of those of a broken pool."""
        old = self._executor
        if not isinstance(old, ProcessPoolExecutor):
            raise BrokenProcessPool("A worker died, and so did its executor: make a new one.")
        names = "mp_context", "initializer", "initargs"
        of: dict[str, Any] = {name: getattr(old, f"_{name}", None) for name in names}
        of["initargs"] = of["initargs"] or ()
        self.close()
        self._executor, self._own = ProcessPoolExecutor(self.workers, **of), True

    def close(self) -> None:
        """End the processes that replaced the given ones."""
        if self._own:
            self._executor.shutdown(cancel_futures=True)


class _Joblib:
    """A ``joblib.Parallel``, called with all chunks."""

    def __init__(self, parallel: Any) -> None:
        self._parallel = parallel
        count = int(parallel.n_jobs or 1)
        self.workers = count if count > 0 else max(1, (os.cpu_count() or 1) + 1 + count)

    def run(self, chunks: Sequence[list[Trial]], arguments: Arguments) -> Iterator[Found]:
        """Yield each chunk with its results, None, or the error of a process that died."""
        left = {chunk[0].number: chunk for chunk in chunks}
        calls: list[Any] = [(_named, (k, *arguments(chunk)), {}) for k, chunk in left.items()]
        try:
            for number, found in self._parallel(calls):
                yield left.pop(number), found
        except Exception as error:
            if not _is_lost(error):
                raise
            yield from ((chunk, error) for chunk in left.values())

    def close(self) -> None:
        """Do nothing: the processes are joblib's."""


def _named(number: int, *arguments: Any) -> tuple[int, list[Result] | None]:
    return number, work(*arguments)
