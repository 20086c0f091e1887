"""Models that define `train_step`, `test_step`, `predict_step`, `compute_loss` and so on."""

from __future__ import annotations

import contextlib
import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
from interrupting import interrupt, places
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.ops.trace import current

pytestmark = pytest.mark.usefixtures("doubles")
random = np.random.default_rng(0)
X = random.standard_normal((23, 3))
Y = random.integers(0, 4, 23)
WEIGHTS = random.uniform(0.5, 2, 23)


class Own(gpunn.Model):
    """Keras's guide: a step of its own, with the compiled loss and metrics."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=ops.shape(x)[0])
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class AsInKeras2(gpunn.Model):
    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.compiled_metrics.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class OwnInPython(Own):
    """The same, but it takes a number out of each step: so it cannot be one program."""

    def train_step(self, data: Any) -> Any:
        found = super().train_step(data)
        assert float(found["loss"]) > 0
        return found


class OwnLoss(gpunn.Model):
    def compute_loss(  # type: ignore[override]
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return super().compute_loss(x, y, y_pred, sample_weight)


class OwnMetrics(gpunn.Model):
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred, sample_weight)


def classifier(cls: Any = gpunn.Model, backend: Any = None, **options: Any) -> Any:
    gpunn.utils.set_random_seed(0)
    x = layers.Input((3,))
    hidden = layers.Dense(5, "tanh", kernel_regularizer="l2")(x)
    hidden = layers.BatchNormalization()(hidden)
    model = cls(x, layers.Dense(4, "softmax")(hidden), backend=backend)
    options = {"optimizer": gpunn.optimizers.Adam(0.05), "metrics": ["accuracy"], **options}
    model.compile(loss="sparse_categorical_crossentropy", **options)
    return model


def alike(one: Any, other: Any) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["x", "y", "both", "the first again"])
def test_a_second_fit_reads_its_own_arrays(every_backend: str, kind: str) -> None:
    """They have as many rows as the first ones, of one form."""
    rng = np.random.default_rng(3)
    x, y, u, v = (rng.normal(size=(10, n)).astype("float32") for n in (3, 1, 3, 1))
    then = {"x": (u, y), "y": (x, v), "both": (u, v), "the first again": (x, y)}[kind]
    logs = []
    for cls in (Own, gpunn.Model):
        given = gpunn.Input((3,))
        start = layers.Dense(1, kernel_initializer="ones")(given)
        model = cls(given, start, backend=every_backend)
        model.compile(gpunn.optimizers.SGD(0.0), "mse", metrics=["mae"])
        logs.append([
            model.fit(*data, batch_size=4, epochs=2, shuffle=False, verbose=0).history
            for data in ((x, y), then, (x, y))
        ])  # fmt: skip
    for own, plain in zip(*logs, strict=True):
        for name, values in plain.items():
            assert_allclose(own[name], values, rtol=1e-5)


def test_rows_that_are_not_contiguous() -> None:
    """Slices of larger arrays train as their copies do."""
    wide = np.repeat(X, 2, axis=1)[:, ::2], np.repeat(Y[:, None], 2, axis=1)[:, 0]
    found = []
    for x, y in (wide, tuple(a.copy() for a in wide)):
        gpunn.utils.set_random_seed(2)
        inputs = gpunn.Input((3,))
        model = Own(inputs, layers.Dense(4, "softmax")(inputs))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=5, epochs=2, verbose=0)
        found.append(model.get_weights())
    assert all(map(np.array_equal, *found))


@pytest.mark.parametrize("cls", [Own, AsInKeras2, OwnInPython, OwnLoss, OwnMetrics])
def test_a_step_of_its_own_trains_as_fit_does(every_backend: str, cls: Any) -> None:
    gpunn.use_backend(every_backend)
    plain, own = classifier(), classifier(cls)
    given: Any = {"batch_size": 5, "epochs": 3, "validation_data": (X[:9], Y[:9]), "verbose": 0}
    wanted = plain.fit(X, Y, **given).history
    found = own.fit(X, Y, **given).history
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
    alike(plain, own)
    assert_allclose(own.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-9)
    found, wanted = (m.evaluate(X, Y, verbose=0, return_dict=True) for m in (own, plain))
    assert found == pytest.approx(wanted, rel=1e-9)
    for model in (plain, own):  # it goes on with the next order of the rows
        model.fit(X, Y, batch_size=8, verbose=0)
        model.train_on_batch(X[:6], Y[:6])
    alike(plain, own)


@pytest.mark.parametrize("cls", [OwnLoss, OwnMetrics])
@pytest.mark.parametrize("of", ["sample_weight", "class_weight"])
def test_weighted_rows(cls: Any, of: str) -> None:
    plain, own = (classifier(c, weighted_metrics=["accuracy"]) for c in (gpunn.Model, cls))
    given: Any = {"sample_weight": WEIGHTS} if of == "sample_weight" else {
        "class_weight": {0: 2.0, 3: 0.5}
    }  # fmt: skip
    found, wanted = (
        m.fit(X, Y, batch_size=8, epochs=2, verbose=0, **given).history for m in (own, plain)
    )
    for name in wanted:
        if name != "loss" or of == "loss":
            assert_allclose(found[name], wanted[name], rtol=1e-9, err_msg=name)
    alike(plain, own)


def masked(cls: Any) -> Any:
    gpunn.utils.set_random_seed(0)
    inputs = gpunn.Input((5,), dtype="int32")
    steps = layers.Embedding(7, 3, mask_zero=True, embeddings_initializer=SHADES)(inputs)
    outputs = layers.Dense(2, kernel_initializer=SHADES)(steps)
    model = cls(inputs, outputs)
    given: Any = {"metrics": ["mae"], "weighted_metrics": ["mse"]}
    model.compile(gpunn.optimizers.SGD(0.1), "mse", **given)
    return model


SHADES = gpunn.initializers.RandomUniform(seed=1)
CODES = random.integers(0, 7, (23, 5)) * (random.random((23, 5)) > 0.3)
CODES[:, 0] = 1
STEPS = random.standard_normal((23, 5, 2))


@pytest.mark.parametrize("cls", [Own, AsInKeras2, OwnInPython, OwnLoss, OwnMetrics])
def test_steps_of_sequences_that_are_masked_do_not_count(backend: str, cls: Any) -> None:
    gpunn.use_backend(backend)
    plain, own = masked(gpunn.Model), masked(cls)
    given: Any = {"batch_size": 6, "epochs": 3, "verbose": 0}
    given["validation_data"] = CODES[:9], STEPS[:9]
    wanted, found = (m.fit(CODES, STEPS, **given).history for m in (plain, own))
    for name, values in wanted.items():
        assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
    alike(plain, own)
    assert own.evaluate(CODES, STEPS, verbose=0) == pytest.approx(
        plain.evaluate(CODES, STEPS, verbose=0), rel=1e-9
    )


def test_masked_steps_of_weighted_rows() -> None:
    plain, own = masked(gpunn.Model), masked(OwnLoss)
    given: Any = {"batch_size": 6, "epochs": 2, "sample_weight": WEIGHTS, "verbose": 0}
    wanted, found = (m.fit(CODES, STEPS, **given).history for m in (plain, own))
    assert_allclose(found["loss"], wanted["loss"], rtol=1e-9)
    alike(plain, own)


def test_balanced_class_weights() -> None:
    plain, own = (classifier(c) for c in (gpunn.Model, OwnLoss))
    for model in (plain, own):
        model.fit(X, Y, class_weight="balanced", batch_size=8, verbose=0)
        with pytest.raises(ValueError, match=r"class_weight='balanced'.*batch"):
            model.fit(iter([(X, Y)]), class_weight="balanced", verbose=0)
        with pytest.raises(ValueError, match=r"class_weight='balanced'.*batch"):
            model.train_on_batch(X, Y, class_weight="balanced")
        with pytest.raises(TypeError, match="'even'"):
            model.fit(X, Y, class_weight="even", verbose=0)
    alike(plain, own)
    with pytest.raises(ValueError, match="class_weight='balanced'"):
        own.fit(X, Y + 0.5, class_weight="balanced", verbose=0)


class Pair(gpunn.Model):
    """Two networks, each with its optimizer, and no `call`."""

    def __init__(self, maker: Any, judge: Any) -> None:
        super().__init__()
        self.maker, self.judge = maker, judge
        self.of_maker = gpunn.metrics.Mean(name="maker")
        self.of_judge = gpunn.metrics.Mean(name="judge")

    def compile(self, optimizers: Any, loss_fn: Any) -> None:  # type: ignore[override]
        super().compile()
        self.optimizers, self.loss_fn = optimizers, loss_fn

    @property
    def metrics(self) -> list[Any]:
        return [self.of_maker, self.of_judge]

    def train_step(self, data: Any) -> Any:
        real = data
        noise = real * 0.5 + 0.1
        rows = ops.shape(real)[0]
        labels = ops.concatenate([ops.ones((rows, 1)), ops.zeros((rows, 1))], axis=0)
        both = ops.concatenate([self.maker(noise), real], axis=0)
        with gpunn.GradientTape() as tape:
            judges = self.loss_fn(labels, self.judge(both))
        slopes = tape.gradient(judges, self.judge.trainable_weights)
        self.optimizers[0].apply_gradients(zip(slopes, self.judge.trainable_weights, strict=True))
        with gpunn.GradientTape() as tape:
            answers = self.judge(self.maker(noise))
            makers = self.loss_fn(ops.zeros((rows, 1)), answers)
        slopes = tape.gradient(makers, self.maker.trainable_weights)
        self.optimizers[1].apply_gradients(zip(slopes, self.maker.trainable_weights, strict=True))
        self.of_maker.update_state(makers)
        self.of_judge.update_state(judges)
        return {"maker": self.of_maker.result(), "judge": self.of_judge.result()}


def pair(eager: bool, backend: Any = None) -> Any:
    gpunn.utils.set_random_seed(1)
    of_maker, of_judge = [layers.Dense(4, "relu")], [layers.Dense(5, "leaky_relu")]
    maker = gpunn.Sequential([layers.Input((3,)), *of_maker, layers.Dense(3)], backend=backend)
    judge = gpunn.Sequential([layers.Input((3,)), *of_judge, layers.Dense(1)], backend=backend)
    made = Pair(maker, judge)
    made.compile(
        [gpunn.optimizers.Adam(0.02), gpunn.optimizers.SGD(0.1, momentum=0.9)],
        gpunn.losses.BinaryCrossentropy(from_logits=True),
    )
    made.run_eagerly = eager
    return made


def test_two_networks_with_an_optimizer_each(every_backend: str) -> None:
    """The compiled step, in which the maker meets the judge after its update, gives what Python
    does; that is compared with PyTorch in `test_steps_by_hand`."""
    gpunn.use_backend(every_backend)
    fast, slow = pair(False), pair(True)
    found, wanted = (m.fit(X, batch_size=6, epochs=3, verbose=0).history for m in (fast, slow))
    assert list(found) == ["maker", "judge"]
    for name, values in wanted.items():
        assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
    alike(fast.maker, slow.maker)
    alike(fast.judge, slow.judge)


@pytest.mark.parametrize("mode", ["fused", "persistent"])
def test_two_optimizers_in_each_launch_mode(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A persistent kernel counts the steps of each by itself: they may have begun at another."""
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    found = []
    for backend in ("numpy", emulated.make_backend()):
        made = pair(False, backend)
        made.optimizers[0].apply([ops.zeros(w.shape) for w in made.judge.weights],
                                 made.judge.trainable_weights)  # fmt: skip
        history = made.fit(X, batch_size=6, epochs=3, verbose=0).history
        assert [int(o.iterations) for o in made.optimizers] == [13, 12]
        found.append([*made.maker.get_weights(), *made.judge.get_weights(), *history.values()])
    for one, other in zip(*found, strict=True):
        assert_allclose(one, other, rtol=1e-6, atol=1e-8)


