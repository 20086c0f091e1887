"""Test the toy problems: reproducible by seed, balanced, and shaped as their names say."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_moons
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVC

from gpunn import Perceptron
from gpunn.datasets import toy

RANDOM = ("moons", "rings", "separable", "spirals", "split", "xor")


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("rows", [1, 10, 101])
def test_form_balance_and_seed(name, rows):
    make = getattr(toy, name)
    x, y = make(rows, seed=3)
    assert x.shape == (rows, 2) and y.shape == (rows,)
    assert x.dtype == np.float64 and y.dtype == np.int64 and np.isfinite(x).all()
    if name != "xor":
        assert np.ptp(np.bincount(y, minlength=2)) <= 1
    again = make(rows, seed=3)
    np.testing.assert_array_equal(again[0], x)
    np.testing.assert_array_equal(again[1], y)
    if name != "xor" or rows == 1:
        return
    assert (make(rows, noise=0.1, seed=4)[0] != make(rows, noise=0.1, seed=3)[0]).any()


def test_global_random_numbers_are_not_used():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for name in RANDOM:
        getattr(toy, name)()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_points_are_those_of_the_example():
    path = Path(__file__).parents[2] / "examples" / "lessons" / "ten_points.py"
    text = path.read_text(encoding="utf-8")
    x, y = toy.ten_points()
    if "X1 =" in text:
        names = runpy.run_path(str(path))
        np.testing.assert_array_equal(x, np.array([names["X1"], names["X2"]]).T)
        np.testing.assert_array_equal(y, names["CLASSES"])
        np.testing.assert_array_equal(toy.eleven_points()[0][-1], names["ELEVENTH"][0])
    np.testing.assert_array_equal(toy.eleven_points()[0][:10], x)
    assert toy.eleven_points()[1].tolist() == [*y.tolist(), 1]


def test_the_eleventh_point_makes_it_harder():
    """No line separates either set, but a conic does; the extra point narrows the margin."""
    margins = []
    for x, y in (toy.ten_points(), toy.eleven_points()):
        assert SVC(kernel="linear", C=1e6).fit(x, y).score(x, y) < 1
        conic = SVC(kernel="poly", degree=2, coef0=1, C=1e9).fit(x, y)
        assert conic.score(x, y) == 1
        margins.append(1 / np.sqrt(np.abs(conic.dual_coef_).sum()))
    assert margins[1] < 0.7 * margins[0], margins


def test_moons_lie_on_scikit_learns():
    x, y = toy.moons(400, noise=0)
    curve, label = make_moons(20_000, shuffle=False)
    for number in (0, 1):
        distance = np.linalg.norm(x[y == number][:, None] - curve[label == number][::20], axis=2)
        assert distance.min(axis=1).max() < 0.01


def test_rings_and_spirals_have_the_radii_they_say():
    x, y = toy.rings(200, noise=0, classes=4)
    np.testing.assert_allclose(np.hypot(*x.T), (y + 1) / 4)
    x, y = toy.spirals(300, noise=0, classes=3, turns=2)
    radius, angle = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    turn = (angle / (2 * np.pi) - 2 * radius - y / 3) % 1
    np.testing.assert_allclose(np.minimum(turn, 1 - turn), 0, atol=1e-9)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), margin=st.floats(0.05, 0.5))
def test_separable_has_its_margin(seed, margin):
    x, y = toy.separable(40, margin, seed)
    assert np.abs(x).max() <= 1
    widest = SVC(kernel="linear", C=1e9).fit(x, y)
    assert widest.score(x, y) == 1
    assert 1 / np.linalg.norm(widest.coef_) >= margin * (1 - 1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Perceptron(epochs=100_000).fit(x, y).errors_[-1] == 0


@pytest.mark.parametrize("name", ["xor", "split", "rings", "spirals"])
def test_no_line_parts_the_others(name):
    x, y = getattr(toy, name)()
    guess = LinearRegression().fit(x, y).predict(x) > 0.5
    assert (guess == y).mean() <= 0.75


def test_noise_has_the_deviation_it_says():
    x, y = toy.xor(20_000, noise=0.3, seed=1)
    corner = x[::4]  # all of (0, 0)
    np.testing.assert_allclose(corner.std(axis=0), 0.3, rtol=0.03)
    np.testing.assert_allclose(corner.mean(axis=0), 0, atol=0.02)
    assert set(y[::4]) == {0}
    x, y = toy.split(20_000, noise=0.1, seed=1)
    middle = x[y == 1]
    np.testing.assert_allclose((middle @ [0.5, 0.5]).std(), 0.1, rtol=0.03)
    np.testing.assert_allclose((middle @ [0.5, -0.5]).std(), 0.3, rtol=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: toy.moons(0), "rows must be an integer of at least 1"),
        (lambda: toy.moons(10, -1), "noise must be at least 0"),
        (lambda: toy.rings(10, classes=1), "classes must be an integer of at least 2"),
        (lambda: toy.separable(10, 0.9), "margin must be from 0 to 0.5"),
        (lambda: toy.xor(4, seed="a"), "seed must be an integer"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
