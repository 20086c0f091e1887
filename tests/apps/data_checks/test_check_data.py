"""Data checks: planted faults are found, and clean data pass."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

import gpunn
from gpunn.apps.data_checks.checked_data import SEVERITIES
from gpunn.utils import check_data


def clean(rows=600, columns=4, seed=0, classes=3):
    """Data without faults: each feature depends on the class, and classes are equal in size."""
    random = np.random.default_rng(seed)
    y = random.permutation(np.arange(rows) % classes)
    return random.standard_normal((rows, columns)) + y[:, None], y


def faults(report, severity="warning"):
    return {finding.check for finding in report.at_least(severity)}


# -- clean data


def test_clean_data_have_nothing():
    x, y = clean()
    report = check_data(x[:450], y[:450], x[450:], y[450:])
    assert not report.findings
    assert str(report).endswith("Nothing was found.")
    assert report.raise_on("note") is report


@pytest.mark.parametrize("name", ["iris", "digits", "breast_cancer", "wine", "diabetes"])
def test_known_data_give_no_false_alarm(name):
    """In random order and scaled, as for training; digits are pixels of one scale."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    if name != "digits":
        x = StandardScaler().fit_transform(x)
    train, test = order[: len(x) * 3 // 4], order[len(x) * 3 // 4 :]
    report = check_data(x[train], y[train], x[test], y[test])
    assert not report.at_least("warning"), str(report)


def test_what_is_wrong_with_known_data_as_they_come():
    x, y = datasets.load_iris(return_X_y=True)
    report = check_data(x, y)
    assert faults(report) == {"order"}
    assert "The last fifth has none of 0, 1." in str(report).replace("\n         ", " ")
    assert report.of("duplicates")[0].rows.tolist() == [142]  # a known copy of row 101
    x, y = datasets.load_breast_cancer(return_X_y=True)
    report = check_data(x, y)
    assert faults(report) == {"scales"}
    x, y = datasets.load_digits(return_X_y=True)
    assert check_data(x, y).of("constant")[0].columns.tolist() == [0, 32, 39]


@pytest.mark.in_turn(2)
def test_mnist_gives_no_false_alarm(mnist):
    (x, y), (x_test, y_test) = mnist
    report = check_data(x, y, x_test, y_test)
    assert not report.at_least("warning"), str(report)
    always_zero = np.flatnonzero((x.reshape(len(x), -1) == 0).all(axis=0))
    np.testing.assert_array_equal(report.of("constant")[0].columns, always_zero)
    assert "Rescaling(1 / 255)" in report.of("scales")[0].text


# -- planted faults


def test_missing_values():
    x, y = clean()
    x[[3, 77], [1, 2]] = np.nan, np.inf
    report = check_data(x, y)
    (finding,) = report.of("missing")
    assert finding.severity == "error"
    assert finding.rows.tolist() == [3, 77] and finding.columns.tolist() == [1, 2]
    assert faults(report) == {"missing"}
    y = y.astype(float)
    y[5] = np.nan
    assert check_data(clean()[0], y).of("missing")[0].rows.tolist() == [5]


def test_missing_values_in_the_test_data_only():
    x, y = clean()
    x_test, y_test = clean(100, seed=9)
    x_test[7, 0] = np.nan
    (finding,) = check_data(x, y, x_test, y_test).at_least("warning")
    assert finding.text.startswith("x_test has 1 value that") and finding.rows.tolist() == [7]


def test_duplicates_and_contradictions():
    x, y = clean()
    x[100:150], y[100:150] = x[:50], y[:50]
    (finding,) = check_data(x, y).at_least("warning")
    assert finding.check == "duplicates"
    np.testing.assert_array_equal(finding.rows, np.arange(100, 150))
    y[100] = (y[0] + 1) % 3
    report = check_data(x, y)
    (finding,) = report.of("contradictions")
    assert (finding.severity, finding.rows.tolist()) == ("warning", [0, 100])
    # For regression, two measurements at one point may well differ.
    (finding,) = check_data(x, np.arange(len(x)) + np.pi).of("contradictions")
    assert finding.severity == "note"
    x[100, 0] = -0.0
    x[0, 0] = 0.0  # equal, though their bits differ
    assert check_data(x, y).of("contradictions")[0].rows.tolist() == [0, 100]


def test_few_possible_rows_repeat_and_that_is_no_fault():
    x, y = gpunn.datasets.toy.xor(400)
    report = check_data(x, y)
    assert report.of("duplicates")[0].severity == "note"
    assert not report.of("contradictions")


@pytest.mark.parametrize(("rare", "severity"), [(40, "warning"), (120, "note"), (250, None)])
def test_imbalance(rare, severity):
    x, y = clean(1200, classes=2)
    keep = np.sort(np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:rare]])
    found = check_data(x[keep], y[keep]).of("imbalance")
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    if severity:
        assert f"(600 and {rare})" in found[0].text


