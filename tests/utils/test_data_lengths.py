"""The length of a data set is that of its list, and its samples are those of plain Python."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunn

D = gpunn.data.Dataset
# What returns no data set of the samples of another one.
OTHERS = {"as_numpy_iterator", "batches_of_pass", "cardinality", "endless", "reduce"}


class Both(NamedTuple):
    """A data set, and its samples as plain Python makes them: nested lists and numbers."""

    data: Any
    samples: list[Any]
    is_known: bool = True  # the length, before the samples are read


def plain(sample: Any) -> Any:
    """Convert a sample to lists, tuples, dictionaries and numbers."""
    if isinstance(sample, tuple):
        return tuple(plain(part) for part in sample)
    if isinstance(sample, dict):
        return {name: plain(part) for name, part in sample.items()}
    if isinstance(sample, D):
        return [plain(part) for part in sample]
    return np.asarray(sample).tolist()


def first(sample: Any) -> Any:
    """Return the first array of a sample."""
    while isinstance(sample, (tuple, dict)):
        sample = sample[0] if isinstance(sample, tuple) else next(iter(sample.values()))
    return sample


def stacked(group: list[Any]) -> Any:
    """Stack samples into one, as a batch does."""
    if isinstance(group[0], tuple):
        return tuple(stacked(list(part)) for part in zip(*group, strict=True))
    if isinstance(group[0], dict):
        return {name: stacked([sample[name] for sample in group]) for name in group[0]}
    return group


def rows_of(sample: Any) -> list[Any]:
    """Return the rows of a batch."""
    if isinstance(sample, tuple):
        return [*zip(*map(rows_of, sample), strict=True)]
    if isinstance(sample, dict):
        parts = zip(*map(rows_of, sample.values()), strict=True)
        return [dict(zip(sample, part, strict=True)) for part in parts]
    return list(sample)


def doubled(sample: Any) -> Any:
    if isinstance(sample, tuple):
        return tuple(map(doubled, sample))
    if isinstance(sample, dict):
        return {name: doubled(part) for name, part in sample.items()}
    return doubled_list(sample) if isinstance(sample, list) else sample * 2


def doubled_list(values: list[Any]) -> list[Any]:
    return [doubled_list(v) if isinstance(v, list) else v * 2 for v in values]


def shapes(sample: Any) -> Any:
    """Return the shapes of the arrays of a sample, in its structure."""
    if isinstance(sample, tuple):
        return [*map(shapes, sample)]
    return [*map(shapes, sample.values())] if isinstance(sample, dict) else np.shape(sample)


# -- sources


def of_range(draw: random.Random) -> Both:
    given = draw.choice([(0,), (1,), (7,), (12,), (3, 11), (2, 14, 3), (9, 0, -2), (5, 5)])
    return Both(D.range(*given), [*range(*given)])


def of_slices(draw: random.Random) -> Both:
    count = draw.choice([0, 1, 6, 11])
    x, y = np.arange(2.0 * count).reshape(count, 2), np.arange(count)
    forms: tuple[Any, ...] = (x, (x, y), {"a": y, "b": x}, ({"a": x}, y))
    samples = [
        (row, {"a": int(k), "b": row}) for k, row in enumerate(x.tolist())
    ]  # the parts of each form
    which = draw.randrange(len(forms))
    made = [(row, (row, both["a"]), both, ({"a": row}, both["a"]))[which] for row, both in samples]
    return Both(D.from_tensor_slices(forms[which]), made)


def of_one(draw: random.Random) -> Both:
    return Both(D.from_tensors((np.arange(3), 4)), [([0, 1, 2], 4)])


def of_generator(draw: random.Random) -> Both:
    count = draw.choice([0, 1, 8])
    return Both(D.from_generator(lambda: iter(range(count))), [*range(count)], is_known=False)


SOURCES = {
    "range": of_range, "from_tensor_slices": of_slices, "from_tensors": of_one,
    "from_generator": of_generator,
}  # fmt: skip


# -- operations; each takes both and gives both


def count_of(draw: random.Random, both: Both) -> int:
    """Draw a number of samples: none, some, all, or beyond the end."""
    n = len(both.samples)
    return draw.choice([0, 1, 2, max(0, n - 1), n, n + 1, n + 50])


def batch(draw: random.Random, both: Both) -> Both:
    n = len(both.samples)
    if any(shapes(sample) != shapes(both.samples[0]) for sample in both.samples):
        return both  # a batch needs one shape
    size, drop = draw.choice([1, 2, 3, 4, max(1, n), n + 1, 40]), draw.random() < 0.5
    groups = [both.samples[k : k + size] for k in range(0, n, size)]
    full = [stacked(group) for group in groups if len(group) == size or not drop]
    data = both.data.batch(size, drop_remainder=drop)
    return Both(data, full, both.is_known)


def unbatch(draw: random.Random, both: Both) -> Both:
    joined, samples, _ = batch(draw, both)
    if joined is both.data:
        return both
    return Both(joined.unbatch(), [row for sample in samples for row in rows_of(sample)], False)


def window(draw: random.Random, both: Both) -> Both:
    """Windows of single arrays, each as a batch of its samples."""
    data, samples = both.data, both.samples
    if samples and isinstance(samples[0], (tuple, dict)):
        data, samples = data.map(lambda *parts: first(parts)), [first(s) for s in samples]
    if any(shapes(sample) != shapes(samples[0]) for sample in samples):
        return both  # their batch needs one shape
    for drop, default in itertools.product((True, False), repeat=2):
        size, shift, stride = (draw.choice([1, 2, 3, 5]) for _ in range(3))
        starts = range(0, len(samples), size if default else shift)
        parts = [samples[k : k + (size - 1) * stride + 1 : stride] for k in starts]
        parts = [part for part in parts if len(part) == size or not drop]
        windows = data.window(size, None if default else shift, stride, drop)
        whole = windows.map(lambda part: next(iter(part.batch(99))))
        check(made := Both(whole, parts, both.is_known))
    return made


def take(draw: random.Random, both: Both) -> Both:
    count = draw.choice([-1, count_of(draw, both)])
    return both._replace(
        data=both.data.take(count), samples=both.samples[: None if count == -1 else count]
    )


def skip(draw: random.Random, both: Both) -> Both:
    count = draw.choice([-1, count_of(draw, both)])
    if count == -1:
        return both._replace(data=both.data.skip(-1), samples=[])
    return both._replace(data=both.data.skip(count), samples=both.samples[count:])


def repeat(draw: random.Random, both: Both) -> Both:
    count = draw.choice([0, 1, 2, 3, None, -1])
    if count not in (None, -1):
        known = both.is_known or count == 0
        return Both(both.data.repeat(count), both.samples * (count or 0), known)
    endless, n = both.data.repeat(count), draw.choice([0, 1, 30])
    if both.samples:
        assert endless.cardinality() == -1
        with pytest.raises(TypeError):
            len(endless)
    elif both.is_known:
        assert len(endless) == 0
    else:  # it is said to be endless, as in TensorFlow, and ends at once
        assert [*endless] == []
        return both
    return Both(endless.take(n), [*itertools.islice(itertools.cycle(both.samples), n)])


def shuffle(draw: random.Random, both: Both) -> Both:
    """Any order that is the same in each pass."""
    size, seed = draw.choice([1, 2, 5, 100]), draw.randrange(9)
    for again in (True, None, False):
        data = both.data.shuffle(size, seed=seed, reshuffle_each_iteration=again)
        for _ in range(2):
            assert sorted(map(repr, map(plain, data))) == sorted(map(repr, both.samples))
    return both._replace(data=data, samples=[*map(plain, data)])


def concatenate(draw: random.Random, both: Both) -> Both:
    other = take(draw, both)
    return both._replace(
        data=both.data.concatenate(other.data), samples=both.samples + other.samples
    )


def cache(draw: random.Random, both: Both) -> Both:
    """What is read once to its end is not made again."""
    made: list[Any] = []

    def recorded(*parts: Any) -> Any:
        made.append(parts)
        return parts if len(parts) > 1 else parts[0]

    data = both.data.map(recorded).cache()
    for _ in data.take(1):  # a pass that is not read to its end
        break
    made.clear()
    for _ in range(2):
        assert [*map(plain, data)] == both.samples
        assert len(made) == len(both.samples)
    return both._replace(data=data)


def zipped(draw: random.Random, both: Both) -> Both:
    n = count_of(draw, both)
    parts = draw.choice([(D.range(n), both.data), ((D.range(n), both.data),)])
    return both._replace(data=D.zip(*parts), samples=[*zip(range(n), both.samples, strict=False)])


def sampled(draw: random.Random, both: Both) -> Both:
    """Samples of two data sets: all of both, those of each in their order."""
    other = take(draw, both)
    weights = draw.choice([None, [1.0, 3.0]])
    data = D.sample_from_datasets([both.data, other.data], weights, draw.randrange(9), False, False)
    found = [*map(plain, data)]
    assert sorted(map(repr, found)) == sorted(map(repr, both.samples + other.samples))
    return Both(data, found, is_known=False)


def filtered(draw: random.Random, both: Both) -> Both:
    def even(sample: Any) -> bool:
        return int(np.sum(first(sample))) % 2 == 0

    samples = [s for s in both.samples if even(s)]
    keep = both.data.filter(lambda *parts: even(parts))
    return Both(keep, samples, is_known=False)


def mapped(draw: random.Random, both: Both) -> Both:
    def twice(*parts: Any) -> Any:
        sample = parts if len(parts) > 1 else parts[0]
        return doubled(sample)

    return both._replace(data=both.data.map(twice), samples=[*map(doubled, both.samples)])


def flat(draw: random.Random, both: Both) -> Both:
    def several(*parts: Any) -> Any:
        return D.from_tensors(parts if len(parts) > 1 else parts[0]).repeat(2)

    samples = [sample for sample in both.samples for _ in range(2)]
    return Both(both.data.flat_map(several), samples, is_known=False)


def numbered(draw: random.Random, both: Both) -> Both:
    begin = draw.choice([0, 5])
    samples = [*enumerate(both.samples, begin)]
    return both._replace(data=both.data.enumerate(begin), samples=samples)


def applied(draw: random.Random, both: Both) -> Both:
    k = count_of(draw, both)
    return both._replace(data=both.data.apply(lambda data: data.skip(k)), samples=both.samples[k:])


def ahead(draw: random.Random, both: Both) -> Both:
    return both._replace(data=both.data.prefetch(draw.choice([None, 0, 1, -1])))


OPERATIONS: dict[str, Callable[[random.Random, Both], Both]] = {
    "apply": applied, "batch": batch, "cache": cache, "concatenate": concatenate,
    "enumerate": numbered, "filter": filtered, "flat_map": flat, "map": mapped, "prefetch": ahead,
    "repeat": repeat, "sample_from_datasets": sampled, "shuffle": shuffle, "skip": skip,
    "take": take, "unbatch": unbatch, "window": window, "zip": zipped,
}  # fmt: skip


def check(both: Both) -> None:
    """Compare the samples in two passes, and the length."""
    found = [*map(plain, both.data)]
    assert found == both.samples
    assert [*map(plain, both.data.as_numpy_iterator())] == found
    number = len(found) if both.is_known else -2
    assert both.data.cardinality() == number
    assert not both.data.endless
    if both.is_known:
        assert len(both.data) == number
    else:
        with pytest.raises(TypeError):
            len(both.data)


def test_every_operation_is_here() -> None:
    names = {name for name in vars(D) if not name.startswith("_")}
    assert names - OTHERS == {*SOURCES, *OPERATIONS}


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(k, marks=pytest.mark.more) for k in range(8, 200))]
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_in_turn(operation: str, seed: int, doubles: None) -> None:
    """Each operation first, then up to two others, of any source."""
    draw = random.Random(f"{operation} {seed}")
    names = [*SOURCES]
    both = SOURCES[names[seed % len(names)]](draw)
    for name in (operation, *draw.choices([*OPERATIONS], k=draw.choice([0, 1, 2]))):
        both = OPERATIONS[name](draw, both)
        check(both)
