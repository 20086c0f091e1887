"""TensorFlow names that Keras scripts use, mapped to gpunn.

``import gpunn as tf`` makes them available, such as ``tf.reduce_mean`` or ``tf.math.log``;
completion does not offer them. A name without a counterpart raises an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import reduce
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpunn import initializers, ops
from gpunn._version import __version__
from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS
from gpunn.ops.tensor import Tensor

from . import backend, data, devices, dtype_policies
from .absent import advice_for, place_of

# From TensorFlow's name of an operation to Keras's.
RENAMED = {
    "reduce_sum": "sum", "reduce_mean": "mean", "reduce_max": "max", "reduce_min": "min",
    "reduce_prod": "prod", "reduce_all": "all", "reduce_any": "any", "reduce_std": "std",
    "reduce_variance": "var", "reduce_logsumexp": "logsumexp", "pow": "power", "acos": "arccos",
    "asin": "arcsin", "atan": "arctan", "atan2": "arctan2", "acosh": "arccosh", "asinh": "arcsinh",
    "atanh": "arctanh", "floordiv": "floor_divide", "floormod": "mod", "truediv": "divide",
    "is_nan": "isnan", "is_inf": "isinf", "is_finite": "isfinite", "reverse": "flip",
    "fill": "full", "concat": "concatenate", "range": "arange", "clip_by_value": "clip",
    "rank": "ndim", "swish": "silu", "identity": "copy",
}
# Arguments that have other names in TensorFlow, and their possible names here.
ARGUMENTS = {
    "input": ("x",), "input_tensor": ("x",), "tensor": ("x",), "logits": ("x",),
    "features": ("x",), "indices": ("x",), "x": ("x1",), "y": ("x2",), "a": ("x1", "x"),
    "b": ("x2",), "values": ("xs", "x"), "value": ("x", "fill_value"), "depth": ("num_classes",),
    "clip_value_min": ("x_min",), "clip_value_max": ("x_max",), "dims": ("shape",),
    "multiples": ("repeats",), "paddings": ("pad_width",), "perm": ("axes",),
    "alpha": ("negative_slope",), "shape": ("newshape",), "limit": ("stop",), "delta": ("step",),
    "matrix": ("a", "x"), "rhs": ("b",),
}
DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


def _operation(name: str) -> Callable[..., Any]:
    """Return an operation that also accepts TensorFlow's argument names."""
    function = FUNCTIONS[RENAMED.get(name, name)]
    takes = getattr(function, "__wrapped__", function).__code__
    known = takes.co_varnames[: takes.co_argcount + takes.co_kwonlyargcount]

    def named(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        given = {}
        for key, value in kwargs.items():
            here = (n for n in ARGUMENTS.get(key, ()) if key not in known and n in known)
            given[next(here, key)] = value
        return function(*args, **given)

    named.__name__, named.__doc__ = name, function.__doc__
    return named


def convert_to_tensor(
    value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None
) -> Any:
    """Create a tensor of these values; of strings an array, as tensors hold numbers."""
    if isinstance(value, (str, list, tuple)) and np.asarray(value).dtype.kind == "U":
        return np.asarray(value)
    return ops.convert_to_tensor(value, dtype)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Any:
    """Create a tensor of these values, in the given shape if any."""
    x = convert_to_tensor(value, dtype)
    if shape is None:
        return x
    shape = tuple(shape)
    return ops.broadcast_to(x, shape) if x.size == 1 else ops.reshape(x, shape)


# Operations whose defaults or arguments differ from Keras's.


def argmax(input: Any, axis: int | None = None, output_type: Any = None, name: Any = None) -> Any:
    """Return the indices of the largest elements along an axis, by default the first axis."""
    return ops.argmax(input, 0 if axis is None else axis)


def argmin(input: Any, axis: int | None = None, output_type: Any = None, name: Any = None) -> Any:
    """Return the indices of the smallest elements along an axis, by default the first axis."""
    return ops.argmin(input, 0 if axis is None else axis)


def gather(
    params: Any, indices: Any, validate_indices: Any = None, axis: int = 0, name: Any = None
) -> Any:
    """Return the slices at these indices along an axis, by default the rows."""
    return ops.take(params, indices, axis)


def cumsum(x: Any, axis: int = 0, name: Any = None) -> Any:
    """Compute cumulative sums along an axis, by default the first axis."""
    return ops.cumsum(x, axis)


def cumprod(x: Any, axis: int = 0, name: Any = None) -> Any:
    """Compute cumulative products along an axis, by default the first axis."""
    return ops.cumprod(x, axis)


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: Any = None) -> Any:
    """Factor matrices by singular values: (s, u, v), with singular vectors as columns."""
    if not compute_uv:
        return ops.svd(tensor, compute_uv=False)
    u, s, v = ops.svd(tensor, full_matrices)
    return s, u, ops.swapaxes(v, -1, -2)


