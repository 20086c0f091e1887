"""Layers of indices: rows of a table in their place, and masks of those that are padding."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from gpunn.common.arguments import (
    check_flag,
    check_number,
    check_positive,
    check_positive_integer,
    optional,
)
from gpunn.common.fields import field
from gpunn.initializers import Constant
from gpunn.layers.arguments import MOST_CODES, check_codes_below, check_units
from gpunn.layers.layer import Layer
from gpunn.layers.parameters import declared
from gpunn.layers.shapes import Shape
from gpunn.ops.conversion import convert
from gpunn.ops.gather_scatter.checks import PlaceError, checked, integers
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.shapes import IntegerError
from gpunn.ops.tensor import Tensor, ops

__all__ = ["Embedding", "Masking", "ReversibleEmbedding"]


def _refuse(name: str, value: Any) -> None:
    if value is not None:
        raise ValueError(f"{name} is not supported; leave it out. Got {name}={value!r}.")


def _only_false(name: str, value: Any) -> bool:
    if check_flag(name, value):
        raise ValueError(f"{name}=True is not supported here: use an Embedding, and layers.Dense.")
    return False


class Embedding(Layer):
    """Replace each index by a row of a table that is trained: ``y = embeddings[x]``.

    Words, users or articles, numbered from 0, thus get vectors, and those that are used alike get
    similar ones. The gradient of a row is the sum over all places where its index stands.

    Shapes: integers ``(batch, ...)`` -> y ``(batch, ..., output_dim)``; the table ``embeddings`` is
    ``(input_dim, output_dim)``. Floats are accepted if they are whole numbers.

    Args:
        input_dim: number of rows: one more than the largest index.
        output_dim: length of a row.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the whole table.
        mask_zero: whether the index 0 is padding: `compute_mask` then marks the other places, for
            layers that skip masked steps.
        weights: initial values of the table, an array of its shape, or that in a list.
        lora_rank, lora_alpha, quantization_config: accepted as in Keras; must be None.
        input_length: number of indices of a sample, an older form of ``input_shape=(n,)``.

    Raises:
        PlaceError: an IndexError and ValueError, for an index out of range; data are checked before
            the first step, and computed indices in each step.
        IntegerError: a TypeError and ValueError, for an index that is not a whole number.
        ValueError: for weights of another shape.

    >>> layer = Embedding(3, 2, weights=[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> layer([[2, 0], [1, 1]]).tolist()
    [[[4.0, 5.0], [0.0, 1.0]], [[2.0, 3.0], [2.0, 3.0]]]
    """

    examples = ({"input_dim": 3, "output_dim": 2}, {"input_dim": 5, "output_dim": 1})

    _reads_integers = True
    _undescribed = ("weights",)

    input_dim: int = field(check=check_units)
    output_dim: int = field(check=check_units)
    embeddings_initializer: Any = field(default="uniform")
    embeddings_regularizer: Any = field(default=None)
    embeddings_constraint: Any = field(default=None)
    mask_zero: bool = field(default=False, check=check_flag)
    weights: Any = field(
        default=None, attribute="_given", managed=property(attrgetter("_own_parameters"))
    )
    lora_rank: Any = field(default=None, check=_refuse, attribute=None)
    lora_alpha: Any = field(default=None, check=_refuse, attribute=None)
    quantization_config: Any = field(default=None, check=_refuse, attribute=None)
    input_length: int | None = field(
        default=None, check=optional(check_positive_integer), kw_only=True,
        attribute="_input_length",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        length = vars(self).pop("_input_length")
        if self._given_input_shape is None and length is not None:
            self._given_input_shape = (length,)
        self.supports_masking = self.mask_zero
        self._first: Any = None  # values of the table
        given = vars(self).pop("_given")
        if given is not None:
            several = isinstance(given, (list, tuple)) and len(given) == 1
            values = np.asarray(given[0] if several else given)
            if values.shape != (shape := (self.input_dim, self.output_dim)):
                raise ValueError(
                    f"{self.name}: weights must have the shape {shape} of (input_dim, output_dim); "
                    f"got {values.shape}."
                )
            self._first = values

    def build(self, input_shape: Shape | None = None) -> None:
        self.embeddings = declared(self, "embeddings", (self.input_dim, self.output_dim))
        self.embeddings.by_rows = True
        if self._first is not None:  # not in the configuration: a file holds the values
            self.embeddings.initializer, self._first = Constant(self._first), None

    def call(self, x: Any) -> Tensor:
        places, what = convert(x), f"{self.name}: indices"
        if places.dtype == "float32" and self.input_dim > MOST_CODES:
            raise ValueError(
                f"{self.name}: float32 cannot distinguish {self.input_dim:,} indices; give the "
                f"model integers, as by gpunn.Input(..., dtype='int32')."
            )
        places = convert(places, "int32") if places.dtype == "bool" else places
        places = integers(checked(places, 0, self.input_dim - 1, what), what)
        rows = take_unchecked(convert(self.embeddings), ops.reshape(places, (-1,)), wraps=False)
        return ops.reshape(rows, (*places.shape, self.output_dim))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where the indices are not 0, of their shape; None without ``mask_zero``.

        >>> Embedding(3, 2, mask_zero=True).compute_mask([[1, 0]]).tolist()
        [[True, False]]
        """
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def _check_values(self, array: np.ndarray, argument: str) -> None:
        """Raise an error for data other than integers from 0 to ``input_dim`` - 1."""
        check_codes_below(self.input_dim, array, argument, self.name, PlaceError, IntegerError)


class ReversibleEmbedding(Embedding):
    """An `Embedding` that also maps rows back to one score for each index, as language models do.

    ``layer(h, reverse=True)`` is ``h embeddings^T``, with the table that ``layer(x)`` reads: tied
    weights (Press and Wolf, 2016), which get the sum of both gradients.

    Shapes: integers ``(batch, ...)`` -> y ``(batch, ..., output_dim)``; in reverse, floats
    ``(batch, ..., output_dim)`` -> scores ``(batch, ..., input_dim)``.

    Args:
        tie_weights: whether both directions share the table; otherwise ``reverse_embeddings``
            (output_dim, input_dim) maps back.
        mask_zero: accepted as in Keras; must be False.
        reverse_dtype: accepted as in Keras; must be None.
        logit_soft_cap: c in ``c tanh(scores / c)``, which keeps scores within c; none by default.

    The other arguments, and errors: as in `Embedding`.

    >>> layer = ReversibleEmbedding(3, 2, weights=[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> layer(layer([[2]]), reverse=True).tolist()
    [[[5.0, 23.0, 41.0]]]
    """

    examples = (
        {"input_dim": 3, "output_dim": 2},
        {"input_dim": 3, "output_dim": 2, "tie_weights": False, "logit_soft_cap": 2.0},
    )

    tie_weights: bool = field(default=True, check=check_flag, after="output_dim")
    mask_zero: bool = field(default=False, check=_only_false, after="embeddings_constraint")
    reverse_dtype: Any = field(default=None, check=_refuse, attribute=None, after="mask_zero")
    logit_soft_cap: float | None = field(
        default=None, check=optional(check_positive), after="reverse_dtype"
    )

    def build(self, input_shape: Shape | None = None) -> None:
        super().build(input_shape)
        self.embeddings.by_rows = False  # scores are of all rows
        if not self.tie_weights:
            shape, first = (self.output_dim, self.input_dim), self.embeddings_initializer
            self.reverse_embeddings = self.parameter(shape, first, "reverse_embeddings")

    def call(self, x: Any, reverse: bool = False) -> Tensor:
        if not reverse:
            return super().call(x)
        if self.tie_weights:
            scores = ops.matmul(x, ops.transpose(self.embeddings))
        else:
            scores = ops.matmul(x, self.reverse_embeddings)
        cap = self.logit_soft_cap
        return scores if cap is None else ops.tanh(scores / cap) * cap

    _check_values = None  # type: ignore[assignment]  # data may be what is mapped back


class Masking(Layer):
    """Skip the steps whose features all equal ``mask_value``, in all following layers.

    The outputs of these steps are 0. The mask, False for them, goes on with the output:
    recurrent layers keep their state there, and a loss of sequences leaves them out. A layer that
    does not support masks ends it, with a warning.

    Shapes: x ``(batch, steps, features)`` -> y of the same shape, with a mask ``(batch, steps)``.

    Args:
        mask_value: the value.

    Raises:
        ValueError: if ``mask_value`` is not a finite number.

    >>> masking = Masking()
    >>> masking.compute_mask([[[1.0, 2.0], [0.0, 0.0]]]).tolist()
    [[True, False]]
    """


    mask_value: float = field(default=0.0, check=check_number)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return where any feature differs from ``mask_value``: (batch, steps)."""
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, x: Any) -> Any:
        return ops.where(ops.expand_dims(self.compute_mask(x), -1), x, ops.zeros_like(x))
