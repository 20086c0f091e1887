"""How rows are divided for the search and the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn.apps.tables.folds import Rules, equal_rows, folds, held_out
from gpunn.apps.tables.search import sample


@pytest.mark.parametrize("rows", [10, 57, 600, 1500, 5000, 12_000])
@pytest.mark.parametrize("classes", [0, 3])
def test_groups_are_never_divided(rows: int, classes: int) -> None:
    random = np.random.default_rng(rows)
    groups = random.integers(0, max(rows // 4, 5), rows)
    y = random.integers(0, 3, rows) if classes else random.standard_normal(rows)
    rules = Rules(groups=groups, seed=1)
    for train, test in [held_out(y, classes, rules), *folds(y, classes, rules)]:
        assert not {*groups[train].tolist()} & {*groups[test].tolist()}
        assert len(train) and len(test)
    train, test = held_out(y, classes, rules)
    assert sorted([*train, *test]) == [*range(rows)]


@pytest.mark.parametrize("rows", [30, 700, 3000])
def test_each_row_is_checked_once_in_each_draw_and_classes_keep_their_shares(rows: int) -> None:
    y = (np.arange(rows) % 10 == 0).astype(int)
    found = folds(y, 2, Rules())
    count = 5 if rows <= 2000 else 3
    for start in range(0, len(found), count):
        checked = np.concatenate([check for _, check in found[start : start + count]])
        if rows <= 2000:
            assert sorted(checked.tolist()) == [*range(rows)]
    for train, check in found:
        assert not {*train.tolist()} & {*check.tolist()}
        assert abs(y[check].sum() - y.sum() / 5) < 1


def test_an_order_of_time_is_respected() -> None:
    y = np.arange(100.0)
    train, test = held_out(y, 0, Rules(by_order=True))
    assert test.tolist() == [*range(80, 100)] and train.tolist() == [*range(80)]
    parts = folds(y, 0, Rules(by_order=True))
    assert len(parts) == 5
    for train, check in parts:
        assert train.max() < check.min()


@pytest.mark.parametrize("rows", [10, 100, 3_000, 12_000, 30_000])
def test_an_order_that_begins_with_the_latest_is_the_other_one_reversed(rows: int) -> None:
    y = np.arange(float(rows))
    first, last = Rules(by_order=True), Rules(by_order=True, latest_first=True)
    pairs = [held_out(y, 0, first), *folds(y, 0, first), (sample(y, first),)]
    others = [held_out(y, 0, last), *folds(y, 0, last), (sample(y, last),)]
    for parts, reversed_parts in zip(pairs, others, strict=True):
        for one, other in zip(parts, reversed_parts, strict=True):
            assert sorted(rows - 1 - one) == other.tolist()
    learn, test = held_out(y, 0, last)
    assert learn.min() > test.max()
    for train, check in folds(y[learn], 0, last.of(learn)):
        assert train.min() > check.max()


def test_every_class_of_two_rows_is_learned_and_tested() -> None:
    y = np.array([0] * 20 + [1] * 2 + [2])
    for seed in range(20):
        train, test = held_out(y, 3, Rules(seed=seed))
        assert {*y[train]} == {0, 1, 2} and {*y[test]} >= {0, 1}


def test_copies_of_rows_are_found_unless_the_table_has_few_different_ones() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal(50)
    twice = np.concatenate([x, x])
    groups = equal_rows([twice, np.array(["a", "b"] * 50)])
    assert groups[:50].tolist() == groups[50:].tolist() and len(np.unique(groups)) == 50
    coarse = random.integers(0, 2, 100).astype(float)
    assert len(np.unique(equal_rows([coarse]))) == 100
    gaps = np.array([np.nan, 1.0, np.nan, 2.0])
    assert equal_rows([gaps]).tolist() == [2, 0, 2, 1] or len(np.unique(equal_rows([gaps]))) == 3


def test_rows_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ValueError, match="There are 9 rows to learn from; at least 10"):
        held_out(np.arange(9.0), 0, Rules())
    with pytest.raises(ValueError, match="All rows are of one group"):
        held_out(np.arange(20.0), 0, Rules(groups=np.zeros(20, int)))
