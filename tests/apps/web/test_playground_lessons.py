"""The lessons of the playground: each shows its symptom, and its cure removes it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import gpunn
from gpunn.training.loops import NonFiniteLossError

pytestmark = pytest.mark.more(2)

NOW = "playground.training.now"
# What each lesson shows before its cure, in the diagnostics, and what is true before and after it.
LESSONS = {
    "learning-rate": ("Training diverges", f"{NOW}.train > 2", f"{NOW}.train < 0.3"),
    "dead-relu": ("3, 4, 5 and 6 are dead", f"{NOW}.train > 0.69", f"{NOW}.train < 0.5"),
    "unscaled-inputs": ("are not scaled", f"{NOW}.testRight < 0.7", f"{NOW}.testRight > 0.8"),
    "outlier": ("", "true", "true"),
    "leak": ("", f"{NOW}.testRight > 0.85", f"{NOW}.testRight < 0.6"),
    "too-little-data": (
        "The network overfits", f"{NOW}.test > 20 * {NOW}.train", f"{NOW}.test < 2 * {NOW}.train",
    ),
}


@pytest.mark.parametrize("name", LESSONS)
def test_the_symptom_shows_and_the_cure_removes_it(playground, name):
    word, ill, well = LESSONS[name]
    page = playground(f"lesson={name}")
    assert page.inner_text("#message") == ""
    assert page.url.endswith(f"#lesson={name}")
    shown = page.inner_text("#lesson")
    for title in ("Symptom", "Diagnosis", "Cure"):
        assert title in shown
    assert word in page.inner_text("#words")
    assert page.evaluate(ill)
    page.click("#lesson button")
    assert page.url.endswith(f"#lesson={name}&cured=true")
    assert not word or word not in page.inner_text("#words")
    assert page.evaluate(well)
    page.click("text=Show the symptom again")
    assert page.url.endswith(f"#lesson={name}")
    assert page.evaluate(ill)


def test_the_outlier_bends_the_line(playground):
    """The line of numpy's least squares, and with the cure that of the other points."""
    page = playground("lesson=outlier")
    points = np.array(page.evaluate("playground.data.points"))
    predict = "x => [...playground.training.network.predict(Float32Array.from(x), x.length)]"
    x = [-1.0, 1.0]
    pulled = np.polyval(np.polyfit(*points.T, 1), x)
    np.testing.assert_allclose(page.evaluate(predict, x), pulled, atol=0.1)
    page.click("text=Use the loss huber")
    straight = np.polyval(np.polyfit(*points[:-1].T, 1), x)
    np.testing.assert_allclose(page.evaluate(predict, x), straight, atol=0.25)
    assert abs(pulled - straight).max() > 0.5


def test_a_lesson_is_chosen_and_left(playground):
    page = playground()
    names = page.locator("#lessons option").evaluate_all("all => all.map((o) => o.value)")
    assert names == ["", *LESSONS]
    page.select_option("#lessons", "leak")
    assert page.url.endswith("#lesson=leak") and page.is_visible("#lesson")
    page.select_option("#lessons", "")
    assert page.is_hidden("#lesson")
    assert page.evaluate("playground.settings.data") == "moons"


def test_a_changed_lesson_has_its_settings_in_the_address(playground, opened):
    page = playground("lesson=unscaled-inputs")
    page.get_by_label("Learning rate").fill("0.5")
    page.get_by_label("Learning rate").press("Enter")
    assert "lesson" not in page.url.split("#")[1]
    again = opened(page.url, "html[data-ready]")
    here, there = (each.evaluate("playground.settings") for each in (page, again))
    np.testing.assert_allclose(there.pop("own")["points"], here.pop("own")["points"], rtol=1e-4)
    assert there == here


@pytest.mark.parametrize("name", ["algebra", "__proto__", "<b>"])
def test_an_unknown_lesson_is_refused_with_the_known_ones(playground, name):
    page = playground(f"lesson={name}")
    message = page.inner_text("#message")
    assert f"no lesson “{name}”" in message and all(known in message for known in LESSONS)
    assert page.is_hidden("#lesson")


def test_the_docs_list_the_lessons():
    docs = Path(gpunn.__file__).parents[1] / "docs" / "how-to" / "playground.md"
    assert re.findall(r"`#lesson=([a-z-]+)`", docs.read_text(encoding="utf-8")) == [*LESSONS]


@pytest.mark.parametrize("rate", ["SGD:learning_rate=1000", "Adam:learning_rate=1000"])
@pytest.mark.parametrize("more", ["moons", "spirals&classes=3", "sine", "moons&net=8:relu,8:relu"])
def test_a_learning_rate_of_1000_is_called_diverging(playground, more, rate):
    page = playground(f"data={more}&optimizer={rate}")
    for _ in range(3):
        page.click("#epoch")
        words = page.inner_text("#words")
        assert words.startswith("Training diverges") and "learning rate is too high" in words
        assert "anishing" not in words


def test_fit_has_the_same_words(playground):
    words = playground("lesson=learning-rate").inner_text("#words")
    model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    model.compile(gpunn.optimizers.SGD(1e30), "mse")
    x = np.linspace(-1, 1, 64)[:, None]
    with pytest.raises(NonFiniteLossError) as error:
        model.fit(x, 3 * x, epochs=5, verbose=0)
    for same in ("Training diverges: the loss", "too high", "inputs", "not scaled", "a tenth of"):
        assert same in words and same in str(error.value)


def test_nothing_diverges_where_training_is_healthy(playground):
    for data in ("moons", "spirals&classes=3", "sine", "hills"):
        page = playground(f"data={data}")
        for _ in range(5):
            page.click("#epoch")
            assert "diverges" not in page.inner_text("#words")
