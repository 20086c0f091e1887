"""ConvLSTM1D, 2D and 3D, compared with Keras: the same weights give the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own
BATCH, STEPS, CHANNELS = 4, 3, 2
CASES: list[tuple[int, dict[str, Any]]] = [
    (1, {}),
    (1, {"strides": 2, "padding": "same", "return_sequences": True, "use_bias": False}),
    (1, {"data_format": "channels_first", "go_backwards": True, "return_sequences": True}),
    (1, {"dilation_rate": 2, "recurrent_activation": "hard_sigmoid", "activation": "relu"}),
    (2, {"padding": "same", "return_sequences": True}),
    (2, {"strides": (2, 1), "kernel_regularizer": "l2", "recurrent_regularizer": "l2"}),
    (2, {"data_format": "channels_first", "padding": "same", "bias_regularizer": "l1"}),
    (2, {"dilation_rate": (1, 2), "go_backwards": True, "kernel_constraint": "unit_norm"}),
    (2, {"activity_regularizer": "l2", "recurrent_constraint": "max_norm", "return_sequences": True,
         "unit_forget_bias": False}),
    (3, {"padding": "same", "return_sequences": True}),
    (3, {"strides": (2, 1, 1), "data_format": "channels_first", "recurrent_regularizer": "l2"}),
    (3, {"dilation_rate": (1, 2, 1), "go_backwards": True}),
]  # fmt: skip


def data(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("float32")


def near(ours: Any, theirs: Any, tolerance: float = 2e-6) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), tolerance, tolerance)


def sample(rank: int, options: dict[str, Any]) -> tuple[int, ...]:
    image = (5, 4, 3)[:rank]
    first = options.get("data_format") == "channels_first"
    return (STEPS, CHANNELS, *image) if first else (STEPS, *image, CHANNELS)


def layer(library: Any, rank: int, options: dict[str, Any]) -> Any:
    return getattr(library.layers, f"ConvLSTM{rank}D")(3, 2, **options)


def both(keras: Any, rank: int, options: dict[str, Any], around: Any, **of_input: Any) -> list[Any]:
    """Models of both libraries with the same weights."""
    made = []
    for library in (gpunn, keras):
        x = library.Input(sample(rank, options), **of_input)
        made.append(library.Model(x, around(library, layer(library, rank, options))(x)))
    made[0].set_weights(made[1].get_weights())
    return made


def trained_alike(keras: Any, made: list[Any], x: Any, batch: int = 3) -> None:
    ours, theirs = made
    found, expected = (m.predict(x, batch_size=batch, verbose=0) for m in made)
    near([found], [expected], 1e-6)
    y = data(len(x), *made[0].output_shape[1:])
    for library, model in zip((gpunn, keras), made, strict=True):
        model.compile(library.optimizers.SGD(0.1, momentum=0.9), "mse")
        model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0)
    near(ours.get_weights(), theirs.get_weights(), 1e-5)


@pytest.mark.in_turn(3)
@pytest.mark.parametrize(("rank", "options"), CASES, ids=str)
def test_predictions_and_steps_are_those_of_keras(
    every_backend: str, keras: Any, rank: int, options: dict[str, Any]
) -> None:
    gpunn.use_backend(every_backend)
    made = both(keras, rank, options, lambda _, of: of)
    assert [w.path.partition("/")[2] for w in made[0].weights] == [
        w.path.partition("/")[2] for w in made[1].weights
    ]
    assert made[0].output_shape == made[1].output_shape
    trained_alike(keras, made, data(BATCH, *sample(rank, options)))


@pytest.mark.parametrize("mode", ["concat", "sum", None])
@pytest.mark.parametrize("rank", [1, 2])
def test_both_directions_of_masked_films(keras: Any, rank: int, mode: str | None) -> None:
    options = {"return_sequences": True, "zero_output_for_mask": mode == "sum"}
    made = []
    for library in (gpunn, keras):
        x, mask = library.Input(sample(rank, {})), library.Input((STEPS,), dtype="bool")
        around = library.layers.Bidirectional(layer(library, rank, options), merge_mode=mode)
        made.append(library.Model([x, mask], around(x, mask=mask)))
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]], bool)
    xs = [data(BATCH, *sample(rank, {})), mask]
    found, expected = (m.predict(xs, verbose=0) for m in made)
    near(found if mode is None else [found], expected if mode is None else [expected], 1e-6)


def test_each_part_of_a_film(keras: Any) -> None:
    made = []
    for library in (gpunn, keras):
        x = library.Input((2, *sample(2, {})))
        made.append(library.Model(x, library.layers.TimeDistributed(layer(library, 2, {}))(x)))
    made[0].set_weights(made[1].get_weights())
    trained_alike(keras, made, data(BATCH, 2, *sample(2, {})))


def test_an_encoder_and_a_decoder(every_backend: str, keras: Any) -> None:
    gpunn.use_backend(every_backend)
    made = []
    for library in (gpunn, keras):
        first, second = library.Input(sample(2, {})), library.Input((2, 5, 4, 1))
        options = {"padding": "same", "return_state": True}
        _, *states = layer(library, 2, options)(first)
        given = {"initial_state": states}
        y = layer(library, 2, {**options, "return_sequences": True})(second, **given)
        made.append(library.Model([first, second], y))
    ours, theirs = made
    ours.set_weights(theirs.get_weights())
    xs = [data(BATCH, *sample(2, {})), data(BATCH, 2, 5, 4, 1)]
    near(ours.predict(xs, verbose=0), theirs.predict(xs, verbose=0), 1e-6)


def test_states_stay_between_batches(keras: Any) -> None:
    x = data(2 * BATCH, *sample(1, {}))
    options = {"stateful": True, "return_sequences": True}
    found = []
    for model in both(keras, 1, options, lambda _, of: of, batch_size=BATCH):
        first, second = (model.predict(x, batch_size=BATCH, verbose=0) for _ in range(2))
        assert not np.allclose(first, second)
        model.layers[-1].reset_state()
        np.testing.assert_array_equal(model.predict(x, batch_size=BATCH, verbose=0), first)
        found.append([first, second])
    near(*found)


@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout"])
def test_each_gate_drops_its_own_in_all_steps(every_backend: str, kind: str) -> None:
    """With one pixel, and kernels that copy it, each gate shows which of its values are left."""
    gpunn.use_backend(every_backend)
    rate, n = 0.25, 40
    options: dict[str, Any] = {kind: rate, "seed": 3, "use_bias": False, "return_state": True}
    linear = {"activation": "linear", "recurrent_activation": "linear"}
    of = layers.ConvLSTM1D(n, 1, **options, **linear)
    ones = np.ones((BATCH, 1, 1, n), "float32")
    states = [np.ones((BATCH, 1, n), "float32")] * 2
    of(ones)
    eye = np.tile(np.eye(n, dtype="float32"), (1, 4))[None]  # (1, n, 4 n)
    of.set_weights([eye, 0 * eye] if kind == "dropout" else [0 * eye, eye])
    given = {"initial_state": states} if kind == "recurrent_dropout" else {}
    _, h, c = of(ones, training=False, **given)
    kept = c.numpy().flat[0]  # i g, or f c + i g of ones
    assert np.all(h.numpy() == kept)
    _, h, c = map(np.asarray, of(ones, training=True, **given))
    scale = 1 / (1 - rate)
    values = {0.0, scale**2} | ({scale, scale + scale**2} if given else set())
    assert set(np.unique(c).round(4)) == set(np.round(np.array([*values], "float32"), 4))
    if not given:  # both gates are left together as often as those of their own
        assert abs((c > 0).mean() - (1 - rate) ** 2) < 0.12
    alone = np.repeat(ones, 2, axis=1)
    one = layers.ConvLSTM1D(n, 1, return_sequences=True, dropout=rate, seed=3, use_bias=False)
    one(ones)
    one.set_weights([eye, 0 * eye])
    both_steps = np.asarray(one(alone, training=True))
    np.testing.assert_array_equal(both_steps[:, 0] == 0, both_steps[:, 1] == 0)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("ending", [".keras", ".gpunn", ".weights.h5"])
def test_files_are_read_by_both(keras: Any, tmp_path: Path, rank: int, ending: str) -> None:
    pytest.importorskip("h5py")
    options = {"padding": "same", "return_sequences": True, "strides": 2}
    ours, theirs = both(keras, rank, options, lambda _, of: of)
    x, path = data(BATCH, *sample(rank, {})), tmp_path / f"m{ending}"
    expected = ours.predict(x, verbose=0)
    if ending == ".weights.h5":
        ours.save_weights(path)
        theirs.set_weights([np.zeros_like(w) for w in theirs.get_weights()])
        theirs.load_weights(path)
        near([theirs.predict(x, verbose=0)], [expected])
        theirs.save_weights(path)
        ours.set_weights([np.zeros_like(w) for w in ours.get_weights()])
        ours.load_weights(path)
        near([ours.predict(x, verbose=0)], [expected], 0)
        return
    ours.save(path)
    near([gpunn.saving.load_model(path).predict(x, verbose=0)], [expected], 0)
    if ending == ".keras":
        near([keras.models.load_model(path).predict(x, verbose=0)], [expected])
        theirs.save(path)
        near([gpunn.saving.load_model(path).predict(x, verbose=0)], [expected], 0)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: layers.ConvLSTM2D(2, 2)(data(2, 5, 4, 1)), "must have 5 axes.* got the shape"),
    (lambda: layers.ConvLSTM1D(2, 2)(gpunn.Input((3, None, 1))), "size of images must be known"),
    (lambda: layers.ConvLSTM2D(2, 7)(data(2, 3, 5, 4, 1)), "smaller window"),
    (lambda: layers.ConvLSTM2D(2, 2, strides=2, dilation_rate=2), "Specifying `strides > 1`"),
    (lambda: layers.ConvLSTM2D(0, 2), "filters"),
    (lambda: layers.ConvLSTM1D(2, 2, padding="causal"), "padding"),
    (lambda: layers.ConvLSTM1D(2, 2)(
        data(2, 3, 5, 1), initial_state=[data(2, 4, 4), data(2, 4, 4)]), "initial_state"),
    (lambda: layers.ConvLSTM1D(2, 2)(
        data(2, 3, 5, 1), initial_state=[data(2, 3, 2), data(2, 3, 2)]), "initial_state"),
    (lambda: layers.LSTM(2)(
        data(2, 3, 1), initial_state=[data(2, 1), data(2, 1)]), "initial_state"),
])  # fmt: skip
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
