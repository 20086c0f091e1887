"""Test models whose inputs have axes of any length, None, beside Keras."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.apps.roofline import step_profile

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:Your input ran out of data:UserWarning"  # of Keras
)
UNITS = 2


def batch(rows: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of 3 features, and targets of two for each of their steps."""
    random = np.random.default_rng([seed, rows, length])
    x = random.normal(size=(rows, length, 3)).astype(np.float32)
    return x, random.normal(size=(rows, length, UNITS)).astype(np.float32)


def of_steps(library: Any, weighted: bool = False, metrics: Any = ("mae",)) -> Any:
    """A model with an output for each step, which reads the mean of all steps, too."""
    layers, ops = library.layers, library.ops
    i = library.Input((None, 3), name="steps")
    x = layers.Dense(4, "tanh", kernel_initializer="ones")(i)
    x = x + ops.mean(x, axis=1, keepdims=True)
    x = layers.Dense(UNITS, kernel_initializer="ones")(x)
    model = library.Model(i, x)
    given = {"weighted_metrics" if weighted else "metrics": list(metrics)}
    model.compile(library.optimizers.SGD(0.1, momentum=0.9), "mse", **given)
    return model


def lengths(
    library: Any, of: Any = ((3, 4), (4, 9), (3, 6), (4, 9), (2, 4)), made: Any = batch
) -> Any:
    """A data set whose batches have these rows and lengths."""

    class Lengths(library.utils.PyDataset):
        def __len__(self) -> int:
            return len(of)

        def __getitem__(self, k: int) -> Any:
            return made(*of[k], seed=k)

    return Lengths()


def draw_weights(model: Any) -> None:
    """Set the same weights in both libraries, of which no two outputs are equal."""
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=tuple(w.shape)) for w in model.weights])


def numbers(history: Any) -> np.ndarray:
    logs = history.history
    return np.array([logs[name] for name in sorted(logs)])


