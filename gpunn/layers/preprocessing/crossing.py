"""The layer that numbers combinations of values by a hash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunn.common.fields import field
from gpunn.layers.layer import Layer
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Tensor, ops

from .encoding import check_codes, encoded, mode_check, refuse_sparse
from .fingerprint import MASK, fingerprint
from .lookups import _as_array

__all__ = ["HashedCrossing"]

KEY, FACTOR = 0xDECAFCAFFE, 0xC6A4A7935BD1E995  # TensorFlow's


class HashedCrossing(Layer):
    """Number combinations of values, one of each input, by a hash of them; or encode these numbers
    as rows.

    Nothing is learnt; different combinations may get the same number. The numbers are Keras's: the
    `FingerprintCat64` of FarmHash, modulo the number of bins. Integers are crossed in the step, so
    the layer may follow `StringLookup` and `IntegerLookup`. Strings are crossed if it is called on
    arrays, as by a data set's `map`.

    Shapes: two or more inputs ``(batch, 1)`` or ``(batch,)`` -> numbers of this shape; as rows
    ``(batch, num_bins)``.

    Args:
        num_bins: number of bins.
        output_mode: ``"int"`` or ``"one_hot"``.
        sparse: accepted as in Keras; must be False.

    Raises:
        ValueError: for other shapes, or a single input.
        TypeError: for values that are neither whole numbers nor strings.

    >>> layer = HashedCrossing(5)
    >>> layer([np.array(["A", "B", "A", "B", "A"]), np.array([101, 101, 101, 102, 102])]).tolist()
    [1, 4, 1, 1, 3]
    """

    examples = ({"num_bins": 5}, {"num_bins": 4, "output_mode": "one_hot"})
    takes_list = True
    _reads_integers = True

    num_bins: int = field(check=check_codes)
    output_mode: str = field(default="int", check=mode_check("int", "one_hot"))
    sparse: bool = field(default=False, check=refuse_sparse)

    def call(self, inputs: Any) -> Any:
        self._check([tuple(x.shape) for x in inputs])
        return self._crossed(map(self._parts_of, inputs))

    def _run(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        """Cross arrays, which may hold strings."""
        inputs = args[0] if args else kwargs["inputs"]
        arrays = list(map(_as_array, inputs)) if isinstance(inputs, (list, tuple)) else []
        self._check([x.shape for x in arrays])
        hashed = [[*map(self._hashed, x.reshape(-1).tolist())] for x in arrays]
        parts = np.array([[_parts(h) for h in values] for values in hashed], np.int32)
        each = [np.moveaxis(x, -1, 0).reshape(4, *arrays[0].shape) for x in parts]
        return self._crossed([[*map(ops.convert_to_tensor, x)] for x in each])

    def _parts_of(self, x: Tensor) -> list[Tensor]:
        if is_float(x.dtype):
            raise TypeError(
                f"{self.name} crosses integers, and strings outside of models; got {x.dtype}. "
                f"Declare the input with dtype='int32', or cast codes with ops.cast(x, 'int32')."
            )
        x = ops.cast(x, "int32")
        sign = ops.where(x < 0, 0xFFFF, 0)
        return [x & 0xFFFF, x // 65536 & 0xFFFF, sign, sign]

    def _crossed(self, inputs: Iterable[Sequence[Tensor]]) -> Any:
        key: Sequence[Any] = _parts(KEY)
        for parts in inputs:  # FarmHash's `FingerprintCat64`
            second = _times(_shifted(_times(parts)))
            mixed = [a ^ b ^ c for a, b, c in zip(second, key, _parts(FACTOR), strict=True)]
            key = _shifted(_times(_shifted(_times(mixed))))
        number: Any = 0.0
        for part in reversed(key):  # exact: all are below 2**53
            number = number * 65536.0 + ops.cast(part, "float64")
            number = number - ops.floor(number / self.num_bins) * self.num_bins
        return encoded(ops.cast(number, "int32"), self.output_mode, self.num_bins)

    def _check(self, shapes: Sequence[Any]) -> None:
        if len(shapes) < 2 or len({*shapes}) > 1 or shapes[0][1:] not in ((), (1,)):
            raise ValueError(
                f"{self.name} takes a list of at least two inputs of one shape, (batch,) or "
                f"(batch, 1); got the shapes {shapes}."
            )

    def _hashed(self, value: Any) -> int:
        if isinstance(value, (str, bytes)):
            text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            return fingerprint(text)
        if not isinstance(value, int):
            raise TypeError(f"{self.name} crosses whole numbers and strings; got {value!r}.")
        return value & MASK


# 64-bit numbers as tensors of their four 16-bit parts, the lowest first.


def _parts(x: int) -> list[int]:
    return [x >> 16 * k & 0xFFFF for k in range(4)]


def _shifted(x: Sequence[Tensor]) -> list[Tensor]:
    """Return x ^ x >> 47."""
    low = x[2] // 32768 | (x[3] * 2 & 0xFFFF)
    return [x[0] ^ low, x[1] ^ x[3] // 32768, x[2], x[3]]


def _times(x: Sequence[Tensor]) -> list[Tensor]:
    """Return x * FACTOR modulo 2**64; sums of products are exact in float64."""
    factor, found, carry = _parts(FACTOR), [], 0.0
    wide = [ops.cast(part, "float64") for part in x]
    for k in range(4):
        total: Any = sum((wide[i] * float(factor[k - i]) for i in range(k + 1)), carry)
        carry = ops.floor(total / 65536.0)
        found.append(ops.cast(total - carry * 65536.0, "int32"))
    return found
