"""The report of a table's run describes the saved model and what was tried, whatever was chosen."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_pages import Page

from gpunn.apps.reports import Record, Recorder, read, report
from gpunn.apps.reports.of_search import begun, saved
from gpunn.apps.tables.candidates import NetworkModel
from gpunn.apps.tables.choosing import Member
from gpunn.apps.tables.folds import Rules
from gpunn.apps.tables.learning import Plan, TableData, planned
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.search import Budget
from gpunn.models import Model

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")
LEARN, TEST = np.arange(80), np.arange(80, 100)


@functools.cache
def searched() -> tuple[TableData, Plan]:
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (2, 100))
    names = ("a", "b")
    columns = [column_of(name, [*map(str, v)]) for name, v in zip(names, x.tolist(), strict=True)]
    given = {name: v[:, None] for name, v in zip(names, x, strict=True)}
    y = 3 * x[0] - x[1] + random.normal(0, 1, 100)
    data = TableData(columns, given, y, 0, Rules(by_order=True))
    return data, planned(data, LEARN, {"epochs": 2}, budget=Budget(0.0))


def run_of(answer: str, path: Path) -> tuple[Plan, Model, Record, Page]:
    """The plan for an answer of this kind, the saved model, the record and its page."""
    data, plan = searched()
    tried = [one.candidate for one in plan.choice.standings]
    line = Member(next(c for c in tried if not c.is_network), 0, 1.0, 0.0)
    network = Member(next(c for c in tried if isinstance(c, NetworkModel)), 0, 1.0, 0.0)
    members = {"linear model": [line], "network": [network], "average": [line, network]}[answer]
    plan = replace(plan, choice=replace(plan.choice, members=members))
    recorder = Recorder(record=path / "run.jsonl", evaluated=False)
    recorder.describe(begin=begun(plan, len(LEARN)))
    judged = plan.learn(data, LEARN, recorder)
    model = plan.learn(data, np.arange(100))
    recorder.describe(judged, **saved(plan, model, 100, len(TEST), 75.0))
    x = [v[TEST] for v in data.given.values()]
    recorder.judge(judged, x, data.y[TEST], judged.predict(x, verbose=0), "the rows held out")
    run = read(path)
    return plan, model, run, Page(report([run]))


@pytest.mark.parametrize("answer", ["linear model", "network", "average"])
def test_the_saved_model_is_described(answer: str, tmp_path: Path) -> None:
    plan, model, run, page = run_of(answer, tmp_path)
    settings = run.begin["settings"]
    assert plan.kind == answer
    assert settings["parameters"] == f"{model.count_params():,}"
    for member, part in zip(
        plan.choice.members, (one for one in model.layers if isinstance(one, Model)), strict=True
    ):
        assert settings[part.name].startswith(member.candidate.name)
        assert settings[part.name].endswith(f" {part.count_params():,} parameters")
        rows = [row for row in page.table("layer", "output shape") if f"{part.name} / " in row[0]]
        assert sum(int(row[2].replace(",", "")) for row in rows) == part.count_params()
    assert ("Curves" in page.headings) == (answer != "linear model")
    assert not page.images and "Weights of the first layer" not in page.headings
    assert "It took 1 min 15 s." in page.text and "trained on all 100 rows" in page.text
    whose = {
        "linear model": "",
        "network": "Of the network as it was trained on the 80 rows that were not held out",
        "average": "Of network 2, one of the 2 members of the average",
    }[answer]
    assert whose in page.text
    assert "from_config" not in page.text  # no code of a part


def test_all_that_was_tried_is_in_the_page(tmp_path: Path) -> None:
    plan, _, run, page = run_of("average", tmp_path)
    assert page.headings.index("Models tried") < page.headings.index("Curves")
    rows = page.table("model", "MAE", "RMSE", "R2", "loss")
    assert len(rows) == plan.choice.tried > 2
    for row, one in zip(rows, plan.choice.standings, strict=True):
        assert row[0].startswith(one.candidate.name)
        assert row[3] == f"{one.figures['R2']:.4g}"
        assert row[-1] == f"{one.parameters:,}"
        assert ("In the answer." in row[0]) == one.chosen
    run.begin["tried"] = run.begin["tried"] * 9
    assert f"{9 * len(rows) - 20} more models" in Page(report([run])).text
