"""The choices of a page, as data: activations, losses, optimizers, initializers.

They are derived from the registry. `engine.js` in ``js/`` documents the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gpunn import initializers, layers
from gpunn.common import registry
from gpunn.common.names import snake_case
from gpunn.common.overrides import is_framework
from gpunn.common.signatures import signature
from gpunn.optimizers.rules import forms

_OF_ALL = ("clipvalue", "clipnorm", "global_clipnorm")  # settings that all optimizers share


def parts() -> dict[str, Any]:
    """Return everything that the kernels of a page compute, by its name in Python.

    >>> found = parts()
    >>> found["activations"]["relu"]["functor"], found["optimizers"]["SGD"]["defaults"]["momentum"]
    ('Relu', 0.0)
    """
    normalization = layers.BatchNormalization()
    return {
        "activations": _of_kind("activation", _activation),
        "losses": _of_kind("loss", _loss),
        "optimizers": {
            name: _optimizer(made) for name, made in _made("optimizer") if made.functor
        },
        "initializers": _of_kind("initializer", _initializer),
        "batch_normalization": {
            "momentum": normalization.momentum, "epsilon": normalization.epsilon,
        },
    }


def _made(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield gpunn's built-in objects of a kind with their defaults, by registered name.

    Those that need an argument are left out.
    """
    for name, cls in sorted(registry.entries(kind).items()):
        needed = (p.default is p.empty for p in signature(cls).parameters.values())
        if is_framework(cls) and not any(needed):
            yield name, cls()


def _of_kind(kind: str, describe: Callable[[Any], dict[str, Any] | None]) -> dict[str, Any]:
    """Return the descriptions of a kind's objects; those that a page lacks have none."""
    found = {snake_case(name): describe(made) for name, made in _made(kind)}
    return {name: described for name, described in found.items() if described is not None}


def _activation(activation: Any) -> dict[str, Any] | None:
    return {
        "functor": activation.functor, "saves": activation.saves,
        "rowwise": activation.rowwise, "parameters": activation.parameters,
    } if activation.functor else None


def _loss(loss: Any) -> dict[str, Any] | None:
    """Describe a loss with a row of targets per row; `fused` replaces it and what it `fuses`."""
    if not loss.functor or loss.sparse:
        return None
    fused = loss.on_logits() if loss.fuses else None
    return {
        "functor": loss.functor, "parameters": loss.parameters, "fuses": loss.fuses,
        "fused": fused and [fused.functor, fused.parameters],
        "predictions": loss.predictions, "targets": loss.targets,
    }


def _optimizer(optimizer: Any) -> dict[str, Any]:
    """Describe an optimizer.

    ``defaults`` are the numeric settings (0 for None), ``parameters`` those passed to the functor,
    ``constants`` the values passed after them, and ``first`` the settings with the slots' initial
    values. ``functors`` are keyed by the ``options`` that are not 0.
    """
    of_functor, options = optimizer.parameter_names, optimizer.options
    own = [*signature(type(optimizer)).parameters]
    settings = [p for p in own if p in ("learning_rate", *of_functor, *options, *_OF_ALL)]
    begins = {
        slot: next(p for p in own if p.startswith("initial_") and slot in p)
        for slot in optimizer.first_values
    }
    settings += [p for p in begins.values() if p not in settings]
    constants = [p for p in of_functor if p not in settings]
    values = dict(zip(of_functor, _numbers(optimizer), strict=True))
    return {
        "functors": {" ".join(on): made.functor for on, made in forms(type(optimizer))},
        "options": options,
        "parameters": [p for p in of_functor if p in settings],
        "defaults": {p: float(getattr(optimizer, p) or 0) for p in settings},
        "constants": [number for p in constants for number in values[p]],
        "first": [begins.get(slot) for slot in optimizer.slot_names],
        "by_norms": optimizer.steps_by_norms,
    }


def _numbers(formula: Any) -> list[list[float]]:
    """Return the values that a functor gets for each of the formula's parameters."""
    found = (getattr(formula, name) for name in formula.parameter_names)
    return [
        [float(n) for n in value] if isinstance(value, (list, tuple)) else [float(value or 0)]
        for value in found
    ]


def _initializer(initializer: Any) -> dict[str, Any] | None:
    """Describe an initializer.

    ``draw`` is the kind of initializer, ``settings`` its adjustable settings, ``fixed`` those
    implied by its name, and ``choices`` the allowed strings of a setting.
    """
    draw = next((draw for cls, draw in _DRAWS if isinstance(initializer, cls)), None)
    if draw is None:
        return None
    own = [p for p in signature(type(initializer)).parameters if p != "seed"]
    fixed: dict[str, Any] = {}
    if draw == "scaled" and not own:
        fixed = {p: getattr(initializer, p) for p in ("scale", *_CHOICES)}
    elif draw == "constant" and not own:
        fixed = {"value": float(initializer((1,))[0])}
    settings = {p: getattr(initializer, p) for p in own}
    return {
        "draw": draw, "settings": settings, "fixed": fixed,
        "choices": {p: _CHOICES[p] for p in settings if p in _CHOICES},
    }


_CHOICES = {
    "mode": ["fan_in", "fan_out", "fan_avg"],
    "distribution": ["truncated_normal", "untruncated_normal", "uniform"],
}
_DRAWS: tuple[tuple[type, str], ...] = (
    (initializers.VarianceScaling, "scaled"),
    (initializers.TruncatedNormal, "truncated"),  # a RandomNormal, so before it
    (initializers.RandomNormal, "normal"),
    (initializers.RandomUniform, "uniform"),
    (initializers.Orthogonal, "orthogonal"),
    (initializers.Identity, "identity"),
    (initializers.Constant, "constant"),
    (initializers.Zeros, "constant"),
    (initializers.Ones, "constant"),
)
