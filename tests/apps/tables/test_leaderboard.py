"""What a search says of each candidate: score, size and time."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_absolute_error, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpunn.apps.cli.table_words import chosen
from gpunn.apps.kept import KeptResults
from gpunn.apps.tables import search
from gpunn.apps.tables.candidates import Fold, NetworkModel, Problem
from gpunn.apps.tables.choosing import Member
from gpunn.apps.tables.folds import Rules, folds
from gpunn.apps.tables.leaderboard import leaderboard
from gpunn.apps.tables.learning import Plan, TableData, planned
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.search import Budget

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")
SHORT = {"epochs": 2, "hidden": (8,)}
LITTLE = 0.0  # work that a search may take: it tries the first few


def table(classes: int = 0, rows: int = 90, **rules: Any) -> TableData:
    random = np.random.default_rng(0)
    a, b = random.normal(0, [[1], [5]], (2, rows))
    kind = random.choice(["p", "q", "r"], rows)
    kind[-12:] = "x"  # not known in every fold
    y = 3 * a - b + random.normal(0, 2, rows)
    y = np.digitize(y, [-4, 4]) if classes else y
    columns = {"a": a, "b": b, "kind": kind}
    given = {
        name: np.asarray(v, object if v.dtype.kind == "U" else np.float64)[:, None]
        for name, v in columns.items()
    }
    read = [column_of(name, [str(v) for v in values.tolist()]) for name, values in columns.items()]
    return TableData(read, given, y, classes, Rules(**rules))


def numbers(data: TableData, noise: float = 1.0) -> TableData:
    """The table without its categories, with some of its noise."""
    line = 3 * data.given["a"][:, 0] - data.given["b"][:, 0]
    y = data.y if data.classes else line + noise * (data.y - line)
    given = {name: data.given[name] for name in "ab"}
    return TableData(data.columns[:2], given, y, data.classes, data.rules)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks learn the mean only, at once."""

    def path(self: Any, problem: Problem, part: Fold, seed: int, places: Any) -> np.ndarray:
        if problem.classes:
            shares = np.bincount(part.y, minlength=problem.classes) / len(part.y)
            return np.tile(shares, (1, len(part.truth), 1))
        return np.full((1, len(part.truth)), part.y.mean())

    monkeypatch.setattr(NetworkModel, "path", path)


def frame(plan: Plan) -> pd.DataFrame:
    return pd.DataFrame(leaderboard(plan.choice.standings))


def of_linear(plan: Plan) -> Any:
    """The linear model's row, and the predictions of scikit-learn with the same penalty."""
    found = frame(plan)
    row = found[found["model"] == "linear model"].iloc[0]
    return row, float(row["training"].removeprefix("penalty "))


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("noise", [1.0, 0.05])  # with little of it, the smallest penalty is best
def test_the_scores_are_those_of_scikit_learn(noise: float) -> None:
    data = numbers(table(), noise)
    rows = np.arange(len(data.y))
    row, penalty = of_linear(planned(data, rows, SHORT, budget=Budget(LITTLE)))
    x, y = np.hstack([*data.given.values()]), data.y
    checks = []
    for train, check in folds(y, 0, Rules(seed=0)):
        model = make_pipeline(StandardScaler(), Ridge(penalty)).fit(x[train], y[train])
        said = model.predict(x[check])
        checks.append(pd.DataFrame({"row": check, "true": y[check], "said": said}))
    assert row["folds"] == len(checks) == 15
    every = pd.concat(checks)
    assert row["R2"] == pytest.approx(r2_score(every["true"], every["said"]), abs=1e-5)
    assert row["MAE"] == pytest.approx(mean_absolute_error(every["true"], every["said"]), rel=1e-5)
    losses = ((every["true"] - every["said"]) ** 2 / y.var()).groupby(every["row"]).mean()
    assert row["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert row["loss_error"] == pytest.approx(losses.sem(), rel=1e-5)


@pytest.mark.usefixtures("no_training")
def test_the_scores_of_classes_are_those_of_scikit_learn() -> None:
    data = numbers(table(3, by_order=True))
    rows = np.arange(len(data.y))
    row, penalty = of_linear(planned(data, rows, SHORT, budget=Budget(LITTLE)))
    x, y = np.hstack([*data.given.values()]), data.y
    true, said = [], []
    for train, check in folds(y, 3, Rules(by_order=True)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, tol=1e-8))
        true.append(y[check])
        said.append(model.fit(x[train], y[train]).predict_proba(x[check]))
    truth, shares = np.concatenate(true), np.concatenate(said)
    assert row["accuracy"] == pytest.approx((shares.argmax(axis=1) == truth).mean(), abs=0.01)
    # Its logits are divided by the best one of a few temperatures.
    powers = [shares ** (1 / t) for t in (1.0, 1.2, 1.5, 2.0, 3.0)]
    best = min(log_loss(truth, p / p.sum(axis=1, keepdims=True)) for p in powers)
    assert row["loss"] == pytest.approx(best, rel=2e-3)


