"""Training results that Keras 3 asserts in its unit tests of models, data handling and summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

layers = gpunn.layers

# Three sums of four ones each, with target 0: a step at rate .01 multiplies every weight by SHRINK,
# since the gradient of mean((4 w)^2) over three outputs is 4 * 2 / 3 * 4 w / 4 for each of them.
X, Y = np.ones((100, 4)), np.zeros((100, 3))
SHRINK = 1 - 0.01 * 8 / 3


def ones_model(units: int = 3, width: int = 4, **compile_arguments: Any) -> Any:
    model = gpunn.Sequential(
        [
            layers.Input((width,)),
            layers.Dense(units, use_bias=False, kernel_initializer="ones"),
        ]
    )
    settings = {
        "optimizer": gpunn.optimizers.SGD(),
        "loss": gpunn.losses.MeanSquaredError(),
        "metrics": [gpunn.metrics.MeanSquaredError()],
        **compile_arguments,
    }
    model.compile(**settings)
    return model


class Counter(gpunn.callbacks.Callback):
    """A callback that counts its calls and stores the losses of the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = self.epoch_ends = self.steps = self.step_ends = self.test_steps = 0
        self.losses: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch_ends += 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.steps += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step_ends += 1
        self.losses.append(float(logs["loss"]))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.test_steps += 1


def test_evaluate() -> None:
    model = ones_model()
    assert_allclose(model.evaluate(X, Y, batch_size=16, verbose=0), [16.0, 16.0], rtol=1e-6)
    named = model.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)
    assert named == pytest.approx({"loss": 16.0, "mean_squared_error": 16.0}, rel=1e-6)


def test_predict() -> None:
    model = ones_model()
    for output in (model.predict(X, batch_size=16, verbose=0), model.predict_on_batch(X)):
        assert isinstance(output, np.ndarray)
        assert output.dtype == "float32"
        assert_allclose(output, np.full((100, 3), 4.0))


def test_a_model_needs_no_compiling_to_predict_and_no_optimizer_to_evaluate() -> None:
    model = gpunn.Sequential([layers.Dense(3, use_bias=False, kernel_initializer="ones")])
    assert_allclose(model.predict(X, verbose=0), np.full((100, 3), 4.0))
    model.compile(loss=gpunn.losses.MeanSquaredError(), metrics=["mse"])
    logs = model.test_on_batch(X, Y)
    assert_allclose(logs, [16.0, 16.0], rtol=1e-6)
    named = model.test_on_batch(X, Y, return_dict=True)
    assert named == pytest.approx({"loss": 16.0, "mse": 16.0}, rel=1e-6)


def test_on_batch_methods() -> None:
    model = ones_model()
    weights = np.arange(100, dtype="float32") / 50.0
    logs = model.train_on_batch(X, Y)
    assert isinstance(logs, list)
    assert_allclose(logs, [16.0, 16.0], rtol=1e-6)
    named = model.train_on_batch(X, Y, return_dict=True)
    assert named == pytest.approx({"loss": 15.158, "mean_squared_error": 15.158}, abs=1e-3)
    assert_allclose(model.test_on_batch(X, Y), [14.360, 14.360], atol=1e-3)
    named = model.test_on_batch(X, Y, return_dict=True)
    assert named == pytest.approx({"loss": 14.360, "mean_squared_error": 14.360}, abs=1e-3)
    assert_allclose(model.predict_on_batch(X)[0], [3.789511] * 3, rtol=1e-5)

    # The metric ignores the weights, whose mean is .99.
    assert_allclose(model.train_on_batch(X, Y, weights), [14.217, 14.360], atol=1e-3)
    assert_allclose(model.test_on_batch(X, Y, weights), [13.476, 13.612], atol=1e-3)
    assert_allclose(model.predict_on_batch(X)[0], [3.689468] * 3, rtol=1e-5)

    # Rows of zeros count as class 0.
    logs = model.train_on_batch(X, Y, class_weight={1: 0.3, 0: 0.2})
    assert_allclose(logs, [2.722, 13.612], atol=1e-3)


