"""Evaluate a model on rows: the metrics, counts and mistakes that a report shows.

All of them are JSON values, declared in `record`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunn.apps.learning import figures
from gpunn.apps.plots.images import tiles
from gpunn.apps.plots.scores import probabilities
from gpunn.common.markup.charts import LARGEST

from .pictures import image, is_image, png

ROWS = 20_000  # maximum number of rows to evaluate, evenly spaced
MISTAKES = 16  # mistakes to show
POINTS = 300  # points of predicted against true values
BINS = 10  # bins of probabilities and of residuals
MATRIX = 30  # maximum number of classes in a confusion matrix
CELLS = 12  # columns to show of a row

Shown = Callable[[int], list[tuple[str, str]]]
Explained = Callable[[Sequence[int]], list[dict[str, Any]]]
Showing = Callable[[int], dict[str, Any]]


def results(
    model: Any,
    x: list[np.ndarray],
    y: np.ndarray,
    part: str,
    *,
    classes: Sequence[str] = (),
    show_data: bool = True,
    cells: Shown | None = None,
    outputs: np.ndarray | None = None,
    numbers: Sequence[int] | None = None,
    explain: Explained | None = None,
    named: np.ndarray | None = None,
) -> dict[str, Any]:
    """Evaluate a model on some rows.

    Args:
        model: a model with one output.
        x: its inputs, (rows, ...) each.
        y: (rows,) or (rows, values).
        part: description of these rows, such as "validation".
        classes: names of the classes; their indices by default.
        show_data: whether the result may hold rows of ``x`` and values of ``y``.
        cells: a function from a row index to pairs of column name and string; by default the
            columns of ``x`` if it is a table.
        outputs: the model's outputs for these rows, if known.
        numbers: the numbers by which the user knows these rows; by default their indices.
        explain: a function from the indices of mistakes to the entries of `record.WHY`.
        named: index of the class that is named for each row; the most probable one by default.

    Raises:
        ValueError: if the model cannot be evaluated; the message gives the reason.
    """
    count = len(y)
    if not count:
        raise ValueError("there are no rows to evaluate")
    chosen = np.unique(np.linspace(0, count - 1, min(count, ROWS)).astype(np.int64))
    show = _rows_shown(x, chosen, cells) if show_data else None
    if len(chosen) < count:
        x, y = [a[chosen] for a in x], y[chosen]
        outputs = None if outputs is None else outputs[chosen]
        named = None if named is None else named[chosen]
    given = x if len(x) > 1 else x[0]
    labels = _labels(type(model.loss).__name__, y, model.output_shape)
    rows = {"part": part, "rows": len(y), "of": count, "compared": {}, "importance": []}
    if labels is None:
        outputs = model.predict(given, verbose=0) if outputs is None else outputs
        found = _numbers(outputs, y, show)
    else:
        width = max(int(model.output_shape[-1]), 2)
        certain = outputs is not None
        if outputs is None:
            outputs, certain = _probabilities(model, given)
        elif outputs.shape[1] == 1:
            outputs = np.hstack([1 - outputs, outputs])
        names = list(classes) if len(classes) == width else [*map(str, range(width))]
        found = _classes(outputs, labels, names, certain, show, named)
    _explain(found["mistakes"], numbers, explain)
    return {**rows, **found}


def _explain(
    mistakes: list[dict[str, Any]], numbers: Sequence[int] | None, explain: Explained | None
) -> None:
    """Add the reasons to the mistakes, and number their rows as the user does."""
    indices = [one["row"] for one in mistakes]
    reasons = explain(indices) if explain and indices else [None] * len(indices)
    for one, index, why in zip(mistakes, indices, reasons, strict=True):
        one |= {"row": index if numbers is None else int(numbers[index]), "why": why}


def _rows_shown(x: list[np.ndarray], chosen: np.ndarray, cells: Shown | None) -> Showing:
    """Return a function that shows a chosen row by its index: a picture, or columns and strings."""
    picture = None
    if cells is None and len(x) == 1 and x[0].dtype.kind in "biuf":
        if is_image(x[0].shape[1:]):
            byte = x[0].dtype == np.uint8
            low, high = (0, 255) if byte else (float(x[0].min()), float(x[0].max()))
            picture = partial(_picture, x[0], low, high)
        elif x[0].ndim == 2:
            cells = partial(_cells, x[0])

    def show(i: int) -> dict[str, Any]:
        number = int(chosen[i])
        strings = [[str(name), str(text)] for name, text in cells(number)[:CELLS]] if cells else []
        return {"row": number, "picture": picture and picture(number), "cells": strings}

    return show


def _picture(x: np.ndarray, low: float, high: float, number: int) -> str:
    return image(x[number], low, high)


def _cells(x: np.ndarray, number: int) -> list[tuple[str, str]]:
    return [(str(n), f"{value:.4g}") for n, value in enumerate(x[number, :CELLS].tolist())]


def _labels(loss: str, y: np.ndarray, output: tuple[Any, ...]) -> np.ndarray | None:
    """Return each row's class index; None for regression."""
    if len(output) != 2:
        if "entropy" in loss.lower():
            raise ValueError("the model gives several predictions per row")
        return None
    width = int(output[1])
    if loss == "SparseCategoricalCrossentropy":
        return y.reshape(len(y)).astype(np.int64)
    if loss in ("CategoricalCrossentropy", "CategoricalHinge", "KLDivergence") and width > 1:
        return y.reshape(len(y), -1).argmax(axis=1)
    if loss == "BinaryCrossentropy" or "Hinge" in loss:
        if width > 1:
            raise ValueError("the model gives several binary predictions per row")
        middle = 0.5 if "Binary" in loss else 0.0  # hinges take -1 and 1, or 0 and 1
        return (y.reshape(len(y)) > middle).astype(np.int64)
    return None


