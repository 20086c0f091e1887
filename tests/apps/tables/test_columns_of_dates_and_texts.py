"""Columns of dates and of texts on the command line, from their kinds to predictions."""

from __future__ import annotations

import csv
import datetime
import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.tables.preparing import feature_of, prepared
from gpunn.apps.tables.reading.kinds import column_of

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")

WORDS = ["bright", "quiet", "noisy", "old", "garden", "park", "modern", "lift", "cellar", "view"]
NAMES = ["day", "visit", "notes", "name", "price"]


def shop(path: Any, rows: int = 400, notation: str = "%d/%m/%Y") -> list[list[str]]:
    """A table whose target depends on the weekday, the time of day and words; return its rows."""
    random = np.random.default_rng(0)
    of_words, of_days = random.normal(0, 100, len(WORDS)), random.normal(0, 150, 7)
    table = []
    for i in range(rows):
        day = datetime.date(2023, 1, 1) + datetime.timedelta(int(random.integers(730)))
        minutes = int(random.integers(8 * 60, 20 * 60))
        chosen = random.choice(len(WORDS), 4, replace=False)
        price = 2000 + of_days[day.weekday()] + of_words[chosen].sum() + minutes / 5
        notes = f"{', '.join(WORDS[k] for k in chosen).capitalize()}: see ad {i}!"
        time = f"{minutes // 60}:{minutes % 60:02}"
        table.append([day.strftime(notation), time, notes, f"Person{i}", f"{price:.2f}"])
    table[4][0], table[5][0], table[6][1], table[7][2] = "soon", "", "", ""
    write(path, table)
    return table


def write(path: Any, rows: list[list[str]], names: list[str] = NAMES) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with shop.csv and gpunn's model of it, the rows, and what was printed."""
    folder = tmp_path_factory.mktemp("shop")
    rows = shop(folder / "shop.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUNN_BACKEND", "numpy")
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *text, **_: lines.append(" ".join(map(str, text))))
        options = ["--target", "price", "--fast", "--out", str(folder)]
        assert main(["train", str(folder / "shop.csv"), *options]) == 0
    return folder, rows, "\n".join(lines)


# -- kinds


@pytest.mark.parametrize(
    ("cells", "form", "day_first", "note"),
    [
        (["2024-01-31", "2024-02-01", "2024-02-07"], "date", False, None),
        (["03/04/2024", "13/04/2024", "05/04/2024"], "date", True, None),
        (["03/04/2024", "03/14/2024", "05/04/2024"], "date", False, None),
        (["03/04/2024", "06/06/2024"], "date", False, "'03/04/2024' is read as 2024-03-04"),
        (["3-4-24", "5-4-24", "5-5-24"], "date", True, "'3-4-24' is read as 2024-04-03"),
        (["03.04.2024", "05.04.2024", "06.04.2024"], "date", False, None),
        (["07/07/2024", "08/08/2024", "09/09/2024"], "date", False, None),
        (["2024-01-31 10:00", "2024-02-01 10:00", "2024-02-01"], "datetime", False, None),
        (["2024-01-31 00:00:00", "2024-02-01 00:00:00"], "date", False, None),
        (["Jan 5, 2024 5:30 PM", "Jan 7, 2024 6:30 PM"], "datetime", False, None),
        (["17:30", "9:05 AM", "23:59:59"], "time", False, None),
        (["1949-01", "1949-02", "1960-12"], "date", False, None),
        (["8-Feb-15", "9-Feb-15", "28-Mar-15"], "date", False, None),
    ],
)  # fmt: skip
def test_dates_are_found_in_whatever_notation(
    cells: list[str], form: str, day_first: bool, note: str | None
) -> None:
    found = column_of("when", [*cells, ""] * 8)
    assert (found.kind, *found.dates) == ("date", form, day_first)
    assert [text.split(":")[0] for text in found.notes] == ([note] if note else [])
    assert found.missing.tolist() == ([False] * len(cells) + [True]) * 8
    if form != "time":
        first = day_first or "." in cells[0]
        theirs = pd.to_datetime(pd.Series(cells), format="mixed", dayfirst=first)
        days = (theirs - pd.Timestamp(0)) / pd.Timedelta("1D")
        np.testing.assert_allclose(found.values[: len(cells)], days)


