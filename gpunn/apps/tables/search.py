"""Choose among candidates by cross-validation: the best one, or the average of a few.

The candidates are tried on the first folds, the better half of them on the others. What may be
spent is counted in multiplications, so it does not depend on the machine.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from gpunn.apps.kept import KeptResults
from gpunn.backends import get_backend
from gpunn.backends.shared.interrupts import ended_by
from gpunn.distribution.launch import size

from .candidates import Candidate, Fold, NetworkModel, Problem, usable
from .choosing import MEMBERS, Choice, Trial, choose
from .folds import Rules, folds
from .leaderboard import standings
from .networks import Rows, width_of

WORK = 6e11  # multiplications that a search may take
FINALISTS = 6  # candidates that see all folds, at most
SPARE = 0.6  # of the minutes: what learning the answer takes is not part of the search
FIRST = 5  # folds that all candidates see, if there are more
FULL = 2  # folds on which each candidate's whole path is learned, see `Trial.places`
FEWEST = 5  # candidates that are tried whatever they cost
SAMPLE = 20_000  # rows that a search looks at, at most


Progress = Callable[[int, int, int], None]


class Budget:
    """Work that may still be spent, in multiplications.

    >>> budget = Budget(100.0)
    >>> budget.spend(60.0)
    >>> budget.allows(40.0), budget.allows(41.0)
    (True, False)
    """

    def __init__(self, work: float = WORK) -> None:
        self.total = self.remaining = work

    @classmethod
    def for_minutes(cls, minutes: float | None) -> Budget:
        """Return what this machine does in so many minutes, a positive number, from the time of a
        short training."""
        if minutes is None:
            return cls()
        if not 0 < minutes < np.inf:
            raise ValueError(f"--minutes must be positive; got {minutes:g}.")
        return cls(minutes * 60 * SPARE * _speed())

    def spend(self, work: float) -> None:
        self.remaining -= work

    def allows(self, work: float) -> bool:
        return work <= self.remaining


def _speed() -> float:
    """Measure the work that this machine does in a second, in two trainings at once."""
    random = np.random.default_rng(0)
    rows = Rows(random.standard_normal((2_000, 20), np.float32), np.zeros((2_000, 0), np.float32))
    y = rows.numbers[:, 0].astype(np.float64)
    part = Fold(rows, y, rows, y, np.arange(len(y)))
    network = NetworkModel(epochs=20)
    network.path(Problem(0), part, 0)  # the first one takes longer
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda seed: network.path(Problem(0), part, seed), range(2)))
    return 2 * network.work(len(rows), 20, 1) / (time.perf_counter() - start)


def search(
    prepare: Callable[[np.ndarray], Rows],
    y: np.ndarray,
    problem: Problem,
    rules: Rules,
    tried: Sequence[Candidate],
    more: Iterable[Candidate] = (),
    fast: bool = False,
    budget: Budget | None = None,
    progress: Progress | None = None,
    kept: KeptResults | None = None,
    members: int = MEMBERS,
    network: bool = False,
) -> Choice:
    """Choose the answer for the rows of a table.

    Args:
        prepare: returns all rows, prepared by statistics of those at the given indices.
        y: targets of all rows.
        tried: the candidates, in the order in which they are tried.
        more: further ones, for as long as the budget allows.
        fast: whether one fold decides, and one model is the answer.
        budget: the work that may be spent.
        progress: called with the first of some folds, and how many candidates of all are through.
        kept: where results are kept, and taken from.
        members: number of members of the answer, at most.
        network: whether the answer has a network also where a linear model is better.

    Raises:
        KeyboardInterrupt: if Ctrl-C came before any candidate was complete; later, the best of
            those that are complete is the result.
    """
    budget = budget or Budget()
    parts = []
    for train, check in folds(y, problem.classes, rules)[: 1 if fast else None]:
        rows = prepare(train)
        parts.append(Fold(rows[train], y[train], rows[check], y[check], check))
    outputs = problem.classes or 1
    widths = {pieces: width_of(parts[0].train, pieces) for pieces in (False, True)}
    most = max(len(part.y) for part in parts)

    def work(candidate: Candidate) -> float:
        """Estimate what one fold takes."""
        return candidate.work(most, widths[candidate.pieces], outputs)

    first = FIRST if len(parts) > FIRST else min(2, len(parts))
    trials: list[Trial] = []
    for candidate in itertools.chain(tried, more):
        if not usable(candidate, parts[0].train):
            continue
        cost = first * work(candidate)
        if len(trials) < FEWEST or budget.allows(2 * cost):  # the other half is for the finalists
            budget.spend(cost)
            trials.append(Trial(len(trials), candidate))
        elif len(trials) >= len(tried):
            break
    run = _Run(parts, problem, rules.seed, progress, kept)
    run.folds(trials, 0, first)
    trials = [t for t in trials if len(t.paths) == first]
    if not trials:
        raise KeyboardInterrupt
    order = sorted(trials, key=lambda t: (float(t.losses(problem, parts).min()), t.number))
    better = order[: max(2, min(FINALISTS, (len(order) + 1) // 2))]
    linear = [t for t in order if not t.candidate.is_network][:1]
    finalists = [*better, *(t for t in linear if t not in better)]
    if len(parts) > first and not run.interrupted:
        affordable: list[Trial] = []
        for trial in finalists:
            cost = (len(parts) - first) * work(trial.candidate)
            if len(affordable) < 2 or trial in linear or budget.allows(cost):
                budget.spend(cost)
                affordable.append(trial)
        run.folds(affordable, first, len(parts))
        done = [t for t in affordable if len(t.paths) == len(parts)]
        if done:
            finalists, first = done, len(parts)
    found = choose(finalists, parts[:first], problem, network, 1 if fast else members)
    better = [t for t in better if len(t.paths) == first]
    ranked = standings(order, better, parts, problem, found)
    return replace(found, standings=ranked, interrupted=run.interrupted)


def sample(y: np.ndarray, rules: Rules, size: int = SAMPLE) -> np.ndarray:
    """Return the rows that a search looks at: all or a sample; in an order of time, the latest."""
    if len(y) <= size:
        return np.arange(len(y))
    if rules.by_order:
        return rules.between(len(y) - size, len(y), len(y))
    random = np.random.default_rng(rules.seed)
    if rules.groups is None:
        return np.sort(random.choice(len(y), size, replace=False))
    rank = random.permutation(int(rules.groups.max()) + 1)[rules.groups]
    return np.sort(np.argsort(rank, kind="stable")[:size])


@dataclass
class _Run:
    """Learns on folds, on two at once.

    Attributes:
        interrupted: whether Ctrl-C ended it; trials without all paths are then left alone.
    """

    parts: Sequence[Fold]
    problem: Problem
    seed: int
    progress: Progress | None
    kept: KeptResults | None
    interrupted: bool = False

    def folds(self, trials: Sequence[Trial], start: int, stop: int) -> None:
        """Add the paths of the trials on some of the folds."""
        # Ranks have to train in the same order, and a GPU trains one network at a time.
        pool = ThreadPoolExecutor(1 if size() > 1 or get_backend().name.startswith("cupy") else 2)
        ended = np.zeros(1, bool)

        def one(trial: Trial, fold: int, places: range | None) -> tuple[np.ndarray, float]:
            with ended_by(ended):
                return self._one(trial, fold, places)

        def begun(trial: Trial, folds: range) -> list[Future[tuple[np.ndarray, float]]]:
            places = trial.places(self.problem, self.parts)
            return [pool.submit(one, trial, fold, places) for fold in folds]

        def take(trial: Trial, futures: list[Future[tuple[np.ndarray, float]]]) -> None:
            found = [future.result() for future in futures]
            trial.paths += [path for path, _ in found]
            trial.seconds += [seconds for _, seconds in found]

        first = range(start, min(max(start, FULL), stop))
        others = range(first.stop, stop)
        try:
            # The next trial begins before one ends: both threads have work.
            next_first, last = begun(trials[0], first), None
            for done, trial in enumerate(trials):
                mine = next_first
                next_first = begun(trials[done + 1], first) if done + 1 < len(trials) else []
                take(trial, mine)
                mine = begun(trial, others)
                if last is not None:
                    take(*last)
                    self._report(start, done, len(trials))
                last = trial, mine
            if last is not None:
                take(*last)
                self._report(start, len(trials), len(trials))
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            ended[0] = True  # networks that train stop after their steps
            pool.shutdown(cancel_futures=True)

    def _report(self, start: int, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(start, done, of)

    def _one(self, trial: Trial, fold: int, places: range | None) -> tuple[np.ndarray, float]:
        """Return the path on a fold, and the seconds that it took, also if it was kept."""
        key = f"{trial.number} {trial.candidate.document()} {fold}"
        if places is not None:
            key += f" {places.start}-{places.stop}"
        found = took = None
        if self.kept is not None:
            found, took = self.kept.get(key), self.kept.get(f"{key} seconds")
        if found is None:
            start = time.perf_counter()
            sequence = np.random.SeedSequence([self.seed % 2**32, trial.number, fold])
            seed = int(sequence.generate_state(1)[0])
            found = trial.candidate.path(self.problem, self.parts[fold], seed, places)
            took = np.array(time.perf_counter() - start)
            if self.kept is not None:
                self.kept.put(f"{key} seconds", took)
                self.kept.put(key, found)
        return found, float("nan") if took is None else float(took)
