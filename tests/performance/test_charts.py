"""The charts of the benchmarks: values measured on the picture are the given ones."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from benchmarks.common import charts

pytestmark = pytest.mark.checks("benchmarks")

SVG = "{http://www.w3.org/2000/svg}"


def parse(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg" and root.get("viewBox", "").startswith("0 0 720 ")
    labels = {root.find(f"{SVG}{name}").text for name in ("title", "desc")}
    assert all(labels) and root.get("role") == "img"
    assert "prefers-color-scheme:dark" in root.find(f"{SVG}style").text
    return root


def axis(root: ElementTree.Element, which: str, log: bool) -> Callable[[float], float]:
    """Convert pixels to values as a reader does, by the first and last tick of the axis."""
    ticks = []
    for tick in root.iter(f"{SVG}g"):
        if tick.get("class") == f"tick {which}":
            begin = re.findall(r"[0-9.]+", tick.find(f"{SVG}path").get("d"))
            figure = float(tick.find(f"{SVG}text").text.replace(",", ""))
            ticks.append((float(begin["xy".index(which)]), figure))
    f, g = (math.log, math.exp) if log else (float, float)
    (p0, v0), (p1, v1) = ticks[0], ticks[-1]
    for pixel, figure in ticks:
        share = (f(figure) - f(v0)) / (f(v1) - f(v0))
        assert (pixel - p0) / (p1 - p0) == pytest.approx(share, abs=0.002)
    return lambda pixel: g(f(v0) + (pixel - p0) / (p1 - p0) * (f(v1) - f(v0)))


def titles(root: ElementTree.Element, tag: str) -> list[str]:
    return [child.text for element in root.iter(f"{SVG}{tag}") for child in element]


LINES = {
    "time & <memory>": [(16, 0.003), (128, 0.02), (8192, 140.0)],
    "other": [(16, 0.5), (4096, 0.7)],
}


@pytest.mark.parametrize("log", [True, False, (True, False), (False, True)])
def test_points_of_lines_lie_where_the_axes_say(log: bool | tuple[bool, bool]) -> None:
    root = parse(charts.lines("Scale", LINES, "width", "ms", log))
    log_x, log_y = (log, log) if isinstance(log, bool) else log
    x_of, y_of = axis(root, "x", log_x), axis(root, "y", log_y)
    points = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    wanted = [point for line in LINES.values() for point in line]
    assert len(points) == len(wanted)
    for (px, py), (x, y) in zip(points, wanted, strict=True):
        assert x_of(px) == pytest.approx(x, rel=0.01, abs=0 if log_x else 12)
        assert y_of(py) == pytest.approx(y, rel=0.02, abs=0 if log_y else 0.3)
        assert 0 < px < 720 and 0 < py < int(root.get("height"))
    paths = [p.get("d") for p in root.iter(f"{SVG}path") if "line" in p.get("class", "")]
    drawn = [d for d in paths if "L" in d]
    assert len(drawn) == 2 and len(paths) == 4  # and two in the legend
    pixels = [tuple(map(float, pair.split())) for d in drawn for pair in d[1:].split("L")]
    assert pixels == points
    tooltips = titles(root, "circle")
    assert tooltips[0] == "time & <memory>: 16, 0.003"
    assert tooltips[2] == "time & <memory>: 8,192, 140"
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Scale", "width", "ms", *LINES} <= set(words)


def test_a_mark_stands_at_its_figure() -> None:
    root = parse(charts.lines("Scale", LINES, "width", "ms", marks={"L2": 512, "far": 1e9}))
    (mark,) = [p for p in root.iter(f"{SVG}path") if p.get("class") == "mark"]
    x = float(mark.get("d")[1:].split()[0])
    assert axis(root, "x", True)(x) == pytest.approx(512, rel=0.01)
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "L2" in words and "far" not in words


ROWS = [("gpunn, fit", 0.28, 0.3, 0.33), ("PyTorch <eager>", 1.0, 1.1, 1.9), ("none", 0, 0, 0)]


def test_bars_reach_to_the_median_and_whiskers_to_the_quartiles() -> None:
    root = parse(charts.bars("A step", ROWS, "ms", emphasis={"gpunn, fit"}))
    x_of = axis(root, "x", False)
    rectangles = [r for r in root.iter(f"{SVG}rect") if r.get("class") != "page"]
    whiskers = [p for p in root.iter(f"{SVG}path") if p.get("class") == "whisker"]
    assert len(rectangles) == len(whiskers) == len(ROWS)
    for (_, low, middle, high), bar, whisker in zip(ROWS, rectangles, whiskers, strict=True):
        start, width = float(bar.get("x")), float(bar.get("width"))
        assert x_of(start) == pytest.approx(0, abs=0.01)
        assert x_of(start + width) == pytest.approx(middle, abs=0.01)
        ends = [float(piece.split()[0]) for piece in whisker.get("d")[1:].split("M")]
        assert [x_of(ends[0]), x_of(ends[-1])] == pytest.approx([low, high], abs=0.01)
    assert [bar.get("class") for bar in rectangles] == ["f1", "f0", "f0"]
    assert titles(root, "rect")[0] == "gpunn, fit: 0.3 ms, quartiles 0.28 to 0.33"
    assert "PyTorch <eager>" in [text.text for text in root.iter(f"{SVG}text")]
    tops = [float(bar.get("y")) for bar in rectangles]
    assert all(b - a >= 18 for a, b in itertools.pairwise(tops))


@pytest.mark.parametrize(("low", "high"), [(0.003, 0.004), (1, 1), (1, 60_000), (7e-6, 5e6)])
@pytest.mark.parametrize("log", [True, False])
def test_axes_reach_around_the_figures(low: float, high: float, log: bool) -> None:
    root = parse(charts.lines("t", {"a": [(low, low), (high, high)]}, "x", "y", log))
    for which in "xy":
        figures = [
            float(tick.find(f"{SVG}text").text.replace(",", ""))
            for tick in root.iter(f"{SVG}g") if tick.get("class") == f"tick {which}"
        ]  # fmt: skip
        assert 2 <= len(set(figures)) <= 14 and figures == sorted(figures)
        assert figures[0] <= low * 1.0001 and figures[-1] >= high * 0.9999


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="x goes down to 0; a logarithmic axis"):
        charts.lines("t", {"a": [(0, 1), (1, 1)]}, "x", "y")
    with pytest.raises(ValueError, match="series has no point"):
        charts.lines("t", {}, "x", "y")
