"""Test that a missing value raises an error naming its column and row, wherever it enters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import gpunn
from gpunn import layers
from gpunn.sklearn import GpunnClassifier, GpunnRegressor

ROW, ROWS = 2, 6
X = np.random.default_rng(0).random((ROWS, 2))
STRINGS: list[Any] = ["a", "b", None, "a", "b", "a"]
NUMBERS: list[Any] = [0, 1, None, 1, 0, 1]
TRUTHS: list[Any] = [False, True, None, True, False, True]


def of_pandas(values: list[Any], dtype: str) -> pd.Series:
    return pd.Series(values, dtype=dtype, name="label")


MISSING_NUMBERS = {
    "pandas Int64": of_pandas(NUMBERS, "Int64"),
    "pandas Float64": of_pandas(NUMBERS, "Float64"),
    "pandas boolean": of_pandas(TRUTHS, "boolean"),
    "pandas objects": of_pandas(NUMBERS, "object"),
    "pandas frame": pd.DataFrame({"label": of_pandas(NUMBERS, "Int64")}),
    "polars integers": pl.Series("label", NUMBERS),
    "polars truths": pl.Series("label", TRUTHS),
    "Arrow integers": pa.array(NUMBERS),
    "Arrow truths": pa.array(TRUTHS),
    "Arrow chunks": pa.chunked_array([NUMBERS[:3], NUMBERS[3:]]),
    "None": np.array(NUMBERS, object),
    "NaN among objects": np.array([0, 1, np.nan, 1, 0, 1], object),
    "NA among objects": np.array([0, 1, pd.NA, 1, 0, 1], object),
    "NaN": np.array(NUMBERS, float),
    "a list": NUMBERS,
}
MISSING_STRINGS = {
    "pandas string": of_pandas(STRINGS, "string"),
    "pandas str": pd.Series(STRINGS, name="label"),
    "pandas category": of_pandas(STRINGS, "category"),
    "pandas frame of string": pd.DataFrame({"label": of_pandas(STRINGS, "string")}),
    "polars strings": pl.Series("label", STRINGS),
    "polars categories": pl.Series("label", STRINGS, dtype=pl.Categorical),
    "Arrow strings": pa.array(STRINGS),
    "Arrow dictionary": pa.array(STRINGS).dictionary_encode(),
    "None among strings": np.array(STRINGS, object),
    "NaN among strings": np.array(["a", "b", np.nan, "a", "b", "a"], object),
    "a list of strings": STRINGS,
    "NaT": pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02", None] * 2), name="label"),
}
EVERYTHING = {**MISSING_NUMBERS, **MISSING_STRINGS}


def model(units: int = 1, loss: str = "mse") -> gpunn.Sequential:
    made = gpunn.Sequential(
        [gpunn.Input((2,)), layers.Dense(units, activation="sigmoid")], backend="numpy"
    )
    made.compile("sgd", loss)
    return made


def says_where(values: Any, use: Callable[[], Any], *, first: int = ROW) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        use()
    message = str(caught.value)
    assert f"row {first}" in message or f"[{first}" in message, message
    if getattr(values, "name", "") == "label" or hasattr(values, "columns"):
        assert "label" in message or f"[{first}" in message, message
    return message


@pytest.mark.parametrize("kind", EVERYTHING)
def test_in_targets_and_weights_of_estimators(kind: str) -> None:
    y = EVERYTHING[kind]
    settings: dict[str, Any] = {"epochs": 1, "backend": "numpy"}
    fitted = GpunnClassifier(2, **settings).fit(X, [0, 1] * 3)
    for use in (
        lambda: GpunnClassifier(2, **settings).fit(X, y),
        lambda: GpunnRegressor(2, **settings).fit(X, y),
        lambda: GpunnClassifier(2, **settings).partial_fit(X, y),
        lambda: GpunnClassifier(2, **settings).partial_fit(X, [0, 1] * 3, classes=y),
        lambda: GpunnClassifier(2, **settings).fit(X, [0, 1] * 3, sample_weight=y),
        lambda: fitted.score(X, y),
    ):
        assert "1 missing value" in says_where(y, use) or kind == "NaT"


@pytest.mark.parametrize("kind", MISSING_NUMBERS)
def test_in_targets_and_weights_of_models(kind: str) -> None:
    y = MISSING_NUMBERS[kind]
    for use in (
        lambda: model().fit(X, y, verbose=0),
        lambda: model(3, "sparse_categorical_crossentropy").fit(X, y, verbose=0),
        lambda: model(1, "binary_crossentropy").fit(X, y, verbose=0),
        lambda: model().evaluate(X, y, verbose=0),
        lambda: model().train_on_batch(X, y),
        lambda: model().fit(X, np.zeros(ROWS), validation_data=(X, y), verbose=0),
        lambda: model().fit(X, np.zeros(ROWS), sample_weight=y, verbose=0),
    ):
        says_where(y, use)


@pytest.mark.parametrize("kind", EVERYTHING)
def test_in_labels_to_be_numbered(kind: str) -> None:
    y = EVERYTHING[kind]
    assert "missing value" in says_where(y, lambda: gpunn.utils.to_categorical(y))


@pytest.mark.parametrize("kind", EVERYTHING)
def test_check_data_reports_it(kind: str) -> None:
    report = gpunn.utils.check_data(X, EVERYTHING[kind])
    found = [one.text for one in report.of("missing")]
    rows = "2 rows" if kind == "NaT" else "1 row"
    assert found == [f"y is missing in {rows}: the first is row {ROW}."]


@pytest.mark.parametrize("kind", MISSING_NUMBERS)
def test_in_columns_of_x(kind: str) -> None:
    y = MISSING_NUMBERS[kind]
    if type(y).__module__.startswith("polars"):
        frame: Any = pl.DataFrame({"label": y, "b": X[:, 0]})
    elif type(y).__module__.startswith("pyarrow"):
        frame = pa.table({"label": y, "b": X[:, 0]})
    else:
        column = y["label"] if isinstance(y, pd.DataFrame) else pd.Series(y)
        frame = pd.DataFrame({"label": column, "b": X[:, 0]})
    for use in (
        lambda: model().fit(frame, np.zeros(ROWS), verbose=0),
        lambda: model().predict(frame, verbose=0),
        lambda: GpunnRegressor(2, epochs=1).fit(frame, np.zeros(ROWS)),
        lambda: GpunnRegressor(2, epochs=1).fit(X, X[:, 0]).predict(frame),
    ):
        says_where(frame, use)
