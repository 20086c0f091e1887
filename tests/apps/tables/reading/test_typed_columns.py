"""What the types of a Parquet file say of its columns, as pandas and polars read and write them."""

from __future__ import annotations

import csv
import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.tables import read_table
from gpunn.apps.tables.reading.columns import columns_of
from gpunn.apps.tables.reading.target import target_of

ROWS = 60
random = np.random.default_rng(0)
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(int(k)) for k in random.integers(0, 300, 60)]
HOURS = [
    datetime.datetime(2024, 1, 1, 4) + datetime.timedelta(hours=int(k), microseconds=7)
    for k in random.integers(0, 9000, ROWS)
]
CODES = random.integers(0, 9, ROWS)
COLUMNS: dict[str, tuple[Any, str]] = {
    "postal code": (pa.array([f"{k:05}" for k in CODES]), "category"),
    "digits": (pa.array([str(k) for k in CODES], pa.large_string()), "category"),
    "codes and gaps": (pa.array([None if k == 3 else str(k) for k in CODES]), "category"),
    "dictionary": (pa.array([f"{k:03}" for k in CODES]).dictionary_encode(), "category"),
    "bytes": (pa.array([b"%03d" % k for k in CODES]), "category"),
    "booleans": (pa.array((CODES > 4).tolist()), "category"),
    "booleans and gaps": (pa.array([None if k == 3 else bool(k > 4) for k in CODES]), "category"),
    "serial": (pa.array([f"{k:07}" for k in random.permutation(10**6)[:ROWS]]), "left out"),
    "integers": (pa.array(CODES), "number"),
    "small": (pa.array(CODES.astype(np.uint8)), "number"),
    "integers and gaps": (pa.array([None if k == 3 else int(k) for k in CODES]), "number"),
    "floats": (pa.array(random.normal(0, 1, ROWS).astype(np.float32)), "number"),
    "infinite": (
        pa.array([[np.inf, -np.inf, 1.5, 2.0, 7.0, 8.5, np.nan][k % 7] for k in CODES]), "number"
    ),
    "decimals": (
        pa.array([decimal.Decimal(int(k)).scaleb(-2) for k in random.integers(0, 9**5, ROWS)]),
        "number",
    ),
    "lengths": (pa.array([f"{k} km" for k in random.integers(1, 900, ROWS)]), "number"),
    "days": (pa.array(DAYS), "date"),
    "hours": (pa.array(HOURS), "date"),
    "nanoseconds": (pa.array(HOURS, pa.timestamp("ns")), "date"),
    "of a zone": (pa.array(HOURS, pa.timestamp("us", tz="Europe/Berlin")), "date"),
    "hours and gaps": (pa.array([None, *HOURS[1:]]), "date"),
    "times": (pa.array([one.time() for one in HOURS]), "date"),
    "days as strings": (pa.array([str(day) for day in DAYS]), "date"),
    "nulls": (pa.nulls(ROWS), "left out"),
}  # fmt: skip


@pytest.mark.parametrize("writer", ["Arrow", "pandas", "polars"])
def test_columns_are_what_their_types_say(writer: str, tmp_path: Path) -> None:
    path = str(tmp_path / "t.parquet")
    table = pa.table({name: column for name, (column, _) in COLUMNS.items()})
    if writer == "Arrow":
        parquet.write_table(table, path)
    elif writer == "pandas":
        table.to_pandas().to_parquet(path)
    else:
        pl.from_arrow(table).write_parquet(path)  # type: ignore[union-attr]
    read = read_table(path)
    found = {column.name: column for column in columns_of(read, None)}
    assert {name: column.kind for name, column in found.items()} == {
        name: kind for name, (_, kind) in COLUMNS.items()
    }
    assert sorted(found["postal code"].categories) == [f"{k:05}" for k in np.unique(CODES)]
    assert found["digits"].notes == ["stored as strings"]
    assert "numbers stored as strings that are nearly all different" in found["serial"].why
    frame = pd.read_parquet(path)
    for name in ("integers and gaps", "floats", "decimals"):
        np.testing.assert_array_equal(found[name].values, frame[name].astype(float))
    finite = frame["infinite"].replace([np.inf, -np.inf], np.nan)
    np.testing.assert_array_equal(found["infinite"].values, finite)
    days = (pd.to_datetime(frame["hours"]) - pd.Timestamp(0)) / pd.Timedelta(days=1)
    np.testing.assert_allclose(found["hours"].values, days, atol=1 / 1440)


