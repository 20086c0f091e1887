"""Cells whose states are images or sequences, compared with Keras's convolutional LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own


class Cell(layers.Layer):
    """A step of a convolutional LSTM on images (rows, columns, channels), or on sequences."""

    def __init__(self, filters: int, rank: int) -> None:
        super().__init__()
        self.state_size: Any = -1  # known when it is built
        self.filters, conv = filters, (layers.Conv1D, layers.Conv2D)[rank - 1]
        self.of_inputs = conv(4 * filters, 3, padding="same")
        self.of_states = conv(4 * filters, 3, padding="same", use_bias=False)

    def build(self, shape: Any) -> None:
        self.state_size = [(*shape[1:-1], self.filters)] * 2
        self.of_inputs.build(shape)
        self.of_states.build((*shape[:-1], self.filters))

    def call(self, x: Any, states: Any) -> Any:
        h, c = states
        z = self.of_inputs(x) + self.of_states(h)
        i, f, g, o = ops.split(z, 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
        return h, [h, c]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_convolutional_lstm_is_that_of_keras(
    every_backend: str, keras: Any, rank: int, masked: bool
) -> None:
    gpunn.use_backend(every_backend)
    shape = (3, *(4, 5)[:rank], 2)
    options = {"return_sequences": masked, "return_state": True}
    random = np.random.default_rng(1)
    data = random.standard_normal((4, *shape)).astype("float32")
    x = gpunn.Input(shape)
    ours = gpunn.Model(x, layers.RNN(Cell(3, rank), **options)(x))
    x = keras.Input(shape)
    convolutional = getattr(keras.layers, f"ConvLSTM{rank}D")
    theirs = keras.Model(x, convolutional(3, 3, padding="same", **options)(x))
    kernel, recurrent, bias = theirs.get_weights()
    ours.set_weights([kernel, bias, recurrent])
    found, expected = (model.predict(data, verbose=0) for model in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-6)
    ys = [random.standard_normal((4, *t.shape[1:])) for t in ours.outputs]
    losses = []
    for library, model in ((gpunn, ours), (keras, theirs)):
        model.compile(library.optimizers.SGD(0.1), "mse")
        losses.append(float(np.ravel(model.train_on_batch(data, ys))[0]))
    np.testing.assert_allclose(*losses, rtol=1e-5)
    kernel, recurrent, bias = theirs.get_weights()
    for one, other in zip(ours.get_weights(), [kernel, bias, recurrent], strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-6)


def test_masked_steps_leave_states_of_several_axes(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    data = np.random.default_rng(1).standard_normal((2, 4, 5, 2)).astype("float32")
    rnn = layers.RNN(Cell(3, 1), return_state=True)
    expected = rnn(data[:, [0, 2, 3]])
    mask = [[True, False, True, True]] * 2
    for one, other in zip(rnn(data, mask=np.array(mask)), expected, strict=True):
        np.testing.assert_allclose(one, other, 1e-6)


def test_cells_of_several_axes_in_a_stack() -> None:
    data = np.random.default_rng(1).standard_normal((2, 4, 5, 2)).astype("float32")
    both = layers.RNN([Cell(3, 1), Cell(2, 1)])
    y = both(data)
    first, second = layers.RNN(Cell(3, 1), return_sequences=True), layers.RNN(Cell(2, 1))
    second(first(data))
    first.set_weights(both.get_weights()[:3])
    second.set_weights(both.get_weights()[3:])
    np.testing.assert_allclose(y, second(first(data)), 1e-5)
