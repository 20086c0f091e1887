"""Validation of rows and targets by scikit-learn, whatever its release."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.feeding.frames import check_known, each_column, from_column, is_frame


def validated(estimator: Any, X: Any, *y: Any, **options: Any) -> Any:
    """Validate X, or X and y, with the function of the installed scikit-learn release."""
    if is_frame(X):
        _check_columns(X)
    for targets in y:
        check_targets(targets)
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn 1.5
        if "ensure_all_finite" in options:
            options["force_all_finite"] = options.pop("ensure_all_finite")
        return estimator._validate_data(X, *y, **options)
    return validate_data(estimator, X, *y, **options)


def check_names(estimator: Any, X: Any, first: bool) -> None:
    """Note the columns of a frame in the first call, and compare them in later ones."""
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn 1.5
        estimator._check_feature_names(X, reset=first)
        estimator._check_n_features(X, reset=first)
        return
    validate_data(estimator, X, reset=first, skip_check_array=True)


def check_targets(y: Any) -> None:
    """Check for missing targets, since scikit-learn's own errors do not locate them.

    Raises:
        ValueError: if one is missing; the message names the column, if it has a name, and the row.
    """
    check_known(y, "Input y contains NaN: y")


def _check_columns(frame: Any) -> None:
    """Check each column, since scikit-learn's own errors do not name it.

    Raises:
        ValueError: if a column holds text or has missing values; the message names it.
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
                f"{int(missing.argmax())}: fill them in, e.g. with sklearn.impute.SimpleImputer."
            )