def test_too_little_data():
    assert faults(check_data(*clean(30))) == {"amount"}
    assert "amount" in faults(check_data(*clean(100, 40)))
    assert check_data(*clean(300, 40)).of("amount")[0].severity == "note"
    x, y = clean()
    y[:3] = 3
    (finding,) = check_data(x, y).of("amount")
    assert finding.rows.tolist() == [0, 1, 2] and "Fewer than 10 rows have the label 3" in (
        finding.text
    )
    model = gpunn.Sequential([gpunn.layers.Input((4,)), gpunn.layers.Dense(500)])
    (finding,) = check_data(*clean(), parameters=model).findings
    assert finding.text.startswith("The model has 2,500 parameters, 4.2 per row")
    assert check_data(*clean(), parameters=100_000).findings[0].severity == "warning"
    assert not check_data(*clean(), parameters=500).findings


def test_constant_features():
    x, y = clean()
    x[:, 2] = 7
    (finding,) = check_data(x, y, names=list("abcd")).findings
    assert (finding.check, finding.severity, finding.columns.tolist()) == ("constant", "note", [2])
    assert "c" in finding.text
    assert check_data(np.ones((60, 2)), np.arange(60) % 2).of("constant")[0].severity == "error"


def test_features_without_relation():
    x, y = clean(2000)
    random = np.random.default_rng(5)
    x = np.column_stack([x[:, 0], random.standard_normal(2000), x[:, 1]])
    x[:, 2] = (y == 1) * np.sign(random.standard_normal(2000)) * 2 + 0.1 * x[:, 2]  # no mean shift
    (finding,) = check_data(x, y).findings
    assert (finding.check, finding.severity, finding.columns.tolist()) == ("relevance", "note", [1])
    x, y = clean(2000)
    report = check_data(x, np.random.default_rng(1).permutation(y))
    assert faults(report) == {"relevance"} and "belong to these rows?" in str(report)
    assert faults(check_data(*gpunn.datasets.toy.xor(400, noise=0.1))) == {"relevance"}


def test_relation_of_a_number_to_be_predicted():
    random = np.random.default_rng(1)
    x = random.standard_normal((800, 3))
    y = np.abs(x[:, 0]) + 0.1 * random.standard_normal(800)  # no correlation, and yet
    (finding,) = check_data(x, y).findings
    assert (finding.check, finding.columns.tolist()) == ("relevance", [1, 2])


@pytest.mark.parametrize("value", [1e6, -999.0])
@pytest.mark.parametrize("count", [1, 8])
def test_outliers(value, count):
    x, y = clean()
    x[:count, 1] = value
    findings = check_data(x, y).of("outliers")
    assert findings[0].severity == "warning" and findings[0].columns.tolist() == [1]
    np.testing.assert_array_equal(findings[0].rows, np.arange(count))


def test_outliers_in_rows_that_are_not_drawn():
    x, y = clean(30_000)
    x[12_345, 3] = 1e5
    assert check_data(x, y).of("outliers")[0].rows.tolist() == [12_345]


