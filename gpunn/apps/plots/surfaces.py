"""Plot the loss as a surface over two weights, and the path of training on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.callbacks.callback import Callback, state
from gpunn.common.arguments import choice
from gpunn.common.fields import field
from gpunn.common.names import closest
from gpunn.common.stored import Number, Several
from gpunn.core.storage import Parameter

from .style import FAINT, INK, dress, legend, line_style, new_axes

__all__ = ["PathRecorder", "error_surface"]

Weight = tuple[str, Any]
"""Path of a parameter and an index into it: ``("dense/kernel", (0, 0))``."""


def _check_weights(name: str, value: Any) -> list[Weight]:
    return [(path, at) for path, at in value]


class PathRecorder(Callback):
    """Records the values of some weights during training, for `error_surface`.

    Args:
        weights: the weights: pairs of a parameter's path and an index into it.
        every: ``"epoch"`` or ``"batch"``: when to record, besides before the first step.
            Recording after each batch makes an epoch slower.

    Attributes:
        path: the values (steps + 1, weights), in chronological order.

    >>> import gpunn
    >>> from gpunn.plots import PathRecorder
    >>> model = gpunn.Sequential([gpunn.layers.Input((1,)), gpunn.layers.Dense(1, name="line")])
    >>> model.compile("sgd", "mse")
    >>> recorder = PathRecorder([("line/kernel", (0, 0)), ("line/bias", 0)])
    >>> _ = model.fit([[1.0]], [[2.0]], epochs=5, verbose=0, callbacks=[recorder])
    >>> recorder.path.shape
    (6, 2)
    """

    weights: Sequence[Weight] = field(check=_check_weights)
    every: str = field(default="epoch", check=choice("epoch", "batch"))
    _path: list[list[float]] = state(
        lambda self: Several(Several(Number(), len(self.weights))), list
    )

    @property
    def path(self) -> np.ndarray:
        return np.array(self._path, np.float64).reshape(-1, len(self.weights))

    @property
    def needs_train_batches(self) -> bool:
        return self.every == "batch"

    def on_train_begin(self, logs: Any = None) -> None:
        self._reset()
        self._look()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.every == "batch":
            self._look()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.every == "epoch":
            self._look()

    def _look(self) -> None:
        places = [_place(self.model, weight) for weight in self.weights]
        self._path.append([float(parameter.numpy()[at]) for parameter, at in places])


def error_surface(
    model: Any,
    x: Any = None,
    y: Any = None,
    weights: Sequence[Weight] | None = None,
    path: Any = None,
    *,
    span: Any = None,
    resolution: int = 41,
    names: Sequence[str] | None = None,
    title: str | None = None,
    label: str = "loss",
    colorbar: bool = True,
    ax: Any = None,
) -> Any:
    """Plot contours of the loss over any two weights, with the path of training.

    The other weights keep their current values. If they were trained too, the surface is the one
    for their final values.

    Args:
        model: a compiled, built gpunn model; or a function of two numbers (then without x, y
            and weights).
        x, y: data for computing the loss.
        weights: the two weights, each a parameter's path and an index into it; by default the
            first kernel entry and the first bias entry of the first layer that has both.
        path: the visited points (steps, 2), a `PathRecorder`, or a dictionary of several by
            name.
        span: the range to show, ``((low, high), (low, high))``; by default the path and a
            margin, or without a path 3 to each side of the current weights.
        resolution: points along each axis; the loss is computed at each pair.
        names: labels of the two axes.
        title: title of the plot.
        label: label of the colorbar.
        colorbar: whether to draw a colorbar for the shades.
        ax: axes to draw in; new ones by default.

    Returns:
        The figure.

    Raises:
        ValueError: if a weight is unknown, or the path has another shape.
        ImportError: without matplotlib.

    >>> from gpunn.plots import error_surface
    >>> figure = error_surface(lambda a, b: a**2 + 3 * b**2, path=[[1, 1], [0.5, 0], [0, 0]])
    >>> figure.axes[0].lines[0].get_xydata().tolist()
    [[1.0, 1.0], [0.5, 0.0], [0.0, 0.0]]
    """
    ax = new_axes(ax)
    paths = _paths(path)
    if hasattr(model, "train_on_batch"):
        places = [_place(model, weight) for weight in weights or _first_two(model)]
        if len(places) != 2:
            raise ValueError(f"weights must be two weights; got {len(places)}.")
        here = [float(parameter.numpy()[at]) for parameter, at in places]
        names = names or [f"{p.path}[{', '.join(map(str, at))}]" for p, at in places]
        axes = _axes(span, paths, here, resolution)
        heights = _heights(model, x, y, places, axes)
    elif callable(model):
        if x is not None or y is not None or weights is not None:
            raise ValueError("A function of two numbers takes no x, y and weights.")
        names = names or ("x", "y")
        axes = _axes(span, paths, [0.0, 0.0], resolution)
        heights = np.vectorize(model, otypes=[float])(*np.meshgrid(*axes))
    else:
        raise TypeError(f"model must be a gpunn model or a function of two numbers; got {model!r}.")
    _draw_surface(ax, axes, heights, label if colorbar else None, list(paths.values()))
    for number, (name, taken) in enumerate(paths.items()):
        _draw_path(ax, taken, name, number)
    dress(ax, title, names[0], names[1], grid=False)
    ax.set_xlim(axes[0][0], axes[0][-1])
    ax.set_ylim(axes[1][0], axes[1][-1])
    legend(ax, last=("start", "end"), loc="upper left", bbox_to_anchor=(0, -0.14), ncols=4)
    return ax.figure


def _place(model: Any, weight: Weight) -> tuple[Parameter, tuple[int, ...]]:
    """Return a weight's parameter, and its full index."""
    known = {p.path: p for p in model.weights}
    try:
        path, at = weight
        index = tuple(at) if isinstance(at, (tuple, list)) else (int(at),)
    except (TypeError, ValueError):
        raise ValueError(
            f"weights: expected a pair such as ('dense/kernel', (0, 0)); got {weight!r}."
        ) from None
    if path not in known:
        raise ValueError(f"weights: no parameter {path!r}.{closest(str(path), list(known))}")
    shape = known[path].shape
    if len(index) != len(shape) or any(not -n <= i < n for i, n in zip(index, shape, strict=True)):
        raise ValueError(f"weights: {path!r} has shape {shape}; the index {at!r} is not in it.")
    return known[path], index


