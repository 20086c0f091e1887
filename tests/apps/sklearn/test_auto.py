"""Estimators that search for the best model of a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score

from gpunn.apps.cli import main
from gpunn.sklearn import GpunnAutoClassifier, GpunnAutoRegressor

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


def frame(rows: int = 300, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    size = random.uniform(20, 120, rows)
    area = random.choice(["centre", "north", "harbour"], rows)
    rent = 200 + 9 * size + 150 * (area == "centre") + random.normal(0, 20, rows)
    size[::17] = np.nan
    return pd.DataFrame({"size": size, "area": area, "floor": random.integers(0, 6, rows)}), rent


def by_library(now: Any, later: Any) -> Any:
    return pytest.mark.parametrize("library", [now, pytest.param(later, marks=pytest.mark.more)])


TRAIN, TEST = np.arange(240), np.arange(240, 300)


def divided(library: Any) -> tuple[Any, Any, np.ndarray]:
    """Rows to learn from and others, as frames of a library, and the targets of all."""
    x, y = frame()
    train, test = (library({name: x[name].to_numpy()[at] for name in x}) for at in (TRAIN, TEST))
    return train, test, y


@by_library(pd.DataFrame, pl.DataFrame)
def test_a_frame_is_taken_as_it_is(library: Any) -> None:
    train, test, y = divided(library)
    model = GpunnAutoRegressor(fast=True, random_state=0).fit(train, y[TRAIN])
    known = ~np.isnan(frame()[0]["size"].to_numpy()[TEST])
    assert r2_score(y[TEST][known], model.predict(test)[known]) > 0.95
    assert model.feature_names_in_.tolist() == ["size", "area", "floor"]
    tried = pd.DataFrame(model.leaderboard_)
    chosen = tried[tried["chosen"]]
    assert chosen["model"].tolist() == model.members_ and len(tried) == 2
    assert chosen["parameters"].sum() == model.model_.count_params()
    assert chosen["loss"].iloc[0] == pytest.approx(model.cv_loss_)
    assert tried["R2"].between(0.5, 1).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(test[["floor", "area"]])


@by_library(pl.DataFrame, pd.DataFrame)
def test_a_frame_is_classified_as_it_is(library: Any) -> None:
    train, test, y = divided(library)
    labels = np.where(y > np.median(y), "dear", "cheap")
    classifier = GpunnAutoClassifier(fast=True, random_state=0).fit(train, labels[TRAIN])
    assert classifier.classes_.tolist() == ["cheap", "dear"]
    assert accuracy_score(labels[TEST], classifier.predict(test)) > 0.85
    assert (classifier.leaderboard_["accuracy"] > 0.8).all()
    np.testing.assert_allclose(classifier.predict_proba(test).sum(axis=1), 1, 1e-6)


def test_a_saved_model_works_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = frame(120)
    x.to_csv(tmp_path / "x.csv", index=False)
    labels = np.where(y > np.median(y), 2, 1)
    for model, target in (
        (GpunnAutoRegressor(fast=True, random_state=0), y),
        (GpunnAutoClassifier(fast=True, random_state=0), labels),
    ):
        model.fit(x, target).model_.save(tmp_path / "m.gpunn", announce=False)
        assert main(["predict", str(tmp_path / "m.gpunn"), str(tmp_path / "x.csv"), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        found = np.array([float(row["predicted y"]) for row in rows])
        np.testing.assert_allclose(found, model.predict(x), rtol=1e-5)
        assert main(["export", str(tmp_path / "m.gpunn"), str(tmp_path / "m.html"), "--force"]) == 0
        capsys.readouterr()


def test_the_result_depends_on_the_seed_alone() -> None:
    x, y = frame(120)
    model = GpunnAutoRegressor(fast=True, random_state=3)
    found = [clone(model).fit(x, y).predict(x) for _ in range(2)]
    np.testing.assert_array_equal(*found)


def test_columns_of_numbers_count_whatever_they_look_like() -> None:
    """A column that counts the rows would be left out of a file, where it has no type."""
    x = pd.DataFrame({"id": np.arange(200)})
    y = (x["id"] >= 100).to_numpy()
    assert GpunnAutoClassifier(fast=True, random_state=0).fit(x, y).score(x, y) > 0.95


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.eye(5), np.arange(5.0), {}, r"X has 5 sample\(s\); at least 10"),
        (np.eye(20), np.arange(19.0), {}, "inconsistent|20 rows, y has 19"),
        (np.eye(20), np.full(20, np.nan), {}, "contains NaN"),
        (np.eye(20), np.arange(20.0), {"minutes": 0}, "--minutes must be positive"),
        (pd.DataFrame({"name": [f"Person {i}" for i in range(20)]}), np.arange(20.0), {},
         "no column to learn from"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_refused(x: Any, y: Any, options: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        GpunnAutoRegressor(**options).fit(x, y)


def test_groups_are_not_divided() -> None:
    """Rows of a group are nearly copies: only if they may be divided, noise looks predictable."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    x = random.normal(0, 1, (40, 3))[groups] + random.normal(0, 1e-3, (200, 3))
    y = random.normal(0, 1, 40)[groups]
    losses = [
        GpunnAutoRegressor(fast=True, random_state=0).fit(x, y, groups=g).cv_loss_
        for g in (None, groups)
    ]
    assert losses[0] < losses[1] / 3
