"""A query attends as if only the values that it sees were there: masks of all kinds together."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import registered
from properties import masked_sequences as sequences
from properties.masked_sequences import near, numbers, seeds

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")
BATCH, QUERIES, VALUES, SIZE = 2, 4, 5, 4


def attends(layer: Any) -> bool:
    return hasattr(layer, "query_dense") or isinstance(layer, layers.Attention)


CASES = [
    case for case in registered.cases("layer") if attends(registered.make("layer", *case))
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param(
            *case, marks=[pytest.mark.more] * (case[1] != registered.examples("layer", case[0])[-1])
        )
        for case in CASES
    ],
    ids=registered.label,
)
@seeds(1, 8)
def test_outputs_and_slopes(backend: str, name: str, arguments: Any, seed: int) -> None:
    """Masks of queries, values and keys, of pairs, causal ones and windows hold all at once."""
    gpunn.use_backend(backend)
    draw = random.Random(f"{name} {arguments} {seed}")
    layer = registered.make("layer", name, arguments)
    heads = hasattr(layer, "query_dense")
    q, v, k = (numbers(draw, BATCH, n, SIZE) for n in (QUERIES, VALUES, VALUES))
    every = seed == 0  # kind of mask at once; other seeds draw some of them
    options: dict[str, Any] = {"use_causal_mask": every or draw.random() < 0.5}
    options["return_attention_scores"] = draw.random() < 0.5
    of_query = sequences.a_mask(draw, BATCH, QUERIES) if draw.random() < 0.7 else None
    of_value = sequences.a_mask(
        draw, BATCH, VALUES, VALUES - 2 if every else draw.randrange(VALUES)
    )
    of_value = of_value if every or draw.random() < 0.8 else None
    seen = np.ones((BATCH, QUERIES, VALUES), bool)
    seen &= True if of_value is None else of_value[:, None]
    seen &= np.tri(QUERIES, VALUES, dtype=bool) if options["use_causal_mask"] else True
    given: Any = {"mask": None if of_query is of_value is None else [of_query, of_value]}
    if heads:
        given = {"query_mask": of_query, "value_mask": of_value}
        if every or draw.random() < 0.5:
            given["key_mask"] = sequences.a_mask(draw, BATCH, VALUES, VALUES - 1)
            seen &= given["key_mask"][:, None]
        if every or draw.random() < 0.6:
            given["attention_mask"] = numbers(draw, *seen.shape) > -0.7
            seen &= given["attention_mask"]
        apart = np.abs(np.arange(QUERIES)[:, None] - np.arange(VALUES))
        seen &= apart < (layer.sliding_window or VALUES)
    of_row = np.ones((BATCH, QUERIES), bool) if of_query is None else of_query
    rows = np.argwhere(seen.any(2) & of_row)  # what a query without values gives is Keras's

    def called(q: Any, v: Any, k: Any, **call: Any) -> Any:
        y = layer(q, v, k, **call) if heads else layer([q, v, k], **call)
        return y[0] if call.get("return_attention_scores") else y

    def whole(q: Any, v: Any, k: Any) -> list[Any]:
        y = called(q, v, k, **options, **given)
        return [y[i : i + 1, t : t + 1] for i, t in rows]

    def alone(q: Any, v: Any, k: Any) -> list[Any]:
        found = []
        for i, t in rows:
            places = np.flatnonzero(seen[i, t])
            some = (ops.take(x[i : i + 1], places, axis=1) for x in (v, k))
            found.append(called(q[i : i + 1, t : t + 1], *some))
        return found

    called(q, v, k)
    if heads:
        layer.sliding_window, window = None, layer.sliding_window
    sequences.randomized(layer, draw)
    expected = sequences.slopes(alone, [q, v, k], layer) if len(rows) else []
    if heads:
        layer.sliding_window = window
    unseen = ~np.array([seen[i, of_row[i]].any(0) for i in range(BATCH)])
    q, v, k = (
        sequences.spoiled(q, of_row, 50.0),
        *(sequences.spoiled(x, ~unseen, 50.0) for x in (v, k)),
    )
    near(sequences.slopes(whole, [q, v, k], layer) if len(rows) else [], expected)
