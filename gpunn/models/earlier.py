"""Pickles of the time when a model held its builder's and its training's attributes itself."""

from __future__ import annotations

from typing import Any

from gpunn.common.random import Counter
from gpunn.structure.builder import Builder
from gpunn.structure.chain import Chain
from gpunn.training.progress import Progress
from gpunn.training.training import Training


def restored(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a model today for the state in an earlier pickle."""
    state = dict(state)
    graph, call = state.pop("_graph", None), state.pop("_body", None)
    source = call or graph
    if "_layers" in state:
        source = Chain()
        source.all = state.pop("_layers")
        source._ends, source._named = state.pop("_ends"), state.pop("_named")
    builder, training = Builder.__new__(Builder), Training.__new__(Training)
    vars(builder).update(
        name=state.pop("name"), source=source, graph=graph, storage=None, _plan=None,
        dtype_given=state.pop("dtype_given", None), backend=state.pop("_backend"),
        preparing=state.pop("_preparing"),
    )
    vars(training).update(
        _builder=builder, optimizer=state.pop("optimizer", None), loss=state.pop("loss", None),
        matmul_precision=state.pop("matmul_precision", None), compiled=state.pop("_compiled", None),
        progress=Progress(state.pop("_seed")), exclusive=state.pop("_trains"),
        _eager=state.pop("_eager", False), _deferred=state.pop("_asked", None),
        _warned=state.pop("_warned", False), _printed_notes=state.pop("_noted", False),
        _trainer=None, _predictor=None,
        _kept=state.pop("_kept_training", None), added=state.pop("_added", None),
        calls=state.pop("_training_calls", None) or Counter(),
        _predictions=state.pop("_predictions", None) or Counter(),
    )
    for name in ("_copied", "_last_predictor"):
        state.pop(name, None)
    return {"_builder": builder, "_training": training, **state}
