"""The form of a table model: its fields, which of many are shown, and the data it contains."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import missing
from browser.tables import CLASSES, FEATURES, HOSTILE, OTHER_KINDS, table_model

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.decisions import Decision
from gpunn.apps.predictions import interval_columns
from gpunn.apps.tables.intervals import ClassSets
from gpunn.apps.tables.preparing import Feature, Range, feature_of
from gpunn.apps.tables.reading.kinds import Column
from gpunn.apps.tables.table_model import TableModel
from gpunn.apps.web.model_page import described, model_page
from gpunn.layers import Dense


def ends(column: dict[str, Any]) -> tuple[float, ...]:
    return tuple(column[name] for name in ("low", "high", "first", "step"))


def test_fields_go_over_the_ranges_of_training() -> None:
    found = described(table_model(CLASSES))
    height, soil, girth, rings = found["columns"]
    assert [column["name"] for column in found["columns"]] == [f.name for f in FEATURES]
    assert ends(height) == pytest.approx((2.2, 40.5, 20, 0.1))
    assert ends(rings) == (1, 11, 7, 1)  # its percentiles
    assert (height["range"], rings["range"]) == ([2.2, 40.5], [0, 12])
    assert ends(girth) == pytest.approx((0.5, 3.5, 1.5, 0.01))  # an old file: 3 deviations
    assert (height["gaps"], girth["gaps"]) == (True, False)
    assert soil["categories"] == ["clay", HOSTILE, "__proto__"]
    assert (found["kind"], found["answer"], found["classes"]) == ("table", "shares", CLASSES)
    assert described(table_model([]))["answer"] == "number"


def test_a_field_of_numbers_says_their_unit() -> None:
    weight = Feature("weight", 70.0, 70.0, 10.0, range=Range(50, 90), written="kg")
    columns = described(table_model([], [weight, FEATURES[0]]))["columns"]
    assert [column["name"] for column in columns] == ["weight (kg)", FEATURES[0].name]


def test_fields_of_dates_begin_at_the_median() -> None:
    *dates, notes, rings = described(table_model([], OTHER_KINDS))["columns"]
    assert [[column[name] for name in ("form", "first", "low", "high")] for column in dates] == [
        ["date", "2024-01-20", "2023-12-09", "2024-03-18"],
        ["datetime", "2023-12-09T12:00", "2023-12-09T06:00", "2023-12-10T18:00"],
        ["time", "10:30", "06:00", "18:00"],
    ]
    assert notes == {"name": "notes", "kind": "text"}
    assert ends(rings) == (0, 12, 7, 1)


def test_texts_of_a_wide_table_are_shown() -> None:
    numbers = [Feature(f"c{i}", 0.0, 0.0, 1.0, range=Range(-1, 1)) for i in range(40)]
    most = described(table_model([], [*numbers, *OTHER_KINDS], Dense(3)))["most"]
    assert most[0] == 43 and len({*most}) == 24


@pytest.mark.parametrize(
    "range_",
    [
        Range(0, 0),
        Range(5, 5, True),
        Range(-3e38, 3e38),
        Range(0, 1e-30),
        Range(0, 9, True, (0, 0)),
        Range(-3e38, 3e38, percentiles=(-1e-3, 1e38)),
    ],
)
def test_a_slider_has_two_ends_and_a_step(range_: Range) -> None:
    feature = Feature("x", range_.high, range_.high, 1.0, range=range_)
    low, high, first, step = ends(described(table_model([], [feature]))["columns"][0])
    assert low <= first <= high and 0 < step <= high - low < 1e38


def test_of_many_columns_those_are_shown_that_change_the_answer_most() -> None:
    features = [Feature(f"c{i}", 0.0, 0.0, 1.0, range=Range(-1, 1)) for i in range(40)]
    features[9] = Feature("c9", categories=["a", "b"])
    model = table_model([], features, Dense(3))
    kernel = np.zeros((42, 3), np.float32)  # the numeric columns in order, then the categories
    kernel[30, 0], kernel[3, 1], kernel[-1, 2] = 5, -3, 40  # c31, c3, category b of c9
    model.set_weights([kernel, np.zeros(3), np.ones((3, 1)), np.zeros(1)])
    most = described(model)["most"]
    assert most[:3] == [9, 31, 3]
    assert len({*most}) == len(most) < 40
    assert "most" not in described(table_model([], features[:9]))


def test_a_wide_table_has_a_page_of_the_weights_and_300_kilobytes() -> None:
    features = [Feature(f"c{i}", gaps=i % 2 == 0, range=Range(-1, 1)) for i in range(100)]
    model = table_model([*"ab"], features, Dense(64, "relu"))
    assert len(model_page(model).encode()) <= 16 / 3 * model.count_params() + 300_000


def test_the_command_says_what_the_page_holds_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    table_model(CLASSES).save(tmp_path / "m.gpunn", announce=False)
    assert main(["export", str(tmp_path / "m.gpunn"), str(page)]) == 0
    output = capsys.readouterr().out
    assert f"the names of 3 classes ({HOSTILE!r}, 'elm', '</td>')" in output
    assert "the name of the target ('kind & more')" in output
    assert "the names of 4 columns ('height', '</script><b>soil', 'girth/cm', 'rings')" in output
    assert "the median, mean and deviation of 3 columns" in output
    assert "the range of 2 columns ('height' 2.25 to 40.5; 'rings' 0 to 12)" in output
    assert "the 1st and the 99th percentile of 1 column ('rings' 1 and 11)" in output
    assert f"the categories of 1 column ('</script><b>soil' 'clay', {HOSTILE!r}, " in output
    text = page.read_text(encoding="utf-8")
    assert HOSTILE not in text and "</script><b>" not in text


def test_a_file_that_contradicts_itself_is_refused() -> None:
    model = table_model(CLASSES)
    model.trained_on["classes"] = ["a", "b"]
    with pytest.raises(ValueError, match="3 outputs but 2 classes"):
        model_page(model)
    model = table_model(CLASSES)
    model.trained_on["table"]["columns"][0]["range"] = [1.0, float("nan")]
    with pytest.raises(ValueError, match=r"columns/0/range/1.* is nan"):
        model_page(model)


def test_the_page_has_the_interval_of_nine_in_ten() -> None:
    model = table_model([])
    assert "interval" not in described(model)  # an older file
    table = model.trained_on["table"]
    levels = [[0.8, -1.0, 2.0], [0.9, -3.0, 4.0]]
    table["intervals"] = {"rows": 40, "levels": levels, "power": 0.5, "least": 2.0}
    found = described(model)["interval"]
    assert (found["level"], found["ends"], found["power"]) == (0.9, [-3.0, 4.0], 0.5)
    table["intervals"]["levels"] = levels[:1]
    assert "interval" not in described(model)
    table["intervals"]["levels"] = [[0.9, 1.0, float("nan")]]
    with pytest.raises(ValueError, match=r"intervals/levels/0/2' is nan"):
        model_page(model)


def test_outliers_do_not_squeeze_a_slider() -> None:
    """A thousand values from 1 to 10, and one of a million: numpy's percentiles are its ends."""
    values = np.append(np.random.default_rng(0).uniform(1, 10, 1000).round(3), 1e6)
    column = Column("x", "number", values=values)
    feature = feature_of(column, np.arange(len(values)))
    first, last = np.percentile(values, [1, 99])
    assert feature.range is not None and feature.range.percentiles is not None
    assert feature.range.percentiles == pytest.approx((first, last), abs=0.05)
    [shown] = described(table_model([], [feature]))["columns"]
    assert (shown["low"], shown["high"]) == pytest.approx((first, last), abs=0.1)
    assert shown["range"][1] == 1e6
    document = TableModel.to_learn("y", "regression", [feature]).document()
    del document["columns"][0]["percentiles"]  # as in a file of an earlier version
    model = table_model([], [feature])
    model.trained_on = {**model.trained_on, "table": document}
    assert described(model)["columns"][0]["high"] == 1e6