def test_without_metrics_the_loss_is_a_number() -> None:
    model = ones_model(metrics=None)
    for value in (model.train_on_batch(X, Y), model.evaluate(X, Y, verbose=0)):
        assert np.ndim(value) == 0
    named = model.train_on_batch(X, Y, return_dict=True)
    assert list(named) == ["loss"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("steps_per_epoch", [None, 7])
def test_fit(steps_per_epoch: int | None) -> None:
    history = ones_model().fit(
        X, Y, batch_size=20, steps_per_epoch=steps_per_epoch, epochs=3, verbose=0
    )
    losses = (16.0 * SHRINK ** (2 * np.arange(15))).reshape(3, 5).mean(axis=1)
    assert_allclose(losses, [14.5, 11.5, 8.5], atol=0.6)
    assert_allclose(history.history["mean_squared_error"], losses, rtol=1e-5)
    assert_allclose(history.history["loss"], losses, rtol=1e-5)
    assert history.epoch == [0, 1, 2]


def test_initial_epoch() -> None:
    history = ones_model().fit(X, Y, epochs=5, initial_epoch=2, verbose=0)
    assert history.epoch == [2, 3, 4]
    assert len(history.history["loss"]) == 3


def test_the_batch_is_32_by_default() -> None:
    counter = Counter()
    ones_model().fit(X, Y, callbacks=[counter], verbose=0)
    assert counter.steps == 4


# Ten batches of data, four epochs. An epoch continues where the previous one stopped; it ends
# early with the data, and the next one then starts from the beginning.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("steps_per_epoch", "steps", "as_epochs"), [(10, 40, 4), (5, 20, 2), (11, 40, 4), (9, 20, None)]
)
def test_steps_per_epoch(steps_per_epoch: int, steps: int, as_epochs: int | None) -> None:
    x, y = np.ones((80, 4)), np.ones((80, 1))
    counter, model = Counter(), ones_model(units=1)
    model.fit(
        x, y, batch_size=8, epochs=4, steps_per_epoch=steps_per_epoch, callbacks=[counter],
        verbose=0,
    )  # fmt: skip
    assert counter.steps == counter.step_ends == steps
    assert counter.epochs == counter.epoch_ends == 4
    if as_epochs is not None:
        other = ones_model(units=1)
        other.fit(x, y, batch_size=8, epochs=as_epochs, verbose=0)
        assert_allclose(model.get_weights()[0], other.get_weights()[0], rtol=1e-6)


def test_validation_split() -> None:
    # The validation rows are the last fifth: only they contain 2 where the others contain 1.
    x = np.repeat([[1.0], [2.0]], [80, 20], axis=0) * np.ones(4)
    model = ones_model(optimizer=gpunn.optimizers.SGD(learning_rate=1e-12))
    counter = Counter()
    history = model.fit(
        x, Y, batch_size=20, epochs=1, validation_split=0.2, callbacks=[counter], verbose=0
    ).history
    assert set(history) == {"loss", "mean_squared_error", "val_loss", "val_mean_squared_error"}
    assert history["loss"] == pytest.approx([16.0], rel=1e-5)
    assert history["val_loss"] == pytest.approx([64.0], rel=1e-5)
    assert (counter.steps, counter.test_steps) == (4, 1)


def test_validation_data_with_weights() -> None:
    data = (X, Y, np.arange(100) / 50.0)
    model = ones_model(optimizer=gpunn.optimizers.SGD(learning_rate=1e-12))
    history = model.fit(X, Y, validation_data=data, verbose=0).history
    assert history["val_loss"] == pytest.approx([16 * 0.99], rel=1e-5)
    assert history["val_mean_squared_error"] == pytest.approx([16.0], rel=1e-5)


