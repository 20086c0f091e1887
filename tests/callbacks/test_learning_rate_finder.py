"""The finder of learning rates: its losses against a worked example, and what it leaves behind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import callbacks, layers, plots
from gpunn.optimizers import SGD, Adam, schedules

RNG = np.random.default_rng(0)
X = RNG.standard_normal((46, 3))
Y = (X[:, :1] > 0).astype(float)
START, END, STEPS = 1e-3, 100.0, 50
RATES = START * (END / START) ** (np.arange(STEPS) / (STEPS - 1))


def network(backend: str = "numpy", optimizer: Any = None, **options: Any) -> Any:
    """A model with everything that a fit changes: moving averages, slots and random numbers."""
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(5, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, "sigmoid"),
        ],
        backend=backend,
    )
    model.compile(optimizer or Adam(0.01), "mse", metrics=["mae"], **options)
    return model


def found(model: Any, steps: int = 24, **arguments: Any) -> callbacks.LearningRateFinder:
    finder = callbacks.LearningRateFinder(steps=steps, verbose=0)
    # The last batch of each epoch has 6 rows of 8.
    given = {"batch_size": 8, "epochs": 4, "verbose": 0, **arguments}
    model.fit(X, Y, callbacks=[finder], **given)
    return finder


def bits(model: Any) -> Any:
    tensors, values = model.training_state()
    kept = [array.tobytes() for array in tensors.values()]  # of one order; names are numbered
    return [w.tobytes() for w in model.get_weights()], kept, values


# -- a bowl


def bowl(backend: str = "numpy") -> Any:
    """A model of one weight w whose loss is w**2, which descends if the rate is below 1."""
    line = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = gpunn.Sequential([layers.Input((1,)), line], backend=backend, dtype="float64")
    model.compile(SGD(0.5), "mse")
    return model


def smoothed(losses: np.ndarray, by: float) -> np.ndarray:
    """Each mean of all losses so far, by weights that fall by this factor with their age."""
    weights = [by ** np.arange(k, -1.0, -1.0) for k in range(len(losses))]
    return np.array([np.average(losses[: len(w)], weights=w) for w in weights])


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_a_bowl_of_which_all_losses_are_known(backend: str, smoothing: float) -> None:
    model = bowl(backend)
    finder = callbacks.LearningRateFinder(START, END, STEPS, smoothing, verbose=0)
    history = model.fit([[1.0]], [[0.0]], epochs=STEPS, verbose=0, callbacks=[finder])
    # The derivative of w**2 is 2 w, so that a step multiplies w by 1 - 2 * rate.
    weights = np.concatenate([[1.0], np.cumprod(1 - 2 * RATES)[:-1]])
    wanted = smoothed(weights**2, smoothing)
    first = STEPS // 10
    limit = 4 * np.minimum.accumulate(wanted[first:])
    end = first + int(np.argmax(wanted[first:] > limit))  # the first one
    assert RATES[end] > 1
    assert_allclose(finder.rates, RATES[: end + 1])
    assert_allclose(finder.losses, wanted[: end + 1], rtol=1e-9)
    assert_allclose(history.history["loss"], weights[: end + 1] ** 2, rtol=1e-9)
    falls = np.diff(wanted[first : end + 1])
    assert finder.steepest == finder.rates[first + int(falls.argmin())]
    assert START < finder.suggestion < 1
    assert model.get_weights()[0] == 1 and model.optimizer.learning_rate == 0.5


def valley_of_fastai(rates: list[float], losses: list[float]) -> float:
    """As ``fastai.callback.schedule.valley`` has it."""
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    return rates[max_start + int(sections) + int(sections / 2)]


@pytest.mark.parametrize("seed", range(6))
def test_the_suggestion_is_fastais_valley(seed: int) -> None:
    finder = callbacks.LearningRateFinder(1e-4, 1.0, 40, 0.3, verbose=0)
    model = network(optimizer=SGD(0.1))
    gpunn.utils.set_random_seed(seed)
    model.fit(X, Y, 4, 4, 0, callbacks=[finder])
    assert finder.suggestion == valley_of_fastai(finder.rates[4:], finder.losses[4:])


def test_a_longer_fit_takes_so_many_steps(capsys: pytest.CaptureFixture[str]) -> None:
    model = bowl()
    finder = callbacks.LearningRateFinder(1e-3, 0.1, 30)
    model.fit(np.ones((90, 1)), np.zeros((90, 1)), 1, 2, 0, callbacks=[finder])
    assert len(finder.rates) == len(finder.losses) == 30
    assert_allclose(np.divide(finder.rates[1:], finder.rates[:-1]), 100 ** (1 / 29))
    weights = np.concatenate([[1.0], np.cumprod(1 - 2 * np.array(finder.rates))[:-1]])
    assert_allclose(finder.losses, smoothed(weights**2, 0.98), rtol=1e-9)  # of each batch alone
    said = capsys.readouterr().out
    assert f"{finder.suggestion:.2g}" in said and f"{finder.steepest:.2g}" in said


def test_a_loss_below_zero_diverges_when_it_rises() -> None:
    model = bowl()
    model.compile(SGD(), lambda y, y_pred: gpunn.ops.square(y_pred) - 2.0)
    finder = callbacks.LearningRateFinder(START, END, STEPS, 0.0, verbose=0)
    model.fit([[1.0]], [[0.0]], epochs=STEPS, verbose=0, callbacks=[finder])
    assert finder.losses[-1] > -2 + 3 * 2 > finder.losses[-2]


def test_a_small_first_loss_is_no_best_one() -> None:
    model = bowl()
    x = np.ones((40, 1))
    x[0] = 0.01  # the first of the rows, in their order
    finder = callbacks.LearningRateFinder(1e-3, 0.1, 40, 0.5, verbose=0)
    model.fit(x, 0 * x, 1, verbose=0, shuffle=False, callbacks=[finder])
    assert len(finder.rates) == 40 and finder.losses[0] < 1e-3 < finder.suggestion


def test_no_suggestion_without_a_fall() -> None:
    model = bowl()
    with pytest.warns(UserWarning, match="does not fall"):
        model.fit(
            [[0.0]], [[1.0]], epochs=30, verbose=0,
            callbacks=[finder := callbacks.LearningRateFinder(steps=30)],
        )  # fmt: skip
    assert finder.suggestion is finder.steepest is None


# -- what it leaves


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: Adam(0.01, use_ema=True),
        lambda: SGD(0.02, 0.9, gradient_accumulation_steps=2, clipnorm=1.0),
        lambda: gpunn.optimizers.LossScaleOptimizer(Adam(0.01)),
    ],
)
@pytest.mark.filterwarnings("ignore:LossScaleOptimizer")
def test_the_model_is_as_before_and_trains_as_without(backend: str, optimizer: Any) -> None:
    models = [network(backend, optimizer()) for _ in range(2)]
    for model in models:
        model.fit(X, Y, 8, 2, 0)
    before = bits(models[0])
    finder = found(models[0])
    assert len(set(finder.losses)) == len(finder.losses) > 10
    assert bits(models[0]) == before
    histories = [model.fit(X, Y, 8, 2, 0).history for model in models]
    assert histories[0] == histories[1]
    assert bits(models[0]) == bits(models[1])


def test_a_new_model_is_as_before_after_streamed_batches(backend: str) -> None:
    models = [network(backend) for _ in range(2)]
    batches = [(X[k : k + 8], Y[k : k + 8]) for k in range(0, 46, 8)]
    finder = callbacks.LearningRateFinder(steps=20, verbose=0)
    models[0].fit(batches, epochs=4, verbose=0, callbacks=[finder])
    for model in models:
        model.fit(batches, epochs=2, verbose=0)
    assert bits(models[0]) == bits(models[1])


class OwnOptimizer(gpunn.optimizers.Optimizer):
    learning_rate: float = 0.1
    slot_names = ("sum",)

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        total = 0.5 * slots["sum"] + g
        return w - rate * total, {"sum": total}


class OwnStep(gpunn.Sequential):
    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


def test_own_optimizers_and_own_steps(backend: str) -> None:
    assert_array_equal(
        *[found(network(backend, OwnOptimizer())).losses for _ in range(2)]
    )  # fmt: skip
    model = network(backend, OwnOptimizer())
    before = bits(model)
    found(model)
    assert bits(model) == before
    gpunn.utils.set_random_seed(3)
    line = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    own = OwnStep([layers.Input((1,)), line], backend=backend, dtype="float64")
    own.compile(SGD(0.5), "mse")
    finder = callbacks.LearningRateFinder(START, END, STEPS, 0.0, verbose=0)
    own.fit([[1.0]], [[0.0]], epochs=STEPS, verbose=0, callbacks=[finder])
    weights = np.concatenate([[1.0], np.cumprod(1 - 2 * RATES)[:-1]])
    assert_allclose(finder.losses, weights[: len(finder.losses)] ** 2, rtol=1e-9)
    assert own.get_weights()[0] == 1 and own.optimizer.learning_rate == 0.5


@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyError])
def test_an_interrupted_search_restores_too(error: type[BaseException]) -> None:
    model = network()
    before = bits(model)

    def stop(batch: int, logs: Any) -> None:
        if batch == 3:
            raise error

    with pytest.raises(error) as caught:
        model.fit(
            X, Y, 8, 4, 0,
            callbacks=[
                callbacks.LearningRateFinder(steps=24),
                callbacks.LambdaCallback(on_train_batch_end=stop),
            ],
        )  # fmt: skip
    assert bits(model) == before
    notes = getattr(caught.value, "__notes__", [])
    assert len(notes) == (error is KeyboardInterrupt)
    assert all("as it was before" in note for note in notes)


@pytest.mark.parametrize("first", [False, True])
def test_best_weights_of_another_callback_do_not_stay(first: bool) -> None:
    model = network()
    before = bits(model)
    both = [
        callbacks.LearningRateFinder(steps=24, verbose=0),
        callbacks.EarlyStopping("loss", restore_best_weights=True, patience=9),
    ]
    model.fit(X, Y, 8, 4, 0, callbacks=both[:: -1 if first else 1])
    assert bits(model) == before


# -- what is refused


def test_a_fit_that_is_too_short_says_how_long(backend: str) -> None:
    model = network(backend)
    before = bits(model)
    # 6 batches of an epoch; the first of 3 epochs is done.
    with pytest.raises(ValueError, match=r"needs 24 batches, and this fit has 12: pass epochs=5"):
        found(model, epochs=3, initial_epoch=1)
    assert len(found(model, epochs=5, initial_epoch=1).rates) > 6
    assert bits(model) == before


def test_data_that_end_early_say_so() -> None:
    def endless() -> Iterator[Any]:
        for _ in range(5):
            yield X[:8], Y[:8]

    model = network()
    before = bits(model)
    with pytest.raises(ValueError, match="needs 20 batches, and the data had 5"):
        model.fit(endless(), verbose=0, callbacks=[callbacks.LearningRateFinder(steps=20)])
    assert bits(model) == before


def test_what_does_not_go_together(tmp_path: Any) -> None:
    scheduled = network(optimizer=SGD(schedules.ExponentialDecay(0.1, 10, 0.5)))
    with pytest.raises(TypeError, match="Compile the model with a number"):
        found(scheduled)
    finder = callbacks.LearningRateFinder(steps=24)
    for saving in (
        callbacks.BackupAndRestore(tmp_path / "a"),
        callbacks.ModelCheckpoint(tmp_path / "b.gpunn", save_best_only=True),
        callbacks.ModelCheckpoint(tmp_path / "b.weights.gpunn", save_weights_only=True),
    ):
        with pytest.raises(ValueError, match="different calls of fit"):
            network().fit(X, Y, 8, 4, 0, callbacks=[finder, saving], validation_split=0.2)
    assert not [*tmp_path.glob("b.*")]
    with pytest.raises(ValueError, match="needs a built model"):
        model = gpunn.Sequential([layers.Dense(1)])
        model.compile("sgd", "mse")
        callbacks.CallbackList(finder, model=model).on_train_begin()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 0.0}, "start"),
        ({"start": 1.0, "end": 1.0}, "end must be above"),
        ({"end": float("inf")}, "end / start must be finite"),
        ({"start": 1e-300, "end": 1e300}, "end / start must be finite"),
        ({"steps": 9}, "steps"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"diverged": 1.0}, "diverged"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        callbacks.LearningRateFinder(**arguments)


# -- the plot


def test_the_plot_shows_losses_and_proposals() -> None:
    finder = found(network())
    lines = plots.learning_rates(finder).axes[0].lines
    assert_array_equal(lines[0].get_xdata(), finder.rates)
    assert_array_equal(lines[0].get_ydata(), finder.losses)
    marked = [line.get_xdata()[0] for line in itertools.islice(lines, 1, None)]
    assert marked == [finder.suggestion, finder.steepest]
    with pytest.raises(ValueError, match="pass it to fit"):
        plots.learning_rates(callbacks.LearningRateFinder())
    with pytest.raises(TypeError, match="LearningRateFinder that was passed to fit; got History"):
        plots.learning_rates(callbacks.History())
