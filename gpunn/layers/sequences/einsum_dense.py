"""The dense layer whose axes an equation names."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any, ClassVar

import numpy as np

from gpunn.activations import Linear
from gpunn.common.fields import field
from gpunn.core.storage import Parameter
from gpunn.initializers import VarianceScaling
from gpunn.ops.shapes import listed
from gpunn.ops.tensor import Tensor, ops

from ..arguments import check_units
from ..dense import KernelAndBias
from ..parameters import declared
from ..shapes import Shape

__all__ = ["EinsumDense"]

FORMS = "[X],[Y]->[Z], ...[X],[Y]->...[Z], or [X]...,[Y]->[Z]..."


def _check_equation(name: str, value: Any) -> str:
    given = value.replace(" ", "") if isinstance(value, str) else ""
    found = re.fullmatch(r"(\.{3})?(\w+)(\.{3})?,([a-zA-Z]+)->(?(1)\.{3})(\w+)(?(3)\.{3})", given)
    inputs, kernel, outputs = found.group(2, 4, 5) if found else ("", "", "")
    once = all(t.isalpha() and len({*t}) == len(t) for t in (inputs, kernel, outputs))
    if not once or (found and found[1] and found[3]):
        raise ValueError(f"{name} must be of the form {FORMS}; got {value!r}.")
    unknown = ({*kernel} | {*outputs}) - ({*inputs} | {*kernel} & {*outputs})
    if unknown:
        raise ValueError(
            f"{name}: each axis must be one of x, or of both the kernel and the output; "
            f"{sorted(unknown)} in {value!r} is not."
        )
    return given


def _check_sizes(name: str, value: Any) -> tuple[int | None, ...]:
    return tuple(None if n is None else check_units(name, n) for n in listed(value))


def _drawn(draw: VarianceScaling, fans: tuple[int, int], shape: Any, dtype: Any) -> np.ndarray:
    """Return the values of a kernel, drawn as for the matrix with these fans."""
    return draw(fans, dtype).reshape(shape)


class EinsumDense(KernelAndBias):
    """Compute ``y = activation(einsum(equation, x, kernel) + bias)``: a dense layer along any axes.

    The equation names the axes, as in `gpunn.ops.einsum`: ``"abc,cd->abd"`` is a `Dense` layer
    along the last axis of three, ``"abc,cde->abde"`` gives several heads. Axes of the kernel that
    are not in the output are summed over, and are its fan-in.

    Shapes: x ``(batch, ...)`` -> y ``(batch, *output_shape)``; ``...`` stands for axes of x. The
    kernel has the axes of the equation, the bias ``bias_axes``.

    Args:
        equation: ``[X],[Y]->[Z]``, ``...[X],[Y]->...[Z]``, or ``[X]...,[Y]->[Z]...``.
        output_shape: of one sample, without the axes of ``...``; None for a length of x.
        bias_axes: letters of axes of the output; None for no bias.

    The other arguments: as in `Dense`.

    Raises:
        ValueError: for an equation of another form, and when the layer is built, if it does not fit
            the shapes of x and of the output.

    >>> layer = EinsumDense("abc,cd->abd", (None, 2), bias_axes="d", kernel_initializer="ones")
    >>> layer([[[1.0, 2.0], [3.0, 4.0]]]).tolist()
    [[[3.0, 3.0], [7.0, 7.0]]]
    """

    examples = (
        {"equation": "...a,ab->...b", "output_shape": [4], "bias_axes": "b", "activation": "tanh"},
        {"equation": "...a,ba->...b", "output_shape": [3]},
    )

    partial_output_shape: ClassVar[Any]

    equation: str = field(check=_check_equation)
    output_shape: Any = field(check=_check_sizes, attribute="partial_output_shape")
    activation: Any = field(default=None)
    bias_axes: Any = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bias: Parameter | None = None
        if not {*(self.bias_axes or "")} <= {*self._terms()[2]}:
            raise ValueError(
                f"bias_axes must be letters of the output of equation={self.equation!r}; got "
                f"{self.bias_axes!r}."
            )

    def _terms(self) -> list[str]:
        """Return the letters of the input, the kernel and the output."""
        return re.split(",|->", self.equation.replace("...", ""))

    def build(self, input_shape: Shape) -> None:
        inputs, kernel, outputs = self._terms()
        left, right = self.equation.startswith("..."), "...," in self.equation
        more, given = len(input_shape) - len(inputs), self.partial_output_shape
        named = outputs[not left :]  # the first axis of others counts samples
        sizes: dict[str, Any] = dict(zip(inputs, input_shape[more * left :], strict=False))
        for letter, n in zip(named, given, strict=False):
            sizes[letter] = sizes.get(letter) if n is None else n
        fits = more >= left and (left or right or not more) and len(named) == len(given)
        same = all(sizes[c] == n for c, n in zip(inputs, input_shape[more * left :], strict=False))
        unknown = [c for c in (*kernel, *(self.bias_axes or "")) if sizes.get(c) is None]
        if not fits or not same or unknown:
            raise ValueError(
                f"{self.name}: equation={self.equation!r} with output_shape={given!r} does not fit "
                f"x of shape {tuple(input_shape)}: each axis must have one length, which is known "
                f"for those of the kernel, {kernel!r}, and of the bias."
            )
        shape = [sizes[c] for c in kernel]
        self.kernel = declared(self, "kernel", shape)
        if isinstance(self.kernel_initializer, VarianceScaling):
            units = math.prod(sizes[c] for c in kernel if c in outputs)
            fans = math.prod(shape) // units, units
            self.kernel.initializer = partial(_drawn, self.kernel_initializer, fans)
        if self.bias_axes is not None:
            first = min(map(outputs.index, self.bias_axes), default=len(outputs))
            shape = [sizes[c] if c in self.bias_axes else 1 for c in outputs[first:]]
            self.bias = declared(self, "bias", shape + [1] * (more * right))

    def call(self, inputs: Tensor) -> Tensor:
        y = ops.einsum(self.equation, inputs, self.kernel)
        y = y if self.bias is None else y + self.bias
        return y if isinstance(self.activation, Linear) else self.activation(y)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": list(self.partial_output_shape)}
