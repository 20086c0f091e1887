"""The playground as readers have it: in a browser, from disk, by mouse, keyboard and touch."""

from __future__ import annotations

import contextlib
import io
import json
import time
from urllib.parse import quote

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.apps.web.playground import playground_page

pytestmark = pytest.mark.more

READY = "html[data-ready]"


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    file = tmp_path_factory.mktemp("playground") / "page.html"
    file.write_text(playground_page(), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def playground(opened, address):
    def open_it(settings="", **options):
        return opened(f"{address}#{settings}", READY, **options)

    return open_it


def until(page, condition, seconds=60):
    """Wait; the page's own policy forbids Playwright's way, which evaluates texts there."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition} has not come"
        page.wait_for_timeout(20)


def run_until(page, condition):
    page.click("#run")
    until(page, condition)
    page.click("#run")


def script_of(page):
    page.click("#copy-python")
    return page.input_value("#copied textarea")


def executed(script):
    """The names that a script leaves behind, and what it prints."""
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(script, "script.py", "exec"), names)
    return names, dict(line.split() for line in printed.getvalue().splitlines())


# Every part of a network at least once; the optimizers with what they have of their own.
SCRIPTS = (
    ("moons", 5, "net=8:tanh,8:tanh"),
    ("rings", 4, "classes=4&net=8:relu:initializer=he_normal,8:gelu"
                 "&optimizer=SGD:learning_rate=0.1:momentum=0.9:nesterov=1"),
    ("spirals", 6, "net=8:elu:dropout=0.2,8:selu:initializer=lecun_normal&batch=32"
                   "&optimizer=AdamW:learning_rate=0.02"),
    ("blobs", 3, "classes=3&net=6:sigmoid:normalize=true,6:silu"
                 "&optimizer=RMSprop:learning_rate=0.01:centered=1"),
    ("xor", 5, "net=4:tanh:l1=0.001:l2=0.01&loss=hinge&seed=7"
               "&optimizer=Adagrad:learning_rate=0.05"),
    ("sine", 5, "net=12:mish,6:softsign&optimizer=Nadam:learning_rate=0.01&held=0"),
    ("hills", 4, "net=8:softplus,8:leaky_relu&loss=huber&batch=17"
                 "&optimizer=Lion:learning_rate=0.003"),
    ("ten_points", 20, "net=2:sigmoid,3:sigmoid&each=true&loss=half_squared_error&output=sigmoid"
                       "&batch=1&held=0&optimizer=SGD:learning_rate=0.05"),
    ("chessboard", 3, "net=8:hard_silu,8:celu&rows=400&noise=0"
                      "&optimizer=Adam:learning_rate=0.01:amsgrad=1"),
    ("separable", 5, "net=&optimizer=Adadelta:learning_rate=1&loss=squared_hinge&seed=99"),
)  # fmt: skip


@pytest.mark.parametrize(("shape", "epochs", "more"), SCRIPTS, ids=[s[0] for s in SCRIPTS])
def test_a_copied_script_gives_the_same_numbers(playground, shape, epochs, more):
    page = playground(f"data={shape}&{more}")
    assert page.inner_text("#message") == ""
    for _ in range(epochs):
        page.click("#epoch")
    names, printed = executed(script_of(page))
    assert f"epochs={epochs}" in script_of(page)
    x = names["x"]
    predict = "x => [...playground.training.network.predict(Float32Array.from(x.flat()), x.length)]"
    here = page.evaluate(predict, x.tolist())
    there = names["model"].predict(x).ravel()
    assert np.linalg.norm(here - there) <= 1e-4 * np.linalg.norm(there)
    losses = page.evaluate("[playground.training.now.train, playground.training.now.test]")
    assert float(printed["training"]) == pytest.approx(penalized(names, losses[0]), rel=2e-4)
    if "test" in printed:
        assert float(printed["test"]) == pytest.approx(penalized(names, losses[1]), rel=2e-4)


def penalized(names, loss):
    """The page shows losses without penalties, `evaluate` gives them with these."""
    dense = [layer for layer in names["model"].layers if isinstance(layer, layers.Dense)]
    return loss + sum(
        float(layer.kernel_regularizer(np.asarray(layer.get_weights()[0])))
        for layer in dense
        if layer.kernel_regularizer is not None
    )


@pytest.mark.parametrize(
    ("settings", "reached"),
    [
        ("data=moons&net=8:tanh,8:tanh", "trainRight > 0.98"),
        ("data=rings&classes=3&net=8:relu,8:relu", "trainRight > 0.95"),
        ("data=spirals&classes=3&net=16:tanh,16:tanh", "trainRight > 0.95"),
        ("data=blobs&classes=6&net=8:relu", "trainRight > 0.95"),
        ("data=xor&net=4:tanh", "trainRight > 0.98"),
        ("data=split&net=8:relu", "trainRight > 0.9"),
        ("data=separable&noise=0&net=", "trainRight > 0.98"),
        ("data=chessboard&noise=0&net=16:relu,16:relu&rows=500", "trainRight > 0.95"),
        ("data=ten_points&held=0&net=2:tanh,3:tanh&batch=5", "trainRight === 1"),
        ("data=eleven_points&held=0&net=8:tanh,8:tanh&batch=11", "trainRight === 1"),
        ("data=sine&net=16:tanh,16:tanh", "train < 0.02"),
        ("data=parabola&net=8:tanh", "train < 0.01"),
        ("data=step&net=8:relu,8:relu", "train < 0.02"),
        ("data=slope&net=", "train < 0.01"),
        ("data=hills&net=12:tanh,12:tanh", "train < 0.01"),
        ("data=saddle&net=8:relu,8:relu", "train < 0.02"),
    ],
)
def test_each_kind_of_points_is_learned(playground, settings, reached):
    page = playground(settings)
    run_until(page, f"playground.training.now.{reached}")
    assert "not a number" not in page.inner_text("#words")


def test_back_goes_to_where_it_was(playground):
    page = playground()
    page.click("#epoch")
    before = page.evaluate("[...playground.training.network.layers[0].kernel]")
    page.click("#step")
    page.click("#step")
    assert page.evaluate("[...playground.training.network.layers[0].kernel]") != before
    page.click("#back")
    page.click("#back")
    assert page.evaluate("[...playground.training.network.layers[0].kernel]") == before
    page.click("#back")
    assert page.is_disabled("#back")
    assert page.inner_text("#figures dd >> nth=1") == "0"


def test_the_address_holds_the_settings(playground, opened, address):
    page = playground(
        "data=spirals&classes=3&net=5:relu:dropout=0.1&batch=20&optimizer=SGD:learning_rate=0.2"
    )
    page.select_option("#training-controls select >> nth=0", "RMSprop")
    page.click("#layer-controls >> text=Add a layer")
    again = opened(page.url, READY)
    for name in ("data", "classes", "layers", "batch", "optimizer"):
        path = f"playground.settings.{name}"
        assert again.evaluate(path) == page.evaluate(path)
    assert again.evaluate("playground.settings.optimizer.name") == "RMSprop"


NO_POINTS = {
    "task": "classes",
    "inputs": 2,
    "classes": ["a", "b"],
    "points": [[1, 2, 9], [1, None]],
}


@pytest.mark.parametrize(
    "settings",
    [
        "data=<img src=x onerror=alert(1)>&rows=1e9&noise=NaN&classes=-1",
        "net=9999:tanh&optimizer=__proto__&loss=constructor&output=toString",
        "net=8:tanh:dropout=7&batch=0.5&seed=-3&%FF%FE=1",
        f"data=own&own={quote(json.dumps(NO_POINTS))}",
        f"data=own&own={quote('[' * 5000)}",
    ],
)
def test_an_address_from_anybody_is_refused_in_words(playground, settings):
    page = playground(settings)
    assert "left out" in page.inner_text("#message")
    page.click("#epoch")
    assert page.inner_text("#figures dd >> nth=0") == "1"


HOSTILE = "<img src=x onerror=document.title='taken'>"


def test_names_from_a_table_are_texts(playground):
    page = playground()
    names = (HOSTILE, "</script><b>")
    rows = [f"{i % 7},{i * i % 5},{names[i % 2]}" for i in range(40)]
    page.click("text=A table of your own")
    page.fill("#table-text", "\n".join([f"<i>one</i>,{HOSTILE},class", *rows]))
    page.click("#table-use")
    assert "40 points" in page.inner_text("#message")
    assert page.evaluate("document.querySelectorAll('img, i, b').length") == 0
    assert page.title() == "gpunn playground"
    assert "</script><b>" in page.inner_text("#legend")
    names, _ = executed(script_of(page))
    assert names["x"].shape[1] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "fewer than two lines"),
        ("a,b\n1,2,3\n", "Line 2"),
        ("a;b;c\n1;2;3\n;3;4\n", "one answer"),
        ('a,b,c\n"1,2,3\n', "quotation mark"),
        ("a,b,c\nx,y,z\nx,y,z\n", "no column of numbers"),
        ("a,b,c\n1,2,same\n3,4,same\n", "one answer"),
    ],
)
def test_a_table_that_is_none_is_refused_in_words(playground, text, said):
    page = playground()
    page.click("text=A table of your own")
    page.fill("#table-text", text)
    page.click("#table-use")
    assert said in page.inner_text("#message")
    page.click("#epoch")
    assert page.inner_text("#figures dd >> nth=0") == "1"


def test_a_table_with_decimal_commas(playground, tmp_path):
    file = tmp_path / "numbers.csv"
    file.write_text(
        "länge;breite;höhe\n" + "\n".join(f"{i},5;{i % 3},25;{i * 2},125" for i in range(30))
    )
    page = playground()
    page.set_input_files("#table-file", file)
    until(page, "playground.settings.data === 'own'")
    assert page.evaluate("playground.data.task") == "numbers"
    assert page.evaluate("playground.data.names") == ["länge", "breite", "höhe"]
    assert page.evaluate("playground.data.scales[0].mean") == pytest.approx(15.0)


def test_weights_go_to_python_and_come_back(playground, tmp_path):
    page = playground("net=6:tanh,5:relu")
    page.click("#epoch")
    with page.expect_download() as download:
        page.click("#save-weights")
    file = tmp_path / "weights.gpunn"
    download.value.save_as(file)
    model = gpunn.Sequential(
        [
            gpunn.Input((2,)),
            *(layers.Dense(n, f) for n, f in ((6, "tanh"), (5, "relu"), (1, "sigmoid"))),
        ]
    )
    model.load_weights(file)
    x = np.array([[0.5, 0.25], [-1.0, 2.0]], "float32")
    predict = "[...playground.training.network.predict(Float32Array.of(0.5, 0.25, -1, 2), 2)]"
    np.testing.assert_allclose(model.predict(x).ravel(), page.evaluate(predict), rtol=1e-5)

    other = gpunn.Sequential(
        [layers.Input((2,)), layers.Dense(3, "selu"), layers.Dense(1, "sigmoid")]
    )
    other.save(tmp_path / "model.gpunn")
    page.set_input_files("#weights-file", tmp_path / "model.gpunn")
    until(page, "playground.settings.layers.length === 1")
    assert page.evaluate("playground.settings.layers[0].activation") == "selu"
    np.testing.assert_allclose(other.predict(x).ravel(), page.evaluate(predict), rtol=1e-5)


def test_broken_weights_lose_nothing(playground, tmp_path):
    page = playground("net=6:tanh")
    page.click("#epoch")
    before = page.evaluate("[...playground.training.network.layers[0].kernel]")
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(6, "tanh"), layers.Dense(1)])
    good = tmp_path / "good.gpunn"
    model.save_weights(good)
    whole = good.read_bytes()
    changed = bytearray(whole)
    changed[-3] ^= 1
    text = bytearray(whole)
    text[whole.index(b"dense")] ^= 1
    broken = (b"", b"text", whole[:-5], bytes(changed), bytes(text), b"\xff" * 400, bytes(64))
    for content in broken:
        bad = tmp_path / "bad.gpunn"
        bad.write_bytes(content)
        page.evaluate("document.getElementById('message').textContent = ''")
        page.set_input_files("#weights-file", bad)
        until(page, "document.getElementById('message').textContent.includes('were not taken')")
    assert page.evaluate("[...playground.training.network.layers[0].kernel]") == before


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


def test_a_weight_is_changed(playground):
    page = playground("net=3:tanh")
    page.click("[aria-label^='Layer 1, unit 2']")
    field = page.get_by_label("weight from x₂")
    field.fill("2.5")
    field.press("Enter")
    assert page.evaluate("playground.training.network.layers[0].kernel[4]") == 2.5
    names, _ = executed(script_of(page))
    dense = names["model"].layers[-2]
    assert dense.get_weights()[0][1, 1] == 2.5


def test_backpropagation_in_numbers(playground):
    page = playground("net=3:tanh&seed=4")
    page.click("#epoch")
    page.evaluate("playground.point = playground.data.train[0]; playground.select(0, 1, null)")
    cells = page.locator("#unit tbody tr td:last-child").all_inner_texts()
    model = executed(script_of(page))[0]
    x, y = model["x"][:1], model["y"][:1]
    network, step = model["model"], 1e-2
    kernel, bias = network.layers[-2].get_weights()
    for row in range(2):
        moved = []
        for sign in (1, -1):
            other = kernel.copy()
            other[row, 1] += sign * step
            network.layers[-2].set_weights([other, bias])
            moved.append(network.evaluate(x, y, verbose=0))
        wanted = (moved[0] - moved[1]) / (2 * step)
        assert float(cells[row].replace("\N{MINUS SIGN}", "-")) == pytest.approx(
            wanted, rel=0.02, abs=1e-4
        )


def test_points_are_drawn_by_touch(playground):
    page = playground("", has_touch=True, viewport={"width": 390, "height": 800})
    page.select_option("#pen-controls select", "draw")
    before = page.evaluate("playground.data.points.length")
    page.locator("#plane").tap(position={"x": 100, "y": 100})
    page.locator("#plane").tap(position={"x": 180, "y": 140})
    assert page.evaluate("playground.data.points.length") == before + 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_dead_units_are_named(playground):
    page = playground("net=3:relu")
    page.evaluate("""() => {
      playground.training.network.layers[0].bias[1] = -1000;
      playground.draw(true);
    }""")
    assert "unit 2 is dead" in page.inner_text("#words")


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
