"""Tables that `gpunn predict` writes, as read back by itself, by pandas and by csv."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser.tables import table_model

from gpunn.apps.cli import main
from gpunn.apps.tables import read_table
from gpunn.apps.tables.intervals import ClassSets, Intervals
from gpunn.apps.tables.preparing import Feature, Range
from gpunn.apps.tables.reading.writing import Writer

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")
FEATURES = [
    Feature("größe", 80.0, 80.0, 30.0, gaps=True, range=Range(10, 2000)),
    Feature("lage", categories=["Süd", "Nord"]),
]
CLASSES = ["günstig", "teuer / edel"]


def german(cell: str) -> str:
    return cell.replace(",", " ").replace(".", ",").replace(" ", ".")


def rows(decimals: bool) -> list[list[str]]:
    random = np.random.default_rng(0)
    sizes = random.uniform(25, 1900, 60).round(1 if decimals else 0)
    shown = [f"{size:,.1f}" if decimals else f"{size:.0f}" for size in sizes]
    area = random.choice(["Süd", "Nord"], 60)
    found = [[shown[i], area[i]] for i in range(60)]
    found[3][0], found[5][1] = "", "Süd\r\n(nah; fern, neu)\t\"A|B\""
    return found


@pytest.fixture(params=["number", "classes"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A model with its initial weights, with intervals or with sets of classes."""
    random = np.random.default_rng(1)
    classes = CLASSES if request.param == "classes" else []
    found = table_model(classes, FEATURES)
    y = random.normal(0, 1, 200)
    shares = random.dirichlet([1, 1], 200)
    known = ClassSets.learned(shares, y.astype(bool) * 1) if classes else Intervals.learned(y, y**3)
    table = {**found.trained_on["table"], "target": "preis", "intervals": known.document()}
    found.trained_on = {**found.trained_on, "table": table}
    found.save(tmp_path / "m.gpunn", announce=False)
    return str(tmp_path / "m.gpunn")


