"""Test functions as initializers, regularizers, constraints and schedules: trained alongside Keras
from equal weights, on every backend, and saved by the names they are registered under."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import ops
from gpunn.backends import choice_put_back
from gpunn.common import registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS, INPUTS, OUTPUTS = 21, 5, 3


@pytest.fixture
def backend(every_backend: str) -> str:
    return every_backend


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return x, np.tanh(x[:, :OUTPUTS]) - 0.5


def ramp(module: Any) -> Any:
    def initializer(shape: Any, dtype: Any = None) -> Any:
        numbers = module.ops.cast(module.ops.arange(int(np.prod(shape))), dtype)
        return module.ops.reshape(numbers, shape) / 100 - 0.05

    return initializer


def largest(module: Any) -> Any:
    def regularizer(w: Any) -> Any:
        ops = module.ops
        return 0.01 * ops.sum(ops.logsumexp(w, axis=0)) + 0.02 * ops.sum(ops.abs(w) ** 3)

    return regularizer


def penalty_class(module: Any) -> Any:
    class Penalty(module.regularizers.Regularizer):
        def __init__(self, factor: float = 0.05) -> None:
            self.factor = factor

        def __call__(self, x: Any) -> Any:
            return self.factor * module.ops.sum(module.ops.square(x - 0.1))

    return Penalty()


def centred(module: Any) -> Any:
    def constraint(w: Any) -> Any:
        return w - module.ops.mean(w, axis=0, keepdims=True)

    return constraint


CASES: dict[str, Any] = {
    "initializer": lambda m: {"kernel_initializer": ramp(m), "bias_initializer": ramp(m)},
    "regularizer": lambda m: {"kernel_regularizer": largest(m)},
    "two regularizers": lambda m: {
        "kernel_regularizer": largest(m), "bias_regularizer": penalty_class(m),
    },
    "regularizer's class": lambda m: {"kernel_regularizer": penalty_class(m)},
    "constraint": lambda m: {"kernel_constraint": centred(m)},
    "all": lambda m: {
        "kernel_initializer": ramp(m), "kernel_regularizer": largest(m),
        "kernel_constraint": centred(m),
    },
}  # fmt: skip


def network(module: Any, case: str, **options: Any) -> Any:
    chain = [module.layers.Dense(OUTPUTS, **CASES[case](module)), module.layers.Dense(OUTPUTS)]
    return module.Sequential([module.Input((INPUTS,)), *chain], **options)


@pytest.mark.parametrize("case", CASES)
def test_beside_keras(keras: Any, backend: str, case: str) -> None:
    x, y = data()
    theirs, ours = network(keras, case), network(gpunn, case, backend=backend)
    if "initializer" in CASES[case](gpunn) or case == "initializer":
        np.testing.assert_allclose(ours.get_weights()[0], theirs.get_weights()[0], atol=1e-7)
    ours.set_weights(theirs.get_weights())
    found = []
    for module, model in ((keras, theirs), (gpunn, ours)):
        model.compile(module.optimizers.SGD(0.1, momentum=0.5), "mse")
        history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
        score = model.evaluate(x, y, batch_size=8, verbose=0)
        found.append([history["loss"], score, *model.get_weights()])
    for ours_found, expected in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(ours_found, expected, rtol=1e-4, atol=1e-6)


def test_a_number_of_a_penalty_that_changes_is_followed(backend: str) -> None:
    regularizer = penalty_class(gpunn)
    layer = gpunn.layers.Dense(1, kernel_regularizer=regularizer, kernel_initializer="ones")
    model = gpunn.Sequential([gpunn.Input((2,)), layer], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), lambda t, p: 0.0 * ops.sum(p - t, axis=-1))
    x = np.ones((8, 2), np.float32)
    seen = []
    for factor in (0.5, 1.0, 0.5):
        regularizer.factor = factor
        seen.append(model.fit(x, x[:, :1], verbose=0, batch_size=2).history["loss"][0])
    np.testing.assert_allclose(seen, [0.81, 1.62, 0.81], rtol=1e-5)


def test_a_penalty_of_several_numbers_is_refused(backend: str) -> None:
    layer = gpunn.layers.Dense(3, kernel_regularizer=lambda w: ops.sum(w, axis=0))
    model = gpunn.Sequential([gpunn.Input((2,)), layer], backend=backend)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"The regularizer '<lambda>' gives the shape \(3,\)"):
        model.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)


@pytest.mark.parametrize("takes_step", [True, False])
def test_a_function_as_learning_rate(backend: str, takes_step: bool) -> None:
    rates = iter([0.1, 0.05, 0.025] * 9)
    function: Any = (lambda step: 0.1 * 0.5 ** int(step)) if takes_step else (lambda: 0.1)
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)], backend=backend)
    model.set_weights([np.zeros((1, 1)), np.zeros(1)])
    model.compile(gpunn.optimizers.SGD(function), "mse")
    x = np.zeros((6, 1), np.float32)
    model.fit(x, x + 1, batch_size=2, shuffle=False, verbose=0)
    b = 0.0
    for rate in [next(rates) if takes_step else 0.1 for _ in range(3)]:
        b += rate * 2 * (1 - b)
    np.testing.assert_allclose(model.get_weights()[1], [b], rtol=1e-6)


def test_a_function_of_nothing_is_keras_learning_rate(keras: Any) -> None:
    for module in (keras, gpunn):
        assert float(module.optimizers.SGD(lambda: 0.25).learning_rate) == 0.25


# -- files


def of_functions(backend: str) -> tuple[Any, dict[str, Any]]:
    """A compiled model whose parts are all functions, and these functions by name."""

    def swish(x: Any) -> Any:
        return x * ops.sigmoid(x)

    def distance(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - y_pred) ** 1.5, axis=-1)

    def furthest(y_true: Any, y_pred: Any) -> Any:
        return ops.max(ops.abs(y_true - y_pred), axis=-1)

    def rate(step: Any) -> Any:
        return 0.1 / (1.0 + step)

    functions: dict[str, Any] = {
        "swish": swish, "distance": distance, "furthest": furthest, "rate": rate,
        "ramp_of_mine": ramp(gpunn), "penalty_of_mine": largest(gpunn),
        "centred_of_mine": centred(gpunn),
    }  # fmt: skip
    layer = gpunn.layers.Dense(
        OUTPUTS, swish, kernel_initializer=functions["ramp_of_mine"],
        kernel_regularizer=functions["penalty_of_mine"],
        kernel_constraint=functions["centred_of_mine"],
    )  # fmt: skip
    model = gpunn.Sequential([gpunn.Input((INPUTS,)), layer], backend=backend)
    model.compile(gpunn.optimizers.SGD(rate), distance, metrics=[furthest])
    return model, functions


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("given", ["registered", "custom_objects"])
def test_a_model_of_functions_is_saved_by_their_names(
    tmp_path: Path, backend: str, given: str
) -> None:
    x, y = data()
    with choice_put_back():
        gpunn.use_backend(backend)  # a file does not store its backend
        with registry.restored():
            model, functions = of_functions(backend)
            for name, function in functions.items():
                gpunn.saving.register_serializable(name=name)(function)
            model.fit(x, y, verbose=0)
            model.save(tmp_path / "m.gpunn")
            if given == "registered":
                again = gpunn.saving.load_model(tmp_path / "m.gpunn")
        with pytest.raises(ValueError, match="Unknown function"):
            gpunn.saving.load_model(tmp_path / "m.gpunn")
        if given == "custom_objects":
            again = gpunn.saving.load_model(tmp_path / "m.gpunn", custom_objects=functions)
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
        for each in (model, again):
            each.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
        assert again.metrics_names == model.metrics_names


def test_a_registered_function_is_known_by_its_name() -> None:
    with registry.restored():

        @gpunn.saving.register_serializable(package="tests", name="gap")
        def difference(y_true: Any, y_pred: Any) -> Any:
            return ops.sum(ops.abs(y_true - y_pred), axis=-1)

        @gpunn.saving.register_serializable
        def halved(x: Any) -> Any:
            return 0.5 * x

        assert float(gpunn.losses.get("gap")([[1.0, 2.0]], [[3.0, 2.0]])) == 2.0
        assert float(gpunn.metrics.get("tests>gap")([[1.0, 2.0]], [[3.0, 2.0]])) == 2.0
        assert gpunn.layers.Dense(2, activation="halved").activation([4.0]).tolist() == [2.0]
        assert gpunn.losses.get("mse").name == "mean_squared_error"
        for kind, made in (
            (gpunn.losses, gpunn.losses.get(difference)),
            (gpunn.metrics, gpunn.metrics.MeanMetricWrapper(difference, "wide")),
        ):
            again = kind.deserialize(kind.serialize(made))
            assert again.name == made.name and again.fn is difference
    with pytest.raises(ValueError, match="Unknown loss: 'gap'"):
        gpunn.losses.get("gap")
