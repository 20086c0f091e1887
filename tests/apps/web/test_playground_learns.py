"""Networks of the playground learn, as they do in Python."""

from __future__ import annotations

import numpy as np
import pytest
from browser.pages import executed, script_of, until

from gpunn import initializers, layers

pytestmark = pytest.mark.more(2)


def run_until(page, condition):
    page.click("#run")
    until(page, condition)
    page.click("#run")


def test_each_of_the_first_epochs_has_its_frame(playground):
    """At full speed; later a frame has several, until it takes all the time that there is."""
    page = playground("data=moons&net=4:tanh")
    watch = """() => {
      window.seen = [playground.training.now.epoch];
      const draw = playground.draw.bind(playground);
      playground.draw = (all) => { draw(all); window.seen.push(playground.training.now.epoch); };
    }"""
    page.evaluate(watch)
    run_until(page, "playground.training.now.epoch > 500")
    steps = np.diff(page.evaluate("seen"))
    steps = steps[steps > 0]  # it is also drawn without training
    begun = np.cumsum(steps) - steps
    assert set(steps[begun < 60]) == {1}
    assert max(steps) > 2 and (steps <= 2 + begun / 60).all()
    page.click("#reset")  # and again for a new network
    page.evaluate("seen.splice(0, seen.length, 0)")
    run_until(page, "playground.training.now.epoch > 100")
    assert page.evaluate("[...new Set(seen)].slice(0, 30)") == list(range(30))


# Every part of a network at least once; the optimizers with their own arguments.
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
    ("split", 4, "net=8:tanh:initializer=orthogonal:gain=1.5,8:tanh:initializer=identity,"
                 "8:tanh:initializer=constant:value=-0.1"),
    ("saddle", 4, "net=8:tanh:initializer=variance_scaling:scale=2:distribution=untruncated_normal,"
                  "8:tanh:initializer=random_normal:mean=-0.1:stddev=0.5"),
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


def test_orthogonal_weights_begin_as_in_python(playground):
    page = playground("net=8:tanh:initializer=orthogonal,5:tanh:initializer=orthogonal&seed=3")
    model = executed(script_of(page))[0]["model"]
    for k, layer in enumerate(model.layers[-3:-1]):
        weights = layer.get_weights()[0]
        expected = initializers.Orthogonal(seed=3 + k)(weights.shape)
        np.testing.assert_allclose(weights, expected, atol=1e-5)


def penalized(names, loss):
    """The page shows losses without penalties; `evaluate` includes them."""
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
    assert "no longer finite" not in page.inner_text("#words")


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


def test_saturated_units_are_counted(playground):
    page = playground("net=8:tanh")
    page.evaluate("""() => {
      playground.training.network.layers[0].bias[1] = 1000;
      playground.draw(true);
    }""")
    assert "One unit is saturated, but no layer as a whole." in page.inner_text("#words")
    assert page.locator("#net .saturated").count() == 1
    assert page.locator("#words .bad").count() == 0


def test_saturated_layers_are_an_alarm_only_where_nothing_was_learned(playground):
    page = playground("data=moons&net=8:tanh")
    spoil = """() => {
      playground.training.network.layers[0].kernel.fill(1000);
      playground.draw(true);
    }"""
    alarms = page.locator("#words .bad").filter(has_text="is saturated")
    page.evaluate(spoil)
    assert alarms.count() == 1 and "where it hardly learns" in alarms.inner_text()
    page.evaluate("""() => {
      playground.open("data=moons&net=8:tanh&optimizer=Adam:learning_rate=0.1");
      playground.once(() => playground.training.epochs(400));
    }""")
    assert page.evaluate("playground.training.now.train") < 0.02
    words = page.inner_text("#words")
    assert alarms.count() == 0 and "is saturated" in words and "has learned" in words, words


def test_dead_units_are_named(playground):
    page = playground("net=3:relu")
    page.evaluate("""() => {
      playground.training.network.layers[0].bias[1] = -1000;
      playground.draw(true);
    }""")
    assert "unit 2 is dead" in page.inner_text("#words")


@pytest.mark.parametrize("more", ["dropout=0.3", "normalize=true"])
def test_a_script_within_an_epoch_has_the_weights_of_the_page(playground, more):
    page = playground(f"net=4:tanh:{more}")
    page.click("#epoch")
    page.click("#step")
    _, printed = executed(script_of(page))
    now = page.evaluate("playground.training.now")
    assert float(printed["training"]) == pytest.approx(now["train"], rel=1e-4)
    assert float(printed["test"]) == pytest.approx(now["test"], rel=1e-4)


@pytest.fixture(scope="module")
def found(firefox, address):
    return firefox("playground_in_firefox.cjs", f"{address}#data=moons&net=8:tanh,8:tanh")


def test_firefox_learns_and_is_worked_with(found):
    assert found["errors"] == []
    assert found["right"] > 0.98
    assert found["point"] is not None and found["after"] != found["point"]


def test_what_firefox_says_is_what_its_script_says(found):
    names, _ = executed(found["script"])
    there = names["model"].predict(names["x"]).ravel()
    # After thousands of epochs, differences in rounding have grown.
    np.testing.assert_allclose(there > 0.5, np.array(found["answers"]) > 0.5)
