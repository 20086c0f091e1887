"""Trainings whose results must not depend on the number of processes: ``trainings.py FILE [NAME]``.

Started by mpiexec, every rank runs them, and writes weights and histories to FILE with its number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
import emulated  # noqa: F401  makes GPUNN_BACKEND=emulated known

import gpunn
from gpunn import Input, Model, Sequential, layers, ops, optimizers, random
from gpunn.callbacks import EarlyStopping, LambdaCallback, ReduceLROnPlateau
from gpunn.distribution import initialize, rank, size

Training = Callable[[], tuple[Any, list[dict[str, Any]]]]
TRAININGS: dict[str, Training] = {}
ROWS, INPUTS, CLASSES = 107, 12, 5


def training(function: Training) -> Training:
    TRAININGS[function.__name__] = function
    return function


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (rows, 12) and classes (rows,)."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(ROWS, INPUTS)), generator.integers(0, CLASSES, ROWS)


def network(*hidden: Any, **compiled: Any) -> Any:
    model = Sequential([Input((INPUTS,)), *hidden, layers.Dense(CLASSES, activation="softmax")])
    settings = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"}
    model.compile(**{**settings, **compiled})
    return model


def fitted(model: Any, *args: Any, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    settings = {"batch_size": 23, "epochs": 4, "verbose": 0}
    return model, [model.fit(*args, **{**settings, **options}).history]


@training
def dropout_noise_penalty_and_clipping() -> Any:
    model = network(
        layers.Dense(17, activation="relu", kernel_regularizer="l2"),
        layers.Dropout(0.3),
        layers.GaussianNoise(0.1),
        layers.GaussianDropout(0.2),
        optimizer=optimizers.Adam(0.01, global_clipnorm=1.0), metrics=["accuracy"],
    )  # fmt: skip
    return fitted(model, *data(), validation_split=0.2)


@training
def a_table_read_by_rows() -> Any:
    """One process updates the rows of a batch, several processes all rows."""
    codes = np.random.default_rng(2).integers(0, 900, (ROWS, INPUTS))
    chain = [layers.Embedding(900, 3), layers.Flatten()]
    return fitted(network(*chain, optimizer=optimizers.SGD(0.5)), codes, data()[1])


class Watching(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.mean = gpunn.metrics.Mean(name="activity")
        self.error = gpunn.metrics.MeanAbsoluteError(name="error")
        self.sum = Sum(name="sum")
        self.two = Two(name="two")

    def call(self, x: Any) -> Any:
        self.mean.update_state(x)
        self.two.update_state(x)
        self.error.update_state(x, 2 * x, sample_weight=ops.abs(x[:, 0]))
        self.sum.update_state(x)
        return x


class Sum(gpunn.metrics.Metric):
    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.total = self.add_weight(initializer="ones", dtype="float64")

    def update_state(self, x: Any) -> None:  # type: ignore[override]
        self.total.assign_add(ops.cast(ops.sum(x), "float64"))

    def result(self) -> Any:
        return self.total


class Two(Sum):
    """A metric of two results."""

    def result(self) -> Any:
        return {"total": self.total, "half": self.total / 2}


@training
def metrics_of_layers() -> Any:
    return fitted(network(Watching()), *data(), validation_split=0.2)


@training
def windows_of_a_series() -> Any:
    series = np.random.default_rng(3).normal(size=ROWS + INPUTS)
    windows = gpunn.utils.timeseries_dataset_from_array(
        series, data()[1], INPUTS, batch_size=23, shuffle=True, seed=1
    )
    return fitted(network(), windows, batch_size=None, validation_data=windows)


@training
def pictures_changed_at_random() -> Any:
    model = network(
        layers.Reshape((2, 3, 2)), layers.RandomFlip(), layers.RandomRotation(0.1),
        layers.RandomContrast(0.5, (-9.0, 9.0)), layers.Flatten(), layers.AlphaDropout(0.2),
        layers.Dense(9, activation="tanh"),
    )  # fmt: skip
    return fitted(model, *data())


@training
def weights_of_rows_and_classes() -> Any:
    x, y = data()
    model = network(
        layers.Dense(9, activation="tanh"),
        loss=gpunn.losses.SparseCategoricalCrossentropy(
            reduction="mean_with_sample_weight", ignore_class=2
        ),
        metrics=["accuracy"], weighted_metrics=["accuracy"],
    )  # fmt: skip
    weights = np.linspace(0, 2, ROWS)
    (_, first), (_, second) = (
        fitted(model, x, y, sample_weight=weights),
        fitted(model, x, y, class_weight={0: 2.0, 1: 0.5, 2: 1.0, 3: 1.0, 4: 1.0}),
    )
    return model, first + second


@training
def fewer_rows_than_ranks() -> Any:
    x, y = data()
    model = network(layers.Dense(6, activation="relu"), layers.Dropout(0.5), metrics=["accuracy"])
    return fitted(model, x[:10], y[:10], batch_size=3, validation_data=(x[:1], y[:1]))


@training
def several_outputs() -> Any:
    x, y = data()
    given = Input((INPUTS,), name="given")
    shared = layers.Dense(11, activation="elu")(given)
    classes = layers.Dense(CLASSES, activation="softmax", name="classes")(shared)
    sums = layers.Dense(1, name="sums", bias_regularizer="l1")(shared)
    model = Model(given, [classes, sums])
    model.compile(
        optimizer="rmsprop", loss=["sparse_categorical_crossentropy", "mse"],
        loss_weights=[1.0, 0.3], metrics=[["accuracy"], ["mae"]],
    )  # fmt: skip
    return fitted(model, x, [y, x.sum(1, keepdims=True)])


@training
def outputs_of_a_call_without_a_loss() -> Any:
    """Also in batches of fewer rows than ranks."""

    class Both(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dense(3, "tanh"), layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.first(x), gpunn.ops.stop_gradient(self.second(x))

    x, _ = data()
    sums = x.sum(1, keepdims=True)
    given = Input((INPUTS,))
    ends = [layers.Dense(1, kernel_regularizer="l2")(one) for one in Both()(given)]
    model = Model(given, ends)
    model.compile("adamw", ["mse", "mse"])
    model.fit(x[:30], [sums[:30]] * 2, batch_size=7, verbose=0)
    model.compile("adamw", ["mse", None])
    return fitted(model, x[:30], [sums[:30]] * 2, batch_size=7)


@training
def schedule_accumulation_and_average() -> Any:
    rate = optimizers.schedules.ExponentialDecay(0.1, 5, 0.8)
    optimizer = optimizers.SGD(
        rate, momentum=0.9, nesterov=True, gradient_accumulation_steps=2, use_ema=True,
        ema_overwrite_frequency=7,
    )  # fmt: skip
    return fitted(network(layers.Dense(8, activation="selu"), optimizer=optimizer), *data())


@training
def batches_of_a_stream() -> Any:
    x, y = data()

    def batches() -> Iterator[Any]:
        while True:
            for start in range(0, ROWS, 19):
                yield x[start : start + 19], y[start : start + 19]

    model = network(layers.Dense(8, activation="relu"), layers.Dropout(0.2), metrics=["accuracy"])
    return fitted(
        model, batches(), batch_size=None, steps_per_epoch=6, validation_data=batches(),
        validation_steps=3,
    )  # fmt: skip


@training
def batches_that_each_rank_reads_itself() -> Any:
    class Shard:
        """Yields this rank's rows of batches of 12; some ranks have fewer batches."""

        shard = True

        def __iter__(self) -> Iterator[Any]:
            for start in range(0, 98, 12):
                rows = range(start, min(start + 12, 98))
                mine = list(rows[rank() * len(rows) // size() : (rank() + 1) * len(rows) // size()])
                if mine:
                    yield x[mine], y[mine]

    x, y = (array[:98] for array in data())
    model = network(layers.Dense(8, activation="relu"), layers.Dropout(0.2), metrics=["accuracy"])
    return fitted(model, Shard(), batch_size=None, validation_data=Shard())


@training
def losses_of_layers() -> Any:
    class Sparse(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(0.01 * ops.mean(ops.sum(ops.abs(x), -1)))
            return x

    return fitted(network(layers.Dense(8, activation="relu"), Sparse()), *data())


@training
def metrics_of_every_kind() -> Any:
    metrics = [
        "accuracy", gpunn.metrics.SparseTopKCategoricalAccuracy(2),
        gpunn.metrics.SparseCategoricalCrossentropy(),
        gpunn.metrics.MeanIoU(CLASSES, sparse_y_pred=False),
    ]  # fmt: skip
    x, y = data()
    model, found = fitted(network(layers.Dense(7, activation="relu"), metrics=metrics), x, y)
    binary = Sequential([Input((INPUTS,)), layers.Dense(1, activation="sigmoid")])
    kinds = ["AUC", "Precision", "Recall", "F1Score", "mae", "BinaryIoU"]
    binary.compile(optimizer="adam", loss="binary_crossentropy", metrics=kinds)
    more = fitted(binary, x, (y > 2)[:, None].astype(float))[1]
    return model, found + more


@training
def random_numbers_in_a_call() -> Any:
    class Shaken(layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            return x + 0.1 * random.normal(ops.shape(x)) if training else x

    return fitted(network(layers.Dense(7, activation="relu"), Shaken()), *data())


@training
def first_axes_of_other_things_than_rows() -> Any:
    """Of 4 units, which are as many as a rank's rows, and of steps, two for each row."""

    class Shaken(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = layers.Dropout(0.3)
            self.scale = self.add_weight((4,), "ones")

        def call(self, x: Any, training: bool = False) -> Any:
            self.add_loss(0.1 * ops.square(self.scale))
            if not training:
                return x
            units = self.drop(ops.ones((4, 2)), training=True) + random.normal((4, 2))
            steps = self.drop(ops.reshape(x, (-1, 4)), training=True) * self.scale
            steps = steps + 0.1 * random.normal(ops.shape(steps))
            return ops.reshape(steps, (-1, 8)) + 0.1 * ops.reshape(units, (8,))

    network_of_eight = network(layers.Dense(8, activation="relu"), Shaken())
    return fitted(network_of_eight, *data(), batch_size=8)


@training
def weights_updated_as_a_whole() -> Any:
    model = network(layers.Dense(7, activation="tanh"), optimizer=optimizers.Muon(0.02))
    return fitted(model, *data())


@training
def callbacks_that_change_the_training() -> Any:
    model = network(layers.Dense(7, activation="relu"), optimizer=optimizers.Adam(0.05))
    return fitted(
        model, *data(), epochs=30, validation_split=0.3,
        callbacks=[
            ReduceLROnPlateau(patience=1, factor=0.5),
            EarlyStopping(patience=3, restore_best_weights=True),
        ],
    )  # fmt: skip


@training
def single_batches() -> Any:
    x, y = data()
    model = network(layers.Dense(7, activation="relu"), layers.Dropout(0.4), metrics=["accuracy"])
    logs = [
        model.train_on_batch(x[start : start + 10], y[start : start + 10], return_dict=True)
        for start in range(0, ROWS, 10)
    ]
    return model, [{name: [log[name] for log in logs] for name in logs[0]}]


@training
def convolution_with_common_statistics() -> Any:
    x, y = data()
    model = Sequential(
        [
            Input((INPUTS,)),
            layers.Reshape((3, 4, 1)),
            layers.Conv2D(3, 2, activation="relu"),
            layers.BatchNormalization(synchronized=True),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return fitted(model, x, y, validation_split=0.2)


@training
def common_statistics_of_few_rows() -> Any:
    x, y = data()
    common = layers.BatchNormalization(synchronized=True, scale=False)
    model = network(layers.Dense(8, activation="relu"), common)
    return fitted(model, x[:10], y[:10], batch_size=3)


@training
def calls_of_few_rows() -> Any:
    class Gate(layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            self.add_loss(0.01 * ops.sum(ops.square(x), -1))
            return x * ops.sigmoid(random.normal(ops.shape(x)) if training else x)

    x, y = data()
    return fitted(network(layers.Dense(8, activation="relu"), Gate()), x[:10], y[:10], batch_size=3)


class OwnSteps(Model):
    mean: Any

    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.mean.update_state(loss, sample_weight=x.shape[0])
        return {**self.compute_metrics(x, y, y_pred), "mean": self.mean.result()}


def with_own_steps(cls: Any = OwnSteps, **options: Any) -> Any:
    inputs = Input((INPUTS,))
    hidden = layers.Dense(7, "relu", kernel_regularizer="l2")(inputs)
    model = cls(inputs, layers.Dense(CLASSES, "softmax")(hidden))
    model.mean = gpunn.metrics.Mean(name="mean")
    optimizer = optimizers.Adam(0.01, global_clipnorm=0.5)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


@training
def steps_of_its_own() -> Any:
    return fitted(with_own_steps(), *data(), validation_split=0.2, callbacks=EarlyStopping("mean"))


@training
def steps_of_its_own_in_python() -> Any:
    return fitted(with_own_steps(run_eagerly=True), *data(), epochs=2)


@training
def steps_of_its_own_on_batches_of_few_rows() -> Any:
    x, y = data()
    batches = [(x[at : at + 5], y[at : at + 5]) for at in range(0, 56, 5)]
    model = with_own_steps()
    history = model.fit(batches, epochs=3, verbose=0).history
    model.train_on_batch(x[:9], y[:9])
    return model, [history]


@training
def steps_of_its_own_on_batches_of_fewer_rows_than_ranks() -> Any:
    x, y = data()
    options = {"batch_size": 3, "validation_data": (x[:1], y[:1])}
    return fitted(with_own_steps(), x[:10], y[:10], **options)


class OwnNumbers(OwnSteps):
    """Returns the loss of a batch by the name of a metric that nothing updates."""

    two: Any

    def train_step(self, data: Any) -> Any:
        logs = super().train_step(data)
        self.two.update_state(data[0])
        loss = self.compute_loss(y=data[1], y_pred=self(data[0]))
        return {**logs, **self.two.result(), "loss": loss}

    def test_step(self, data: Any) -> Any:
        x, y = data
        return {"loss": self.compute_loss(y=y, y_pred=self(x)), "one": 1.0}


@training
def steps_that_return_numbers_of_their_own() -> Any:
    model, seen = with_own_steps(OwnNumbers), []
    model.two = Two(name="two")
    watching = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs))
    model, found = fitted(model, *data(), validation_split=0.2, callbacks=[watching])
    return model, [*found, {name: [logs[name] for logs in seen] for name in seen[0]}]


def run(file: str, *names: str) -> None:
    gpunn.config.set_floatx("float64")
    found = {}
    for name in names or TRAININGS:
        gpunn.utils.set_random_seed(3 + rank())  # each rank has others; rank 0 sends its own
        model, histories = TRAININGS[name]()
        for number, values in enumerate(model.get_weights()):
            found[f"{name} weights {number}"] = values
        for number, history in enumerate(histories):
            for key, values in history.items():
                found[f"{name} {number} {key}"] = np.array(values)
    np.savez(f"{file}-{rank()}.npz", **found)


if __name__ == "__main__":
    initialize(timeout=60)
    run(*sys.argv[1:])
