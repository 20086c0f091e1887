"""Checkpoints: a saved model with the states of the callbacks and the place in the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from gpunn.backends.contract.control import COUNTERS, POSITION
from gpunn.common.atomic_files import Path
from gpunn.common.stored import Integer, check, check_array

from . import files
from .files import HEADER_LIMIT
from .model_files import describe, opened, plain, set_training, set_weights

# What may differ between a checkpoint's settings and the model's: the state of the
# training, which is restored, holds the values that count.
_RESTORED = ("learning_rate", "seed")


class Stateful(Protocol):
    """What a checkpoint asks of a callback."""

    @property
    def has_state(self) -> bool:
        """Whether a checkpoint holds something of it."""

    def get_state(self) -> dict[str, Any]:
        """What the callback is to go on with, as values that a file can hold."""

    def check_state(self, state: Any, place: str) -> dict[str, Any]:
        """``state`` as it may be set; a ValueError that names ``place`` if it is senseless."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with what `get_state` gave."""


def save_checkpoint(
    path: Path, model: Any, callbacks: Sequence[Stateful], epoch: int, batch: int = 0
) -> None:
    """Write all that a run needs to go on at ``batch`` of ``epoch`` (both from 0)."""
    states = [
        {"class_name": type(callback).__name__, "state": callback.get_state()}
        for callback in _with_state(callbacks)
    ]
    document = {
        "kind": "checkpoint",
        **describe(model),
        "callbacks": states,
        "epoch": epoch,
        "batch": batch,
        "stopped": bool(model.stop_training),
    }
    files.write(path, document)


def load_checkpoint(
    path: Path, model: Any, callbacks: Sequence[Stateful], params: dict[str, Any] | None = None
) -> tuple[int, int]:
    """Give a compiled model and its callbacks the state in a checkpoint.

    Every number is looked at before the first one is taken over.

    Args:
        path: of the checkpoint.
        model: compiled and built.
        callbacks: of the run.
        params: what is known of the run (`Callback.params`): the place in it must be one that
            it has.

    Returns:
        The epoch and the batch with which to go on.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming file and entry, if it is damaged or senseless, or of another model,
            other settings, other callbacks or other data.
    """
    with opened(path, HEADER_LIMIT, "checkpoint") as document:
        own = describe(model, include_training=False)
        for part in ("class_name", "config", "compile"):
            _compare(document[part], own[part], part)
        listeners = _with_state(callbacks)
        names = [type(callback).__name__ for callback in listeners]
        stored = [entry["class_name"] for entry in document["callbacks"]]
        if names != stored:
            raise ValueError(f"it is of a run with the callbacks {stored}, this one has {names}.")
        states = [
            callback.check_state(entry["state"], f"callbacks/{number}/state")
            for number, (callback, entry) in enumerate(
                zip(listeners, document["callbacks"], strict=True)
            )
        ]
        _check_place(document, params or {})
        set_training(model, document["training"])
        set_weights(model, document["weights"])
        for callback, state in zip(listeners, states, strict=True):
            callback.set_state(state)
        model.stop_training = document["stopped"]
        return document["epoch"], document["batch"]


def _check_place(document: dict[str, Any], run: dict[str, Any]) -> None:
    """Refuse a place that the run does not have; ``run``: its `Callback.params`."""
    epochs, steps = run.get("epochs"), run.get("steps")
    check(
        {
            "epoch": Integer() if epochs is None else Integer(0, epochs),
            "batch": Integer() if steps is None else Integer(0, steps),
        },
        {name: document[name] for name in ("epoch", "batch")},
        "",
    )
    rows, size = run.get("samples"), run.get("batch_size")
    if rows is None or size is None or document["stopped"]:
        return
    tensors = document["training"]["tensors"] if document["training"] else {}
    counters = check_array(tensors.get("counters"), (COUNTERS,), "i", "training/tensors/counters")
    position, batch = int(counters[POSITION]), document["batch"]
    whole = steps == -(-rows // size)  # an epoch is one pass over the data
    possible = {0, rows} if not batch else {min(batch * size, rows)}
    if position not in possible if whole else not 0 <= position <= rows:
        raise ValueError(
            f"the entry 'training/tensors/counters/position' is {position}, after batch {batch} "
            f"of an epoch: this run has {rows} rows in batches of {size}. Give it the data and "
            f"the batch_size that it had."
        )


def _with_state(callbacks: Sequence[Stateful]) -> list[Stateful]:
    return [callback for callback in callbacks if callback.has_state]


def _compare(stored: Any, own: Any, place: str) -> None:
    """Raise a ValueError that names the first entry in which two settings differ."""
    for where, theirs, ours in _differences(stored, own, place):
        raise ValueError(f"it is of another model: {where} is {theirs!r} there and {ours!r} here.")


def _differences(stored: Any, own: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(stored, dict) and isinstance(own, dict):
        for key in [*stored, *(key for key in own if key not in stored)]:
            schedules = isinstance(stored.get(key), dict) or isinstance(own.get(key), dict)
            if key not in _RESTORED or schedules:
                yield from _differences(stored.get(key), own.get(key), f"{place}/{key}")
    elif isinstance(stored, list) and isinstance(own, (list, tuple)) and len(stored) == len(own):
        for i, (theirs, ours) in enumerate(zip(stored, own, strict=True)):
            yield from _differences(theirs, ours, f"{place}/{i}")
    elif isinstance(stored, str) and isinstance(own, str):
        if plain(stored) != plain(own):
            yield place, stored, own
    elif stored != (list(own) if isinstance(own, tuple) else own):
        yield place, stored, own