def test_heavy_tails_are_worth_a_note():
    x, y = clean(2000)
    x[:, 0] = np.exp(1.5 * x[:, 0])
    (finding,) = check_data(x, y).of("outliers")
    assert (finding.severity, finding.columns.tolist()) == ("note", [0])


def test_scales():
    x, y = clean()
    (finding,) = check_data(x * [1, 1e3, 1, 1e-2], y).at_least("warning")
    assert (finding.check, finding.columns.tolist()) == ("scales", [3, 1])
    assert check_data(x * 1e4, y).of("scales")[0].severity == "note"
    assert check_data(x + np.eye(4)[1] * 1e4, y).of("scales")[0].columns.tolist() == [1]
    images = np.random.default_rng(0).integers(0, 256, (200, 4, 4), dtype=np.uint8)
    assert "Rescaling" in check_data(images, np.arange(200) % 2).of("scales")[0].text


def test_order():
    x, y = clean()
    by_class = np.argsort(y, kind="stable")
    assert faults(check_data(x[by_class], y[by_class])) == {"order"}
    blocks = np.concatenate([by_class[i::10] for i in range(10)])  # sorted in ten pieces
    assert faults(check_data(x[blocks], y[blocks])) == {"order"}
    turns = np.lexsort((y, np.arange(600) // 3))
    assert "order" not in faults(check_data(x[turns], y[turns]))
    t = np.linspace(0, 20, 500)
    report = check_data(np.column_stack([np.sin(t), np.cos(t)]), np.sin(t + 0.1))
    assert [finding.severity for finding in report.of("order")] == ["note"]


def test_leakage_exact_and_near():
    x, y = clean(800)
    x_test, y_test = clean(200, seed=8)
    x_test[[4, 9]] = x[[700, 3]]
    (finding,) = check_data(x, y, x_test, y_test).at_least("warning")
    assert (finding.check, finding.severity) == ("leakage", "warning")
    assert finding.rows.tolist() == [4, 9] and "which is training row 700" in finding.text
    x_test[:50] = x[:50]
    assert check_data(x, y, x_test, y_test).of("leakage")[0].severity == "error"
    x_test, y_test = clean(200, seed=8)
    ends = np.r_[:20, 180:200]
    x_test[ends] = x[ends] + 1e-4
    (finding,) = check_data(x, y, x_test, y_test).at_least("warning")
    assert finding.check == "leakage" and "nearly equal" in finding.text
    np.testing.assert_array_equal(finding.rows, ends)


def test_leakage_between_dtypes():
    random = np.random.default_rng(0)
    x = random.integers(0, 250, (500, 30)).astype(np.uint8)
    x_test = random.integers(0, 250, (50, 30)).astype(np.float32)
    x_test[2] = x[17]
    y = np.arange(500) % 2
    (finding,) = check_data(x, y, x_test).of("leakage")
    assert finding.rows.tolist() == [2]


def test_shift_of_features_and_of_labels():
    x, y = clean(900)
    x_test, y_test = clean(300, seed=8)
    x_test[:, 1] += 1
    (finding,) = check_data(x, y, x_test, y_test).at_least("warning")
    assert (finding.check, finding.columns.tolist()) == ("shift", [1])
    x_test, y_test = clean(900, seed=8)
    keep = (y_test != 2) | (np.arange(900) % 3 == 0)
    report = check_data(x, y, x_test[keep], y_test[keep])
    assert any("Class 2 is 33.3% of the training" in finding.text for finding in report)
    y_test[0] = 7
    report = check_data(x, y, x_test, y_test)
    assert "labels that the training data lack: [7]" in str(report)
    assert report.of("shift")[0].rows.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "severity", "message"),
    [
        (lambda y: y + 1, "warning", "not 0 to 2 but 1, 2, 3"),
        (lambda y: y * 2, "warning", "not 0 to 2 but 0, 2, 4"),
        (lambda y: np.where(y == 2, 1, -1), "note", "which fits hinge"),
        (lambda y: np.array(["a", "b", "c"])[y], "error", "not numbers (a, b, c)"),
        (lambda y: y.astype(float), "note", "stored as float64"),
        (lambda y: 0 * y, "error", "nothing to learn"),
    ],
)
def test_labels(change, severity, message):
    x, y = clean()
    found = [f for f in check_data(x, change(y)).of("labels") if message in f.text]
    assert [finding.severity for finding in found] == [severity]


