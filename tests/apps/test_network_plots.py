"""Plots of models: a box for each layer, arrows from its inputs, and nothing overlaps."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.patches import Rectangle

import gpunn
from gpunn import layers, plots

SVG = "{http://www.w3.org/2000/svg}"


def branches() -> Any:
    """Two inputs, one of which is also read far below, and a layer that is applied twice."""
    a, b = gpunn.Input((8,), name="a"), gpunn.Input((8,), name="b")
    shared = layers.Dense(4, "tanh", name="shared")
    joined = layers.concatenate([shared(a), shared(b)], name="joined")
    deep = layers.Dense(8, name="deep")(layers.Dense(5, name="above", trainable=False)(joined))
    return gpunn.Model([a, b], layers.add([deep, a], name="sum"), name="two")


def boxes(figure: Any) -> dict[str, list[Rectangle]]:
    """Return the rectangles by the first line of the text at their centre."""
    (ax,) = figure.axes
    found: dict[str, list[Rectangle]] = {}
    for text in filter(lambda t: t.get_text(), ax.texts):
        inside = [r for r in ax.patches if r.get_bbox().contains(*text.get_position())]
        assert len(inside) == 1
        found.setdefault(text.get_text().split("\n")[0], []).append(inside[0])
    return found


def middle(box: Rectangle) -> tuple[float, float]:
    (x, y), width, height = box.get_xy(), box.get_width(), box.get_height()
    return x + width / 2, y + height / 2


def text_of(figure: Any, name: str) -> list[str]:
    lines = [text.get_text().split("\n") for text in figure.axes[0].texts]
    return next(found for found in lines if found[0].startswith(name))


def test_each_layer_has_a_box_below_those_that_it_reads() -> None:
    found = boxes(plots.network(branches()))
    assert {name: len(there) for name, there in found.items()} == {
        "a (InputLayer)": 1, "b (InputLayer)": 1, "shared (Dense)": 2, "joined (Concatenate)": 1,
        "above (Dense)": 1, "deep (Dense)": 1, "sum (Add)": 1,
    }  # fmt: skip
    order = ["a (InputLayer)", "shared (Dense)", "joined (Concatenate)", "above (Dense)",
             "deep (Dense)", "sum (Add)"]  # fmt: skip
    heights = [middle(found[name][0])[1] for name in order]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize("direction", ["TB", "BT", "LR", "RL"])
def test_direction(direction: str) -> None:
    found = boxes(plots.network(branches(), direction=direction))
    first, last = middle(found["a (InputLayer)"][0]), middle(found["sum (Add)"][0])
    axis = 1 if direction in ("TB", "BT") else 0
    assert (first[axis] < last[axis]) == (direction in ("BT", "LR"))


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_nothing_lies_over_a_box(direction: str) -> None:
    figure = plots.network(branches(), direction=direction)
    (ax,) = figure.axes
    outlines = [box.get_bbox() for box in ax.patches]
    for one, other in itertools.combinations(outlines, 2):
        assert not one.overlaps(other)
    for line in ax.lines:
        points = line.get_xydata()
        for start, end in itertools.pairwise(points):
            for share in range(1, 20):
                place = start + (end - start) * share / 20
                for outline in outlines:
                    inner = outline.padded(-1e-6)
                    assert not inner.contains(*place)
    for outline in outlines:
        assert outline.x0 >= 0 and outline.x1 <= figure.get_figwidth()
        assert outline.y0 >= 0 and outline.y1 <= figure.get_figheight()


def test_arrows_join_what_reads_and_what_is_read() -> None:
    figure = plots.network(branches())
    found = boxes(figure)
    lines = [line.get_xydata() for line in figure.axes[0].lines]

    def starts(name: str) -> int:
        (box,) = found[name]
        bottom = middle(box)[0], box.get_y()
        return sum(tuple(points[0].round(6)) == tuple(round(v, 6) for v in bottom)
                   for points in lines)  # fmt: skip

    def ends(name: str) -> int:
        (box,) = found[name]
        top = middle(box)[0], box.get_y() + box.get_height()
        return sum(tuple(points[-1].round(6)) == tuple(round(v, 6) for v in top)
                   for points in lines)  # fmt: skip

    assert starts("a (InputLayer)") == 2 and starts("b (InputLayer)") == 1
    assert ends("joined (Concatenate)") == 2 and ends("sum (Add)") == 2
    assert starts("sum (Add)") == 0 and ends("a (InputLayer)") == 0


def test_what_stands_in_a_box() -> None:
    model = branches()
    assert text_of(plots.network(model, shapes=False, names=False), "Add") == ["Add"]
    figure = plots.network(model, activations=True, dtypes=True, trainable=True)
    assert text_of(figure, "shared") == [
        "shared (Dense)", "shared: use 1 of 2", "activation: Tanh", "input: (None, 8)",
        "output: (None, 4)", "dtype: float32", "trained",
    ]  # fmt: skip
    assert text_of(figure, "above")[-1] == "not trained"
    assert "input: (None, 8), (None, 8)" in text_of(figure, "sum")


def test_models_in_models() -> None:
    inner = gpunn.Sequential([gpunn.Input((3,)), layers.Dense(2, name="inside")], name="inner")
    x = gpunn.Input((3,), name="x")
    model = gpunn.Model(x, layers.Dense(1, name="last")(inner(x)))
    assert "inner (Sequential)" in boxes(plots.network(model))
    found = boxes(plots.network(model, expand_nested=True))
    assert list(found) == ["x (InputLayer)", "inside (Dense)", "last (Dense)"]


def test_a_model_with_a_call_is_one_box() -> None:
    class Own(gpunn.Model):
        def call(self, x: Any, training: bool | None = None) -> Any:
            return x * 2

    model = Own(name="own")
    model.build((None, 3))
    assert "own (Own)" in boxes(plots.network(model))


def lines_of(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_plot_model_writes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.png"
    figure = gpunn.utils.plot_model(branches(), to_file=path, show_shapes=True, dpi=50)
    assert path.read_bytes().startswith(b"\x89PNG")
    lines = ["Dense", "shared: use 1 of 2", "input: (None, 8)", "output: (None, 4)"]
    assert text_of(figure, "Dense") == lines
    path = tmp_path / "model.SVG"
    drawing = gpunn.utils.plot_model(branches(), to_file=path, show_shapes=True)
    written = path.read_bytes().decode("utf-8")
    assert written == drawing.to_svg() and lines_of(written)[4:8] == lines
    assert gpunn.utils.plot_model(branches(), None, show_shapes=True).to_svg() == written


def test_svg_has_what_the_figure_has() -> None:
    """Boxes of the same size at the same positions, with the same text, and as many arrows."""
    model = branches()
    figure = plots.network(model)
    root = ElementTree.fromstring(gpunn.utils.plot_model(model, None, True, False, True).to_svg())
    places = [[float(r.get(k)) / 96 for k in ("x", "y", "width", "height")]
              for r in root.iter(f"{SVG}rect") if r.get("x")]  # fmt: skip
    height = figure.get_figheight()
    expected = [(*box.get_xy(), box.get_width(), box.get_height())
                for box in figure.axes[0].patches if isinstance(box, Rectangle)]  # fmt: skip
    for (x, y, wide, high), other in zip(places, expected, strict=True):
        assert (x, height - y - high, wide, high) == pytest.approx(other, abs=1e-3)
    drawn = [line for text in figure.axes[0].texts for line in text.get_text().splitlines()]
    assert lines_of(ElementTree.tostring(root, "unicode")) == drawn
    assert len(list(root.iter(f"{SVG}polyline"))) == len(figure.axes[0].lines)


def test_names_that_would_be_markup_or_too_long() -> None:
    name = "<b>&amp;\x07" + "long_" * 30
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(1, name=name)])
    lines = lines_of(gpunn.utils.plot_model(model, None, show_layer_names=True).to_svg())
    whole = "".join(text.strip() for text in lines[1:]).replace("\ufffd", "\x07")
    assert whole == f"{name} (Dense)"
    assert max(map(len, lines)) <= 50
    name = r"$\frac$ \sum"
    model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(1, name=name)])
    assert f"{name} (Dense)" in boxes(plots.network(model)) and model._repr_html_()


def test_without_matplotlib_there_is_svg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'"gpunn\[plot\]".*to_file="model.svg"'):
        gpunn.utils.plot_model(branches(), tmp_path / "model.png")
    gpunn.utils.plot_model(branches(), tmp_path / "model.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["model.svg"]


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="input shape"):
        plots.network(gpunn.Sequential([layers.Dense(1)]))
    with pytest.raises(ValueError, match="direction"):
        plots.network(branches(), direction="down")
