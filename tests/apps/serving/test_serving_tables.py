"""Rows of tables over HTTP: what `gpunn predict` writes of them, and columns that do not fit."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.tables import CLASSES, FEATURES, OTHER_KINDS, table_model
from command_line import table_at
from served import Client, serving

from gpunn.apps.cli import main
from gpunn.saving import load_model

ROWS: list[dict[str, Any]] = [
    {"height": 20.25, "</script><b>soil": "clay", "girth/cm": 1.5, "rings": 7},
    {"height": None, "</script><b>soil": "__proto__", "girth/cm": -0.125, "rings": 0},
    {"height": 3e30, "</script><b>soil": None, "girth/cm": 1e-7, "rings": 12.0},
    {"height": 0.1, "</script><b>soil": "moon", "girth/cm": 1 / 3, "rings": 123456789012},
]
OTHERS: list[dict[str, Any]] = [
    {"day": "2023-12-24", "</b>when": "2023-12-24 13:05", "at/from": "17:30", "notes": "oak, elm",
     "rings": 7},
    {"day": None, "</b>when": "2024-01-31 23:59:59", "at/from": "05:00", "notes": None,
     "rings": None},
]  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Client]:
    with serving(table_model(CLASSES)) as client:
        yield client


@pytest.fixture(scope="module")
def others() -> Iterator[Client]:
    with serving(table_model([], OTHER_KINDS)) as client:
        yield client


def predicted(model: Any, rows: list[dict[str, Any]], folder: Path, capsys: Any) -> Any:
    """Return what `gpunn predict --json` prints of these rows."""
    table = folder / "rows.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    model.save(folder / "model.gpunn")
    capsys.readouterr()
    words = ["predict", str(folder / "model.gpunn"), str(table), "--json", "--decimal", "."]
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("classes", "features", "rows"),
    [(CLASSES, FEATURES, ROWS), ([], FEATURES, ROWS), ([], OTHER_KINDS, OTHERS)],
)
def test_rows_get_what_predict_writes(
    classes: list[str], features: Any, rows: Any, tmp_path: Path, capsys: Any
) -> None:
    model = table_model(classes, features)
    expected = predicted(model, rows, tmp_path, capsys)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    with serving(model) as client:
        for document in ({"rows": rows}, {"columns": columns}):
            status, found = client.predict(document)
            assert status == 200 and found["predictions"] == expected
        alone = [client.predict({"rows": [row]})[1]["predictions"][0] for row in rows]
    for one, row in zip(alone, expected, strict=True):  # of another product of matrices
        for name, value in row.items():
            if isinstance(value, float):
                np.testing.assert_allclose(one[name], value, rtol=1e-5)
            else:
                assert one[name] == value


def test_a_model_of_gpunn_train_is_served(tmp_path: Path, capsys: Any, little_search: Any) -> None:
    random = np.random.default_rng(0)
    size, area = random.uniform(20, 90, 60).round(1), random.choice(["north", "east"], 60)
    rent = (200 + 9 * size + 90 * (area == "north")).round()
    table = table_at(tmp_path / "flats.csv", {"size": size, "area": area, "rent": rent})
    out = tmp_path / "out"
    assert main(["train", table, "--target", "rent", "--fast", "--out", str(out)]) == 0
    rows = [{"size": 50.5, "area": "north"}, {"size": None, "area": None}]
    model = load_model(out / "model.gpunn")
    expected = predicted(model, rows, tmp_path, capsys)
    with serving(model) as client:
        status, found = client.predict({"rows": rows})
        assert status == 200 and found["predictions"] == expected
        assert client.ask("GET", "/")[1]["columns"] == {"size": "number", "area": "category"}


def test_unusual_values_are_noted(running: Client) -> None:
    assert "notes" not in running.predict({"rows": ROWS[:1]})[1]
    notes = running.predict({"rows": ROWS})[1]["notes"]
    assert any("'moon'" in note and "soil" in note for note in notes)
    assert any("rings" in note and "outside" in note for note in notes)


def test_it_says_which_columns_it_takes(others: Client) -> None:
    found = others.ask("GET", "/")[1]
    assert found["columns"] == {
        "day": "date", "</b>when": "date", "at/from": "date", "notes": "text", "rings": "number",
    }  # fmt: skip
    assert found["target"] == "kind & more"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"height": "tall"}, "row 1 of the column 'height' is the text 'tall'; expected: a number"),
        ({"height": "20"}, "'height' is the text '20'; expected: a number or null"),
        ({"height": True}, "'height' is true"),
        ({"height": [1]}, "'height' is a list"),
        ({"height": {"a": 1}}, "'height' is an object"),
        ({"height": 1e39}, "'height' has a number beyond float32"),
        ({"height": 10**400}, "'height' has a number beyond float32"),
        ({"</script><b>soil": ["clay"]}, "soil' is a list; expected: a text, a number or null"),
        ({"colour": "red"}, "rows[1] has the column 'colour', which the model does not read"),
        ({"x" * 5000: 1}, "xxx...'"),
    ],
)
def test_values_that_do_not_fit(running: Client, changed: dict[str, Any], reason: str) -> None:
    status, document = running.predict({"rows": [ROWS[0], ROWS[1] | changed]})
    assert status == 400 and reason in document["error"] and len(document["error"]) < 500


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"day": "soon"}, "row 0 of the column 'day' is the text 'soon'; expected: a text "),
        ({"day": "17:30"}, "'day' is the text '17:30'"),
        ({"at/from": "2024-01-01"}, "expected: a text with a time of day or null"),
        ({"day": 1.5}, "'day' is the number 1.5"),
        ({"notes": [1]}, "'notes' is a list; expected: a text or null"),
    ],
)
def test_dates_and_texts_that_do_not_fit(others: Client, changed: Any, reason: str) -> None:
    status, document = others.predict({"rows": [OTHERS[0] | changed]})
    assert status == 400 and reason in document["error"]


LACKING = {"height": 1, "</script><b>soil": "clay", "girth": 2, "rings": 3}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"rows": []}, "at least one row"),
        ({"rows": {}}, "at least one row"),
        ({"rows": [[1, "clay", 2, 3]]}, "rows[0] is a list; an object is expected"),
        ({"rows": [{}]}, "rows[0] lacks the column 'height'"),
        ({"rows": [LACKING]}, "lacks the column 'girth/cm'; expected: 'height', "),
        ({"rows": [LACKING]}, "Did you mean 'girth'?"),
        ({"columns": [1]}, "columns is a list"),
        ({"columns": {}}, "columns lacks the column 'height'"),
        ({"columns": {name: [] for name in ROWS[0]}}, "a list of at least one value"),
        ({"columns": {name: 1 for name in ROWS[0]}}, "a list of at least one value"),
        ({"columns": {name: [1] * (1 + (name == "rings")) for name in ROWS[0]}}, "2 values"),
        ({"inputs": [[1, 2, 3, 4]]}, '{"rows": ...} or {"columns": ...}'),
        ({"rows": ROWS, "columns": {}}, "with no other key"),
    ],
)
def test_wrong_documents(running: Client, document: Any, reason: str) -> None:
    status, found = running.predict(document)
    assert status == 400 and reason in found["error"]


def test_other_wrong_bodies(running: Client) -> None:
    text = json.dumps({"rows": ROWS[:1]})
    for old, new in (("20.25", "NaN"), ("20.25", "1e400"), ("20.25", '1, "height": 2')):
        status, found, _ = running.ask("POST", "/predict", text.replace(old, new))
        assert status == 400 and ("height" in found["error"] or "NaN" in found["error"])
    assert running.ask("POST", "/predict", b"\x89PNG\r\n\x1a\n", "image/png")[0] == 415


@pytest.mark.parametrize("strange", ["\ud800", "\0", "a" * 100_000, "</script>", "=1+1", "\u202e"])
def test_any_text_is_a_category(running: Client, strange: str) -> None:
    rows = [ROWS[0] | {"</script><b>soil": soil} for soil in (strange, None)]
    status, found = running.predict({"rows": rows})
    assert status == 200
    first, second = found["predictions"]  # an unknown category is as a missing one
    assert first == second
