"""What a model of several outputs measures in its own steps: the names and numbers of Keras, and of
`fit` without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers

random = np.random.default_rng(0)
X = random.standard_normal((20, 3)).astype("float32")
Y = [random.standard_normal((20, n)).astype("float32") for n in (2, 1)]
WEIGHTS = random.random(20).astype("float32")
OWN = ["plain", "train_step", "compute_loss", "both"]


def class_of(library: Any, own: str) -> Any:
    """A class of models with some steps of their own, which do what the others do."""

    def train_step(self: Any, data: Any) -> Any:
        return super(made, self).train_step(data)

    def test_step(self: Any, data: Any) -> Any:
        return super(made, self).test_step(data)

    def compute_loss(
        self: Any, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> Any:  # fmt: skip
        return super(made, self).compute_loss(x, y, y_pred, sample_weight)

    steps = {"train_step": train_step, "test_step": test_step}
    losses = {"compute_loss": compute_loss}
    parts = {"plain": {}, "train_step": steps, "compute_loss": losses, "both": steps | losses}
    made = type("Own", (library.Model,), parts[own])
    return made


def made(library: Any, own: str = "plain", form: Any = list, **compiled: Any) -> Any:
    x = library.layers.Input((3,))
    outputs = [library.layers.Dense(n, name=name)(x) for n, name in ((2, "a"), (1, "b"))]
    model = class_of(library, own)(
        x, outputs if form is list else dict(zip("pq", outputs, strict=True))
    )
    kernels = np.random.default_rng(1)
    model.set_weights([kernels.standard_normal(w.shape) for w in model.get_weights()])
    compiled = {"loss": "mse", **compiled}
    model.compile(library.optimizers.SGD(0.05), **{k: v(library) if callable(v) else v
                                                   for k, v in compiled.items()})  # fmt: skip
    return model


def measured(model: Any, y: Any, weighted: bool) -> list[dict[str, float]]:
    """The logs of fit, its validation, evaluate and train_on_batch."""
    weight = WEIGHTS if weighted else None
    history = model.fit(
        X, y, batch_size=8, epochs=2, verbose=0, shuffle=False, sample_weight=weight,
        validation_data=(X[:5], _first(y, 5)),
    ).history  # fmt: skip
    given = {"return_dict": True, "sample_weight": weight}
    return [
        {k: v[-1] for k, v in history.items()}, model.evaluate(X, y, verbose=0, **given),
        model.test_on_batch(X, y, **given), model.train_on_batch(X, y, **given),
    ]  # fmt: skip


def _first(y: Any, n: int) -> Any:
    return {k: v[:n] for k, v in y.items()} if isinstance(y, dict) else [v[:n] for v in y]


def check_like_keras(library: Any, own: str, y: Any, form: Any, compiled: Any) -> None:
    weighted = "weighted_metrics" in compiled
    expected = measured(made(library, form=form, **compiled), y, weighted)
    model = made(gpunn, own, form, **compiled)
    found = measured(model, y, weighted)
    for ours, theirs in zip(found, expected, strict=True):
        assert sorted(ours) == sorted(theirs)
        for name, value in theirs.items():
            assert_allclose(ours[name], float(value), rtol=1e-4, err_msg=name)
    plain = made(gpunn, "plain", form, **compiled)
    assert list(found[1]) == list(measured(plain, y, weighted)[1])
    assert len(model.evaluate(X, y, verbose=0)) == len(found[1])


def mixed(library: Any) -> Any:
    return [[library.metrics.MeanAbsoluteError(name="off"), "mse"], [library.metrics.R2Score()]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("own", OWN[1:])
@pytest.mark.in_turn(3)
@pytest.mark.parametrize(
    "compiled",
    [
        {},
        {"metrics": [["mae"], ["mae"]]},
        {"metrics": [["mae", "mse"], []], "loss": ["mse", "mse"], "loss_weights": [1.0, 0.5]},
        {"metrics": {"b": "mae"}, "loss": {"a": "mse", "b": "mae"}},
        {"metrics": [["mae"], ["mae"]], "weighted_metrics": [["mae", "mse"], ["mae"]]},
        {"metrics": mixed},
    ],
    ids=["none", "one", "two", "names", "weighted", "objects"],
)
def test_two_outputs_measure_as_in_keras(own: str, compiled: Any, keras: Any) -> None:
    check_like_keras(keras, own, Y, list, compiled)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("own", OWN[1:])
@pytest.mark.parametrize(
    "compiled", [{}, {"metrics": {"p": ["mae"], "q": ["mae"]}}], ids=["none", "one"]
)
def test_outputs_with_names_measure_as_in_keras(own: str, compiled: Any, keras: Any) -> None:
    check_like_keras(keras, own, {"q": Y[1], "p": Y[0]}, dict, compiled)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("own", OWN[1:])
def test_targets_by_name_are_those_of_keras(own: str, keras: Any) -> None:
    """Targets in another order than the outputs were those of the wrong ones."""
    check_like_keras(keras, own, {"b": Y[1], "a": Y[0]}, list, {"metrics": [["mae"], ["mae"]]})


@pytest.mark.parametrize("own", OWN)
def test_one_metric_measures_each_output(own: str, backend: str) -> None:
    gpunn.use_backend(backend)
    shared = gpunn.metrics.MeanAbsoluteError()
    for _ in range(2):  # compiled again, it has the same names
        model = made(gpunn, own, metrics=[[shared], [shared]])
        logs = model.evaluate(X, Y, verbose=0, return_dict=True)
        for name, y, y_pred in zip("ab", Y, model.predict(X, verbose=0), strict=True):
            expected = np.abs(y - y_pred).mean()
            assert_allclose(logs[f"{name}_mean_absolute_error"], expected, rtol=1e-5)
        assert len(logs) == 5


@pytest.mark.parametrize("own", ["plain", "train_step"])
@pytest.mark.parametrize(
    ("loss", "metrics"),
    [("mse", None), (["mse", "mae"], [["mae"], ["mse"]]), ("mse", [["mae"], ["mae"]])],
)
def test_outputs_that_a_call_makes(own: str, loss: Any, metrics: Any, backend: str) -> None:
    """The losses and metrics of several outputs that only a call shows."""
    gpunn.use_backend(backend)

    class Two(class_of(gpunn, own)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = [layers.Dense(2), layers.Dense(1)]

        def call(self, x: Any) -> Any:
            return [part(x) for part in self.parts]

    model = Two()
    model.compile("sgd", loss, metrics=metrics)
    model.fit(X, Y, epochs=2, batch_size=10, verbose=0)
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    values: dict[str, Callable[[Any], Any]] = {"mse": np.square, "mae": np.abs}
    losses = loss if isinstance(loss, list) else [loss] * 2
    errors = [y - y_pred for y, y_pred in zip(Y, model.predict(X, verbose=0), strict=True)]
    expected = [float(values[of](e).mean()) for of, e in zip(losses, errors, strict=True)]
    expected = [sum(expected), *expected]
    for (of,), e in zip(metrics or (), errors, strict=False):
        expected.append(float(values[of](e).mean()))
    assert_allclose(list(logs.values()), expected, rtol=1e-5)


def test_losses_to_differentiate_are_not_counted(backend: str) -> None:
    """A function may be called any number of times for its gradient."""
    gpunn.use_backend(backend)
    model = made(gpunn, "train_step")

    def loss(kernel: Any) -> Any:
        y = X @ kernel
        return model.compiled_loss([Y[0], Y[1]], [y, y[:, :1]])

    def by_hand(kernel: Any) -> Any:
        y = X @ kernel
        return np.square(Y[0] - y).mean() + np.square(Y[1] - y[:, :1]).mean()

    kernel = random.standard_normal((3, 2)).astype("float32")
    assert_allclose(float(gpunn.value_and_grad(loss)(kernel)[0]), by_hand(kernel), rtol=1e-5)
