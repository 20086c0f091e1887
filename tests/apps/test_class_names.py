"""Class names are taken literally: no name that looks like a number is taken for another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.tables import read_table
from gpunn.apps.tables.reading.target import answers_of, target_of

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

# Each list: classes that coincide if strings are read as numbers, words or missing values.
WRITTEN = [
    ["007", "7"], ["1", "1.0", "01"], ["7", "+7", "8"], ["1000", "1e3"], ["TRUE", "true", "1"],
    ["0", "-0", "5"], ["1,5", "1.5"], ["x", "X"], ["12", "0012", "x"],
]  # fmt: skip
NOTHING = ["NA", "nan", "None", "NULL", "?"]


def table(folder: Path, kind: str, labels: list[Any]) -> Path:
    frame = pd.DataFrame({"a": np.linspace(0.5, 9.1, len(labels)), "label": labels})
    path = folder / f"t.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "xlsx":
        frame.to_excel(path, index=False)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
@pytest.mark.parametrize("names", WRITTEN, ids=" ".join)
def test_classes_of_a_table_are_as_written(kind: str, names: list[str], tmp_path: Path) -> None:
    labels = names * 6
    read = read_table(table(tmp_path, kind, labels))
    found = target_of(read, "label", "classification")
    assert sorted(found.classes) == sorted(names)
    assert [found.classes[i] for i in found.y] == labels
    rows, y, notes = answers_of(read, "label", found.classes)
    np.testing.assert_array_equal(y, found.y)
    assert len(rows) == len(labels) and not notes


def test_labels_that_look_alike_are_reported(tmp_path: Path) -> None:
    notes = target_of(read_table(table(tmp_path, "csv", ["007", "7", "x", "X"] * 5)), "label").notes
    assert [note.partition(",")[0] for note in notes] == [
        "'007' and '7' are the same number", "'X' and 'x' are the same word"
    ]  # fmt: skip
    assert not target_of(read_table(table(tmp_path, "csv", ["a", "8", "7"] * 5)), "label").notes


def test_numbers_that_begin_with_a_zero_are_names(tmp_path: Path) -> None:
    """Postal codes, for instance, are not predicted by regression, however many there are."""
    labels = [f"{i % 25:03}" for i in range(100)]
    found = target_of(read_table(table(tmp_path, "csv", labels)), "label")
    assert found.task == "classification" and len(found.classes) == 25
    plain = target_of(read_table(table(tmp_path, "csv", [str(int(n)) for n in labels])), "label")
    assert plain.task == "regression"


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_labels_that_mean_missing_are_reported(kind: str, tmp_path: Path) -> None:
    labels = [*(["a", "b"] * 8), *NOTHING, ""]
    found = target_of(read_table(table(tmp_path, kind, labels)), "label")
    assert found.classes == ["a", "b"] and len(found.rows) == 16
    (note,) = found.notes
    assert "6 rows without a target" in note
    assert all(repr(text) in note for text in NOTHING) and "count as none" in note


def test_the_same_number_in_another_notation_is_reported(tmp_path: Path) -> None:
    """A column that another program has converted to numbers."""
    read = read_table(table(tmp_path, "csv", ["7.0", "8", "007", "x"]))
    rows, y, notes = answers_of(read, "label", ["7", "8"])
    assert (rows.tolist(), y.tolist()) == ([0, 1, 2], [0, 1, 0])
    assert notes[0].endswith("the same number in another notation: '007' for '7', '7.0' for '7'")
    assert notes[1] == "label: not a class of the model: 'x'; these rows are left out"
    rows, y, _ = answers_of(read, "label", ["007", "7", "8"])  # 7.0 could be either of the two
    assert (rows.tolist(), y.tolist()) == ([1, 2], [2, 0])


@pytest.mark.usefixtures("little_search")
def test_train_evaluate_and_check_data_know_the_same_classes(tmp_path: Path, capsys: Any) -> None:
    path = str(table(tmp_path, "csv", ["007", "7"] * 20))
    out = str(tmp_path / "out")
    assert main(["train", path, "--target", "label", "--epochs", "1", "--out", out]) == 0
    assert "7 20, 007 20" in capsys.readouterr().out.replace("007 20, 7 20", "7 20, 007 20")
    model = gpunn.saving.load_model(f"{out}/model.gpunn")
    assert sorted(model.trained_on["classes"]) == ["007", "7"]
    assert main(["evaluate", f"{out}/model.gpunn", "--data", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 40
    main(["check-data", path, "--target", "label"])
    assert "2 classes (20, 20)" in capsys.readouterr().out


# -- in Python

COLUMNS = {
    "array": np.asarray,
    "objects": lambda names: np.array(names, object),
    "Series": pd.Series,
    "string": lambda names: pd.Series(names, dtype="string"),
    "category": lambda names: pd.Series(names, dtype="category"),
    "polars": pl.Series,
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("names", [*WRITTEN, ["nan", "NA", "None"], [" 7", "7"]], ids=" ".join)
def test_classes_of_an_estimator_are_as_written(kind: str, names: list[str]) -> None:
    x = np.random.default_rng(0).random((6 * len(names), 2))
    estimator = gpunn.sklearn.GpunnClassifier(2, epochs=1, random_state=0, backend="numpy")
    estimator.fit(x, COLUMNS[kind](names * 6))
    assert sorted(estimator.classes_) == sorted(names)
    assert {*estimator.predict(x)} <= {*names}


def test_classes_of_several_types_are_refused() -> None:
    x = np.random.default_rng(0).random((6, 2))
    with pytest.raises(ValueError, match=r"as '7' \(str\) and 7 \(int\): convert them to one type"):
        gpunn.sklearn.GpunnClassifier(2, epochs=1).fit(x, np.array([7, "7"] * 3, object))


@pytest.mark.parametrize("names", [*WRITTEN, ["nan", "NA", "None", ""], [" 7", "7"]], ids=" ".join)
def test_lookups_distinguish_strings(names: list[str]) -> None:
    layer = gpunn.layers.StringLookup()
    layer.adapt(names)
    assert sorted(layer.get_vocabulary(include_special_tokens=False)) == sorted(names)
    assert len({*np.asarray(layer(names)).tolist()}) == len(names)


@pytest.mark.parametrize("names", [["007", "7"], ["1", "1.0"], ["TRUE", "true"], ["nan", "x"]])
@pytest.mark.parametrize("kind", [*COLUMNS, "list"])
def test_strings_are_no_class_numbers(kind: str, names: list[str]) -> None:
    labels = COLUMNS.get(kind, list)(names)
    if kind == "category":  # which are numbered in their order
        assert gpunn.utils.to_categorical(labels).sum() == 2
        return
    with pytest.raises(TypeError, match="labels holds text"):
        gpunn.utils.to_categorical(labels)
    with pytest.raises(TypeError, match="StringLookup for strings"):
        gpunn.layers.IntegerLookup().adapt(np.asarray(names, object))
