"""``layer(x, training=...)`` in a graph: that layer's mode, whatever the model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

X = np.ones((64, 12), "float32")
STEPS = np.ones((8, 5, 3), "float32")


def _dropping(**options: Any) -> Any:
    """Return a model that always drops a half, and doubles the rest."""
    x = gpunn.Input((12,))
    return gpunn.Model(x, layers.Dropout(0.5)(x, training=True), **options)


def _values(model: Any, x: Any = X) -> list[np.ndarray]:
    """Return what a model gives in each way of calling it outside of training."""
    calls = model.predict, model.predict_on_batch, model, lambda x: model(x, training=False)
    return [np.asarray(call(x)) for call in calls]


@pytest.mark.parametrize("path", [None, "model.gpunn", "model.keras"])
def test_dropout_in_predictions(every_backend: str, path: str | None, tmp_path: Path) -> None:
    gpunn.utils.set_random_seed(3)
    model = _dropping(backend=every_backend)
    if path is not None:
        model.save(tmp_path / path)
        model = gpunn.models.load_model(tmp_path / path)
    found = [y for _ in range(2) for y in _values(model)]
    for y in found:  # half of 768 values, within six standard deviations
        assert set(np.unique(y)) == {0.0, 2.0} and abs((y == 0).mean() - 0.5) < 0.11
    assert len({y.tobytes() for y in found}) == len(found)  # each draws other numbers
    gpunn.utils.set_random_seed(3)
    assert np.array_equal(_dropping(backend=every_backend).predict(X), found[0]) or path


@pytest.mark.parametrize("make", [
    gpunn.models.clone_model,
    lambda model: gpunn.Model.from_config(model.get_config()),
    lambda model: gpunn.models.model_from_json(model.to_json()),
    lambda model: gpunn.Model(x := gpunn.Input((12,)), model(x)),
    lambda model: gpunn.Model(x := gpunn.Input((12,)), model(x, training=False)),
    lambda model: gpunn.Sequential([gpunn.Input((12,)), model]),
    lambda model: _Calling(model),
])  # fmt: skip
def test_it_stays_in_copies_and_in_other_models(make: Any) -> None:
    """The explicit argument of the innermost call has priority."""
    for y in _values(make(_dropping())):
        assert set(np.unique(y)) == {0.0, 2.0}


class _Calling(gpunn.Model):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.inner(x)


def test_a_model_that_is_always_in_training_mode() -> None:
    x = gpunn.Input((12,))
    inner = gpunn.Sequential([layers.Dropout(0.5)])
    model = gpunn.Model(x, [inner(x, training=True), inner(x)])
    drops, passes = model.predict(X)
    assert set(np.unique(drops)) == {0.0, 2.0} and np.array_equal(passes, X)


@pytest.mark.parametrize("layer", [
    layers.GaussianNoise(0.5), layers.AlphaDropout(0.3), layers.SpatialDropout1D(0.5),
    layers.LSTM(4, dropout=0.5), layers.GRU(4, recurrent_dropout=0.5, return_sequences=True),
    layers.Bidirectional(layers.SimpleRNN(3, dropout=0.5)),
], ids=lambda layer: layer.name)  # fmt: skip
def test_layers_that_draw(backend: str, layer: Any) -> None:
    x = gpunn.Input((5, 3))
    always = gpunn.Model(x, layer(x, training=True), backend=backend)
    first, second = (always.predict(STEPS) for _ in range(2))
    assert not np.array_equal(first, second)
    plain = gpunn.Model(x, layer(x), backend=backend)
    assert np.array_equal(plain.predict(STEPS), plain.predict(STEPS))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own, about NumPy 2
def test_statistics_of_a_batch_are_kerass(keras: Any, every_backend: str) -> None:
    """Those of the batches of `predict`, which have 32 rows unless the caller chooses."""
    x = np.random.default_rng(1).normal(3.0, 2.0, (70, 4)).astype("float32")
    norms = [module.layers.BatchNormalization(momentum=0.5) for module in (keras, gpunn)]
    inputs = keras.Input((4,)), gpunn.Input((4,))
    theirs = keras.Model(inputs[0], norms[0](inputs[0]))
    ours = gpunn.Model(inputs[1], norms[1](inputs[1], training=True), backend=every_backend)
    found = ours.predict(x), ours.predict(x, batch_size=70)
    assert (norms[1].moving_mean.numpy() == 0).all()  # a prediction changes no weight
    expected = [theirs(part, training=True) for part in np.split(x, [32, 64])]
    expected = np.concatenate([part.detach().numpy() for part in expected])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    norms[0].set_weights(norms[1].get_weights())
    expected = theirs(x, training=True).detach().numpy()
    for y in (found[1], ours(x), ours.predict_on_batch(x)):
        np.testing.assert_allclose(y, expected, atol=1e-5)
    for moving, wanted in zip(norms[1].get_weights(), norms[0].get_weights(), strict=True):
        np.testing.assert_allclose(moving, wanted, rtol=1e-5)  # by `ours(x)`, as in Keras


def test_it_trains_and_is_evaluated(every_backend: str) -> None:
    x = gpunn.Input((12,))
    y = layers.Dense(1, kernel_initializer="ones")(layers.Dropout(0.5)(x, training=True))
    model = gpunn.Model(x, y, backend=every_backend)
    model.compile("sgd", "mse")
    first, second = (model.evaluate(X, np.zeros((64, 1)), verbose=0) for _ in range(2))
    assert first != second
    model.fit(X, np.zeros((64, 1)), epochs=30, verbose=0)
    assert model.evaluate(X, np.zeros((64, 1)), verbose=0) < first / 4


def test_an_exported_file_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)always in training mode"):
        _dropping().export(tmp_path / "model.onnx", format="onnx")
    from gpunn.apps.web.program import forward_program

    with pytest.raises(ValueError, match=r"(?s)always in training mode"):
        forward_program(_dropping())
