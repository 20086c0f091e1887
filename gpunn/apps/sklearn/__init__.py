"""Networks as scikit-learn estimators, public as `gpunn.sklearn`."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError("gpunn.sklearn needs scikit-learn 1.5 or newer: pip install 'gpunn[sklearn]'")

from .auto import GpunnAutoClassifier, GpunnAutoRegressor
from .classifier import GpunnClassifier
from .regressor import GpunnRegressor
from .searching import GpunnSearchCV

__all__ = [
    "GpunnAutoClassifier", "GpunnAutoRegressor", "GpunnClassifier", "GpunnRegressor",
    "GpunnSearchCV",
]
