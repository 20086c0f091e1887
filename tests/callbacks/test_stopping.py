"""Test when and why training stops by itself, and that held-out rows do not affect it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers
from gpunn.optimizers import SGD

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = X @ RNG.standard_normal((3, 1)) + 0.1 * RNG.standard_normal((40, 1))


def make(**optimizer: Any) -> gpunn.Sequential:
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(1)], dtype="float64")
    model.compile(SGD(**{"learning_rate": 0.1, **optimizer}), "mse")
    return model


def fit(model: gpunn.Sequential, *watching: Any, **arguments: Any) -> dict[str, list[float]]:
    given = {"epochs": 100, "batch_size": 10, "verbose": 0, **arguments}
    return model.fit(X, Y, callbacks=list(watching), **given).history


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("patience", [1, 3])
def test_a_small_change(relative: bool, patience: int) -> None:
    everything = np.array(fit(make(learning_rate=0.01))["loss"])
    changes = np.abs(np.diff(everything)) / (everything[:-1] / 100 if relative else 1)
    small = changes < (1.0 if relative else 0.02)
    expected = next(e for e in range(100) if e >= patience and small[e - patience : e].all())
    stop = callbacks.StopOnSmallChange(
        tolerance=1.0 if relative else 0.02, relative=relative, patience=patience
    )
    loss = fit(make(learning_rate=0.01), stop)["loss"]
    assert loss == everything[: expected + 1].tolist()
    assert stop.stopped_epoch == expected
    assert ("%" in str(stop.reason)) == relative


def test_a_target() -> None:
    loss = fit(make(), stop := callbacks.StopAtTarget("val_loss", 0.05), validation_split=0.2)
    assert loss["val_loss"][-1] <= 0.05 < min(loss["val_loss"][:-1])
    assert stop.reason is not None
    for mode, target, epochs in (("min", 0.0, 5), ("max", 0.0, 1)):
        stop = callbacks.StopAtTarget("loss", target, mode)
        assert len(fit(make(), stop, epochs=5)["loss"]) == epochs


def test_a_gradient_near_zero() -> None:
    # Full batches: the gradient after the last epoch is taken at the weights before its update.
    stop, model = callbacks.StopOnSmallGradient(0.01), make()
    x1 = np.hstack([X, np.ones((40, 1))])
    weights = [np.vstack(model.get_weights())]
    loss = fit(model, stop, batch_size=40)["loss"]
    norms = []
    for _ in loss:
        gradient = 2 / 40 * x1.T @ (x1 @ weights[-1] - Y)
        norms.append(np.linalg.norm(gradient))
        weights.append(weights[-1] - 0.1 * gradient)
    assert norms[-1] < 0.01 <= norms[-2]
    np.testing.assert_allclose(stop.norm, norms[-1], rtol=1e-9)
    assert len(loss) == stop.stopped_epoch + 1 < 100


@pytest.mark.parametrize("updates", [1, 4, 5, 11])
@pytest.mark.parametrize("accumulated", [None, 2])
def test_so_many_updates(updates: int, accumulated: int | None) -> None:
    model = make(gradient_accumulation_steps=accumulated)
    fit(model, epochs=1)  # earlier updates do not count
    before = model.optimizer.iterations
    stop = callbacks.StopAfter(updates=updates)
    epochs = len(fit(model, stop)["loss"])
    assert model.optimizer.iterations == before + updates
    assert model._trainer.batches == (before + updates) * (accumulated or 1)
    assert epochs == stop.stopped_epoch + 1 == -(-updates * (accumulated or 1) // 4)
    fit(model, stop)  # the same again
    assert model.optimizer.iterations == before + 2 * updates


def test_only_the_last_batch_is_watched() -> None:
    stop = callbacks.StopAfter(updates=11)
    watched = []

    class Spy(callbacks.StopAfter):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            watched.append(batch)
            super().on_train_batch_end(batch, logs)

    fit(make(), Spy(updates=11))
    assert watched == [2]
    assert not callbacks.StopAfter(seconds=1.0).needs_train_batches
    assert stop.needs_train_batches


def test_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("gpunn.callbacks.stopping.time.monotonic", lambda: now[0])

    def later(epoch: int, logs: Any) -> None:
        now[0] += 1.0

    model, stop = make(), callbacks.StopAfter(seconds=2.5)
    slow = callbacks.LambdaCallback(on_epoch_begin=later)
    assert len(fit(model, slow, stop)["loss"]) == 3
    assert stop.reason == "2.5 seconds have passed"
    # Also within an epoch, where the time is checked ten times a second.
    assert model.optimizer.iterations < 12
    assert len(fit(make(), slow, stop)["loss"]) == 3


@pytest.mark.parametrize(
    "stop",
    [
        lambda: callbacks.StopOnSmallChange(tolerance=0.02, patience=2),
        lambda: callbacks.StopAtTarget("loss", 0.05),
        lambda: callbacks.StopOnSmallGradient(0.2),
        lambda: callbacks.StopAfter(updates=13),
        lambda: callbacks.ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=0.02, cooldown=1),
    ],
)
@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_resumed_run_stops_where_it_would_have(stop: Any, killed: int, tmp_path: Path) -> None:
    def die(epoch: int, logs: Any) -> None:
        if epoch == killed:
            raise KeyboardInterrupt

    through, model = make(), make()
    rates = fit(through, stop(), epochs=8)
    backup = callbacks.BackupAndRestore(tmp_path)
    try:
        # The first epochs and the beginning of the next one, which is lost.
        fit(model, stop(), backup, callbacks.LambdaCallback(on_epoch_begin=die), epochs=8)
    except KeyboardInterrupt:
        model = make()
        again = fit(model, stop(), callbacks.BackupAndRestore(tmp_path), epochs=8)
        assert again["loss"] == rates["loss"]
    assert model.optimizer.iterations == through.optimizer.iterations
    assert model.optimizer.learning_rate == through.optimizer.learning_rate
    for a, b in zip(model.get_weights(), through.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_what_was_before_a_checkpoint_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("gpunn.callbacks.stopping.time.monotonic", lambda: now[0])
    model, first = make(), callbacks.StopAfter(updates=10, seconds=5.0)
    fit(model, first, epochs=1)
    now[0] = 4.0
    state = first.get_state()
    now[0] = 100.0  # the pause does not count

    class Resume(callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            second.set_state(state)

    second = callbacks.StopAfter(updates=10, seconds=5.0)
    assert len(fit(model, second, Resume())["loss"]) == 2
    assert (model.optimizer.iterations, second.reason) == (10, "10 updates are done")
    assert second.elapsed == 4.0
    now[0] = 101.0
    assert second.elapsed == 5.0


def test_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    fit(make(), callbacks.StopAfter(updates=5, verbose=1))
    assert capsys.readouterr().out == "Epoch 2: 5 updates are done, stopped.\n"
    fit(make(), callbacks.StopAtTarget("loss", 1e9, verbose=1))
    assert "the target 1e+09, stopped." in capsys.readouterr().out


def test_what_did_not_stop_has_no_reason() -> None:
    stop = callbacks.StopAfter(updates=1000)
    fit(make(), stop, epochs=2)
    assert (stop.reason, stop.stopped_epoch) == (None, 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: callbacks.StopAfter(), "updates=.*seconds="),
        (lambda: callbacks.StopAfter(updates=0), "updates must be"),
        (lambda: callbacks.StopAfter(seconds=-1.0), "seconds must be"),
        (lambda: callbacks.StopOnSmallChange(tolerance=-1.0), "tolerance"),
        (lambda: callbacks.StopOnSmallChange(patience=0), "patience"),
        (lambda: callbacks.StopOnSmallGradient(-1.0), "tolerance"),
    ],
)
def test_wrong_arguments_are_named(wrong: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wrong()


@pytest.mark.parametrize("held_out", ["split", "data"])
def test_held_out_rows_never_influence_the_weights(held_out: str) -> None:
    """Whatever they contain, the weights are bit-identical."""
    found = []
    for poison in (1.0, 1e6):
        x, y = X.copy(), Y.copy()
        x[32:] *= poison
        y[32:] -= poison
        model = make(momentum=0.9)
        stop = callbacks.EarlyStopping(patience=100)
        if held_out == "split":
            arguments: dict[str, Any] = {"validation_split": 0.2}
        else:
            arguments = {"validation_data": (x[32:], y[32:])}
            x, y = x[:32], y[:32]
        history = model.fit(
            x, y, epochs=10, batch_size=7, verbose=0, callbacks=[stop], **arguments
        ).history
        found.append((model.get_weights(), history["loss"], history["val_loss"]))
    (first, loss, seen), (second, same_loss, poisoned) = found
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert loss == same_loss
    assert min(poisoned) > 1e3 * max(seen)  # they were evaluated


def test_early_stopping_is_by_the_held_out_rows() -> None:
    """Training stops once generalization no longer improves, though its own loss still falls."""
    x = RNG.standard_normal((24, 20))
    y = RNG.standard_normal((24, 1))  # nothing to learn except by memorizing
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential([layers.Input((20,)), layers.Dense(32, "tanh"), layers.Dense(1)])
    model.compile(SGD(0.05), "mse")
    stop = callbacks.EarlyStopping(patience=3)
    history = model.fit(x, y, epochs=200, verbose=0, validation_split=0.5, callbacks=[stop]).history
    best = int(np.argmin(history["val_loss"]))
    assert stop.stopped_epoch == best + 3 < 199
    assert history["loss"][-1] < history["loss"][best]
