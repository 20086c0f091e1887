"""Models that are graphs: shared and nested layers, several inputs and outputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import emulated
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers
from gpunn.backends.numpy.backend import NumpyBackend
from gpunn.structure.graph import Graph
from gpunn.testing import check_gradients

if sys.version_info[:2] == (3, 11):
    import torch

    torch.set_num_threads(1)

needs_torch = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the PyTorch compared with is for Python 3.11"
)
RANDOM = np.random.default_rng(7)
LEFT, RIGHT = RANDOM.standard_normal((24, 4)), RANDOM.standard_normal((24, 3))
CLASSES, NUMBERS = RANDOM.integers(0, 3, 24), RANDOM.standard_normal((24, 2))


def two_by_two(dtype: str = "float64", backend: Any = "numpy", dropout: float = 0.0) -> Any:
    """Two inputs, a shared layer, concatenation and two outputs, of which one reads the other."""
    left, right = gpunn.Input((4,), name="left"), gpunn.Input((3,), name="right")
    shared = layers.Dense(5, activation="tanh", name="shared")
    widened = layers.Dense(4, name="widen")(right)
    a, b = shared(left), shared(widened)
    both = layers.Concatenate(name="both")([layers.Add(name="sum")([a, b]), left])
    both = layers.Dropout(dropout, name="drop")(both)
    kind = layers.Dense(3, activation="softmax", name="kind")(both)
    size = layers.Dense(2, name="size")(layers.concatenate([kind, both], name="all"))
    inputs, outputs = [left, right], [kind, size]
    return gpunn.Model(inputs, outputs, name="two", dtype=dtype, backend=backend)


def compiled(model: Any, optimizer: Any = None, **options: Any) -> Any:
    model.compile(
        optimizer or gpunn.optimizers.SGD(0.1, momentum=0.9),
        ["sparse_categorical_crossentropy", "mse"],
        loss_weights=[1.0, 0.5],
        metrics=[["accuracy"], ["mse"]],
        **options,
    )
    return model


def norm_apart(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# -- beside PyTorch


def torch_parameters(model: Any) -> dict[str, Any]:
    return {
        path: torch.tensor(values, requires_grad=True)
        for path, values in model.weights_dict().items()
    }


def train_both(model: Any, x: Any, y: Any, weights: dict, loss: Callable[[], Any]) -> None:
    """20 steps of both with momentum; the weights agree all the way."""
    optimizer = torch.optim.SGD(list(weights.values()), 0.1, momentum=0.9)
    for _ in range(20):
        ours = model.train_on_batch(x, y)
        optimizer.zero_grad()
        theirs = loss()
        theirs.backward()
        optimizer.step()
        assert (ours if isinstance(ours, float) else ours[0]) == pytest.approx(
            theirs.item(), rel=1e-10
        )
    for path, values in model.weights_dict().items():
        assert norm_apart(values, weights[path].detach().numpy()) < 1e-10, path


@needs_torch
def test_a_residual_network_is_pytorchs() -> None:
    gpunn.utils.set_random_seed(2)
    x = start = gpunn.Input((4,))
    for k in range(3):
        inner = layers.Dense(6, activation="tanh", name=f"up{k}")(x)
        x = layers.add([x, layers.Dense(4, name=f"down{k}")(inner)])
    model = gpunn.Model(start, layers.Dense(2, name="out")(x), dtype="float64", backend="numpy")
    model.compile(gpunn.optimizers.SGD(0.1, momentum=0.9), "mse")
    w = torch_parameters(model)

    def loss() -> Any:
        def dense(name: str, x: Any) -> Any:
            return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

        h = torch.tensor(LEFT)
        for k in range(3):
            h = h + dense(f"down{k}", torch.tanh(dense(f"up{k}", h)))
        return ((dense("out", h) - torch.tensor(NUMBERS)) ** 2).mean()

    train_both(model, LEFT, NUMBERS, w, loss)


@needs_torch
def test_two_inputs_and_outputs_with_a_shared_layer_are_pytorchs() -> None:
    gpunn.utils.set_random_seed(3)
    model = compiled(two_by_two())
    w = torch_parameters(model)

    def loss() -> Any:
        def dense(name: str, x: Any) -> Any:
            return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

        left, right = torch.tensor(LEFT), torch.tensor(RIGHT)
        a, b = (torch.tanh(dense("shared", x)) for x in (left, dense("widen", right)))
        both = torch.cat([a + b, left], -1)
        kind = torch.softmax(dense("kind", both), -1)
        size = dense("size", torch.cat([kind, both], -1))
        cross = torch.nn.functional.nll_loss(torch.log(kind), torch.tensor(CLASSES))
        return cross + 0.5 * ((size - torch.tensor(NUMBERS)) ** 2).mean()

    train_both(model, [LEFT, RIGHT], [CLASSES, NUMBERS], w, loss)


# -- gradients

MERGING = ["add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate"]


@st.composite
def graphs(draw: Any) -> tuple[Any, list[tuple[int, ...]], list[tuple[int, ...]]]:
    """A small model of any graph, with the shapes of its inputs and outputs."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    inputs = [gpunn.Input((n,)) for n in sizes]
    tensors, shared = list(inputs), {}
    pick = lambda: draw(st.sampled_from(tensors))  # noqa: E731
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["dense", "shared", "view", "scale", "drop", "merge", "model"]))
        x = pick()
        if kind == "dense":
            y = layers.Dense(draw(st.integers(1, 4)), activation="tanh")(x)
        elif kind == "shared":
            layer = shared.setdefault(x.shape, layers.Dense(x.shape[1], activation="sigmoid"))
            y = layer(x)
        elif kind == "view":
            y = layers.Flatten()(x)
        elif kind == "scale":
            y = layers.Rescaling(0.5, 0.25)(x)
        elif kind == "drop":
            y = layers.Dropout(0.4)(x)
        elif kind == "model":
            inside = gpunn.Input(x.shape[1:])
            halves = layers.Dense(2)(inside), layers.Dense(2, activation="tanh")(inside)
            y = gpunn.Model(inside, layers.multiply(list(halves)))(x)
        else:
            others = [t for t in tensors if t.shape == x.shape]
            name = draw(st.sampled_from(MERGING))
            y = getattr(layers, name)([x, draw(st.sampled_from(others))])
        tensors.append(y)
    made = tensors[len(inputs) :]
    outputs = [made[-1], *draw(st.lists(st.sampled_from(tensors), max_size=2))]
    used = Graph(inputs, outputs)
    return gpunn.Model(used.inputs, outputs, dtype="float64", backend="numpy"), sizes, outputs


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(0, 2**31))
def test_gradients_of_any_graph(drawn: Any, seed: int) -> None:
    model, sizes, outputs = drawn
    model.compile("sgd", "mse", loss_weights=[0.5 + k for k in range(len(outputs))])
    random = np.random.default_rng(seed)
    x = [random.standard_normal((3, n)) for n in sizes]
    y = [random.standard_normal((3, t.shape[1])) for t in outputs]
    check_gradients(model, x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])


