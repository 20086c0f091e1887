"""Plots: they show the given data, are readable without colour, and change nothing."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.svm import SVC

import gpunn
from gpunn import layers
from gpunn.apps import plots
from gpunn.apps.plots import style
from gpunn.apps.plots.scores import probabilities
from gpunn.datasets import toy

RNG = np.random.default_rng(5)


def network(*stack, loss="binary_crossentropy", optimizer="adam"):
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential(list(stack), backend="numpy")
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def digits():
    """Twelve 6 x 6 images of three classes, and a network with every kind of panel."""
    x, y = RNG.random((12, 6, 6)), np.arange(12) % 3
    model = network(
        layers.Input((6, 6)),
        layers.Rescaling(0.5),
        layers.Flatten(),
        layers.Dense(25, "relu", name="wide"),
        layers.Dense(3, "softmax", name="last"),
        loss="sparse_categorical_crossentropy",
    )
    return model, x, y


MOONS = toy.moons(60)


def pictures(digits):
    """Calls of every function."""
    model, x, y = digits
    line = network(layers.Input((1,)), layers.Dense(1, name="line"), loss="mse")
    return {
        "history": lambda: plots.history({"loss": [3, 2, 1], "val_loss": [3, 2, 2]}),
        "curves": lambda: plots.curves({"a": [1, 2], "b": [2, 3]}),
        "learning_curve": lambda: plots.learning_curve([5, 9], [1, 1], [[0.5, 0.6], [0.7, 0.7]]),
        "learning_rates": lambda: plots.learning_rates(
            SimpleNamespace(rates=[0.1, 1, 9], losses=[2, 1, 3], suggestion=0.1, steepest=1.0)
        ),
        "points": lambda: plots.points(*MOONS),
        "decision_boundary": lambda: plots.decision_boundary(SVC().fit(*MOONS), *MOONS),
        "decision_slices": lambda: plots.decision_slices(
            lambda p: p.sum(axis=1) > 1.5, RNG.random((20, 3)), np.arange(20) % 2
        ),
        "error_surface": lambda: plots.error_surface(line, [[1.0]], [[2.0]], resolution=5),
        "confusion_matrix": lambda: plots.confusion_matrix([0, 1, 1], [0, 1, 0]),
        "images": lambda: plots.images(x, list("abcdefghijkl")),
        "worst_mistakes": lambda: plots.worst_mistakes(model, x, y, 4),
        "first_layer": lambda: plots.first_layer(model),
        "network": lambda: plots.network(model),
        "layer_activations": lambda: plots.layer_activations(model, x[0]),
    }


def test_every_function_is_called_here(digits):
    assert {*pictures(digits), "PathRecorder"} == set(plots.__all__)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", [name for name in plots.__all__ if name != "PathRecorder"])
def test_a_picture_is_labelled_and_leaves_settings_alone(name, digits, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = pictures(digits)[name]()
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "picture.png", dpi=40)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
    assert figure.axes
    for axes in figure.axes:
        is_bar = axes.get_label() == "<colorbar>"
        if axes.get_xticks().size and not is_bar:
            assert axes.get_xlabel() and axes.get_ylabel(), name
        if is_bar:
            assert axes.get_ylabel() in ("loss", "weight", "activation")
    several = ("images", "worst_mistakes", "first_layer", "layer_activations", "decision_slices")
    titled = [axes for axes in figure.axes if axes.get_title()]
    if name in several:
        assert len(titled) > 1


def test_pyplot_is_not_touched_and_no_window_is_needed():
    """Also without a display, and with a backend that cannot show figures."""
    code = (
        "import sys, gpunn\n"
        "gpunn.plots.history({'loss': [1, 2]}).savefig('/dev/null', format='png')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"DISPLAY": ""})
    assert done.stdout.split() == ["False"]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "gpunn\[plot\]"'):
        plots.points(*MOONS)


def test_drawn_into_given_axes_and_nothing_else_is():
    axes = Figure().subplots()
    assert plots.points(*MOONS, ax=axes) is axes.figure
    assert axes.collections
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes"):
        plots.points(*MOONS, ax="here")


# -- without colour


def grey(color) -> float:
    """Luminance by ITU-R BT.601, which Pillow and printers use to convert to grey."""
    return float(np.dot(to_rgb(color), [0.299, 0.587, 0.114]))


def test_lines_differ_in_dashes_and_markers():
    styles = [style.line_style(i) for i in range(6)]
    assert len({str(s["linestyle"]) for s in styles}) == len({s["marker"] for s in styles}) == 6
    pairs = {(str(s["linestyle"]), s["marker"]) for s in map(style.line_style, range(30))}
    assert len(pairs) == 30


def test_neighbouring_classes_differ_in_marker_and_in_grey():
    styles = [style.class_style(i) for i in range(10)]
    assert len({s["marker"] for s in styles}) == 10
    for one, next_one in itertools.pairwise(styles):
        assert abs(grey(one["facecolors"]) - grey(next_one["facecolors"])) > 0.2
    assert len(set(style.HATCHES)) == 10
    assert grey(style.SHADES[1]) - grey(style.SHADES[0]) > 0.1  # two bars are not hatched


SVG = "{http://www.w3.org/2000/svg}"


def dashes(figure, lines):
    """Return the dashes of each line from the SVG drawing."""
    for number, line in enumerate(lines):
        line.set_gid(f"line-{number}")
    drawing = io.BytesIO()
    figure.savefig(drawing, format="svg")
    root = ElementTree.fromstring(drawing.getvalue())
    drawn = {element.get("id"): element for element in root.iter(f"{SVG}g")}
    styles = [drawn[line.get_gid()].find(f"{SVG}path").get("style") for line in lines]
    return [re.findall(r"stroke-dasharray: ([^;]+)", style) for style in styles]


def test_two_lines_of_a_picture_differ_without_colour():
    for figure in (
        plots.history({"loss": [1, 2], "val_loss": [2, 3]}),
        plots.curves({str(i): [i, i + 1] for i in range(5)}),
        plots.error_surface(lambda a, b: a * b, path={"a": [[0, 1], [1, 1]], "b": [[1, 0]]}),
    ):
        lines = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
        patterns = dashes(figure, lines)
        marks = {(*dash, line.get_marker()) for dash, line in zip(patterns, lines, strict=True)}
        assert len(marks) == len(lines) > 1


# -- over time


def drawn(axes) -> dict:
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_history_of_a_run_from_all_four_sources(tmp_path):
    x, y = MOONS
    model = network(layers.Input((2,)), layers.Dense(4, "tanh"), layers.Dense(1, "sigmoid"))
    log = gpunn.callbacks.CSVLogger(tmp_path / "log.csv")
    run = model.fit(x, y, epochs=5, validation_split=0.5, verbose=0, callbacks=[log])
    expected = run.history
    for source in (run, run.history, model, tmp_path / "log.csv", str(tmp_path / "log.csv")):
        figure = plots.history(source)
        panels = {axes.get_ylabel(): axes for axes in figure.axes}
        assert sorted(panels) == ["accuracy", "loss"]
        for name, axes in panels.items():
            for label, key in (("training", name), ("held out", f"val_{name}")):
                points = np.array(drawn(axes)[label])
                assert points[:, 0].tolist() == [1, 2, 3, 4, 5]
                np.testing.assert_allclose(points[:, 1], expected[key])
            assert axes.get_xlabel() == "epoch" and axes.get_legend()


def test_history_without_validation_has_no_legend_and_no_second_line(tmp_path):
    x, y = MOONS
    model = network(layers.Input((2,)), layers.Dense(1, "sigmoid"))
    log = gpunn.callbacks.CSVLogger(tmp_path / "log.csv")  # it writes NA for val_loss
    model.fit(x, y, epochs=2, verbose=0, callbacks=[log])
    axes = plots.history(tmp_path / "log.csv", ["loss"]).axes[0]
    assert list(drawn(axes)) == ["training"] and axes.get_legend() is None


def test_validation_now_and_then_stands_at_its_epochs():
    x, y = MOONS
    model = network(layers.Input((2,)), layers.Dense(1, "sigmoid"))
    run = model.fit(x, y, epochs=7, validation_split=0.5, validation_freq=3, verbose=0)
    points = np.array(drawn(plots.history(run, ["loss"]).axes[0])["held out"])
    assert points[:, 0].tolist() == [3, 6]
    assert points[:, 1].tolist() == run.history["val_loss"]


def test_history_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no epoch"):
        plots.history({})
    with pytest.raises(ValueError, match=r"'lose' is not in the history: loss"):
        plots.history({"loss": [1]}, ["lose"])
    with pytest.raises(TypeError, match="path of a CSV file"):
        plots.history(3)
    with pytest.raises(ValueError, match="ax is for one metric"):
        plots.history({"a": [1], "b": [1]}, ax=Figure().subplots())
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column 'epoch'"):
        plots.history(tmp_path / "other.csv")


def test_curves_and_learning_curve():
    axes = plots.curves({"one": [4, 2], "two": ([0, 5], [1, 3])}, logx=True, logy=True).axes[0]
    assert drawn(axes) == {"one": [[1, 4], [2, 2]], "two": [[0, 1], [5, 3]]}
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    with pytest.raises(ValueError, match=r"runs\['a'\]"):
        plots.curves({"a": ([1, 2], [1, 2, 3])})
    with pytest.raises(ValueError, match="runs must be a dictionary"):
        plots.curves([1, 2])
    axes = plots.learning_curve([10, 100], [1, 0.9], [[0.2, 0.4], [0.5, 0.9]]).axes[0]
    np.testing.assert_allclose(drawn(axes)["held out"], [[10, 0.3], [100, 0.7]])
    (bars,) = axes.collections
    assert [s[:, 1].tolist() for s in bars.get_segments()] == [[0.2, 0.4], [0.5, 0.9]]
    with pytest.raises(ValueError, match="held_out must have a row for each of the 2 sizes"):
        plots.learning_curve([10, 100], [1, 2], [1, 2, 3])


# -- classes and images


@pytest.mark.parametrize("form", ["labels", "scores", "counts", "names"])
def test_confusion_matrix_is_scikit_learns(form):
    from sklearn.metrics import confusion_matrix

    true, predicted = RNG.integers(0, 4, 200), RNG.integers(0, 4, 200)
    counts = confusion_matrix(true, predicted)
    given = {
        "labels": (true, predicted),
        "scores": (np.eye(4)[true], np.eye(4)[predicted] + 0.1),
        "counts": (counts,),
        "names": (
            np.array(list("dabc"))[(true + 1) % 4],
            np.array(list("dabc"))[(predicted + 1) % 4],
        ),
    }[form]
    axes = plots.confusion_matrix(*given).axes[0]
    numbers = np.array([int(t.get_text() or 0) for t in axes.texts]).reshape(4, 4)
    np.testing.assert_array_equal(numbers, counts)
    assert axes.get_title() == f"{np.trace(counts) / 200:.1%} of 200 right"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    shade = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shade**2, counts / counts.sum(1, keepdims=True))


def test_confusion_matrix_of_labels_that_only_one_side_has():
    axes = plots.confusion_matrix([1, 1, 5], [1, 7, 5]).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "5", "7"]
    assert [t.get_text() for t in axes.texts] == ["1", "", "1", "", "1", "", "", "", ""]
    with pytest.raises(ValueError, match="y_true has 2 rows, y_pred 3"):
        plots.confusion_matrix([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="must be counts"):
        plots.confusion_matrix([1, 2])


@pytest.mark.parametrize("one_hot", [False, True])
def test_confusion_matrix_of_a_model(digits, one_hot):
    model, x, y = digits
    answers = model.predict(x, verbose=0).argmax(1)
    expected = [t.get_text() for t in plots.confusion_matrix(y, answers).axes[0].texts]
    given = gpunn.utils.to_categorical(y) if one_hot else y
    found = plots.confusion_matrix(model, x, given)
    assert [t.get_text() for t in found.axes[0].texts] == expected
    with pytest.raises(TypeError, match=r"pass inputs and labels: confusion_matrix\(model, x, y\)"):
        plots.confusion_matrix(model, x)
    with pytest.raises(TypeError, match="the first argument is no model"):
        plots.confusion_matrix(y, answers, y)
    with pytest.raises(ValueError, match="x has 3 rows, y 2"):
        plots.confusion_matrix(model, x[:3], y[:2])


def test_the_worst_mistakes_come_in_the_order_of_their_loss(digits):
    _, x, y = digits
    given = RNG.dirichlet(np.ones(3), 12)
    figure = plots.worst_mistakes(lambda _: given, x, y, count=5)
    loss = -np.log(given[np.arange(12), y])
    wrong = [i for i in np.argsort(-loss) if given[i].argmax() != y[i]]
    for axes, i in zip(figure.axes, wrong, strict=False):
        best = given[i].argmax()
        assert axes.get_title() == f"{y[i]} taken for {best}\n{given[i, best]:.1%}  #{i}"
        np.testing.assert_array_equal(axes.images[0].get_array(), x[i])
    assert figure.get_suptitle() == f"{len(wrong)} mistakes in 12: the {min(5, len(wrong))} worst"
    assert len(figure.axes) == min(5, len(wrong))


def test_without_mistakes_the_least_sure_are_shown(digits):
    _, x, y = digits
    given = np.full((12, 3), 0.1)
    given[np.arange(12), y] = 0.8
    given[7] = [0.2, 0.6, 0.2]
    figure = plots.worst_mistakes(lambda _: given, x.reshape(12, 36), y, count=2)
    assert figure.get_suptitle() == "No mistakes in 12: the 2 least sure"
    assert figure.axes[0].get_title() == f"{y[7]}\n60.0%  #7"


def test_probabilities_of_logits_and_of_a_single_output():
    x = RNG.normal(size=(5, 2))
    many = network(
        layers.Input((2,)),
        layers.Dense(3),
        loss=gpunn.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    z = many.predict(x, verbose=0).astype(float)
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(many, x), expected, rtol=1e-6)
    loss = gpunn.losses.BinaryCrossentropy(from_logits=True)
    with pytest.warns(UserWarning, match=r"reads sigmoid\(outputs\)"):
        one = network(layers.Input((2,)), layers.Dense(1), loss=loss)
    z = one.predict(x, verbose=0)[:, 0].astype(float)
    np.testing.assert_allclose(probabilities(one, x)[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-6)
    with pytest.raises(ValueError, match="must give probabilities"):
        probabilities(lambda x: x * 10, x)


def test_first_layer_draws_each_units_weights(digits):
    model, _, _ = digits
    kernel = model.weights_dict()["wide/kernel"]
    figure = plots.first_layer(model, count=7)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 7
    for number, axes in enumerate(pictures):
        picture = axes.images[0]
        np.testing.assert_array_equal(picture.get_array(), kernel[:, number].reshape(6, 6))
        assert picture.norm.vmin == -picture.norm.vmax  # zero is the middle grey
    assert plots.first_layer(model, shape=(4, 9)).axes[0].images[0].get_array().shape == (4, 9)
    assert plots.first_layer(model, layer="last").axes[0].images[0].get_array().shape == (5, 5)
    odd = network(layers.Input((7,)), layers.Dense(2), loss="mse")
    with pytest.raises(ValueError, match=r"7 values per image, .* pass shape=\(height, width\)"):
        plots.first_layer(odd)
    with pytest.raises(ValueError, match=r"do not fit the shape \(2, 4\)"):
        plots.first_layer(odd, shape=(2, 4))


def test_activations_are_those_of_the_layers(digits):
    model, x, _ = digits
    outputs = model.activations(x[:1])
    figure = plots.layer_activations(model, x[0], classes=["a", "b", "c"])
    by_title = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(by_title) == ["input", "wide (25 units)", "last (3 units)"]
    np.testing.assert_array_equal(by_title["input"].images[0].get_array(), x[0])
    field = np.ma.filled(by_title["wide (25 units)"].images[0].get_array(), np.nan).ravel()
    np.testing.assert_array_equal(field[:25], outputs["wide"][0])
    heights = [bar.get_height() for bar in by_title["last (3 units)"].patches]
    np.testing.assert_array_equal(heights, outputs["last"][0])
    ticks = [tick.get_text() for tick in by_title["last (3 units)"].get_xticklabels()]
    assert ticks == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"one sample of shape \(6, 6\)"):
        plots.layer_activations(model, x)


def test_activations_of_models_in_a_model() -> None:
    inner = gpunn.Sequential(
        [gpunn.Input((4, 4, 1)), gpunn.layers.Conv2D(2, 2, name="conv")], name="inner"
    )
    last = gpunn.layers.Dense(2, name="last")
    model = gpunn.Sequential([gpunn.Input((4, 4, 1)), inner, gpunn.layers.Flatten(), last])
    figure = plots.layer_activations(model, np.ones((4, 4, 1)))
    titles = [a.get_title() for a in figure.axes if a.get_title()]
    assert [title.split(" ")[0] for title in titles] == ["input", "inner/conv", "last"]


def test_images_of_every_form():
    grey_images = RNG.random((3, 4, 5))
    for given, options in (
        (grey_images, {}),
        (grey_images[..., None], {}),
        (grey_images.reshape(3, 20), {"shape": (4, 5)}),
    ):
        figure = plots.images(given, **options)
        for axes, image in zip(figure.axes, grey_images, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), image)
    assert plots.images(RNG.random((2, 4, 4, 3))).axes[0].images[0].get_array().shape == (4, 4, 3)
    for wrong, message in (
        (np.ones((2, 3, 4, 7)), "not a grey or RGB image"),
        (np.ones(4), "must be images"),
        (np.ones((0, 4, 4)), "no image"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.images(wrong)
    with pytest.raises(ValueError, match="titles has 1 entries, x has 3"):
        plots.images(grey_images, ["a"])
