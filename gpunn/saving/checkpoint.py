"""Checkpoints: a saved model with the states of the callbacks and the position in the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from gpunn.backends.contract.control import COUNTERS, POSITION
from gpunn.common.atomic_files import Path
from gpunn.common.names import plain
from gpunn.common.stored import Integer, check, check_array

from . import files
from .files import HEADER_LIMIT
from .model_files import describe, opened, set_training, set_weights
from .own_state import check_own_state, load_own_state

# Settings that may differ between a checkpoint and the model: the restored training state has
# the values that count, and eager steps compute the same.
_RESTORED = ("learning_rate", "seed", "run_eagerly")


class Stateful(Protocol):
    """The interface of callbacks that checkpoints use."""

    @property
    def has_state(self) -> bool:
        """Whether the callback has state to store in a checkpoint."""

    def get_state(self) -> dict[str, Any]:
        """Return the state of the callback as values that a file can hold."""

    def check_state(self, state: Any, place: str) -> dict[str, Any]:
        """Return a valid ``state``; raise a ValueError that names ``place`` if it is invalid."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state from `get_state`."""


def save_checkpoint(
    path: Path, model: Any, callbacks: Sequence[Stateful], epoch: int, batch: int = 0
) -> None:
    """Write everything that a run needs to resume at ``batch`` of ``epoch`` (both from 0).

    `gpunn.callbacks.BackupAndRestore` calls it during `fit`; a custom training loop may do so
    itself. The file is written under another name and renamed, so that it is complete at any time.

    Args:
        path: Path of the file.
        model: A compiled and built model.
        callbacks: Callbacks of the run, whose states are stored.
        epoch: The epoch from which to resume.
        batch: The batch of this epoch from which to resume.

    >>> import gpunn, os, tempfile
    >>> model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1, name="line")])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "run.gpunn")
    >>> gpunn.saving.save_checkpoint(path, model, [], epoch=3)
    >>> gpunn.saving.load_checkpoint(path, model, [])
    (3, 0)
    >>> folder.cleanup()
    """
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
    """Restore the state in a checkpoint to a compiled model and its callbacks.

    Every value is checked before the first one is restored.

    Args:
        path: Path of the checkpoint.
        model: A compiled and built model.
        callbacks: Callbacks of the run.
        params: Parameters of the run (`Callback.params`); the stored position must exist in it.

    Returns:
        The epoch and the batch from which to resume.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: naming file and entry, if it is damaged or invalid, or belongs to a different
            model, settings, callbacks or data.

    >>> import gpunn, os, tempfile
    >>> model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1, name="line")])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "run.gpunn")
    >>> gpunn.saving.save_checkpoint(path, model, [], epoch=3)
    >>> gpunn.saving.load_checkpoint(path, model, [])
    (3, 0)
    >>> folder.cleanup()
    """
    with opened(path, HEADER_LIMIT, "checkpoint") as document:
        own = describe(model, include_training=False)
        for part in ("class_name", "config", "compile"):
            _compare(document[part], own[part], part)
        listeners = _with_state(callbacks)
        names = [type(callback).__name__ for callback in listeners]
        stored = [entry["class_name"] for entry in document["callbacks"]]
        if names != stored:
            raise ValueError(f"it is of a run with the callbacks {stored}; this one has {names}.")
        states = [
            callback.check_state(entry["state"], f"callbacks/{number}/state")
            for number, (callback, entry) in enumerate(
                zip(listeners, document["callbacks"], strict=True)
            )
        ]
        _check_place(document, params or {})
        check_own_state(document.get("own_state"))
        set_training(model, document["training"])
        set_weights(model, document["weights"])
        load_own_state(model, document.get("own_state"))
        for callback, state in zip(listeners, states, strict=True):
            callback.set_state(state)
        model.stop_training = document["stopped"]
        return document["epoch"], document["batch"]


def _check_place(document: dict[str, Any], run: dict[str, Any]) -> None:
    """Reject a position that does not exist in the run; ``run``: its `Callback.params`."""
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
            f"of an epoch: this run has {rows} rows in batches of {size}. Pass the same data and "
            f"batch_size as before."
        )


def _with_state(callbacks: Sequence[Stateful]) -> list[Stateful]:
    return [callback for callback in callbacks if callback.has_state]


def _compare(stored: Any, own: Any, place: str) -> None:
    """Raise a ValueError that names the first difference between two settings."""
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