def test_gradients_with_weights_for_each_output() -> None:
    model = compiled(two_by_two())
    weights = [np.linspace(0, 1, 24), None]
    check_gradients(model, [LEFT, RIGHT], [CLASSES, NUMBERS], sample_weight=weights)


def test_an_output_that_is_read_and_one_that_stands_there_twice() -> None:
    x = gpunn.Input((3,))
    hidden = layers.Dense(2, activation="softmax")(x)
    flat = layers.Flatten()(hidden)
    again = layers.Dense(1)(hidden)
    model = gpunn.Model(x, [hidden, hidden, flat, again, x], dtype="float64")
    model.compile("sgd", "mse")
    targets = [np.ones((4, n)) for n in (2, 2, 2, 1, 3)]
    check_gradients(model, (4, 3), targets)
    given_x = RANDOM.standard_normal((4, 3))
    outputs = model.predict(given_x)
    assert_array_equal(outputs[0], outputs[1])
    assert_array_equal(outputs[0], outputs[2])
    assert_allclose(outputs[4], given_x)


def test_a_softmax_that_another_layer_reads_is_not_taken_over_by_its_loss() -> None:
    model = compiled(two_by_two())
    assert [head.fused for head in model.trainer.heads] == [False, False]
    x = gpunn.Input((4,))
    kind, size = layers.Dense(3, activation="softmax")(x), layers.Dense(2)(x)
    free = compiled(gpunn.Model(x, [kind, size]))
    assert [head.fused for head in free.trainer.heads] == [True, False]


