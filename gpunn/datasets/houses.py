"""Tables with a price in each row, split into training and test sets as in Keras."""

from __future__ import annotations

import os

from gpunn.common.arguments import check_fraction

from .arrays import read_npz
from .keras_files import KerasFile, Split, find
from .texts import orders


def load(
    file: KerasFile,
    path: str | os.PathLike[str] | None,
    test_split: float,
    seed: int,
    rows: int | None = None,
) -> tuple[Split, Split]:
    """Return the table's first ``rows`` in the order that Keras draws from this seed; the last part
    is for tests. File and path: see `find`."""
    test_split = check_fraction("test_split", test_split, below_one=True)
    arrays = read_npz(find(file, path), ("x", "y"))
    x, y = arrays["x"][:rows], arrays["y"][:rows]
    (order,) = orders(seed, len(x))
    x, y = x[order], y[order]
    end = int(len(x) * (1 - test_split))
    return (x[:end], y[:end]), (x[end:], y[end:])
