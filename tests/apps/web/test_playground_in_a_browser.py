"""The playground by keyboard, by touch and with a screen reader, with each of its controls."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

pytestmark = pytest.mark.more(2)


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


@pytest.mark.parametrize("allowed", [True, False])
def test_a_link_is_shown_only_if_it_is_not_copied(playground, allowed):
    permissions = ["clipboard-read", "clipboard-write"] if allowed else []
    page = playground("data=xor", permissions=permissions)
    if not allowed:
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    page.click("#copy-python")
    assert page.is_visible("#copied textarea")
    page.click("#copy-address")
    page.locator("#message", has_text="Link").wait_for()
    assert page.is_visible("#copied") is not allowed
    read = "navigator.clipboard.readText()" if allowed else "copied.firstChild.value"
    assert page.evaluate(read) == page.url


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


@pytest.mark.parametrize("height", [720, 800])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_is_in_sight_on_a_laptop(playground, height, scheme):
    page = playground("", viewport={"width": 1280, "height": height}, color_scheme=scheme)
    page.click("#epoch")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    controls = page.locator("body > * :is(button, select, input, summary, canvas, #words, #curves)")
    boxes = [each.bounding_box() for each in controls.all() if not _in_the_unit_panel(each)]
    boxes = [box for box in boxes if box]  # without those that are folded
    assert len(boxes) > 40
    for box in boxes:
        assert box["x"] >= 0 and box["x"] + box["width"] <= 1280
        assert box["y"] >= 0 and box["y"] + box["height"] <= height


def _in_the_unit_panel(element):
    """It scrolls in itself, since it has a row for each weight."""
    return element.evaluate("e => !!e.closest('#unit')")


@pytest.mark.parametrize(
    "net", ["", "3:tanh", "8:tanh,8:tanh", "24:tanh,2:relu", "8:tanh," * 7 + "8:tanh"]
)
@pytest.mark.parametrize("width", [400, 1280, 1900])
def test_the_diagram_fills_its_frame_and_no_labels_overlap(playground, net, width):
    page = playground(f"net={net}", viewport={"width": width, "height": 800})
    frame = page.locator("#net").bounding_box()
    drawn = page.locator("#net .net-inner").bounding_box()
    assert drawn["width"] >= 0.97 * frame["width"]
    assert width == 400 or drawn["height"] >= 0.97 * frame["height"] - 4
    texts = page.locator("#net .unit-name:visible").all()
    boxes = [_of_text(text) for text in texts]
    boxes += [_without_stroke(label) for label in page.locator("#net svg text").all()]
    pictures = [unit.bounding_box() for unit in page.locator("#net .unit").all()]
    for place, box in enumerate(boxes):
        for other in [*boxes[place + 1 :], *pictures]:
            assert not _overlap(box, other), (net, width, box, other)


def test_faint_lines_leave_the_paper_between_them_as_it_is(playground):
    """Of hundreds of lines: a layer of its own for each would darken its whole box by rounding."""
    page = playground("net=16:tanh,16:tanh", color_scheme="dark")
    frame, unit, first = (
        page.locator(place).bounding_box()
        for place in ("#net", "#net .unit >> nth=0", "#net .unit >> nth=2")
    )
    # No line is left of the first hidden unit and above it, where its lines to the inputs fall off.
    x, y = (2 * unit["x"] + first["x"]) / 3, first["y"]
    assert unit["y"] > y + 20 and x > frame["x"]
    area = {"x": x, "y": y, "width": 20, "height": 10}
    with Image.open(io.BytesIO(page.screenshot(clip=area))) as picture:
        assert picture.convert("RGB").getcolors() == [(200, (13, 17, 23))]


def _of_text(element):
    return element.evaluate("""e => {
      const range = document.createRange();
      range.selectNodeContents(e);
      const { x, y, width, height } = range.getBoundingClientRect();
      return { x, y, width, height };
    }""")


def _without_stroke(label):
    """The box of a text without the stroke in the colour of the page around it."""
    box = label.bounding_box()
    inward = {"x": 3, "y": 3, "width": -6, "height": -6}
    return {side: box[side] + by for side, by in inward.items()}


def _overlap(a, b, slack=3.0):
    """Whether two boxes share more than the empty edge of a line of text."""
    return all(
        min(a[x] + a[size], b[x] + b[size]) - max(a[x], b[x]) > slack
        for x, size in (("x", "width"), ("y", "height"))
    )


def test_a_loss_has_labelled_axes(playground):
    page = playground("lesson=too-little-data")
    texts = page.locator("#curves text").all_text_contents()
    assert {"epoch", "loss (log scale)", "training", "test"} <= set(texts)
    ticks = [text for text in texts if text.replace(".", "").isdigit()]
    assert len(ticks) >= 4
    assert all(text.strip("0.")[:1] in "1235" for text in ticks if float(text) < 2), ticks


def test_messages_stay_in_sight_below(playground):
    page = playground("", viewport={"width": 400, "height": 800})
    page.get_by_label("Loss", exact=True).select_option("hinge")
    page.get_by_label("Output activation").select_option("softplus")
    page.get_by_label("Loss", exact=True).select_option("binary_crossentropy")
    page.locator("#save-picture").scroll_into_view_if_needed()
    box = page.locator("#advice").bounding_box()
    assert "expects probabilities" in page.inner_text("#advice")
    assert box["y"] >= 0 and box["y"] + box["height"] <= 300


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


@pytest.mark.in_turn(2)
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
