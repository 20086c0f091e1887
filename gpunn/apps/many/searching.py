"""`gpunn.search`: which of many models is the best."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from gpunn.backends import get_backend
from gpunn.callbacks.streams import check_verbose
from gpunn.common.arguments import check_choice, check_integer
from gpunn.common.config import floatx
from gpunn.common.names import closest, counted, listed, shorten, warn
from gpunn.models import Model, NonFiniteLossError

from .executors import over_executor
from .folds import folds_of
from .kept import Kept
from .points import points_of, seeds_of, text_of
from .progress import Progress
from .shared import check_arrays, row_count
from .study import Study
from .trials import Plan, Result, Trial

__all__ = ["search"]

INTERRUPTED = "search was interrupted: with folder=..., the same call would go on."
INTERRUPTED_KEPT = "search was interrupted: the finished trials are in {}; the same call goes on."
AT_ONCE = 1024  # models in memory that are not trained yet
_OF_SEARCH = ("self", "x", "y", "epochs", "verbose", "callbacks", "sample_weight", "class_weight")


def search(
    build: Callable[..., Model],
    x: Any,
    y: Any = None,
    *,
    over: Any,
    trials: int | None = None,
    seeds: Any = 1,
    folds: Any = None,
    halving: int | None = None,
    monitor: str = "val_loss",
    mode: str = "auto",
    random_state: int = 0,
    executor: Any = None,
    folder: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    **fit: Any,
) -> Study:
    """Train a model for each point of a space, with several seeds and folds, and compare them.

    Each trial ends as this program would end, and what runs beside it, and where, does not change a
    bit of it. Only small networks, which `fit_many` trains in lockstep, differ by rounding::

        with gpunn.utils.seeded(seed):
            model = build(**point)
            model.fit(x[rows], y[rows], validation_data=(x[held_out], y[held_out]), ...)

    Args:
        build: Function that returns a compiled model for the arguments of a point. Those that it
            does not take and `Model.fit` does, such as ``batch_size``, go to `Model.fit`.
        x, y: Data of all models, as `fit_many` takes them.
        over: A dictionary of lists: all combinations. Or a list of dictionaries: these points. Or,
            with ``trials``, a dictionary of lists, distributions with scipy.stats's ``rvs``, and
            functions of a ``numpy.random.Generator``: so many draws.
        trials: Number of points to draw.
        seeds: Number of models of each point, built and trained with the seeds 0, 1, ...; or a list
            of seeds.
        folds: None to validate as ``validation_split`` or ``validation_data`` say. Or a number of
            folds: of classes each has its share, and the rows are shuffled the same way each time.
            Or an object with scikit-learn's ``split(x, y)``, asked once, or a list of pairs of row
            numbers, to train on and to validate on.
        halving: By this factor the epochs grow from round to round and the points become fewer; the
            worst are dropped. Each round trains from the start, so a result is that of a training
            of so many epochs. None to train all points for all epochs.
        monitor: The figure of `Model.fit` that is compared, as the trained model has it: of the
            last epoch, or of the one whose weights `callbacks.EarlyStopping` restored.
        mode: Which way is better: ``"min"``, ``"max"``, or ``"auto"``, as callbacks tell it.
        random_state: Seed of the points that are drawn.
        executor: None for this process. Or an executor of ``concurrent.futures``, a
            ``joblib.Parallel``, a client of Dask, or an ``mpi4py.futures.MPIPoolExecutor``. Data
            are sent once to a process. A trial whose process dies is repeated once, by itself.
        folder: Where each finished trial is written at once: its model and its figures. A search
            with the same folder takes what is there, and trains the rest.
        threads: As for `fit_many`; with an executor, each of its workers trains one at a time.
        epochs: Of each model; with ``halving``, of the last round.
        verbose: 0 is silent; otherwise as for `fit_many`, by trials.
        callbacks: As for `fit_many`; the number is that of the trial.
        sample_weight, class_weight: As for `Model.fit`.
        **fit: Further arguments of `Model.fit`.

    Returns:
        A study: its ``table()``, ``best``, ``models``, ``ensemble(5)``, ``plot()``, and ``scores``
        in the order of the points. Of a model that diverged or was lost the score is NaN; a warning
        names the trials.

    Raises:
        ValueError, TypeError: for invalid arguments, before any training; for a folder of another
            search.
        Exception: of ``build`` or a training, with the trial in its notes. Of another process, one
            that cannot be pickled comes as a RuntimeError with its text.

    >>> import gpunn
    >>> x, y = gpunn.datasets.toy.spirals(60)
    >>> def build(units, rate):
    ...     model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(units, "tanh"),
    ...                               gpunn.layers.Dense(1, "sigmoid")])
    ...     model.compile(gpunn.optimizers.Adam(rate), "binary_crossentropy")
    ...     return model
    >>> over = {"units": [4, 16], "rate": [0.1, 1e-5]}
    >>> study = gpunn.search(build, x, y, over=over, folds=3, epochs=20, verbose=0)
    >>> study.best.point["rate"], len(study.models)
    (0.1, 12)
    >>> study.ensemble(3).predict(x[:2], verbose=0).shape
    (2, 1)
    """
    verbose = check_verbose(verbose)
    epochs = check_integer("epochs", epochs, 1)
    check_integer("threads", threads, 1, None)
    halving = check_integer("halving", halving, 2, None)
    check_choice("mode", mode, ("auto", "min", "max"))
    if not isinstance(monitor, str):
        raise TypeError(f"monitor must be the name of a figure of fit; got {monitor!r:.80}.")
    if not callable(build) or isinstance(build, Model):
        raise TypeError(
            f"build must be a function that returns a compiled model; got {build!r:.80}."
        )
    check_arrays(x)
    points, chosen = points_of(over, trials, random_state), seeds_of(seeds)
    if halving is not None and any("epochs" in point for point in points):
        raise ValueError("halving chooses the epochs: leave them out of over.")
    if halving is not None and epochs == 1:
        raise ValueError(f"halving={halving} divides epochs, which is 1: pass epochs=... as well.")
    parts = folds_of(folds, y, row_count(x))
    arguments = fit_arguments(fit)
    plan = Plan(
        build, x, y, sample_weight, class_weight, parts, callbacks, arguments, monitor, mode,
        threads, get_backend().name, floatx(),
    )  # fmt: skip
    for point in points:
        _check_validation({**arguments, **plan.divided(point)[1]}, folds is not None, monitor)
        if folder is not None:
            text_of(point)  # raises now if a file cannot hold it
    kept = None if folder is None else Kept(folder, plan)
    try:
        rounds = _rounds(len(points), epochs, halving)
        found = _search(plan, points, chosen, rounds, halving, executor, kept, verbose)
    except KeyboardInterrupt as stop:
        stop.add_note(INTERRUPTED if kept is None else INTERRUPTED_KEPT.format(kept.folder))
        shorten(stop)
        raise
    finally:
        if kept is not None:
            kept.release()
    study = Study(points, found, monitor)
    _name_failed(study)
    return study


def _check_validation(arguments: Mapping[str, Any], folds: bool, monitor: str) -> None:
    """Raise an error unless a point says once on which rows its models validate."""
    validates = arguments["validation_data"] is not None or arguments["validation_split"]
    if folds and validates:
        raise ValueError(
            "folds already say on which rows models validate: leave out validation_split and "
            "validation_data."
        )
    if monitor.startswith("val_") and not folds and not validates:
        raise ValueError(
            f"monitor={monitor!r} needs rows to validate on: pass folds, validation_split or "
            f"validation_data."
        )


def fit_arguments(fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Model.fit` that are the same for all, with its defaults.

    Raises:
        TypeError: for one that it does not have.
    """
    known = _parameters_of_fit()
    for name in fit:
        if name not in known or name in _OF_SEARCH:
            raise TypeError(f"search() has no argument {name!r}.{closest(name, list(known))}")
    defaults = {name: of.default for name, of in known.items() if name not in _OF_SEARCH}
    return {**defaults, **fit}


