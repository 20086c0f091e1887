"""Batches that are read by number, in a new order each pass, by a thread beside the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from gpunn.common.arguments import check_integer, requirement
from gpunn.compat.data import Dataset
from gpunn.compat.passes import Pass
from gpunn.compat.prefetching import prefetched

AHEAD = 2  # batches that are read before they are asked for
UNBATCHED = 32  # single samples are read so many at a time
check_format = requirement(
    "'tf': there are no data sets of Grain", lambda value: bool(value == "tf")
)
SomeDataset = TypeVar("SomeDataset", bound=Dataset)


def in_batches(
    kind: type[SomeDataset], count: int, seed: int | None, batch_size: int | None,
    read: Callable[[np.ndarray], Any],
) -> SomeDataset:
    """Return a data set of batches, or of single samples without a ``batch_size``.

    Args:
        kind, count: Class of the data set, and number of samples.
        seed: Seed of the order of each pass; None to keep their order.
        read: Returns the batch of the samples with these numbers; None if there is none.
    """
    size = UNBATCHED if batch_size is None else check_integer("batch_size", batch_size, 1)

    def batches(at: Pass) -> Iterator[Any]:
        order = np.arange(count)
        if seed is not None:
            np.random.default_rng([seed, *at]).shuffle(order)
        for start in range(0, count, size):
            if (batch := read(order[start : start + size])) is not None:
                yield batch

    made = kind(lambda at: prefetched(lambda: batches(at), AHEAD), -(-count // size))
    return made if batch_size is not None else kind(made.unbatch()._begin, count)
