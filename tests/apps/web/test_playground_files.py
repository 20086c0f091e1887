"""Model and weight files, from the playground to Python and back."""

from __future__ import annotations

import numpy as np
import pytest
from browser.pages import executed, script_of, until

import gpunn
from gpunn import layers, regularizers

pytestmark = pytest.mark.more(2)

X = np.random.default_rng(5).normal(size=(40, 2)).astype("float32")
ANSWERS = "x => [...playground.training.network.predict(Float32Array.from(x), x.length / 2)]"


def answers(page):
    return page.evaluate(ANSWERS, X.ravel().tolist())


def saved(page, file):
    with page.expect_download() as download:
        page.click("#save-weights")
    download.value.save_as(file)
    return file


def given(page, file, message):
    page.evaluate("document.getElementById('message').textContent = ''")
    page.set_input_files("#weights-file", file)
    until(page, "document.getElementById('message').textContent !== ''")
    assert message in page.inner_text("#message")


def chain(*hidden, outputs=1, last="sigmoid"):
    return gpunn.Sequential([layers.Input((2,)), *hidden, layers.Dense(outputs, last)])


def normalized(*shape):
    """What batch normalization has learned: values other than its initial ones."""
    rng = np.random.default_rng(8)
    return [
        rng.normal(1, 0.3, shape), rng.normal(0, 0.3, shape), rng.normal(0, 0.5, shape),
        rng.uniform(0.5, 2, shape),
    ]  # fmt: skip


def test_a_network_that_normalizes_goes_to_python_and_comes_back(playground, tmp_path):
    page = playground(
        "net=6:tanh:normalize=true:dropout=0.2:l1=0.00002:l2=0.01,5:relu:normalize=true,4:elu"
        "&optimizer=Adam:learning_rate=0.00005:amsgrad=1"
    )
    page.click("#epoch")
    page.click("#epoch")
    file = saved(page, tmp_path / "network.gpunn")
    model = gpunn.models.load_model(file)
    kinds = ["Dense", "BatchNormalization", "Activation"]
    expected = [*kinds, "Dropout", *kinds, "Dense", "Dense"]
    assert [
        type(layer).__name__ for layer in model.layers if layer.name != "input_layer"
    ] == expected
    np.testing.assert_allclose(model.predict(X).ravel(), answers(page), rtol=1e-5)
    penalty = model.layers[-9].kernel_regularizer
    assert (penalty.l1, penalty.l2) == (0.00002, 0.01)
    assert (model.optimizer.amsgrad, float(model.optimizer.learning_rate)) == (True, 0.00005)
    names, printed = executed(script_of(page))
    assert model.evaluate(names["x"], names["y"], verbose=0) == pytest.approx(
        float(printed["training"]), rel=1e-4
    )

    before = page.evaluate("playground.settings.layers")
    page = playground("data=rings")
    given(page, file, "a model of 4 layers")
    assert page.evaluate("playground.settings.layers") == before
    np.testing.assert_allclose(model.predict(X).ravel(), answers(page), rtol=1e-5)
    other = chain(
        layers.Dense(6), layers.BatchNormalization(), layers.Activation("tanh"),
        layers.Dropout(0.2), layers.Dense(5), layers.BatchNormalization(),
        layers.Activation("relu"), layers.Dense(4, "elu"),
    )  # fmt: skip
    other.load_weights(saved(page, tmp_path / "again.gpunn"))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    names, _ = executed(script_of(page))
    np.testing.assert_allclose(names["model"].predict(X), model.predict(X), rtol=1e-5)


