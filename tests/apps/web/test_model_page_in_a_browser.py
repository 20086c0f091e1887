"""A model's page in a browser: it answers as `predict` does, by mouse, touch and keyboard."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser.pages import until
from pictures.drawn import PICTURES
from PIL import Image

import gpunn
from gpunn import layers
from gpunn.apps.pictures import as_mnist, read_image
from gpunn.apps.web.model_page import model_page
from gpunn.datasets import mnist

pytestmark = pytest.mark.more(2)

EVIL = (
    "<img src=x onerror=document.title='run'>",
    "</script><script>document.title='run'</script>",
)


@pytest.fixture(scope="module")
def digits() -> Any:
    """A model of MNIST's digits."""
    gpunn.utils.set_random_seed(0)
    (x, y), _ = mnist.load_data()
    chain = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()]
    model = gpunn.Sequential(
        [layers.Input((28, 28, 1)), *chain, layers.Dense(32, "relu"), layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = x[:11000, ..., None] / np.float32(255), y[:11000]
    model.fit(x[:10000], y[:10000], epochs=3, validation_data=(x[10000:], y[10000:]), verbose=0)
    return model


@pytest.fixture
def shown(opened: Any, tmp_path: Path) -> Any:
    def show(model: Any, **options: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(model_page(model, EVIL[0]), encoding="utf-8")
        return opened(path.as_uri(), "html[data-ready]", **options)

    return show


def grey(pixels: np.ndarray) -> dict[str, Any]:
    height, width = pixels.shape
    values = base64.b64encode(np.ascontiguousarray(pixels, np.uint8)).decode()
    return {"height": height, "width": width, "values": values}


# The page's input from that.
GREY = "({values, ...p}) => [{...p, values: Uint8Array.from(atob(values), c => c.charCodeAt(0))}]"


def test_test_digits_are_answered_as_predict_does(shown: Any, digits: Any) -> None:
    page = shown(digits)
    images, labels = mnist.load_data()[1]
    random = np.random.default_rng(0)
    right = 0
    for image, label in zip(images[:20], labels[:20], strict=True):
        paper = Image.new("L", (280, 280))
        side = int(random.integers(60, 220))
        place = tuple(int(v) for v in random.integers(0, 280 - side, 2))
        paper.paste(Image.fromarray(image).resize((side, side)), place)
        own = as_mnist(paper)
        assert own is not None
        found = page.evaluate(
            f"p => [...shown.prepared(({GREY})(p))[0].values]", grey(np.asarray(paper))
        )
        near = np.abs(np.reshape(found, (28, 28)) - own.astype(int))
        # Rows or columns first: versions of Pillow differ in this, and so in their rounding.
        assert near.max() <= 8 and near.mean() < 0.1
        answer = page.evaluate(f"p => [...shown.answer(({GREY})(p))]", grey(own))
        expected = digits.predict(own[None, ..., None] / np.float32(255), verbose=0)[0]
        assert np.allclose(answer, expected, atol=1e-5)
        right += int(np.argmax(answer) == label)
    assert right >= 19


def test_each_layer_is_shown_as_it_is(shown: Any, digits: Any) -> None:
    page = shown(digits)
    image = mnist.load_data()[1][0][3]
    page.evaluate(f"p => shown.answer(({GREY})(p))", grey(image))
    found = page.evaluate("model.layers.map(l => ({name: l.name, values: [...l.values]}))")
    x = image[None, ..., None] / np.float32(255)
    for layer, entry in zip(digits.layers, found, strict=True):
        x = np.asarray(layer(x))
        assert entry["name"] == layer.name
        assert np.allclose(entry["values"], x.ravel(), atol=1e-5)


SALIENCY = f"p => [...shown.saliency.show(shown.answer(({GREY})(p)))]"


def test_saliency_is_the_gradient_of_the_answer(shown: Any, digits: Any) -> None:
    page = shown(digits)
    image = mnist.load_data()[1][0][3]
    found = page.evaluate(SALIENCY, grey(image))
    x = torch.tensor(image[None, None] / np.float32(255), requires_grad=True)
    weights = [torch.tensor(w) for w in digits.get_weights()]
    z = torch.relu(torch.conv2d(x, weights[0].permute(3, 2, 0, 1), weights[1]))
    z = torch.max_pool2d(z, 2).permute(0, 2, 3, 1).reshape(1, -1)
    logits = torch.relu(z @ weights[2] + weights[3]) @ weights[4] + weights[5]
    logits.max().backward()
    assert np.allclose(found, x.grad.numpy().ravel(), atol=1e-5)
    name = str(int(logits.argmax()))
    assert f"The gradient of the logit (the score before the probabilities) of {name} " in (
        page.inner_text("#saliency-said")
    )


@pytest.mark.parametrize(("bias", "channels"), [(2.0, 1), (-2.0, 1), (2.0, 3)])
def test_saliency_is_that_of_the_one_of_two_classes_that_is_shown(
    shown: Any, bias: float, channels: int
) -> None:
    chain = [layers.Flatten(), layers.Dense(1, "sigmoid")]
    model = gpunn.Sequential([layers.Input((5, 6, channels)), *chain])
    kernel = np.random.default_rng(0).normal(size=(30 * channels, 1)).astype(np.float32)
    model.set_weights([kernel, np.float32([bias])])
    page = shown(model)
    black = "Array(3).fill({height: 5, width: 6, values: new Uint8Array(30)})"
    found = page.evaluate(f"[...shown.saliency.show(shown.answer({black}))]")
    light = kernel.reshape(30, channels).sum(axis=1)  # in all colours
    assert np.allclose(found, np.sign(bias) * light, atol=1e-6)


SEVEN = [[(80, 80), (130, 82), (190, 80), (165, 130), (140, 180), (125, 220)]]
ONE = [[(140, 60), (138, 140), (136, 220)]]
ZERO = [[(140 + 55 * math.sin(a / 5), 140 - 75 * math.cos(a / 5)) for a in range(33)]]


def by_mouse(page: Any, strokes: Any) -> None:
    box, mouse = page.locator("#pad").bounding_box(), page.mouse
    for points in strokes:
        for i, (x, y) in enumerate(points):
            mouse.move(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280)
            if i == 0:
                mouse.down()
        mouse.up()


def by_touch(page: Any, strokes: Any) -> None:
    session = page.context.new_cdp_session(page)
    box = page.locator("#pad").bounding_box()
    for points in strokes:
        for i, (x, y) in enumerate(points):
            at = {"x": box["x"] + x * box["width"] / 280, "y": box["y"] + y * box["height"] / 280}
            kind = "touchMove" if i else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


ANSWER = "document.getElementById('answer').textContent"


@pytest.mark.parametrize("strokes", [SEVEN, ONE, ZERO])
@pytest.mark.parametrize("draw", [by_mouse, by_touch])
def test_a_digit_is_drawn(shown: Any, digits: Any, draw: Any, strokes: Any) -> None:
    label = "710"[[SEVEN, ONE, ZERO].index(strokes)]
    options = {"has_touch": True, "viewport": {"width": 390, "height": 600}}
    page = shown(digits, **(options if draw is by_touch else {}))
    draw(page, strokes)
    until(page, f"{ANSWER} === '{label}'", 10)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#bars tr").count() == 3
    assert page.locator("#bars th").first.inner_text() == label
    drawn = np.reshape(page.evaluate("[...shown.pad.picture[0].values]"), (280, 280))
    own = as_mnist(Image.fromarray(drawn.astype(np.uint8)))
    assert own is not None
    expected = digits.predict(own[None, ..., None] / np.float32(255), verbose=0)[0]
    bar = page.locator("#bars progress").first.evaluate("e => e.value")
    assert abs(bar - expected.max()) < 0.02
    page.click("#undo")
    until(page, f"{ANSWER} === 'Nothing is drawn yet.'", 10)


def test_a_digit_is_drawn_by_keyboard_alone(shown: Any, digits: Any) -> None:
    page = shown(digits)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pad"
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    for _ in range(18):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    until(page, f"{ANSWER} === '1'", 10)
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(ANSWER) == "1"
    page.keyboard.press("Control+z")
    until(page, f"{ANSWER} === 'Nothing is drawn yet.'", 10)


@pytest.mark.parametrize("shape", [(12, 20), (300, 290, 1)])
def test_a_picture_is_scaled_as_pillow_does(shown: Any, shape: tuple[int, ...]) -> None:
    model = gpunn.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(2, "softmax")])
    model.trained_on = {"range": [0.0, 255.0], "prepared": "scaled", "classes": [*EVIL]}
    page = shown(model)
    pixels = np.random.default_rng(0).integers(0, 256, (280, 280)).astype(np.uint8)
    image = Image.fromarray(pixels).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    found = page.evaluate(f"p => [...shown.prepared(({GREY})(p))[0].values]", grey(pixels))
    assert np.abs(np.reshape(found, shape[:2]) - np.asarray(image).astype(int)).max() <= 1
    by_mouse(page, SEVEN)
    until(page, f"{ANSWER}.startsWith('<')", 10)  # names are shown as plain text
    assert {*page.locator("#bars th").all_inner_texts()} == {*EVIL}
    corner = "seen.getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    assert page.evaluate(corner) == 0
    page.click("text=dark ink on light paper")
    until(page, f"{corner} === 255", 10)
    assert page.inner_text("h1") == page.title() == EVIL[0]


STATUS = "document.querySelector('#model [role=status]').textContent"


def opened_file(page: Any, name: str, content: bytes, kind: str = "image/png") -> str:
    """Return what the page reports about a file, once everything is shown."""
    with page.expect_file_chooser() as chooser:
        page.click("#open")
    chooser.value.set_files({"name": name, "mimeType": kind, "buffer": content})
    until(page, f"{STATUS}.includes({json.dumps(name)})", 10)
    page.evaluate("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
    return str(page.evaluate(STATUS))


def as_png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "png")
    return held.getvalue()


def given(page: Any) -> np.ndarray:
    """The model's input picture, as shown."""
    data = "seen.getContext('2d').getImageData(0, 0, seen.width, seen.height).data"
    height, width, *values = page.evaluate(
        f"[seen.height, seen.width, ...{data}.filter((_, i) => !(i % 4))]"
    )
    return np.reshape(values, (height, width))


def test_a_file_is_taken_as_predict_takes_it(shown: Any, digits: Any, tmp_path: Path) -> None:
    page = shown(digits)
    images, labels = mnist.load_data()[1]
    answers = []
    for number in range(10):
        image = Image.fromarray(images[number])
        if number % 2:  # coloured, dark on light, larger, off-centre
            paper = Image.new("RGB", (200, 260), (250, 240, 230))
            ink = Image.new("RGB", (120, 120), (20, 30, 90))
            paper.paste(ink, (9 * number, 130 - 9 * number), image.resize((120, 120)))
            image = paper
        content = as_png(image)
        (tmp_path / "a.png").write_bytes(content)
        own, _ = read_image(str(tmp_path / "a.png"), (28, 28), mnist=True)
        status = opened_file(page, f"{number}.png", content)
        assert ("inverted" in status) == bool(number % 2)
        near = np.abs(given(page) - np.asarray(own).astype(int))
        assert near.max() <= 8 and near.mean() < 0.1
        answers.append(page.evaluate(ANSWER))
    assert np.mean(np.array(answers, int) == labels[:10]) >= 0.9
    page.click("#undo")
    until(page, f"{ANSWER} === '{answers[8]}'", 10)


def test_pictures_that_people_draw_are_read_as_predict_reads_them(
    shown: Any, digits: Any, tmp_path: Path
) -> None:
    page = shown(digits)
    assert "like MNIST's digits: 28 \u00d7 28, with values from 0 to 1." in page.inner_text("main")
    wrong = []
    for kind, picture in PICTURES.items():
        for digit in "71":
            content = as_png(picture(digit))
            (tmp_path / "a.png").write_bytes(content)
            own, done = read_image(str(tmp_path / "a.png"), (28, 28), mnist=True)
            status = opened_file(page, f"{kind} {digit}.png", content)
            assert ("inverted" in status) == ("inverted" in done)
            near = np.abs(given(page) - np.asarray(own).astype(int))
            assert near.max() <= 8 and near.mean() < 0.1, kind
            found = page.evaluate(ANSWER)
            wrong += [(kind, digit, found)] if found.removesuffix(", unsure") != digit else []
            assert page.locator("#unsure").is_visible() == found.endswith("unsure")
    assert not wrong


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_a_flat_model_of_mnist_has_a_pad(shown: Any, factor: float) -> None:
    gpunn.utils.set_random_seed(0)
    (x, y), _ = mnist.load_data()
    model = gpunn.Sequential([layers.Input((784,)), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    rows = x[:6000].reshape(-1, 784) / np.float32(255)
    model.fit(rows if factor > 0 else 1 - rows, y[:6000], epochs=5, verbose=0)
    page = shown(model)
    by_mouse(page, SEVEN)
    until(page, f"{ANSWER} === '7'", 10)
    first, last = (0, 1) if factor > 0 else (1, 0)
    assert f"with values from {first} to {last}." in page.inner_text("main")
    corner = given(page)[0, 0]
    assert corner == (0 if factor > 0 else 255)


def test_an_unsure_prediction_is_explained(shown: Any) -> None:
    chain = [layers.Flatten(), layers.Dense(10, "softmax")]
    model = gpunn.Sequential([layers.Input((28, 28)), *chain])
    model.trained_on = {"prepared": "mnist", "unsure_below": 1.0, "validated_on": 5000}
    page = shown(model)
    assert not page.locator("#unsure").is_visible()
    by_mouse(page, SEVEN)
    until(page, f"{ANSWER}.endsWith(', unsure')", 10)
    assert "half of the mistakes on 5,000 samples held out" in page.inner_text("#unsure")
    page.click("#clear")
    until(page, "document.getElementById('unsure').hidden", 10)


def test_it_is_drawn_on_in_firefox(firefox: Any, digits: Any, tmp_path: Path) -> None:
    page, picture, damaged = (tmp_path / name for name in ("a.html", "a.png", "b.png"))
    page.write_text(model_page(digits, EVIL[0]), encoding="utf-8")
    image = mnist.load_data()[1][0][1]
    Image.fromarray(image).resize((300, 300)).save(picture)
    damaged.write_bytes(np.random.default_rng(0).bytes(999))
    found = firefox("model_in_firefox.cjs", page.as_uri(), picture, damaged)
    assert found["errors"] == []
    assert found["drawn"] == found["back"] == "7" and found["opened"] == "2"
    assert np.count_nonzero(found["saliency"]) > 99
    assert "b.png is damaged, or not an image" in found["refused"]
    own, _ = read_image(str(picture), (28, 28), mnist=True)
    near = np.abs(np.reshape(found["given"], (28, 28)) - np.asarray(own).astype(int))
    assert near.max() <= 8 and near.mean() < 0.1


def test_a_picture_in_colour(shown: Any, tmp_path: Path) -> None:
    chain = [layers.Conv2D(4, 3, activation="tanh"), layers.Flatten(), layers.Dense(3, "softmax")]
    model = gpunn.Sequential([layers.Input((16, 12, 3)), *chain])
    model.trained_on = {"range": [0.0, 1.0], "classes": ["a", "b", "c"]}
    page = shown(model)
    noise = np.random.default_rng(0).integers(0, 256, (60, 91, 3)).astype(np.uint8)
    content = as_png(Image.fromarray(noise))
    (tmp_path / "a.png").write_bytes(content)
    own, _ = read_image(str(tmp_path / "a.png"), (16, 12, 3))
    assert "inverted" not in opened_file(page, "a.png", content)
    found = page.evaluate("shown.prepared(shown.pad.picture).map(p => [...p.values])")
    found = np.moveaxis(np.reshape(found, (3, 16, 12)), 0, 2)
    assert np.abs(found - np.asarray(own).astype(int)).max() <= 2
    x = (found / 255).astype(np.float32)[None]
    answer = page.evaluate("[...shown.answer(shown.prepared(shown.pad.picture))]")
    assert np.allclose(answer, model.predict(x, verbose=0)[0], atol=1e-5)
    by_mouse(page, SEVEN)  # chalk over it
    chalk = page.evaluate("shown.pad.picture.map(p => [...p.values])")
    assert np.reshape(chalk, (3, 280, 280))[:, 81, 120].tolist() == [255, 255, 255]
    assert len({*map(tuple, chalk)}) == 3  # and the picture is still there


@pytest.mark.parametrize("prepared", ["scaled", None])
def test_a_file_is_scaled_as_predict_scales_it(
    shown: Any, tmp_path: Path, prepared: str | None
) -> None:
    chain = [layers.Flatten(), layers.Dense(2, "softmax")]
    model = gpunn.Sequential([layers.Input((12, 20)), *chain])
    model.trained_on = {"range": [0.0, 255.0], **({"prepared": prepared} if prepared else {})}
    page = shown(model)
    noise = np.random.default_rng(0).integers(120, 256, (60, 91, 4)).astype(np.uint8)
    content = as_png(Image.fromarray(noise))
    (tmp_path / "a.png").write_bytes(content)
    invert = "no" if prepared else "auto"
    own, _ = read_image(str(tmp_path / "a.png"), (12, 20), invert)
    opened_file(page, "a.png", content)
    assert np.abs(given(page) - np.asarray(own).astype(int)).max() <= 2


def test_a_file_that_is_no_picture_is_refused_and_takes_nothing(shown: Any, digits: Any) -> None:
    page = shown(digits)
    by_mouse(page, SEVEN)
    until(page, f"{ANSWER} === '7'", 10)
    random = np.random.default_rng(0)
    whole = as_png(Image.fromarray(random.integers(0, 256, (90, 90)).astype(np.uint8)))
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload=\"document.title='run'\"/>"
    for name, content, kind, why in (
        (f"{EVIL[0]}.png", random.bytes(999), "image/png", "damaged, or not an image"),
        ("half.png", whole[:3000], "image/png", "damaged"),
        ("no.svg", svg, "image/svg+xml", "not a supported image"),
        ("svg.png", svg, "image/png", "damaged, or not an image"),
        ("empty.png", b"", "image/png", "damaged, or not an image"),
        (
            "huge.png",
            as_png(Image.new("1", (6000, 6000))),
            "image/png",
            "6,000 \u00d7 6,000 pixels",
        ),
        (f"{EVIL[1]}.csv", b"a,b", "text/csv", "not a supported image"),
    ):
        assert why in opened_file(page, name, content, kind)
        assert page.evaluate(ANSWER) == "7"
    large = "new File([new Uint8Array(51e6)], 'large.png', {type: 'image/png'})"
    page.evaluate(f"shown.take({large})")
    assert "the limit is 50 MB" in page.evaluate(STATUS)
    assert page.evaluate(ANSWER) == "7"


@pytest.mark.parametrize("kind", ["picture", "plane"])
def test_what_is_dropped_leaves_the_page_where_it_is(shown: Any, digits: Any, kind: str) -> None:
    chain = [layers.Input((2,)), layers.Dense(1)]
    page = shown(digits if kind == "picture" else gpunn.Sequential(chain))
    content = [*as_png(Image.fromarray(mnist.load_data()[1][0][0]))]
    left = page.evaluate(
        """content => {
          const dataTransfer = new DataTransfer();
          const file = new File([Uint8Array.from(content)], "seven.png", {type: "image/png"});
          dataTransfer.items.add(file);
          const options = {dataTransfer, cancelable: true, bubbles: true};
          return ["dragover", "drop"].map(name =>
            document.body.dispatchEvent(new DragEvent(name, options)));
        }""",
        content,
    )
    assert left == [False, False]  # the browser's default actions are prevented
    if kind == "picture":
        until(page, f"{ANSWER} === '7'", 10)
        assert page.evaluate(STATUS) == "seven.png: 28 \u00d7 28."
    else:
        assert page.inner_text("#message") == "This page does not accept files."


@pytest.mark.parametrize(("units", "activation"), [(3, "softmax"), (1, "sigmoid"), (1, None)])
def test_the_plane_is_what_predict_says(shown: Any, units: int, activation: Any) -> None:
    chain = [layers.Input((2,)), layers.Dense(8, "tanh"), layers.Dense(units, activation)]
    model = gpunn.Sequential(chain)
    model.trained_on = {"range": [-3.0, 5.0]}
    page = shown(model)
    places = np.array(page.evaluate("[...shown.plane.places]"), np.float32).reshape(-1, 2)
    assert places.min() < -3 and places.max() > 5
    found = np.reshape(page.evaluate("[...shown.all(shown.plane.places)]"), (-1, units))
    assert np.allclose(found, model.predict(places, verbose=0), atol=1e-5)
    before = page.inner_text("#where")
    page.locator("#plane").click(position={"x": 60, "y": 60})
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#where") != before
    assert page.locator("#bars tr").count() == (0 if activation is None else max(units, 2))
    field = page.locator("input").first
    field.fill("9")
    field.press("Enter")
    assert "smaller" in page.inner_text("#model [role=status]")
    field.fill("-9")
    field.press("Enter")
    assert page.evaluate("shown.plane.bounds[0][0]") == -9


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_no_serious_fault_for_those_who_do_not_see_it(
    shown: Any, digits: Any, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    view = {"width": width, "height": 900}
    page = shown(digits, color_scheme=scheme, viewport=view, bypass_csp=True)
    by_mouse(page, SEVEN)
    until(page, f"{ANSWER} === '7'", 10)
    found = axe.run(page)["violations"]
    bad = ("serious", "critical")
    assert [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in bad] == []
