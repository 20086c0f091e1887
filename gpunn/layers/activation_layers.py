"""Activations as layers, and PReLU, whose slope is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gpunn import activations
from gpunn.activations.rows import check_axis
from gpunn.common.arguments import optional, requirement
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .core import ActivationLayer
from .layer import Layer, formula
from .parameters import declared
from .shapes import Shape
from .wrapping import InputSpec

LEAST = -1e30
"""In place of a masked entry: its exponential is 0, and differences are finite."""


_check_slope = requirement("at least 0", lambda value: value is not None and value >= 0)


class _OfArguments(ActivationLayer):
    """Layer whose activation follows from its arguments, even if they are set later."""

    _of: ClassVar[type[activations.Activation]]
    curve: ClassVar[tuple[str, ...]]  # names of these arguments

    def __post_init__(self) -> None:
        super().__post_init__()
        self.activation = self.made()

    def made(self) -> activations.Activation:
        """Return the activation."""
        return self._of(**{name: getattr(self, name) for name in self.curve})

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self.curve and "activation" in vars(self):
            self.activation = self.made()


class ReLU(_OfArguments):
    """Apply the rectified linear unit to each element: `gpunn.activations.Relu` as a layer.

    ``f(x) = x`` from ``threshold`` on, ``f(x) = negative_slope (x - threshold)`` below it, and at
    most ``max_value``. The arguments have the order of Keras's layer.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        max_value: the largest output; None for no limit.
        negative_slope: slope below ``threshold``, at least 0.
        threshold: where the slope changes, at least 0.

    Raises:
        ValueError: for a negative ``negative_slope`` or ``threshold``.

    >>> ReLU(max_value=10, negative_slope=0.5)([[-10.0, 5.0, 20.0]]).tolist()
    [[-5.0, 5.0, 10.0]]
    >>> ReLU(threshold=3.0)([[2.0, 4.0]]).tolist()
    [[0.0, 4.0]]
    """

    examples = ({}, {"max_value": 1.0, "negative_slope": 0.25})

    max_value: float | None = field(default=None)
    negative_slope: float = field(default=0.0, check=_check_slope)
    threshold: float = field(default=0.0, check=_check_slope)

    _of, curve = activations.Relu, ("max_value", "negative_slope", "threshold")


class LeakyReLU(_OfArguments):
    """Apply ``f(x) = x`` for x > 0 and ``f(x) = negative_slope x`` otherwise, to each element.

    Unlike `ReLU`, it passes a gradient for negative inputs. Source: Maas, Hannun and Ng, "Rectifier
    nonlinearities improve neural network acoustic models", 2013.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        negative_slope: slope below 0, at least 0. The default is Keras's for the layer;
            ``activation="leaky_relu"`` has 0.2.
        alpha: older name of ``negative_slope``.

    Raises:
        ValueError: for a negative slope.

    >>> LeakyReLU(0.5)([[-10.0, 5.0]]).tolist()
    [[-5.0, 5.0]]
    """

    negative_slope: float = field(default=0.3, check=_check_slope)
    alpha: float | None = field(
        default=None, check=optional(_check_slope), kw_only=True, attribute="_alpha"
    )

    _of, curve = activations.LeakyRelu, ("negative_slope",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (alpha := vars(self).pop("_alpha")) is not None:
            self.negative_slope = alpha


class ELU(_OfArguments):
    """Apply ``f(x) = x`` for x > 0 and ``f(x) = alpha (exp(x) - 1)`` otherwise, to each element.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", 2015.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        alpha: f falls to -alpha for large negative x; at least 0.

    >>> ELU(alpha=2)([[-1e4, 5.0]]).tolist()
    [[-2.0, 5.0]]
    """

    examples = ({"alpha": 0.5},)

    alpha: float = field(default=1.0)

    _of, curve = activations.Elu, ("alpha",)


class Softmax(_OfArguments):
    """Turn logits into probabilities: ``y_i = exp(x_i) / sum_j exp(x_j)`` along one or more axes.

    The outputs along the axes are positive and their sum is 1.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape. A mask of a call, which must
    broadcast to x, is True or above 0.5 for the entries that count; the others are 0.

    Args:
        axis: an axis or a tuple of axes, counted with the batch axis. The last axis is fast. Others
            are computed in steps that a GPU cannot fuse.

    Raises:
        ValueError: when the layer is built, for an axis that the input does not have; for a mask of
            another shape.

    >>> Softmax()([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    >>> Softmax()([[0.0, 0.0, 9.0]], mask=[[True, True, False]]).tolist()
    [[0.5, 0.5, 0.0]]
    >>> Softmax(axis=1)([[[1.0], [1.0]]]).tolist()
    [[[0.5], [0.5]]]
    """

    axis: int | Sequence[int] = field(default=-1, check=check_axis)

    _of, curve = activations.Softmax, ("axis",)

    @formula
    def call(self, x: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        if mask is None:
            return self.activation(x)
        self._check_mask(mask.shape, x.shape)
        mask = mask if mask.dtype == "bool" else mask > 0.5
        return ops.where(mask, self.activation(ops.where(mask, x, LEAST)), 0.0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: outputs of masked entries are 0, and what follows reads them."""

    def _check_mask(self, mask: Shape, shape: Shape) -> None:
        pairs = zip(reversed(mask), reversed(shape), strict=False)
        if len(mask) > len(shape) or any(n not in (1, m) for n, m in pairs):
            raise ValueError(
                f"{self.name}: a mask must broadcast to x of the shape {tuple(shape)}; got one of "
                f"the shape {tuple(mask)}. For steps of features, use activation='softmax'."
            )

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        if "mask" in kwargs:  # it may be for all samples alike
            shape, mask = np.shape(args[0]), np.asarray(kwargs["mask"])
            self._check_mask(mask.shape, shape)
            kwargs["mask"] = np.broadcast_to(mask, shape)
        return super()._run(*args, training=training, **kwargs)

    def build(self, input_shape: Shape) -> None:
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        n = len(input_shape)
        if not all(isinstance(axis, int) and -n <= axis < n for axis in axes):
            raise ValueError(
                f"{self.name}: axis must be from {-n} to {n - 1} for x of the shape "
                f"{tuple(input_shape)}; got {self.axis!r}."
            )


def _check_shared(name: str, value: Any) -> list[int]:
    return [int(axis) for axis in ([value] if isinstance(value, int) else value)]


class PReLU(Layer):
    """Apply ``f(x) = x`` for x > 0 and ``f(x) = alpha x`` otherwise, with a trained alpha per
    feature.

    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015 (which starts from 0.25).

    Shapes: x ``(batch, ...)`` -> y of the same shape; alpha has the shape of a sample, with 1 for
    each shared axis.

    Args:
        alpha_initializer: initializer of alpha.
        alpha_regularizer: penalty on alpha, see `gpunn.regularizers`.
        alpha_constraint: constraint on alpha, applied after each update.
        shared_axes: axes along which alpha is the same, counted from 1, the first after
            the batch axis: [1, 2] for images (batch, height, width, channels).

    Raises:
        ValueError: when the layer is built, for a shared axis that a sample does not have.

    >>> import gpunn
    >>> quarter = gpunn.initializers.Constant(0.25)
    >>> PReLU(alpha_initializer=quarter)([[-2.0, 3.0]]).tolist()
    [[-0.5, 3.0]]
    """

    supports_masking = True
    examples = ({}, {"alpha_initializer": "ones", "shared_axes": [1]})

    alpha_initializer: Any = field(default="zeros")
    alpha_regularizer: Any = field(default=None)
    alpha_constraint: Any = field(default=None)
    shared_axes: Any = field(default=None, check=optional(_check_shared))

    def build(self, input_shape: Shape) -> None:
        self.input_spec = InputSpec(ndim=len(input_shape))
        shape: list[Any] = [*input_shape[1:]]
        for axis in self.shared_axes or ():
            if not 1 <= axis <= len(shape):
                raise ValueError(
                    f"{self.name}: shared_axes must be from 1 to {len(shape)} for x of the "
                    f"shape {tuple(input_shape)}; got {self.shared_axes!r}."
                )
        kept = [1 if i + 1 in (self.shared_axes or ()) else n for i, n in enumerate(shape)]
        self.alpha = declared(self, "alpha", kept)

    def call(self, x: Tensor) -> Tensor:
        return ops.where(x > 0.0, x, x * self.alpha)
