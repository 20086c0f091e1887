"""Test that setting an argument later, as an attribute, equals passing it to the constructor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers
from gpunn.common import registry

X = np.linspace(-2.0, 2.0, 12).reshape(3, 4).astype(np.float32)
TRUE, PROBABLE = np.eye(3), np.full((3, 3), 0.2) + 0.4 * np.eye(3)[::-1]
GIVES = {
    "activation": lambda part: part(X),
    "regularizer": lambda part: part(X),
    "constraint": lambda part: part(X),
    "schedule": lambda part: [part(step) for step in range(6)],
    "loss": lambda part: part(TRUE.argmax(1) if part.sparse else TRUE, PROBABLE),
}
CASES = [(kind, *case) for kind in GIVES for case in registered.cases(kind)]


@pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)
def test_of_what_is_registered(kind: str, name: str, arguments: Any) -> None:
    cls: Any = registry.entries(kind)[name]
    first = registered.examples(kind, name)[0]
    part, other = cls(**first), cls(**{**first, **arguments})
    GIVES[kind](part)
    try:
        for attribute, value in arguments.items():
            setattr(part, attribute, value)
    except ValueError:  # a value that does not fit the others raises an error
        return
    np.testing.assert_allclose(GIVES[kind](part), GIVES[kind](other), rtol=1e-6)
    assert part.get_config() == other.get_config()


@pytest.mark.parametrize(
    ("cls", "attribute", "value"),
    [
        (layers.ReLU, "max_value", 0.5), (layers.ReLU, "threshold", 0.5),
        (layers.LeakyReLU, "negative_slope", 0.75), (layers.ELU, "alpha", 0.5),
        (layers.Softmax, "axis", 0),
    ],
)  # fmt: skip
def test_of_layers_with_a_curve(cls: Any, attribute: str, value: Any) -> None:
    layer = cls()
    model = gpunn.Sequential([gpunn.Input((4,)), layer])
    model.predict(X, verbose=0)
    setattr(layer, attribute, value)
    wanted = cls(**{attribute: value})(X)
    np.testing.assert_allclose(layer(X), wanted, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), wanted, rtol=1e-6)


def test_what_does_not_fit_changes_nothing() -> None:
    activation = gpunn.activations.Relu(0.5)
    with pytest.raises(ValueError, match="negative_slope must be at least 0; got -1"):
        activation.negative_slope = -1
    assert activation.negative_slope == 0.5
    assert activation([-2.0]).tolist() == [-1.0]
