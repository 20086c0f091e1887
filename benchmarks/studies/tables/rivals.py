"""The contestants: gpunn, and scikit-learn's models with the usual preparation of a table.

Each is made for a task, the columns of the table (a DataFrame), a seed, and the CPU seconds that it
may take, which only those that search heed. All are estimators with `fit` and `predict`,
classifiers with `predict_proba` and `classes_`.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.studies.tables import scores

FOLDS = 3
# More categories than gradient boosting takes are joined, the rarest first.
MOST_CATEGORIES = 254


class Request(NamedTuple):
    """What a contestant is made for."""

    task: str
    columns: Any
    seed: int
    seconds: float = 0.0

    @property
    def classifies(self) -> bool:
        return self.task == "classification"


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, all threads, and of its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def gpunn(request: Request) -> Any:
    from gpunn import sklearn

    task = "Classifier" if request.classifies else "Regressor"
    return getattr(sklearn, f"GpunnAuto{task}")(random_state=request.seed)


def boosting(request: Request, **settings: Any) -> Any:
    """Gradient boosting, which takes categories and missing values as they are."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    _, categories = kinds(request.columns)
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MOST_CATEGORIES
    )
    model = HistGradientBoostingClassifier if request.classifies else HistGradientBoostingRegressor
    return make_pipeline(
        make_column_transformer((codes, categories), remainder="passthrough"),
        model(
            categorical_features=list(range(len(categories))) or None,
            random_state=request.seed, **settings,
        ),
    )  # fmt: skip


def forest(request: Request) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    model = RandomForestClassifier if request.classifies else RandomForestRegressor
    return make_pipeline(prepared(request.columns), model(random_state=request.seed))


def mlp(request: Request) -> Any:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    prepare = prepared(request.columns, StandardScaler())
    if request.classifies:
        return make_pipeline(prepare, MLPClassifier(random_state=request.seed))
    network = make_pipeline(prepare, MLPRegressor(random_state=request.seed))
    return TransformedTargetRegressor(network, transformer=StandardScaler())


def linear(request: Request) -> Any:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = (
        LogisticRegression(max_iter=1000)
        if request.classifies
        else RidgeCV(alphas=np.logspace(-3, 3, 13))
    )
    return make_pipeline(prepared(request.columns, StandardScaler()), model)


class TunedModel:
    """A model with the best settings that a random search finds in a given CPU time.

    The defaults are the first candidate. A candidate that is not complete when the time is over
    is dropped; the fit with the best settings comes after that, so this takes a little more time.

    Args:
        made: makes the model with some settings.
        drawn: yields settings without end, by a seed.
    """

    def __init__(
        self,
        request: Request,
        made: Callable[..., Any],
        drawn: Callable[[int], Iterator[dict[str, Any]]],
    ) -> None:
        self.request, self.made, self.drawn = request, made, drawn
        self.candidates = 0
        self.settings: dict[str, Any] = {}

    def fit(self, x: Any, y: np.ndarray) -> TunedModel:
        end = cpu_seconds() + self.request.seconds
        smallest = float("inf")
        for settings in self.drawn(self.request.seed):
            loss = self._cross_validated(settings, x, y, end)
            if loss is None:
                break
            self.candidates += 1
            if loss < smallest:
                smallest, self.settings = loss, settings
        self.model = self.made(self.request, **self.settings).fit(x, y)
        return self

    def _cross_validated(
        self, settings: dict[str, Any], x: Any, y: np.ndarray, end: float
    ) -> float | None:
        """Return the mean loss of all rows, or None if the time is over."""
        from sklearn.model_selection import KFold, StratifiedKFold

        kind = StratifiedKFold if self.request.classifies else KFold
        losses = []
        for train, test in kind(FOLDS, shuffle=True, random_state=self.request.seed).split(x, y):
            if cpu_seconds() >= end:
                return None
            model = self.made(self.request, **settings).fit(x.iloc[train], y[train])
            losses.append(scored(self.request.task, model, x.iloc[test], y[test])[1])
        return float(np.concatenate(losses).mean()) if cpu_seconds() < end else None

    def predict(self, x: Any) -> np.ndarray:
        return self.model.predict(x)

    def predict_proba(self, x: Any) -> np.ndarray:
        return self.model.predict_proba(x)

    @property
    def classes_(self) -> np.ndarray:
        return self.model.classes_


def tuned_boosting(request: Request) -> Any:
    return TunedModel(request, boosting, drawn)


def scored(task: str, model: Any, x: Any, y: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Return the scores of a fitted model on test rows, and the loss of each."""
    if task == "classification":
        return scores.of_classes(y, model.predict_proba(x), model.classes_)
    return scores.of_numbers(y, model.predict(x))


def kinds(columns: Any) -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers, and of the others."""
    numbers = list(columns.select_dtypes(["number", "bool"]))
    return numbers, [name for name in columns if name not in numbers]


def prepared(columns: Any, scaler: Any = None) -> Any:
    """Fill numbers with medians, scale them if asked to, and encode categories one-hot."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    numbers, categories = kinds(columns)
    filled = SimpleImputer(strategy="median")
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=MOST_CATEGORIES, sparse_output=False
    )
    return make_column_transformer(
        (make_pipeline(filled, scaler) if scaler else filled, numbers), (encoder, categories)
    )


def drawn(seed: int) -> Iterator[dict[str, Any]]:
    """Yield the defaults of gradient boosting, then settings drawn at random, without end."""
    generator = np.random.default_rng(seed)
    yield {}
    while True:
        yield {
            "learning_rate": log_uniform(generator, 0.01, 0.5),
            "max_iter": round(log_uniform(generator, 30, 1000)),
            "max_leaf_nodes": round(log_uniform(generator, 4, 128)),
            "min_samples_leaf": round(log_uniform(generator, 2, 100)),
            "l2_regularization": log_uniform(generator, 1e-4, 100),
            "max_features": generator.uniform(0.3, 1.0),
        }


def log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))
