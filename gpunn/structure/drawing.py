"""Drawing of a model as boxes and arrows, each layer below those that it reads, as SVG.

Lengths are in inches, from the left and from the top.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpunn.common.arguments import check_choice
from gpunn.common.markup import escaped

from .calls import ModelCall
from .graph import Graph

CHARACTER, LINE, MARGIN = 0.085, 0.17, 0.12  # text in boxes, 9 points, and the margin around it
GAP, SPACE = 0.4, 0.3  # between boxes along and across the arrows
WIDEST = 44  # characters of a line in a box; longer lines are wrapped
PIXELS = 96  # per inch of SVG
HEAD = 0.07  # length of an arrowhead

Point = tuple[float, float]


@dataclass(eq=False)
class Box:
    """A layer's box. Without text, a point where an arrow passes a row of boxes."""

    lines: list[str] = field(default_factory=list)  # of its text
    sources: list[Box] = field(default_factory=list)  # the boxes that it reads
    row: int = 0  # length of the longest path to it
    across: float = 0.0  # position of its centre in its row
    along: float = 0.0  # position of the row

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        if not self.lines:
            return 0.0, 0.0
        width = max(map(len, self.lines)) * CHARACTER + 2 * MARGIN
        return width, len(self.lines) * LINE + 2 * MARGIN


@dataclass(repr=False)
class Drawing:
    """Boxes and arrows with their positions. A notebook displays it; `to_svg` returns its text.

    Attributes:
        width, height: Size of the drawing.
        boxes: The centre of each box, its size, and its lines of text.
        arrows: The points of each line, and whether it ends in a head.
    """

    width: float
    height: float
    boxes: list[tuple[Point, Point, list[str]]]
    arrows: list[tuple[list[Point], bool]]

    def to_svg(self, inline: bool = False) -> str:
        """Return the drawing as SVG.

        Args:
            inline: Whether it becomes part of a page and uses the page's colours; otherwise
                it is a separate file, dark on white.
        """
        width, height = (f"{length * PIXELS:.0f}" for length in (self.width, self.height))
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        begins = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}'
        if inline:
            parts = [f'{begins} style="max-width: 100%; height: auto">']
        else:
            parts = [
                f'<?xml version="1.0" encoding="UTF-8"?>\n{begins} color="#222222">',
                '<rect width="100%" height="100%" fill="#ffffff"/>',
            ]
        parts.append('<g fill="none" stroke="currentColor" stroke-linejoin="round">')
        for points, head in self.arrows:
            parts.append(f'<polyline points="{_pixels(points)}"/>')
            if head:
                parts.append(f'<polygon fill="currentColor" points="{_pixels(_head(points))}"/>')
        for (x, y), (wide, high), _ in self.boxes:
            left, top, wide, high = (PIXELS * v for v in (x - wide / 2, y - high / 2, wide, high))
            place = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}"'
            parts.append(f'<rect {place} rx="3"/>')
        parts.append('</g><g fill="currentColor" font-size="12" text-anchor="middle" ')
        parts[-1] += 'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace">'
        for (x, y), _, lines in self.boxes:
            first = y - (len(lines) - 1) * LINE / 2 + 0.042  # the base line is below the middle
            for number, line in enumerate(lines):
                place = f'x="{PIXELS * x:.1f}" y="{PIXELS * (first + number * LINE):.1f}"'
                parts.append(f'<text {place} xml:space="preserve">{escaped(line)}</text>')
        return "\n".join([*parts, "</g></svg>\n"])

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.boxes)} boxes and {len(self.arrows)} arrows>"


def draw(
    model: Any,
    *,
    shapes: bool = True,
    names: bool = True,
    activations: bool = False,
    dtypes: bool = False,
    trainable: bool = False,
    expand_nested: bool = False,
    direction: str = "TB",
) -> Drawing:
    """Draw the layers of a model as boxes, with an arrow from each to those that read it.

    The arguments are as of `gpunn.plots.network`.

    Raises:
        ValueError: if the input shape is not known, or for another direction.
    """
    check_choice("direction", direction, ("TB", "BT", "LR", "RL"))

    def text(layer: Any, application: Any, use: str) -> list[str]:
        shown = model if isinstance(layer, ModelCall) else layer
        kind = type(shown).__name__
        lines = [f"{shown.name} ({kind})" if names else kind]
        if use:
            lines.append(use)
        if activations and getattr(layer, "activation", None) is not None:
            lines.append(f"activation: {type(layer.activation).__name__}")
        if shapes and application.inputs:
            lines.append(f"input: {_shapes(application.inputs)}")
        if shapes:
            lines.append(f"output: {_shapes(application.outputs)}")
        if dtypes:
            lines.append(f"dtype: {', '.join(t.dtype for t in application.outputs)}")
        if trainable and layer.weights:
            lines.append("trained" if layer.trainable else "not trained")
        return [part for line in lines for part in _broken(line)]

    if not model.built:
        raise ValueError(f"The input shape of the model {model.name!r} is not known yet.")
    boxes: list[Box] = []
    graph: Graph = model._graph
    of_tensors: dict[int, Box] = {}
    for layer, tensor in zip(graph.input_layers, graph.inputs, strict=True):
        boxes.append(Box(text(layer, layer._applications[0], "")))
        of_tensors[id(tensor)] = boxes[-1]
    _add(graph, of_tensors, boxes, text, expand_nested)
    vertical = direction in ("TB", "BT")
    rows = _rows(boxes)
    across, along = _place(rows, vertical)
    width, height = (across, along) if vertical else (along, across)

    def at(across: float, down: float) -> Point:
        down = along - down if direction in ("BT", "RL") else down
        return (across, down) if vertical else (down, across)

    placed = [(at(b.across, b.along), b.size, b.lines) for row in rows for b in row if b.lines]
    arrows = [arrow for row in rows for box in row for arrow in _arrows(box, rows, vertical, at)]
    return Drawing(width, height, placed, arrows)


