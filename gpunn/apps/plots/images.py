"""Plot images in rows: samples, the worst mistakes, the first layer's weights, activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_integer
from gpunn.layers.layer import Layer

from .scores import class_names, class_numbers, probabilities
from .style import COLORS, FONT, INK, as_images, dress, new_panels

__all__ = ["first_layer", "images", "layer_activations", "worst_mistakes"]

SMALL = 20  # up to this many units are drawn as numbered bars


def images(
    x: Any,
    titles: Sequence[str] | None = None,
    *,
    shape: Sequence[int] | None = None,
    columns: int = 8,
    title: str | None = None,
) -> Any:
    """Plot images side by side, each with a title; large values are dark, like ink.

    Args:
        x: images (count, height, width), (..., 1), (..., 3) for RGB, or flat (count, values).
        titles: a title for each image.
        shape: height and width of flat images; squares by default.
        columns: images in a row.
        title: title of the whole figure.

    Returns:
        The figure.

    >>> import numpy as np
    >>> from gpunn.plots import images
    >>> figure = images(np.eye(4)[:, None] * np.ones((4, 4, 1)), ["a", "b", "c", "d"])
    >>> [panel.get_title() for panel in figure.axes]
    ['a', 'b', 'c', 'd']
    """
    pictures = as_images(x, "x", shape)
    if not len(pictures):
        raise ValueError("x holds no images.")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"titles has {len(titles)} entries, x has {len(pictures)} images.")
    longest = max((len(line) for text in titles or [] for line in str(text).split("\n")), default=0)
    size = max(1.25, 0.08 * longest), 1.35 if titles is None else 1.6
    figure, panels = new_panels(len(pictures), columns, size)
    for panel, picture, text in zip(panels, pictures, titles or [""] * len(panels), strict=True):
        _show(panel, picture)
        panel.set_title(text, fontsize=FONT - 1, color=INK)
    _head(figure, title)
    return figure


def worst_mistakes(
    model: Any,
    x: Any,
    y: Any,
    count: int = 16,
    *,
    shape: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    columns: int = 8,
) -> Any:
    """Plot the misclassified images with the largest loss.

    The title of each has the true class, the predicted class with its probability, and the row
    index. If the model makes no mistakes, the images it is least sure of are drawn.

    Args:
        model: a gpunn model, any object with ``predict_proba``, or a function that returns
            probabilities (rows, classes).
        x: images (rows, height, width) or (rows, values).
        y: class indices (rows,) or one-hot rows.
        count: maximum number of images.
        classes: names of the classes; their indices by default.
        shape, columns: as for `images`.

    Returns:
        The figure.

    Raises:
        ValueError: if the outputs are not probabilities, or shapes do not fit.

    >>> import numpy as np
    >>> from gpunn.plots import worst_mistakes
    >>> def model(x):  # class 1 for images with a bright first pixel
    ...     return np.stack([1 - x[:, 0], x[:, 0]], axis=1)
    >>> x = np.array([[0.25, 0, 0, 0], [0.75, 0, 0, 0]])
    >>> figure = worst_mistakes(model, x, [1, 1], shape=(2, 2))
    >>> print(figure.axes[0].get_title())
    1 taken for 0
    75.0%  #0
    """
    check_integer("count", count, 1)
    given = probabilities(model, x)
    known = getattr(model, "classes_", None)
    truth = np.asarray(y)
    if truth.ndim == 2 and truth.shape[1] > 1:
        truth = class_numbers(truth)[1]
    truth = truth.reshape(-1)
    labels = np.arange(given.shape[1]) if known is None else np.asarray(known)
    if len(truth) != len(given) or not np.isin(truth, labels).all():
        raise ValueError(
            f"y must hold a class from {labels[0]} to {labels[-1]} for each of the {len(given)} "
            f"rows of x; its shape is {np.shape(y)}."
        )
    numbers = np.searchsorted(labels, truth)
    predicted = given.argmax(axis=1)
    true = given[np.arange(len(given)), numbers]  # probability of the true class
    wrong = np.flatnonzero(predicted != numbers)
    shown = (wrong if len(wrong) else np.arange(len(given))).astype(int)
    shown = shown[np.argsort(true[shown], kind="stable")][:count]  # the loss is -log of it
    names = class_names(labels, classes)
    titles = [
        f"{names[numbers[i]]} taken for {names[predicted[i]]}\n{given[i, predicted[i]]:.1%}  #{i}"
        if len(wrong)
        else f"{names[numbers[i]]}\n{true[i]:.1%}  #{i}"
        for i in shown
    ]
    total = f"{len(wrong):,} mistakes in {len(given):,}"
    head = (
        f"{total}: the {len(shown)} worst"
        if len(wrong)
        else (f"No mistakes in {len(given):,}: the {len(shown)} least sure")
    )
    return images(np.asarray(x)[shown], titles, shape=shape, columns=columns, title=head)


def first_layer(
    model: Any,
    *,
    layer: str | None = None,
    shape: Sequence[int] | None = None,
    count: int = 32,
    columns: int = 8,
) -> Any:
    """Plot the incoming weights of each unit of a layer, as images of the layer's input.

    Black is the most negative weight, white the most positive; the grey of the border is zero.
    For a convolution each filter is drawn, summed over its input channels.

    Args:
        model: a built gpunn model.
        layer: name of the layer; by default the first layer that has a kernel.
        shape: height and width of the input; by default the model's input if it is an image, else a
            square.
        count: maximum number of units to draw; the first ones are drawn.
        columns: images in a row.

    Returns:
        The figure.

    >>> import gpunn
    >>> from gpunn.plots import first_layer
    >>> model = gpunn.Sequential([gpunn.layers.Input((16,)), gpunn.layers.Dense(3)])
    >>> first_layer(model).axes[0].images[0].get_array().shape
    (4, 4)
    """
    check_integer("count", count, 1)
    model._require_values("first_layer")
    if layer is None:
        chosen = next((one for one in model.layers if hasattr(one, "kernel")), None)
    else:
        chosen = model.get_layer(layer)
    if chosen is None or not hasattr(chosen, "kernel"):
        raise ValueError(f"The model {model.name!r} has no such layer with a kernel.")
    kernel = chosen.kernel.numpy()
    if kernel.ndim == 4:  # (height, width, channels, filters)
        pictures = kernel.sum(axis=2).transpose(2, 0, 1)
    else:
        sample = model.input_shape[1:]
        if sample[-1:] == (1,):
            sample = sample[:-1]
        if shape is None and len(sample) == 2 and sample[0] * sample[1] == kernel.shape[0]:
            shape = sample
        pictures = as_images(kernel.T, f"the kernel of {chosen.name}", shape)
    pictures = pictures[:count]
    figure, panels = new_panels(len(pictures), columns, (1.25, 1.45))
    bound = float(np.abs(pictures).max()) or 1.0
    for number, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        shown = _show(panel, picture, "gray", -bound, bound)
        panel.set_title(f"unit {number}", fontsize=FONT - 2, color=INK)
    _bar(figure, shown, panels, "weight")
    _head(figure, f"Weights of {chosen.name}: {len(pictures)} of {kernel.shape[-1]} units")
    return figure


def layer_activations(
    model: Any,
    image: Any,
    *,
    shape: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    maps: int = 16,
) -> Any:
    """Plot the activations of each layer for one image, from the input to the output.

    Up to 20 units are drawn as bars, more as a grid of squares in row-major order, and feature maps
    as images side by side. Large values are dark, and each layer has its own scale.

    Args:
        model: a built gpunn model.
        image: one sample, with or without the batch axis.
        shape: height and width of a flat image; a square by default.
        classes: names of the units of the last layer.
        maps: maximum number of feature maps to draw; the first ones are drawn.

    Returns:
        The figure.

    >>> import gpunn
    >>> import numpy as np
    >>> from gpunn.plots import layer_activations
    >>> model = gpunn.Sequential([gpunn.layers.Input((4,)), gpunn.layers.Dense(3, name="d")])
    >>> [a.get_title() for a in layer_activations(model, np.ones(4)).axes[:2]]
    ['input', 'd (3 units)']
    """
    model._require_values("layer_activations")
    sample = np.asarray(image)
    if sample.shape == tuple(model.input_shape[1:]):
        sample = sample[np.newaxis]
    if sample.shape[1:] != tuple(model.input_shape[1:]) or len(sample) != 1:
        raise ValueError(
            f"image must be one sample of shape {tuple(model.input_shape[1:])}; its shape is "
            f"{np.shape(image)}."
        )
    outputs = {name: values[0] for name, values in model.activations(sample).items()}
    # Layers that only reshape or scale their input show nothing new.
    layers = (one for one in model.layers if isinstance(one, Layer))  # not models in it
    plain = {one.name for one in layers if one._reshapes or one._scaling}
    outputs = {name: values for name, values in outputs.items() if name not in plain}
    count = 1 + len(outputs)
    figure, panels = new_panels(count, min(count, 3), (3.7, 2.6))
    try:
        _show(panels[0], as_images(sample, "image", shape)[0])
    except ValueError:
        if shape is not None:
            raise
        _units(panels[0], sample.reshape(-1), None)
    panels[0].set_title("input", fontsize=FONT + 1, color=INK)
    last = list(outputs)[-1]
    for panel, (name, values) in zip(panels[1:], outputs.items(), strict=True):
        if values.ndim == 3:
            pictures = np.moveaxis(values[..., :maps], -1, 0)
            shown = _show(panel, tiles(pictures, int(np.ceil(np.sqrt(len(pictures)))), np.nan))
            title = f"{name} ({values.shape[-1]} maps of {values.shape[0]} x {values.shape[1]})"
            _bar(figure, shown, panel, "activation")
        else:
            shown = _units(panel, values.reshape(-1), classes if name == last else None)
            title = f"{name} ({values.size} units)"
            if shown is not None:
                _bar(figure, shown, panel, "activation")
        panel.set_title(title, fontsize=FONT + 1, color=INK)
    return figure


def _show(
    ax: Any, picture: np.ndarray, cmap: str = "gray_r", low: Any = None, high: Any = None
) -> Any:
    shown = ax.imshow(picture, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color("#808080")
    return shown


def _units(ax: Any, values: np.ndarray, names: Sequence[str] | None) -> Any:
    """Draw bars for few units, or a grid of squares, which is returned, for many."""
    if len(values) <= SMALL:
        places = np.arange(len(values))
        ax.bar(places, values, color=COLORS[1], edgecolor=INK, linewidth=0.8)
        dress(ax, None, "unit" if names is None else "class", "activation")
        ax.set_xticks(places, places if names is None else names)
        return None
    columns = int(np.ceil(np.sqrt(len(values) * 2)))
    field = np.full(-(-len(values) // columns) * columns, np.nan)
    field[: len(values)] = values
    return _show(ax, field.reshape(-1, columns))


def tiles(pictures: np.ndarray, columns: int, gap: float) -> np.ndarray:
    """Tile grey pictures (count, height, width), with lines of the value ``gap`` between them."""
    count, height, width = pictures.shape
    rows = -(-count // columns)
    shape = (rows * (height + 1) - 1, columns * (width + 1) - 1)
    whole = np.full(shape, gap, pictures.dtype)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        whole[top : top + height, left : left + width] = picture
    return whole


def _bar(figure: Any, shown: Any, axes: Any, label: str) -> None:
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(label, fontsize=FONT - 1, color=INK)
    bar.ax.tick_params(labelsize=FONT - 2)
    bar.outline.set_linewidth(0.5)


def _head(figure: Any, title: str | None) -> None:
    if title:
        figure.suptitle(title, fontsize=FONT + 1, color=INK)
