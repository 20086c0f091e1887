"""The search for the best model of a table, and the model that it gives."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score

import gpunn
from gpunn.apps.kept import KeptResults
from gpunn.apps.tables import candidates as made
from gpunn.apps.tables import learning
from gpunn.apps.tables.folds import Rules
from gpunn.apps.tables.learning import Plan, TableData, planned
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.apps.tables.search import Budget

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")
SHORT = {"epochs": 12, "hidden": (16,)}
LONGER = {"epochs": 20, "hidden": (32,)}  # networks then predict better than the line
LITTLE = 0.0  # work that a search may take: it tries the first few
ONCE = {"by_order": True}  # rules by which there are five folds, instead of three times five


def data(x: dict[str, Any], y: np.ndarray, classes: int = 0, **rules: Any) -> TableData:
    """Return a table of numbers and strings."""
    columns = [column_of(name, [str(v) for v in np.asarray(v).tolist()]) for name, v in x.items()]
    given = {
        name: np.asarray(v, object if np.asarray(v).dtype.kind == "U" else np.float64)[:, None]
        for name, v in x.items()
    }
    return TableData(columns, given, y, classes, Rules(**rules))


def waves(rows: int = 240, seed: int = 0, **rules: Any) -> TableData:
    random = np.random.default_rng(seed)
    a, b = random.uniform(-2, 2, rows), random.uniform(-2, 2, rows)
    kind = random.choice(["p", "q", "r"], rows)
    y = 20 + 5 * np.abs(a) * b + 3 * (kind == "q") + random.normal(0, 0.3, rows)
    return data({"a": a, "b": b, "kind": kind}, y, **rules)


def line(rows: int = 120, **rules: Any) -> TableData:
    random = np.random.default_rng(1)
    a, b = random.normal(0, 1, (2, rows))
    return data({"a": a, "b": b}, 3 * a - 2 * b + random.normal(0, 1, rows), **rules)


def predicted(plan: Plan, table: TableData, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    model = plan.learn(table, rows)
    return model.predict({name: x[at] for name, x in table.given.items()}, verbose=0)


def names(plan: Plan) -> list[str]:
    return [member.candidate.name for member in plan.choice.members]


def test_a_network_is_chosen_for_what_no_line_follows_and_the_line_otherwise() -> None:
    table = waves(**ONCE)
    rows, at = np.arange(200), np.arange(200, 240)
    plan = planned(table, rows, {"epochs": 40, "hidden": (64,)}, budget=Budget(1e10))
    assert plan.kind in ("network", "average")
    assert r2_score(table.y[at], predicted(plan, table, rows, at)) > 0.93
    linear = plan.learn(table, rows, linear=True)
    other = linear.predict({name: x[at] for name, x in table.given.items()}, verbose=0)
    assert r2_score(table.y[at], other) < 0.85
    plan = planned(line(**ONCE), np.arange(120), SHORT, budget=Budget(LITTLE))
    assert "linear model" in names(plan)


@functools.cache
def three_finalists(classes: int) -> tuple[TableData, np.ndarray, Plan]:
    """A table, the rows that a search looked at, and its plan."""
    table = waves(**ONCE)
    if classes:
        table = replace(table, y=np.digitize(table.y, [18, 23]), classes=3)
    else:
        table = replace(table, y=np.exp(table.y / 10))  # logarithms are among the members
    rows = np.arange(150)
    plan = planned(table, rows, LONGER, budget=Budget(1.5e10))
    assert len(plan.choice.finalists) >= 3
    return table, rows, plan


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("classes", [0, 3])
def test_an_average_is_one_model_that_gives_the_mean_of_its_members(classes: int) -> None:
    table, rows, plan = three_finalists(classes)
    finalists = plan.choice.finalists[:3]
    whole = replace(plan, choice=replace(plan.choice, members=finalists))
    found = predicted(whole, table, rows, np.arange(150, 240))
    alone = []
    for number, member in enumerate(finalists):
        one = replace(plan, choice=replace(plan.choice, members=[member]), seed=plan.seed + number)
        alone.append(predicted(one, table, rows, np.arange(150, 240)))
    assert_allclose(found, np.mean(alone, axis=0), 1e-4, 1e-4)
    assert whole.kind == "average"


@pytest.mark.in_turn(2)
def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    table, rows = waves(**ONCE), np.arange(200)
    plans = [planned(table, rows, LONGER, seed, budget=Budget(LITTLE)) for seed in (3, 3, 4)]
    found = [predicted(plan, table, rows, np.arange(200, 240)) for plan in plans]
    assert names(plans[0]) == names(plans[1])
    assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_a_larger_budget_tries_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is learned: here the mean."""
    table, rows = waves(), np.arange(200)

    def path(self: Any, problem: Any, part: Any, seed: int, places: Any) -> np.ndarray:
        return np.full((1, len(part.truth)), part.y.mean())

    monkeypatch.setattr(made.NetworkModel, "path", path)
    tried = [
        planned(table, rows, SHORT, budget=Budget(work)).choice.tried for work in (0.0, 2e10, 5e10)
    ]
    assert tried[0] < tried[1] < tried[2]
    with pytest.raises(ValueError, match="--minutes must be positive; got -1"):
        Budget.for_minutes(-1.0)


