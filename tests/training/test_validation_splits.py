"""Test which rows `validation_split` holds out, and how many."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from small_models import LABELS, ROWS, SPARSE, TARGETS, classifier, linear

import gpunn
from gpunn import callbacks, layers
from gpunn.feeding import data
from gpunn.feeding import rows as rows_module
from gpunn.feeding.classes import labels_of, split
from gpunn.feeding.spec import Spec, TargetSpec
from gpunn.optimizers import SGD

BACKENDS = ["numpy", "compiled", "emulated"]

# Keras keeps floor(rows * (1 - fraction)), computed in floating point.
SPLITS = [
    (10, 0.25, 7), (10, 0.2, 8), (10, 0.1, 9), (10, 0.7, 3), (3, 0.5, 1), (7, 0.4, 4),
    (15, 0.8, 2), (100, 0.29, 71), (101, 0.5, 50), (10, 0.001, 9), (5, 0.6, 2), (20, 0.35, 13),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "fraction", "kept"), SPLITS)
@pytest.mark.parametrize("strategy", ["tail", "shuffled"])
def test_a_split_keeps_as_many_rows_as_in_keras(
    rows: int, fraction: float, kept: int, strategy: str
) -> None:
    model = gpunn.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(SGD(0.0), "mae")
    model.set_weights([[[0.0]]])
    trained, tested = [], []
    count = callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: trained.append(b))
    # Row k has the loss 2^k: the sum of the losses identifies the training rows.
    y = 2.0 ** np.arange(rows)[:, None]

    class Count(callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            tested.append(batch)

    log = model.fit(
        np.ones((rows, 1)), y, batch_size=1, verbose=0, callbacks=[count, Count()],
        validation_split=fraction, validation_strategy=strategy,
    ).history  # fmt: skip
    assert (len(trained), len(tested)) == (kept, rows - kept)
    if strategy == "tail":
        assert_allclose(log["loss"][0] * kept, y[:kept].sum(), rtol=1e-6)
        assert_allclose(log["val_loss"][0] * (rows - kept), y[kept:].sum(), rtol=1e-6)


def test_the_splits_are_those_of_keras(keras: Any) -> None:
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split

    for rows, fraction, kept in SPLITS:
        (train, _), (test, _) = train_validation_split((np.zeros(rows), None), fraction)
        assert (len(train), len(test)) == (kept, rows - kept)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", [SPARSE, "categorical_crossentropy", "binary_crossentropy"])
def test_a_stratified_split_keeps_the_shares(loss: str, backend: str) -> None:
    """40 rows of class 0, 40 of class 1, and optionally 20 of class 2: a fifth of each."""
    shares = [40, 60] if loss == "binary_crossentropy" else [40, 40, 20]
    labels = np.repeat(range(len(shares)), shares)
    x = np.arange(100, dtype="float32")[:, None]
    shape = (3,) if loss != "binary_crossentropy" else (1,)
    given = gpunn.losses.get(loss)
    target = TargetSpec("", shape, given)
    spec = Spec(
        gpunn.backends.get_backend(backend), "float32", (("x", (1,)),), (target,)
    )
    rows = data.to_rows(spec, x, np.eye(3)[labels] if loss[0] == "c" else labels, x[:, 0])
    parts = split(rows, 0.2, "stratified", labels_of(rows, spec), 3, spec.backend)
    numbers = [spec.backend.read(part.x)[:, 0].astype(int) for part in parts]
    assert sorted(np.concatenate(numbers)) == list(range(100))
    for part, of, share in zip(parts, numbers, (0.8, 0.2), strict=True):
        assert np.bincount(labels[of]).tolist() == [share * n for n in shares]
        assert_array_equal(spec.backend.read(part.arrays["weights"]), of)
    again = split(rows, 0.2, "stratified", labels_of(rows, spec), 4, spec.backend)[1]
    assert not np.array_equal(spec.backend.read(again.x)[:, 0], numbers[1])


def test_a_tail_that_lacks_a_class_is_announced() -> None:
    x = np.zeros((ROWS, 4))
    with pytest.warns(UserWarning, match=r"validation part has no row of class 0, 1\.") as caught:
        classifier().fit(x, np.sort(LABELS), validation_split=0.25, verbose=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    one_hot = np.eye(3)[np.repeat([0, 1, 2], [8, 7, 5])]
    with pytest.warns(UserWarning, match="validation_split") as caught:
        classifier(loss="categorical_crossentropy").fit(
            x, one_hot, validation_split=0.25, verbose=0
        )
    messages = [str(warning.message) for warning in caught]
    assert ["training part has no row of class 2." in text for text in messages] == [True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier().fit(x, LABELS, validation_split=0.25, verbose=0)
        linear(2, 4).fit(x, np.sort(TARGETS, axis=0), validation_split=0.25, verbose=0)


RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 4)).astype("float32")
Y = RANDOM.integers(0, 3, 30)
WEIGHTS: dict[str, dict[str, Any]] = {
    "by class": {"class_weight": {0: 1.0, 1: 50.0, 2: 0.0}},
    "by row": {"sample_weight": RANDOM.random(30)},
}
FORMS: dict[str, Any] = {
    "lists": np.ndarray.tolist,
    "a frame": lambda x: pd.DataFrame(x, columns=list("abcd")),
    "sparse rows": scipy.sparse.csr_matrix,
}


def weighted_logs(module: Any, x: Any, **arguments: Any) -> dict[str, list[float]]:
    """The logs of `fit` on weighted data, some of which are held out."""
    of = {"backend": arguments.pop("backend")} if "backend" in arguments else {}
    dense = module.layers.Dense(3, "softmax", kernel_initializer="ones")
    model = module.Sequential([module.Input((4,)), dense], **of)
    model.compile(
        module.optimizers.SGD(0.1), SPARSE, metrics=["accuracy"], weighted_metrics=[SPARSE]
    )
    history = model.fit(
        x, Y, validation_split=0.3, shuffle=False, batch_size=8, epochs=3, verbose=0, **arguments
    )
    return history.history


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("by", WEIGHTS)
def test_class_weights_are_for_training_and_sample_weights_for_both(keras: Any, by: str) -> None:
    expected = weighted_logs(keras, X, **WEIGHTS[by])
    for backend in BACKENDS:
        for again in range(2):  # again with the rows kept from the first call
            found = weighted_logs(gpunn, X, backend=backend, **WEIGHTS[by])
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                assert_allclose(found[name], values, rtol=1e-5, err_msg=f"{backend} {name} {again}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", WEIGHTS)
def test_so_they_are_in_whatever_form_the_rows_come(form: str, by: str) -> None:
    expected = weighted_logs(gpunn, X, **WEIGHTS[by])
    assert weighted_logs(gpunn, FORMS[form](X), **WEIGHTS[by]) == expected


@pytest.mark.parametrize("strategy", ["tail", "shuffled", "stratified"])
@pytest.mark.parametrize("room", ["all", "streamed"])
def test_class_weights_leave_the_rows_held_out_alone(
    strategy: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate of 0, so that the validation loss shows nothing else."""
    if room == "streamed":
        monkeypatch.setattr(rows_module, "_lack", lambda *of: True)
    found = []
    for weights in ({}, WEIGHTS["by class"]):
        gpunn.utils.set_random_seed(1)
        model = classifier()
        model.compile(SGD(0.0), SPARSE)
        arguments = {"validation_split": 0.3, "validation_strategy": strategy, "verbose": 0}
        found.append(model.fit(X, Y, **arguments, **weights).history)
    assert found[1]["val_loss"] == found[0]["val_loss"]
    assert found[1]["loss"] != found[0]["loss"]


@pytest.mark.parametrize("seed", range(5))
def test_rare_classes_have_their_share_within_one_row(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.permutation([1, 2, 3, 5, 9, 60])
    labels = random.permutation(np.repeat(range(6), counts))
    x = np.arange(len(labels), dtype="float32")[:, None]
    target = TargetSpec("", (6,), gpunn.losses.get(SPARSE))
    spec = Spec(gpunn.backends.get_backend("numpy"), "float32", (("x", (1,)),), (target,))
    fraction = random.uniform(0.1, 0.5)
    rows = data.to_rows(spec, x, labels, None)
    parts = split(rows, fraction, "stratified", labels_of(rows, spec), seed, spec.backend)
    kept, held_out = (
        np.bincount(labels[spec.backend.read(part.x)[:, 0].astype(int)], minlength=6)
        for part in parts
    )
    assert (kept + held_out).tolist() == counts.tolist()
    assert np.abs(held_out - counts * held_out.sum() / len(labels)).max() < 1
