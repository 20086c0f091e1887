"""Numbers of a table are read as they were written, column by column, or the user is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gpunn.apps.tables.preparing import feature_of
from gpunn.apps.tables.reading.csv_pieces import TableError
from gpunn.apps.tables.reading.kinds import column_in
from gpunn.apps.tables.reading.table import Table, read_table
from gpunn.apps.tables.reading.target import answers_of, target_of
from gpunn.apps.tables.table_model import TableModel

NAN = float("nan")


def table_of(folder: Path, text: str, **options: Any) -> Table:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path, **options)


def values_of(table: Table, name: str) -> list[float]:
    column = column_in(table, name)
    assert column.kind == "number", column
    return column.values.tolist()


def lines(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


READ: dict[str, tuple[str, dict[str, list[float]]]] = {
    "a column without a proof has the sign of the others": (
        lines("x;p", "950;0,5", "1.250;3,5", "7;1,25"),
        {"x": [950, 1250, 7], "p": [0.5, 3.5, 1.25]},
    ),
    "thousands prove the sign of their decimals": (
        lines("x;p", "1.250.000;1.250", "7;2.500", "9;10"),
        {"x": [1_250_000, 7, 9], "p": [1250, 2500, 10]},
    ),
    "versions beside decimal commas": (
        lines("version;p", "1.4;0,5", "1.5;3,5", "2.0;1,25"),
        {"version": [1.4, 1.5, 2.0], "p": [0.5, 3.5, 1.25]},
    ),
    "tabs with thousands as in the United States": (
        lines("x\tp", "1,250\t0.5", "950\t3.5", "7\t1.25"),
        {"x": [1250, 950, 7], "p": [0.5, 3.5, 1.25]},
    ),
    "a group of thousands never begins with 0": (
        lines("x;p", "0,132;1.5", "-0,132;2.5", "00,123;9.5"),
        {"x": [0.132, -0.132, 0.123], "p": [1.5, 2.5, 9.5]},
    ),
    "a point after 0 beside commas": (
        lines("x;p", "0.132;1,5", "0.25;2,5", "0.5;9,5"),
        {"x": [0.132, 0.25, 0.5], "p": [1.5, 2.5, 9.5]},
    ),
    "commas between quotation marks in a file of commas": (
        lines("x,p", '"0,5",1.5', '"3,25",2.5', '"1,5",9.5'),
        {"x": [0.5, 3.25, 1.5], "p": [1.5, 2.5, 9.5]},
    ),
    "points in a file of commas": (lines("x,p", "1.250,1", "2.500,7", "3.125,9"),
                                  {"x": [1.25, 2.5, 3.125], "p": [1, 7, 9]}),
    "units": (
        lines("x;p", "1.250 m;0,5", "950 m;3,5", "7 m;1,25"),
        {"x": [1250, 950, 7], "p": [0.5, 3.5, 1.25]},
    ),
    "units in some cells": (
        lines("x,p", "115 m²,1", "107,4", "98.5 m²,2", "101.5 m²,9"),
        {"x": [115, 107, 98.5, 101.5]},
    ),
    "signs and names of currencies": (
        lines("x;p", '"€ 286,166";1', "491005 EUR;4", '"€ 12.5";2'),
        {"x": [286_166, 491_005, 12.5]},
    ),
    "a word for nothing": (
        lines("x,p", *(f"{n * n},1" for n in range(11)), "unknown,1", "unknown,2"),
        {"x": [*(n * n for n in range(11)), NAN, NAN]},
    ),
    "other signs of nothing": (
        lines("x,p", *(f"{n * n},1" for n in range(9)), "-,1", ".,2", "#DIV/0!,3", "\u2013,4"),
        {"x": [*(n * n for n in range(9)), NAN, NAN, NAN, NAN]},
    ),
    "thousands by blanks and apostrophes": (
        lines("x;p;q", "1 234,5;1'250;1", "12\u00a0345\u00a0678,25;7;2", "950,5;12\u2019500;4"),
        {"x": [1234.5, 12_345_678.25, 950.5], "p": [1250, 7, 12500]},
    ),
    "negative numbers of all kinds": (
        lines("x,p", "(5),1", "5-,4", "\u22125.5,2", "-7,3", "(1.25),9"),
        {"x": [-5, -5, -5.5, -7, -1.25]},
    ),
    "commas in the names": (
        lines("Zeit;Temp, °C;Druck, hPa", "4;3,5;1013,2", "9;4,25;1012,1", "7;5,5;1009,3"),
        {"Temp, °C": [3.5, 4.25, 5.5], "Druck, hPa": [1013.2, 1012.1, 1009.3]},
    ),
    "one column with decimal commas beside texts": (
        lines("u;v;3,5", "u;w;4,25", "w;v;7,5", "u;v;1,5"), {"2": [3.5, 4.25, 7.5, 1.5]},
    ),
    "a comma in a name beside texts": (
        lines("a;b;Temp, °C", "u;w;4,25", "w;v;7,5", "u;v;1,5"), {"Temp, °C": [4.25, 7.5, 1.5]},
    ),
    "Excel's line": (
        lines("sep=;", "x;p", "4;3,5", "9;4,25", "2;1,5"), {"x": [4, 9, 2], "p": [3.5, 4.25, 1.5]},
    ),
    "Excel's line of another sign": (
        lines("sep=^", "x^p", "4^3.5", "9^4.25", "2^1.5"), {"x": [4, 9, 2], "p": [3.5, 4.25, 1.5]},
    ),
    "points for nothing in most cells": (
        lines("x;p", *[".;1"] * 6, "3,5;2", "4,25;5", ".;9"), {"x": [*[NAN] * 6, 3.5, 4.25, NAN]},
    ),
    "words with a point for nothing": (
        lines("x;p", *["n.a.;1"] * 4, "3,5;2", "4,25;5", "1.250;9", "7;1", "950;2"),
        {"x": [*[NAN] * 4, 3.5, 4.25, 1250, 7, 950]},
    ),
    "prices without cents are not negative": (
        lines("x;p;q", "5,-;5.-;€ 1.250,-", "3,--;3.\u2013;7,- €", "7,50;1'250.50;1,5 €"),
        {"x": [5, 3, 7.5], "p": [5, 3, 1250.5], "q": [1250, 7, 1.5]},
    ),
    "negative amounts of money": (
        lines("x,p", '"($1,234.50)",(7%)', '"$2,000.25",\u22128 %', '"-$7.50",9%'),
        {"x": [-1234.5, 2000.25, -7.5], "p": [-7, -8, 9]},
    ),
    "signs for nothing beside units": (
        lines("x,p,q", "€ 5,.,1 km", "-,7%,unknown", "€ 9,8%,unknown", "-,.,7 km", "€ 4,1%,9 km"),
        {"x": [5, NAN, 9, NAN, 4], "p": [NAN, 7, 8, NAN, 1], "q": [1, NAN, NAN, 7, 9]},
    ),
    "a minus behind beside a word for nothing": (
        lines("x,p", "5.25-,1", "unknown,4", "unknown,2", "7-,3", "9,8"),
        {"x": [-5.25, NAN, NAN, -7, 9]},
    ),
    "thousands in all cells": (
        lines("x,p", "5.5k,1", "9k,4", "7.25k,2"), {"x": [5.5, 9, 7.25]},
    ),
    "blanks and decimal commas": (
        "1,5 2,25  7,5\n3,25 4,5  9,75\n6,5 1,75  2,5\n",
        {"0": [1.5, 3.25, 6.5], "1": [2.25, 4.5, 1.75], "2": [7.5, 9.75, 2.5]},
    ),
    "blanks": (
        " 0.00632  18.00   2.310  0\n 0.02731   0.00   7.070  0\n 1.5 \t 4.00   2.180  1 \n",
        {"0": [0.00632, 0.02731, 1.5], "2": [2.31, 7.07, 2.18]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    text, expected = READ[name]
    table = table_of(tmp_path, text)
    for column, values in expected.items():
        found = values_of(table, column)
        assert found == pytest.approx(values, rel=1e-12, nan_ok=True), column


ASKED = {
    "no other cell says which": lines("x;n", "1.250;1", "7;2", "9.500;4"),
    "other columns are written in both ways": lines("x;p;q", "1.250;0,5;0.5", "7;1,5;1.5"),
}


@pytest.mark.parametrize("why", ASKED)
def test_who_cannot_know_asks(why: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, ASKED[why])
    message = rf"'1.250' in the column 'x' is 1.25 .* 1250 with .*{why}"
    with pytest.raises(TableError, match=message):
        column_in(table, "x")
    with pytest.raises(TableError, match="--decimal"):
        target_of(table, "x", "regression")
    for decimal, value in ((".", 1.25), (",", 1250)):
        assert values_of(table_of(tmp_path, ASKED[why], decimal=decimal), "x")[0] == value


def test_it_does_not_matter_in_columns_of_texts(tmp_path: Path) -> None:
    rows = [f"{c};{n}" for n, c in enumerate("uvwuvwuv")]
    table = table_of(tmp_path, lines("a;n", *rows, "1.250;3"))
    assert column_in(table, "a").kind == "category"


def test_a_cell_of_the_other_sign_is_an_error_with_its_row(tmp_path: Path) -> None:
    rows = [f"{n},5;{n},25" for n in range(40)]
    text = lines("x;y", *rows[:30], "1.2;3,5", *rows[30:])
    table = table_of(tmp_path, text)
    with pytest.raises(TableError, match=r"the column 'x': '1.2' in row 31 has a decimal point"):
        column_in(table, "x")
    with pytest.raises(TableError, match=r"the target 'x': '1.2' in row 31"):
        target_of(table, "x")
    assert values_of(table, "y")[:2] == [0.25, 1.25]
    told = column_in(table_of(tmp_path, text, decimal=","), "x")
    assert np.isnan(told.values[30]) and "1 cell is not a number" in told.notes[0]


def test_many_cells_of_the_other_sign_are_an_error_too(tmp_path: Path) -> None:
    """They would make texts of the column, and classes of the target."""
    rows = [f"{n},5;{n * n}" for n in range(30)] + [f"{n}.25;7" for n in range(10)]
    table = table_of(tmp_path, lines("x;y", *rows))
    for read in (column_in, target_of):
        with pytest.raises(TableError, match=r"'x': '0.25' in row 31 has a decimal point"):
            read(table, "x")
    told = table_of(tmp_path, lines("x;y", *rows), decimal=",")
    assert np.isnan(values_of(told, "x")).tolist() == [False] * 30 + [True] * 10
    assert target_of(told, "x").y.tolist() == [n + 0.5 for n in range(30)]


def test_classes_need_no_decimal_sign(tmp_path: Path) -> None:
    rows = [f"{n * n};{1 + n % 2}.000" for n in range(12)]
    table = table_of(tmp_path, lines("x;y", *rows))
    assert target_of(table, "y", "classification").classes == ["1.000", "2.000"]
    with pytest.raises(TableError, match="--decimal"):
        target_of(table, "y")


def test_thousands_in_some_cells_are_not_mixed_with_units(tmp_path: Path) -> None:
    """1.5k is more than 950."""
    plain, *factors = ([f"{n * n}.5{of},{n}.25" for n in range(1, 9)] for of in ("", "k", " Mio"))
    for some in factors:
        assert column_in(table_of(tmp_path, lines("x,y", *some, *plain)), "x").kind != "number"
    learned = table_of(tmp_path, lines("x,y", *factors[0]))
    known = known_by(learned, "y", "x")
    later = table_of(tmp_path, lines("x,y", "2.5k,1", "950,2"))
    given, notes = known.inputs(later)
    assert given["x"].ravel().tolist() == pytest.approx([2.5, NAN], nan_ok=True)
    assert notes == [
        "x: 1 cell is not a number in k, as in training, and counts as missing, such as '950'"
    ]


def test_a_cell_with_another_unit_than_in_training_says_which_was_expected(tmp_path: Path) -> None:
    learned = table_of(tmp_path, lines("x,y", *(f"{n * n}.5 kg,{n}.25" for n in range(1, 9))))
    known = known_by(learned, "y", "x")
    later = table_of(tmp_path, lines("x,y", "5 lb,1", "7 lb,2", "6,3", "8 kg,4"))
    given, notes = known.inputs(later)
    assert given["x"].ravel().tolist() == pytest.approx([NAN, NAN, 6, 8], nan_ok=True)
    (note,) = notes
    assert note.startswith("x: 2 cells are not numbers in kg") and "missing, such as '5 lb'" in note
    with pytest.raises(TableError, match=r"no number.*'5 lb'.*trained on numbers in kg"):
        known.inputs(table_of(tmp_path, lines("x,y", "5 lb,1", "7 lb,2")))


def test_one_number_with_a_unit_beside_a_word_is_a_category(tmp_path: Path) -> None:
    rows = [f"{'2 rooms' if n % 3 else 'many'},{n * n}" for n in range(30)]
    found = column_in(table_of(tmp_path, lines("x,y", *rows)), "x")
    assert found.kind == "category" and found.categories == ["2 rooms", "many"]


def test_regular_words_do_not_hide_how_numbers_are_written(tmp_path: Path) -> None:
    """Every other cell of 1,600 is a word, and so is each that is looked at first."""
    rows = ["unknown;1" if n % 4 == 0 else f"{n},5;2" for n in range(1600)]
    values = values_of(table_of(tmp_path, lines("x;y", *rows)), "x")
    assert values[1:4] == [1.5, 2.5, 3.5] and np.isnan(values[::4]).all()


def known_by(table: Table, target: str, *names: str) -> TableModel:
    found = target_of(table, target)
    features = [feature_of(column_in(table, name), np.arange(table.rows)) for name in names]
    return TableModel.to_learn(target, found.task, features, found.notation)


def test_later_files_are_read_as_that_of_training(tmp_path: Path) -> None:
    """Also those whose cells do not show how they are written."""
    learned = [f"1.25{n},0{n};{n * n};{n}.000,5" for n in range(1, 9)]
    trained = table_of(tmp_path, lines("x;n;y", *learned))
    known = known_by(trained, "y", "x", "n")
    later = table_of(tmp_path, lines("x;n;y", "1.250;3;2.000", "130;4;3.000"))
    given, _ = known.inputs(later)
    assert given["x"].ravel().tolist() == [1250.0, 130.0]
    rows, y, _ = answers_of(later, "y", [], known.decimal)
    assert rows.tolist() == [0, 1] and y.tolist() == [2000.0, 3000.0]
    other = table_of(tmp_path, lines("x;n;y", "1,250.5;3;2.5", "130;4;3.5"))
    with pytest.raises(TableError, match=r"'x': '1,250.5' in row 1 .* trained on decimal commas"):
        known.inputs(other)
    with pytest.raises(TableError, match=r"'y': '2.5' in row 1 .* trained on decimal commas"):
        answers_of(other, "y", [], known.decimal)
    told = table_of(tmp_path, lines("x;n;y", "1,250.5;3;2.5", "130;4;3.5"), decimal=".")
    assert known.inputs(told)[0]["x"].ravel().tolist() == [1250.5, 130.0]


def test_numbers_of_frames_are_no_texts(tmp_path: Path) -> None:
    """A model of a file with commas predicts for numbers that Python has."""
    from gpunn.apps.tables.reading.table import table_of as from_frame

    trained = table_of(tmp_path, lines("x;y", *(f"{n * n},125;{n}" for n in range(30))))
    known = known_by(trained, "y", "x")
    frame = pd.DataFrame({"x": [1.125, 2.5], "y": [1, 2]})
    assert known.inputs(from_frame(frame, "frame"))[0]["x"].ravel().tolist() == [1.125, 2.5]


def test_an_empty_target_of_many_rows(tmp_path: Path) -> None:
    table = table_of(tmp_path, lines("x,y", *(f"{n}," for n in range(1200))))
    with pytest.raises(TableError, match="the target 'y' is empty in all 1,200 rows"):
        target_of(table, "y")


def test_values_far_outside_those_of_training_are_said(tmp_path: Path) -> None:
    rows = [f"{n * n},2024-01-{n + 1:02},{n * n / 8}" for n in range(20)]
    known = known_by(table_of(tmp_path, lines("x,day,y", *rows)), "y", "x", "day")
    near = table_of(tmp_path, lines("x,day,y", "700,2024-02-01,1", "-300,2024-01-05,2", ",,3"))
    assert known.inputs(near)[1] == []
    far = table_of(tmp_path, lines("x,day,y", "3,2031-02-01,1", "723,,2", "-1e9,2024-01-05,3"))
    assert known.inputs(far)[1] == [
        "x: 2 values are far outside those of training (0 to 361), such as '723' in row 2: the "
        "model knows nothing of such rows",
        "day: 1 value is far outside those of training (2024-01-01 to 2024-01-20), such as "
        "'2031-02-01' in row 1: the model knows nothing of such rows",
    ]


def test_classes_are_in_one_order(tmp_path: Path) -> None:
    """Numbers by value, then the others, also signs that mean nothing elsewhere."""
    classes = ["1", "2", "10", "+", "-", "a", "b", "c"]
    rows = [f"{n},{classes[n * 3 % 8]}" for n in range(40)]
    assert target_of(table_of(tmp_path, lines("x,y", *rows)), "y").classes == classes


def test_plus_and_minus_are_two_classes(tmp_path: Path) -> None:
    table = table_of(tmp_path, lines("x,y", *(f"{n * n},{'+-'[n % 2]}" for n in range(8))))
    assert column_in(table, "y").categories == ["+", "-"]
    assert target_of(table, "y").classes == ["+", "-"]


def test_a_word_for_nothing_is_said_and_others_are_a_warning(tmp_path: Path) -> None:
    rows = [f"{n * n},{n * n}" for n in range(20)]
    table = table_of(tmp_path, lines("x,y", *rows, *["unknown,low", "unknown,high"] * 2))
    known = column_in(table, "x")
    assert known.notes == ["'unknown' in 4 rows counts as missing"]
    assert feature_of(known, np.arange(table.rows)).gaps
    other = column_in(table, "y")
    assert other.kind != "number" and "83% of its cells are: " in other.warning
    assert "'low' in row 21, 'high' in row 22" in other.warning
