"""`gpunn check-data` and `gpunn train` on the same tables: the one reports what the other does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import table_at

from gpunn.apps.cli import main
from gpunn.apps.reports import read

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

ROWS = 120
QUICK = ["--fast", "--hidden", "4", "--epochs", "1"]
random = np.random.default_rng(3)
A, B, C = (np.round(random.standard_normal(ROWS), 6) for _ in range(3))
Y = np.where(A + B + 0.3 * C > 0, "yes", "no")
SOME = random.random((2, ROWS)) < 0.1
CITY = random.choice(["Ulm", "Kiel"], ROWS)

# By name: the columns, the last of which is the target; and for each finding whether it is there,
# its severity and what it says.
ACCEPTED: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "missing values": (
        {"age": np.where(SOME[0], "", A), "city": np.where(SOME[1], "NA", CITY), "y": Y},
        [("missing", "note", "age"), ("missing", "note", "fills them with the median"),
         ("missing", "note", "counts them as an unknown category")],
    ),
    "scales": (
        {"small": A / 1000, "large": B * 1e6, "far": 1e5 + C, "y": 50_000 + 9000 * A},
        [("scales", "note", "gpunn train scales the numbers inside the model."),
         ("targets", "note", "gpunn train scales the target for training")],
    ),
    "constant columns": (
        {"a": A, "version": ["v1"] * ROWS, "empty": [""] * ROWS, "y": Y},
        [("columns", "note", "out 2 of 3 columns: version (constant: always 'v1'), empty (")],
    ),
    "identifiers": (
        {"id": range(ROWS), "a": A, "uuid": [f"{i * 7919:x}-{i}" for i in range(ROWS)], "y": Y},
        [("columns", "note", "id (an identifier: it counts the rows), uuid (texts that")],
    ),
    "duplicates": (
        {"a": [*A[:60], *A[:60]], "b": [*B[:60], *B[:60]], "y": [*Y[:60], *Y[:60]]},
        [("duplicates", "note", "60 rows equal to an earlier one (50.0%): gpunn train counts")],
    ),
    "a rare class": (
        {"a": A, "b": B, "y": ["lynx", "lynx", "elk", *Y[3:]]},
        [("amount", "warning", "Fewer than 10 rows have the label elk, lynx."),
         ("imbalance", "warning", "Look at the confusion matrix in gpunn report.")],
    ),
    "a leak": (
        {"a": A, "refund": np.where(Y == "yes", 5, 0) + C / 10, "y": Y},
        [("leak", "warning", "refund tells the target y alone. If that is not known when you")],
    ),
    "classes as numbers": ({"a": A, "b": B, "y": np.where(Y == "yes", 7, 3)}, []),
    "text": (
        {"review": [f"good {i} {a}" for i, a in enumerate(A)],
         "kind": [f"k{i % 58}" for i in range(ROWS)], "b": B, "y": Y},
        [],
    ),
    "units": (
        {"share": [f"{round(50 + 9 * a)}%" for a in A], "b": B, "y": Y},
        [("columns", "note", "share: in %.")],
    ),
    "sorted rows": (
        {"a": A, "b": B, "y": np.sort(Y)},
        [("order", "note", "gpunn train draws the rows to hold out at random, by class.")],
    ),
    "a time series": (
        {"a": A, "b": B, "y": np.sin(np.arange(ROWS) / 20) + C / 50},
        [("order", "note", "For rows ordered by time pass --split order.")],
    ),
    "no target in some rows": (
        {"a": A, "b": B, "y": np.where(SOME[0], "", Y)},
        [("target", "note", "without a target are left out")],
    ),
}  # fmt: skip
REFUSED: dict[str, dict[str, Any]] = {
    "one class": {"a": A, "y": ["x"] * ROWS},
    "no target": {"a": A, "y": [""] * ROWS},
    "too many classes": {"a": A, "y": [f"n{i}" for i in range(ROWS)]},
    "dates": {"a": A, "y": [f"2026-01-{i % 28 + 1:02}" for i in range(ROWS)]},
    "few rows": {"a": A[:8], "b": B[:8], "y": Y[:8]},
    "no column": {"id": range(ROWS), "version": [1] * ROWS, "y": Y},
}


def findings_of(path: str, capsys: Any) -> tuple[int, list[tuple[str, str, str]]]:
    status = main(["check-data", path, "--target", "y", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return status, [(one["severity"], one["check"], one["text"]) for one in found]


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_training_handles_is_no_error(name: str, tmp_path: Path, capsys: Any) -> None:
    columns, expected = ACCEPTED[name]
    path = table_at(tmp_path / "table.csv", columns)
    status, found = findings_of(path, capsys)
    assert status == 0 and "error" not in [severity for severity, *_ in found]
    for check, severity, words in expected:
        assert [one for one in found if one[:2] == (severity, check) and words in one[2]], found
    text = " ".join(text for *_, text in found)
    for advice in ("Standardize", "Rescaling", "fill ", "divide by", "train on (y", "numpy.unique",
                   "validation_split", "class_weight", "float64"):  # fmt: skip
        assert advice not in text
    if not expected:
        assert not found
    out = str(tmp_path / "out")
    assert main(["train", path, "--target", "y", *QUICK, "--out", out]) == 0
    printed = capsys.readouterr().out
    data: Any = read(out).end["data"]  # type: ignore[index]
    assert [tuple(one) for one in data["findings"]] == found
    left_out = [line.split()[0] for line in printed.splitlines() if "  left out  " in line]
    for column in left_out:
        assert f"{column} (" in next(t for _, c, t in found if c == "columns" and "leaves out" in t)


@pytest.mark.parametrize("name", REFUSED)
def test_what_training_refuses_is_an_error(name: str, tmp_path: Path, capsys: Any) -> None:
    path = table_at(tmp_path / "table.csv", REFUSED[name])
    status, found = findings_of(path, capsys)
    errors = [text for severity, _, text in found if severity == "error"]
    assert status == 1 and len(errors) == 1
    assert main(["train", path, "--target", "y", "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err
    assert "no column to learn from" in printed if name == "no column" else errors[0] in printed


def test_options_of_training_are_known_in_its_report(tmp_path: Path, capsys: Any) -> None:
    path = table_at(tmp_path / "table.csv", {"a": A, "b": B, "day": C, "y": np.sort(A)})
    more = ["--leave-out", "day", "--split", "order", *QUICK, "--out", str(tmp_path)]
    assert main(["train", path, "--target", "y", *more]) == 0
    found: Any = read(tmp_path).end["data"]["findings"]  # type: ignore[index]
    text = " ".join(text for *_, text in found)
    assert "day (as --leave-out says)" in text
    assert "--split order holds out the last rows." in text


def test_test_data_are_read_as_gpunn_evaluate_reads_them(tmp_path: Path, capsys: Any) -> None:
    columns = {"a": A, "city": CITY, "y": Y}
    train = table_at(tmp_path / "train.csv", {name: one[:80] for name, one in columns.items()})
    more = {"y": [*Y[80:119], "maybe"], "city": [*CITY[80:119], "Bonn"], "a": ["", *A[81:]]}
    test = table_at(tmp_path / "test.csv", more)
    assert main(["check-data", train, "--target", "y", "--test", test, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    texts = [one["text"] for one in found if one["check"] == "test data"]
    assert any("not among the categories of training: 'Bonn'" in text for text in texts)
    assert any("not a class of the model: 'maybe'; these rows are left out" in t for t in texts)
    leaky = table_at(tmp_path / "leaky.csv", {name: one[70:] for name, one in columns.items()})
    assert main(["check-data", train, "--target", "y", "--test", leaky, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    leak = next(one for one in found if one["check"] == "leakage")
    assert leak["rows"] == [*range(10)]
    assert "such as test row 1, which is training row 71:" in leak["text"]
    del more["y"]
    bare = table_at(tmp_path / "bare.csv", more)
    assert main(["check-data", train, "--target", "y", "--test", bare]) == 1
    assert "lacks the target 'y'" in capsys.readouterr().err
