"""What programs for Keras do with layers, metrics and operations, beside Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

# Keras's own, about arrays of NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_layer_alone_may_return_what_has_no_entry_for_each_sample(keras: Any) -> None:
    found = []
    for module in (gpunn, keras):

        class Total(module.layers.Layer):  # type: ignore[misc, name-defined]
            def __init__(self, module: Any = module) -> None:
                super().__init__()
                self.total = self.add_weight(shape=(2,), initializer="zeros", trainable=False)
                self.sum = module.ops.sum

            def call(self, x: Any) -> Any:
                self.total.assign_add(self.sum(x, axis=0))
                return self.total + 0

        layer, x = Total(), module.ops.ones((2, 2))
        found.append([np.asarray(layer(x)), np.asarray(layer(x)), layer.get_weights()[0]])
    for ours, theirs, expected in zip(*found, (2, 4, 4), strict=True):
        assert (ours == theirs).all() and (ours == expected).all()
    with pytest.raises(ValueError, match="one entry for each sample"):
        gpunn.Sequential([gpunn.Input((2,)), _Summed()])


class _Summed(gpunn.layers.Layer):
    def call(self, x: Any) -> Any:
        return gpunn.ops.sum(x, axis=0)


def test_outputs_of_a_layer_with_several(keras: Any) -> None:
    for module in (gpunn, keras):

        class Two(module.layers.Layer):  # type: ignore[misc, name-defined]
            def call(self, x: Any) -> Any:
                return x + 1.0, x * 3.0

        x, layer = module.Input((2,)), Two()
        y, _ = layer(x)
        assert isinstance(layer.output, list) and layer.output[0] is y
        tripled = module.Model(x, layer.output[1]).predict(np.ones((1, 2)), verbose=0)
        assert tripled.tolist() == [[3.0, 3.0]]


def test_the_shape_of_a_weight_is_known_before_its_values(keras: Any) -> None:
    for module in (gpunn, keras):
        seen: list[Any] = []

        class Masked(module.layers.Layer):  # type: ignore[misc, name-defined]
            def __init__(self, module: Any = module, seen: Any = seen) -> None:
                super().__init__()
                self.inner, self.note = module.layers.Conv2D(3, 2), seen.append
                self.asked = (module.ops.shape, module.ops.size, module.ops.ndim)

            def build(self, shape: Any) -> None:
                self.inner.build(shape)
                self.note([ask(self.inner.kernel) for ask in self.asked])

            def call(self, x: Any) -> Any:
                return self.inner(x)

        Masked()(module.Input((4, 4, 1)))
        assert seen[0] == [(2, 2, 1, 3), 12, 4]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides", "rate"), [
    (2, None, 1), ((2, 3, 1), (1, 2, 3), 1), (3, 2, 1), (2, 1, (1, 2, 3)),
])  # fmt: skip
def test_patches_of_volumes(keras: Any, every_backend: str, size, strides, rate, padding) -> None:
    import torch

    gpunn.use_backend(every_backend)
    given = np.random.default_rng(0).normal(size=(2, 5, 6, 7, 2)).astype("float32")
    options = {"strides": strides, "dilation_rate": rate, "padding": padding}
    for data_format in ("channels_last", "channels_first"):
        x = given if data_format == "channels_last" else given.transpose(0, 4, 1, 2, 3).copy()
        more = {**options, "data_format": data_format}
        theirs = torch.tensor(x, requires_grad=True)
        expected = keras.ops.image.extract_patches_3d(theirs, size, **more)
        weights = np.random.default_rng(1).normal(size=expected.shape).astype("float32")
        (expected * torch.tensor(weights)).sum().backward()
        ours = gpunn.Variable(x)
        with gpunn.GradientTape() as tape:
            found = gpunn.ops.image.extract_patches_3d(ours, size, **more)
            total = gpunn.ops.sum(found * weights)
        np.testing.assert_array_equal(found, expected.detach())
        np.testing.assert_allclose(tape.gradient(total, ours), theirs.grad, rtol=1e-5, atol=1e-5)
        alone = gpunn.ops.image.extract_patches_3d(x[1], size, **more)
        np.testing.assert_array_equal(alone, expected.detach()[1])
        graph = gpunn.Input(x.shape[1:])
        model = gpunn.Model(graph, gpunn.ops.image.extract_patches_3d(graph, size, **more))
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected.detach())
    with pytest.raises(ValueError, match=r"volumes \(batch, depth, height, width, channels\)"):
        gpunn.ops.image.extract_patches_3d(given[0, 0], size)
    with pytest.raises(ValueError, match="size must be an integer or three of them"):
        gpunn.ops.image.extract_patches_3d(given, (2, 2))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides", "rate"), [
    (3, None, 1), (2, 1, 2), ((2, 4), (1, 3), 1), ((1, 2), 2, 1), ((2, 3), 1, (3, 1)),
])  # fmt: skip
def test_patches(keras: Any, every_backend: str, size, strides, rate, padding) -> None:
    gpunn.use_backend(every_backend)
    x = np.random.default_rng(0).normal(size=(2, 9, 7, 3)).astype("float32")
    options = {"strides": strides, "dilation_rate": rate, "padding": padding}
    expected = keras.ops.image.extract_patches(x, size, **options, data_format="channels_last")
    for images in (x, x[0]):
        found = gpunn.ops.image.extract_patches(images, size, **options).numpy()
        assert np.array_equal(found, np.asarray(expected)[0 if images.ndim == 3 else slice(None)])
    if padding == "valid":
        with pytest.raises(ValueError, match="does not fit into images of 9"):
            gpunn.ops.image.extract_patches(x, 10)
    if rate == 1 and not isinstance(size, int):
        step = strides if isinstance(strides, tuple) else (strides, strides)
        lengths = ([1, *size, 1], [1, *step, 1], [1, 1, 1, 1])
        like_tensorflow = gpunn.image.extract_patches(x, *lengths, padding.upper())
        assert np.array_equal(like_tensorflow.numpy(), np.asarray(expected))
        assert gpunn.identity(like_tensorflow).shape == like_tensorflow.shape


@pytest.mark.parametrize("name", ["SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"])
def test_metrics_with_states_passed(keras: Any, name: str) -> None:
    y, p = [0, 1, 2], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]
    values = []
    for module in (gpunn, keras):
        metric = getattr(module.metrics, name)()
        y_true, y_pred = module.ops.array(y), module.ops.array(p)
        first = metric.stateless_update_state(metric.variables, y_true, y_pred)
        second = metric.stateless_update_state(first, y_true[:1], y_pred[:1])
        states = (first, second, metric.stateless_reset_state())
        values.append([float(metric.stateless_result(s)) for s in states])
        assert float(metric.result()) == 0  # its own state is as it was
    assert np.allclose(*values, rtol=1e-6)
    with pytest.raises(ValueError, match=r"has the shapes \[\(\), \(\)\]; got \[\(3,\)\]"):
        gpunn.metrics.Mean().stateless_result([np.zeros(3)])


def test_variables_of_ones_own_metric_as_a_state(keras: Any) -> None:
    for module in (gpunn, keras):

        class Worst(module.metrics.Metric):  # type: ignore[misc, name-defined]
            def __init__(self, name: str = "worst", ops: Any = module.ops) -> None:
                super().__init__(name=name)
                self.worst = self.add_weight(name="w", initializer="zeros")
                self.larger = ops.maximum

            def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
                self.worst.assign(self.larger(self.worst, (y_pred - y_true)[0]))

            def result(self) -> Any:
                return self.worst + 0

        metric, array = Worst(), module.ops.array
        state = metric.stateless_update_state(metric.variables, array([1.0]), array([5.0]))
        assert float(metric.stateless_result(state)) == 4 and float(metric.result()) == 0


def test_the_shape_of_outputs_of_several_inputs(keras: Any) -> None:
    for module in (gpunn, keras):
        attention = module.layers.MultiHeadAttention(2, 3)
        assert attention.compute_output_shape((2, 5, 6), (2, 7, 4)) == (2, 5, 6)
        named = dict(query_shape=(None, 5, 6), value_shape=(None, 7, 4), key_shape=(None, 7, 3))
        other = module.layers.MultiHeadAttention(2, 3, output_shape=8)
        assert other.compute_output_shape(**named) == (None, 5, 8)
        assert module.layers.Dense(2).compute_output_shape(input_shape=(4, 3)) == (4, 2)


def test_a_summary_of_attention_inside_a_call(keras: Any) -> None:
    for module in (gpunn, keras):

        class Attending(module.Model):  # type: ignore[misc, name-defined]
            def __init__(self, module: Any = module) -> None:
                super().__init__()
                self.attention = module.layers.MultiHeadAttention(2, 3, name="heads")

            def call(self, x: Any) -> Any:
                return self.attention(x, x)

        model, lines = Attending(), []
        model(np.ones((2, 5, 6), "float32"))
        model.summary(print_fn=lambda text, lines=lines, **options: lines.append(text))
        assert "heads" in "".join(lines) and "168" in "".join(lines)


def test_an_argument_without_samples_of_a_layer_of_ones_own(keras: Any, backend: str) -> None:
    gpunn.use_backend(backend)
    x, table = np.ones((3, 4), "float32"), np.arange(8, dtype="float32").reshape(2, 4)
    found = []
    for module in (gpunn, keras):

        class Looked(module.layers.Layer):  # type: ignore[misc, name-defined]
            def __init__(self, module: Any = module) -> None:
                super().__init__()
                self.dense = module.layers.Dense(2, kernel_initializer="ones")
                self.product = module.ops.matmul

            def call(self, x: Any, table: Any) -> Any:
                return self.product(self.dense(x), table)

        layer = Looked()
        found.append(layer(x, table))
        assert [w.path for w in layer.weights] == [
            f"{layer.name}/{layer.dense.name}/{name}" for name in ("kernel", "bias")
        ] or module is keras
    assert np.array_equal(found[0].numpy(), found[1].detach().numpy())
    with pytest.raises(ValueError, match="same number of rows"):
        gpunn.layers.Add()([x, x[:2]])


def test_inputs_by_keyword(keras: Any, backend: str) -> None:
    gpunn.use_backend(backend)
    x = np.random.default_rng(3).normal(size=(3, 5, 4)).astype("float32")
    found = []
    for module in (gpunn, keras):
        of, symbol = module.layers, module.Input((5, 4))

        class Twice(module.Model):  # type: ignore[misc, name-defined]
            def call(self, a: Any, x: Any = 2.0) -> Any:
                return a * x

        dense = of.Dense(2, kernel_initializer="ones")
        heads = of.MultiHeadAttention(1, 2, kernel_initializer="ones")
        own = module.Sequential([of.Dense(2, kernel_initializer="ones")])
        graph = module.Model(symbol, heads(query=dense(inputs=symbol), value=own(inputs=symbol)))
        ys = [
            dense(inputs=x), of.Permute((2, 1))(inputs=x), own(inputs=x), graph(inputs=x),
            graph(inputs=x, training=False), heads(query=own(x), value=own(x)), Twice()(a=x),
            Twice()(x, x=3.0), of.Concatenate()(inputs=[x, x]), of.Dropout(0.5)(inputs=x),
        ]  # fmt: skip
        found.append(ys)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, np.asarray(theirs.detach()), rtol=1e-5)
    for wrong in (lambda: gpunn.layers.Dense(2)(), lambda: gpunn.layers.Dense(2)(x, color=1)):
        with pytest.raises(TypeError, match="takes one input"):
            wrong()


def test_training_and_predictions_after_an_activation_is_removed(
    keras: Any, every_backend: str, tmp_path: Any
) -> None:
    x = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    y = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    gpunn.use_backend(every_backend)
    ours = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(3, "softmax")])
    ours.set_weights(theirs.get_weights())
    for model, module in ((ours, gpunn), (theirs, keras)):
        model.compile(module.optimizers.SGD(0.1), module.losses.MeanSquaredError())
        model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0)
        model.layers[-1].activation = None
    np.testing.assert_allclose(ours(x), theirs(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    first = ours.predict(x, verbose=0)
    np.testing.assert_allclose(first, theirs.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    ours.save(tmp_path / "logits.keras")
    again = gpunn.saving.load_model(tmp_path / "logits.keras").predict(x, verbose=0)
    np.testing.assert_array_equal(again, first)
    theirs.compile(keras.optimizers.SGD(0.1), "mse")  # which Keras needs to trace it anew
    losses = [
        model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0).history["loss"]
        for model in (ours, theirs)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


NUMBERS = np.linspace(-1.0, 2.0, 8, dtype=np.float32)


def scaled(module: Any) -> Any:
    class Scaled(module.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight(shape=(), initializer="ones", name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

    return module.Sequential([module.Input(()), Scaled()])


@pytest.mark.parametrize(
    "loss",
    [
        "mse", "mae", "huber", "log_cosh", "mape", "poisson", "hinge", "binary_crossentropy",
        lambda y, z: abs(y - z) ** 3,
    ],
)  # fmt: skip
def test_a_model_of_numbers_learns_as_kerass(keras: Any, loss: Any, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    x, y = abs(NUMBERS) / 3, abs(NUMBERS) / 2
    logs, weights = [], []
    for module in (gpunn, keras):
        model = scaled(module)
        model.compile(module.optimizers.SGD(0.1), loss, metrics=["mae"])
        logs.append(model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history)
        logs[-1]["evaluated"] = model.evaluate(x, y[:, None], verbose=0)
        logs[-1]["predicted"] = model.predict(x, verbose=0)
        weights.append(model.get_weights()[0])
    for name, wanted in logs[1].items():
        assert np.shape(logs[0][name]) == np.shape(wanted)
        np.testing.assert_allclose(logs[0][name], wanted, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(*weights, rtol=1e-5)


def test_each_number_has_the_weight_of_its_row(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    model = scaled(gpunn)
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    weight = np.arange(8.0)
    found = model.evaluate(NUMBERS, NUMBERS**2, sample_weight=weight, verbose=0)
    each = NUMBERS - NUMBERS**2
    wanted = [np.mean(weight * each**2), np.average(abs(each), weights=weight)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="the predictions have 1 classes"):
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(abs(NUMBERS), np.arange(8), verbose=0)


@pytest.mark.parametrize("axis", [-1, None, 1])
def test_learnt_moments_are_tensors(keras: Any, axis: Any) -> None:
    x = np.random.default_rng(3).normal(size=(8, 5, 3)).astype(np.float32)
    ours, theirs = gpunn.layers.Normalization(axis=axis), keras.layers.Normalization(axis=axis)
    for layer in (ours, theirs):
        layer.adapt(x)
    for name in ("mean", "variance"):
        found, wanted = getattr(ours, name), getattr(theirs, name)
        assert found.shape == tuple(wanted.shape)
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose((found * 2.0).numpy(), 2 * wanted.numpy(), rtol=1e-5, atol=1e-6)
    given = gpunn.layers.Normalization(mean=3.0, variance=4.0)
    given.build((None, 2))
    assert given.mean.numpy().tolist() == [[3.0, 3.0]]


def test_a_weight_may_be_named_first_as_in_keras_2() -> None:
    class Sums(gpunn.layers.Layer):
        def build(self, input_shape: Any) -> None:
            shape = (input_shape[-1], 2)
            self.a = self.add_weight("kernel", shape=shape, initializer="ones")
            self.b = self.add_weight("more", shape, "float32", "ones", trainable=False)

        def call(self, x: Any) -> Any:
            return gpunn.ops.matmul(x, self.a + self.b)

    class Count(gpunn.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="count")
            self.rows = self.add_weight("rows", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.rows.assign_add(1.0)

        def result(self) -> Any:
            return self.rows

    layer = Sums()
    assert layer([[1.0, 2.0]]).tolist() == [[6.0, 6.0]]
    assert [(p.name, p.trainable) for p in layer.weights] == [("kernel", True), ("more", False)]
    metric = Count()
    metric.update_state([1.0], [2.0])
    assert float(metric.result()) == 1.0
    with pytest.raises(TypeError, match="after the name, pass"):
        layer.add_weight(*["other", (), "float32", "ones", None, True, None, 3])


@pytest.mark.parametrize(
    "name",
    [
        "kl_divergence", "mean_squared_error", "mean_absolute_error", "poisson", "huber",
        "log_cosh", "hinge", "squared_hinge", "mean_squared_logarithmic_error",
        "mean_absolute_percentage_error",
    ],
)  # fmt: skip
def test_a_number_is_compared_with_each_entry(keras: Any, name: str) -> None:
    vectors = np.array([0.3, 0.7], np.float32), np.array([[0.2, 0.8], [0.4, 0.6]], np.float32)
    for vector in vectors:
        for pair in ((0.5, vector), (vector, 0.5)):
            ours = getattr(gpunn.losses, name)(*pair)
            tensors = map(gpunn.ops.convert_to_tensor, pair)
            in_function = gpunn.function(getattr(gpunn.losses, name))(*tensors)
            wanted = np.asarray(getattr(keras.losses, name)(*pair))
            assert ours.shape == wanted.shape
            np.testing.assert_allclose(ours, wanted, rtol=1e-5)
            np.testing.assert_allclose(in_function, wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="Nothing is broadcast in a loss"):
        getattr(gpunn.losses, name)(*vectors)


def test_metrics_of_functions_and_objects_have_kerass_names(keras: Any) -> None:
    found = []
    for module in (gpunn, keras):

        class MeanError:
            def __init__(self, ops: Any) -> None:
                self.ops = ops

            def __call__(self, y_true: Any, y_pred: Any) -> Any:
                return self.ops.mean(y_true - y_pred, axis=-1)

        model = module.Sequential([module.Input((4,)), module.layers.Dense(1)])
        metrics = [lambda y, z: y - z, MeanError(module.ops), module.metrics.mean_absolute_error]
        model.compile("sgd", "mse", metrics=[*metrics, "mean_squared_error"])
        x = np.ones((4, 4), np.float32)
        history = model.fit(x, x[:, :1], validation_data=(x, x[:, :1]), verbose=0).history
        found.append(sorted(history))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["model.gpunn", "model.keras"])
def test_a_loaded_model_has_its_weighted_metrics(name: str, tmp_path: Any) -> None:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    weight = np.linspace(0.0, 1.0, 8)
    a = gpunn.Input((4,))
    model = gpunn.Model(a, [gpunn.layers.Dense(1, name=one)(a) for one in "ab"])
    metric = gpunn.metrics.MeanAbsoluteError(name="own")
    model.compile("sgd", "mse", weighted_metrics={"a": [metric], "b": ["mse"]})
    data = {"y": [x[:, :1], x[:, 1:2]], "sample_weight": [weight, weight]}
    model.fit(x, **data, verbose=0)
    model.save(tmp_path / name)
    again = gpunn.saving.load_model(tmp_path / name)
    wanted = model.evaluate(x, **data, verbose=0, return_dict=True)
    assert again.evaluate(x, **data, verbose=0, return_dict=True) == wanted
    assert "a_own" in wanted