STYLES = {
    "commas": (",", ".", "utf-8", ""),
    "German": (";", ",", "cp1252", ""),
    "German, of integers": (";", ",", "cp1252", ""),
    "Excel's Unicode text": ("\t", ",", "utf-16", ""),
    "marked": (";", ",", "utf-8-sig", ""),
    "bars": ("|", ".", "utf-8", ""),
    "of integers": (",", ".", "utf-8", ""),
    "quoted decimal commas": (",", ",", "utf-8", ""),
    "Excel's first line": ("!", ",", "cp1252", "sep=!\n"),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_predictions_are_written_as_the_table_is(
    style: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    separator, decimal, encoding, first = STYLES[style]
    given = rows("integers" not in style)
    if decimal == ",":
        given = [[german(size), area] for size, area in given]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([["größe", "lage"], *given])
    path, out = tmp_path / "table.csv", tmp_path / "out.csv"
    path.write_bytes((first + text.getvalue()).encode(encoding))

    def predicted(file: Path) -> list[dict[str, Any]]:
        assert main(["predict", model, str(file), "--json"]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    expected = predicted(path)
    assert main(["predict", model, str(path), "--out", str(out), "--why"]) == 0
    capsys.readouterr()
    if "utf-8" in encoding:
        assert out.read_bytes().startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    written = out.read_bytes().decode(encoding)
    assert written.startswith(first)
    body = io.StringIO(written.removeprefix(first), newline="")
    head, *cells = csv.reader(body, delimiter=separator)
    assert head[:2] == ["größe", "lage"] and [row[:2] for row in cells] == given
    found = pd.read_csv(
        io.StringIO(written.removeprefix(first), newline=""), sep=separator, decimal=decimal,
        thousands="," if decimal == "." else ".",
    )  # fmt: skip
    for name in expected[0]:
        values = [row[name] for row in expected]
        if isinstance(values[0], float):
            np.testing.assert_allclose(found[name].to_numpy(np.float64), values, 1e-6)
        else:
            assert found[name].tolist() == values
    again = read_table(out)
    assert again.separator == separator and again.names == [*head]
    numeric = [name for name in expected[0] if isinstance(expected[0][name], float)]
    assert {*numeric} <= {*again.columns_with(decimal)}
    assert predicted(out) == expected
    sign = "[+-]\\d+,\\d" if decimal == "," else "[+-]\\d+\\.\\d"
    assert found["why"].str.contains(sign).any()
    other = "[+-]\\d+\\.\\d" if decimal == "," else "[+-]\\d+,\\d"
    assert not found["why"].str.contains(other).any()


def test_a_table_of_blanks_is_written_with_tabs(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "table.txt", tmp_path / "out.txt"
    lines = ["größe jahr lage", *(f"{size:.0f},5   19 Süd" for size in np.linspace(30, 900, 40))]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_table(path).separator == " "
    assert main(["predict", model, str(path), "--out", str(out)]) == 0
    found = pd.read_csv(out, sep="\t", decimal=",")
    assert len(found) == 40 and found["größe"].iloc[0] == 30.5
    assert read_table(out).separator == "\t"


def test_what_the_file_cannot_encode_is_written_in_another_encoding(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "table.csv", tmp_path / "out.csv"
    path.write_bytes("größe;lage;x\n1,5;Süd;ä\n2,5;Nord;ö\n".encode("cp1252"))
    table = read_table(path)
    Writer(table, "").write_file(str(out), {"art": ["ahorn", "樹"]})
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")  # which tells spreadsheets the encoding
    assert read_table(out).column("art")[:] == ["ahorn", "樹"]
    Writer(table, "").write_file(str(out), {"art": ["ahorn", "föhre"]})
    assert "föhre" in out.read_bytes().decode("cp1252")


@pytest.mark.parametrize(
    ("text", "trained", "expected"),
    [
        ("a,b\n1,2\n3,4\n", "", "0.5"),
        ("a,b\n1,2\n3,4\n", ",", "0,5"),  # as the model's table was
        ("a;b\n1;2\n3;4\n", "", "0,5"),
        ("a;b\n1;2\n3;4\n", ".", "0.5"),
        ("a;b\n1.5;2\n3.5;4\n", ",", "0.5"),  # the cells decide
        ('a,b\n"1,5",2\n"3,5",4\n', ".", "0,5"),
        ("a;b;c\n1.5;2,5;3,5\n3.5;4,5;5,5\n", "", "0,5"),  # as most columns
        ("a;b\n1.5;2,5\n3.5;4,5\n", ".", "0.5"),
    ],
)
def test_numbers_have_the_sign_of_the_table(
    text: str, trained: str, expected: str, tmp_path: Path
) -> None:
    path, out = tmp_path / "table.csv", tmp_path / "out.csv"
    path.write_text(text)
    Writer(read_table(path), trained).write_file(str(out), {"p": [0.5, 1.234]})
    table = read_table(out)
    assert table.column("p")[0] == expected
    # A number of three decimals alone would be one with either sign.
    assert table.notation_of("p").decimal == expected[1]
    with open(out, newline="") as file:
        cells = [row[-1] for row in csv.reader(file, delimiter=table.separator)]
    assert float(cells[2].replace(",", ".")) == 1.234




def test_files_of_other_kinds_are_not_written(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("größe,lage\n10,Süd\n", encoding="utf-8")
    assert main(["predict", model, str(path), "--out", str(tmp_path / "out.xlsx")]) == 1
    assert "gpunn writes CSV. Choose a name that ends in .csv." in capsys.readouterr().err
    assert not (tmp_path / "out.xlsx").exists()


def test_a_number_beyond_float32_is_missing_as_one_beyond_float64_is(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for cells in (["", "30"], ["1e400", "30"], ["-1e39", "30"]):
        path = tmp_path / "table.csv"
        path.write_text("größe,lage\n" + "".join(f"{c},Süd\n" for c in cells), encoding="utf-8")
        assert main(["predict", model, str(path), "--json"]) == 0
        printed = capsys.readouterr()
        found.append(json.loads(printed.out))
    assert found[0] == found[1] == found[2]
    assert "größe: 1 number is beyond float32 and missing here, such as '-1e39'" in printed.err
