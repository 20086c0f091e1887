"""Test schedules: values against PyTorch's, and steps that compute them on the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
import registered
import torch

import gpunn
from gpunn import layers, ops
from gpunn.common.fields import field
from gpunn.optimizers import SGD, Adam, schedules
from gpunn.optimizers.schedules import LearningRateSchedule, PiecewiseConstantDecay

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 5)).astype("float32")
Y = RNG.standard_normal((20, 3)).astype("float32")
GPUS = {mode: emulated.make_backend(mode) for mode in ("plain", "fused", "persistent")}
BACKENDS = {"numpy": "numpy", "compiled": "compiled", **GPUS}
CASES = registered.cases("schedule")


@gpunn.saving.register_serializable(package="schedules")
class Mine(LearningRateSchedule):
    """A custom schedule, as a function of a numeric step."""

    def __init__(self, start: float) -> None:
        self.start = start

    def __call__(self, step: int) -> float:
        return self.start if step < 2 else self.start / step


def make(backend: Any, optimizer: Any) -> gpunn.Sequential:
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential(
        [layers.Input((5,)), layers.Dense(4, "tanh"), layers.Dense(3)],
        dtype="float64", backend=backend,
    )  # fmt: skip
    model.compile(optimizer, "mse")
    return model


def fit(model: gpunn.Sequential, epochs: int = 3) -> list[np.ndarray]:
    model.fit(X, Y, batch_size=6, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


def torch_rates(make_scheduler: Callable[..., Any], rate: float, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


TORCH = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            schedules.ExponentialDecay(0.1, 1, 0.9),
            lambda o: TORCH.ExponentialLR(o, 0.9),
        ),
        (
            schedules.ExponentialDecay(0.1, 4, 0.5, staircase=True),
            lambda o: TORCH.StepLR(o, 4, 0.5),
        ),
        (
            # gpunn includes the boundary step itself, PyTorch does not.
            schedules.PiecewiseConstantDecay([4, 11], [0.1, 0.05, 0.025]),
            lambda o: TORCH.MultiStepLR(o, [5, 12], 0.5),
        ),
        (
            schedules.PolynomialDecay(0.1, 8, 0.0, power=2.0),
            lambda o: TORCH.PolynomialLR(o, 8, 2.0),
        ),
        (
            schedules.PolynomialDecay(0.1, 8, 0.02),
            lambda o: TORCH.LinearLR(o, 1.0, 0.2, 8),
        ),
        (
            schedules.InverseTimeDecay(0.1, 1, 0.5),
            lambda o: TORCH.LambdaLR(o, lambda step: 1 / (1 + 0.5 * step)),
        ),
        (
            schedules.CosineDecayRestarts(0.1, 5, t_mul=2.0),
            lambda o: TORCH.CosineAnnealingWarmRestarts(o, 5, 2),
        ),
        (
            schedules.CosineDecayRestarts(0.1, 5, t_mul=1.0, alpha=0.1),
            lambda o: TORCH.CosineAnnealingWarmRestarts(o, 5, 1, eta_min=0.01),
        ),
        (
            schedules.Constant(0.1),
            lambda o: TORCH.ConstantLR(o, 1.0),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_pytorchs(ours: LearningRateSchedule, theirs: Callable[..., Any]) -> None:
    expected = torch_rates(theirs, 0.1, 30)
    np.testing.assert_allclose([ours(step) for step in range(30)], expected, rtol=1e-12, atol=1e-15)


def test_cosine_decay_is_pytorchs_until_the_end() -> None:
    expected = torch_rates(lambda o: TORCH.CosineAnnealingLR(o, 20, eta_min=0.01), 0.1, 21)
    ours = schedules.CosineDecay(0.1, 20, alpha=0.1)
    np.testing.assert_allclose([ours(step) for step in range(21)], expected, rtol=1e-9)
    assert ours(50) == ours(20)


@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("steps", [20, 37])
def test_one_cycle_is_pytorchs(rise: float, shape: str, three_phase: bool, steps: int) -> None:
    def scheduler(optimizer: Any) -> Any:
        return TORCH.OneCycleLR(
            optimizer, 0.5, steps, pct_start=rise, anneal_strategy=shape.replace("cosine", "cos"),
            cycle_momentum=False, div_factor=10, final_div_factor=100, three_phase=three_phase,
        )  # fmt: skip

    expected = torch_rates(scheduler, 0.5, steps - 1)
    ours = schedules.OneCycle(0.5, steps, rise, shape, 10, 100, three_phase)
    np.testing.assert_allclose([ours(step) for step in range(steps - 1)], expected, rtol=1e-12)
    np.testing.assert_allclose([ours(steps - 1), ours(10 * steps)], 0.5 / 1000, rtol=1e-12)


def test_restarts_begin_at_the_very_step() -> None:
    # After 3 (1 + 3 + 9 + ...) steps the logarithm is a rounding error away from a whole number.
    ours = schedules.CosineDecayRestarts(1.0, 3, t_mul=3.0)
    begins = [sum(3 ** (i + 1) for i in range(n)) for n in range(10)]
    assert [ours(step) for step in begins] == [1.0] * 10
    assert all(ours(step - 1) < 0.3 for step in begins[1:])


@pytest.mark.parametrize(
    ("backend", "name", "arguments"),
    [(b, *case) for b in ("numpy", "compiled", "plain") for case in CASES]
    + [(b, *CASES[0]) for b in ("fused", "persistent")],
    ids=registered.label,
)
def test_steps_follow_the_schedule(backend: str, name: str, arguments: dict) -> None:
    """As if the rate were set by hand before each step."""
    schedule = registered.make("schedule", name, arguments)
    by_device = fit(make(BACKENDS[backend], SGD(schedule)), 2)
    model = make("numpy", SGD(0.1))
    for step in range(8):
        model.optimizer.learning_rate = schedule(step)
        rows = slice(6 * (step % 4), 6 * (step % 4) + 6)
        model.train_on_batch(X[rows], Y[rows])
    for a, b in zip(by_device, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_its_schedule(backend: str, nesterov: bool) -> None:
    optimizer = SGD(0.1, PiecewiseConstantDecay([4], [0.5, 0.9]), nesterov, weight_decay=0.01)
    found = fit(make(BACKENDS[backend], optimizer))
    model = make("numpy", SGD(0.1))
    weights = model.get_weights()
    speed = [np.zeros_like(w) for w in weights]
    for step in range(12):
        mu = 0.5 if step <= 4 else 0.9
        rows = slice(6 * (step % 4), 6 * (step % 4) + 6)
        model.set_weights(weights)
        model.train_on_batch(X[rows], Y[rows])
        for w, v, g in zip(weights, speed, model.gradients().values(), strict=True):
            w -= 0.01 * 0.1 * w
            v[...] = mu * v - 0.1 * g
            w += mu * v - 0.1 * g if nesterov else v
    for a, b in zip(found, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_momentum_of_zero_at_first_is_no_memory_later() -> None:
    schedule = PiecewiseConstantDecay([0], [0.0, 0.5])
    for backend in ("numpy", GPUS["persistent"]):
        found = fit(make(backend, SGD(0.1, schedule)), 2)
        if backend == "numpy":
            expected = found
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    w, sgd = np.array([0.0]), SGD(1.0, schedule)
    for value in (-1.0, -2.5):  # the velocity of the first step affects the second
        sgd.apply([[1.0]], [w])
        assert w == value


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_custom_schedule(backend: str) -> None:
    found = fit(make(BACKENDS[backend], Adam(Mine(0.05))))
    built_in = PiecewiseConstantDecay(
        [*range(1, 11)], [0.05, *(0.05 / step for step in range(2, 12))]
    )
    for a, b in zip(found, fit(make("numpy", Adam(built_in))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rate", [schedules.CosineDecay(0.1, 9), Mine(0.1)], ids=repr)
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_saved_training_goes_on_exactly(
    rate: LearningRateSchedule, backend: str, tmp_path: Path, no_backend_yet: None
) -> None:
    gpunn.use_backend(backend)
    momentum = PiecewiseConstantDecay([5], [0.5, 0.9])
    model = make(backend, SGD(rate, momentum))
    fit(model, 1)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    assert again.optimizer.learning_rate == rate(4)
    assert json.dumps(again.optimizer.get_config()) == json.dumps(model.optimizer.get_config())
    assert again.backend.name == backend
    for a, b in zip(fit(model, 2), fit(again, 2), strict=True):
        assert np.array_equal(a, b)


def test_resuming_with_another_schedule_is_refused(tmp_path: Path) -> None:
    backup = [gpunn.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)]
    for rate in (0.1, schedules.Constant(0.1), schedules.Constant(0.2)):
        model = make("numpy", SGD(rate))
        if rate == 0.1:
            model.fit(X, Y, verbose=0, callbacks=backup)
        else:
            with pytest.raises(ValueError, match="learning_rate"):
                model.fit(X, Y, verbose=0, callbacks=backup)


@pytest.mark.parametrize("rate", [PiecewiseConstantDecay([1], [0.1, 0.2]), Mine(0.1)], ids=repr)
def test_batches_count_where_several_make_one_update(rate: LearningRateSchedule) -> None:
    for backend in ("numpy", "compiled", GPUS["fused"]):
        model = make(backend, SGD(rate, gradient_accumulation_steps=2))
        fit(model, 1)
        assert model.optimizer.iterations == 2
        assert float(model.backend.read(model._trainer.control.rates)[0]) == rate(3)
        assert model.optimizer.learning_rate == rate(4)


# Optimizers that count batches, and optimizers that count updates.
COUNTED: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "bias corrections": ("Adam", {}),
    "their own product": ("Nadam", {}),
    "a largest": ("Adamax", {}),
    "clipped": ("Adam", {"clipnorm": 0.1, "weight_decay": 0.1}),
    "averages": ("Adam", {"use_ema": True, "ema_momentum": 0.8}),
    "overwritten": ("SGD", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3}),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", COUNTED)
def test_schedules_and_accumulation_beside_keras(keras: Any, case: str) -> None:
    name, options = COUNTED[case]

    def trained(module: Any, **of: Any) -> tuple[list[float], list[np.ndarray]]:
        rate = module.optimizers.schedules.ExponentialDecay(0.1, 2, 0.7)
        optimizer = getattr(module.optimizers, name)(rate, gradient_accumulation_steps=3, **options)
        dense = module.layers.Dense(3, kernel_initializer="ones")
        model = module.Sequential([module.Input((5,)), dense], **of)
        model.compile(optimizer, "mse")
        rates: list[float] = []
        see = module.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: rates.append(float(optimizer.learning_rate))
        )
        fitting = {"batch_size": 4, "shuffle": False, "verbose": 0}
        model.fit(X, Y, epochs=2, callbacks=[see], **fitting)
        model.fit(X, Y, epochs=2, **fitting)  # ten batches each: the last update is incomplete
        counts = [float(optimizer.iterations), float(optimizer.learning_rate)]
        return [*rates, *counts], model.get_weights()

    expected, weights = trained(keras)
    for backend in ("numpy", "compiled", "emulated"):
        found, own = trained(gpunn, backend=backend)
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=backend)
        for a, b in zip(own, weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6, err_msg=backend)


@pytest.mark.parametrize("batches", [1, 2, 3, 5, 7])
def test_accumulation_with_a_schedule_goes_on_from_a_checkpoint(
    tmp_path: Path, batches: int
) -> None:
    def trained(stop: int | None) -> list[np.ndarray]:
        optimizer = Adam(schedules.ExponentialDecay(0.1, 2, 0.7), gradient_accumulation_steps=3)
        model = make("numpy", optimizer)
        backup = gpunn.callbacks.BackupAndRestore(tmp_path, 1)

        def end(batch: int, logs: Any) -> None:
            if model._trainer.batches == stop:
                raise KeyboardInterrupt

        ends = gpunn.callbacks.LambdaCallback(on_train_batch_end=end)
        model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[backup, ends])
        return model.get_weights()

    through = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(batches)
    for a, b in zip(trained(None), through, strict=True):
        np.testing.assert_array_equal(a, b)


def test_so_many_updates_of_an_optimizer_that_goes_on() -> None:
    """It counted updates before it was compiled again; the new compile has trained on no batch."""
    optimizer = SGD(0.01)
    model = make("numpy", optimizer)
    fit(model, 1)
    model.compile(optimizer, "mae")
    stop = gpunn.callbacks.StopAfter(updates=2)
    model.fit(X, Y, batch_size=6, epochs=9, verbose=0, callbacks=[stop])
    assert optimizer.iterations == 4 + 2


def test_the_rate_is_read_and_replaced() -> None:
    schedule = schedules.ExponentialDecay(0.1, 4, 0.5)
    model = make("numpy", SGD(schedule))
    assert model.optimizer.learning_rate == 0.1
    fit(model, 1)
    assert model.optimizer.learning_rate == 0.05
    with pytest.raises(TypeError, match="created with a ExponentialDecay"):
        model.optimizer.learning_rate = 0.3
    before = model.get_weights()
    model.optimizer.learning_rate = schedules.Constant(0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, fit(model, 1), strict=True))
    model.optimizer.learning_rate = schedules.Constant(0.1)
    assert not any(np.array_equal(a, b) for a, b in zip(before, fit(model, 1), strict=True))


def test_callbacks_see_the_present_rate_and_do_not_set_it() -> None:
    model, seen = make("numpy", SGD(schedules.ExponentialDecay(0.1, 4, 0.5))), []
    see = lambda epoch, logs: seen.append(model.optimizer.learning_rate)  # noqa: E731
    look = gpunn.callbacks.LambdaCallback(on_epoch_begin=see, on_epoch_end=see)
    model.fit(X, Y, batch_size=6, epochs=2, verbose=0, callbacks=[look])
    assert seen == [0.1, 0.05, 0.05, 0.025]
    with pytest.raises(TypeError, match="set it yourself"):
        scheduler = gpunn.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
        model.fit(X, Y, verbose=0, callbacks=[scheduler])
    with pytest.raises(TypeError, match="LearningRateSchedule"):
        model.fit(X, Y, verbose=0, callbacks=[gpunn.callbacks.ReduceLROnPlateau("loss")])


def test_only_a_step_with_a_schedule_has_the_operation() -> None:
    for optimizer, count in ((SGD(0.1, 0.9), 0), (Adam(schedules.Constant(0.1)), 1)):
        model = make("numpy", optimizer)
        with model.backend.profile() as operations:
            model.train_on_batch(X[:6], Y[:6])
        found = [operation.formula for operation in operations if operation.name == "schedule"]
        assert found == ["Constant"] * count


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps"),
        (lambda: schedules.ExponentialDecay(-0.1, 5, 0.5), "initial_learning_rate"),
        (lambda: schedules.PolynomialDecay(0.1, -1), "decay_steps"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "one entry more"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), "increase"),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), "t_mul"),
        (lambda: schedules.OneCycle(0.1, 0), "total_steps"),
        (lambda: schedules.OneCycle(0.1, 5, shape="square"), "shape"),
        (lambda: schedules.OneCycle(float("inf"), 5), "max_learning_rate"),
    ],
)
def test_wrong_arguments_are_named(wrong: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wrong()


@gpunn.saving.register_serializable(package="schedules")
class Rooted(LearningRateSchedule):
    """States its rate in operations: Noam's schedule after its warm-up."""

    top: float = field(default=0.1)

    def rate(self, step: Any) -> Any:
        return self.top / ops.sqrt(ops.maximum(step, 1.0))


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
def test_a_rate_in_operations(backend: Any) -> None:
    schedule = Rooted(0.4)
    assert [schedule(step) for step in (0, 1, 4, 16)] == [0.4, 0.4, 0.2, 0.1]
    schedule.top = 0.8
    assert schedule(4) == 0.4
    assert schedules.deserialize(schedules.serialize(schedule))(16) == 0.2

    class Plain(LearningRateSchedule):
        def __call__(self, step: int) -> float:
            return float(0.8 / max(step, 1.0) ** 0.5)

    found, expected = (fit(make(backend, SGD(rate))) for rate in (schedule, Plain()))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
