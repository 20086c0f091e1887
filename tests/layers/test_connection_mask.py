"""Test partially connected networks: masked weights stay 0 and have no effect."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.testing import check_gradients

BACKENDS = ["numpy", "compiled", "emulated"]
FIRST = [[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1]]  # (3 inputs, 4 units)
SECOND = [[1, 0], [0, 1], [1, 1], [0, 1]]


def network(backend: str | None = "numpy", dtype: str = "float32", **how: Any) -> gpunn.Sequential:
    gpunn.utils.set_random_seed(6)
    chain = [
        layers.Input((3,)),
        layers.Dense(4, activation="tanh", connections=FIRST, name="first", **how),
        layers.Dense(2, connections=np.array(SECOND, bool), name="second", **how),
    ]
    return gpunn.Sequential(chain, dtype=dtype, backend=backend)


def data(rows: int = 24) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    return random.standard_normal((rows, 3)), random.standard_normal((rows, 2))


def assert_only_connections(model: gpunn.Sequential) -> None:
    for layer, mask in zip(model.layers[-2:], (FIRST, SECOND), strict=True):
        kernel = layer.kernel.numpy()
        assert (kernel[np.array(mask) == 0] == 0).all()
        assert (kernel[np.array(mask) == 1] != 0).all()


def test_a_network_computed_by_hand() -> None:
    layer = layers.Dense(2, connections=[[1, 0], [1, 1], [0, 1]])
    layer.build((None, 3))
    layer.set_weights([[[1, 9], [2, 3], [9, 4]], [0.5, -0.5]])
    # 1 * 10 + 2 * 20 + 0.5 and 3 * 20 + 4 * 30 - 0.5: the nines are not connections.
    assert layer([[10, 20, 30]]).tolist() == [[50.5, 179.5]]
    assert layer.kernel.numpy().tolist() == [[1, 0], [2, 3], [0, 4]]
    assert layer.count_params() == 4 + 2


OPTIMIZERS = [
    {"identifier": gpunn.optimizers.SGD, "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
    {"identifier": gpunn.optimizers.SGD, "learning_rate": 0.1, "weight_decay": 0.1},
    {"identifier": gpunn.optimizers.Adam, "learning_rate": 0.05},
    {"identifier": gpunn.optimizers.Adam, "learning_rate": 0.05, "amsgrad": True,
     "weight_decay": 0.1, "global_clipnorm": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=range(len(OPTIMIZERS)))
def test_no_optimizer_makes_a_connection(optimizer: dict[str, Any], backend: str) -> None:
    arguments = dict(optimizer)
    model = network(backend, kernel_regularizer="l1_l2")
    model.compile(arguments.pop("identifier")(**arguments), "mse")
    x, y = data()
    assert_only_connections(model)
    model.fit(x, y, batch_size=7, epochs=4, verbose=0)
    assert_only_connections(model)
    model.train_on_batch(x, y)
    assert_only_connections(model)


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the PyTorch compared with is for Python 3.11"
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_as_pytorch_with_masked_weights(backend: str) -> None:
    import torch

    torch.set_num_threads(1)
    model = network(backend, "float64")
    model.compile(gpunn.optimizers.SGD(0.2, momentum=0.9), "half_squared_error")
    x, y = data(8)
    weights = [torch.nn.Parameter(torch.tensor(w)) for w in model.get_weights()]
    masks = [torch.tensor(mask, dtype=torch.float64) for mask in (FIRST, SECOND)]
    theirs = torch.optim.SGD(weights, 0.2, momentum=0.9)
    for _ in range(10):
        hidden = torch.tanh(torch.tensor(x) @ (weights[0] * masks[0]) + weights[1])
        out = hidden @ (weights[2] * masks[1]) + weights[3]
        loss = 0.5 * ((out - torch.tensor(y)) ** 2).sum(-1).mean()
        theirs.zero_grad()
        loss.backward()
        assert model.train_on_batch(x, y) == pytest.approx(loss.item(), rel=1e-12)
        theirs.step()
    for ours, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, other.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients(backend: str) -> None:
    def half(shape: tuple[int, int]) -> np.ndarray:
        return np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2 == 0

    layer = layers.Dense(4, activation="tanh", connections=half)
    check_gradients(layer, (5, 3), backend=backend)
    model = network(backend, "float64")
    model.compile("sgd", "mse")
    check_gradients(model, *data(5))


def test_the_summary_counts_connections(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    assert model.count_params() == (7 + 4) + (5 + 2)
    model.compile("adam", "mse")
    model.train_on_batch(*data())
    model.summary()
    text = capsys.readouterr().out
    assert "Trainable params: 18 " in text
    assert f"Optimizer params: {2 * 18 + 2} " in text
    first = next(line for line in text.splitlines() if line.startswith("first"))
    assert first.split()[-1] == "11"


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = network(None)  # the loaded model uses the default backend too
    model.compile("adam", "mse")
    x, y = data()
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.count_params() == 18
    for part in (model, again):
        part.fit(x, y, epochs=2, verbose=0, shuffle=False)
    assert_only_connections(again)
    assert again.layers[-1].get_config()["connections"] == SECOND


def test_a_function_gives_the_mask() -> None:
    layer = layers.Dense(3, connections=lambda shape: np.tri(*shape))
    with pytest.raises(ValueError, match="is a function, which no file can hold"):
        layer.get_config()
    assert layer(np.ones((1, 3))).shape == (1, 3)
    assert layer.count_params() == 6 + 3
    assert layer.get_config()["connections"] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1, 0]], r"shape \(inputs, units\), here \(inputs, 3\); got \(1, 2\)"),
        ([1, 0, 1], r"got \(3,\)"),
        ([[1, 0, 1], [1, 1]], r"got \[\[1, 0, 1\], \[1, 1\]\]"),
        ([[1, 0, 0.5]], "must hold 0 and 1"),
        ([["a", "b", "c"]], "must hold 0 and 1"),
        ("half", r"got \(\)|must have the shape"),
    ],
)
def test_masks_that_are_none(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Dense(3, connections=given)


def test_a_mask_for_other_inputs_is_refused() -> None:
    layer = layers.Dense(2, connections=[[1, 1], [1, 1]])
    with pytest.raises(ValueError, match=r"here \(3, 2\); got \(2, 2\)"):
        layer(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"here \(4, 2\); got \(2, 4\)"):
        layers.Dense(2, connections=lambda shape: np.ones(shape).T)(np.ones((1, 4)))


def test_a_regularizer_that_would_make_connections_is_refused() -> None:
    orthogonal = gpunn.regularizers.OrthogonalRegularizer()
    with pytest.raises(ValueError, match="does not go with connections"):
        layers.Dense(2, connections=[[1, 1]], kernel_regularizer=orthogonal)


def test_a_unit_without_inputs_warns() -> None:
    with pytest.warns(UserWarning, match=r"units without any input.*\[1\]"):
        layers.Dense(2, connections=[[1, 0], [1, 0]]).build((None, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Dense(2, connections=[[1, 0], [0, 1]]).build((None, 2))
