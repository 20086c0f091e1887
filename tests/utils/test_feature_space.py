"""Test `utils.FeatureSpace`: named columns, each preprocessed as specified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers
from gpunn.utils import FeatureSpace

TABLE: dict[str, Any] = {
    "raw": np.array([0.5, -1.0, 2.0, 8.0]),
    "age": np.array([20.0, 40.0, 60.0, 40.0]),
    "city": np.array(["Oslo", "Rome", "Oslo", "Lima"]),
    "rooms": np.array([3, 1, 3, 2]),
    "sea": np.array([True, False, False, True]),
}
KINDS = {
    "raw": "float",
    "age": "float_normalized",
    "city": FeatureSpace.string_categorical(num_oov_indices=1),
    "rooms": "integer_categorical",
    "sea": "boolean",
}
# Sorted by name: age, city ([UNK] Oslo Rome Lima), raw, rooms ([UNK] 3 2 1), sea.
DEVIATION = np.sqrt(200)
ROWS = [
    [-20 / DEVIATION, 0, 1, 0, 0, 0.5, 0, 1, 0, 0, 1],
    [0, 0, 0, 1, 0, -1.0, 0, 0, 0, 1, 0],
    [20 / DEVIATION, 0, 1, 0, 0, 2.0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 1, 8.0, 0, 0, 1, 0, 1],
]


def batches() -> Any:
    for k in (0, 2):
        yield {name: column[k : k + 2] for name, column in TABLE.items()}, None


@pytest.mark.parametrize("data", [TABLE, {k: v.tolist() for k, v in TABLE.items()}, batches])
def test_rows_of_columns(data: Any) -> None:
    space = FeatureSpace(KINDS)
    space.adapt(data() if callable(data) else data)
    assert_allclose(space(TABLE), ROWS, rtol=1e-6, atol=1e-7)
    one = {name: column[1].item() for name, column in TABLE.items()}
    assert_allclose(space(one), ROWS[1], atol=1e-7)
    unknown = space({**TABLE, "city": ["Kyiv"] * 4, "rooms": [9] * 4})
    assert_array_equal(unknown[:, [1, 6]], np.ones((4, 2)))


def test_it_stands_in_front_of_a_model_and_in_a_file(tmp_path: Path) -> None:
    space = FeatureSpace(KINDS)
    space.adapt(TABLE)
    y = layers.Dense(1)(space.get_encoded_features())
    model = gpunn.Model(space.get_inputs(), y)
    model.compile("adam", "mse")
    model.fit(TABLE, [1.0, 2.0, 3.0, 4.0], verbose=0)
    kernel, bias = model.layers[-1].get_weights()
    assert_allclose(model.predict(TABLE), np.array(ROWS) @ kernel + bias, rtol=1e-4, atol=1e-5)
    assert "3 categories: 'Oslo', 'Rome', 'Lima'" in model.data_held().values()
    space.save(tmp_path / "space.gpunn")
    again = FeatureSpace.load(tmp_path / "space.gpunn")
    assert_array_equal(again(TABLE), space(TABLE))
    assert list(again.get_inputs()) == list(KINDS)
    model.save(tmp_path / "model.gpunn")
    with pytest.raises(ValueError, match="feature_space"):
        FeatureSpace.load(tmp_path / "model.gpunn")


def test_a_dictionary_of_codes_and_bins() -> None:
    space = FeatureSpace(
        {
            "age": FeatureSpace.float_discretized(bin_boundaries=[30.0, 50.0]),
            "rooms": FeatureSpace.integer_categorical(output_mode="int", max_tokens=3),
            "own/name": FeatureSpace.feature("float32", layers.Rescaling(2.0), "float"),
        },
        output_mode="dict",
    )
    table = {**TABLE, "own/name": TABLE["raw"]}
    space.adapt(table)
    found = space(table)
    assert_array_equal(found["age"], np.eye(3)[[0, 1, 2, 1]])
    assert found["rooms"].tolist() == [[1.0], [0.0], [1.0], [2.0]]
    assert_array_equal(found["own/name"][:, 0], 2 * TABLE["raw"])


def frames() -> list[Any]:
    made = []
    columns = {"surplus": [1, 2, 3, 4], **dict(reversed(TABLE.items()))}
    for name, make in (
        ("pandas", lambda m: m.DataFrame(columns)),
        ("pandas", lambda m: m.DataFrame(columns).astype({"city": "category"}).convert_dtypes()),
        ("polars", lambda m: m.DataFrame(columns)),
        ("pyarrow", lambda m: m.table(columns)),
    ):
        made.append(pytest.param(name, make, id=f"{name}-{len(made)}"))
    return made


@pytest.mark.parametrize(("library", "make"), frames())
def test_frames_are_read_by_the_names_of_their_columns(library: str, make: Any) -> None:
    frame = make(pytest.importorskip(library))
    space = FeatureSpace(KINDS)
    space.adapt(frame)
    assert_allclose(space(frame), ROWS, rtol=1e-6, atol=1e-7)
    model = gpunn.Model(space.get_inputs(), layers.Dense(2)(space.get_encoded_features()))
    assert_array_equal(model.predict(frame), model.predict(TABLE))
    fewer = make(pytest.importorskip(library))
    fewer = fewer.drop(columns=["city"]) if library == "pandas" else fewer.drop(["city"])
    with pytest.raises(ValueError, match="lacks the columns 'city'"):
        model.predict(fewer)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: FeatureSpace({"a": "flaot"}), r"features\['a'\].*Did you mean 'float'"),
        (lambda: FeatureSpace({}), "must be a dictionary"),
        (lambda: FeatureSpace(dict([(1, "float")])), "names must be strings"),
        (lambda: FeatureSpace(KINDS, crosses=[("a", "b")]), "crosses must be one of"),
        (lambda: FeatureSpace.cross(("a", "b"), 32, "float"), "output_mode"),
        (lambda: FeatureSpace(KINDS)(TABLE), "call adapt"),
        (lambda: FeatureSpace(KINDS).adapt({"age": [1.0]}), "lack columns 'raw'"),
        (lambda: FeatureSpace(KINDS).adapt([1, 2]), "a dictionary of columns"),
        (
            lambda: FeatureSpace({"age": "float_normalized"}).adapt({"age": ["x"]}),
            "The column 'age'.*real numbers",
        ),
        (lambda: FeatureSpace({"a": "float"})([1.0]), "takes a dictionary"),
        (lambda: FeatureSpace({"a": "boolean"})({"a": [2]}), "0 and 1 are expected"),
    ],
)
def test_refusals(act: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        act()


GIVEN: dict[str, tuple[Any, str]] = {
    "StringLookup": (lambda: layers.StringLookup(vocabulary=["Oslo"]), "city"),
    "IntegerLookup": (lambda: layers.IntegerLookup(vocabulary=[7]), "rooms"),
    "TextVectorization": (lambda: layers.TextVectorization(vocabulary=["oslo"]), "city"),
    "Discretization": (lambda: layers.Discretization(bin_boundaries=[30.0]), "age"),
    "Normalization": (lambda: layers.Normalization(mean=3.0, variance=2.0), "age"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_was_given_to_a_layer_is_not_learned(name: str) -> None:
    """The layer refuses to adapt, as in Keras, and a space leaves it as it is."""
    make, column = GIVEN[name]
    layer = make()
    before = layer.get_config()
    with pytest.raises(ValueError, match=r"adapt: .* (was|were) given"):
        layer.adapt(TABLE[column])
    kinds = {"city": "string", "rooms": "int32", "age": "float32"}
    feature = FeatureSpace.feature(kinds[column], layer, "int" if column != "age" else "float")
    space = FeatureSpace({column: feature}, output_mode="dict")
    space.adapt(TABLE)
    assert layer.get_config() == before


OTHER = {
    "raw": [1.0, 2.0],
    "age": [1.0, 9.0],
    "city": ["Bergen", "Bergen"],
    "rooms": [8, 9],
    "sea": [True, True],
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("used", [False, True])
def test_a_space_learns_anew_from_other_data(used: bool, times: int) -> None:
    space, fresh = FeatureSpace(KINDS), FeatureSpace(KINDS)
    for _ in range(times):
        space.adapt(TABLE)
        if used:
            assert_allclose(space(TABLE), ROWS, rtol=1e-6, atol=1e-7)
    for one in (space, fresh):
        one.adapt(OTHER)
    assert space.preprocessors["city"].get_vocabulary() == ["[UNK]", "Bergen"]
    for table in (OTHER, TABLE):
        assert_array_equal(space(table), fresh(table))


def test_a_restored_layer_may_learn_again() -> None:
    layer = layers.StringLookup()
    layer.adapt(["a"])
    copy = layers.StringLookup.from_config(layer.get_config())
    copy.adapt(["b"])
    assert copy.get_vocabulary() == ["[UNK]", "b"]
