"""Test functional models: shared and nested layers, several inputs and outputs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest
from graph_networks import CLASSES, LEFT, NUMBERS, RIGHT, X, Y, compiled, two_by_two
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


def norm_apart(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# -- compared with PyTorch


def torch_parameters(model: Any) -> dict[str, Any]:
    return {
        path: torch.tensor(values, requires_grad=True)
        for path, values in model.weights_dict().items()
    }


def train_both(model: Any, x: Any, y: Any, weights: dict, loss: Callable[[], Any]) -> None:
    """Train both for 20 steps with momentum; the weights agree throughout."""
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
    """A small model with a random graph, and the shapes of its inputs and outputs."""
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


@settings(max_examples=60)
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
    assert [head.fused for head in model._trainer.terms] == [False, False]
    x = gpunn.Input((4,))
    kind, size = layers.Dense(3, activation="softmax")(x), layers.Dense(2)(x)
    free = compiled(gpunn.Model(x, [kind, size]))
    assert [head.fused for head in free._trainer.terms] == [True, False]


# -- on a GPU as with NumPy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_is_that_of_numpy(dtype: str) -> None:
    gpu, results = emulated.make_backend(), []
    for backend in ("numpy", gpu):
        gpunn.utils.set_random_seed(5)
        model = compiled(two_by_two(dtype, backend, dropout=0.3), gpunn.optimizers.Adam(0.01))
        history = model.fit(
            [LEFT, RIGHT], [CLASSES, NUMBERS], epochs=3, batch_size=10, verbose=0,
            validation_split=0.25, sample_weight={"kind": np.linspace(0.5, 1.5, 24)},
        ).history  # fmt: skip
        results.append((history, model.get_weights(), model.predict([LEFT, RIGHT])))
    (here, weights, outputs), (there, gpu_weights, gpu_outputs) = results
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert list(here) == list(there)
    for name in here:
        assert_allclose(there[name], here[name], rtol=10 * tolerance)
    for ours, theirs in zip([*weights, *outputs], [*gpu_weights, *gpu_outputs], strict=True):
        assert norm_apart(theirs, ours) < tolerance


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
    monkeypatch: pytest.MonkeyPatch, recorded_pieces: list[int]
) -> None:
    monkeypatch.setattr(NumpyBackend, "cache_bytes", 1 << 16)
    x = gpunn.Input((64,))
    y = layers.Dense(64)(layers.Flatten()(x))
    model = gpunn.Model(x, [layers.add([x, y]), layers.Flatten()(x), x], backend="numpy")
    model.build()
    values = np.random.default_rng(0).standard_normal((301, 64)).astype("float32")
    kernel, bias = model.get_weights()
    added, flat, same = model.predict(values, batch_size=301)
    assert recorded_pieces[0] > 3
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
    assert model._plan.folded_rescalings().keys() == {0}
    assert_allclose(model.predict([RIGHT, RIGHT]), 1.75 * RIGHT, rtol=1e-5)


# -- files


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
    gpunn.use_backend(backend)
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


# -- summaries and plots


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


def test_print_shows_the_summary(capsys: Any) -> None:
    for model in (
        gpunn.Sequential([gpunn.Input((5,)), layers.Dense(2)]),
        gpunn.Sequential([layers.Dense(2)]),
    ):
        model.summary()
        print(model)
        printed = capsys.readouterr().out
        assert printed == 2 * printed[: len(printed) // 2]
        assert repr(model).startswith("<Sequential name=sequential")


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
    """Those farthest from the outputs first, as in Keras's own test."""
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


def test_work_grows_with_the_inputs_not_with_their_square() -> None:
    """Of four times as many, calls of functions are four times as many."""

    def calls(inputs: int) -> int:
        count = 0

        def seen(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(seen)
        try:
            given = [gpunn.Input((1,)) for _ in range(inputs)]
            gpunn.Model(given, layers.Concatenate()(given))
        finally:
            sys.setprofile(before)
        return count

    calls(2)  # what is found out once
    assert calls(600) < 5 * calls(150)
