"""Test sample weights in training, against formulas and PyTorch, and outputs of several axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.class_weight import compute_sample_weight
from small_models import LABELS, ROWS, SPARSE, TARGETS, X, classifier, linear

import gpunn

layers = gpunn.layers
RANDOM = np.random.default_rng(6)
BACKENDS = ["numpy", "compiled", "emulated"]


# -- weights, against formulas


def crossentropy(x: np.ndarray, labels: np.ndarray, kernel: Any, bias: Any) -> np.ndarray:
    z = x.astype("float64") @ kernel + bias
    return np.log(np.exp(z).sum(axis=-1)) - np.take_along_axis(z, labels[..., None], -1)[..., 0]


@pytest.mark.parametrize("batch_size", [20, 8, 3])
def test_a_weighted_loss_is_the_weighted_sum_by_the_number_of_rows(batch_size: int) -> None:
    model = classifier(optimizer=gpunn.optimizers.SGD(0.0))
    weights = RANDOM.random(ROWS) * 3
    expected = (weights * crossentropy(X, LABELS, *model.get_weights())).sum() / ROWS
    given = {"sample_weight": weights, "batch_size": batch_size, "verbose": 0}
    assert model.evaluate(X, LABELS, **given) == pytest.approx(expected, rel=1e-5)
    history = model.fit(X, LABELS, validation_data=(X, LABELS, weights), **given).history
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert history["val_loss"] == pytest.approx([expected], rel=1e-5)
    by_class = {0: 0.5, 2: 3.0}
    of_rows = np.array([0.5, 1.0, 3.0])[LABELS]
    expected = (of_rows * crossentropy(X, LABELS, *model.get_weights())).sum() / ROWS
    given = {"class_weight": by_class, "batch_size": batch_size, "verbose": 0}
    assert model.fit(X, LABELS, **given).history["loss"] == pytest.approx([expected], rel=1e-5)


RARE = np.array([0] * 13 + [2] * 5 + [1] * 2)


@pytest.mark.parametrize("kind", ["indices", "one-hot", "binary"])
def test_balanced_class_weights_are_those_of_scikit_learn(kind: str) -> None:
    labels = (RARE > 0).astype(int) if kind == "binary" else RARE
    of_rows = compute_sample_weight("balanced", labels)
    y: Any = np.eye(3)[labels] if kind == "one-hot" else labels
    binary = gpunn.losses.BinaryCrossentropy(from_logits=True)
    losses = {"indices": SPARSE, "one-hot": "categorical_crossentropy", "binary": binary}
    models = []
    for given in ({"class_weight": "balanced"}, {"sample_weight": of_rows}):
        if kind == "binary":
            models.append(linear(1, 4, 0.1, loss=losses[kind]))
            y = labels[:, None]
        else:
            models.append(classifier(loss=losses[kind]))
        models[-1].fit(X, y, batch_size=7, epochs=2, verbose=0, **given)
    for w, other in zip(*(model.get_weights() for model in models), strict=True):
        assert_array_equal(w, other)


def test_batches_and_numbers_cannot_be_balanced() -> None:
    model = classifier()
    with pytest.raises(ValueError, match=r"class_weight='balanced'.*batch"):
        model.fit(iter([(X, LABELS)]), class_weight="balanced", verbose=0)
    with pytest.raises(ValueError, match=r"class_weight='balanced'.*batch"):
        model.train_on_batch(X, LABELS, class_weight="balanced")
    with pytest.raises(ValueError, match="regression"):
        linear(1, 4).fit(X, np.arange(ROWS), class_weight="balanced", verbose=0)


def test_rows_of_weight_zero_are_as_if_they_were_not_there() -> None:
    """The gradient is that of the other rows, divided by the number of all rows."""
    weights = (np.arange(ROWS) < 15).astype("float32")
    kept, cut = classifier(), classifier(optimizer=gpunn.optimizers.SGD(0.1 * 15 / 20))
    kept.fit(X, LABELS, sample_weight=weights, batch_size=ROWS, verbose=0)
    cut.fit(X[:15], LABELS[:15], batch_size=15, verbose=0)
    for w, other in zip(kept.get_weights(), cut.get_weights(), strict=True):
        assert_allclose(w, other, rtol=1e-4, atol=1e-6)
    nothing = classifier()
    before = nothing.get_weights()
    assert nothing.fit(X, LABELS, sample_weight=weights * 0, verbose=0).history["loss"] == [0.0]
    for w, other in zip(nothing.get_weights(), before, strict=True):
        assert_array_equal(w, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_weight_at_all_costs_nothing_under_every_reduction(backend: str) -> None:
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
        model = linear(2, 4, loss=gpunn.losses.MeanSquaredError(reduction), backend=backend)
        before = model.get_weights()
        history = model.fit(X, TARGETS, sample_weight=np.zeros(ROWS), verbose=0).history
        assert history["loss"] == [0.0]
        assert_array_equal(model.get_weights()[0], before[0])


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_weighted_training_against_pytorch(reduction: str) -> None:
    torch = pytest.importorskip("torch")
    weights = RANDOM.random(ROWS)
    model = gpunn.Sequential(
        [layers.Input((4,)), layers.Dense(3, activation="softmax")], dtype="float64"
    )
    loss = gpunn.losses.SparseCategoricalCrossentropy(reduction=reduction)
    model.compile(optimizer=gpunn.optimizers.SGD(0.05), loss=loss)
    kernel, bias = (torch.tensor(w, requires_grad=True) for w in model.get_weights())
    model.fit(X, LABELS, sample_weight=weights, batch_size=8, shuffle=False, epochs=3, verbose=0)
    optimizer = torch.optim.SGD([kernel, bias], lr=0.05)
    x, y, w = torch.from_numpy(X).double(), torch.from_numpy(LABELS), torch.from_numpy(weights)
    for _ in range(3):
        for at in range(0, ROWS, 8):
            part = slice(at, at + 8)
            logits = x[part] @ kernel + bias
            rows = w[part] * torch.nn.functional.cross_entropy(logits, y[part], reduction="none")
            by = {"sum": 1.0, "sum_over_batch_size": len(rows)}.get(reduction, w[part].sum())
            optimizer.zero_grad()
            (rows.sum() / by).backward()
            optimizer.step()
    for ours, theirs in zip(model.get_weights(), (kernel, bias), strict=True):
        assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10)


# -- predictions with several axes


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weights", [None, "of samples", "of samples in a column", "of rows"])
def test_a_class_for_each_time_step(weights: str | None, backend: str) -> None:
    """x (8, 5, 4), y (8, 5): the loss is the mean over all 40 rows; PyTorch's gradient."""
    torch = pytest.importorskip("torch")
    x = RANDOM.normal(size=(8, 5, 4))
    y = RANDOM.integers(0, 3, (8, 5))
    w = np.ones((8, 5))
    given: Any = None
    if weights == "of rows":
        w = given = RANDOM.random((8, 5))
    elif weights:
        given = RANDOM.random(8)
        w = given[:, None] * w
        given = given[:, None] if "column" in weights else given
    model = gpunn.Sequential(
        [layers.Input((5, 4)), layers.Dense(3, activation="softmax")],
        dtype="float64",
        backend=backend,
    )
    model.compile(optimizer=gpunn.optimizers.SGD(0.3), loss=SPARSE, metrics=["accuracy"])
    assert model.output_shape == (None, 5, 3)
    kernel, bias = (torch.tensor(v, requires_grad=True) for v in model.get_weights())
    logits = torch.from_numpy(x) @ kernel + bias
    losses = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 3), torch.from_numpy(y).reshape(-1), reduction="none"
    )
    loss = (losses * torch.from_numpy(w).reshape(-1)).mean()
    loss.backward()
    hits = (logits.argmax(-1).numpy() == y).mean()
    assert_allclose(model.predict(x, verbose=0), logits.softmax(-1).detach().numpy(), rtol=1e-9)
    for targets in (y, y[..., None]):
        values = model.evaluate(x, targets, sample_weight=given, batch_size=3, verbose=0)
        assert_allclose(values, [loss.item(), hits], rtol=1e-9)
    model.fit(x, y, sample_weight=given, batch_size=8, verbose=0)
    for ours, theirs in zip(model.get_weights(), (kernel, bias), strict=True):
        assert_allclose(ours, (theirs - 0.3 * theirs.grad).detach().numpy(), rtol=1e-9)


def test_a_number_for_each_time_step() -> None:
    """y (8, 5) is accepted for predictions (8, 5, 1), as (8,) is for (8, 1)."""
    x, y = RANDOM.normal(size=(8, 5, 4)), RANDOM.normal(size=(8, 5))
    model = gpunn.Sequential([layers.Input((5, 4)), layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    expected = ((model.predict(x, verbose=0)[..., 0] - y) ** 2).mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(x, y[..., None], verbose=0) == pytest.approx(expected, rel=1e-5)
