"""Small two-dimensional problems to visualize: points, XOR, rings, moons, spirals, bands.

Each function returns ``x`` (rows, 2), float64, and ``y`` (rows,), class numbers from 0.
Random points depend on ``seed`` and come in a random order, with classes as equal in size
as possible.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpunn.common.arguments import check_integer, check_number
from gpunn.common.importing.lazy import offer

__all__ = ["eleven_points", "moons", "rings", "separable", "spirals", "split", "ten_points", "xor"]
offer(__name__)

Problem = tuple[NDArray[np.float64], NDArray[np.int64]]


def ten_points() -> Problem:
    """Ten points in the unit square, five of each class; a network of 23 parameters separates them.

    Source: Higham and Higham, "Deep Learning: An Introduction for Applied Mathematicians", SIAM
    Review 61(4), 2019.

    Returns:
        ``x`` (10, 2), float64, and ``y`` (10,), 0 or 1.

    >>> x, y = ten_points()
    >>> x[0].tolist(), y.tolist()
    ([0.1, 0.1], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    x1 = [0.1, 0.3, 0.1, 0.6, 0.4, 0.6, 0.5, 0.9, 0.4, 0.7]
    x2 = [0.1, 0.4, 0.5, 0.9, 0.2, 0.3, 0.6, 0.2, 0.4, 0.6]
    return np.array([x1, x2]).T, np.repeat([0, 1], 5)


def eleven_points() -> Problem:
    """The ten points, and one of the second class, (0.3, 0.7), among the first's.

    It is harder: from many starts, the same network ends with a point on the wrong side.

    Returns:
        ``x`` (11, 2), float64, and ``y`` (11,), 0 or 1.

    >>> x, y = eleven_points()
    >>> x[-1].tolist(), int(y[-1])
    ([0.3, 0.7], 1)
    """
    x, y = ten_points()
    return np.vstack([x, [0.3, 0.7]]), np.append(y, 1)


def xor(rows: int = 4, noise: float = 0.0, seed: int = 0) -> Problem:
    """Exclusive or: class 1 where one of two inputs is 1 and the other 0.

    Args:
        rows: number of rows; the four points are repeated in order.
        noise: standard deviation of the noise added to each input.
        seed: of the noise.

    Returns:
        ``x`` (rows, 2), float64, and ``y`` (rows,), 0 or 1.

    >>> x, y = xor()
    >>> x.tolist(), y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    rows, random = _begin(rows, noise, seed)
    corner = np.arange(rows) % 4
    first, second = corner // 2, corner % 2
    x = np.column_stack([first, second]).astype(np.float64)
    return x + noise * random.standard_normal(x.shape), first ^ second


def rings(rows: int = 300, noise: float = 0.08, classes: int = 2, seed: int = 0) -> Problem:
    """Circles about the origin: class k has the radius ``(k + 1) / classes``.

    Args:
        rows: number of points.
        noise: standard deviation of the noise added to each coordinate.
        classes: number of circles, at least 2.
        seed: of order, angles and noise.

    Returns:
        ``x`` (rows, 2), float64, and ``y`` (rows,), from 0 to ``classes`` - 1.

    >>> x, y = rings(noise=0)
    >>> bool(np.allclose(np.hypot(*x.T), (y + 1) / 2))
    True
    """
    rows, random = _begin(rows, noise, seed)
    y = random.permutation(np.arange(rows) % check_integer("classes", classes, 2))
    angle = random.uniform(0, 2 * np.pi, rows)
    x = ((y + 1) / classes * [np.cos(angle), np.sin(angle)]).T
    return x + noise * random.standard_normal(x.shape), y


def moons(rows: int = 300, noise: float = 0.1, seed: int = 0) -> Problem:
    """Two interleaving half circles of radius 1.

    Class 0 is the upper half about the origin, class 1 the lower about (1, 0.5). Arguments and
    result: as for `rings`.

    >>> x, y = moons(noise=0)
    >>> bool(x[y == 0, 1].min() >= 0), bool(x[y == 1, 1].max() <= 0.5)
    (True, True)
    """
    rows, random = _begin(rows, noise, seed)
    y = random.permutation(np.arange(rows) % 2)
    angle = random.uniform(0, np.pi, rows) + np.pi * y
    x = np.column_stack([np.cos(angle) + y, np.sin(angle) + 0.5 * y])
    return x + noise * random.standard_normal(x.shape), y


def spirals(
    rows: int = 300, noise: float = 0.03, classes: int = 2, turns: float = 1.25, seed: int = 0
) -> Problem:
    """Spiral arms about the origin up to radius 1, one for each class.

    Point t of class k is at radius t and angle ``2 pi (turns t + k / classes)``.

    Args:
        rows, noise, seed: as for `rings`.
        classes: number of arms, at least 2.
        turns: full turns of an arm.

    Returns:
        ``x`` and ``y``, as for `rings`.

    >>> x, y = spirals(noise=0)
    >>> bool(np.hypot(*x.T).max() <= 1)
    True
    """
    rows, random = _begin(rows, noise, seed)
    y = random.permutation(np.arange(rows) % check_integer("classes", classes, 2))
    radius = np.sqrt(random.uniform(0.01, 1, rows))  # as dense outside as inside
    angle = 2 * np.pi * (check_number("turns", turns) * radius + y / classes)
    x = (radius * [np.cos(angle), np.sin(angle)]).T
    return x + noise * random.standard_normal(x.shape), y


def separable(rows: int = 100, margin: float = 0.1, seed: int = 0) -> Problem:
    """The square from -1 to 1, separated by a straight line that the seed chooses.

    Args:
        rows: number of points.
        margin: minimum distance of a point from the line; at most 0.5.
        seed: of line and points.

    Returns:
        ``x`` (rows, 2), float64, and ``y`` (rows,), 0 or 1.

    Raises:
        ValueError: for a margin below 0 or above 0.5.

    >>> x, y = separable()
    >>> x.shape, np.bincount(y).tolist()
    ((100, 2), [50, 50])
    """
    rows, random = _begin(rows, 0.0, seed)
    if not 0 <= check_number("margin", margin) <= 0.5:
        raise ValueError(f"margin must be from 0 to 0.5; got {margin!r}.")
    angle = random.uniform(0, 2 * np.pi)
    normal, offset = np.array([np.cos(angle), np.sin(angle)]), random.uniform(-0.2, 0.2)
    y = random.permutation(np.arange(rows) % 2)
    x = np.empty((rows, 2))
    for side in (0, 1):
        wanted = int(np.sum(y == side))
        found = np.empty((0, 2))
        while len(found) < wanted:
            drawn = random.uniform(-1, 1, (4 * rows, 2))
            distance = (drawn @ normal - offset) * (1 if side else -1)
            found = np.vstack([found, drawn[distance >= margin]])
        x[y == side] = found[:wanted]
    return x, y


def split(rows: int = 300, noise: float = 0.1, seed: int = 0) -> Problem:
    """A class split in two by the other: groups about (-1, -1), (0, 0) and (1, 1).

    The middle group is class 1, the outer two are class 0: no straight line separates them.

    Args:
        rows: number of points.
        noise: standard deviation of the steps (1, 1) from a group's centre. The steps (1, -1),
            across, have three times the deviation.
        seed: of order and points.

    Returns:
        ``x`` (rows, 2), float64, and ``y`` (rows,), 0 or 1.

    >>> x, y = split(noise=0)
    >>> np.unique(x[y == 0], axis=0).tolist(), np.unique(x[y == 1], axis=0).tolist()
    ([[-1.0, -1.0], [1.0, 1.0]], [[0.0, 0.0]])
    """
    rows, random = _begin(rows, noise, seed)
    y = random.permutation(np.arange(rows) % 2)
    centre = np.where(y == 1, 0, random.choice([-1, 1], rows))
    along, across = noise * random.standard_normal((2, rows))
    return np.column_stack([centre + along + 3 * across, centre + along - 3 * across]), y


def _begin(rows: int, noise: float, seed: int) -> tuple[int, np.random.Generator]:
    """Check the common arguments; return the number of rows and a random generator."""
    check_number("noise", noise, 0)
    return check_integer("rows", rows, 1), np.random.default_rng(check_integer("seed", seed, 0))
