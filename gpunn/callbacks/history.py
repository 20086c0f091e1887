"""The result of `fit`: the figures of each epoch."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from gpunn.common.names import counted
from gpunn.common.stored import ByName, Integer, Several

from .callback import Callback, Logs, state

ENDS = 10  # of many epochs, the first and the last ones are printed


class History(Callback):
    """Keeps the logs of every epoch. `fit` adds one automatically and returns it.

    A notebook shows it as curves, one chart per figure.

    Attributes:
        epoch: the epochs that were trained, counted from 0.
        history: for each name a list with one value per epoch.

    >>> from gpunn.callbacks import History
    >>> record = History()
    >>> record.on_train_begin()
    >>> record.on_epoch_end(0, {"loss": 0.25})
    >>> record.history
    {'loss': [0.25]}
    >>> record
    <History of 1 epoch: loss 0.25>
    >>> print(record)
    epoch    loss
        1    0.25
    """

    only_watches = True
    epoch: list[int] = state(Several(Integer()), list)
    history: dict[str, list[Any]] = state(ByName(Several()), dict)

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        lists: list[list[Any]] = [self.epoch]
        for name in logs:
            lists.append(self.history.setdefault(name, []))
        # One call in C, which an interrupt does not divide: all lists are of one length.
        deque(map(list.append, lists, [epoch, *logs.values()]), 0)

    def _epochs_ahead(self) -> float:
        return math.inf

    def _note(self, epoch: int, logs: dict[str, Any]) -> None:
        """Do so in half the time."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {_text(of[-1])}" for name, of in self.history.items() if of)
        return f"<History of {counted(len(self.epoch), 'epoch')}{': ' if last else ''}{last}>"

    def __str__(self) -> str:
        """A table of the epochs, counted from 1 as `fit` prints them; of many, the first and last.

        A figure that not every epoch has is below it.
        """
        whole = {n: of for n, of in self.history.items() if len(of) == len(self.epoch)}
        if not (self.epoch and whole):
            return repr(self)
        columns = [["epoch", *(str(epoch + 1) for epoch in self.epoch)]]
        columns += [[name, *map(_text, values)] for name, values in whole.items()]
        widths = [max(map(len, column)) for column in columns]
        lines = [
            "    ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in zip(*columns, strict=True)
        ]
        if len(lines) > 2 * ENDS + 2:
            lines[1 + ENDS : -ENDS] = ["..."]
        rest = [
            f"{name}: {counted(len(values), 'value')}, the last {_text(values[-1])}"
            for name, values in self.history.items()
            if name not in whole and values
        ]
        return "\n".join([*lines, *rest])

    def _repr_html_(self) -> str:
        """A chart of each figure. Names are escaped."""
        from gpunn.common.markup import element
        from gpunn.common.markup.charts import curves

        figures = {name: _numbers(values) for name, values in self.history.items()}
        charts = [
            element("div", curves(name, lines))
            for name, lines in paired(figures).items()
            if any(math.isfinite(v) for values in lines.values() for v in values)
        ]
        epochs = max(map(len, figures.values()), default=0)
        head = element("strong", f"History of {epochs} epoch{'s' * (epochs != 1)}")
        boxes = element("div", charts, style="display: flex; flex-wrap: wrap; gap: 1em")
        return element("div", head, boxes)


def paired(figures: dict[str, list[float]]) -> dict[str, dict[str, list[float]]]:
    """Return, for each figure, its values in training and on held-out rows, where available.

    >>> paired({"loss": [0.5], "val_loss": [0.6], "val_other": [1.0]})
    {'loss': {'training': [0.5], 'held out': [0.6]}, 'val_other': {'training': [1.0]}}
    """
    names = [n for n in figures if not (n.startswith("val_") and n[4:] in figures)]
    found = {}
    for name in names:
        lines = {"training": figures[name], "held out": figures.get(f"val_{name}", [])}
        found[name] = {label: values for label, values in lines.items() if values}
    return found


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _numbers(values: list[Any]) -> list[float]:
    """Return the values as numbers, with NaN for others, which get no point."""
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            found.append(math.nan)
    return found
