"""Counts of positives and negatives at thresholds, the basis of most such metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from gpunn.backends import host_array
from gpunn.backends.contract.backend import Array, Backend
from gpunn.core.recording import recorded

from .binned import Binned

COUNTS = "true_positives", "false_positives", "true_negatives", "false_negatives"


def check_thresholds(name: str, value: Any, above: int = 0) -> int:
    """Return a number of thresholds as an integer above this."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value <= above:
        raise ValueError(f"Argument `{name}` must be an integer > {above}; got {value!r}.")
    return int(value)


def _count(number: int) -> property:
    """One of `Levels.counts` as an attribute, (thresholds,) or (thresholds, outputs)."""
    return property(lambda metric: metric.counts(metric._sums())[number].T)


class Levels(Binned):
    """Counts of positive and negative targets by how many thresholds predictions exceed.

    Attributes:
        levels: one more than there are thresholds.
        thresholds: numbers that predictions are compared with, in any order.
        top_k: predictions outside the ``top_k`` largest of their row exceed no threshold.
        class_id: the only output that counts.
        from_logits: whether the thresholds are for sigmoid(y_pred).
        largest: whether the largest prediction of a row exceeds the single threshold,
            whatever that is.
        given: the thresholds as passed, if they are an argument.
    """

    _abstract = True
    functor = "Levels"
    parameter_names = (
        "threshold_count", "top_k", "only_class", "by_output", "from_logits", "largest",
        "ascending",
    )
    thresholds = cast("Sequence[float]", ())
    top_k = cast("int | None", None)
    class_id = cast("int | None", None)
    from_logits = False
    largest = False
    targets = "bits"
    given = cast("Any", None)
    _kinds = cast("Mapping[str, int]", MappingProxyType(dict(zip(COUNTS, range(4), strict=True))))
    """The names of the counts in `variables`, with their places in `counts`."""

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        if self.from_logits:
            return "logits"
        between = any(0 < threshold < 1 for threshold in self.thresholds)
        return "probabilities" if between and not self.largest else None

    @property
    def remedy(self) -> str | None:  # type: ignore[override]
        if self.by_output or self.class_id is not None:
            return None
        return (
            "Train one output with sigmoid and binary_crossentropy, or rows of targets with "
            "categorical_crossentropy and gpunn.utils.to_categorical(y); precision and recall "
            "of one class are Precision(class_id=1) and Recall(class_id=1)."
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "thresholds": self.given} if "thresholds" in config else config

    @property
    def levels(self) -> int:
        return len(self.thresholds) + 1

    @property
    def bins(self) -> int:
        return ((self.outputs or 0) if self.by_output else 1) * 2 * self.levels

    @property
    def threshold_count(self) -> int:
        return len(self.thresholds)

    @property
    def ascending(self) -> list[float]:
        return sorted(self.thresholds)

    @property
    def only_class(self) -> int:
        return -1 if self.class_id is None else self.class_id

    @recorded
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.top_k is not None and np.ndim(y_pred) == 1:  # one row
            y_true, y_pred = np.asarray(y_true)[np.newaxis], host_array(y_pred)[np.newaxis]
            if np.ndim(sample_weight) == 1:
                sample_weight = np.asarray(sample_weight)[np.newaxis]
        if self.class_id is not None and np.ndim(y_pred) == 1:
            raise ValueError(
                f"{self.name}: class_id={self.class_id} is the index of a column, but y_pred "
                f"has shape {np.shape(y_pred)}; expected (samples, classes)."
            )
        super().update_state(y_true, y_pred, sample_weight)

    def width(self, classes: int) -> int:
        if self.class_id is not None and self.class_id >= classes:
            raise ValueError(
                f"{self.name}: class_id={self.class_id}, but there are {classes} outputs: it "
                f"must be from 0 to {classes - 1}."
            )
        return classes if self.class_id is None else 1

    def place(self, backend: Backend, y_true: Array, y_pred: Array, bins: Array) -> None:
        xp, classes = backend.xp, y_pred.shape[1]
        at = slice(None) if self.class_id is None else slice(self.class_id, self.class_id + 1)
        truth = backend.scratch(bins.shape, bool, "truth")
        more = backend.scratch(bins.shape, np.int64, "more")
        if y_true.ndim == 1:
            numbers = _counted(backend, classes, 1)
            xp.equal(y_true[:, np.newaxis], numbers[at], out=truth)
        else:
            xp.not_equal(y_true[:, at], 0, out=truth)
        if self.largest:
            self._place_largest(backend, y_pred, bins)
        else:
            self._place_by_thresholds(backend, y_pred, at, bins)
        xp.multiply(truth, self.levels, out=more)
        xp.add(bins, more, out=bins)
        if self.by_output:
            xp.add(bins, _counted(backend, classes, 2 * self.levels), out=bins)

    def _place_largest(self, backend: Backend, y_pred: Array, bins: Array) -> None:
        """As in Keras, mark all predictions equal to the largest of their row, except zeros."""
        xp, shape = backend.xp, y_pred.shape
        row = backend.scratch((shape[0], 1), y_pred.dtype, "largest")
        size = backend.scratch(shape, y_pred.dtype, "size")
        found, large = (backend.scratch(shape, bool, slot) for slot in ("found", "large"))
        backend.row_max(y_pred, row)
        xp.equal(y_pred, row, out=found)
        xp.abs(y_pred, out=size)
        xp.greater(size, 1e-9, out=large)
        xp.logical_and(found, large, out=found)
        xp.copyto(bins, found)

    def _place_by_thresholds(self, backend: Backend, y_pred: Array, at: slice, bins: Array) -> None:
        xp, dtype = backend.xp, y_pred.dtype
        x = y_pred[:, at]
        if self.from_logits:
            x = backend.scratch(bins.shape, dtype, "sigmoid")
            xp.negative(y_pred[:, at], out=x)
            xp.exp(x, out=x)
            xp.add(x, 1.0, out=x)
            xp.reciprocal(x, out=x)
        thresholds = backend.scratch(
            (len(self.thresholds),), dtype, f"thresholds {sorted(self.thresholds)}",
            lambda array: backend.write(array, np.sort(np.array(self.thresholds, dtype))),
        )
        backend.apply(_count_below, x, thresholds, bins)
        if self.top_k is not None:
            backend.apply(_erase_outside_top, y_pred, self.top_k, at, bins)

    def counts(self, state: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return true and false positives, true and false negatives.

        Each is (thresholds,), or (outputs, thresholds) if outputs are counted separately.
        """
        table = state.reshape(-1, 2, self.levels)
        above = table[..., ::-1].cumsum(axis=-1)[..., ::-1]
        positives, total = above[..., 1:], above[..., :1]
        places = np.searchsorted(np.sort(self.thresholds), self.thresholds)
        positives = positives[..., places]
        negatives = total - positives
        found = positives[:, 1], positives[:, 0], negatives[:, 0], negatives[:, 1]
        return found if self.by_output else tuple(array[0] for array in found)

    @property
    def _parts(self) -> Sequence[str]:
        return () if self.by_output else tuple(self._kinds)

    def _part(self, state: np.ndarray, name: str) -> np.ndarray:
        return self.counts(state)[self._kinds[name]]

    def _put_part(self, state: np.ndarray, name: str, value: np.ndarray) -> None:
        kind, levels = self._kinds[name], state.reshape(2, self.levels)
        counts = np.broadcast_to(value, len(self.thresholds))[np.argsort(self.thresholds)]
        if kind < 2:  # positives: all above a threshold
            levels[1 - kind, 1:] = -np.diff(counts, append=0)
        else:
            levels[kind - 2, :-1] = np.diff(counts, prepend=0)

    true_positives = _count(0)
    false_positives = _count(1)
    true_negatives = _count(2)
    false_negatives = _count(3)


def _counted(backend: Backend, n: int, step: int) -> Array:
    """Return n multiples of step, from 0 on."""
    return backend.scratch(
        (n,), np.int64, f"steps of {step}",
        lambda array: backend.write(array, np.arange(0, n * step, step)),
    )


def _count_below(xp: Any, x: Array, thresholds: Array, out: Array) -> None:
    out[...] = xp.searchsorted(thresholds, x)


def _erase_outside_top(xp: Any, y_pred: Array, k: int, at: slice, bins: Array) -> None:
    """Set bins to 0 outside the k largest predictions of a row (the first ones on ties); NaN
    exceeds all numbers."""
    backwards = y_pred[:, ::-1]  # sorted so that the last ones are the first on ties
    order = xp.argsort(backwards, axis=-1, kind="stable")
    inside = xp.zeros(y_pred.shape, bool)
    xp.put_along_axis(inside, order[:, -k:], True, axis=-1)
    bins[~inside[:, ::-1][:, at]] = 0