@pytest.mark.parametrize("trained", [False, True])
def test_the_batch_size_does_not_change_the_mean_loss(trained: bool) -> None:
    x, y = np.random.default_rng(0).random((100, 4)), np.ones((100, 1))
    model = ones_model(units=1)
    model.trainable = False
    model.compile(optimizer="sgd", loss="mse")

    def loss(batch_size: int) -> Any:
        if trained:
            return model.fit(x, y, batch_size=batch_size, verbose=0).history["loss"]
        return model.evaluate(x, y, batch_size=batch_size, verbose=0)

    assert_allclose(loss(80), loss(100), rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "class_weight", "expected"),
    [
        ([0, 1, 0, 2], {0: 1.0, 1: 2.0, 2: 3.0}, [1, 2, 1, 3]),
        (np.eye(3)[[0, 1, 0, 2]], {0: 1.0, 1: 2.0, 2: 3.0}, [1, 2, 1, 3]),
        ([[0], [1], [0], [2]], {0: 1.0, 1: 2.0, 2: 3.0}, [1, 2, 1, 3]),
        ([0, 3, 0, 2], {0: 1.0, 1: 2.0, 2: 3.0}, [1, 1, 1, 3]),
        ([0, 1, 0, 2], {}, [1, 1, 1, 1]),
        ([0, 1, 0, 2], {"0": 1.0, "1": 2.0, "2": 3.0}, [1, 2, 1, 3]),
        ([0, 1, 0, 2], {0.0: 1.0, 1.0: 2.0, 2.0: 3.0}, [1, 2, 1, 3]),
        ([[0], [1], [2], [3]], {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, [0.1, 0.2, 0.3, 0.4]),
        (np.eye(4), {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_class_weight(y: Any, class_weight: dict[Any, float], expected: list[float]) -> None:
    y = np.array(y)
    one_hot = y.ndim == 2 and y.shape[1] > 1
    kind = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    x = np.random.default_rng(0).random((4, 4)).astype("float32")

    def loss(**weights: Any) -> float:
        model = gpunn.Sequential(
            [
                layers.Input((4,)),
                layers.Dense(
                    y.shape[1] if one_hot else 4,
                    activation="softmax",
                    kernel_initializer=gpunn.initializers.GlorotUniform(seed=1),
                ),
            ]
        )
        model.compile(optimizer="sgd", loss=kind)
        return float(model.train_on_batch(x, y, **weights))

    weighted = loss(sample_weight=np.array(expected, dtype="float32"))
    assert loss(class_weight=class_weight) == pytest.approx(weighted, rel=1e-6)


@pytest.mark.parametrize("class_weight", [{"invalid": 0.5}, {None: 0.5}, "not_a_dict"])
def test_class_weight_refuses(class_weight: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="class_weight"):
        ones_model().fit(X, Y, class_weight=class_weight, verbose=0)


def test_class_weight_and_sample_weight_together_are_refused() -> None:
    with pytest.raises(ValueError, match="class_weight"):
        ones_model().fit(
            X, Y, class_weight={0: 1.0}, sample_weight=np.ones(100), verbose=0
        )  # fmt: skip


def test_metrics_are_unweighted_unless_asked() -> None:
    weights = np.repeat([0.0, 2.0], 50)
    x = np.repeat([[1.0], [2.0]], 50, axis=0) * np.ones(4)
    model = ones_model(metrics=["mse"], weighted_metrics=["mse"])
    result = model.evaluate(x, Y, sample_weight=weights, verbose=0, return_dict=True)
    expected = {"loss": 64.0, "mse": 40.0, "weighted_mse": 64.0}
    assert result == pytest.approx(expected, rel=1e-6)


def test_accuracy_follows_the_shapes() -> None:
    y_true = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    y_pred = np.array([[0.4, 0.1], [0.2, 0.6], [0.6, 0.1]])
    model = gpunn.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(
                2, use_bias=False, kernel_initializer=gpunn.initializers.Constant(np.eye(2))
            ),
        ]
    )
    model.compile(optimizer="sgd", loss="mse", metrics=["acc", "accuracy", "mse"])
    result = model.evaluate(y_pred, y_true, verbose=0, return_dict=True)
    expected = {"loss": 0.068333, "acc": 1 / 3, "accuracy": 1 / 3, "mse": 0.068333}
    assert result == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "y", "units", "expected"),
    [
        ("sparse_categorical_crossentropy", [0, 1, 1], 2, 2 / 3),
        ("sparse_categorical_crossentropy", [[0], [1], [1]], 2, 2 / 3),
        ("categorical_crossentropy", [[1, 0], [0, 1], [0, 1]], 2, 2 / 3),
        ("binary_crossentropy", [[1], [1], [1]], 1, 2 / 3),
        ("binary_crossentropy", [1, 1, 1], 1, 2 / 3),
    ],
)
def test_accuracy_of_every_kind_of_label(loss: str, y: Any, units: int, expected: float) -> None:
    x = np.array([[2.0, 1.0], [1.0, 2.0], [3.0, -1.0]])
    kernel = np.array([[1.0], [-1.5]]) if units == 1 else np.eye(2)
    # With one unit the outputs are positive, negative, positive.
    model = gpunn.Sequential(
        [
            layers.Input((2,)),
            layers.Dense(
                units,
                use_bias=False,
                kernel_initializer=gpunn.initializers.Constant(kernel),
                activation="sigmoid" if units == 1 else "softmax",
            ),
        ]
    )
    model.compile(optimizer="sgd", loss=loss, metrics=["accuracy"])
    result = model.evaluate(x, np.array(y), verbose=0, return_dict=True)
    assert result["accuracy"] == pytest.approx(expected, rel=1e-6)


