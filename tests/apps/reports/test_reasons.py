"""What the report of a table says of its mistakes, columns and simpler models, checked on the
table itself and with the model that is judged."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import gpunn
from gpunn import layers
from gpunn.apps.cli import main
from gpunn.apps.reports import Recorder, read, report
from gpunn.apps.reports.of_table import TableReport
from gpunn.apps.tables import read_table
from gpunn.apps.tables.preparing import feature_of, prepared
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.reading.target import target_of
from gpunn.apps.tables.table_model import TableModel

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

NAMES = ["size", "garden", "place", "age"]
EVIL = "<img src=x onerror=alert(1)>"


def table_at(path: Path) -> list[dict[str, str]]:
    """Write a table of homes; size, garden and place decide, with noise. Some rows have no
    target."""
    random = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*NAMES, "price", "kind"])
        writer.writeheader()
        for i in range(260):
            size, garden, age = random.uniform(20, 200), random.uniform(0, 50), random.uniform(0, 9)
            place = ["city", "land", EVIL][random.integers(3)]
            price = 3 * size + 2 * garden + 100 * (place == "city") + random.normal(0, 60)
            writer.writerow({
                "size": "" if random.random() < 0.1 else f"{size:.1f}", "garden": f"{garden:.2f}",
                "place": place, "age": f"{age:.1f}",
                "price": "" if i % 50 == 3 else f"{price:.2f}",
                "kind": "" if i % 50 == 3 else "dear" if price > 400 else "cheap",
            })  # fmt: skip
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(params=["price", "kind"])
def judged(request: Any, tmp_path: Path) -> tuple[str, list[dict[str, str]], Path, Any]:
    """The target, the table's rows, the folder of a record and the model that it judges: a linear
    one with scikit-learn's weights."""
    target, rows = request.param, table_at(tmp_path / "homes.csv")
    table = read_table(tmp_path / "homes.csv")
    goal = target_of(table, target)
    every = np.arange(len(goal.y))
    train, test = np.flatnonzero(every % 5), np.flatnonzero(every % 5 == 0)
    columns = [column_of(name, table.column(name)) for name in NAMES]
    features = [feature_of(column, goal.rows[train]) for column in columns]
    given, _ = TableModel.to_learn(target, goal.task, features).inputs(table)
    given = {name: values[goal.rows] for name, values in given.items()}
    inputs, tensors = prepared(features)
    joined = layers.Concatenate()(tensors)
    x = gpunn.Model(inputs, joined).predict(given, verbose=0)
    fitted = (LogisticRegression() if goal.classes else LinearRegression()).fit(
        x[train], goal.y[train]
    )
    weights = np.atleast_2d(fitted.coef_).T
    answer = layers.Dense(2, activation="softmax") if goal.classes else layers.Dense(1)
    model = gpunn.Model(inputs, answer(joined), name="linear")
    if goal.classes:
        weights = np.hstack([0 * weights, weights])
        answer.set_weights([weights, np.array([0, fitted.intercept_[0]])])
    else:
        answer.set_weights([weights, np.array([fitted.intercept_])])
    model.compile("sgd", "sparse_categorical_crossentropy" if goal.classes else "mse")
    on_test = {name: values[test] for name, values in given.items()}
    outputs = model.predict(on_test, verbose=0)
    seen = TableReport(table, goal, features, given, train, test, model)
    compared = {"constant": {"loss": 1.0}, "linear model": {"loss": 0.5}}
    Recorder(record=tmp_path / "run.jsonl", classes=goal.classes).judge(
        model, [*on_test.values()], goal.y[test], outputs, "rows", seen.cells,
        numbers=seen.numbers, explain=seen.explain, compared=compared, importance=seen.importance,
    )  # fmt: skip
    return target, rows, tmp_path, model


def answer_of(model: Any, row: dict[str, str]) -> Any:
    numbers = {name: [float(row[name] or "nan")] for name in NAMES if name != "place"}
    return model.predict({**numbers, "place": [row["place"]]}, verbose=0)[0]


