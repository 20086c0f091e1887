"""Test that pandas, polars and Arrow tables and sparse rows give the same results as NumPy."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import gpunn
from gpunn import layers
from gpunn.feeding import sparse
from gpunn.sklearn import GpunnClassifier, GpunnRegressor

RANDOM = np.random.default_rng(1)
ROWS = 40
NUMBERS = RANDOM.normal(size=(ROWS, 3))
NUMBERS[:, 1] = RANDOM.integers(0, 9, ROWS)
NUMBERS[:, 2] = NUMBERS[:, 0] > 0
PLAIN = pd.DataFrame(
    {"width": NUMBERS[:, 0], "count": NUMBERS[:, 1].astype(int), "there": NUMBERS[:, 2] > 0}
)
NULLABLE = PLAIN.astype({"width": "Float64", "count": "Int64", "there": "boolean"})
FRAMES: dict[str, Any] = {
    "pandas": PLAIN,
    "nullable": NULLABLE,
    "objects": PLAIN.astype(object),
    "polars": pl.from_pandas(PLAIN),
    "arrow": pa.Table.from_pandas(PLAIN),
}
Y = np.arange(ROWS) % 2


def model(inputs: int = 3) -> gpunn.Sequential:
    gpunn.utils.set_random_seed(0)
    made = gpunn.Sequential([gpunn.Input((inputs,)), layers.Dense(2, activation="softmax")])
    made.compile("adam", "sparse_categorical_crossentropy")
    return made


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_its_numbers(name: str) -> None:
    frame, labels = FRAMES[name], pd.Series(Y, dtype="Int64")
    of_frame, of_array = model(), model()
    found = of_frame.fit(frame, labels, epochs=2, verbose=0, validation_data=(frame, labels))
    wanted = of_array.fit(NUMBERS, Y, epochs=2, verbose=0, validation_data=(NUMBERS, Y))
    assert found.history == wanted.history
    assert np.array_equal(of_frame.predict(frame), of_array.predict(NUMBERS))
    assert of_frame.evaluate(frame, labels, verbose=0) == of_array.evaluate(NUMBERS, Y, verbose=0)
    few = {"epochs": 3, "random_state": 0}
    by_frame = GpunnRegressor(**few).fit(frame, PLAIN["width"])
    by_array = GpunnRegressor(**few).fit(NUMBERS, NUMBERS[:, 0])
    assert np.array_equal(by_frame.predict(frame), by_array.predict(NUMBERS))
    if name in ("pandas", "nullable", "objects"):
        assert by_frame.feature_names_in_.tolist() == ["width", "count", "there"]


def test_columns_by_get_dummies() -> None:
    table = pd.DataFrame({"size": NUMBERS[:, 0], "city": np.where(Y, "Rome", "Oslo")})
    table["city"] = table["city"].astype("category")
    dummies = pd.get_dummies(table)
    fitted = GpunnClassifier(8, epochs=40, learning_rate=0.05, random_state=0)
    assert fitted.fit(dummies, table["city"]).score(dummies, table["city"]) == 1
    assert set(fitted.predict(dummies)) == {"Rome", "Oslo"}
    assert model().fit(dummies, table["city"].cat.codes, verbose=0).history["loss"]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_column_that_holds_no_numbers_is_named(make: Any) -> None:
    for values, found in (
        (["a", "b"] * 20, "'city'.* holds .*'a'"),
        (np.arange(ROWS).astype("M8[D]"), "'city' holds"),
    ):
        table = make({"width": NUMBERS[:, 0], "city": values, "n": NUMBERS[:, 1]})
        with pytest.raises(TypeError, match=f"x: the column {found}"):
            model().fit(table, Y, verbose=0)
        with pytest.raises(ValueError, match=f"X: the column {found}"):
            GpunnClassifier().fit(table, Y)


def test_missing_values_are_named() -> None:
    table, objects = NULLABLE.copy(), PLAIN.astype(object)
    table.loc[7, "count"] = pd.NA
    objects.loc[5, "there"] = None
    for frame, place, name in ((table, "7, 1", "count"), (objects, "5, 2", "there")):
        with pytest.raises(ValueError, match=rf"x holds nan at \[{place}\]"):
            model().fit(frame, Y, verbose=0)
        with pytest.raises(ValueError, match=rf"X: the column '{name}' has 1 missing.* {place[0]}"):
            GpunnRegressor().fit(frame, Y)


def test_duplicate_names_and_decimals() -> None:
    table = pd.DataFrame(NUMBERS, columns=["a", "b", "a"])
    assert np.array_equal(model().predict(table), model().predict(NUMBERS))
    money = pd.DataFrame({"a": [decimal.Decimal("1.5")] * 4, "b": [True] * 4, "c": [2] * 4})
    assert np.array_equal(model().predict(money), model().predict([[1.5, 1, 2]] * 4))


def test_labels_as_frames_give_them() -> None:
    words = pd.Series(["b", "a", "b"], dtype="category")
    expected = [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    numbers = pd.Series([1, 0, 1], dtype="Int64")
    for labels in (words, words.array, numbers, pl.Series([1, 0, 1]), pa.array([1, 0, 1]),
                   pl.Series(["b", "a", "b"], dtype=pl.Enum(["a", "b"]))):  # fmt: skip
        assert gpunn.utils.to_categorical(labels).tolist() == expected
    with pytest.raises(TypeError, match="labels holds text"):
        gpunn.utils.to_categorical(pd.Series(["b", "a"]))
    with pytest.raises(ValueError, match=r"labels has 1 missing value .*, the first in row 1"):
        gpunn.utils.to_categorical(pd.Series(["b", None], dtype="category"))


@pytest.mark.parametrize("dense_bytes", [1 << 20, 0])  # at once, and batch by batch
@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array"])
def test_sparse_rows(monkeypatch: pytest.MonkeyPatch, kind: str, dense_bytes: int) -> None:
    monkeypatch.setattr(sparse, "DENSE_BYTES", dense_bytes)
    dense = NUMBERS * (RANDOM.random(NUMBERS.shape) < 0.5)
    x = getattr(scipy.sparse, kind)(dense)
    of_sparse, of_dense = model(), model()
    weights = np.linspace(0.5, 1.5, ROWS)
    given = {"batch_size": 16, "epochs": 2, "verbose": 0, "shuffle": False}
    found = of_sparse.fit(x, Y, sample_weight=weights, validation_data=(x, Y), **given)
    wanted = of_dense.fit(dense, Y, sample_weight=weights, validation_data=(dense, Y), **given)
    assert found.history.keys() == wanted.history.keys()
    for name, values in wanted.history.items():
        assert np.allclose(found.history[name], values, rtol=1e-6)
    assert np.allclose(of_sparse.predict(x), of_dense.predict(dense), rtol=1e-6)
    assert np.isclose(of_sparse.evaluate(x, Y, verbose=0), of_dense.evaluate(dense, Y, verbose=0))
    assert len(of_sparse.fit(x, Y, epochs=3, verbose=0).epoch) == 3
    few = {"epochs": 3, "random_state": 0, "batch_size": 16, "shuffle": False}
    for make, y in ((GpunnClassifier, Y), (GpunnRegressor, NUMBERS[:, :2])):
        by_sparse, by_dense = make(**few).fit(x, y), make(**few).fit(dense, y)
        assert np.allclose(by_sparse.predict(x), by_dense.predict(dense), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="40"):
        model().fit(x, Y[:-1], verbose=0)
