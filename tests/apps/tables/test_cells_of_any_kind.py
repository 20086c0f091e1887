"""A model of a table predicts alike, whatever holds the values, and after it is read back."""

from __future__ import annotations

import copy
import csv
import datetime
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from properties import columns

import gpunn
from gpunn.apps.cli import main
from gpunn.sklearn import GpunnAutoClassifier, GpunnAutoRegressor

ROWS = 60
PLACES = ["oak", "elm", "ash", "fir & co", "日本", "10", "9", "1", "é", "K2", "a", "b"]


def table() -> tuple[dict[str, list[Any]], np.ndarray]:
    """Columns of each kind, and numbers that depend on all of them."""
    random = np.random.default_rng(0)
    place, code = random.integers(0, len(PLACES), ROWS), random.integers(1, 30, ROWS)
    size, hours = random.normal(50, 10, ROWS), random.integers(0, 9000, ROWS)
    began = datetime.datetime(2023, 3, 1, 4, 30)
    when = [began + datetime.timedelta(hours=int(hour)) for hour in hours]
    y = size + 9 * (place % 4) + code + 3 * np.array([day.weekday() for day in when])
    made = {
        "place": [PLACES[k] for k in place], "code": code.tolist(), "size": size.tolist(),
        "when": when,
    }  # fmt: skip
    return made, y


X, Y = table()
FEW = {name: values[:7] for name, values in X.items()}


@pytest.fixture(autouse=True)
def _on_numpy() -> None:
    gpunn.use_backend("numpy")


@pytest.fixture(scope="module")
def regressor() -> Any:
    gpunn.use_backend("numpy")
    frame = pd.DataFrame(X)
    frame.loc[20:25, "size"], frame.loc[30:33, "when"] = None, pd.NaT
    return GpunnAutoRegressor(fast=True, random_state=0).fit(frame, Y)


def in_pandas(values: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(column) for name, column in values.items()})


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("gap", [False, True])
def test_a_column_of_any_type_is_read_alike(regressor: Any, name: str, gap: bool) -> None:
    values = [*FEW[name]]
    if gap:
        values[2] = None
    frame = in_pandas(FEW).astype({name: object})
    frame[name] = columns.objects(values)
    expected = regressor.predict(frame)
    kinds = dict(columns.COLUMNS)
    if name == "place":
        kinds |= columns.OF_TEXTS
    if name == "when":
        kinds |= columns.OF_DATES
    if name == "code":
        kinds |= {
            "texts": lambda v: columns.objects([x if x is None else str(x) for x in v]),
            "floats": lambda v: columns.objects([x if x is None else float(x) for x in v]),
            "bytes": lambda v: columns.objects([x if x is None else f"{x}".encode() for x in v]),
        }
    for made, make in kinds.items():
        column = make(values)
        frames = []
        if isinstance(column, pl.Series):
            frames = [pl.DataFrame({**FEW, name: column})]
        elif isinstance(column, (pa.Array, pa.ChunkedArray)):
            frames = [pa.table({**FEW, name: column})]
        elif not isinstance(column, np.ma.MaskedArray) and made != "strings of NumPy":
            frames = [frame.assign(**{name: pd.Series(column)})]
            if column.dtype == object:
                rest = {other: columns.objects(FEW[other]) for other in FEW}
                array = np.stack([*{**rest, name: column}.values()], axis=1)
                frames.append(pd.DataFrame(array, columns=[*FEW]))
        for one in frames:
            np.testing.assert_array_equal(regressor.predict(one), expected, err_msg=made)


@pytest.mark.parametrize("text", ["", "NA", "n/a", "NaN", "null", "None", "?", "#N/A", "<NA>"])
def test_texts_that_stand_for_nothing_are_missing_in_each_column(
    regressor: Any, text: str
) -> None:
    for name in FEW:
        frame = in_pandas(FEW).astype(object)
        missing, written = (frame.assign(**{name: value}) for value in (None, text))
        np.testing.assert_array_equal(regressor.predict(written), regressor.predict(missing))


