"""Masks of sequences, compared with Keras: what is skipped, where a mask ends, and what counts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Keras's own
    pytest.mark.filterwarnings("ignore:Layer 'inner':UserWarning"),  # whose mask Keras passes on
]
STEPS, CODES = 6, 9


def codes() -> Any:
    """Padded at the end, at the beginning, in the middle, not at all, and nothing but padding."""
    x = np.random.default_rng(1).integers(1, CODES, (8, STEPS))
    x[0, 4:] = x[1, 1:] = x[2, :3] = x[3, 2] = x[4] = 0
    return x


def numbers() -> Any:
    x = np.random.default_rng(2).standard_normal((8, STEPS, 3)).astype("float32")
    return np.where(codes()[..., None] > 0, x, 0)


def embedded(library: Any) -> tuple[Any, Any]:
    x = library.Input((STEPS,), dtype="int32")
    return x, library.layers.Embedding(CODES, 4, mask_zero=True)(x)


def with_masking(library: Any, make: Any) -> Any:
    x = library.Input((STEPS, 3))
    return library.Model(x, make(library.layers, library.layers.Masking()(x)))


def after(layer: Any) -> Any:
    return lambda library: with_masking(library, lambda of, h: of.Dense(2)(layer(of)(h)))


def nested(library: Any) -> Any:
    of = library.layers
    inside = library.Input((STEPS, 4))
    y = of.LSTM(3, return_sequences=True)(of.Dense(4)(inside))
    x, h = embedded(library)
    return library.Model(x, of.Dense(2)(library.Model(inside, y, name="inner")(h)))


def chain(library: Any) -> Any:
    of = library.layers
    return library.Sequential(
        [
            library.Input((STEPS,), dtype="int32"),
            of.Embedding(CODES, 4, mask_zero=True),
            of.Bidirectional(of.GRU(3, return_sequences=True)),
            of.TimeDistributed(of.Dense(2)),
        ]
    )


def subclass(library: Any) -> Any:
    of = library.layers

    class Net(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = of.Embedding(CODES, 4, mask_zero=True)
            self.recurrent = of.LSTM(3, return_sequences=True)
            self.scores = of.Dense(2)

        def call(self, x: Any) -> Any:
            return self.scores(self.recurrent(self.embedding(x)))

    model = Net()
    model(codes())
    return model


def given(library: Any) -> Any:
    of = library.layers
    x = library.Input((STEPS,), dtype="int32")
    embedding = of.Embedding(CODES, 4, mask_zero=True)
    y = of.GRU(3, return_sequences=True)(embedding(x), mask=embedding.compute_mask(x))
    return library.Model(x, of.Dense(2)(y))


def averaged(library: Any) -> Any:
    class Average(library.layers.Layer):
        def compute_mask(self, inputs: Any, mask: Any = None) -> None:
            """None: there are no steps any more."""

        def call(self, x: Any, mask: Any = None) -> Any:
            weight = library.ops.cast(mask, "float32")[..., None]
            total = library.ops.sum(x * weight, axis=1)
            return total / (1 + library.ops.sum(weight, axis=1))

    x, h = embedded(library)
    return library.Model(x, library.layers.Dense(2)(Average()(library.layers.Dropout(0.0)(h))))


def shifted(library: Any) -> Any:
    """A layer of one's own that gives another mask than it gets."""

    class Shifted(library.layers.Layer):
        def call(self, x: Any) -> Any:
            return x[:, 1:]

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return mask[:, 1:]

    x, h = embedded(library)
    return library.Model(x, library.layers.LSTM(3, return_sequences=True)(Shifted()(h)))


def merged(library: Any) -> Any:
    of = library.layers
    x, h = embedded(library)
    g = of.Dense(4)(h)
    along, beside = of.Concatenate(axis=1)([h, g]), of.Concatenate()([h, g])
    return library.Model(x, of.Dense(2)(of.Add()([of.LSTM(3)(along), of.GRU(3)(beside)])))


