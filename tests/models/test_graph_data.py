"""Test data, weights and losses of models with several inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest
from graph_networks import CLASSES, LEFT, NUMBERS, RIGHT, X, Y, compiled, two_by_two
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers


def batches(pairs: Any) -> Any:
    for at in range(0, 24, 8):
        rows = slice(at, at + 8)
        x, y = pairs
        yield [a[rows] for a in x], tuple(a[rows] for a in y)


FORMS = {
    "tuples": (tuple(X), tuple(Y)),
    "dictionaries": ({"right": RIGHT, "left": LEFT}, {"size": NUMBERS, "kind": CLASSES}),
    "a generator": (batches((X, Y)), None),
    "batches by name": (
        [({"left": LEFT[i : i + 8], "right": RIGHT[i : i + 8]},
          {"kind": CLASSES[i : i + 8], "size": NUMBERS[i : i + 8]}) for i in (0, 8, 16)],
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_data_in_any_form_trains_alike(form: str) -> None:
    results = []
    for x, y in ((X, Y), FORMS[form]):
        gpunn.utils.set_random_seed(1)
        model = compiled(two_by_two())
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        assert_array_equal(ours, theirs)


PARTS: list[Callable[[Any], Any]] = [list, tuple]


@pytest.mark.parametrize("x_form", PARTS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("y_form", PARTS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_data_in_lists_is_no_batch(x_form: Any, y_form: Any, weighted: bool) -> None:
    model = compiled(two_by_two())
    weights = [np.arange(1.0, len(LEFT) + 1)] * 2
    more = [y_form(weights)] if weighted else []
    history = model.fit(X, Y, validation_data=(x_form(X), y_form(Y), *more), verbose=0).history
    found = model.evaluate(X, Y, sample_weight=weights if weighted else None, verbose=0)
    assert history["val_loss"] == [found[0]]


def test_validation_data_of_two_inputs_with_weights_of_one_output_are_no_batch() -> None:
    left, right = gpunn.Input((3,)), gpunn.Input((2,))
    model = gpunn.Model([left, right], layers.Dense(1)(layers.concatenate([left, right])))
    model.compile("sgd", "mse")
    x, y, weights = [np.ones((8, 3)), np.ones((8, 2))], np.ones(8), np.arange(8.0)
    history = model.fit(x, y, validation_data=(x, y, weights), verbose=0).history
    assert history["val_loss"] == [model.evaluate(x, y, sample_weight=weights, verbose=0)]


def test_validation_data_in_lists_of_one_is_no_batch() -> None:
    model = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    y = NUMBERS[:, :1]
    history = model.fit(RIGHT, y, validation_data=([RIGHT], [y]), verbose=0).history
    assert history["val_loss"] == [model.evaluate(RIGHT, y, verbose=0)]


def test_what_comes_out_has_the_form_that_was_given() -> None:
    x = gpunn.Input((3,))
    a, b = layers.Dense(4)(x), layers.Dense(5)(x)
    values = np.ones((2, 3))
    for outputs in ([a, b], (a, b), {"a": a, "b": b}):
        model = gpunn.Model(x, outputs)
        for made in (model.predict(values), model(values), model.predict_on_batch(values)):
            assert type(made) is type(outputs)
            arrays = list(made.values() if isinstance(made, dict) else made)
            assert [array.shape for array in arrays] == [(2, 4), (2, 5)]
        again = gpunn.Model.from_config(model.get_config())
        assert type(again(x)) is type(outputs)
        assert type(again.predict(values)) is type(outputs)
    assert list(gpunn.Model(x, {"q": a, "p": b}).predict(values)) == ["q", "p"]


def test_logs_are_named_and_ordered_as_in_keras() -> None:
    """The names and their order are those of Keras 3.15.1 for such a model."""
    x = gpunn.Input((3,))
    model = gpunn.Model(
        x, [layers.Dense(1, name="z")(x), layers.Dense(2, activation="softmax", name="a")(x)]
    )
    model.compile(
        "sgd", ["mse", "sparse_categorical_crossentropy"], metrics=[["mse"], ["accuracy"]],
        weighted_metrics=[["mse"], ["accuracy"]], loss_weights=[0.5, 2],
    )  # fmt: skip
    names = [
        "loss", "z_loss", "a_loss", "a_accuracy", "a_weighted_accuracy", "z_mse", "z_weighted_mse",
    ]  # fmt: skip
    y = [NUMBERS[:, :1], CLASSES % 2]
    assert model.metrics_names == names
    found = model.evaluate(RIGHT, y, verbose=0, return_dict=True)
    assert list(found) == names
    assert model.evaluate(RIGHT, y, verbose=0) == list(found.values())
    assert found["loss"] == pytest.approx(0.5 * found["z_loss"] + 2 * found["a_loss"])
    assert found["z_loss"] == pytest.approx(float(np.mean((model.predict(RIGHT)[0] - y[0]) ** 2)))
    history = model.fit(RIGHT, y, validation_data=(RIGHT, y), verbose=0).history
    assert set(history) == {*names, *(f"val_{name}" for name in names)}


def test_the_loss_of_an_output_is_watched_downwards() -> None:
    model = compiled(two_by_two())
    stop = gpunn.callbacks.EarlyStopping("val_size_loss", patience=5)
    history = model.fit(X, Y, validation_data=(X, Y), epochs=3, verbose=0, callbacks=[stop])
    assert stop.best == min(history.history["val_size_loss"])


def test_an_output_without_a_loss_is_left_alone() -> None:
    x = gpunn.Input((3,))
    model = gpunn.Model(x, {"a": layers.Dense(1)(x), "b": layers.Dense(2, name="b")(x)})
    model.compile("sgd", {"a": "mse"})
    before = model.get_layer("b").get_weights()
    history = model.fit(RIGHT, {"a": NUMBERS[:, 0]}, verbose=0).history
    assert list(history) == ["loss"]
    for now, then in zip(model.get_layer("b").get_weights(), before, strict=True):
        assert_array_equal(now, then)
    assert model.fit(RIGHT, [NUMBERS[:, 0]], verbose=0).history["loss"][0] > 0


def test_a_weight_of_zero_leaves_an_output_unlearned_but_reported() -> None:
    x = gpunn.Input((3,))
    model = gpunn.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("sgd", "mse", loss_weights={"b": 0.0})
    before = model.get_layer("b").get_weights()
    logs = model.train_on_batch(RIGHT, [NUMBERS[:, 0]] * 2, return_dict=True)
    assert logs["b_loss"] > 0 and logs["loss"] == logs["a_loss"]
    for now, then in zip(model.get_layer("b").get_weights(), before, strict=True):
        assert_array_equal(now, then)


def test_a_loss_that_is_not_finite_is_seen_in_any_output() -> None:
    for broken in (0, 1):
        x = gpunn.Input((3,))
        outputs = [layers.Dense(1, kernel_initializer="ones")(x) for _ in range(2)]
        model = gpunn.Model(x, outputs)
        model.compile(gpunn.optimizers.SGD(0.0), "mse")
        y = [np.zeros(24), np.zeros(24)]
        y[broken] = np.full(24, 3e38)
        with pytest.raises(gpunn.models.NonFiniteLossError, match="epoch 1, step 1"):
            model.fit(RIGHT, y, batch_size=8, verbose=0)


def test_streamed_data_of_several_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for streamed in (False, True):
        if streamed:
            monkeypatch.setattr(gpunn.feeding.rows, "lacking", lambda size, backend: 1000)
        gpunn.utils.set_random_seed(1)
        model = compiled(two_by_two(backend=emulated.make_backend()))
        model.fit(X, Y, epochs=2, batch_size=7, verbose=0)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        assert_array_equal(ours, theirs)
