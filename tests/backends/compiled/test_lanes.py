"""Small networks that train together, one in each lane of vectors: each as it trains alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.backends.compiled import cpu_kernels, lanes
from gpunn.backends.host import program
from gpunn.backends.shared.lockstep import Lockstep

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the groups that were performed."""
    monkeypatch.setattr(program, "LEAST_STEPS", 1)
    sizes: list[int] = []
    perform = lanes.LaneRun.perform

    def counted(self: Any, others: Sequence[Any], *of: Any) -> None:
        sizes.append(1 + len(others))
        perform(self, others, *of)

    monkeypatch.setattr(lanes.LaneRun, "perform", counted)
    return sizes


def dense(seed: int, *hidden: Any, dtype: str = "float32", **options: Any) -> gpunn.Sequential:
    options = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"} | options
    with gpunn.utils.seeded(seed):
        parts = [gpunn.Input((5,)), *[make() for make in hidden], layers.Dense(3, "softmax")]
        model = gpunn.Sequential(parts, dtype=dtype, backend="compiled")
        model.compile(**options)
    return model


def together(fits: Sequence[Callable[[], Any]], group: Lockstep | None = None) -> list[Any]:
    """Call the functions in lockstep; return their results, or errors."""
    group, found = group or Lockstep(len(fits)), [None] * len(fits)

    def call(k: int) -> None:
        with group.member():
            try:
                found[k] = fits[k]()
            except (Exception, KeyboardInterrupt) as error:
                found[k] = error

    threads = [threading.Thread(target=call, args=(k,)) for k in range(len(fits))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def data(rows: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 5)).astype("float32"), rng.integers(0, 3, rows)


def weights(model: gpunn.Model) -> np.ndarray:
    return np.concatenate([w.ravel() for w in model.get_weights()])


def check_equal(make: Callable[[int], gpunn.Model], count: int = 3, **fit: Any) -> None:
    """Check that networks that train together end as each does alone."""
    x, y = data()
    fit = {"epochs": 3, "batch_size": 32, "verbose": 0} | fit
    alone = [make(seed) for seed in range(count)]
    expected = [model.fit(x, y, **fit).history for model in alone]
    models = [make(seed) for seed in range(count)]
    found = together([lambda m=model: m.fit(x, y, **fit).history for model in models])
    close = {"rtol": 1e-9} if alone[0].dtype == "float64" else {"rtol": 2e-4, "atol": 1e-5}
    for one, other, model, reference in zip(found, expected, models, alone, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], **close)
        np.testing.assert_allclose(weights(model), weights(reference), **close)


