"""Plots of points in the plane and of a classifier's decision boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

import gpunn
from gpunn import layers
from gpunn.apps import plots
from gpunn.apps.plots.scores import Scores
from gpunn.datasets import toy

RNG = np.random.default_rng(5)


def network(*stack, loss="binary_crossentropy", optimizer="adam"):
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential(list(stack), backend="numpy")
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


MOONS = toy.moons(60)


def classes_drawn(axes) -> dict:
    return {
        c.get_label(): np.asarray(c.get_offsets())
        for c in axes.collections
        if c.get_label().startswith(("class", "wrong", "no", "yes"))
    }


def test_points_are_those_given():
    x, y = toy.rings(90, classes=3)
    shown = classes_drawn(plots.points(x, y).axes[0])
    assert list(shown) == ["class 0", "class 1", "class 2"]
    for number in range(3):
        np.testing.assert_array_equal(shown[f"class {number}"], x[y == number])


TWO = {
    "labels": lambda p: (p[:, 0] > 0.5).astype(int),
    "truth values": lambda p: p[:, 0] > 0.5,
    "probability": lambda p: 1 / (1 + np.exp(-9 * (p[:, 0] - 0.5))),
    "column": lambda p: 1 / (1 + np.exp(-9 * (p[:, :1] - 0.5))),
    "two scores": lambda p: np.column_stack([1 - p[:, 0], p[:, 0]]),
    "float labels": lambda p: (p[:, 0] > 0.5).astype(float),
}


@pytest.mark.parametrize("kind", TWO)
def test_the_boundary_lies_where_the_classifier_changes_its_mind(kind):
    x, y = RNG.random((50, 2)), np.arange(50) % 2
    axes = plots.decision_boundary(TWO[kind], x, y, resolution=100).axes[0]
    lines = [c for c in axes.collections if hasattr(c, "levels") and not c.filled]
    assert len(lines) == 2  # each class's own edge
    for line in lines:
        (path,) = line.get_paths()
        np.testing.assert_allclose(path.vertices[:, 0], 0.5, atol=0.01)
    shown = classes_drawn(axes)
    wrong = (x[:, 0] > 0.5) != y
    np.testing.assert_array_equal(shown["wrong"], x[wrong])
    assert axes.get_title() == f"{wrong.sum()} of 50 points wrong"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("input 0", "input 1")


def test_threshold_follows_the_labels_the_logits_or_the_caller():
    x = np.array([[0.2], [0.8], [-0.2]])
    signs = Scores(lambda p: p, np.array([-1, 1]))
    assert signs(x).argmax(1).tolist() == [1, 1, 0]
    assert Scores(lambda p: p, np.array([0, 1]))(x).argmax(1).tolist() == [0, 1, 0]
    assert Scores(lambda p: p, np.array([0, 1]), 0.1)(x).argmax(1).tolist() == [1, 1, 0]
    with pytest.warns(UserWarning, match=r"reads sigmoid\(outputs\)"):
        model = network(
            layers.Input((1,)),
            layers.Dense(1, kernel_initializer="ones"),
            loss=gpunn.losses.BinaryCrossentropy(from_logits=True),
        )
    assert Scores(model, np.array([0, 1]))(x).argmax(1).tolist() == [1, 1, 0]


def test_a_decision_function_of_0_and_1_is_no_label():
    class Unit:
        def decision_function(self, x):
            return np.round(x[:, 0])  # 0 belongs to the second class

    x = np.array([[-1.0], [0.0], [1.0]])
    scores = Scores(Unit(), np.array([0, 1]))
    assert scores(x).tolist() == [[1, -1], [0, 0], [-1, 1]]
    Unit.predict = lambda self, x: (x[:, 0] >= 0).astype(int)  # type: ignore[attr-defined]
    assert scores.classify(x).tolist() == [0, 1, 1]  # as the model itself predicts


@pytest.mark.parametrize(
    "estimator", [SVC(), LinearSVC(), LogisticRegression(), KNeighborsClassifier(3)]
)
@pytest.mark.parametrize("labels", [["no", "yes"], [-1, 1], [7, 9]])
def test_scikit_learns_classifiers_are_asked_as_they_answer(estimator, labels):
    x, y = MOONS
    named = np.array(labels)[y]
    fitted = estimator.fit(x, named)
    scores = Scores(fitted, np.array(labels))
    grid = RNG.uniform(-1, 2, (200, 2))
    assert (scores.labels[scores(grid).argmax(1)] == fitted.predict(grid)).all()
    axes = plots.decision_boundary(fitted, x, named, resolution=20).axes[0]
    wrong = int((fitted.predict(x) != named).sum())
    assert axes.get_title() == (f"{wrong} of 60 points wrong" if wrong else "all points right")


def test_our_models_of_two_and_of_several_classes():
    x, y = toy.spirals(60, classes=3)
    model = network(
        layers.Input((2,)), layers.Dense(3, "softmax"), loss="sparse_categorical_crossentropy"
    )
    scores = Scores(model, np.arange(3))(x)
    np.testing.assert_array_equal(scores.argmax(1), model.predict(x, verbose=0).argmax(1))
    for targets in (y, np.eye(3)[y]):
        shown = classes_drawn(plots.decision_boundary(model, x, targets, resolution=9).axes[0])
        np.testing.assert_array_equal(shown["class 2"], x[y == 2])
    single = network(layers.Input((2,)), layers.Dense(1, "sigmoid"))
    x, y = MOONS
    right = ((single.predict(x, verbose=0)[:, 0] > 0.5) == y).sum()
    title = plots.decision_boundary(single, x, y, resolution=9).axes[0].get_title()
    assert title == f"{60 - right} of 60 points wrong"


def test_more_inputs_are_held_at_the_fixed_values():
    x = RNG.random((40, 3))
    y = (x.sum(axis=1) > 1.5).astype(int)
    asked = []

    def model(points):
        asked.append(points)
        return points.sum(axis=1) > 1.5

    plots.decision_boundary(model, x, y, features=(2, 0), fixed={1: 0.25}, resolution=11)
    assert set(asked[-1][:, 1]) == {0.25}
    assert np.ptp(asked[-1][:, 0]) > 1 and np.ptp(asked[-1][:, 2]) > 1
    axes = plots.decision_boundary(model, x, y, features=(2, 0), resolution=11).axes[0]
    assert set(asked[-1][:, 1]) == {np.median(x[:, 1])}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("input 2", "input 0")
    near = np.abs(x[:, 1] - np.median(x[:, 1])) <= 0.1 * np.ptp(x[:, 1])
    np.testing.assert_array_equal(classes_drawn(axes)["class 1"], x[near & (y == 1)][:, [2, 0]])
    figure = plots.decision_slices(model, x, y, at=[0.1, 0.9], names=list("abc"), resolution=5)
    assert [axes.get_title() for axes in figure.axes] == ["c = 0.1", "c = 0.9"]
    assert [axes.get_legend() is None for axes in figure.axes] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": [[1.0], [2.0]]}, r"x must be points .* shape is \(2, 1\)"),
        ({"y": [0, 1, 1]}, "y has 3 rows, x has 2"),
        ({"features": (0, 2)}, "features must be two different numbers from 0 to 1"),
        ({"fixed": [1.0]}, r"a value for each of the inputs \[\]"),
        ({"names": ["a"]}, "names has 1 entries"),
        ({"classes": ["a"]}, "classes has 1 names; there are 2"),
        ({"model": 3}, "model must be a gpunn model"),
        ({"model": lambda p: p[:1]}, r"model gave outputs of shape \(1, 2\) for 2 points"),
        ({"model": lambda p: np.ones((len(p), 1)) * 0.3, "y": ["a", "b"]}, None),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    given = {"model": lambda p: p[:, 0] > 1, "x": [[0.0, 1.0], [2.0, 1.0]], "y": [False, True]}
    given |= arguments
    if message is None:
        plots.decision_boundary(**given)
        return
    with pytest.raises((ValueError, TypeError), match=message):
        plots.decision_boundary(**given)
