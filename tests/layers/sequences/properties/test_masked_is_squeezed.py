"""Masked steps count as little as steps that are not there: every layer that takes masks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import registered
from properties import masked_sequences as sequences
from properties.masked_sequences import Draw, near, numbers, seeds

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")
BATCH, STEPS, VALID, FEATURES = 3, 5, 3, 6
# What does not hold, as in Keras unless it is said.
LEFT_OUT = {
    "BatchNormalization": "refuses masks",  # Keras: statistics of the steps that count
    "Softmax": "refuses masks",  # Keras: sums of the entries that count
    "GroupNormalization": "has statistics of masked steps too",
    "Dot": "has products of masked steps too, and no mask",
    "Masking": "replaces the mask by its own",
    "ConvLSTM1D": "takes steps of sequences: test_convolutional_lstm.py",
}


# Like another one in most of their code: `make test-more` runs them.
LATER = {"SimpleRNN", "GRU", "RNN", "AdditiveAttention", "GroupQueryAttention", "Minimum",
         "Average", "ReLU", "LeakyReLU", "GaussianNoise", "AlphaDropout"}  # fmt: skip


def takes_masks() -> list[Any]:
    """(name, arguments) of every registered layer of masked sequences of numbers."""
    found, names = [], set()
    for name, arguments in registered.cases("layer", *LEFT_OUT, *registered.CELLS):
        layer = registered.make("layer", name, arguments)
        pictures = registered.takes_images(layer) and not registered.has_one_axis(layer)
        codes = isinstance(layer, layers.Embedding)
        over_steps = (name, arguments.get("axis")) == ("UnitNormalization", 1)  # as in Keras
        if layer.supports_masking and not (pictures or codes or over_steps or "2D" in name):
            marks = [pytest.mark.more] * (name in names or name in LATER)
            label = f"{name}-{registered.label(arguments)}"
            found.append(pytest.param(name, arguments, marks=marks, id=label))
            names.add(name)
    return found


def channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def applied(layer: Any, x: Any) -> Any:
    """The layer on one sequence, also as the several inputs that it takes."""
    if layer.takes_list:
        return layer([x, layers.Activation("tanh")(x)])
    return layer(x, x) if hasattr(layer, "query_dense") else layer(x)


def given(draw: Draw, x: np.ndarray, mask: np.ndarray, large: bool) -> Any:
    """A function of sequences of numbers that gives them a mask, and such sequences."""
    if draw.random() < 0.3:
        value = draw.choice([0.0, -7.5])
        return layers.Masking(value), np.where(mask[..., None], x, value)
    value = draw.choice([50.0, 1e30]) if large else 50.0
    return lambda x: sequences.marked(x, mask), sequences.spoiled(x, mask, value)


@pytest.mark.parametrize(("name", "arguments"), takes_masks())
@seeds(1, 4)
def test_outputs_and_slopes_are_those_without_masked_steps(
    backend: str, name: str, arguments: Any, seed: int
) -> None:
    """Slopes by masked steps are 0; those by weights are the same as without these steps."""
    gpunn.use_backend(backend)
    draw = random.Random(f"{name} {arguments} {seed}")
    layer = registered.make("layer", name, arguments)
    first = channels_first(layer)
    if getattr(layer, "go_backwards", False):
        layer.go_backwards = False  # its outputs begin at the last step, but not its mask
    if getattr(layer, "sliding_window", None):
        layer.sliding_window = None  # counts masked steps as places
    x, mask = numbers(draw, BATCH, STEPS, FEATURES), sequences.a_mask(draw, BATCH, STEPS, VALID)
    attends = hasattr(layer, "query_dense") or isinstance(layer, layers.Attention)
    mark, whole = given(draw, x, mask, large=not attends)
    if "PReLU" in name or "Normalization" in name:  # may have weights for each step
        mark, whole = (lambda x: sequences.marked(x, mask)), sequences.spoiled(x, mask)

    def turned(x: Any) -> Any:
        return ops.swapaxes(x, 1, 2) if first else x

    def squeezed(x: Any) -> list[Any]:
        return [applied(layer, turned(x))]

    def masked(x: Any) -> list[Any]:
        x = mark(x)
        y = layer(turned(x), mask=mask) if first else applied(layer, x)
        if y._keras_mask is None:
            return [y]
        of_y = np.asarray(y._keras_mask)
        assert np.array_equal(of_y, np.concatenate([mask] * (of_y.shape[1] // STEPS), 1))
        places = np.argsort(~of_y, kind="stable")[:, : of_y[0].sum()]
        return [y[np.arange(BATCH)[:, None], places]]

    applied(layer, turned(x))
    try:
        squeezed(sequences.squeezed(x, mask))
    except ValueError:  # it has weights for each step
        expected = sequences.slopes(masked, [sequences.spoiled(x, mask, 2.0)], layer)
        near(sequences.slopes(masked, [sequences.spoiled(x, mask)], layer), expected)
        return
    if all(p.trainable for p in layer.weights):
        sequences.randomized(layer, draw)
    y, dx, *rest = sequences.slopes(masked, [whole], layer)
    expected = sequences.slopes(squeezed, [sequences.squeezed(x, mask)], layer)
    assert not np.asarray(dx)[~mask].any()
    near([y, sequences.squeezed(np.asarray(dx), mask), *rest], expected)


@pytest.mark.parametrize("axis", [1, -1, 2, -2])
@pytest.mark.parametrize("unmasked", [None, 0, 1])
def test_a_joined_sequence_has_the_masks_of_its_parts(axis: int, unmasked: int | None) -> None:
    """One after the other, or where any of the parts counts; a part without a mask counts."""
    draw = random.Random(f"{axis} {unmasked}")
    masks = [sequences.a_mask(draw, BATCH, STEPS) for _ in range(3)]
    x = [numbers(draw, BATCH, STEPS, FEATURES) for _ in masks]
    given = [sequences.marked(a, None if k == unmasked else m) for k, (a, m) in
             enumerate(zip(x, masks, strict=True))]  # fmt: skip
    whole = [np.ones_like(m) if k == unmasked else m for k, m in enumerate(masks)]
    joined = np.concatenate(whole, 1) if axis in (1, -2) else np.any(whole, 0)
    y = layers.Concatenate(axis)(given)
    np.testing.assert_array_equal(np.asarray(y._keras_mask), joined)
    total = layers.Add()(given)  # has a mask only if all have one, as in Keras
    found = total._keras_mask
    assert found is None if unmasked is not None else np.array_equal(found, np.any(masks, 0))
