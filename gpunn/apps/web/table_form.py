"""The form fields on the page of a model trained on a table, one for each column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpunn.apps import trained_on
from gpunn.apps.decisions import Decision
from gpunn.apps.tables import intervals
from gpunn.apps.tables.preparing import Range
from gpunn.apps.tables.shapley import orders
from gpunn.apps.tables.table_model import TableModel
from gpunn.common.names import counted, first_few
from gpunn.core.plan import HostPart
from gpunn.layers import MissingIndicator, Normalization, SimpleImputer
from gpunn.layers.preprocessing.dates import written

POINTS = 41  # points of a curve: rows of the page's program
FIELDS = 24  # fields shown at once: for wider tables, those that matter most
DEVIATIONS = 3  # from the mean, the ends of a slider if its column's range is unknown
FARTHEST = 1e30  # largest absolute value of a slider's end: a model computes in float32
_ROWS = 8192  # rows predicted at once


def table_form(model: Any, table: TableModel) -> dict[str, Any]:
    """Return the description of a page of kind ``"table"``; see ``js/model/form.js``.

    A slider covers the 1st to the 99th percentile of the training rows, so that outliers do not
    squeeze it. In files without percentiles it covers the range, or a few deviations around the
    mean. It starts at the median, as the field of a date does. A model with other outputs or layers
    than `gpunn train` makes raises ValueError.
    """
    about = trained_on.known(model)
    classes = about.get("classes", [])
    columns = fields(model, table)
    description = {
        "kind": "table",
        "answer": "shares" if classes else "number",
        "classes": classes,
        "factors": _factors(about) if classes else [],
        "unsure_below": about.get("unsure_below", 0.0),
        "rows": about.get("validated_on", 0),
        "target": table.target,
        "columns": columns,
        "orders": orders(len(columns)),
        **_interval(model),
    }
    if len(columns) > FIELDS:
        description["most"] = _order(model, columns)[:FIELDS]
    return description


def _factors(about: dict[str, Any]) -> list[float]:
    """Return what probabilities are multiplied by, so that the class that is named has the largest;
    empty if it has it anyway."""
    decision = Decision.of(about)
    return [] if decision.is_usual else decision.weighed(np.full((1, 2), 0.5))[0].tolist()


def table_notes(table: TableModel) -> list[str]:
    """Describe what the page of a model holds of its table.

    >>> from gpunn.apps.tables.preparing import Feature
    >>> features = [Feature("age", 30.0, 40.0, 10.0, range=Range(18, 81, True, (19, 77))),
    ...             Feature("tree", categories=["oak", "elm"])]
    >>> table = TableModel.to_learn("rent", "regression", features)
    >>> print(*table_notes(table), sep="\\n")
    the name of the target ('rent')
    the names of 2 columns ('age', 'tree')
    the median, mean and deviation of 1 column
    the range of 1 column ('age' 18 to 81)
    the 1st and the 99th percentile of 1 column ('age' 19 and 77)
    the categories of 1 column ('tree' 'oak', 'elm')
    """
    lines = [
        f"the name of the target ({table.target!r})",
        f"the names of {counted(len(table.columns), 'column')} "
        f"({first_few(map(repr, table.columns), 5)})",
    ]
    count = sum(kind in ("number", "date") for kind in table.columns.values())
    if count:
        lines.append(f"the median, mean and deviation of {counted(count, 'column')}")
    ends = {name: " to ".join(_ends(table, name)) for name in table.ranges}
    bulk = {
        name: "{:.10g} and {:.10g}".format(*r.percentiles)
        for name, r in table.ranges.items()
        if r.percentiles is not None
    }
    listed = {name: first_few(map(repr, found), 5) for name, found in table.categories.items()}
    for what, found in (
        ("the range", ends),
        ("the 1st and the 99th percentile", bulk),
        ("the categories", listed),
    ):
        if found:
            shown = first_few((f"{name!r} {text}" for name, text in found.items()), 5, "; ")
            lines.append(f"{what} of {counted(len(found), 'column')} ({shown})")
    return lines


def fields(model: Any, table: TableModel) -> list[dict[str, Any]]:
    """Return the description of the form's field of each column."""
    return [*_fields(model, table)]


def first_values(columns: Sequence[dict[str, Any]]) -> list[Any]:
    """Return the values that fields begin with: the medians, and the most frequent categories."""
    return [c.get("first", [*c.get("categories", ""), ""][0]) for c in columns]


def _interval(model: Any) -> dict[str, Any]:
    """Return how far the answer may be off at the usual level, if the model's file says it."""
    known = intervals.of_model(model)
    if known is None or intervals.USUAL not in known.levels:
        return {}
    own = known.document()
    own["level"], *ends = next(one for one in own.pop("levels") if one[0] == intervals.USUAL)
    return {"interval": own | {"ends": ends}}


def _fields(model: Any, table: TableModel) -> Iterator[dict[str, Any]]:
    host = model._plan.host or HostPart([], [])
    medians = {
        host.source(n): np.ravel(layer.statistics).tolist()
        for layer, n in host.steps
        if isinstance(layer, SimpleImputer)
    }
    gaps = {host.source(n) for layer, n in host.steps if isinstance(layer, MissingIndicator)}
    kinds = table.columns.values()
    widths = {  # how many of the scaled numbers are of each column
        k: len(medians.get(k, [0])) for k, kind in enumerate(kinds) if kind in ("number", "date")
    }
    moments = iter(_moments(model, sum(widths.values())))
    for k, (name, kind) in enumerate(table.columns.items()):
        unit = f" ({table.units[name]})" if name in table.units else ""
        own: dict[str, Any] = {"name": f"{name}{unit}", "kind": kind}
        of_column = [next(moments) for _ in range(widths.get(k, 0))]
        if kind == "category":
            yield own | {"categories": table.categories[name]}
        elif kind == "date":
            yield own | _date_field(table, name, medians.get(k, [0])[-1])
        elif kind == "text":
            yield own
        else:
            [(mean, deviation)] = of_column
            far = DEVIATIONS * deviation
            ends = table.ranges.get(name, Range(mean - far, mean + far))
            yield own | _slider(ends, medians.get(k, [mean])[0]) | {"gaps": k in gaps}