def test_exporting_leaves_the_model_as_it_is() -> None:
    model = table_model(CLASSES)
    before = model.get_weights()
    model_page(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, new)
    assert isinstance(model, gpunn.Model)


NAMES = ["km/h", "yes / no", '"so"', "other", 'a "b"']
# Node reads descriptions and probabilities, and prints the sentence of each page.
SCRIPT = """
import { readFileSync } from "node:fs";
import { range } from "./js/model/answers.js";
const jobs = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(jobs.map(({ description, rows }) =>
  rows.map((row) => range(description.interval, description, row)))));
"""


def test_a_page_names_the_classes_of_a_set_as_predict_does(tmp_path: Path) -> None:
    """Also where costs name a class that is not the most probable one."""
    node = shutil.which("node")
    if node is None:
        missing("node runs the modules of pages here: apt install nodejs")
    shutil.copytree(Path(gpunn.__file__).parent / "apps" / "web" / "js", tmp_path / "js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "run.js").write_text(SCRIPT)
    random = np.random.default_rng(0)
    jobs, expected = [], []
    for classes, decision in ((NAMES, Decision()), (NAMES[:2], Decision(1, 0.15))):
        model = table_model(classes)
        rows = random.dirichlet([0.6] * len(classes), 300).astype(np.float32)
        known = ClassSets.learned(rows, random.integers(0, len(classes), 300) * 0 + 1)
        table = {**model.trained_on["table"], "intervals": known.document()}
        entry = decision.document(classes)
        model.trained_on = {**model.trained_on, "table": table, **entry}
        made = interval_columns(model, rows, "tree", model.trained_on, "90")
        expected.append([f"In 90% of cases it is {cell}" for cell in made["one of (90%)"]])
        jobs.append({"description": described(model), "rows": rows.tolist()})
    command = [str(node), "run.js"]
    done = subprocess.run(
        command, cwd=tmp_path, input=json.dumps(jobs), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    assert any('"yes / no" / ' in text for text in expected[0]) and len({*expected[1]}) > 1
