"""Models that keep states are those that are given them; both directions are two layers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from properties import masked_sequences as sequences
from properties.masked_sequences import FEATURES, Draw, Marked, flat, near, numbers, seeds

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")
BATCH, STEPS, BATCHES = 2, 3, 2
MODES = ("concat", "sum", "mul", "ave")


def a_layer(kind: Any, chosen: dict[str, Any], mode: str, stateful: bool) -> Any:
    options = {**chosen, "return_state": True, "stateful": stateful}
    layer = sequences.recurrent(kind, options)
    return layer if mode == "no" else layers.Bidirectional(layer, merge_mode=mode)


def steps_by_hand(layer: Any, dense: Any, draw: Draw) -> Any:
    """A function that trains, or evaluates, on a batch from given states, as SGD does."""
    speed = [np.zeros(w.shape) for w in (*layer.weights, *dense.weights)]

    def run(x: Any, mask: Any, y: Any, states: Any, trains: bool) -> tuple[Any, Any, Any]:
        weights = [*layer.weights, *dense.weights]
        with gpunn.GradientTape() as tape:
            h, *after = layer(x, initial_state=states, mask=mask, training=trains)
            found = dense(h)
            errors = ops.mean((found - y) ** 2, -1)
            valid = mask if errors.ndim == 2 else np.ones(len(x), bool)
            loss = ops.sum(errors * valid) / valid.sum()
        if trains:
            slopes = tape.gradient(loss, weights)
            for w, v, slope in zip(weights, speed, slopes, strict=True):
                v *= 0.9
                v -= 0.05 * np.asarray(slope)
                w.assign(np.asarray(w) + v)
        return float(loss), np.asarray(found), after

    return run


@seeds(2, 16)
def test_fit_and_predict_as_if_the_states_were_passed(backend: str, seed: int) -> None:
    """States go on from batch to batch, to validation and to the next epoch, until a reset."""
    gpunn.use_backend(backend)
    draw = random.Random(seed)
    kind, mode = draw.choice(sequences.KINDS), draw.choice(["no", *MODES])
    names = ("return_sequences", "zero_output_for_mask", "go_backwards")
    chosen = {name: draw.random() < 0.5 for name in names}
    chosen["go_backwards"] &= mode == "no"
    rows = BATCH * BATCHES
    mask = sequences.a_mask(draw, rows, STEPS)
    mask[::BATCH] = True  # the loss of nothing is no number
    x = sequences.spoiled(numbers(draw, rows, STEPS, FEATURES), mask)

    given = [gpunn.Input(batch_shape=(BATCH, STEPS, FEATURES)), gpunn.Input((STEPS,))]
    kept, dense = a_layer(kind, chosen, mode, stateful=True), layers.Dense(2)
    model = gpunn.Model(given, dense(kept(Marked()(given))[0]))
    sequences.randomized(model, draw)
    passed, last = a_layer(kind, chosen, mode, stateful=False), layers.Dense(2)
    last(passed(x[:1])[0])
    passed.set_weights(kept.get_weights()), last.set_weights(dense.get_weights())
    run, states = steps_by_hand(passed, last, draw), None
    y = numbers(draw, rows, *model.output_shape[1:])

    def batches(trains: bool) -> tuple[float, Any]:
        nonlocal states
        losses, outputs = [], []
        for k in range(0, rows, BATCH):
            part = slice(k, k + BATCH)
            loss, found, states = run(x[part], mask[part], y[part], states, trains)
            losses.append(loss), outputs.append(found)
        return float(np.mean(losses)), np.concatenate(outputs)

    data, options = ([x, mask * 1.0], y), {"batch_size": BATCH, "verbose": 0}
    model.compile(gpunn.optimizers.SGD(0.05, momentum=0.9), "mse")
    history = model.fit(*data, epochs=2, shuffle=False, validation_data=data, **options).history
    expected = [[batches(trains)[0] for trains in (True, False)] for _ in range(2)]
    near([*zip(history["loss"], history["val_loss"], strict=True)], expected)
    near(model.get_weights(), [*passed.get_weights(), *last.get_weights()])
    for _ in range(2):
        near(model.predict(data[0], **options), batches(False)[1])
        kept.reset_state()
        states = None


def of_library(of: Any, kind: Any, **options: Any) -> Any:
    """A layer of Keras or of gpunn, in float64."""
    name, arguments = kind
    if "cell" in arguments:
        cell = of_library(of, tuple(arguments["cell"].values()))
        arguments = {**arguments, "cell": cell}
    return getattr(of, name)(**{**arguments, **options, "dtype": "float64"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own
@seeds(6, 30)
def test_masks_beside_states_are_those_of_keras(keras: Any, backend: str, seed: int) -> None:
    """In two batches, in both directions or one, with states passed, kept, or neither."""
    gpunn.use_backend(backend)
    draw = random.Random(seed)
    kind, mode = draw.choice(sequences.RECURRENT), ("no", None, *MODES)[seed % 6]
    names = ("return_sequences", "go_backwards", "stateful", "zero_output_for_mask")
    chosen: dict[str, Any] = {name: draw.random() < 0.5 for name in names}
    chosen["return_state"] = True
    own = draw.random() < 0.4
    chosen["go_backwards"] &= own or mode == "no"
    x = numbers(draw, 2, BATCH, STEPS, FEATURES)
    masks = [sequences.a_mask(draw, BATCH, STEPS) if draw.random() < 0.8 else None for _ in x]
    made = []
    for of in (layers, keras.layers):
        layer = of_library(of, kind, **chosen)
        if mode != "no":
            back = of_library(of, kind, **{**chosen, "go_backwards": not chosen["go_backwards"]})
            layer = of.Bidirectional(
                layer, merge_mode=mode, backward_layer=back if own else None, dtype="float64"
            )
        layer.build(x[0].shape)
        made.append(layer)
    ours, theirs = made
    sequences.randomized(ours, draw)
    theirs.set_weights(ours.get_weights())
    sizes = flat(getattr(ours, "forward_layer", ours).state_size) * (1 + (mode != "no"))
    states = [numbers(draw, BATCH, size) for size in sizes] if draw.random() < 0.6 else None
    for now, mask in zip(x, masks, strict=True):
        found = ours(now, initial_state=states, mask=mask)
        tensors = [
            None if a is None else keras.tree.map_structure(keras.ops.convert_to_tensor, a)
            for a in (now, states, mask)
        ]
        # Its own __call__ would compute the masks of states, which fails in Bidirectional.
        expected = theirs.call(tensors[0], initial_state=tensors[1], mask=tensors[2])
        near(found, [keras.ops.convert_to_numpy(y) for y in expected], 1e-6)
        states = None