def test_one_in_twenty_may_be_no_date() -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 31)] * 2
    found = column_of("when", ["soon", "17:30", *days])
    shown = "'soon' in row 1, '17:30' in row 2"
    assert found.notes == [f"2 cells are not dates and count as missing: {shown}"]
    assert np.flatnonzero(found.missing).tolist() == [0, 1]
    assert column_of("when", ["soon", "later", "now", "never", *days]).kind != "date"
    times = column_of("when", ["soon", *(f"10:{minute:02}" for minute in range(60))])
    assert times.notes == ["1 cell is not a time of day and counts as missing: 'soon' in row 1"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([f"A sunny room, number {i}" for i in range(40)], "text"),
        ([f"Room {i}" for i in range(40)], "left out"),  # names
        ([f"{i:08x}-550e-8400-e29b-{i:012x}" for i in range(40)], "left out"),  # identifiers
        (["a red and green one", "a blue one"] * 20, "category"),
        ([f"the product number {i % 60}" for i in range(600)], "text"),  # too many categories
        ([f"product {i % 60}" for i in range(600)], "category"),
    ],
)
def test_texts_are_told_from_names_and_categories(cells: list[str], kind: str) -> None:
    assert column_of("notes", cells).kind == kind


# -- preparing


def test_dates_become_what_pandas_and_scikit_learn_make_of_them() -> None:
    random = np.random.default_rng(3)
    when = pd.Series(pd.to_datetime(random.integers(1.5e9, 1.6e9, 80), unit="s")).dt.floor("min")
    cells = when.dt.strftime("%d.%m.%Y %H:%M").tolist()
    gaps = [3, 4, 60]
    for k in gaps:
        cells[k] = ""
    feature = feature_of(column_of("when", cells), np.arange(50))
    x = np.hstack(gpunn.Model(*prepared([feature])).predict({"when": cells}, verbose=0))
    known = when.drop(gaps)
    middle = known[known.index < 50].sort_values().iloc[23]  # the lower of the two in the middle
    of = when.mask(when.index.isin(gaps), middle).dt
    numbers = np.stack([of.year, (of.floor("D") - pd.Timestamp(0)).dt.days], 1).astype(float)
    scaled = StandardScaler().fit(numbers[:50]).transform(numbers)
    np.testing.assert_allclose(x[:, :2], scaled, rtol=1e-3, atol=1e-4)
    assert np.flatnonzero(x[:, 2]).tolist() == gaps
    rows = [np.eye(n)[part] for n, part in ((12, of.month - 1), (7, of.day_of_week), (24, of.hour))]
    there = ~when.index.isin(gaps)
    np.testing.assert_array_equal(x[:, 3:], np.hstack(rows) * there[:, None])


def test_what_never_varies_in_training_is_not_learnt_from() -> None:
    mondays = [f"2024-04-{day:02}" for day in (1, 8, 15, 22, 29)] * 4
    feature = feature_of(column_of("when", mondays), np.arange(20))
    assert [part.name for part in feature.parts] == ["days"] and not feature.cycles
    model = gpunn.Model(*prepared([feature]))
    monday, tuesday = np.ravel(model.predict({"when": ["2024-04-15", "2024-04-16"]}, verbose=0))
    assert 0 < tuesday - monday < 0.2


@pytest.mark.parametrize(("rows", "positions"), [(20, 64), (300, 128), (10_000, 256)])
def test_more_rows_have_more_positions_for_words(rows: int, positions: int) -> None:
    column = column_of("notes", [f"this is text {i}" for i in range(rows)])
    assert feature_of(column, np.arange(rows)).positions == positions


# -- training and prediction


