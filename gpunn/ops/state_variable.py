"""Variables that stand for the state of an optimizer or metric, which keeps it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.holds import Access

from .trace import current
from .variable import Variable


class StateVariable(Variable):
    """A part of the state of an optimizer or metric, which is read and written where that keeps it.

    Between steps only: a step has a state of its own.
    """

    def __init__(
        self, path: str, shape: tuple[int, ...], dtype: str, read: Callable[[], np.ndarray],
        put: Callable[[np.ndarray], None], access: Access | None = None,
    ) -> None:
        self.path, self._shape, self._dtype, self.access = path, shape, dtype, access or Access()
        self.declared, self.trainable, self._read, self._put = dtype, False, read, put
        self.name = self.own_name = path.rpartition("/")[2]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> str:
        return self._dtype

    def _stored(self) -> np.ndarray:
        return self._read()

    def write(self, numbers: np.ndarray) -> None:
        self._refuse()
        with self.access.writing():
            self._put(numbers)

    def numpy(self) -> np.ndarray:
        self._refuse()
        return self.stored()

    def as_tensor(self) -> Any:
        self._refuse()
        return super().as_tensor()

    def array_on(self, backend: Backend) -> Array:
        self._refuse()
        return backend.upload(self.stored())

    def _refuse(self) -> None:
        if (trace := current()) is not None:
            trace.refuse_values(f"the state {self.path}")

    def __reduce__(self) -> Any:  # a copy is a variable of its own
        return Variable, (self.stored(), self.shape, self.dtype, False, self.name)
