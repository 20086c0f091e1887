"""What is said of an answer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from gpunn.apps.tables.reading.kinds import Column, column_of
from gpunn.apps.tables.scoring import Score
from gpunn.apps.tables.verdict import score, tells, verdict, warnings

RANDOM = np.random.default_rng(0)


def sure(labels: np.ndarray, right: float) -> np.ndarray:
    """Return probabilities that are right in a share of the rows."""
    said = labels.copy()
    said[round(right * len(labels)) :] ^= 1
    return np.eye(2)[said] * 0.8 + 0.1


def test_scores_are_those_of_scikit_learn_and_their_errors_those_of_the_bootstrap() -> None:
    y = RANDOM.normal(0, 3, 400)
    predicted = y + RANDOM.normal(0, 2, 400)
    found = score(predicted[:, None], y, 0)
    assert found.value == pytest.approx(r2_score(y, predicted))
    draws = [RANDOM.integers(0, 400, 400) for _ in range(2000)]
    spread = np.std([r2_score(y[d], predicted[d]) for d in draws])
    assert found.error == pytest.approx(spread, rel=0.1)
    labels = RANDOM.integers(0, 2, 400)
    p = sure(labels, 0.9)
    assert score(p, labels, 2).value == pytest.approx(accuracy_score(labels, p.argmax(1)))
    assert score(p, labels, 2).error == pytest.approx((0.9 * 0.1 / 400) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("constant", "linear", "answer", "kind", "rows", "said"),
    [
        (0.5, 0.8, 0.95, "network", 400, r"^Take this network: accuracy \.950 .*: clearly better"),
        (0.5, 0.945, 0.95, "average", 400, "^Take this average.*: equal within what so few rows"),
        (0.5, 0.95, 0.8, "network", 400, r"^Take the linear model: accuracy \.950"),
        (0.9, 0.9, 0.9, "network", 400, "^Take none yet.*the columns may say nothing"),
        (0.6, 0.7, 0.8, "network", 10, "^Take none yet.*so few rows cannot tell more"),
        (0.5, 0.9, 0.9, "linear model", 400, "^Take this linear model.*no network was better"),
    ],
)  # fmt: skip
def test_the_verdict_follows_from_the_rows(
    constant: float, linear: float, answer: float, kind: str, rows: int, said: str
) -> None:
    labels = RANDOM.integers(0, 2, rows)
    found = verdict([sure(labels, s) for s in (constant, linear, answer)], labels, 2, kind)
    assert re.search(said, found), found


def test_a_few_large_targets_or_a_rare_class_do_not_hide_that_an_answer_is_good() -> None:
    y = RANDOM.normal(0, 1, 100)
    y[:2] = 300
    answer = y + RANDOM.normal(0, 0.1, 100)
    found = verdict([np.full(100, y.mean()), answer, answer], y, 0, "network")
    assert found.startswith("Take this network: R2 1.000")
    labels = np.arange(400) % 10 == 0
    shares = np.tile([0.9, 0.1], (400, 1))
    better = np.where(labels[:, None], [0.6, 0.4], [0.95, 0.05])
    assert verdict([shares, better, better], labels.astype(int), 2, "network").startswith(
        "Take this network: accuracy .900"
    )


def column(values: Any) -> Column:
    return column_of("x", [str(v) for v in np.asarray(values).tolist()])


def test_a_column_that_tells_the_target_is_a_leak_and_a_good_one_is_not() -> None:
    learn, test = np.arange(300), np.arange(300, 400)
    y = RANDOM.normal(50, 10, 400)
    for leak in (2 * y + 3, -(y**3)):
        assert tells(column(leak), learn, test, y, 0) > 0.995
    for good in (y + RANDOM.normal(0, 3, 400), RANDOM.normal(0, 1, 400)):
        assert tells(column(good), learn, test, y, 0) < 0.95
    labels = RANDOM.integers(0, 3, 400)
    coded = np.array(["p", "q", "r"])[labels]
    assert tells(column(coded), learn, test, labels, 3) == 1.0
    assert tells(column(labels * 2.5), learn, test, labels, 3) == 1.0
    edge = RANDOM.normal(0, 1, 400)  # between whose values the classes change
    assert tells(column(edge), learn, test, (edge > 0.2).astype(int), 2) == 1.0
    noisy = np.where(RANDOM.random(400) < 0.1, "q", coded)
    assert tells(column(noisy), learn, test, labels, 3) < 0.97
    assert tells(column(RANDOM.choice(["u", "v"], 400)), learn, test, labels, 3) < 0.3


def test_what_speaks_against_trust_is_said() -> None:
    learn, test = np.arange(30), np.arange(30, 40)
    y = np.array([0] * 35 + [1] * 5)
    columns = [column(RANDOM.normal(0, 1, 40)), column(np.where(y == 1, "a", "b"))]
    columns[1].name = "outcome code"
    found = " | ".join(warnings(columns, learn, test, y, ["no", "yes"], Score(0.9, 0.1)))
    assert "'yes' (5)" in found and "10 rows held out" in found
    for seed in range(20):  # also where rows held out are beyond those learned from
        random = np.random.default_rng(seed)
        y = random.normal(0, 1, 400)
        learn, test = np.arange(300), np.arange(300, 400)
        columns = [column(random.normal(0, 1, 400)), column(y * 2)]
        columns[1].name = "the y"
        found = " | ".join(warnings(columns, learn, test, y, [], Score(-0.2, 0.1)))
        assert "'the y' tells the target by itself" in found and "--leave-out 'the y'" in found
        assert "R2 is below 0" in found
