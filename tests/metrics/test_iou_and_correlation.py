"""Test sums, intersection over union and correlations beside Keras."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = [  # Keras's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:You are passing weight as `float`"),
]
RANDOM = np.random.default_rng(0)
ROWS, STEPS, CLASSES = 13, 3, 4
LABELS = RANDOM.integers(0, CLASSES, (ROWS, STEPS))
HOT = np.eye(CLASSES, dtype="float32")[LABELS]
SCORES = (RANDOM.dirichlet(np.ones(CLASSES), (ROWS, STEPS)) + 0.3 * HOT).astype("float32")
FOUND = SCORES.argmax(-1)
BITS, SHARES = LABELS[..., 0] % 2, SCORES[..., 0, 0]
OF_EACH = RANDOM.integers(0, 4, LABELS.shape)
ARGUMENTS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "IoU": ({"num_classes": 4, "target_class_ids": [0, 2]}, LABELS, FOUND),
    "IoU of scores": (
        {"num_classes": 4, "target_class_ids": (1,), "sparse_y_pred": False, "ignore_class": 2},
        LABELS, SCORES,
    ),
    "IoU along the second axis": (
        {"num_classes": 4, "target_class_ids": [0, 1, 3], "sparse_y_pred": False,
         "sparse_y_true": False, "axis": 0},
        np.moveaxis(HOT, -1, 0), np.moveaxis(SCORES, -1, 0),
    ),
    "IoU of numbers that are no classes": (
        {"num_classes": 3, "target_class_ids": [0, 1, 2]}, LABELS - 1, FOUND,
    ),
    "IoU of absent classes": ({"num_classes": 9, "target_class_ids": [3, 8]}, LABELS, FOUND),
    "MeanIoU": ({"num_classes": 4}, LABELS, FOUND),
    "MeanIoU of scores": ({"num_classes": 4, "sparse_y_pred": False}, LABELS, SCORES),
    "OneHotIoU": ({"num_classes": 4, "target_class_ids": [1, 3]}, HOT, SCORES),
    "OneHotMeanIoU": ({"num_classes": 4, "ignore_class": 0}, HOT, SCORES),
    "OneHotMeanIoU of numbers": ({"num_classes": 4, "sparse_y_pred": True}, HOT, FOUND),
    "BinaryIoU": ({}, BITS, SHARES),
    "BinaryIoU of ones": ({"target_class_ids": [1], "threshold": float(SHARES[0])}, BITS, SHARES),
    "PearsonCorrelation": ({}, HOT + 0.5 * SCORES[::-1], SCORES),
    "PearsonCorrelation of columns": ({"axis": 0}, HOT[:, 0] + SCORES[::-1, 0], SCORES[:, 1]),
    "ConcordanceCorrelation": ({}, HOT, SCORES),
    "ConcordanceCorrelation of samples": ({"axis": (1, 2)}, HOT, SCORES),
}  # fmt: skip


def made(library: Any, case: str, **options: Any) -> Any:
    return getattr(library.metrics, case.split()[0])(**ARGUMENTS[case][0], **options)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", ARGUMENTS)
def test_values_are_kerass(keras: Any, case: str, weighted: bool) -> None:
    """Over batches, the last one smaller, from the start and after a reset."""
    _, y_true, y_pred = ARGUMENTS[case]
    ours, theirs = made(gpunn, case), made(keras, case)
    counted = case.split()[0][-3:] == "IoU"
    if "axis" in case or "columns" in case:  # the rows are not along the first axis
        batches = [slice(None)]
    else:
        batches = [slice(0, 5), slice(5, 10), slice(10, None)]
    for _ in range(2):
        for at in batches:
            weights = OF_EACH[at] if counted else OF_EACH[at, 0]
            if y_true.ndim == 1:
                weights = OF_EACH[at, 0]
            if case == "PearsonCorrelation of columns":
                weights = OF_EACH[:CLASSES, 0]
            given = {"sample_weight": weights} if weighted else {}
            ours.update_state(y_true[at], y_pred[at], **given)
            theirs.update_state(y_true[at], y_pred[at], **given)
        wanted = float(keras.ops.convert_to_numpy(theirs.result()))
        assert float(ours.result()) == pytest.approx(wanted, rel=2e-5, abs=1e-6)
        assert ours.name == theirs.name.rpartition("_")[0] or ours.name == theirs.name
        ours.reset_state(), theirs.reset_state()
        assert ours.result() == 0


@pytest.mark.parametrize("name", sorted({case.split()[0] for case in ARGUMENTS} | {"Sum"}))
def test_arguments_are_kerass(keras: Any, name: str) -> None:
    ours, theirs = (inspect.signature(getattr(k.metrics, name)).parameters for k in (gpunn, keras))
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()}
    assert list(ours) == list(theirs)


def test_fractions_of_weights_count() -> None:
    """Keras's example; it truncates the weights unless dtype is a float."""
    metric = gpunn.metrics.MeanIoU(num_classes=2)
    metric.update_state([0, 0, 1, 1], [0, 1, 0, 1], sample_weight=[0.3, 0.3, 0.3, 0.1])
    assert metric.result() == pytest.approx((0.3 / 0.9 + 0.1 / 0.7) / 2, rel=1e-6)


