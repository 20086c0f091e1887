"""Rows of a table by index: values, gradients and training beside Keras and PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.testing import check_gradients

RANDOM = np.random.default_rng(5)
CODES = RANDOM.integers(0, 7, (9, 4))
TABLE = RANDOM.standard_normal((7, 3)).astype("float32")


@pytest.mark.parametrize("shape", [(9,), (9, 4), (3, 3, 4), (0, 4)])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "bool"])
def test_it_is_kerass(keras: Any, every_backend: str, shape: tuple[int, ...], dtype: str) -> None:
    gpunn.use_backend(every_backend)
    x = np.resize(CODES, shape).astype(dtype)
    theirs = keras.layers.Embedding(7, 3, weights=TABLE)
    layer = layers.Embedding(7, 3, weights=[TABLE])
    assert_array_equal(layer(x), theirs(x.astype("int64")).detach().numpy())


def test_its_constructor_is_kerass(keras: Any) -> None:
    theirs = keras.layers.Embedding(7, 3)
    layer = layers.Embedding(7, 3)
    known = layer.get_config()
    for name in ("input_dim", "output_dim", "mask_zero", "embeddings_regularizer"):
        assert known[name] == theirs.get_config()[name]
    layer.build((None, 4))
    drawn = layer.get_weights()[0]
    assert -0.05 <= drawn.min() < drawn.max() <= 0.05
    assert layers.Embedding(7, 3, input_length=4)._given_input_shape == (4,)
    for arguments in ((0, 3), (7, 0), (7.5, 3)):
        with pytest.raises(ValueError, match="positive integer"):
            layers.Embedding(*arguments)
    with pytest.raises(ValueError, match=r"shape \(7, 3\).*got \(3, 7\)"):
        layers.Embedding(7, 3, weights=TABLE.T)
    with pytest.raises(ValueError, match="lora_rank is not supported"):
        layers.Embedding(7, 3, lora_rank=2)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_gradients_by_the_table(backend: str) -> None:
    shared = layers.Embedding(7, 3)  # which sums what both applications contribute
    x = gpunn.Input((4,))
    y = layers.Dense(1)(layers.Flatten()(layers.concatenate([shared(x), shared(x)])))
    model = gpunn.Model(x, y, dtype="float64", backend=backend)
    model.compile("sgd", "mse")
    check_gradients(model, CODES, np.ones((9, 1)))


def test_second_derivatives(doubles: None) -> None:
    layer = layers.Embedding(7, 3)
    layer.build((None, 4))

    def cubed(table: Any) -> Any:
        return ops.sum(layer.stateless_call([table], [], CODES)[0] ** 3)

    curved = gpunn.grad(lambda table: ops.sum(gpunn.grad(cubed)(table) ** 2))(TABLE)
    counts = np.bincount(CODES.reshape(-1), minlength=7)[:, None]
    # The gradient of c w^3 is 3 c w^2, whose square has the derivative 36 c^2 w^3.
    assert_allclose(curved, 36 * counts**2 * TABLE.astype("float64") ** 3, rtol=1e-12)


@pytest.mark.parametrize("eagerly", [False, True])
def test_training_is_pytorchs(every_backend: str, eagerly: bool) -> None:
    gpunn.use_backend(every_backend)
    table = torch.nn.Embedding(7, 3, _weight=torch.tensor(TABLE.astype("float64")))
    optimizer = torch.optim.Adam(table.parameters(), 0.1, eps=1e-16)
    targets = RANDOM.standard_normal((9, 4, 3))
    model = gpunn.Sequential(
        [gpunn.Input((4,), dtype="int32"), layers.Embedding(7, 3, weights=TABLE)], dtype="float64"
    )
    model.compile(gpunn.optimizers.Adam(0.1, epsilon=1e-16), "mse", run_eagerly=eagerly)
    for _ in range(2):  # with a ragged last batch
        for at in range(0, 9, 4):
            optimizer.zero_grad()
            y = table(torch.tensor(CODES[at : at + 4]))
            torch.nn.functional.mse_loss(y, torch.tensor(targets[at : at + 4])).backward()
            optimizer.step()
    model.fit(CODES, targets, 4, 2, shuffle=False, verbose=0)
    assert_allclose(model.get_weights()[0], table.weight.detach(), rtol=1e-7)


WRONG = {
    "too large": (7, IndexError, "holds 7.* at .0, 1.; .* whole numbers from 0 to 6"),
    "negative": (-1, IndexError, "holds -1.* at .0, 1."),
    "a fraction": (0.5, TypeError, "holds 0.5 at .0, 1."),
    "not a number": (np.nan, TypeError, "holds nan at .0, 1."),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_indices_are_refused_before_the_first_step(every_backend: str, what: str) -> None:
    gpunn.use_backend(every_backend)
    value, error, message = WRONG[what]
    x = CODES.astype("float32" if isinstance(value, float) else "int64")
    x[0, 1] = value
    model = gpunn.Sequential([layers.Embedding(7, 3), layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(CODES, np.ones((9, 1)), verbose=0)
    before = model.get_weights()
    for call in (lambda: model.fit(x, np.ones((9, 1)), verbose=0), lambda: model.predict(x)):
        with pytest.raises(error, match=message):
            call()
    assert all(map(np.array_equal, before, model.get_weights()))


@pytest.mark.parametrize("value", [7.0, -1.0, 0.5])
def test_wrong_indices_that_a_step_computes_are_refused(every_backend: str, value: float) -> None:
    gpunn.use_backend(every_backend)
    x = gpunn.Input((4,))
    model = gpunn.Model(x, layers.Embedding(7, 3, name="table")(layers.Rescaling(value)(x)))
    with pytest.raises((IndexError, TypeError), match="table: indices must be"):
        model.predict(np.ones((2, 4)))
    assert model.predict(np.zeros((2, 4))).shape == (2, 4, 3)


def test_more_indices_than_floats_distinguish() -> None:
    layer = layers.Embedding(2**24 + 1, 1)
    with pytest.raises(ValueError, match="float32 cannot distinguish 16,777,217 indices"):
        layer(gpunn.Input((4,)))


def test_masks_are_kerass(keras: Any) -> None:
    for mask_zero in (False, True):
        theirs = keras.layers.Embedding(7, 3, mask_zero=mask_zero)
        found, expected = (
            layers.Embedding(7, 3, mask_zero=mask_zero).compute_mask(CODES),
            theirs.compute_mask(keras.ops.convert_to_tensor(CODES)),
        )
        assert (found is None) == (expected is None) == (not mask_zero)
        if mask_zero:
            assert_array_equal(found, expected)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cap", [None, 0.5])
def test_the_way_back_is_kerass(keras: Any, every_backend: str, tied: bool, cap: Any) -> None:
    gpunn.use_backend(every_backend)
    options = {"tie_weights": tied, "logit_soft_cap": cap}
    theirs = keras.layers.ReversibleEmbedding(7, 3, **options)
    layer = layers.ReversibleEmbedding(7, 3, **options)
    hidden = RANDOM.standard_normal((9, 4, 3)).astype("float32")
    assert_array_equal(layer(CODES).shape, theirs(CODES).shape)
    theirs.set_weights(layer.get_weights())
    expected = theirs(hidden, reverse=True).detach().numpy()
    assert_allclose(layer(hidden, reverse=True), expected, rtol=1e-5, atol=1e-6)
    x = gpunn.Input((4,), dtype="int32")
    h = layers.Dense(3, "tanh")(layer(x))
    model = gpunn.Model(x, layer(h, reverse=True), dtype="float64", backend=every_backend)
    model.compile("sgd", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
    check_gradients(model, CODES, CODES[:, ::-1].copy())
    with pytest.raises(ValueError, match="mask_zero=True is not supported"):
        layers.ReversibleEmbedding(7, 3, mask_zero=True)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_tables_train_on_the_way_back_alone(every_backend: str, tied: bool) -> None:
    gpunn.use_backend(every_backend)
    layer = layers.ReversibleEmbedding(700, 3, tie_weights=tied)
    h = gpunn.Input((3,))
    model = gpunn.Model(h, layer(h, reverse=True))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(RANDOM.standard_normal((9, 3)), np.ones((9, 700)), verbose=0)
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == ([True] if tied else [False, True])


def test_penalties_constraints_and_files(every_backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(every_backend)
    options = {"embeddings_regularizer": "l2", "embeddings_constraint": "non_neg"}
    model = gpunn.Sequential([layers.Embedding(7, 3, weights=TABLE, input_length=4, **options)])
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    zeros = np.zeros((1, 4), "int64")
    model.fit(zeros, model.predict(zeros), verbose=0)
    assert_allclose(model.get_weights()[0][1:], np.maximum(TABLE[1:] * (1 - 0.002), 0), rtol=1e-5)
    model.save(tmp_path / "m.gpunn")
    again = gpunn.models.load_model(tmp_path / "m.gpunn")
    assert_array_equal(again.predict(CODES), model.predict(CODES))
    assert "weights" not in again.layers[0].get_config()
