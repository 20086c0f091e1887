"""Why a model answers as it does: how much each column of a row moved the answer.

The amounts are Shapley values: they divide the difference between the answer for a row and that for
a reference row among the columns. A column's amount is how far the answer moves when the column
gets the row's value, in the mean over orders in which all columns get theirs (Shapley 1953;
Štrumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature
contributions"). Along each order the moves add up to the difference, so the amounts do too.

Some orders stand for all: a few, each with its reverse (Mitchell et al. 2022, "Sampling
permutations for Shapley value estimation", antithetic sampling). The amounts are exact where
columns act alone, as in a linear model, and where they act in pairs. They are exact for up to three
columns, whatever the model: these are all orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PAIRS = 4  # of an order and its reverse
WIDE = 50  # columns, beyond which one pair has to do
VALUES = 2_000_000  # cells in one call of predict


def orders(columns: int) -> list[list[int]]:
    """Return the orders in which columns get a row's values.

    >>> orders(3)
    [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]]
    """
    pairs = PAIRS if columns <= WIDE else 1
    starts = sorted({k * columns // pairs for k in range(pairs)})
    turned = [[*range(start, columns), *range(start)] for start in starts]
    return [order for one in turned for order in (one, one[::-1])]


def amounts(
    model: Any, given: Mapping[str, np.ndarray], reference: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much each column moved the answer from that for a reference row.

    An answer is a number, or the probability of the class that is the most probable for the row.

    Args:
        model: a model with an input for each column, of one number or of class probabilities.
        given: the inputs by name, (rows, 1) each.
        reference: the values of the reference row, in the order of the inputs.

    Returns:
        the answers for the reference row (rows,), equal in a regression, and the amounts
        (rows, columns). Their sum is the answer for the row.

    >>> from gpunn import Input, Model
    >>> a, b = Input((1,), name="a"), Input((1,), name="b")
    >>> base, found = amounts(
    ...     Model([a, b], 2 * a + a * b),
    ...     {"a": np.array([[1.0]]), "b": np.array([[3.0]])}, [0.0, 0.0],
    ... )
    >>> base.tolist(), found.tolist()  # the 3 of a b is shared
    ([0.0], [[3.5, 1.5]])
    """
    names, count = list(given), len(next(iter(given.values())))
    chains = orders(len(names))
    states: dict[bytes, int] = {}
    masks: list[np.ndarray] = []  # which columns have the row's values, of each state
    visited = np.empty((len(chains), len(names) + 1), int)
    for number, order in enumerate(chains):
        mask = np.zeros(len(names), bool)
        for step in range(len(names) + 1):
            if step:
                mask[order[step - 1]] = True
            visited[number, step] = states.setdefault(mask.tobytes(), len(states))
            if len(states) > len(masks):
                masks.append(mask.copy())
    has = np.array(masks)  # (states, columns)
    block = max(1, VALUES // has.size)
    base, found = np.empty(count), np.zeros((count, len(names)))
    for start in range(0, count, block):
        rows = slice(start, min(start + block, count))
        mixed = {
            name: _mixed(np.asarray(given[name])[rows], reference[k], has[:, k])
            for k, name in enumerate(names)
        }
        outputs = model.predict(mixed, batch_size=8192, verbose=0)
        outputs = outputs.reshape(-1, len(has), outputs.shape[-1]).astype(np.float64)
        best = outputs[:, visited[0, -1]].argmax(axis=1)
        answers = np.take_along_axis(outputs, best[:, None, None], axis=2)[:, :, 0]
        base[rows] = answers[:, visited[0, 0]]
        for number, order in enumerate(chains):
            found[rows, order] += np.diff(answers[:, visited[number]], axis=1)
    return base, found / len(chains)


def _mixed(values: np.ndarray, reference: Any, has: np.ndarray) -> np.ndarray:
    """Return a column of all states of some rows: (rows states, 1)."""
    values = values if values.dtype.kind in "fO" else values.astype(object)
    mixed = np.repeat(values, len(has), axis=1)  # (rows, states)
    mixed[:, ~has] = reference
    return mixed.reshape(-1, 1)
