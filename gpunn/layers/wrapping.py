"""Layers around other layers, and what a layer expects of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from gpunn.common import registry
from gpunn.common.fields import field
from gpunn.core.storage import Parameter
from gpunn.initializers import TruncatedNormal
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import named
from gpunn.ops.tensor import ops

from .arguments import check_units
from .layer import Layer
from .parameters import ensure_built
from .shapes import Shape, without_batch_axis

__all__ = ["InputSpec", "SpectralNormalization", "Wrapper"]


@dataclass(eq=False, repr=False)
class InputSpec:
    """What a layer expects of an input: its number of axes, and their lengths.

    A layer sets it as its ``input_spec``, in the constructor or in `build`, or a list of one for
    each input. Calls with other inputs raise an error that names the layer, before it is built.

    Args:
        dtype: expected dtype, such as ``"float32"``.
        shape: lengths of all axes, the batch axis first; None for any length.
        ndim: number of axes, with the batch axis.
        max_ndim, min_ndim: bounds of that number.
        axes: the lengths of some axes, ``{axis: length}``; None for any length.
        allow_last_axis_squeeze: whether a last axis of length 1 may be missing or added.
        name: name of the input, for messages.
        optional: whether the input may be None.

    Raises:
        TypeError: if ``axes`` is no dictionary of integers.
        ValueError: for an axis beyond ``ndim`` or ``max_ndim``.

    >>> import gpunn
    >>> class _Rows(gpunn.layers.Layer):
    ...     def __init__(self):
    ...         super().__init__(name="rows")
    ...         self.input_spec = InputSpec(ndim=3, axes={-1: 8})
    ...     def call(self, x):
    ...         return x[:, 0]
    >>> _Rows()([[1.0, 2.0]])
    Traceback (most recent call last):
    ValueError: rows: inputs of 3 axes, with the batch axis, are expected; got shape (None, 2).
    """

    dtype: Any = None
    shape: Any = None
    ndim: int | None = None
    max_ndim: int | None = None
    min_ndim: int | None = None
    axes: Any = None
    allow_last_axis_squeeze: bool = False
    name: str | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        self.dtype = None if self.dtype is None else named(self.dtype)
        if self.shape is not None:
            self.shape, self.ndim = tuple(self.shape), len(self.shape)
        try:
            self.axes = {int(axis): n for axis, n in dict(self.axes or {}).items()}
        except (TypeError, ValueError):
            raise TypeError(
                f"axes must be a dictionary of integers; got axes={self.axes!r}."
            ) from None
        most = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and most is not None and max(self.axes) >= most:
            raise ValueError(f"axes holds the axis {max(self.axes)}; there are at most {most}.")

    def expected(self, shape: Shape, dtype: str) -> str | None:
        """Return what is expected of an input of this shape and dtype instead; None if it fits.

        >>> InputSpec(min_ndim=3).expected((None, 8), "float32")
        'at least 3 axes, with the batch axis,'
        """
        ndim, squeezes = len(shape), self.allow_last_axis_squeeze
        if self.ndim is not None and ndim != self.ndim and not squeezes:
            return f"{self.ndim} axes, with the batch axis,"
        if self.max_ndim is not None and ndim > self.max_ndim:
            return f"at most {self.max_ndim} axes, with the batch axis,"
        if self.min_ndim is not None and ndim < self.min_ndim:
            return f"at least {self.min_ndim} axes, with the batch axis,"
        if self.dtype is not None and dtype != self.dtype:
            return f"dtype {self.dtype}, not {dtype},"
        for axis, n in self.axes.items():
            if not -ndim <= axis < ndim or (n is not None and shape[axis] not in (n, None)):
                return f"length {n} along axis {axis}"
        if self.shape is not None:
            own = self.shape
            if squeezes:
                own, shape = (s[:-1] if s[-1:] == (1,) else s for s in (own, shape))
            if len(own) != len(shape) or any(
                n is not None and m is not None and n != m for n, m in zip(own, shape, strict=True)
            ):
                return f"shape {self.shape}"
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal object, as JSON-serializable values; as Keras's,
        without the name and ``allow_last_axis_squeeze``.

        >>> InputSpec.from_config(InputSpec(ndim=2).get_config()).ndim
        2
        """
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """Make an object from the arguments that `get_config` returned, as in Keras.

        >>> InputSpec.from_config({"min_ndim": 3})
        InputSpec(min_ndim=3)
        """
        return cls(**config)

    def __repr__(self) -> str:
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")
        given = (f"{name}={getattr(self, name)}" for name in names if getattr(self, name))
        return f"InputSpec({', '.join(given)})"


