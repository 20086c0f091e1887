"""The style of all plots: figures, axes, and markings that are distinct without colour.

It changes no global state: figures are made without pyplot, and settings that differ from
matplotlib's defaults are set on the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.importing.lazy import extra

COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#8a5a9e", "#7a7a7a")
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
# Fill colors of the classes' markers and shades of their regions; dark, light, dark, ...
FILLS = (
    "#0072b2", "#ffffff", "#d55e00", "#f0e442", "#009e73",
    "#d9d9d9", "#8a5a9e", "#9ad0f0", "#000000", "#ffb3a7",
)
SHADES = (
    "#d3e4f0", "#ffffff", "#f5d9c7", "#fbf8cf", "#cfe8df",
    "#eeeeee", "#e3d8e9", "#e8f5fc", "#cccccc", "#ffe9e5",
)
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "|||", "ooo", "+++", "OO")
INK = "#222222"
FAINT = "#b5b5b5"
FONT = 9


def figure_class() -> Any:
    """Return `figures.Figure`, matplotlib's figure with a picture for notebooks."""
    extra("matplotlib.figure", "Plots need matplotlib", "plot")  # even if `figures` was imported
    from .figures import Figure

    return Figure


def new_axes(ax: Any, size: tuple[float, float] = (5.2, 4.2)) -> Any:
    """Return ``ax``, or the axes of a new figure of ``size`` inches."""
    make = figure_class()
    if ax is None:
        return make(figsize=size, layout="constrained").subplots()
    if not hasattr(ax, "transData"):
        raise TypeError(f"ax must be a matplotlib Axes; got {ax!r}.")
    return ax


def new_panels(
    count: int, columns: int, size: tuple[float, float] = (3.6, 3.0)
) -> tuple[Any, list[Any]]:
    """Make a new figure with ``count`` axes, row by row, each of ``size`` inches."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = figure_class()(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for surplus in axes[count:]:
        surplus.remove()
    return figure, axes[:count]


def dress(
    ax: Any, title: str | None = None, x: str | None = None, y: str | None = None, grid: bool = True
) -> None:
    """Give axes a title, labels, and the common style."""
    if title:
        ax.set_title(title, fontsize=FONT + 1, color=INK)
    if x is not None:
        ax.set_xlabel(x, fontsize=FONT, color=INK)
    if y is not None:
        ax.set_ylabel(y, fontsize=FONT, color=INK)
    ax.tick_params(labelsize=FONT - 1, color=FAINT, labelcolor=INK)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for spine in ax.spines.values():
        spine.set_color(FAINT)
    if grid:
        ax.grid(True, color="#e3e3e3", linewidth=0.7)
        ax.set_axisbelow(True)


def legend(ax: Any, last: Sequence[str] = (), **options: Any) -> None:
    """Draw a legend if it has more than one entry; the labels in ``last`` come last."""
    entries = list(zip(*ax.get_legend_handles_labels(), strict=True))
    if len(entries) > 1:
        entries.sort(key=lambda entry: entry[1] in last)
        handles, labels = zip(*entries, strict=True)
        options |= {"fontsize": FONT - 1, "framealpha": 0.9, "edgecolor": FAINT}
        shown = ax.legend(handles, labels, **options)
        shown.get_frame().set_linewidth(0.7)


def line_style(number: int) -> dict[str, Any]:
    """Return colour, dashes and marker of a line by its number; thirty lines are all distinct."""
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": LINES[number % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
        "linewidth": 1.6,
        "markersize": 4.5,
        "markerfacecolor": "white",
    }


def sparse_markers(count: int) -> int:
    """Return the interval between markers on a line of ``count`` points."""
    return max(1, count // 8)


def class_style(number: int) -> dict[str, Any]:
    """Return marker and fill of a class's points, for ``scatter``."""
    return {
        "marker": MARKERS[number % len(MARKERS)],
        "facecolors": FILLS[number % len(FILLS)],
        "edgecolors": INK,
        "linewidths": 0.8,
    }


def as_images(values: Any, argument: str, shape: Sequence[int] | None = None) -> np.ndarray:
    """Reshape rows to images (count, height, width) or (..., 3).

    Raises:
        ValueError: if the values of a row do not form a square and no ``shape`` is given.
    """
    images = np.asarray(values)
    if images.ndim < 2:
        raise ValueError(f"{argument} must be images, (count, ...); its shape is {images.shape}.")
    if shape is not None:
        shape = tuple(int(n) for n in shape)
        if np.prod(shape) != np.prod(images.shape[1:]):
            raise ValueError(
                f"{argument} has {int(np.prod(images.shape[1:]))} values per image; they do not "
                f"fit the shape {shape}."
            )
        images = images.reshape(len(images), *shape)
    elif images.ndim == 2:
        side = int(np.sqrt(images.shape[1]) + 0.5)
        if side * side != images.shape[1]:
            raise ValueError(
                f"{argument} has {images.shape[1]} values per image, which is not a square: pass "
                f"shape=(height, width)."
            )
        images = images.reshape(-1, side, side)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3):
        return images
    raise ValueError(f"{argument}: values of shape {images.shape[1:]} are not a grey or RGB image.")
