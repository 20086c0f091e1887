"""California housing: 20,640 districts with 8 numbers each, and the price of houses in dollars.

Pace and Barry, "Sparse spatial autoregressions", 1997, as Keras publishes it.
"""

from __future__ import annotations

import os

from gpunn.common.arguments import check_choice

from .houses import Split, load
from .keras_files import ADDRESS, KerasFile

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
    """Loads California housing: from `path`, else `GPUNN_DATA`, Keras's folder, the cache, or
    Keras's address.

    Args:
        version: "large", or "small" for the first 600 districts.
        path: the file `california_housing.npz`.
        test_split: the fraction of the rows that is for tests.
        seed: of the order of the rows.

    Returns:
        `((x_train, y_train), (x_test, y_test))`, x with 8 columns.

    Raises:
        FileNotFoundError, DataFileError, DatasetUnavailable: there is no such file.
    """
    check_choice("version", version, ("large", "small"))
    return load(CALIFORNIA, path, test_split, seed, 600 if version == "small" else None)
