"""Values of counting metrics that Keras 3 asserts in its unit tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import metrics

BITS = (
    [[0, 1, 0, 1, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 1]],
    [[0, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0], [1, 1, 1, 1, 1]],
)
SHARES = (
    [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
    [[0.9, 0.2, 0.8, 0.1], [0.2, 0.9, 0.7, 0.6], [0.1, 0.2, 0.4, 0.3], [0, 1, 0.7, 0.3]],
)
THREE = {"thresholds": [0.15, 0.5, 0.85]}
ROWS = [1.0, 1.5, 2.0, 2.5]
EACH = [[1, 2, 3, 5], [7, 11, 13, 17], [19, 23, 29, 31], [5, 15, 10, 0]]
FOUR = ([0, 1, 1, 0], [1, 0, 1, 0])
TWO_ROWS = ([[0, 1, 1, 0], [1, 0, 0, 1]], [[1, 0, 1, 0], [1, 0, 1, 0]])
OTHER_ROWS = (TWO_ROWS[0], [[1, 0, 1, 0], [0, 1, 0, 1]])
EIGHT = [[1, 2, 3, 4], [4, 3, 2, 1]]
PAIRS = ([[0, 1], [1, 0]], [[1, 0], [0.6, 0]])
CLASSES = (
    [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]],
    [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]],
)
ONE_ROW = [0.2, 0.1, 0.5, 0, 0.2]

# metric, arguments, (y_true, y_pred), sample_weight, expected
COUNTS = [
    ("FalsePositives", {}, BITS, None, 7),
    ("FalsePositives", {}, BITS, ROWS, 14),
    ("FalsePositives", THREE, SHARES, None, [7, 4, 2]),
    ("FalsePositives", THREE, SHARES, EACH, [125, 42, 12]),
    ("FalseNegatives", {}, BITS, None, 3),
    ("FalseNegatives", {}, BITS, ROWS, 5),
    ("FalseNegatives", THREE, SHARES, None, [1, 4, 6]),
    ("FalseNegatives", THREE, SHARES, [[3.0], [5.0], [7.0], [4.0]], [4, 16, 23]),
    ("TrueNegatives", {}, BITS, None, 3),
    ("TrueNegatives", {}, BITS, ROWS, 4),
    ("TrueNegatives", THREE, SHARES, None, [2, 5, 7]),
    ("TrueNegatives", THREE, SHARES, [[0.0, 2.0, 3.0, 5.0]], [5, 15, 23]),
    ("TruePositives", {}, BITS, None, 7),
    ("TruePositives", {}, BITS, ROWS, 12),
    ("TruePositives", THREE, SHARES, None, [6, 3, 1]),
    ("TruePositives", THREE, SHARES, 37.0, [222, 111, 37]),
    ("Precision", {}, FOUR, None, 0.5),
    ("Precision", {}, TWO_ROWS, EIGHT, 7 / 10),
    ("Precision", {}, ([0, 0, 0, 0], [0, 0, 0, 0]), None, 0),
    ("Precision", {"thresholds": [0.5, 0.7]}, ([0, 1, 1, 0], [1, 0, 0.6, 0]), None, [0.5, 0]),
    ("Precision", {"thresholds": [0.5, 1.0]}, PAIRS, [[4, 0], [3, 1]], [3 / 7, 0]),
    ("Precision", {"top_k": 3}, ([0, 1, 1, 0, 0], ONE_ROW), None, 1 / 3),
    ("Precision", {"class_id": 1}, CLASSES, None, 1.0),
    ("Precision", {"thresholds": 0.7, "top_k": 2}, ([0, 1, 1, 0, 1], [0.2, 0.8, 0.6, 0, 0.2]),
     None, 1.0),
    ("Recall", {}, FOUR, None, 0.5),
    ("Recall", {}, OTHER_ROWS, EIGHT, 4 / 10),
    ("Recall", {}, ([0, 0, 0, 0], [0, 0, 0, 0]), None, 0),
    ("Recall", {"thresholds": [0.5, 0.7]}, ([0, 1, 1, 0], [1, 0, 0.6, 0]), None, [0.5, 0]),
    ("Recall", {"thresholds": [0.5, 1.0]}, PAIRS, [[1, 4], [3, 2]], [3 / 7, 0]),
    ("Recall", {"top_k": 3}, ([0, 1, 1, 0, 0], ONE_ROW), None, 0.5),
    ("Recall", {"class_id": 1}, CLASSES, None, 1.0),
    ("Recall", {"thresholds": 0.7, "top_k": 2}, ([1, 1, 1, 0, 1], [0.2, 0.8, 0.6, 0, 0.2]),
     None, 0.25),
]  # fmt: skip


def check(
    metric: Any, data: tuple[Any, Any], weight: Any, expected: Any, tolerance: float = 1e-6
) -> None:
    y_true, y_pred = np.array(data[0]), np.array(data[1], np.float32)
    weight = None if weight is None else np.array(weight)
    metric.update_state(y_true, y_pred, weight)
    assert_allclose(metric.result(), expected, atol=tolerance)
    metric.reset_state()
    assert_allclose(metric(y_true, y_pred, sample_weight=weight), expected, atol=tolerance)


@pytest.mark.parametrize("case", COUNTS, ids=[f"{c[0]}-{i}" for i, c in enumerate(COUNTS)])
def test_counts(case: tuple[Any, ...]) -> None:
    name, arguments, data, weight, expected = case
    check(getattr(metrics, name)(**arguments), data, weight, expected)


@pytest.mark.parametrize(("name", "positives"), [("Precision", 8 + 9), ("Recall", 11 + 12)])
def test_weighted_batches_of_top_k(name: str, positives: float) -> None:
    metric = getattr(metrics, name)(top_k=3)
    metric([[0, 1, 1, 0, 1]], [[0.2, 0.1, 0.4, 0, 0.2]], [[1, 4, 2, 3, 5]])
    value = metric([1, 0, 1, 1, 1], [0.2, 0.6, 0.4, 0.2, 0.2], np.array(3))
    assert value == pytest.approx((2 + 5 + 3 + 3) / positives)


def test_the_four_counts_are_there_to_look_at() -> None:
    metric = metrics.Recall(thresholds=0.7, top_k=2)
    metric.update_state([1, 1, 1, 0, 1], [0.2, 0.8, 0.6, 0, 0.2])
    assert metric.true_positives == 1 and metric.false_negatives == 3
    area = metrics.AUC(num_thresholds=5, multi_label=True)
    area.update_state(np.eye(2), np.eye(2))
    area.reset_state()
    assert_allclose(area.true_positives, np.zeros((5, 2)))


@pytest.mark.parametrize("name", ["TruePositives", "FalseNegatives", "Precision", "Recall"])
def test_thresholds_and_columns_that_cannot_be(name: str) -> None:
    for thresholds in ([-1, 0.5, 2], [None]):
        with pytest.raises(ValueError, match=r"Threshold values must be in \[0, 1\]"):
            getattr(metrics, name)(thresholds=thresholds)
    if name in ("Precision", "Recall"):
        with pytest.raises(ValueError, match="class_id=2"):
            getattr(metrics, name)(class_id=2)([0, 1, 1], [0.2, 0.1, 0.6])
        with pytest.raises(ValueError, match="from 0 to 1"):
            getattr(metrics, name)(class_id=2)(np.eye(2), np.eye(2))


# -- areas

LINE = ([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
WEIGHTS = [1, 2, 3, 4]
AREAS = [
    ({}, None, 0.75),
    ({"thresholds": [0.5], "num_thresholds": 2}, None, 0.75),
    ({}, WEIGHTS, 0.7855),
    ({"summation_method": "majoring"}, WEIGHTS, 1.0),
    ({"summation_method": "minoring"}, WEIGHTS, 0.571),
    ({"curve": "PR", "summation_method": "majoring"}, WEIGHTS, 1.0),
    ({"curve": "PR", "summation_method": "minoring"}, WEIGHTS, 0.7 * 0.429),
    ({"curve": "PR"}, WEIGHTS, 2.416 / 7 + 4 / 7),
    ({"curve": "PR"}, [-1, -2, -3, -4], 0.0),
    ({"curve": "PRGAIN", "summation_method": "majoring"}, WEIGHTS, 1.0),
    ({"curve": "PRGAIN", "summation_method": "minoring"}, WEIGHTS, 0.0),
    ({"curve": "PRGAIN"}, WEIGHTS, 0.5),
]


@pytest.mark.parametrize(("arguments", "weight", "expected"), AREAS)
def test_auc(arguments: dict[str, Any], weight: Any, expected: float) -> None:
    check(metrics.AUC(**{"num_thresholds": 3, **arguments}), LINE, weight, expected, 1e-3)


def logits(y_pred: Any) -> np.ndarray:
    return -np.log(1 / (np.array(y_pred, np.float32) + 1e-12) - 1)


def test_auc_of_logits_and_of_several_axes() -> None:
    check(metrics.AUC(3, from_logits=True), (LINE[0], logits(LINE[1])), None, 0.75, 1e-3)
    assert metrics.AUC()(LINE[0], LINE[0]) == 1
    big = np.array([[[-10, 10, -10], [10, -10, 10]], [[-12, 12, -12], [12, -12, 12]]])
    labels = np.array([[[1, 0, 0], [1, 0, 0]], [[0, 1, 1], [0, 1, 1]]])
    assert metrics.AUC()(labels, 1 / (1 + np.exp(big, dtype=np.float32))) == 0.5


def test_auc_prgain_of_ten() -> None:
    y_true = [0, 0, 0, 1, 0, 1, 0, 1, 1, 1]
    y_pred = [0.1, 0.2, 0.3, 0.3, 0.4, 0.4, 0.6, 0.6, 0.8, 0.9]
    expected = 0.666666 * 0.333333 + 0.333333 * 0.833333
    check(metrics.AUC(3, "PRGAIN"), (y_true, y_pred), None, expected, 1e-3)


GOOD = np.array([[0, 0, 1, 1], [0, 0, 1, 1]]).T
BAD = np.array([[0, 0, 1, 1], [1, 1, 0, 0]]).T
COLUMNS = np.array([[0, 0.5, 0.3, 0.9], [0.1, 0.2, 0.3, 0.4]], np.float32).T
MULTI = {"multi_label": True}
LABELS = [
    (MULTI, GOOD, COLUMNS, None, (0.875 + 1) / 2, 1e-3),
    ({**MULTI, "from_logits": True}, GOOD, logits(COLUMNS), None, (0.875 + 1) / 2, 1e-3),
    ({}, GOOD, COLUMNS, WEIGHTS, 1 - 0.3333 * (1 - 0.2857) / 2, 1e-3),
    ({}, GOOD, COLUMNS, np.arange(8).reshape(4, 2), 1 - 0.3333 * (1 - 0.2727) / 2, 1e-3),
    ({**MULTI, "label_weights": [0.75, 0.25]}, GOOD, COLUMNS, None, 0.875 * 0.75 + 0.25, 1e-3),
    ({"label_weights": [0.75, 0.25]}, GOOD, COLUMNS, None, 1 - (1 - 0.375) * 0.375 / 2, 1e-2),
    ({}, GOOD, COLUMNS, None, 1 - 3 / 32, 1e-3),
    ({"from_logits": True}, GOOD, logits(COLUMNS), None, 1 - 3 / 32, 1e-3),
    ({**MULTI, "thresholds": [0.5]}, GOOD, COLUMNS, None, (0.75 + 0.5) / 2, 1e-3),
    (MULTI, GOOD, COLUMNS, WEIGHTS, 1 - 0.5 * 0.43 * 0.67, 0.1),
    ({**MULTI, "curve": "PR"}, GOOD, COLUMNS, None, (0.91667 + 1) / 2, 0.1),
    ({**MULTI, "curve": "PR"}, GOOD, COLUMNS, WEIGHTS, (0.939 + 1) / 2, 0.1),
]


@pytest.mark.parametrize("case", LABELS, ids=range(len(LABELS)))
def test_auc_of_several_labels(case: tuple[Any, ...]) -> None:
    arguments, y_true, y_pred, weight, expected, tolerance = case
    check(metrics.AUC(5, **arguments), (y_true, y_pred), weight, expected, tolerance)
    assert metrics.AUC(**MULTI)(GOOD, GOOD) == metrics.AUC()(GOOD, GOOD) == 1


def test_auc_of_good_labels_and_then_of_bad_ones() -> None:
    area = metrics.AUC(5, "PR", multi_label=True)
    assert area(GOOD, COLUMNS) == pytest.approx((0.91667 + 1) / 2, abs=0.1)
    assert area(BAD, COLUMNS) == pytest.approx((0.91667 + 0.5) / 2, abs=0.1)


def test_auc_arguments() -> None:
    area = metrics.AUC(num_thresholds=2, thresholds=[0.5])
    assert area.num_thresholds == 3
    assert_allclose(area.thresholds, [0.0, 0.5, 1.0], atol=2e-7)
    assert metrics.AUC.from_config(area.get_config()).thresholds == area.thresholds
    for number in (-1, 1):
        with pytest.raises(ValueError, match="Argument `num_thresholds` must be an integer > 1"):
            metrics.AUC(num_thresholds=number)
    with pytest.raises(ValueError, match="curve must be one of ROC, PR, PRGAIN"):
        metrics.AUC(curve="Invalid")
    with pytest.raises(ValueError, match="summation_method must be one of"):
        metrics.AUC(summation_method="Invalid")


def test_a_model_compiles_with_areas_of_labels() -> None:
    model = gpunn.Sequential([gpunn.layers.Input((10,)), gpunn.layers.Dense(3, "sigmoid")])
    area = metrics.AUC(multi_label=True, num_labels=3)
    model.compile("adam", "binary_crossentropy", metrics=[area])
    assert model.metrics_names == ["loss", "auc"]


# -- F scores

ROUGH = [[0.7, 0.7, 0.7], [1, 0, 0], [0.9, 0.8, 0]]
RIGHT = [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
WRONG = [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
MIXED = [[0, 0, 1], [1, 1, 0], [1, 1, 1]]
HOT = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 1]]
SOFT = [[0.9, 0.1, 0], [0.2, 0.6, 0.2], [0, 0, 1], [0.4, 0.3, 0.3], [0, 0.9, 0.1], [0, 0, 1]]
MEANS = ("micro", "macro", "weighted")
BETAS = (0.5, 1.0, 2.0)

MIXED_SCORES = {
    None: ([0.71428573, 0.5, 0.833334], [0.8, 0.5, 0.6666667], [0.9090904, 0.5, 0.555556]),
    "micro": (0.6666667, 0.6666667, 0.6666667),
    "macro": (0.6825397, 0.6555555, 0.6548822),
    "weighted": (0.6825397, 0.6555555, 0.6548822),
}
ONES, SOME, HALVES = [1.0] * 6, [1.0, 0, 1, 1, 0, 1], [0.5, 1, 1, 1, 0.5, 1]
SOFT_SCORES = [
    (None, ONES, ([0.909091, 0.555556, 1], [0.8, 0.666667, 1], [0.714286, 0.833333, 1])),
    (None, SOME, ([1, 0, 1], [1, 0, 1], [1, 0, 1])),
    (None, HALVES, ([0.9375, 0.714286, 1], [0.857143, 0.8, 1], [0.789474, 0.909091, 1])),
    ("micro", ONES, (0.833333, 0.833333, 0.833333)),
    ("micro", SOME, (1, 1, 1)),
    ("micro", HALVES, (0.9, 0.9, 0.9)),
    ("macro", ONES, (0.821549, 0.822222, 0.849206)),
    ("macro", SOME, (0.666667, 0.666667, 0.666667)),
    ("macro", HALVES, (0.883929, 0.885714, 0.899522)),
    ("weighted", ONES, (0.880471, 0.844444, 0.829365)),
    ("weighted", SOME, (1, 1, 1)),
    ("weighted", HALVES, (0.917857, 0.902857, 0.897608)),
]


@pytest.mark.parametrize("beta", BETAS)
def test_f_scores(beta: float) -> None:
    for average in MEANS:
        for y_true, expected in ((RIGHT, 1.0), (WRONG, 0.0)):
            check(metrics.FBetaScore(average, beta, 0.66), (y_true, ROUGH), None, expected)
    at = BETAS.index(beta)
    for average, scores in MIXED_SCORES.items():
        check(metrics.FBetaScore(average, beta, 0.66), (MIXED, ROUGH), None, scores[at])
    for average, weight, scores in SOFT_SCORES:
        given = None if weight is ONES else weight
        for used in (weight, given):
            check(metrics.FBetaScore(average, beta), (HOT, SOFT), used, scores[at], 2e-6)


def test_f_scores_with_weights_of_other_shapes() -> None:
    data = ([[1, 1], [1, 0]], [[0.2, 0.6], [0.2, 0.6]])
    check(metrics.FBetaScore(threshold=0.5), data, 0.5, [0, 0.6666665], 1e-5)
    each = [[0.5, 0.2], [0.3, 0.8]]
    check(metrics.FBetaScore(threshold=0.5), data, each, [0, 0.333333], 1e-5)


def test_f1_is_f_beta_of_one() -> None:
    check(metrics.F1Score(), (HOT, SOFT), None, metrics.FBetaScore(beta=1.0)(HOT, SOFT))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"average": "invalid_average"}, "average"),
        *(({"beta": beta}, "beta") for beta in ("1.0", None, 0.0, -1.0)),
        *(({"threshold": t}, "threshold") for t in (1, "0.5", 1.1, 0.0, -0.5)),
    ],
)
def test_f_score_arguments(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"Invalid `{named}` argument value"):
        metrics.FBetaScore(**arguments)


# -- the coefficient of determination

ONE_OF_THREE = [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
NEAR = [[0.4, 0.5, 0.6], [0.1, 0.2, 0.3], [0.5, 0.8, 0.2]]
FAR = [[0.4, 0.9, 1.6], [0.1, 1.2, 0.6], [1.5, 0.8, 0.6]]
BY_VARIANCE = "variance_weighted_average"
R2 = [
    (None, 0, NEAR, None, [0.37, -1.295, 0.565]),
    (None, 1, NEAR, None, [-0.26, -3.59, 0.13]),
    ("uniform_average", 0, NEAR, None, -0.12),
    (BY_VARIANCE, 0, NEAR, None, -0.12),
    (None, 0, FAR, [0.8, 0.1, 0.4], [0.17305559, -8.836666, -0.521]),
    (None, 1, FAR, [0.8, 0.1, 0.4], [-0.65388882, -18.673332, -2.042]),
    (None, 2, FAR, [0.8, 0.1, 0.4], [0.17305559, -8.836666, -0.521]),
    ("uniform_average", 0, FAR, [0.8, 0.1, 0.4], -3.0615367889404297),
    ("uniform_average", 1, FAR, [0.8, 0.1, 0.4], -7.123073577880859),
    ("uniform_average", 2, FAR, [0.8, 0.1, 0.4], -3.0615367889404297),
    (BY_VARIANCE, 0, FAR, [0.8, 0.1, 0.4], -1.3710224628448486),
    (BY_VARIANCE, 1, FAR, [0.8, 0.1, 0.4], -3.742044448852539),
    (BY_VARIANCE, 2, FAR, [0.8, 0.1, 0.4], -1.3710224628448486),
]


@pytest.mark.filterwarnings("ignore:r2_score. 3 samples are too few")
@pytest.mark.parametrize("case", R2, ids=range(len(R2)))
def test_r2_score(case: tuple[Any, ...]) -> None:
    aggregation, regressors, y_pred, weight, expected = case
    metric = metrics.R2Score(aggregation, regressors)
    check(metric, (ONE_OF_THREE, y_pred), weight, expected, 3e-6)


def test_r2_score_arguments() -> None:
    with pytest.raises(ValueError, match="class_aggregation must be one of"):
        metrics.R2Score(class_aggregation="wrong")
    with pytest.raises(ValueError, match="num_regressors must be an integer of at least 0"):
        metrics.R2Score(num_regressors=-1)