def test_changes_turn_the_answer_and_rows_are_those_of_the_table(judged: Any) -> None:
    target, rows, folder, model = judged
    found: Any = read(folder).end["results"]  # type: ignore[index]
    turned = 0
    for one in found["mistakes"]:
        row = rows[one["row"] - 1]
        assert dict(one["cells"]) == {name: row[name] for name in NAMES}
        true = row[target]
        assert (found["classes"][one["true"]] if target == "kind" else one["true"]) == (
            true if target == "kind" else pytest.approx(float(true), rel=1e-6)
        )
        near = one["why"]["near"]
        assert len(near) == 3 and one["row"] not in [other["row"] for other in near]
        assert sorted(near, key=lambda other: other["distance"]) == near
        for other in near:
            assert other["target"] == rows[other["row"] - 1][target]
            assert dict(other["cells"]) == {name: rows[other["row"] - 1][name] for name in NAMES}
        change = one["why"]["change"]
        if change is None:
            continue
        turned += 1
        assert [row[name] for name, _, _ in change["columns"]] == [c[1] for c in change["columns"]]
        assert all(new in [other[name] for other in rows] for name, _, new in change["columns"])
        answer = answer_of(model, row | {name: new for name, _, new in change["columns"]})
        if target == "kind":
            assert found["classes"][answer.argmax()] == change["answer"] == true
        else:
            assert float(change["answer"].replace(",", "")) == pytest.approx(answer[0], rel=1e-3)
            assert abs(answer[0] - float(true)) <= found["figures"]["MAE"] * (1 + 1e-5)
    assert turned > len(found["mistakes"]) / 2


def test_the_page_shows_columns_models_and_reasons(
    judged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, folder, _ = judged
    end: Any = read(folder).end
    found = end["results"]
    assert end["ended"] == "Computed without epochs of training."
    entries = found["importance"]
    assert sorted(one["column"] for one in entries) == sorted(NAMES)
    increases = [one["increase"] for one in entries]
    assert entries[0]["column"] == "size" and increases == sorted(increases, reverse=True)
    assert increases[0] > 5 * entries[0]["error"] > 0
    assert main(["report", str(folder)]) == 0
    held = {row["row"] for one in found["mistakes"] for row in [one, *one["why"]["near"]]}
    assert f", with {len(held)} rows of the data" in capsys.readouterr().out
    text = (folder / "report.html").read_text(encoding="utf-8")
    for words in ("Importance of the columns", "Compared with simpler models", "linear model"):
        assert words in text
    assert text.count("The nearest training rows have ") == len(found["mistakes"])
    assert "the answer is " in text and EVIL not in text and "&lt;img src=x" in text
    assert main(["report", str(folder), "--no-data", "--force"]) == 0
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "nearest training rows" not in text and "Importance of the columns" in text


@pytest.mark.parametrize("target", ["price", "kind"])
def test_training_records_them(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table_at(tmp_path / "homes.csv")
    other = "kind" if target == "price" else "price"
    options = ["--target", target, "--leave-out", other, "--fast", "--hidden", "4",
               "--epochs", "2", "--out", str(tmp_path)]  # fmt: skip
    assert main(["train", str(tmp_path / "homes.csv"), *options]) == 0
    found: Any = read(tmp_path).end["results"]  # type: ignore[index]
    assert len(found["importance"]) == len(NAMES) and found["mistakes"]
    last = list(found["compared"].values())[-1]
    assert last == pytest.approx(found["figures"], rel=1e-6) and len(found["compared"]) > 1
    for one in found["mistakes"]:
        for row in (one, *one["why"]["near"]):
            assert dict(row["cells"]) == {name: rows[row["row"] - 1][name] for name in NAMES}
    options += ["--no-data", "--force"]
    capsys.readouterr()
    assert main(["train", str(tmp_path / "homes.csv"), *options]) == 0
    found = read(tmp_path).end["results"]  # type: ignore[index]
    assert found["mistakes"] == [] and len(found["importance"]) == len(NAMES)
    assert "run.jsonl, without rows of the data" in capsys.readouterr().out
    assert '"why"' not in (tmp_path / "run.jsonl").read_text(encoding="utf-8")


def test_a_record_without_these_entries_still_has_a_page(judged: Any) -> None:
    *_, folder, _ = judged
    path = folder / "run.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    results = lines[-1]["results"]
    del results["compared"], results["importance"]
    for one in results["mistakes"]:
        del one["why"]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    text = report([read(path)])
    assert "The worst mistakes" in text and "Importance" not in text and "Why" not in text


def test_entries_that_were_changed_are_refused_or_shown_as_text(judged: Any) -> None:
    *_, folder, _ = judged
    path = folder / "run.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    pages = 0
    for value in (None, -1, 1e308, "", EVIL, [], {}, [[EVIL] * 3], {EVIL: 1}):
        for place in ("importance", "compared", "why", "near", "change", "columns", "increase"):
            end = json.loads(lines[-1])
            results = end["results"]
            first = next(one for one in results["mistakes"] if one["why"]["change"])
            into = {"why": first, "near": first["why"], "change": first["why"],
                    "columns": first["why"]["change"],
                    "increase": results["importance"][0]}  # fmt: skip
            into.get(place, results)[place] = value
            path.write_text("\n".join([*lines[:-1], json.dumps(end)]), encoding="utf-8")
            try:
                run = read(path)
            except ValueError as error:
                assert f"line {len(lines)}: " in str(error) and place in str(error)
                continue
            pages += 1
            assert EVIL not in report([run])
    assert pages > 5
