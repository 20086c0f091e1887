"""What a notebook shows of a model, a history, a report and a figure."""

from __future__ import annotations

import math
import runpy
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.figure
import nbformat
import pytest

import gpunn
from gpunn import layers, plots
from gpunn.callbacks import History

ROOT = Path(__file__).parents[2]
EVIL = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The tags, attributes and text of a page, as a browser would parse it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.strings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data: str) -> None:
        self.strings.append(data)


def history(**figures: Any) -> History:
    record = History()
    record.history = figures
    return record


def model() -> Any:
    x = gpunn.Input((4,), name="x")
    return gpunn.Model(x, layers.Dense(3, name=EVIL)(x), name="<script>alert(1)")


def report() -> Any:
    return gpunn.utils.check_data([[1.0, math.nan]] * 30, [0, 1] * 15, names=["a", EVIL])


@pytest.mark.parametrize("shown", [model(), history(**{EVIL: [1.0, 2.0]}), report()])
def test_names_are_text_and_no_markup(shown: Any) -> None:
    page = Page(shown._repr_html_())
    assert EVIL in "".join(page.strings)
    assert not {"img", "script"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert ("svg" in page.tags) == (not isinstance(shown, type(report())))


def test_a_model_says_what_its_summary_says() -> None:
    shown = model()
    printed: list[str] = []
    shown.summary(print_fn=printed.append, line_length=200)
    strings = Page(shown._repr_html_()).strings
    for text in ("(None, 3)", "15", "Total params: 15 (60.00 B)"):
        assert text in strings and text in printed[0]
    unbuilt = gpunn.Sequential([layers.Dense(3)])
    assert "Not built yet" in unbuilt._repr_html_() and "<svg" not in unbuilt._repr_html_()
    deep = gpunn.Sequential([gpunn.Input((2,)), *[layers.Dense(2) for _ in range(100)]])
    assert "<svg" not in deep._repr_html_() and deep.layers[-1].name in deep._repr_html_()


def test_a_history_is_drawn_with_what_its_numbers_are() -> None:
    shown = history(
        loss=[0.9, math.nan, 0.4, 0.3], val_loss=[0.8, 0.7, 0.6, 0.5],
        accuracy=[0.5] * 4, other=["text", None], empty=[],
    )  # fmt: skip
    page = Page(shown._repr_html_())
    assert page.tags.count("svg") == 2  # loss with its val_loss, and accuracy
    assert page.tags.count("polyline") == 2 + 1 + 1
    assert {"loss", "accuracy", "training", "held out", "History of 4 epochs"} <= set(page.strings)
    assert "History of 0 epochs" in Page(History()._repr_html_()).strings
    many = history(loss=[float(i % 7) for i in range(100_000)])._repr_html_()
    assert len(many) < 20_000 and {"0", "6"} <= set(Page(many).strings)


def test_figures_are_matplotlibs() -> None:
    figure: Any = plots.history({"loss": [3.0, 2.0, 1.0]})
    assert matplotlib.figure.Figure in type(figure).__mro__
    png, size = figure._repr_png_()
    assert png.startswith(b"\x89PNG") and size == {"width": 360, "height": 300}


@pytest.mark.in_turn(2)
def test_each_shows_itself_once_in_a_notebook(tmp_path: Path) -> None:
    """Cells run by Jupyter's own kernel; the last uses pyplot, which draws its own figures."""
    cells = [
        """
        import numpy as np, gpunn
        model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)])
        model.compile("sgd", "mse")
        model
        """,
        """
        shown = []
        hook = lambda message: shown.append(message["content"]["data"]["text/html"]) or message
        get_ipython().display_pub.register_hook(hook)
        history = model.fit(np.ones((8, 2)), np.ones((8, 1)), epochs=2)
        get_ipython().display_pub.unregister_hook(hook)
        print([text for text in shown if "<progress" in text])
        """,
        "history",
        "gpunn.plots.history(history)",
        "gpunn.utils.plot_model(model, None)",
        "gpunn.utils.check_data(np.ones((8, 2)))",
        "import matplotlib.pyplot; gpunn.plots.history(history)",
    ]
    made = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
    execute = runpy.run_path(str(ROOT / "tools" / "notebooks.py"))["execute"]
    notebook = execute(nbformat.v4.new_notebook(cells=made), tmp_path)
    kinds = [[set(output.get("data", {"stream": 0})) - {"text/plain"} for output in cell.outputs]
             for cell in notebook.cells]  # fmt: skip
    html, png = {"text/html"}, {"image/png"}
    assert kinds[:1] + kinds[2:] == [[html], [html], [png], [{"image/svg+xml"}], [html], [png]]
    bar, *lines = notebook.cells[1].outputs
    assert "running means" in bar.data["text/html"] and "<progress" not in bar.data["text/html"]
    first, second, bars = "".join(line.text for line in lines).splitlines()
    assert first.startswith("Epoch 1/2  loss") and second.startswith("Epoch 2/2  loss")
    assert "Epoch 1/2  100%  loss" in bars  # which was shown while the first epoch ran
