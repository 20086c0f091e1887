# ruff: noqa: F403, F405
"""Estimators for scikit-learn; needs the extra ``sklearn``. `import gpunn` does not import it."""

from __future__ import annotations

from gpunn.apps.sklearn import *

__all__ = [
    "GpunnAutoClassifier", "GpunnAutoRegressor", "GpunnClassifier", "GpunnRegressor",
    "GpunnSearchCV",
]