@cache
def _parameters_of_fit() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(Model.fit).parameters


def _rounds(points: int, epochs: int, factor: int | None) -> list[int]:
    """Return the epochs of each round, of which each has a ``factor`` fewer points.

    >>> _rounds(9, 27, 3), _rounds(9, 27, None), _rounds(100, 2, 3)
    ([3, 9, 27], [27], [1, 2])
    """
    found = [epochs]
    while factor is not None and points > 1 and found[0] > 1:
        found.insert(0, -(-found[0] // factor))
        points = -(-points // factor)
    return found


def _search(
    plan: Plan, points: Sequence[dict[str, Any]], seeds: Sequence[int], rounds: Sequence[int],
    factor: int | None, executor: Any, kept: Kept | None, verbose: int,
) -> list[Result]:
    """Return the results of each point, of the last round that it reached."""
    left = list(range(len(points)))
    results: dict[int, list[Result]] = {}
    number = 0
    for step, epochs in enumerate(rounds):
        trials = [
            (place, points[place], seed, fold, plan.divided(points[place])[1].get("epochs", epochs))
            for place in left for seed in seeds for fold in range(len(plan.folds))
        ]  # fmt: skip
        now = [Trial(number + k, *each, step) for k, each in enumerate(trials)]
        number += len(now)
        results.update((place, []) for place in left)
        with Progress(len(left), "point", len(now), "trial", verbose) as progress:
            for result in _results(plan, now, executor, kept, progress):
                results[result.trial.place].append(result)
        for each in results.values():  # executors give them in any order
            each.sort(key=lambda result: result.trial.number)
        if factor is not None:
            ranking = Study(points, [*chain(*results.values())], plan.monitor).ranking
            left = sorted(ranking[: -(-len(left) // factor)])
    return [result for place in sorted(results) for result in results[place]]


def _results(
    plan: Plan, trials: Sequence[Trial], executor: Any, kept: Kept | None, progress: Progress
) -> Iterator[Result]:
    """Yield the results of trials, of those in the folder first."""
    left = []
    for trial in trials:
        found = None if kept is None else kept.get(trial)
        if found is None:
            left.append(trial)
        else:
            progress.count(1, 0)
            yield found

    def done(result: Result) -> None:
        if kept is not None:
            kept.put(result)
        progress.count()

    if executor is None:
        for k in range(0, len(left), AT_ONCE):
            yield from plan.train(left[k : k + AT_ONCE], done, kept is not None)
        return
    for several in over_executor(executor, plan, left, kept is not None):
        for result in several:
            done(result)
            yield result


def _name_failed(study: Study) -> None:
    """Warn of trials without a score; raise an error if there are no others."""
    bad = [result for result in study.results if math.isnan(result.score)]
    if not bad:
        return
    what = f"{len(bad)} of {counted(len(study.results), 'trial')} ended by an error"
    first = f"The first: {bad[0].trial}: {bad[0].error}"
    if len(bad) == len(study.results):
        raise NonFiniteLossError(f"search: {what}: there is nothing to compare. {first}")
    warn(f"search: {what}: {listed([f'({result.trial})' for result in bad], 4)}. {first}")
