"""Test the layers that read dates and texts against pandas, polars and scikit-learn."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import HashingVectorizer

import gpunn
from gpunn import layers

EVERY = ["year", "month", "day", "weekday", "days", "hour", "minutes"]
RANDOM = np.random.default_rng(4)
MOMENTS = pd.Series(pd.to_datetime(RANDOM.integers(-(10**9), 4 * 10**9, 500), unit="s").floor("s"))
NOTATIONS = {
    "%Y-%m-%d %H:%M:%S": False, "%Y-%m-%dT%H:%M:%SZ": False, "%Y/%m/%d %I:%M:%S %p": False,
    "%d.%m.%Y %H:%M:%S": False, "%d/%m/%Y, %H:%M:%S": True, "%m/%d/%Y %H:%M:%S": False,
    "%d-%m-%Y %H:%M:%S+02:00": True, "%d %B %Y %H:%M:%S": False, "%b %d, %Y %H:%M:%S UTC": False,
    "%d-%b-%Y %H:%M:%S": False, "%-d. %b. %Y %-H:%M:%S": False,
}  # fmt: skip


def parts(moments: Any) -> np.ndarray:
    """The features that pandas finds."""
    of = moments.dt
    found = [of.year, of.month, of.day, of.day_of_week, of.floor("D") - pd.Timestamp(0), of.hour]
    found[4] = found[4].dt.days
    return np.stack([*found, of.hour * 60 + of.minute + of.second / 60], axis=1).astype(float)


@pytest.mark.parametrize(("notation", "day_first"), NOTATIONS.items())
def test_dates_have_the_parts_that_pandas_finds(notation: str, day_first: bool) -> None:
    layer = layers.DatetimeEncoder(EVERY, day_first)
    assert_allclose(layer(MOMENTS.dt.strftime(notation).tolist()), parts(MOMENTS))


@pytest.mark.parametrize("notation", ["%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%y"])
def test_years_of_two_digits_are_those_of_posix(notation: str) -> None:
    written = MOMENTS.dt.strftime(notation).tolist()
    theirs = pd.Series([datetime.datetime.strptime(text, notation) for text in written])
    layer = layers.DatetimeEncoder(EVERY[:5], day_first=notation == "%d/%m/%y")
    assert_array_equal(layer(written), parts(theirs)[:, :5])


@pytest.mark.parametrize("notation", ["%Y-%m", "%b-%y", "%b %Y", "%B-%Y", "%Y Q%q", "Q%q %Y"])
def test_months_and_quarters_begin_on_their_first_days(notation: str) -> None:
    months = pd.Series(pd.date_range("1969-01-01", "2068-12-01", freq="7MS"))
    if "%q" in notation:
        months = months.dt.to_period("Q").dt.start_time
        form = notation.replace("%q", "{0.quarter}").replace("%Y", "{0.year}")
        written = [form.format(month) for month in months]
    else:
        written = months.dt.strftime(notation).tolist()
    assert_array_equal(layers.DatetimeEncoder(EVERY[:5])(written), parts(months)[:, :5])


@pytest.mark.parametrize("of", [
    lambda m: m, lambda m: m.dt.tz_localize("Asia/Tokyo"), lambda m: m.to_numpy("datetime64[ns]"),
    lambda m: m.to_numpy("datetime64[s]")[:, None], lambda m: m.dt.to_pydatetime().tolist(),
    lambda m: pl.Series(m.dt.to_pydatetime().tolist()), lambda m: np.array(m.astype(str)),
    lambda m: [text.encode() for text in m.astype(str)],
])  # fmt: skip
def test_columns_of_dates_of_any_kind(of: Any) -> None:
    assert_allclose(layers.DatetimeEncoder(EVERY)(of(MOMENTS)), parts(MOMENTS))


def test_dates_without_times_and_times_without_dates() -> None:
    days = [datetime.date(2024, 2, 29), None, pd.NaT, "29 February 2024", "", float("nan")]
    found = layers.DatetimeEncoder(["year", "day", "hour"])(days)
    gap = [np.nan] * 3
    assert_array_equal(found, [[2024, 29, 0], gap, gap, [2024, 29, 0], gap, gap])
    times = ["17:30", "5:30 pm", "05:30:30", datetime.time(23, 59), "12:00 AM", None]
    found = layers.DatetimeEncoder(["minutes", "hour"])(times)
    minutes = [1050, 1050, 330.5, 1439, 0, np.nan]
    assert_array_equal(found, np.stack([minutes, np.floor(np.divide(minutes, 60))], axis=1))


def test_one_hot_rows_are_those_of_pandas() -> None:
    layer = layers.DatetimeEncoder(["weekday", "days", "month"], one_hot=True)
    found = layer([*MOMENTS, None])
    for at, part in ((0, MOMENTS.dt.day_of_week), (8, MOMENTS.dt.month)):
        dummies = pd.get_dummies(part).to_numpy()
        assert_array_equal(found[:-1, at : at + dummies.shape[1]], dummies)
    assert_array_equal(found[:-1, 7], parts(MOMENTS)[:, 4])
    assert found.shape == (501, 20) and np.isnan(found[-1, 7]) and np.nansum(found[-1]) == 0


TEXTS = [
    "The quick, brown fox", "brown THE fox quick", "naïve ÜBER Straße 日本 語", "a a a b", "", "!?",
    "x_1 2.5 don't 🌳", "İstanbul ΣΑΣ", "word " * 500, *(f"text {k} of many" for k in range(200)),
]  # fmt: skip


@pytest.mark.parametrize("norm", ["l2", "l1", None])
@pytest.mark.parametrize("alternate_sign", [True, False])
@pytest.mark.parametrize("n_features", [1, 64, 100])
def test_texts_are_hashed_as_scikit_learn_does(
    norm: str | None, alternate_sign: bool, n_features: int
) -> None:
    arguments = {"n_features": n_features, "norm": norm, "alternate_sign": alternate_sign}
    theirs = HashingVectorizer(token_pattern=r"\w+", **arguments).transform(TEXTS).toarray()
    assert_allclose(layers.HashingVectorizer(**arguments)(TEXTS), theirs, rtol=1e-6)


def test_neither_order_nor_case_of_words_matter_and_missing_texts_are_zeros() -> None:
    first, second, *others = layers.HashingVectorizer(16)([*TEXTS[:2], None, np.nan, "", "fox"])
    assert_array_equal(first, second)
    assert not np.any(others[:3]) and np.any(others[3] != first)


def network(backend: str) -> Any:
    day = gpunn.Input((1,), dtype="string", name="day")
    text = gpunn.Input((), dtype="string", name="text")
    dates = layers.DatetimeEncoder(["year", "days"], day_first=True)(day)
    joined = layers.concatenate(
        [
            layers.SimpleImputer(statistics=[2024, 19_000])(dates),
            layers.MissingIndicator()(dates),
            layers.DatetimeEncoder(["weekday"], day_first=True, one_hot=True)(day),
            layers.HashingVectorizer(8)(text),
        ]
    )
    return gpunn.Model([day, text], layers.Dense(2)(joined), backend=backend)


def test_a_model_reads_them_and_so_does_its_file(backend: str, tmp_path: Path) -> None:
    model = network(backend)
    table = {"day": ["13/04/2024", None, "2024-04-14"], "text": ["Red tea", None, "tea"]}
    words = HashingVectorizer(token_pattern=r"\w+", n_features=8).transform(["red tea", "", "tea"])
    made = [[2024, 19826, 0, 0], [2024, 19000, 1, 1], [2024, 19827, 0, 0]]
    x = np.hstack([made, np.eye(8)[[5, 7, 6], :7], words.toarray()])
    kernel, bias = model.get_weights()
    expected = x @ kernel + bias
    assert_allclose(model.predict(table, verbose=0), expected, rtol=1e-3)
    frame = pd.DataFrame(table)
    frame["day"] = pd.to_datetime(frame["day"], format="mixed", dayfirst=True)
    model.save(tmp_path / "m.gpunn")
    for again in (gpunn.saving.load_model(tmp_path / "m.gpunn"), model):
        assert_allclose(again.predict(frame, verbose=0), expected, rtol=1e-3)
    assert not any("text" in part or "hashing" in part for part in model.data_held())


def test_their_widths_are_known_before_data(backend: str) -> None:
    text = gpunn.Input((1,), dtype="string")
    day = layers.DatetimeEncoder(["days", "month"], one_hot=True)
    words = layers.HashingVectorizer(32)
    assert (day(text).shape, words(text).shape) == ((None, 13), (None, 32))
    assert (day.output_shape, words.output_shape) == ((None, 13), (None, 32))
    model = gpunn.Model(text, layers.Dense(1)(day(text)), backend=backend)
    assert model.layers[-1].kernel.shape == (13, 1)
    with pytest.raises(ValueError, match="holds nan at"):  # as any input of numbers
        model.predict(["2024-01-01", None], verbose=0)


TEXT = gpunn.Input((1,), dtype="string")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: layers.DatetimeEncoder()(["1.1.2024", "soon"]), r"'soon' at \[1\].* takes dates"),
        (lambda: layers.DatetimeEncoder()(["2023-02-29"]), "takes dates"),
        (lambda: layers.DatetimeEncoder()(["13/13/2024"]), "takes dates"),
        (lambda: layers.DatetimeEncoder()([2024]), r"holds 2024 at \[0\]"),
        (lambda: layers.DatetimeEncoder()(["24:00"]), "takes dates"),
        (lambda: layers.DatetimeEncoder()(["17:30"]), "a time of day; .* use features="),
        (lambda: layers.DatetimeEncoder(["yaer"]), "Did you mean 'year'"),
        (lambda: layers.DatetimeEncoder([]), "one or several different names"),
        (lambda: layers.DatetimeEncoder()([["2024-01-01"] * 2]), r"shape \(1, 2\).*a column"),
        (lambda: layers.DatetimeEncoder()(gpunn.Input((2,), dtype="string")), "its own input"),
        (lambda: layers.HashingVectorizer()(layers.Dense(1)(gpunn.Input((1,)))), "an input of the"),
        (lambda: layers.HashingVectorizer()([1.5]), r"1.5 at \[0\], a float; .* takes texts"),
        (lambda: layers.HashingVectorizer(0), "at least 1"),
        (lambda: layers.HashingVectorizer(norm="max"), "norm must be one of l1, l2"),
        (lambda: layers.Dense(1)(TEXT), "put layers.StringLookup"),
    ],
)  # fmt: skip
def test_refusals(act: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        act()
