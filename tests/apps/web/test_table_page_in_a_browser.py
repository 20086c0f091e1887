"""A table model's page in a browser: its fields, its answer, and the answer's curves."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.pages import until
from browser.tables import CLASSES, FEATURES, FIRST, HOSTILE, OTHER_KINDS, table_model

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.tables.preparing import Feature, Range
from gpunn.apps.web.model_page import model_page
from gpunn.layers import Dense

pytestmark = pytest.mark.more(2)

SOIL = FEATURES[1].name
# For each row: fill in the fields as a user would, and read the page's answer.
FILLED = """rows => rows.map(row => {
  const columns = document.querySelectorAll(".column");
  row.forEach((cell, k) => {
    const field = columns[k].querySelector("select, textarea, input:not([type=range])");
    if (field.tagName === "SELECT") {
      const chosen = [...field.options].find(option => option.text === cell);
      field.value = chosen ? chosen.value : "missing";
      field.dispatchEvent(new Event("change"));
    } else {
      field.value = cell;
      field.dispatchEvent(new Event("input"));
    }
  });
  return {
    answer: document.getElementById("answer").textContent,
    range: document.getElementById("range").textContent,
    shares: [...document.querySelectorAll("#bars tr")].map(
      tr => [tr.querySelector("th").textContent, tr.querySelector("progress").value]),
  };
})"""

# Colours of the plane: top left and right, then bottom left and right.
COLOURS = """(() => {
  const plane = document.getElementById("plane"), context = plane.getContext("2d");
  return [[0.3, 0.3], [0.8, 0.3], [0.3, 0.7], [0.8, 0.7]].map(
    at => [...context.getImageData(...at.map(share => share * plane.width), 1, 1).data]);
})()"""


def predicted(model: Any, *values: Any) -> np.ndarray:
    given = {
        name: np.array([[value]], object)
        for name, value in zip(model._graph.input_names, values, strict=True)
    }
    return model.predict(given, verbose=0)[0]


@pytest.fixture
def shown(opened: Any, tmp_path: Path) -> Any:
    """A function that opens a model's page."""

    def show(model: Any, **options: Any) -> Any:
        file = tmp_path / "page.html"
        file.write_text(model_page(model, HOSTILE), encoding="utf-8")
        return opened(file.as_uri(), "html[data-ready]", **options)

    return show


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", "").removesuffix("%"))


def faults(page: Any) -> list[Any]:
    """Return the serious accessibility faults of the page."""
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    found = axe.run(page)["violations"]
    bad = ("serious", "critical")
    return [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in bad]


def iris() -> tuple[list[str], list[list[Any]]]:
    found = pytest.importorskip("sklearn.datasets").load_iris()
    rows = zip(found.data.tolist(), found.target, strict=True)
    return [*found.feature_names, "species"], [[*x, found.target_names[y]] for x, y in rows]


def diabetes() -> tuple[list[str], list[list[Any]]]:
    found = pytest.importorskip("sklearn.datasets").load_diabetes(scaled=False)
    rows = zip(found.data.tolist(), found.target.tolist(), strict=True)
    return [*found.feature_names, "progression"], [[*x, y] for x, y in rows]


def messy() -> tuple[list[str], list[list[Any]]]:
    """Strings and gaps: many shops, of which rare ones get no column; prices above a million."""
    random = np.random.default_rng(0)
    rows: list[list[Any]] = []
    for i in range(260):
        size = round(random.uniform(25, 140), 1)
        shop = [f"shop {min(i % 30, 7)}", HOSTILE, "</script>", "__proto__", ""][i % 5]
        shop = f"rare {i}" if i % 43 == 0 else shop
        price = 9000 * size + 90_000 * (i % 5) + float(random.normal(0, 9000))
        rows.append(["" if i % 7 == 3 else size, i % 6, shop, round(price)])
    return ["size</script>", "floor/level", HOSTILE, "price"], rows


