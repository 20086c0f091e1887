"""Curves, points and bars as SVG, in the colours of the surrounding page.

Lines differ by dashes too, and the text alternative is the title element.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .elements import Markup, element

LEFT, RIGHT, ABOVE, BELOW = 52, 12, 24, 34  # pixels around the lines of a chart
LOOKS = (  # colours that are legible on white and on black, and dash patterns
    ("#3a87c8", None),
    ("#e0702f", "5 3"),
    ("#3f9b5f", "2 3"),
    ("#a56cc9", "9 3 2 3"),
    ("#c95b78", "1 3"),
    ("#8a8a52", "12 4"),
)
SHOWN = 400  # maximum points of a line
LARGEST = 1e150  # largest drawn value; larger values count as not finite
LETTER = 6.2  # approximate width of a letter
DIGIT = 7.0  # width of a digit in a wide font

Point = tuple[float, float]


class Frame:
    """A chart with two axes, to which lines, dots and bars are added.

    Args:
        x, y: Ticks of both axes; the first and the last tick are the ends of the axis. A single
            x is in the middle.
        last: End of x, if it is not a tick.
        label: Text alternative; the title by default.
        size: Width and height in pixels.
        powers: Whether y values are exponents of ten.
    """

    def __init__(
        self,
        title: str,
        x: Sequence[float],
        y: Sequence[float],
        *,
        last: float | None = None,
        x_label: str = "",
        label: str | None = None,
        size: tuple[int, int] = (300, 190),
        powers: bool = False,
    ) -> None:
        self.x, self.y = (x[0], x[-1] if last is None else last), (y[0], y[-1])
        self.width, self.height = size
        self.right, self.bottom = self.width - RIGHT, self.height - BELOW
        self.parts = [element("title", label or title)]
        for tick in y:
            height = self.at_y(tick)
            self.parts.append(element("path", d=f"M{LEFT} {height:.1f}H{self.right}",
                                      stroke="currentColor", stroke_opacity="0.2"))
            self._text(LEFT - 6, height + 4, f"1e{tick:g}" if powers else f"{tick:g}", "end")
        for tick in x:
            half = DIGIT * len(f"{tick:g}") / 2  # a long number at an end stays in the picture
            place = min(max(self.at_x(tick), half), self.width - half)
            self._text(place, self.bottom + 14, f"{tick:g}")
        self._text((LEFT + self.right) / 2, self.height - 5, x_label)
        self._text(LEFT, 14, _short(title, self.right - LEFT), "start")

    def at_x(self, x: float) -> float:
        first, last = self.x
        share = (x - first) / (last - first) if last > first else 0.5
        return LEFT + (self.right - LEFT) * share

    def at_y(self, y: float) -> float:
        first, last = self.y
        return self.bottom - (self.bottom - ABOVE) * (y - first) / (last - first)

    def lines(
        self, lines: Mapping[str, Sequence[Point]], *, dots: bool = False, key: bool = True
    ) -> None:
        """Add a line through points for each name, broken at values that are not finite.

        With several names and ``key``, add a key away from the ends of the lines. A name without
        points has a look but no line.
        """
        for number, points in enumerate(lines.values()):
            color, dashes = LOOKS[number % len(LOOKS)]
            for run in _runs(points):
                places = " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in run)
                self.parts.append(element("polyline", points=places, fill="none", stroke=color,
                                          stroke_width="1.6", stroke_dasharray=dashes))
                self.dots(run if dots or len(run) == 1 else [], 3, color)
        if key and len(lines) > 1:
            ends = [y for points in lines.values() for _, y in points[-len(points) // 3 :]]
            ends = [self.at_y(y) for y in ends if math.isfinite(y)]
            high = ends and sum(ends) / len(ends) < (ABOVE + self.bottom) / 2
            shown = {name: i for i, name in enumerate(lines) if lines[name]}
            self._key(shown, self.bottom - 15 * len(shown) + 5 if high else ABOVE + 8)

    def dots(self, points: Sequence[Point], radius: float = 2, color: str = LOOKS[0][0]) -> None:
        for x, y in points:
            self.parts.append(element("circle", cx=f"{self.at_x(x):.1f}", cy=f"{self.at_y(y):.1f}",
                                      r=radius, fill=color))

    def bars(self, edges: Sequence[float], heights: Sequence[float]) -> None:
        """Add a bar from 0 between each two edges."""
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            x, top, base = self.at_x(left), self.at_y(height), self.at_y(0)
            self.parts.append(element("rect", x=f"{x:.1f}", y=f"{top:.1f}",
                                      width=f"{max(self.at_x(right) - x - 1, 0.5):.1f}",
                                      height=f"{base - top:.1f}", fill=LOOKS[0][0]))

    def diagonal(self) -> None:
        """Add the line on which x and y are equal."""
        low, high = max(self.x[0], self.y[0]), min(self.x[1], self.y[1])
        ends = [f"{self.at_x(v):.1f} {self.at_y(v):.1f}" for v in (low, high)]
        self.parts.append(element("path", d=f"M{ends[0]}L{ends[1]}", stroke="currentColor",
                                  stroke_opacity="0.6", stroke_dasharray="2 3"))

    def svg(self) -> Markup:
        return element("svg", *self.parts, xmlns="http://www.w3.org/2000/svg", role="img",
                       width=self.width, height=self.height,
                       viewBox=f"0 0 {self.width} {self.height}", fill="currentColor",
                       font_family="sans-serif", font_size=11)

    def _key(self, names: Mapping[str, int], top: float) -> None:
        longest = min(max(map(len, names), default=0) * LETTER, (self.right - LEFT) / 2)
        start = self.right - max(longest, 62)
        for place, (name, number) in enumerate(names.items()):
            line = top + 15 * place
            color, dashes = LOOKS[number % len(LOOKS)]
            self.parts.append(element("path", d=f"M{start - 24:.1f} {line - 4:.1f}h18",
                                      stroke_width="1.6", stroke=color,
                                      stroke_dasharray=dashes))
            self._text(start, line, _short(name, self.right - start), "start")

    def _text(self, x: float, y: float, text: str, anchor: str = "middle") -> None:
        self.parts.append(element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor))


def curves(
    title: str,
    lines: Mapping[str, Sequence[float]],
    *,
    label: str | None = None,
    powers: bool = False,
    size: tuple[int, int] = (300, 190),
    key: bool = True,
) -> Markup:
    """Draw values over the epochs, from 1. Values that are not finite leave a gap.

    Args:
        title, label, size: As in `Frame`.
        lines: The values by the name of their line.
        powers: Whether to draw logarithms; values that are not positive then leave a gap.
        key: Whether to name several lines in the chart; `sample` draws the line of a name.
    """
    drawn = {name: over_epochs(values) for name, values in lines.items()}
    if powers:
        drawn = {
            name: [(x, math.log10(y) if y > 0 else math.nan) for x, y in points]
            for name, points in drawn.items()
        }
    finite = [y for points in drawn.values() for _, y in points if math.isfinite(y)] or [0.0, 1.0]
    last = max((len(values) for values in lines.values()), default=1)
    ends = min(finite), max(finite)
    frame = Frame(title, counts(last), decades(*ends) if powers else ticks(*ends),
                  last=last, x_label="epoch", label=label, size=size, powers=powers)
    frame.lines(drawn, key=key)
    return frame.svg()


def sample(number: int) -> Markup:
    """Draw a piece of the line with this number in a chart, for a key beside it."""
    color, dashes = LOOKS[number % len(LOOKS)]
    line = element("path", d="M0 6h28", stroke=color, stroke_width="2", stroke_dasharray=dashes)
    return element("svg", line, xmlns="http://www.w3.org/2000/svg", width=28, height=12,
                   viewBox="0 0 28 12", aria_hidden="true")


def bar(
    value: float, spread: float, ends: tuple[float, float], *, label: str, width: int = 200
) -> Markup:
    """Draw a horizontal bar from 0, with a line as long as its spread on both sides of its end.

    Args:
        value, spread: What to draw.
        ends: Values at the left and right edge, for bars one above the other; 0 is between them.
        label: Text alternative.
        width: Width in pixels.
    """
    low, high = ends

    def at(x: float) -> float:
        share = (min(max(x, low), high) - low) / (high - low) if high > low else 0.0
        return 1 + (width - 2) * share

    first, last = sorted((at(0), at(value)))
    line = f"M{at(value - spread):.1f} 7H{at(value + spread):.1f}"
    marks = "".join(f"M{at(value + sign * spread):.1f} 4v6" for sign in (-1, 1))
    return element(
        "svg", element("title", label),
        element("rect", x=f"{first:.1f}", y=2, width=f"{max(last - first, 0.5):.1f}", height=10,
                fill=LOOKS[0][0]),
        element("path", d=line + marks, stroke="currentColor", stroke_width="1.2"),
        xmlns="http://www.w3.org/2000/svg", role="img", width=width, height=14,
        viewBox=f"0 0 {width} 14",
    )


def over_epochs(values: Sequence[float]) -> list[Point]:
    """Convert values to points from epoch 1; many values are reduced to the smallest and largest
    in each of a number of intervals.

    >>> over_epochs([0.5, 0.25])
    [(1, 0.5), (2, 0.25)]
    """
    width = max(1, -(-2 * len(values) // SHOWN))
    found: list[Point] = []
    for start in range(0, len(values), width):
        near: list[Point] = list(enumerate(values[start : start + width], start + 1))
        finite = [point for point in near if abs(point[1]) <= LARGEST]
        both = {min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])} if finite else ()
        found += sorted(both) or [(start + 1, math.nan)]
    return found


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers that enclose all values.

    >>> ticks(0.13, 0.42)
    [0.1, 0.2, 0.3, 0.4, 0.5]
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = power * next(n for n in (1, 2, 2.5, 5, 10) if (high - low) / (n * power) <= 5)
    first, end = math.floor(low / step), math.ceil(high / step)
    return [float(f"{step * number:.12g}") for number in range(first, end + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return at most seven integer exponents that enclose the given ones.

    >>> decades(-3.2, 0.1)
    [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0]
    """
    first, end = math.floor(low), math.ceil(high)
    end = max(end, first + 1)
    step = -(-(end - first) // 6)
    return [float(first + step * number) for number in range(-(-(end - first) // step) + 1)]


def counts(last: int) -> list[int]:
    """Return round numbers from 1 to ``last``.

    >>> counts(4), counts(30)
    ([1, 2, 3, 4], [1, 10, 20, 30])
    """
    step = next(n * 10**p for p in range(20) for n in (1, 2, 5) if last <= 5 * n * 10**p)
    return [1, *range(step, last + 1, step)] if step > 1 else list(range(1, last + 1))


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split the points of a line at values that are not finite."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        else:
            runs.append([])
    return [run for run in runs if run]


def _short(text: str, width: float) -> str:
    letters = max(int(width / LETTER), 4)
    return text if len(text) <= letters else f"{text[: letters - 1]}\u2026"
