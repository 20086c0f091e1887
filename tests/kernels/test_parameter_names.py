"""The parameters that a part passes to its functor, and the functor's names for them."""

from __future__ import annotations

from typing import Any

import pytest
import registered

import gpunn
from gpunn.backends.cupy.launch.kernel_source import parameter_names

KINDS = (
    "activation", "constraint", "loss", "metric", "optimizer", "regularizer", "schedule"
)  # fmt: skip
MORE = [  # in the form that models train with
    gpunn.losses.BinaryCrossentropy().on_logits(),
    gpunn.losses.CategoricalCrossentropy().on_logits(),
]
CASES = [(kind, *case) for kind in KINDS for case in registered.cases(kind, "MeanMetricWrapper")]


def formula(kind: str, name: str, arguments: Any) -> Any:
    """Return the part of a case; for a metric that is the mean of a loss, that loss."""
    made = registered.make(kind, name, arguments)
    return getattr(made, "loss", made)


@pytest.mark.parametrize(("kind", "name", "arguments"), CASES, ids=registered.label)
def test_both_name_the_same_numbers_in_the_same_order(kind: str, name: str, arguments: Any) -> None:
    made = formula(kind, name, arguments)
    assert made.parameter_names == parameter_names().get(made.functor, ())
    assert len(made.parameters) >= len(made.parameter_names)


def test_every_functor_that_is_given_numbers_is_compared() -> None:
    compared = {made.functor for made in ([formula(*case) for case in CASES] + MORE)}
    assert set(parameter_names()) <= compared
