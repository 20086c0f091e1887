"""Layers that map strings and integers to codes by a vocabulary."""

from __future__ import annotations

import re
from itertools import repeat
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_flag, choice
from gpunn.common.fields import field
from gpunn.common.numeric import is_missing
from gpunn.common.numeric.columns import values_of
from gpunn.common.registry import Examples

from .fingerprint import fingerprint
from .index_lookup import UNKNOWN, IndexLookup

__all__ = ["IntegerLookup", "StringLookup"]

# What JavaScript's \s matches, since pages fold strings too; Python's matches others.
_BLANKS = re.compile("[\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]+")


def folded(text: str) -> str:
    """Return a string in lower case, with single blanks and none at its ends.

    >>> folded("  New  YORK "), folded("new york")
    ('new york', 'new york')
    """
    text = text.lower()
    return text if text.isalnum() else _BLANKS.sub(" ", text).strip(" ")


def _as_array(x: Any) -> np.ndarray:
    """Return the values as a NumPy array, with None for masked ones."""
    if isinstance(x, np.ma.MaskedArray):
        known = x.data.astype("datetime64[us]") if x.dtype.kind == "M" else x.data  # no integers
        x = np.where(np.ma.getmaskarray(x), np.asarray(None, object), known)
    if not isinstance(x, (list, tuple)):
        return np.asarray(values_of(x))
    try:
        array = np.asarray(x)
    except ValueError:  # rows of different lengths: a later error names the lists
        return np.asarray(x, dtype=object)
    # NumPy converts numbers to strings in an array with a string.
    return array if array.dtype.kind in "biuf" else np.asarray(x, dtype=object)


def _rows(array: np.ndarray, apart: bool) -> np.ndarray:
    """Return the rows of an array (of one value each for a vector), or all values in one row."""
    if array.size == 0:
        return array.reshape(0, 1)
    return array.reshape(len(array) if apart and array.ndim else 1, -1)