MODELS: dict[str, Any] = {
    "SimpleRNN": after(lambda of: of.SimpleRNN(4)),
    "LSTM": after(lambda of: of.LSTM(4, return_sequences=True)),
    "zeros": after(lambda of: of.LSTM(4, return_sequences=True, zero_output_for_mask=True)),
    "backwards": after(lambda of: of.GRU(4, return_sequences=True, go_backwards=True)),
    "cells": after(lambda of: of.RNN([of.LSTMCell(3), of.GRUCell(2)], return_sequences=True)),
    **{
        str(mode): after(lambda of, mode=mode: of.Bidirectional(of.LSTM(3), merge_mode=mode))
        for mode in ("concat", "sum", "ave", "mul")
    },
    "own backward": after(
        lambda of: of.Bidirectional(
            of.LSTM(3, return_sequences=True),
            backward_layer=of.GRU(3, return_sequences=True, go_backwards=True),
        )
    ),
    "normalized": after(lambda of: of.LayerNormalization()),
    **{f.__name__: f for f in (nested, chain, subclass, given, averaged, shifted, merged)},
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "name",
    [pytest.param(m, marks=[pytest.mark.more] * (i % 3 > 0)) for i, m in enumerate(MODELS)],
)
def test_outputs_steps_and_figures_are_those_of_keras(
    every_backend: str, keras: Any, name: str
) -> None:
    gpunn.use_backend(every_backend)
    ours, theirs = MODELS[name](gpunn), MODELS[name](keras)
    ours.set_weights(theirs.get_weights())
    x = codes() if len(ours.input_shape) == 2 else numbers()
    expected = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, 1e-6, 1e-6)
    y = np.random.default_rng(3).standard_normal(expected.shape)
    figures = []
    for library, model in ((gpunn, ours), (keras, theirs)):
        model.compile(library.optimizers.SGD(0.1), "mse", metrics=["mae"])
        history = model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0).history
        figures.append(history | model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True))
    for ours_now, theirs_now in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours_now, theirs_now, 3e-6, 3e-6)
    for figure, value in figures[1].items():
        np.testing.assert_allclose(figures[0][figure], value, 1e-5, err_msg=figure)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "mse"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_weights_of_steps_go_with_a_mask(keras: Any, loss: str, reduction: str) -> None:
    """In one batch: Keras on PyTorch changes the given weights in place."""
    ours, theirs = chain(gpunn), chain(keras)
    ours.set_weights(theirs.get_weights())
    x, found = codes(), []
    weights = np.random.default_rng(4).random(x.shape).astype("float32")
    random = np.random.default_rng(5)
    y = random.integers(0, 2, x.shape) if loss[0] == "s" else random.random((*x.shape, 2))
    for library, model in ((gpunn, ours), (keras, theirs)):
        kind = {"mse": "MeanSquaredError"}.get(loss, "SparseCategoricalCrossentropy")
        options = {} if loss == "mse" else {"from_logits": True}
        made = getattr(library.losses, kind)(reduction=reduction, **options)
        model.compile(library.optimizers.SGD(0.01), made, metrics=["accuracy"])
        history = model.fit(
            x, y, batch_size=8, epochs=2, sample_weight=weights.copy(), shuffle=False, verbose=0
        )
        found.append([*history.history["loss"], *history.history["accuracy"]])
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_masked_steps_change_nothing(every_backend: str) -> None:
    """Neither outputs nor gradients depend on what stands in masked steps."""
    gpunn.use_backend(every_backend)
    model = MODELS["given"](gpunn)
    model.compile("sgd", "mse")
    y, found = np.ones((8, STEPS, 2)), []
    start = model.get_weights()
    for value in (0.0, 100.0):
        model.set_weights([start[0].copy(), *start[1:]])
        table = model.get_weights()[0]
        table[0] = value  # that of padding
        model.set_weights([table, *start[1:]])
        model.fit(codes(), y, batch_size=8, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.array_equal(found[1][0][0], [100.0] * 4)


def test_files_and_copies_keep_masks(tmp_path: Path) -> None:
    for name in ("LSTM", "own backward", "nested", "chain", "given", "merged"):
        model = MODELS[name](gpunn)
        x = codes() if len(model.input_shape) == 2 else numbers()
        expected = model.predict(x, verbose=0)
        model.save(tmp_path / "model.gpunn")
        loaded = gpunn.saving.load_model(tmp_path / "model.gpunn")
        for again in (loaded, copy.deepcopy(model)):
            np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


def test_tensors_with_values_have_masks() -> None:
    embedding = layers.Embedding(CODES, 4, mask_zero=True)
    x = embedding(codes())
    np.testing.assert_array_equal(x._keras_mask, codes() != 0)
    lstm = layers.LSTM(3, return_sequences=True)
    y = lstm(x)
    np.testing.assert_array_equal(y._keras_mask, codes() != 0)
    np.testing.assert_array_equal(y[0, 3], y[0, 5])  # padded at the end: the state stays
    np.testing.assert_array_equal(y, lstm(x, mask=codes() != 0))
    assert layers.LSTM(3)(x)._keras_mask is None


def test_a_mask_ends_with_a_warning_or_an_error() -> None:
    _, h = embedded(gpunn)
    with pytest.warns(UserWarning, match="does not pass on the mask"):
        y = layers.Flatten()(h)
    assert y._keras_mask is None
    with pytest.warns(UserWarning, match="a mask is not passed beside initial_state"):
        layers.GRU(2)(h, initial_state=[gpunn.Input((2,))])
    with pytest.raises(ValueError, match="a mask must broadcast"):
        layers.Softmax()(h)


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_both_directions(keras: Any, name: str, mode: str | None) -> None:
    made = []
    for library in (gpunn, keras):
        of = library.layers
        inner = getattr(of, name)(3, return_sequences=True, return_state=True)
        x = library.Input((STEPS, 3))
        y, *rest = of.Bidirectional(inner, merge_mode=mode)(x)
        states = rest[0 if mode else 1 :]
        z = of.Bidirectional(getattr(of, name)(3))(x, initial_state=states)
        made.append(library.Model(x, [y, *rest, z]))
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    found, expected = (model.predict(numbers(), verbose=0) for model in made)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, 1e-6, 1e-6)


