"""What the report of a table's run says of the search, and of the model that is saved.

The epochs of the record are from one network; the model may be an average of several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpunn.apps.tables.candidates import NetworkModel
from gpunn.apps.tables.choosing import Standing
from gpunn.apps.tables.learning import Plan
from gpunn.common.names import counted, either
from gpunn.layers import InputLayer
from gpunn.models import Model


def begun(plan: Plan, rows: int) -> dict[str, Any]:
    """Return entries for the first line of the record of a run that then learns the answer from
    ``rows`` rows."""
    members = plan.choice.members
    networks = [n for n, m in enumerate(members, 1) if isinstance(m.candidate, NetworkModel)]
    trained = ""
    if networks:
        which = f"network {networks[0]}, one of the {len(members)} members of the average,"
        trained = (
            f"{which if len(members) > 1 else 'the network'} as it was trained on the "
            f"{counted(rows, 'row')} that were not held out"
        )
        trained += "" if plan.problem.classes else "; its target was scaled"
    return {"trained": trained, "tried": [*map(_tried, plan.choice.standings)], "code": ""}


def _tried(one: Standing) -> dict[str, Any]:
    return {
        "model": one.candidate.name,
        "training": one.training,
        "chosen": int(one.chosen),
        "loss": one.loss,
        "error": one.error,
        "figures": one.figures,
        "folds": one.folds,
        "seconds": one.seconds,
        "parameters": one.parameters,
    }


def saved(plan: Plan, model: Model, rows: int, held_out: int, seconds: float) -> dict[str, Any]:
    """Return entries for both ends of the record about the model that was learned from all rows.

    Args:
        rows: number of all rows.
        held_out: number of rows that it was judged by, before these took part in its training.
        seconds: time of the whole run.
    """
    members = plan.choice.members
    settings = {
        "model": plan.kind if len(members) == 1 else f"average of {len(members)} models",
        "parameters": f"{model.count_params():,}",
        "loss": plan.problem.loss,
        "rows": f"{rows:,}, of which {held_out:,} were held out from the model that is evaluated",
        "seed": str(plan.seed),
    }
    inside = [layer for layer in model.layers if isinstance(layer, Model)]
    for member, part in zip(members, inside, strict=True):
        settings[part.name] = (
            f"{member.candidate.name}, {member.candidate.training(rows, member.place)}, "
            f"{counted(part.count_params(), 'parameter')}"
        )
    said = f"{counted(plan.choice.tried, 'model')} {either(plan.choice.tried, 'was', 'were')} tried"
    if plan.choice.interrupted:
        said = "The search was interrupted, and the best so far was taken"
    ended = f"{said}. The {plan.kind} was then trained on all {counted(rows, 'row')}."
    return {
        "begin": {"settings": settings, "layers": [*_layers(model)]},
        "end": {
            "ended": ended,
            "complete": int(not plan.choice.interrupted),
            "seconds": seconds,
            "weights": None,  # its first layer reads prepared columns, which a picture cannot name
        },
    }


def _layers(model: Model) -> Iterator[tuple[str, str, str]]:
    """Yield name, output shape and parameters of a table's model: the layers of its networks, and
    one line for those that prepare columns, which may be thousands."""
    first = next(i for i, layer in enumerate(model.layers) if isinstance(layer, Model))
    yield (
        f"{counted(first, 'layer')} that {either(first, 'prepares', 'prepare')} columns", "",
        f"{sum(layer.count_params() for layer in model.layers[:first]):,}",
    )
    for layer in model.layers[first:]:
        yield _layer(layer)
        for part in layer.layers if isinstance(layer, Model) else ():
            if not isinstance(part, InputLayer):
                name, shape, count = _layer(part)
                yield f"{layer.name} / {name}", shape, count


def _layer(layer: Any) -> tuple[str, str, str]:
    return (
        f"{layer.name} ({type(layer).__name__})",
        str(layer.output_shape),
        f"{layer.count_params():,}",
    )