class StringLookup(IndexLookup):
    """Map strings to their codes in a vocabulary, or to rows encoded from these.

    Strings are mapped to codes on the host while data are fed; the step encodes codes as rows. The
    layer therefore follows an input: ``gpunn.Input((1,), dtype="string")``. The first codes stand
    for the mask token, if there is one, and for unknown strings. A missing string (None,
    NaN, pandas's NA) is treated as the mask token, or as unknown if there is none.

    Shapes: strings ``(batch, ...)`` -> codes of the same shape; encoded as rows, the last axis has
    the length of the vocabulary.

    Args:
        max_tokens: maximum size of the vocabulary, including entries for masks and unknown
            strings.
        num_oov_indices: number of codes for unknown strings: one; several, chosen by a hash
            (FarmHash, as in TensorFlow); or 0: unknown strings raise an error.
        mask_token: a string that means a missing one. Its code is 0; in rows it is not counted.
        oov_token: the string that `invert` gives for unknown codes.
        vocabulary: the strings, or the path of a file with one per line; else call `adapt`.
        idf_weights: with ``"tf_idf"``, a weight for each string.
        invert: map codes to strings instead.
        output_mode: ``"int"``; or ``"one_hot"``, ``"multi_hot"``, ``"count"``: rows as in
            `CategoryEncoding`; ``"tf_idf"``: counts times ``log(1 + documents / (1 + documents
            that contain the string))``.
        pad_to_max_tokens: whether rows have length max_tokens.
        sparse: accepted as in Keras; must be False.
        encoding: encoding of strings that are given as bytes.
        fold: whether strings that differ in case or in blanks alone have one code: ``"Yes"`` and
            ``"yes "``. The vocabulary keeps its spelling; `adapt` makes one of lower case. An ONNX
            file knows single blanks and these spellings: the vocabulary's, lower case, upper case,
            and a capital at the start of the string or of each word.

    Raises:
        TypeError: for data that are not strings; the first is named.
        ValueError: for arguments that exclude each other, and for a vocabulary as in
            `set_vocabulary`.

    >>> layer = StringLookup(vocabulary=["oak", "elm"])
    >>> layer(["elm", "ash", "oak"]).tolist()
    [2, 0, 1]
    >>> StringLookup(vocabulary=["oak", "elm"], output_mode="one_hot")([["elm"], ["ash"]]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> StringLookup(vocabulary=["New York", "Ulm"], fold=True)(["new  york", "ULM"]).tolist()
    [1, 2]
    """

    examples: ClassVar[Examples] = (
        {"vocabulary": ["a", "b"]},
        {"vocabulary": ["a", "B"], "fold": True},
        {"vocabulary": ["a", "b"], "output_mode": "one_hot", "num_oov_indices": 2},
        {"vocabulary": ["a", "b"], "output_mode": "tf_idf", "idf_weights": [0.5, 2.0]},
    )

    oov_token = "[UNK]"
    encoding: str = field(default="utf-8", after="sparse")
    fold: bool = field(default=False, check=check_flag, kw_only=True)

    def __post_init__(self) -> None:
        self._codes: dict[Any, int] = {}
        super().__post_init__()

    @property
    def _gives_text(self) -> bool:
        return self.invert

    def as_tokens(self, values: Any) -> list[Any]:
        found = _as_array(values)
        if found.ndim != 1:
            raise ValueError(
                f"{self.name}: the vocabulary must be a list of strings; its shape is "
                f"{found.shape}."
            )
        for k, token in enumerate(found.tolist()):
            if not isinstance(token, (str, bytes)):
                raise TypeError(
                    f"{self.name}: the vocabulary must hold strings; entry {k} is {token!r}."
                )
        return [self._text(token) for token in found.tolist()]

    def _text(self, value: Any) -> str:
        return value.decode(self.encoding) if isinstance(value, bytes) else str(value)

    def key(self, value: Any) -> Any:
        return folded(value) if self.fold else value

    def _changed(self) -> None:
        codes = {token: self._token_start + k for k, token in enumerate(self._tokens)}
        self._codes = {**{self.key(token): code for token, code in codes.items()}, **codes}

    def found(self, x: Any, argument: str) -> tuple[np.ndarray, Any]:
        array = _as_array(x)
        table = dict(self._codes)
        if self.mask_token is not None:
            table[self.mask_token] = self.masked_code()
        values = array.reshape(-1).tolist()
        try:
            codes = np.fromiter(map(table.get, values, repeat(UNKNOWN)), np.int32, len(values))
        except TypeError:  # an unhashable value
            codes = np.full(len(values), UNKNOWN, np.int32)
        for k in np.flatnonzero(codes == UNKNOWN).tolist():
            if type(values[k]) is not str:
                place = [int(n) for n in np.unravel_index(k, array.shape)]
                if is_missing(values[k]):
                    codes[k] = self.missing_code(argument, place)
                    continue
                values[k] = self._checked(values[k], argument, place)
                codes[k] = table.get(values[k], UNKNOWN)
            if self.fold and codes[k] == UNKNOWN:
                if values[k] not in table:  # else an equal one was folded before
                    table[values[k]] = self._codes.get(self.key(values[k]), UNKNOWN)
                codes[k] = table[values[k]]
        kept = np.empty(len(values), object)
        kept[:] = values
        return codes.reshape(array.shape), kept.reshape(array.shape)

    def _checked(self, value: Any, argument: str, place: list[int]) -> str:
        if isinstance(value, (str, bytes)):
            return self._text(value)
        raise TypeError(
            f"{argument} holds {value!r} at {place}, a {type(value).__name__}; {self.name} takes "
            f"strings. Convert the column to strings, as by x.astype(str), or use IntegerLookup."
        )

    def buckets(self, values: list[Any]) -> list[int]:
        hashes = {value: fingerprint(self.key(value).encode()) for value in set(values)}
        return [hashes[value] % self.num_oov_indices for value in values]

    def rows_of(self, x: Any, argument: str, apart: bool) -> list[list[Any]]:
        rows = _rows(_as_array(x), apart)
        return [
            [
                self.key(value if type(value) is str else self._checked(value, argument, [k + n]))
                for n, value in enumerate(row)
                if type(value) is str or not is_missing(value)
            ]
            for k, row in enumerate(rows.tolist())
        ]


