"""Which values of the data a model holds: what its file tells about them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SHOWN = 60  # characters of an entry


def data_held(model: Any) -> dict[str, str]:
    """What a model has of the values of its data, beside its weights, in words by place.

    Args:
        model: of which; its layers' vocabularies, boundaries, means and variances, and what
            ``model.trained_on`` knows.
    """
    found = {
        f"{path}/{name}": said
        for path, layer in _layers(model, "")
        for name, said in layer.data_held().items()
    }
    for name, value in getattr(model, "trained_on", {}).items():
        text = repr(value)
        cut = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
        found[f"trained_on/{name}"] = cut
    return found


def _layers(holder: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The layers that keep something of data, at any depth, each with the names that lead to it."""
    for layer in dict.fromkeys(holder.layers_inside):
        here = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _layers(layer, f"{here}/")
        elif hasattr(layer, "data_held"):
            yield here, layer
        else:
            yield from _layers(layer, f"{here}/")