def test_one_hot_rows_and_columns_of_labels_are_read_as_labels():
    x, y = clean()
    for form in (gpunn.utils.to_categorical(y), y[:, None], y.astype(np.uint8)):
        assert not check_data(x, form).findings
    assert "3 classes (200, 200, 200)" in check_data(x, np.eye(3)[y]).summary
    assert "targets from 0 to 2" in check_data(x, y, task="regression").summary


def test_columns_that_are_no_numbers():
    x, y = clean()
    table = x.astype(object)
    table[:, 2] = np.array(["red", "blue"])[np.arange(600) % 2]
    report = check_data(table, y)
    (finding,) = report.of("dtype")
    assert finding.severity == "error" and finding.columns.tolist() == [2]
    assert "600 rows of 3 features" in report.summary
    table[:, 3] = 5.0
    assert check_data(table, y).of("constant")[0].columns.tolist() == [3]  # not 2
    table[:, 2] = None
    table[::2, 2] = 1.5
    assert check_data(table, y).of("missing")[0].columns.tolist() == [2]
    assert check_data(x + 1j, y).of("dtype")


def test_what_is_found_once_is_reported_in_the_singular():
    x, y = clean(40, 6)
    x[:, 1] = 3
    x[2, 2] = np.nan
    x[5, 3] = 1e6
    x[11], y[11] = x[10], y[10]
    report = check_data(x, y, x[11:12], y[11:12])
    found = " ".join([str(report), *(finding.text for finding in report)]).replace("\n", " ")
    for message in (
        "; 1 row of test data", "x has 1 value that is missing", "fill it in, or leave the row out",
        "1 row equal to an earlier one (2.5%): it counts", "1 of 6 features has the same value",
        "and carries no information", "1 row has values far from all others",
        "missing values? Feature: 3.",
        "1 of 1 test row (100.0%) is also in", "metrics on it measure memorization",
    ):  # fmt: skip
        assert message in found
    assert not re.search(r"\b1 (rows|values|features|classes|entries|columns)\b", found)
    alone = check_data([[1.0, 2.0]], [0])
    assert "1 row of 2 features, 1 class (1)" in alone.summary
    assert "There is only 1 row:" in alone.of("amount")[0].text


def test_the_report():
    x, y = clean()
    x[0, 0] = np.nan
    x[:, 2] = 1
    report = check_data(x, y + 1)
    assert len(report) == 3
    ranks = [SEVERITIES.index(finding.severity) for finding in report]
    assert ranks == [2, 1, 0]
    assert max(map(len, str(report).splitlines())) < 80
    with pytest.raises(gpunn.utils.DataCheckError, match=r"missing: x has .*(?!constant)"):
        report.raise_on()
    with pytest.raises(ValueError, match="severity must be one of note, warning, error"):
        report.raise_on("fatal")


def test_the_data_are_not_changed():
    x, y = clean()
    x[0, 0] = np.nan
    before = x.copy(), y.copy()
    check_data(x, y, x[:50], y[:50])
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": [0, 1]}, "y must have a row for each of the 600 rows"),
        ({"x": 3}, r"x must be \(rows, ...\)"),
        ({"x_test": np.ones((9, 2))}, "x_test has 2 features per row"),
        ({"x_test": np.ones((9, 7))}, "x_test has 7 features per row"),
        ({"x_test": np.ones((9, 4)), "y_test": [1]}, "y_test must have a row for each of the 9"),
        ({"task": "ranking"}, "task must be one of classification, regression"),
        ({"parameters": -1}, "parameters must be an integer of at least 0"),
        ({"names": ["a"]}, "names has 1 entry"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    x, y = clean()
    with pytest.raises(ValueError, match=message):
        check_data(**{"x": x, "y": y, **arguments})
