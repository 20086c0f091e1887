"""`Runs`: the programs of an optimizer's step in storages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import Control
from gpunn.common import registry
from gpunn.core.by_rows import RowGradient, updating
from gpunn.core.settings import Cached, Settings
from gpunn.core.storage import ParameterStorage


class Runs:
    """An optimizer's step in some storages, which may be on several backends.

    Each backend has a control block: the optimizer's, or a copy.

    Attributes:
        backends: of the storages.
        control: the optimizer's control block, which is on one of them.
    """

    def __init__(self, optimizer: Any, storages: Sequence[ParameterStorage]) -> None:
        self._optimizer, self._storages = optimizer, storages
        roots = {id(storage.backend.root): storage.backend for storage in storages}
        self.backends = list(roots.values())
        now: Control | None = optimizer._control
        own = None if now is None else roots.get(id(now.backend.root))
        self.control: Control = optimizer.control_on(own or self.backends[0])
        self._controls = [
            self.control if backend.root is self.control.backend.root else Control(backend.root)
            for backend in self.backends
        ]
        self._no_loss = [backend.zeros((1,), np.float64) for backend in self.backends]
        self._made = Cached(lambda: Settings(self._parts), self._programs)

    @property
    def by_host(self) -> bool:
        """Whether the host limits the norm, which is over the gradients of several storages."""
        return len(self._storages) > 1 and bool(self._optimizer.global_clipnorm)

    @property
    def is_ours(self) -> bool:
        """Whether only parts of the framework's own run in it."""
        return self._made.get()[1]

    def __call__(self) -> None:
        """Make the step."""
        for control in self._controls:
            if control is not self.control:
                control.restore(self.control.get())
                control.backend.write(control.rates, self.control.backend.read(self.control.rates))
        for run in self._made.get()[0]:
            run()

    def step(
        self, backend: Backend, counts: bool, gradients: Mapping[int, RowGradient]
    ) -> Callable[[], None]:
        """Return what issues the operations of a step on the backend of all storages, and counts it
        if asked to; ``gradients``: those that are written by rows, by the `id` of parameters."""
        updates: dict[int, Any] = {}
        for storage in self._storages:
            if found := [gradients[id(p)] for p in storage.trained if id(p) in gradients]:
                updates[id(storage)] = updating(self._optimizer, storage, found, backend)

        def operations(storage: ParameterStorage, *how: Any) -> None:
            updates.get(id(storage), partial(self._optimizer.step, storage))(*how)

        return partial(self._issue, 0, backend, operations, counts)

    def _issue(self, number: int, backend: Backend, operations: Any, counts: bool) -> None:
        """Issue operations in the storages on a backend, the one of this number."""
        control = self._controls[number]
        for storage in self._storages:
            if storage.backend.root is backend.root:
                operations(storage, control, backend)
        if counts:
            backend.advance(control, 0, self._no_loss[number])

    @property
    def _parts(self) -> list[Any]:
        optimizer = self._optimizer
        constraints = [p.constraint for a in self._storages for p in a.trained if p.constraint]
        return [optimizer, *optimizer.schedules.values(), *constraints]

    def _programs(self) -> tuple[list[Callable[[], None]], bool]:
        """Return the programs of the step, and whether they are the framework's own."""
        optimizer = self._optimizer
        traceable = all(map(registry.is_traceable, self._parts))
        if not self.by_host:
            runs = self._runs_of(optimizer.step, True, traceable)
        else:
            runs = [
                *self._runs_of(optimizer._gather, False, traceable),
                partial(limit_norm, self._storages, optimizer.global_clipnorm),
                *self._runs_of(optimizer._change, True, traceable),
            ]
        return runs, traceable

    def _runs_of(self, operations: Any, counts: bool, traceable: bool) -> list[Callable[[], None]]:
        made: list[Callable[[], None]] = []
        for number, of in enumerate(self.backends):
            backend = of.isolated()
            issue = partial(self._issue, number, backend, operations, counts)
            made.append(partial(backend.program(issue, traceable).run, 1))
        return made


def limit_norm(storages: Sequence[ParameterStorage], limit: float) -> None:
    """Limit the norm of all gradients of these storages, on the host."""
    found = [(storage.backend, g.gradients) for storage in storages for g in storage.groups]
    values = [backend.read(array) for backend, array in found]
    norm = np.sqrt(sum(np.sum(np.square(v, dtype=np.float64)) for v in values))
    factor = limit / np.maximum(norm, limit)
    for (backend, array), v in zip(found, values, strict=True):
        backend.write(array, v * factor.astype(v.dtype))
