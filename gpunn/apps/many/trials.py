"""A trial of a search: one model, built of a point with a seed and trained on a fold."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np

from gpunn.callbacks import EarlyStopping
from gpunn.common.random import seeded_context
from gpunn.models import Model
from gpunn.training import loops

from .callbacks import callbacks_of
from .engines import run
from .folds import Fold
from .jobs import Job
from .points import Point, divided
from .preparing import check_models, jobs_of, make_ready

NUMBERED = re.compile(r'_\d+(?=["/])| at 0x[0-9a-f]+')  # names in the order of their making

_made: WeakSet[Model] = WeakSet()  # what functions have built: each has to be new


@dataclass(frozen=True)
class Trial:
    """What to train.

    Attributes:
        number: of the trial in the search.
        place: number of its point.
        point: what the model is built of.
        seed: what gpunn draws from while the model is built and trained.
        fold: number of the fold.
        epochs: how long the model is trained.
        round: of the search: later rounds have fewer points and more epochs.
    """

    number: int
    place: int
    point: Point
    seed: int
    fold: int
    epochs: int
    round: int = 0

    def __str__(self) -> str:
        return f"{self.point}, seed {self.seed}, fold {self.fold}"


@dataclass
class Result:
    """What came of a trial.

    Attributes:
        score: of the model as it is after the training; NaN if that ended by an error.
        history: figures of each epoch.
        error: what ended the training early, in words.
        model: the trained model; None if it was lost, or is in a file.
        first: a digest of the model before the training, if there is a folder.
        higher: whether a higher score is better.
    """

    trial: Trial
    score: float
    history: dict[str, list[float]]
    error: str | None
    model: Any = None
    first: str = ""
    higher: bool = False


@dataclass
class Plan:
    """What all trials of a search share.

    Attributes:
        build: makes a compiled model of the arguments of a point.
        x, y, sample_weight, class_weight: data of all rows.
        folds: rows of each fold.
        callbacks: as `gpunn.fit_many` takes them.
        arguments: further ones of `Model.fit`.
        monitor, mode: what the score is, and which way is better.
        threads: models that train at once in a process.
        backend, floatx: of models that say nothing.
    """

    build: Callable[..., Model]
    x: Any
    y: Any
    sample_weight: Any
    class_weight: Any
    folds: Sequence[Fold]
    callbacks: Any
    arguments: Mapping[str, Any]
    monitor: str
    mode: str
    threads: int | None
    backend: str
    floatx: str

    def divided(self, point: Point) -> tuple[Point, Point]:
        """Return what of a point is for ``build``, and what for `Model.fit`."""
        return divided(point, self.build, [*self.arguments, "class_weight", "epochs"])

    def made(self, trial: Trial) -> tuple[Model, Any]:
        """Return the model of a trial before its training, and the context to train it in.

        Raises:
            TypeError: if ``build`` returns something else.
        """
        own, _ = self.divided(trial.point)
        context = seeded_context(trial.seed)
        try:
            model = context.run(self.build, **own)
            if not isinstance(model, Model):
                raise TypeError(f"build must return a compiled gpunn.Model; got {model!r:.80}.")
            if not model.compiled:
                raise ValueError(
                    f"build returned {model.name!r}, which is not compiled: call its "
                    f"compile(optimizer=..., loss=...) first."
                )
            check_models([model])
            if model in _made:
                raise ValueError(
                    f"build must make a new model at each call; it returned {model.name!r} again."
                )
            _made.add(model)
            context.run(make_ready, model, "build", self.x, self.y)
        except Exception as error:
            error.add_note(f"In the trial of {trial}.")
            raise
        return model, context

    def jobs(self, trials: Sequence[Trial]) -> list[Job]:
        """Return the jobs of trials, checked and ready."""
        made = [self.made(trial) for trial in trials]
        check_models([model for model, _ in made])
        trained, held_out = zip(*(self.folds[trial.fold] for trial in trials), strict=True)
        parts = callbacks_of(self.callbacks, [trial.number for trial in trials], copied=True)
        jobs = jobs_of(
            [model for model, _ in made], self.x, self.y, trained, held_out, self.sample_weight,
            self.class_weight, parts, self.arguments,
        )  # fmt: skip
        for job, trial, (_, context) in zip(jobs, trials, made, strict=True):
            _, fits = self.divided(trial.point)
            job.class_weight = fits.pop("class_weight", job.class_weight)
            job.arguments = {**self.arguments, "epochs": trial.epochs, **fits}
            job.number, job.context = trial.number, context
            job.what = f"the trial of {trial}"
            job.check()
        return jobs

    def train(
        self, trials: Sequence[Trial], when_done: Callable[[Result], None] | None = None,
        digests: bool = False,
    ) -> list[Result]:
        """Train the models of trials; ``when_done`` is told each result at once.

        Raises:
            Exception: of a build or a training, but for one that diverges.
        """
        jobs = self.jobs(trials)
        found: dict[int, Result] = {}
        known = {
            job.number: (trial, self._is_higher_better(job.model),
                         digest_of(job.model) if digests else "")
            for job, trial in zip(jobs, trials, strict=True)
        }  # fmt: skip

        def done(job: Job) -> None:
            trial, higher, first = known[job.number]
            score = math.nan if job.diverged else _score(job, self.monitor)
            error = "The loss became NaN or infinite." if job.diverged else None
            error = error if job.error is None else str(job.error)
            history = job.history.history
            result = found[job.number] = Result(
                trial, score, history, error, job.model, first, higher
            )
            if when_done is not None:
                when_done(result)

        for job in jobs:
            job.when_done = done
        run(jobs, self.threads)
        return [found[trial.number] for trial in trials]

    def _is_higher_better(self, model: Model) -> bool:
        watching = EarlyStopping(self.monitor, mode=self.mode)
        watching.set_model(model)
        return watching._direction() == "up"


def _score(job: Job, monitor: str) -> float:
    """Return the figure of the epoch whose weights the model has.

    Raises:
        ValueError: if no epoch has it.
    """
    values = job.history.history.get(monitor, [])
    if not values:
        known = ", ".join(sorted(job.history.history)) or "none"
        more = " Pass folds, validation_split or validation_data." if "val_" in monitor else ""
        raise ValueError(f"monitor={monitor!r} is not among the figures of fit: {known}.{more}")
    for callback in reversed(job.callbacks):  # the last one that restores weights decides
        if isinstance(callback, EarlyStopping) and callback.best_weights is not None:
            freq = job.arguments["validation_freq"]
            validated = [e for e in job.history.epoch if loops.validates(e, freq)]
            epochs = validated if monitor.startswith("val_") else job.history.epoch
            return float(values[epochs.index(callback.best_epoch)])
    return float(values[-1])


def digest_of(model: Model) -> str:
    """Return a digest of a model's parts and weights; names that gpunn numbers do not count."""
    found = hashlib.sha256()
    for text in (model.get_config, model.get_compile_config):
        try:
            described = json.dumps(text(), sort_keys=True, default=repr)
        except Exception:  # of a class that does not say of what it is made
            described = type(model).__qualname__
        found.update(NUMBERED.sub("", described).encode())
    for weight in model.get_weights() if model.built else []:
        found.update(np.ascontiguousarray(weight).tobytes())
    return found.hexdigest()
