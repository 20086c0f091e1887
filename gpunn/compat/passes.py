"""Passes over the samples of `gpunn.compat.data`: their order, and their random numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunn.common.random import Draws, check_seed, draw_seed

Length = float | None  # of a data set: an integer, infinity, or unknown
Pass = tuple[int, ...]  # the number of a pass, and of each inner pass of repeated data


def generators(seed: int | None, again: bool) -> Callable[[Pass], np.random.Generator]:
    """Return the generator of a pass, for each pass another one if it draws ``again``."""
    given = check_seed("seed", seed)
    first = draw_seed() if given is None else given
    return lambda at: np.random.default_rng([first, *(at if again else (0,))])


def draws_of_passes() -> Callable[[Pass], Draws]:
    """Return the source of random numbers of a pass, for the functions of a data set.

    They draw from no other: what the reader draws meanwhile, be it in another thread, changes
    none of their numbers, nor they its own.
    """
    seed = draw_seed()
    return lambda at: Draws(seed, *at)


def shuffled(samples: Iterator[Any], size: int, draw: np.random.Generator) -> Iterator[Any]:
    """Yield samples, each drawn from the next ``size`` ones."""
    buffer = list(itertools.islice(samples, size))
    for sample in samples:
        place = draw.integers(len(buffer))
        yield buffer[place]
        buffer[place] = sample
    draw.shuffle(buffer)
    yield from buffer


def alternating(
    sources: list[Iterator[Any]], chances: np.ndarray, draw: np.random.Generator, stop: bool
) -> Iterator[Any]:
    """Yield samples, each from a source that is drawn, until all, or with ``stop`` one, end."""
    left = chances.copy()
    while left.sum() > 0:
        which = draw.choice(len(sources), p=left / left.sum())
        try:
            yield next(sources[which])
        except StopIteration:
            if stop:
                return
            left[which] = 0


def windows(samples: Iterator[Any], size: int, shift: int, stride: int) -> Iterator[list[Any]]:
    """Yield lists of ``size`` samples, or fewer at the end: see `gpunn.compat.data`.

    >>> list(windows(iter(range(5)), 2, 2, 2))
    [[0, 2], [2, 4], [4]]
    """
    seen: list[Any] = []
    span = (size - 1) * stride + 1
    while True:
        seen += itertools.islice(samples, max(0, span - len(seen)))
        if not (inside := seen[:span:stride]):
            return
        yield inside
        skipped = shift - len(seen)
        seen = seen[shift:]
        if skipped > 0:
            next(itertools.islice(samples, skipped, skipped), None)


def divided(length: Length, size: int, drop_remainder: bool) -> Length:
    """Return the number of groups of this size."""
    if length is None or length == math.inf:
        return length
    return length // size if drop_remainder else math.ceil(length / size)
