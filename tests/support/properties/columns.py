"""The same values as columns of each library, with each kind of missing value."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

Values = list[Any]

MISSING: Mapping[str, Any] = {
    "None": None, "NaN": float("nan"), "NaN of 32 bits": np.float32("nan"), "NA": pd.NA,
    "NaT": pd.NaT, "NaT of NumPy": np.datetime64("NaT", "ns"),
}  # fmt: skip
"""Values that stand for a missing one."""


NULLABLE = {str: "string", int: "Int64", float: "Float64", datetime.datetime: "datetime64[us]"}


def objects(values: Values, missing: Any = None) -> np.ndarray:
    """Return values as an array of objects, with another one for None."""
    found = np.empty(len(values), object)
    found[:] = [missing if value is None else value for value in values]
    return found


def _masked(values: Values) -> Any:
    known = next(value for value in values if value is not None)
    filled = [known if value is None else value for value in values]
    dtype = "datetime64[ns]" if isinstance(known, datetime.datetime) else None
    return np.ma.array(np.array(filled, dtype), mask=[value is None for value in values])


def _scalars(values: Values) -> np.ndarray:
    kinds = {str: np.str_, int: np.int64, float: np.float64, datetime.datetime: np.datetime64}
    return objects([v if v is None else kinds[type(v)](v) for v in values])


def _pandas(values: Values) -> pd.Series:
    large = any(isinstance(value, int) and abs(value) > 2**53 for value in values)
    return pd.Series(values, dtype=object if large else None)  # else pandas makes floats of them


def _in_zone(values: Values) -> Any:
    dates = pl.Series(values)
    return dates.dt.replace_time_zone("Asia/Tokyo")


def _arrow_in_zone(values: Values) -> Any:
    zone = datetime.timezone(datetime.timedelta(hours=9))
    there = [v if v is None else v.replace(tzinfo=zone) for v in values]
    return pa.array(there, pa.timestamp("us", "Asia/Tokyo"))


def _written(values: Values, notation: str) -> np.ndarray:
    return objects([v if v is None else v.strftime(notation) for v in values])


COLUMNS: dict[str, Callable[[Values], Any]] = {
    **{f"objects with {name}": lambda v, m=m: objects(v, m) for name, m in MISSING.items()},
    "masked": _masked,
    "masked objects": lambda v: np.ma.array(objects(v, v[0]), mask=[x is None for x in v]),
    "NumPy's scalars": _scalars,
    "pandas": _pandas,
    "pandas, objects": lambda v: pd.Series(v, dtype=object),
    "pandas, categories": lambda v: pd.Series(pd.Categorical(v)),
    "pandas, nullable": lambda v: pd.Series(v, dtype=NULLABLE[type(v[0])]),
    "pandas, Arrow": lambda v: pd.Series(v, dtype=pd.ArrowDtype(pa.array(v).type)),
    "polars": pl.Series,
    "Arrow": pa.array,
    "Arrow, chunked": lambda v: pa.chunked_array([v[:1], v[1:]]),
}
OF_TEXTS: dict[str, Callable[[Values], Any]] = {
    "bytes": lambda v: objects([x if x is None else x.encode() for x in v]),
    "bytes of Arrow": lambda v: pa.array([x if x is None else x.encode() for x in v]),
    "strings of NumPy": lambda v: np.array(v, np.dtypes.StringDType(na_object=None)),
    "polars, categories": lambda v: pl.Series(v, dtype=pl.Categorical),
    "Arrow, dictionary": lambda v: pa.array(v).dictionary_encode(),
}
OF_DATES: dict[str, Callable[[Values], Any]] = {
    "index": pd.DatetimeIndex,
    "seconds": lambda v: np.array(v, "datetime64[s]"),
    "nanoseconds": lambda v: np.array(v, "datetime64[ns]"),
    "pandas, in a zone": lambda v: pd.Series(pd.DatetimeIndex(v)).dt.tz_localize("Asia/Tokyo"),
    "polars, in a zone": _in_zone,
    "Arrow, in a zone": _arrow_in_zone,
    "written": lambda v: _written(v, "%Y-%m-%d %H:%M:%S"),
    "with a zone": lambda v: _written(v, "%Y-%m-%dT%H:%M:%S+09:00"),
    "days first": lambda v: _written(v, "%d.%m.%Y %H:%M:%S"),
}
