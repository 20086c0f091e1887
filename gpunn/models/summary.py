"""The table that ``model.summary()`` prints."""

from __future__ import annotations

from typing import Any

import numpy as np


def summary_text(model: Any, width: int, show_trainable: bool) -> str:
    """Layers, output shapes and parameter counts in ``width`` columns."""
    header = ["Layer (type)", "Output shape", "Param #"]
    rows = [
        [
            f"{layer.name} ({type(layer).__name__})",
            str(layer.output_shape) if layer.input_shape is not None else "?",
            f"{layer.count_params():,}" if layer.built else "? (not built)",
        ]
        for layer in model.layers
    ]
    if show_trainable:
        header.append("Trainable")
        for row, layer in zip(rows, model.layers, strict=True):
            row.append("yes" if layer.trainable and layer.parameters else "no")
    shares = (0.4, 0.25, 0.15, 0.1) if show_trainable else (0.45, 0.3, 0.15)
    columns = [
        max(int(width * share), *(len(row[i]) + 2 for row in [header, *rows]))
        for i, share in enumerate(shares)
    ]
    rule = "-" * min(width, sum(columns))

    def line(cells: list[str]) -> str:
        return "".join(cell.ljust(n) for cell, n in zip(cells, columns, strict=True)).rstrip()

    lines = [f'Model: "{model.name}"', rule, line(header), rule, *map(line, rows), rule]
    if model.built:
        trained = sum(p.size for p in model.trainable_weights)
        frozen = sum(p.size for p in model.non_trainable_weights)
        itemsize = np.dtype(model.dtype).itemsize
        counts = [("Trainable params", trained), ("Non-trainable params", frozen)]
        if model.trainer is not None and model.trainer.updates:
            # As Keras counts them: the slots, the number of updates, the learning rate.
            counts.append(("Optimizer params", len(model.arena.slots) * trained + 2))
        for label, count in [("Total params", sum(n for _, n in counts)), *counts]:
            lines.append(f"{label}: {count:,} ({readable_bytes(count * itemsize)})")
    else:
        lines.append("Not built yet: the input shape is not known.")
    return "\n".join(lines)


def readable_bytes(count: int) -> str:
    """``1536`` as ``"1.50 KB"``.

    >>> readable_bytes(60), readable_bytes(1536)
    ('60.00 B', '1.50 KB')
    """
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    return f"{size:.2f} {unit}"
