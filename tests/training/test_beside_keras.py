"""Test that training and building look the same to a script as with Keras, by running both."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS, INPUTS = 40, 3


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return x, (x.sum(1, keepdims=True) + random.normal(size=(ROWS, 1))).astype(np.float32)


def regression(module: Any, optimizer: Any = "sgd") -> Any:
    """A linear model in Keras or gpunn, with the same weights."""
    layers = module.layers
    model = module.Sequential([module.Input((INPUTS,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, "mse")
    return model


def counter(module: Any) -> Any:
    """A callback that counts the batches of each kind."""

    class Counter(module.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.train = self.test = self.predict = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.train += 1

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.test += 1

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            self.predict += 1

    return Counter()


# -- rows per batch

WAYS: dict[str, dict[str, Any]] = {
    "steps": {"steps_per_epoch": 3, "epochs": 2},
    "both": {"steps_per_epoch": 3, "batch_size": 4},
    "more steps than rows": {"steps_per_epoch": 40},
    "validation": {"validation_data": True, "validation_steps": 3},
    "validation of some": {"validation_data": True, "validation_steps": 2, "batch_size": 8},
    "own batch size": {"validation_data": True, "validation_steps": 2, "validation_batch_size": 3},
    "split": {"steps_per_epoch": 3, "validation_split": 0.5, "validation_steps": 4},
    "no validation": {"validation_steps": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_steps_divide_the_rows(keras: Any, way: str) -> None:
    x, y = data()
    results = []
    for module in (keras, gpunn):
        options = dict(WAYS[way], shuffle=False, verbose=0)
        if "validation_data" in options:
            options["validation_data"] = x[:10], y[:10]
        model, count = regression(module), counter(module)
        history = model.fit(x, y, callbacks=[count], **options).history
        results.append((history, count.train, count.test, model.get_weights()))
    (theirs, *counts, weights), (ours, *own_counts, own_weights) = results
    assert own_counts == counts
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, err_msg=name)
    for own, expected in zip(own_weights, weights, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"steps": 3}, {"steps": 3, "batch_size": 5}, {"steps": 40}, {}]
)
def test_steps_of_an_evaluation_divide_the_rows(keras: Any, options: dict[str, int]) -> None:
    x, y = data()
    found = []
    for module in (keras, gpunn):
        model, count = regression(module), counter(module)
        loss = model.evaluate(x, y, verbose=0, callbacks=[count], **options)
        outputs = model.predict(x, verbose=0, callbacks=[count], **options)
        found.append((loss, len(outputs), count.test, count.predict))
    theirs, ours = found
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1] == theirs[1]
    if options:  # without steps, evaluation and prediction choose their own batch size
        assert ours[2:] == theirs[2:]


# -- the same optimizer again

AGAIN: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {"learning_rate": 0.05},
    "Adagrad": {"learning_rate": 0.1},
    "RMSprop": {"learning_rate": 0.02, "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("between", [None, "sgd"])
@pytest.mark.parametrize("name", AGAIN)
def test_an_optimizer_that_is_compiled_again_goes_on(keras: Any, name: str, between: Any) -> None:
    x, y = data()
    found = []
    for module in (keras, gpunn):
        options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
        optimizer = getattr(module.optimizers, name)(**AGAIN[name])
        model = regression(module, optimizer)
        model.fit(x, y, **options)
        counts = [int(optimizer.iterations)]
        if between is not None:
            model.compile(between, "mse")
            model.fit(x, y, **options)
        model.compile(optimizer, "mae")
        counts.append(int(optimizer.iterations))
        model.fit(x, y, **options)
        counts.append(int(optimizer.iterations))
        found.append((counts, model.get_weights()))
    (theirs, weights), (ours, own_weights) = found
    assert ours == theirs
    for own, expected in zip(own_weights, weights, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)


def test_a_new_optimizer_starts_from_zero() -> None:
    x, y = data()
    model = regression(gpunn, "adam")
    model.fit(x, y, verbose=0)
    before = model.get_weights()
    model.compile("adam", "mse")
    assert model.optimizer.iterations == 0
    model.fit(x, y, batch_size=ROWS, verbose=0)
    steps = [abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True)]
    assert steps == pytest.approx([0.001, 0.001], rel=1e-3)  # Adam's first step equals its rate


def test_an_optimizer_of_a_model_that_grew_goes_on() -> None:
    """It adds slots for the new layer: Keras raises an error there."""
    x, y = data()
    optimizer = gpunn.optimizers.Adam()
    model = regression(gpunn, optimizer)
    model.fit(x, y, verbose=0)
    before = optimizer.iterations
    model.add(gpunn.layers.Dense(1))
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0, batch_size=8)
    assert optimizer.iterations == before + 5


# -- what is built when


def shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(w.shape) for w in layer.weights]


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`:UserWarning")
@pytest.mark.parametrize("begin", ["input", "input_shape", "model"])
def test_layers_of_a_chain_are_built_as_they_are_added(keras: Any, begin: str) -> None:
    found = []
    for module in (keras, gpunn):
        layers = module.layers
        dense, last = layers.Dense(4), layers.Dense(2)
        if begin == "input":
            chain = [module.Input((2, 3)), layers.Flatten(), dense]
        elif begin == "model":
            inner = module.Sequential([module.Input((6,)), layers.Dense(6)])
            chain = [inner, dense]
        else:
            chain = [layers.Dense(6, input_shape=(6,)), dense]
        model = module.Sequential(chain)
        states = [(dense.built, shapes(dense)), (last.built, shapes(last))]
        model.add(last)
        found.append([*states, (last.built, shapes(last)), model.built])
        assert last.get_weights()[0].shape == (4, 2)
        model.pop()
        again = layers.Dense(5)
        model.add(again)
        assert shapes(again) == [(4, 5), (5,)]
    assert found[0] == found[1]


def test_without_a_known_input_nothing_is_built(keras: Any) -> None:
    for module in (keras, gpunn):
        layers = [module.layers.Dense(4), module.layers.Dense(2)]
        model = module.Sequential(layers)
        assert [layer.built for layer in layers] == [False, False]
        model.build((None, 3))
        assert [shapes(layer) for layer in layers] == [[(3, 4), (4,)], [(4, 2), (2,)]]


def test_a_layer_that_does_not_fit_is_refused_when_it_is_added() -> None:
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    before = model.get_weights()
    with pytest.raises(ValueError, match="conv2d"):
        model.add(gpunn.layers.Conv2D(2, 3))
    assert len(model.layers) == 1
    for array, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, expected)
    model.add(gpunn.layers.Dense(1))
    assert model.output_shape == (None, 1)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


# -- names


@pytest.mark.parametrize(("kind", "base"), [("metrics", "Metric"), ("losses", "Loss")])
def test_a_subclass_has_the_name_that_keras_gives_it(keras: Any, kind: str, base: str) -> None:
    names: list[dict[str, str]] = []
    for module in (keras, gpunn):
        of_kind, found = getattr(module, kind), dict[str, str]()
        classes = {name: getattr(of_kind, name) for name in dir(of_kind)}  # imported at first use
        for name, cls in classes.items():
            if isinstance(cls, type) and issubclass(cls, classes[base]):
                with contextlib.suppress(TypeError):  # some take arguments
                    made = type("MyOwn", (cls,), {})()
                    found[name] = re.sub(r"_\d+$", "", made.name)  # where Keras appends a counter
        names.append(found)
    both = names[0].keys() & names[1].keys()
    assert len(both) > 10
    assert {name: names[1][name] for name in both} == {name: names[0][name] for name in both}


def test_logs_hold_the_name_of_a_subclass() -> None:
    class Own(gpunn.metrics.MeanSquaredError):
        pass

    model = gpunn.Sequential([gpunn.Input((INPUTS,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mae", metrics=[Own()])
    found = model.evaluate(*data(), verbose=0, return_dict=True)
    assert list(found) == ["loss", "mean_squared_error"]


# -- operators


def summary(model: Any) -> str:
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)


def test_operators_are_operations_and_no_layers(keras: Any, tmp_path: Path) -> None:
    found = []
    for module in (keras, gpunn):
        x = module.Input((3,), name="x")
        y = module.layers.Dense(3, name="dense", kernel_initializer="ones")(x)
        total = x + y
        both = module.layers.Multiply(name="both")([total, y])
        model = module.Model(x, both - y)
        kinds = [type(operation).__name__ for operation in model.operations]
        found.append([[layer.name for layer in model.layers], kinds, model.get_layer(index=2).name])
        assert [operation.name for operation in model.operations][2] in summary(model)
        with pytest.raises(ValueError, match=r"[Nn]o.*layer"):
            model.get_layer(total.name if module is gpunn else "add")
        again = module.Model.from_config(model.get_config())
        path = tmp_path / ("model.keras" if module is keras else "model.gpunn")
        model.save(path)
        loaded = (keras.models if module is keras else gpunn.saving).load_model(path)
        for copy in (again, loaded):
            assert [layer.name for layer in copy.layers] == found[-1][0]
        given = np.ones((2, 3), np.float32)
        found[-1].append(np.asarray(loaded.predict(given, verbose=0)).tolist())
    assert found[0] == found[1]


# -- losses on outputs of a different activation

# activation, loss, the value from Keras 3.15 on TensorFlow 2.20 for `pair`
PAIRS = [
    ("softmax", "binary_crossentropy", 0.8714828),
    ("sigmoid", "categorical_crossentropy", 1.8624955),
]


@pytest.mark.parametrize(("activation", "loss", "tensorflows"), PAIRS)
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_loss_is_of_what_the_model_predicts(
    keras: Any, activation: str, loss: str, tensorflows: float, backend: str
) -> None:
    """As by its formula and with Keras on PyTorch. On TensorFlow, Keras takes the logits from the
    graph and applies the other activation to them, which the predictions never see."""
    x = np.linspace(-2, 2, 12, dtype="float32").reshape(4, 3)
    y = np.eye(3, dtype="float32")[[0, 2, 1, 2]]
    kernel = np.linspace(1, -1, 9, dtype="float32").reshape(3, 3)

    def losses(module: Any, **options: Any) -> tuple[list[float], np.ndarray]:
        dense = module.layers.Dense(3, activation)
        model = module.Sequential([module.Input((3,)), dense], **options)
        model.set_weights([kernel, np.zeros(3, "float32")])
        model.compile(module.optimizers.SGD(0.5), loss)
        before, p = model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)
        history = model.fit(x, y, epochs=3, shuffle=False, verbose=0)
        return [before, *history.history["loss"]], p

    found, p = losses(gpunn, backend=backend)
    np.testing.assert_allclose(found, losses(keras)[0], rtol=1e-5)
    if loss == "binary_crossentropy":
        expected = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    else:
        expected = -np.mean(np.log(np.sum(y * p, 1) / np.sum(p, 1)))
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert found[0] != pytest.approx(tensorflows, rel=0.1)


def test_outputs_are_divided_by_their_sum_in_both_categorical_crossentropies(keras: Any) -> None:
    """With Keras on PyTorch too. On TensorFlow, Keras clips those of the sparse one at 1 before,
    and gets 0.8524."""
    p, labels = np.array([[2.0, 1.0, 0.5], [0.2, 4.0, 1.0]], "float32"), np.array([0, 2])
    for name, y in (("Sparse", labels), ("", np.eye(3, dtype="float32")[labels])):
        loss = f"{name}CategoricalCrossentropy"
        found, theirs = (float(getattr(m.losses, loss)()(y, p)) for m in (gpunn, keras))
        assert found == pytest.approx(theirs, rel=1e-6)
        assert found == pytest.approx(-np.mean(np.log([2 / 3.5, 1 / 5.2])), rel=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_the_first_step_of_adam_is_exact(keras: Any, backend: str) -> None:
    """1 - beta_2 ** t is computed in double precision; in float32, as in Keras, it is
    1.3e-5 smaller at first, and the step is shorter by half of that."""
    steps = {}
    for module, options in ((gpunn, {"backend": backend}), (keras, {})):
        dense = module.layers.Dense(1, kernel_initializer="zeros", use_bias=False)
        model = module.Sequential([module.Input((1,)), dense], **options)
        model.compile(module.optimizers.Adam(0.001), "mse")
        one = np.ones((1, 1), "float32")
        model.fit(one, one, verbose=0)  # the gradient is -2
        steps[module] = float(model.get_weights()[0][0, 0])
    exact = 0.001 * 2 / (2 + 1e-7 / np.sqrt(1 - 0.999))
    assert steps[gpunn] == pytest.approx(exact, rel=3e-7)
    assert steps[keras] == pytest.approx(exact, rel=1e-5)
    assert steps[keras] != pytest.approx(exact, rel=4e-6)


# -- how Keras on PyTorch changes its own figures


def test_counts_of_training_are_not_those_of_validation(keras: Any) -> None:
    """In Keras they are a view of the metric's state, which validation overwrites."""
    x = np.array([[1.0], [1.0], [1.0], [-1.0]], "float32")
    y = np.array([[1.0], [1.0], [1.0], [0.0]], "float32")
    counts = {}
    for module in (keras, gpunn):
        dense = module.layers.Dense(1, "sigmoid", kernel_initializer="ones")
        model = module.Sequential([module.Input((1,)), dense])
        positives = module.metrics.TruePositives(name="positives")
        model.compile(module.optimizers.SGD(0.0), "binary_crossentropy", metrics=[positives])
        found = model.fit(x, y, validation_data=(x[2:], y[2:]), verbose=0).history
        counts[module] = [float(np.squeeze(found[n][0])) for n in ("positives", "val_positives")]
    assert counts == {gpunn: [3.0, 1.0], keras: [1.0, 1.0]}


