"""Exact figures of two arrays, as in scikit-learn: curves, areas, tables."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .binned import divide

__all__ = ["classification_report", "confusion_matrix", "roc_auc", "roc_curve"]


def roc_curve(
    y_true: Any, y_score: Any, sample_weight: Any = None, drop_intermediate: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute false and true positive rates of ``y_score >= threshold`` for every threshold.

    Args:
        y_true: (n,) 0 or 1, or False or True.
        y_score: (n,) the larger, the more likely to be 1.
        sample_weight: (n,).
        drop_intermediate: omit points on a straight line between others.

    Returns:
        Rates and thresholds, (points,) each, the thresholds descending from infinity. A rate
        over no samples is NaN, with a warning.

    Raises:
        ValueError: for mismatched shapes, no samples, or other targets.

    >>> from gpunn.metrics import roc_curve
    >>> fpr, tpr, thresholds = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> fpr, tpr
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    y, score, weights = _binary(y_true, y_score, sample_weight)
    order = np.argsort(-score, kind="stable")
    y, score, weights = y[order], score[order], weights[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of equal scores
    tp = np.cumsum(y * weights)[last]
    fp = np.cumsum((1 - y) * weights)[last]
    thresholds = score[last]
    if drop_intermediate and len(last) > 2:
        bends = (np.diff(fp, 2) != 0) | (np.diff(tp, 2) != 0)
        keep = np.concatenate([[True], bends, [True]])
        tp, fp, thresholds = tp[keep], fp[keep], thresholds[keep]
    tp, fp = np.append(0.0, tp), np.append(0.0, fp)
    rates = []
    for counts, kind in ((fp, "negative"), (tp, "positive")):
        if counts[-1] <= 0:
            warnings.warn(f"y_true holds no {kind} samples: their rate is NaN.", stacklevel=2)
            rates.append(np.full(len(counts), np.nan))
        else:
            rates.append(counts / counts[-1])
    return rates[0], rates[1], np.append(np.inf, thresholds)


def roc_auc(
    y_true: Any, y_score: Any, sample_weight: Any = None, average: str | None = "macro"
) -> Any:
    """Compute the exact area under the ROC curve: the probability that a positive has a higher
    score than a negative, with ties counting half.

    Args:
        y_true: (n,) 0 or 1; or (n, labels) of these; or (n,) class numbers.
        y_score: (n,); or (n, labels); for class numbers (n, classes), one class against
            the rest.
        sample_weight: (n,).
        average: for several labels: ``"macro"`` (mean), ``"weighted"`` (by the number of
            positives), ``"micro"`` (all labels as one) or None (one area each).

    Returns:
        The area; NaN, with a warning, if only one class occurs.

    Raises:
        ValueError: as for `roc_curve`.

    >>> from gpunn.metrics import roc_auc
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    if average not in ("macro", "weighted", "micro", None):
        raise ValueError(f"average must be 'macro', 'weighted', 'micro' or None; got {average!r}.")
    y, score = np.asarray(y_true), np.asarray(y_score, np.float64)
    if score.ndim == 2 and score.shape[1] == 1:
        score = score[:, 0]
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if score.ndim == 1:
        return _area(y, score, sample_weight)
    if y.ndim == 1:
        y = y[:, np.newaxis] == np.arange(score.shape[1])
    if y.shape != score.shape:
        raise ValueError(f"y_true has shape {y.shape} and y_score {score.shape}.")
    if average == "micro":
        weights = None
        if sample_weight is not None:
            weights = np.repeat(np.asarray(sample_weight), score.shape[1])
        return _area(y.ravel(), score.ravel(), weights)
    areas = np.array([_area(y[:, c], score[:, c], sample_weight) for c in range(y.shape[1])])
    if average is None:
        return areas
    counts = np.ones(len(areas))
    if average == "weighted":
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
        counts = np.asarray(weights, np.float64) @ (y != 0)
    return float(divide(areas @ counts, counts.sum()))


