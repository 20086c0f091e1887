"""Parts without a `get_config` are made again from what their constructors were given."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, metrics, models

X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


class OtherName(layers.Layer):
    def __init__(self, scale: float = 2.0, inner: Any = None, **common: Any) -> None:
        super().__init__(**common)
        self.factor, self.body = scale, inner or layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.body(x) * self.factor


class Twice(layers.Layer):
    def __init__(self, scale: float = 2.0, **common: Any) -> None:
        super().__init__(**common)
        self.scale = 2 * scale

    def call(self, x: Any) -> Any:
        return x * self.scale


class Emptied(layers.Layer):
    def __init__(self, parts: list[Any], **common: Any) -> None:
        super().__init__(**common)
        self.first, self.parts = parts.pop(0), parts

    def call(self, x: Any) -> Any:
        x = self.first(x)
        for part in self.parts:
            x = part(x)
        return x


class OfOther(OtherName):
    def __init__(self, shift: float, **others: Any) -> None:
        self.moved = others.pop("move")
        super().__init__(scale=others.pop("scale", 3.0), **others)
        self.shift = shift

    def call(self, x: Any) -> Any:
        return super().call(x) + self.shift * self.moved


class NoOptions(layers.Layer):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.inner = layers.Dense(units)

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Deep(gpunn.Model):
    def __init__(self, count: int = 1, scale: float = 1.0) -> None:
        super().__init__()
        self.blocks, self.factor = [layers.Dense(3) for _ in range(count)], scale

    def call(self, x: Any, training: Any = None) -> Any:
        for block in self.blocks:
            x = block(x)
        return x * self.factor


class Reports(layers.Layer):
    def __init__(self, judge: Any, **common: Any) -> None:
        super().__init__(**common)
        self.judge = judge

    def call(self, x: Any) -> Any:
        return x


class Several(layers.Layer):
    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = list(parts)

    def call(self, x: Any) -> Any:
        return sum(part(x) for part in self.parts)


class OfWords(layers.Layer):
    """Attributes of the arguments' names hold what the constructor has made of these."""

    def __init__(
        self, rate: float = 0.5, dense: int = 4, body: str = "max", norm: Any = None,
        activation: Any = "relu", starts: str = "zeros", **common: Any,
    ) -> None:  # fmt: skip
        super().__init__(**common)
        self.rate, self.dense = layers.Dropout(rate), layers.Dense(dense)
        self.body = layers.ReLU() if body == "max" else layers.UnitNormalization()
        self.norm = layers.LayerNormalization() if norm == "layer" else layers.Rescaling(0.5)
        self.activation = gpunn.activations.get(activation)
        self.starts = gpunn.initializers.get(starts)

    def call(self, x: Any) -> Any:
        return self.activation(self.norm(self.body(self.dense(self.rate(x)))))


OWN: Any = {
    cls.__name__: cls
    for cls in (OtherName, Twice, Emptied, OfOther, NoOptions, Deep, Reports, Several, OfWords)
}


def chain(*parts: Any) -> Any:
    return gpunn.Sequential([gpunn.Input((3,)), *parts])


def by_file(suffix: str) -> Any:
    def road(model: Any, folder: Path) -> Any:
        if suffix == "keras":
            pytest.importorskip("h5py")
        model.save(folder / f"model.{suffix}")
        return models.load_model(folder / f"model.{suffix}", custom_objects=OWN)

    return road


def of_weights(make: Any) -> Any:
    def road(model: Any, folder: Path) -> Any:
        made = make(model)
        made(X)
        made.set_weights(model.get_weights())
        return made

    return road


