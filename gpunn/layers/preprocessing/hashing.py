"""The layer that turns texts into numbers by hashing their words."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from gpunn.common.arguments import check_flag, choice, optional
from gpunn.common.fields import field

from .encoding import check_codes
from .row_encoder import RowEncoder

__all__ = ["HashingVectorizer"]

_WORD = re.compile(r"\w+")
MASK = (1 << 32) - 1


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
        state = (_rotated(state, 13) * 5 + 0xE6546B64) & MASK
    state ^= _scrambled(int.from_bytes(data[whole:], "little")) ^ len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = ((state ^ state >> shift) * factor) & MASK
    return state - (1 << 32) if state >> 31 else state


def _scrambled(block: int) -> int:
    return _rotated(block * 0xCC9E2D51 & MASK, 15) * 0x1B873593 & MASK


def _rotated(x: int, by: int) -> int:
    return (x << by | x >> 32 - by) & MASK
