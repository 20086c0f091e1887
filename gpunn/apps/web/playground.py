"""The playground: a page that trains networks, in a single file that needs no network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gpunn.activations import Activation
from gpunn.apps.tables.reading.cells import MISSING
from gpunn.callbacks.gradient_monitor import FAR_APART, FLAT, MANY, steepest_slope
from gpunn.common import registry
from gpunn.common.markup import Markup
from gpunn.common.names import snake_case
from gpunn.common.signatures import signature

from .page import pack, page
from .parts import parts

_HERE = Path(__file__).parent
_INFINITE = 1e300  # replaces an infinite bound, which JSON does not support


def playground_page(given: dict[str, Any] | None = None) -> str:
    """Return the page, to be written as UTF-8 and opened from disk.

    Args:
        given: a network and its points, from `gpunn.apps.web.given`, for a page from a server to
            which it sends the network back.

    >>> shown = playground_page()
    >>> shown.startswith("<!DOCTYPE html>"), len(shown.encode()) <= 400_000
    (True, True)
    """
    known = parts()
    return page(
        "gpunn playground",
        Markup((_HERE / "playground.html").read_text(encoding="utf-8")),
        scripts=[_HERE / "js" / "playground" / "main.js"],
        styles=[_HERE / "playground.css"],
        data={
            "catalogue": catalogue(known),
            "parts": known,
            "engine": pack((_HERE / "gpunn.wasm").read_bytes()),
            "given": given,
        },
        connects=given is not None,
        wasm=True,
        packed=True,
    )


def catalogue(known: dict[str, Any]) -> dict[str, Any]:
    """Return the choices as the page shows them; ``known`` is the result of `parts`.

    >>> found = catalogue(parts())
    >>> found["activations"]["tanh"]["range"], found["optimizers"]["SGD"]["flags"]
    ([-1.0, 1.0], ['nesterov'])
    """
    activations = {name: registry.get("activation", name) for name in known["activations"]}
    return {
        "activations": {name: _activation(each) for name, each in activations.items()},
        "losses": {name: _loss(name, entry) for name, entry in known["losses"].items()},
        "optimizers": {
            name: _optimizer(name, entry["defaults"]) for name, entry in known["optimizers"].items()
        },
        "initializers": {
            name: _initializer(name, entry) for name, entry in known["initializers"].items()
        },
        "epsilon": known["batch_normalization"]["epsilon"],
        "missing": sorted(MISSING),
        "bounds": {"flat": FLAT, "many": MANY, "far_apart": FAR_APART},
    }


def _activation(activation: Activation) -> dict[str, Any]:
    properties = activation.properties
    return {
        "range": properties and [_finite(bound) for bound in properties.range],
        "rowwise": activation.rowwise,
        "settings": activation.get_config(),
        "steepest": None if activation.rowwise else steepest_slope(activation),
    }


def _finite(bound: float) -> float:
    return math.copysign(_INFINITE, bound) if math.isinf(bound) else float(bound)


# Losses that compare a row of scores or probabilities, one for each class.
_OF_SEVERAL = ("categorical_hinge", "kl_divergence", "cosine_similarity")


def _loss(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    fuses = entry["fuses"] and snake_case(entry["fuses"])
    return {
        "predictions": entry["predictions"],
        "targets": entry["targets"],
        "several": fuses == "softmax" or name in _OF_SEVERAL,
        "fuses": fuses,
    }


def _optimizer(name: str, defaults: dict[str, float]) -> dict[str, Any]:
    declared = signature(registry.entries("optimizer")[name]).parameters
    return {
        "settings": defaults,
        "flags": [setting for setting in defaults if isinstance(declared[setting].default, bool)],
    }


def _initializer(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """``least`` is the lowest value that the page offers for a setting, among valid ones."""
    made = registry.lookup("initializer", name)
    numbers = [p for p in entry["settings"] if p not in entry["choices"]]
    least = {setting: next(n for n in _LOWEST if _takes(made, setting, n)) for setting in numbers}
    return {"settings": entry["settings"], "choices": entry["choices"], "least": least}


_LOWEST = (-1000, 0, 0.001)


def _takes(cls: type, setting: str, value: float) -> bool:
    try:
        cls(**{setting: value})
    except ValueError:
        return False
    return True
