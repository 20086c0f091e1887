"""Checkpoints: a saved model with the states of the callbacks and the place in the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import files
from .files import Path
from .model_files import _entries_of, _read, describe, plain, set_training, set_weights

if TYPE_CHECKING:
    from gpunn.callbacks import Callback

# What may differ between a checkpoint's settings and the model's: the state of the
# training, which is restored, holds the values that count.
_RESTORED = ("learning_rate", "seed")


def save_checkpoint(
    path: Path, model: Any, callbacks: Sequence[Callback], epoch: int, batch: int = 0
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


def load_checkpoint(path: Path, model: Any, callbacks: Sequence[Callback]) -> tuple[int, int]:
    """Give a compiled model and its callbacks the state in a checkpoint.

    Returns:
        The epoch and the batch with which to go on.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming file and entry, if it is damaged, or of another model, other
            settings or other callbacks.
    """
    document = _read(path, "checkpoint")
    with _entries_of(path, document):
        own = describe(model, include_training=False)
        for part in ("class_name", "config", "compile"):
            _compare(document[part], own[part], part)
        listeners = _with_state(callbacks)
        names = [type(callback).__name__ for callback in listeners]
        stored = [entry["class_name"] for entry in document["callbacks"]]
        if names != stored:
            raise ValueError(f"it is of a run with the callbacks {stored}, this one has {names}.")
        set_weights(model, document["weights"])
        set_training(model, document["training"])
        for callback, entry in zip(listeners, document["callbacks"], strict=True):
            callback.set_state(entry["state"])
        model.stop_training = document["stopped"]
    return document["epoch"], document["batch"]


def _with_state(callbacks: Sequence[Callback]) -> list[Callback]:
    return [callback for callback in callbacks if callback.listens("get_state")]


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
