"""Spellings of one category, `Yes` and `yes `, count as one in training, files and checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import table_at

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.tables.reading.kinds import column_of

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

ROWS = 120
random = np.random.default_rng(0)
PLAN = random.choice(["PLUS", "basic", "New York"], ROWS)
A = random.standard_normal(ROWS)
Y = A + 3 * (PLAN == "PLUS") - 2 * (PLAN == "basic")
OTHERWISE = {"PLUS": ["plus", "Plus"], "basic": ["Basic"], "New York": ["new  york", "NEW YORK"]}
MIXED = [random.choice(OTHERWISE[one]) if k % 4 == 0 else one for k, one in enumerate(PLAN)]
NOTE = "spellings that count as one"


def trained(path: str, out: Path, *more: str) -> Any:
    quick = ["--fast", "--hidden", "4", "--epochs", "2"]
    assert main(["train", path, "--target", "y", *quick, "--out", str(out), *more]) == 0
    return gpunn.saving.load_model(out / "model.gpunn")


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    return table_at(tmp_path / "mixed.csv", {"a": A, "plan": MIXED, "y": Y})


def test_a_table_of_mixed_spellings_gives_the_model_of_the_clean_one(
    mixed: str, tmp_path: Path, capsys: Any
) -> None:
    clean = table_at(tmp_path / "clean.csv", {"a": A, "plan": PLAN, "y": Y})
    one = trained(clean, tmp_path / "one")
    assert NOTE not in capsys.readouterr().out
    two = trained(mixed, tmp_path / "two")
    printed = capsys.readouterr().out
    assert f"{NOTE}: 'New York', 'new  york', 'NEW YORK'; 'basic', 'Basic'; 'PLUS'" in printed
    given = {"a": A, "plan": PLAN}
    expected = one.predict(given, verbose=0)
    np.testing.assert_array_equal(two.predict(given, verbose=0), expected)
    shouted = {"a": A, "plan": [f" {text.upper()}  " for text in PLAN]}
    np.testing.assert_array_equal(one.predict(shouted, verbose=0), expected)
    table = {"a": A, "plan": [text.title() for text in PLAN]}
    path = table_at(tmp_path / "new.csv", table)
    assert main(["predict", str(tmp_path / "two" / "model.gpunn"), path, "--json"]) == 0
    out, err = capsys.readouterr()
    found = [row["predicted y"] for row in json.loads(out)]
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-6)
    assert "not among the categories" not in err


def test_the_most_frequent_spelling_is_shown(mixed: str, tmp_path: Path, capsys: Any) -> None:
    trained(mixed, tmp_path / "out")
    page = str(tmp_path / "page.html")
    assert main(["export", str(tmp_path / "out" / "model.gpunn"), page]) == 0
    assert "the categories of 1 column ('plan' 'New York', 'basic', 'PLUS')" in (
        capsys.readouterr().out
    )
    assert main(["check-data", mixed, "--target", "y", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    (one,) = (finding for finding in found if NOTE in finding["text"])
    assert one["severity"] == "note" and one["names"] == ["plan"]


def test_spellings_decide_what_a_column_is() -> None:
    found = column_of("c", ["yes", "Yes", "no", "NO", "no", "maybe"] * 3)
    assert found.kind == "category" and found.categories == ["no", "yes", "maybe"]
    assert {*found.cells.tolist()} == {"yes", "no", "maybe"}
    constant = column_of("c", ["yes", "Yes", "YES"] * 3)
    assert constant.kind == "left out" and constant.why.startswith("constant: always 'yes'")
    gaps = column_of("c", ["yes", "Yes", "", "NA"] * 3)
    assert gaps.kind == "category" and gaps.categories == ["yes"] and gaps.missing.sum() == 6


def test_a_category_that_is_rare_in_each_spelling_is_not_in_all() -> None:
    cells = ["a"] * 4 + ["b"] * 3 + ["c", "C", "C ".strip(), "c"]
    found = column_of("x", cells, most=2)
    assert found.categories == ["a", "c"]


def test_classes_stay_as_they_are_written(tmp_path: Path, capsys: Any) -> None:
    y = np.array(["yes", "Yes"])[(A > 0).astype(int)]
    path = table_at(tmp_path / "t.csv", {"a": A, "plan": PLAN, "y": y})
    model = trained(path, tmp_path / "out")
    assert {*model.trained_on["classes"]} == {"yes", "Yes"}
    assert "'Yes' and 'yes' are the same word, but kept apart" in capsys.readouterr().out
