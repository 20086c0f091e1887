"""The playground by keyboard, by touch and with a screen reader, with each of its controls."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.more


def test_by_keyboard_alone(playground):
    page = playground()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "run"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.inner_text("#figures dd >> nth=1") == "1"
    seen = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if page.evaluate("document.activeElement.id") == "plane":
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("ArrowUp")
            page.keyboard.press("Enter")
            assert page.evaluate("playground.point") is not None
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "weight from x₁":
            break
    assert {"plane", "unit", "pace"} <= seen


@pytest.mark.parametrize("layers", [2, 8])
def test_a_network_at_phone_width(playground, layers):
    """A network of the usual depth fits; a deeper one scrolls within its frame."""
    net = ",".join(["24:tanh"] * layers)
    page = playground(f"net={net}", viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    room, width = page.evaluate("[net.clientWidth, net.scrollWidth]")
    assert (width <= room) == (layers == 2)
    page.locator("#net button").last.focus()
    box = page.locator("#net button").last.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


@pytest.mark.parametrize("width", [390, 1400])
def test_the_bar_hides_nothing_that_has_the_focus(playground, width):
    page = playground("", viewport={"width": width, "height": 600})
    fields = page.locator("select, input, summary, button")
    bottom = page.locator("#bar").evaluate("bar => bar.getBoundingClientRect().height")
    for place in reversed(range(fields.count())):
        if fields.nth(place).is_visible():
            fields.nth(place).focus()
            if not fields.nth(place).evaluate("field => !!field.closest('#bar')"):
                assert fields.nth(place).bounding_box()["y"] >= bottom


def test_numbers_are_short(playground):
    """Numbers under the units' pictures, whatever their size, and in fields."""
    points = [[1e5, 1e-5, 1], [2e5, 7e-6, -3]]
    own = {"task": "numbers", "inputs": 2, "classes": [], "points": points}
    page = playground(f"data=own&held=0&own={json.dumps(own)}")
    page.click("#epoch")
    shown = page.locator("#net .unit-name").all_inner_texts()
    assert shown and all(len(text.split()[-1]) <= 8 for text in shown), shown
    page.click("[aria-label^='Layer 1, unit 2']")
    fields = page.locator("#unit input").evaluate_all("all => all.map((field) => field.value)")
    assert all(len(text.strip("-0.").replace(".", "")) <= 8 for text in fields), fields


def test_points_are_drawn_by_touch(playground):
    page = playground("", has_touch=True, viewport={"width": 390, "height": 800})
    page.select_option("#pen-controls select", "draw")
    before = page.evaluate("playground.data.points.length")
    page.locator("#plane").tap(position={"x": 100, "y": 100})
    page.locator("#plane").tap(position={"x": 180, "y": 140})
    assert page.evaluate("playground.data.points.length") == before + 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_control_is_changed(playground):
    page = playground("net=4:tanh,4:tanh&rows=60")
    for text in page.locator("summary").all():
        text.click()
    rooms = ("#data-controls", "#layer-controls", "#training-controls", "#pen-controls")
    tried = 0
    for room in rooms:
        for kind, change in CHANGES.items():
            for place in range(page.locator(f"{room} {kind}").count()):
                for act in change(page.locator(f"{room} {kind}").nth(place)):
                    act()
                    page.click("#epoch")
                    tried += 1
                    assert page.inner_text("#message") == ""
                    assert int(page.inner_text("#figures dd >> nth=1").replace(",", "")) > 0
    assert tried > 200
    page.click("text=Remove layer 1")
    page.click("#reset")
    assert page.inner_text("#figures dd >> nth=1") == "0"


def _each_option(select):
    values = select.evaluate("e => [...e.options].map(o => o.value)")
    now = select.input_value()
    return [lambda value=value: select.select_option(value) for value in [*values, now]]


def _ends(field):
    least, most, now = field.evaluate("e => [e.min, e.max, e.value]")

    def fill(value):
        field.fill(value)
        field.press("Enter")

    return [lambda value=value: fill(value) for value in (least, str(min(40.0, float(most))), now)]


def _both(field):
    return [field.click, field.click]


CHANGES = {"select": _each_option, "[type=number]": _ends, "[type=checkbox]": _both}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_no_serious_fault_for_those_who_do_not_see_it(playground, scheme, width):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    page = playground("", color_scheme=scheme, viewport={"width": width, "height": 900},
                      bypass_csp=True)  # fmt: skip
    page.click("#epoch")
    found = axe.run(page)["violations"]
    bad = ("serious", "critical")
    assert [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in bad] == []


@pytest.mark.parametrize(("shape", "answer"), [("moons", 1), ("hills", 1.0), ("sine", None)])
def test_points_are_drawn_from_none(playground, shape, answer):
    page = playground(f"data={shape}&held=0")
    page.select_option("#pen-controls select", "draw")
    page.click("text=Erase all")
    assert page.evaluate("playground.data.points") == []
    assert "two points" in page.inner_text("#message")
    plane = page.locator("#plane")
    plane.click(position={"x": 100, "y": 200})
    if shape == "moons":
        page.select_option("#pen-controls select >> nth=1", "1")
    plane.click(position={"x": 250, "y": 120})
    plane.press("ArrowLeft")
    plane.press("Enter")
    points = page.evaluate("playground.data.points")
    assert len(points) == 3
    assert points[0][0] < points[1][0] and points[0][1] < points[1][1]
    if answer is not None:
        assert points[1][2] == answer
    page.click("#epoch")
    assert page.inner_text("#figures dd >> nth=0") == "1"
    page.select_option("#pen-controls select", "erase")
    plane.click(position={"x": 250, "y": 120})
    assert len(page.evaluate("playground.data.points")) == 2


def test_a_line_is_clicked(playground):
    page = playground("net=3:tanh")
    line = page.locator("#net svg line").nth(4)  # from the second input to the second unit
    x1, y1, x2, y2 = (float(line.get_attribute(name)) for name in ("x1", "y1", "x2", "y2"))
    place = {"x": x1 + 0.9 * (x2 - x1), "y": y1 + 0.9 * (y2 - y1)}
    page.locator("#net svg").click(position=place, force=True)
    assert page.inner_text("#unit h3") == "Layer 1, unit 2"
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "weight from x₂"
