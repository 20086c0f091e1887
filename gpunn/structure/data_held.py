"""The values of its data that a model, and so its file, contains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SHOWN = 60  # maximum characters of an entry


def data_held(model: Any) -> dict[str, str]:
    """Describe the data values that a model contains besides its weights, by their path.

    Args:
        model: The model. The values are its layers' vocabularies, boundaries, means and
            variances, and the entries of ``model.trained_on``.
    """
    found = {
        f"{path}/{name}": description
        for path, layer in _layers(model, "")
        for name, description in layer.data_held().items()
    }
    for name, value in getattr(model, "trained_on", {}).items():
        text = repr(value)
        cut = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
        found[f"trained_on/{name}"] = cut
    return found


def _layers(holder: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers that keep data values, at any depth, each with its path of names."""
    for layer in dict.fromkeys(holder._layers_inside):
        here = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _layers(layer, f"{here}/")
        elif hasattr(layer, "data_held"):
            yield here, layer
        else:
            yield from _layers(layer, f"{here}/")
