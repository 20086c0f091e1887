"""The table that ``model.summary()`` prints and a notebook shows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn.common.markup import escaped

from .drawing import draw

DRAWN = 60  # maximum number of layers for which a notebook also shows a drawing


def summary_text(model: Any, width: int, show_trainable: bool, expand_nested: bool = False) -> str:
    """Return a table of layers, output shapes, parameter counts and, for a graph, connections.

    Its ``width`` is in columns. It may show which layers are trained, and the layers of models that
    are used as layers.
    """
    built = model.built  # reading it builds a model that declares its input shape, so do it first
    header = ["Layer (type)", "Output shape", "Param #"]
    shares = [0.4, 0.25, 0.15] if show_trainable else [0.45, 0.3, 0.15]
    connected = model._builder.is_graph
    if connected:
        header.append("Connected to")
        shares = [0.28, 0.2, 0.13, 0.26] if show_trainable else [0.32, 0.24, 0.14, 0.3]
    if show_trainable:
        header.append("Trainable")
        shares.append(0.13)
    rows = list(_rows(model, connected, show_trainable, expand_nested, ""))
    columns = [
        max(int(width * share), *(len(row[i]) + 2 for row in [header, *rows]))
        for i, share in enumerate(shares)
    ]
    if sum(columns) > width:
        columns = [int(width * share) for share in shares]
    rule = "-" * min(width, sum(columns))

    def lines_of(cells: list[str]) -> list[str]:
        indents = [" " * (len(cell) - len(cell.lstrip())) for cell in cells]
        parts = [
            textwrap.wrap(cell, n - 1, subsequent_indent=indent) or [""]
            for cell, n, indent in zip(cells, columns, indents, strict=True)
        ]
        return [
            "".join(
                (part[i] if i < len(part) else "").ljust(n)
                for part, n in zip(parts, columns, strict=True)
            ).rstrip()
            for i in range(max(map(len, parts)))
        ]

    table = [line for row in rows for line in lines_of(row)]
    lines = [f'Model: "{model.name}"', rule, *lines_of(header), rule, *table, rule]
    return "\n".join([*lines, *(_totals(model) if built else [NOT_BUILT])])


NOT_BUILT = "Not built yet: the input shape is not known."


def summary_html(model: Any) -> str:
    """Return the same table as HTML for a notebook. All text in it is escaped.

    For a graph with few layers, a drawing replaces the column of connections.
    """
    built = model.built  # as above
    drawn = built and len(model.operations) <= DRAWN
    connected = model._builder.is_graph and not drawn
    header = ["Layer (type)", "Output shape", "Param #", *["Connected to"] * connected]
    table = []
    for tag, row in [
        ("th", header),
        *(("td", row) for row in _rows(model, connected, False, False, "")),
    ]:
        cells = [
            f"<{tag} style='text-align: {_side(i)}; {_wrap(i)}'>{escaped(cell)}</{tag}>"
            for i, cell in enumerate(row)
        ]
        table.append(f"<tr>{''.join(cells)}</tr>")
    below = "<br>".join(map(escaped, _totals(model) if built else [NOT_BUILT]))
    drawing = f"<div>{draw(model, shapes=False).to_svg(inline=True)}</div>" if drawn else ""
    return (
        f"<div style='display: flex; flex-wrap: wrap; gap: 2em; align-items: flex-start'>"
        f"<div><strong>{escaped(type(model).__name__)}: {escaped(model.name)}</strong>"
        f"<table>{''.join(table)}</table>{below}</div>{drawing}</div>"
    )


def _wrap(column: int) -> str:
    return "white-space: nowrap" if column in (1, 2) else "overflow-wrap: anywhere"


def _side(column: int) -> str:
    return "right" if column == 2 else "left"


def _totals(model: Any) -> Iterator[str]:
    """Yield the lines with parameter counts."""
    trained = sum(p.count for p in model.trainable_weights)
    frozen = sum(p.count for p in model.non_trainable_weights)
    itemsize = np.dtype(model.dtype).itemsize
    counts = [("Trainable params", trained), ("Non-trainable params", frozen)]
    if model._trainer is not None and model._trainer.updates:
        # As Keras counts them: the slots, the number of updates, the learning rate.
        counts.append(("Optimizer params", len(model._storage.slots) * trained + 2))
    for label, count in [("Total params", sum(n for _, n in counts)), *counts]:
        yield f"{label}: {count:,} ({readable_bytes(count * itemsize)})"


def _rows(
    model: Any, connected: bool, show_trainable: bool, expand: bool, indent: str
) -> Iterator[list[str]]:
    """Yield the cells of each layer's row, followed by the rows of the layers inside it."""
    sources = _sources(model) if connected and model._builder.is_graph else {}
    for layer in model.operations:
        shape = getattr(layer, "output_shape", None) if layer.built else None
        row = [
            f"{indent}{layer.name} ({type(layer).__name__})",
            "?" if shape is None else str(shape),
            f"{layer.count_params():,}" if layer.built else "? (not built)",
        ]
        if connected:
            row.append(", ".join(sources.get(id(layer), [])) or "-")
        if show_trainable:
            row.append("yes" if layer.trainable and layer.weights else "no")
        yield row
        if expand and hasattr(layer, "layers"):
            yield from _rows(layer, connected, show_trainable, expand, f"{indent}  ")


def _sources(model: Any) -> dict[int, list[str]]:
    """Return the inputs of each layer of a graph as layer[application number][output number]."""
    references = model._graph.references()
    found: dict[int, list[str]] = {}
    for application in model._graph.applications:
        for tensor in application.inputs:
            name, number, index = references[id(tensor)]
            found.setdefault(id(application.layer), []).append(f"{name}[{number}][{index}]")
    return found


def readable_bytes(count: int) -> str:
    """Format a number of bytes, ``1536`` as ``"1.50 KB"``.

    >>> readable_bytes(60), readable_bytes(1536)
    ('60.00 B', '1.50 KB')
    """
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    return f"{size:.2f} {unit}"
