"""What `score` of the estimators that search returns, by scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.utils.validation import check_is_fitted

from gpunn.apps.tables.judging import Judging

OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "r2": metrics.r2_score,
    "mae": metrics.mean_absolute_error,
    "rmse": metrics.root_mean_squared_error,
}
OF_NAMED: dict[str, Callable[..., Any]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": metrics.f1_score,
}


def score_of_numbers(judging: Judging, predicted: np.ndarray, y: Any, weights: Any) -> float:
    """Return the score of predicted numbers (rows,) by targets, with a minus if it is a loss."""
    metric = judging.metric
    found = float(OF_NUMBERS[metric.option](y, predicted, sample_weight=weights))
    return -found if metric.is_loss else found


def score_of_classes(
    judging: Judging, classifier: Any, X: Any, y: np.ndarray, weights: Any
) -> float:
    """Return the score of a fitted classifier by the classes y (rows,), with a minus if it is a
    loss."""
    check_is_fitted(classifier)
    metric, classes, positive = judging.metric, classifier.classes_, classifier.positive_class_
    if metric.option == "log_loss":
        p = classifier.predict_proba(X)
        return -float(metrics.log_loss(y, p, sample_weight=weights, labels=classes))
    if metric.option == "auc":
        p = classifier.predict_proba(X)
        if positive is not None:
            own = p[:, classes == positive][:, 0]
            return float(metrics.roc_auc_score(y == positive, own, sample_weight=weights))
        return float(
            metrics.roc_auc_score(
                y, p, sample_weight=weights, multi_class="ovr", labels=classes
            )
        )
    named = classifier.predict(X)
    if metric.option in OF_NAMED:
        more: dict[str, Any] = {}
        if metric.option == "f1":
            more = {"average": "macro"} if positive is None else {"pos_label": positive}
        return float(OF_NAMED[metric.option](y, named, sample_weight=weights, **more))
    assert judging.costs is not None
    costs = judging.costs.of(named == positive, y == positive, 1)
    return -float(np.average(costs, weights=weights))