class WithTests(gpunn.Model):
    def test_step(self, data: Any) -> Any:
        x, y = data
        y_pred = self(x, training=False)
        self.compute_loss(x, y, y_pred)
        return {"largest": ops.max(y_pred), "mean": ops.mean(y_pred)}

    def predict_step(self, data: Any) -> Any:
        return self(data, training=False) * 2.0, ops.argmax(self(data), axis=-1)


@pytest.mark.parametrize("form", [lambda x: x, lambda x: (x,), lambda x: [(x,)]])
def test_data_without_targets_are_validated_on(form: Any) -> None:
    class Coder(gpunn.Model):
        def compute_loss(self, x: Any = None, **others: Any) -> Any:  # type: ignore[override]
            return ops.mean(ops.square(x - self(x)))

    inputs = layers.Input((3,))
    model = Coder(inputs, layers.Dense(3)(layers.Dense(2)(inputs)))
    model.compile("sgd")
    history = model.fit(X, validation_data=form(X[:8]), epochs=2, verbose=0).history
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(X[:8], verbose=0), rel=1e-9)


def test_own_tests_and_predictions() -> None:
    plain, own = classifier(), classifier(WithTests)
    y = plain.predict(X, verbose=0)
    twice, places = own.predict(X, batch_size=7)
    assert_allclose(twice, 2 * y, rtol=1e-10)
    assert_array_equal(places, y.argmax(1))
    found = own.evaluate(X, Y, batch_size=23, verbose=0, return_dict=True)
    assert found == pytest.approx({"largest": y.max(), "mean": y.mean()})
    history = own.fit(X, Y, epochs=1, validation_data=(X, Y), verbose=0).history
    assert list(history) == ["loss", "accuracy", "val_largest", "val_mean"]


