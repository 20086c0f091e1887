"""The playground with a model from Python, which it gives back."""

from __future__ import annotations

import gc
import http.client
import re
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser.pages import until

import gpunn
from gpunn import layers, losses, optimizers

X = np.random.default_rng(3).uniform(-1, 1, (120, 2)).astype("float32")
INSIDE = (np.hypot(*X.T) < 0.7).astype(int)
THIRDS = np.digitize(X[:, 0], [-0.3, 0.3])
HEIGHT = X @ [0.8, -0.5]


def network(*hidden, outputs=1, last="sigmoid", inputs=2, loss="binary_crossentropy", rate=0.01):
    model = gpunn.Sequential([layers.Input((inputs,)), *hidden, layers.Dense(outputs, last)])
    if loss:
        model.compile(optimizers.Adam(rate), loss)
    return model


@pytest.fixture
def shown(chromium):
    """Open a playground as the frame of a notebook does, and close it at the end."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    errors: list[str] = []

    def show(html):
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        [source] = re.findall(r'<iframe [^>]*src="([^"]+)"', html)
        page.set_content(f'<iframe src="{source}" width="1200" height="760"></iframe>')
        frame = page.frame_locator("iframe")
        frame.locator("html[data-ready]").wait_for(state="attached", timeout=30_000)
        return page.frames[1]

    yield show
    context.close()
    assert [error for error in errors if "ERR_CONNECTION_REFUSED" not in error] == []


def sent(frame, step):
    until(frame, f"document.getElementById('about').textContent.endsWith('as of step {step}.')")


@pytest.mark.more
@pytest.mark.parametrize(
    ("loss", "y", "outputs", "last"),
    [
        ("binary_crossentropy", INSIDE, 1, "sigmoid"),
        ("sparse_categorical_crossentropy", THIRDS, 3, "softmax"),
        ("categorical_crossentropy", np.eye(3)[THIRDS], 3, "softmax"),
        ("hinge", 2 * INSIDE - 1, 1, "tanh"),
        ("mse", HEIGHT[:, None], 1, "linear"),
    ],
)
def test_a_model_is_trained_there_and_comes_back(shown, loss, y, outputs, last):
    model = network(
        layers.Dense(6, "tanh", name="first"), layers.Dropout(0.1), layers.Dense(4, "elu"),
        outputs=outputs, last=last, loss=loss,
    )  # fmt: skip
    model.fit(X, y, epochs=1, verbose=0)
    before = model.predict(X, verbose=0)
    opened = gpunn.playground(model, X, y)
    frame = shown(opened._repr_html_())
    here = frame.evaluate(PREDICT, X.ravel().tolist())
    np.testing.assert_allclose(here, before.ravel(), rtol=1e-4, atol=1e-6)
    sent(frame, 0)
    np.testing.assert_array_equal(opened.model.predict(X, verbose=0), before)
    for _ in range(30):
        frame.click("#epoch")
    sent(frame, 30 * 4)
    found = opened.model
    here = frame.evaluate(PREDICT, X.ravel().tolist())
    np.testing.assert_allclose(found.predict(X, verbose=0).ravel(), here, rtol=1e-4, atol=1e-6)
    figures = [each.evaluate(X, y, verbose=0) for each in (found, model)]
    assert figures[0] < figures[1]
    assert [layer.name for layer in found.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)  # it is not changed
    found.fit(X, y, epochs=1, verbose=0)


PREDICT = (
    "x => [...playground.training.network.predict(Float32Array.from(x), "
    "x.length / playground.data.inputs)]"
)


@pytest.mark.more
def test_what_is_chosen_there_comes_back(shown):
    model = network(
        layers.Dense(6, "relu"), outputs=3, last="softmax", loss="sparse_categorical_crossentropy"
    )
    opened = gpunn.playground(model, X, THIRDS, class_names=["low", "middle", "high"])
    frame = shown(opened._repr_html_())
    assert frame.locator("#legend li").all_inner_texts() == ["low", "middle", "high"]
    units = frame.locator("#layer-controls input").first
    units.fill("9")
    units.press("Enter")
    frame.select_option("#layer-controls select >> nth=0", "gelu")
    frame.select_option("#training-controls select >> nth=0", "RMSprop")
    frame.get_by_label("Learning rate").fill("0.02")
    frame.get_by_label("Learning rate").press("Enter")
    frame.click("#epoch")
    sent(frame, 4)
    found = opened.model
    first = found.layers[-2]
    assert (first.units, type(first.activation).__name__) == (9, "Gelu")
    assert type(found.optimizer).__name__ == "RMSprop"
    assert float(found.optimizer.learning_rate) == pytest.approx(0.02)
    here = frame.evaluate(PREDICT, X.ravel().tolist())
    np.testing.assert_allclose(found.predict(X, verbose=0).ravel(), here, rtol=1e-4, atol=1e-6)
    found.fit(X, THIRDS, epochs=1, verbose=0)  # still of integer classes


@pytest.mark.more
def test_the_page_has_the_settings_of_the_model(shown):
    model = network(layers.Dense(3, "tanh"), loss=None)
    model.compile(optimizers.SGD(0.05, momentum=0.9, nesterov=True), "mse")
    frame = shown(gpunn.playground(model, X, INSIDE)._repr_html_())
    assert frame.evaluate("playground.settings.optimizer") == {
        "name": "SGD",
        "settings": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": 1},
    }
    assert frame.evaluate("[playground.settings.loss, playground.data.test.length]") == [
        "mean_squared_error",
        0,
    ]


@pytest.mark.more
def test_one_input_and_many_rows(shown):
    x = np.linspace(-1, 1, 5001)
    model = network(layers.Dense(8, "tanh"), inputs=1, last="linear", loss="mse")
    frame = shown(gpunn.playground(model, x, np.sin(x))._repr_html_())
    assert "2,000 rows of 5,001" in frame.inner_text("#message")
    found = np.array(frame.evaluate("playground.data.points"))
    np.testing.assert_allclose(found[:, 1], np.sin(found[:, 0]), atol=1e-6)
    assert found[[0, -1], 0].tolist() == [-1, 1]


@pytest.mark.more
def test_it_says_when_python_has_stopped(shown):
    opened = gpunn.playground(network(layers.Dense(3, "tanh")), X, INSIDE)
    frame = shown(opened._repr_html_())
    frame.click("#epoch")
    sent(frame, 4)
    before = opened.model
    opened.close()
    frame.click("#epoch")
    until(frame, "document.getElementById('about').textContent.includes('Run the cell again')")
    np.testing.assert_array_equal(opened.model.predict(X), before.predict(X))


def test_columns_of_a_data_frame_name_the_axes():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": X[:, 0], "size": X[:, 1], "inside": INSIDE})
    model = network(layers.Dense(3, "tanh"))
    opened = gpunn.playground(model, frame[["age", "size"]], frame["inside"])
    page = get(opened.url)[1]
    assert "age%22%2C+%22size%22%2C+%22inside" in page


def get(url, method="GET", body=None, **headers):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request(method, parts.path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_only_the_page_of_this_machine_is_served():
    opened = gpunn.playground(network(layers.Dense(3, "tanh")), X, INSIDE)
    url, root = opened.url, re.sub(r"/[^/]+/$", "/", opened.url)
    assert url.startswith("http://127.0.0.1:") and len(url) > len(root) + 16
    assert get(url)[0] == 200
    assert get(url, Host="attacker.example:80")[0] == 404
    assert get(root)[0] == get(f"{root}sent", method="POST", body=b"model")[0] == 404
    assert get(f"{url}sent", method="POST", **{"Content-Length": "4000001"})[0] == 413
    assert "connect-src" in get(url)[1]
    np.testing.assert_array_equal(opened.model.predict(X), opened.model.predict(X))
    assert get(f"{url}sent", method="POST", body=b"no model")[0] == 204
    with pytest.raises(ValueError, match="gpunn"):
        _ = opened.model


@pytest.mark.in_turn(2)
def test_the_server_ends_with_the_playground():
    opened = gpunn.playground(network(layers.Dense(3, "tanh")), X, INSIDE)
    url = opened.url
    del opened
    assert get(url)[0] == 200  # a notebook may show it while no variable holds it
    for _ in range(8):
        gpunn.playground(network(layers.Dense(3)), X, INSIDE)
    gc.collect()
    with pytest.raises(OSError):
        get(url)


def branched():
    inputs = layers.Input((2,))
    ends = [layers.Dense(3, "tanh")(inputs), layers.Dense(3, "tanh")(inputs)]
    return gpunn.Model(inputs, layers.Dense(1, "sigmoid")(layers.Add()(ends)))


REFUSED = {
    "LayerNormalization": lambda: (
        network(layers.Dense(3), layers.LayerNormalization()), X, INSIDE,
    ),
    "Activation and Dropout, in this order": lambda: (
        network(layers.Reshape((2,)), loss=None), X, INSIDE,
    ),
    "do not form a chain": lambda: (branched(), X, INSIDE),
    "up to 24 units": lambda: (network(layers.Dense(25)), X, INSIDE),
    "9 hidden layers": lambda: (network(*[layers.Dense(2) for _ in range(9)]), X, INSIDE),
    "negative_slope=0.01": lambda: (
        network(layers.Dense(3, gpunn.activations.LeakyRelu(0.01))), X, INSIDE,
    ),
    "one or two inputs": lambda: (
        network(layers.Dense(3), inputs=3), np.zeros((9, 3)), np.zeros(9),
    ),
    "x has 1 columns": lambda: (network(layers.Dense(3)), X[:, :1], INSIDE),
    "for classes the playground needs two": lambda: (network(inputs=1), X[:, 0], INSIDE),
    "classes from 0 to 2": lambda: (
        network(outputs=3, last="softmax", loss=None), X, THIRDS + 1,
    ),
    "7 classes; the playground shows up to 6": lambda: (
        network(outputs=7, last="softmax", loss=None), X, THIRDS,
    ),
    "x has 120 rows, but y has 119": lambda: (network(), X, INSIDE[1:]),
    "y must be numbers": lambda: (network(), X, np.where(INSIDE, "in", "out")),
    "missing or beyond": lambda: (network(), np.where(X > 0.9, np.nan, X), INSIDE),
    "label_smoothing=0.1": lambda: (
        network(loss=losses.BinaryCrossentropy(label_smoothing=0.1)), X, INSIDE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_it_cannot_show_is_refused_in_words(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        gpunn.playground(*REFUSED[message]())
    assert str(error.value).startswith("playground: ")


def test_something_else_than_a_model_is_refused():
    with pytest.raises(TypeError, match=r"must be a gpunn model; got 'model\.gpunn'"):
        gpunn.playground("model.gpunn", X, INSIDE)


CELL = """
import gpunn, numpy as np
x = np.random.default_rng(0).uniform(-1, 1, (64, 2))
y = (x.sum(axis=1) > 0).astype(int)
model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1, "sigmoid")])
model.compile("adam", "binary_crossentropy")
opened = gpunn.playground(model, x, y)
opened
"""


@pytest.mark.more
def test_it_works_in_a_kernel(shown):
    """A kernel of Jupyter serves the page while it is idle, and its next cell has the model."""
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel()
    outputs = []
    try:

        def run(cell):
            outputs.clear()
            client.execute_interactive(cell, output_hook=lambda m: outputs.append(m["content"]))
            return outputs

        [html] = [
            each["data"]["text/html"] for each in run(CELL) if "text/html" in each.get("data", {})
        ]
        assert "<script" not in html
        frame = shown(html)
        frame.click("#epoch")
        sent(frame, 2)
        here = frame.evaluate(PREDICT, [0.5, -0.25])
        cell = "float(opened.model.predict(np.array([[0.5, -0.25]]), verbose=0)[0, 0])"
        [there] = [each["data"]["text/plain"] for each in run(cell) if "data" in each]
        assert float(there) == pytest.approx(here[0], rel=1e-5)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
