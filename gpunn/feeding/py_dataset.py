"""Keras's ``PyDataset``: batches by their number, as a user's class makes or reads them."""

from __future__ import annotations

from typing import Any

from gpunn.common.arguments import check_integer


class PyDataset:
    """Base class for data in batches of one's own: ``fit``, ``evaluate`` and ``predict`` take it.

    A subclass has ``__getitem__(number)``, which gives a batch ``(x, y)`` or ``(x, y, weight)``,
    and ``__len__``, how many there are. ``fit`` takes them in a new order each epoch, unless it is
    told ``shuffle=False``. Each epoch calls ``on_epoch_begin()`` and ``on_epoch_end()``, as does
    each evaluation and prediction; so that a run which goes on from a checkpoint finds what they
    have drawn, they are called for the epochs before, too.

    Args:
        workers, use_multiprocessing, max_queue_size: taken and without effect: batches are made
            one at a time, in the thread that trains.

    >>> import numpy as np
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
        """The batch of this number, from 0 on."""
        raise TypeError(f"{type(self).__name__} must define __getitem__(self, index).")

    def __len__(self) -> int:
        count = self.num_batches
        if count is None:
            raise TypeError(f"{type(self).__name__} has no length: num_batches is None.")
        return count

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; None: without end, so that `fit` needs steps_per_epoch."""
        if type(self).__len__ is PyDataset.__len__:
            raise TypeError(f"{type(self).__name__} must define __len__(self).")
        return len(self)

    @property
    def endless(self) -> bool:
        return self.num_batches is None

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called behind each epoch, be it a part of the batches."""

