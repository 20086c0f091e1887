"""Layers that fill in missing numbers, and that mark them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import choice
from gpunn.common.fields import field
from gpunn.common.names import first_few

from .on_host import HostLayer, batches, from_objects

__all__ = ["MissingIndicator", "SimpleImputer"]


def _with_gaps(x: Any, argument: str, markers: Any = None) -> np.ndarray:
    """Return a float64 array with NaN for missing values, and for those that stand for one."""
    array = _numbers(x, argument)
    if markers is None:
        return array
    return np.where(np.isin(array, np.atleast_1d(markers)), np.nan, array)


def _numbers(x: Any, argument: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray) and x.dtype.kind in "biuf":
        x = np.ma.filled(x.astype(np.float64), np.nan)
    array = np.asarray(x)
    if isinstance(x, np.ma.MaskedArray) and array.dtype.kind == "O":
        array = np.where(np.ma.getmaskarray(x), np.asarray(None, object), array)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    return from_objects(array, lambda value, place: (
        f"{argument} holds {value!r} at {place}; numbers are expected, and None or NaN for missing "
        f"values. Use StringLookup for strings."
    ))


def _check_statistics(name: str, value: Any) -> Any:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim > 1 or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be a finite number, or one for each index of the last axis; got "
            f"{value!r}."
        )
    return array.astype(np.float64).tolist()


def _missing_values() -> Any:
    return field(default=None, check=_check_statistics)


class SimpleImputer(HostLayer):
    """Replace missing numbers (NaN, None, pandas's NA) by the median or mean of the others.

    It follows an input and fills in values while data are fed: a saved model takes data with gaps.
    The names are scikit-learn's; in scikit-learn the default strategy is the mean.

    Shapes: x ``(batch, ...)`` -> y of the same shape, without gaps.

    Args:
        strategy: ``"median"``, ``"mean"``, or ``"constant"``.
        fill_value: with ``"constant"``, the number.
        statistics: the values that fill gaps: a number, or one for each index of the last axis;
            else call `adapt`.
        missing_values: a number, or several, that stand for a missing one, such as -999.

    Raises:
        ValueError: for ``"constant"`` without a number.
        TypeError: for data that are not numbers; the first is named.

    >>> layer = SimpleImputer()
    >>> layer.adapt([[1.0], [None], [2.0], [9.0]])
    >>> layer([[None], [5.0]]).tolist()
    [[2.0], [5.0]]
    >>> SimpleImputer(statistics=2.0, missing_values=-999)([[-999.0], [5.0]]).tolist()
    [[2.0], [5.0]]
    """

    examples = (
        {"statistics": 0.5}, {"strategy": "constant", "fill_value": -1.0},
        {"statistics": 0.5, "missing_values": [-999.0, 9999.0]},
    )

    strategy: str = field(default="median", check=choice("median", "mean", "constant"))
    fill_value: Any = field(default=None, check=_check_statistics)
    statistics: Any = field(default=None, check=_check_statistics)
    missing_values: Any = _missing_values()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy == "constant":
            if self.fill_value is None:
                raise ValueError(f"{self.name}: strategy='constant' needs fill_value, a number.")
            self.statistics = self.fill_value

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Compute the medians or means of data, for each index of the last axis.

        With ``strategy="constant"`` it does nothing.

        Args:
            data: numbers (rows, ...), with gaps: an array, a list, a column, or batches of them.
            steps: how many batches are read; all by default.

        Raises:
            TypeError: for values that are not numbers.
            ValueError: if an index of the last axis has no number at all.

        >>> layer = SimpleImputer("mean")
        >>> layer.adapt([[1.0, 10.0], [None, 20.0], [3.0, 60.0]])
        >>> layer.statistics
        [2.0, 30.0]
        """
        if self.strategy == "constant":
            return
        argument = f"{self.name}.adapt: the data"
        parts = [_with_gaps(batch, argument, self.missing_values) for batch in batches(data, steps)]
        if not parts or not sum(part.size for part in parts):
            raise ValueError(f"{argument} hold no values.")
        whole = np.concatenate([np.atleast_1d(part) for part in parts])
        flat = whole.reshape(-1, whole.shape[-1] if whole.ndim > 1 else 1)
        empty = np.flatnonzero(np.isnan(flat).all(axis=0))
        if len(empty):
            raise ValueError(f"{argument} have no number at index {empty[0]} of the last axis.")
        found = (np.nanmedian if self.strategy == "median" else np.nanmean)(flat, axis=0)
        self.statistics = found.tolist() if whole.ndim > 1 else float(found[0])

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        if self.statistics is None:
            raise ValueError(
                f"{self.name} has no statistics to fill in yet: call {self.name}.adapt(data) "
                f"first, or pass statistics=."
            )
        array = _with_gaps(x, argument, self.missing_values)
        return np.where(np.isnan(array), np.asarray(self.statistics), array)

    def data_held(self) -> dict[str, str]:
        """Describe what the layer stores of the data's values, and so what a saved model tells
        about them.

        >>> SimpleImputer(statistics=[2.0, 30.0]).data_held()
        {'statistics': 'the median: 2, 30'}
        """
        if self.statistics is None or self.strategy == "constant":
            return {}
        shown = first_few((f"{value:g}" for value in np.atleast_1d(self.statistics)), 3)
        return {"statistics": f"the {self.strategy}: {shown}"}


class MissingIndicator(HostLayer):
    """Give 1 where a number is missing (NaN, None, pandas's NA), and 0 elsewhere.

    It follows an input, beside a `SimpleImputer`, so that a model can distinguish values that were
    filled in from values that were present. The name is scikit-learn's.

    Shapes: x ``(batch, ...)`` -> y of the same shape.

    Args:
        missing_values: a number, or several, that stand for a missing one, such as -999.

    Raises:
        TypeError: for data that are not numbers; the first is named.

    >>> MissingIndicator()([[1.0], [None]]).tolist()
    [[0.0], [1.0]]
    """

    examples = ({}, {"missing_values": -999.0})

    missing_values: Any = _missing_values()

    def encode(self, x: Any, argument: str = "x") -> np.ndarray:
        return np.isnan(_with_gaps(x, argument, self.missing_values)).astype(np.float32)
