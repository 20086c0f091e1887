"""Reuters: 11,228 newswires on 46 topics as lists of word indices, as published by Keras."""

from __future__ import annotations

import os

import numpy as np

from gpunn.common.arguments import check_fraction
from gpunn.common.importing.lazy import offer

from . import texts
from .keras_files import ADDRESS, KerasFile, Split, find
from .unpickling import read_npz_objects

__all__ = ["get_word_index", "load_data"]
offer(__name__)

REUTERS = KerasFile(
    "Reuters",
    ADDRESS + "reuters.npz",
    "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916",
)
WORDS = KerasFile(
    "Reuters's words", ADDRESS + "reuters_word_index.json", "4d44cc38712099c9e383dc6e5f11a921"
)


def load_data(
    path: str | os.PathLike[str] | None = None,
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> tuple[Split, Split]:
    """Load Reuters from ``path``, else ``GPUNN_DATA``, Keras's folder, the cache, or Keras's
    server.

    Args:
        path: the file ``reuters.npz``.
        test_split: the fraction at the end that is for tests.
        num_words, skip_top, maxlen, seed, start_char, oov_char, index_from: as for
            `gpunn.datasets.imdb.load_data`.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))``, by default 8,982 and 2,246 newswires,
        as arrays of lists of indices, and of topics from 0 to 45.

    Raises:
        ValueError: for another ``test_split``, or if no text is shorter than ``maxlen``.
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    >>> len(x_train), len(x_test)  # doctest: +SKIP
    (8982, 2246)
    """
    test_split = check_fraction("test_split", test_split)
    arrays = read_npz_objects(find(REUTERS, path))
    (order,) = texts.orders(seed, len(arrays["x"]))
    numbered = texts.numbered(arrays["x"][order], start_char, index_from)
    kept, labels = texts.shorter(numbered, arrays["y"][order], maxlen)
    x, y = texts.frequent(kept, num_words, skip_top, oov_char), np.asarray(labels)
    end = int(len(x) * (1 - test_split))
    return (x[:end], y[:end]), (x[end:], y[end:])


def get_word_index(path: str | os.PathLike[str] | None = None) -> dict[str, int]:
    """Return the index of each word, from 1 on by frequency; `load_data` adds ``index_from``.

    Result, errors, and how to read a newswire: as for `gpunn.datasets.imdb.get_word_index`.

    Args:
        path: the file ``reuters_word_index.json``; it is found like the file of `load_data`.

    >>> get_word_index()["of"]  # doctest: +SKIP
    2
    """
    return texts.word_index(WORDS, path)
