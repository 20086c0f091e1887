"""California housing: 20,640 districts with 8 features each, and house prices in dollars.

Pace and Barry, "Sparse spatial autoregressions", 1997, as published by Keras.
"""

from __future__ import annotations

import os

from gpunn.common.arguments import check_choice

from .houses import load
from .keras_files import ADDRESS, KerasFile, Split

__all__ = ["load_data"]

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
    """Load California housing from `path`, else from `GPUNN_DATA`, Keras's folder, the cache, or
    Keras's server.

    Args:
        version: "large", or "small" for the first 600 districts.
        path: the file `california_housing.npz`.
        test_split: fraction of the rows in the test set.
        seed: determines the order of the rows.

    Returns:
        `((x_train, y_train), (x_test, y_test))`, x with 8 columns.

    Raises:
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.
    """
    check_choice("version", version, ("large", "small"))
    return load(CALIFORNIA, path, test_split, seed, 600 if version == "small" else None)
