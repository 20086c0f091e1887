"""CIFAR-100: 60,000 colour images of 32 x 32 pixels in 100 classes, which form 20 groups.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import os

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.common.importing.lazy import offer

from .cifar10 import Split, pictures
from .keras_files import KerasFile, find
from .unpickling import read_tar_pickles

__all__ = ["load_data"]
offer(__name__)

FOLDER = "cifar-100-python"
CIFAR100 = KerasFile(
    "CIFAR-100",
    f"https://www.cs.toronto.edu/~kriz/{FOLDER}.tar.gz",
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    also=(f"{FOLDER}-target_archive",),
    most=256 << 20,
)


def load_data(
    label_mode: str = "fine", path: str | os.PathLike[str] | None = None
) -> tuple[Split, Split]:
    """Load CIFAR-100 from ``path``, else from ``GPUNN_DATA``, Keras's folder, the cache, or its
    server.

    Args:
        label_mode: ``"fine"`` for the 100 classes, ``"coarse"`` for the 20 groups.
        path: the file ``cifar-100-python.tar.gz``.

    Returns:
        The pairs ``((x_train, y_train), (x_test, y_test))``, images (50000, 32, 32, 3) and
        (10000, 32, 32, 3) as unsigned bytes, labels (50000, 1) and (10000, 1) as int64.

    Raises:
        ValueError: for another ``label_mode``.
        FileNotFoundError, DataFileError, DatasetUnavailable: the file is missing or wrong.

    >>> (x_train, y_train), (x_test, y_test) = load_data("coarse")  # doctest: +SKIP
    >>> x_train.shape, y_train.shape, int(y_train.max())  # doctest: +SKIP
    ((50000, 32, 32, 3), (50000, 1), 19)
    """
    check_choice("label_mode", label_mode, ("fine", "coarse"))
    names = [f"{FOLDER}/train", f"{FOLDER}/test"]
    train, test = (
        (pictures(part["data"]), np.array(part[f"{label_mode}_labels"], np.int64)[:, None])
        for part in read_tar_pickles(find(CIFAR100, path), names)
    )
    return train, test