def test_metric_names() -> None:
    model = ones_model(metrics=["mse", "MeanSquaredError", gpunn.metrics.MeanSquaredError("mine")])
    history = model.fit(X, Y, verbose=0).history
    assert set(history) == {"loss", "mse", "MeanSquaredError", "mine"}


def test_evaluate_keeps_the_order_of_the_metrics() -> None:
    y = Y + np.array([4.0, 0.0, 0.0])
    y[:50] = 4.0
    one = ones_model(metrics=["mse", "categorical_accuracy"]).evaluate(X, y, verbose=0)
    other = ones_model(metrics=["categorical_accuracy", "mse"]).evaluate(X, y, verbose=0)
    assert len(one) == len(other) == 3
    assert one[1:] == pytest.approx(other[:0:-1])
    assert one[0] == pytest.approx(one[1])
    assert one[2] == 1.0


def test_compiling_again_starts_with_other_metrics() -> None:
    model = ones_model(metrics=["mean_squared_error"])
    assert set(model.fit(X, Y, verbose=0).history) == {"loss", "mean_squared_error"}
    model.compile(optimizer="sgd", loss="mse", metrics=["categorical_accuracy"])
    assert set(model.fit(X, Y, verbose=0).history) == {"loss", "categorical_accuracy"}
    result = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert set(result) == {"loss", "categorical_accuracy"}


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "mean_squared_error",
        "MeanSquaredError",
        gpunn.losses.mean_squared_error,
        gpunn.losses.MeanSquaredError(),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "SGD", gpunn.optimizers.Adam(0.01)])
def test_compile_takes_names_and_objects(loss: Any, optimizer: Any) -> None:
    model = ones_model(loss=loss, optimizer=optimizer, metrics=None)
    assert float(model.train_on_batch(X, Y)) == pytest.approx(16.0, rel=1e-6)
    assert float(model.train_on_batch(X, Y)) < 16.0


@pytest.mark.parametrize(
    "arguments",
    [{"optimizer": "sdg"}, {"loss": "mes"}, {"metrics": ["foo"]}, {"metrics": "mse"}],
)
def test_unknown_compile_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=r"sdg|mes|foo|metrics"):
        ones_model(**arguments).fit(X, Y, verbose=0)


def test_fit_before_compile_is_refused() -> None:
    with pytest.raises((ValueError, RuntimeError), match="compile"):
        gpunn.Sequential([layers.Dense(3)]).fit(X, Y, verbose=0)


def uneven_batches() -> Iterator[np.ndarray]:
    rows = np.arange(99, dtype="float32")
    start, number = 0, 0
    while start < len(rows):
        size = (2, 3, 4)[number % 3]
        yield rows[start : start + size, None]
        start, number = start + size, number + 1