@pytest.mark.more
def test_arrays_hold_missing_values_of_any_kind() -> None:
    array = np.stack([columns.objects(values) for values in X.values()], axis=1)
    model = GpunnAutoRegressor(fast=True, random_state=0).fit(array[:24], Y[:24])
    few = array[:5].copy()
    for at in range(len(X)):
        few[2, at] = None
        expected = model.predict(few)
        for made, missing in columns.MISSING.items():
            few[2, at] = missing
            np.testing.assert_array_equal(model.predict(few), expected, err_msg=made)
        few[2, at] = array[2, at]


LABELS = {
    "arrays": lambda y: y, "pandas": pd.Series, "polars": pl.Series, "Arrow": pa.array,
    "categories": lambda y: pd.Series(y, dtype="category"),
    "strings": lambda y: pd.Series(y.astype(str), dtype="string"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        pytest.param(kind, labels, marks=() if kind == first else pytest.mark.more)
        for labels, first in ((["b", "a", "é"], None), ([7, -5, 10**12], "categories"),
                              (["10", "9", "1"], None))
        for kind in LABELS
    ],
)  # fmt: skip
def test_classes_are_those_that_were_given(labels: Any, kind: str) -> None:
    labels = [*map(str, labels)] if kind == "strings" else labels
    x = np.repeat(np.eye(3) * 5, 20, axis=0) + np.random.default_rng(0).normal(size=(60, 3))
    y = np.repeat(labels, 20)
    model = GpunnAutoClassifier(fast=True, random_state=0).fit(x, LABELS[kind](y))
    assert model.classes_.tolist() == sorted(labels)
    assert model.predict(np.eye(3) * 5).tolist() == labels
    assert pickle.loads(pickle.dumps(model)).predict(np.eye(3) * 5).tolist() == labels


def test_a_model_that_is_read_back_predicts_the_same(regressor: Any, tmp_path: Path) -> None:
    frame = in_pandas(X)
    expected = regressor.predict(frame)
    for again in (pickle.loads(pickle.dumps(regressor)), copy.deepcopy(regressor)):
        np.testing.assert_array_equal(again.predict(frame), expected)
    regressor.model_.save(tmp_path / "m.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "m.gpunn")
    found = loaded.predict(frame.assign(code=frame["code"].astype(float)), verbose=0)
    np.testing.assert_array_equal(found[:, 0], expected)


def write(path: Path, rows: list[list[Any]], names: list[str]) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


@pytest.mark.usefixtures("numpy_is_asked_for")
def test_a_file_of_the_predictions_is_read_back(tmp_path: Path, capsys: Any) -> None:
    """Dates in any notation, and classes whose names look like numbers."""
    names = [*X, "class"]
    labels = np.array(["10", "9", "1.0"])[np.digitize(Y, np.quantile(Y, [0.3, 0.6]))].tolist()

    def rows(notation: str) -> list[list[Any]]:
        when = [day.strftime(notation) for day in X["when"]]
        return [[*row] for row in zip(X["place"], X["code"], X["size"], when, labels, strict=True)]

    plain = rows("%Y-%m-%d %H:%M:%S")
    path = write(tmp_path / "t.csv", plain, names)
    made = ["--target", "class", "--task", "classification", "--fast", "--out", str(tmp_path)]
    assert main(["train", path, *made]) == 0
    model = str(tmp_path / "model.gpunn")
    found = []
    given = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M+05:30", "%d.%m.%Y %H:%M", "%b %d, %Y %I:%M %p")
    for notation in given:
        path = write(tmp_path / "new.csv", rows(notation), names)
        capsys.readouterr()
        assert main(["predict", model, path, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
        assert main(["predict", model, path, "--out", str(tmp_path / "out.csv"), "--force"]) == 0
        with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
            written = [*csv.DictReader(file)]
        assert [row["predicted class"] for row in written] == [
            row["predicted class"] for row in found[-1]
        ]
        assert [row["place"] for row in written] == X["place"]
        assert found[-1] == found[0]
    assert {row["predicted class"] for row in found[0]} <= {*labels}
