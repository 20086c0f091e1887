"""Contestants of other libraries: CatBoost, LightGBM, RealMLP (pytabkit) and FLAML.

`rivals` has the first ones, and what a contestant is. These need the extra `bench-tables`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.studies.tables.rivals import (
    Request,
    TunedModel,
    cpu_seconds,
    kinds,
    log_uniform,
)

NONE = "none"  # the category of a missing one


def catboost(request: Request) -> Any:
    """CatBoost, which takes categories as strings, and missing numbers as they are."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    model = CatBoostClassifier if request.classifies else CatBoostRegressor
    _, categories = kinds(request.columns)
    return _after_strings(
        request,
        model(
            cat_features=categories, random_seed=request.seed, thread_count=1,
            allow_writing_files=False, verbose=False,
        ),
    )  # fmt: skip


def lightgbm(request: Request, **settings: Any) -> Any:
    """LightGBM, which takes categories and missing values as they are."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    model = LGBMClassifier if request.classifies else LGBMRegressor
    # It learns from the columns' type which are categories.
    return _after_strings(
        request, model(random_state=request.seed, n_jobs=1, verbosity=-1, **settings)
    )


def tuned_lightgbm(request: Request) -> Any:
    return TunedModel(request, lightgbm, drawn_of_lightgbm)


def realmlp(request: Request) -> Any:
    """RealMLP with the defaults that were tuned for it ("TD"); missing numbers are medians.

    For a metric of probabilities its authors choose the epoch by the cross-entropy, without label
    smoothing (Holzmueller et al. 2024, "Better by default").
    """
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    one = {"device": "cpu", "random_state": request.seed, "n_threads": 1, "verbosity": 0}
    if request.classifies:
        network = RealMLP_TD_Classifier(
            **one, val_metric_name="cross_entropy", use_ls=False
        )
    else:
        network = RealMLP_TD_Regressor(**one)
    return _after_strings(request, network, filled=True)


class Flaml:
    """FLAML, with CPU seconds for its budget: while it searches, its clock is that of the CPU."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def fit(self, x: Any, y: np.ndarray) -> Flaml:
        from flaml import AutoML

        task = self.request.task
        self.model = AutoML()
        clock = mock.patch("time.time", cpu_seconds)
        with TemporaryDirectory() as folder, contextlib.chdir(folder), clock:  # it leaves files
            self.model.fit(
                _with_strings(x), y, task=task, time_budget=max(self.request.seconds, 1.0),
                metric="log_loss" if self.request.classifies else "rmse",
                seed=self.request.seed, n_jobs=1, verbose=0,
            )  # fmt: skip
        return self

    def predict(self, x: Any) -> np.ndarray:
        return self.model.predict(_with_strings(x))

    def predict_proba(self, x: Any) -> np.ndarray:
        return self.model.predict_proba(_with_strings(x))

    @property
    def classes_(self) -> np.ndarray:
        return self.model.classes_


def _with_strings(columns: Any) -> Any:
    """Return columns whose categories are strings of pandas's category type, none missing."""
    _, categories = kinds(columns)
    made = columns.copy()
    for name in categories:
        made[name] = made[name].astype(object).where(made[name].notna(), NONE).astype(str)
        made[name] = made[name].astype("category")
    return made


def _after_strings(request: Request, model: Any, filled: bool = False) -> Any:
    """Return a model behind `_with_strings`; with ``filled`` missing numbers become medians."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    steps: list[Any] = [FunctionTransformer(_with_strings)]
    if filled:
        numbers, _ = kinds(request.columns)
        fill = make_column_transformer(
            (SimpleImputer(strategy="median"), numbers), remainder="passthrough",
            verbose_feature_names_out=False,
        )  # fmt: skip
        steps.append(fill.set_output(transform="pandas"))
    return make_pipeline(*steps, model)


def drawn_of_lightgbm(seed: int) -> Iterator[dict[str, Any]]:
    """Yield the defaults of LightGBM, then settings drawn at random, without end."""
    generator = np.random.default_rng(seed)
    yield {}
    while True:
        yield {
            "learning_rate": log_uniform(generator, 0.01, 0.3),
            "n_estimators": round(log_uniform(generator, 30, 1000)),
            "num_leaves": round(log_uniform(generator, 4, 128)),
            "min_child_samples": round(log_uniform(generator, 2, 100)),
            "reg_lambda": log_uniform(generator, 1e-4, 100),
            "colsample_bytree": generator.uniform(0.3, 1.0),
            "subsample": generator.uniform(0.5, 1.0),
            "subsample_freq": 1,
        }
