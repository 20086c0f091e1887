"""Tables that are read in pieces."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gpunn.apps.tables import TableError, read_table
from gpunn.apps.tables.reading import csv_pieces
from gpunn.apps.tables.reading.strings import PIECE, Strings


def test_strings_are_those_of_a_list_whatever_their_number() -> None:
    random = np.random.default_rng(0)
    kinds = np.array(["", "a", "größe", "漢字", "\U0001f600", "x" * 50])
    for count in (0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 7):
        expected = kinds[random.integers(0, len(kinds), count)].tolist()
        found = Strings(expected[: count // 3])
        found.extend(iter(expected[count // 3 :]))
        assert len(found) == count and [*found] == expected and found == expected
        assert found[:10] == expected[:10] and found[5::1000] == expected[5::1000]
        for at in (0, count // 2, count - 1, -1) if count else ():
            assert found[at] == expected[at]
        with pytest.raises(IndexError):
            found[count]
    assert Strings(["a\0b"])[0] == "ab" and Strings(["a"]) != ["b"] and Strings(["a"]) != ["a", "a"]


def test_strings_that_recur_are_those_of_a_list() -> None:
    random = np.random.default_rng(0)
    cells = [f"w{i}" for i in random.integers(0, 50, PIECE + 9)]
    cells += [f"{i}" for i in range(PIECE)]  # that do not recur
    cells += [f"w{i}" for i in random.integers(20, 70, PIECE)] + ["", "x"]
    found = Strings(cells)
    assert [*found] == cells and [*found.pieces][1] == cells[PIECE : 2 * PIECE]
    assert [*found.counts().items()] == [*Counter(cells).items()]
    lengths = found.each(lambda some: np.array([len(cell) for cell in some]))
    assert lengths.tolist() == [len(cell) for cell in cells]
    expected = [None if cell == "w3" else cell for cell in cells]
    assert found.replaced({"w3": None}).tolist() == expected


@pytest.mark.parametrize("kind", ["plain", "quoted", "blanks", "words", "carriage returns"])
@pytest.mark.parametrize("size", [30, 300, 1 << 22])
def test_the_cells_are_those_of_the_csv_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int
) -> None:
    """Some pieces of a file need more than its separators to be told apart."""
    monkeypatch.setattr(csv_pieces, "CHARACTERS", size)
    random = np.random.default_rng(size)
    some = {
        "plain": ["", "1.5", "a", "-3"], "quoted": ["1", '"a,\nb"', '"c ""d"" "', "e"],
        "blanks": [" 1", "a b", "c ", ""], "words": ["größe", "漢字", "x\u00a0", "y"],
        "carriage returns": ["1", "a", "", "b"],
    }[kind]  # fmt: skip
    end = "\r\n" if kind == "carriage returns" else "\n"
    lines = ["one,two,three", *(f"{i},{','.join(random.choice(some, 2))}" for i in range(200))]
    for blank in (40, 90):
        lines.insert(blank, "")
    text = end.join(lines) + end * (size > 30)
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    expected = [[cell.strip() for cell in column] for column in zip(*rows[1:], strict=True)]
    table = read_table(path, header=True)
    assert [[*column] for column in table.columns] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_file_of_several_pieces_is_read_whole(tmp_path: Path, encoding: str) -> None:
    rows = PIECE + 11
    lines = ["name;value", *(f"é{i % 7};{i},5" for i in range(rows))]
    path = tmp_path / "large.csv"
    path.write_bytes(("x" * 3 + "\n").join([""]).encode() + "\n".join(lines).encode(encoding))
    table = read_table(path)
    assert table.rows == rows and table.columns_with(",") == ["value"]
    assert table.column("name")[rows - 1] == f"é{(rows - 1) % 7}"
    assert table.column("value")[PIECE : PIECE + 3] == [f"{PIECE + i},5" for i in range(3)]
    with open(path, "ab") as file:
        file.write("\nlast".encode("utf-16-le" if encoding == "utf-16" else encoding))
    with pytest.raises(TableError, match=f"the row in line {rows + 2:,} has 1 cells"):
        read_table(path)


def test_bytes_that_are_no_utf_8_are_found_at_their_place(tmp_path: Path) -> None:
    """Characters of several bytes are cut by the blocks in which a file is read."""
    path = tmp_path / "mixed.csv"
    start = "a,b\n" + "é,1\n" * 400_000
    path.write_bytes(start.encode())
    assert read_table(path).notes == []
    path.write_bytes(start.encode() + b"\xe9,1\n")
    assert f"not valid UTF-8 at byte {len(start.encode()):,}" in read_table(path).notes[0]


@pytest.mark.parametrize("size", [30, 1 << 22])
def test_an_open_quotation_is_found_in_any_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """It would make one cell of all rows behind it."""
    monkeypatch.setattr(csv_pieces, "CHARACTERS", size)
    lines = ["a,b", *(f"{i},x" for i in range(60)), '60,"y', *(f"{i},z" for i in range(60))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(TableError, match="begins in line 62 has no second one"):
        read_table(path)
    path.write_text("\n".join([*lines, '"']))
    assert read_table(path).rows == 61
