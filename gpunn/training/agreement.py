"""What ranks agree on before a training, and what is compared while it runs.

Each rank must train the same model in the same way on the same data: else it waits for a rank that
does something else, or the weights differ from then on. So the ranks compare everything that `fit`
was given, and rank 0 sends its weights and counters.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.distribution.communicator import Communicator
from gpunn.feeding.arrays import windows_of
from gpunn.feeding.rows import Rows

from .trainer import Trainer

PIECE = 1 << 24  # bytes that are read at a time


class RanksDisagreeError(ValueError):
    """The ranks of a run do not have the same; the message names what, and who has which."""


def compare(ranks: Communicator, values: Mapping[str, Any]) -> None:
    """Check that all ranks, which all call this, have the same values; messages name them so.

    Raises:
        RanksDisagreeError: on every rank, naming the first value that differs.
    """
    everyone = ranks.gather({name: str(value) for name, value in values.items()})
    for other, theirs in enumerate(everyone):
        for name in dict.fromkeys((*everyone[0], *theirs)):
            first, second = (of.get(name, "nothing") for of in (everyone[0], theirs))
            if first != second:
                raise RanksDisagreeError(
                    f"The ranks do not agree on {name}: {first} on rank 0, {second} on rank "
                    f"{other}. Every rank must run the same program on the same data."
                )


def compare_names(ranks: Communicator, what: str, names: Iterable[str]) -> None:
    """Check that all ranks have the same names in the same order, at the cost of one number."""
    listed = ", ".join(names)
    number = zlib.crc32(listed.encode())
    if ranks.least(number, -number) != [number, -number]:
        compare(ranks, {what: listed})


def compare_models(ranks: Communicator, trainer: Trainer) -> None:
    """Check that all ranks have the same compiled model: layers, shapes, losses, optimizer."""
    plan = trainer.plan
    kind = trainer.backend.name.partition(":")[0]  # each rank has a GPU of its own
    found = {"dtype": trainer.spec.dtype, "backend": kind}
    found["layers"] = ", ".join(type(node.layer).__name__ for node in plan.nodes)
    for number, node in enumerate(plan.nodes):
        found |= _settings(f"layer {number}, {type(node.layer).__name__}", node.layer)
    for number, parameter in enumerate(plan.parameters.values()):
        found[f"the shape of weight {number}"] = str(parameter.shape)
    for number, loss in enumerate(trainer.losses):
        found |= _settings(f"loss {number}", loss)
    found |= _settings("the optimizer", trainer.optimizer)
    found["metrics"] = ", ".join(trainer.log_names)
    compare(ranks, found)


def compare_data(ranks: Communicator, trainer: Trainer, rows: Any, where: str = "") -> None:
    """Check shape, dtype and checksum of each array; of a stream, only that it is one."""
    if not isinstance(rows, Rows):
        compare(ranks, {f"{where}the kind of data": "batches"})
        return
    found = {f"{where}the kind of data": "arrays"}
    for name, array in rows.arrays.items():
        number = checksum(trainer.backend, array)
        found[f"{where}{name}"] = f"{array.dtype.name} {array.shape}, checksum {number:08x}"
    if rows.chosen is not None:
        found[f"{where}the chosen rows"] = f"checksum {zlib.crc32(rows.chosen.tobytes()):08x}"
    compare(ranks, found)


def checksum(backend: Backend, array: Array) -> int:
    """Return the CRC-32 of an array on the host or the device; of windows, of their series."""
    number = 0
    if (windows := windows_of(array, backend)) is not None:
        array, number = windows.series, zlib.crc32(f"{windows.apart} {windows.step}".encode())
    at_once = max(1, PIECE // max(1, array[:1].nbytes))
    for start in range(0, len(array), at_once):
        part = array[start : start + at_once]
        part = backend.read(part) if backend.owns(part) else np.asarray(part)
        number = zlib.crc32(np.ascontiguousarray(part).data.cast("B"), number)
    return number


def check_batch(ranks: Communicator, number: int, rows: Rows | None) -> None:
    """Check that a stream yields as many rows on each rank; None where it has ended."""
    size = len(rows) if rows is not None else 0
    if ranks.least(size, -size) != [size, -size]:
        sizes = ranks.gather(size)
        other = next(rank for rank, theirs in enumerate(sizes) if theirs != sizes[0])
        raise RanksDisagreeError(
            f"Batch {number} has {sizes[0]} rows on rank 0, but {sizes[other]} on rank {other}. "
            f"Every rank must be given the same batches, of which it takes its share of the rows."
        )


def join_batch(ranks: Communicator, rows: Rows | None, last: Rows | None) -> Rows | None:
    """Return this rank's rows of a batch to which each rank brings its own; no rows if its source
    has ended before the others, and None once all have ended."""
    if ranks.least(-len(rows) if rows is not None else 0) == [0]:
        return None
    if rows is None and last is None:
        raise ValueError(f"The data of rank {ranks.rank} yielded no batches.")
    return rows if rows is not None or last is None else last.part(0, 0)


def send_state(ranks: Communicator, trainer: Trainer) -> None:
    """Give each rank the weights, the optimizer's state and the counters of rank 0."""
    if len(set(ranks.gather(_digest(trainer)))) == 1:
        return
    storage, backend = trainer.storage, trainer.backend
    flat = (storage.values, storage.state)
    mine = [*map(backend.read, flat)], *trainer.state()
    weights, tensors, document = ranks.first(mine)
    if ranks.rank:
        with storage.access.writing():
            for array, values in zip(flat, weights, strict=True):
                backend.write(array, values)
            tensors["totals"] = np.zeros_like(tensors["totals"])  # rank 0 has all sums so far
            trainer.set_state(tensors, document)


