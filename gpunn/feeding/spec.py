"""What a model wants of data: shapes and dtypes of its inputs and targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gpunn.backends.contract.backend import Backend
from gpunn.core.plan import HostPart


@dataclass(frozen=True)
class TargetSpec:
    """What a compiled model wants for one output: its shape, and the kind of targets.

    Attributes:
        name: of the output; empty where there is only one.
        output_shape: of one sample.
        loss: that compares it with the target; None for an output that is left alone.
        exact: whether integers among the targets must not be rounded: a metric of a user's reads
            them, as a loss with a `call` does.
    """

    name: str
    output_shape: tuple[int, ...]
    loss: Any = None
    exact: bool = False

    @property
    def rows_per_sample(self) -> int:
        """A prediction of more than one axis has several rows, as the loss counts them; to a loss
        with a `call`, a sample is one."""
        return 1 if self.any_shape else self.steps

    @property
    def steps(self) -> int:
        """How many entries a sample of the predictions has along all axes but the last: so many
        weights it may have."""
        return math.prod(self.output_shape[:-1])

    @property
    def any_shape(self) -> bool:
        """Whether the loss takes targets of any shape."""
        return self.loss is not None and self.loss.has_call

    @property
    def target_shape(self) -> tuple[int, ...]:
        if self.any_shape and self.loss.target_sample is not None:
            return self.loss.target_sample
        sparse = self.loss is not None and self.loss.sparse
        return self.output_shape[:-1] if sparse else self.output_shape

    def target_dtype(self, dtype: str) -> str:
        """What targets are kept in, in a model of this dtype."""
        return "int32" if self.loss is not None and self.loss.sparse else dtype


@dataclass(frozen=True)
class Spec:
    """What a model wants: shapes of one sample and dtype of the inputs, and targets.

    Attributes:
        inputs: what messages call each input, "x" or "x['left']", and its shape.
        targets: of each output.
        names: of the inputs.
        eager: whether what a user writes is called in each step.
        given: as ``inputs``, of what users give, if that differs: ``inputs`` are what steps read.
        host: what makes these of those; None where they are the same.
        by_name: whether inputs were declared by their names.
        integers: of each of ``inputs``, whether steps read integers; else floats.
        exact: of each, whether it must not lose digits of integers as floats: what a user has
            written reads them.
    """

    backend: Backend
    dtype: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    targets: tuple[TargetSpec, ...]
    names: tuple[str, ...] = ("x",)
    eager: bool = False
    given: tuple[tuple[str, tuple[int, ...]], ...] = ()
    host: HostPart | None = None
    by_name: bool = False
    integers: tuple[bool, ...] = ()
    exact: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.given:
            object.__setattr__(self, "given", self.inputs)
        for name in ("integers", "exact"):
            if not getattr(self, name):
                object.__setattr__(self, name, (False,) * len(self.inputs))

    def dtype_of(self, name: str) -> str:
        """What steps read an array of `Rows` as, by its name: ``"int32"``, or floats."""
        kind, _, number = name.partition("_")
        return "int32" if kind == "x" and self.integers[int(number or 0)] else self.dtype
