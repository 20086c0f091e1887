"""Test models as JSON: `to_json`, and the model that is rebuilt from it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers


@gpunn.saving.register_serializable()
class Doubled(gpunn.Model):
    """A model with a custom call."""

    def __init__(self, units: int = 2) -> None:
        super().__init__()
        self.units, self.dense = units, layers.Dense(units, "tanh")

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.dense(x) * 2


def chain() -> Any:
    return gpunn.Sequential([gpunn.Input((3,)), layers.Dense(4, "relu"), layers.Dropout(0.5),
                             layers.Dense(2, kernel_regularizer="l2")])  # fmt: skip


def built_by_data() -> Any:
    model = gpunn.Sequential([layers.Dense(4), layers.BatchNormalization()])
    model.predict(np.ones((2, 3), "float32"), verbose=0)
    return model


def graph() -> Any:
    x = gpunn.Input((3,), name="x")
    dense = layers.Dense(3)
    return gpunn.Model({"x": x}, [dense(dense(x)), x * 2])


def own() -> Any:
    model = Doubled()
    model.build((None, 3))
    return model


def compared(result: Any) -> list[np.ndarray]:
    return result if isinstance(result, list) else [result]


@pytest.mark.parametrize("make", [chain, built_by_data, graph, own])
def test_the_model_of_the_text_is_the_same_but_for_its_weights(make: Any) -> None:
    model = make()
    text = model.to_json(indent=1)
    assert json.loads(text)["class_name"] in ("Sequential", "Model", "Custom>Doubled")
    again = gpunn.models.model_from_json(text)
    assert not np.array_equal(again.get_weights()[0], model.get_weights()[0])
    again.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    given = {"x": x} if make is graph else x
    for ours, theirs in zip(
        compared(again.predict(given)), compared(model.predict(given)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again.to_json() == model.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "does not describe a model"),
        ('{"class_name": "Sequential"}', "does not describe a model"),
        ('{"class_name": "os.system", "config": {}}', "Unknown model"),
    ],
)
def test_other_documents_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpunn.models.model_from_json(text)


def test_a_document_of_more_parts_than_allowed() -> None:
    with pytest.raises(ValueError, match="max_parts is 3"):
        gpunn.models.model_from_json(chain().to_json(), max_parts=3)


@gpunn.saving.register_serializable()
class Shifted(layers.Layer):
    """A layer whose config has an array."""

    def call(self, x: Any) -> Any:
        return x + 1

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shift": np.ones(2)}


def test_what_json_cannot_hold() -> None:
    model = gpunn.Sequential([gpunn.Input((3,)), Shifted()])
    with pytest.raises(ValueError, match="JSON cannot hold ndarray"):
        model.to_json()