D, A = layers.Dense, layers.Activation
NETWORKS: dict[str, Callable[[int], gpunn.Model]] = {
    "dense": lambda s: dense(s, lambda: D(4, "tanh"), lambda: D(6, "relu"), metrics=["accuracy"]),
    "float64": lambda s: dense(s, lambda: D(7, "gelu"), dtype="float64"),
    "momentum": lambda s: dense(
        s, lambda: D(4), optimizer=gpunn.optimizers.SGD(0.1 / (1 + s), 0.9)),
    "schedule": lambda s: dense(s, lambda: D(4, "elu"), optimizer=gpunn.optimizers.RMSprop(
        gpunn.optimizers.schedules.ExponentialDecay(0.01 + 0.01 * s, 5, 0.9))),
    "accumulation": lambda s: dense(
        s, lambda: D(4), optimizer=gpunn.optimizers.Adam(gradient_accumulation_steps=2)),
    "clipping": lambda s: dense(s, lambda: D(4), optimizer=gpunn.optimizers.Adam(clipvalue=0.01)),
    "norms": lambda s: dense(s, lambda: D(4), optimizer=gpunn.optimizers.Adam(clipnorm=0.1)),
    "averages": lambda s: dense(
        s, lambda: D(4), optimizer=gpunn.optimizers.SGD(use_ema=True, ema_momentum=0.9)),
    "dropout": lambda s: dense(s, lambda: D(6, "relu"), lambda: layers.Dropout(0.2 + 0.1 * s)),
    "noise": lambda s: dense(s, lambda: layers.GaussianNoise(0.1), lambda: D(6)),
    "batch normalization": lambda s: dense(
        s, lambda: D(6), layers.BatchNormalization, lambda: A("relu")),
    "layer normalization": lambda s: dense(s, lambda: D(6), layers.LayerNormalization),
    "penalties": lambda s: dense(s, lambda: D(6, kernel_regularizer="l2")),
    "constraint": lambda s: dense(s, lambda: D(6, kernel_constraint="max_norm")),
    "softmax inside": lambda s: dense(s, lambda: D(6, "softmax")),
    "metrics": lambda s: dense(
        s, lambda: D(4), metrics=["accuracy", gpunn.metrics.SparseTopKCategoricalAccuracy(2)]),
    "scaled inputs": lambda s: dense(s, lambda: layers.Rescaling(0.5, 0.1), lambda: D(4)),
    "expression": lambda s: dense(s, lambda: layers.PReLU(), lambda: D(4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_together_as_each_alone(name: str, runs: list[int]) -> None:
    x, y = data(40)
    check_equal(NETWORKS[name], validation_data=(x, y))
    assert max(runs) == 3


def test_more_networks_than_lanes(runs: list[int]) -> None:
    check_equal(NETWORKS["dense"], count=19)
    assert max(runs) == 19


def test_several_epochs_in_one_run(runs: list[int]) -> None:
    check_equal(NETWORKS["dense"], epochs=30, batch_size=35)
    assert max(runs) == 3


def test_weights_of_samples_and_targets_of_several_columns(runs: list[int]) -> None:
    x, _ = data()
    by = np.random.default_rng(1).random(len(x)).astype("float32")
    check_equal(NETWORKS["dense"], sample_weight=by)
    check_equal(NETWORKS["dense"], class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    targets = np.random.default_rng(2).normal(size=(len(x), 3)).astype("float32")
    alone, models = ([dense(s, lambda: D(4), loss="mse") for s in range(2)] for _ in range(2))
    expected = [m.fit(x, targets, epochs=2, verbose=0).history["loss"] for m in alone]
    found = together([lambda m=m: m.fit(x, targets, epochs=2, verbose=0) for m in models])
    for history, losses in zip(found, expected, strict=True):
        np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-5)
    assert max(runs) == 3


def test_integers_as_inputs_and_data_of_their_own(runs: list[int]) -> None:
    rng = np.random.default_rng(0)
    sets = [(rng.integers(0, 255, (50 + k, 5)).astype("uint8"), data(50 + k)[1]) for k in range(3)]
    make = NETWORKS["scaled inputs"]
    alone, models = ([make(s) for s in range(3)] for _ in range(2))
    fit: dict[str, Any] = {"epochs": 3, "batch_size": 10, "verbose": 0}
    expected = [m.fit(*of, **fit).history for m, of in zip(alone, sets, strict=True)]
    found = together(
        [lambda m=m, of=of: m.fit(*of, **fit) for m, of in zip(models, sets, strict=True)])
    for history, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(history.history["loss"], other["loss"], rtol=1e-4)
    assert max(runs) == 3


def test_bits_do_not_depend_on_the_neighbours(runs: list[int]) -> None:
    x, y = data()

    def trained(seeds: Sequence[int]) -> dict[int, np.ndarray]:
        models = {seed: NETWORKS["dropout"](seed) for seed in seeds}
        fits = [
            lambda m=m: m.fit(x, y, epochs=4, batch_size=16, verbose=0) for m in models.values()
        ]
        together(fits)
        return {seed: weights(model) for seed, model in models.items()}

    every = trained(range(5))
    for seeds in ((3,), (4, 3), (1, 2, 3, 0)):
        for seed, found in trained(seeds).items():
            np.testing.assert_array_equal(found, every[seed])
    assert {1, 2, 4, 5} <= {*runs}


def test_one_that_stops_or_diverges_leaves_the_others_alone(runs: list[int]) -> None:
    x, y = data()
    rates = [0.01, 1e30, 0.02, 0.03]

    def make(k: int) -> gpunn.Model:
        return dense(k, lambda: D(4), optimizer=gpunn.optimizers.SGD(rates[k]), loss="mse")

    def fit(model: gpunn.Model, k: int) -> Any:
        stop = gpunn.callbacks.EarlyStopping("loss", min_delta=1e9) if k == 2 else None
        targets = np.eye(3, dtype="float32")[y]
        return model.fit(x, targets, epochs=20, batch_size=35, verbose=0, callbacks=stop and [stop])

    alone, models = ([make(k) for k in range(4)] for _ in range(2))
    found = together([lambda m=m, k=k: fit(m, k) for k, m in enumerate(models)])
    assert isinstance(found[1], FloatingPointError)
    with pytest.raises(FloatingPointError) as expected:
        fit(alone[1], 1)
    assert str(found[1]) == str(expected.value)
    np.testing.assert_array_equal(weights(models[1]), weights(alone[1]))
    for k in (0, 2, 3):
        history = fit(alone[k], k).history["loss"]
        assert len(found[k].history["loss"]) == len(history)
        np.testing.assert_allclose(found[k].history["loss"], history, rtol=1e-5)
    assert max(runs) > 1


def test_networks_of_several_kinds_do_not_mix(runs: list[int]) -> None:
    x, y = data()
    names = ["dense", "float64", "dropout", "penalties", "softmax inside", "dense"]
    alone, models = ([NETWORKS[name](k) for k, name in enumerate(names)] for _ in range(2))
    for model in alone:
        model.fit(x, y, epochs=2, verbose=0)
    together([lambda m=m: m.fit(x, y, epochs=2, verbose=0) for m in models])
    for model, reference in zip(models, alone, strict=True):
        np.testing.assert_allclose(weights(model), weights(reference), rtol=2e-4, atol=1e-5)
    assert set(runs) == {1, 2}


def test_members_that_wait_for_each_other_do_not_hang(runs: list[int]) -> None:
    x, y = data()
    barrier = threading.Barrier(2)
    models = [NETWORKS["dense"](seed) for seed in range(3)]
    meet = gpunn.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: barrier.wait(30))

    def fit(k: int) -> Any:  # the first two meet after each epoch, the third runs many more
        epochs = 2 if k < 2 else 40
        return models[k].fit(x, y, epochs=epochs, verbose=0, callbacks=[meet] if k < 2 else None)

    found = together([lambda k=k: fit(k) for k in range(3)])
    assert [len(history.history["loss"]) for history in found] == [2, 2, 40]


def test_wide_networks_run_by_themselves(runs: list[int]) -> None:
    check_equal(lambda s: dense(s, lambda: D(200, "relu"), lambda: D(200)))
    assert not runs


def test_networks_that_run_eagerly_run_by_themselves(runs: list[int]) -> None:
    check_equal(lambda s: dense(s, lambda: D(4), run_eagerly=True), epochs=20, batch_size=35)
    assert not runs


def test_a_run_that_is_stopped_ends_after_a_step(
    runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = data(1 << 15)
    group, perform = Lockstep(2), lanes.LaneRun.perform

    def stopping(self: Any, others: Sequence[Any], *of: Any) -> None:
        thread = threading.Thread(target=group.stopped.fill, args=(True,))
        thread.start()
        perform(self, others, *of)
        thread.join()

    monkeypatch.setattr(lanes.LaneRun, "perform", stopping)
    models = [NETWORKS["dense"](seed) for seed in range(2)]
    fits = [lambda m=m: m.fit(x, y, epochs=9, batch_size=1, verbose=0) for m in models]
    assert [type(error) for error in together(fits, group)] == [KeyboardInterrupt] * 2
    for seed, model in enumerate(models):
        done = int(model.optimizer.iterations)
        assert done < len(x)
        alone = NETWORKS["dense"](seed)
        alone.fit(x, y, batch_size=1, steps_per_epoch=done, verbose=0)
        np.testing.assert_allclose(weights(model), weights(alone), rtol=2e-4, atol=1e-5)
        model.fit(x[:99], y[:99], verbose=0)  # it can be trained on
        assert np.isfinite(weights(model)).all()


def test_one_that_runs_by_itself_soon_sees_a_request_to_stop(runs: list[int]) -> None:
    x, y = data(1 << 15)
    models = [dense(s, lambda: D(200, "gelu"), lambda: D(200)) for s in range(2)]
    ended = threading.Event()

    def stop() -> None:
        while not ended.wait(0.02):
            for model in models:
                model.stop_training = True

    thread = threading.Thread(target=stop)
    thread.start()
    together([lambda m=m: m.fit(x, y, batch_size=1, verbose=0) for m in models])
    ended.set()
    thread.join()
    assert not runs
    assert all(int(model.optimizer.iterations) < len(x) for model in models)


def test_networks_that_cannot_be_a_group_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data()
    library = cpu_kernels.library()

    def refused(programs: tuple[Any, ...]) -> Any:
        if len(programs) > 1:
            raise ValueError("their arrays are laid out differently")
        return made(programs)

    def trained() -> list[np.ndarray]:
        models = [NETWORKS["dropout"](seed) for seed in range(3)]
        together([lambda m=m: m.fit(x, y, epochs=3, batch_size=16, verbose=0) for m in models])
        return [weights(model) for model in models]

    monkeypatch.setattr(program, "LEAST_STEPS", 1)
    expected, made = trained(), library.Lanes
    monkeypatch.setattr(library, "Lanes", refused)
    for one, other in zip(trained(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("bad", [0, 2])
def test_others_go_on_counting_after_one_has_diverged(
    bad: int, steps: int, runs: list[int]
) -> None:
    """Whether an update is due depends on the number of steps. Here several epochs are one run."""
    x, _ = data()
    targets = x[:, :1]

    def make(k: int) -> gpunn.Model:
        with gpunn.utils.seeded(k):
            model = gpunn.Sequential([gpunn.Input((5,)), D(1)], backend="compiled")
            rule = gpunn.optimizers.SGD(0.05, gradient_accumulation_steps=steps)
            model.compile(rule, "mse")
        return model

    def fit(model: gpunn.Model, k: int) -> Any:
        given = x * np.float32(6 if k == bad else 1)
        return model.fit(given, targets, epochs=60, batch_size=35, verbose=0)

    alone, models = ([make(k) for k in range(4)] for _ in range(2))
    found = together([lambda m=m, k=k: fit(m, k) for k, m in enumerate(models)])
    assert isinstance(found[bad], FloatingPointError)
    assert 2 < len(models[bad].history.history["loss"]) < 60  # amid a run
    for k in {*range(4)} - {bad}:
        fit(alone[k], k)
        np.testing.assert_allclose(weights(models[k]), weights(alone[k]), rtol=1e-4, atol=1e-6)
    assert max(runs) > 1


def test_sequences_of_several_lengths_run_by_themselves(runs: list[int]) -> None:
    """What a loss adds up is divided by the number of steps then, in an operation of NumPy."""
    rng = np.random.default_rng(0)
    sets = [(rng.normal(size=(24, n, 3)).astype("float32"), rng.integers(0, 2, (24, n)))
            for n in (4, 6)]  # fmt: skip

    def make(seed: int) -> gpunn.Model:
        with gpunn.utils.seeded(seed):
            parts = [gpunn.Input((None, 3)), D(4, "tanh"), D(2, "softmax")]
            model = gpunn.Sequential(parts, backend="compiled")
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(model: gpunn.Model) -> list[Any]:
        return [model.fit(*of, epochs=3, batch_size=6, verbose=0).history for of in sets]

    alone, models = ([make(seed) for seed in range(3)] for _ in range(2))
    expected = [fit(model) for model in alone]
    for one, other in zip(together([lambda m=m: fit(m) for m in models]), expected, strict=True):
        for history, reference in zip(one, other, strict=True):
            for name, values in reference.items():
                np.testing.assert_allclose(history[name], values, rtol=1e-4)
    assert not runs