# -- on a card as on NumPy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_is_that_of_numpy(dtype: str) -> None:
    card, results = emulated.make_backend(), []
    for backend in ("numpy", card):
        gpunn.utils.set_random_seed(5)
        model = compiled(two_by_two(dtype, backend, dropout=0.3), gpunn.optimizers.Adam(0.01))
        history = model.fit(
            [LEFT, RIGHT], [CLASSES, NUMBERS], epochs=3, batch_size=10, verbose=0,
            validation_split=0.25, sample_weight={"kind": np.linspace(0.5, 1.5, 24)},
        ).history  # fmt: skip
        results.append((history, model.get_weights(), model.predict([LEFT, RIGHT])))
    (here, weights, outputs), (there, card_weights, card_outputs) = results
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert list(here) == list(there)
    for name in here:
        assert_allclose(there[name], here[name], rtol=10 * tolerance)
    for ours, theirs in zip([*weights, *outputs], [*card_weights, *card_outputs], strict=True):
        assert norm_apart(theirs, ours) < tolerance


# -- data in every form


def batches(pairs: Any) -> Any:
    for at in range(0, 24, 8):
        rows = slice(at, at + 8)
        x, y = pairs
        yield [a[rows] for a in x], tuple(a[rows] for a in y)


X, Y = [LEFT, RIGHT], [CLASSES, NUMBERS]
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
    """The names and their order are what Keras 3.15.1 gives for such a model."""
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


def test_inputs_and_outputs_come_in_the_form_they_were_given_in() -> None:
    one, other = gpunn.Input((3,)), gpunn.Input((2,))
    sums, both = layers.Dense(2)(one), layers.concatenate([one, other])
    single = gpunn.Model(one, sums)
    assert single.input is one and single.output is sums
    several = gpunn.Model({"a": one, "b": other}, [sums, both])
    assert several.input == {"a": one, "b": other} and several.output == [sums, both]


def test_a_model_is_built_for_one_shape() -> None:
    model = gpunn.Sequential([layers.Dense(2)], name="one")
    model.build((None, 3))
    model.build((None, 3))
    with pytest.raises(ValueError, match=r"'one' takes samples of shape \(3,\); got \(7,\)"):
        model.build((None, 7))


def test_large_predictions_are_made_in_pieces(
    monkeypatch: pytest.MonkeyPatch, noted_pieces: list[int]
) -> None:
    monkeypatch.setattr(NumpyBackend, "cache_bytes", 1 << 16)
    x = gpunn.Input((64,))
    y = layers.Dense(64)(layers.Flatten()(x))
    model = gpunn.Model(x, [layers.add([x, y]), layers.Flatten()(x), x], backend="numpy")
    model.build()
    values = np.random.default_rng(0).standard_normal((301, 64)).astype("float32")
    kernel, bias = model.get_weights()
    added, flat, same = model.predict(values, batch_size=301)
    assert noted_pieces[0] > 3
    assert_allclose(added, values + values @ kernel + bias, atol=1e-4)
    assert_array_equal(flat, values)
    assert_array_equal(same, values)


# -- shared, nested and frozen