def test_polars_reads_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "t.parquet")
    parquet.write_table(pa.table({name: column for name, (column, _) in COLUMNS.items()}), path)
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    read = read_table(path)
    assert read.notes == ["read by polars"]
    found = {column.name: column.kind for column in columns_of(read, None)}
    assert found == {name: kind for name, (_, kind) in COLUMNS.items()}


@pytest.mark.parametrize(
    ("target", "task"),
    [
        ([str(k) for k in range(30)] * 4, "classification"),
        ([f"{k / 4}" for k in range(30)] * 4, "classification"),
        (pd.Categorical([*range(30)] * 4), "classification"),
        ([*range(30)] * 4, "regression"),
        ([k / 4 for k in range(30)] * 4, "regression"),
        ([k % 3 for k in range(120)], "classification"),
        ([True, False] * 60, "classification"),
        ([f"{k} €" for k in range(30)] * 4, "regression"),
    ],
)
def test_the_task_follows_from_the_type_of_the_target(
    target: Any, task: str, tmp_path: Path
) -> None:
    """As from a data frame: what is stored as strings or categories are names."""
    path = tmp_path / "t.parquet"
    # A category of numbers is a type of pandas, which Parquet does not keep.
    frame = pd.DataFrame({"y": target, "x": np.arange(120.0)})
    if isinstance(target, pd.Categorical):
        frame["y"] = frame["y"].cat.rename_categories(str)
    frame.to_parquet(path)
    read = read_table(path)
    assert target_of(read, "y").task == task
    numeric = [*range(30)] * 4
    pd.DataFrame({"y": [str(k) for k in numeric], "x": np.arange(120.0)}).to_parquet(path)
    found = target_of(read_table(path), "y", "regression")
    assert found.y.tolist() == numeric


@pytest.mark.usefixtures("numpy_is_asked_for")
def test_codes_are_learned_as_names_and_predicted_from_any_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A column of codes, whose values have no order, decides alone."""
    codes = np.array([f"{k:03}" for k in random.permutation(8)])[random.integers(0, 8, 240)]
    y = np.where(np.isin(codes, ["001", "004", "006"]), 5.0, -5.0) + random.normal(0, 0.1, 240)
    frame = pd.DataFrame({"code": codes, "more": random.normal(0, 1, 240), "y": y})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    short = ["--target", "y", "--fast", "--epochs", "30", "--out", str(tmp_path)]
    assert main(["train", str(tmp_path / "t.parquet"), *short]) == 0
    assert "stored as strings" in capsys.readouterr().out
    assert main(["check-data", str(tmp_path / "t.parquet"), "--target", "y"]) == 0
    model = gpunn.saving.load_model(tmp_path / "model.gpunn")
    kinds = {c["name"]: c["kind"] for c in model.trained_on["table"]["columns"]}
    assert kinds == {"code": "category", "more": "number"}
    found = []
    for kind in ("parquet", "csv"):
        out = str(tmp_path / f"out-{kind}.csv")
        options = [str(tmp_path / "model.gpunn"), str(tmp_path / f"t.{kind}"), "--out", out]
        assert main(["predict", *options]) == 0
        with open(out, encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(file)]
        assert [row["code"] for row in rows] == codes.tolist()
        found.append([float(row["predicted y"]) for row in rows])
    assert found[0] == found[1]
    assert np.corrcoef(found[0], y)[0, 1] > 0.95


def test_sheets_have_types_of_cells_alone(tmp_path: Path) -> None:
    """Numbers that a sheet holds as texts are numbers, as before."""
    path = tmp_path / "t.xlsx"
    pd.DataFrame({"a": [f"{k * k}.5" for k in range(20)], "b": range(20, 40)}).to_excel(
        path, index=False
    )
    kinds = {column.name: column.kind for column in columns_of(read_table(path), None)}
    assert kinds["a"] == "number"
