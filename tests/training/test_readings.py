"""Test metrics beside losses that take logits, margins or class indices. They equal plain NumPy or
scikit-learn, raise an error, or warn where Keras gives another value."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference

import gpunn
from gpunn import layers, losses, metrics

BACKENDS = ["numpy", "compiled", "emulated"]
ROWS, INPUTS = 97, 4


def data(outputs: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and targets 0 or 1 (rows, outputs) that follow from them with some noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(ROWS, INPUTS)).astype(np.float32)
    directions = random.normal(size=(INPUTS, outputs))
    y = x @ directions + random.normal(size=(ROWS, outputs)) > 0.3
    return x, y.astype(np.float32)


def compiled(
    outputs: int, activation: Any, loss: Any, given: list[Any], backend: str = "numpy"
) -> Any:
    gpunn.utils.set_random_seed(3)
    chain = [layers.Input((INPUTS,)), layers.Dense(outputs, activation)]
    model = gpunn.Sequential(chain, backend=backend)
    model.compile("sgd", loss, metrics=given)
    return model


def quietly(*arguments: Any) -> Any:
    """A model that causes no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compiled(*arguments)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("backend", BACKENDS)
def test_metrics_of_probabilities_beside_a_loss_on_logits(backend: str) -> None:
    x, y = data()
    given = ["accuracy", "auc", "precision", metrics.ConfusionMatrix(), "binary_crossentropy"]
    with pytest.warns(UserWarning, match="from_logits=True. Keras passes it the values unchanged"):
        loss = losses.BinaryCrossentropy(from_logits=True)
        model = compiled(1, None, loss, given, backend)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    logits = model.predict(x, verbose=0)
    truth, answer = y[:, 0] == 1, logits[:, 0] > 0
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, answer))
    assert found["confusion_matrix"] == pytest.approx(found["accuracy"])
    assert found["precision"] == pytest.approx(reference.precision_score(truth, answer))
    assert found["auc"] == pytest.approx(reference.roc_auc_score(truth, logits), abs=0.01)
    assert found["binary_crossentropy"] == pytest.approx(found["loss"], rel=1e-5)
    # Also in training, where the metrics use the weights before each step.
    history = model.fit(x, y, batch_size=ROWS, verbose=0).history
    assert history["accuracy"] == pytest.approx([found["accuracy"]])
    assert history["auc"] == pytest.approx([found["auc"]])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_logits_and_their_probabilities_measure_alike(outputs: int, backend: str) -> None:
    """Compare a model of logits with a model that ends in the activation."""
    x, y = data(outputs)
    kinds: list[Any] = ["binary_accuracy", "recall", "true_positives", "kl_divergence"]
    loss: Any = losses.BinaryCrossentropy(from_logits=True)
    ends: Any = "sigmoid", "binary_crossentropy"
    if outputs > 1:
        y = np.eye(outputs, dtype=np.float32)[y.argmax(-1)]
        loss = losses.CategoricalCrossentropy(from_logits=True)
        ends = "softmax", "categorical_crossentropy"
    with pytest.warns(UserWarning, match=f"reads {ends[0]}"):
        model = compiled(outputs, None, loss, kinds, backend)
    twin = quietly(outputs, *ends, kinds, backend)
    twin.set_weights(model.get_weights())
    assert model.evaluate(x, y, verbose=0) == pytest.approx(twin.evaluate(x, y, verbose=0), 1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_metrics_that_take_logits_get_logits(backend: str) -> None:
    """Settings with which Keras scripts get correct results keep working, without a warning."""
    x, y = data()
    given = [
        metrics.BinaryAccuracy(threshold=0.0),
        metrics.AUC(from_logits=True),
        metrics.Precision(thresholds=0),
        metrics.BinaryCrossentropy(from_logits=True),
        metrics.Hinge(),
    ]
    model = quietly(1, None, losses.BinaryCrossentropy(from_logits=True), given, backend)
    found = model.evaluate(x, y, verbose=0)
    logits = model.predict(x, verbose=0)
    truth, answer = y[:, 0] == 1, logits[:, 0] > 0
    assert found[1] == pytest.approx(reference.accuracy_score(truth, answer))
    assert found[2] == pytest.approx(reference.roc_auc_score(truth, logits), abs=0.01)
    assert found[3] == pytest.approx(reference.precision_score(truth, answer))
    assert found[4] == pytest.approx(found[0], rel=1e-5)
    assert found[5] == pytest.approx(np.maximum(1 - (2 * y - 1) * logits, 0).mean(), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("signs", [True, False], ids=["-1 and 1", "0 and 1"])
@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "perceptron_criterion"])
@pytest.mark.parametrize("end", [None, "tanh"])
def test_metrics_beside_a_margin_decide_at_zero(
    end: str | None, loss: str, signs: bool, backend: str
) -> None:
    x, y = data()
    with pytest.warns(UserWarning, match="decides at 0, and targets of 0 instead of -1. Keras"):
        model = compiled(1, end, loss, ["accuracy", "precision", "recall", "auc"], backend)
    model.fit(x, 2 * y - 1 if signs else y, epochs=3, verbose=0)
    found = model.evaluate(x, 2 * y - 1 if signs else y, verbose=0)[1:]
    scores = model.predict(x, verbose=0)
    truth, answer = y[:, 0] == 1, scores[:, 0] > 0
    assert found == [
        pytest.approx(reference.accuracy_score(truth, answer)),
        pytest.approx(reference.precision_score(truth, answer)),
        pytest.approx(reference.recall_score(truth, answer)),
        pytest.approx(reference.roc_auc_score(truth, scores), abs=0.02),
    ]