def _check_layer(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        kind = "model" if registry.is_model(value.get("class_name")) else "layer"
        return registry.deserialize(value, kind)
    if isinstance(value, Layer) or (isinstance(value, registry.Entry) and value._kind == "model"):
        return value
    raise ValueError(f"{name} must be a layer, such as layers.Dense(8); got {value!r}.")


class Wrapper(Layer):
    """Base class of layers around another layer, which they hold as ``layer``.

    A subclass writes a `call` that applies ``self.layer``. Its weights are the layer's, and what it
    declares itself.

    Args:
        layer: the layer inside, or a model.

    Raises:
        ValueError: if ``layer`` is not a layer.

    >>> import gpunn
    >>> class _Twice(gpunn.layers.Wrapper):
    ...     def call(self, x):
    ...         return self.layer(self.layer(x))
    >>> layer = _Twice(gpunn.layers.Dense(2, kernel_initializer="ones"))
    >>> layer([[1.0, 2.0]]).tolist(), len(layer.weights)
    ([[6.0, 6.0]], 2)
    """

    _abstract = True

    layer: Any = field(check=_check_layer)

    def build(self, input_shape: Any) -> None:
        if self.layer.built:
            return
        if self.layer._kind == "model":
            self.layer.build((None, *without_batch_axis(input_shape)))
        else:
            ensure_built(self.layer, without_batch_axis(input_shape))


class SpectralNormalization(Wrapper):
    """Divide a layer's kernel by its largest singular value, in each step of training.

    A step replaces the kernel W, as a matrix (others, filters), by ``W / (v W u)``, before the
    layer uses it. The vectors come from power iterations, ``v = u W^T`` and ``u = v W``, each
    divided by its length; u is kept from step to step, and saved. Gradients are of the kernel that
    the layer used. A kernel of zeros stays as it is. Source: Miyato et al., "Spectral
    normalization for generative adversarial networks", 2018.

    Shapes: as of the layer.

    Args:
        layer: a layer with a ``kernel``, such as `Dense` or `Conv2D`, or with ``embeddings``.
        power_iterations: number of iterations in a step.

    Raises:
        ValueError: for iterations below 1; when it is built, for a layer without such a weight.

    >>> import gpunn
    >>> layer = SpectralNormalization(gpunn.layers.Dense(2, kernel_initializer="ones"))
    >>> layer([[1.0, 1.0]], training=True).round(3).tolist()  # the value of [[1, 1], [1, 1]] is 2
    [[1.0, 1.0]]
    """

    examples: ClassVar[Any] = (
        {"layer": {"class_name": "Dense", "config": {"units": 3, "name": "a"}}},
        {
            "layer": {"class_name": "Dense", "config": {"units": 2, "name": "a"}},
            "power_iterations": 3,
        },
    )

    _refused = MappingProxyType(
        {"normalized_weights": "write call(inputs, training), which replaces the kernel"}
    )
    power_iterations: int = field(default=1, check=check_units, after="layer")

    @property
    def _kernel(self) -> Any:
        for name in ("kernel", "embeddings"):
            if (kernel := getattr(self.layer, name, None)) is not None:
                return kernel
        raise ValueError(
            f"{self.name}: {self.layer.name} has neither a kernel nor embeddings; wrap a layer "
            f"that has, such as Dense, Conv2D or Embedding."
        )

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.vector_u = self.add_weight(
            (1, self._kernel.shape[-1]), TruncatedNormal(stddev=0.02), trainable=False,
            name="vector_u",
        )

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        kernel = self._kernel if self.built else None  # first, as in Keras
        yield from sorted(
            super().named_parameters(),
            key=lambda one: 0 if one[1] is kernel else 1 if one[0] == "vector_u" else 2,
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            kernel, before = convert(self._kernel), convert(self.vector_u)
            w = ops.reshape(kernel, (-1, kernel.shape[-1]))
            u = before
            for _ in range(self.power_iterations):
                column = ops.normalize(ops.matmul(w, ops.reshape(u, (-1, 1))), None)
                product = ops.matmul(ops.reshape(column, (1, -1)), w)  # v W
                u = ops.normalize(product, None)
            norm = ops.sum(product * u)
            some = norm > 0.0
            change = ops.stop_gradient(w / ops.where(some, norm, 1.0) - w)
            self.vector_u.assign(ops.where(some, u, before))
            self._kernel.assign(kernel + ops.reshape(change, kernel.shape))
        return self.layer(inputs, training=training)
