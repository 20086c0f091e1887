"""Keras's ``PyDataset``: batches by number, made or read by a custom class."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_integer


class PyDataset:
    """Base class of custom data sets in batches for ``fit``, ``evaluate`` and ``predict``.

    A subclass defines ``__getitem__(number)``, which returns a batch ``(x, y)`` or
    ``(x, y, weight)``, and ``__len__``, the number of batches. ``fit`` visits them in a new order
    each epoch, unless ``shuffle=False``. Each epoch, evaluation and prediction calls
    ``on_epoch_begin()`` and ``on_epoch_end()``. A run that resumes from a checkpoint also calls
    them for the earlier epochs, so that random numbers drawn there are the same.

    Args:
        workers, use_multiprocessing, max_queue_size: Accepted and ignored: batches are made
            one at a time, in the training thread.

    >>> import numpy as np
    >>> from gpunn.utils import PyDataset
    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, number):
    ...         x = np.arange(4.0) + 4 * number
    ...         return x, x * x
    >>> squares = Squares()
    >>> squares.num_batches, squares[1][0].tolist()
    (3, [4.0, 5.0, 6.0, 7.0])
    """

    workers, use_multiprocessing, max_queue_size = 1, False, 10

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = check_integer("workers", workers, 0)
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = check_integer("max_queue_size", max_queue_size, 0)

    def __getitem__(self, index: int) -> Any:
        """Return the batch with this number, counting from 0."""
        raise TypeError(f"{type(self).__name__} must define __getitem__(self, index).")

    def __len__(self) -> int:
        count = self.num_batches
        if count is None:
            raise TypeError(f"{type(self).__name__} has no length: num_batches is None.")
        return count

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if endless, when `fit` needs ``steps_per_epoch``."""
        if (given := vars(self).get("_given_batches")) is not None:
            return int(given)
        if type(self).__len__ is PyDataset.__len__:
            raise TypeError(f"{type(self).__name__} must define __len__(self).")
        return len(self)

    @num_batches.setter
    def num_batches(self, number: int | None) -> None:
        self._given_batches = number

    @property
    def endless(self) -> bool:
        return self.num_batches is None

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch, even if it used only part of the batches."""