@pytest.mark.parametrize("kind", ["Precision", "Recall", "AUC", "TruePositives", "FalseNegatives"])
def test_class_numbers_do_not_fit_metrics_of_each_output(kind: str) -> None:
    loss = "sparse_categorical_crossentropy"
    with pytest.raises(
        ValueError, match=r"each of the 2 outputs.*class indices.*sigmoid.*class_id"
    ):
        compiled(2, "softmax", loss, [getattr(metrics, kind)()])


def test_the_remedies_give_the_numbers_of_one_class() -> None:
    x, y = data()
    loss = "sparse_categorical_crossentropy"
    given = [metrics.Precision(class_id=1), metrics.Recall(class_id=1), metrics.F1Score()]
    model = quietly(2, "softmax", loss, given)
    found = model.evaluate(x, y[:, 0].astype(int), verbose=0)[1:]
    answer = model.predict(x, verbose=0).argmax(-1)
    truth = y[:, 0] == 1
    assert found[0] == pytest.approx(reference.precision_score(truth, answer))
    assert found[1] == pytest.approx(reference.recall_score(truth, answer))
    assert found[2] == pytest.approx(reference.f1_score(truth, answer, average="macro"))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("kind", [metrics.AUC, metrics.BinaryCrossentropy])
def test_a_metric_on_logits_refuses_probabilities(kind: Any, activation: str) -> None:
    with pytest.raises(ValueError, match=f"from_logits=True, but the model ends in {activation}"):
        compiled(2, activation, "mse", [kind(from_logits=True)])


def test_class_numbers_are_not_read_from_probabilities_in_silence(keras: Any) -> None:
    x, y = data(3)
    for activation, loss in [("sigmoid", "binary_crossentropy"), ("softmax", "mse")]:
        with pytest.warns(UserWarning, match="'mean_io_u' reads class numbers.*BinaryIoU"):
            model = compiled(3, activation, loss, [metrics.MeanIoU(2)])
            found = model.evaluate(x, y, verbose=0)[1]
        theirs = keras.metrics.MeanIoU(2)
        theirs.update_state(y, model.predict(x, verbose=0))
        assert found == pytest.approx(float(theirs.result()), rel=1e-5)
    quietly(3, "softmax", "categorical_crossentropy", [metrics.OneHotMeanIoU(3)])
    quietly(3, "sigmoid", "binary_crossentropy", [metrics.BinaryIoU()])


def test_accuracy_of_several_sigmoids_names_the_other_one() -> None:
    x, y = data(3)
    with pytest.warns(UserWarning, match="'binary_accuracy'") as caught:
        model = compiled(3, "sigmoid", "binary_crossentropy", ["accuracy", "acc"])
        found = model.evaluate(x, y, verbose=0)
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
    assert len(caught) == 2  # each once
    assert caught[0].filename == __file__
    predictions = np.asarray(quietly(3, "sigmoid", "mse", ["accuracy"]).predict(x, verbose=0))
    assert found[1] == pytest.approx((predictions.argmax(-1) == y.argmax(-1)).mean())
    quietly(3, "sigmoid", "binary_crossentropy", ["binary_accuracy", "categorical_accuracy"])
    quietly(3, "softmax", "categorical_crossentropy", ["accuracy"])
    quietly(1, "sigmoid", "binary_crossentropy", ["accuracy"])


def test_it_warns_once_where_a_model_is_built_by_its_data() -> None:
    x, y = data()
    model = gpunn.Sequential([layers.Dense(1)])
    model.compile("sgd", losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    with pytest.warns(UserWarning, match="reads sigmoid") as caught:
        for _ in range(2):
            model.fit(x, y, verbose=0)
            model.evaluate(x, y, verbose=0)
            model.train_on_batch(x, y)
    assert [warning.filename for warning in caught] == [__file__]


class ByHand(gpunn.Sequential):
    """Evaluates by a step of its own."""

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        return self.compute_metrics(x, y, self(x, training=False))


@pytest.mark.filterwarnings("ignore:.*reads sigmoid")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "loss", [losses.BinaryCrossentropy(from_logits=True), "hinge"], ids=["logits", "signs"]
)
def test_steps_by_hand_measure_as_evaluate_does(loss: Any, backend: str) -> None:
    x, y = data()
    found = []
    for kind in (gpunn.Sequential, ByHand):
        gpunn.utils.set_random_seed(3)
        model = kind([layers.Input((INPUTS,)), layers.Dense(1)], backend=backend)
        model.compile("sgd", loss, metrics=["accuracy", "auc", metrics.Precision()])
        found.append(model.evaluate(x, 2 * y - 1 if loss == "hinge" else y, verbose=0)[1:])
    assert found[1] == pytest.approx(found[0], rel=1e-6)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mse"])