def test_a_network_learns_from_weekdays_times_and_words(trained: Any) -> None:
    output = trained[2]
    printed = reversed(output.splitlines())  # a column's first line counts
    lines = {line.split("  ")[0]: re.sub(" +", " ", line) for line in printed}
    assert lines["day"].startswith("day date 2023-01-0")
    assert lines["day"].endswith("(1 cell is not a date and counts as missing: 'soon' in row 5) 2")
    assert lines["visit"] == "visit time of day 08:00 to 19:59 1"
    assert re.fullmatch(r"notes text 399 different ones, of 7 words on average 1", lines["notes"])
    assert lines["name"].startswith("name left out texts that are nearly all different")
    scores = {n: float(lines[n].split()[-1]) for n in ("mean", "linear model") if n in lines}
    assert scores["mean"] < 0.05 and scores["linear model"] > 0.7  # R2


def test_the_file_reads_dates_and_texts_as_they_are_written(trained: Any, capsys: Any) -> None:
    folder, rows, _ = trained
    model, path = str(folder / "model.gpunn"), str(folder / "shop.csv")
    assert main(["predict", model, path, "--json"]) == 0
    printed, warned = capsys.readouterr()
    assert "day: 1 cell is not a date, such as 'soon'" in warned and "notes" not in warned
    expected = [row["predicted price"] for row in json.loads(printed)]
    assert main(["evaluate", model, "--data", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["R2"] > 0.6
    network = gpunn.saving.load_model(model)
    columns = dict(zip(NAMES, zip(*rows, strict=True), strict=True))
    frame = pd.DataFrame(columns).replace("", None)
    days = pd.to_datetime(frame["day"], format="%d/%m/%Y", errors="coerce")
    for day in (days, days.dt.strftime("%B %d, %Y")):
        found = network.predict(frame.assign(day=day), verbose=0)[:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not any("bright" in text for text in network.data_held().values())


def test_columns_without_a_date_are_refused(trained: Any, tmp_path: Any, capsys: Any) -> None:
    folder, rows, _ = trained
    model = str(folder / "model.gpunn")
    for k, wrong, message in (
        (0, "Monday", "the column 'day' holds no date, but for example 'Monday'; the model was "
         "trained on dates there"),
        (0, "17:30", "holds no date, but for example '17:30'"),
        (1, "2024-01-01", "holds no time of day, but for example '2024-01-01'; the model was "
         "trained on times of day there"),
    ):  # fmt: skip
        table = [[*row[:k], wrong, *row[k + 1 :]] for row in rows[:5]]
        assert main(["predict", model, write(tmp_path / "new.csv", table)]) == 1
        assert message in capsys.readouterr().err
    empty = [["", "", "", *row[3:]] for row in rows[:5]]
    assert main(["predict", model, write(tmp_path / "new.csv", empty)]) == 0
    assert not capsys.readouterr().err


def test_a_description_of_other_kinds_is_refused(trained: Any) -> None:
    from gpunn.apps.tables.table_model import TableModel

    model = gpunn.saving.load_model(trained[0] / "model.gpunn")
    columns = model.trained_on["table"]["columns"]
    assert [column["kind"] for column in columns] == ["date", "date", "text"]
    columns[0]["kind"] = "text"
    with pytest.raises(ValueError, match="kinds in 'trained_on/table/columns' are not those"):
        TableModel.of(model)


def test_check_data_reads_dates_as_numbers(trained: Any, tmp_path: Any, capsys: Any) -> None:
    folder, rows, _ = trained
    old = [[*row] for row in rows]
    old[20][0] = "01/01/1900"
    path = write(tmp_path / "old.csv", [row for row in old if all(row) and row[0] != "soon"])
    main(["check-data", path, "--target", "price"])
    output = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "396 rows of 3 features" in output and "leaves out 1 of 4 columns: name" in output
    assert re.search(r"outliers: [^.]*day", output)
    main(["check-data", str(folder / "shop.csv"), "--target", "price"])
    output = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "day: 1 cell is not a date and counts as missing: 'soon' in row 5" in output
