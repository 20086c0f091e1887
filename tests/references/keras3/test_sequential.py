"""What Keras 3 asserts in its unit tests of Sequential: building, description and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

layers = gpunn.layers


def summary(model: Any) -> str:
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)


def test_summary_counts_parameters() -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(3)])
    text = summary(model)
    for line in ("Total params: 9", "Trainable params: 9", "Non-trainable params: 0"):
        assert line in text
    assert "Optimizer params" not in text

    model.compile(optimizer="adam", loss="mse", metrics=["mse"])
    model.fit(np.zeros((4, 2)), np.zeros((4, 3)), verbose=0)
    # Two slots for each weight, the step number and the rate.
    text = summary(model)
    assert "Total params: 29" in text
    assert "Optimizer params: 20" in text


def test_summary_of_two_layers() -> None:
    model = gpunn.Sequential(
        [layers.Dense(4, activation="relu"), layers.Dense(2, activation="softmax")]
    )
    model.build((None, 2))
    text = summary(model)
    for part in ("(None, 4)", "(None, 2)", "Total params: 22", "Trainable params: 22"):
        assert part in text
    assert model.count_params() == 22
    model.layers[0].trainable = False
    text = summary(model)
    assert "Trainable params: 10" in text
    assert "Non-trainable params: 12" in text


def dense_pair() -> list[Any]:
    return [layers.Dense(4), layers.Dense(5)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: gpunn.Sequential([layers.Input((2,), batch_size=3), *dense_pair()], name="seq"),
        lambda: gpunn.Sequential([layers.Dense(4, input_shape=(2,)), layers.Dense(5)]),
        lambda: gpunn.Sequential([layers.Dense(4, input_dim=2), layers.Dense(5)]),
        lambda: gpunn.Sequential(dense_pair()),
    ],
    ids=["Input", "input_shape", "input_dim", "deferred"],
)
@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")
def test_sequential(make: Any) -> None:
    model = make()
    x = np.random.default_rng(0).random((3, 2))
    assert len(model.layers) == 2
    assert np.asarray(model(x)).shape == (3, 5)
    assert model.built
    assert len(model.weights) == 4
    assert [w.shape for w in model.get_weights()] == [(2, 4), (4,), (4, 5), (5,)]
    assert tuple(model.output_shape)[1:] == (5,)
    model.pop()
    assert len(model.layers) == 1
    assert len(model.weights) == 2
    assert np.asarray(model(x)).shape == (3, 4)


def test_add_builds_the_same_model() -> None:
    model = gpunn.Sequential(name="seq")
    model.add(layers.Input(shape=(2,)))
    for layer in dense_pair():
        model.add(layer)
    assert model.name == "seq"
    assert model.built
    assert tuple(model.input_shape) == (None, 2)
    assert tuple(model.output_shape) == (None, 5)
    assert tuple(model.compute_output_shape((1, 2))) == (1, 5)
    assert len(model.layers) == 2


def test_an_unbuilt_model_has_no_shapes() -> None:
    model = gpunn.Sequential()
    assert not hasattr(model, "input_shape")
    assert not hasattr(model, "output_shape")
    assert not model.built


def test_a_second_input_is_refused() -> None:
    model = gpunn.Sequential([layers.Input(shape=(2,), batch_size=3)])
    with pytest.raises(ValueError, match=r"(?i)input"):
        model.add(layers.Input(shape=(2,), batch_size=3))


def test_one_name_twice_is_refused() -> None:
    model = gpunn.Sequential([layers.Dense(2, name="dense")])
    with pytest.raises(ValueError, match="name"):
        model.add(layers.Dense(2, name="dense"))


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no layers|empty"):
        gpunn.Sequential()(np.ones((3, 2)))


def test_what_is_no_layer_is_refused() -> None:
    with pytest.raises((ValueError, TypeError), match=r"(?i)layer"):
        gpunn.Sequential().add({})


def test_building_for_another_shape_is_refused() -> None:
    model = gpunn.Sequential([layers.Input(shape=(2,), batch_size=3), layers.Dense(2)])
    with pytest.raises(ValueError, match="shape"):
        model.build((3, 4))
    model.build((3, 2))


def test_the_training_argument_reaches_the_layers() -> None:
    model = gpunn.Sequential([layers.Dropout(0.5, seed=1)])
    ones = np.ones((4, 200))
    assert_allclose(np.asarray(model(ones)), 1.0)
    assert_allclose(np.asarray(model(ones, training=False)), 1.0)
    assert set(np.unique(np.asarray(model(ones, training=True)))) == {0.0, 2.0}


@pytest.mark.parametrize("built", [False, True])
def test_config_rebuilds_the_model(built: bool) -> None:
    model = gpunn.Sequential(dense_pair(), name="seq")
    if built:
        model.build((2, 3))
    again = gpunn.Sequential.from_config(model.get_config())
    assert again.name == "seq"
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert [layer.units for layer in again.layers] == [4, 5]
    x = np.random.default_rng(0).random((2, 3)).astype("float32")
    model(x)
    again(x)
    again.set_weights(model.get_weights())
    assert_allclose(np.asarray(again(x)), np.asarray(model(x)), rtol=1e-6)
