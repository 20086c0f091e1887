"""One line an epoch: a bar while it runs, its figures when it is over."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO, cast

from gpunn.common.fields import field

from .callback import Callback, Logs

if TYPE_CHECKING:
    from tqdm import tqdm

_COLUMNS = 80
_LEGEND = "Training figures are running means over the epoch; val_ figures are validation."


class ProgressBar(Callback):
    """Prints one line an epoch; `fit` adds it by itself.

    ``verbose`` of `fit` says how: 0 nothing, 1 a bar while the epoch runs if the stream is
    a terminal, 2 only the line at its end. Samples a second count training alone.

    Args:
        stream: where to print, ``sys.stdout`` by default.

    >>> bar = ProgressBar()
    >>> bar.set_params({"epochs": 5, "verbose": 2})
    >>> bar.on_train_begin()
    Training figures are running means over the epoch; val_ figures are validation.
    >>> bar.on_epoch_begin(0)
    >>> bar.on_epoch_end(0, {"loss": 0.2982, "accuracy": 0.9134})  # doctest: +ELLIPSIS
    Epoch 1/5  loss 0.2982  accuracy 0.9134  ...left
    """

    aliases = ("ProgbarLogger",)  # Keras's name

    stream: TextIO | None = field(default=None)
    _bar = cast("tqdm | None", None)
    _epoch_seconds = cast("float | None", None)  # the last whole epoch took
    _done = 0
    _begun = _trained = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._epoch_seconds = None
        self._print(_LEGEND)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._close_bar()
        self._epoch = epoch
        self._done = 0
        self._begun = self._trained = time.perf_counter()
        if self._verbose == 1 and self._out.isatty():
            self._bar = _tqdm()(
                desc=f"Epoch {epoch + 1}/{self._epochs}",
                total=self._param("samples"),
                unit=" samples",
                unit_scale=True,
                leave=False,
                file=self._out,
                mininterval=0,
                ncols=_COLUMNS - 1,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}{postfix}",
            )

    def on_train_progress(self, done: int, total: int | None) -> None:
        self._done = done
        self._trained = time.perf_counter()
        if self._bar is None:
            return
        self._bar.total = total
        self._bar.set_postfix_str(self._left(done, total), refresh=False)
        self._bar.update(done - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._close_bar()
        self._epoch_seconds = time.perf_counter() - self._begun
        figures = dict(logs or {})
        end = [self._rate(self._trained - self._begun), self._left(0, 0)]
        self._print(_line(f"Epoch {epoch + 1}/{self._epochs}", figures, end))

    def on_train_end(self, logs: Logs = None) -> None:
        self._close_bar()

    def _param(self, name: str) -> Any:
        return (self.params or {}).get(name)

    @property
    def _epochs(self) -> int:
        return self._param("epochs") or 1

    @property
    def _verbose(self) -> int:
        verbose = self._param("verbose")
        return 1 if verbose in ("auto", None) else int(verbose)

    @property
    def _out(self) -> TextIO:
        return self.stream or sys.stdout

    def _print(self, text: str) -> None:
        if self._verbose:
            print(text, file=self._out, flush=True)

    def _rate(self, seconds: float) -> str:
        if not self._done or seconds <= 0:
            return ""
        return f"{_tqdm().format_sizeof(self._done / seconds)} samples/s"

    def _left(self, done: int, total: int | None) -> str:
        """The time that the rest of this epoch and the epochs after it will take."""
        later = self._epochs - self._epoch - 1
        seconds = 0.0
        if done:
            if not total:
                return ""
            so_far = time.perf_counter() - self._begun
            seconds = so_far * (total - done) / done
            later_each = self._epoch_seconds or so_far + seconds
        else:
            later_each = self._epoch_seconds or 0.0
        return f"{_tqdm().format_interval(seconds + later * later_each)} left"

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _tqdm() -> type[tqdm]:
    from tqdm import tqdm  # where it is needed: it takes as long to import as all of gpunn

    return tqdm


def _line(head: str, figures: dict[str, Any], end: list[str]) -> str:
    """The figures in one line of 80 columns: shortened, then broken, if they are many."""
    values = [f"{name} {_number(value)}" for name, value in figures.items()]
    parts = [head, *values, *filter(None, end)]
    line = "  ".join(parts)
    if len(line) <= _COLUMNS:
        return line
    lines = [""]
    for part in parts:
        part = part.removeprefix("Epoch ").replace("accuracy", "acc").replace(" samples/s", "/s")
        if len(lines[-1]) + 1 + len(part) > _COLUMNS:
            lines.append("   ")
        lines[-1] += f" {part}" if lines[-1] else part
    return "\n".join(lines)


def _number(value: Any) -> str:
    value = float(value)
    return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 or value != value else f"{value:.3e}"
