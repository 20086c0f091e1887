"""How the jobs of `gpunn.fit_many` run: a thread for each, and small networks in lockstep."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from gpunn.backends.shared.interrupts import end_if_asked, ended_by, perform
from gpunn.backends.shared.lockstep import LEAST_STEPS, Lockstep
from gpunn.distribution.launch import size
from gpunn.structure.nested import TRAINS

from .jobs import Job

SHORT = 1e-4  # seconds of an epoch below which a thread would mostly wait for Python
OPERATIONS = 4e9  # that a core does in a second, about
STEP = 3e-6  # seconds of a step without its operations, about
WAKING = 0.2  # seconds after which the calling thread looks for Ctrl-C
MOST_WEIGHTS = 2000  # of a network that runs in lockstep with others
TOGETHER = 16  # networks in lockstep: as many as share vectors


def run(jobs: Sequence[Job], threads: int | None) -> None:
    """Train the model of each job.

    Raises:
        Exception: what a `fit` raised besides `NonFiniteLossError`; the other models stop after
            the batches that run, as after Ctrl-C.
        KeyboardInterrupt: likewise.
    """
    most = _most_threads(jobs, threads)
    small, single = list[Job](), list[Job]()
    for job in jobs:
        (small if _is_small(job) else single).append(job)
    if single and (
        most == 1 or len(jobs) == 1 or (threads is None and all(map(_is_short, single)))
    ):
        for job in single:
            job.fit()
        single = []
    ended = np.zeros(1, bool)
    groups = [Group(jobs, Lockstep(len(jobs), ended)) for jobs in _groups(small)]
    groups += [Group([job]) for job in single]
    if groups:
        _in_threads(groups, most, _train, ended)


@dataclass
class Group:
    """A model that trains in a thread of its own, or small ones in lockstep."""

    jobs: Sequence[Job]
    together: Lockstep | None = None


def _train(group: Group) -> None:
    together = group.together
    if together is None:
        return group.jobs[0].fit()

    def fit(member: Group) -> None:
        with together.member():
            member.jobs[0].fit()

    members = [Group([job], together) for job in group.jobs]
    _in_threads(members, len(members), fit, together.stopped)


def _in_threads(
    groups: Sequence[Group], threads: int, train: Callable[[Group], None], ended: np.ndarray
) -> None:
    """Train each group of models in one of some threads.

    After an error of one or Ctrl-C, ``ended`` is true, (1,): no other model begins, and each `fit`
    ends as Ctrl-C ends it.
    """
    waiting, running, over = iter(groups), set[int](), SimpleQueue[None]()
    errors = list[BaseException]()

    def work(number: int) -> None:
        for group in waiting:
            try:
                with ended_by(ended):
                    train(group)
            except BaseException as error:
                ended[0] = True
                errors.append(error)
        running.discard(number)
        over.put(None)

    def begin() -> None:
        for number in range(min(threads, len(groups))):
            running.add(number)
            try:
                Thread(target=work, args=(number,), name=f"fit_many_{number}").start()
            except BaseException:
                running.discard(number)
                raise

    # Python's pools and futures may be left with a wrong lock where Ctrl-C comes to their methods.
    try:
        perform([begin], 1)  # Ctrl-C waits: no thread trains of which nobody knows
        while running:  # not one long wait: another thread may get Ctrl-C
            with suppress(Empty):
                over.get(timeout=WAKING)
            end_if_asked()
    except BaseException as error:
        ended[0] = True
        errors.append(error)
    while running:
        with suppress(Empty):
            over.get(timeout=WAKING)
    for first in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise first  # others were interrupted because of it


def _is_small(job: Job) -> bool:
    """Whether a model trains in lockstep with others like it. This depends on the job alone: so do
    the results, to the last bit."""
    model, arguments = job.model, job.arguments
    if not model.built or model._replaces_steps(TRAINS):
        return False
    if model.backend.name != "compiled" or model.count_params() > MOST_WEIGHTS:
        return False
    steps = math.ceil(job.row_count / (arguments["batch_size"] or 32))
    validates = arguments["validation_split"] or any(
        given is not None for given in (job.validation_rows, arguments["validation_data"])
    )
    if not (validates or job.callbacks):  # several epochs are one run
        steps *= max(1, arguments["epochs"] - arguments["initial_epoch"] - 1)
    return steps >= LEAST_STEPS


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Divide small networks into groups of equal ones; those of equal rates side by side."""
    keyed = [(_kind(job), _rate(job), job.number, job) for job in jobs]
    keyed.sort(key=itemgetter(0, 1, 2))
    found = []
    for _, of_kind in groupby(keyed, itemgetter(0)):
        each = [job for *_, job in of_kind]
        found += [each[k : k + TOGETHER] for k in range(0, len(each), TOGETHER)]
    return found


def _kind(job: Job) -> tuple[Hashable, ...]:
    model = job.model
    layers = tuple(type(layer).__name__ for layer in model._with_layers_inside())
    shapes = tuple(str(weight.shape) for weight in model.weights)
    return layers, shapes, type(model.optimizer).__name__, job.row_count


def _rate(job: Job) -> float:
    rate: Any = job.model.optimizer and job.model.optimizer.learning_rate
    return float(rate) if isinstance(rate, (int, float, np.floating)) else 0.0


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
    steps = job.row_count / (job.arguments.get("batch_size") or 32)
    operations = 6 * job.model.count_params() * job.row_count
    return steps * STEP + operations / OPERATIONS < SHORT
