"""Charts as SVG text: bars with quartiles, and lines; light or dark to match the reader's page.

Nothing but strings is made: ``Path("a.svg").write_text(bars(...))``. Each mark carries a
``<title>`` with its figure, each chart a title and a description for readers who hear it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH = 720
ROW = 30  # pixels from one bar to the next
LETTER = 7.1  # pixels, an upper estimate of the width of a letter of 13 pixels
# Okabe and Ito's colours, designed for colour-blind readers; lighter ones on dark pages.
LIGHT = ("#0072b2", "#d55e00", "#007f5f", "#b0578d", "#8a6d00", "#3a87b7", "#555555")
DARK = ("#56b4e9", "#ff9447", "#3fc79a", "#e79ac6", "#f0e442", "#9ad0f5", "#bbbbbb")


def bars(
    title: str,
    rows: Sequence[tuple[str, float, float, float]],
    unit: str = "ms",
    description: str = "",
    emphasis: Collection[str] = (),
) -> str:
    """Horizontal bars from zero: ``rows`` of (label, lower quartile, median, upper quartile).

    Labels in ``emphasis`` are drawn in another colour than the others.

    >>> bars("A step", [("gpunn", 1.0, 1.5, 2.0)]).startswith("<svg ")
    True
    """
    ticks = _ticks(0.0, max((high for *_, high in rows), default=0.0) or 1.0)
    left = min(LETTER * max((len(row[0]) for row in rows), default=0) + 22, 0.5 * WIDTH)
    right, top = WIDTH - 90, 44  # room for the longest bar's value
    bottom = top + ROW * len(rows)
    scale = _scale(ticks[0], ticks[-1], left, right)
    body = [_tick_x(scale(tick), top, bottom, number(tick)) for tick in ticks]
    body.append(_text((left + right) / 2, bottom + 38, unit, "middle"))
    for place, (label, low, middle, high) in enumerate(rows):
        y = top + ROW * (place + 0.5)
        kind = 1 if label in emphasis else 0
        tooltip = f"{label}: {middle:.3g} {unit}, quartiles {low:.3g} to {high:.3g}"
        x0, x1, x2 = scale(low), scale(middle), scale(high)
        whisker = f"M{x0:.1f} {y - 5:.1f}v10M{x0:.1f} {y:.1f}H{x2:.1f}M{x2:.1f} {y - 5:.1f}v10"
        body += [
            _text(left - 10, y + 4, label, "end"),
            f'<rect class="f{kind}" x="{left:.1f}" y="{y - 9:.1f}" width="{x1 - left:.1f}" '
            f'height="18"><title>{escape(tooltip)}</title></rect>',
            f'<path class="whisker" d="{whisker}"/>',
            _text(max(x1, x2) + 8, y + 4, f"{middle:.3g}", "start"),
        ]
    summary = description or "; ".join(
        f"{label} {middle:.3g} {unit}" for label, _, middle, _ in rows
    )
    return _svg(title, summary, bottom + 52, body)


def lines(
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    log: bool | tuple[bool, bool] = True,
    description: str = "",
    marks: Mapping[str, float] | None = None,
) -> str:
    """Lines with points: ``series`` maps a label to its (x, y).

    ``log`` says whether the axes are logarithmic, both or (x, y) apart; then all values
    must be positive. ``marks`` are dashed vertical lines, by label.

    >>> lines("Time", {"here": [(1, 2.0), (10, 20.0)]}, "rows", "ms").count("<circle")
    2
    """
    points = [point for line in series.values() for point in line]
    if not points:
        raise ValueError(f"lines({title!r}): series has no point; one or more is expected.")
    logs = (log, log) if isinstance(log, bool) else log
    ends = [(min(values), max(values)) for values in zip(*points, strict=True)]
    for (low, _), logarithmic, name in zip(ends, logs, (x_label, y_label), strict=True):
        if logarithmic and low <= 0:
            raise ValueError(
                f"lines({title!r}): {name} goes down to {low:g}; a logarithmic axis takes "
                f"positive values. Pass log=False."
            )
    # A linear axis begins at zero, so that heights can be compared.
    x_ticks, y_ticks = (
        _log_ticks(low, high) if logarithmic else _ticks(min(low, 0.0), high)
        for (low, high), logarithmic in zip(ends, logs, strict=True)
    )
    left = LETTER * max(len(number(tick)) for tick in y_ticks) + 34
    legend, top = _legend(list(series), left)
    right, bottom = WIDTH - 10 - LETTER * len(number(x_ticks[-1])) / 2, top + 300
    x_of = _scale(x_ticks[0], x_ticks[-1], left, right, logs[0])
    y_of = _scale(y_ticks[0], y_ticks[-1], bottom, top, logs[1])
    body = legend + [_tick_x(x_of(tick), top, bottom, number(tick)) for tick in x_ticks]
    for tick in y_ticks:
        y = y_of(tick)
        text = _text(left - 8, y + 4, number(tick), "end")
        body.append(f'<g class="tick y"><path d="M{left:.1f} {y:.1f}H{right:.1f}"/>{text}</g>')
    middle = (top + bottom) / 2
    body.append(_text((left + right) / 2, bottom + 40, x_label, "middle"))
    name = _text(14, middle, y_label, "middle")
    body.append(f'<g transform="rotate(-90 14 {middle})">{name}</g>')
    for place, (name, x) in enumerate((marks or {}).items()):
        if x_ticks[0] <= x <= x_ticks[-1]:
            at = x_of(x)
            side = ("start", 4) if at < 0.8 * WIDTH else ("end", -4)
            body.append(f'<path class="mark" d="M{at:.1f} {top}V{bottom}"/>')
            body.append(_text(at + side[1], top + 14 + 16 * (place % 3), name, side[0]))
    for place, (name, line) in enumerate(series.items()):
        path = "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in line)
        body.append(f'<path class="line s{place % len(LIGHT)}" d="M{path}"/>')
        for x, y in line:
            tooltip = escape(f"{name}: {number(x)}, {y:.3g}")
            body.append(
                f'<circle class="f{place % len(LIGHT)}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" '
                f'r="3.5"><title>{tooltip}</title></circle>'
            )
    summary = description or f"{y_label} against {x_label}: {', '.join(series)}"
    return _svg(title, summary, bottom + 54, body)


def number(value: float) -> str:
    """Format a number of an axis in full.

    >>> number(5e6), number(0.00002), number(2.5), number(0)
    ('5,000,000', '0.00002', '2.5', '0')
    """
    digits = max(0, 5 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers at equal distances, around ``low`` to ``high``."""
    rough = (high - low or abs(high) or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten around ``low`` to ``high``; within two decades also 2 and 5 times."""
    steps = (1, 2, 5) if high / low < 100 else (1,)
    first = math.floor(math.log10(low) + 1e-9)
    last = math.ceil(math.log10(high) - 1e-9)
    ticks = [n * 10.0**power for power in range(first, last + 1) for n in steps]
    begin = max(i for i, tick in enumerate(ticks) if tick <= low * 1.0001)
    end = next((i for i, tick in enumerate(ticks) if tick >= high * 0.9999), len(ticks) - 1)
    return ticks[begin : max(end, begin + 1) + 1]


def _scale(
    low: float, high: float, start: float, stop: float, log: bool = False
) -> Callable[[float], float]:
    f: Callable[[float], float] = math.log10 if log else float
    return lambda value: start + (f(value) - f(low)) / (f(high) - f(low)) * (stop - start)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _tick_x(x: float, top: float, bottom: float, text: str) -> str:
    mark = f'<path d="M{x:.1f} {top}V{bottom}"/>'
    return f'<g class="tick x">{mark}{_text(x, bottom + 18, text, "middle")}</g>'


def _legend(names: list[str], left: float) -> tuple[list[str], float]:
    """Return the legend's elements, in lines, and the top of the chart below it."""
    body, x, y = [], left, 48.0
    for place, name in enumerate(names):
        width = LETTER * len(name) + 50
        if x > left and x + width > WIDTH:
            x, y = left, y + 20
        body.append(f'<path class="line s{place % len(LIGHT)}" d="M{x:.1f} {y - 4:.1f}h26"/>')
        body.append(_text(x + 32, y, name, "start"))
        x += width
    return body, y + 18


def _svg(title: str, description: str, height: float, body: list[str]) -> str:
    def paint(colours: Sequence[str], ink: str, grid: str, page: str) -> str:
        rules = [f".f{i}{{fill:{c}}}.s{i}{{stroke:{c}}}" for i, c in enumerate(colours)]
        return (
            f"text{{fill:{ink}}}.page{{fill:{page}}}.tick path{{stroke:{grid}}}"
            f".whisker,.mark{{stroke:{ink}}}{''.join(rules)}"
        )

    style = (
        "text{font:13px system-ui,sans-serif}.head{font-size:15px;font-weight:600}"
        "path{fill:none}.line{stroke-width:2}.mark{stroke-dasharray:4 4;opacity:.6}"
        f"{paint(LIGHT, '#1f2328', '#d8dee4', '#ffffff')}"
        f"@media(prefers-color-scheme:dark){{{paint(DARK, '#e6edf3', '#3d444d', '#0d1117')}}}"
    )
    size = f'width="{WIDTH}" height="{height:.0f}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" {size} '
        'role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(description)}</desc>',
        f"<style>{style}</style>",
        f'<rect class="page" {size}/>',
        f'<text class="head" x="16" y="24">{escape(title)}</text>',
    )
    return "\n".join([*head, *body, "</svg>\n"])