def lstsq(
    matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: Any = None
) -> Any:
    """Solve equations with the least sum of squares."""
    if l2_regularizer:
        raise ValueError(f"lstsq: l2_regularizer must be 0; got {l2_regularizer!r}.")
    return ops.lstsq(matrix, rhs)


def unique(x: Any, out_idx: Any = None, name: Any = None) -> Any:
    """Return the different elements in the order of their first places, and the index of each."""
    values, first, place = ops.unique(x, return_index=True, return_inverse=True)
    order = ops.argsort(first)
    return ops.take(values, order), ops.take(ops.argsort(order), place)


def split(value: Any, num_or_size_splits: Any, axis: int = 0, name: Any = None) -> Any:
    """Split into a number of equal parts, or into parts of these sizes."""
    if isinstance(num_or_size_splits, int):
        return ops.split(value, num_or_size_splits, axis)
    ends = list(accumulate(int(n) for n in num_or_size_splits))
    return ops.split(value, ends[:-1], axis)


def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False,
    adjoint_a: bool = False, adjoint_b: bool = False, name: str | None = None, **options: Any,
) -> Any:
    """Multiply matrices, each transposed first if asked: of real numbers, the adjoint is that."""
    if asked := [name for name, value in options.items() if value]:
        raise TypeError(f"matmul: gpunn has no {', '.join(asked)}; leave it out.")
    for which, twice in (("a", transpose_a and adjoint_a), ("b", transpose_b and adjoint_b)):
        if twice:
            raise ValueError(f"matmul: pass transpose_{which} or adjoint_{which}, not both.")
    a = ops.swapaxes(a, -1, -2) if transpose_a or adjoint_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b or adjoint_b else b)


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None) -> Any:
    """Divide x by its L2 norm along an axis, by default of the whole tensor.

    The squared norm is at least epsilon.
    """
    squares = ops.sum(ops.square(x), axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, epsilon))


def l2_loss(t: Any, name: str | None = None) -> Any:
    """Compute half of the sum of squares."""
    return ops.sum(ops.square(t)) / 2


def dropout(
    x: Any, rate: float, noise_shape: Any = None, seed: Any = None, name: str | None = None
) -> Any:
    """Set elements to 0 with probability ``rate``, and scale the others; see `random.dropout`."""
    return ops.random.dropout(x, rate, noise_shape, seed)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Any:
    """Add tensors of one shape."""
    return reduce(ops.add, inputs)


def squared_difference(x: Any, y: Any, name: str | None = None) -> Any:
    """Compute (x - y)^2."""
    return ops.square(ops.subtract(x, y))


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Any:
    """Compute the L2 norm of all tensors together; None entries are left out."""
    return ops.sqrt(add_n([ops.sum(ops.square(t)) for t in t_list if t is not None]))


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Scale a tensor down to the L2 norm ``clip_norm``, if its norm is larger."""
    squares = ops.sum(ops.square(t), axes, keepdims=True)
    over = ops.greater(squares, 0)  # the root has no gradient at 0
    norm = ops.where(over, ops.sqrt(ops.where(over, squares, 1.0)), 0.0)
    return ops.multiply(t, clip_norm) / ops.maximum(norm, clip_norm)


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """Scale tensors down so that the L2 norm of all together is at most ``clip_norm``. Return them
    and the norm before; None entries stay None. If the norm is not finite, the tensors become NaN.
    """
    norm = global_norm(t_list) if use_norm is None else ops.convert_to_tensor(use_norm)
    scale = ops.where(ops.isfinite(norm), clip_norm / ops.maximum(norm, clip_norm), np.nan)
    return [None if t is None else ops.multiply(t, scale) for t in t_list], norm


class TensorShape(tuple[Any, ...]):
    """A shape: a tuple of lengths, None where one is not known."""

    rank = ndims = property(len)

    def as_list(self) -> list[int | None]:
        return list(self)

    def is_fully_defined(self) -> bool:
        return None not in self

    def num_elements(self) -> int | None:
        """Return the product of the lengths, or None if one is not known."""
        return math.prod(self) if self.is_fully_defined() else None


class UnconnectedGradients(Enum):
    """What `GradientTape.gradient` returns by what the target does not depend on."""

    NONE = "none"
    ZERO = "zero"


def sigmoid_cross_entropy_with_logits(labels: Any, logits: Any, name: str | None = None) -> Any:
    """Compute the binary cross-entropy of each element."""
    return ops.binary_crossentropy(labels, logits, from_logits=True)


def softmax_cross_entropy_with_logits(
    labels: Any, logits: Any, axis: int = -1, name: str | None = None
) -> Any:
    """Compute the cross-entropy of each row."""
    return ops.categorical_crossentropy(labels, logits, from_logits=True, axis=axis)


def sparse_softmax_cross_entropy_with_logits(
    labels: Any, logits: Any, name: str | None = None
) -> Any:
    """Compute the cross-entropy of each row for class indices."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _by_name(*functions: Any) -> dict[str, Any]:
    return {f.__name__: f for f in functions}