def test_folds_after_the_first_two_learn_the_best_length_and_those_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is learned: here the truth, with an error that is least after half of the epochs."""
    parts, learned = dict[int, Any](), dict[tuple[str, int], list[int]]()
    path = made.NetworkModel.path

    def watched(self: Any, problem: Any, part: Any, *args: Any) -> np.ndarray:
        parts[id(part.train)] = part
        return path(self, problem, part, *args)

    def learn(self: Any, at: int) -> Any:
        part = parts[id(self.rows)]
        learned.setdefault((self.network.name, int(part.rows[0])), []).append(at)
        return SimpleNamespace(predict=lambda rows: part.truth + 1 + abs(at - 3))

    monkeypatch.setattr(made.NetworkModel, "path", watched)
    monkeypatch.setattr(made.Training, "learn", learn)
    table, rows = waves(by_order=True), np.arange(200)
    choice = planned(table, rows, {}, budget=Budget(LITTLE)).choice
    folds = sorted({fold for _, fold in learned})
    for name in {name for name, _ in learned}:
        found = [learned[name, fold] for fold in folds if (name, fold) in learned]
        assert found[:2] == [[0, 1, 2, 3, 4]] * 2 and found[2:] in ([], [[2, 3, 4]] * 3)
    assert [2, 3, 4] in learned.values()
    networks = [m for m in choice.finalists if isinstance(m.candidate, made.NetworkModel)]
    assert {m.place for m in networks} == {3}


def test_an_interrupt_keeps_the_best_that_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = waves(), np.arange(200)

    def stop_after(wanted: int) -> Any:
        def progress(fold: int, done: int, of: int) -> None:
            if fold == 0 and done == wanted:
                raise KeyboardInterrupt

        return progress

    plan = planned(table, rows, SHORT, progress=stop_after(3), budget=Budget(2e10))
    assert plan.choice.tried == 3
    assert len(predicted(plan, table, rows, np.arange(200, 240))) == 40

    def at_once(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(made.LinearModel, "path", at_once)
    with pytest.raises(KeyboardInterrupt):
        planned(table, rows, SHORT, budget=Budget(2e10))


def test_an_interrupt_ends_the_networks_in_training() -> None:
    def progress(fold: int, done: int, of: int) -> None:
        raise KeyboardInterrupt

    given = {**SHORT, "epochs": 10**7}
    plan = planned(waves(), np.arange(200), given, progress=progress, budget=Budget(1e30))
    assert plan.choice.interrupted and plan.kind == "linear model"


def test_a_diverging_network_is_no_answer() -> None:
    given = {**SHORT, "rate": 1e6}
    plan = planned(line(**ONCE), np.arange(120), given, budget=Budget(LITTLE))
    assert plan.kind == "linear model" and plan.choice.diverged


def test_a_large_table_is_learned_in_few_passes_by_one_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its search looks at a sample of rows, in as few passes."""
    monkeypatch.setattr(learning, "LARGE", 1600)
    monkeypatch.setattr(learning, "SAMPLE_OF_LARGE", 1500)
    table = waves(2500)
    rows = np.arange(2000)
    plan = planned(table, rows, {"hidden": (32,)})
    (member,) = plan.choice.members
    assert member.candidate.is_network and member.candidate.document()["epochs"] == 2
    assert len(plan.choice.rows) == 1500
    assert r2_score(table.y[2000:], predicted(plan, table, rows, np.arange(2000, 2500))) > 0.5
    given = planned(table, rows, {"hidden": (32,), "epochs": 3}, fast=True)
    assert {m.candidate.document().get("epochs", 3) for m in given.choice.finalists} == {3}