def test_averages_are_the_weights_also_where_training_stops(keras: Any) -> None:
    """In Keras, weights and averages stay swapped unless the last epoch is reached."""
    x, y = data()
    ended = {}
    for module in (keras, gpunn):
        for stops in (False, True):
            optimizer = module.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
            model = regression(module, optimizer)
            used = [module.callbacks.SwapEMAWeights(swap_on_epoch=True)]
            if stops:
                used.append(module.callbacks.EarlyStopping("loss", patience=0, mode="max"))
            epochs = 9 if stops else 2  # two epochs in both cases
            history = model.fit(x, y, epochs=epochs, shuffle=False, callbacks=used, verbose=0)
            assert len(history.epoch) == 2
            ended[module, stops] = model.get_weights()[0]
    np.testing.assert_allclose(ended[gpunn, True], ended[keras, False], rtol=1e-5)
    np.testing.assert_allclose(ended[gpunn, False], ended[keras, False], rtol=1e-5)
    assert np.abs(ended[keras, True] - ended[keras, False]).max() > 0.01


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("poisson", lambda t, p: p - t * np.log(p)),
        ("hinge", lambda t, p: np.maximum(1 - t * p, 0)),
        ("squared_hinge", lambda t, p: np.maximum(1 - t * p, 0) ** 2),
    ],
)
def test_a_metric_of_flat_targets_compares_row_by_row(keras: Any, name: str, value: Any) -> None:
    """In Keras, these compare each of (n,) targets with each of (n, 1) predictions."""
    x, y = np.array([[0.3], [2.0]], "float32"), np.array([-1.0, 1.0], "float32")
    found = {}
    for module in (keras, gpunn):
        dense = module.layers.Dense(1, kernel_initializer="ones")
        model = module.Sequential([module.Input((1,)), dense])
        model.compile("sgd", "mse", metrics=[name])
        found[module] = model.evaluate(x, y, verbose=0)
    assert found[gpunn][0] == pytest.approx(found[keras][0])
    assert found[gpunn][1] == pytest.approx(np.mean(value(y, x[:, 0])), rel=1e-5)
    assert found[keras][1] == pytest.approx(np.mean(value(y, x)), rel=1e-5)
    assert found[keras][1] != pytest.approx(found[gpunn][1], rel=0.01)


