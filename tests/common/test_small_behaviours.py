"""Small behaviours that programs for Keras rely on, beside Keras."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras


@pytest.mark.parametrize("kind", ["optimizers", "losses", "metrics", "regularizers", "constraints"])
def test_no_part_is_none(keras: Any, kind: str) -> None:
    for m in (gpunn, keras):
        assert getattr(m, kind).get(None) is None


@pytest.mark.parametrize("name", ["SGD", "Adam", "Nadam"])
def test_an_optimizer_is_built_for_no_weights(keras: Any, name: str) -> None:
    for m in (gpunn, keras):
        optimizer = getattr(m.optimizers, name)()
        optimizer.build([])
        assert optimizer.built
        assert [v.name for v in optimizer.variables[:2]] == ["iteration", "learning_rate"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({"stateful_metrics": []}, "1."), ({"stateful_metrics": ["value"]}, "2."),
        ({"stateless_metrics": []}, "2."), ({"stateless_metrics": ["value"]}, "1."),
    ],
)  # fmt: skip
def test_a_progress_bar_averages_what_it_is_told(keras: Any, names: Any, shown: str) -> None:
    for m in (gpunn, keras):
        bar, out = m.utils.Progbar(3, interval=0.0, **names), io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()):
            bar.update(1, [("value", 0.0)])
        with contextlib.redirect_stdout(out):
            bar.update(2, [("value", 2.0)])
        assert f"value{': ' if m is keras else ' '}{shown}" in out.getvalue()
        with pytest.raises(ValueError, match="Only one of"):
            m.utils.Progbar(3, stateful_metrics=[], stateless_metrics=[])


@pytest.mark.parametrize("name", ["Add", "Multiply", "Maximum", "Concatenate"])
def test_masks_of_merged_inputs_are_checked(keras: Any, name: str) -> None:
    for m in (gpunn, keras):
        layer, inputs = getattr(m.layers, name)(), [m.Input((4, 5)), m.Input((4, 5))]
        for given, message in (
            ((inputs, np.ones((2, 4, 5))), "`mask` should be a list"),
            ((inputs[0], [None, None]), "`inputs` should be a list"),
            ((inputs, [None]), "should have the same length"),
        ):
            with pytest.raises(ValueError, match=message):
                layer.compute_mask(*given)
        assert layer.compute_mask(inputs, [None, None]) is None


def test_a_variable_of_a_layer_is_a_weight(keras: Any) -> None:
    for m in (gpunn, keras):
        layer = m.layers.Layer()
        weight = layer.add_variable((2, 3), "ones", name="w")
        assert tuple(weight.shape) == (2, 3) and weight.name == "w"
        assert [w.name for w in layer.weights] == ["w"]


def test_a_variable_of_a_model_is_a_weight_and_its_layers_are_its_own(keras: Any) -> None:
    for m in (gpunn, keras):

        class Scaled(m.Model):  # type: ignore[name-defined, misc]
            def __init__(self) -> None:
                super().__init__()
                self.scale = self.add_variable((), "ones", name="scale")

            def call(self, x: Any) -> Any:
                return x * self.scale

        model = Scaled()
        assert [w.name for w in model.weights] == ["scale"]
        with pytest.raises(AttributeError, match=r"`Model.layers` attribute is reserved"):
            model.layers = []
        with pytest.raises(AttributeError, match=r"`add\(\)` and `pop\(\)`"):
            m.Sequential().layers = []
