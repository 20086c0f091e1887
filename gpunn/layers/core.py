"""Layers without parameters: the input, shapes, scaling, activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from gpunn import activations
from gpunn.common.arguments import check_number, optional
from gpunn.common.fields import field
from gpunn.common.registry import Examples
from gpunn.core.plan import Call
from gpunn.ops.dtypes import bounds, standard
from gpunn.ops.tensor import Tensor, on_graphs, ops

from .arguments import check_data_format
from .layer import Layer, formula
from .shapes import Shape, check_shape, dtype_of, sample_of
from .symbolic import Application, SampleShape, SymbolicTensor

__all__ = ["Activation", "Flatten", "Input", "InputLayer", "Rescaling", "Reshape"]


DATA_DTYPES = (
    "string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)
"""Dtypes of inputs other than floats: strings, which are encoded before a step, booleans, and
integers, which become int32 in it."""


def _data_dtype(given: Any) -> str | None:
    """Return the entry of `DATA_DTYPES` that ``given`` names, as a string or a type; else None."""
    name = getattr(given, "__name__", None) or getattr(given, "name", given)
    name = {"str": "string", "int": "int64", "bool_": "bool"}.get(name, name)
    return name if isinstance(name, str) and name in DATA_DTYPES else None


class InputLayer(Layer):
    """Declare the shape of one sample of a model's input; `Input` creates it, and it computes
    nothing.

    Use it as the first entry of a `gpunn.Sequential`, or read its ``output``, a symbolic tensor
    ``(batch_size or None, *shape)``.

    Args:
        input_shape, batch_input_shape: older names of ``shape`` and ``batch_shape``.

    The other arguments, and errors: as for `Input`.

    >>> InputLayer(input_shape=(3,)).output.shape
    (None, 3)
    """

    _reshapes = True
    _is_scalar = False  # in operations for their shapes alone; no model has such an input
    sparse = ragged = optional = False  # which Keras's may be
    _undescribed = ("trainable", "batch_shape", "sparse", "ragged", "input_tensor", "optional")
    examples = ({"shape": (3, 4)},)

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        name: str | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_shape: Sequence[int] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        *,
        sparse: bool | None = None,
        ragged: bool | None = None,
        input_tensor: Any = None,
        optional: bool = False,
    ) -> None:
        if sparse or ragged:
            raise ValueError(
                f"Input: tensors are dense; got sparse={sparse!r}, ragged={ragged!r}. Leave it "
                f"out: fit and predict take sparse matrices of SciPy, and pad_sequences makes rows "
                f"equal."
            )
        if input_tensor is not None or optional:
            raise ValueError(
                f"Input: tensor and optional are not supported; got tensor={input_tensor!r}, "
                f"optional={optional!r}. Give each input data, such as zeros and a mask."
            )
        shape = input_shape if shape is None else shape
        batch_shape = batch_input_shape if batch_shape is None else batch_shape
        if (shape is None) == (batch_shape is None):
            raise ValueError("Input needs either shape or batch_shape.")
        if batch_size is not None and batch_shape is not None:
            raise ValueError("Input takes either batch_size or batch_shape, not both.")
        if shape is None:
            assert batch_shape is not None
            self._is_scalar = not len(batch_shape)
            batch_size, *shape = batch_shape or (None,)  # type: ignore[assignment]
        self.data_dtype = _data_dtype(dtype)
        super().__init__(
            dtype=None if self.data_dtype else dtype,
            name=name,
            input_shape=check_shape(shape, "shape"),
        )
        self.shape = self.input_shape = check_shape(shape, "shape")
        self.batch_size = batch_size
        self._give_output()

    def _give_output(self) -> None:
        application = Application(self, ())
        sample, scalar = self.sample, ""
        shape = sample_of((self.batch_size, *sample), dtype_of(sample))
        if self._is_scalar:
            scalar = f"{self.name}: an input of shape () has no batch axis"
            shape = sample_of((), dtype_of(sample))
        application.outputs = (SymbolicTensor(application, 0, shape, scalar),)

    @property
    def batch_shape(self) -> tuple[int | None, ...]:
        """The shape of a batch, ``(batch_size or None, *shape)``.

        >>> InputLayer(shape=(3,), batch_size=4).batch_shape
        (4, 3)
        """
        return self.output.shape

    @property
    def sample(self) -> SampleShape:
        """The shape of one sample, with its dtype if that is not a float dtype."""
        whole = self.data_dtype not in (None, "string")
        return sample_of(self.shape, standard(self.data_dtype) if whole else None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not self._applications:  # it was copied without the graph of its output
            self._give_output()

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["shape"] = list(config.pop("input_shape"))
        if self.data_dtype is not None:
            config["dtype"] = self.data_dtype
        return config

    _gives_on_host = True

    @property
    def _gives_text(self) -> bool:
        """Whether its data are strings."""
        return self.data_dtype == "string"

    @property
    def _check_values(self) -> Any:
        """See `Layer`; set for an input that was declared with an integer dtype."""
        return None if self.data_dtype in (None, "string") else self._check_whole

    def _check_whole(self, array: np.ndarray, argument: str) -> None:
        assert self.data_dtype is not None
        low, high = bounds(self.data_dtype)
        if array.dtype.kind in "biu" and np.can_cast(array.dtype, self.data_dtype):
            return
        wrong = ~((array >= low) & (array < high + 1))  # NaN is neither
        if array.dtype.kind == "f":
            wrong |= np.floor(array) != array
        if wrong.any():
            at = np.argwhere(wrong)[0].tolist()
            found, expected = array[tuple(at)], "whole numbers"
            if self.data_dtype == "bool":
                expected = "0 and 1"
            elif np.isfinite(found) and np.floor(found) == found:
                expected = f"whole numbers from {low} to {high}"
            raise ValueError(
                f"{argument} holds {found} at {at}; the input {self.name!r} was declared with "
                f"dtype={self.data_dtype!r}: {expected} are expected."
            )


def Input(
    shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
    batch_shape: Sequence[int | None] | None = None,
    *,
    sparse: bool | None = None,
    ragged: bool | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> SymbolicTensor:
    """Create the input of a model: a symbolic tensor that layers can be called on.

    A `gpunn.Sequential` takes it as its first entry; `gpunn.Model` takes it as one of its inputs.
    An axis of the shape may be None: then each batch has its own length. Each length gets its own
    program, over the same weights. The last 16 programs are kept.

    Args:
        shape: shape of one sample, without the batch axis; None for an axis of any length.
        batch_size: shown in the model's ``input_shape``; any batch size works.
        dtype: ``"float32"``, ``"float64"`` or None; ``"string"`` for strings, which `StringLookup`
            reads; ``"bool"``; ``"int32"``, ``"uint8"`` and similar for integers. A custom `call`,
            an operation or a `Lambda` receives these as int32; layers that compute read them as
            floats. Data that do not fit into int32 raise an error.
        name: name of the input.
        batch_shape: ``(batch size or None, *shape)``, instead of ``shape``.
        sparse, ragged, tensor, optional: as in Keras; they may only have their default values.

    Returns:
        A symbolic tensor of shape ``(batch_size or None, *shape)``, which holds no values.

    Raises:
        ValueError: for neither or both of ``shape`` and ``batch_shape``, for a ``batch_size``
            beside ``batch_shape`` or a shape that is one number, and for what Keras's other
            arguments ask for.

    >>> from gpunn import Input
    >>> Input((28, 28)).shape
    (None, 28, 28)
    >>> Input(batch_shape=(None, 3), name="table").name
    'table'
    >>> Input((None, 8)).shape
    (None, None, 8)
    """
    if batch_size is not None and not hasattr(shape, "__len__") and shape is not None:
        raise ValueError(
            f"Input: got the numbers shape={shape} and batch_size={batch_size}. Write "
            f"Input(shape=({shape}, {batch_size})) for samples of that shape, or "
            f"Input(shape=({shape},), batch_size={batch_size})."
        )
    options = {"sparse": sparse, "ragged": ragged, "input_tensor": tensor, "optional": optional}
    return InputLayer(shape, batch_size, dtype, name, batch_shape, **options).output


class Flatten(Layer):
    """Flatten each sample to a vector, in row-major order, without copying values.

    Shapes: x ``(batch, a, b, ...)`` -> y ``(batch, a b ...)``.

    Args:
        data_format: ``"channels_first"`` moves axis 1 to the end first, so that a model
            sees the same order of features for both formats. This copies the values.

    >>> Flatten()([[[1.0, 2.0], [3.0, 4.0]]]).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """

    _reads_integers = True
    examples = ({}, {"data_format": "channels_first"})

    data_format: str | None = field(default=None, check=optional(check_data_format))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._reshapes = self.data_format != "channels_first"

    def is_view(self, call: Call) -> bool:
        return self.data_format != "channels_first" or call.x.ndim < 3

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], math.prod(n for n in input_shape[1:] if n is not None))

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        moved = ops.moveaxis(x, 1, -1) if self.data_format == "channels_first" else x
        return ops.reshape(moved, (x.shape[0], math.prod(x.shape[1:])))

def _check_target(name: str, value: Any) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, (tuple, list)) else ("",)
    if not all(isinstance(n, int) and (n >= 1 or n == -1) for n in given):
        raise ValueError(
            f"{name} must be a tuple of positive integers, one of which may be -1; got "
            f"{name}={value!r}."
        )
    if given.count(-1) > 1:
        raise ValueError(f"{name} may hold -1 once; got {name}={value!r}.")
    return given


class Reshape(Layer):
    """Reshape each sample to another shape of the same size, without copying values.

    Shapes: x ``(batch, ...)`` -> y ``(batch, *target_shape)``.

    Args:
        target_shape: shape of one sample; one entry may be -1, inferred from the others.

    Raises:
        ValueError: for a shape with other entries or a second -1, and when the layer is built, if
            the sizes differ.

    >>> Reshape((2, -1))([[1, 2, 3, 4, 5, 6]]).tolist()
    [[[1, 2, 3], [4, 5, 6]]]
    """

    _reshapes = _reads_integers = True
    examples = ({"target_shape": [-1]},)

    target_shape: tuple[int, ...] = field(check=_check_target)

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        shape = self.compute_output_shape(x.shape)
        return ops.reshape(x, [n or 1 for n in shape])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if None in input_shape[1:]:
            return (input_shape[0], *(None if n == -1 else n for n in self.target_shape))
        size = math.prod(n for n in input_shape[1:] if n is not None)
        known = math.prod(n for n in self.target_shape if n != -1)
        shape = tuple(size // known if n == -1 else n for n in self.target_shape)
        if math.prod(shape) != size:
            raise ValueError(
                f"{self.name}: target_shape={self.target_shape} cannot hold the {size} elements of "
                f"a sample of shape {tuple(input_shape[1:])}."
            )
        return (input_shape[0], *shape)


def _check_scale(name: str, value: Any) -> Any:
    """Return a float, or nested lists of floats."""
    if np.ndim(value) == 0:
        return check_number(name, value.item() if isinstance(value, np.ndarray) else value)
    values = np.asarray(value)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"{name} must hold finite numbers; got {value!r}.")
    return values.astype(np.float64).tolist()


class Rescaling(Layer):
    """Scale and shift each element: ``y = x scale + offset``, with constants saved with the model.

    As the first layer it costs nothing if both are numbers: gathering a batch applies it during the
    conversion, so that a data set of bytes stays bytes on the device.

    Shapes: x of any shape ``(batch, ...)`` -> y of the same shape.

    Args:
        scale: factor, or one for each entry of the last axes.
        offset: what is added, likewise.

    Raises:
        ValueError: for numbers that are not finite.

    >>> Rescaling(1 / 255)([[0, 255]]).tolist()
    [[0.0, 1.0]]
    >>> Rescaling(1 / 127.5, offset=-1)([[0, 255]]).tolist()
    [[-1.0, 1.0]]
    """

    supports_masking = True
    examples = ({"scale": 0.5}, {"scale": -2.0, "offset": 3.0})

    scale: Any = field(check=_check_scale)
    offset: Any = field(default=0.0, check=_check_scale)

    @property
    def _scaling(self) -> tuple[float, float] | None:
        numbers = isinstance(self.scale, float) and isinstance(self.offset, float)
        return (self.scale, self.offset) if numbers else None

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        scale, offset = (np.asarray(given, x.dtype) for given in (self.scale, self.offset))
        return x * scale + offset

class ActivationLayer(Layer):
    """Base class of layers y = f(x), where f is the ``activation``. As the activation of another
    layer, such a layer means f."""

    supports_masking = True
    _abstract = True
    _is_activation = True

    def is_view(self, call: Call) -> bool:
        return call.activation == activations.linear

    @formula
    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self.activation(x)  # type: ignore[attr-defined]


class Activation(ActivationLayer):
    """Apply an activation function to its input: ``y = f(x)``, with f given by name or as an
    object.

    Shapes: x ``(batch, ...)`` -> y of the same shape.

    Args:
        activation: a name such as ``"relu"``, an object of `gpunn.activations`, or a function of a
            tensor that is written with `gpunn.ops`.

    Raises:
        ValueError: for an unknown name; the message suggests the closest one.

    >>> Activation("relu")([[-1.0, 2.0]]).tolist()
    [[0.0, 2.0]]
    """

    examples: ClassVar[Examples] = (
        {"activation": "sigmoid"},
        {"activation": "relu"},
        {"activation": {"class_name": "Relu", "config": {"negative_slope": 0.25}}},
        {"activation": "softmax"},
    )

    activation: Any = field()


def _on_graph(*given: Any) -> Any:
    from .operations import on_graph  # few models call operations on symbolic tensors

    return on_graph(*given)


on_graphs.append(_on_graph)