ROADS = {
    "gpunn": by_file("gpunn"), "keras": by_file("keras"),
    "clone": of_weights(models.clone_model),
    "twice": lambda model, folder: by_file("gpunn")(
        pickle.loads(pickle.dumps(copy.deepcopy(model))), folder
    ),
}  # fmt: skip
MODELS = {
    "another name": lambda: chain(OtherName(5.0, layers.Dense(4, "tanh"))),
    "another name, left out": lambda: chain(OtherName()),
    "changed by the constructor": lambda: chain(Twice(5.0), Twice()),
    "an emptied list": lambda: chain(Emptied([layers.Dense(4), layers.Dense(2)])),
    "passed on to a base": lambda: chain(OfOther(1.0, move=0.5, inner=layers.Dense(2))),
    "taken from options": lambda: chain(OfOther(1.0, move=0.5, scale=4.0)),
    "without options": lambda: chain(NoOptions(4)),
    "made of words and numbers": lambda: chain(
        OfWords(0.25, 3, "unit", "layer", "tanh", "ones"), OfWords(dense=2, body="max")
    ),
    "a model": lambda: Deep(3, scale=4.0),
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", MODELS)
def test_what_is_made_again_computes_the_same(name: str, road: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    before = model(X).numpy()
    again = ROADS[road](model, tmp_path)
    np.testing.assert_array_equal(again(X), before)
    again = ROADS[road](again, tmp_path)  # what was made again has been given the same
    np.testing.assert_array_equal(again(X), before)


def test_keras_makes_layers_again_from_what_they_were_given(keras: Any) -> None:
    class Doubled(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, scale: float = 2.0, **common: Any) -> None:
            super().__init__(**common)
            self.scale = 2 * scale

    config = Doubled(5.0).get_config()
    assert config["scale"] == chain(Twice(5.0)).layers[0].get_config()["scale"] == 5.0


def test_an_attribute_that_is_set_later_counts() -> None:
    layer = OfOther(1.0, move=0.5)
    layer.shift = 7.0
    assert layer.get_config()["shift"] == 7.0


@pytest.mark.parametrize("road", ["gpunn", "keras", "clone"])
@pytest.mark.parametrize(
    "part",
    [
        metrics.MeanSquaredError(), gpunn.losses.MeanSquaredError(), layers.Identity(),
        gpunn.initializers.Identity(), gpunn.initializers.Constant(2.0),
        gpunn.activations.get("relu"), gpunn.callbacks.EarlyStopping(),
    ],
    ids=lambda part: f"{type(part)._kind} {type(part).__name__}",
)  # fmt: skip
def test_parts_of_one_name_are_told_apart(part: Any, road: str, tmp_path: Path) -> None:
    again = ROADS[road](chain(Reports(part)), tmp_path)
    assert type(again.layers[0].judge) is type(part)


def test_arguments_without_names_are_refused_before_a_file_is_written(tmp_path: Path) -> None:
    model = chain(Several(layers.Dense(2), layers.Dense(2)))
    with pytest.raises(ValueError, match=r"Several was created with \*parts"):
        model.save(tmp_path / "model.keras")
    assert not [*tmp_path.iterdir()]
    np.testing.assert_array_equal(copy.deepcopy(model)(X), model(X))


def test_a_configuration_of_ones_own_adds_what_attributes_lack() -> None:
    class Own(layers.Layer):
        def __init__(self, inner: Any, *more: Any, **common: Any) -> None:
            super().__init__(**common)
            self.body, self.more = inner, more

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.body.units}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return cls(layers.Dense(config.pop("units")), **config)

    own: Any = Own
    assert own.from_config(own(layers.Dense(4), 1).get_config()).body.units == 4


def test_parts_may_be_defined_where_no_module_is_named() -> None:
    """As `exec(source, {})` defines them: their ``__module__`` is None."""
    source = """
import gpunn
class Mine(gpunn.layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
    def call(self, x):
        return x * self.factor
class Decay(gpunn.regularizers.Regularizer):
    def __call__(self, x):
        return gpunn.ops.sum(x * x)
class Seen(gpunn.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []
    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
class Descent(gpunn.optimizers.SGD):
    pass
def error(y_true, y_pred):
    return gpunn.ops.mean((y_true - y_pred) ** 2)
"""
    named: dict[str, Any] = {"__name__": "mine"}
    losses = []
    for names in (named, {}):
        exec(source, names)
        model = gpunn.Sequential(
            [gpunn.Input((3,)), names["Mine"](2.0),
             layers.Dense(1, kernel_initializer="ones", kernel_regularizer=names["Decay"]())]
        )  # fmt: skip
        model.compile(names["Descent"](0.01), names["error"])
        seen = names["Seen"]()
        model.fit(X, np.ones((2, 1)), epochs=2, verbose=0, callbacks=[seen])
        losses.append(seen.losses)
    assert losses[0] == losses[1]