OWN = _by_name(
    argmax, argmin, gather, cumsum, cumprod, split, matmul, l2_normalize, add_n,
    squared_difference, svd, lstsq, unique,
)


def _found(name: str, own: Mapping[str, Any], path: str) -> Any:
    """Return one of these names, or an operation; ``path`` is the name's in messages."""
    if name in own:
        return own[name]
    if RENAMED.get(name, name) in FUNCTIONS:
        return _operation(name)
    raise AttributeError(missing(path))


class Names(SimpleNamespace):
    """A namespace of TensorFlow: its own names and the operations."""

    def __init__(self, path: str, own: Mapping[str, Any]) -> None:
        super().__init__(**own)
        self.__dict__["_path"] = path

    def __getattr__(self, name: str) -> Any:
        return _found(name, OWN, f"{self.__dict__['_path']}.{name}")


def missing(path: str) -> str:
    """Return the error message for a name that gpunn does not have."""
    name = path.rpartition(".")[2]
    message = advice_for("", name) if name == path else None
    if message is not None:
        return message
    known = sorted({*FUNCTIONS, *RENAMED, *PLAIN})
    hint = place_of(name, known) if name == path else closest(name, known)
    return (
        f"gpunn has no {path!r}.{hint} It replaces Keras, and those TensorFlow "
        f"functions that are operations in gpunn.ops."
    )


PLAIN: dict[str, Any] = {
    **{name: name for name in DTYPES},
    "newaxis": None,
    **OWN,
    **_by_name(
        constant, convert_to_tensor, clip_by_norm, clip_by_global_norm, ops.is_tensor,
        Tensor, TensorShape, UnconnectedGradients,
    ),
    "zeros_initializer": initializers.Zeros,
    "ones_initializer": initializers.Ones,
    "constant_initializer": initializers.Constant,
    "random_normal_initializer": initializers.RandomNormal,
    "random_uniform_initializer": initializers.RandomUniform,
    "nn": Names("nn", _by_name(
        l2_loss, dropout, sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits,
        sparse_softmax_cross_entropy_with_logits,
    )),
    "math": Names("math", {}),
    "linalg": Names("linalg", _by_name(global_norm)),
    "version": SimpleNamespace(VERSION=__version__, GIT_VERSION=__version__),
    "data": data,
    "executing_eagerly": lambda: True,
}


def named(name: str) -> Any:
    """Return ``tf.name``, or raise an AttributeError."""
    return _found(name, PLAIN, name)


CONFIG: dict[str, Any] = {
    **devices.CONFIG,
    # From Keras: gpunn always shows full tracebacks.
    "enable_traceback_filtering": lambda: None,
    "disable_traceback_filtering": lambda: None,
    "is_traceback_filtering_enabled": lambda: False,
    # `ops.dot_product_attention` chooses by itself.
    "enable_flash_attention": lambda: None,
    "disable_flash_attention": lambda: None,
    "is_flash_attention_enabled": lambda: False,
    "backend": backend.backend,
    "dtype_policy": dtype_policies.dtype_policy,
    "set_dtype_policy": dtype_policies.set_dtype_policy,
    "set_image_data_format": backend.set_image_data_format,
    "image_data_format": backend.image_data_format,
}


def config_named(name: str) -> Any:
    """Return ``tf.config.name``, not one of gpunn's own settings, or raise an AttributeError."""
    if name in CONFIG:
        return CONFIG[name]
    if message := advice_for("config", name):
        raise AttributeError(f"config.{name}: {message}")
    known = sorted({*CONFIG, "epsilon", "floatx", "set_floatx"})
    raise AttributeError(f"gpunn has no 'config.{name}'.{closest(name, known)}")
