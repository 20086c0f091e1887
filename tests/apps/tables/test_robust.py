"""Cells far from all others, and numbers that stand for a missing one."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score

from gpunn import layers
from gpunn.apps.tables.learning import TableData, planned
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.reading.markers import markers_of
from gpunn.apps.tables.robust import limits_of
from gpunn.apps.tables.search import Budget
from gpunn.apps.tables.table_model import TableModel
from gpunn.models import Model
from gpunn.saving import load_model

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for", "little_search")
runtime = pytest.importorskip("onnxruntime")
RANDOM = np.random.default_rng(0)
SIZE = RANDOM.uniform(25, 140, 300).round(1)
FLOOR = RANDOM.integers(0, 6, 300).astype(float)
RENT = 250 + 9 * SIZE + 40 * FLOOR + RANDOM.normal(0, 30, 300)
SPOILT = np.where(np.arange(300) == 40, 9999.0, SIZE)


def data(size: np.ndarray) -> TableData:
    columns = [column_of(n, [f"{v:g}" for v in x]) for n, x in (("size", size), ("floor", FLOOR))]
    return TableData(columns, {"size": size[:, None], "floor": FLOOR[:, None]}, RENT, 0)


def test_one_absurd_cell_does_not_spoil_the_others() -> None:
    learn, test = np.arange(200), np.arange(200, 300)
    found: dict[bool, list[float]] = {}
    for size in (SIZE, SPOILT):
        table = data(size)
        plan = planned(table, learn, {"hidden": (32,), "epochs": 20}, budget=Budget(0.0))
        given = {name: x[test] for name, x in table.given.items()}
        for linear in (True, False):
            answer = plan.learn(table, learn, linear=linear).predict(given, verbose=0)
            found.setdefault(linear, []).append(r2_score(RENT[test], answer))
    for clean, spoilt in found.values():
        assert spoilt > clean - 0.03


def test_a_column_is_limited_beyond_the_range_of_the_others_and_no_further() -> None:
    assert limits_of(column_of("a", [f"{v:g}" for v in SIZE])) is None
    assert limits_of(column_of("year", [str(1990 + i % 30) for i in range(300)])) is None
    assert limits_of(column_of("tail", [f"{v:g}" for v in RANDOM.lognormal(10, 1.5, 300)])) is None
    limits = limits_of(column_of("size", [f"{v:g}" for v in SPOILT]))
    others = np.delete(SPOILT, 40)
    assert limits is not None and limits.low < others.min() and others.max() < limits.high < 180
    table, every = data(SPOILT), np.arange(300)
    feature, _ = table.features(every)
    assert_allclose(feature.mean, np.clip(SPOILT, *limits).mean())
    assert feature.range is not None and feature.range.high == others.max()


def table_at(path: Path, size: Any) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = zip(size, FLOOR, RENT.round(), strict=True)
        csv.writer(file).writerows([["size", "floor", "rent"], *rows])
    return str(path)


def trained(path: str) -> tuple[str, Path]:
    out = Path(path).with_suffix("")
    given = ["--target", "rent", "--fast", "--epochs", "3", "--hidden", "16", "--out", str(out)]
    status, printed, complained = run("train", path, *given)
    assert (status, complained) == (0, "")
    return printed, out / "model.gpunn"


def in_onnx(model: Model, path: Path, given: dict[str, np.ndarray]) -> np.ndarray:
    model.export(path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = {name: x.astype(np.float32) for name, x in given.items()}
    return np.asarray(session.run(None, fed)[0])


def test_limits_are_part_of_the_saved_model_and_said(tmp_path: Path) -> None:
    printed, path = trained(table_at(tmp_path / "homes.csv", SPOILT))
    far = r"1 cell is far from all others and counts as ([\d.]+): 9,999 in row 41"
    said = re.search(far, printed)
    assert said, printed
    model = load_model(path)
    limit = float(said[1])
    sizes = np.array([60.0, limit, limit + 1, 5000.0, np.nan])
    given = {"size": sizes[:, None], "floor": np.full((5, 1), 2.0)}
    outputs = model.predict(given, verbose=0)
    assert_array_equal(outputs[1], outputs[2])
    assert_array_equal(outputs[1], outputs[3])
    assert outputs[0] != outputs[1]
    assert_allclose(in_onnx(model, tmp_path / "m.onnx", given), outputs, 1e-5)
    _, _, complained = run("predict", path, table_at(tmp_path / "new.csv", SPOILT), "--json")
    assert "far outside" in complained and "row 41" in complained


def test_a_repeated_code_for_a_missing_number_is_missing(tmp_path: Path) -> None:
    marked, gaps = SIZE.astype(object), SIZE.astype(object)
    marked[::20], gaps[::20] = -999, ""
    printed, path = trained(table_at(tmp_path / "marked.csv", marked))
    assert "-999 in 15 rows counts as missing" in printed
    _, other = trained(table_at(tmp_path / "gaps.csv", gaps))
    model, plain = load_model(path), load_model(other)
    known = TableModel.of(model)
    assert known is not None and known.markers == {"size": (-999.0,)}
    sizes = np.array([60.0, -999.0, np.nan])
    given = {"size": sizes[:, None], "floor": np.full((3, 1), 2.0)}
    outputs = model.predict(given, verbose=0)
    assert_array_equal(outputs[1], outputs[2])
    assert_array_equal(outputs, plain.predict(given | {"size": sizes[[0, 2, 2], None]}, verbose=0))
    assert_allclose(in_onnx(model, tmp_path / "m.onnx", given), outputs, 1e-5)
    _, _, complained = run("predict", path, str(tmp_path / "marked.csv"), "--json")
    assert "far outside" not in complained


@pytest.mark.parametrize(
    ("values", "markers"),
    [
        ([*SIZE, *[9999] * 3], (9999.0,)),
        ([*SIZE, *[-999] * 4, *[9999] * 4], (-999.0, 9999.0)),
        ([*SIZE, *[9999] * 2], ()),  # perhaps typing errors: they are limited
        ([*SIZE, *[500] * 30], ()),  # not a code's spelling
        ([*(SIZE + 1000), *[-1] * 5], (-1.0,)),
        ([*FLOOR, *[-1] * 50], ()),
        ([*FLOOR, *[99] * 50], (99.0,)),
        ([*range(100), *[99] * 9], ()),
        ([*(SIZE - 60), *[-1] * 5], ()),
        ([0] * 50 + [999] * 50, ()),
        (RANDOM.lognormal(5, 2, 300).round().tolist() + [999] * 5, ()),
    ],
)  # fmt: skip
def test_only_what_is_spelled_so_and_apart_is_a_code(
    values: list[float], markers: tuple[float, ...]
) -> None:
    found = markers_of(np.array(values, np.float64))
    assert sorted(found) == sorted(markers)


def test_layers_take_codes_for_missing_numbers() -> None:
    x = layers.Input((2,))
    codes = {"missing_values": [-999, 9999]}
    outputs = [
        layers.SimpleImputer(statistics=[1.0, 2.0], **codes)(x), layers.MissingIndicator(**codes)(x)
    ]  # fmt: skip
    model = Model(x, layers.Concatenate()(outputs))
    given = np.array([[-999.0, 5.0], [3.0, 9999.0], [np.nan, -1.0]])
    wanted = [[1, 5, 1, 0], [3, 2, 0, 1], [1, -1, 1, 0]]
    assert_array_equal(model.predict(given, verbose=0), wanted)
    own = layers.SimpleImputer(missing_values=-999)
    own.adapt([[-999.0], [1.0], [3.0]])
    assert own.statistics == [2.0]
    with pytest.raises(ValueError, match="missing_values"):
        layers.SimpleImputer(missing_values="NA")


def test_a_table_without_such_cells_has_no_operation_more() -> None:
    table, every = data(SIZE), np.arange(300)
    far = data(SPOILT)
    assert all(feature.limits is None for feature in table.features(every))
    of_size, of_floor = far.features(every)
    assert of_size.limits is not None and of_floor.limits is None
    assert replace(of_floor) == table.features(every)[1]
