"""Test focal losses, and those of regions, noisy labels and embeddings, beside Keras's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, losses, metrics, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
RANDOM = np.random.default_rng(0)
BITS = (RANDOM.uniform(size=(6, 5)) > 0.5).astype(np.float32)
CODES = np.array([0, 1, 2, 3, 4, 0])
ROWS = np.eye(5, dtype=np.float32)[CODES]
LOGITS = RANDOM.normal(size=(6, 5)).astype(np.float32) * 3
P = RANDOM.uniform(0.05, 0.95, size=(6, 5)).astype(np.float32)
UNITS = LOGITS / np.linalg.norm(LOGITS, axis=1, keepdims=True)
WEIGHTS = np.linspace(0.0, 2.0, 6).astype(np.float32)
CASES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("BinaryFocalCrossentropy", {}, BITS, P),
    ("BinaryFocalCrossentropy",
     {"apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5, "label_smoothing": 0.1}, BITS, P),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 0.0}, BITS, LOGITS),
    ("CategoricalFocalCrossentropy", {}, ROWS, P),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.2, 0.3, 0.4, 0.5], "gamma": 1.0}, ROWS, P),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, ROWS, LOGITS),
    ("Dice", {}, BITS, P),
    ("Dice", {"axis": -1}, BITS, P),
    ("Dice", {"axis": 0}, BITS, P),
    ("Tversky", {"alpha": 0.3, "beta": 0.7}, BITS, P),
    ("Tversky", {"axis": (1,)}, BITS, P),
    ("CategoricalGeneralizedCrossEntropy", {}, CODES, P),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.8}, CODES, P),
    ("Circle", {}, CODES % 3, UNITS),
    ("Circle", {"gamma": 2.0, "margin": 0.25, "remove_diagonal": False}, CODES % 3, UNITS),
    ("Circle", {}, CODES, UNITS),  # samples of which nearly all have no other of their class
]  # fmt: skip
each = pytest.mark.parametrize(("name", "options", "y", "z"), CASES)
OF_BATCHES = [{"axis": None}, {"axis": 0}, {"axis": [-2, -1]}]


@each
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", None])
def test_values_are_kerass(
    keras: Any, name: str, options: Any, y: Any, z: Any, reduction: Any
) -> None:
    ours, theirs = (
        getattr(k.losses, name)(**options, reduction=reduction) for k in (gpunn, keras)
    )
    assert_allclose(ours(y, z), np.asarray(theirs(y, z)), rtol=1e-5)
    if name not in ("Dice", "Tversky") or options.get("axis"):  # else it is of a batch
        wanted = np.asarray(theirs(y, z, sample_weight=WEIGHTS))
        assert_allclose(ours(y, z, sample_weight=WEIGHTS), wanted, rtol=1e-5)
    function = getattr(losses, ours.name)
    if reduction is None:
        assert_allclose(function(y, z, **options), ours(y, z), rtol=1e-6)
        assert function.__name__ == ours.name
    assert type(losses.get(function)) is type(ours)
    if (of_metrics := getattr(metrics, ours.name, None)) is not None:
        assert of_metrics is function and "Focal" in name


@each
def test_training_and_files_are_kerass(
    keras: Any, name: str, options: Any, y: Any, z: Any, tmp_path: Path, backend: str
) -> None:
    """In batches, of which the last one is smaller."""
    gpunn.use_backend(backend)
    end = "softmax" if y is not BITS else "sigmoid"
    models = []
    for k in (keras, gpunn):
        after = [k.layers.UnitNormalization()] if z is UNITS else []
        # Keras makes probabilities of logits, which loses digits of those far from 0.
        small = k.initializers.RandomUniform(-0.2, 0.2, seed=1)
        activation = None if z is LOGITS or after else end
        dense = k.layers.Dense(5, activation, kernel_initializer=small)
        model = k.Sequential([k.Input((5,)), dense, *after])
        model.compile(k.optimizers.SGD(0.05), getattr(k.losses, name)(**options))
        models.append(model)
    theirs, ours = models
    ours.set_weights(theirs.get_weights())
    logs = [
        model.fit(LOGITS, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
        for model in models
    ]
    assert_allclose(logs[1], logs[0], rtol=1e-4)
    for found, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    ours.save(tmp_path / "model.keras")
    for module in (gpunn, keras):
        again = module.saving.load_model(tmp_path / "model.keras")
        assert_allclose(
            again.evaluate(LOGITS, y, verbose=0), ours.evaluate(LOGITS, y, verbose=0), rtol=1e-5
        )
    assert ours.loss.get_config() == losses.deserialize(losses.serialize(ours.loss)).get_config()


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("name", ["BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"])
def test_probabilities_of_0_and_1_cost_what_they_do_with_keras(
    keras: Any, name: str, p: float
) -> None:
    t, y = np.array([[1.0, 0.0], [0.0, 1.0]], "f"), np.array([[p, 1 - p]] * 2, "f")
    for gamma in (0.0, 0.5, 1.0, 2.0):
        ours, theirs = (getattr(k.losses, name)(gamma=gamma, reduction=None)
                        for k in (gpunn, keras))  # fmt: skip
        assert_allclose(ours(t, y), np.asarray(theirs(t, y)), rtol=1e-5, atol=2e-8)
        given = gpunn.Variable(y)
        with gpunn.GradientTape() as tape:
            value = ops.sum(ours(t, given))
        assert np.isfinite(tape.gradient(value, given).numpy()).all()


@each
def test_nan_stays(name: str, options: Any, y: Any, z: Any) -> None:
    spoiled = z.copy()
    spoiled[1, y[1] if y.ndim == 1 else 2] = np.nan
    assert np.isnan(float(getattr(losses, name)(**options)(y, spoiled)))


def test_logits_cost_what_their_probabilities_do_without_a_limit() -> None:
    t, z = np.array([[1.0, 0.0]]), np.array([[-200.0, 200.0]])
    assert float(losses.BinaryFocalCrossentropy(from_logits=True)(t, z)) == pytest.approx(200.0)
    found = losses.CategoricalFocalCrossentropy(1.0, from_logits=True)(t, z)
    assert float(found) == pytest.approx(400.0)


def test_labels_in_a_column_are_those_of_rows() -> None:
    """As Keras says of them, which compares each label with each prediction."""
    loss = losses.CategoricalGeneralizedCrossEntropy(reduction="none")
    wanted = (1 - P[np.arange(6), CODES] ** 0.5) / 0.5
    for labels in (CODES, CODES[:, None], CODES.astype("f")):
        assert_allclose(loss(labels, P), wanted, rtol=1e-5)


@pytest.mark.parametrize("axis", OF_BATCHES)
def test_a_value_of_a_batch_takes_no_weights_of_samples(axis: Any) -> None:
    loss = losses.Dice(**axis)
    with pytest.raises(ValueError, match=r"one value for the whole batch.*axis=\(1, 2, 3\)"):
        loss(BITS, P, sample_weight=WEIGHTS)
    model = gpunn.Sequential([gpunn.Input((5,)), layers.Dense(5, "sigmoid")])
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=r"one value for the whole batch.*axis=\(1, 2, 3\)"):
        model.fit(LOGITS, BITS, sample_weight=WEIGHTS, verbose=0)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_pictures_are_compared_each_by_itself_or_in_classes(
    keras: Any, reduction: str, backend: str
) -> None:
    """Among them as many classes as samples, whose values are of another kind."""
    x = RANDOM.normal(size=(6, 4, 4, 3)).astype("f")
    y = (x[..., :2] + x[..., 1:] > 0.5).astype("f")
    for axis in ((1, 2, 3), (1, 2), (0, 1, 2), None):
        found = []
        for k, of in ((gpunn, {"backend": backend}), (keras, {})):
            dense = k.layers.Dense(2, "sigmoid", kernel_initializer="ones")
            model = k.Sequential([k.Input((4, 4, 3)), dense], **of)
            loss = k.losses.Tversky(0.3, 0.7, axis=axis, reduction=reduction)
            model.compile(k.optimizers.SGD(0.05), loss)
            model.fit(x, y, batch_size=2, epochs=1, shuffle=False, verbose=0)
            found.append((model.evaluate(x, y, batch_size=2, verbose=0), model.get_weights()[0]))
        assert_allclose(found[0][0], found[1][0], rtol=1e-5, err_msg=str(axis))
        assert_allclose(found[0][1], found[1][1], rtol=1e-4, err_msg=str(axis))


def test_a_sum_of_one_value_for_a_batch_is_this_value() -> None:
    """For a loss of one's own too, as when it is called."""
    class Whole(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.mean(ops.square(y_true - y_pred))

    model = gpunn.Sequential([gpunn.Input((5,)), layers.Dense(5)])
    loss = Whole(reduction="sum")
    model.compile("sgd", loss)
    wanted = float(loss(BITS, model.predict(LOGITS, verbose=0)))
    assert model.evaluate(LOGITS, BITS, verbose=0) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.BinaryFocalCrossentropy(gamma=-1), ValueError, "gamma must be at least 0"),
        (lambda: losses.BinaryFocalCrossentropy(alpha=2), ValueError, "alpha must be from 0 to 1"),
        (lambda: losses.CategoricalFocalCrossentropy([0.5, -1]), ValueError, r"alpha\[1\] must be"),
        (lambda: losses.CategoricalFocalCrossentropy([0.5] * 3)(ROWS, P), ValueError,
         "alpha has 3 factors, but there are 5 classes"),
        (lambda: losses.CategoricalFocalCrossentropy()(ROWS, P[:3]), ValueError,
         "must have the same shape"),
        (lambda: losses.Dice(axis=2)(BITS, P), ValueError, "axis must name one of the 2 axes"),
        (lambda: losses.Dice(axis="rows"), TypeError, "axis must"),
        (lambda: losses.Tversky(alpha="a"), TypeError, "alpha must be a number"),
        (lambda: losses.Dice()(BITS[:, :3], P), ValueError, "must have the same shape"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(1.0), ValueError, "q must be between"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy()(CODES + 1, P), IndexError, "classes"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy()(ROWS, P), ValueError, "expected a"),
        (lambda: losses.Circle(reduction="mean_with_sample_weight"), ValueError, "no reduction"),
        (lambda: losses.Circle()(CODES, P[:, None]), ValueError, r"\(batch, n\) are expected"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("name", ["Circle", "CategoricalGeneralizedCrossEntropy"])
@pytest.mark.parametrize("labels", [CODES + 0.5, CODES - 1, CODES + 1])
def test_labels_that_are_none_are_refused_before_a_step(name: str, labels: Any) -> None:
    model = gpunn.Sequential([gpunn.Input((5,)), layers.Dense(5, "softmax")])
    model.compile("sgd", getattr(losses, name)())
    if name == "Circle" and labels.min() == 1:
        assert np.isfinite(model.evaluate(LOGITS, labels + 1000, verbose=0))  # any numbers
        return
    with pytest.raises(ValueError, match=r"y_true (must hold whole|holds the label)"):
        model.fit(LOGITS, labels, verbose=0)


@pytest.mark.parametrize("name", ["BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"])
def test_outputs_that_are_no_probabilities_are_refused(name: str) -> None:
    end = "sigmoid" if name.startswith("B") else "softmax"
    for activation, options in (("tanh", {}), (end, {"from_logits": True})):
        model = gpunn.Sequential([gpunn.Input((5,)), layers.Dense(5, activation)])
        with pytest.raises(ValueError, match="from_logits"):
            model.compile("sgd", getattr(losses, name)(**options))
