"""A `Dataset` that is left early, or read by two at once, gives the passes of one read whole."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Any

import numpy as np
import pytest
from properties.reused import LEAVING, Trap, assert_leaves_nothing, interrupted_by, threads_end

import gpunn as tf
from gpunn.utils import timeseries_dataset_from_array

D = tf.data.Dataset
Draw = random.Random
Made = Callable[[Any], Any]  # from a data set of numbers to one


def one(sample: Any) -> Any:
    """Make a number of a sample again."""
    parts = sample if isinstance(sample, tuple) else (sample,)
    return np.sum([1.5 * (k + 1) * np.asarray(part).sum() for k, part in enumerate(parts)])


def numbers(data: Any) -> Any:
    return data.map(lambda *parts: one(parts))


def sources(draw: Draw, trap: Trap) -> Any:
    """Draw a source, whose samples pass a trap."""
    rows, seed = draw.randint(4, 9), draw.randint(0, 9)
    values = np.arange(rows) * 1.0

    def generator() -> Iterator[Any]:
        yield from values

    other = D.range(20, 24)
    data = draw.choice([
        lambda: D.range(rows),
        lambda: D.from_tensor_slices((values, values * 2)),
        lambda: D.from_tensors(values).unbatch(),
        lambda: D.from_generator(generator),
        lambda: D.zip(D.range(rows), other.repeat()),
        lambda: D.sample_from_datasets([D.range(rows), other], seed=seed),
        lambda: timeseries_dataset_from_array(values, values, 2, 1, 1, 2, True, 1),
        lambda: timeseries_dataset_from_array(values, None, 3, batch_size=None),
    ])()  # fmt: skip
    return numbers(data).map(trap)


OPERATIONS: dict[str, Callable[[Draw], Made]] = {
    "map": lambda draw: lambda d: d.map(lambda x: x * 2 + 1),
    "filter": lambda draw: lambda d: d.filter(lambda x: int(x) % 5 != 2),
    "flat_map": lambda draw: lambda d: d.flat_map(lambda x: D.from_tensor_slices([x, -x])),
    "enumerate": lambda draw: lambda d: numbers(d.enumerate(2)),
    "apply": lambda draw: lambda d: d.apply(lambda inner: inner.skip(1)),
    "batch": lambda draw: _batched(draw.randint(2, 4), draw.random() < 0.3),
    "unbatch": lambda draw: lambda d: d.batch(3).unbatch(),
    "window": lambda draw: _windows(draw),
    "shuffle": lambda draw: _shuffled(draw),
    "repeat": lambda draw: _repeated(draw.choice([1, 2, None])),
    "take": lambda draw: methodcaller("take", draw.randint(2, 6)),
    "skip": lambda draw: methodcaller("skip", draw.randint(0, 2)),
    "concatenate": lambda draw: lambda d: d.concatenate(D.range(50, 52).map(one)),
    "cache": lambda draw: lambda d: d.cache(),
    "prefetch": lambda draw: methodcaller("prefetch", draw.randint(1, 3)),
    "zip": lambda draw: lambda d: numbers(D.zip(d, d.take(5))),
    "sample_from_datasets": lambda draw: lambda d: D.sample_from_datasets(
        [d, d.take(3)], [0.4, 0.6], 5
    ),
}  # fmt: skip
SOURCES = {"range", "from_tensor_slices", "from_tensors", "from_generator"}
READ = {"as_numpy_iterator", "batches_of_pass", "cardinality", "reduce", "endless"}


def _batched(size: int, drop: bool) -> Made:
    return lambda d: numbers(d.batch(size, drop_remainder=drop))


def _windows(draw: Draw) -> Made:
    size, shift, stride = draw.randint(2, 3), draw.choice([None, 1, 3]), draw.randint(1, 2)
    return lambda d: d.window(size, shift, stride, True).flat_map(lambda w: numbers(w.batch(size)))


def _shuffled(draw: Draw) -> Made:
    size, seed, again = draw.randint(2, 5), draw.choice([None, 7]), draw.choice([None, True, False])
    return lambda d: d.shuffle(size, seed, again)


def _repeated(count: int | None) -> Made:
    return lambda d: d.repeat(count) if count else d.repeat().take(11)


def made(seed: int, trap: Trap) -> Any:
    """Draw a data set: a source and up to four operations."""
    draw = Draw(seed)
    tf.utils.set_random_seed(seed)
    data = sources(draw, trap)
    names = sorted(OPERATIONS)
    chosen = [names[seed % len(names)], *draw.choices(names, k=draw.randint(1, 3))]
    draw.shuffle(chosen)
    for name in chosen:
        data = OPERATIONS[name](draw)(data)
    return data


def read(data: Any, by: str = "for") -> list[Any]:
    if by == "reduce":
        return np.asarray(data.reduce(np.zeros(0), lambda seen, x: np.append(seen, x))).tolist()
    return [np.asarray(x).tolist() for x in (data if by == "for" else data.as_numpy_iterator())]


def leave(data: Any, draw: Draw, trap: Trap, whole: list[Any]) -> None:
    """Begin a pass and leave it, in some way."""
    how, number = draw.choice(["break", "body", "close", "inside", "peek"]), draw.randint(0, 4)
    if how == "peek":
        next(iter(data), None)
        return
    if how == "inside":
        trap.set(number, draw.choice(LEAVING))
        seen: list[Any] = []
        if not interrupted_by(trap, lambda: seen.extend(np.asarray(x).tolist() for x in data)):
            assert seen == whole
        assert seen == whole[: len(seen)]
        return
    samples = iter(data) if draw.random() < 0.5 else data.as_numpy_iterator()
    kind = draw.choice(LEAVING)
    try:
        for count, x in enumerate(samples):
            assert np.asarray(x).tolist() == whole[count]
            if count == number:
                if how == "body":
                    raise kind
                break
    except LEAVING:
        pass
    if how == "close" and hasattr(samples, "close"):
        samples.close()
        assert next(samples, None) is None


def check(seed: int) -> None:
    """Check passes after each way of leaving one; two passes at once; and no thread is left."""
    before = {*threading.enumerate()}
    trap, draw = Trap(), Draw(-seed)
    data, whole = made(seed, trap), made(seed, Trap())
    for _ in range(3):
        leave(data, draw, trap, read(whole))
        assert threads_end(before)
        by = draw.choice(["for", "numpy", "reduce"])
        assert read(data, by) == read(whole), by
    first, second = iter(data), iter(data)
    pairs = [[], []]  # type: list[list[Any]]
    for x in first:
        pairs[0].append(np.asarray(x).tolist())
        pairs[1].extend(np.asarray(y).tolist() for y in (next(second, None),) if y is not None)
    pairs[1].extend(np.asarray(y).tolist() for y in second)
    assert pairs == [read(whole), read(whole)]
    del first, second
    assert threads_end(before)


@pytest.mark.parametrize("seed", range(len(OPERATIONS)))
def test_a_pass_after_one_that_was_left_early(seed: int) -> None:
    check(seed)


@pytest.mark.more
@pytest.mark.parametrize("seed", range(len(OPERATIONS), 400))
def test_many_passes_after_ones_that_were_left_early(seed: int) -> None:
    check(seed)


def test_every_operation_is_among_them() -> None:
    known = {name for name in dir(D) if not name.startswith("_")}
    assert known - READ - SOURCES == {*OPERATIONS}


def test_passes_left_early_leave_nothing() -> None:
    rows = np.zeros((4, 4000))  # 32 kB a sample
    draws = [OPERATIONS[name](Draw(1)) for name in sorted(OPERATIONS)]

    before = {*threading.enumerate()}

    def use() -> None:
        trap = Trap()
        data = D.from_tensor_slices(rows).map(trap)
        for operation in draws:
            source = data.prefetch(1).map(one)
            for _ in operation(source):
                break
            assert threads_end(before)
            trap.set(2)
            interrupted_by(trap, lambda: [None for _ in operation(source)])  # noqa: B023

    assert_leaves_nothing(use, 4, first=2)
