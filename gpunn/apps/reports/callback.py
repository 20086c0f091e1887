"""Callbacks that record a run and write its report."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from gpunn.apps.data_checks import DataReport, check_data
from gpunn.callbacks import Callback, GradientMonitor
from gpunn.callbacks.callback import Logs, state
from gpunn.common.arguments import check_flag, check_path, optional
from gpunn.common.atomic_files import atomic_write
from gpunn.common.fields import field
from gpunn.common.stored import Several, Text

from .environment import code, command, environment, peak_memory
from .record import BEGIN_ADDED, EPOCH, LAYER, VERSION, Entries, Record, finite
from .report import report
from .results import Explained, Shown, results, weights_seen

SECONDS = 2.0  # between two writes of the file during a run
CHECKED = 4_000_000  # values of the data to check: takes a fifth of a second for images


class Recorder(Callback):
    """Records a run and writes it as JSON lines, which `gpunn report` reads.

    Args:
        record: path of the file, or None for no file.
        evaluated: whether the model is evaluated when training ends; False if `judge` follows.

    The other arguments: as for `Report`.
    """

    writes = True

    _abstract = True
    record: str | os.PathLike[str] | None = field(
        default=None, check=optional(check_path), kw_only=True
    )
    data: Any = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    part: str = field(default="the rows given", kw_only=True)
    classes: Sequence[str] | None = field(default=None, kw_only=True)
    show_data: bool = field(default=True, check=check_flag, kw_only=True)
    cells: Shown | None = field(default=None, kw_only=True)
    command: str | None = field(default=None, kw_only=True)
    checks: Callable[[], DataReport] | None = field(default=None, kw_only=True)
    evaluated: bool = field(default=True, check=check_flag, kw_only=True)
    epochs: list[dict[str, Any]] = state(Several(Entries(EPOCH)), list)
    findings: list[str] = state(Several(Text()), list)
    run = cast("Record | None", None)
    _rows = cast("tuple[Any, Any]", (None, None))
    _trained = False
    _whole = cast("dict[str, Any]", {})

    def __post_init__(self) -> None:
        self._monitor = GradientMonitor(verbose=0)

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._monitor.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._monitor.set_params(params)

    def set_data(self, training: Any, validation: Any) -> None:
        self._rows, self.run = (training, validation), None

    @property
    def needs_train_batches(self) -> bool:
        return True

    def next_train_batch(self, batch: int) -> int | None:
        return self._monitor.next_train_batch(batch)

    def _files(self) -> list[str | os.PathLike[str]]:
        return [] if self.record is None else [self.record]

    def on_train_begin(self, logs: Logs = None) -> None:
        for path in self._files():
            folder = os.path.dirname(os.path.abspath(path))
            if not os.path.isdir(folder):
                raise FileNotFoundError(
                    f"There is no folder {folder} for {os.fspath(path)}: create it first."
                )
        self._reset()
        self._monitor.on_train_begin(logs)
        self._trained, self._seen = False, 0
        self._began = self._written = time.monotonic()
        self.run = Record(self._begin())

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._monitor.on_epoch_begin(epoch, logs)
        self._epoch_began = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self._monitor.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._monitor.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        new, self._seen = self._monitor.records[self._seen :], len(self._monitor.records)
        self.findings += self._monitor.findings[len(self.findings) :]
        line = {
            "epoch": epoch + 1,
            "seconds": time.perf_counter() - self._epoch_began,
            "memory": peak_memory(),
            "logs": {name: float(value) for name, value in (logs or {}).items()},
            "gradients": [{name: one[name] for name in LAYER} for one in new],
        }
        self.epochs.append(finite(line))
        if self.record is not None and time.monotonic() - self._written > SECONDS:
            self._written = time.monotonic()
            self._write(self._run())

    def on_train_end(self, logs: Logs = None) -> None:
        self._trained = True

    def release(self) -> None:
        """Write the record, however the run has ended."""
        try:
            if self.run is not None:  # else it has not begun
                run = self._run()
                run.end = finite(self._end(None if self._trained else sys.exc_info()[1]))
                self._write(run)
        finally:
            self._rows = (None, None)

    def describe(
        self, model: Any = None, *,
        begin: Mapping[str, Any] | None = None, end: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe the whole where `fit` trains a part of it only.

        Args:
            model: the whole model, if training has ended: one that was computed without `fit` gets
                a record of no epochs.
            begin, end: entries of the first and the last line of the record.
        """
        self._whole = {**self._whole, **(begin or {})}
        if model is not None and self.run is None:
            self._computed(model)
        if self.run is not None and self.run.end is not None:
            self.run.begin |= finite(dict(begin or {}))
            self.run.end |= finite(dict(end or {}))
            self._write(self.run)

    def judge(
        self, model: Any, x: Any, y: np.ndarray, outputs: np.ndarray, part: str,
        cells: Shown | None = None, *,
        numbers: Sequence[int] | None = None,
        explain: Explained | None = None,
        compared: Mapping[str, Mapping[str, float]] | None = None,
        importance: Sequence[tuple[str, float, float]] = (),
        named: np.ndarray | None = None,
        figures: Mapping[str, float] | None = None,
    ) -> None:
        """Evaluate, after `fit`, a model built from the trained one, and write the result.

        A model that was computed without `fit` gets a record of no epochs.

        Args:
            x, y: rows that it was not trained on; x may be a list of the model's inputs.
            outputs: its outputs for these rows.
            part, cells: as for the class.
            numbers, explain, named: as for `results.results`.
            compared: the metrics of this model and of simpler ones, by the model's name.
            importance: what `gpunn.apps.tables.importance` returns.
            figures: the metrics of this model, if others are to be shown than in `results`.
        """
        if self.run is None:
            self._computed(model)
        if self.run is None or self.run.end is None:
            return
        try:
            inputs = list(x) if isinstance(x, (list, tuple)) else [x]
            found = results(model, inputs, y, part, classes=[*(self.classes or ())], cells=cells,
                            show_data=self.show_data, outputs=outputs, numbers=numbers,
                            explain=explain, named=named)
            found["figures"] = dict(figures or found["figures"])
            found["compared"] = {name: dict(one) for name, one in (compared or {}).items()}
            found["importance"] = [
                {"column": column, "increase": increase, "error": error}
                for column, increase, error in importance
            ]
            self.run.end |= {"results": finite(found), "why_none": ""}
        except ValueError as error:
            self.run.end |= {"results": None, "why_none": f"Left out: {error}"}
        self._write(self.run)

    def _computed(self, model: Any) -> None:
        """Begin and end the record of a model that was computed without `fit`."""
        super().set_model(model)
        self._trained, self._began = True, time.monotonic()
        self.run = Record(self._begin())
        self.run.end = finite(self._end(None) | {"ended": "Computed without epochs of training."})

    def _run(self) -> Record:
        assert self.run is not None
        self.run.epochs = self.epochs
        return self.run

    def _write(self, run: Record) -> None:
        if self.record is not None:
            run.write(self.record)

    # -- the first line and the last

    def _begin(self) -> dict[str, Any]:
        model, params = self.model, self.params or {}
        optimizer = model.optimizer
        config = {k: v for k, v in optimizer.get_config().items() if v not in (None, False)}
        how = [f"{name} {_short(value)}" for name, value in config.items() if name != "name"]
        counts = {
            "rows to train on": params.get("samples"),
            "batch size": params.get("batch_size"),
            "steps an epoch": params.get("steps"),
        }
        layers = [
            [f"{one.name} ({type(one).__name__})", str(getattr(one, "output_shape", "")),
             f"{one.count_params():,}"]
            for one in model.operations
        ]
        found = {
            "gpunn_run": VERSION,
            "name": str(model.name) if self.name is None else self.name,
            "began": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "epochs": int(params.get("epochs") or 0),
            "settings": {
                "parameters": f"{model.count_params():,}",
                "loss": _named(model.loss),
                "optimizer": ", ".join([type(optimizer).__name__, *how]),
                **{name: f"{value:,}" for name, value in counts.items() if value},
                "seed": str(model._trainer.seed),
            },
            "layers": layers,
            "environment": environment(model),
            "command": command() if self.command is None else self.command,
            "code": code(model, params),
            **BEGIN_ADDED,
        }
        return found | finite(self._whole)

    def _end(self, error: BaseException | None) -> dict[str, Any]:
        done, wanted = len(self.epochs), (self.params or {}).get("epochs")
        epochs = f"{done} of {wanted} epochs" if wanted else f"{done} epochs"
        if isinstance(error, KeyboardInterrupt):
            ended = f"Interrupted after {epochs}."
        elif error is not None:
            ended = f"Ended by an error after {epochs}: {type(error).__name__}: {error}"
        else:
            ended = f"Trained for {epochs}."
        found, why = self._results()
        return {
            "ended": ended[:2000],
            "complete": int(error is None),
            "seconds": time.monotonic() - self._began,
            "findings": self.findings,
            "data": self._checked(),
            "results": found,
            "why_none": why,
            "weights": weights_seen(self.model),
        }

    def _results(self) -> tuple[dict[str, Any] | None, str]:
        """Return the evaluation of the model, or the reason why there is none."""
        if not self.evaluated:
            return None, "Training ended before the model was evaluated."
        try:
            if self.data is not None:
                (x, y), part = self.data, self.part
            elif (held_out := self._arrays(self._rows[1])) is not None:
                x, y, part = *held_out, "the held-out rows"
            elif (trained := self._arrays(self._rows[0])) is not None:
                x, y, part = *trained, "the training rows"
            else:
                return None, "The data were batches, which are read once: pass Report data=(x, y)."
            xs = [np.asarray(a) for a in (x if isinstance(x, (list, tuple)) else [x])]
            known = self.model.trained_on.get("classes", ())
            names = known if self.classes is None else self.classes
            return results(self.model, xs, np.asarray(y), part, classes=[*map(str, names)],
                           show_data=self.show_data, cells=self.cells), ""
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            # An incomplete report is better than none.
            return None, f"Left out: {error}"

    def _arrays(self, rows: Any) -> tuple[list[np.ndarray], np.ndarray] | None:
        """Return the inputs and targets that `fit` got, if they are as the user passed them."""
        arrays = getattr(rows, "arrays", None)
        host = self.model._host_part
        if arrays is None or "y" not in arrays or "y_1" in arrays or (host and host.steps):
            return None
        backend = self.model.backend
        names = [name for name in arrays if name == "x" or name.startswith("x_")]
        return [rows.read(backend, name) for name in names], rows.read(backend, "y")

    def _checked(self) -> dict[str, Any] | None:
        """Return the data checks' report on the training rows."""
        try:
            if self.checks is not None:
                found = self.checks()
            else:
                given = self._arrays(self._rows[0])
                if given is None or len(given[0]) != 1:
                    return None
                x, y = given[0][0].reshape(len(given[1]), -1), given[1]
                some = min(len(x), max(CHECKED // max(x.shape[1], 1), 1000))
                rows = np.linspace(0, len(x) - 1, some).astype(np.int64)
                found = check_data(x[rows], y[rows] if y.ndim < 3 else None)
                if some < len(x):
                    found.summary = f"Of {len(x):,} rows, an evenly spaced sample: {found.summary}"
                    found.findings = [one for one in found if one.check != "amount"]
        except (ValueError, TypeError):
            return None
        return {
            "summary": found.summary,
            "findings": [[one.severity, one.check, one.text] for one in found],
        }


class Report(Recorder):
    """Writes a report of the training as a single HTML file for any browser.

    The file is written when training ends, even by Ctrl-C or an error. It needs no network and no
    scripts. It shows settings, problems in the data, curves, confusion matrix and calibration (or
    predictions and residuals), the worst mistakes, the first layer's weights, gradients by layer,
    time and memory, versions, and how to repeat the run.

    Args:
        filepath: path of the file.
        record: path of a file for the same content as JSON lines, which `gpunn report` reads, or
            None.
        data: rows ``(x, y)`` to evaluate the model on; by default the validation data of `fit`,
            else its training data.
        name: name of the run; by default the model's name.
        part: description of the rows in ``data``.
        classes: names of the classes; by default those that the model stores.
        show_data: whether the report may show rows of the data, as the worst mistakes.
        cells: a function from a row index of ``data`` to pairs of column name and string.
        command: the command that started the run, if it was not a script.
        checks: a function that returns the data checks' report; by default the training data are
            checked.
        evaluated: whether the model is evaluated when training ends.

    >>> import gpunn, os, tempfile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = os.path.join(folder.name, "report.html")
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((8, 2)), np.ones((8, 1))
    >>> _ = model.fit(x, y, verbose=0, callbacks=[gpunn.callbacks.Report(path)])
    >>> os.path.getsize(path) > 10_000
    True
    >>> folder.cleanup()
    """

    filepath: str | os.PathLike[str] = field(check=check_path)

    def _files(self) -> list[str | os.PathLike[str]]:
        return [*super()._files(), self.filepath]

    def _write(self, run: Record) -> None:
        super()._write(run)
        if run.end is not None:
            atomic_write(self.filepath, [report([run], self.show_data).encode()])


def _named(loss: Any) -> str:
    if isinstance(loss, dict):
        return ", ".join(f"{name}: {_named(one)}" for name, one in loss.items())
    if isinstance(loss, (list, tuple)):
        return ", ".join(map(_named, loss))
    return str(getattr(loss, "name", None) or getattr(loss, "__name__", type(loss).__name__))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value.get("class_name", value)) if isinstance(value, dict) else str(value)