def _digest(trainer: Trainer) -> str:
    tensors, document = trainer.state()
    del tensors["totals"]
    arrays = trainer.storage.values, trainer.storage.state, *tensors.values()
    numbers = [checksum(trainer.backend, array.reshape(-1)) for array in arrays]
    return f"{numbers} {sorted(document.items())}"


def send_callbacks(ranks: Communicator, callbacks: Iterable[Any]) -> None:
    """Give the callbacks of each rank the states that a checkpoint restored on rank 0."""
    states = ranks.first([c.get_state() if c.has_state else None for c in callbacks])
    if ranks.rank:
        for callback, state in zip(callbacks, states, strict=True):
            if state is not None:
                callback.set_state(state)


def check_weights(ranks: Communicator, trainer: Trainer, epoch: int) -> None:
    """Check that the ranks have the same weights, bit by bit.

    Raises:
        RanksDisagreeError: on every rank, naming the first array that differs.
    """
    backend, storage = trainer.backend, trainer.storage
    number = checksum(backend, storage.values)
    if ranks.least(number, -number) == [number, -number]:
        return
    own = {
        path: checksum(backend, p.array.reshape(-1))
        for path, p in trainer.plan.parameters.items()
        if p.trained
    }
    everyone = ranks.gather(own)
    for path in own:
        numbers = [theirs[path] for theirs in everyone]
        if len(set(numbers)) > 1:
            other = next(r for r, n in enumerate(numbers) if n != numbers[0])
            raise RanksDisagreeError(
                f"The weights of rank 0 and rank {other} differ after epoch {epoch + 1}, first in "
                f"{path}. Something changed them on one rank alone, such as a callback."
            )


def average_state(ranks: Communicator, trainer: Trainer) -> None:
    """Replace moving averages, of which each rank has its own, by their mean over the ranks."""
    backend, state = trainer.backend, trainer.storage.state
    if not state.size:
        return
    values = backend.read(state)
    ranks.sum(values)
    values /= ranks.size
    with trainer.storage.access.writing():
        backend.write(state, values)


_NOT_COMPARED = ("name", "seed")
"""Settings that change nothing: rank 0 sends the initial weights, too."""


def _settings(name: str, part: Any) -> dict[str, str]:
    """Return the class of a part and, if it has a configuration, each of its settings."""
    found = {name: type(part).__name__}
    try:
        config = part.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return found  # None, or a part that no file can hold
    return found | dict(_leaves(name, config))


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if key not in _NOT_COMPARED and not str(key).endswith("initializer"):
                yield from _leaves(f"{name}: {key}", entry)
    else:
        yield name, repr(value)
