"""Test what errors about unknown names suggest: what a newcomer, or Keras's older names, meant."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import gpunn
from gpunn import callbacks, layers, losses, metrics, optimizers

ARGUMENTS: list[tuple[Any, dict[str, Any], str]] = [
    (layers.Dense, {"units": 3, "activations": "relu"}, "activation"),
    (layers.Dense, {"unit": 3}, "units"),
    (layers.Conv2D, {"filter": 3, "kernel_size": 3}, "filters"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "pading": "same"}, "padding"),
    (layers.LSTM, {"units": 3, "return_sequence": True}, "return_sequences"),
    (optimizers.SGD, {"lr": 0.1}, "learning_rate"),
    (optimizers.Adam, {"rate": 0.1}, "learning_rate"),
    (losses.MeanSquaredError, {"reductions": "sum"}, "reduction"),
    (losses.CategoricalCrossentropy, {"logits": True}, "from_logits"),
    (callbacks.EarlyStopping, {"patients": 3}, "patience"),
    (callbacks.ModelCheckpoint, {"path": "x"}, "filepath"),
    (metrics.AUC, {"num_threshold": 3}, "num_thresholds"),
    (gpunn.initializers.RandomNormal, {"std": 1.0}, "stddev"),
    (gpunn.regularizers.L1L2, {"L1": 1.0}, "l1"),
]


@pytest.mark.parametrize(("make", "given", "meant"), ARGUMENTS)
def test_a_wrong_argument_of_a_part_names_the_right_one(
    make: Any, given: dict[str, Any], meant: str
) -> None:
    with pytest.raises(TypeError) as caught:
        make(**given)
    wrong = (given.keys() - inspect.signature(make).parameters.keys()).pop()
    assert str(caught.value) == (
        f"{make.__name__}.__init__() got an unexpected keyword argument {wrong!r}. "
        f"Did you mean {meant!r}?"
    )


def test_an_argument_like_no_other_is_answered_by_what_there_is() -> None:
    with pytest.raises(TypeError, match=r"argument 'p'. It takes rate, noise_shape, seed, "):
        layers.Dropout(p=0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("package", "name", "meant"),
    [
        (layers, "Noise", "'GaussianNoise'"),
        (layers, "conv2d", "'Conv2D'"),
        (layers, "batchnorm", "'BatchNormalization'"),
        (layers, "LTSM", "'LSTM'"),
        (layers, "MaxPool", "'MaxPool1D' or 'MaxPool2D' or 'MaxPool3D'"),
        (layers, "Concat", "'Concatenate'"),
        (callbacks, "Checkpoint", "'ModelCheckpoint'"),
        (metrics, "Acc", "'Accuracy'"),
        (gpunn.initializers, "he", "'HeNormal'"),
    ],
)
def test_an_unknown_class_names_one_with_its_letters_and_words(
    package: Any, name: str, meant: str
) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(package, name)
    assert str(caught.value).endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize("name", ["Transformer", "Linear", "Attn", "Foo"])
def test_nothing_far_fetched_is_suggested(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'.$"):
        getattr(layers, name)


@pytest.mark.parametrize(
    ("get", "name", "meant"),
    [
        (losses.get, "sparse_crossentropy", "sparse_categorical_crossentropy"),
        (losses.get, "crossentropy", "binary_crossentropy"),
        (losses.get, "mean_square", "mean_squared_error"),
        (optimizers.get, "adma", "adam"),
        (optimizers.get, "rmsprp", "rm_sprop"),
        (metrics.get, "acc", "accuracy"),
        (metrics.get, "f1", "f1_score"),
        (gpunn.activations.get, "tahn", "tanh"),
    ],
)
def test_an_unknown_part_names_the_one_that_is_meant(get: Any, name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'. Did you mean '{meant}'[?]"):
        get(name)


@pytest.mark.parametrize(
    ("package", "name", "meant"),
    [
        (layers, "dense", "Dense"), (optimizers, "sgd", "SGD"), (optimizers, "adam", "Adam"),
        (callbacks, "early_stopping", "EarlyStopping"), (callbacks, "csv_logger", "CSVLogger"),
        (metrics, "auc", "AUC"),
    ],
)  # fmt: skip
def test_a_call_of_the_module_of_a_class_names_the_class(
    package: Any, name: str, meant: str
) -> None:
    with pytest.raises(TypeError, match=f"is a module. Did you mean '{meant}'[?]"):
        getattr(package, name)(3)


def test_a_missing_argument_names_the_class_that_was_called() -> None:
    with pytest.raises(TypeError, match=r"^Conv2D.__init__\(\) missing .* argument: 'kernel_size'"):
        layers.Conv2D(3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"missing 2 .* arguments: 'filters' and 'kernel_size'"):
        layers.Conv2D()  # type: ignore[call-arg]


def test_an_input_of_two_numbers_says_how_a_shape_is_written() -> None:
    with pytest.raises(ValueError, match=r"Input\(shape=\(28, 14\)\)"):
        gpunn.Input(28, 14)  # type: ignore[arg-type]
    assert gpunn.Input(shape=(28, 14)).shape == (None, 28, 14)
    assert gpunn.Input((28,), 14).shape == gpunn.Input(shape=(28,), batch_size=14).shape