def test_a_nested_model_is_the_same_as_its_layers_one_after_the_other() -> None:
    results = []
    for nested in (False, True):
        gpunn.utils.set_random_seed(4)
        chain = [layers.Dense(4, activation="tanh", name="one"), layers.Dropout(0.5, name="drop")]
        inner = gpunn.Sequential([layers.Input((4,)), *chain], name="inner")
        x = gpunn.Input((4,))
        h = inner(x) if nested else chain[1](chain[0](x))
        model = gpunn.Model(x, layers.Dense(2, name="out")(layers.add([x, h])), backend="numpy")
        gpunn.utils.set_random_seed(5)
        model.compile("adam", "mse")
        history = model.fit(LEFT, NUMBERS, epochs=3, batch_size=8, verbose=0).history
        results.append((history, model.get_weights(), list(model.weights_dict())))
    assert results[0][0] == results[1][0]
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        assert_array_equal(ours, theirs)
    assert results[1][2] == ["inner/one/kernel", "inner/one/bias", "out/kernel", "out/bias"]


def test_what_is_applied_twice_is_shared() -> None:
    x = gpunn.Input((3,))
    layer = layers.Dense(3, name="twice")
    model = gpunn.Model(x, layer(layer(x)), dtype="float64")
    assert model.count_params() == 12 and len(model.weights) == 2
    kernel, bias = layer.get_weights()
    twice = (RIGHT @ kernel + bias) @ kernel + bias
    assert_allclose(model.predict(RIGHT), twice, atol=1e-12)


def test_features_from_the_middle_share_the_weights() -> None:
    model = compiled(two_by_two())
    features = gpunn.Model(model.inputs, model.get_layer("both").output)
    rest = gpunn.Model(model.get_layer("both").output, model.outputs[0])
    for _ in range(2):
        middle = features.predict(X)
        assert middle.shape == (24, 9)
        assert_allclose(rest.predict(middle), model.predict(X)[0], atol=1e-12)
        model.fit(X, Y, verbose=0)
    chain = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(4, name="h"), layers.Dense(1)], dtype="float64"
    )
    hidden = gpunn.Model(chain.inputs, chain.get_layer("h").output)
    kernel, bias = chain.get_layer("h").get_weights()
    assert_allclose(hidden.predict(RIGHT), RIGHT @ kernel + bias, atol=1e-12)


def test_frozen_weights_keep_their_bits_and_thaw() -> None:
    inner = gpunn.Sequential(
        [layers.Input((4,)), layers.Dense(4), layers.Dense(4, name="top")], name="inner"
    )
    x = gpunn.Input((4,))
    model = gpunn.Model(x, layers.Dense(2, name="out")(inner(x)))

    def changed() -> list[str]:
        before = model.weights_dict()
        model.compile("adam", "mse")
        model.fit(LEFT, NUMBERS, epochs=2, verbose=0)
        now = model.weights_dict()
        return sorted({p.split("/")[-2] for p in now if not np.array_equal(now[p], before[p])})

    inner.trainable = False
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 4
    assert changed() == ["out"]
    inner.get_layer("top").trainable = True
    assert changed() == ["out", "top"]
    model.trainable = True
    assert len(changed()) == 3
    model.trainable = False
    assert changed() == []


def test_a_layer_called_for_inference_does_so_in_training_too() -> None:
    x = gpunn.Input((4,))
    drop = layers.Dropout(0.9)
    model = gpunn.Model(x, [drop(x, training=False), drop(x)])
    kept, dropped = model(LEFT, training=True)
    assert_allclose(kept, LEFT, rtol=1e-6)
    assert (dropped == 0).mean() > 0.5
    again = gpunn.Model.from_config(model.get_config())
    assert_allclose(again(LEFT, training=True)[0], LEFT, rtol=1e-6)
    inner = gpunn.Sequential([layers.Input((4,)), layers.Dropout(0.9)])
    whole = gpunn.Model(x, inner(x, training=False))
    assert_allclose(whole(LEFT, training=True), LEFT, rtol=1e-6)


