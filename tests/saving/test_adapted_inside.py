"""What layers in attributes of a user's class have learnt is in the file, or saving is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.saving import deserialize_keras_object, serialize_keras_object

WORDS = np.array([["oak"], ["elm"]], object)


class Silent(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lookup, self.out = layers.StringLookup(name="words"), layers.Dense(2)

    def build(self, input_shape: Any) -> None:
        self.out.build(input_shape)

    def call(self, x: Any) -> Any:
        return self.out(x)


class Told(Silent):
    def __init__(self, lookup: Any = None, **options: Any) -> None:
        super().__init__(**options)
        if lookup is not None:
            self.lookup = deserialize_keras_object(lookup)

    def get_config(self) -> Any:
        return {**super().get_config(), "lookup": serialize_keras_object(self.lookup)}


class Fixed(Silent):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lookup = layers.StringLookup(vocabulary=["a", "b"])


class Whole(gpunn.Model):
    def __init__(self) -> None:
        super().__init__()
        self.edges, self.out = layers.Discretization(num_bins=3, name="edges"), layers.Dense(1)

    def call(self, x: Any, training: Any = None) -> Any:
        return self.out(x)


def of(layer: Any) -> Any:
    return gpunn.Sequential([gpunn.Input((3,)), layer])


@pytest.mark.parametrize("ending", [".gpunn", ".keras"])
def test_a_lookup_that_the_configuration_leaves_out(ending: str, tmp_path: Path) -> None:
    if ending == ".keras":
        pytest.importorskip("h5py")
    path, layer = tmp_path / f"m{ending}", Silent(name="mine")
    model = of(layer)
    model.save(path)  # nothing is learnt
    before = path.read_bytes()
    layer.lookup.adapt(WORDS)
    with pytest.raises(ValueError, match=r"what 'mine/words' has learnt, 2 categories.*get_config"):
        model.save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", [".gpunn", ".keras"])
@pytest.mark.parametrize("kind", [Told, Fixed])
def test_what_is_in_the_configuration_is_kept(ending: str, kind: Any, tmp_path: Path) -> None:
    if ending == ".keras":
        pytest.importorskip("h5py")
    layer = kind()
    if kind is Told:
        layer.lookup.adapt(WORDS)
    of(layer).save(tmp_path / f"m{ending}", announce=False)
    again = gpunn.saving.load_model(tmp_path / f"m{ending}", {kind.__name__: kind})
    assert again.layers[0].lookup.get_vocabulary() == layer.lookup.get_vocabulary()


def test_an_adapted_layer_of_a_model_class(tmp_path: Path) -> None:
    model = Whole()
    model(np.ones((2, 2)))
    model.edges.adapt(np.arange(9.0).reshape(-1, 1))
    with pytest.raises(ValueError, match="what 'edges' has learnt"):
        model.save(tmp_path / "m.gpunn")