def visits() -> tuple[list[str], list[list[Any]]]:
    """Dates with and without times, times of day, texts, and gaps in all of them."""
    random = np.random.default_rng(0)
    words = ["bright", HOSTILE, "</script>", "__proto__", "Straße", "naïve", "日本", "old"]
    rows: list[list[Any]] = []
    for i in range(260):
        day = np.datetime64("2023-11-05") + int(random.integers(400))
        hour, minute = int(random.integers(24)), int(random.integers(60))
        text = f"{' '.join(random.permutation(words)[:4])}, {i}"
        cells = [str(day), f"{day}T{hour:02}:{minute:02}", f"{23 - hour:02}:{minute:02}", text]
        if i % 5 == 0:
            cells[i % 4] = ""
        weekday = (int(day.astype(int)) + 3) % 7
        rows.append([*cells, 1000 * weekday + 90 * hour + 500 * ("old" in text)])
    return ["day</script>", HOSTILE, "of day/time", "notes", "price"], rows


@pytest.mark.parametrize("table", [iris, messy, diabetes, visits])
def test_rows_are_answered_as_predict_does(
    opened: Any,
    table: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GPUNN_BACKEND", "numpy")
    names, rows = table()
    for file, some in (("all.csv", rows), ("some.csv", rows[:: len(rows) // 50][:50])):
        with open(tmp_path / file, "w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([names, *some])
    options = ["--target", names[-1], "--epochs", "20", "--out", str(tmp_path)]
    assert main(["train", str(tmp_path / "all.csv"), *options]) == 0
    model, html = str(tmp_path / "model.gpunn"), tmp_path / "page.html"
    assert main(["export", model, str(html)]) == 0
    capsys.readouterr()
    assert main(["predict", model, str(tmp_path / "some.csv"), "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    page = opened(html.as_uri(), "html[data-ready]")
    found = page.evaluate(FILLED, [[str(cell) for cell in row[:-1]] for row in some])
    assert len(found) == len(expected) == 50
    name = f"predicted {names[-1]}"
    for one, other in zip(found, expected, strict=True):
        if table is iris:
            assert one["answer"].removesuffix(", unsure") == other[name]
            assert one["answer"].endswith(", unsure") == (other["unsure"] == "yes")
            shares = {key: other[f"probability of {key}"] for key, _ in one["shares"]}
            assert dict(one["shares"]) == pytest.approx(shares, abs=1e-5)
            assert one["range"] == f"In 90% of cases it is {other['one of (90%)']}"
        else:
            assert number(one["answer"]) == pytest.approx(other[name], rel=1e-4)
            ends = one["range"].removeprefix("In 90% of cases it is from ").split(" to ")
            expected_ends = [other[f"{names[-1]} {end} (90%)"] for end in ("from", "to")]
            assert [*map(number, ends)] == pytest.approx(expected_ends, rel=1e-4)
    assert len({one["answer"] for one in found}) >= (3 if table is iris else 40)


@pytest.mark.parametrize("table", [iris, messy, visits])
def test_the_page_says_why_as_predict_does(
    opened: Any,
    table: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    little_search: None,
) -> None:
    monkeypatch.setenv("GPUNN_BACKEND", "numpy")
    names, rows = table()
    for file, some in (("all.csv", rows), ("some.csv", rows[::50])):
        with open(tmp_path / file, "w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([names, *some])
    options = ["--target", names[-1], "--epochs", "20", "--fast", "--out", str(tmp_path)]
    assert main(["train", str(tmp_path / "all.csv"), *options]) == 0
    model, html = str(tmp_path / "model.gpunn"), tmp_path / "page.html"
    assert main(["export", model, str(html)]) == 0
    capsys.readouterr()
    assert main(["predict", model, str(tmp_path / "some.csv"), "--json", "--why"]) == 0
    expected = json.loads(capsys.readouterr().out)
    page = opened(html.as_uri(), "html[data-ready]", viewport={"width": 400, "height": 800})
    until(page, "document.querySelector('#why p')?.textContent.startsWith('This is about')")
    for row, other in zip(rows[::50], expected, strict=True):
        page.evaluate("document.querySelector('#why').replaceChildren()")
        page.evaluate(FILLED, [[str(cell) for cell in row[:-1]]])
        until(page, "document.querySelector('#why p') !== null")
        amounts = other["why"]["amounts"]
        unit = 100 if table is iris else 1
        order = sorted(amounts, key=lambda name: -abs(amounts[name]))
        said = page.locator("#why p").inner_text()
        base = number(said.split("from ")[1].split(", the ")[0])
        assert base == pytest.approx(unit * other["why"]["base"], rel=1e-4, abs=0.005 * unit)
        shown = page.evaluate(
            "[...document.querySelectorAll('#why li')].map(li => "
            "[li.firstChild.textContent.trim(), li.querySelector('b').textContent])"
        )
        assert 1 <= len(shown) <= 3
        for (name, text), usual in zip(shown, order, strict=False):
            amount = number(text.removesuffix(" points").removeprefix("+"))
            assert amount == pytest.approx(unit * amounts[name], rel=0.006, abs=0.06)
            assert abs(amounts[name]) == pytest.approx(abs(amounts[usual]), rel=1e-3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert faults(page) == []


def test_rows_are_answered_in_firefox(firefox: Any, tmp_path: Path) -> None:
    model, file = table_model(CLASSES), tmp_path / "page.html"
    file.write_text(model_page(model, HOSTILE), encoding="utf-8")
    rows = [FIRST, (2.5, HOSTILE, 0.25, 1.0), (33.0, "__proto__", 3.5, 12.0)]
    given = json.dumps([[str(cell) for cell in row] for row in rows])
    page = firefox("table_in_firefox.cjs", file.as_uri(), FILLED, given)
    assert page["errors"] == []
    for row, found in zip(rows, page["found"], strict=True):
        expected = dict(zip(CLASSES, predicted(model, *row).tolist(), strict=True))
        assert dict(found["shares"]) == pytest.approx(expected, abs=1e-5)
        assert found["answer"].removesuffix(", unsure") == max(expected, key=expected.__getitem__)
    assert 2 < float(page["moved"]) <= 2.25  # the start of the range, or a step before


def test_the_answer_follows_the_keyboard(shown: Any) -> None:
    model = table_model(CLASSES)
    page = shown(model)

    def same(*values: Any) -> None:
        rows = page.locator("#bars tr").all()
        found = {
            row.locator("th").inner_text(): row.locator("progress").evaluate("bar => bar.value")
            for row in rows
        }
        expected = dict(zip(CLASSES, predicted(model, *values).tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-5)
        assert page.locator("#answer").inner_text() == max(expected, key=expected.__getitem__)

    def focused() -> str:
        return page.evaluate("document.activeElement.labels[0]?.textContent.trim() "
                             "|| document.activeElement.textContent")  # fmt: skip

    keys = page.keyboard
    same(*FIRST)
    keys.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Reset"
    keys.press("Tab")
    assert focused() == "height"
    keys.press("Control+a")
    keys.type("31.25")
    same(31.25, *FIRST[1:])
    keys.press("Tab")
    assert focused() == "missing"
    keys.press("Space")
    same(None, *FIRST[1:])
    keys.press("Tab")  # the slider
    keys.press("End")
    same(40.5, *FIRST[1:])
    assert not page.get_by_label("height is missing").is_checked()
    keys.press("Tab")
    assert focused() == SOIL
    keys.press("ArrowDown")
    same(40.5, HOSTILE, *FIRST[2:])
    keys.press("End")
    same(40.5, None, *FIRST[2:])
    keys.press("Tab")
    keys.press("Control+a")
    keys.press("Delete")  # an empty field is a missing number
    same(40.5, None, None, FIRST[3])
    page.get_by_role("button", name="Reset").focus()
    keys.press("Enter")
    same(*FIRST)
    assert page.get_by_label("height", exact=True).input_value() == "20"


def test_numbers_outside_the_range_of_training_are_reported(shown: Any) -> None:
    model = table_model(CLASSES)
    page = shown(model)
    field, notes = page.get_by_label("rings"), page.locator(".column .advice:not(:empty)")
    for value, count in (("12", 0), ("12.5", 1), ("1e6", 1), ("0", 0), ("-1", 1), ("", 0)):
        field.first.fill(value)
        assert notes.count() == count, value
    field.first.fill("-1")
    assert notes.inner_text() == "This is outside the range of the training data."
    best = page.locator("#bars progress").first.evaluate("bar => bar.value")
    expected = predicted(model, *FIRST[:3], -1.0)
    assert best == pytest.approx(float(expected.max()), abs=1e-5)


def test_the_class_is_named_by_the_threshold(shown: Any) -> None:
    model = table_model(["no", "yes"])
    p = predicted(model, *FIRST)
    most, least = ("no", "yes") if p[0] > p[1] else ("yes", "no")
    for threshold, named in ((float(p.min()) * 0.9, least), (float(p.min()) * 1.1, most)):
        model.trained_on |= {"decision": {"class": least, "threshold": threshold}}
        page = shown(model)
        assert page.inner_text("#answer") == named
        first = page.locator("#bars progress").first.get_attribute("value")
        share = p.min() if named == least else p.max()
        assert float(first) == pytest.approx(share, abs=1e-5)


def test_dates_and_texts_have_fields(shown: Any) -> None:
    model = table_model([], OTHER_KINDS)
    page = shown(model)
    values: list[Any] = ["2024-01-20", "2023-12-09T12:00", "10:30", "", 7.0]

    def same() -> None:
        expected = float(predicted(model, *values)[0])
        assert number(page.inner_text("#answer")) == pytest.approx(expected, rel=1e-4)

    same()
    fields = [page.get_by_label(f.name, exact=True) for f in OTHER_KINDS]
    kinds = ["date", "datetime-local", "time", "textarea", "number"]
    assert [field.get_attribute("type") or "textarea" for field in fields] == kinds
    assert [field.input_value() for field in fields] == ["2024-01-20", *values[1:4], "7"]
    changes = [(0, "2024-01-27"), (0, "1999-12-31"), (1, "2023-12-10T06:15"), (2, "18:00"),
               (3, f"Tea & {HOSTILE}"), (4, "3")]  # fmt: skip
    for k, text in changes:
        fields[k].fill(text)
        values[k] = float(text) if k == 4 else text
        same()
    assert page.locator(".column .advice:not(:empty)").count() == 1  # the date outside the range
    for k in (0, 1, 2):
        fields[k].fill("")
        values[k] = None
        same()
    page.get_by_role("button", name="Reset").click()
    until(page, "document.querySelectorAll('.curve .frame').length === 4", 20)
    labels = page.locator(".curve").evaluate_all("all => all.map((c) => c.ariaLabel)")
    values = ["2024-01-20", "2023-12-09T12:00", "10:30", "", 7.0]
    for k, first, last in ((0, "2023-12-09", "2024-03-18"), (2, "06:00", "18:00")):
        answers = dict(
            part.split(" at ")[::-1] for part in labels[k][:-1].split(" is ")[1].split(", ")
        )
        for text in (first, last):
            expected = float(predicted(model, *values[:k], text, *values[k + 1 :])[0])
            assert number(answers[text]) == pytest.approx(expected, rel=1e-3)


def test_names_are_plain_text(shown: Any) -> None:
    page = shown(table_model(CLASSES))
    assert page.locator("main img, main b, main script").count() == 0
    assert page.inner_text("h1") == page.title() == HOSTILE
    assert {*page.locator("#bars th").all_inner_texts()} == {*CLASSES}
    assert page.inner_text("main h2") == "kind & more"
    until(page, "document.querySelectorAll('.curve rect.bar').length === 4", 20)
    titles = page.locator(".curve rect.bar title").all_text_contents()
    assert [title.split(":")[0] for title in titles[:3]] == FEATURES[1].categories


def test_curves_say_how_the_answer_changes(shown: Any) -> None:
    model = table_model([])
    page = shown(model)
    first = float(predicted(model, *FIRST)[0])
    assert number(page.inner_text("#answer")) == pytest.approx(first, rel=1e-4)
    until(page, "document.querySelectorAll('.curve .frame').length === 4", 20)
    labels = page.locator(".curve").evaluate_all("all => all.map((c) => c.ariaLabel)")
    answers = [text.removesuffix(".").split(" is ", 1)[1].split(", ") for text in labels]
    for k, value in ((0, 40.5), (2, 3.5), (3, 11.0)):
        last, at = answers[k][-1].split(" at ")
        values = [*FIRST[:k], value, *FIRST[k + 1 :]]
        assert number(at) == value
        assert number(last) == pytest.approx(float(predicted(model, *values)[0]), rel=1e-3)
    for text, category in zip(answers[1], [*(FEATURES[1].categories or []), None], strict=True):
        values = [FIRST[0], category, *FIRST[2:]]
        answer, name = text.split(" for ")
        assert number(answer) == pytest.approx(float(predicted(model, *values)[0]), rel=1e-3)
        assert name == (category or "missing or other")
    drawn = page.locator(".curve polyline").evaluate_all(
        "all => all.map((line) => line.getAttribute('points').split(' ').length)"
    )
    assert drawn == [41, 41, 11]  # one for each integer
    assert page.locator(".curve circle.now").count() == 3


def test_of_a_wide_table_the_others_are_found_by_name(shown: Any) -> None:
    gpunn.utils.set_random_seed(0)
    features = [Feature(f"Col {i}", range=Range(-1, 1), gaps=i == 7) for i in range(300)]
    model = table_model([], features, Dense(4, "tanh"))
    page = shown(model)
    assert page.locator(".column").count() == 24
    assert "the 24 columns" in page.inner_text("#count")
    search = page.get_by_label("Search the 300 columns")
    search.fill("cOL 29")
    names = page.locator(".column .field label").all_inner_texts()
    assert names == ["Col 29", *(f"Col 29{i}" for i in range(10))]
    page.get_by_label("Col 295", exact=True).fill("0.75")
    values = [0.75 if i == 295 else 0.0 for i in range(300)]
    expected = float(predicted(model, *values)[0])
    assert number(page.inner_text("#answer")) == pytest.approx(expected, rel=1e-4)
    search.fill("nothing")
    assert page.locator(".column").count() == 0
    assert "0 columns match" in page.inner_text("#count")
    search.fill("295")
    assert page.get_by_label("Col 295", exact=True).input_value() == "0.75"


@pytest.mark.parametrize("classes", [CLASSES, []])
def test_two_columns_of_numbers_have_a_plane(shown: Any, classes: list[str]) -> None:
    features = [
        Feature("x", 4.0, 4.0, 2.0, range=Range(0, 8)),
        Feature("floor", 2.0, 2.0, 1.0, range=Range(0, 5, whole=True)),
    ]
    model = table_model(classes, features, Dense(1))  # where x is small, the first class
    kernel = [[-9.0, 9.0, 0.0]] if classes else [[1.0]]
    model.set_weights([np.array([[1.0], [0.05]]), np.zeros(1), kernel, np.zeros(len(kernel[0]))])
    page = shown(model, viewport={"width": 390, "height": 844}, bypass_csp=True)

    def label() -> str:
        return str(page.locator("#plane").get_attribute("aria-label"))

    def same() -> None:
        labels = [page.get_by_label(name, exact=True) for name in ("x", "floor")]
        values = [float(label.input_value()) for label in labels]
        expected = predicted(model, *values)
        if classes:
            best = page.locator("#bars progress").first.evaluate("bar => bar.value")
            assert best == pytest.approx(float(expected.max()), abs=1e-5)
            assert page.inner_text("#answer") == classes[int(expected.argmax())]
        else:
            assert number(page.inner_text("#answer")) == pytest.approx(expected[0], rel=1e-4)
        assert label().endswith(f": x {values[0]:g}, floor {values[1]:g}.")

    same()
    page.locator("#plane").click(position={"x": 60, "y": 60})
    same()
    low = page.get_by_label("floor", exact=True).input_value()
    page.keyboard.press("ArrowDown")
    assert float(page.get_by_label("floor", exact=True).input_value()) == float(low) - 1
    same()
    page.get_by_label("x", exact=True).fill("1.5")
    same()
    page.get_by_label("x", exact=True).fill("")
    assert label().endswith("no point is selected.")
    legend = page.inner_text("#legend")
    assert all(name in legend for name in classes) and ("Orange" in legend) == (not classes)
    assert faults(page) == []
    colours = page.evaluate(COLOURS)
    blue, orange = [0, 114, 178], [230, 159, 0]  # a quarter of the way along x, and three
    for found, expected in zip(colours, [blue, orange, blue, orange], strict=True):
        near = [np.abs(np.subtract(found[:3], colour)).sum() for colour in (blue, orange)]
        assert near[0] < near[1] if expected == blue else near[1] < near[0]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize(("classes", "features"), [(CLASSES, FEATURES), ([], OTHER_KINDS)])
def test_no_serious_fault_for_those_who_do_not_see_it(
    shown: Any, scheme: str, width: int, classes: list[str], features: list[Feature]
) -> None:
    view = {"width": width, "height": 844}
    page = shown(
        table_model(classes, features), color_scheme=scheme, viewport=view, bypass_csp=True
    )
    until(page, "document.querySelectorAll('.curve .frame').length === 4", 20)
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