@pytest.mark.parametrize("case", ["IoU of scores", "MeanIoU of scores", "BinaryIoU", "OneHotIoU",
                                  "PearsonCorrelation", "ConcordanceCorrelation"])  # fmt: skip
def test_in_a_model(keras: Any, every_backend: str, case: str, tmp_path: Path) -> None:
    """By `fit` and `evaluate`, with a small last batch; and from a file."""
    _, y_true, y_pred = ARGUMENTS[case]
    logs, again = [], []
    for library in (gpunn, keras):
        options = {"backend": every_backend} if library is gpunn else {}
        width = y_pred.shape[1:] or (1,)
        x = y_pred.reshape(ROWS, *width)
        y = y_true.reshape(ROWS, *width[: y_true.ndim - 1] or (1,))
        model = library.Sequential(
            [library.layers.Input(width), library.layers.Activation("linear")], **options
        )
        loss: Any = "mse"
        if "scores" in case:
            loss = library.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=[made(library, case, name="it")],
                      weighted_metrics=[made(library, case, name="weighted")])
        # Of each step: Keras takes no weights of samples there.
        weights = (OF_EACH if y_true.ndim > 1 else OF_EACH[:, 0]).astype("float32")
        run = {"sample_weight": weights, "batch_size": 5, "verbose": 0}
        logs.append(model.evaluate(x, y, return_dict=True, **run))
        if library is gpunn:
            model.save(tmp_path / "model.keras")
            loaded = gpunn.saving.load_model(tmp_path / "model.keras")
            again.append(loaded.evaluate(x, y, return_dict=True, **run))
    for name in ("it", "weighted"):
        assert logs[0][name] == pytest.approx(logs[1][name], rel=2e-5, abs=1e-6)
    assert again[0] == pytest.approx(logs[0], rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(), (5,), (5, 3)])
def test_sums_are_kerass(keras: Any, shape: tuple[int, ...], weighted: bool) -> None:
    ours, theirs = gpunn.metrics.Sum(), keras.metrics.Sum()
    for _ in range(3):
        values = RANDOM.normal(size=shape).astype("float32")
        given = {}
        if weighted:
            given["sample_weight"] = RANDOM.uniform(size=shape[:1]).astype("float32")
        ours.update_state(values, **given)
        theirs.update_state(values, **given)
    assert ours.name == "sum"
    wanted = float(keras.ops.convert_to_numpy(theirs.result()))
    assert ours.result() == pytest.approx(wanted, rel=1e-5)
    ours.reset_state()
    assert ours.result() == 0


def test_sums_in_the_call_of_a_layer(every_backend: str) -> None:
    class Counts(gpunn.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seen = gpunn.metrics.Sum(name="seen")

        def call(self, x: Any) -> Any:
            self.seen.update_state(x)
            return x

    x = RANDOM.normal(size=(7, 3)).astype("float32")
    model = gpunn.Sequential([gpunn.layers.Input((3,)), Counts()], backend=every_backend)
    model.compile("sgd", "mse")
    logs = model.evaluate(x, x, batch_size=3, verbose=0, return_dict=True)
    assert logs["seen"] == pytest.approx(x.sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["Sum", "Mean"])
def test_metrics_of_values_are_refused_in_compile(name: str) -> None:
    model = gpunn.Sequential([gpunn.layers.Input((3,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[getattr(gpunn.metrics, name)()])
    with pytest.raises(TypeError, match="updated with values, not with targets and predictions"):
        model.evaluate(np.ones((2, 3)), np.ones((2, 1)), verbose=0)


@pytest.mark.parametrize("name", ["pearson_correlation", "concordance_correlation"])
def test_functions_are_kerass(keras: Any, name: str) -> None:
    ours, theirs = getattr(gpunn.metrics, name), getattr(keras.metrics, name)
    for axis in (-1, 0, (0, 2)):
        wanted = keras.ops.convert_to_numpy(theirs(HOT + SCORES[::-1], SCORES, axis=axis))
        np.testing.assert_allclose(ours(HOT + SCORES[::-1], SCORES, axis=axis), wanted, rtol=1e-4,
                                   atol=1e-5)  # fmt: skip
    by_name = gpunn.metrics.get(name), gpunn.metrics.get(ours)
    assert {type(metric).__name__ for metric in by_name} == {type(by_name[0]).__name__}
    with pytest.raises(ValueError, match="must have the same shape"):
        ours(HOT, SCORES[:, :2])


def test_what_is_refused() -> None:
    iou = gpunn.metrics.IoU
    with pytest.raises(ValueError, match="target_class_ids must be below num_classes=2; got"):
        iou(2, [0, 2])
    for ids in (1, "01", [], [0.5], [-1]):
        with pytest.raises(ValueError, match="target_class_ids must"):
            iou(2, ids)
    with pytest.raises(ValueError, match="num_classes must be an integer"):
        gpunn.metrics.MeanIoU(0)
    with pytest.raises(ValueError, match="sparse_y_pred=False takes the largest"):
        gpunn.metrics.MeanIoU(4).update_state(LABELS, SCORES)
    with pytest.raises(ValueError, match="shape"):
        gpunn.metrics.MeanIoU(4).update_state(LABELS, FOUND, np.ones(5))
