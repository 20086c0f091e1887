"""One line per epoch: a bar while it runs, its figures when it is over."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO, cast

from gpunn.common.fields import field

from .callback import Callback, Logs
from .streams import COLUMNS, columns, is_live, is_notebook, is_terminal

if TYPE_CHECKING:
    from tqdm import tqdm

_LEGEND = "Training figures are {}; val_ figures are validation."
_MEANS, _OWN = "running means over the epoch", "what train_step returned last"
_SECONDS = 0.2  # between redraws of the bar; each reads the figures from the device
_BAR = 10  # minimum width of the bar itself, in characters


class ProgressBar(Callback):
    """Prints one line per epoch and shows its progress; `fit` adds it automatically.

    ``verbose`` of `fit` controls the output: 0 prints nothing; 1 shows a bar with the loss and
    the metrics so far, five times a second, if the stream is a terminal or a notebook; 2 prints
    only the line at the epoch's end; ``"auto"`` is 1 where a bar can be shown and 2 elsewhere.
    Samples per second count training only. The bar is as wide as the terminal, also after
    resizing.

    Args:
        stream: where to print, ``sys.stdout`` by default.

    >>> from gpunn.callbacks import ProgressBar
    >>> bar = ProgressBar()
    >>> bar.set_params({"epochs": 5, "verbose": 2})
    >>> bar.on_train_begin()
    Training figures are running means over the epoch; val_ figures are validation.
    >>> bar.on_epoch_begin(0)
    >>> bar.on_epoch_end(0, {"loss": 0.2982, "accuracy": 0.9134})  # doctest: +ELLIPSIS
    Epoch 1/5  loss 0.2982  accuracy 0.9134  ...left
    """

    writes = True

    aliases = ("ProgbarLogger",)  # Keras's name

    stream: TextIO | None = field(default=None)
    _place = cast("_Terminal | _Notebook | None", None)  # where the bar is shown
    _shown = cast("float | None", None)  # when it was shown last
    _epoch_seconds = cast("float | None", None)  # duration of the last whole epoch
    _done = 0
    _begun = _trained = 0.0

    def on_train_begin(self, logs: Logs = None) -> None:
        self._epoch_seconds = self._shown = None
        own = "train_step" in getattr(self.model, "_own_steps", ())
        legend = _LEGEND.format(_OWN if own else _MEANS)
        if self._verbose == 1 and is_notebook(self._out):
            self._place = _Notebook(legend)
            return
        self._place = _Terminal(self._out) if self._verbose == 1 and is_live(self._out) else None
        self._print(legend)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch
        self._done = 0
        self._begun = self._trained = time.perf_counter()

    def on_train_progress(self, done: int, total: int | None) -> None:
        self._done = done
        self._trained = now = time.perf_counter()
        if self._place is None or (self._shown is not None and now - self._shown < _SECONDS):
            return
        self._shown = now
        programs = getattr(self.model, "_programs", None)
        figures = _figures(programs.known_logs() if programs else {})
        end = [self._rate(now - self._begun), self._remaining(done, total)]
        self._place.show(self._head, done, total, figures, [part for part in end if part])

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._place is not None:
            self._place.clear()
        self._epoch_seconds = time.perf_counter() - self._begun
        end = [self._rate(self._trained - self._begun), self._remaining(0, 0)]
        self._print(epoch_line(self._head, logs or {}, *filter(None, end), out=self._out))

    def on_train_end(self, logs: Logs = None) -> None:
        self.release()

    def release(self) -> None:
        """Remove the bar, also if training ends with an error or Ctrl-C."""
        if self._place is not None:
            self._place.close()
            self._place = None

    def _param(self, name: str) -> Any:
        return (self.params or {}).get(name)

    @property
    def _epochs(self) -> int:
        return self._param("epochs") or 1

    @property
    def _head(self) -> str:
        return f"Epoch {self._epoch + 1}/{self._epochs}"

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

    def _remaining(self, done: int, total: int | None) -> str:
        """Return the remaining time of this epoch and the epochs after it."""
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


class _Terminal:
    """The bar in the last line of a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar: tqdm | None = None

    def show(
        self, head: str, done: int, total: int | None, figures: list[str], end: list[str]
    ) -> None:
        """Show the bar in place of the previous one; ``end``: samples a second, remaining time."""
        width = columns(self._out) - 1
        begins = f"{head} {{percentage:3.0f}}%|{{bar}}|" if total else f"{head}  {done} samples"
        fixed = len(f"{head} 100%||") + _BAR if total else len(begins)
        text = "".join(f"  {part}" for part in _fitting(figures, end, width - fixed))
        look = begins + text.replace("{", "{{").replace("}", "}}")
        if self._bar is None:
            self._bar = _tqdm()(
                total=total, initial=done, ncols=width, bar_format=look, file=self._out, leave=False
            )
            return
        bar = self._bar
        bar.n, bar.total, bar.ncols, bar.bar_format = done, total, width, look
        bar.refresh()

    def clear(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    close = clear


class _Notebook:
    """The bar in an output of a notebook's cell, above the lines of the epochs."""

    def __init__(self, legend: str) -> None:
        import uuid

        from IPython import display  # a kernel is running, so it is installed

        self._display = display
        self._name = f"gpunn-{uuid.uuid4().hex}"
        self._legend = legend
        self._put(legend, "<small>{}</small>", new=True)

    def show(
        self, head: str, done: int, total: int | None, figures: list[str], end: list[str]
    ) -> None:
        """Show the bar, replacing the previous one; arguments as for `_Terminal.show`."""
        share = f"{100 * done / total:3.0f}%" if total else f"{done} samples"
        text = "  ".join([head, share, *figures, *end])
        known = f'max="{total}" value="{done}"' if total else ""
        bar = f'<progress {known} style="width: 12em; vertical-align: middle"></progress>'
        style = "font-family: monospace; white-space: pre-wrap"
        self._put(text, f'<div style="{style}">{bar} {{}}</div>')

    def clear(self) -> None:
        """Do nothing: the next epoch shows its bar here, and the line is printed below."""

    def close(self) -> None:
        """Leave only the legend."""
        self._put(self._legend, "<small>{}</small>")

    def _put(self, text: str, html: str, new: bool = False) -> None:
        from gpunn.common.markup import escaped  # which terminals do not need

        put = self._display.display if new else self._display.update_display
        html = html.format(escaped(text))
        put({"text/plain": text, "text/html": html}, raw=True, display_id=self._name)


def epoch_line(head: str, logs: Any, *end: str, out: TextIO) -> str:
    """Return the line of an epoch that is over: which one, its figures, and what follows.

    >>> epoch_line("Epoch 1/5", {"loss": 0.2982}, out=sys.stdout)
    'Epoch 1/5  loss 0.2982'
    """
    width = columns(out) if is_terminal(out) else COLUMNS
    return _line([head, *_figures(logs), *end], width)


def progress_line(done: int, total: int | None, logs: Any, width: int) -> str:
    """Return a line that shows how many steps are done, with a bar of this width.

    >>> progress_line(1, 2, {"loss": 0.5}, 4)
    '1/2 ━━──  loss 0.5000'
    """
    filled = 0 if not total else width * min(done, total) // total
    bar = f" {'━' * filled}{'─' * (width - filled)}" if width and total else ""
    head = f"{done}/{total}" if total else f"{done}"
    return "  ".join([f"{head}{bar}", *_figures(logs)])


def _tqdm() -> type[tqdm]:
    from tqdm import tqdm  # imported on use: it takes as long to import as all of gpunn

    return tqdm


def _fitting(figures: list[str], end: list[str], width: int) -> list[str]:
    """Return as many parts as fit, shortened if that helps; the loss and the time first."""
    for shorten in (str, _short):
        parts = [shorten(part) for part in (*figures, *end)]
        if sum(len(part) + 2 for part in parts) <= width:
            return parts
    kept, left = set[int](), width
    order = dict.fromkeys([0, len(parts) - 1, *range(len(parts))])
    for at in order:
        if len(parts[at]) + 2 <= left:
            kept.add(at)
            left -= len(parts[at]) + 2
    return [parts[at] for at in sorted(kept)]


def _short(part: str) -> str:
    return part.removeprefix("Epoch ").replace("accuracy", "acc").replace(" samples/s", "/s")


def _figures(logs: Any) -> list[str]:
    return [f"{name} {_number(value)}" for name, value in logs.items()]


def _line(parts: list[str], width: int) -> str:
    """Join the parts in one line of this width: shortened, then wrapped, if they are many."""
    line = "  ".join(parts)
    if len(line) <= width:
        return line
    lines = [""]
    for part in map(_short, parts):
        if len(lines[-1]) + 1 + len(part) > width:
            lines.append("   ")
        lines[-1] += f" {part}" if lines[-1] else part
    return "\n".join(lines)


def _number(value: Any) -> str:
    value = float(value)
    return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 or value != value else f"{value:.3e}"