def test_a_model_that_normalizes_comes_from_python(playground, tmp_path):
    model = chain(
        layers.Dense(7, kernel_regularizer=regularizers.L2(0.003)), layers.BatchNormalization(),
        layers.Activation("gelu"), layers.Dense(3, "softsign"), layers.Dropout(0.5),
        layers.Dense(4), layers.BatchNormalization(momentum=0.9),
    )  # fmt: skip
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights(normalized(layer.get_weights()[0].size))
    model.save(tmp_path / "model.gpunn")
    page = playground()
    given(page, tmp_path / "model.gpunn", "a model of 4 layers")
    chosen = page.evaluate(
        "playground.settings.layers.map((l) => [l.activation, l.normalize, l.dropout, l.l2])"
    )
    assert chosen == [["gelu", True, 0, 0.003], ["softsign", False, 0.5, 0], ["linear", True, 0, 0]]
    np.testing.assert_allclose(model.predict(X).ravel(), answers(page), rtol=1e-5)
    page.click("#epoch")
    back = gpunn.models.load_model(saved(page, tmp_path / "back.gpunn"))
    np.testing.assert_allclose(back.predict(X).ravel(), answers(page), rtol=1e-5)

    model.save_weights(tmp_path / "weights.gpunn")
    page = playground("net=7:gelu:dropout=0.1,3:softsign,4:linear")
    given(page, tmp_path / "weights.gpunn", "the weights of 4 layers")
    assert (
        page.evaluate("playground.settings.layers[0].dropout") == 0.1
    )  # no weight file contains it
    np.testing.assert_allclose(model.predict(X).ravel(), answers(page), rtol=1e-5)


def test_a_chain_that_was_called_and_two_outputs_are_taken(playground, tmp_path):
    inputs = layers.Input((2,))
    hidden = layers.Dropout(0.1)(layers.Dense(5, "mish")(inputs))
    model = gpunn.Model(inputs, layers.Dense(2, "softmax")(hidden))
    model.save(tmp_path / "model.gpunn")
    page = playground()
    given(page, tmp_path / "model.gpunn", "a model of 2 layers")
    np.testing.assert_allclose(model.predict(X).ravel(), answers(page), rtol=1e-5)


def test_redrawn_points_keep_what_was_normalized(playground):
    page = playground("net=4:tanh:normalize=true&held=0")
    for _ in range(3):
        page.click("#epoch")
    before = answers(page)
    page.select_option("#pen-controls select", "draw")
    page.locator("#plane").click(position={"x": 100, "y": 200})
    np.testing.assert_allclose(answers(page), before, rtol=1e-5)


def two_ends():
    inputs = layers.Input((2,))
    one, two = layers.Dense(3, "tanh")(inputs), layers.Dense(3, "tanh")(inputs)
    return gpunn.Model(inputs, layers.Dense(1, "sigmoid")(layers.Add()([one, two])))


def normalized_end():
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1), layers.BatchNormalization()])
    return model


REFUSED = {
    "a layer “BatchNormalization” at its beginning": lambda: chain(layers.BatchNormalization()),
    "a layer “BatchNormalization” after Dense layer 1": lambda: chain(
        layers.Dense(3, "relu"), layers.BatchNormalization()
    ),
    "a layer “LayerNormalization”": lambda: chain(layers.Dense(3), layers.LayerNormalization()),
    "a layer “ReLU”": lambda: chain(layers.Dense(3), layers.ReLU()),
    "negative_slope = 0.01; this page uses 0.2": lambda: chain(
        layers.Dense(3, gpunn.activations.LeakyRelu(0.01))
    ),
    "epsilon = 0.5": lambda: chain(layers.Dense(3), layers.BatchNormalization(epsilon=0.5)),
    "last layer normalizes": normalized_end,
    "do not form a chain": two_ends,
    "takes 3 inputs": lambda: gpunn.Sequential([layers.Input((3,)), layers.Dense(1)]),
    "has 5 outputs": lambda: chain(outputs=5, last="softmax"),
    "at most 24 units": lambda: chain(layers.Dense(25)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_model_that_the_page_does_not_have_is_refused_in_words(playground, tmp_path, message):
    model = REFUSED[message]()
    model.save(tmp_path / "model.gpunn")
    page = playground("net=6:tanh:normalize=true")
    page.click("#epoch")
    before = answers(page), page.evaluate("playground.settings.layers")
    given(page, tmp_path / "model.gpunn", message)
    assert (answers(page), page.evaluate("playground.settings.layers")) == before
