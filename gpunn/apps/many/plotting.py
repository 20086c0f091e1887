"""The scores of a search over each argument of its points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.apps.plots.style import COLORS, dress, new_axes, new_panels

WIDE = 30  # times the least value is the largest, from which an axis is logarithmic


def plotted(study: Any, ax: Any) -> Any:
    """Return the figure of `Study.plot`."""
    names = list(dict.fromkeys(name for point in study.points for name in point))
    kinds = {name: {str(_value(point, name)) for point in study.points} for name in names}
    names = [name for name in names if len(kinds[name]) > 1] or names[:1] or ["point"]
    if ax is not None and len(names) != 1:
        raise ValueError(f"ax is for one argument; these differ: {', '.join(names)}.")
    panels = new_panels(len(names), 3)[1] if ax is None else [new_axes(ax)]
    for panel, name in zip(panels, names, strict=True):
        _draw(panel, name, study, len(names) == 1)
    return panels[0].figure


def _value(point: Mapping[str, Any], name: str) -> Any:
    return point.get(name, "default")  # that of build


def _draw(panel: Any, name: str, study: Any, alone: bool) -> None:
    values: list[Any] = [_value(point, name) for point in study.points]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    kinds: list[Any] = sorted({*values}) if numbers else list(dict.fromkeys(map(str, values)))
    place = {kind: kind if numbers else k for k, kind in enumerate(kinds)}
    where = [place[value if numbers else str(value)] for value in values]
    dots = [(where[r.trial.place], r.score) for r in study.results if math.isfinite(r.score)]
    if dots:
        panel.scatter(*zip(*dots, strict=True), s=14, color=COLORS[1], alpha=0.5, linewidths=0)
    means = [
        np.mean([y for x, y in dots if x == place[kind]] or [math.nan]) for kind in kinds
    ]
    counts = {where.count(at) for at in where}
    # A line compares means over the same values of the others, as in a grid; not single draws.
    line = "-" if alone or (len(counts) == 1 and counts != {1}) else "none"
    panel.plot([*place.values()], means, ls=line, color=COLORS[0], marker="_", linewidth=1)
    if numbers and min(kinds) > 0 and max(kinds) >= WIDE * min(kinds):
        panel.set_xscale("log")
    if not numbers:
        panel.set_xticks(range(len(kinds)), kinds)
    dress(panel, None, name.replace("_", " "), study.monitor.replace("_", " "))
