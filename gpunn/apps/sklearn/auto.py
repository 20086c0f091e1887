"""Estimators that search for the best model of a table, as `gpunn train table.csv` does."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from gpunn.apps.splitting import FEWEST
from gpunn.apps.tables import Table, intervals
from gpunn.apps.tables.folds import Rules, equal_rows
from gpunn.apps.tables.judging import Judging
from gpunn.apps.tables.leaderboard import leaderboard
from gpunn.apps.tables.learning import TableData, planned
from gpunn.apps.tables.reading.cells import numbers
from gpunn.apps.tables.reading.columns import time_order
from gpunn.apps.tables.reading.kinds import Column, column_of
from gpunn.apps.tables.reading.markers import markers_of, without
from gpunn.apps.tables.reading.notation import Notation
from gpunn.apps.tables.reading.table import table_of
from gpunn.apps.tables.reading.values import text_of
from gpunn.apps.tables.search import Budget
from gpunn.apps.tables.table_model import TableModel
from gpunn.feeding.frames import is_frame
from gpunn.training.data_facts import doubt

from .estimator import _seed_of
from .scoring import score_of_classes, score_of_numbers
from .validation import check_names, check_targets, validated


@dataclass(eq=False, repr=False)
class _Auto(BaseEstimator):
    """Base class of both estimators, with their parameters."""

    _: KW_ONLY
    minutes: float | None = None
    fast: bool = False
    by_order: bool = False
    metric: str | None = None
    random_state: Any = None
    verbose: Any = 0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn 1.5
        return {"allow_nan": True, "X_types": ["2darray", "string"]}

    def _search(self, X: Any, y: np.ndarray, names: list[str], groups: Any) -> None:
        """Choose, and learn from all rows; there are names of classes, or none for numbers."""
        classes = len(names)
        judging = self._judging(classes)
        seed = _seed_of(self.random_state)
        table = self._table(X, first=True)
        if len(y) != table.rows:
            raise ValueError(f"X has {table.rows:,} rows, y has {len(y):,}: as many are needed.")
        if len(y) < FEWEST:
            raise ValueError(f"X has {len(y)} sample(s); at least {FEWEST} are needed.")
        columns = [_column(table, name) for name in table.names]
        columns = [column for column in columns if column.kind != "left out"]
        if not columns:
            raise ValueError("X has no column to learn from: all are empty, constant or texts.")
        every = np.arange(len(y))
        data = TableData(columns, {}, y, classes)
        task = "classification" if classes else "regression"
        known = TableModel.to_learn("y", task, data.features(every))
        data.given, _ = known.inputs(table)
        if groups is None:
            own = equal_rows([x[:, 0] for x in data.given.values()])
        else:
            own = np.unique(column_or_1d(groups), return_inverse=True)[1]
        order = time_order(columns, every)
        descends = order is not None and order.latest_first
        data.rules = Rules(bool(self.by_order), own, seed, descends)
        budget = Budget.for_minutes(self.minutes)
        show = _printed if self.verbose else None
        plan = planned(data, every, {}, seed, bool(self.fast), show, budget)
        self.model_ = plan.learn(data, every)
        checked, predicted = plan.checked(data, every)
        truth = y[checked]
        decision = judging.decision(predicted, truth, y, classes)
        errors = intervals.learned(predicted, truth, y, decision if classes else None)
        about: dict[str, Any] = {"table": {**known.document(), "intervals": errors.document()}}
        if classes:
            about |= {"classes": names, **decision.document(names)}
            about |= doubt(decision.weighed(predicted), truth)
        self.model_.trained_on = about
        self.members_ = [member.candidate.name for member in plan.choice.members]
        self.cv_loss_ = plan.loss(y)
        self.leaderboard_ = leaderboard(plan.choice.standings)
        self._known = known
        self._decision = decision

    def _judging(self, classes: int) -> Judging:
        """Return how answers are judged; the classifier has costs."""
        missed, false_alarm = (
            getattr(self, f"cost_false_{what}", None) for what in ("negative", "positive")
        )
        return Judging.asked(self.metric, missed, false_alarm, classes)

    def _table(self, X: Any, first: bool) -> Table:
        """Return the table in X."""
        if is_frame(X):
            check_names(self, X, first)
            return table_of(X, "X")
        if sparse.issparse(X):
            raise TypeError(
                "Sparse data was passed for X, but dense data is required: use X.toarray()."
            )
        X = validated(self, X, reset=first, dtype=None, ensure_all_finite="allow-nan")
        names = [f"x{i}" for i in range(X.shape[1])]
        plain = "number" if X.dtype.kind in "biuf" else ""
        if X.dtype.kind == "c":
            raise ValueError("Complex data not supported")
        cells = [[_cell(value) for value in column] for column in X.T.tolist()]
        return Table("X", names, cells, types=dict.fromkeys(names, plain))

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        table = self._table(X, first=False)
        given, _ = self._known.inputs(table)
        return np.asarray(self.model_.predict(given, verbose=0))

    def _intervals(self, X: Any, confidence_level: float) -> np.ndarray:
        """Return the intervals or the sets of classes of the rows."""
        outputs = self._outputs(X)
        known = intervals.of_model(self.model_)
        assert known is not None
        return known.of(outputs, confidence_level)


@dataclass(eq=False, repr=False)
class GpunnAutoClassifier(ClassifierMixin, _Auto):
    """The best classifier that a minute can find: a network, logistic regression, or their average.

    It takes a table as it is: numbers with missing values, texts, categories. `fit` prepares each
    column as `gpunn train table.csv` does, chooses among networks of several settings and the
    linear model by cross-validation, and learns the choice from all rows. It is an average of at
    most five models, and one model where that is within one standard error.

    Args:
        minutes: minutes that the search may take on this machine. None: a counted amount of work,
            with the same result on each run.
        fast: whether one network and a linear model are tried, and the better is the answer.
        by_order: whether rows are in an order of time: models are then checked by later rows. If
            dates descend, these come first.
        metric: what `score` returns: ``"accuracy"``, ``"auc"``, ``"f1"``, ``"log_loss"`` or
            ``"balanced_accuracy"``. None: the accuracy, or with costs their mean. Training is the
            same.
        cost_false_negative: cost of a row of the rarer of two classes that is not found. The class
            is then named from the probability on that costs least in cross-validation. None: 1.
        cost_false_positive: cost of another row that is taken for the rarer class. None: 1.
        random_state: seed of folds, initial weights, order and dropout.
        verbose: whether to print how far the search has come.

    Attributes:
        model_: the chosen `gpunn.Model`; it takes a table's columns by name and saves all of it.
        members_: what it is an average of, in words.
        leaderboard_: what was tried, as ``cv_results_``: a dictionary of arrays, of which
            ``pandas.DataFrame`` makes a table, the best first. They are ``model`` (settings in
            words), ``training`` (epochs, or the penalty), ``chosen``, ``loss``, ``loss_error``
            (standard error), ``accuracy``, ``folds``, ``seconds`` (a fold), ``parameters`` and
            ``params`` (settings as dictionaries).
        cv_loss_: its mean cross-entropy in cross-validation.
        classes_: the classes, in order.
        positive_class_: the rarer one of two; None if there are more.
        threshold_: the probability from which on that one is named.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if ``X`` was a DataFrame.

    >>> from sklearn.datasets import load_iris
    >>> from gpunn.sklearn import GpunnAutoClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> GpunnAutoClassifier(fast=True, random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    _: KW_ONLY
    cost_false_negative: float | None = None
    cost_false_positive: float | None = None

    def fit(self, X: Any, y: Any, groups: Any = None) -> GpunnAutoClassifier:
        """Search, and learn from all rows.

        Args:
            X: (rows, columns): a DataFrame, or an array.
            y: (rows,), classes.
            groups: (rows,), equal for rows that belong together, such as rows of one patient.

        Raises:
            ValueError, TypeError: for invalid parameters or data, before any work.
        """
        check_targets(y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, numbers_of = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y has one class only: there is nothing to learn.")
        self._search(X, numbers_of, [str(name) for name in self.classes_], groups)
        positive = self._decision.positive
        self.positive_class_ = None if positive is None else self.classes_[positive]
        self.threshold_ = None if positive is None else self._decision.threshold
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities (rows, classes)."""
        found = self._outputs(X).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable classes (rows,), or those that cost least."""
        outputs = self._outputs(X)
        return self.classes_[self._decision.named(outputs)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the metric of the predictions for X by the classes y (rows,).

        It has a minus if less is better, as in scikit-learn: the log loss, and the mean cost of a
        row. For two classes, F1 and the AUC are for the rarer one; for more, the mean of all,
        each against the others.

        Raises:
            ValueError, TypeError: for a metric or costs that do not fit the classes.
        """
        judging = self._judging(len(self.classes_))
        return score_of_classes(judging, self, X, column_or_1d(y), sample_weight)

    def predict_set(self, X: Any, confidence_level: float = intervals.USUAL) -> np.ndarray:
        """Return for each row the classes that hold the right one with a probability.

        A set has the classes from a least probability on: a quantile of the right classes'
        probabilities in cross-validation (Sadinle, Lei and Wasserman 2019). If the predicted class
        is less probable, the set goes down to it.

        Args:
            X: (rows, columns), as for `predict`.
            confidence_level: the probability: 0.5, 0.8, 0.9, 0.95 or 0.99.

        Returns:
            (rows, classes), True for the classes in the set.

        Raises:
            ValueError: for another level, or one that the training rows were too few for: 0.9
                needs 9 of them in cross-validation, 0.99 needs 99.

        >>> from sklearn.datasets import load_iris
        >>> from gpunn.sklearn import GpunnAutoClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = GpunnAutoClassifier(fast=True, random_state=0).fit(X, y)
        >>> model.predict_set(X[:1]).tolist()
        [[True, False, False]]
        """
        return self._intervals(X, confidence_level)


@dataclass(eq=False, repr=False)
class GpunnAutoRegressor(RegressorMixin, _Auto):
    """The best regressor that a minute can find: a network, ridge regression, or their average.

    It works as `GpunnAutoClassifier`, with its parameters. A skewed positive target is also tried
    as its logarithm. Targets far from all others count as the nearest of the others.

    Args:
        minutes, fast, by_order, random_state, verbose: as for `GpunnAutoClassifier`.
        metric: what `score` returns: ``"r2"`` (the default), ``"mae"`` or ``"rmse"``.

    Attributes:
        model_, members_, n_features_in_, feature_names_in_: as for `GpunnAutoClassifier`.
        leaderboard_: as there, with ``MAE``, ``RMSE`` and ``R2`` instead of ``accuracy``.
        cv_loss_: the mean squared error in cross-validation, in deviations of the target.

    >>> from sklearn.datasets import load_diabetes
    >>> from gpunn.sklearn import GpunnAutoRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> GpunnAutoRegressor(fast=True, random_state=0).fit(X, y).score(X, y) > 0.4
    True
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> GpunnAutoRegressor:
        """Search, and learn from all rows, as `GpunnAutoClassifier.fit` does.

        Its arguments and errors are the same, but ``y`` holds numbers (rows,).
        """
        check_targets(y)
        y = column_or_1d(y, warn=True, dtype=np.float64)
        if not np.isfinite(y).all():
            raise ValueError("Input y contains infinity or a value too large for dtype('float64').")
        self._search(X, y, [], groups)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions (rows,)."""
        return self._outputs(X)[:, 0].astype(np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the metric of the predictions for X by the targets y (rows,), with a minus if less
        is better: MAE and RMSE."""
        return score_of_numbers(self._judging(0), self.predict(X), y, sample_weight)

    def predict_interval(self, X: Any, confidence_level: float = intervals.USUAL) -> np.ndarray:
        """Return for each row the interval that holds the target with a probability.

        Its ends are quantiles of the errors in cross-validation, around the prediction: as many
        targets are below it as above (Barber et al. 2021). Errors that grow with the prediction are
        measured relative to a power of it.

        Args:
            X: (rows, columns), as for `predict`.
            confidence_level: the probability: 0.5, 0.8, 0.9, 0.95 or 0.99.

        Returns:
            (rows, 2), the lower and the upper end in the target's units.

        Raises:
            ValueError: for another level, or one that the training rows were too few for: 0.9
                needs 19 of them in cross-validation, 0.99 needs 199.

        >>> from sklearn.datasets import load_diabetes
        >>> from gpunn.sklearn import GpunnAutoRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = GpunnAutoRegressor(fast=True, random_state=0).fit(X, y)
        >>> low, high = model.predict_interval(X).T
        >>> round(float(((low <= y) & (y <= high)).mean()), 1)
        0.9
        """
        return self._intervals(X, confidence_level)


def _printed(fold: int, done: int, of: int) -> None:
    print(f"From fold {fold + 1} on: {done} of {of} models", flush=True)


def _cell(value: Any) -> str:
    return str(float(value)) if isinstance(value, bool) else text_of(value)


def _column(table: Table, name: str) -> Column:
    """Return a column; one of numbers is never left out, since its type says that it counts.

    Whole numbers that are stored as categories are names. So are those that are stored as strings,
    if they are as few as categories: as quantities they would be numbers in a frame.
    """
    cells, told = table.column(name), table.types[name]
    if told == "number":
        values, _ = numbers(cells)
        markers = markers_of(values)
        return Column(name, "number", values=without(values, markers), markers=markers)
    notation = Notation(".", True, True)
    if told:
        found = column_of(name, cells, notation, told=told)
        codes = all(cell.isdigit() or not cell for cell in found.categories)
        if found.kind == "category" and (told == "category" or codes):
            return found
    return column_of(name, cells, notation)
