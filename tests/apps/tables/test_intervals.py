"""Intervals and sets of classes: how often they hold the truth, and NumPy's quantiles."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.decisions import Decision
from gpunn.apps.tables import learning
from gpunn.apps.tables.intervals import LEVELS, ClassSets, Intervals, alternatives, of_model
from gpunn.sklearn import GpunnAutoClassifier, GpunnAutoRegressor

DRAWS = 4000


def random_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("rows", "level"), [(19, 0.9), (39, 0.9), (50, 0.8), (199, 0.99)])
def test_a_new_target_is_inside_as_often_as_ranks_say(rows: int, level: float) -> None:
    """Of n + 1 exchangeable errors each rank is equally likely for the new one (Vovk et al. 2005,
    proposition 2.3): k of n + 1 are below, and k above."""
    random = random_of(rows)
    held = 0
    for _ in range(DRAWS):
        predicted = random.normal(size=rows + 1)  # some negative: the width is constant
        y = predicted + random.standard_exponential(rows + 1)
        low, high = Intervals.learned(predicted[:-1], y[:-1]).of(predicted[-1:], level)[0]
        held += bool(low <= y[-1] <= high)
    k = int((rows + 1) * (1 - level) / 2 + 1e-9)
    share = 1 - 2 * k / (rows + 1)
    assert share >= level - 1e-9
    assert abs(held / DRAWS - share) < 4 * (share * (1 - share) / DRAWS) ** 0.5


@pytest.mark.parametrize(("rows", "level"), [(9, 0.9), (50, 0.8), (99, 0.99)])
def test_a_new_class_is_in_the_set_as_often_as_ranks_say(rows: int, level: float) -> None:
    random = random_of(rows)
    held = named = 0
    for _ in range(DRAWS):
        shares = random.dirichlet([0.7] * 4, rows + 1)
        y = (shares.cumsum(axis=1) < random.random((rows + 1, 1))).sum(axis=1)
        found = ClassSets.learned(shares[:-1], y[:-1])
        held += bool(shares[-1, y[-1]] >= found.levels[level])
        named += bool(found.of(shares[-1:], level)[0, y[-1]])
    share = 1 - int((rows + 1) * (1 - level) + 1e-9) / (rows + 1)
    assert share >= level - 1e-9
    assert abs(held / DRAWS - share) < 4 * (share * (1 - share) / DRAWS) ** 0.5
    assert named >= held  # the most probable class is named too


@pytest.mark.parametrize("rows", [40, 137, 1000])
def test_ends_are_the_quantiles_of_the_method(rows: int) -> None:
    """As MAPIE does: the quantile ceil((n + 1) (1 - a)) / n of the scores, of each side here."""
    random = random_of(rows)
    predicted, new = random.normal(0, 3, (2, rows))
    y = predicted + random.standard_t(3, rows)
    known = Intervals.learned(predicted, y)
    for level in known.levels:
        share = np.ceil((rows + 1) * (1 - (1 - level) / 2) - 1e-9) / rows
        high = np.quantile(y - predicted, share, method="inverted_cdf")
        low = -np.quantile(predicted - y, share, method="inverted_cdf")
        np.testing.assert_allclose(known.of(new, level), np.stack([new + low, new + high], 1))
    classes = random.integers(0, 3, rows)
    shares, others = random.dirichlet([1.0] * 3, (2, rows))
    sets = ClassSets.learned(shares, classes)
    for level in sets.levels:
        scores = 1 - shares[np.arange(rows), classes]
        most = np.quantile(scores, np.ceil((rows + 1) * level - 1e-9) / rows, method="inverted_cdf")
        expected = 1 - others <= most + 1e-12
        expected[np.arange(rows), others.argmax(axis=1)] = True
        np.testing.assert_array_equal(sets.of(others, level), expected)


def test_the_most_probable_class_is_in_the_set_of_a_sure_model() -> None:
    sure = np.tile([0.98, 0.01, 0.01], (50, 1))
    known = ClassSets.learned(sure, np.zeros(50, int))
    doubted = np.array([[0.2, 0.45, 0.35], [0.985, 0.01, 0.005]])
    assert known.of(doubted).tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize("threshold", [0.08, 0.3, 0.8])
def test_the_class_that_is_named_is_in_the_set_which_then_holds_the_truth_as_often(
    threshold: float,
) -> None:
    random = random_of(11)
    p = random.beta(2, 5, 4000).astype(np.float32)
    y = (random.random(4000) < p).astype(int)
    shares, decision = np.stack([1 - p, p], axis=1), Decision(1, threshold)
    usual, known = (ClassSets.learned(shares, y, d) for d in (None, decision))
    every = np.arange(4000)
    for level in LEVELS:
        found, other = known.of(shares, level), usual.of(shares, level)
        assert found[every, decision.named(shares)].all()
        assert found[every, y].mean() >= level - 1e-9
        assert (found[other & (shares >= known.levels[level])]).all()
        assert (found[:, 0] | (shares[:, 0] <= p)).all()  # no class without a likelier one
    assert (known.of(shares, 0.5) != usual.of(shares, 0.5)).any()


@given(st.lists(st.text(' /"ab', min_size=1).map(str.strip).filter(bool), min_size=1, max_size=4))
def test_the_classes_of_a_set_can_be_told_whatever_they_are_called(names: list[str]) -> None:
    text, found = alternatives(names), []
    while text:  # as the documentation says
        quoted = re.match(r'"((?:[^"]|"")*)"(?: / |$)', text)
        one = text.partition(" / ")[0] if quoted is None else quoted[1].replace('""', '"')
        found.append(one)
        text = text.partition(" / ")[2] if quoted is None else text[quoted.end() :]
    assert found == names


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_intervals_grow_as_errors_do(power: float) -> None:
    """In each third of the predictions the share inside is about that of all."""
    random = random_of(5)
    predicted = random.lognormal(5, 1, 9000)
    y = predicted + predicted**power * random.normal(0, 0.2, len(predicted))
    known = Intervals.learned(predicted[:3000], y[:3000])
    assert known.power == power
    low, high = known.of(predicted[3000:]).T
    inside = (low <= y[3000:]) & (y[3000:] <= high)
    for third in np.array_split(np.argsort(predicted[3000:]), 3):
        assert abs(inside[third].mean() - 0.9) < 0.025


def test_errors_of_logarithms_make_intervals_of_factors() -> None:
    """Both ends are multiples of the prediction: the quantiles of the factors themselves."""
    random = random_of(6)
    predicted = random.lognormal(5, 1, 999)
    factors = random.lognormal(0, 0.6, 999)
    low, high = Intervals.learned(predicted, predicted * factors).of(np.array([1000.0]))[0]
    order = np.sort(factors)
    assert (low, high) == pytest.approx((1000 * order[49], 1000 * order[-50]))


def test_a_target_that_is_never_negative_has_no_interval_below_zero() -> None:
    y = np.abs(random_of(7).normal(0, 5, 200))
    assert Intervals.learned(np.zeros(200), y).of(np.array([-3.0]))[0, 0] == 0
    assert Intervals.learned(np.zeros(200), -y).of(np.array([-3.0]))[0, 0] < -3


@pytest.mark.usefixtures("numpy_is_asked_for")
def test_a_negative_target_that_no_fold_checked_counts() -> None:
    """One fold in five is checked, of targets of which one in a hundred is negative."""
    x = np.linspace(0, 1, 200)[:, None]
    y = np.where(np.arange(200) % 100 == 0, -1.0, 0.1 + x[:, 0])
    for targets in (y, np.abs(y)):
        found = GpunnAutoRegressor(fast=True, random_state=0).fit(x, targets)
        far_below = found.predict_interval(np.array([[-50.0]]))[0, 0]
        assert (far_below < 0) == (targets.min() < 0)


def test_levels_that_few_rows_cannot_hold_are_not_kept() -> None:
    y = random_of(8).normal(size=100)
    assert [*Intervals.learned(y[:18] * 0, y[:18]).levels] == [0.5, 0.8]
    assert [*Intervals.learned(y * 0, y).levels] == [0.5, 0.8, 0.9, 0.95]
    known = Intervals.learned(y * 0, y)
    with pytest.raises(ValueError, match=r"0\.99: .* keeps the levels 50%, .*95%.* 100 rows"):
        known.of(y, 0.99)
    none = Intervals.learned(y[:1], y[:1])
    assert none.levels == {}
    with pytest.raises(ValueError, match=r"keeps none, as the 1 row"):
        none.of(y)


def test_a_level_is_any_number_of_its_value() -> None:
    y = random_of(8).normal(size=100)
    known = Intervals.learned(y * 0, y)
    for level in (np.float32(0.9), np.float64(0.9)):
        assert np.array_equal(known.of(y, level), known.of(y, 0.9))
    for wrong in ("0.9", None):
        with pytest.raises(TypeError, match="confidence_level must be a number"):
            known.of(y, wrong)


SOUND = {"rows": 40, "levels": [[0.9, -1.0, 2.0]], "power": 0.5, "least": 3.0}


@pytest.mark.parametrize(
    ("task", "entries", "message"),
    [
        ("regression", [1], "'trained_on/table/intervals' is .*a dictionary"),
        ("regression", {**SOUND, "rows": -1}, "intervals/rows' is -1"),
        ("regression", {**SOUND, "levels": "all"}, "intervals/levels' is 'all'"),
        ("regression", {**SOUND, "levels": [[0.9, 1.0]]}, "levels/0' is .*list of 3"),
        ("regression", {**SOUND, "levels": [[0.9, -1.0, float("inf")]]}, "levels/0/2' is inf"),
        ("regression", {**SOUND, "levels": [[90, -1.0, 1.0]]}, "levels/0/0' is 90: a number from"),
        ("regression", {**SOUND, "levels": [[0.9, 1.0, -1.0]]}, "levels/0' begins behind its end"),
        ("regression", {**SOUND, "power": 1e308}, r"intervals/power' is 1e\+308"),
        ("regression", {**SOUND, "least": float("nan")}, "intervals/least' is nan"),
        ("classification", {"rows": 40, "levels": [[0.9, 7.0]]}, "levels/0/1' is 7"),
        ("classification", {"rows": 40, "levels": [[0.9, "a"]]}, "levels/0/1' is 'a'"),
        ("classification", {"rows": 40}, "intervals/levels' is None"),
    ],
)
def test_entries_of_a_file_are_checked(task: str, entries: Any, message: str) -> None:
    classes = {"classes": ["a", "b"]} if task == "classification" else {}
    model = SimpleNamespace(trained_on={"table": {"task": task, "intervals": entries}, **classes})
    with pytest.raises(ValueError, match=message):
        of_model(model)


def test_what_a_file_keeps_is_what_was_learned() -> None:
    random = random_of(9)
    y, shares = random.lognormal(3, 1, 150), random.dirichlet([1.0] * 3, 150)
    for task, known in (
        ("regression", Intervals.learned(y * 1.1, y)),
        ("classification", ClassSets.learned(shares, shares.argmax(axis=1))),
    ):
        document = json.loads(json.dumps(known.document()))
        about: dict[str, Any] = {"table": {"task": task, "intervals": document}}
        about |= {"classes": [*"abc"]} if task == "classification" else {}
        assert of_model(SimpleNamespace(trained_on=about)) == known
    assert of_model(SimpleNamespace(trained_on={})) is None
    assert of_model(SimpleNamespace(trained_on={"table": {"task": "regression"}})) is None


# -- with a model


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = random_of(seed)
    x = random.uniform(0, 1, (rows, 3))
    return x, np.exp(3 + 2 * x[:, 0] + x[:, 1] ** 2 + random.normal(0, 0.3, rows))


@pytest.mark.usefixtures("numpy_is_asked_for")
def test_estimators_hold_new_rows_at_their_level() -> None:
    """Rows of the same distribution; the bound is of 4,000 of them and 60 of a fold, by four
    errors."""
    (x, y), (new, truth) = drawn(300, 1), drawn(4000, 2)
    model = GpunnAutoRegressor(fast=True, random_state=0).fit(x, y)
    for level in LEVELS[:-1]:  # the last one needs 199 rows
        low, high = model.predict_interval(new, level).T
        error = (level * (1 - level) * (1 / 60 + 1 / 4000)) ** 0.5
        assert abs(((low <= truth) & (truth <= high)).mean() - level) < 4 * error
    assert (low < model.predict(new)).all() and (model.predict(new) < high).all()
    names = np.array(["cheap", "dear", "usual"])
    labels, right = (names[np.digitize(z, [40, 120])] for z in (y, truth))
    classifier = GpunnAutoClassifier(fast=True, random_state=0).fit(x, labels)
    for level in (0.9, 0.95):
        found = classifier.predict_set(new, confidence_level=level)
        assert found.shape == (4000, 3) and found.any(axis=1).all()
        inside = found[np.arange(4000), np.searchsorted(names, right)].mean()
        assert inside > level - 4 * (level * (1 - level) * (1 / 60 + 1 / 4000)) ** 0.5
    assert (found.sum(axis=1) > 1).any() and (found.sum(axis=1) == 1).any()
    with pytest.raises(ValueError, match=r"no interval at 0\.42"):
        classifier.predict_set(new, 0.42)


def waves(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = random_of(seed)
    a, b, c = x = random.uniform(-2, 2, (3, rows))
    return x.T, 20 + 5 * np.abs(a) * b + 3 * np.sin(3 * c) + random.normal(0, 0.05, rows)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("is_command", [False, True])
def test_an_answer_of_more_rows_than_the_search_saw_has_its_own_intervals(
    is_command: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    numpy_is_asked_for: None,
) -> None:
    """It errs far less than the model of the fold, which learned from few: by its errors, 99% of
    new rows would be inside. The bound is three errors of the checked rows."""
    monkeypatch.setattr(learning, "SAMPLE", 800)
    (x, y), (new, truth) = waves(4000, 1), waves(4000, 2)
    if is_command:
        table = written(tmp_path / "t.csv", [*"abc", "y"], np.column_stack([x, y]))
        assert main(["train", table, "--target", "y", "--fast", "--out", str(tmp_path)]) == 0
        assert "Saved" in capsys.readouterr().out
        model = gpunn.saving.load_model(tmp_path / "model.gpunn")
        known = of_model(model)
        assert isinstance(known, Intervals)
        given = {name: new[:, [i]] for i, name in enumerate("abc")}
        low, high = known.of(model.predict(given, verbose=0)).T
    else:
        found = GpunnAutoRegressor(fast=True, random_state=0).fit(x, y)
        low, high = found.predict_interval(new).T
    inside = ((low <= truth) & (truth <= high)).mean()
    assert abs(inside - 0.9) < 3 * (0.09 / 160) ** 0.5


def written(path: Path, names: list[str], rows: Any) -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


@pytest.mark.parametrize("is_class", [False, True])
def test_predict_writes_the_ends_and_the_sets(
    is_class: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    numpy_is_asked_for: None,
    little_search: None,
) -> None:
    x, y = drawn(240, 3)
    target = np.where(y > 50, "dear, really", "cheap") if is_class else y.round(2)
    table = written(tmp_path / "t.csv", [*"abc", "rent"], np.column_stack([x.round(3), target]))
    short = ["--epochs", "20", "--hidden", "8", "--out", str(tmp_path)]
    assert main(["train", table, "--target", "rent", *short]) == 0
    told = capsys.readouterr().out
    assert ("set of classes of 90% holds" if is_class else "interval of 90% holds") in told
    model = str(tmp_path / "model.gpunn")

    def rows(*options: str) -> list[dict[str, Any]]:
        assert main(["predict", model, table, *options]) == 0
        printed = capsys.readouterr().out
        if "--json" in options:
            return json.loads(printed)
        return list(csv.DictReader(io.StringIO(printed)))

    found = rows()
    if is_class:
        inside = np.mean([row["rent"] in row["one of (90%)"].split(" / ") for row in found])
        assert {row["one of (90%)"] for row in found} <= {
            "cheap", "dear, really", "cheap / dear, really",
        }  # fmt: skip
    else:
        low, high = (
            np.array([float(row[f"rent {end} (90%)"]) for row in found]) for end in ("from", "to")
        )
        inside = ((low <= y.round(2)) & (y.round(2) <= high)).mean()
        wide = rows("--interval", "95", "--json")
        assert all(
            row["rent from (95%)"] <= a < b <= row["rent to (95%)"]
            for row, a, b in zip(wide, low, high, strict=True)
        )
    assert inside > 0.85  # of rows that it has learned, too
    assert not any("%" in name for name in rows("--interval", "0")[0])
    assert main(["predict", model, table, "--interval", "42"]) != 0
    assert "Known: 50, 80, 90, 95, 99, 0." in capsys.readouterr().err
    old = gpunn.saving.load_model(model)
    about = {name: v for name, v in old.trained_on["table"].items() if name != "intervals"}
    old.trained_on = {**old.trained_on, "table": about}  # as in a file of an earlier version
    old.save(model, announce=False)
    capsys.readouterr()
    assert not any("%" in name for name in rows()[0])
    assert main(["predict", model, table, "--interval", "90"]) == 1
    assert "no errors of cross-validation" in capsys.readouterr().err
