"""Encoding of category codes as rows of numbers, and the layer for it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gpunn.common.arguments import check_choice, check_dtype, check_integer
from gpunn.common.config import floatx
from gpunn.common.fields import field
from gpunn.layers.arguments import MOST_CODES, check_codes_below
from gpunn.layers.layer import Layer
from gpunn.ops.dtypes import is_float, named, standard
from gpunn.ops.tensor import ops

__all__ = ["CategoryEncoding"]

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
OLD_NAMES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


def check_codes(name: str, value: Any, least: int = 1) -> int:
    """Return ``value``, a number of codes: an integer of at least ``least``, and not too large."""
    if check_integer(name, value, least) > MOST_CODES:
        raise ValueError(
            f"{name} must be at most {MOST_CODES:,}, the number of integers that float32 can "
            f"distinguish; got {value!r}."
        )
    return int(value)


def mode_check(*modes: str) -> Any:
    """Return a check of an argument ``output_mode`` that accepts Keras's older names too."""
    return lambda name, value: check_choice(name, OLD_NAMES.get(value, value), modes)


def refuse_sparse(name: str, value: Any) -> bool:
    """Check ``sparse`` or ``ragged``, which must be False."""
    if value:
        raise ValueError(f"{name}=True: {name} tensors are not supported; leave it out.")
    return False


def encoded(codes: Any, mode: str, depth: int, weights: Any = None) -> Any:
    """Encode codes (batch, ...) as ``mode`` names, with `gpunn.ops`.

    Args:
        codes: integers; one that is not from 0 to ``depth`` - 1 is not counted.
        mode: "int" leaves them unchanged. "one_hot": a row with a 1 for each code; it replaces
            a last axis of length 1, else it is a new axis. The others make one row of the codes
            along the second axis, as Keras does: "multi_hot" with a 1 for each code that occurs,
            "count" with how often it occurs, and "tf_idf" with that count times a weight.
        depth: length of a row.
        weights: weights of each code for "count", of each position in a row for "tf_idf".
    """
    if mode == "int":
        return codes
    dtype = codes.dtype if is_float(codes.dtype) else floatx()
    if mode == "one_hot":
        if codes.ndim > 1 and codes.shape[-1] == 1:
            codes = ops.reshape(codes, codes.shape[:-1])
        return ops.one_hot(ops.cast(codes, "int32"), depth, dtype=dtype)
    if codes.ndim == 1:  # a sample is one code
        codes = ops.expand_dims(codes, 1)
    counts: Any = 0.0
    if codes.shape[1] == 0:
        counts = ops.sum(ops.one_hot(ops.cast(codes, "int32"), depth, dtype=dtype), 1)
    for k in range(codes.shape[1]):  # all fused into one loop over the rows
        row = ops.one_hot(ops.cast(codes[:, k], "int32"), depth, dtype=dtype)
        if mode == "count" and weights is not None:
            row = row * ops.expand_dims(weights[:, k], -1)
        counts = counts + row
    if mode == "multi_hot":
        return ops.minimum(counts, 1.0)
    return counts * np.asarray(weights, counts.dtype) if mode == "tf_idf" else counts


def alone(layer: Any, x: Any) -> bool:
    """Whether an input array is a single sample, as in Keras: a number, or a vector that is encoded
    as one row."""
    mode = getattr(layer, "output_mode", None)
    return np.ndim(x) <= (mode in ("multi_hot", "count", "tf_idf"))


def with_rows(layer: Any, x: np.ndarray) -> np.ndarray:
    """Return an input array, a number as a vector if it becomes a row, as in Keras."""
    return np.atleast_1d(x) if layer.output_mode == "one_hot" else x


def _check_dtype(name: str, value: Any) -> str | None:
    """Return the name of a dtype, also of integers."""
    whole = value is not None and not is_float(named(value))
    return named(value) if whole else check_dtype(name, value)


class OfCodes(Layer):
    """Base class of layers that give codes, or rows of codes: its dtype may be one of integers.

    Rows are then integers too; a step computes with int32.
    """

    _abstract = True

    dtype: Any = field(default=None, check=_check_dtype, kw_only=True, attribute="_asked")
    _whole = cast("str | None", None)

    def __post_init__(self) -> None:
        asked = vars(self).pop("_asked")
        self._whole = None if asked is None or is_float(asked) else asked
        self.dtype = None if self._whole else asked
        super().__post_init__()

    def _as_asked(self, y: Any) -> Any:
        return y if self._whole is None else ops.cast(y, standard(self._whole))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self._whole is None else {**config, "dtype": self._whole}


class CategoryEncoding(OfCodes):
    """Encode integers from 0 as one-hot rows, multi-hot rows or counts.

    The layer is computed inside the step. If it reads an input of the model, data with other
    numbers raise an error before the first step.

    Shapes: integers ``(batch, n)`` -> rows ``(batch, num_tokens)`` for ``"multi_hot"`` and
    ``"count"``; integers ``(batch, 1)`` -> rows ``(batch, num_tokens)`` for ``"one_hot"``.

    Args:
        num_tokens: number of categories; integers are from 0 to ``num_tokens`` - 1.
        output_mode: ``"one_hot"``: a row for each integer; it replaces a last axis of length 1,
            else it is a new axis. ``"multi_hot"``: one row for the integers along the second axis,
            with a 1 for each that occurs; ``"count"``: with how often each occurs.
        sparse: accepted as in Keras; must be False.

    Call it with ``count_weights`` in the shape of the integers to sum weights instead.

    Raises:
        ValueError: for integers out of range, and for ``count_weights`` without ``"count"``.

    >>> CategoryEncoding(3, "one_hot")([[2], [0]]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> CategoryEncoding(3, "count")([[2, 2], [0, 1]]).tolist()
    [[0.0, 0.0, 2.0], [1.0, 1.0, 0.0]]
    >>> CategoryEncoding(3, "count")([[2, 0]], count_weights=[[0.5, 2.0]]).tolist()
    [[2.0, 0.0, 0.5]]
    """

    examples = ({"num_tokens": 3}, {"num_tokens": 2, "output_mode": "count"})


    num_tokens: int = field(check=check_codes)
    output_mode: str = field(default="multi_hot", check=mode_check("one_hot", "multi_hot", "count"))
    sparse: bool = field(default=False, check=refuse_sparse)

    def call(self, x: Any, count_weights: Any = None) -> Any:
        if count_weights is not None and self.output_mode != "count":
            raise ValueError(
                f"{self.name}: count_weights require output_mode='count'; it is "
                f"{self.output_mode!r}."
            )
        return self._as_asked(encoded(x, self.output_mode, self.num_tokens, count_weights))

    def _check_values(self, array: np.ndarray, argument: str) -> None:
        """Raise an error for data other than integers from 0 to ``num_tokens`` - 1."""
        hint = " Use IntegerLookup for integers of any size."
        check_codes_below(self.num_tokens, array, argument, self.name, hint=hint)

    def _run(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        x = with_rows(self, np.asarray(args[0] if args else kwargs.pop("x")))
        args = (x, *args[1:])
        if x.dtype.kind in "biuf":
            self._check_values(x, self.name)
        if not alone(self, x):
            return super()._run(*args, training=training, **kwargs)
        given = [np.asarray(entry)[None] for entry in args]
        named = {key: np.asarray(entry)[None] for key, entry in kwargs.items()}
        return super()._run(*given, training=training, **named)[0]
