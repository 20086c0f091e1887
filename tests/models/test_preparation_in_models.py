"""Test preprocessing layers in models: strings are encoded while feeding, numbers in the step."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers

CITIES = np.array(["Paris", "Oslo", "Rome", "Oslo", "Paris", "Oslo", "Lima", "Rome"])
AGES = np.array([20.0, 31.0, 42.0, 28.0, 55.0, 61.0, 33.0, 47.0])
NUMBERS = np.array([3, 3 * 10**15, 3, 4, 3 * 10**15 + 1, 4, 4, 3])
TABLE = {"city": CITIES, "age": AGES, "number": NUMBERS}
Y = AGES / 10 + (CITIES == "Oslo")


def prepared() -> np.ndarray:
    """The expected outputs of the layers below, by NumPy alone."""
    cities = CITIES[:, None] == ["", "Oslo", "Rome", "Paris"]
    cities[:, 0] = ~cities.any(1)
    numbers = NUMBERS[:, None] == [0, 4, 3, 3 * 10**15 + 1, 3 * 10**15]
    bins = np.digitize(AGES, [30.0, 45.0])[:, None] == range(3)
    scaled = (AGES - AGES.mean()) / AGES.std()
    return np.concatenate([cities, scaled[:, None], bins, numbers], 1).astype(float)


def network(backend: Any = None, dtype: str = "float32", form: Callable[..., Any] = list) -> Any:
    city = gpunn.Input((1,), dtype="string", name="city")
    age = gpunn.Input((1,), name="age")
    number = gpunn.Input((1,), dtype="int64", name="number")
    scale = layers.Normalization(name="scale")
    scale.adapt(AGES)
    lookup = layers.IntegerLookup(output_mode="one_hot", name="numbers")
    lookup.adapt(NUMBERS)
    made = layers.concatenate(
        [
            layers.StringLookup(vocabulary=["Oslo", "Rome", "Paris"], output_mode="one_hot")(city),
            scale(age),
            layers.Discretization([30.0, 45.0], output_mode="one_hot")(age),
            lookup(number),
        ]
    )
    y = layers.Dense(1, kernel_initializer="zeros", name="out")(made)
    inputs = [city, age, number]
    given = dict(zip(TABLE, inputs, strict=True)) if form is dict else inputs
    return gpunn.Model(given, y, dtype=dtype, backend=backend)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_trains_as_on_columns_that_were_prepared_before(backend: str, dtype: str) -> None:
    model = network(backend, dtype)
    plain = gpunn.Sequential(
        [gpunn.Input((13,)), layers.Dense(1, kernel_initializer="zeros")],
        backend=backend, dtype=dtype,
    )  # fmt: skip
    results = []
    for made, x in ((model, TABLE), (plain, prepared())):
        made.compile(gpunn.optimizers.SGD(0.05), "mse", metrics=["mae"])
        history = made.fit(
            x, Y, batch_size=3, epochs=3, shuffle=False, verbose=0, validation_split=0.25
        )
        results.append([*history.history.values(), made.evaluate(x, Y, verbose=0)])
        results[-1].append(made.predict(x).ravel().tolist())
        results[-1].append(made.train_on_batch(x, Y))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for ours, theirs in zip(*results, strict=True):
        assert_allclose(ours, theirs, rtol=tolerance)
    if dtype == "float64":
        assert_allclose(model.get_layer("scale").mean, [[AGES.mean()]], rtol=1e-15)


def test_every_road_of_data_is_encoded(backend: str) -> None:
    model = network(backend)
    model.compile("sgd", "mse")
    model.fit(TABLE, Y, verbose=0)
    expected = model.predict(TABLE)
    columns = list(TABLE.values())
    rows = [{name: column[k : k + 3] for name, column in TABLE.items()} for k in (0, 3, 6)]
    lists = [[str(c) for c in CITIES], AGES.tolist(), NUMBERS.tolist()]
    for x in (columns, lists, {name: c[:, None] for name, c in TABLE.items()}):
        assert_array_equal(model.predict(x), expected)
    assert_array_equal(model.predict(iter(rows)), expected)
    assert_array_equal(model.predict_on_batch(TABLE), expected)
    assert_array_equal(np.asarray(model(TABLE)), expected)
    assert_array_equal(model.activations(TABLE)["out"], expected)
    targets = [Y[k : k + 3] for k in (0, 3, 6)]
    whole = model.evaluate(TABLE, Y, batch_size=3, verbose=0)
    stream = model.evaluate(zip(rows, targets, strict=True), verbose=0)
    assert_allclose(stream, whole, rtol=1e-6)
    history = model.fit(
        list(zip(rows, targets, strict=True)), epochs=2, verbose=0, validation_data=(TABLE, Y)
    )
    assert len(history.history["val_loss"]) == 2


def test_a_chain_begins_with_a_lookup_and_stands_in_another_model(
    backend: str, tmp_path: Path
) -> None:
    encode = gpunn.Sequential(
        [layers.StringLookup(vocabulary=["Oslo", "Rome"], output_mode="one_hot"), layers.Dense(2)],
        backend=backend,
    )
    first = encode.predict(CITIES)
    assert_array_equal(encode.predict(CITIES[:, None]), first)
    text, age = gpunn.Input((), dtype="string", name="city"), gpunn.Input((1,), name="age")
    whole = gpunn.Model([text, age], layers.concatenate([encode(text), age]), backend=backend)
    assert_array_equal(whole.predict([CITIES, AGES])[:, :2], first)
    whole.save(tmp_path / "model.gpunn")
    again = gpunn.models.load_model(tmp_path / "model.gpunn")
    assert_allclose(again.predict([CITIES, AGES]), whole.predict([CITIES, AGES]), rtol=1e-6)
    again = gpunn.models.model_from_json(whole.to_json())
    assert again.layers[1].layers[0].get_vocabulary() == ["[UNK]", "Oslo", "Rome"]


def test_a_saved_model_takes_raw_data_without_code(tmp_path: Path) -> None:
    model = network(form=dict)
    model.compile("adam", "mse")
    model.fit(TABLE, Y, verbose=0)
    model.save(tmp_path / "model.gpunn")
    again = gpunn.models.load_model(tmp_path / "model.gpunn")
    assert_array_equal(again.predict(TABLE), model.predict(TABLE))
    assert again.input_names == ["city", "age", "number"]
    copy = gpunn.Model.from_config(model.get_config())
    assert copy.get_layer("numbers").get_vocabulary() == [-1, 4, 3, 3 * 10**15 + 1, 3 * 10**15]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("trained", [False, True])
def test_copies_hold_what_was_learnt(copied: Callable[[Any], Any], trained: bool) -> None:
    model = network()
    model.compile("sgd", "mse")
    if trained:
        model.fit(TABLE, Y, verbose=0)
    assert_array_equal(copied(model).predict(TABLE), model.predict(TABLE))
    for again in (gpunn.models.clone_model(model), gpunn.models.model_from_json(model.to_json())):
        again.set_weights(model.get_weights())
        assert_array_equal(again.predict(TABLE), model.predict(TABLE))
    again = gpunn.models.model_from_json(model.to_json())
    assert_array_equal(again.get_layer("scale").mean, model.get_layer("scale").mean)


def test_threads_predict_at_the_same_time() -> None:
    model = network()
    expected = model.predict(TABLE)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.predict(TABLE), range(16)):
            assert_array_equal(found, expected)


class _Scaled(gpunn.Model):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.out = layers.Normalization(), layers.Dense(1)
        self.scale.adapt(AGES)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.out(self.scale(x))


def test_numbers_are_prepared_inside_a_call_too(backend: str) -> None:
    with gpunn.backends.choice_put_back():
        gpunn.use_backend(backend)
        model = _Scaled()
        model.compile("sgd", "mse")
        model.fit(AGES[:, None], Y, verbose=0)
        kernel, bias = model.out.get_weights()
        expected = (AGES[:, None] - AGES.mean()) / AGES.std() @ kernel + bias
        assert_allclose(model.predict(AGES[:, None]), expected, rtol=1e-4, atol=1e-5)


def test_a_model_that_prepares_data_needs_a_loss_as_any_other() -> None:
    model = network()
    model.compile("sgd")
    with pytest.raises(ValueError, match="compiled without a loss"):
        model.fit(TABLE, Y, verbose=0)


MISSING = [None, float("nan"), np.nan]


@pytest.mark.parametrize("value", MISSING)
def test_a_missing_text_is_masked_unknown_or_refused(value: Any) -> None:
    column = ["b", value, "x"]
    assert layers.StringLookup(vocabulary=["b"])(column).tolist() == [1, 0, 0]
    masked = layers.StringLookup(vocabulary=["b"], mask_token="-")
    assert masked(column).tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match=r"no value at \[1\].*mask_token"):
        layers.StringLookup(vocabulary=["b", "x"], num_oov_indices=0)(column)
    learned = layers.StringLookup()
    learned.adapt(np.array(column, object))
    assert learned.get_vocabulary() == ["[UNK]", "x", "b"]


@pytest.mark.parametrize(
    "column",
    [
        ["é", "日本"],
        np.array(["é", "日本"]),
        np.array(["é", "日本"], np.dtypes.StringDType()),
        np.array(["é".encode(), "日本".encode()]),
        ["é".encode(), "日本"],
        np.ma.array(["é", "日本"], mask=[False, False]),
    ],
)
def test_strings_of_any_kind(column: Any) -> None:
    layer = layers.StringLookup(vocabulary=["日本", "é"])
    assert layer(column).tolist() == [2, 1]


TEXT, NUMBER = gpunn.Input((1,), dtype="string", name="city"), gpunn.Input((1,), name="age")
LOOKUP = {"vocabulary": ["a", "b"]}


class _Inside(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.lookup = layers.IntegerLookup(vocabulary=[1, 2])

    def call(self, x: Any) -> Any:
        return self.lookup(x)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "of a number in a column of strings": (
        lambda: layers.StringLookup(**LOOKUP)(["a", 3]),
        r"3 at \[1\], a int; .* takes strings. Convert the column to strings",
    ),
    "of a text among integers": (
        lambda: layers.IntegerLookup(vocabulary=[1])(np.array([1, "x"], object)),
        r"'x' at \[1\]; .* takes integers",
    ),
    "of a broken number": (
        lambda: layers.IntegerLookup(vocabulary=[1])([1.5]), "takes integers of 64 bits"
    ),
    "of an unknown one": (
        lambda: layers.StringLookup(**LOOKUP, num_oov_indices=0)(["c"]), "not in the vocabulary"
    ),
    "behind a layer": (
        lambda: layers.IntegerLookup(vocabulary=[1])(layers.Dense(1)(NUMBER)),
        "only be applied to an input of the model, but 'dense",
    ),
    "behind rows of codes": (
        lambda: layers.IntegerLookup(vocabulary=[1])(
            layers.StringLookup(**LOOKUP, output_mode="one_hot")(TEXT)
        ),
        "computed in the step",
    ),
    "inside a call": (lambda: _Inside()([[1.0]]), "cannot be applied inside a call"),
    "of strings to a layer of numbers": (lambda: layers.Dense(1)(TEXT), "put layers.StringLookup"),
    "before adapt": (lambda: layers.StringLookup()(["a"]), "call string_lookup.*adapt"),
    "of adapt without values": (lambda: layers.StringLookup().adapt([None]), "no value"),
    "of adapt with NaN": (
        lambda: layers.Normalization().adapt([1.0, np.nan]), r"nan at \[1\].*finite"
    ),
    "adapt on strings": (lambda: layers.Discretization(num_bins=2).adapt(["a"]), "real numbers"),
    "of twice the same": (lambda: layers.StringLookup(vocabulary=["a", "a"]), "more than once"),
    "of too many": (lambda: layers.StringLookup(**LOOKUP, max_tokens=2), "max_tokens is 2"),
    "of a category too many": (
        lambda: layers.CategoryEncoding(2)([[0, 2]]), r"holds 2 at \[0, 1\]"
    ),
    "of boundaries that fall": (lambda: layers.Discretization([2.0, 1.0]), "increasing"),
    "of strings that come out": (
        lambda: gpunn.Model(NUMBER, layers.StringLookup(**LOOKUP, invert=True)(NUMBER)).summary(),
        "models cannot return",
    ),
    "of more codes than float32 has": (
        lambda: layers.StringLookup(**LOOKUP, num_oov_indices=10**9), "at most 16,777,216"
    ),
    "of sparse rows": (lambda: layers.CategoryEncoding(2, sparse=True), "sparse tensors"),
    "of a stored path": (
        lambda: layers.deserialize(
            {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}
        ),
        "names a file",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    act, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        act()


def test_data_that_do_not_fit_are_refused_before_a_step() -> None:
    codes = gpunn.Input((2,), dtype="int32", name="codes")
    encoded = layers.CategoryEncoding(3)(codes)
    lookup = layers.StringLookup(**LOOKUP, output_mode="one_hot")(TEXT)
    model = gpunn.Model([codes, TEXT], layers.Dense(1)(layers.concatenate([encoded, lookup])))
    model.compile("sgd", "mse")
    good = {"codes": [[0, 1], [2, 2]], "city": ["a", "?"]}
    model.fit(good, [1.0, 2.0], verbose=0)
    for wrong, message in (
        ({"codes": [[0, 1], [2, 3]]}, r"x\['codes'\] holds 3 at \[1, 1\]"),
        ({"codes": [[0, 1], [2, 0.5]]}, r"holds 0.5 at \[1, 1\]"),
        ({"city": ["a", 7]}, r"x\['city'\] holds 7 at \[1, 0\]"),
        ({"city": ["a"]}, "1 rows"),
        ({"city": []}, "empty"),
        ({"city": None}, "missing"),
        ({"city": [["a", "b"], ["a", "b"]]}, r"x\['city'\] has shape \(2, 2\)"),
    ):
        for method in (model.predict, lambda x: model.train_on_batch(x, [1.0, 2.0])):
            with pytest.raises((TypeError, ValueError), match=message):
                method({**good, **wrong})


def test_arrays_of_the_device_are_looked_at_and_encoded(backend: str) -> None:
    codes, number = gpunn.Input((1,), dtype="int32"), gpunn.Input((1,))
    encoded = layers.CategoryEncoding(5, "one_hot")(codes)
    looked_up = layers.IntegerLookup(vocabulary=[3, 4], output_mode="one_hot")(number)
    model = gpunn.Model([codes, number], layers.concatenate([encoded, looked_up]), backend=backend)
    column = np.array([[3], [4], [0]])
    given = [model.backend.upload(column.astype("int32")) for _ in range(2)]
    expected = np.concatenate([np.eye(5)[[3, 4, 0]], np.eye(3)[[1, 2, 0]]], 1)
    assert_array_equal(model.predict(given), expected)
    with pytest.raises(ValueError, match=r"holds 7 at \[0, 0\]"):
        model.predict([model.backend.upload(column + 4), given[1]])


def test_the_vocabulary_of_a_built_model_keeps_its_size() -> None:
    layer = layers.StringLookup(output_mode="one_hot")
    layer.set_vocabulary(LOOKUP["vocabulary"])
    model = gpunn.Model(TEXT, layers.Dense(1, kernel_initializer="ones")(layer(TEXT)))
    assert model.predict(["a", "c"]).tolist() == [[1.0], [1.0]]
    layer.set_vocabulary(["c", "d"])
    assert layer(["d"]).tolist() == [[0.0, 0.0, 1.0]]
    with pytest.raises(ValueError, match=r"built for 3\. Rebuild the model"):
        layer.adapt(["a", "b", "c"])
