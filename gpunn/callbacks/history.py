"""What `fit` returns: the figures of each epoch."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from gpunn.common.stored import ByName, Integer, Several

from .callback import Callback, Logs, state

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 300, 190, 52, 34, 24  # pixels of a chart, and around its lines
COLORS = {"training": "#3a87c8", "held out": "#e0702f"}  # legible on white and on black
SHOWN = 400  # points of a line at most


class History(Callback):
    """Keeps the logs of every epoch. `fit` adds one by itself and returns it.

    A notebook shows it as curves, one chart for each figure.

    Attributes:
        epoch: the epochs that were trained, counted from 0.
        history: for each name a list with one value an epoch.

    >>> record = History()
    >>> record.on_train_begin()
    >>> record.on_epoch_end(0, {"loss": 0.25})
    >>> record.history
    {'loss': [0.25]}
    """

    only_watches = True
    epoch: list[int] = state(Several(Integer()), list)
    history: dict[str, list[Any]] = state(ByName(Several()), dict)

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def _repr_html_(self) -> str:
        """A chart of each figure. Names are escaped."""
        figures = {name: _numbers(values) for name, values in self.history.items()}
        names = [n for n in figures if not (n.startswith("val_") and n[4:] in figures)]
        charts = []
        for name in names:
            lines = {"training": figures[name], "held out": figures.get(f"val_{name}", [])}
            if any(math.isfinite(v) for values in lines.values() for v in values):
                charts.append(f"<div>{_chart(name, lines)}</div>")
        epochs = max(map(len, figures.values()), default=0)
        head = f"<strong>History of {epochs} epoch{'s' * (epochs != 1)}</strong>"
        boxes = "display: flex; flex-wrap: wrap; gap: 1em"
        return f"<div>{head}<div style='{boxes}'>{''.join(charts)}</div></div>"


def _numbers(values: list[Any]) -> list[float]:
    """The values that are numbers; NaN in the place of others, which have no point."""
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            found.append(math.nan)
    return found


def _chart(name: str, lines: dict[str, list[float]]) -> str:
    """Curves over the epochs, from 1, as SVG in the colours of the page around it."""
    lines = {label: values for label, values in lines.items() if values}
    last = max(map(len, lines.values()))
    finite = [v for values in lines.values() for v in values if math.isfinite(v)]
    ticks = _ticks(min(finite), max(finite))
    low, high = ticks[0], ticks[-1]
    right, bottom = WIDTH - 12, HEIGHT - BELOW

    def x(epoch: float) -> float:
        return LEFT + (right - LEFT) * ((epoch - 1) / (last - 1) if last > 1 else 0.5)

    def y(value: float) -> float:
        return bottom - (bottom - ABOVE) * (value - low) / (high - low)

    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} fill="currentColor" '
        f'font-family="sans-serif" font-size="11">'
    ]
    for tick in ticks:
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{right}" stroke="currentColor" '
                     f'stroke-opacity="0.2"/>')  # fmt: skip
        parts.append(_text(LEFT - 6, y(tick) + 4, f"{tick:g}", "end"))
    for epoch in _epochs(last):
        parts.append(_text(x(epoch), bottom + 14, f"{epoch}"))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 5, "epoch"))
    title = name if len(name) <= 30 else f"{name[:29]}\u2026"
    parts.append(f"<title>{escape(name)}</title>" + _text(LEFT, 14, title, "start"))
    ends = [v for values in lines.values() for v in values[-len(values) // 3 :] if math.isfinite(v)]
    high_at_the_end = ends and sum(map(y, ends)) / len(ends) < (ABOVE + bottom) / 2
    key = bottom - 25 if high_at_the_end else ABOVE + 8  # where the lines do not end
    for number, (label, values) in enumerate(lines.items()):
        look = f'stroke="{COLORS[label]}"' + ' stroke-dasharray="5 3"' * (label == "held out")
        for points in _runs(values):
            places = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
            parts.append(f'<polyline points="{places}" fill="none" stroke-width="1.6" {look}/>')
            if len(points) == 1:
                at = f'cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}"'
                parts.append(f'<circle {at} r="3" fill="{COLORS[label]}"/>')
        if len(lines) > 1:
            start, line = right - 62, key + 15 * number
            parts.append(f'<path d="M{start - 24} {line - 4}h18" stroke-width="1.6" {look}/>')
            parts.append(_text(start, line, label, "start"))
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose all values, three to seven of them."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = power * next(n for n in (1, 2, 2.5, 5, 10) if (high - low) / (n * power) <= 5)
    first, end = math.floor(low / step), math.ceil(high / step)
    return [float(f"{step * number:.12g}") for number in range(first, end + 1)]


def _epochs(last: int) -> list[int]:
    """Round numbers of epochs up to the last one."""
    step = next(n * 10**p for p in range(20) for n in (1, 2, 5) if last <= 5 * n * 10**p)
    return [1, *range(step, last + 1, step)] if step > 1 else list(range(1, last + 1))


def _runs(values: list[float]) -> list[list[tuple[int, float]]]:
    """The points of a line, from epoch 1, in pieces between values that are not finite; of many
    the smallest and the largest in each of some neighbourhoods."""
    width = max(1, -(-2 * len(values) // SHOWN))
    runs: list[list[tuple[int, float]]] = [[]]
    for start in range(0, len(values), width):
        near = [(epoch + 1, values[epoch]) for epoch in range(start, start + width)
                if epoch < len(values) and math.isfinite(values[epoch])]  # fmt: skip
        if not near:
            runs.append([])
        both = {min(near, key=lambda p: p[1]), max(near, key=lambda p: p[1])} if near else set()
        runs[-1] += sorted(both)
    return [run for run in runs if run]
