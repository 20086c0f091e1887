"""Test the loss of sequences of labels beside PyTorch's and Keras's."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, losses, ops

if sys.version_info[:2] == (3, 11):
    import torch
    from torch.nn import functional as F

against_pytorch = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the PyTorch compared with is for Python 3.11"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(5, 9, 6)) * 2
LABELS = np.array([[1, 2, 3, 4], [2, 2, 2, 2], [3, 3, 3, 3], [5, 1, 0, 0], [4, 0, 0, 0]], np.int32)
COUNTS, STEPS = np.array([4, 4, 0, 2, 1]), np.array([9, 9, 5, 7, 3])


@against_pytorch
@pytest.mark.parametrize("how", ["tape", "function", "eager"])
@pytest.mark.parametrize("blank", [0, 5])
@pytest.mark.usefixtures("doubles")
def test_values_and_gradients_are_pytorchs(blank: int, how: str, backend: str) -> None:
    gpunn.use_backend(backend)
    labels = np.where(blank == LABELS, 5 - blank, LABELS)
    z = torch.tensor(LOGITS, requires_grad=True)
    theirs = F.ctc_loss(
        F.log_softmax(z, -1).transpose(0, 1), torch.tensor(labels), torch.tensor(STEPS),
        torch.tensor(COUNTS), blank=blank, reduction="none",
    )  # fmt: skip
    theirs.sum().backward()  # type: ignore[no-untyped-call]

    def value(z: Any) -> Any:
        return ops.ctc_loss(labels, z, COUNTS, STEPS, blank)

    assert_allclose(value(LOGITS), theirs.detach().numpy(), rtol=1e-12)
    slopes = gpunn.grad(lambda z: ops.sum(value(z)))
    slopes = gpunn.function(slopes) if how == "function" else slopes
    if how == "tape":
        given = gpunn.Variable(LOGITS)
        with gpunn.GradientTape() as tape:
            total = ops.sum(value(given))
        found = tape.gradient(total, given)
    else:
        slopes(ops.array(LOGITS))
        found = slopes(ops.array(LOGITS))
    assert_allclose(found, z.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_it_adds_up_all_paths() -> None:
    """Each path of classes stands for what is left without repetitions and blanks."""
    z = LOGITS[:1, :5, :3]
    p = np.exp(z[0]) / np.exp(z[0]).sum(-1, keepdims=True)
    for word in ([1], [1, 2], [1, 1], [2, 1, 2], []):
        total = 0.0
        for path in itertools.product(range(3), repeat=5):
            left = [c for c, _ in itertools.groupby(path) if c]
            total += np.prod(p[range(5), path]) * (left == word)
        target = np.array([[*word, 0, 0, 0][:3]])
        found = ops.ctc_loss(target, z, [len(word)], [5])
        assert float(found[0]) == pytest.approx(-np.log(total), rel=1e-6)


def test_labels_without_a_path_cost_infinity_and_give_no_gradient() -> None:
    z = gpunn.Variable(np.zeros((2, 3, 3)))
    with gpunn.GradientTape() as tape:
        values = ops.ctc_loss([[1, 1, 2], [1, 2, 1]], z, [3, 3], [3, 3])
        total = ops.sum(values)
    assert values.tolist() == [np.inf, pytest.approx(3 * np.log(3))]
    slopes = tape.gradient(total, z).numpy()
    assert not slopes[0].any() and np.isfinite(slopes[1]).all() and slopes[1].any()


@pytest.mark.parametrize(
    "reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", None]
)
def test_the_loss_is_kerass(keras: Any, reduction: Any) -> None:
    z, weights = LOGITS.astype("f"), np.linspace(0.5, 2.0, 5).astype("f")
    ours, theirs = (k.losses.CTC(reduction=reduction) for k in (gpunn, keras))
    for given in (None, weights):
        wanted = np.asarray(theirs(LABELS, z, sample_weight=given))
        assert_allclose(ours(LABELS, z, sample_weight=given), wanted, rtol=1e-5)
    assert_allclose(losses.ctc(LABELS, z), np.asarray(keras.losses.ctc(LABELS, z)), rtol=1e-5)
    again = losses.deserialize(losses.serialize(ours))
    assert again.get_config() == ours.get_config() and type(losses.get("ctc")) is losses.CTC


@pytest.mark.parametrize("weighted", [False, True])
def test_training_and_files_are_kerass(
    keras: Any, weighted: bool, backend: str, tmp_path: Path
) -> None:
    """In batches, of which the last one is smaller."""
    x = RANDOM.normal(size=(5, 9, 3)).astype("f")
    weights = np.linspace(0.5, 2.0, 5) if weighted else None
    found: list[Any] = []
    models: list[Any] = []
    first: list[np.ndarray] = []
    for k, of in ((gpunn, {"backend": backend}), (keras, {})):
        chain = [k.Input((9, 3)), k.layers.SimpleRNN(5, return_sequences=True), k.layers.Dense(6)]
        models.append(k.Sequential(chain, **of))
        first = models[0].get_weights() if len(models) == 1 else first
        models[-1].set_weights(first)
        models[-1].compile(k.optimizers.SGD(0.05), k.losses.CTC())
        logs = models[-1].fit(
            x, LABELS, batch_size=2, epochs=3, shuffle=False, verbose=0, sample_weight=weights
        ).history["loss"]
        found.append((logs, models[-1].get_weights(), models[-1].evaluate(x, LABELS, verbose=0)))
    assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-5)
    models[0].save(tmp_path / "model.keras")
    models[0].save(tmp_path / "model.gpunn")
    for k, name in ((gpunn, "model.keras"), (keras, "model.keras"), (gpunn, "model.gpunn")):
        again = k.saving.load_model(tmp_path / name)
        assert again.evaluate(x, LABELS, verbose=0) == pytest.approx(found[0][2], rel=1e-5)


def test_nan_stays() -> None:
    spoiled = LOGITS.copy()
    spoiled[1, 3, 2] = np.nan
    found = losses.ctc(LABELS, spoiled).numpy()
    assert np.isnan(found).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((LABELS, LOGITS[0], COUNTS, STEPS), ValueError, r"\(batch, steps, classes\)"),
        ((LABELS[:4], LOGITS, COUNTS, STEPS), ValueError, r"target has shape \(4, 4\)"),
        ((LABELS, LOGITS, COUNTS, STEPS, 6), ValueError, "mask_index must be from 0 to 5"),
        ((LABELS, LOGITS, COUNTS, STEPS, 0.5), TypeError, "mask_index"),
        ((LABELS + 3, LOGITS, COUNTS, STEPS), IndexError, "target"),
        ((LABELS, LOGITS, COUNTS + 1, STEPS), IndexError, "target_length"),
        ((LABELS, LOGITS, COUNTS, STEPS + 1), IndexError, "output_length"),
        ((LABELS + 0.5, LOGITS, COUNTS, STEPS), TypeError, "target must be integers"),
    ],
)
def test_what_does_not_fit_is_refused(given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ops.ctc_loss(*given)


def test_fit_refuses_what_does_not_fit_before_a_step() -> None:
    model = gpunn.Sequential([gpunn.Input((9, 3)), layers.Dense(6)])
    model.compile("sgd", losses.CTC())
    x = np.zeros((5, 9, 3))
    for labels, message in (
        (LABELS + 2, "holds the label 7, but the predictions have 6 classes"),
        (LABELS - 1, "holds the label -1"), (LABELS[:, 0], r"labels \(batch, most\)"),
        (LABELS + 0.5, "whole class numbers"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model.fit(x, labels, verbose=0)


def test_fit_refuses_labels_that_take_more_steps_than_there_are() -> None:
    model = gpunn.Sequential([gpunn.Input((4, 3)), layers.Dense(6)])
    model.compile("sgd", losses.CTC())
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    fits = [[1, 2, 3, 4, 0], [1, 2, 2, 0, 0]]
    assert np.isfinite(model.fit(x, np.array(fits), verbose=0).history["loss"]).all()
    for row in ([1, 1, 1, 0, 0], [1, 2, 3, 4, 5]):
        assert np.isinf(losses.CTC(reduction="none")([fits[0], row], model(x))[1])
        with pytest.raises(ValueError, match=r"y_true\[1\] is .* takes 5 steps.* have 4\."):
            model.fit(x, np.array([fits[0], row]), verbose=0)


def test_a_mask_of_outputs_is_refused() -> None:
    """All steps count, as with Keras, which multiplies the mask with the losses of samples."""
    masked = [gpunn.Input((9, 3)), layers.Masking(), layers.SimpleRNN(6, return_sequences=True)]
    model = gpunn.Sequential(masked, backend="numpy")
    model.compile("sgd", losses.CTC())
    x = np.ones((5, 9, 3))
    for act in (
        lambda: model.fit(x, LABELS, verbose=0), lambda: losses.CTC()(LABELS, model(x)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"the predictions have a mask.*output_length"):
            act()


def test_blanks_within_labels_are_refused(backend: str) -> None:
    gpunn.use_backend(backend)
    logits, labels = np.zeros((2, 5, 3), "float32"), np.array([[1, 2, 0], [2, 0, 1]])
    message = r"number of blanks \(class 0\) within the labels of a sample must be from 0 to 0"
    with pytest.raises(IndexError, match=message):
        losses.CTC()(labels, logits)
    model = gpunn.Sequential([gpunn.Input((5, 3)), layers.Dense(3)])
    model.compile("sgd", losses.CTC())
    with pytest.raises(IndexError, match=message):
        model.fit(logits, labels, verbose=0)


def test_no_labels_cost_what_blanks_in_all_steps_do() -> None:
    logits = LOGITS[:2].astype("float32")
    blanks = -ops.log_softmax(logits)[..., 0].numpy().sum(1)
    found = losses.CTC(reduction="none")(np.zeros((2, 0), int), logits)
    assert_allclose(found, blanks, rtol=1e-5)
