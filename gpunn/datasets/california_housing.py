"""California housing: 20,640 districts with 8 features each, and house prices in dollars.

Pace and Barry, "Sparse spatial autoregressions", 1997, as published by Keras.
"""

from __future__ import annotations

import os

from gpunn.common.arguments import check_choice
from gpunn.common.importing.lazy import offer

from .houses import load
from .keras_files import ADDRESS, KerasFile, Split

__all__ = ["load_data"]
offer(__name__)

CALIFORNIA = KerasFile(
    "California housing",
    ADDRESS + "california_housing.npz",
    "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f",
)


def load_data(
    version: str = "large",
    path: str | os.PathLike[str] | None = None,
    test_split: float = 0.2,
    seed: int = 113,
) -> tuple[Split, Split]:
    """Load California housing from ``path``, else from ``GPUNN_DATA``, Keras's folder, the cache,
    or Keras's server.

    Args:
        version: ``"large"``, or ``"small"`` for the first 600 districts.
        path: the file ``california_housing.npz``.
        test_split: fraction of the rows in the test set, from 0 to below 1.
        seed: determines the order of the rows.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))``, x (rows, 8), and y (rows,), prices in
        dollars. By default there are 16,512 rows to train and 4,128 to test.

    Raises:
        ValueError: for another ``version`` or ``test_split``.
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    >>> (x_train, y_train), (x_test, y_test) = load_data("small")  # doctest: +SKIP
    >>> x_train.shape, x_test.shape  # doctest: +SKIP
    ((480, 8), (120, 8))
    """
    check_choice("version", version, ("large", "small"))
    return load(CALIFORNIA, path, test_split, seed, 600 if version == "small" else None)
