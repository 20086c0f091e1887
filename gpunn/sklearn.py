"""Estimators for scikit-learn; needs the extra ``sklearn``. `import gpunn` does not import it."""

from __future__ import annotations

from gpunn.apps.sklearn import GpunnAutoClassifier as GpunnAutoClassifier
from gpunn.apps.sklearn import GpunnAutoRegressor as GpunnAutoRegressor
from gpunn.apps.sklearn import GpunnClassifier as GpunnClassifier
from gpunn.apps.sklearn import GpunnRegressor as GpunnRegressor
from gpunn.apps.sklearn import GpunnSearchCV as GpunnSearchCV

__all__ = [
    "GpunnAutoClassifier",
    "GpunnAutoRegressor",
    "GpunnClassifier",
    "GpunnRegressor",
    "GpunnSearchCV",
]