def _first_two(model: Any) -> list[Weight]:
    for layer in model.layers:
        paths = [(p.path, (0,) * len(p.shape)) for p in layer.weights if p.trained]
        if len(paths) >= 2:
            return [paths[0], paths[1]]
        if paths and layer.weights[0].size >= 2:
            last = np.unravel_index(1, layer.weights[0].shape)
            return [paths[0], (paths[0][0], tuple(int(i) for i in last))]
    raise ValueError(f"The model {model.name!r} has no layer with two weights; pass weights.")


def _paths(path: Any) -> dict[str, np.ndarray]:
    if path is None:
        return {}
    named = path if isinstance(path, Mapping) else {"path": path}
    result = {}
    for name, points in named.items():
        taken = np.asarray(getattr(points, "path", points), np.float64)
        if taken.ndim != 2 or taken.shape[1] != 2 or not len(taken):
            raise ValueError(f"path must be points (steps, 2); its shape is {taken.shape}.")
        result[str(name)] = taken
    return result


def _axes(
    span: Any, paths: dict[str, np.ndarray], here: list[float], resolution: int
) -> list[np.ndarray]:
    if span is None:
        points = np.vstack([*paths.values()]) if paths else np.array([here])
        points = points[np.isfinite(points).all(axis=1)]
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.25 * np.maximum(high - low, 0.2 * (high - low).max()) if paths else 3.0
        margin = np.where(high - low + margin > 0, margin, 1.0)
        span = np.column_stack([low - margin, high + margin])
    span = np.asarray(span, np.float64)
    if span.shape != (2, 2) or (span[:, 0] >= span[:, 1]).any():
        raise ValueError(f"span must be ((low, high), (low, high)); got {span.tolist()}.")
    return [np.linspace(low, high, resolution) for low, high in span]


def _heights(
    model: Any,
    x: Any,
    y: Any,
    places: Sequence[tuple[Parameter, tuple[int, ...]]],
    axes: Sequence[np.ndarray],
) -> np.ndarray:
    """Compute the loss (second axis, first axis), and restore the weights afterwards."""
    before = [parameter.numpy() for parameter, _ in places]
    heights = np.empty((len(axes[1]), len(axes[0])))

    def move(number: int, value: float) -> None:
        parameter, at = places[number]
        values = parameter.numpy()
        values[at] = value
        parameter.assign(values)

    try:
        for column, first in enumerate(axes[0]):
            move(0, first)
            for row, second in enumerate(axes[1]):
                move(1, second)
                heights[row, column] = model.test_on_batch(x, y, return_dict=True)["loss"]
    finally:
        for (parameter, _), values in zip(places, before, strict=True):
            parameter.assign(values)
    return heights


