"""Plot points of classes in the plane, and a classifier's decision regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .scores import Scores, class_names, class_numbers
from .style import HATCHES, INK, SHADES, class_style, dress, legend, new_axes, new_panels

__all__ = ["decision_boundary", "decision_slices", "points"]

Pair = tuple[int, int]

CLASS = "class {}"  # without a name


def points(
    x: Any,
    y: Any,
    *,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    features: Pair = (0, 1),
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Plot points (rows, 2 or more) in the plane, with a marker for each class.

    Args:
        x: the points; ``features`` selects the two columns to draw.
        y: labels (rows,) or one-hot rows.
        names: names of the columns of x, for the axes.
        classes: names of the classes, in the order of their labels.
        title: title of the plot.
        ax: axes to draw in; new ones by default.

    Returns:
        The figure.

    >>> from gpunn.plots import points
    >>> figure = points([[0, 1], [1, 2], [3, 4]], [0, 1, 1])
    >>> [c.get_offsets().tolist() for c in figure.axes[0].collections]
    [[[0.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]]]
    """
    x, labels, numbers = _checked(x, y, features)
    ax = new_axes(ax)
    _draw_points(ax, x[:, list(features)], numbers, class_names(labels, classes, CLASS))
    _finish(ax, features, names, title)
    return ax.figure


def decision_boundary(
    model: Any,
    x: Any,
    y: Any,
    *,
    features: Pair = (0, 1),
    fixed: Any = None,
    threshold: float | None = None,
    names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    resolution: int = 200,
    ax: Any = None,
) -> Any:
    """Plot a classifier's decision regions in the plane, with data; wrong points have a ring.

    Args:
        model: a gpunn model, any object with scikit-learn's ``predict``, or a function of
            points (rows, inputs) that returns labels, a score, or scores of each class.
        x: points (rows, inputs).
        y: labels (rows,) of any kind, or one-hot rows.
        features: indices of the two inputs at the axes.
        fixed: values of the other inputs if there are more than two: in order, or a dictionary
            by index; by default their medians. Points within a tenth of the input's range of
            these values are drawn large, the others small.
        threshold: a single output above it means the second class; see `Scores`.
        names, classes, ax: as for `points`.
        title: title of the plot; by default the number of wrong points.
        resolution: number of grid points along each axis.

    Returns:
        The figure.

    Raises:
        ValueError, TypeError: if shapes or the model do not fit.
        ImportError: without matplotlib.

    >>> from gpunn.plots import decision_boundary
    >>> def circle(points):
    ...     return (points**2).sum(axis=1) < 1
    >>> figure = decision_boundary(circle, [[0, 0], [2, 0], [0.5, 0]], [True, False, False])
    >>> figure.axes[0].get_title()
    '1 of 3 points wrong'
    """
    x, labels, _ = _checked(x, y, features)
    others = [i for i in range(x.shape[1]) if i not in features]
    values = _fixed(fixed, others, x)
    scores = Scores(model, labels, threshold)
    right = scores.classify(x)
    numbers = _numbers_among(scores.labels, labels, y)
    wrong = numbers != right
    ax = new_axes(ax)

    axes = [_range(x[:, i], resolution) for i in features]
    first, second = np.meshgrid(*axes)
    grid = np.empty((first.size, x.shape[1]))
    grid[:, others] = [values[i] for i in others]
    grid[:, features[0]], grid[:, features[1]] = first.ravel(), second.ravel()
    _draw_regions(ax, first, second, scores(grid))

    near = np.ones(len(x), bool)
    for i in others:
        near &= np.abs(x[:, i] - values[i]) <= 0.1 * (np.ptp(x[:, i]) or 1.0)
    plane = x[:, list(features)]
    _draw_points(ax, plane, numbers, class_names(scores.labels, classes, CLASS), near)
    if wrong.any():
        ax.scatter(*plane[wrong & near].T, s=110, facecolors="none", edgecolors=INK, label="wrong")
    default = f"{wrong.sum():,} of {len(x):,} points wrong" if wrong.any() else "all points right"
    _finish(ax, features, names, default if title is None else title)
    ax.set_xlim(axes[0][0], axes[0][-1])
    ax.set_ylim(axes[1][0], axes[1][-1])
    return ax.figure


