"""Layers without weights that pass values on: unchanged, penalized, permuted or repeated."""

from __future__ import annotations

from typing import Any

from gpunn import regularizers
from gpunn.common.arguments import check_not_negative
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .arguments import check_units
from .layer import Layer, formula
from .wrapping import InputSpec

__all__ = ["ActivityRegularization", "Identity", "Permute", "RepeatVector"]


class Identity(Layer):
    """Return the input unchanged: ``y = x``, as a placeholder for a layer in a search or a list.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape. Nothing runs and nothing is
    copied.

    >>> Identity()([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """

    supports_masking = True
    _reshapes = _reads_integers = True

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return x


class ActivityRegularization(Identity):
    """Return the input unchanged, and add a penalty on it to the loss.

    The penalty of a batch is ``sum(l1 |x| + l2 x^2) / batch size``, as for an
    ``activity_regularizer``, see `gpunn.regularizers`.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        l1: factor of the absolute values, at least 0.
        l2: factor of the squares, at least 0.

    Raises:
        ValueError: for a negative factor.

    >>> layer = ActivityRegularization(l1=0.5)
    >>> layer([[1.0, -3.0]]).tolist(), [loss.tolist() for loss in layer.losses]
    ([[1.0, -3.0]], [2.0])
    """

    _undescribed = ("activity_regularizer",)  # l1 and l2 say it
    examples = ({"l1": 0.01, "l2": 0.02},)

    l1: float = field(default=0.0, check=check_not_negative)
    l2: float = field(default=0.0, check=check_not_negative)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.activity_regularizer = regularizers.L1L2(self.l1, self.l2)


def _check_dims(name: str, value: Any) -> tuple[int, ...]:
    dims = tuple(value) if isinstance(value, (tuple, list)) else ()
    if not dims or sorted(map(repr, dims)) != sorted(map(repr, range(1, len(dims) + 1))):
        raise ValueError(
            f"Invalid permutation of axes: {name} must hold each of the axes 1 to n of the samples "
            f"once, where 0 would be the batch; got {name}={value!r}."
        )
    return dims


class Permute(Layer):
    """Permute the axes of each sample: axis ``dims[i]`` of x is axis ``i + 1`` of y.

    Shapes, for dims (2, 1): x ``(batch, a, b)`` -> y ``(batch, b, a)``.

    Args:
        dims: the axes in their new order, counted from 1; the batch axis stays in front.

    Raises:
        ValueError: unless ``dims`` holds each axis once, and for inputs with other axes.

    >>> Permute((2, 1))([[[1.0, 2.0], [3.0, 4.0]]]).tolist()
    [[[1.0, 3.0], [2.0, 4.0]]]
    """

    _reads_integers = True
    examples = ({"dims": [2, 1]}, {"dims": [3, 1, 2]})

    dims: tuple[int, ...] = field(check=_check_dims)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, x: Tensor) -> Tensor:
        return ops.transpose(x, (0, *self.dims))


class RepeatVector(Layer):
    """Repeat each sample, a vector, n times along a new axis; often before a recurrent decoder.

    The gradient of x is the sum of its n copies' gradients.

    Shapes: x ``(batch, features)`` -> y ``(batch, n, features)``.

    Args:
        n: how often, a positive integer.

    Raises:
        ValueError: for another n, and for samples that are not vectors.

    >>> RepeatVector(2)([[1.0, 2.0]]).tolist()
    [[[1.0, 2.0], [1.0, 2.0]]]
    """

    _reads_integers = True
    examples = ({"n": 3},)

    n: int = field(check=check_units)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=2)

    def call(self, x: Tensor) -> Tensor:
        return ops.take(ops.expand_dims(x, 1), [0] * self.n, axis=1)
