"""Plot values over time: the history of a training run, several runs, and learning curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from gpunn.datasets.tables import read_rows

from .style import dress, legend, line_style, new_axes, new_panels, sparse_markers

__all__ = ["curves", "history", "learning_curve", "learning_rates"]


def history(history: Any, metrics: Sequence[str] | None = None, *, ax: Any = None) -> Any:
    """Plot the loss and metrics of each epoch, training and held-out, one panel for each.

    Args:
        history: the result of `fit`, its ``history``, a trained model, or the path of a CSV
            file that `callbacks.CSVLogger` wrote.
        metrics: names without ``val_``; all by default.
        ax: axes to draw in, for a single metric.

    Returns:
        The figure, which ``history(...).savefig("history.png")`` writes to a file.

    Raises:
        ValueError: if there is nothing to draw, or a metric is unknown.
        ImportError: without matplotlib.

    >>> from gpunn.plots import history
    >>> figure = history({"loss": [0.9, 0.4, 0.2], "val_loss": [0.8, 0.5, 0.4]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'held out']
    """
    epochs, figures = _read(history)
    names = [name for name in figures if not name.startswith("val_")]
    chosen = names if metrics is None else list(metrics)
    for name in chosen:
        if name not in figures:
            raise ValueError(f"metrics: {name!r} is not in the history: {', '.join(names)}.")
    if not chosen or not len(epochs):
        raise ValueError("history holds no epochs: there is nothing to draw.")
    if ax is not None and len(chosen) > 1:
        raise ValueError(f"ax is for one metric; choose from metrics={chosen!r}.")
    panels = new_panels(len(chosen), 3)[1] if ax is None else [new_axes(ax)]
    for panel, name in zip(panels, chosen, strict=True):
        for number, (label, key) in enumerate((("training", name), ("held out", f"val_{name}"))):
            values = figures.get(key)
            known = np.isfinite([] if values is None else values)
            if values is not None and known.any():
                every = sparse_markers(int(known.sum()))
                style = line_style(number)
                panel.plot(epochs[known], values[known], label=label, markevery=every, **style)
        dress(panel, name.replace("_", " "), "epoch", name.replace("_", " "))
        _whole_numbers(panel)
        legend(panel)
    return panels[0].figure


def _whole_numbers(ax: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))


def _read(history: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the epoch numbers, from 1, and the values by name."""
    if isinstance(history, (str, os.PathLike)):
        head, *lines = read_rows(history) or [[]]
        rows = [dict(zip_longest(head, line[: len(head)], fillvalue="")) for line in lines]
        if rows and "epoch" not in rows[0]:
            raise ValueError(f"{os.fspath(history)} has no column 'epoch': CSVLogger writes one.")
        names = list(rows[0]) if rows else []
        columns = {name: np.array([_number(row[name]) for row in rows]) for name in names}
        return columns.pop("epoch", np.empty(0)) + 1, columns
    if hasattr(history, "fit"):
        history = history.history
    epochs = getattr(history, "epoch", None)
    figures = getattr(history, "history", history)
    if not isinstance(figures, Mapping):
        raise TypeError(
            f"history must be the result of fit, a dictionary of lists, a trained model or the "
            f"path of a CSV file; got {history!r}."
        )
    # With validation_freq the validation metrics have fewer values than there are epochs.
    columns = {name: np.asarray(values, np.float64) for name, values in figures.items()}
    count = max(map(len, columns.values()), default=0)
    if epochs is None or len(epochs) != count:
        epochs = range(count)
    for name, values in columns.items():
        if len(values) != count:
            spread = np.full(count, np.nan)
            every = count // max(1, len(values))
            spread[every * np.arange(1, len(values) + 1) - 1] = values
            columns[name] = spread
    return np.asarray(epochs) + 1, columns


def _number(text: str) -> float:
    return np.nan if text in ("NA", "", None) else float(text)


def curves(
    runs: Mapping[str, Any],
    xlabel: str = "epoch",
    ylabel: str = "loss",
    title: str | None = None,
    *,
    logx: bool = False,
    logy: bool = False,
    ax: Any = None,
) -> Any:
    """Plot several lines in one figure, each with its own dashes and markers.

    Args:
        runs: a dictionary from names to values (n,), one for each of 1 to n, or to a pair
            ``(x, y)``.
        xlabel, ylabel, title: labels of the axes, with units, and the title.
        logx, logy: whether an axis is logarithmic.
        ax: axes to draw in; new ones by default.

    Returns:
        The figure.

    >>> from gpunn.plots import curves
    >>> figure = curves({"slow": [3, 2, 1], "fast": ([1, 3], [2, 0.5])}, logy=True)
    >>> figure.axes[0].lines[1].get_xdata().tolist()
    [1, 3]
    """
    if not isinstance(runs, Mapping) or not runs:
        raise ValueError(f"runs must be a dictionary from names to values; got {runs!r}.")
    ax = new_axes(ax, (5.6, 3.8))
    whole = True
    for number, (name, values) in enumerate(runs.items()):
        pair = isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1
        x, y = map(np.asarray, values) if pair else (None, np.asarray(values))
        x = np.arange(1, len(y) + 1) if x is None else x
        if y.ndim != 1 or x.shape != y.shape:
            raise ValueError(
                f"runs[{name!r}] must be values (n,) or a pair of them; got {y.shape}."
            )
        ax.plot(x, y, label=name, markevery=sparse_markers(len(y)), **line_style(number))
        whole = whole and x.dtype.kind in "iu"
    if logx:
        ax.set_xscale("log")
    elif whole:
        _whole_numbers(ax)
    if logy:
        ax.set_yscale("log")
    dress(ax, title, xlabel, ylabel)
    legend(ax)
    return ax.figure


def learning_curve(
    sizes: Any,
    training: Any,
    held_out: Any,
    ylabel: str = "accuracy",
    title: str = "Learning curve",
    *,
    ax: Any = None,
) -> Any:
    """Plot a metric against the number of training samples.

    Args:
        sizes: numbers of samples (n,).
        training, held_out: the metric (n,), or of several runs (n, runs): the line is then
            their mean, and bars extend from the smallest to the largest.
        ylabel, title, ax: as for `curves`.

    Returns:
        The figure.

    >>> from gpunn.plots import learning_curve
    >>> figure = learning_curve([10, 100], [1.0, 0.98], [[0.5, 0.7], [0.9, 0.94]])
    >>> figure.axes[0].lines[1].get_ydata().round(2).tolist()
    [0.6, 0.92]
    """
    sizes = np.asarray(sizes)
    ax = new_axes(ax, (5.6, 3.8))
    for number, (label, values) in enumerate((("training", training), ("held out", held_out))):
        runs = np.asarray(values, np.float64)
        if sizes.ndim != 1 or len(runs) != len(sizes) or runs.ndim not in (1, 2):
            raise ValueError(
                f"{label.replace(' ', '_')} must have a row for each of the {len(sizes)} sizes, "
                f"(n,) or (n, runs); its shape is {runs.shape}."
            )
        runs = runs.reshape(len(runs), -1)
        mean = runs.mean(axis=1)
        style = line_style(number)
        ax.plot(sizes, mean, label=label, **style)
        if runs.shape[1] > 1:
            ax.vlines(sizes, runs.min(axis=1), runs.max(axis=1), color=style["color"], linewidth=1)
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{n:,}" for n in sizes], minor=False)
    ax.set_xticks([], minor=True)
    dress(ax, title, "training samples", ylabel)
    legend(ax)
    return ax.figure


def learning_rates(finder: Any, title: str | None = None, *, ax: Any = None) -> Any:
    """Plot the smoothed loss against the learning rate, with the rates that a finder proposes.

    Args:
        finder: a `callbacks.LearningRateFinder` after its `fit`.
        title, ax: as for `curves`.

    Returns:
        The figure.

    Raises:
        TypeError: for another object, such as the history of `fit`.
        ValueError: for a finder without losses.
        ImportError: without matplotlib.

    >>> from types import SimpleNamespace
    >>> from gpunn.plots import learning_rates
    >>> found = {"rates": [0.1, 1.0, 10.0], "losses": [3.0, 1.0, 9.0]}
    >>> figure = learning_rates(SimpleNamespace(**found, suggestion=0.1, steepest=None))
    >>> figure.axes[0].get_xscale(), [line.get_label() for line in figure.axes[0].lines]
    ('log', ['loss', 'suggestion: 0.1'])
    """
    if not hasattr(finder, "rates"):
        raise TypeError(
            f"finder must be the LearningRateFinder that was passed to fit; got "
            f"{type(finder).__name__}."
        )
    rates, losses = (np.asarray(values, np.float64) for values in (finder.rates, finder.losses))
    if not len(rates):
        raise ValueError("finder holds no losses: pass it to fit first, as one of its callbacks.")
    ax = new_axes(ax, (5.6, 3.8))
    known = np.isfinite(losses)
    every = sparse_markers(int(known.sum()))
    ax.plot(rates[known], losses[known], label="loss", markevery=every, **line_style(0))
    marked = {"suggestion": finder.suggestion, "steepest fall": finder.steepest}
    for number, (label, rate) in enumerate(marked.items(), 1):
        if rate is not None:
            style = {k: v for k, v in line_style(number).items() if k in ("color", "linestyle")}
            ax.axvline(rate, label=f"{label}: {rate:.2g}", **style)
    ax.set_xscale("log")
    dress(ax, title, "learning rate", "smoothed loss")
    legend(ax)
    return ax.figure
