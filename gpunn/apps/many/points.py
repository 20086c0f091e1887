"""The points of a search: what the function that builds a model is called with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from gpunn.common.arguments import check_integer

Point = dict[str, Any]


def points_of(over: Any, trials: int | None, random_state: int) -> list[Point]:
    """Return the points to try; see `gpunn.search`.

    Raises:
        TypeError, ValueError: for something that gives no points.

    >>> points_of({"units": [8, 16], "rate": [0.1]}, None, 0)
    [{'units': 8, 'rate': 0.1}, {'units': 16, 'rate': 0.1}]
    >>> points_of({"rate": lambda random: round(random.uniform(0, 1), 2)}, 2, 0)
    [{'rate': 0.64}, {'rate': 0.89}]
    """
    trials = check_integer("trials", trials, 1, None)
    if isinstance(over, Mapping):
        found = _of_mapping(over, trials, random_state)
    elif isinstance(over, (list, tuple)) and all(isinstance(point, Mapping) for point in over):
        if trials is not None:
            raise ValueError("trials draws from a dictionary of over; a list has its own points.")
        found = [dict(point) for point in over]
    else:
        raise TypeError(
            f"over must be a dictionary of lists or distributions by argument, or a list of "
            f"dictionaries; got {over!r:.100}."
        )
    if not found:
        raise ValueError(f"over has no points: there is nothing to try; got {over!r:.100}.")
    return found


def _of_mapping(over: Mapping[Any, Any], trials: int | None, random_state: int) -> list[Point]:
    draws = [name for name, values in over.items() if hasattr(values, "rvs") or callable(values)]
    for name, values in over.items():
        if not isinstance(name, str):
            raise TypeError(f"over: the arguments are strings; got {name!r}.")
        if name not in draws and (
            isinstance(values, (str, bytes, Mapping, Set)) or not hasattr(values, "__len__")
        ):
            raise TypeError(
                f"over[{name!r}] must be a list of values, a distribution with rvs, or a function "
                f"of a numpy.random.Generator; got {values!r:.80}."
            )
        if name not in draws and not len(values):
            raise ValueError(f"over[{name!r}] is empty: there is nothing to try.")
    if trials is None:
        if draws:
            raise ValueError(
                f"over[{draws[0]!r}] is a distribution: say how many points to draw, with trials=."
            )
        each = itertools.product(*map(_plain, over.values()))
        return [dict(zip(over, values, strict=True)) for values in each]
    check_integer("random_state", random_state, 0)
    lists = {name: None if name in draws else _plain(values) for name, values in over.items()}
    found = []
    for number in range(trials):
        # Each point has a generator of its own: more trials leave the first ones as they were.
        random = np.random.default_rng([random_state, number])
        found.append({n: _drawn(over[n], values, random) for n, values in lists.items()})
    return found


def _drawn(given: Any, values: list[Any] | None, random: np.random.Generator) -> Any:
    if values is not None:
        return values[int(random.integers(len(values)))]
    if hasattr(given, "rvs"):  # of scipy.stats
        return _scalar(given.rvs(random_state=random))
    return _scalar(given(random))


def _plain(values: Any) -> list[Any]:
    return [_scalar(value) for value in values]


def _scalar(value: Any) -> Any:
    """Return Python's number for one of NumPy, which names of points and files show."""
    return value.item() if isinstance(value, np.generic) else value


def text_of(value: Any) -> str:
    """Return a text that is the same for equal values of points.

    Raises:
        TypeError: for a value that no file can hold.

    >>> text_of({"units": [8, 8], "rate": 0.1})
    '{"rate": 0.1, "units": [8, 8]}'
    """
    return json.dumps(value, sort_keys=True, default=_refused)


def _refused(value: Any) -> Any:
    raise TypeError(
        f"folder keeps points of numbers, strings, None, lists and dictionaries; got {value!r:.80}."
    )


def seeds_of(seeds: Any) -> list[int]:
    """Return the seeds: 0, 1, ... for a number of them, or those of a list.

    >>> seeds_of(3), seeds_of([7, 9])
    ([0, 1, 2], [7, 9])
    """
    if not isinstance(seeds, (list, tuple, np.ndarray, range)):
        return list(range(check_integer("seeds", seeds, 1)))
    found = [int(check_integer(f"seeds[{k}]", _scalar(seed), 0)) for k, seed in enumerate(seeds)]
    if not found or len({*found}) < len(found):
        raise ValueError(f"seeds must be a number, or a list of different seeds; got {seeds!r}.")
    return found


def divided(
    point: Mapping[str, Any], build: Callable[..., Any], accepted: Sequence[str]
) -> tuple[Point, Point]:
    """Return the arguments of a point for ``build``, and those for `Model.fit`.

    Those that ``build`` does not take and ``fit`` does, such as ``batch_size``, are for ``fit``.

    >>> divided({"units": 8, "batch_size": 4}, lambda units: None, ["batch_size"])
    ({'units': 8}, {'batch_size': 4})
    """
    from inspect import Parameter, signature

    try:
        taken = signature(build).parameters
    except (TypeError, ValueError):
        return dict(point), {}
    everything = any(one.kind is Parameter.VAR_KEYWORD for one in taken.values())
    fits = {
        name for name in point if name not in taken and not everything and name in accepted
    }
    return (
        {name: value for name, value in point.items() if name not in fits},
        {name: value for name, value in point.items() if name in fits},
    )