def _broken(line: str) -> list[str]:
    """Wrap a line of text to fit into a box."""
    line = " ".join(line.splitlines())
    return textwrap.wrap(line, WIDEST, subsequent_indent="  ") or [""]


def _shapes(tensors: Any) -> str:
    return ", ".join(str((None, *tensor.sample)) for tensor in tensors)


def _add(
    graph: Graph,
    of_tensors: dict[int, Box],
    boxes: list[Box],
    text: Callable[[Any, Any, str], list[str]],
    expand: bool,
) -> None:
    """Add the boxes of a graph's layers; ``of_tensors`` maps each tensor to its box."""
    uses = Counter(id(application.layer) for application in graph.applications)
    used = Counter[int]()
    for application in graph.applications:
        layer: Any = application.layer
        inner = layer._graph if expand and layer._kind == "model" else None
        if inner is not None and getattr(layer, "layers", None):
            pairs = zip(inner.inputs, application.inputs, strict=True)
            inside = {id(own): of_tensors[id(given)] for own, given in pairs}
            _add(inner, inside, boxes, text, expand)
            for own, made in zip(inner.outputs, application.outputs, strict=True):
                of_tensors[id(made)] = inside[id(own)]
            continue
        used[id(layer)] += 1
        sources = list(dict.fromkeys(of_tensors[id(tensor)] for tensor in application.inputs))
        row = max((source.row for source in sources), default=-1) + 1
        number, of = used[id(layer)], uses[id(layer)]
        use = f"shared: use {number} of {of}" if of > 1 else ""
        boxes.append(Box(text(layer, application, use), sources, row))
        for tensor in application.outputs:
            of_tensors.setdefault(id(tensor), boxes[-1])


def _rows(boxes: list[Box]) -> list[list[Box]]:
    """Arrange the boxes in rows, in an order with few crossing arrows. An arrow that passes a row
    gets a position in it."""
    rows: list[list[Box]] = [[] for _ in range(max(box.row for box in boxes) + 1)]
    for box in boxes:
        rows[box.row].append(box)
    for box in boxes:
        for number, source in enumerate(box.sources):
            for passed in rows[source.row + 1 : box.row]:
                source = Box([], [source], source.row + 1)
                passed.append(source)
            box.sources[number] = source
    places = {id(box): place for row in rows for place, box in enumerate(row)}
    for row in rows[1:]:
        row.sort(key=lambda box: sum(places[id(s)] for s in box.sources) / max(1, len(box.sources)))
        places.update({id(box): place for place, box in enumerate(row)})
    return rows


def _place(rows: list[list[Box]], vertical: bool) -> tuple[float, float]:
    """Set the positions of boxes; return the extent across and along the arrows."""
    across = 0 if vertical else 1
    widths = [sum(box.size[across] + SPACE for box in row) for row in rows]
    along = 0.0
    for row, width in zip(rows, widths, strict=True):
        left = (max(widths) - width) / 2
        deep = max(box.size[1 - across] for box in row)
        for box in row:
            box.across = left + (box.size[across] + SPACE) / 2
            box.along = along + (GAP + deep) / 2
            left += box.size[across] + SPACE
        along += deep + GAP
    return max(widths), along


def _arrows(
    box: Box, rows: list[list[Box]], vertical: bool, at: Callable[[float, float], Point]
) -> list[tuple[list[Point], bool]]:
    """Return the arrows into a box.

    An arrow leaves and enters a row in a straight line, so that it does not cross boxes there.
    """

    def deep(other: Box) -> float:
        return other.size[1 if vertical else 0] / 2

    def half(row: int) -> float:
        return max(map(deep, rows[row]))

    arrows = []
    for source in box.sources:
        places = [
            (source.across, source.along + (deep(source) if source.lines else half(source.row))),
            (source.across, source.along + half(source.row)),
            (box.across, box.along - half(box.row)),
            (box.across, box.along - deep(box) if box.lines else box.along + half(box.row)),
        ]
        arrows.append(([at(*place) for place in places], bool(box.lines)))
    return arrows


def _head(points: list[Point]) -> list[Point]:
    """Return the arrowhead at the end of a line."""
    end = points[-1]
    before = next((p for p in reversed(points) if p != end), end)
    x, y = end[0] - before[0], end[1] - before[1]
    length = (x * x + y * y) ** 0.5 or 1.0
    x, y = HEAD * x / length, HEAD * y / length
    base = end[0] - x, end[1] - y
    return [end, (base[0] - y / 2, base[1] + x / 2), (base[0] + y / 2, base[1] - x / 2)]


def _pixels(points: list[Point]) -> str:
    return " ".join(f"{PIXELS * x:.1f},{PIXELS * y:.1f}" for x, y in points)
