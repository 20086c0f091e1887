"""Compute the predictions of requests: each alone, or several that arrive together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from gpunn.common.nested import TreeDef

from .bodies import Refused

AT_A_TIME = 2  # requests that are answered at the same time; more would contend for the interpreter
MOST_ROWS = 32  # of a request that is computed beside others: `predict` does not divide them


class Predictor:
    """A model's predictions for several threads, of which a bounded number may wait.

    Without ``gather``, the rows of each request are computed by a ``predict`` of their own. With
    it, the first request waits for that many seconds. Then one ``predict`` computes all that
    arrived and have as many rows, each as a batch of its own. The bits are the same either way.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1, name="price")])
    >>> model.set_weights([[[1], [1]], [0.5]])
    >>> Predictor(model, 8)({"x": np.ones((1, 2))})
    {'price': array([[2.5]], dtype=float32)}
    """

    def __init__(self, model: Any, queue: int, gather: float = 0.0) -> None:
        self._model, self._gather = model, gather
        self._places = threading.BoundedSemaphore(queue)
        # Their states must not pass from one request to the next, nor to one beside it.
        layers = model._with_layers_inside()
        self._stateful = [layer for layer in layers if getattr(layer, "stateful", False)]
        self._active = FairSemaphore(1 if gather or self._stateful else AT_A_TIME)
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests that wait or are answered, while the block runs.

        Without ``gather`` it begins when the requests before it are answered: threads that wait do
        not contend for the interpreter.

        Raises:
            Refused: if no place is free.
        """
        if not self._places.acquire(blocking=False):
            raise Refused(503, "too many requests are waiting: try again later")
        try:
            with nullcontext() if self._gather else self._active:
                yield
        finally:
            self._places.release()

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name; errors are those of ``predict``."""
        if not self._gather:
            return self._predict(inputs)
        job = _Job(inputs)
        with self._lock:
            self._waiting.append(job)
            leads = len(self._waiting) == 1
        if leads:
            time.sleep(self._gather)
            with self._active:  # while others are computed, more requests join
                with self._lock:
                    jobs, self._waiting = self._waiting, []
                self._compute_all(jobs)
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job.outputs

    def _compute_all(self, jobs: list[_Job]) -> None:
        """Compute jobs, those of equal shapes together."""
        alike: dict[Any, list[_Job]] = {}
        for job in jobs:
            form = tuple((x.shape, x.dtype) for x in job.inputs.values())
            alone = self._stateful or not 0 < form[0][0][0] <= MOST_ROWS
            alike.setdefault(job if alone else form, []).append(job)
        for some in alike.values():
            try:
                _compute(self._predict, some)
            except Exception:  # of one of them: the others have an answer
                for job in some:
                    try:
                        _compute(self._predict, [job])
                    except Exception as error:
                        job.error = error
            for job in some:
                job.done.set()

    def _predict(
        self, inputs: dict[str, np.ndarray], batch_size: int | None = None
    ) -> dict[str, np.ndarray]:
        given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
        for layer in self._stateful:
            layer.reset_state()
        found = self._model.predict(given, batch_size=batch_size, verbose=0)
        return dict(zip(self._model.output_names, TreeDef.of(found).unpack(found), strict=True))


class FairSemaphore:
    """A semaphore that lets threads pass in the order of their coming."""

    def __init__(self, free: int) -> None:
        self._free, self._lock = free, threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        called.acquire()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class _Job:
    """A request's inputs and, when it is done, its outputs or an error."""

    def __init__(self, inputs: dict[str, np.ndarray]) -> None:
        self.inputs = inputs
        self.outputs: dict[str, np.ndarray] = {}
        self.error: Exception | None = None
        self.done = threading.Event()


def _compute(predict: Any, jobs: list[_Job]) -> None:
    """Compute jobs of equal shapes, each as a batch: a product's last digits may depend on how many
    rows it has."""
    if len(jobs) == 1:
        jobs[0].outputs = predict(jobs[0].inputs)
        return
    names = jobs[0].inputs
    joined = {name: np.concatenate([job.inputs[name] for job in jobs]) for name in names}
    rows = len(next(iter(joined.values()))) // len(jobs)
    outputs = predict(joined, rows)
    for number, job in enumerate(jobs):
        own = slice(number * rows, (number + 1) * rows)
        job.outputs = {name: values[own] for name, values in outputs.items()}
