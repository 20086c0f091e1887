"""Test that saturated outputs have Keras's loss in fit, evaluate and direct calls, and learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
# Logits, some beyond the range of float32 probabilities.
LOGITS = np.array(
    [[0.5, -1.0, 2.0], [40.0, -40.0, 0.0], [-40.0, 40.0, 3.0], [100.0, -5.0, 90.0],
     [-1e4, 1e4, 0.0], [25.0, 25.0, -25.0], [-25.0, 3.0, 3.0], [0.0, 60.0, -60.0]]
)  # fmt: skip
LABELS = np.array([2, 1, 0, 2, 0, 2, 0, 0])
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.0, 3.0, 0.0, 1.0, 0.25])
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "binary": ("sigmoid", "BinaryCrossentropy", {}),
    "binary, smoothed": ("sigmoid", "BinaryCrossentropy", {"label_smoothing": 0.2}),
    "categorical": ("softmax", "CategoricalCrossentropy", {}),
    "categorical, smoothed": ("softmax", "CategoricalCrossentropy", {"label_smoothing": 0.3}),
    "sparse": ("softmax", "SparseCategoricalCrossentropy", {}),
    "sparse, a class ignored": ("softmax", "SparseCategoricalCrossentropy", {"ignore_class": 1}),
}


def targets(loss: str) -> np.ndarray:
    return LABELS if loss.startswith("Sparse") else np.eye(3)[LABELS]


def model_of(module: Any, activation: str, kind: Any = None, **options: Any) -> Any:
    """A model whose outputs are the activation of its inputs."""
    dense = module.layers.Dense(3, activation, kernel_initializer="identity")
    return (kind or module.Sequential)([module.Input((3,)), dense], **options)


def losses_of(module: Any, case: str, weights: Any, **of: Any) -> list[float]:
    """The loss called directly and from each method, followed by the metric of the same name."""
    activation, name, options = CASES[case]
    x, y = LOGITS.astype("float32"), targets(name)
    model = model_of(module, activation, **of)
    loss, metric = (getattr(kind, name) for kind in (module.losses, module.metrics))
    measured = {} if "ignore_class" in options else {"weighted_metrics": [metric(**options)]}
    model.compile(module.optimizers.SGD(0.0), loss(**options), **measured)
    p = model.predict(x, verbose=0)
    return [
        float(loss(**options)(y, p, sample_weight=weights)),
        *np.ravel(model.evaluate(x, y, sample_weight=weights, verbose=0)),
        model.fit(x, y, sample_weight=weights, verbose=0).history["loss"][0],
        *np.ravel(model.test_on_batch(x, y, sample_weight=weights)),
        *np.ravel(model.train_on_batch(x, y, sample_weight=weights)),
    ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_one_loss_everywhere(keras: Any, case: str, weights: Any) -> None:
    expected = losses_of(keras, case, weights)
    for backend in ("numpy", "compiled", "emulated"):
        found = losses_of(gpunn, case, weights, backend=backend)
        np.testing.assert_allclose(found, expected, rtol=2e-5, err_msg=backend)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_one_loss_in_double_precision(backend: str, case: str) -> None:
    activation, name, options = CASES[case]
    y = targets(name)
    model = model_of(gpunn, activation, dtype="float64", backend=backend)
    loss = getattr(gpunn.losses, name)(**options, dtype="float64")
    model.compile("sgd", loss)
    by_hand = float(loss(y, model.predict(LOGITS, verbose=0)))
    assert model.evaluate(LOGITS, y, verbose=0) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_what_is_right_costs_as_little_as_with_keras(keras: Any, case: str) -> None:
    activation, name, options = CASES[case]
    x, y = np.full((4, 3), -40.0, "float32"), np.eye(3)[[0, 0, 0, 0]]
    x[:, 0] = 40.0
    y = y.argmax(-1) if name.startswith("Sparse") else y
    found = []
    for module, backend in (
        (keras, None), (gpunn, "numpy"), (gpunn, "compiled"), (gpunn, "emulated")
    ):  # fmt: skip
        model = model_of(module, activation, **({"backend": backend} if backend else {}))
        model.compile("sgd", getattr(module.losses, name)(**options))
        found.append(model.evaluate(x, y, verbose=0))
    assert found[0] > 0
    np.testing.assert_allclose(found[1:], found[0], rtol=1e-5, atol=5e-8)


@pytest.mark.parametrize("case", CASES)
def test_saturated_outputs_still_learn(keras: Any, case: str) -> None:
    """With the gradient p - t, where Keras's is 0: it clips before it takes logarithms."""
    activation, name, options = CASES[case]
    x, y = LOGITS[4:5].astype("float32"), targets(name)[4:5]  # as wrong as possible

    def change(module: Any, **of: Any) -> np.ndarray:
        model = model_of(module, activation, **of)
        model.compile(module.optimizers.SGD(1.0), getattr(module.losses, name)(**options))
        model.fit(x, y, verbose=0)
        return model.get_weights()[1]

    t = np.eye(3)[LABELS[4]]
    smoothing = options.get("label_smoothing", 0.0)
    t = t * (1 - smoothing) + smoothing * (0.5 if activation == "sigmoid" else 1 / 3)
    # Outputs of 0, 1, and 1/2 or 0; a mean over three, or a sum.
    slope = (np.array([0, 1, 0.5]) - t) / 3 if activation == "sigmoid" else np.array([0, 1, 0]) - t
    assert np.all(change(keras)[:2] == 0)
    for backend in ("numpy", "compiled", "emulated"):
        found = change(gpunn, backend=backend)
        np.testing.assert_allclose(found, -slope, rtol=1e-6, atol=1e-6, err_msg=backend)


class Own(gpunn.Sequential):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_by_hand_learn_from_them_as_fit_does(
    backend: str, case: str, weighted: bool
) -> None:
    """Python's steps and those of a program."""
    activation, name, options = CASES[case]
    x, y = LOGITS.astype("float32"), targets(name)
    weights = WEIGHTS if weighted else None
    loss = getattr(gpunn.losses, name)(**options)

    def change(kind: type[Any], epochs: int, **how: Any) -> list[np.ndarray]:
        model = model_of(gpunn, activation, kind, backend=backend)
        model.compile(gpunn.optimizers.SGD(1e-3), loss, **how)
        model.fit(x, y, batch_size=8, sample_weight=weights, epochs=epochs, verbose=0)
        return model.get_weights()

    for epochs in (1, 4):  # the first ones run in Python
        wanted = change(gpunn.Sequential, epochs)
        assert np.abs(wanted[1]).max() > 1e-4
        for found in (change(Own, epochs), change(Own, epochs, run_eagerly=True)):
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_not_clipped(backend: str, case: str) -> None:
    _, name, options = CASES[case]
    y = targets(name)
    model = model_of(gpunn, "linear", backend=backend)
    loss = getattr(gpunn.losses, name)(from_logits=True, **options)
    model.compile("sgd", loss)
    expected = float(loss(y, LOGITS))
    assert expected > 100
    assert model.evaluate(LOGITS.astype("float32"), y, verbose=0) == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES)
def test_nan_stays(backend: str, case: str) -> None:
    activation, name, options = CASES[case]
    y = targets(name)
    model = model_of(gpunn, activation, backend=backend)
    model.compile("sgd", getattr(gpunn.losses, name)(**options))
    kernel, bias = model.get_weights()
    bias[2] = np.nan
    model.set_weights([kernel, bias])
    assert np.isnan(model.evaluate(LOGITS.astype("float32"), y, verbose=0))
