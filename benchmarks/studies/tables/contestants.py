"""Who takes part, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.studies.tables import libraries, rivals
from benchmarks.studies.tables.rivals import Request

CONTESTANTS: dict[str, Callable[[Request], Any]] = {
    "gpunn": rivals.gpunn,
    "boosting": rivals.boosting,
    "boosting, tuned": rivals.tuned_boosting,
    "forest": rivals.forest,
    "MLP": rivals.mlp,
    "linear": rivals.linear,
    "CatBoost": libraries.catboost,
    "LightGBM": libraries.lightgbm,
    "LightGBM, tuned": libraries.tuned_lightgbm,
    "RealMLP": libraries.realmlp,
    "FLAML": libraries.Flaml,
}
"""The contestants; those behind "linear" need the packages of `libraries`."""
SEARCHING = ("boosting, tuned", "LightGBM, tuned", "FLAML")  # in the CPU seconds that gpunn took
OTHERS = ("CatBoost", "LightGBM", "LightGBM, tuned", "RealMLP", "FLAML")