def test_what_bidirectional_refuses() -> None:
    lstm = layers.LSTM(3, go_backwards=True)
    for make, message in (
        (lambda: layers.Bidirectional(layers.Dense(3)), "recurrent"),
        (lambda: layers.Bidirectional(lstm, backward_layer=lstm), "go_backwards"),
        (lambda: layers.Bidirectional(lstm, merge_mode="max"), "merge_mode"),
        (
            lambda: layers.Bidirectional(layers.GRU(2, return_state=True), backward_layer=lstm),
            "return_state",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_each_step_of_a_layer_with_state(keras: Any) -> None:
    """Moving averages change once for each step, and images are read one after the other."""
    made = []
    for library in (gpunn, keras):
        of = library.layers
        made.append(
            library.Sequential(
                [
                    library.Input((3, 6, 6, 2)),
                    of.TimeDistributed(of.Conv2D(2, 3)),
                    of.TimeDistributed(of.BatchNormalization()),
                    of.TimeDistributed(of.Flatten()),
                ]
            )
        )
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    x = np.random.default_rng(6).standard_normal((5, 3, 6, 6, 2)).astype("float32")
    for library, model in ((gpunn, ours), (keras, theirs)):
        model.compile(library.optimizers.SGD(0.1), "mse")
        model.fit(x, np.zeros((5, 3, 32)), batch_size=5, epochs=2, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-5)
