"""Grid search whose networks train together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import indexable
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from gpunn.apps.many.engines import run
from gpunn.apps.many.jobs import Job
from gpunn.apps.many.kept import digest
from gpunn.apps.many.searching import AT_ONCE, fit_arguments
from gpunn.apps.many.shared import Shared, row_count
from gpunn.apps.many.trials import NUMBERED
from gpunn.feeding.memory import keeping

from .classifier import GpunnClassifier
from .estimator import TRAINED, GpunnEstimator
from .networks import Lent, Networks, plain
from .preparation import Pending
from .regressor import GpunnRegressor

OURS = (GpunnClassifier, GpunnRegressor)  # whose methods show no network to anybody


class GpunnSearchCV(GridSearchCV):
    """scikit-learn's ``GridSearchCV`` for the estimators of this module.

    The networks of all settings and folds train together, as by `gpunn.fit_many`, and end as their
    own `fit` would leave them: the scores are those of ``GridSearchCV``. So are parameters,
    attributes and the keys of ``cv_results_``, but for these:

    Args:
        estimator: a `GpunnClassifier` or `GpunnRegressor`; in a pipeline, search with
            ``GridSearchCV``.
        n_jobs: networks that train at once, in threads; None and -1 for as many as cores.

    ``mean_fit_time`` is the time of all trainings, divided by their number. What an estimator
    prints with ``verbose`` is left out.

    Raises:
        TypeError: for another estimator.

    >>> from sklearn.datasets import load_iris
    >>> from gpunn.sklearn import GpunnClassifier, GpunnSearchCV
    >>> x, y = load_iris(return_X_y=True)
    >>> grid = {"learning_rate": [0.001, 0.02], "hidden_layer_sizes": [(4,), (16,)]}
    >>> search = GpunnSearchCV(GpunnClassifier(epochs=30, random_state=0), grid, cv=3).fit(x, y)
    >>> search.best_params_["learning_rate"], bool(search.best_score_ > 0.9)
    (0.02, True)
    """

    cv: Any
    n_jobs: int | None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        own = self.estimator.__sklearn_tags__()
        tags.target_tags.multi_output = own.target_tags.multi_output
        if own.classifier_tags is not None:
            tags.classifier_tags.multi_label = own.classifier_tags.multi_label
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn 1.5
        return {"multioutput": True, "multilabel": is_classifier(self.estimator)}

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Train the networks of all settings and folds, and the best setting on all rows.

        Args:
            X, y: as for the estimator.
            **params: as for ``GridSearchCV``: ``groups`` for the folds, ``sample_weight``.

        Returns:
            The search.
        """
        self._validate_params()
        own = self.estimator
        if not isinstance(own, GpunnEstimator):
            raise TypeError(
                f"estimator must be a GpunnClassifier or GpunnRegressor; got {own!r:.80}. For "
                f"others, and for pipelines, use scikit-learn's GridSearchCV."
            )
        folds, n_jobs = self.cv, self.n_jobs
        began = time.perf_counter()
        trained, splits = self._trained(X, y, params)
        seconds = (time.perf_counter() - began) / max(1, len(trained))
        # scikit-learn asks for the fits one after the other, and gets those that are there.
        token = TRAINED.set(_handing_out(iter(trained)))
        try:
            self.cv, self.n_jobs = splits, 1
            super().fit(X, y, **params)
        finally:
            TRAINED.reset(token)
            self.cv, self.n_jobs = folds, n_jobs
        self.cv_results_["mean_fit_time"][:] = seconds
        self.cv_results_["std_fit_time"][:] = 0.0
        return self

    def _trained(
        self, X: Any, y: Any, params: Mapping[str, Any]
    ) -> tuple[list[_Fit], list[tuple[Any, Any]]]:
        """Return the fits of all settings and folds, in scikit-learn's order, and the folds."""
        X, y = indexable(X, y)
        folds = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(folds.split(X, y, params.get("groups")))
        weights = {name: value for name, value in params.items() if name == "sample_weight"}
        parts = []
        for train, _ in splits:
            rows = _safe_split(self.estimator, X, y, train)
            own = _check_method_params(X, params=weights, indices=train)
            parts.append((rows, own, digest([*rows, own.get("sample_weight")])))
        fits = [
            _Fit(clone(self.estimator).set_params(**clone(setting, safe=False)), *part)
            for setting, part in product(ParameterGrid(self.param_grid), parts)
        ]
        # Whether nobody but scikit-learn gets the estimators.
        hidden = type(self.estimator) in OURS and plain(self.scoring) is not None
        for k in range(0, len(fits), AT_ONCE):
            _train(fits[k : k + AT_ONCE], self.n_jobs, Networks() if hidden else None)
        return fits, splits


