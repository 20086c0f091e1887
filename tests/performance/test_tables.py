"""The study of tables: tables, scores beside scikit-learn's, tests beside statsmodels'."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.studies.tables import scores, sets


def test_both_halves_hold_six_tables_of_each_task() -> None:
    kinds = [(table.half, table.task) for table in sets.TABLES.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        (half, task): 6 for half in ("tune", "final") for task in ("classification", "regression")
    }
    seen = {"wine", "breast_cancer", "titanic", "diabetes", "cars", "diamonds"}
    assert seen <= {name for name, table in sets.TABLES.items() if table.half == "tune"}


@pytest.mark.parametrize("name", sets.TABLES)
def test_a_table_is_what_the_list_says(name: str) -> None:
    table = sets.TABLES[name]
    package = table.source.split()[0]
    if not all(map(importlib.util.find_spec, ("pandas", "sklearn", package))):
        pytest.skip(f"{package} is in the extra 'bench'")
    columns, targets = sets.load(name)
    assert columns.shape == (table.rows, table.columns) and len(targets) == table.rows
    assert table.target not in columns and not set(table.left_out) & set(columns)
    train, test = sets.split(name, targets, seed=0)
    assert sorted([*train, *test]) == list(range(table.rows))
    assert len(test) == pytest.approx(table.rows / 4, abs=1)
    if table.task == "classification":
        assert set(targets[train]) == set(targets[test]) == set(targets)
    else:
        assert np.isfinite(targets).all()
    assert np.array_equal(sets.split(name, targets, seed=0)[1], test)
    assert not np.array_equal(sets.split(name, targets, seed=1)[1], test)


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    classes = ["a", "b", "c"]
    probabilities = generator.dirichlet(np.ones(3), 50)
    targets = generator.choice(np.array(classes, dtype=object), 50)
    found, losses = scores.of_classes(targets, probabilities, classes)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(targets, probabilities))
    predicted = np.array(classes)[probabilities.argmax(axis=1)]
    assert found["accuracy"] == metrics.accuracy_score(targets, predicted)
    assert losses.mean() == pytest.approx(found["log_loss"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_class_that_was_ruled_out_costs_the_same_in_any_dtype(dtype: str) -> None:
    sure = np.array([[1.0, 0.0]], dtype)
    found, _ = scores.of_classes(np.array(["no"]), sure, ["yes", "no"])
    assert found["log_loss"] == pytest.approx(7 * np.log(10), rel=1e-6)


def test_scores_of_numbers_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(1)
    targets, predicted = generator.normal(size=(2, 40))
    found, losses = scores.of_numbers(targets, predicted[:, None].astype("float32"))
    assert found == pytest.approx(
        {
            "rmse": metrics.root_mean_squared_error(targets, predicted),
            "mae": metrics.mean_absolute_error(targets, predicted),
            "r2": metrics.r2_score(targets, predicted),
        },
        rel=1e-5,
    )
    assert losses.mean() == pytest.approx(found["rmse"] ** 2)


def test_the_interval_of_a_mean_is_that_of_a_regression_with_errors_by_block() -> None:
    """Rows appear in several splits: statsmodels' cluster-robust errors, a block each a cluster."""
    api = pytest.importorskip("statsmodels.api")
    generator = np.random.default_rng(2)
    rows = np.concatenate([generator.choice(3000, 700, replace=False) for _ in range(3)])
    losses = generator.normal(size=3000)[rows] + 0.1
    blocks = [scores.in_blocks(part, loss) for part, loss in zip(
        np.split(rows, 3), np.split(losses, 3), strict=True
    )]  # fmt: skip
    sums, counts = (np.sum([block[name] for block in blocks], 0) for name in ("sums", "counts"))
    found = scores.mean_of_rows(sums, counts)
    fit = api.OLS(losses, np.ones(len(losses))).fit(
        cov_type="cluster", cov_kwds={"groups": rows % scores.BLOCKS, "df_correction": True},
        use_t=True,
    )  # fmt: skip
    assert found.mean == pytest.approx(fit.params[0], rel=1e-5)
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-5)
    assert found.p == pytest.approx(fit.pvalues[0], rel=1e-4)


def test_rows_of_their_own_blocks_give_the_t_test_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    differences = np.random.default_rng(3).normal(0.2, 1, 60)
    block = scores.in_blocks(np.arange(60), differences)
    found = scores.mean_of_rows(np.array(block["sums"]), np.array(block["counts"]))
    test = stats.ttest_1samp(differences, 0)
    interval = test.confidence_interval(0.95)
    assert (found.p, found.low, found.high) == pytest.approx(
        (test.pvalue, interval.low, interval.high), rel=1e-5
    )


def test_losses_that_do_not_differ_give_no_significance() -> None:
    pytest.importorskip("scipy")
    assert scores.mean_of_rows(np.zeros(5), np.ones(5)) == (0, 0, 0, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24))
def test_holm_is_that_of_statsmodels(values: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    _, expected, _, _ = multitest.multipletests(values, method="holm")
    assert scores.holm(values) == pytest.approx(expected.tolist())


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5]), min_size=1, max_size=8))
def test_ranks_are_those_of_scipy(losses: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = scores.ranks(dict(zip("abcdefgh", losses, strict=False)))
    assert list(found.values()) == stats.rankdata(losses).tolist()