def test_no_training_leaves_the_weights_though_there_are_averages(keras: Any) -> None:
    """Keras replaces them by the averages, which are 0 before the first step."""
    x, y = data()
    for module, expected in ((keras, 0.0), (gpunn, 1.0)):
        model = regression(module, module.optimizers.SGD(0.1, use_ema=True))
        model.fit(x, y, epochs=1, verbose=0)
        model = regression(module, module.optimizers.SGD(0.1, use_ema=True))
        model.optimizer.build(model.trainable_variables) if module is keras else None
        model.fit(x, y, initial_epoch=1, epochs=1, verbose=0)
        np.testing.assert_array_equal(model.get_weights()[0], np.full((INPUTS, 1), expected))


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_one_number_for_a_batch_counts_for_each_of_its_rows(keras: Any, backend: str) -> None:
    """In Keras it counts as much as that of any other batch, even one with fewer rows."""
    x, y = np.arange(5.0, dtype="float32").reshape(5, 1), np.zeros((5, 1), "float32")
    found = {}
    for module, of in ((keras, {}), (gpunn, {"backend": backend})):
        dense = module.layers.Dense(1, kernel_initializer="ones")
        model = module.Sequential([module.Input((1,)), dense], **of)
        model.compile("sgd", "mse", metrics=[lambda t, p, ops=module.ops: ops.mean(p)])
        found[module] = model.evaluate(x, y, batch_size=4, verbose=0)[1]
    assert found[gpunn] == pytest.approx(x.mean())  # (4 * 1.5 + 4) / 5
    assert found[keras] == pytest.approx((1.5 + 4) / 2)


