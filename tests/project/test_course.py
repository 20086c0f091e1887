"""The course: every row has valid references; every part is listed in the reference."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunn
from gpunn.common import registry

pytestmark = pytest.mark.checks("docs/course", "examples", "tools/course.py")

ROOT = Path(__file__).parents[2]
COURSE = ROOT / "docs" / "course"
PARTS = ROOT / "docs" / "reference" / "parts.md"
HEADINGS = ["concept", "API", "example", "test", "figure"]
PAGES = [
    "neurons", "layers", "losses-and-metrics", "learning", "what-goes-wrong", "mathematics",
    "real-tasks", "pictures",
]  # fmt: skip
OUTSIDE = ("Language models", "Reinforcement", "k-means", "Object detection")
TOOL = runpy.run_path(str(ROOT / "tools" / "course.py"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
KINDS = {
    "activation": "gpunn.activations", "callback": "gpunn.callbacks",
    "constraint": "gpunn.constraints", "initializer": "gpunn.initializers",
    "layer": "gpunn.layers", "loss": "gpunn.losses", "metric": "gpunn.metrics",
    "optimizer": "gpunn.optimizers", "regularizer": "gpunn.regularizers",
    "schedule": "gpunn.optimizers.schedules",
}  # fmt: skip


class Row(NamedTuple):
    page: str
    concept: str
    api: str
    example: str
    test: str
    figure: str

    @property
    def path(self) -> str:
        """The dotted path, without the arguments."""
        return self.api.strip("`").split("(")[0]


def tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Return the heading of each section, and the cells of its table, headings included."""
    for part in text.split("\n## ")[1:]:
        heading, body = part.split("\n", 1)
        lines = [line for line in body.splitlines() if line.startswith("|")]
        yield heading, [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def rows() -> list[Row]:
    found = []
    for page in PAGES:
        *_, (heading, (first, _, *cells)) = tables(text_of(COURSE / f"{page}.md"))
        assert heading == "Concepts" and first == HEADINGS, page
        found += [Row(page, *row) for row in cells]
    return found


ROWS = rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.page}-{row.concept}")


@functools.cache
def names_of_tests(path: Path) -> set[str]:
    """Return ``name`` and ``Class::name`` of every test of a file."""
    names = set()
    for node in ast.parse(text_of(path)).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{f.name}" for f in node.body if isinstance(f, ast.FunctionDef)}
    return {name for name in names if name.split("::")[-1].startswith("test_")}


def resolve(path: str) -> Any:
    first, *names = path.split(".")
    assert first == "gpunn", path
    return functools.reduce(getattr, names, gpunn)


@pytest.mark.more(2)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_its_lesson_prints(page: str, mnist: tuple, tmp_path: Path) -> None:
    """In the same words; figures may differ as they do between processors."""
    shown = TOOL["shown"](page)
    printed = TOOL["run"](TOOL["LESSONS"][page][0], tmp_path)
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (shown, printed)]
    assert words[0] == words[1]
    figures = [np.array(NUMBER.findall(text), float) for text in (shown, printed)]
    np.testing.assert_allclose(*figures, rtol=0.1, atol=0.02)


def test_pages_of_examples_say_where_these_are() -> None:
    """The wheel holds the package alone, see test_wheel_holds_the_tree."""
    for page in (COURSE / "index.md", ROOT / "docs" / "how-to" / "notebooks.md"):
        text = text_of(page)
        assert "examples/" in text and "install.md#from-source" in text, page


def test_no_concept_stands_twice() -> None:
    assert len({(row.page, row.concept) for row in ROWS}) == len(ROWS) > 200


@every_row
def test_a_row_leads_somewhere(row: Row) -> None:
    assert row.api.startswith("`") and row.api.endswith("`")
    if row.path.startswith("gpunn.apps.cli."):
        assert (ROOT / (row.path.replace(".", "/") + ".py")).exists()
    else:
        assert resolve(row.path) is not None
    call = ast.parse(row.api.strip("`"), mode="eval").body
    if isinstance(call, ast.Call):  # the call accepts the arguments
        names = dict.fromkeys(keyword.arg for keyword in call.keywords)
        inspect.signature(resolve(row.path)).bind_partial(*call.args, **names)

    file, _, name = row.test.strip("`").partition("::")
    assert file.startswith("tests/") and name in names_of_tests(ROOT / file), row.test
    sources = [text_of(ROOT / file)]
    if row.example != "-":
        match = re.fullmatch(r"\[(\w+)\]\(\.\./\.\./(examples/(?:\w+/)?(\w+)\.py)\)", row.example)
        assert match and match[1] == match[3], row.example
        sources.append(text_of(ROOT / match[2]))

    assert row.figure
    sources += [text_of(path) for path in (ROOT / "benchmarks" / "results").glob("*.md")
                if path.name in row.figure]  # fmt: skip
    if re.fullmatch(r"-?[\d.,]+(e-?\d+)?%?", row.figure):
        assert any(row.figure.rstrip("%") in source for source in sources), row.figure


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_part_is_listed(kind: str) -> None:
    listed = {row.path for row in ROWS if row.path.startswith("gpunn.plots.")}
    for module, table in re.findall(r"### `(gpunn\S+)`\n((?:\n?\|.*)+)", text_of(PARTS)):
        listed |= {f"{module}.{name}" for name in re.findall(r"^\| `(\w+)` \| \S", table, re.M)}
    own = [n for n, cls in registry.entries(kind).items() if cls.__module__.startswith("gpunn.")]
    places = {"callback": ["gpunn.plots"]}.get(kind, [])  # callbacks that plot are there
    places.append(KINDS[kind])
    missing = [name for name in own if not listed & {f"{place}.{name}" for place in places}]
    assert len(own) > 3 and not missing, f"{PARTS.name} does not list {missing}: make docs"


def test_every_kind_of_name_is_looked_for() -> None:
    # Functions are users' own; another test may have registered one.
    assert registry.kinds() - {registry.FUNCTION} == {*KINDS, "model"}


def test_every_example_and_picture_function_is_linked() -> None:
    examples = {path.stem for path in (ROOT / "examples").rglob("*.py")}
    pages = "".join(map(text_of, COURSE.glob("*.md")))
    assert set(re.findall(r"\.\./examples/(?:\w+/)?(\w+)\.py\)", pages)) == examples
    in_rows = {row.example[1:].split("]")[0] for row in ROWS if row.example != "-"}
    assert in_rows == examples
    assert {f"gpunn.plots.{name}" for name in gpunn.plots.__all__} <= {row.path for row in ROWS}


def test_a_function_serves_as_a_metric() -> None:
    metric = gpunn.metrics.get(lambda y_true, y_pred: np.abs(y_true - y_pred).max(axis=1))
    assert isinstance(metric, gpunn.metrics.MeanMetricWrapper)
    metric.update_state(np.zeros((2, 2)), np.array([[1.0, -3.0], [2.0, 0.0]]))
    assert float(metric.result()) == 2.5


def test_what_is_outside_names_where_to_go() -> None:
    *_, (_, (_, _, *cells)) = tables(text_of(COURSE / "index.md"))
    assert len(cells) == len(OUTSIDE)
    for subject, (what, where) in zip(OUTSIDE, cells, strict=True):
        assert what.startswith(subject) and re.search(r"\]\(https://[^)]+\)", where)
