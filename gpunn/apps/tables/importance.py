"""Permutation importance: how much worse a model predicts when one column is shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.apps.learning import figures
from gpunn.common.arguments import check_integer

VALUES = 4_000_000  # values in one call of predict


def importance(
    model: Any,
    inputs: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: int,
    repeats: int = 5,
    seed: int = 0,
    most_rows: int = 2000,
) -> list[tuple[str, float, float]]:
    """Return by how much the loss of a model increases when a column's values are shuffled.

    The loss is the log loss, or for regression the root mean squared error, in the target's unit.
    A column is one input, whatever the model makes of it. Columns that tell the same each look
    unimportant, since the model reads the other one.

    Args:
        model: a model with an input for each column.
        inputs: its inputs by name, (rows, ...) each, that it was not trained on.
        y: their targets: class indices, or values (rows,).
        classes: number of classes; 0 for regression.
        repeats: number of permutations of each column, at least 2.
        seed: seed of the permutations, and of the rows drawn.
        most_rows: maximum number of rows; of more, so many are drawn.

    Returns:
        For each column its name, the mean increase and the standard error of that mean, the most
        important column first.

    >>> from gpunn import Input, Model, layers
    >>> a, b = Input((1,), name="a"), Input((1,), name="b")
    >>> model = Model([a, b], layers.Concatenate()([3 * a, 0 * b])[:, :1])
    >>> rows = np.arange(6.0)[:, None]
    >>> found = importance(model, {"a": rows, "b": rows}, 3 * rows[:, 0], 0)
    >>> [(name, mean > 1, error > 0) for name, mean, error in found]
    [('a', True, True), ('b', False, False)]
    """
    check_integer("repeats", repeats, 2)
    check_integer("most_rows", most_rows, 1)
    random = np.random.default_rng(seed)
    chosen = np.arange(len(y))
    if len(y) > most_rows:
        chosen = np.sort(random.choice(len(y), most_rows, replace=False))
    given = {name: np.asarray(values)[chosen] for name, values in inputs.items()}
    y, count = np.asarray(y)[chosen], len(chosen)
    orders = random.permuted(np.tile(np.arange(count), (len(given) * repeats, 1)), axis=1)
    names = list(given)
    at_once = max(1, VALUES // max(count * len(names), 1))
    losses = np.empty(len(orders))
    for start in range(0, len(orders), at_once):
        part = orders[start : start + at_once]
        stacked = {name: np.concatenate([given[name]] * len(part)) for name in names}
        for k, order in enumerate(part):
            name = names[(start + k) // repeats]
            stacked[name][k * count : (k + 1) * count] = given[name][order]
        outputs = model.predict(stacked, verbose=0).reshape(len(part), count, -1)
        losses[start : start + len(part)] = [_loss(one, y, classes) for one in outputs]
    usual = _loss(model.predict(given, verbose=0), y, classes)
    increases = losses.reshape(len(names), repeats) - usual
    means = increases.mean(axis=1)
    errors = increases.std(axis=1, ddof=1) / np.sqrt(repeats)
    ranked = np.argsort(-means, kind="stable")
    return [(names[i], float(means[i]), float(errors[i])) for i in ranked]


def _loss(outputs: np.ndarray, y: np.ndarray, classes: int) -> float:
    return figures(outputs, y, classes)["log loss" if classes else "RMSE"]
