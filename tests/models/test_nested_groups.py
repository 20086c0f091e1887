"""Test dictionaries and lists in each other as inputs and outputs of models, beside Keras."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras's own
    pytest.mark.filterwarnings("ignore:The structure of"),
]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(8, 6)).astype(np.float32)
XS = {"a": {"b": X, "c": X + 1}, "d": [X * 2]}
YS = {"p": X[:, :2], "q": [X[:, :1], X[:, 2:4]]}


class Pair(NamedTuple):
    first: Any
    second: Any


def graph(k: Any) -> Any:
    x = {
        "a": {"b": k.Input((6,), name="b"), "c": k.Input((6,), name="c")},
        "d": [k.Input((6,), name="e")],
    }
    both = k.layers.Concatenate()([x["a"]["b"], x["a"]["c"], x["d"][0]])
    h = k.layers.Dense(2, kernel_initializer=k.initializers.Constant(0.1), name="h")(both)
    z = k.layers.Dense(1, kernel_initializer="ones", name="z")(h)
    return k.Model(x, {"p": h, "q": [z, k.layers.Dense(2, "tanh", True, "ones", name="last")(h)]})


def leaves(y: Any) -> list[Any]:
    if isinstance(y, (dict, list, tuple)):
        return [z for part in (y.values() if isinstance(y, dict) else y) for z in leaves(part)]
    return [y.detach().numpy() if hasattr(y, "detach") else np.asarray(y)]


def same(ours: Any, theirs: Any) -> None:
    assert list(ours) == list(theirs) and isinstance(ours["q"], list)
    for y, wanted in zip(leaves(ours), leaves(theirs), strict=True):
        assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


def part(data: Any, rows: slice) -> Any:
    if isinstance(data, dict):
        return {key: part(value, rows) for key, value in data.items()}
    return [part(value, rows) for value in data] if isinstance(data, list) else data[rows]


def stream(k: Any) -> Any:
    class Stream(k.utils.PyDataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return 2

        def __getitem__(self, at: int) -> Any:
            rows = slice(4 * at, 4 * at + 4)
            return part(XS, rows), part(YS, rows)

    return Stream()


def test_a_graph_of_nested_groups_is_kerass(keras: Any, backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(backend)
    ours, theirs = graph(gpunn), graph(keras)
    ours.set_weights(theirs.get_weights())
    assert ours.output_shape == {"p": (None, 2), "q": [(None, 1), (None, 2)]}
    assert [(p.path, p.shape) for p in ours.weights] == [(p.path, p.shape) for p in theirs.weights]
    logs: list[Any] = []
    for model in (ours, theirs):
        losses = {"p": ["mse"], "q": ["mae", "mse"]}
        model.compile("sgd", losses, loss_weights={"p": 2.0, "q": [1.0, 0.5]})
        fits = [
            model.fit(XS, YS, batch_size=4, shuffle=False, validation_data=(XS, YS), verbose=0),
            model.fit(stream(gpunn if model is ours else keras), shuffle=False, verbose=0),
        ]
        logs.append([fit.history for fit in fits])
        logs[-1].append(model.evaluate(XS, YS, verbose=0, return_dict=True))
        logs[-1].append(model.train_on_batch(XS, YS, return_dict=True))
    for found, wanted in zip(*logs, strict=True):
        assert sorted(found) == sorted(wanted)
        for name in wanted:
            assert_allclose(found[name], wanted[name], rtol=1e-4, err_msg=name)
    wanted = theirs.predict(XS, verbose=0)
    for given in (XS, [X, X + 1, X * 2], {"b": X, "c": X + 1, "e": X * 2}):
        same(ours.predict(given, verbose=0), wanted)
    same(ours(XS), wanted)
    same(ours.predict(stream(gpunn), verbose=0), wanted)
    for name in ("model.gpunn", "model.keras"):
        ours.save(tmp_path / name)
        same(gpunn.saving.load_model(tmp_path / name).predict(XS, verbose=0), wanted)
    same(keras.saving.load_model(tmp_path / "model.keras").predict(XS, verbose=0), wanted)
    theirs.save(tmp_path / "theirs.keras")
    same(gpunn.saving.load_model(tmp_path / "theirs.keras").predict(XS, verbose=0), wanted)


def test_copies_and_use_as_a_layer(keras: Any, tmp_path: Path) -> None:
    model = graph(gpunn)
    wanted = model.predict(XS, verbose=0)
    clone = gpunn.models.clone_model(model, recursive=True)
    clone.set_weights(model.get_weights())
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), clone):
        same(again.predict(XS, verbose=0), wanted)
    x = {"a": {"b": gpunn.Input((6,)), "c": gpunn.Input((6,))}, "d": [gpunn.Input((6,))]}
    outer = gpunn.Model(x, model(x)["q"][1])
    assert_allclose(outer.predict(XS, verbose=0), wanted["q"][1])
    outer.save(tmp_path / "outer.keras")
    for module in (gpunn, keras):
        again = module.saving.load_model(tmp_path / "outer.keras")
        assert_allclose(again.predict(XS, verbose=0), wanted["q"][1], rtol=1e-6)


def own(k: Any) -> Any:
    class Own(k.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = k.layers.Dense(2, kernel_initializer=k.initializers.Constant(0.1))

        def call(self, x: Any) -> Any:
            y = self.dense(x["a"]["b"] + x["a"]["c"])
            return {"p": y, "q": [y[:, :1], y * x["d"][0][:, :2]]}

    return Own()


def test_a_call_of_nested_groups_is_kerass(keras: Any) -> None:
    found = []
    for k in (gpunn, keras):
        model = own(k)
        y = model(XS)
        model.compile("sgd", "mse")
        history = model.fit(XS, YS, batch_size=4, shuffle=False, epochs=2, verbose=0).history
        found.append((y, history["loss"], model.predict(XS, verbose=0)))
    ours, theirs = found
    same(ours[0], theirs[0])
    same(ours[2], theirs[2])
    assert_allclose(ours[1], theirs[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"a": {"b": X}, "d": [X]}, r"x\['a'\] must be a dictionary of the keys 'b', 'c'; got"),
        ({"a": {"b": X, "c": X, "f": X}, "d": [X]}, r"x\['a'\] must be .* got the keys 'b', 'c'"),
        ({"a": X, "d": [X]}, r"x\['a'\] must be a dictionary of .*; got ndarray"),
        ({"a": {"b": X, "c": X}, "d": [X, X]}, r"x\['d'\] must be a list .* of 1 .* 2 entries"),
        ({"a": {"b": X, "c": X}}, "x must be a dictionary of the keys 'a', 'd'; got the keys 'a'"),
        ({"a": {"b": X, "c": X[:3]}, "d": [X]}, "3 rows"),
        ([X, X], "x has 2 entries; 3 are expected"),
    ],
)
def test_what_has_another_structure_is_refused(x: Any, message: str) -> None:
    model = graph(gpunn)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=message):
        model.predict(x, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(x, YS, verbose=0)
    with pytest.raises(ValueError, match=r"y\['q'\] must be a list or tuple of 2 entries; got 1"):
        model.fit(XS, {"p": YS["p"], "q": [X[:, :1]]}, verbose=0)
    with pytest.raises(ValueError, match=r"loss\['q'\] must be a list or tuple of 2 entries"):
        model.compile("sgd", {"p": "mse", "q": "mse"})


def test_a_step_of_ones_own_compares_nested_groups() -> None:
    class Own(gpunn.Model):
        def train_step(self, data: Any) -> Any:
            x, y, _ = gpunn.utils.unpack_x_y_sample_weight(data)
            with gpunn.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            weights = self.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model = graph(gpunn)
    mine = Own(model.input, model.output)
    model.compile("sgd", "mse")
    first = model.evaluate(XS, YS, verbose=0, return_dict=True)["loss"]
    mine.compile("sgd", "mse")
    assert_allclose(mine.fit(XS, YS, batch_size=8, verbose=0).history["loss"][0], first, rtol=1e-5)


def test_weights_of_nested_targets(keras: Any) -> None:
    weight = {"p": np.linspace(0, 1, 8), "q": [np.ones(8), np.linspace(1, 0, 8)]}
    losses = []
    for k in (gpunn, keras):
        model = graph(k)
        model.compile("sgd", "mse")
        losses.append(model.evaluate(XS, YS, sample_weight=weight, verbose=0))
    assert_allclose(sorted(losses[0]), sorted(losses[1]), rtol=1e-5)


def test_named_tuples_are_kerass(keras: Any, every_backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(every_backend)
    given, targets = Pair(X, X[:, :2]), Pair(X[:, :2], X[:, 2:4])

    def of(k: Any) -> dict[str, Any]:
        x = Pair(k.Input((6,)), k.Input((2,)))
        h = k.layers.Dense(2, kernel_initializer=k.initializers.Constant(0.1))(x.first)
        model = k.Model(x, Pair(h + x.second, h * 2))

        class Own(k.Model):  # type: ignore[misc, name-defined]
            def call(self, x: Any) -> Any:
                return Pair(x.first[:, :2] + x.second, x.second)

        own, file = Own(), tmp_path / f"{k.__name__}.keras"
        model.save(file)
        found = {
            "model": model.predict(given, verbose=0), "batch": model.predict_on_batch(given),
            "call": model(given), "own call": own(given), "own": own.predict(given, verbose=0),
            "clone": k.models.clone_model(model).predict(given, verbose=0),
            "used": k.Model(x, model(x).first * model(x).second).predict(given, verbose=0),
            "loaded": k.models.load_model(file).predict(given, verbose=0),
        }  # fmt: skip
        model.compile("sgd", Pair("mse", "mae"))
        model.fit(given, targets, shuffle=False, verbose=0)
        found["loss"] = np.asarray(model.evaluate(given, targets, verbose=0))
        return found

    ours, theirs = of(gpunn), of(keras)
    for name, wanted in theirs.items():
        assert isinstance(ours[name], Pair) == isinstance(wanted, Pair), name
        for y, z in zip(leaves(ours[name]), leaves(wanted), strict=True):
            assert_allclose(y, z, rtol=1e-5, atol=1e-6, err_msg=name)