class IntegerLookup(IndexLookup):
    """Map integers of any size to their codes in a vocabulary, or to rows encoded from these.

    Like `StringLookup`, for integers. They are mapped on the host while data are fed, in 64 bits,
    so that large integers stay distinct. Floats are accepted if they are whole numbers.

    Shapes: integers ``(batch, ...)`` -> codes of the same shape; encoded as rows, the last axis has
    the length of the vocabulary.

    Args:
        num_oov_indices: number of codes for unknown integers: one; several, chosen by the remainder
            of a division; or 0: unknown integers raise an error.
        oov_token: the integer that `invert` gives for unknown codes.
        vocabulary_dtype: accepted as in Keras; integers have 64 bits.
        oov_method: ``"floormod"``, the remainder, or ``"farmhash"``, a hash as in TensorFlow.

    The other arguments, and errors: as for `StringLookup`; data must be whole numbers of 64 bits.

    >>> IntegerLookup(vocabulary=[12, 36])([[36, 7], [12, 12]]).tolist()
    [[2, 0], [1, 1]]
    """

    examples = (
        {"vocabulary": [3, 10**12]},
        {"vocabulary": [3, 4], "output_mode": "count", "num_oov_indices": 2, "mask_token": 0},
    )

    oov_token = -1
    vocabulary_dtype: str = field(
        default="int64", check=choice("int64", "int32"), after="vocabulary"
    )
    sparse: bool = field(default=False, after="output_mode")
    oov_method: str = field(
        default="floormod", check=choice("floormod", "farmhash"), after="pad_to_max_tokens"
    )

    def as_tokens(self, values: Any) -> list[Any]:
        array, missing = self._integers(values, f"{self.name}: the vocabulary")
        if array.ndim != 1 or missing.any():
            raise ValueError(
                f"{self.name}: the vocabulary must be a list of integers; got {values!r:.80}."
            )
        return array.tolist()

    def of_lines(self, lines: list[str], path: str) -> list[Any]:
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(int(line))
            except ValueError:
                raise ValueError(
                    f"line {number:,} of {path} holds {line!r}; {self.name} expects an integer."
                ) from None
        return found

    def _integers(self, x: Any, argument: str) -> tuple[np.ndarray, np.ndarray]:
        """Return an array of 64-bit integers, and a mask of missing values."""
        array = _as_array(x)
        missing = np.zeros(array.shape, bool)
        if array.dtype.kind == "O":
            found = np.zeros(array.shape, np.int64)
            for at, value in np.ndenumerate(array):
                missing[at] = is_missing(value)
                if not missing[at]:
                    found[at] = self._integer(value, argument, list(at))
            return found, missing
        if array.dtype.kind == "f":
            missing = np.isnan(array)
            array = np.where(missing, 0, array)
            for at in np.argwhere((np.floor(array) != array) | (np.abs(array) >= 2**63))[:1]:
                self._integer(array[tuple(at)], argument, at.tolist())
        elif array.dtype.kind not in "biu":
            if array.size == 0:
                return array.astype(np.int64), missing
            self._integer(array.reshape(-1)[0], argument, [0] * array.ndim)
        elif array.dtype == np.uint64 and (array > np.iinfo(np.int64).max).any():
            at = np.argwhere(array > np.iinfo(np.int64).max)[0]
            self._integer(array[tuple(at)], argument, at.tolist())
        return array.astype(np.int64), missing

    def _integer(self, value: Any, argument: str, place: list[int]) -> int:
        whole = isinstance(value, (bool, int, np.integer, np.bool_)) or (
            isinstance(value, (float, np.floating)) and float(value).is_integer()
        )
        if whole and -(2**63) <= int(value) < 2**63:
            return int(value)
        shown = value.item() if isinstance(value, np.generic) else value
        raise TypeError(
            f"{argument} holds {shown!r} at {place}; {self.name} takes integers of 64 bits. Use "
            f"StringLookup for strings, Discretization for other numbers."
        )

    def _changed(self) -> None:
        tokens = np.asarray(self._tokens, np.int64)
        order = np.argsort(tokens)
        self._sorted, self._sorted_codes = tokens[order], order + self._token_start

    def found(self, x: Any, argument: str) -> tuple[np.ndarray, Any]:
        array, missing = self._integers(x, argument)
        places = np.minimum(np.searchsorted(self._sorted, array), len(self._sorted) - 1)
        known = self._sorted[places] == array
        codes = np.where(known, self._sorted_codes[places], UNKNOWN).astype(np.int32)
        if self.mask_token is not None:
            codes[array == self.mask_token] = self.masked_code()
        if missing.any():
            codes[missing] = self.missing_code(argument, np.argwhere(missing)[0].tolist())
        return codes, array

    def buckets(self, values: list[Any]) -> list[int]:
        n = self.num_oov_indices
        if self.oov_method == "floormod":
            return [value % n for value in values]
        return [fingerprint(str(value).encode()) % n for value in values]

    def rows_of(self, x: Any, argument: str, apart: bool) -> list[list[Any]]:
        array, missing = self._integers(x, argument)
        rows, there = _rows(array, apart), _rows(~missing, apart)
        return [row[kept].tolist() for row, kept in zip(rows, there, strict=True)]
