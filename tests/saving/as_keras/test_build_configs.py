"""`get_build_config` and `build_from_config` of layers and models, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"  # of Keras
)


def test_layers_and_models_say_what_they_are_built_for(keras: Any) -> None:
    for m in (gpunn, keras):
        layer = m.layers.Dense(2)
        assert layer.get_build_config() is None
        layer.build((None, 3))
        assert tuple(layer.get_build_config()["input_shape"]) == (None, 3)
        other = m.layers.Dense(2)
        other.build_from_config(layer.get_build_config())
        assert tuple(other.kernel.shape) == (3, 2)
        other = m.layers.Dense(2)
        other.build_from_config({"shapes_dict": {"input_shape": (None, 4)}})
        assert tuple(other.kernel.shape) == (4, 2)
        model = m.Sequential([m.layers.Dense(2)])
        model.build((None, 3))
        copy = m.Sequential([m.layers.Dense(2)])
        copy.build_from_config(model.get_build_config())
        assert copy.count_params() == 8


def scaled(m: Any) -> Any:
    """Return a class as in Keras's guide: its `build` needs more than a shape."""

    class Scaled(m.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, input_shape: Any, factor: float = 1.0) -> None:
            self.factor = factor
            first = m.initializers.Constant(factor)
            self.w = self.add_weight(shape=(input_shape[-1],), initializer=first, name="w")
            self.built_for = input_shape

        def call(self, x: Any) -> Any:
            return x * self.w * self.factor

        def get_build_config(self) -> Any:
            return {"input_shape": self.built_for, "factor": self.factor}

        def build_from_config(self, config: Any) -> None:
            self.build(config["input_shape"], config["factor"])

    return Scaled


def test_a_layer_is_built_as_it_says_when_it_is_described(keras: Any) -> None:
    for m in (gpunn, keras):
        cls = scaled(m)
        layer = cls(name="scaled")
        layer.build((None, 2), 3.0)
        made = m.layers.deserialize(m.layers.serialize(layer), custom_objects={"Scaled": cls})
        assert made.built and made.factor == 3.0
        assert np.asarray(m.ops.convert_to_numpy(made.w)).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("suffix", ["gpunn", "keras"])
def test_files_hold_what_it_is_built_from(suffix: str, tmp_path: Path) -> None:
    cls = scaled(gpunn)
    layer = cls(name="scaled")
    layer.build((None, 2), 3.0)
    model = gpunn.Sequential([gpunn.Input((2,)), layer, gpunn.layers.Dense(1)])
    x = np.array([[1.0, 2.0]])
    model.save(tmp_path / f"model.{suffix}")
    loaded = gpunn.models.load_model(
        tmp_path / f"model.{suffix}", custom_objects={"Scaled": cls}
    )
    assert loaded.layers[0].factor == 3.0
    assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))
