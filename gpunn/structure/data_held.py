"""The values of its data that a model, and so its file, contains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpunn.common import registry
from gpunn.common.overrides import is_framework

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


def check_kept(model: Any) -> None:
    """Check that a file of the model would hold what its layers have learnt besides weights.

    A file holds what `get_config` returns. A layer in an attribute of a user's class may be adapted
    without being part of it.

    Raises:
        ValueError: naming a layer whose vocabulary, or the like, a loaded model would not have.
    """
    learned = _learnt(model)
    classes = {type(part).__name__: type(part) for part in _with_inside(model)}
    own = {name: cls for name, cls in classes.items() if not is_framework(cls)}
    if not (learned and own):
        return
    try:
        again = registry.also(own, lambda: type(model).from_config(model.get_config()))
        kept = _learnt(again)
    except (TypeError, ValueError, AttributeError):
        return  # what cannot be made from its configuration is refused elsewhere
    if len(kept) != len(learned):
        return  # a model of layers that are not there before it is built
    for (path, mine), (_, loaded) in zip(learned, kept, strict=True):
        if mine != loaded:
            what = ", ".join(mine.values())
            raise ValueError(
                f"{model.name} cannot be saved: what {path!r} has learnt, {what}, "
                f"would be lost, since get_config of the class around it leaves it out. Return "
                f"saving.serialize_keras_object(the layer) in it, and take it in the constructor."
            )


def _learnt(model: Any) -> list[tuple[str, dict[str, str]]]:
    """Return what layers have learnt that is not in their weights, each with its path."""
    return [(path, layer.data_held()) for path, layer in _layers(model, "") if not layer.weights]


def _with_inside(holder: Any) -> Iterator[Any]:
    yield holder
    for layer in dict.fromkeys(holder._layers_inside):
        yield from _with_inside(layer)
