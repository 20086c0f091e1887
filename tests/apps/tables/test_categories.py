"""Effects of categories, however many and however written, beside scikit-learn's linear model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from command_line import table_at
from sklearn.compose import make_column_transformer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from gpunn.apps.cli import main
from gpunn.apps.tables.candidates import NetworkModel
from gpunn.apps.tables.learning import TableData, planned
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.search import Budget
from gpunn.sklearn import GpunnAutoRegressor

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")
ROWS, NEW = 1200, 2000
SHORT = {"epochs": 4, "hidden": (8,)}


def effects(levels: tuple[int, ...], seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Codes of categories, a number, and the sum of their effects with noise."""
    random = np.random.default_rng(seed)
    x = {"size": random.normal(size=ROWS + NEW)}
    y = x["size"] + random.normal(0, 0.5, ROWS + NEW)
    for number, count in enumerate(levels):
        x[f"kind {number}"] = random.integers(0, count, ROWS + NEW)
        y += random.normal(0, 1, count)[x[f"kind {number}"]]
    return x, y


@pytest.mark.parametrize(
    ("levels", "written"), [((6, 12, 40), "k{}"), ((90, 90), "k{}"), ((6, 12, 40), "{}")]
)
def test_each_category_has_its_effect_as_in_a_linear_model(
    levels: tuple[int, ...], written: str
) -> None:
    """More of them than a few dozen, and codes that are numbers in a file, too."""
    x, y = effects(levels)
    cells = {
        name: v if name == "size" else np.array([written.format(k) for k in v.tolist()], object)
        for name, v in x.items()
    }
    columns = [column_of(name, [str(cell) for cell in v]) for name, v in cells.items()]
    given = {c.name: (x if c.kind == "number" else cells)[c.name][:, None] for c in columns}
    table = TableData(columns, given, y, 0)
    model = planned(table, np.arange(ROWS), SHORT, budget=Budget(0.0)).learn(table, np.arange(ROWS))
    found = model.predict({name: v[ROWS:] for name, v in given.items()}, verbose=0)[:, 0]
    frame = pd.DataFrame(cells)
    names = [name for name in cells if name != "size"]
    encode = make_column_transformer((OneHotEncoder(), names), remainder="passthrough")
    linear = make_pipeline(encode, RidgeCV(np.logspace(-3, 3, 13))).fit(frame[:ROWS], y[:ROWS])
    best = root_mean_squared_error(y[ROWS:], linear.predict(frame[ROWS:]))
    assert root_mean_squared_error(y[ROWS:], found) < 1.03 * best


CODES = np.random.default_rng(1).integers(0, 7, 80)
TYPES: dict[str, Any] = {
    "categories of numbers": lambda: pd.Series(CODES).astype("category"),
    "strings": lambda: pd.Series(CODES.astype(str)),
    "objects": lambda: pd.Series(CODES.astype(str)).astype(object),
    "polars": lambda: pl.Series(CODES.astype(str)),
    "polars's categories": lambda: pl.Series(CODES.astype(str), dtype=pl.Categorical),
    "Arrow": lambda: pa.array(CODES.astype(str).tolist()).dictionary_encode(),
}


@pytest.mark.parametrize("name", TYPES)
def test_codes_that_a_frame_holds_as_categories_or_strings_are_names(name: str) -> None:
    column = TYPES[name]()
    other = np.random.default_rng(2).normal(size=80)
    if name.startswith("polars"):
        frame: Any = pl.DataFrame({"code": column, "other": other})
    else:
        frame = (
            pa.table({"code": column, "other": other})
            if name == "Arrow"
            else pd.DataFrame({"code": column, "other": other})
        )
    model = GpunnAutoRegressor(fast=True, random_state=0).fit(frame, (CODES == 3) + other)
    kinds = {of["name"]: of["kind"] for of in model.model_.trained_on["table"]["columns"]}
    assert kinds == {"code": "category", "other": "number"}


@pytest.mark.parametrize("cells", [["1.5", "2.25", "3"], ["3", "unknown", "7"], ["€ 5", "€ 7"]])
def test_other_numbers_that_a_frame_holds_as_strings_are_numbers(cells: list[str]) -> None:
    frame = pd.DataFrame({"a": np.resize(cells, 80), "b": np.arange(80.0)})
    model = GpunnAutoRegressor(fast=True, random_state=0).fit(frame, np.arange(80.0))
    kinds = {of["name"]: of["kind"] for of in model.model_.trained_on["table"]["columns"]}
    assert kinds == {"a": "number", "b": "number"}


def test_a_search_is_not_resumed_with_other_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it has kept was learnt with these."""

    def stopped(*args: Any) -> np.ndarray:
        raise KeyboardInterrupt

    random, out = np.random.default_rng(0), str(tmp_path / "out")
    kinds = [f"k{k}" for k in random.integers(0, 6, 60)]
    path = table_at(tmp_path / "t.csv", {"kind": kinds, "y": random.normal(size=60).round(3)})
    command = ["train", path, "--target", "y", "--epochs", "2", "--hidden", "4", "--out", out]
    with monkeypatch.context() as patch:
        patch.setattr(NetworkModel, "path", stopped)
        assert main(command) == 130
    capsys.readouterr()
    assert main([*command, "--resume", "--max-categories", "3"]) == 1
    assert "differs in --max-categories" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