class _Fit:
    """A fit that scikit-learn will ask for: the estimator, its rows, and what became of it."""

    def __init__(
        self, estimator: GpunnEstimator, rows: tuple[Any, Any], fit_params: Any, key: str
    ) -> None:
        self.estimator, self.rows, self.fit_params, self.key = estimator, rows, fit_params, key
        self.error: Exception | None = None
        self.is_done = False
        self.lent: Lent | None = None

    def begin(self, networks: Networks | None) -> Pending | None:
        """Prepare the training; None if it fails with an error, which comes when it is due."""
        given = *self.rows, self.fit_params.get("sample_weight")
        try:
            if networks is not None:
                self.lent = networks.lent(self.estimator, given, self.key)
            return self.lent.pending if self.lent else self.estimator._begin_fit(*given)
        except Exception as error:  # again, it would draw another seed
            self.error, self.is_done = error, True
            return None

    def end(self, job: Job) -> None:
        self.error, self.is_done = job.error, True
        if job.error is None:
            self.estimator._end(job.history)

    def is_on(self, *given: Any) -> bool:
        """Whether X, y and the weights are those of the fit."""
        own = *self.rows, self.fit_params.get("sample_weight")
        if all(isinstance(array, (np.ndarray, type(None))) for array in given):
            return all(map(_are_equal, own, given))
        return self.key == digest([*given])

    def give_to(self, estimator: GpunnEstimator) -> None:
        """Make an estimator one that is trained."""
        if self.lent is not None:
            self.lent.show()
        estimator.__dict__.update(self.estimator.__dict__)


class _Training(Job):
    """The training of a fit, perhaps by a network that others train before and after."""

    lent: Lent | None = None

    def _fit(self) -> None:
        if self.lent is None:
            return super()._fit()
        try:
            network = self.lent.take()
        except Exception:
            return  # it is raised when the fit is due
        self.model, data = network.model, self.data
        self.data = replace(data, x=network.placed("x", data.x), y=network.placed("y", data.y))
        self.sample_weight = network.placed("weights", self.sample_weight)
        with keeping(network.kept):
            super()._fit()
        if self.error is None:
            self.lent.give_back()


def _train(fits: list[_Fit], n_jobs: int | None, networks: Networks | None) -> None:
    """Train the networks of fits together."""
    shared: dict[str, Shared] = {}
    jobs = []
    for number, fit in enumerate(fits):
        pending = fit.begin(networks)
        if pending is None:
            continue
        x, y = pending.x, pending.y
        data = Shared(x, y, row_count(fit.rows[0]))
        if y is not None and fit.lent is None:  # equal arrays of several settings become one
            data = shared.setdefault(digest([x, y]), data)
        given = {**pending.given}
        del given["verbose"]
        epochs, callbacks = given.pop("epochs"), given.pop("callbacks")
        arguments = {**fit_arguments(given), "epochs": epochs}
        job = _Training(
            number, pending.model, data, None, None, pending.sample_weight, None, callbacks,
            arguments, pending.context, fit.end, keeps_errors=True,
        )  # fmt: skip
        job.lent = fit.lent
        jobs.append(job)
    # Fits that train at once are of different networks, if there are any: fewer are built.
    jobs.sort(key=lambda job: job.lent.turn if job.lent else 0)
    if jobs:
        run(jobs, n_jobs if n_jobs is not None and n_jobs > 0 else None)


def _are_equal(one: Any, other: np.ndarray | None) -> bool:
    """Whether both are None, or arrays of the same bits."""
    if one is None or other is None or other.dtype.hasobject:
        return one is other or (other is not None and digest(one) == digest(other))
    is_like = isinstance(one, np.ndarray) and (one.shape, one.dtype) == (other.shape, other.dtype)
    return is_like and one.tobytes() == other.tobytes()


def _are_alike(one: GpunnEstimator, other: GpunnEstimator) -> bool:
    """Whether parameters are equal, or have equal texts but for places in memory."""
    a, b = one.get_params(deep=False), other.get_params(deep=False)
    return type(one) is type(other) and all(
        a[name] is b[name] or NUMBERED.sub("", repr(a[name])) == NUMBERED.sub("", repr(b[name]))
        for name in a
    )


def _handing_out(trained: Iterator[_Fit]) -> Callable[..., bool]:
    """Return a function that lets an estimator become the next of the trained ones, if that was
    trained on the same rows with the same parameters."""

    def take(estimator: GpunnEstimator, X: Any, y: Any, sample_weight: Any) -> bool:
        found = next(trained, None)
        if (
            found is None
            or not found.is_done
            or not found.is_on(X, y, sample_weight)
            or not _are_alike(found.estimator, estimator)
        ):
            return False
        if found.error is not None:
            raise found.error
        found.give_to(estimator)
        return True

    return take
