"""Networks that the playground shows: a chain of Dense layers, and how each is configured."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpunn import activations, layers
from gpunn.common.names import snake_case
from gpunn.layers import BatchNormalization
from gpunn.regularizers import L1, L1L2, L2

from .parts import parts

# As in js/playground/settings.js.
MOST_LAYERS = 8  # hidden ones
MOST_UNITS = 24
MOST_DROPOUT = 0.95
SHOWN = (
    "The playground shows Dense layers, each followed by an optional BatchNormalization, "
    "Activation and Dropout, in this order."
)


class Link(NamedTuple):
    """A Dense layer, with what follows it before the next one."""

    units: int
    use_bias: bool
    activation: str = "linear"
    normalize: bool = False
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0


def chain_of(model: Any) -> list[Link]:
    """Return a built model's layers as the playground shows them, or raise ValueError for a layer
    or setting that it does not have.

    >>> from gpunn import Input, Sequential
    >>> chain_of(Sequential([Input((2,)), layers.Dense(3, "tanh"), layers.Dropout(0.1)]))
    [Link(units=3, use_bias=True, activation='tanh', normalize=False, dropout=0.1, l1=0.0, l2=0.0)]
    """
    found: list[Link] = []
    for layer in _in_order(model):
        if type(layer) is layers.Dense:
            found.append(_dense(layer))
        else:
            before = found[-1] if found else None
            if before is None or (after := _followed(before, layer)) is None:
                where = f"after Dense layer {len(found)}" if found else "at its beginning"
                raise ValueError(
                    f"playground: the model has the layer {layer.name!r} "
                    f"({type(layer).__name__}) {where}. {SHOWN}"
                )
            found[-1] = after
    if not found:
        raise ValueError(f"playground: the model has no Dense layer. {SHOWN}")
    _check_sizes(found)
    return found


def _in_order(model: Any) -> list[Any]:
    """Return the layers, each of which takes the output of the one before."""
    config = model.get_config()
    listed = config.get("layers", [])
    if listed and "calls" in listed[0]:
        names = [entry["layer"]["config"]["name"] for entry in listed]
        for before, entry in zip([None, *names], listed, strict=False):
            inputs = [call["inputs"] for call in entry["calls"]]
            if inputs != ([] if before is None else [[[before, 0, 0]]]):
                raise ValueError(f"playground: the model's layers do not form a chain. {SHOWN}")
    elif not listed:
        raise ValueError(f"playground: a model of its own class has no list of layers. {SHOWN}")
    named = {layer.name: layer for layer in model.layers}
    entries = [entry.get("layer", entry)["config"]["name"] for entry in listed]
    found = [named[name] for name in entries if name in named]
    return [layer for layer in found if type(layer).__name__ != "InputLayer"]


def _dense(layer: Any) -> Link:
    if layer.get_config().get("connections") is not None:
        raise ValueError(
            f"playground: the Dense layer {layer.name!r} has connections; the playground shows "
            f"fully connected ones."
        )
    l1, l2 = _penalties(layer)
    return Link(layer.units, layer.use_bias, _activation(layer), l1=l1, l2=l2)


def _followed(link: Link, layer: Any) -> Link | None:
    """Return a link with a layer after it, or None if the playground does not have it there."""
    plain = link.activation == "linear" and not link.dropout
    if type(layer) is BatchNormalization and plain and not link.normalize:
        usual = BatchNormalization().epsilon
        if layer.epsilon != usual:
            raise ValueError(
                f"playground: {layer.name!r} has epsilon={layer.epsilon}; the playground uses "
                f"{usual}."
            )
        return link._replace(normalize=True)
    if type(layer) is layers.Activation and plain:
        return link._replace(activation=_activation(layer))
    if type(layer) is layers.Dropout and not link.dropout:
        if layer.rate > MOST_DROPOUT:
            raise ValueError(
                f"playground: {layer.name!r} has the rate {layer.rate}; the playground has rates "
                f"up to {MOST_DROPOUT}."
            )
        return link._replace(dropout=float(layer.rate))
    return None


def _activation(layer: Any) -> str:
    """Return the page's name of a layer's activation."""
    activation = layer.activation
    name = "linear" if activation is None else snake_case(type(activation).__name__)
    if name not in parts()["activations"]:
        raise ValueError(
            f"playground: the activation {name!r} of {layer.name!r} is not among those of the "
            f"playground: {', '.join(sorted(parts()['activations']))}."
        )
    usual = activations.get(name).get_config()
    for setting, value in ({} if activation is None else activation.get_config()).items():
        if usual[setting] != value:
            raise ValueError(
                f"playground: the activation {name!r} of {layer.name!r} has {setting}={value}; the "
                f"playground uses {usual[setting]}."
            )
    return name


def _penalties(layer: Any) -> tuple[float, float]:
    """Return the L1 and L2 penalties on a layer's kernel."""
    regularizer = layer.kernel_regularizer
    if regularizer is None:
        return 0.0, 0.0
    if type(regularizer) not in (L1, L2, L1L2):
        raise ValueError(
            f"playground: the kernel_regularizer of {layer.name!r} is "
            f"{type(regularizer).__name__}; the playground has L1, L2 and L1L2."
        )
    config = regularizer.get_config()
    return float(config.get("l1", 0.0)), float(config.get("l2", 0.0))


def _check_sizes(found: list[Link]) -> None:
    if found[-1].normalize:
        raise ValueError(
            "playground: the last layer normalizes; the playground has hidden ones only."
        )
    hidden = found[:-1]
    if len(hidden) > MOST_LAYERS or any(link.units > MOST_UNITS for link in hidden):
        raise ValueError(
            f"playground: the model has {len(hidden)} hidden layers of at most "
            f"{max(link.units for link in hidden)} units; the playground shows up to {MOST_LAYERS} "
            f"hidden layers of up to {MOST_UNITS} units."
        )
