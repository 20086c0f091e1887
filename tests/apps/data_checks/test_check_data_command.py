"""`gpunn check-data`: tables and arrays in files, the output, and the exit status."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from sklearn import datasets

from gpunn.apps.cli import main


def csv_file(path, x, y, names=None, separator=","):
    lines = [separator.join(names)] if names else []
    lines += [separator.join(map(str, [*row, label])) for row, label in zip(x, y, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_command_on_a_csv_file(tmp_path, capsys):
    x, y = datasets.make_blobs(200, 4, centers=3, random_state=0)
    path = csv_file(tmp_path / "a.csv", x, y, ["a", "b", "c", "d", "kind"], ";")
    assert main(["check-data", path, "--target", "kind"]) == 0
    assert "200 rows of 4 features, 3 classes (67, 67, 66)" in capsys.readouterr().out
    broken = [[*row] for row in x]
    broken[3][1] = "?"
    path = csv_file(tmp_path / "b.csv", broken, y, ["a", "b", "c", "d", "kind"])
    assert main(["check-data", path, "--target", "kind", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    found = next(f for f in result["findings"] if f["check"] == "missing")
    assert (found["severity"], found["rows"], found["columns"]) == ("note", [3], [1])
    assert "in 1 row: b 1. gpunn train fills them with the median" in found["text"]


def test_names_of_classes_are_no_error_in_a_table(tmp_path, capsys):
    """As `gpunn train` reads them; with only one class, there is nothing to learn either."""
    x, y = datasets.make_blobs(200, 4, centers=3, random_state=0)
    names = ["a", "b", "c", "d", "kind"]
    path = csv_file(tmp_path / "a.csv", x, np.array(["elm", "fir", "oak"])[y], names)
    assert main(["check-data", path, "--target", "kind"]) == 0
    assert "3 classes (67, 67, 66)" in capsys.readouterr().out
    path = csv_file(tmp_path / "b.csv", x, ["oak"] * 200, names)
    assert main(["check-data", path, "--target", "kind"]) == 1
    output = re.sub(r"\s+", " ", capsys.readouterr().out)  # wrapped, wherever the path ends
    assert "'oak' in all rows: there is nothing to learn." in output


def test_command_with_test_data_target_and_limit(tmp_path, capsys):
    x, y = datasets.make_blobs(200, 4, centers=3, cluster_std=3, random_state=0)
    names = ["a", "b", "c", "d", "kind"]
    train = csv_file(tmp_path / "train.csv", x[:150], y[:150], names)
    leaky = csv_file(tmp_path / "test.csv", x[149:], y[149:], names)
    assert main(["check-data", train, "--target", "kind", "--test", leaky]) == 1
    output = capsys.readouterr().out.replace("\n         ", " ")
    assert "1 of 51 test rows (2.0%) is also in the training data" in output
    assert main(["check-data", train, "--target", "none"]) == 0
    assert "150 rows of 5 features." in capsys.readouterr().out
    assert main(["check-data", train, "--target", "0", "--task", "regression"]) == 0
    assert "targets from" in capsys.readouterr().out
    bare = csv_file(tmp_path / "bare.csv", x, y + 1)  # training numbers the classes
    assert main(["check-data", bare, "--target", "4", "--fail-on", "warning"]) == 0
    rare = csv_file(tmp_path / "rare.csv", x, [2, 2, *np.minimum(y[2:], 1)])
    assert main(["check-data", rare, "--target", "4"]) == 0
    assert main(["check-data", rare, "--target", "4", "--fail-on", "warning"]) == 1


def test_command_on_a_frame_as_pandas_writes_it(tmp_path, capsys):
    """An index without a name, a year as a name, one bad cell, strings, and a large target."""
    random = np.random.default_rng(0)
    years, kinds = random.standard_normal((2, 200)), random.integers(0, 3, 200)
    rows = [f"{i},{a},{b},{'abc'[k]},{5000 + 800 * a + k}" for i, (a, b, k) in
            enumerate(zip(*years, kinds, strict=True))]  # fmt: skip
    rows[7] = rows[7].replace(f",{years[0, 7]},", ",x,")
    path = tmp_path / "frame.csv"
    path.write_text("\n".join([",1990,1991,kind,price", *rows]))
    assert main(["check-data", str(path), "--json", "--target", "price"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["summary"].startswith("200 rows of 3 features, targets from ")
    found = {(f["check"], *f["columns"]): f["text"] for f in result["findings"]}
    assert found["columns", 0].startswith("gpunn train leaves out 1 of 4 columns: Unnamed: 0 (")
    assert found["columns", 1] == (
        "1990: 1 cell is not a number and counts as missing: 'x' in row 8."
    )
    assert "in 1 row: 1990 1." in found["missing", 1]
    assert [f["names"] for f in result["findings"] if f["check"] == "missing"] == [["1990"]]
    assert "the mean 5" in found["targets",] and "scales the target" in found["targets",]
    assert "dtype" not in {check for check, *_ in found}


def test_command_on_an_npz_file(tmp_path, capsys):
    x, y = datasets.make_blobs(200, 4, centers=3, random_state=0)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:50] + 9, y_test=y[:50])
    assert main(["check-data", str(tmp_path / "a.npz"), "--fail-on", "warning"]) == 1
    assert "distributed differently" in capsys.readouterr().out.replace("\n         ", " ")
    np.savez(tmp_path / "b.npz", x=x, y=y)
    assert main(["check-data", str(tmp_path / "b.npz"), "--fail-on", "note"]) == 0


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "is empty"),
        ("a,b\n", [], "has column names but no rows"),
        ("1,2\n3\n", [], "the row in line 2 has 1 cells, the first row has 2"),
        ("a,b,a\n1,2,3\n", [], "2 columns are named 'a' (numbers 1, 3)"),
        ("a," * 20_000 + "b\n", [], "20,001 columns"),
        ("a\n1\n", ["--target", "a"], "a single column"),
        ("a,b\n1,2\n", ["--target", "c"], "no column 'c'. Its columns are a, b"),
        ("a,b\n1,2\n", [], "is to be predicted? Pass --target NAME, one of: a, b."),
        (None, [], "is neither a file nor a known data set: mnist"),
    ],
)
def test_command_says_what_is_wrong_with_a_file(tmp_path, capsys, text, options, message):
    path = tmp_path / "data.csv"
    if text is not None:
        path.write_text(text)
    assert main(["check-data", os.fspath(path), *options]) == 1
    assert message in capsys.readouterr().err