def _area(y_true: np.ndarray, y_score: np.ndarray, sample_weight: Any) -> float:
    fpr, tpr, _ = roc_curve(y_true, y_score, sample_weight)
    return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))


def _binary(
    y_true: Any, y_score: Any, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, score = np.asarray(y_true), np.asarray(y_score, np.float64)
    y, score = (a[:, 0] if a.ndim == 2 and a.shape[1] == 1 else a for a in (y, score))
    if y.ndim != 1 or y.shape != score.shape:
        raise ValueError(
            f"y_true has shape {np.shape(y_true)} and y_score {np.shape(y_score)}; expected "
            f"one number per sample in both."
        )
    if not len(y):
        raise ValueError("y_true and y_score are empty: at least one sample is expected.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"y_true must hold 0 and 1; found {y[~np.isin(y, (0, 1))][0]!r}.")
    if not np.isfinite(score).all():
        raise ValueError("y_score holds NaN or infinity.")
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights.shape != y.shape:
        raise ValueError(f"sample_weight has shape {weights.shape}; {y.shape} is expected.")
    counted = weights != 0
    return y[counted].astype(np.float64), score[counted], weights[counted]


def confusion_matrix(
    y_true: Any,
    y_pred: Any,
    labels: Any = None,
    sample_weight: Any = None,
    normalize: str | None = None,
) -> np.ndarray:
    """Count how often each class (rows) was predicted as each class (columns).

    Args:
        y_true, y_pred: (n,) class numbers or names; or (n, classes), where the largest
            element of a row gives the class.
        labels: the classes in the requested order; by default all that occur, sorted.
        sample_weight: (n,).
        normalize: ``"true"`` (rows sum to 1), ``"pred"`` (columns do) or ``"all"``.

    Returns:
        (classes, classes), of integers unless weighted or normalized.

    >>> from gpunn.metrics import confusion_matrix
    >>> confusion_matrix([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2])
    array([[2, 0, 0],
           [0, 0, 1],
           [1, 0, 2]])
    """
    if normalize not in ("true", "pred", "all", None):
        raise ValueError(f"normalize must be 'true', 'pred', 'all' or None; got {normalize!r}.")
    truth, answer, classes, weights = _classes(y_true, y_pred, labels, sample_weight)
    n = len(classes)
    inside = (truth >= 0) & (answer >= 0)
    places = truth[inside] * n + answer[inside]
    matrix = np.bincount(places, weights[inside], n * n).reshape(n, n)
    if normalize is None:
        return matrix if sample_weight is not None else matrix.astype(np.int64)
    axes = {"true": 1, "pred": 0, "all": None}
    return divide(matrix, matrix.sum(axis=axes[normalize], keepdims=True))


def _labels(given: Any, name: str) -> np.ndarray:
    array = np.asarray(given)
    if array.ndim == 2:
        return array[:, 0] if array.shape[1] == 1 else array.argmax(axis=1)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; (n,) or (n, classes) is expected.")
    return array


def _classes(
    y_true: Any, y_pred: Any, labels: Any, sample_weight: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return indices of true and predicted classes (-1 for others), the classes, the weights."""
    truth, answer = _labels(y_true, "y_true"), _labels(y_pred, "y_pred")
    if truth.shape != answer.shape:
        raise ValueError(f"y_true is for {len(truth)} samples, y_pred for {len(answer)}.")
    for name, array in (("y_true", truth), ("y_pred", answer)):
        if array.dtype.kind == "f" and (array != np.floor(array)).any():
            raise ValueError(
                f"{name} holds {array[array != np.floor(array)][0]!s}, which is not a class: pass "
                f"{name} > 0.5, or a column for each class."
            )
    classes = np.unique(np.concatenate([truth, answer])) if labels is None else np.asarray(labels)
    weights = np.ones(len(truth))
    if sample_weight is not None:
        weights = np.asarray(sample_weight, np.float64)
        if weights.shape != truth.shape:
            raise ValueError(f"sample_weight has shape {weights.shape}, not {truth.shape}.")
    place = {label: i for i, label in enumerate(classes.tolist())}
    found = (np.array([place.get(v, -1) for v in a.tolist()], np.int64) for a in (truth, answer))
    return (*found, classes, weights)  # type: ignore[return-value]


def classification_report(
    y_true: Any,
    y_pred: Any,
    labels: Any = None,
    target_names: Any = None,
    sample_weight: Any = None,
    digits: int = 2,
    output_dict: bool = False,
) -> Any:
    """Return precision, recall and F1 of each class, and their means, as a text table.

    Args:
        y_true, y_pred, labels, sample_weight: as for `confusion_matrix`.
        target_names: names of the classes in the table, in their order.
        digits: number of decimals.
        output_dict: return a dictionary of dictionaries instead of the text.

    Returns:
        The text in scikit-learn's layout (but weights are rounded too), or the dictionary.
        Division by zero gives 0.

    >>> from gpunn.metrics import classification_report
    >>> print(classification_report([0, 1, 2, 2], [0, 0, 2, 2]))
                  precision    recall  f1-score   support
    <BLANKLINE>
               0       0.50      1.00      0.67         1
               1       0.00      0.00      0.00         1
               2       1.00      1.00      1.00         2
    <BLANKLINE>
        accuracy                           0.75         4
       macro avg       0.50      0.67      0.56         4
    weighted avg       0.62      0.75      0.67         4
    <BLANKLINE>
    """
    truth, answer, classes, weights = _classes(y_true, y_pred, labels, sample_weight)
    n = len(classes)
    names = [str(c) for c in classes] if target_names is None else [str(t) for t in target_names]
    if len(names) != n:
        raise ValueError(f"target_names has {len(names)} names for {n} classes.")
    hits = truth == answer

    def summed(places: np.ndarray) -> np.ndarray:
        return np.bincount(places[places >= 0], weights[places >= 0], n)

    true, predicted, right = summed(truth), summed(answer), summed(np.where(hits, truth, -1))
    precision, recall = divide(right, predicted), divide(right, true)
    f1 = divide(2 * right, predicted + true)
    columns = np.stack([precision, recall, f1], axis=1)
    rows = {name: [*columns[i], true[i]] for i, name in enumerate(names)}
    means: dict[str, Any] = {}
    total = float(true.sum())
    means["macro avg"] = [*columns.mean(axis=0), total]
    means["weighted avg"] = [*divide(true @ columns, total), total]
    complete = (truth >= 0).all() and (answer >= 0).all()
    accuracy = float(divide(right.sum(), total))
    if not complete:  # of the chosen classes only, as if there were no others
        shares = [divide(right.sum(), predicted.sum()), divide(right.sum(), total)]
        both = divide(2 * right.sum(), predicted.sum() + total)
        means = {"micro avg": [*map(float, shares), float(both), total], **means}
    if output_dict:
        keys = ("precision", "recall", "f1-score", "support")
        tables = {
            name: dict(zip(keys, map(float, row), strict=True))
            for name, row in {**rows, **means}.items()
        }
        return {**tables, **({"accuracy": accuracy} if complete else {})}
    support = ".0f" if sample_weight is None else f".{digits}f"
    width = max(*(len(name) for name in (*names, "weighted avg")), digits)
    head = f"{'':>{width}} " + "".join(
        f" {title:>9}" for title in ("precision", "recall", "f1-score", "support")
    )

    def line(name: str, row: list[float]) -> str:
        return (
            f"{name:>{width}} "
            + "".join(f" {number:>9.{digits}f}" for number in row[:3])
            + f" {row[3]:>9{support}}\n"
        )

    text = f"{head}\n\n" + "".join(line(name, row) for name, row in rows.items()) + "\n"
    if complete:
        text += f"{'accuracy':>{width}} " + " " * 20
        text += f" {accuracy:>9.{digits}f} {total:>9{support}}\n"
    return text + "".join(line(name, row) for name, row in means.items())