def test_arrays_of_one_length(keras: Any, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    found = []
    for library in (gpunn, keras):
        model = of_steps(library)
        assert model.output_shape == (None, None, UNITS)
        options = {"batch_size": 4, "verbose": 0}
        first = model.fit(
            *batch(10, 7), epochs=2, shuffle=False, validation_data=batch(5, 3), **options
        )
        second = model.fit(*batch(6, 11), shuffle=False, **options)
        found.append(
            [numbers(first), numbers(second), model.evaluate(*batch(6, 5), **options),
             model.predict(batch(9, 2)[0], verbose=0)]
        )  # fmt: skip
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metrics", [("mae",), ("mse", "mae", "cosine_similarity")])
def test_batches_of_different_lengths(keras: Any, every_backend: str, metrics: Any) -> None:
    gpunn.use_backend(every_backend)
    found = []
    for library in (gpunn, keras):
        model = of_steps(library, metrics=metrics)
        data = lengths(library)
        others = lengths(library, [(2, 5), (3, 8)])
        history = model.fit(data, epochs=3, shuffle=False, verbose=0, validation_data=others)
        found.append([numbers(history), model.evaluate(data, verbose=0)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_weights_of_samples(keras: Any, every_backend: str) -> None:
    gpunn.use_backend(every_backend)

    def batches() -> Iterator[Any]:
        for k in range(6):
            x, y = batch(3, 4 + k % 3, k)
            yield x, y, np.abs(x[..., 0]) * (k + 1)

    found = [
        numbers(of_steps(library, weighted=True).fit(batches(), shuffle=False, verbose=0))
        for library in (gpunn, keras)
    ]
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_accuracy_of_steps(keras: Any) -> None:
    found = []
    for library in (gpunn, keras):
        layers = library.layers
        model = library.Sequential(
            [
                library.Input((None, 3)),
                layers.Dense(4, "relu"),
                layers.Dense(UNITS, "softmax"),
            ]
        )
        draw_weights(model)
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        data = [(x, y.argmax(-1)) for x, y in (batch(3, k % 4 + 2, k) for k in range(7))]
        found.append(numbers(model.fit((pair for pair in data), shuffle=False, verbose=0)))
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_custom_losses_and_metrics_see_each_length(keras: Any) -> None:
    found = []
    library: Any
    for library in (gpunn, keras):
        ops = library.ops

        def far(y_true: Any, y_pred: Any, ops: Any = ops) -> Any:
            return ops.max(ops.abs(y_true - y_pred), axis=(1, 2)) / y_pred.shape[1]

        class Largest(library.metrics.Metric):
            def __init__(self, name: str = "largest", **options: Any) -> None:
                super().__init__(name=name, **options)
                self.largest = self.add_weight(shape=(), initializer="zeros", name="largest")

            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
                found = ops.max(ops.abs(y_pred)) * y_pred.shape[1]  # noqa: B023
                self.largest.assign(ops.maximum(self.largest, found))  # noqa: B023

            def result(self) -> Any:
                return self.largest * 1.0

        model = of_steps(library)
        model.compile(library.optimizers.SGD(0.05), far, metrics=[Largest(), far])
        data = lengths(library)
        history = model.fit(data, epochs=2, shuffle=False, verbose=0, validation_data=data)
        found.append(numbers(history))
    np.testing.assert_allclose(*found, rtol=1e-4)


class Positions(gpunn.layers.Layer):
    """A layer that reads the length of its input."""

    def build(self, input_shape: Any) -> None:
        assert input_shape[1] is None
        self.scale = self.add_weight((input_shape[-1],), "ones")

    def call(self, x: Any) -> Any:
        length = x.shape[1]
        return x * self.scale + gpunn.ops.reshape(gpunn.ops.arange(length) / length, (1, -1, 1))


def test_a_call_is_traced_for_each_length(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    model = gpunn.Sequential([gpunn.Input((None, 2)), Positions()])
    for length in (1, 5, 3, 5):
        x = np.ones((2, length, 2))
        expected = 1 + np.arange(length).reshape(1, -1, 1) / length + np.zeros((2, 1, 2))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
        np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("eager", [False, True])
def test_eager_steps_give_the_same(eager: bool) -> None:
    model = of_steps(gpunn)
    model.compile(gpunn.optimizers.SGD(0.1), "mse", run_eagerly=eager)
    history = model.fit(lengths(gpunn), shuffle=False, verbose=0)
    other = of_steps(gpunn)
    other.compile(gpunn.optimizers.SGD(0.1), "mse")
    expected = other.fit(lengths(gpunn), shuffle=False, verbose=0)
    np.testing.assert_allclose(numbers(history), numbers(expected), rtol=1e-6)


def test_several_inputs_of_different_lengths(keras: Any) -> None:
    found = []
    for library in (gpunn, keras):
        layers, ops = library.layers, library.ops
        a, b = library.Input((None, 3), name="a"), library.Input((None,), name="b")
        left = layers.Dense(2, kernel_initializer="ones")(a)
        right = ops.mean(b, axis=1, keepdims=True)
        right = layers.Dense(2, kernel_initializer="ones")(right)
        model = library.Model([a, b], [left, ops.max(left, axis=1) + right])
        assert model.input_shape == [(None, None, 3), (None, None)]
        model.compile("sgd", ["mse", "mse"])
        logs = []
        for k in range(3):
            x, y = batch(4, 3 + k)
            other = batch(4, 6 - k, 1)[0][..., 0]
            logs.append(numbers(model.fit([x, other], [y, y[:, 0]], verbose=0)))
        found.append(logs)
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_images_of_any_size(keras: Any) -> None:
    found = []
    weights = None
    for library in (gpunn, keras):
        layers = library.layers
        model = library.Sequential(
            [
                library.Input((None, None, 3)),
                layers.Conv2D(4, 3, activation="relu", padding="same"),
                layers.MaxPooling2D(),
                layers.BatchNormalization(),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2),
            ]
        )
        assert model.built and model.layers[1].output.shape == (None, None, None, 4)
        weights = weights or [np.asarray(w) for w in model.get_weights()]
        model.set_weights(weights)
        model.compile("sgd", "mse")
        logs = []
        for size in ((8, 8), (6, 10), (12, 4)):
            x = np.random.default_rng(size[0]).normal(size=(4, *size, 3)).astype(np.float32)
            logs.append([*numbers(model.fit(x, x[:, 0, 0, :2], verbose=0)).ravel()])
            logs[-1] += [*np.asarray(model.predict(x, verbose=0)).ravel()]
        found.append(logs)
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-4)


def test_models_in_models() -> None:
    inner = gpunn.Sequential([gpunn.layers.Dense(3, input_shape=(None, 3)), gpunn.layers.ReLU()])
    i = gpunn.Input((None, 3))
    model = gpunn.Model(i, inner(i) * 2)
    assert model.output_shape == (None, None, 3)
    for length in (4, 7):
        x = batch(2, length)[0]
        np.testing.assert_allclose(model(x), 2 * inner(x).numpy(), rtol=1e-6)


@pytest.mark.parametrize("form", ["sequential", "functional"])
def test_a_file_keeps_the_unknown_axis(tmp_path: Path, form: str) -> None:
    model = of_steps(gpunn)
    if form == "sequential":
        model = gpunn.Sequential([gpunn.layers.Dense(UNITS, batch_input_shape=(None, None, 3))])
        model.compile("sgd", "mse")
    model.fit(lengths(gpunn), verbose=0)
    model.save(tmp_path / "m.gpunn")
    for again in (gpunn.models.load_model(tmp_path / "m.gpunn"), copy.deepcopy(model)):
        assert again.input_shape == (None, None, 3) and again.output_shape == (None, None, UNITS)
        for length in (3, 8):
            x = batch(2, length)[0]
            np.testing.assert_array_equal(
                again.predict(x, verbose=0), model.predict(x, verbose=0)
            )
    new = gpunn.models.clone_model(model)
    assert new.output_shape == (None, None, UNITS)


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    def fit(epochs: int, folder: str) -> Any:
        gpunn.utils.set_random_seed(3)  # of the order of batches
        model = of_steps(gpunn)
        kept = gpunn.callbacks.BackupAndRestore(tmp_path / folder, delete_checkpoint=False)
        model.fit(lengths(gpunn), epochs=epochs, verbose=0, callbacks=[kept])
        return model.get_weights()

    whole = fit(4, "whole")
    fit(2, "parts")
    for ours, expected in zip(fit(4, "parts"), whole, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_more_lengths_than_are_kept() -> None:
    model = of_steps(gpunn)
    before = {n: model.predict(batch(2, n)[0], verbose=0) for n in range(1, 41)}
    for n in (1, 40, 20):
        np.testing.assert_array_equal(model.predict(batch(2, n)[0], verbose=0), before[n])
    many = [(2, n) for n in range(1, 41)]
    losses = model.fit(lengths(gpunn, many), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_the_last_sixteen_lengths_are_kept() -> None:
    traced: list[int] = []

    def doubled(x: Any) -> Any:
        traced.append(x.shape[1])
        return x * 2

    model = gpunn.Sequential([gpunn.Input((None, 2)), gpunn.layers.Lambda(doubled)])
    for n in range(1, 18):
        model.predict_on_batch(np.ones((2, n, 2)))
    before = len(traced)
    for n in range(2, 18):
        model.predict_on_batch(np.ones((2, n, 2)))
    assert len(traced) == before
    model.predict_on_batch(np.ones((2, 1, 2)))
    assert traced[before:] == [1]


def test_doctor_says_how_many_programs_there_are() -> None:
    model = of_steps(gpunn)
    text = step_profile.table(model, step_profile.profile_step(model))
    assert "the last 16 are kept" in " ".join(text.split())
    with pytest.raises(ValueError, match="axes of any length"):
        model.export("model.onnx", format="onnx")


def test_penalties_and_losses_of_layers(keras: Any) -> None:
    found = []
    for library in (gpunn, keras):
        layers = library.layers
        dense = layers.Dense(
            4, kernel_initializer="ones", kernel_regularizer="l2", activity_regularizer="l1"
        )
        last = layers.Dense(UNITS, kernel_initializer="ones")
        model = library.Sequential([library.Input((None, 3)), dense, last])
        model.compile(library.optimizers.SGD(0.01), "mse", metrics=["mae"])
        history = model.fit(lengths(library), epochs=2, shuffle=False, verbose=0)
        found.append(numbers(history))
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_recurrent_layers(keras: Any) -> None:
    found = []
    weights = None
    for library in (gpunn, keras):
        layers = library.layers
        lstm = layers.LSTM(4, return_sequences=True)
        model = library.Sequential([library.Input((None, 3)), lstm, layers.GRU(3), layers.Dense(1)])
        weights = weights or [np.asarray(w) for w in model.get_weights()]
        model.set_weights(weights)
        model.compile("sgd", "mse")
        logs = []
        for length in (5, 9, 5):
            x, y = batch(4, length)
            logs.append(numbers(model.fit(x, y[:, 0, :1], verbose=0)).ravel())
        found.append(logs)
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_steps_of_ones_own() -> None:
    class Own(gpunn.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            found = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(found, self.trainable_variables, strict=True))
            return {"loss": loss}

    plain = of_steps(gpunn)
    plain.compile(gpunn.optimizers.SGD(0.1), "mse")
    own = Own(plain.inputs, plain.outputs[0])
    first = plain.get_weights()
    found = []
    for model in (plain, own):
        model.compile(gpunn.optimizers.SGD(0.1), "mse")
        model.set_weights(first)
        model.fit(lengths(gpunn), shuffle=False, verbose=0)
        found.append(model.get_weights())
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_threads_predict_different_lengths() -> None:
    model = of_steps(gpunn)
    data = {n: batch(3, n)[0] for n in range(1, 25)}
    expected = {n: model.predict(x, verbose=0) for n, x in data.items()}
    wrong: list[int] = []

    def work(start: int) -> None:
        for k in range(48):
            n = 1 + (start + 5 * k) % 24
            if not np.array_equal(model.predict(data[n], verbose=0), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(7 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_needs_the_length_says_so() -> None:
    layers = gpunn.layers
    i = gpunn.Input((None, 3))
    with pytest.raises(ValueError, match=r"last axis a known length; got \(None, None\)"):
        layers.Dense(2)(layers.Flatten()(i))
    with pytest.raises(ValueError, match=r"last axis a known length; got \(None, None\)"):
        layers.Dense(2)(gpunn.Input((None,)))

    class Own(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(input_shape[1:], name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

    with pytest.raises(ValueError, match=r"weight w of the shape \(None, 3\)"):
        Own()(i)


def test_data_that_do_not_fit() -> None:
    model = of_steps(gpunn)
    x, y = batch(4, 5)
    for wrong in (x[..., :2], x[0], x[:, :, None]):
        with pytest.raises(ValueError, match=r"the model takes \(batch, None, 3\)"):
            model.predict(wrong, verbose=0)
    with pytest.raises(ValueError, match="samples of no length"):
        model.predict(x[:, :0], verbose=0)
    with pytest.raises(ValueError, match=r"y has shape \(4, 4, 2\).*\(4, 5, 2\)"):
        model.fit(x, y[:, 1:], verbose=0)
    ragged = [row[: 2 + k] for k, row in enumerate(x)]
    with pytest.raises(ValueError, match="pad_sequences"):
        model.predict(ragged, verbose=0)
    with pytest.raises(ValueError, match="outputs of the batches have different shapes"):
        model.predict(lengths(gpunn), verbose=0)


def test_shapes_are_shown_and_computed() -> None:
    lines: list[str] = []
    model = of_steps(gpunn)
    model.summary(print_fn=lambda text, line_break=False: lines.append(text))
    assert "(None, None, 4)" in "\n".join(lines)
    assert model.layers[1].output_shape == (None, None, 4)
    layers = gpunn.layers
    assert layers.Dense(3).compute_output_shape((None, None, 5)) == (None, None, 3)
    assert layers.Conv2D(3, 3).compute_output_shape((2, None, 9, 1)) == (2, None, 7, 3)
    assert layers.Flatten().compute_output_shape((None, None, 5)) == (None, None)
    assert layers.Concatenate().compute_output_shape([(None, None, 5), (None, None, 2)]) == (
        None, None, 7,
    )  # fmt: skip


def test_shapes_of_several_arguments() -> None:
    class Both(gpunn.layers.Layer):
        def call(self, a: Any, b: Any = None) -> Any:
            return gpunn.ops.concatenate([a, b], axis=1)

        def compute_output_shape(self, a_shape: Any, b_shape: Any = None) -> Any:
            return (a_shape[0], a_shape[1] + b_shape[1], *a_shape[2:])

    assert Both().compute_output_shape((None, 4, 2), b_shape=(None, 3, 2)) == (None, 7, 2)
    assert Both().compute_output_shape((None, None, 2), (None, 3, 2)) == (None, None, 2)
    a, b = gpunn.Input((None, 2)), gpunn.Input((None, 2))
    model = gpunn.Model([a, b], Both()(a, b))
    assert model.output_shape == (None, None, 2)
    assert model([np.ones((1, 5, 2)), np.ones((1, 3, 2))]).shape == (1, 8, 2)


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_padded_steps_count_as_in_keras(keras: Any, kind: str) -> None:
    def padded(rows: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([seed, rows, length])
        x = random.integers(1, 9, (rows, length))
        x[np.arange(length) >= random.integers(1, length + 1, (rows, 1))] = 0
        return x, random.integers(0, 3, (rows, length))

    found = []
    for library in (gpunn, keras):
        layers = library.layers
        model = library.Sequential(
            [
                library.Input((None,)),
                layers.Embedding(10, 4, mask_zero=True),
                layers.SimpleRNN(5, return_sequences=True),
                layers.Dense(3, "softmax"),
            ]
        )
        draw_weights(model)
        model.compile("sgd", "sparse_categorical_crossentropy", **{kind: ["accuracy"]})
        shapes = [(3, 4), (4, 6), (3, 8), (4, 6)]
        logs = [numbers(model.fit(*padded(*s), shuffle=False, verbose=0)) for s in shapes]

        data = lengths(library, shapes, padded)
        logs.append(numbers(model.fit(data, shuffle=False, verbose=0)))
        found.append([*logs, np.array(model.evaluate(data, verbose=0))])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:'accuracy' of many outputs:UserWarning")
def test_metrics_of_images_of_any_size_with_channels_first(keras: Any) -> None:
    images = np.random.default_rng(0).normal(size=(6, 2, 4, 5)).astype("float32")
    labels = (images[:, :1] > 0.3).astype("float32")
    found = []
    for library in (gpunn, keras):
        x = library.Input((2, None, None))
        # Some of Keras's backends convolve with channels first on a GPU only.
        total = library.ops.sum(x, axis=1, keepdims=True)
        model = library.Model(x, library.layers.Activation("sigmoid")(total))
        model.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy", "accuracy"])
        found.append(model.evaluate(images, labels, verbose=0))
        if library is gpunn:
            y = model(images)
            logs = model.compute_metrics(images, labels, y)
            by_hand = [logs[name] for name in ("binary_accuracy", "accuracy")]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    np.testing.assert_allclose(by_hand, found[1][1:], rtol=1e-4)
