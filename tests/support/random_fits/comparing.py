"""Comparison of the results of two training runs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .drawing import Config
from .running import run

# Relative and absolute, of the norm. Keras computes means in float32 even in a float64 model.
TOLERANCE = {"float64": (1e-4, 1e-6), "float32": (5e-3, 1e-4)}


def differences(
    config: Config, theirs: Config, ours: Config, tolerance: float = 1.0
) -> dict[str, str]:
    """Describe what differs by more than rounding, by its position in the results."""
    relative, absolute = (tolerance * limit for limit in TOLERANCE[config["dtype"]])
    found: dict[str, str] = {}

    def compare(place: str, a: Any, b: Any) -> None:
        if isinstance(a, dict):
            if a.keys() != b.keys():
                found[place] = f"{sorted(b)}, and not {sorted(a)}"
                return
            for name, value in a.items():
                compare(f"{place}/{name}", value, b[name])
        elif isinstance(a, (list, tuple)) and not all(isinstance(v, (int, float)) for v in a):
            if len(a) != len(b):
                found[place] = f"{len(b)} entries, and not {len(a)}"
                return
            for number, (one, other) in enumerate(zip(a, b, strict=True)):
                compare(f"{place}/{number}", one, other)
        elif isinstance(a, str):
            if a != b:
                found[place] = f"{b}, and not {a}"
        else:
            x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
            if x.shape != y.shape:
                found[place] = f"of shape {y.shape}, and not {x.shape}"
                return
            size = np.linalg.norm(x[np.isfinite(x)]) if x.size else 0.0
            same = (x == y) | (np.isnan(x) & np.isnan(y))
            with np.errstate(invalid="ignore"):
                off = np.linalg.norm(np.where(same, 0.0, x - y))
            limit = relative * size + absolute * math.sqrt(max(x.size, 1))
            if not off <= limit:
                found[place] = f"{y.tolist()!s:.120}, and not {x.tolist()!s:.120}"

    for name in theirs:
        if name != "first":
            compare(name, theirs[name], ours[name])
    return found


def is_chaotic(module: Any, config: Config, ours: Config, **of: Any) -> bool:
    """Return whether rounding decides the results.

    That is so if initial weights that differ by some roundings of float32 change the results by as
    much as is allowed.
    """
    random = np.random.default_rng(0)
    nearby = [w * (1 + 1e-6 * random.choice([-1, 1], w.shape)) for w in ours["first"]]
    return bool(differences(config, ours, run(module, config, nearby, **of), tolerance=0.5))
