"""The layer that numbers values by a hash, without a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import check_integer
from gpunn.common.fields import field
from gpunn.common.numeric import is_missing

from .encoding import OfCodes, check_codes, encoded, mode_check, refuse_sparse
from .fingerprint import MASK, fingerprint
from .lookups import _as_array
from .on_host import HostLayer

__all__ = ["Hashing"]


def _salt(name: str, value: Any) -> list[int] | None:
    if value is None:
        return None
    pair = value if isinstance(value, (tuple, list)) else [value, value]
    if len(pair) != 2:
        raise ValueError(f"{name} must be an integer or two of them; got {value!r}.")
    return [check_integer(name, number, 0) for number in pair]


class Hashing(OfCodes, HostLayer):
    """Number strings or integers by a hash of each, or encode these numbers as rows.

    Nothing is learnt and nothing is stored; different values may get the same number. Values are
    hashed on the host while data are fed. The layer therefore follows an input:
    ``gpunn.Input((1,), dtype="string")``, or one of integers. The numbers are Keras's: FarmHash's
    fingerprint of the text of a value, or SipHash with a salt, modulo the number of bins.

    Shapes: values ``(batch, ...)`` -> numbers of the same shape; encoded as rows, the last axis has
    the length ``num_bins``.

    Args:
        num_bins: number of bins, including the bin of ``mask_value``.
        mask_value: the value whose number is 0; all others are then from 1 on.
        salt: an integer, or two, that determine another hash.
        output_mode, sparse: as in `StringLookup`, without ``"tf_idf"``.

    Raises:
        TypeError: for data that are neither strings nor whole numbers; the first is named.
        ValueError: for a salt of another form.

    >>> Hashing(3)([["A"], ["B"], ["C"], ["D"], ["E"]]).tolist()
    [[1], [0], [1], [1], [2]]
    >>> Hashing(3, salt=[133, 137])([["A"], ["B"], ["C"], ["D"], ["E"]]).tolist()
    [[1], [2], [1], [0], [2]]
    """

    examples = ({"num_bins": 3}, {"num_bins": 4, "output_mode": "count", "mask_value": ""})

    num_bins: int = field(check=check_codes)
    mask_value: Any = field(default=None)
    salt: Any = field(default=None, check=_salt)
    output_mode: str = field(
        default="int", check=mode_check("int", "one_hot", "multi_hot", "count")
    )
    sparse: bool = field(default=False, check=refuse_sparse)

    gives_integers = True

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        array = _as_array(x)
        masks = self.mask_value is not None and self.num_bins > 1
        bins, known = self.num_bins - masks, dict[Any, int]()
        found = np.empty(array.size, np.int32)
        for k, value in enumerate(array.reshape(-1).tolist()):
            try:
                found[k] = known[value]
            except (KeyError, TypeError):
                text = self._text(value, argument, array.shape, k)
                number = 0
                if not masks or self.mask_value not in (value, text):
                    data = text.encode("utf-8", "surrogatepass")
                    hashed = siphash(data, *self.salt) if self.salt else fingerprint(data)
                    number = hashed % bins + masks
                found[k] = known[value] = number
        return found.reshape(array.shape)

    def _text(self, value: Any, argument: str, shape: Any, k: int) -> str:
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, str):
            return value
        whole = isinstance(value, (int, float, np.integer, np.floating)) and not is_missing(value)
        if whole and float(value).is_integer():
            return str(int(value))
        place = [int(n) for n in np.unravel_index(k, shape)]
        raise TypeError(
            f"{argument} holds {value!r} at {place}; {self.name} takes strings and whole numbers. "
            f"Fill in missing values, and convert others to strings, as by x.astype(str)."
        )

    def call(self, x: Any) -> Any:
        return self._as_asked(encoded(x, self.output_mode, self.num_bins))


def siphash(data: bytes, first: int, second: int) -> int:
    """Return the 64-bit SipHash-2-4 (Aumasson and Bernstein, 2012) with these two keys.

    >>> key = range(16)  # the test vector of the paper
    >>> keys = [int.from_bytes(bytes(key[k : k + 8]), "little") for k in (0, 8)]
    >>> hex(siphash(bytes(range(15)), *keys))
    '0xa129ca6149be45e5'
    """
    a, b = first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D
    c, d = first ^ 0x6C7967656E657261, second ^ 0x7465646279746573

    def rounds(count: int) -> None:
        nonlocal a, b, c, d
        for _ in range(count):
            a, c = (a + b) & MASK, (c + d) & MASK
            b, d = _turned(b, 13) ^ a, _turned(d, 16) ^ c
            a, c = (_turned(a, 32) + d) & MASK, (c + b) & MASK
            b, d = _turned(b, 17) ^ c, _turned(d, 21) ^ a
            c = _turned(c, 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        d ^= word
        rounds(2)
        a ^= word
    c ^= 0xFF
    rounds(4)
    return a ^ b ^ c ^ d


def _turned(x: int, by: int) -> int:
    return (x << by | x >> 64 - by) & MASK