class Further(gpunn.Model):
    def test_step(self, data: Any) -> Any:
        x, y, weight = gpunn.utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        further = {"b": ops.max(y_pred), "a": ops.min(y_pred)}
        loss = self.compute_loss(x, y, y_pred, weight)
        self.metrics[0].update_state(loss, ops.shape(y_pred)[0])
        return further | self.compute_metrics(x, y, y_pred, weight)


def test_a_list_of_figures_begins_with_the_metrics_as_in_keras() -> None:
    own = classifier(Further)
    by_name = own.evaluate(X, Y, verbose=0, return_dict=True)
    found = own.evaluate(X, Y, verbose=0)
    assert found == [by_name[name] for name in ("loss", "accuracy", "a", "b")]
    plain = classifier().evaluate(X, Y, verbose=0)
    assert found[:2] == pytest.approx(plain)


@pytest.mark.parametrize("data", [X, (X,), [X], (X, Y), [X, Y], (X, Y, None), (X, Y, Y)])
def test_a_batch_is_packed_and_unpacked_as_by_keras(keras: Any, data: Any) -> None:
    found = gpunn.utils.unpack_x_y_sample_weight(data)
    wanted = keras.utils.unpack_x_y_sample_weight(data)
    assert list(map(id, found)) == list(map(id, wanted))
    again = gpunn.utils.pack_x_y_sample_weight(*found)
    like = keras.utils.pack_x_y_sample_weight(*wanted)
    assert type(again) is type(like) and len(again) == len(like)


