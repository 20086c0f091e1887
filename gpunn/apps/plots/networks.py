"""A model as boxes and arrows: each layer below those that it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gpunn.common.arguments import check_choice
from gpunn.structure.calls import ModelCall
from gpunn.structure.graph import Graph

from .style import FONT, INK, figure_class

__all__ = ["network"]

CHARACTER, LINE, MARGIN = 0.085, 0.17, 0.12  # inches, of the text in boxes and around it
GAP, SPACE = 0.4, 0.3  # inches between boxes: one after the other, side by side


@dataclass(eq=False)
class _Box:
    """A layer's box, or where an arrow passes a row of boxes if it has no text.

    Attributes:
        lines: of its text.
        sources: the boxes that it reads.
        row: how many boxes lie before it at the most.
        across, along: where its middle lies in its row, and where its row does.
    """

    lines: list[str] = field(default_factory=list)
    sources: list[_Box] = field(default_factory=list)
    row: int = 0
    across: float = 0.0
    along: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        if not self.lines:
            return 0.0, 0.0
        width = max(map(len, self.lines)) * CHARACTER + 2 * MARGIN
        return width, len(self.lines) * LINE + 2 * MARGIN


def network(
    model: Any,
    *,
    shapes: bool = True,
    names: bool = True,
    activations: bool = False,
    dtypes: bool = False,
    trainable: bool = False,
    expand_nested: bool = False,
    direction: str = "TB",
) -> Any:
    """The layers of a model as boxes, with an arrow from each to those that read it.

    Args:
        model: of which. Its input shape must be known.
        shapes, names, activations, dtypes, trainable: what stands in a box beside the layer's
            class: shapes of its inputs and outputs, its name, its activation, the dtype of its
            output, whether it is trained.
        expand_nested: draw the layers of models that stand here as layers.
        direction: where arrows go: "TB" from top to bottom, "BT", "LR" or "RL".

    Returns:
        The figure: ``network(model).savefig("model.png")``.

    Raises:
        ValueError: if the input shape is not known.
        ImportError: without matplotlib.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(2, name="out")])
    >>> [text.get_text() for text in network(model, shapes=False).axes[0].texts][1]
    'out (Dense)'
    """
    check_choice("direction", direction, ("TB", "BT", "LR", "RL"))
    figure = figure_class()

    def text(layer: Any, application: Any) -> list[str]:
        shown = model if isinstance(layer, ModelCall) else layer
        kind = type(shown).__name__
        lines = [f"{shown.name} ({kind})" if names else kind]
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
        return lines

    if not model.built:
        raise ValueError(f"The input shape of the model {model.name!r} is not known yet.")
    boxes: list[_Box] = []
    graph: Graph = model.graph
    of_tensors: dict[int, _Box] = {}
    for layer, tensor in zip(graph.input_layers, graph.inputs, strict=True):
        boxes.append(_Box(text(layer, layer.applications[0])))
        of_tensors[id(tensor)] = boxes[-1]
    _add(graph, of_tensors, boxes, text, expand_nested)
    vertical = direction in ("TB", "BT")
    rows = _rows(boxes)
    width, height = _place(rows, vertical)
    size = (width, height) if vertical else (height, width)
    ax = figure(figsize=size).add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])
    ax.set(xlim=(0, size[0]), ylim=(0, size[1]))

    def at(across: float, along: float) -> tuple[float, float]:
        along = height - along if direction in ("TB", "RL") else along
        return (across, along) if vertical else (along, across)

    for row in rows:
        for box in row:
            _draw(ax, box, rows, vertical, at)
    return ax.figure


def _shapes(tensors: Any) -> str:
    return ", ".join(str((None, *tensor.sample)) for tensor in tensors)


def _add(
    graph: Graph, of_tensors: dict[int, _Box], boxes: list[_Box], text: Any, expand: bool
) -> None:
    """The boxes of what a graph applies; ``of_tensors`` has those that made each tensor."""
    for application in graph.applications:
        inner = getattr(application.layer, "graph", None) if expand else None
        if inner is not None and getattr(application.layer, "layers", None):
            pairs = zip(inner.inputs, application.inputs, strict=True)
            inside = {id(own): of_tensors[id(given)] for own, given in pairs}
            _add(inner, inside, boxes, text, expand)
            for own, made in zip(inner.outputs, application.outputs, strict=True):
                of_tensors[id(made)] = inside[id(own)]
            continue
        sources = list(dict.fromkeys(of_tensors[id(tensor)] for tensor in application.inputs))
        row = max((source.row for source in sources), default=-1) + 1
        boxes.append(_Box(text(application.layer, application), sources, row))
        for tensor in application.outputs:
            of_tensors.setdefault(id(tensor), boxes[-1])


def _rows(boxes: list[_Box]) -> list[list[_Box]]:
    """The boxes row by row, in an order in which few arrows cross; arrows that pass a row have
    a place in it."""
    rows: list[list[_Box]] = [[] for _ in range(max(box.row for box in boxes) + 1)]
    for box in boxes:
        rows[box.row].append(box)
    for box in boxes:
        for number, source in enumerate(box.sources):
            for passed in rows[source.row + 1 : box.row]:
                source = _Box([], [source], source.row + 1)
                passed.append(source)
            box.sources[number] = source
    places = {id(box): place for row in rows for place, box in enumerate(row)}
    for row in rows[1:]:
        row.sort(key=lambda box: sum(places[id(s)] for s in box.sources) / max(1, len(box.sources)))
        places.update({id(box): place for place, box in enumerate(row)})
    return rows


def _place(rows: list[list[_Box]], vertical: bool) -> tuple[float, float]:
    """Give boxes their places; returns how much room they take across and along the arrows."""
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


def _draw(ax: Any, box: _Box, rows: list[list[_Box]], vertical: bool, at: Any) -> None:
    """A box and the arrows into it.

    An arrow leaves and reaches a row straight, so that it passes beside the boxes there.
    """

    def deep(other: _Box) -> float:
        return other.size[1 if vertical else 0] / 2

    def half(row: int) -> float:
        return max(map(deep, rows[row]))

    if box.lines:
        ax.text(*at(box.across, box.along), "\n".join(box.lines), ha="center", va="center",
                fontsize=FONT, family="monospace", color=INK, linespacing=1.25)  # fmt: skip
        width, height = box.size
        x, y = at(box.across, box.along)
        ax.add_patch(_rectangle(x - width / 2, y - height / 2, width, height))
    for source in box.sources:
        places = [
            (source.across, source.along + deep(source)),
            (source.across, source.along + half(source.row)),
            (box.across, box.along - half(box.row)),
            (box.across, box.along - deep(box) if box.lines else box.along + half(box.row)),
        ]
        points = [at(*place) for place in places]
        ax.plot(*zip(*points, strict=True), color=INK, linewidth=0.9, solid_joinstyle="round")
        if box.lines:
            start = points[-2] if points[-2] != points[-1] else points[-3]
            ax.annotate("", points[-1], start, arrowprops={
                "arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
            })  # fmt: skip


def _rectangle(x: float, y: float, width: float, height: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor="none", edgecolor=INK, linewidth=0.9)
