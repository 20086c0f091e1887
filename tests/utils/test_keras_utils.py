"""Test functions of Keras's ``utils`` on arrays and data sets, and its progress bar."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own


@pytest.mark.parametrize(("axis", "order"), [(-1, 2), (1, 2), (1, 1), (1, np.inf)])
def test_normalized_vectors_are_kerass(keras: Any, axis: int, order: Any) -> None:
    x = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1.0, -2.0, 2.0]])
    np.testing.assert_allclose(
        gpunn.utils.normalize(x, axis, order), keras.utils.normalize(x, axis, order)
    )
    tensor = gpunn.utils.normalize(gpunn.ops.convert_to_tensor(x), axis)
    np.testing.assert_allclose(tensor, keras.utils.normalize(x, axis), rtol=1e-6)
    columns = gpunn.utils.normalize(x, 0)  # which Keras divides by the norms of rows
    np.testing.assert_allclose(np.linalg.norm(columns, axis=0), 1.0)


@pytest.mark.parametrize(
    ("sizes", "left", "right"),
    [({"left_size": 0.7}, 7, 3), ({"right_size": 3}, 7, 3), ({"right_size": 0.25}, 8, 2),
     ({"left_size": 0.5, "right_size": 0.2}, 5, 2), ({"left_size": 4, "right_size": 2}, 4, 2)],
)  # fmt: skip
def test_split_data_have_kerass_sizes(keras: Any, sizes: Any, left: int, right: int) -> None:
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    ours = gpunn.utils.split_dataset((x, y), **sizes)
    if left + right == 10:  # others, Keras refuses on PyTorch, where it also shuffles always
        theirs = keras.utils.split_dataset((x, y), **sizes, preferred_backend="torch")
        assert [len(part) for part in theirs] == [left, right]
    found = [[(a.tolist(), int(b)) for a, b in part] for part in ours]
    pairs = list(zip(x.tolist(), y.tolist(), strict=True))
    assert found == [pairs[:left], pairs[-right:]]


def test_shuffled_parts_hold_each_sample_once() -> None:
    of_tensorflow = gpunn.data.Dataset.range(10)
    for data in (np.arange(10), [np.arange(10)], iter(range(10)), of_tensorflow):
        left, right = gpunn.utils.split_dataset(data, left_size=0.6, shuffle=True, seed=1)
        found = [int(np.ravel(sample)[0]) for part in (left, right) for sample in part]
        assert sorted(found) == list(range(10)) != found


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({}, "needs left_size or right_size"), ({"left_size": 10}, "a number of samples from 1 to 9"),
     ({"left_size": 1.5}, "or a fraction between 0 and 1"), ({"left_size": 0.01}, "would give 0"),
     ({"left_size": 0.7, "right_size": 0.7}, "would give 7 and 7 of 10 samples")],
)  # fmt: skip
def test_sizes_that_data_do_not_have_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gpunn.utils.split_dataset(np.arange(10), **sizes)
    with pytest.raises(TypeError, match="left_size must be a number of samples or a fraction"):
        gpunn.utils.split_dataset(np.arange(10), "half")


def test_a_progress_bar_of_ones_own(keras: Any, capsys: Any) -> None:
    shown = []
    for module in (gpunn, keras):
        bar = module.utils.Progbar(4, verbose=1, interval=0.0, stateful_metrics=["best"])
        for k in range(4):
            bar.add(1, [("loss", float(k)), ("best", float(k))])
        shown.append(capsys.readouterr().out)
        module.utils.Progbar(4, verbose=0).update(4)
        assert not capsys.readouterr().out
    for text in shown:
        *_, third, last = text.replace("\b", "").split("\r")
        assert "3/4" in third and "1.0000" in third.split("best")[0]  # the mean of three
        assert "2.0000" in third.split("best")[1]
        assert "4/4" in last and "3.0000" in last.split("best")[1] and last.endswith("\n")
    assert "loss 1.5000" in shown[0]  # Keras ends with the last value, unlike its documentation


def test_initializers_have_lower_case_names_too(keras: Any) -> None:
    names = [name for name in dir(keras.initializers) if name[0].islower() and name != "stft"]
    for name in names:
        theirs, ours = getattr(keras.initializers, name), getattr(gpunn.initializers, name)
        assert isinstance(ours, type) == isinstance(theirs, type)
        if isinstance(theirs, type):
            assert ours.__name__.removesuffix("Initializer") == theirs.__name__.removesuffix(
                "Initializer"
            )


@pytest.mark.filterwarnings("ignore:Limiting epochs")
def test_a_limit_of_the_epochs_of_all_fits(keras: Any) -> None:
    x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
    done = []
    for module in (gpunn, keras):
        model = module.Sequential([module.Input((2,)), module.layers.Dense(1)])
        model.compile("sgd", "mse")
        module.config.set_max_epochs(3)
        try:
            assert module.config.max_epochs() == 3
            done.append(model.fit(x, y, epochs=5, verbose=0).epoch)
        finally:
            module.config.set_max_epochs(None)
        done.append(model.fit(x, y, epochs=5, verbose=0).epoch)
    assert done[:2] == done[2:] == [[0, 1, 2], [0, 1, 2, 3, 4]]
    with pytest.raises(ValueError, match="max_epochs must be an integer of at least 1"):
        gpunn.config.set_max_epochs(0)


def test_interactive_logging_off_prints_nothing(capsys: Any) -> None:
    model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse")
    printed = []
    for module in (gpunn.config, gpunn.utils):
        module.disable_interactive_logging()
        try:
            assert not module.is_interactive_logging_enabled()
            model.fit(np.ones((4, 2)), np.ones((4, 1)))
            printed.append(capsys.readouterr().out)
        finally:
            module.enable_interactive_logging()
    model.fit(np.ones((4, 2)), np.ones((4, 1)))
    assert printed == ["", ""] and capsys.readouterr().out


def test_settings_that_are_as_they_are() -> None:
    config: Any = gpunn.config
    config.disable_flash_attention()
    config.set_image_data_format("channels_last")
    assert config.is_flash_attention_enabled() is False
    assert gpunn.KerasTensor((None, 3), sparse=False, ragged=False).shape == (None, 3)
    with pytest.raises(ValueError, match="Pass data_format to the layers"):
        gpunn.backend.set_image_data_format("channels_first")
    assert gpunn.Input((3,), sparse=False, ragged=None, optional=False).shape == (None, 3)
    for options in ({"sparse": True}, {"ragged": True}, {"optional": True}, {"tensor": 1}):
        with pytest.raises(ValueError, match=r"Input: .*are (dense|not supported); got"):
            gpunn.Input((3,), **options)
    with pytest.raises(ValueError, match="tensors are dense; got sparse=True"):
        gpunn.KerasTensor((None, 3), sparse=True)


def test_classes_in_a_tensor_become_a_tensor(keras: Any) -> None:
    for shape in ((4,), (4, 1), (2, 2)):
        labels = np.array([0, 2, 1, 0]).reshape(shape)
        ours, theirs = (
            lib.utils.to_categorical(lib.ops.convert_to_tensor(labels), 3) for lib in (gpunn, keras)
        )
        assert gpunn.ops.is_tensor(ours) and ours.dtype == "float32"  # on PyTorch int64
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_layers_at_any_depth_are_those_of_keras(keras: Any) -> None:
    def made(lib: Any) -> Any:
        class Block(lib.layers.Layer):
            def __init__(self, inner: Any) -> None:
                super().__init__(name="block")
                self.first = lib.layers.Dense(3, name="first")
                self.others = [inner, self.first]

            def call(self, x: Any) -> Any:
                return self.others[0](self.first(x))

        x = lib.Input((3,), name="x")
        y = Block(Block(lib.layers.Activation("relu", name="last")))(x)
        return lib.Model(x, lib.layers.Dense(1, name="end")(y), name="whole")

    for options in ({}, {"include_self": False}, {"recursive": False}):
        ours, theirs = (
            sorted(layer.name for layer in made(lib)._flatten_layers(**options))
            for lib in (gpunn, keras)
        )
        assert ours == theirs


def test_inputs_say_that_they_are_dense(keras: Any) -> None:
    for lib in (gpunn, keras):
        layer = lib.layers.InputLayer((2,), sparse=False, ragged=False, optional=False)
        assert [one.batch_shape for one in (layer, lib.layers.InputLayer((3,), 4))] == [
            (None, 2), (4, 3)
        ]  # fmt: skip
        assert not (layer.sparse or layer.ragged or layer.output.sparse or layer.output.ragged)
    config = gpunn.layers.InputLayer((3,), 4).get_config()
    assert gpunn.layers.InputLayer.from_config(config).batch_shape == (4, 3)
    for options in ({"sparse": True}, {"ragged": True}, {"optional": True}):
        with pytest.raises(ValueError, match=next(iter(options))):
            gpunn.layers.InputLayer((2,), **options)