def test_a_softmax_over_one_output_warns(loss: str) -> None:
    with pytest.warns(UserWarning, match="softmax to a single output.*always 1.*sigmoid") as caught:
        model = compiled(1, "softmax", loss, [])
        model.fit(*data(), verbose=0)
        model.evaluate(*data(), verbose=0)
    assert [warning.filename for warning in caught] == [__file__]
    hidden = gpunn.Sequential([layers.Dense(1), layers.Softmax(), layers.Dense(1, "sigmoid")])
    hidden.compile("sgd", loss)
    with pytest.warns(UserWarning, match="The layer 'softmax.*' applies softmax to a single"):
        hidden.fit(*data(), verbose=0)
    quietly(1, "sigmoid", "binary_crossentropy", [])
    quietly(2, "softmax", "mse", [])


# -- Keras's results, as docs/reference/keras-differences.md states them


def beside_keras(
    keras: Any, outputs: int, activation: Any, loss: tuple[Any, Any], given: Any, y: np.ndarray
) -> tuple[list[float], list[float], np.ndarray]:
    """Keras's and gpunn's measurements of one model, and its predictions."""
    x, _ = data()
    model = compiled(outputs, activation, loss[1], given(gpunn))
    theirs = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(outputs, activation)])
    theirs.compile("sgd", loss[0], metrics=given(keras))
    theirs.set_weights(model.get_weights())
    predictions = model.predict(x, verbose=0)
    np.testing.assert_allclose(theirs.predict(x, verbose=0), predictions, rtol=1e-4, atol=1e-6)
    options: dict[str, Any] = {"batch_size": ROWS, "verbose": 0}
    return theirs.evaluate(x, y, **options), model.evaluate(x, y, **options), predictions


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The metric:UserWarning")
def test_keras_measures_logits_as_they_are(keras: Any) -> None:
    _, y = data()
    loss = [k.losses.BinaryCrossentropy(from_logits=True) for k in (keras, gpunn)]
    theirs, ours, logits = beside_keras(
        keras, 1, None, (loss[0], loss[1]), lambda k: ["accuracy", k.metrics.AUC()], y
    )
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert theirs[1] == pytest.approx(np.mean((logits > 0.5) == y))
    assert ours[1] == pytest.approx(np.mean((logits > 0) == y))
    assert ours[1] != pytest.approx(theirs[1])
    area = reference.roc_auc_score(y[:, 0], logits[:, 0])
    assert abs(ours[2] - area) < 0.01 < abs(theirs[2] - area)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The metric:UserWarning")
def test_keras_thresholds_scores_at_a_half(keras: Any) -> None:
    y = 2 * data()[1] - 1
    theirs, ours, scores = beside_keras(keras, 1, None, ("hinge",) * 2, lambda _: ["accuracy"], y)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert theirs[1] == pytest.approx(np.mean((scores > 0.5) == y))
    assert ours[1] == pytest.approx(np.mean((scores > 0) == (y > 0)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_reads_no_class_of_class_numbers(keras: Any) -> None:
    labels = data()[1][:, 0].astype(int)
    loss = "sparse_categorical_crossentropy"
    theirs, ours, predictions = beside_keras(
        keras, 2, "softmax", (loss, loss), lambda k: [k.metrics.Precision(class_id=1)], labels
    )
    expected = reference.precision_score(labels, predictions[:, 1] > 0.5)
    assert ours[1] == pytest.approx(expected) != pytest.approx(theirs[1], abs=0.05)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["Precision", "Recall", "AUC", "F1Score"])
def test_keras_refuses_class_numbers_too(keras: Any, kind: str) -> None:
    model = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(2, "softmax")])
    metric = getattr(keras.metrics, kind)()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])
    x, y = data()
    with pytest.raises((ValueError, RuntimeError)):
        model.evaluate(x, y[:, 0].astype(int), verbose=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_says_it_of_a_softmax_over_one_output_too(keras: Any) -> None:
    model = keras.Sequential([keras.Input((INPUTS,)), keras.layers.Dense(1, "softmax")])
    with pytest.warns(UserWarning, match="using a softmax over axis"):
        model.predict(data()[0], verbose=0)
