"""Layers and models for each step, compared with Keras: masks of inner steps, empty documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

pytestmark = pytest.mark.filterwarnings("ignore")  # a mask ends in layers that support none
CODES, SENTENCES, WORDS = 9, 3, 5


def documents() -> Any:
    """Full sentences, padded ones, and sentences and a document without any word."""
    x = np.random.default_rng(1).integers(1, CODES, (5, SENTENCES, WORDS))
    x[0, 2] = x[1, 1, 3:] = x[2, 0, 1:] = x[3] = 0
    return x


def of_documents(inner: Any, after: Any = None) -> Any:
    def made(library: Any) -> Any:
        of = library.layers
        x = library.Input((SENTENCES, WORDS), dtype="int32")
        y = of.TimeDistributed(inner(of))(of.Embedding(CODES, 4, mask_zero=True)(x))
        return library.Model(x, y if after is None else after(of)(y))

    return made


def encoder(library: Any) -> Any:
    of = library.layers
    x = library.Input((WORDS,), dtype="int32")
    y = of.GRU(3)(of.Embedding(CODES, 4, mask_zero=True)(x))
    sentences = library.Model(x, y)
    x = library.Input((SENTENCES, WORDS), dtype="int32")
    return library.Model(x, of.Dense(1)(of.LSTM(2)(of.TimeDistributed(sentences)(x))))


def pictures(library: Any) -> Any:
    of = library.layers
    each = library.Sequential(
        [
            library.Input((6, 6, 1)), of.Conv2D(2, 3), of.BatchNormalization(),
            of.MaxPooling2D(), of.Flatten(),
        ]
    )  # fmt: skip
    return library.Sequential(
        [library.Input((SENTENCES, 6, 6, 1)), of.TimeDistributed(each), of.LSTM(3), of.Dense(1)]
    )


MODELS = {
    "words": of_documents(lambda of: of.LSTM(3, return_sequences=True)),
    "features": of_documents(lambda of: of.Dense(2)),
    "twice": of_documents(lambda of: of.TimeDistributed(of.Dense(2))),
    "statistics": of_documents(lambda of: of.BatchNormalization(momentum=0.5)),
    "model": encoder,
    "pictures": pictures,
}


@pytest.mark.parametrize("name", MODELS)
def test_predictions_and_steps_are_those_of_keras(
    every_backend: str, keras: Any, name: str
) -> None:
    gpunn.use_backend(every_backend)
    ours, theirs = MODELS[name](gpunn), MODELS[name](keras)
    ours.set_weights(theirs.get_weights())
    shape = (5, *ours.input_shape[1:])
    x = np.random.default_rng(2).random(shape) if name == "pictures" else documents()
    expected = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, 1e-5, 1e-6)
    y = np.random.default_rng(3).standard_normal(expected.shape)
    found = []
    for library, model in ((gpunn, ours), (keras, theirs)):
        model.compile(library.optimizers.SGD(0.1), "mse")
        found.append(float(np.ravel(model.train_on_batch(x, y))[0]))
    np.testing.assert_allclose(*found, rtol=1e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 3e-6)


@pytest.mark.parametrize("kind", ["LSTM", "mean"])
def test_empty_sentences_are_left_out_of_documents(every_backend: str, kind: str) -> None:
    """As if each document had its sentences alone, each with its words alone; and it trains."""
    gpunn.use_backend(every_backend)

    def inner(of: Any) -> Any:
        return of.LSTM(3) if kind == "LSTM" else of.GlobalAveragePooling1D()

    model = of_documents(inner, lambda of: of.LSTM(2))(gpunn)
    table, *rest = model.get_weights()
    words = gpunn.Sequential([gpunn.Input((None, 4)), inner(layers)])
    sentences = gpunn.Sequential([gpunn.Input((None, len(rest[-3]))), layers.LSTM(2)])
    words.set_weights(rest[:-3])
    sentences.set_weights(rest[-3:])
    found = model.predict(documents(), verbose=0)
    for document, y in zip(documents(), found, strict=True):
        read = [words(table[None, line[line > 0]])[0] for line in document if line.any()]
        expected = sentences(np.array(read)[None])[0] if read else np.zeros(2)
        np.testing.assert_allclose(y, expected, 1e-5, 1e-6)
    model.compile("sgd", "mse")
    loss = model.fit(documents(), np.ones((5, 2)), epochs=2, verbose=0).history["loss"]
    assert loss[1] < loss[0]
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("make", [pictures, encoder])
def test_a_model_inside_is_saved(tmp_path: Path, keras: Any, make: Any) -> None:
    model = make(gpunn)
    shape = (2, *model.input_shape[1:])
    x = documents()[:2] if make is encoder else np.random.default_rng(2).random(shape)
    expected = model.predict(x, verbose=0)
    for name in ("model.keras", "model.gpunn"):
        model.save(tmp_path / name)
        again = gpunn.saving.load_model(tmp_path / name)
        np.testing.assert_allclose(again.predict(x, verbose=0), expected, 1e-6)
    theirs = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(theirs.predict(x, verbose=0), expected, 1e-5, 1e-6)


def test_penalties_of_a_layer_inside_count() -> None:
    layer = layers.TimeDistributed(layers.Dense(2, activity_regularizer="l2"))
    y = np.asarray(layer(np.ones((2, 3, 4), "float32")))
    np.testing.assert_allclose(sum(map(float, layer.losses)), 0.01 * (y**2).sum() / 6, 1e-5)


def test_what_is_refused() -> None:
    x = np.ones((2, 3, 4, 5), "float32")
    for make, message in (
        (lambda: layers.TimeDistributed(layers.MultiHeadAttention(2, 3))(x), "query and value"),
        (lambda: layers.TimeDistributed(layers.LSTM(2, return_state=True))(x), "one output"),
        (
            lambda: layers.TimeDistributed(layers.Dense(2))(x, mask=np.ones((2, 2), bool)),
            "mask must have an entry for each step",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()
