"""Rows and targets checked as scikit-learn checks them, whichever release it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.feeding.frames import check_known, each_column, from_column, is_frame


def validated(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """X, or X and y, checked as scikit-learn does, by the name of the function of its release."""
    if is_frame(X):
        _check_columns(X)
    for targets in y:
        check_targets(targets)
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn 1.5
        return estimator._validate_data(X, *y, **options)
    return validate_data(estimator, X, *y, **options)


def check_targets(y: Any) -> None:
    """Look for missing targets, which scikit-learn's own errors do not place.

    Raises:
        ValueError: naming the column, if it has a name, and the row.
    """
    check_known(y, "Input y contains NaN: y")


def _check_columns(frame: Any) -> None:
    """Look at each column: scikit-learn's own errors do not say which one it is.

    Raises:
        ValueError: naming a column that holds text, or has missing values.
    """
    for name, column in each_column(frame):
        what = f"X: the column {name!r}"
        try:
            values = from_column(column, what)
        except TypeError as error:
            raise ValueError(str(error)) from None
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(1, bool)
        if missing.any():
            raise ValueError(
                f"{what} has {int(missing.sum())} missing values (NaN), the first in row "
                f"{int(missing.argmax())}: fill them in, as sklearn.impute.SimpleImputer does."
            )