def test_callbacks_see_batches_and_stop_training() -> None:
    seen: list[Any] = []

    class Watch(gpunn.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append((batch, dict(logs)))
            if batch == 2:
                self.model.stop_training = True

    own, plain = classifier(Own), classifier()
    own.fit(X, Y, batch_size=4, epochs=2, callbacks=[Watch()], verbose=0)
    assert [batch for batch, _ in seen] == [0, 1, 2]
    mine, seen[:] = [logs for _, logs in seen], []
    plain.fit(X, Y, batch_size=4, epochs=2, callbacks=[Watch()], verbose=0)
    for one, (_, other) in zip(mine, seen, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_a_step_in_python_may_stop_the_training() -> None:
    class Stops(Own):
        steps = 0

        def train_step(self, data: Any) -> Any:
            Stops.steps += 1
            self.stop_training = Stops.steps == 20
            return super().train_step(data)

    model = classifier(Stops)
    model.run_eagerly = True
    model.fit(np.repeat(X, 40, axis=0), np.repeat(Y, 40), batch_size=8, epochs=2, verbose=0)
    assert Stops.steps == 20


def test_streams_of_batches() -> None:
    own, plain = classifier(Own), classifier()

    class Batches:
        def __iter__(self) -> Any:
            for at in range(0, 23, 6):
                yield X[at : at + 6], Y[at : at + 6]

    for model in (own, plain):
        model.fit(Batches(), epochs=2, verbose=0)
        model.fit(iter([*Batches()] * 2), epochs=2, steps_per_epoch=4, verbose=0)
    alike(own, plain)

    class Numbered(gpunn.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()
            self.num_batches = 4  # as Keras 2's may set it themselves

        def __getitem__(self, index: int) -> Any:
            return X[6 * index :][:6], Y[6 * index :][:6]

    for model in (own, plain):
        gpunn.utils.set_random_seed(1)  # of the order of batches
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(Numbered(), epochs=2, verbose=0)
    alike(own, plain)
    dataset = gpunn.data.Dataset.from_tensor_slices((X, Y)).batch(6)
    for model in (own, plain):
        model.fit(dataset, epochs=1, verbose=0)
    alike(own, plain)


@pytest.mark.parametrize("watched", [False, True])
def test_limited_epochs_go_on_in_the_pass(watched: bool) -> None:
    """As in `fit`; and a generator for validation gives the same batches in each epoch."""
    found = []
    for cls in (Own, gpunn.Model):
        model = classifier(cls)
        back = gpunn.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
        held_out = ((X[at : at + 4], Y[at : at + 4]) for at in range(0, 20, 4))
        with pytest.warns(UserWarning, match="ran out in epoch 3 of 6, after 1 of 2 steps"):
            history = model.fit(
                X, Y, batch_size=5, epochs=6, steps_per_epoch=2, validation_data=held_out,
                validation_steps=2, callbacks=[back] if watched else [], verbose=0,
            ).history  # fmt: skip
        found.append((model, history))
    (own, history), (plain, wanted) = found
    alike(own, plain)
    for name, values in wanted.items():
        assert_allclose(history[name], values, rtol=1e-9, err_msg=name)


def test_a_learning_rate_that_changes_needs_no_new_program() -> None:
    def rate(epoch: int, now: float) -> float:
        return now / 2

    own, plain = classifier(Own), classifier()
    for model in (own, plain):
        back = gpunn.callbacks.LearningRateScheduler(rate)
        model.fit(X, Y, batch_size=5, epochs=4, callbacks=[back], verbose=0)
    alike(own, plain)
    schedule = gpunn.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    own, plain = (
        classifier(c, optimizer=gpunn.optimizers.SGD(schedule)) for c in (Own, gpunn.Model)
    )
    for model in (own, plain):
        model.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    alike(own, plain)


def test_what_changes_between_epochs_takes_effect() -> None:
    class Scaled(Own):
        factor = 1.0

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                         sample_weight: Any = None, training: bool = True) -> Any:  # fmt: skip
            return super().compute_loss(x, y, y_pred, sample_weight) * self.factor

    def change(epoch: int, logs: Any) -> None:
        model.factor = 0.0 if epoch == 0 else 3.0
        model.layers[1].trainable = epoch != 1

    made = []
    for eager in (False, True):
        model = classifier(Scaled)
        model.run_eagerly = eager
        back = gpunn.callbacks.LambdaCallback(on_epoch_end=change)
        model.fit(X, Y, batch_size=6, epochs=4, callbacks=[back], verbose=0)
        made.append(model)
    alike(*made)


def test_dropout_differs_from_step_to_step() -> None:
    class Drops(gpunn.Model):
        def train_step(self, data: Any) -> Any:
            y = self(data, training=True)
            with gpunn.GradientTape() as tape:
                loss = ops.mean(self(data, training=True) ** 2)
            self.optimizer.apply(tape.gradient(loss, self.trainable_weights),
                                 self.trainable_weights)  # fmt: skip
            return {"kept": ops.mean(ops.cast(y[:, 0] != 0, "float64")), "first": y[0, 0]}

    found = []
    for _ in range(2):
        gpunn.utils.set_random_seed(5)
        x = layers.Input((3,))
        hidden = layers.Dropout(0.5)(layers.Dense(1, kernel_initializer="ones")(x))
        model = Drops(x, hidden)
        model.compile(gpunn.optimizers.SGD(0.0))
        own: list[float] = []
        for _ in range(4):
            logs = model.train_on_batch(np.ones((200, 3)), return_dict=True)
            assert 0.3 < logs["kept"] < 0.7
            own.append(logs["kept"])
        assert len(set(own)) > 2
        found.append(own)
    assert found[0] == found[1]


def test_an_optimizer_goes_on_where_fit_has_stopped() -> None:
    """Steps of `fit` and steps by hand share the moments."""

    class Both(Own):
        pass

    mixed, plain = classifier(), classifier()
    mixed.fit(X, Y, batch_size=23, epochs=2, shuffle=False, verbose=0)
    loss = gpunn.losses.SparseCategoricalCrossentropy()
    for _ in range(2):
        with gpunn.GradientTape() as tape:
            value = loss(Y, mixed(X, training=True)) + sum(mixed.losses)
        weights = mixed.trainable_variables
        mixed.optimizer.apply(tape.gradient(value, weights), weights)
    mixed.fit(X, Y, batch_size=23, epochs=2, shuffle=False, verbose=0)
    plain.fit(X, Y, batch_size=23, epochs=6, shuffle=False, verbose=0)
    alike(mixed, plain)
    assert int(mixed.optimizer.iterations) == 6


def test_models_can_be_copied_and_saved(tmp_path: Any) -> None:
    own = classifier(Own)
    own.fit(X, Y, batch_size=6, verbose=0)
    other = pickle.loads(pickle.dumps(own))
    assert_allclose(other.predict(X, verbose=0), own.predict(X, verbose=0))
    own.save_weights(tmp_path / "own.gpunn")
    third = classifier(Own)
    third.load_weights(tmp_path / "own.gpunn")
    alike(own, third)


FILES = {
    str(Path(gpunn.__file__).parent / name)
    for name in (
        "training/by_hand/trainer.py", "training/by_hand/steps.py", "training/by_hand/rows.py",
        "training/loops.py", "training/batch_iterator.py",
        "ops/running/step_function.py", "ops/running/step_trace.py", "ops/running/tape.py",
        "optimizers/on_arrays.py", "metrics/in_steps.py", "metrics/metric.py",
    )
}  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("every", [37, pytest.param(11, marks=pytest.mark.more)])
@pytest.mark.parametrize("cls", [Own, OwnInPython])
def test_an_interrupt_leaves_a_model_that_trains(cls: Any, every: int) -> None:
    """At sampled lines: afterwards it trains from given weights as an undisturbed one does."""
    alone = classifier(cls)
    start = alone.get_weights()
    given: Any = {"batch_size": 8, "epochs": 2, "verbose": 0}
    alone.fit(X, Y, **given)
    lines = places(lambda: classifier(cls).fit(X, Y, **given), FILES)
    assert len(lines) > 200

    def train(model: Any) -> None:
        gpunn.utils.set_random_seed(0)
        model.set_weights(start)
        model.compile(gpunn.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
        model.fit(X, Y, shuffle=False, **given)

    other = classifier(cls)
    train(other)
    for place in lines[:: every if cls is Own else 2 * every]:
        model = classifier(cls)
        interrupt(lambda model=model: model.fit(X, Y, **given), place)  # type: ignore[misc]
        assert current() is None and all(np.isfinite(w).all() for w in model.get_weights())
        model.fit(X, Y, **given)  # whatever state it was left in
        train(model)
        alike(model, other)


def test_weights_of_a_model_without_a_call(tmp_path: Any) -> None:
    first, second = pair(False), pair(False)
    save = gpunn.callbacks.ModelCheckpoint(tmp_path / "w.gpunn", save_weights_only=True)
    first.fit(X, batch_size=6, verbose=0, callbacks=[save])
    second.load_weights(tmp_path / "w.gpunn")
    assert len(second.get_weights()) == 8 and second.count_params() == 31 + 26
    alike(first, second)
    second.set_weights([np.zeros_like(w) for w in first.get_weights()])
    assert not np.any(second.maker.predict(X, verbose=0))


ERRORS: dict[str, Any] = {
    "weights of both kinds": (
        lambda: classifier(Own).fit(X, Y, sample_weight=WEIGHTS, class_weight={0: 2.0}, verbose=0),
        ValueError, "class_weight and sample_weight cannot both be given"),
    "weights of both kinds in batches": (
        lambda: classifier(Own).fit([(X, Y, WEIGHTS)], class_weight={0: 2.0}, verbose=0),
        ValueError, "x, batch 0: class_weight and sample_weight cannot both be given"),
    "a class by name": (lambda: classifier(Own).fit(X, Y, class_weight={"a": 2.0}, verbose=0),
                        ValueError, "integer keys.*'a'"),
    "a weight below 0": (lambda: classifier(Own).fit(X, Y, class_weight={0: -2.0}, verbose=0),
                         ValueError, r"class_weight\[0\] must be finite and at least 0"),
    "not compiled": (lambda: Own(x := layers.Input((3,)), layers.Dense(1)(x)).fit(X, Y),
                     ValueError, "compile"),
    "different rows": (lambda: classifier(Own).fit(X, Y[:5]), ValueError, "rows must be equal"),
    "strings": (lambda: classifier(Own).fit(np.array(["a"] * 23), Y), TypeError, "real numbers"),
    "no data": (lambda: classifier(Own).fit(), ValueError, "no data"),
    "no rows": (lambda: classifier(Own).fit(X[:0], Y[:0]), ValueError, "no rows"),
    "an empty stream": (lambda: classifier(Own).fit([]), ValueError, "no"),
    "an empty stream to evaluate": (lambda: classifier(WithTests).evaluate(iter([]), verbose=0),
                                    ValueError, "nothing to evaluate"),
    "a generator for several epochs": (
        lambda: classifier(Own).fit(iter([(X, Y)]), epochs=2),
        ValueError,
        "read only once: pass steps_per_epoch",
    ),
    "y beside batches": (lambda: classifier(Own).fit(iter([(X, Y)]), Y), ValueError, "leave it"),
    "a part of nothing": (lambda: classifier(Own).fit(X, Y, validation_split=0.99), ValueError,
                          "leaves 0 rows"),
    "two kinds of weights": (
        lambda: classifier(Own).fit(X, Y, sample_weight=np.ones(len(Y)), class_weight={0: 2.0}),
        ValueError, "class_weight and sample_weight cannot both be given",
    ),
    "weights of a batch, and of classes": (
        lambda: classifier(Own).fit([(X, Y, np.ones(len(Y)))], class_weight={0: 2.0}),
        ValueError, "class_weight and sample_weight cannot both be given",
    ),
    "no loss": (lambda: without_loss().fit(X, Y, verbose=0), ValueError, "no loss"),
    "no dictionary": (lambda: returning(3.0).fit(X, Y, verbose=0), TypeError, "dictionary"),
    "an order": (lambda: pair(True)(X), TypeError, "no call"),
}  # fmt: skip


def without_loss() -> Any:
    model = OwnMetrics(x := layers.Input((3,)), layers.Dense(1)(x))
    model.compile("sgd")
    return model


def returning(value: Any) -> Any:
    class Returns(gpunn.Model):
        def train_step(self, data: Any) -> Any:
            return value

    model = Returns(x := layers.Input((3,)), layers.Dense(1)(x))
    model.compile("sgd")
    return model


@pytest.mark.parametrize("case", ERRORS)
def test_each_error_says_what_to_do(case: str) -> None:
    make, kind, words = ERRORS[case]
    with pytest.raises(kind, match=words):
        make()


@pytest.mark.parametrize("name", ["train_step", "test_step", "predict_step", "compute_loss"])
def test_steps_are_those_of_a_class(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} would be ignored.*own-training"):
        setattr(classifier(), name, lambda data: {})


LOSSES: dict[str, tuple[Any, ...]] = {
    "labels": (4, "softmax", "sparse_categorical_crossentropy", ["accuracy"]),
    "logits": (4, None, gpunn.losses.SparseCategoricalCrossentropy(from_logits=True), []),
    "one-hot": (4, "softmax", "categorical_crossentropy", ["accuracy"]),
    "two classes": (1, "sigmoid", "binary_crossentropy", ["AUC", "Precision"]),
    "numbers": (2, None, "mse", ["mae", "r2_score"]),
    "robust": (2, None, "huber", ["cosine_similarity"]),
}


@pytest.mark.parametrize("mode", [None, "fused", "persistent"])
@pytest.mark.parametrize("case", LOSSES)
def test_a_step_on_a_gpu_is_one_program_with_the_numbers_of_numpy(
    case: str, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the default backend is another. In the mode, what cannot be traced is an error."""
    outputs, activation, loss, metrics = LOSSES[case]
    rows, y = random.standard_normal((24, 3)), random.standard_normal((24, 2))
    if outputs == 4:
        y = random.integers(0, 4, 24)
        y = np.eye(4)[y] if case == "one-hot" else y
    elif outputs == 1:
        y = random.integers(0, 2, (24, 1))
    if mode:
        monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    gpu, found = emulated.make_backend(), []
    gpunn.use_backend("numpy")
    for backend in ("numpy", gpu):
        gpunn.utils.set_random_seed(0)
        x = layers.Input((3,))
        hidden = layers.Dropout(0.3)(layers.Dense(8, "relu")(x))
        model = Own(x, layers.Dense(outputs, activation)(hidden), backend=backend)
        model.compile(gpunn.optimizers.Adam(0.01), loss, metrics=metrics)
        history = model.fit(rows, y, batch_size=8, epochs=2, verbose=0).history
        found.append([*model.get_weights(), *history.values()])
    for one, other in zip(*found, strict=True):
        assert_allclose(one, other, rtol=1e-8, atol=1e-10)


class Coder(gpunn.Model):
    """The usual autoencoder: its step uses the layers, and nothing calls the model."""

    reads = None

    def __init__(self) -> None:
        super().__init__(dtype="float64")
        self.encoder, self.decoder = layers.Dense(2, "tanh"), layers.Dense(3)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.decoder(self.encoder(x if self.reads is None else x[self.reads]))

    def train_step(self, data: Any) -> Any:
        with gpunn.GradientTape() as tape:
            x = data if self.reads is None else data[self.reads]
            loss = ops.mean(ops.square(self.decoder(self.encoder(x)) - x))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class OfTwo(Coder):
    reads = "a"


class OnCodes(Coder):
    """Its call decodes, and takes other data than its step."""

    def call(self, x: Any, training: Any = None) -> Any:
        return self.decoder(x)


def coded(cls: type, data: Any, **options: Any) -> Any:
    gpunn.utils.set_random_seed(2)
    model = cls()
    model.compile("adam")
    model.fit(data, batch_size=5, epochs=4, verbose=0, **options)
    return model


@pytest.mark.parametrize(("cls", "data"), [(Coder, X), (OfTwo, {"a": X, "b": X[:, :1]})])
def test_a_model_that_no_step_calls_is_built_when_it_is_asked_for(
    cls: type, data: Any, tmp_path: Path, every_backend: str
) -> None:
    """Keras builds it before the first step."""
    gpunn.use_backend(every_backend)
    plain = coded(cls, data)
    stopping = gpunn.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    keeping = gpunn.callbacks.ModelCheckpoint(tmp_path / "best.gpunn", "loss")
    watched = coded(cls, data, callbacks=[stopping, keeping])
    assert watched.built and watched.count_params() == 3 * 2 + 2 + 2 * 3 + 3
    for one, other in zip(plain.get_weights(), watched.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-10)
    plain.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn", custom_objects={cls.__name__: cls})
    assert_array_equal(again.predict(data, verbose=0), plain.predict(data, verbose=0))
    plain.fit(data, batch_size=5, verbose=0)
    again.fit(data, batch_size=5, verbose=0)
    for one, other in zip(plain.get_weights(), again.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-10)


def test_a_call_of_other_data_is_left_alone() -> None:
    model = coded(OnCodes, X)
    assert not model.built
    with pytest.raises(ValueError, match="get_weights: the model 'on_codes' is not built"):
        model.get_weights()
    model.fit(X, verbose=0)
    assert model(np.ones((2, 2))).shape == (2, 3)
    assert model.built and len(model.get_weights()) == 4


def test_threads_that_ask_for_a_model_wait_until_it_is_built() -> None:
    asked, building = threading.Event(), threading.Event()

    class Slow(Coder):
        def call(self, x: Any, training: Any = None) -> Any:
            building.set()
            asked.wait(10)
            return super().call(x)

    model = coded(Slow, X)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(model.get_weights)
        assert building.wait(10)
        second = pool.submit(model.get_weights)
        with contextlib.suppress(TimeoutError):  # it waits, or is answered wrongly at once
            second.result(0.2)
        asked.set()
        for one, other in zip(first.result(), second.result(), strict=True):
            assert_array_equal(one, other)


def test_a_model_that_is_not_built_keeps_no_data() -> None:
    model, data = Coder(), X.copy()
    there = weakref.ref(data)
    model.compile("adam")
    model.fit(data, verbose=0)
    del data
    gc.collect()
    assert there() is None
    assert len(model.get_weights()) == 4


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2,)])
def test_what_a_step_returns_is_logged_as_its_mean(backend: str, shape: tuple[int, ...]) -> None:
    class Returns(gpunn.Model):
        def train_step(self, data: Any) -> Any:
            return {"found": ops.zeros(shape) + ops.mean(data[0])}

    x = layers.Input((3,))
    model = Returns(x, layers.Dense(1)(x), backend=backend)
    model.compile("sgd", "mse")
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert logs["found"] == pytest.approx(X.mean(), rel=1e-5)
    history = model.fit(X, Y, batch_size=23, verbose=0).history
    assert history["found"] == [pytest.approx(X.mean(), rel=1e-5)]
