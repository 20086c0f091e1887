"""Boston housing: 506 districts with 13 features each, and house prices in 1000 dollars.

Harrison and Rubinfeld, "Hedonic prices and the demand for clean air", 1978, as published by Keras.
One of its columns is derived from the share of Black people in a district; Keras keeps it for old
programs, and so does gpunn. `california_housing` is a similar data set.
"""

from __future__ import annotations

import os

from gpunn.common.importing.lazy import offer

from .houses import load
from .keras_files import ADDRESS, KerasFile, Split

__all__ = ["load_data"]
offer(__name__)

BOSTON = KerasFile(
    "Boston housing",
    ADDRESS + "boston_housing.npz",
    "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5",
)


def load_data(
    path: str | os.PathLike[str] | None = None, test_split: float = 0.2, seed: int = 113
) -> tuple[Split, Split]:
    """Load Boston housing from ``path``, else from ``GPUNN_DATA``, Keras's folder, the cache, or
    Keras's server.

    Args:
        path: the file ``boston_housing.npz``.
        test_split, seed: as for `gpunn.datasets.california_housing.load_data`.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))`` in float64, by default x (404, 13) and
        (102, 13), and y (404,) and (102,), prices in 1000 dollars.

    Raises:
        ValueError: for another ``test_split``.
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    >>> (x_train, y_train), (x_test, y_test) = load_data()  # doctest: +SKIP
    >>> x_train.shape, y_train.shape  # doctest: +SKIP
    ((404, 13), (404,))
    """
    return load(BOSTON, path, test_split, seed)