def _levels(heights: np.ndarray, resolution: int) -> np.ndarray:
    """Choose round contour levels by rank, denser at low values, so that steep and flat regions
    and the valley are all visible.

    The region below the lowest level is at least a few grid points wide: the contour of a narrower
    valley would be a zigzag caused by the grid.
    """
    shares = np.linspace(0, 1, 16)[1:-1] ** 1.7
    shares = np.r_[0, shares[shares >= min(2.5 / resolution, 0.2)], 1]
    wanted = np.unique(np.quantile(heights, shares))
    if len(wanted) < 2:
        return np.array([wanted[0], wanted[0] + 1])
    gaps = np.diff(wanted)
    steps = [_round_below(gap) for gap in np.minimum(np.r_[gaps[0], gaps], np.r_[gaps, gaps[-1]])]
    inner = [float(f"{round(w / s) * s:.12g}") for w, s in zip(wanted, steps, strict=True)][1:-1]
    low = np.floor(wanted[0] / steps[0]) * steps[0]
    high = np.ceil(wanted[-1] / steps[-1]) * steps[-1]
    return np.unique([low, *(level for level in inner if low < level < high), high])


def _round_below(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, ... and 0.1, 0.2, 0.5, ... that is not larger."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(power * max(n for n in (1, 2, 5) if n * power <= length * (1 + 1e-9)))


def _draw_surface(
    ax: Any,
    axes: Sequence[np.ndarray],
    heights: np.ndarray,
    label: str | None,
    paths: Sequence[np.ndarray],
) -> None:
    finite = heights[np.isfinite(heights)]
    if not finite.size:
        raise ValueError("The function is finite nowhere in this span.")
    levels = _levels(finite, min(map(len, axes)))
    greys = np.linspace(1.0, 0.74, len(levels) - 1)  # low is light
    filled = ax.contourf(*axes, heights, levels=levels, colors=[(g, g, g) for g in greys])
    lines = ax.contour(
        *axes, heights, levels=levels[1:-1], colors="#6a6a6a", linewidths=0.7, linestyles="-"
    )
    places = _label_places(lines, axes, paths)
    if places:
        ax.clabel(lines, fontsize=7.5, colors=INK, fmt=_written, manual=places)
    if label is None:
        return
    bar = ax.figure.colorbar(filled, ax=ax, ticks=levels[::2], format=lambda v, _: _written(v))
    bar.set_label(label, fontsize=9, color=INK)
    bar.ax.tick_params(labelsize=8, color=FAINT)
    bar.outline.set(edgecolor=FAINT, linewidth=0.7)


def _written(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _label_places(
    lines: Any, axes: Sequence[np.ndarray], paths: Sequence[np.ndarray]
) -> list[tuple[float, float]]:
    """Choose label positions on every third contour: well inside the axes, away from the paths and
    from each other. A contour without such a position has no label."""
    low = np.array([axis[0] for axis in axes])
    size = np.array([axis[-1] - axis[0] for axis in axes])
    # Points along the paths, closer together than a label's length.
    taken = [np.empty((0, 2))]
    for path in paths:
        at = (path[np.isfinite(path).all(axis=1)] - low) / size
        for share in np.linspace(0, 1, 9):
            taken.append(at[:-1] + share * np.diff(at, axis=0) if len(at) > 1 else at)
    places = []
    for contour in lines.get_paths()[::3]:
        vertices = (np.asarray(contour.vertices) - low) / size
        inside = vertices[((vertices > 0.1) & (vertices < 0.9)).all(axis=1)]
        if not len(inside):
            continue
        far = np.full(len(inside), np.inf)
        for other in np.array_split(np.vstack(taken), 64):
            if len(other):
                distances = np.linalg.norm(inside[:, None] - other, axis=-1).min(axis=1)
                far = np.minimum(far, distances)
        # Not farther than necessary, or all labels would end up in one corner.
        best = int(np.argmax(np.minimum(far, 0.3)))
        if far[best] > 0.07:
            taken.append(inside[best : best + 1])
            places.append(tuple(inside[best] * size + low))
    return places


def _draw_path(ax: Any, taken: np.ndarray, name: str, number: int) -> None:
    style = line_style(number)
    every = max(1, len(taken) // 20)
    ax.plot(*taken.T, label=name, markevery=every, zorder=3, **style)
    (start,) = ax.plot(*taken[0], "o", ms=9, mfc="white", mec=style["color"], mew=1.8, zorder=4)
    (end,) = ax.plot(*taken[-1], "*", ms=13, mfc=style["color"], mec="white", zorder=4)
    if number == 0:
        start.set_label("start")
        end.set_label("end")