def test_the_size_is_what_the_model_that_would_be_saved_has_learned() -> None:
    data = table(by_order=True)
    rows = np.arange(len(data.y))
    plan = planned(data, rows, {"epochs": 1}, budget=Budget(5e9))
    found = frame(plan)
    assert found["model"].str.contains("quantiles").any() and len(found) == plan.choice.tried > 3
    for one, size in zip(plan.choice.standings, found["parameters"], strict=True):
        alone = replace(plan.choice, members=[Member(one.candidate, 0, 1.0, 0.0)])
        model = replace(plan, choice=alone).learn(data, rows)
        assert size == sum(weight.numpy().size for weight in model.trainable_weights)


def test_the_answer_and_the_times_are_told() -> None:
    data = table(by_order=True)
    plan = planned(data, np.arange(len(data.y)), {"epochs": 3}, budget=Budget(LITTLE))
    found = frame(plan)
    assert {*found["model"][found["chosen"]]} == {m.candidate.name for m in plan.choice.members}
    assert (found["seconds"] > 0).all()
    many = replace(plan, choice=replace(plan.choice, standings=plan.choice.standings * 3))
    head, *best = chosen(many, 90).splitlines()[1:6]
    assert "parameters" in head
    names = [line.split("  ")[0] for line in best]
    assert names == found["model"].tolist()[:4]
    assert chosen(many, 90).splitlines()[6].startswith("chosen: ")


def test_those_that_saw_all_folds_come_before_those_that_were_not_good_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One network is right on the first folds and wrong on the others, where most do not come."""

    def path(self: Any, problem: Problem, part: Fold, seed: int, places: Any) -> np.ndarray:
        early = part.rows.min() < 60  # of the folds from row 45 on, the first two
        error = (0.0 if early else 9.0) if self.decay == 0 == self.dropout else 1.0
        return part.truth[None] + error

    monkeypatch.setattr(NetworkModel, "path", path)
    data = table(by_order=True)
    found = frame(planned(data, np.arange(len(data.y)), {"epochs": 2}, budget=Budget(LITTLE)))
    assert found["folds"].tolist() == [5, 5, 2, 5, 2]
    assert found["model"].tolist()[3] == "linear model"  # it sees all folds in any case
    changing = found.index[found["model"] == "128-128 relu"][0]
    assert changing == 1 and found["loss"][1] > found["loss"][2] == pytest.approx(found["loss"][0])


def test_one_that_diverges_is_last_and_has_no_figures() -> None:
    data = numbers(table(by_order=True))
    given = {**SHORT, "rate": 1e6, "optimizer": "sgd"}
    found = frame(planned(data, np.arange(len(data.y)), given, budget=Budget(LITTLE)))
    assert found["model"].iloc[0] == "linear model" and np.isfinite(found["loss"].iloc[0])
    assert np.isinf(found["loss"].iloc[-1]) and np.isnan(found["R2"].iloc[-1])


class Clock:
    """Each thread finds that so many seconds have passed since it asked last."""

    def __init__(self, step: float) -> None:
        self.step, self.mine = step, threading.local()

    def perf_counter(self) -> float:
        if not hasattr(self.mine, "ticks"):
            self.mine.ticks = itertools.count()
        return self.step * next(self.mine.ticks)


def test_times_change_neither_the_choice_nor_a_bit_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = table(by_order=True)
    rows = np.arange(len(data.y))
    files, found = [], []
    for step in (1.0, 1e6):
        monkeypatch.setattr(search, "time", Clock(step))
        plan = planned(data, rows, SHORT, seed=3, budget=Budget(LITTLE))
        model = plan.learn(data, rows)
        model.trained_on = {"table": {"plan": plan.choice.document()}}
        model.save(tmp_path / f"{step}.gpunn", include_optimizer=False, announce=False)
        files.append((tmp_path / f"{step}.gpunn").read_bytes())
        found.append(frame(plan))
        assert (found[-1]["seconds"] == step).all()
    assert files[0] == files[1]
    pd.testing.assert_frame_equal(*(one.drop(columns="seconds") for one in found))


@pytest.mark.usefixtures("no_training")
def test_a_resumed_search_keeps_the_times_of_what_it_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = table()

    def found(step: float, resume: bool, stop: bool) -> Plan:
        def progress(fold: int, done: int, of: int) -> None:
            if stop and fold:  # all have seen the first folds
                raise KeyboardInterrupt

        monkeypatch.setattr(search, "time", Clock(step))
        kept = KeptResults(str(tmp_path), {}, resume)
        return planned(
            data, np.arange(90), SHORT, progress=progress, budget=Budget(LITTLE), kept=kept
        )

    interrupted = found(100.0, False, True)
    assert interrupted.choice.interrupted and (frame(interrupted)["seconds"] == 100).all()
    resumed = frame(found(1.0, True, False))
    few = resumed["folds"] == 5
    assert (resumed["seconds"][few] == 100).all()
    assert resumed["seconds"][~few].between(1, 100, inclusive="right").all()  # some are new
