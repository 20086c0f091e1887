"""A sequence in pieces, by passed states or by kept ones, gives what the whole sequence gives."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from properties import masked_sequences as sequences
from properties.masked_sequences import FEATURES, Draw, every_kind, flat, near, numbers, seeds

import gpunn

pytestmark = pytest.mark.usefixtures("doubles")
BATCH, STEPS = 3, 4


def options(draw: Draw, **given: Any) -> dict[str, Any]:
    names = ("return_sequences", "go_backwards", "unroll", "zero_output_for_mask")
    return {**{name: draw.random() < 0.5 for name in names}, "return_state": True, **given}


def case(draw: Draw) -> tuple[np.ndarray, Any, list[slice]]:
    """A sequence with or without a mask, and where its pieces are."""
    x, mask = numbers(draw, BATCH, STEPS, FEATURES), None
    if draw.random() < 0.75:
        mask = sequences.a_mask(draw, BATCH, STEPS)
        x = sequences.spoiled(x, mask)
    cuts = [0, *sorted(draw.sample(range(1, STEPS), draw.choice([1, 1, 2]))), STEPS]
    return x, mask, [slice(*two) for two in pairwise(cuts)]


def of(mask: Any, piece: slice) -> Any:
    return None if mask is None else mask[:, piece]


def in_pieces(layer: Any, x: Any, mask: Any, pieces: list[slice], **call: Any) -> list[Any]:
    """The outputs of the pieces in the order in which they are read, and the last states.

    The states of one are passed to the next, unless the layer keeps them.
    """
    ys, states = [], None
    for piece in reversed(pieces) if layer.go_backwards else pieces:
        given = {} if layer.stateful else {"initial_state": states}
        y, *states = layer(x[:, piece], mask=of(mask, piece), **given, **call)
        ys.append(y)
    return [gpunn.ops.concatenate(ys, 1) if layer.return_sequences else ys[-1], *flat(states)]


def counts(layer: Any, mask: Any, pieces: list[slice]) -> Any:
    """Which outputs do not depend on where pieces begin: a piece's first masked outputs are 0."""
    if mask is None:
        return 1.0
    if layer.return_sequences:
        return (mask[:, ::-1] if layer.go_backwards else mask)[..., None] * 1.0
    last = of(mask, pieces[0 if layer.go_backwards else -1])
    return (last.any(1) | layer.zero_output_for_mask)[:, None] * 1.0


@every_kind
@seeds(1, 5)
def test_passed_states_and_kept_states_continue_a_sequence(
    backend: str, kind: Any, seed: int
) -> None:
    """Gradients go through passed states to earlier pieces too."""
    gpunn.use_backend(backend)
    draw = random.Random(f"{kind} {seed}")
    chosen = options(draw)
    layer = sequences.recurrent(kind, chosen)
    x, mask, pieces = case(draw)
    training = draw.random() < 0.5
    layer(x)
    sequences.randomized(layer, draw)
    weight = counts(layer, mask, pieces)

    def whole(x: Any) -> list[Any]:
        y, *states = layer(x, mask=mask, training=training)
        return [y * weight, *flat(states)]

    def parts(x: Any) -> list[Any]:
        y, *states = in_pieces(layer, x, mask, pieces, training=training)
        return [y * weight, *states]

    expected = sequences.slopes(whole, [x], layer)
    near(sequences.slopes(parts, [x], layer), expected)
    outputs = expected[: len(expected) - 1 - len(layer.weights)]
    if mask is not None:
        assert not np.asarray(expected[len(outputs)])[~mask].any()
    keeping = sequences.recurrent(kind, {**chosen, "stateful": True})
    keeping.build(x.shape)
    keeping.set_weights(layer.get_weights())
    for _ in range(2):
        y, *states = in_pieces(keeping, x, mask, pieces, training=training)
        near([y * weight, *states], outputs)
        near(flat(keeping.states), states)
        keeping.reset_state()
