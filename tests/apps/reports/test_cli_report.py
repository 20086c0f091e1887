"""`gpunn train` saves what `gpunn report` needs for a page."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import SMALL, start, stop

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.reports import read

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


@pytest.fixture
def runs(trained: Any, tmp_path: Path) -> Path:
    """A folder with two runs and an unrelated file."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        shutil.copy(trained[0] / "run.jsonl", tmp_path / name)
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.in_turn(2)
def test_a_run_becomes_a_page(
    runs: Path, mnist: Any, trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(runs / "first")]) == 0
    page = runs / "first" / "report.html"
    out = capsys.readouterr().out
    assert out.startswith(f"Saved {page}, ") and out.endswith(" KB, with 16 rows of the data\n")
    text = page.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    images, labels = mnist[1]
    model = gpunn.saving.load_model(trained[0] / "model.gpunn")
    wrong = int((model.predict(images, verbose=0).argmax(axis=1) != labels).sum())
    assert f"of {wrong:,}." in text and text.count("<img") == 17
    assert "gpunn train mnist --hidden 16 --batch-size 128" in text
    assert "<h1>Report: mnist</h1>" in text and "the test rows (10,000 rows)" in text
    assert main(["report", str(runs / "first"), "--no-data", "-o", str(runs / "plain.html")]) == 0
    assert "without rows of the data" in capsys.readouterr().out
    assert (runs / "plain.html").read_text(encoding="utf-8").count("<img") == 1


def test_several_runs_are_compared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second time, the page of the first exists
        paths = sorted(map(str, runs.iterdir()))
        assert main(["report", *paths]) == 0
        printed = capsys.readouterr()
        assert printed.err == (
            f"gpunn: left out: {runs / 'empty'} has no run.jsonl, which `gpunn train` writes.\n"
        )
        assert "report.html, " in printed.out
        assert "Report of 2 runs" in (runs / "report.html").read_text(encoding="utf-8")


def test_what_is_no_run_is_reported(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, message in (
        (runs / "empty", "has no run.jsonl"),
        (runs / "nothing", "No such file"),
    ):
        assert main(["report", str(path)]) == 1
        assert message in capsys.readouterr().err
    (runs / "first" / "run.jsonl").write_bytes(b"\x89PNG\r\n")
    assert main(["report", str(runs / "first")]) == 1
    assert "run.jsonl, line 1: not a line of JSON" in capsys.readouterr().err
    assert main(["report", str(runs / "second"), "-o", str(runs / "no" / "page.html")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_an_interrupted_run_has_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process = start("train", "mnist", *SMALL, "--out", tmp_path)
    stop(process, "Epoch 1/6", signal.SIGINT)
    assert process.returncode == 130
    run = read(tmp_path)
    assert run.end is not None and run.end["ended"].startswith("Interrupted after ")
    assert run.end["results"]["part"] == "the test rows"
    assert main(["report", str(tmp_path)]) == 0
    assert os.path.exists(tmp_path / "report.html")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "homes.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["size", "place", "price", "kind"])
        for size in random.uniform(20, 200, 150):
            place = ["city", "land"][random.integers(2)]
            noise = random.normal(0, 20)
            kind = "<b>small" if size + noise < 100 else "large"
            rows.writerow([f"{size:.1f}", place, f"{3 * size + noise:.1f}", kind])
    return path


@pytest.mark.in_turn(2)
@pytest.mark.usefixtures("little_search")
@pytest.mark.parametrize("target", ["price", "kind"])
def test_a_table_has_its_rows_in_the_page(
    table: Path, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["train", str(table), "--target", target, "--epochs", "3", "--out", str(out)]
    assert main([*options, "--leave-out", "kind" if target == "price" else "price"]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    end: Any = read(out).end
    found = end["results"]
    for one in found["mistakes"]:
        cells = dict(one["cells"])
        row = rows[one["row"] - 1]
        assert cells == {"size": row["size"], "place": row["place"]}
        if target == "price":
            assert one["true"] == pytest.approx(float(row["price"]), rel=1e-5)
        else:
            assert found["classes"][one["true"]] == row["kind"]
    assert found["mistakes"] and found["rows"] == 30
    assert end["data"]["summary"].startswith("150 rows")
    assert not [text for severity, _, text in end["data"]["findings"] if severity == "error"]
    printed = capsys.readouterr().out
    accuracy = "R2" if target == "price" else "accuracy"
    models = ("linear model  ", "network  ", "average  ")
    *_, chosen = (line for line in printed.splitlines() if line.startswith(models))
    assert f"{found['figures'][accuracy]:.4g}" in chosen.split()
    best, _, _ = printed.partition("the best of them")[2].partition("\nchosen: ")
    assert 2 <= len(best.splitlines()) <= 5 and accuracy in best.splitlines()[0].split()
    model = gpunn.saving.load_model(out / "model.gpunn")
    assert read(out).begin["settings"]["parameters"] == f"{model.count_params():,}"
    assert len(read(out).begin["tried"]) >= 3
    assert main(["report", str(out)]) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "<b>small" not in text and ("&lt;b&gt;small" in text) == (target == "kind")


@pytest.mark.usefixtures("little_search")
def test_no_row_is_kept_where_none_is_wanted(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["train", str(table), "--target", "price", "--epochs", "2", "--out", str(out)]
    assert main([*options, "--no-data"]) == 0
    lines = (out / "run.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(lines[-1])["results"]
    assert found["mistakes"] == [] and found["points"] == []