def test_a_rescaling_that_alone_reads_an_input_is_folded_into_its_gather() -> None:
    a, b = gpunn.Input((3,)), gpunn.Input((3,))
    alone, beside = layers.Rescaling(0.5)(layers.Flatten()(a)), layers.Rescaling(0.25)(b)
    model = gpunn.Model([a, b], layers.add([alone, beside, b]))
    assert model.plan.folded_rescalings().keys() == {0}
    assert_allclose(model.predict([RIGHT, RIGHT]), 1.75 * RIGHT, rtol=1e-5)


# -- files


@contextmanager
def using(backend: str) -> Iterator[None]:
    """This default backend for the length of a block."""
    before = gpunn.get_backend().name
    gpunn.use_backend(backend)
    try:
        yield
    finally:
        gpunn.use_backend(before)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_a_saved_graph_goes_on_as_if_it_had_not_been_saved(tmp_path: Any, backend: str) -> None:
    gpunn.utils.set_random_seed(6)
    inner = two_by_two(dropout=0.2)
    left, right = gpunn.Input((4,), name="a"), gpunn.Input((3,), name="b")
    kind, size = inner([left, right])
    model = gpunn.Model(
        {"a": left, "b": right}, [kind, layers.Dense(2, name="end")(size)], backend=backend
    )
    model.compile("adam", {"two": "sparse_categorical_crossentropy", "end": "mse"},
                  metrics={"two": ["accuracy"]}, loss_weights={"end": 0.25})  # fmt: skip
    x = {"a": LEFT, "b": RIGHT}
    model.fit(x, Y, batch_size=10, verbose=0)
    model.save(tmp_path / "model")
    with using(backend):
        again = gpunn.models.load_model(tmp_path / "model")
    assert again.get_config() == model.get_config()
    assert again.get_compile_config() == model.get_compile_config()
    for ours, theirs in zip(model.predict(x), again.predict(x), strict=True):
        assert_array_equal(ours, theirs)
    histories = [m.fit(x, Y, batch_size=10, verbose=0).history for m in (model, again)]
    assert histories[0] == histories[1]
    assert list(histories[0]) == ["loss", "two_loss", "end_loss", "two_accuracy"]
    weights = again.weights_dict()
    for path, values in model.weights_dict().items():
        assert_array_equal(weights[path], values, err_msg=path)
    assert "two/shared/kernel" in weights


# -- what it looks like


def test_the_summary_says_what_each_layer_reads(capsys: Any) -> None:
    model = two_by_two()
    model.summary()
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "shared[0][0]," in text and "Connected to" in text
    model.summary(show_trainable=True)
    wide = capsys.readouterr().out
    assert max(map(len, wide.splitlines())) <= 80 and "Trainable" in wide
    inner = gpunn.Sequential([layers.Input((3,)), layers.Dense(3, name="hidden")], name="inner")
    x = gpunn.Input((3,), name="start")
    outer = gpunn.Model(x, layers.add([x, inner(x)]))
    outer.summary()
    assert "hidden" not in capsys.readouterr().out
    outer.summary(expand_nested=True)
    assert "  hidden (Dense)" in capsys.readouterr().out
    chain = gpunn.Sequential([layers.Input((3,)), layers.Dense(3)])
    chain.summary()
    assert "Connected" not in capsys.readouterr().out


def test_the_summary_builds_what_says_its_input_shape(capsys: Any) -> None:
    layer = layers.Dense(3, name="only")
    gpunn.Sequential([gpunn.Input((5,)), layer]).summary()
    row = next(line for line in capsys.readouterr().out.splitlines() if "only" in line)
    assert row.split() == ["only", "(Dense)", "(None,", "3)", "18"]


