"""Plot a model as boxes and arrows: each layer below its inputs."""

from __future__ import annotations

from typing import Any

from gpunn.structure.drawing import draw

from .style import FONT, INK, figure_class

__all__ = ["network"]


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
    """Plot the layers of a model as boxes, with arrows from each layer to its consumers.

    A layer that is applied several times has a box for each call, labelled accordingly.

    Args:
        model: the model. Its input shape must be known.
        shapes, names, activations, dtypes, trainable: what a box shows besides the layer's
            class: shapes of its inputs and outputs, its name, its activation, the dtype of its
            output, whether it is trained.
        expand_nested: whether to draw the layers of nested models.
        direction: direction of the arrows: "TB" from top to bottom, "BT", "LR" or "RL".

    Returns:
        The figure, which ``network(model).savefig("model.png")`` writes to a file.
        `gpunn.utils.plot_model` writes the same as SVG, without matplotlib.

    Raises:
        ValueError: if the input shape is not known.
        ImportError: without matplotlib.

    >>> import gpunn
    >>> from gpunn.plots import network
    >>> model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(2, name="out")])
    >>> [text.get_text() for text in network(model, shapes=False).axes[0].texts][1]
    'out (Dense)'
    """
    figure = figure_class()
    from matplotlib.patches import Rectangle

    drawing = draw(
        model,
        shapes=shapes,
        names=names,
        activations=activations,
        dtypes=dtypes,
        trainable=trainable,
        expand_nested=expand_nested,
        direction=direction,
    )
    ax = figure(figsize=(drawing.width, drawing.height)).add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])
    ax.set(xlim=(0, drawing.width), ylim=(0, drawing.height))

    def up(point: tuple[float, float]) -> tuple[float, float]:
        return point[0], drawing.height - point[1]

    for middle, (width, height), lines in drawing.boxes:
        x, y = up(middle)
        # A dollar sign in a name must not start a formula.
        ax.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=FONT, color=INK,
                family="monospace", linespacing=1.25, parse_math=False)
        box = Rectangle((x - width / 2, y - height / 2), width, height)
        ax.add_patch(box).set(facecolor="none", edgecolor=INK, linewidth=0.9)
    for line, head in drawing.arrows:
        points = [up(point) for point in line]
        ax.plot(*zip(*points, strict=True), color=INK, linewidth=0.9, solid_joinstyle="round")
        if head:
            start = points[-2] if points[-2] != points[-1] else points[-3]
            ax.annotate("", points[-1], start, arrowprops={
                "arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0,
            })
    return ax.figure
