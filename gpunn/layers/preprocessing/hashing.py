"""Layers that hash: strings and pairs of columns to codes, texts to vectors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_flag, check_integer, choice, optional
from gpunn.common.fields import field
from gpunn.common.numeric import is_missing
from gpunn.layers.layer import Layer
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import Tensor, ops

from .encoding import OfCodes, check_codes, encoded, mode_check, refuse_sparse
from .fingerprint import MASK, fingerprint
from .lookups import _as_array
from .on_host import HostLayer, RowEncoder

__all__ = ["HashedCrossing", "Hashing", "HashingVectorizer"]


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


_WORD = re.compile(r"\w+")
MASK32 = (1 << 32) - 1


class HashingVectorizer(RowEncoder):
    """Turn texts into rows of numbers: a hash of each word gives its position in the row.

    A row holds how often the words of each position occur, divided by the row's norm, so that long
    texts have no larger numbers than short ones. Words are runs of letters, digits and underscores,
    in lower case. Nothing is learnt, and the layer stores no words; different words may share a
    position.

    Texts are hashed on the host while data are fed. The layer therefore follows an input:
    ``gpunn.Input((1,), dtype="string")``. A missing text (None, NaN) gives zeros. The results equal
    scikit-learn's HashingVectorizer, with ``token_pattern=r"\\w+"``.

    Shapes: texts ``(batch,)`` or ``(batch, 1)`` -> rows ``(batch, n_features)``.

    Args:
        n_features: length of a row.
        norm: ``"l2"``: rows have the Euclidean length 1; ``"l1"``: the absolute values add up to
            1; None: plain counts.
        alternate_sign: whether the hash also gives each word a sign, so that words in one position
            rather cancel than add up.

    Raises:
        TypeError: for data that are not texts; the first is named.
        ValueError: for an unknown ``norm``.

    >>> layer = HashingVectorizer(4, norm=None)
    >>> layer(["Green tea", "tea, GREEN tea!", None]).tolist()
    [[1.0, 0.0, 1.0, 0.0], [2.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    examples = ({"n_features": 4}, {"n_features": 3, "norm": None, "alternate_sign": False})

    n_features: int = field(default=256, check=check_codes)
    norm: str | None = field(default="l2", check=optional(choice("l1", "l2")))
    alternate_sign: bool = field(default=True, check=check_flag)

    @property
    def width(self) -> int:
        return self.n_features

    def rows_of(self, values: list[Any], argument: str) -> np.ndarray:
        rows = np.zeros((len(values), self.n_features), np.float32)
        hashes: dict[str, int] = {}
        for k, text in enumerate(values):
            if text is None:
                continue
            if not isinstance(text, str):
                raise TypeError(
                    f"{argument} holds {text!r} at [{k}], a {type(text).__name__}; {self.name} "
                    f"takes texts. Convert the column to strings, as by x.astype(str)."
                )
            for word, count in Counter(_WORD.findall(text.lower())).items():
                if word not in hashes:
                    hashes[word] = murmurhash3(word.encode("utf-8", "surrogatepass"))
                hashed = hashes[word]
                sign = -1 if self.alternate_sign and hashed < 0 else 1
                rows[k, abs(hashed) % self.n_features] += sign * count
        if self.norm is not None:
            order = 2 if self.norm == "l2" else 1
            norms = np.linalg.norm(rows.astype(np.float64), order, axis=1, keepdims=True)
            rows /= np.where(norms > 0, norms, 1)
        return rows


def murmurhash3(data: bytes) -> int:
    """Return the 32-bit MurmurHash3 of A. Appleby, with seed 0, as a signed number.

    >>> murmurhash3(b""), murmurhash3(b"hello")
    (0, 613153351)
    """
    state, whole = 0, len(data) // 4 * 4
    for k in range(0, whole, 4):
        state ^= _scrambled(int.from_bytes(data[k : k + 4], "little"))
        state = (_rotated(state, 13) * 5 + 0xE6546B64) & MASK32
    state ^= _scrambled(int.from_bytes(data[whole:], "little")) ^ len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = ((state ^ state >> shift) * factor) & MASK32
    return state - (1 << 32) if state >> 31 else state


def _scrambled(block: int) -> int:
    return _rotated(block * 0xCC9E2D51 & MASK32, 15) * 0x1B873593 & MASK32


def _rotated(x: int, by: int) -> int:
    return (x << by | x >> 32 - by) & MASK32