def _probabilities(model: Any, x: Any) -> tuple[np.ndarray, bool]:
    """Return probabilities or scores (rows, classes), and whether they are probabilities."""
    try:
        if isinstance(x, list):
            raise ValueError
        return probabilities(model, x), True
    except ValueError:
        outputs = np.asarray(model.predict(x, verbose=0), np.float64)
        if not np.isfinite(outputs).all():
            raise ValueError("the model gives values that are not finite") from None
        if outputs.shape[1] == 1:
            half = 0.0 if outputs.min() < 0 else 0.5
            outputs = np.hstack([half - outputs, outputs - half])
        sums = outputs.sum(axis=1)
        certain = bool(outputs.min() >= 0 and np.allclose(sums, 1, atol=1e-3))
        return outputs, certain


def _classes(
    outputs: np.ndarray, labels: np.ndarray, names: list[str], certain: bool,
    show: Showing | None, named: np.ndarray | None,
) -> dict[str, Any]:
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError("some labels are not classes of the model")
    predicted, every = outputs.argmax(axis=1) if named is None else named, np.arange(len(labels))
    wrong = predicted != labels
    count = len(names)
    pairs, counts = np.unique(labels[wrong] * count + predicted[wrong], return_counts=True)
    often = np.argsort(-counts, kind="stable")[:10]
    shown = np.flatnonzero(wrong)
    shown = shown[np.argsort(outputs[shown, labels[shown]], kind="stable")][:MISTAKES]
    found = figures(outputs, labels, count) | {"accuracy": float(1 - wrong.mean())}
    matrix = np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)
    return {
        "kind": "classes",
        "classes": names,
        "figures": found if certain else {"accuracy": found["accuracy"]},
        "confusion": matrix.tolist() if count <= MATRIX else None,
        "confused": [[int(p // count), int(p % count), int(n)]
                     for p, n in zip(pairs[often], counts[often], strict=True)],
        "calibration": _calibration(outputs[every, predicted], ~wrong) if certain else None,
        "wrong": int(wrong.sum()),
        "mistakes": [
            {**show(int(i)), "true": int(labels[i]), "said": int(predicted[i]),
             "probability": float(outputs[i, predicted[i]]) if certain else None}
            for i in shown
        ] if show else [],
    }


def _calibration(stated: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """Return row count, mean and accuracy for each tenth of the predicted probabilities."""
    bins = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    found = []
    for number in range(BINS):
        inside = bins == number
        if inside.any():
            found.append([float(inside.sum()), float(stated[inside].mean()),
                          float(right[inside].mean())])
    return found


def _numbers(outputs: np.ndarray, y: np.ndarray, show: Showing | None) -> dict[str, Any]:
    if outputs.size != y.size:
        raise ValueError("the model's outputs do not have the shape of y")
    outputs = outputs.reshape(len(y), -1).astype(np.float64)
    y = y.reshape(len(y), -1).astype(np.float64)
    if not all((np.abs(values) < LARGEST / 4).all() for values in (outputs, y)):
        raise ValueError("the model gives values that are not finite, or y holds some")
    residuals = outputs - y
    low, high = np.quantile(residuals, (0.005, 0.995))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    edges = np.linspace(low, high, 2 * BINS + 1)
    counts, _ = np.histogram(np.clip(residuals, low, high), edges)
    some = np.unique(np.linspace(0, y.size - 1, min(y.size, POINTS)).astype(np.int64))
    points = np.stack([y.reshape(-1)[some], outputs.reshape(-1)[some]], axis=1)
    worst = np.argsort(-np.abs(residuals).mean(axis=1), kind="stable")[:MISTAKES]
    return {
        "kind": "numbers",
        "figures": figures(outputs.reshape(-1), y.reshape(-1), 0),
        "points": points.tolist() if show else [],
        "edges": edges.tolist(),
        "residuals": counts.tolist(),
        "mistakes": [
            {**show(int(i)), "true": float(y[i, 0]), "said": float(outputs[i, 0]),
             "error": float(np.abs(residuals[i]).mean())}
            for i in worst
        ] if show else [],
    }


def weights_seen(model: Any) -> dict[str, Any] | None:
    """Return the weights of the first layer that has a kernel, as one picture.

    Black is the most negative, white the most positive. For pictures each unit's weights are a
    picture, for a table they are a column; for a convolution each filter is drawn.
    """
    layer = next((one for one in model.layers if hasattr(one, "kernel")), None)
    if layer is None:
        return None
    kernel = layer.kernel.numpy().astype(np.float64)
    shape = model.input_shape
    units, sample = kernel.shape[-1], tuple(shape[1:]) if isinstance(shape, tuple) else ()
    if sample[-1:] == (1,) and len(sample) == 3:
        sample = sample[:-1]
    if kernel.ndim == 4:
        parts = kernel.sum(axis=2).transpose(2, 0, 1)
    elif kernel.ndim == 2 and len(sample) == 2 and sample[0] * sample[1] == len(kernel):
        parts = kernel.T.reshape(units, *sample)
    elif kernel.ndim == 2 and min(kernel.shape) > 1 and len(kernel) <= 200:  # else it is a line
        parts = kernel[np.newaxis, :, :100]
    else:
        return None
    parts = parts[:64]
    bound = float(np.abs(parts).max())
    if not np.isfinite(bound):
        return None
    grey = (127.5 + parts * (127.5 / (bound or 1.0))).round().astype(np.uint8)
    table = kernel.ndim == 2 and len(parts) == 1 and units > 1
    columns = min(len(parts), 16 if parts.shape[2] <= 32 else 8)
    whole = tiles(grey, columns, 255)
    scale = max(1, min(16, 960 // max(whole.shape)))
    return {
        "layer": layer.name,
        "units": units,
        "shown": min(units, 100) if table else len(parts),
        "bound": bound,
        "table": table,
        "picture": png(whole),
        "width": whole.shape[1] * scale,
        "height": whole.shape[0] * scale,
    }
