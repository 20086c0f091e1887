"""Models of tables with hostile names, for tests of their pages."""

from __future__ import annotations

from typing import Any

import gpunn
from gpunn.apps.tables.preparing import Feature, Range, prepared
from gpunn.apps.tables.reading.dates import Dates
from gpunn.apps.tables.table_model import TableModel
from gpunn.layers import Concatenate, Dense

HOSTILE = '<img src=x onerror="alert(1)">'
CLASSES = [HOSTILE, "elm", "</td>"]
FEATURES = [
    Feature("height", 20.0, 21.0, 5.0, gaps=True, range=Range(2.25, 40.5)),
    Feature("</script><b>soil", categories=["clay", HOSTILE, "__proto__"]),
    Feature("girth/cm", 1.5, 2.0, 0.5),
    Feature("rings", 7.0, 8.0, 3.0, range=Range(0, 12, whole=True, percentiles=(1, 11))),
]
OTHER_KINDS = [
    Feature(
        "day", gaps=True, range=Range(19700, 19800), dates=Dates("date"), cycles=("weekday",),
        parts=[Feature("year", 2023.0, 2023.4, 0.5), Feature("days", 19742.0, 19750.0, 30.0)],
    ),
    Feature("</b>when", range=Range(19700.25, 19701.75), dates=Dates("datetime"), cycles=("hour",),
            parts=[Feature("days", 19700.0, 19700.5, 0.5)]),
    Feature("at/from", range=Range(0.25, 0.75), dates=Dates("time"),
            parts=[Feature("minutes", 630.0, 700.0, 100.0)]),
    Feature("notes", positions=64),
    Feature("rings", 7.0, 8.0, 3.0, range=Range(0, 12, whole=True)),
]  # fmt: skip
FIRST = (20.0, "clay", 1.5, 7.0)  # the form's initial values


def table_model(classes: list[str], features: list[Feature] = FEATURES, *hidden: Any) -> Any:
    """A model as `gpunn train` makes for tables, with its initial weights."""
    gpunn.utils.set_random_seed(3)
    inputs, parts = prepared(features)
    values = parts[0] if len(parts) == 1 else Concatenate()(parts)
    for layer in hidden or (Dense(8, "tanh"),):
        values = layer(values)
    last = Dense(len(classes), "softmax") if classes else Dense(1)
    model = gpunn.Model(inputs, last(values))
    task = "classification" if classes else "regression"
    model.trained_on = {"table": TableModel.to_learn("kind & more", task, features).document()}
    model.trained_on |= {"classes": classes} if classes else {}
    return model
