"""Untrusted inputs of the playground: addresses, tables and weights."""

from __future__ import annotations

import json
from urllib.parse import quote

import numpy as np
import pytest
from browser.pages import executed, script_of, until

import gpunn
from gpunn import layers

pytestmark = pytest.mark.more(2)


def test_the_address_holds_the_settings(playground, opened, address):
    page = playground(
        "data=spirals&classes=3&net=5:relu:initializer=constant:value=-2:dropout=0.1&batch=20&optimizer=SGD:learning_rate=0.2"
    )
    page.select_option("#training-controls select >> nth=0", "RMSprop")
    page.click("#layer-controls >> text=Add layer")
    page.get_by_label("Initializer").nth(1).select_option("variance_scaling")
    page.get_by_label("mode", exact=True).select_option("fan_avg")
    page.get_by_label("scale").fill("3")
    page.get_by_label("scale").press("Enter")
    assert page.evaluate("playground.settings.layers.map((layer) => layer.initializer)") == [
        {"name": "constant", "settings": {"value": -2}},
        {"name": "variance_scaling", "settings": {"mode": "fan_avg", "scale": 3}},
    ]
    again = opened(page.url, "html[data-ready]")
    for name in ("data", "classes", "layers", "batch", "optimizer"):
        path = f"playground.settings.{name}"
        assert again.evaluate(path) == page.evaluate(path)
    assert again.evaluate("playground.settings.optimizer.name") == "RMSprop"
    assert again.evaluate("playground.settings.noise") == 0.03  # the value for spirals


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
        "net=8:tanh:initializer=orthogonal:stddev=1",
        "net=8:tanh:initializer=variance_scaling:mode=toString",
        "net=8:tanh:initializer=constant:value=1e9",
        "net=8:tanh:initializer=__proto__:constructor=1",
        f"data=own&own={quote(json.dumps(NO_POINTS))}",
        f"data=own&own={quote('[' * 5000)}",
    ],
)
def test_an_address_from_anybody_is_refused_in_words(playground, settings):
    page = playground(settings)
    assert "Ignored" in page.inner_text("#message")
    page.click("#epoch")
    assert page.inner_text("#figures dd >> nth=0") == "1"


HOSTILE = "<img src=x onerror=document.title='taken'>"


def test_names_from_a_table_are_plain_text(playground):
    page = playground()
    names = (HOSTILE, "</script><b>")
    rows = [f"{i % 7},{i * i % 5},{names[i % 2]}" for i in range(40)]
    page.click("text=Your own table")
    page.fill("#table-text", "\n".join([f"<i>one</i>,{HOSTILE},class", *rows]))
    page.click("#table-use")
    assert "40 points" in page.inner_text("#message")
    assert page.evaluate("document.querySelectorAll('img, i, b').length") == 0
    assert page.title() == "gpunn playground"
    assert "</script><b>" in page.inner_text("#legend")
    names, _ = executed(script_of(page))
    assert names["x"].shape[1] == 2


def test_names_from_an_address_are_plain_text(playground):
    names = {"classes": [HOSTILE, "</script><b>"], "names": [HOSTILE, "<i>", "</style>"]}
    points = [[0, 1, 0], [1, 0, 1], [1, 1, 0]]
    own = {"task": "classes", "inputs": 2, "points": points, **names}
    page = playground(f"data=own&held=0&own={quote(json.dumps(own))}")
    page.click("#epoch")
    for shown in ("#legend", "#net", "#unit"):
        assert "<" in page.inner_text(shown)
    assert page.evaluate("document.querySelectorAll('img, i, b').length") == 0
    assert page.title() == "gpunn playground"


DROP = """([name, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
}"""


def test_a_table_is_dropped(playground):
    page = playground()
    rows = "\n".join(f"{i},{-i},{i % 3}" for i in range(20))
    page.evaluate(DROP, [f"{HOSTILE}.csv", f"a,b,c\n{rows}"])
    until(page, "playground.settings.data === 'own'")
    assert page.evaluate("playground.data.classes") == ["0", "1", "2"]
    before = page.evaluate("playground.data.points.length")
    for content in ("", "\0\0\0", "x" * 5_000_000, '"'):
        page.evaluate("document.getElementById('message').textContent = ''")
        page.evaluate(DROP, ["table.csv", content])
        until(page, "document.getElementById('message').textContent.includes('was not loaded')")
    assert page.evaluate("playground.data.points.length") == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "fewer than two non-empty lines"),
        ("a,b\n1,2,3\n", "Line 2"),
        ("a;b;c\n1;2;3\n;3;4\n", "the same target"),
        ('a,b,c\n"1,2,3\n', "quotation mark"),
        ("a,b,c\nx,y,z\nx,y,z\n", "no numeric column"),
        ("a,b,c\n1,2,same\n3,4,same\n", "the same target"),
        ("a,b,c\n1,2,3\n", "single row"),
        ("a,b,c\n1,x,u\n3,y,v\n", "choose two numeric columns"),
    ],
)
def test_a_table_that_is_none_is_refused_in_words(playground, text, message):
    page = playground()
    page.click("text=Your own table")
    page.fill("#table-text", text)
    page.click("#table-use")
    assert message in page.inner_text("#message")
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
        until(page, "document.getElementById('message').textContent.includes('was not loaded')")
    assert page.evaluate("[...playground.training.network.layers[0].kernel]") == before


def _rows(*columns):
    return "\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True))


KINDS = ["a", "b"] * 20


@pytest.mark.parametrize(
    ("text", "message", "names", "points"),
    [
        (f"x,y,kind\n{_rows(range(40), range(40), KINDS)}\nn/a,3,a\n4,NULL,b",
         "2 rows with missing values", ["x", "y", "kind"], 40),
        (f"x,y,kind\n{_rows(range(40), range(40), KINDS)}\nmuch,3,a",
         "1 row skipped where “x” is not a number, such as “much”", ["x", "y", "kind"], 40),
        (f"day,x,y\n{_rows([f'2024-01-{d + 1:02}' for d in range(30)], range(30), range(30))}",
         "Loaded 30 points.", ["x", "y"], 30),
        ("x;y;z\n" + "\n".join(f"{i}.234,5;{i};{i},5" for i in range(1, 21)),
         "Loaded 20 points.", ["x", "y", "z"], 20),
        ("a,b,c\n" + "0.5,0.25,1\n0.25,0.5,0\n" * 50_000,
         "2,000 of 100,000 rows", ["a", "b", "c"], 2000),
    ],
    ids=["gaps", "text in a column of numbers", "dates", "thousands", "100,000 rows"],
)  # fmt: skip
def test_a_table_as_it_comes(playground, text, message, names, points):
    page = playground()
    page.evaluate(DROP, ["table.csv", text])
    until(page, "playground.settings.data === 'own'")
    assert message in page.inner_text("#message")
    assert page.evaluate("playground.data.names") == names
    assert page.evaluate("playground.data.points.length") == points
    assert page.is_visible("#table-columns select")  # the choice can be changed
    page.click("#epoch")
    assert page.inner_text("#figures dd >> nth=0") == "1"
