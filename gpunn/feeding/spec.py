"""Specs of the data that a model takes: shapes and dtypes of its inputs and targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn.backends.contract.backend import Backend
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.nested import TreeDef
from gpunn.core.plan import HostPart

Resolve = Callable[[tuple[tuple[int, ...], ...]], "Spec"]
"""Returns the spec for samples of these shapes, one for each input, some of whose axes may have any
length."""


@dataclass(frozen=True)
class TargetSpec:
    """The spec of one output of a compiled model: its shape and the kind of its targets.

    Attributes:
        name: Name of the output; empty for a single output.
        output_shape: Shape of one sample; (1,) if it is a number, unless the loss takes any shape.
        exact: Whether integers among the targets must not be rounded, since a custom metric reads
            them, as a loss with a `call` does.
        varies: Whether the number of steps differs between batches. As in Keras, logs then show
            means over samples, each of which is the mean over its steps.
        label: Prefix of the names of its metrics. Another output may have it too: then the metrics
            are numbered, as in Keras, and not the outputs.
    """

    name: str
    output_shape: tuple[int, ...]
    loss: Any = None
    exact: bool = False
    varies: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        if not (self.output_shape or self.any_shape):  # each row has one number
            object.__setattr__(self, "output_shape", (1,))
        if self.loss is not None and not self.any_shape:  # an axis of a `call` is its own affair
            self.check_axis(f"The loss {self.loss.name!r}", self.loss.axis)

    def check_axis(self, what: str, axis: int) -> None:
        """Raise a ValueError unless a loss or metric computes along the last axis of the output."""
        axes = len(self.output_shape) + 1
        if axis not in (-1, axes - 1):
            raise ValueError(
                f"{what} has axis={axis}, and outputs have {axes} axes: fit and evaluate compute "
                f"along the last axis. Move that axis to the end, by layers.Permute in the model "
                f"and numpy.moveaxis in the targets."
            )

    @property
    def rows_per_sample(self) -> int:
        """Rows of a sample as the loss counts them: a prediction with several axes has several.
        For a loss with a `call`, a sample is one row."""
        return 1 if self.any_shape else self.steps

    @property
    def steps(self) -> int:
        """Number of entries of a predicted sample along all axes but the last, and so the number
        of weights it may have."""
        return math.prod(self.output_shape[:-1])

    @property
    def any_shape(self) -> bool:
        """Whether the loss takes targets of any shape."""
        return self.loss is not None and self.loss._of_tensors

    @property
    def target_shape(self) -> tuple[int, ...]:
        if self.any_shape and self.loss.target_sample is not None:
            return self.loss.target_sample
        sparse = self.loss is not None and self.loss.sparse
        return self.output_shape[:-1] if sparse else self.output_shape

    def target_dtype(self, dtype: str) -> str:
        """Return the dtype of stored targets in a model of this dtype."""
        return "int32" if self.loss is not None and self.loss.sparse else dtype


@dataclass(frozen=True)
class Spec:
    """The spec of a model's data: sample shapes and dtype of the inputs, and targets.

    Attributes:
        inputs: Name of each input in messages, "x" or "x['left']", and its shape.
        eager: Whether user-defined code is called in each step.
        given: Like ``inputs``, but as users pass them; ``inputs`` are what steps read.
        host: Work on the host that turns ``given`` into ``inputs``; None if they are the same.
        by_name: Whether inputs were declared by name.
        forms: Structures of the inputs and of the targets, which only matter if they are nested.
        integers: For each of ``inputs``, whether steps read integers instead of floats.
        exact: For each of ``inputs``, whether integers must not lose digits as floats, since
            user-defined code reads them.
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
    forms: tuple[TreeDef, TreeDef] = (TreeDef(), TreeDef())
    integers: tuple[bool, ...] = ()
    exact: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.given:
            object.__setattr__(self, "given", self.inputs)
        for name in ("integers", "exact"):
            if not getattr(self, name):
                object.__setattr__(self, name, (False,) * len(self.inputs))

    def dtype_of(self, name: str) -> str:
        """Return the dtype in which steps read an array of `Rows`: ``"int32"``, or floats."""
        kind, _, number = name.partition("_")
        return "int32" if kind == "x" and self.integers[int(number or 0)] else self.dtype
