"""Recurrent layers, compared with Keras: the same weights give the same outputs and steps."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SimpleRNN", {}),
    ("SimpleRNN", {"activation": "relu", "use_bias": False}),
    ("LSTM", {}),
    ("LSTM", {"use_bias": False, "recurrent_activation": "hard_sigmoid"}),
    ("LSTM", {"unit_forget_bias": False, "kernel_regularizer": "l2", "implementation": 1}),
    ("GRU", {}),
    ("GRU", {"use_bias": False}),
    ("GRU", {"reset_after": False}),
    ("GRU", {"reset_after": False, "recurrent_constraint": "unit_norm"}),
]
STEPS, FEATURES, UNITS = 5, 3, 4


def data(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("float32")


def near(ours: Any, theirs: Any, tolerance: float = 2e-6) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), tolerance, tolerance)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("sequences", "backwards"), [*product([False, True], repeat=2)])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_predictions_and_steps_are_those_of_keras(
    every_backend: str, keras: Any, name: str, options: dict, sequences: bool, backwards: bool
) -> None:
    gpunn.use_backend(every_backend)
    keras.utils.set_random_seed(1)  # with this seed, no relu's input is near 0
    options = {**options, "return_sequences": sequences, "go_backwards": backwards}
    made = [
        library.Sequential(
            [
                library.Input((STEPS, FEATURES)),
                getattr(library.layers, name)(UNITS, **options),
                library.layers.Dense(2),
            ]
        )
        for library in (gpunn, keras)
    ]
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    x, y = data(6, STEPS, FEATURES), data(6, *([STEPS] if sequences else []), 2)
    near([ours.predict(x, verbose=0)], [theirs.predict(x, verbose=0)], 1e-6)
    for library, model in zip((gpunn, keras), made, strict=True):
        model.compile(library.optimizers.SGD(0.1, momentum=0.9), "mse")
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)  # the last has 2
    near(ours.get_weights(), theirs.get_weights())


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_states_are_outputs_and_inputs(every_backend: str, keras: Any, name: str) -> None:
    """An encoder's states start a decoder, as in Keras's example of sequence to sequence."""
    gpunn.use_backend(every_backend)
    made = []
    for library in (gpunn, keras):
        of = getattr(library.layers, name)
        first, second = library.Input((STEPS, FEATURES)), library.Input((2, FEATURES))
        y, *states = of(UNITS, return_state=True)(first)
        z, *after = of(UNITS, return_state=True, return_sequences=True)(
            second, initial_state=states
        )
        made.append(library.Model([first, second], [y, z, *after]))
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    xs = [data(6, STEPS, FEATURES), data(6, 2, FEATURES)]
    near(ours.predict(xs, verbose=0), theirs.predict(xs, verbose=0), 1e-6)
    again = gpunn.Model.from_config(ours.get_config())
    again.set_weights(ours.get_weights())
    near(again.predict(xs, verbose=0), ours.predict(xs, verbose=0), 0)


def decaying(library: Any) -> Any:
    """Keras's example of a cell of one's own, here with an output that is not its state."""

    class Decaying(library.layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = self.state_size = units
            self.output_size = units + 1

        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
            self.built = True

        def call(self, inputs: Any, states: Any) -> Any:
            state = library.ops.matmul(inputs, self.kernel) + states[0] * 0.5
            total = library.ops.sum(state, axis=-1, keepdims=True)
            return library.ops.concatenate([state, total], axis=-1), [state]

    return Decaying


@pytest.mark.parametrize("stack", ["one", "list", "mixed"])
def test_cells_of_ones_own(every_backend: str, keras: Any, stack: str) -> None:
    gpunn.use_backend(every_backend)
    made = []
    for library in (gpunn, keras):
        own = decaying(library)
        cell = {
            "one": lambda own=own: own(UNITS),
            "list": lambda own=own: [own(3), own(2)],
            "mixed": lambda own=own, of=library.layers: [of.LSTMCell(3), own(2), of.GRUCell(2)],
        }[stack]()
        x = library.Input((STEPS, FEATURES))
        y = library.layers.RNN(cell, return_sequences=True)(x)
        made.append(library.Model(x, [y, library.layers.RNN(library.layers.GRUCell(2))(y)]))
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    x = data(6, STEPS, FEATURES)
    near(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-6)


def test_a_model_with_a_cell_of_ones_own_is_saved(tmp_path: Path) -> None:
    own = decaying(gpunn)
    own.get_config = lambda self: {"name": self.name, "units": self.units}
    model = gpunn.Sequential([gpunn.Input((STEPS, FEATURES)), layers.RNN([own(2), own(3)])])
    model.save(tmp_path / "model.gpunn")
    again = gpunn.saving.load_model(tmp_path / "model.gpunn", {"Decaying": own})
    x = data(6, STEPS, FEATURES)
    near([again.predict(x, verbose=0)], [model.predict(x, verbose=0)], 0)
    assert again.layers[-1].cell.state_size == [2, 3]


def stateful(library: Any, name: str) -> Any:
    options = {} if name == "SimpleRNN" else {"use_cudnn": False}  # else Keras cannot train it
    layer = getattr(library.layers, name)(
        UNITS, stateful=True, return_sequences=True, return_state=name == "LSTM", **options
    )
    x = library.Input(batch_shape=(4, STEPS, FEATURES))
    y = layer(x)
    return library.Model(x, library.layers.Dense(2)(y[0] if name == "LSTM" else y)), layer


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_states_stay_between_batches_and_epochs(every_backend: str, keras: Any, name: str) -> None:
    gpunn.use_backend(every_backend)
    (ours, own), (theirs, other) = stateful(gpunn, name), stateful(keras, name)
    ours.set_weights(theirs.get_weights())
    x, y = data(12, STEPS, FEATURES), data(12, STEPS, 2)
    found = []
    for library, model, layer in ((gpunn, ours, own), (keras, theirs, other)):
        first = model.predict(x, batch_size=4, verbose=0)
        second = model.predict(x, batch_size=4, verbose=0)  # begins where that ended
        assert not np.allclose(first, second)
        layer.reset_state()
        same = model.predict(x, batch_size=4, verbose=0)
        np.testing.assert_array_equal(same, first)
        layer.reset_states()
        model.compile(library.optimizers.SGD(0.1), "mse")
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        states = [np.asarray(library.ops.convert_to_numpy(v)) for v in layer.states]
        scores = model.evaluate(x, y, batch_size=4, verbose=0)
        found.append([first, second, scores, *states, *model.get_weights()])
    near(*found)


def stacked(library: Any) -> Any:
    """An RNN of cells with one state and several, some of them without get_initial_state."""

    class Sum(library.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, sizes: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.state_size, self.units = sizes, sizes if isinstance(sizes, int) else sizes[0]

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(
                name="kernel", shape=(shape[-1], self.units), initializer="ones"
            )

        def call(self, inputs: Any, states: Any) -> Any:
            total = states[0] + library.ops.matmul(inputs, self.kernel)
            return total, [total, *states[1:]]

    cells = [Sum(3), library.layers.LSTMCell(2), Sum([4, 1]), library.layers.SimpleRNNCell(2)]
    return library.layers.RNN([*cells, Sum([2])], return_state=True)


def test_states_of_several_cells_have_keras_s_form(keras: Any) -> None:
    x = data(2, STEPS, FEATURES)
    ours, theirs = stacked(gpunn), stacked(keras)
    theirs(x)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    found, expected = ours(x), theirs(x)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, (list, tuple)) == isinstance(other, (list, tuple))
        pairs = zip(one, other, strict=True) if isinstance(one, (list, tuple)) else [(one, other)]
        for a, b in pairs:
            np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), rtol=1e-5, atol=1e-6)
    again = ours(x, initial_state=list(found[1:]))
    other = theirs(x, initial_state=list(expected[1:]))
    np.testing.assert_allclose(again[0], keras.ops.convert_to_numpy(other[0]), rtol=1e-5, atol=1e-6)


def test_a_stateful_layer_says_which_batches_it_takes() -> None:
    model, _ = stateful(gpunn, "GRU")
    with pytest.raises(ValueError, match="batches of 4 sequences"):
        model.predict(data(6, STEPS, FEATURES), batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="batch_shape"):
        layers.GRU(2, stateful=True)(gpunn.Input((STEPS, FEATURES)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.LSTM(0), "units"),
        (lambda: layers.LSTM(2, dropout=1.0), "dropout"),
        (lambda: layers.GRU(2, implementation=3), "implementation"),
        (lambda: layers.RNN(3), "state_size"),
        (lambda: layers.RNN([layers.Dense(2)]), "state_size"),
        (lambda: layers.StackedRNNCells([]), "cells"),
        (lambda: layers.LSTM(2)(gpunn.Input((3,))), "steps, features"),
        (lambda: layers.LSTM(2)(data(1, 2, 3), initial_state=[data(1, 2)]), "initial_state"),
    ],
)  # fmt: skip
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout"])
def test_dropout_is_the_same_in_all_steps(every_backend: str, name: str, kind: str) -> None:
    """With kernels of ones, each output shows how many of the equal inputs or states are left."""
    gpunn.use_backend(every_backend)
    rate, units, batch = 0.25, 50, 40
    options: dict[str, Any] = {"activation": "linear", "use_bias": False, kind: rate, "seed": 3}
    if name != "SimpleRNN":
        options |= {"recurrent_activation": "linear"}
    layer = getattr(layers, name)(units, return_sequences=True, **options)
    ones = np.ones((batch, 1, units), "float32")
    states = [np.ones((batch, units), "float32")] * (2 if name == "LSTM" else 1)
    layer(ones)
    kernel = layer.get_weights()[0]
    width = kernel.shape[-1]
    eye = np.tile(np.eye(units, dtype="float32"), (1, width // units))
    nothing = np.zeros_like(kernel)
    layer.set_weights([eye, nothing] if kind == "dropout" else [nothing, eye])
    given = {"initial_state": states} if kind == "recurrent_dropout" else {}
    np.testing.assert_array_equal(layer(ones, **given), layer(ones, training=False, **given))
    y = np.asarray(layer(ones, training=True, **given))[:, 0]
    if name == "SimpleRNN":
        assert set(np.unique(y.round(3))) == {0.0, np.float32(4 / 3).round(3)}
        assert abs((y == 0).mean() - rate) < 0.03  # 2000 draws: 3 deviations
        twice = np.asarray(layer(np.repeat(ones, 2, 1), training=True, **given))
        np.testing.assert_array_equal(twice[:, 0] == 0, twice[:, 1] == 0)
    assert (y == 0).any() or name == "GRU"
    others = np.asarray(layer(ones, training=True, **given))[:, 0]
    assert not np.array_equal(y, others)  # each step of training draws anew


def test_gradients_in_float64() -> None:
    from gpunn.testing import check_gradients

    for layer in (layers.LSTM(3, return_sequences=True), layers.GRU(2, reset_after=False)):
        check_gradients([layer, layers.Flatten(), layers.Dense(2)], (3, 6, 2))


def test_a_subclass_with_a_layer_inside(every_backend: str) -> None:
    """States pass from one layer to another inside a model's call."""
    gpunn.use_backend(every_backend)

    class Summary(gpunn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.LSTM(3, return_state=True)
            self.second = layers.LSTM(3, return_sequences=True)

        def call(self, x: Any) -> Any:  # type: ignore[override]
            _, *states = self.first(x)
            return ops.sum(self.second(x, initial_state=states), axis=1)

    model, x = Summary(), data(6, STEPS, FEATURES)
    found = model.predict(x, verbose=0)
    _, h, c = model.first(x)
    again = np.asarray(model.second(x, initial_state=[h, c])).sum(1)
    near([found], [again])