@pytest.mark.parametrize("name", ["F1Score", "Precision"])
def test_logs_hold_the_mean_of_several_numbers(keras: Any, name: str) -> None:
    options: dict[str, Any] = {"thresholds": [0.2, 0.6]} if name == "Precision" else {}
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)).astype("float32"), np.eye(3)[random.integers(0, 3, 20)]
    found = []
    for module in (keras, gpunn):
        dense = module.layers.Dense(3, "softmax", kernel_initializer="ones")
        model = module.Sequential([module.Input((3,)), dense])
        model.set_weights([np.linspace(-1, 1, 9).reshape(3, 3), np.zeros(3)])
        metric = getattr(module.metrics, name)(name="several", **options)
        model.compile(module.optimizers.SGD(0.0), "categorical_crossentropy", metrics=[metric])
        history = model.fit(x, y, verbose=0).history["several"][0]
        found.append((np.asarray(history), np.asarray(metric.result())))
    assert found[1][0].shape == () and found[0][0].shape == found[0][1].shape
    np.testing.assert_allclose(found[1][0], np.mean(found[0][0]), rtol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)


def test_a_loss_that_is_no_number_ends_the_training(keras: Any) -> None:
    x, y = data()
    for module in (keras, gpunn):
        model = regression(module, module.optimizers.SGD(1e30))
        if module is keras:
            losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
            assert len(losses) == 3 and not np.isfinite(losses[-1])
        else:
            with pytest.raises(gpunn.models.NonFiniteLossError, match="epoch 1, step 2"):
                model.fit(x, y, epochs=3, verbose=0)