def test_outliers_do_not_spoil_the_other_rows() -> None:
    table, rows, at = waves(400, **ONCE), np.arange(300), np.arange(300, 400)
    spoilt = replace(table, y=table.y.copy())
    spoilt.y[[7, 70, 270]] = [1e6, -3e7, 1e5]
    plan = planned(spoilt, rows, {"epochs": 40, "hidden": (64,)}, budget=Budget(1e10))
    assert plan.outliers is not None and plan.outliers.count == 3
    assert r2_score(table.y[at], predicted(plan, spoilt, rows, at)) > 0.85


def test_one_network_is_the_answer_of_a_fast_run_also_for_a_skewed_target() -> None:
    table = waves()
    for y in (table.y, np.exp(table.y / 5)):
        plan = planned(replace(table, y=y), np.arange(200), SHORT, fast=True)
        assert plan.kind == "network" and plan.choice.tried == 2 and plan.choice.folds == 1
        assert [m.candidate.is_network for m in plan.choice.finalists].count(False) == 1


def test_a_fast_run_takes_a_better_linear_model_unless_a_network_is_asked_for() -> None:
    random = np.random.default_rng(0)
    x, noise = random.normal(0, 1, (6, 120)), random.normal(0, 3, 120)
    table = data({f"x{k}": values for k, values in enumerate(x)}, 3 * x.sum(0) + noise)
    plans = [planned(table, np.arange(120), options, fast=True) for options in ({}, SHORT)]
    assert [plan.kind for plan in plans] == ["linear model", "network"]
    assert [len(plan.choice.members) for plan in plans] == [1, 1]


def test_statistics_are_those_of_the_rows_that_are_learned() -> None:
    """Values that only other rows have must not change what is learned."""
    table, rows = waves(**ONCE), np.arange(150)
    other = {name: x.copy() for name, x in table.given.items()}
    other["a"][150:] = 1e6
    changed = replace(
        table, given=other, columns=[column_of("a", [str(v) for v in other["a"][:, 0]]),
                                     *table.columns[1:]],
    )  # fmt: skip
    found = [
        predicted(planned(t, rows, SHORT, budget=Budget(LITTLE)), t, rows, rows)
        for t in (table, changed)
    ]
    assert_array_equal(*found)


@pytest.mark.in_turn(2)
def test_an_interrupted_search_goes_on_to_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, rows, settings = waves(), np.arange(200), {"--seed": 0, "the table": "a"}

    def found(kept: KeptResults | None, stop: int | None = None) -> Plan:
        def progress(fold: int, done: int, of: int) -> None:
            if done == stop:
                raise KeyboardInterrupt

        return planned(table, rows, SHORT, progress=progress, budget=Budget(LITTLE), kept=kept)

    whole = found(None)
    assert not whole.choice.interrupted
    assert found(KeptResults(str(tmp_path), settings, resume=False), 2).choice.interrupted
    calls = []
    path = made.LinearModel.path
    monkeypatch.setattr(
        made.LinearModel, "path", lambda *args: [calls.append(args[0]), path(*args)][1]
    )
    (kept := tmp_path / "unfinished" / "0.npy").write_bytes(b"\x93NUMPY cut off")
    resumed = found(KeptResults(str(tmp_path), settings, resume=True))
    # Of both that are no networks, the first five of 15 folds were complete.
    assert len(calls) == 20 and kept.exists()
    assert_array_equal(resumed.choice.predicted, whole.choice.predicted)
    assert names(resumed) == names(whole)
    with pytest.raises(ValueError, match="it differs in --seed"):
        KeptResults(str(tmp_path), {**settings, "--seed": 1}, resume=True)
    with pytest.raises(FileNotFoundError, match="There is nothing to resume"):
        KeptResults(str(tmp_path / "other"), settings, resume=True)
    KeptResults(str(tmp_path), settings, resume=True).delete()
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.parametrize("classes", [0, 3])
def test_an_average_is_stored_and_exported_like_any_model(tmp_path: Path, classes: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    table, rows, plan = three_finalists(classes)
    several = replace(plan.choice, members=plan.choice.finalists[:3])
    model = replace(plan, choice=several).learn(table, rows)
    expected = model.predict(table.given, verbose=0)
    model.save(tmp_path / "m.gpunn", include_optimizer=False)
    model.export(tmp_path / "m.onnx")
    again = gpunn.saving.load_model(tmp_path / "m.gpunn")
    assert_array_equal(again.predict(table.given, verbose=0), expected)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    given = {
        one.name: x.astype(np.float32) if (x := table.given[one.name]).dtype.kind == "f" else x
        for one in session.get_inputs()
    }
    assert_allclose(session.run(None, given)[0], expected, 1e-4, 1e-5)
