"""Windows of a series, gathered in each step."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.device import strided
from gpunn.common.arguments import check_integer
from gpunn.common.names import counted
from gpunn.common.random import check_seed, draw_seed
from gpunn.compat.data import Dataset
from gpunn.feeding.arrays import windows_of
from gpunn.feeding.batches import BatchedArrays

from .batching import check_format, in_batches


def timeseries_dataset_from_array(
    data: Any, targets: Any, sequence_length: int, sequence_stride: int = 1, sampling_rate: int = 1,
    batch_size: int | None = 128, shuffle: bool = False, seed: int | None = None,
    start_index: int | None = None, end_index: int | None = None, format: str = "tf",
) -> Dataset:
    """Return the windows of a series as batches for `fit`, whose steps gather them from the series.

    Window i has the entries ``start_index + i * sequence_stride + k * sampling_rate`` for k from
    0 to ``sequence_length - 1``, all before ``end_index``. Its target is the entry of ``targets``
    at the same place as its first one. The memory holds the series, not its windows: in
    `fit` and `evaluate` it is in the device's memory.

    Args:
        data: The series (steps, ...), an array; a memory map is read piece by piece.
        targets: Targets (steps, ...), or None. Windows whose start has no target are left out.
        sequence_length: Steps of a window.
        sequence_stride: Distance between the starts of windows.
        sampling_rate: Distance between the steps of a window.
        batch_size: Windows in a batch; None for single ones.
        shuffle: Whether each pass has a new order.
        seed: Seed of the order; without one, `fit` uses the model's.
        start_index, end_index: The part of the series to use; the end is not included.
        format: "tf"; the result is always gpunn's own data set.

    Returns:
        A data set of ``(windows, targets)``, or of windows: (batch, sequence_length, ...). It has
        the methods of ``tf.data.Dataset``. A ValueError if no window fits.

    >>> import numpy as np
    >>> from gpunn.utils import timeseries_dataset_from_array
    >>> series = np.arange(9)
    >>> data = timeseries_dataset_from_array(series[:-1], series[5:], 3, 1, 2, batch_size=3)
    >>> for windows, following in data:
    ...     windows.tolist(), following.tolist()
    ([[0, 2, 4], [1, 3, 5], [2, 4, 6]], [5, 6, 7])
    ([[3, 5, 7]], [8])
    """
    series, answers = np.asarray(data), None if targets is None else np.asarray(targets)
    if series.ndim == 0 or (answers is not None and answers.ndim == 0):
        raise ValueError("data and targets must have an axis of steps; got a single number.")
    check_format("format", format)
    series = np.ascontiguousarray(series)
    steps = len(series)
    start = check_integer("start_index", start_index, 0, 0)
    end = check_integer("end_index", end_index, 1, steps)
    if not start < end <= steps:
        raise ValueError(
            f"start_index must be below end_index, and this at most {steps}, the length of data; "
            f"got {start} and {end}."
        )
    length = check_integer("sequence_length", sequence_length, 1)
    stride = check_integer("sequence_stride", sequence_stride, 1)
    rate = check_integer("sampling_rate", sampling_rate, 1)
    span = (length - 1) * rate + 1  # steps from the first entry of a window to its last
    most = end - start - span + 1
    if answers is not None:
        most = min(most, len(answers) - start)
    if most < 1:
        with_targets = "" if answers is None else f" and {counted(len(answers), 'target')}"
        raise ValueError(
            f"There is no window: each takes {counted(span, 'step')}, and there are "
            f"{counted(end - start, 'step')} from {start} to {end}{with_targets}."
        )
    count, (apart, *inner) = -(-most // stride), series.strides
    shape = count, length, *series.shape[1:]
    windows = strided(np, series[start:], shape, (apart * stride, apart * rate, *inner))
    targets = None if answers is None else answers[start : start + most : stride]
    seed = check_seed("seed", seed)
    first = draw_seed() if seed is None and shuffle else seed

    def read(numbers: np.ndarray) -> Any:
        return windows[numbers] if targets is None else (windows[numbers], targets[numbers])

    made = in_batches(Dataset, count, first if shuffle else None, batch_size, read)
    if batch_size is not None and windows_of(windows) is not None:
        made._batched_arrays = BatchedArrays(windows, targets, batch_size, shuffle, seed)
    return made