def _date_field(table: TableModel, name: str, median: float) -> dict[str, str]:
    """Return the bounds and the initial value of a field for dates, as browsers write them."""
    form = table.dates[name].form
    # A model has the median of the days, or of the minutes, but not of the hours.
    days = median / 1440 if form == "time" else median + 0.5 * (form == "datetime")
    first = written(days, form)
    low, high = _ends(table, name) if name in table.ranges else (first, first)
    return {"form": form, "first": max(low, min(first, high)), "low": low, "high": high}


def _ends(table: TableModel, name: str) -> tuple[str, str]:
    """Return the ends of a column's range in training."""
    low, high = table.ranges[name][:2]
    if name in table.dates:
        form = table.dates[name].form
        return written(low, form), written(high, form)
    return f"{low:.10g}", f"{high:.10g}"


def _moments(model: Any, count: int) -> list[tuple[float, float]]:
    """Return mean and deviation of each number of a row."""
    scaled = [x for x in model.layers if isinstance(x, Normalization) and not x.invert]
    found: list[tuple[float, float]] = []
    if scaled and scaled[0].mean is not None:
        means, variances = np.ravel(scaled[0].mean), np.ravel(scaled[0].variance)
        pairs = zip(means.tolist(), variances.tolist(), strict=True)
        found = [(mean, math.sqrt(variance)) for mean, variance in pairs]
    if count and len(found) != count:
        raise ValueError(
            f"The model was trained on a table with {count} numbers in each row but knows the "
            f"means of {len(found)}."
        )
    return found


def _slider(ends: Range, first: float) -> dict[str, Any]:
    """Return bounds, step and initial value of a slider, in round numbers, and the full range.

    >>> _slider(Range(4.3, 7.9), 5.8)
    {'first': 5.8, 'low': 4.3, 'high': 7.9, 'step': 0.01, 'range': [4.3, 7.9]}
    >>> _slider(Range(0, 8e5, percentiles=(0.5, 20)), 12.3456)
    {'first': 12.3, 'low': 0.5, 'high': 20.0, 'step': 0.1, 'range': [0.0, 800000.0]}
    >>> _slider(Range(0, 5, whole=True), 2.5)
    {'first': 2.0, 'low': 0.0, 'high': 5.0, 'step': 1.0, 'range': [0.0, 5.0]}
    """
    low, high = ends.percentiles or (ends.low, ends.high)
    if low == high:  # nearly all values are equal
        low, high = ends.low, ends.high
    low, high, first = (min(max(v, -FARTHEST), FARTHEST) for v in (low, high, first))
    low, high = min(low, first), max(high, first)
    if low == high:
        low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
    places = -math.floor(math.log10((high - low) / 100))
    if ends.whole:
        places, first = min(places, 0), round(first)
    step = 10.0**-places
    found = {"low": math.floor(low / step) * step, "high": math.ceil(high / step) * step}
    found = {name: round(v, max(places, 0)) for name, v in (found | {"step": step}).items()}
    digits = 2 - math.floor(math.log10(abs(first))) if first else 0
    widest = [float(min(ends.low, found["low"])), float(max(ends.high, found["high"]))]
    return {"first": float(round(first, max(places, digits)))} | found | {"range": widest}


def _order(model: Any, columns: list[dict[str, Any]]) -> list[int]:
    """Order columns by how much each changes the output from the form's initial values. Texts,
    which can hold anything, come first."""
    first = first_values(columns)
    tried = [(k, value) for k, column in enumerate(columns) for value in _tried(column)]
    least = np.full((len(columns), int(np.prod(model.output_shape[1:]))), np.inf)
    most = -least
    for begin in range(0, len(tried), _ROWS):
        some = tried[begin : begin + _ROWS]
        changed: list[dict[int, Any]] = [{} for _ in columns]
        for row, (k, value) in enumerate(some):
            changed[k][row] = value
        given = {}
        for k, name in enumerate(model._graph.input_names):
            kind = np.float64 if columns[k]["kind"] == "number" else object
            given[name] = np.full((len(some), 1), first[k], kind)
            for row, value in changed[k].items():
                given[name][row] = value
        outputs = model.predict(given, verbose=0).reshape(len(some), -1)
        at = [k for k, _ in some]
        np.minimum.at(least, at, outputs)
        np.maximum.at(most, at, outputs)
    spread = np.nan_to_num((most - least).max(axis=1))
    spread[[column["kind"] == "text" for column in columns]] = np.inf
    return [int(k) for k in np.argsort(-spread, kind="stable")]


def _tried(column: dict[str, Any]) -> Sequence[Any]:
    """Return the values with which a column is judged."""
    if column["kind"] in ("category", "text"):
        return column.get("categories", ())
    low, high = column["low"], column["high"]
    return (low, high) if column["kind"] == "date" else (low, (low + high) / 2, high)
