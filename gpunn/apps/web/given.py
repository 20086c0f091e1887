"""A model and its data, as the settings of the playground."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from gpunn import losses
from gpunn.apps import trained_on
from gpunn.common.names import snake_case

from .chain import chain_of
from .parts import parts

MOST_POINTS = 2000  # as in js/playground/settings.js
MOST_CLASSES = 6
LARGEST = 1e6  # absolute value of a number
LARGEST_SETTING = 1000.0  # of an optimizer
_INTEGERS = {
    "sparse_categorical_crossentropy": "categorical_crossentropy"
}  # the same of one-hot rows


def given(model: Any, x: Any, y: Any, class_names: list[str] | None = None) -> dict[str, Any]:
    """Return a model with its points for `playground_page`, or raise ValueError, which says what
    the playground can show."""
    chain = chain_of(model)
    points, names = _inputs(x, y)
    if model.input_shape[1:] != (points.shape[1],):
        raise ValueError(
            f"playground: the model takes inputs of the shape {model.input_shape[1:]}, but x has "
            f"{points.shape[1]} columns."
        )
    loss = _loss(model)
    classes, targets = _targets(y, len(points), chain[-1].units, chain[-1].activation, loss)
    if classes and points.shape[1] == 1:
        raise ValueError("playground: x has one column; for classes the playground needs two.")
    if classes:
        named = class_names or trained_on.known(model).get("classes") or map(str, range(classes))
        shown = [str(name)[:200] for name in named]
        if len(shown) != classes:
            raise ValueError(
                f"playground: class_names has {len(shown)} names for {classes} classes."
            )
    rows = np.column_stack([points, targets])
    if len(rows) > MOST_POINTS:  # evenly spread, as the page does with a table
        rows = rows[np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(int)]
    own = {
        "task": "classes" if classes else "numbers",
        "inputs": points.shape[1],
        "points": rows.tolist(),
        "classes": shown if classes else [],
        "names": names,
    }
    settings = {"data": "own", "held": 0, "batch": 32, "own": json.dumps(own), **_optimizer(model)}
    if loss is not None:
        settings["loss"] = _INTEGERS.get(loss, loss)
    return {"settings": urlencode(settings), "model": _file(model), "rows": len(points)}


def _inputs(x: Any, y: Any) -> tuple[np.ndarray, list[str]]:
    """Return x as rows, and names of its columns and of the target."""
    columns = [str(name)[:200] for name in getattr(x, "columns", ())]
    rows = _numbers("x", x)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] not in (1, 2):
        raise ValueError(
            f"playground: x has the shape {rows.shape}; the playground shows points of one or two "
            f"inputs: (rows, 1) or (rows, 2). Train a model of two of the columns."
        )
    if len(rows) < 2:
        raise ValueError(f"playground: x has {len(rows)} rows; at least two points are needed.")
    usual = ["x₁", "x₂"] if rows.shape[1] == 2 else ["x"]
    return rows, [*(columns or usual), str(getattr(y, "name", None) or "y")[:200]]


def _numbers(name: str, given: Any) -> np.ndarray:
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"playground: {name} must be numbers; got {given!r:.200}.") from None
    if not (np.abs(values) <= LARGEST).all():  # False for NaN too
        raise ValueError(
            f"playground: {name} has values that are missing or beyond {LARGEST:,.0f}; scale it, "
            f"and leave out rows with gaps."
        )
    return values


def _targets(
    y: Any, rows: int, units: int, activation: str, loss: str | None
) -> tuple[int, np.ndarray]:
    """Return the number of classes, 0 for numbers, and the target of each row."""
    values = _numbers("y", y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if len(values) != rows:
        raise ValueError(f"playground: x has {rows} rows, but y has {len(values)}.")
    if values.ndim == 2 and values.shape[1] == units and _one_hot(values):
        return _classes(units), values.argmax(axis=1)
    if values.ndim != 1:
        raise ValueError(
            f"playground: y has the shape {values.shape}; the playground shows a number, a class "
            f"from 0, or a one-hot row of {units} for each row of x."
        )
    if units == 1:
        compared = parts()["losses"].get(loss, {})
        reads_classes = compared.get("predictions") or compared.get("targets")
        is_class = activation != "linear" or reads_classes
        for low in (0, -1):
            if is_class and np.isin(values, (low, 1)).all():
                return 2, (values == 1).astype(int)
        return 0, values
    if not np.isin(values, np.arange(units)).all():
        raise ValueError(
            f"playground: the model has {units} outputs, so y must hold classes from 0 to "
            f"{units - 1}. The playground shows a single number or classes."
        )
    return _classes(units), values.astype(int)


def _one_hot(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all())


def _classes(count: int) -> int:
    if count > MOST_CLASSES:
        raise ValueError(
            f"playground: the model has {count} classes; the playground shows up to {MOST_CLASSES}."
        )
    return count


def _loss(model: Any) -> str | None:
    """Return the name of a compiled model's loss."""
    config = model.get_compile_config()
    if config is None or config["loss"] is None:
        return None
    loss = losses.get(config["loss"])
    name = snake_case(type(loss).__name__)
    if name not in {*parts()["losses"], *_INTEGERS}:
        known = ", ".join(sorted(parts()["losses"]))
        raise ValueError(f"playground: the loss {name!r} is not among the playground's: {known}.")
    usual, own = losses.get(name).get_config(), loss.get_config()
    odd = [setting for setting in own if setting != "name" and own[setting] != usual[setting]]
    if odd:
        raise ValueError(
            f"playground: the loss {name!r} has {odd[0]}={own[odd[0]]}; the playground uses "
            f"{usual[odd[0]]}."
        )
    return name


def _optimizer(model: Any) -> dict[str, str]:
    """Return a compiled model's optimizer in the form of the page's address."""
    config = model.get_compile_config()
    if config is None or config["optimizer"] is None:
        return {}
    name = type(model.optimizer).__name__
    known = parts()["optimizers"]
    if name not in known:
        raise ValueError(
            f"playground: the optimizer {name} is not among the playground's: "
            f"{', '.join(sorted(known))}."
        )
    own = {**model.optimizer.get_config(), "learning_rate": float(model.optimizer.learning_rate)}
    chosen = [name]
    for setting, usual in known[name]["defaults"].items():
        value = float(own.get(setting) or 0)
        if value != usual or setting == "learning_rate":
            chosen.append(f"{setting}={np.float32(min(value, LARGEST_SETTING))!s}")
    return {"optimizer": ":".join(chosen)}


def _file(model: Any) -> str:
    """Return the model's file, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.gpunn"
        model.save(file, include_optimizer=False, announce=False)
        return base64.b64encode(file.read_bytes()).decode()
