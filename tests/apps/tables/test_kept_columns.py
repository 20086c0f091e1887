"""`--keep`: columns that count the rows or whose texts differ are used where the user says so."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import table_at

import gpunn
from gpunn.apps.cli import main

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

ROWS = 60
QUICK = ["--fast", "--hidden", "4", "--epochs", "1"]
random = np.random.default_rng(0)
SALES = 20 + 3 * np.arange(ROWS) + random.standard_normal(ROWS)
YEARS = range(1960, 1960 + ROWS)


def trained(path: str, out: Path, *more: str) -> int:
    return main(["train", path, "--target", "y", *QUICK, "--out", str(out), "--force", *more])


@pytest.mark.parametrize(
    ("name", "cells"),
    [("the year", YEARS), ("month", range(1, ROWS + 1)), ("n", range(ROWS, 0, -1)),
     ("code", [f"k{i * 7919 % 1000}" for i in range(ROWS)]),
     ("id", random.permutation(10**4)[:ROWS])],
)  # fmt: skip
def test_the_message_on_a_table_of_one_such_column_helps(
    tmp_path: Path, capsys: Any, name: str, cells: Any
) -> None:
    path = table_at(tmp_path / "t.csv", {name: cells, "y": SALES})
    assert trained(path, tmp_path / "out") == 1
    complaint = capsys.readouterr().err
    assert f"no column to learn from: {name} is left out" in complaint
    piece = f"--keep {shlex.quote(name)}"
    assert complaint.endswith(f"To learn from it, pass {piece}.\n")
    assert main(["check-data", path, "--target", "y", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert any(f["severity"] == "error" and piece in f["text"] for f in found)

    more = shlex.split(piece)
    assert trained(path, tmp_path / "out", *more) == 0
    assert main(["check-data", path, "--target", "y", *more]) == 0
    model = gpunn.saving.load_model(tmp_path / "out" / "model.gpunn")
    (column,) = model.trained_on["table"]["columns"]
    assert column["name"] == name
    assert column["kind"] == ("text" if name == "code" else "number")
    assert main(["predict", str(tmp_path / "out" / "model.gpunn"), path]) == 0


def test_a_linear_model_of_the_year_follows_the_trend(tmp_path: Path, capsys: Any) -> None:
    """The kept column is what the model reads: later years are predicted above earlier ones."""
    path = table_at(tmp_path / "t.csv", {"year": YEARS, "y": SALES})
    assert main(["train", path, "--target", "y", "--epochs", "60", "--fast", "--keep", "year",
                 "--out", str(tmp_path)]) == 0  # fmt: skip
    model = gpunn.saving.load_model(tmp_path / "model.gpunn")
    found = model.predict({"year": np.array(YEARS, float)}, verbose=0)[:, 0]
    assert np.corrcoef(found, SALES)[0, 1] > 0.95


def test_a_column_that_is_used_anyway_may_be_kept(tmp_path: Path, capsys: Any) -> None:
    columns = {"a": random.standard_normal(ROWS), "kind": ["x", "y"] * (ROWS // 2), "y": SALES}
    path = table_at(tmp_path / "t.csv", columns)
    assert trained(path, tmp_path / "one") == trained(path, tmp_path / "two", "--keep", "a", "kind")
    new = {"a": [0.5], "kind": ["y"]}
    one, two = (
        gpunn.saving.load_model(tmp_path / name / "model.gpunn").predict(new, verbose=0)
        for name in ("one", "two")
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--keep nothing", "'nothing' of {} cannot be used: empty."),
        ("--keep same", "'same' of {} cannot be used: constant: always '7'."),
        ("--keep far", "'far' of {} cannot be used: numbers of about 1e+09 that differ by"),
        ("--keep a --leave-out a", "'a' is also in --leave-out"),
        ("--keep a --group a", "'a' is also in --group"),
        ("--keep y", "'y' is also in --target"),
        ("--keep b", "{} has no column 'b'."),
        ("--leave-out y", "--leave-out: the column 'y' is also in --target: remove it from one."),
        ("--leave-out same y", "--leave-out: the column 'y' is also in --target"),
        ("--group y", "--group: the column 'y' is also in --target"),
        ("--leave-out A", "--leave-out: {} has no column 'A'. Did you mean 'a'?"),
        ("--group b", "--group: {} has no column 'b'."),
    ],
)
def test_what_cannot_be_kept_is_an_error(
    tmp_path: Path, capsys: Any, options: str, message: str
) -> None:
    columns = {
        "a": random.standard_normal(ROWS), "nothing": [""] * ROWS, "same": [7] * ROWS,
        "far": np.arange(ROWS) + 10**9, "y": SALES,
    }  # fmt: skip
    path = table_at(tmp_path / "t.csv", columns)
    assert trained(path, tmp_path / "out", *options.split()) == 1
    assert message.format(path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    if "--leave-out" in options or "--group" in options:
        return  # which `check-data` does not have
    assert main(["check-data", path, "--target", "y", *options.split()]) == 1
    assert message.format(path) in capsys.readouterr().err


def test_what_cannot_be_kept_is_not_proposed(tmp_path: Path, capsys: Any) -> None:
    path = table_at(tmp_path / "t.csv", {"same": [7] * ROWS, "y": SALES})
    assert trained(path, tmp_path / "out") == 1
    assert "--keep" not in capsys.readouterr().err
    path = table_at(tmp_path / "t.csv", {"far": np.arange(ROWS) + 10**9, "y": SALES})
    assert trained(path, tmp_path / "out") == 1
    assert "--keep" not in capsys.readouterr().err
    path = table_at(tmp_path / "t.csv", {"year": YEARS, "y": SALES})
    assert trained(path, tmp_path / "out", "--leave-out", "year") == 1
    assert "--keep" not in capsys.readouterr().err


@pytest.mark.parametrize("what", ["mnist", "folder"])
def test_only_tables_have_columns_to_keep(tmp_path: Path, capsys: Any, what: str) -> None:
    path = "mnist" if what == "mnist" else str(tmp_path)
    assert main(["train", path, "--keep", "a"]) == 1
    assert "--keep does not apply to" in capsys.readouterr().err
