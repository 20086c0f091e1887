"""How the jobs of `gpunn.fit_many` run: groups of them in one program, the others in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

import numpy as np

from gpunn.distribution.launch import size

from .jobs import Job

# Functions that train some of the jobs together, with at most so many threads, and return the
# others. They set `history` of a job and call its `end`, with the error of one that diverged; and
# they leave all models in a state to train on, whatever they raise.
TOGETHER: list[Callable[[Sequence[Job], int], list[Job]]] = []

SHORT = 1e-4  # seconds of an epoch below which a thread would mostly wait for Python
OPERATIONS = 4e9  # that a core does in a second, about
STEP = 3e-6  # seconds of a step without its operations, about
AGAIN = 0.02  # seconds between two requests to stop


def run(jobs: Sequence[Job], threads: int | None) -> None:
    """Train the model of each job.

    Raises:
        Exception: what a `fit` raised besides `NonFiniteLossError`; the other models stop after
            the batches that run.
        KeyboardInterrupt: likewise.
    """
    most = _most_threads(jobs, threads)
    rest = list(jobs)
    for engine in TOGETHER:
        rest = engine(rest, most)
    if most == 1 or len(rest) == 1 or (threads is None and all(map(_is_short, rest))):
        for job in rest:
            job.fit()
    else:
        _in_threads(rest, most)


def _in_threads(jobs: Sequence[Job], threads: int) -> None:
    """Train each model in one of some threads."""
    pool = ThreadPoolExecutor(min(threads, len(jobs)), thread_name_prefix="fit_many")
    futures: list[Future[None]] = []
    try:
        futures += [pool.submit(job.fit) for job in jobs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    except BaseException:  # Ctrl-C
        _stop(jobs, futures)
        raise
    else:
        if any(future.exception() for future in done):
            _stop(jobs, futures)
    finally:
        pool.shutdown(cancel_futures=True)
    for future in futures:
        if not future.cancelled():
            future.result()


def _stop(jobs: Sequence[Job], futures: Sequence[Future[None]]) -> None:
    """Let no other model begin, and those in training stop after the batches that run."""
    for future in futures:
        future.cancel()
    while True:
        running = [k for k, future in enumerate(futures) if not future.done()]
        for k in running:  # again and again: a `fit` that begins has reset it
            jobs[k].model.stop_training = True
        if not running or not wait([futures[k] for k in running], AGAIN).not_done:
            return


def _most_threads(jobs: Sequence[Job], threads: int | None) -> int:
    """Return how many models train at once: ranks have to do so in the same order, and a GPU
    trains one at a time."""
    if size() > 1 or any(job.model.backend.xp is not np for job in jobs):
        return 1
    if threads is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_short(job: Job) -> bool:
    """Whether epochs are so short that threads would mostly wait for each other."""
    if not job.model.built:
        return False
    steps = job.row_count / (job.arguments["batch_size"] or 32)
    operations = 6 * job.model.count_params() * job.row_count
    return steps * STEP + operations / OPERATIONS < SHORT