def test_predict_keeps_the_order_of_a_generator() -> None:
    model = gpunn.Sequential(
        [layers.Input((1,)), layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    output = model.predict(((batch,) for batch in uneven_batches()), verbose=0)
    assert_allclose(output, np.arange(99)[:, None])


def test_steps_of_generators() -> None:
    def fifty() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(50):
            yield np.ones((2, 4)), np.ones((2, 3))

    counter = Counter()
    ones_model().fit(
        fifty(), validation_data=fifty(), steps_per_epoch=3, validation_steps=4, epochs=1,
        callbacks=[counter], verbose=0,
    )  # fmt: skip
    assert (counter.steps, counter.test_steps) == (3, 4)


@pytest.mark.parametrize(
    ("method", "hook", "flag"),
    [
        ("fit", "train", "stop_training"),
        ("evaluate", "test", "stop_evaluating"),
        ("predict", "predict", "stop_predicting"),
    ],
)
def test_a_callback_stops_within_the_epoch(method: str, hook: str, flag: str) -> None:
    class Stopper(gpunn.callbacks.Callback):
        seen = 0

        def stop(self, batch: int, logs: Any = None) -> None:
            self.seen += 1
            if self.seen == 5:
                setattr(self.model, flag, True)

    def fifty() -> Iterator[tuple[np.ndarray, ...]]:
        for _ in range(50):
            yield (np.ones((2, 4)), np.ones((2, 3)))[: 1 if method == "predict" else 2]

    setattr(Stopper, f"on_{hook}_batch_end", Stopper.stop)
    stopper = Stopper()
    getattr(ones_model(), method)(fifty(), callbacks=[stopper], verbose=0)
    assert stopper.seen == 5


def test_history_holds_a_float_an_epoch() -> None:
    history = ones_model().fit(X, Y, validation_data=(X, Y), verbose=0, epochs=2).history
    assert sorted(history) == ["loss", "mean_squared_error", "val_loss", "val_mean_squared_error"]
    assert all(len(values) == 2 for values in history.values())
    assert all(isinstance(value, float) for values in history.values() for value in values)


def test_training_differs_from_evaluation_where_dropout_says_so() -> None:
    model = gpunn.Sequential([layers.Input((4,)), layers.Dropout(1.0), layers.Dense(1)])
    model.compile(optimizer=gpunn.optimizers.SGD(learning_rate=1e-12), loss="mse")
    model.set_weights([np.ones((4, 1)), np.zeros(1)])
    y = np.ones((100, 1))
    assert model.fit(X, y, verbose=0).history["loss"] == pytest.approx([1.0], rel=1e-5)
    assert model.evaluate(X, y, verbose=0) == pytest.approx(9.0, rel=1e-5)


def test_set_weights() -> None:
    model = ones_model()
    model.set_weights([np.full((4, 3), 0.5)])
    assert_allclose(model.get_weights()[0], 0.5)
    assert_allclose(model.evaluate(X, Y, verbose=0), [4.0, 4.0], rtol=1e-6)
    with pytest.raises(ValueError, match="2"):
        model.set_weights([np.ones((4, 3)), np.ones(3)])
    with pytest.raises(ValueError, match="shape"):
        model.set_weights([np.ones((3, 4))])


def test_frozen_layers_stay() -> None:
    model = gpunn.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(2, kernel_initializer="ones"),
            layers.Dense(3, kernel_initializer="ones"),
        ]
    )
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == 2
    assert len(model.non_trainable_weights) == 2
    model.compile(optimizer="sgd", loss="mse")
    model.fit(X, Y, verbose=0)
    kernel, bias, later, _ = model.get_weights()
    assert_allclose(kernel, 1.0)
    assert_allclose(bias, 0.0)
    assert not np.allclose(later, 1.0)


def test_an_entry_for_the_only_output_may_be_one_metric(keras: Any) -> None:
    found = []
    for module in (gpunn, keras):
        x = module.Input((4,))
        y = module.layers.Dense(1, kernel_initializer="ones", name="size")(x)
        model = module.Model(x, y)
        model.compile("sgd", {"size": "mse"}, metrics={"size": "mae"},
                      weighted_metrics={"size": "mse"})  # fmt: skip
        weights = np.repeat([0.0, 2.0], 50)
        x, y = X.astype("f4"), Y[:, :1].astype("f4")
        result = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
        found.append({name: float(value) for name, value in result.items()})
    assert found[0] == pytest.approx(found[1], rel=1e-5)
