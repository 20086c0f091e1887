"""Functions of Keras's ``utils`` on arrays and data sets, and its progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpunn.callbacks.progress_bar import progress_line
from gpunn.common.nested import found_in, replaced
from gpunn.layers.symbolic import SymbolicTensor
from gpunn.ops.dtypes import named
from gpunn.ops.tensor import Tensor, ops

from .data import Dataset

__all__ = ["Progbar", "is_keras_tensor", "normalize", "split_dataset", "standardize_dtype"]


def normalize(x: Any, axis: int = -1, order: int | float = 2) -> Any:
    """Divide vectors by their norm; those of norm 0 stay.

    Args:
        x: An array (...) or a tensor.
        axis: The axis of the vectors.
        order: Of the norm, such as 2 for the Euclidean one.

    Returns:
        An array of the same shape; for a tensor, a tensor.

    >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    if isinstance(x, Tensor):
        return ops.normalize(x, axis=axis, order=order)
    array = np.asarray(x)
    norm = np.linalg.norm(array, order, axis, keepdims=True)
    return array / np.where(norm == 0, 1, norm)


def is_keras_tensor(x: Any) -> bool:
    """Return whether ``x`` is a symbolic tensor, such as `gpunn.Input` returns.

    Args:
        x: Any object.

    >>> is_keras_tensor(np.ones(2))
    False
    """
    return isinstance(x, SymbolicTensor)


def standardize_dtype(dtype: Any) -> str:
    """Return the name of a dtype; floatx for None.

    Args:
        dtype: A name, a type of Python or a dtype of NumPy.

    Raises:
        ValueError: for an unknown dtype.

    >>> standardize_dtype(np.float32), standardize_dtype(int)
    ('float32', 'int32')
    """
    return named(dtype)


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: Any = None,
) -> tuple[Dataset, Dataset]:
    """Split data in two parts, such as for training and tests.

    Args:
        dataset: Arrays with a row for each sample, in lists, tuples and dictionaries; or a data
            set or another iterable of samples, which is read at once.
        left_size, right_size: The numbers of samples, or fractions between 0 and 1. None is the
            rest; one of them must be given.
        shuffle: Whether to shuffle the samples before.
        seed: Of the shuffling.
        preferred_backend: Accepted as in Keras and ignored.

    Returns:
        Two data sets as of ``tf.data``; ``batch`` makes batches of their samples.

    Raises:
        ValueError, TypeError: for sizes that the data do not have, and for arrays of different
            lengths.

    >>> left, right = split_dataset(np.arange(10), left_size=0.8)
    >>> len(left), [int(x) for x in right]
    (8, [8, 9])
    """
    arrays = list(found_in(dataset, np.ndarray))
    if isinstance(dataset, (np.ndarray, list, tuple, dict)) and arrays:
        lengths = {len(array) for array in arrays}
        if len(lengths) != 1:
            raise ValueError(f"dataset: arrays of one length are expected; got {sorted(lengths)}.")
        count = lengths.pop()

        if isinstance(dataset, list):  # which a data set would take for one array
            dataset = tuple(dataset)

        def part(rows: np.ndarray) -> Dataset:
            return Dataset.from_tensor_slices(replaced(lambda x: np.asarray(x)[rows], dataset))
    else:
        samples = [replaced(np.asarray, sample) for sample in dataset]
        count = len(samples)

        def part(rows: np.ndarray) -> Dataset:
            chosen = [samples[row] for row in rows]
            return Dataset(lambda at: iter(chosen), len(chosen))

    left, right = _sizes(left_size, right_size, count)
    order = np.arange(count)
    if shuffle:
        np.random.default_rng(seed).shuffle(order)
    return part(order[:left]), part(order[count - right :])


def _sizes(left: Any, right: Any, count: int) -> tuple[int, int]:
    """Return the numbers of samples of both parts."""
    if left is None and right is None:
        raise ValueError("split_dataset needs left_size or right_size.")
    found = [_size("left_size", left, count), _size("right_size", right, count)]
    for k in range(2):
        if found[k] is None:
            found[k] = count - (found[1 - k] or 0)
    if sum(found) > count or not all(found):
        raise ValueError(
            f"left_size={left!r} and right_size={right!r} would give {found[0]} and {found[1]} of "
            f"{count} samples: both parts need some, and together not more than there are."
        )
    return found[0], found[1]


def _size(name: str, given: Any, count: int) -> Any:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"{name} must be a number of samples or a fraction; got {given!r}.")
    whole = isinstance(given, int)
    if not 0 < given < (count if whole else 1):
        limit = f"from 1 to {count - 1}, or a fraction between 0 and 1"
        raise ValueError(f"{name} must be a number of samples {limit}; got {given!r}.")
    return given if whole else round(given * count)


class Progbar:
    """A progress bar for loops of one's own, in one line of the terminal.

    Args:
        target: The number of steps; None if it is not known.
        width: Of the bar, in columns.
        verbose: 1 shows the bar, 2 a line at the end, 0 nothing.
        interval: Seconds between two updates that are shown.
        stateful_metrics: Names of values that are shown as they are; others are averaged over
            the steps.
        stateless_metrics: In its place, names of those that are averaged; others are shown as they
            are.
        unit_name: What a step is called.

    Raises:
        ValueError: for both kinds of names.

    >>> bar = Progbar(2, verbose=2)
    >>> bar.update(1, [("loss", 3.0)])
    >>> bar.add(1, [("loss", 1.0)])
    2/2  loss 2.0000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("Only one of stateful_metrics and stateless_metrics can be given.")
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name = interval, unit_name
        averaged = None if stateless_metrics is None else set(stateless_metrics)
        self.stateless_metrics = averaged
        self.stateful_metrics = set(stateful_metrics or ()) if averaged is None else None
        self._seen = 0
        self._sums: dict[str, tuple[float, int]] = {}
        self._shown = 0.0

    def update(
        self, current: int, values: Sequence[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Show the progress.

        Args:
            current: The number of steps that are done.
            values: Pairs of a name and its value in the last steps.
            finalize: Whether it is the last update; by default once ``target`` is reached.
        """
        import time

        last = self.target is not None and current >= self.target if finalize is None else finalize
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            before, count = self._sums.get(name, (0.0, 0)) if self._averages(name) else (0.0, 0)
            self._sums[name] = before + float(np.mean(value)) * steps, count + steps
        self._seen = current
        now = time.monotonic()
        if not self.verbose or (self.verbose == 2 and not last):
            return
        if not last and now - self._shown < self.interval:
            return
        self._shown = now
        figures = {name: total / count for name, (total, count) in self._sums.items()}
        line = progress_line(current, self.target, figures, self.width * (self.verbose == 1))
        begin, end = ("\r", "\n" if last else "") if self.verbose == 1 else ("", "\n")
        sys.stdout.write(f"{begin}{line}{end}")
        sys.stdout.flush()

    def _averages(self, name: str) -> bool:
        if self.stateful_metrics is None:
            return name in (self.stateless_metrics or ())
        return name not in self.stateful_metrics

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Show the progress after ``n`` more steps; ``values`` are as for `update`."""
        self.update(self._seen + n, values)