def test_metrics_of_outputs_of_one_name_are_numbered_and_in_keras_order(keras: Any) -> None:
    x = np.abs(data()[0])
    y = [np.ones((ROWS, 1)), np.eye(4)[np.arange(ROWS) % 4]]

    def results(module: Any) -> tuple[Any, ...]:
        layers = module.layers
        given = module.Input((INPUTS,))
        both = [
            layers.Dense(1, "sigmoid", kernel_initializer="ones", name="real")(given),
            layers.Dense(4, "softmax", kernel_initializer="zeros", name="label")(given),
        ]
        judge = module.Model(given, both, name="judge")
        given = module.Input((INPUTS,))
        model = module.Model(given, judge(layers.Dense(INPUTS, kernel_initializer="ones")(given)))
        losses = ["binary_crossentropy", "categorical_crossentropy"]
        model.compile("sgd", losses, metrics=[["accuracy", "mae"], ["accuracy"]])
        listed = model.train_on_batch(x, y)
        named = model.fit(x, y, shuffle=False, verbose=0).history
        return listed[0], listed[3:], {k: v for k, v in named.items() if "loss" not in k}

    ours, theirs = results(gpunn), results(keras)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    assert ours[2].keys() == theirs[2].keys()
    for name, values in theirs[2].items():
        np.testing.assert_allclose(ours[2][name], values, rtol=1e-5)