def test_the_summarys_headings_are_whole_beside_a_long_name(capsys: Any) -> None:
    long = layers.Dense(3, name="a_name_that_is_longer_than_its_column_by_far")
    gpunn.Sequential([gpunn.Input((5,)), long]).summary(show_trainable=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["Layer", "(type)", "Output", "shape", "Param", "#", "Trainable"]
    assert max(map(len, lines)) <= 80


def test_layers_stand_in_kerass_order() -> None:
    """Those farthest from the outputs first, as Keras's own test has it."""
    a, b = gpunn.Input((3,), name="input_a"), gpunn.Input((3,), name="input_b")
    x = layers.Dense(5, name="dense_1")(a + b)
    model = gpunn.Model([a, b], layers.Dense(4, name="dense_2")(x), name="basic")
    names = [layer.name for layer in model.layers if not layer.name.startswith("add")]
    assert names == ["input_a", "input_b", "dense_1", "dense_2"]
    assert model.get_layer(index=0).name == "input_a"
    assert model.get_layer("dense_1").output.shape == (None, 5)
    assert model.input_shape == [(None, 3), (None, 3)] and model.output_shape == (None, 4)
    assert model.input_names == ["input_a", "input_b"] and model.output_names == ["dense_2"]
    values = {"input_a": RIGHT, "input_b": RIGHT}
    assert_array_equal(model(values), model([RIGHT, RIGHT]))
    again = model({"input_a": gpunn.Input((3,)), "input_b": gpunn.Input((3,))})
    assert again.shape == (None, 4)


def test_activations_are_named_by_place() -> None:
    inner = gpunn.Sequential([layers.Input((3,)), layers.Dense(3, name="h")], name="inner")
    x = gpunn.Input((3,))
    model = gpunn.Model(x, inner(inner(x)), dtype="float64")
    outputs = model.activations(RIGHT)
    assert list(outputs) == ["inner/h", "inner/h:1"]
    assert_allclose(outputs["inner/h:1"], model.predict(RIGHT), atol=1e-12)


# -- what is refused


def tensor(*shape: int) -> Any:
    return gpunn.Input(shape)


def disconnected() -> Any:
    a, b = gpunn.Input((3,), name="here"), gpunn.Input((3,), name="missing")
    return gpunn.Model(a, layers.add([a, b]))


def same_names() -> Any:
    x = tensor(3)
    return gpunn.Model(x, layers.Dense(3, name="same")(layers.Dense(3, name="same")(x)))


REFUSED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "disconnected": (disconnected, ["disconnected", "'missing'", "'here'"]),
    "an output that is no tensor": (
        lambda: gpunn.Model(tensor(3), np.zeros(3)), ["All outputs", "symbolic"]),
    "an input that is no tensor": (
        lambda: gpunn.Model({"a": "x"}, tensor(3)), ["All inputs", "'x'"]),
    "no inputs": (lambda: gpunn.Model([], tensor(3)), ["inputs", "one at least"]),
    "nothing": (lambda: gpunn.Model(), ["inputs and outputs"]),
    "two layers of one name": (same_names, ["'same'", "2 times"]),
    "one input twice": (lambda: gpunn.Model([x := tensor(3), x], x), ["twice"]),
    "shapes to add": (
        lambda: layers.Add(name="sum")([tensor(3), tensor(4)]), ["sum", "(None, 3)", "(None, 4)"]),
    "shapes to concatenate": (
        lambda: layers.Concatenate(name="c")([tensor(3, 2), tensor(4, 2)]),
        ["c: ", "axis 2", "(None, 3, 2)", "(None, 4, 2)"]),
    "axis of the batch": (lambda: layers.Concatenate(0), ["axis", "batch", "0"]),
    "axis that is not there": (
        lambda: layers.Concatenate(3)([tensor(3), tensor(3)]), ["axis 3", "(None, 3)"]),
    "three to subtract": (lambda: layers.subtract([tensor(2)] * 3), ["2 inputs", "got 3"]),
    "one where a list is due": (lambda: layers.Add()(tensor(2)), ["list"]),
    "a list where one is due": (
        lambda: layers.Dense(2)([tensor(2), tensor(2)]), ["one tensor", "Concatenate"]),
    "tensors and arrays": (lambda: layers.Add()([tensor(2), RIGHT]), ["mixed"]),
    "training for good": (lambda: layers.Dropout(0.5)(tensor(2), training=True), ["training"]),
    "a tensor as an array": (lambda: np.asarray(tensor(2)), ["symbolic", "Model"]),
    "a number to add": (lambda: tensor(2) + 1, ["Rescaling"]),
    "steps of one's own": (
        lambda: type("Mine", (gpunn.Model,), {"train_step": None}), ["Mine.train_step", "layer"]),
    "a call of one's own": (
        lambda: type("Mine", (gpunn.Model,), {"call": None}), ["Mine.call", "gpunn.Model"]),
    "too few inputs of a model": (lambda: two_by_two()([tensor(4)]), ["1 entries; 2", "'left'"]),
    "another shape for a model": (
        lambda: two_by_two()([tensor(4), tensor(4)]), ["(3,)", "(4,)"]),
    "too few losses": (lambda: two_by_two().compile("sgd", ["mse"]), ["loss has 1 entries; 2"]),
    "a loss for what is not there": (
        lambda: two_by_two().compile("sgd", {"knd": "mse"}), ["'knd'", "Did you mean 'kind'"]),
    "a loss weight that is no number": (
        lambda: two_by_two().compile("sgd", "mse", loss_weights=[1, "2"]), ["loss_weights", "'2'"]),
    "metrics in a flat list": (
        lambda: two_by_two().compile("sgd", "mse", metrics=["mse"] * 3), ["metrics", "3"]),
    "metrics without a loss": (
        lambda: two_by_two().compile("sgd", {"kind": "mse"}, metrics={"size": ["mse"]}),
        ["'size'", "no loss"]),
    "one array for two inputs": (
        lambda: compiled(two_by_two()).fit(LEFT, Y), ["x", "list of 2", "'left'", "'right'"]),
    "one array for two targets": (
        lambda: compiled(two_by_two()).fit(X, NUMBERS), ["y", "list of 2", "'kind'"]),
    "an input missing": (
        lambda: compiled(two_by_two()).fit({"left": LEFT}, Y), ["x lacks the key 'right'"]),
    "an input too many": (
        lambda: two_by_two().predict({"left": LEFT, "right": RIGHT, "rihgt": RIGHT}), ["'rihgt'"]),
    "a target missing": (
        lambda: compiled(two_by_two()).fit(X, {"kind": CLASSES}), ["y lacks the key 'size'"]),
    "rows of the inputs": (
        lambda: two_by_two().predict([LEFT, RIGHT[:5]]), ["x['right'] has 5 rows, x['left'] 24"]),
    "rows of a target": (
        lambda: compiled(two_by_two()).fit(X, [CLASSES, NUMBERS[:5]]), ["y['size'] has 5 rows"]),
    "the shape of an input": (
        lambda: two_by_two().predict([LEFT, LEFT]), ["x['right'] has shape (24, 4)"]),
    "a target that is no class": (
        lambda: compiled(two_by_two()).fit(X, [CLASSES + 1, NUMBERS]), ["y['kind']", "label 3"]),
    "NaN in an input": (
        lambda: two_by_two().predict([LEFT, RIGHT * np.nan]), ["x['right'] holds nan"]),
    "class weights": (
        lambda: compiled(two_by_two()).fit(X, Y, class_weight={0: 2.0}), ["one output"]),
    "weights of another length": (
        lambda: compiled(two_by_two()).fit(X, Y, sample_weight=[None, np.ones(3)]),
        ["sample_weight['size']", "(3,)"]),
    "stratified with two outputs": (
        lambda: compiled(two_by_two()).fit(
            X, Y, validation_split=0.5, validation_strategy="stratified"), ["stratified"]),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    action, fragments = REFUSED[what]
    with pytest.raises((ValueError, TypeError)) as caught:
        action()
    for fragment in fragments:
        assert fragment in str(caught.value)