def decision_slices(
    model: Any,
    x: Any,
    y: Any,
    *,
    features: Pair = (0, 1),
    at: Sequence[float] | None = None,
    **options: Any,
) -> Any:
    """Plot `decision_boundary` for three inputs side by side, at several values of the third.

    Args:
        model, x, y, features: as for `decision_boundary`; x is (rows, 3).
        at: values of the third input; by default its distinct values if there are at most three,
            else its quartiles.
        options: options of `decision_boundary`.

    Returns:
        The figure.

    >>> import numpy as np
    >>> from gpunn.plots import decision_slices
    >>> figure = decision_slices(lambda p: p.sum(axis=1) > 1, np.eye(3), [1, 0, 1])
    >>> [panel.get_title() for panel in figure.axes]
    ['input 2 = 0', 'input 2 = 1']
    """
    x, _, _ = _checked(x, y, features)
    if x.shape[1] != 3:
        raise ValueError(f"x must be points of three inputs, (rows, 3); its shape is {x.shape}.")
    third = ({0, 1, 2} - set(features)).pop()
    if at is None:
        distinct = np.unique(x[:, third])
        few = len(distinct) <= 3
        at = (distinct if few else np.quantile(x[:, third], [0.25, 0.5, 0.75])).tolist()
    names = options.get("names") or _default_names(3)
    figure, panels = new_panels(len(at), 3, (3.8, 3.6))
    for value, panel in zip(at, panels, strict=True):
        settings = {"title": f"{names[third]} = {value:.3g}", **options}
        decision_boundary(model, x, y, features=features, fixed=[value], ax=panel, **settings)
        if panel is not panels[-1] and panel.get_legend():
            panel.get_legend().remove()
    return figure


def _checked(x: Any, y: Any, features: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] < 2 or not len(x):
        raise ValueError(f"x must be points (rows, 2 or more inputs); its shape is {x.shape}.")
    labels, numbers = class_numbers(y)
    if len(numbers) != len(x):
        raise ValueError(f"y has {len(numbers)} rows, x has {len(x)}; they must be equal.")
    chosen = list(features)
    known = range(x.shape[1])
    if len(chosen) != 2 or chosen[0] == chosen[1] or any(i not in known for i in chosen):
        raise ValueError(
            f"features must be two different numbers from 0 to {len(known) - 1}; got {features!r}."
        )
    return x, labels, numbers


def _numbers_among(labels: np.ndarray, given: np.ndarray, y: Any) -> np.ndarray:
    """Return the classes of the rows of ``y``, as indices into ``labels``."""
    values = given[class_numbers(y)[1]]
    found = np.searchsorted(labels, values)
    if (found == len(labels)).any() or (labels[found] != values).any():
        raise ValueError(f"y has the labels {given.tolist()}, the model knows {labels.tolist()}.")
    return found


def _fixed(fixed: Any, others: list[int], x: np.ndarray) -> dict[int, float]:
    medians = {i: float(np.median(x[:, i])) for i in others}
    if fixed is None:
        return medians
    if not isinstance(fixed, Mapping):
        fixed = np.atleast_1d(np.asarray(fixed, np.float64))
        if len(fixed) != len(others):
            raise ValueError(
                f"fixed must have a value for each of the inputs {others}; got {fixed.tolist()}."
            )
        fixed = dict(zip(others, fixed, strict=True))
    for i in fixed:
        if i not in others:
            raise ValueError(f"fixed: input {i!r} is not one of {others}.")
    return medians | {i: float(value) for i, value in fixed.items()}


def _range(values: np.ndarray, resolution: int) -> np.ndarray:
    margin = 0.12 * (np.ptp(values) or 1.0)
    return np.linspace(values.min() - margin, values.max() + margin, resolution)


def _default_names(count: int) -> list[str]:
    return [f"input {i}" for i in range(count)]


def _draw_regions(ax: Any, first: np.ndarray, second: np.ndarray, scores: np.ndarray) -> None:
    for number in range(scores.shape[1]):
        rest = np.delete(scores, number, axis=1).max(axis=1)
        lead = (scores[:, number] - rest).reshape(first.shape)
        if lead.max() <= 0:
            continue
        ax.contourf(
            first,
            second,
            lead,
            levels=[0, lead.max() + 1],
            colors=[SHADES[number % len(SHADES)]],
            hatches=[HATCHES[number % len(HATCHES)] if scores.shape[1] > 2 else ""],
            zorder=0.5,
        ).set_edgecolor("#bcbcbc")
        if lead.min() < 0:
            ax.contour(
                first, second, lead, levels=[0], colors=[INK], linewidths=1.2, linestyles="-"
            )


def _draw_points(
    ax: Any,
    plane: np.ndarray,
    numbers: np.ndarray,
    names: list[str],
    near: np.ndarray | None = None,
) -> None:
    near = np.ones(len(plane), bool) if near is None else near
    size = float(np.clip(4000 / max(1, len(plane)), 6, 36))
    for number, name in enumerate(names):
        own = numbers == number
        style = class_style(number)
        if (own & ~near).any():
            ax.scatter(*plane[own & ~near].T, s=5, alpha=0.5, zorder=2.5, **style)
        if own.any():
            ax.scatter(*plane[own & near].T, s=size, zorder=3, label=name, **style)


def _finish(ax: Any, features: Pair, names: Sequence[str] | None, title: str | None) -> None:
    shown = names or _default_names(max(features) + 1)
    if len(shown) <= max(features):
        raise ValueError(f"names has {len(shown)} entries; inputs {features} are drawn.")
    dress(ax, title, shown[features[0]], shown[features[1]], grid=False)
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.01))  # beside the data, not on them
