"""Rows in an order of time: what training proposes, and which rows `--split order` holds out."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import table_at

from gpunn.apps.cli import main
from gpunn.apps.reports import read
from gpunn.sklearn import GpunnAutoRegressor

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

ROWS = 60
QUICK = ["--fast", "--hidden", "4", "--epochs", "1"]
random = np.random.default_rng(0)
DAYS = [str(date(2024, 1, 1) + timedelta(days=7 * i)) for i in range(ROWS)]
A = random.standard_normal(ROWS)
Y = np.arange(ROWS) + A
SHUFFLED = [DAYS[i] for i in random.permutation(ROWS)]
WORDS = "rows are in the order of"


def said(path: str, tmp_path: Path, capsys: Any, *more: str) -> str:
    out = str(tmp_path / "out")
    assert main(["train", path, "--target", "y", *QUICK, "--out", out, "--force", *more]) == 0
    return str(capsys.readouterr().out)


def notes(path: str, capsys: Any, *more: str) -> list[dict[str, Any]]:
    assert main(["check-data", path, "--target", "y", "--json", *more]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    return [one for one in found if WORDS in one["text"].lower()]


@pytest.mark.parametrize(
    ("days", "keep", "expected"),
    [
        (DAYS, [], "'day': --split order holds out the last ones, as you will predict the future"),
        (DAYS[::-1], [], "'day', the latest first: --split order holds out the latest ones"),
        (sorted(DAYS[:20] * 3), [], "'day': --split order"),
        (["", *DAYS[1:-1], "soon"], [], "'day': --split order"),
        (range(1960, 1960 + ROWS), ["--keep", "day"], "'day': --split order"),
        (range(1960, 1960 + ROWS), [], None),
        (SHUFFLED, [], None),
        (sorted(DAYS[:6] * 10), [], None),
        ([*DAYS[:3], *[""] * (ROWS - 3)], [], None),
        (np.sort(A), [], None),
    ],
)
def test_an_order_of_time_is_proposed_where_there_is_one(
    tmp_path: Path, capsys: Any, days: Any, keep: list[str], expected: str | None
) -> None:
    path = table_at(tmp_path / "t.csv", {"a": A, "day": days, "y": Y})
    lines = [line for line in said(path, tmp_path, capsys, *keep).splitlines() if WORDS in line]
    found = notes(path, capsys, *keep)
    data: Any = read(str(tmp_path / "out")).end["data"]  # type: ignore[index]
    if expected is None:
        assert not lines and not found
        return
    assert len(lines) == 1 and expected in lines[0]
    (one,) = found
    assert one["severity"] == "note" and one["names"] == ["day"]
    assert one["text"][1:] == f"{lines[0][1:]}."
    assert one["text"] in [text for *_, text in data["findings"]]


@pytest.mark.parametrize(
    "more", [["--split", "order"], ["--split", "stratified"], ["--group", "who"]]
)
def test_who_has_said_how_to_divide_rows_is_not_told(
    tmp_path: Path, capsys: Any, more: list[str]
) -> None:
    who = [i // 3 for i in range(ROWS)]
    path = table_at(tmp_path / "t.csv", {"a": A, "day": DAYS, "who": who, "y": Y})
    assert WORDS not in said(path, tmp_path, capsys, *more)
    data: Any = read(str(tmp_path / "out")).end["data"]  # type: ignore[index]
    assert not [text for *_, text in data["findings"] if WORDS in text.lower()]


def test_rows_without_a_target_do_not_matter(tmp_path: Path, capsys: Any) -> None:
    days, y = [*DAYS], [str(one) for one in Y]
    days[5], y[5] = DAYS[40], ""
    path = table_at(tmp_path / "t.csv", {"a": A, "day": days, "y": y})
    assert WORDS in said(path, tmp_path, capsys)
    assert notes(path, capsys)


@pytest.mark.parametrize("descends", [False, True])
def test_split_order_holds_out_the_latest_rows(
    tmp_path: Path, capsys: Any, descends: bool
) -> None:
    """A target that jumps at the end of time is beyond a constant learned before it."""
    y = np.where(np.arange(ROWS) < ROWS * 4 // 5, 0.0, 1000.0) + A
    step = -1 if descends else 1
    path = table_at(tmp_path / "t.csv", {"a": A[::step], "day": DAYS[::step], "y": y[::step]})
    printed = said(path, tmp_path, capsys, "--split", "order")
    where = "the first ones, which are the latest" if descends else "the last ones"
    assert f"48 to learn from, 12 held out for the verdict, {where}" in printed
    mean = next(line for line in printed.splitlines() if line.startswith("mean "))
    assert 990 < float(mean.split()[1].replace(",", "")) < 1010


def test_descending_dates_reverse_the_order_of_the_estimators_too() -> None:
    """Early targets vary much and late ones little, so checks on late rows have small losses."""
    frame = pytest.importorskip("pandas").DataFrame({"a": A, "day": DAYS})
    y = np.where(np.arange(ROWS) < ROWS // 2, 100.0, 0.1) * random.standard_normal(ROWS)
    for step in (1, -1):
        found = GpunnAutoRegressor(fast=True, by_order=True, random_state=0)
        assert found.fit(frame[::step], y[::step]).cv_loss_ < 0.5
