"""Test models trained only on losses that their layers add, and the losses of layers and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from comparisons.custom_layers import register
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.ops.running.shape_trace import trace_of

X = np.random.default_rng(2).standard_normal((20, 6)).astype(np.float32)
Y = np.zeros((20, 6), np.float32)


@pytest.fixture(params=["numpy", "compiled", "emulated"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@register
class Reconstruction(layers.Layer):
    """The end of an autoencoder from Keras's examples: it compares two tensors."""

    def call(self, inputs: Any) -> Any:
        x, again = inputs
        self.add_loss(ops.mean(ops.square(x - again)))
        return again


def autoencoder(backend: str | None = None, **options: Any) -> Any:
    gpunn.utils.set_random_seed(3)
    inputs = gpunn.Input((6,))
    again = layers.Dense(6, **options)(layers.Dense(2, activation="tanh")(inputs))
    model = gpunn.Model(inputs, Reconstruction()([inputs, again]), backend=backend)
    model.compile(gpunn.optimizers.SGD(0.5))
    return model


def by_torch(weights: list[np.ndarray], steps: int, l2: float = 0.0) -> tuple[list[float], Any]:
    """The losses of full batches in order, and the final weights, by PyTorch."""
    ws = [torch.tensor(w, requires_grad=True) for w in weights]
    optimizer, losses = torch.optim.SGD(ws, lr=0.5), []
    for _ in range(steps):
        again = torch.tanh(torch.tensor(X) @ ws[0] + ws[1]) @ ws[2] + ws[3]
        loss = ((again - torch.tensor(X)) ** 2).mean() + l2 * (ws[2] ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [w.detach().numpy() for w in ws]


def test_what_a_layer_adds_is_minimised(backend: str) -> None:
    model = autoencoder(backend)
    losses, weights = by_torch(model.get_weights(), 3)
    assert model.evaluate(X, verbose=0) == pytest.approx(losses[0], rel=1e-5)
    found = model.fit(X, epochs=3, batch_size=20, shuffle=False, verbose=0).history
    assert list(found) == ["loss"]
    assert_allclose(found["loss"], losses, rtol=1e-5)
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_penalties_on_weights_are_added(backend: str) -> None:
    model = autoencoder(backend, kernel_regularizer=gpunn.regularizers.L2(0.05))
    losses, weights = by_torch(model.get_weights(), 2, 0.05)
    found = model.fit(X, epochs=2, batch_size=20, shuffle=False, verbose=0).history["loss"]
    assert_allclose(found, losses, rtol=1e-5)
    assert_allclose(model.get_weights()[2], weights[2], rtol=1e-4, atol=1e-6)


def test_the_loss_of_an_epoch_is_the_mean_over_rows(backend: str) -> None:
    model = autoencoder(backend)
    model.compile(gpunn.optimizers.SGD(0.0))
    whole = model.evaluate(X, verbose=0, batch_size=20)
    assert model.evaluate(X, verbose=0, batch_size=8) == pytest.approx(whole, rel=1e-5)
    history = model.fit(X, batch_size=8, validation_data=(X, None), verbose=0).history
    assert history["loss"][0] == pytest.approx(whole, rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(whole, rel=1e-5)


def test_every_way_to_bring_data() -> None:
    def batches() -> Any:
        yield from (X[:10], X[10:])

    class Data(gpunn.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, at: int) -> Any:
            return (X[10 * at : 10 * at + 10],)

    expected = autoencoder("numpy").fit(X, batch_size=10, shuffle=False, verbose=0).history["loss"]
    for data in (batches(), Data()):
        model = autoencoder("numpy")
        assert_allclose(model.fit(data, shuffle=False, verbose=0).history["loss"], expected, 1e-6)
    model = autoencoder("numpy")
    one, two = (model.train_on_batch(part) for part in (X[:10], X[10:]))
    assert (one + two) / 2 == pytest.approx(expected[0], rel=1e-6)
    ignored = autoencoder("numpy").fit(X, Y, batch_size=10, shuffle=False, verbose=0)
    assert_allclose(ignored.history["loss"], expected, 1e-6)


def test_a_model_with_a_call_of_its_own(backend: str) -> None:
    class Autoencoder(gpunn.Model):
        def __init__(self) -> None:
            super().__init__(backend=backend)
            self.encode, self.decode = layers.Dense(2, activation="tanh"), layers.Dense(6)

        def call(self, x: Any) -> Any:  # type: ignore[override]
            again = self.decode(self.encode(x))
            self.add_loss(ops.mean(ops.square(x - again)))
            return again

    model, first = Autoencoder(), []
    model.compile(gpunn.optimizers.SGD(0.5))  # before its layers are built
    look = gpunn.callbacks.LambdaCallback(
        on_train_begin=lambda logs: first.extend(model.get_weights())
    )
    found = model.fit(X, epochs=2, batch_size=20, callbacks=[look], verbose=0).history["loss"]
    assert_allclose(found, by_torch(first, 2)[0], rtol=1e-5)


def test_a_saved_run_goes_on(tmp_path: Path) -> None:
    whole = autoencoder()
    whole.compile("adam")
    expected = whole.fit(X, epochs=4, batch_size=6, verbose=0).history["loss"]
    model = autoencoder()
    model.compile("adam")
    model.fit(X, epochs=2, batch_size=6, verbose=0)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert again.fit(X, epochs=2, batch_size=6, verbose=0).history["loss"] == expected[2:]


def test_what_has_no_loss_at_all() -> None:
    model = gpunn.Sequential([layers.Input((6,)), layers.Dense(6)])
    model.compile("sgd")
    with pytest.raises(ValueError, match="without a loss; name one in compile"):
        model.fit(X, Y, verbose=0)
    model = gpunn.Sequential([layers.Input((6,)), layers.Lambda(lambda x: x * 2)])
    model.compile("sgd")
    with pytest.raises(ValueError, match="no layer calls add_loss"):
        model.fit(X, verbose=0)
    with pytest.raises(ValueError, match="compiled without a loss"):
        autoencoder("numpy").fit(X, sample_weight=np.ones(20), verbose=0)
    model = autoencoder("numpy")
    model.compile("sgd", metrics=["mae"])
    with pytest.raises(ValueError, match="without a loss"):
        model.fit(X, X, verbose=0)


# -- losses, as attributes


def test_the_losses_of_a_layer(backend: str) -> None:
    dense = layers.Dense(3, kernel_regularizer="l2", bias_regularizer=lambda b: ops.sum(b) + 1)
    assert dense.losses == []
    dense(X)
    kernel, bias = dense.losses
    assert float(kernel) == pytest.approx(0.01 * float((dense.kernel.numpy() ** 2).sum()), rel=1e-5)
    assert float(bias) == 1.0
    dense.trainable = False
    assert dense.losses == []
    both = Reconstruction()
    both([X, Y])
    assert float(both.losses[0]) == pytest.approx(float((X**2).mean()), rel=1e-5)
    both([X, X])
    assert [float(loss) for loss in both.losses] == [0.0]


def test_the_losses_of_a_model(backend: str) -> None:
    model = autoencoder(backend, kernel_regularizer=gpunn.regularizers.L2(0.05))
    penalty = 0.05 * float((model.get_weights()[2] ** 2).sum())
    assert [float(loss) for loss in model.losses] == [pytest.approx(penalty, rel=1e-5)]
    for training in (False, True):
        difference = X - model(X, training=training)
        expected = [pytest.approx(float((difference**2).mean()), rel=1e-5)]
        assert [float(x) for x in model.losses] == [*expected, pytest.approx(penalty, rel=1e-5)]
        assert sum(model.losses).item() == pytest.approx(model.evaluate(X, verbose=0), rel=1e-5)


def test_losses_that_cannot_be_had() -> None:
    model = autoencoder("numpy")
    with pytest.raises(ValueError, match=r"read model\.losses"):
        _ = model.layers[-1].losses
    with pytest.raises(TypeError, match="inside a call"):
        trace_of(lambda x: model.losses, [((2,), "float32")])


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_losses_of_a_batch_that_a_prediction_would_cut(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NumpyBackend, "cache_bytes", 1 << 8)
    model = autoencoder(backend)
    model(X)
    (loss,) = by_torch(model.get_weights(), 1)[0]
    assert [float(found) for found in model.losses] == [pytest.approx(loss, rel=1e-5)]
