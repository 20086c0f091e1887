"""What the report of a table says of its mistakes, columns and simpler models, checked on the
table itself and with the model that was saved."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.reports import read, report

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
def trained(request: Any, tmp_path: Path) -> tuple[str, list[dict[str, str]], Path]:
    """The target, the table's rows and the folder of a run on them."""
    rows = table_at(tmp_path / "homes.csv")
    assert main(arguments(request.param, tmp_path)) == 0
    return request.param, rows, tmp_path


def arguments(target: str, folder: Path, *more: str) -> list[str]:
    other = "kind" if target == "price" else "price"
    return ["train", str(folder / "homes.csv"), "--target", target, "--leave-out", other,
            "--epochs", "8", "--out", str(folder), *more]  # fmt: skip


def answer_of(model: Any, row: dict[str, str]) -> Any:
    numbers = {name: [float(row[name] or "nan")] for name in NAMES if name != "place"}
    return model.predict({**numbers, "place": [row["place"]]}, verbose=0)[0]


def test_changes_turn_the_answer_and_rows_are_those_of_the_table(trained: Any) -> None:
    target, rows, folder = trained
    model = gpunn.saving.load_model(folder / "model.gpunn")
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
    trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, folder = trained
    found: Any = read(folder).end["results"]  # type: ignore[index]
    entries = found["importance"]
    assert sorted(one["column"] for one in entries) == sorted(NAMES)
    increases = [one["increase"] for one in entries]
    assert entries[0]["column"] == "size" and increases == sorted(increases, reverse=True)
    assert increases[0] > 5 * entries[0]["error"] > 0
    network, linear = found["compared"]["network"], found["compared"]["linear model"]
    assert network == pytest.approx(found["figures"], rel=1e-6) and set(linear) == set(network)
    capsys.readouterr()
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


def test_without_data_no_row_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table_at(tmp_path / "homes.csv")
    assert main(arguments("price", tmp_path, "--no-data")) == 0
    found: Any = read(tmp_path).end["results"]  # type: ignore[index]
    assert found["mistakes"] == [] and len(found["importance"]) == len(NAMES)
    assert "run.jsonl, without rows of the data" in capsys.readouterr().out
    assert '"why"' not in (tmp_path / "run.jsonl").read_text(encoding="utf-8")


def test_a_record_without_these_entries_still_has_a_page(trained: Any) -> None:
    *_, folder = trained
    path = folder / "run.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    results = lines[-1]["results"]
    del results["compared"], results["importance"]
    for one in results["mistakes"]:
        del one["why"]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    text = report([read(path)])
    assert "The worst mistakes" in text and "Importance" not in text and "Why" not in text


def test_entries_that_were_changed_are_refused_or_shown_as_text(trained: Any) -> None:
    *_, folder = trained
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
