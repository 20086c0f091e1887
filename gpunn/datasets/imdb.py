"""IMDB: 50,000 film reviews as lists of word indices, positive or negative.

Maas, Daly, Pham, Huang, Ng and Potts, "Learning word vectors for sentiment analysis", ACL 2011; in
the form published by Keras.
"""

from __future__ import annotations

import os

import numpy as np

from gpunn.common.importing.lazy import offer

from . import texts
from .keras_files import ADDRESS, KerasFile, Split, find
from .unpickling import read_npz_objects

__all__ = ["get_word_index", "load_data"]
offer(__name__)

IMDB = KerasFile(
    "IMDB", ADDRESS + "imdb.npz", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
)
WORDS = KerasFile(
    "IMDB's words", ADDRESS + "imdb_word_index.json", "bfafd718b763782e994055a2d397834f"
)


def load_data(
    path: str | os.PathLike[str] | None = None,
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> tuple[Split, Split]:
    """Load IMDB from ``path``, else from ``GPUNN_DATA``, Keras's folder, the cache, or Keras's
    server.

    Words are numbered by frequency. As in Keras, 0 is reserved for padding.

    Args:
        path: the file ``imdb.npz``.
        num_words: indices from this one on become ``oov_char``; none by default.
        skip_top: indices below this one become ``oov_char``, too.
        maxlen: keep only reviews of fewer words.
        seed: determines the order of the reviews.
        start_char: the index that each review begins with; None for none.
        oov_char: the index of words that are not kept; None omits them.
        index_from: the index of the most frequent word is one more than this.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))``, 25,000 reviews each, as arrays of
        lists of indices, and of 0 (negative) and 1 (positive).

    Raises:
        ValueError: if no review is shorter than ``maxlen``.
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    >>> (x_train, y_train), (x_test, y_test) = load_data(num_words=10000)  # doctest: +SKIP
    >>> len(x_train), x_train[0][0]  # doctest: +SKIP
    (25000, 1)
    """
    arrays = read_npz_objects(find(IMDB, path))
    split = [(arrays[f"x_{name}"], arrays[f"y_{name}"]) for name in ("train", "test")]
    orders = texts.orders(seed, *(len(x) for x, _ in split))
    parts = []
    for (x, y), order in zip(split, orders, strict=True):
        x, y = x[order], y[order]
        parts.append(texts.shorter(texts.numbered(x, start_char, index_from), y, maxlen))
    (x_train, y_train), (x_test, y_test) = parts
    x = texts.frequent([*x_train, *x_test], num_words, skip_top, oov_char)
    return (x[: len(x_train)], np.asarray(y_train)), (x[len(x_train) :], np.asarray(y_test))


def get_word_index(path: str | os.PathLike[str] | None = None) -> dict[str, int]:
    """Return the index of each word, from 1 on by frequency; `load_data` adds ``index_from``.

    Args:
        path: the file ``imdb_word_index.json``; it is found like the file of `load_data`.

    Returns:
        The index by word.

    Raises:
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    To read a review, with ``index_from=3``:

    >>> words = {index + 3: word for word, index in get_word_index().items()}  # doctest: +SKIP
    >>> text = " ".join(words.get(index, "?") for index in x_train[0])  # doctest: +SKIP
    """
    return texts.word_index(WORDS, path)
