"""Texts as lists of word indices, as in Keras's text data sets."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .keras_files import KerasFile, find

Texts = Sequence[Sequence[int]] | NDArray[Any]  # of lists


def orders(seed: int, *lengths: int) -> list[NDArray[np.int64]]:
    """Return the orders that Keras draws from this seed for these numbers of rows, in turn."""
    draw = np.random.RandomState(seed)
    found = [np.arange(length) for length in lengths]
    for order in found:
        draw.shuffle(order)
    return found


def numbered(texts: Texts, start_char: int | None, index_from: int | None) -> list[list[int]]:
    """Return texts with ``index_from`` added to the word indices, preceded by ``start_char``."""
    first = index_from or 0
    start = [] if start_char is None else [start_char]
    return [start + [word + first for word in text] for text in texts]


def shorter(texts: Texts, labels: Any, maxlen: int | None) -> tuple[Texts, Any]:
    """Return the texts of fewer words than ``maxlen``, at least one, and their labels."""
    if not maxlen:
        return texts, labels
    pairs = zip(texts, labels, strict=True)
    kept = [(text, label) for text, label in pairs if len(text) < maxlen]
    if not kept:
        raise ValueError(f"maxlen: no text has fewer than {maxlen} words.")
    return [text for text, _ in kept], np.array([label for _, label in kept])


def frequent(
    texts: Texts, num_words: int | None, skip_top: int, oov_char: int | None
) -> NDArray[Any]:
    """Return texts of the words from ``skip_top`` up to ``num_words``. Other words become
    ``oov_char`` or, if that is None, are omitted."""
    end = num_words or max(max(text) for text in texts)
    found = np.empty(len(texts), dtype=object)
    for place, text in enumerate(texts):
        if oov_char is None:
            found[place] = [word for word in text if skip_top <= word < end]
        else:
            found[place] = [word if skip_top <= word < end else oov_char for word in text]
    return found


def word_index(file: KerasFile, path: str | os.PathLike[str] | None) -> dict[str, int]:
    """Return the index of each word, from a JSON file."""
    return json.loads(find(file, path).read_text(encoding="utf-8"))
