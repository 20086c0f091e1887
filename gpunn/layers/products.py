"""The product of two inputs, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .merging import Merging
from .shapes import Shape

__all__ = ["Dot", "dot"]


def _check_axes(name: str, value: Any) -> Any:
    several = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n != 0 for n in several)
    if not whole or len(several) > 2 or (len(several) < 2 and several != (value,)):
        raise ValueError(
            f"{name} must be an axis of both inputs, or one of each, other than 0, the batch; got "
            f"{name}={value!r}."
        )
    return several if len(several) == 2 else value


class Dot(Merging):
    """Multiply two inputs sample by sample, and sum over an axis of each: ``y = sum_k a_k b_k``.

    With ``normalize`` the rows along that axis are divided by their length first, so that y is the
    cosine of the angle between them, as in a two-tower recommender.

    Shapes, for axes (2, 1): inputs ``(batch, m, k)`` and ``(batch, k, n)`` -> y ``(batch, m, n)``.
    For two vectors, y has the shape ``(batch, 1)``.

    Args:
        axes: the axis of both, or a pair: one of each; counted with the batch axis.
        normalize: whether to divide rows by their length, at least 1e-7.

    Raises:
        ValueError: for the batch axis, axes out of bounds or of different lengths, and for another
            number of inputs.

    >>> Dot(axes=1)([[[1.0, 2.0]], [[3.0, 4.0]]]).tolist()
    [[11.0]]
    >>> Dot(axes=1, normalize=True)([[[1.0, 0.0]], [[3.0, 4.0]]]).round(3).tolist()
    [[0.6000000238418579]]
    """

    examples = ({"axes": -1}, {"axes": [1, 1], "normalize": True})
    least = most = 2

    axes: Any = field(check=_check_axes)
    normalize: bool = field(default=False, check=lambda name, value: bool(value))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: products have no steps of their own."""

    def _places(self, shapes: Sequence[Shape]) -> list[int]:
        given = self.axes if isinstance(self.axes, tuple) else (self.axes, self.axes)
        return [n if n > 0 else n + len(s) for n, s in zip(given, shapes, strict=True)]

    def check_shapes(self, shapes: Sequence[Shape]) -> None:
        places = self._places(shapes)
        fits = all(0 < n < len(s) for n, s in zip(places, shapes, strict=True))
        if not fits or shapes[0][places[0]] != shapes[1][places[1]]:
            first, second = ((None, *s[1:]) for s in shapes)
            raise ValueError(
                f"{self.name}: axes={self.axes} must be axes of equal length, not the batch; got "
                f"inputs of the shapes {first} and {second}."
            )

    def call(self, xs: Sequence[Tensor]) -> Tensor:
        self.check(xs)
        places = self._places([x.shape for x in xs])
        a, b = (ops.moveaxis(x, n, -1) for x, n in zip(xs, places, strict=True))
        if self.normalize:
            a, b = ops.normalize(a), ops.normalize(b)
        rows, k = len(a), a.shape[-1]
        left, right = ops.reshape(a, (rows, -1, k)), ops.reshape(b, (rows, -1, k))
        y = ops.matmul(left, ops.swapaxes(right, 1, 2))
        return ops.reshape(y, (rows, *((*a.shape[1:-1], *b.shape[1:-1]) or (1,))))


def dot(inputs: Sequence[Any], axes: Any = -1, **kwargs: Any) -> Any:
    """Multiply two inputs sample by sample, summing over an axis of each, with a new `Dot` layer.

    Args:
        inputs: two tensors, symbolic tensors or arrays (batch, ...).
        axes: the axis of both, or one of each, counted with the batch axis.
        kwargs: arguments of the layer, such as ``normalize``.

    Returns:
        The product: the other axes of the first input, then the other axes of the second.

    >>> dot([[[1.0, 2.0]], [[3.0, 4.0]]], axes=1).tolist()
    [[11.0]]
    """
    return Dot(axes, **kwargs)(inputs)
