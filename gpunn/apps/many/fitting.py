"""`gpunn.fit_many`: many models trained on the same data in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.callbacks import History
from gpunn.callbacks.streams import check_verbose
from gpunn.common.arguments import check_integer
from gpunn.common.names import counted, listed, warn
from gpunn.common.signatures import suggesting
from gpunn.models import Model

from .callbacks import callbacks_of
from .engines import run
from .jobs import Job
from .preparing import check_models, jobs_of
from .progress import Counting, Progress

__all__ = ["fit_many"]

INTERRUPTED = (
    "fit_many was interrupted: each model has the weights after its last whole step, and "
    "model.history what is done; models that had not begun are as they were."
)


@suggesting
def fit_many(
    models: Sequence[Model],
    x: Any,
    y: Any = None,
    *,
    rows: Any = None,
    validation_rows: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: Any = 1,
    validation_strategy: str = "tail",
    threads: int | None = None,
) -> list[History]:
    """Train many compiled models on the same data: sweeps, folds, ensembles.

    Each model ends as ``models[i].fit(x[rows[i]], y[rows[i]], ...)`` alone would leave it: with the
    same bits, but for networks of at most 2,000 weights that run many steps at once. These share
    the vectors of the CPU, and agree to rounding. Neighbours and the number of threads change no
    bit of either.

    A model whose loss becomes NaN or infinite harms no other: a warning names it once all are
    through, and its history ends before that epoch. Only if all diverge, an error is raised. Ctrl-C
    ends the `fit` of each model that is in training, as its own Ctrl-C would: after the running
    batches, without ``on_train_end``. ``model.history`` of all models keeps what is done.

    Args:
        models: Compiled models, which share no layers.
        x, y: Data of all models, as `Model.fit` takes them, but no batches. They are converted
            once.
        rows: None to train each model on all rows; or for each model None, the numbers of its rows
            (rows,), in any order and with repetitions, or a mask of all rows.
        validation_rows: The same for the rows to validate on, with their ``sample_weight``.
            Without it, ``validation_data`` or ``validation_split`` say it, as in `Model.fit`.
        batch_size, epochs, shuffle, initial_epoch, steps_per_epoch: As in `Model.fit`, for each
            model.
        validation_split, validation_data, validation_steps, validation_batch_size: Likewise.
        validation_freq, validation_strategy: Likewise.
        verbose: 0 is silent; otherwise one bar counts the epochs of all models, where it can be
            shown, and a line at the end says what was trained.
        callbacks: Callbacks for all models, of which each gets copies of its own; paths need
            ``{model}``, which becomes the model's number: ``CSVLogger("{model:03d}.csv")``. Or a
            function of the model's number that returns its callbacks, or a list of lists.
        class_weight: As in `Model.fit`, or a list with one for each model.
        sample_weight: A factor for each row of ``x``, or a list with such an array, or None, for
            each model.
        threads: Models that train at once. By default as many as this process has cores, and one on
            a GPU, under MPI, and for epochs shorter than what Python needs for them.

    Returns:
        The history of each model.

    Raises:
        ValueError, TypeError: for invalid arguments, before any training; for rows with invalid
            values, before a model trains on them.
        gpunn.models.NonFiniteLossError: if all models diverge.
        RuntimeError: if a model is already being trained.

    >>> import gpunn
    >>> def line(rate):
    ...     dense = gpunn.layers.Dense(1, kernel_initializer="zeros")
    ...     model = gpunn.Sequential([gpunn.Input((1,)), dense])
    ...     model.compile(gpunn.optimizers.SGD(rate), "mse")
    ...     return model
    >>> x, y = [[1.0], [2.0], [3.0]], [[2.0], [4.0], [6.0]]
    >>> folds = [[1, 2], [0, 2], [0, 1]]
    >>> models = [line(0.1) for _ in folds]
    >>> histories = gpunn.fit_many(
    ...     models, x, y, rows=folds, validation_rows=[[0], [1], [2]], epochs=200, verbose=0)
    >>> [history.history["val_loss"][-1] < 0.1 for history in histories]
    [True, True, True]
    """
    models = check_models(models)
    verbose = check_verbose(verbose)
    threads = check_integer("threads", threads, 1, None)
    arguments = {
        "batch_size": check_integer("batch_size", batch_size, 1, None),
        "epochs": check_integer("epochs", epochs, 0),
        "validation_split": validation_split,
        "validation_data": validation_data,
        "shuffle": shuffle,
        "initial_epoch": check_integer("initial_epoch", initial_epoch, 0),
        "steps_per_epoch": steps_per_epoch,
        "validation_steps": validation_steps,
        "validation_batch_size": validation_batch_size,
        "validation_freq": validation_freq,
        "validation_strategy": validation_strategy,
    }
    if validation_rows is not None and (validation_data is not None or validation_split):
        raise ValueError(
            "validation_rows already says on which rows models validate: leave out "
            "validation_data and validation_split."
        )
    parts = callbacks_of(callbacks, range(len(models)), copied=len(models) > 1)
    given = rows, validation_rows, sample_weight, class_weight, parts
    jobs = jobs_of(models, x, y, *given, arguments)
    for job in jobs:
        job.check()
    epochs = max(0, arguments["epochs"] - arguments["initial_epoch"])
    progress = Progress(len(jobs), "model", epochs * len(jobs), "epoch", verbose)
    if verbose:
        for job in jobs:
            job.callbacks = [Counting(progress, epochs), *job.callbacks]
    try:
        with progress:
            run(jobs, threads)
    except KeyboardInterrupt as stop:
        stop.add_note(INTERRUPTED)
        raise
    _name_diverged(jobs)
    return [job.history for job in jobs]


def _name_diverged(jobs: Sequence[Job]) -> None:
    """Warn of models that diverged; raise the error of the first one if all did."""
    bad = [job for job in jobs if job.diverged]
    errors = [job.error for job in bad if job.error is not None]
    if errors and len(errors) == len(jobs):
        errors[0].add_note(f"fit_many: all of {counted(len(jobs), 'model')} diverged.")
        raise errors[0]
    if bad:
        which = listed([f"{job.number} ({job.model.name!r})" for job in bad])
        first = f" The first: {errors[0]}" if errors else ""
        warn(
            f"fit_many: {len(bad)} of {counted(len(jobs), 'model')} diverged, and the others are "
            f"trained. The numbers: {which}.{first}"
        )
