"""The perceptron, compared with scikit-learn's and the theorem, and where it must fail."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import Perceptron as Neighbour

from gpunn import Perceptron
from gpunn.apps.perceptron import ConvergenceWarning, mistake_bound
from gpunn.datasets import toy

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("epochs", [1, 4])
def test_rosenblatts_rule_is_scikit_learns(rate, epochs):
    """The same order and the same initial weights.

    The start is not zero: a point exactly on the plane is wrong for both classes in scikit-learn,
    and for one class here.
    """
    x, y = toy.moons(40, noise=0.3)
    start = np.array([0.3, -0.2, 0.1])
    theirs = Neighbour(eta0=rate, max_iter=epochs, tol=None, shuffle=False)
    ours = Perceptron(learning_rate=rate, epochs=epochs, shuffle=False, initializer=start)
    theirs.fit(x, y, coef_init=start[:2].copy(), intercept_init=start[2:].copy())
    with pytest.warns(ConvergenceWarning):
        ours.fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=1e-12)
    assert ours.score(x, y) == theirs.score(x, y)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(1, 6),
    rows=st.integers(2, 40),
    margin=st.floats(0.1, 1),
    rate=st.floats(0.01, 10),
)
def test_it_converges_within_the_bound_on_whatever_a_plane_parts(seed, inputs, rows, margin, rate):
    random = np.random.default_rng(seed)
    plane = random.standard_normal(inputs + 1)
    plane /= np.linalg.norm(plane)
    x = 2 * random.standard_normal((4 * rows, inputs))
    distance = x @ plane[:-1] + plane[-1]
    keep = np.abs(distance) >= margin
    x, y = x[keep], (distance[keep] > 0).astype(int)
    if len(np.unique(y)) < 2:
        return
    bound = mistake_bound(x, y, plane)
    unit = Perceptron(learning_rate=rate, epochs=int(bound) + 2, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unit.fit(x, y)
    assert unit.errors_[-1] == 0 and unit.score(x, y) == 1
    assert sum(unit.errors_) <= bound
    assert sum(unit.errors_) <= mistake_bound(x, y, unit.weights_)


def test_the_rate_changes_the_length_of_the_weights_and_nothing_else():
    x, y = toy.separable(60, margin=0.05, seed=2)
    one, small = Perceptron(), Perceptron(learning_rate=0.25)
    assert one.fit(x, y).errors_ == small.fit(x, y).errors_
    np.testing.assert_allclose(small.weights_ * 4, one.weights_, rtol=1e-12)


def test_one_step_by_hand():
    """w = 0 predicts class 1; (1, 2) is of class 0: w becomes -(1, 2, 1)."""
    unit = Perceptron(epochs=1, shuffle=False)
    with pytest.warns(ConvergenceWarning, match="1 of 2 points"):
        unit.fit([[1, 2], [-3, 0]], [0, 1])
    assert unit.weights_.tolist() == [-1, -2, -1]
    delta = Perceptron("delta", learning_rate=0.1).partial_fit([[1, 2]], [0], classes=[0, 1])
    np.testing.assert_allclose(delta.weights_, [-0.1, -0.2, -0.1])
    delta.partial_fit([[1, 2]], [1])  # now w x = -0.6, so t - w x = 1.6
    np.testing.assert_allclose(delta.weights_, [0.06, 0.12, 0.06])
    np.testing.assert_allclose(delta.losses_, [1, 1.6**2])


@pytest.mark.parametrize("order", [True, False])
def test_xor_is_never_learned_whatever_the_order_and_start(order):
    x, y = toy.xor()
    for seed in range(10):
        unit = Perceptron(epochs=200, shuffle=order, seed=seed, initializer="random")
        with pytest.warns(ConvergenceWarning, match="hidden layer"):
            unit.fit(x, y)
        assert min(unit.errors_) > 0 and unit.n_iter_ == 200
        assert unit.score(x, y) <= 0.75


def test_the_delta_rule_comes_to_the_least_squares():
    x, y = toy.moons(80, noise=0.4)
    unit = Perceptron("delta", learning_rate=1e-3, epochs=2000, tolerance=1e-9, shuffle=False).fit(
        x, y
    )
    inputs = np.column_stack([x, np.ones(80)])
    best, *_ = np.linalg.lstsq(inputs, 2.0 * y - 1, rcond=None)
    np.testing.assert_allclose(unit.weights_, best, atol=2e-3)
    least = np.mean((inputs @ best - (2 * y - 1)) ** 2)
    assert unit.losses_[-1] == pytest.approx(least, rel=1e-2)
    assert unit.losses_[0] > unit.losses_[-1]


def test_the_delta_rule_runs_away_and_says_so():
    x, y = toy.separable(20)
    with pytest.raises(FloatingPointError, match="less than 2 over the largest squared length"):
        Perceptron("delta", learning_rate=5.0).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="still changing"):
        Perceptron("delta", learning_rate=0.01, epochs=2).fit(x, y)


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1], ["ham", "spam"], [7.5, 2.5], [True, False]])
def test_any_two_labels(labels):
    x, y = toy.separable(30, seed=4)
    named = np.array(labels)[y]
    unit = Perceptron().fit(x, named)
    np.testing.assert_array_equal(unit.predict(x), named)
    assert unit.classes_.tolist() == sorted(labels)


def test_the_same_seed_the_same_weights():
    x, y = toy.separable(50, margin=0.02)
    fits = [Perceptron(seed=seed, initializer="random").fit(x, y).weights_ for seed in (1, 1, 2)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert (fits[0] != fits[2]).any()


def test_partial_fit_in_order_is_fit_without_shuffling():
    x, y = toy.moons(30)
    whole = Perceptron(epochs=3, shuffle=False)
    with pytest.warns(ConvergenceWarning):
        whole.fit(x, y)
    parts = Perceptron()
    for _ in range(3):
        parts.partial_fit(x[:10], y[:10], classes=[0, 1]).partial_fit(x[10:], y[10:])
    np.testing.assert_array_equal(parts.weights_, whole.weights_)


def test_scikit_learn_can_copy_it():
    copied = clone(Perceptron("delta", learning_rate=0.5, seed=3))
    assert copied.get_params() == Perceptron("delta", learning_rate=0.5, seed=3).get_params()
    assert copied.set_params(rule="rosenblatt").rule == "rosenblatt"
    with pytest.raises(ValueError, match="Did you mean 'seed'"):
        copied.set_params(sead=1)


@pytest.mark.parametrize(
    ("arguments", "x", "y", "message"),
    [
        ({}, [[1], [2]], [1, 1], "exactly two labels; it holds"),
        ({}, [[1], [2], [3]], [1, 2, 3], "two labels"),
        ({}, [[1], [2]], [1], "a label for each of the 2 rows"),
        ({}, [1, 2], [1, 2], r"points \(rows, inputs\)"),
        ({}, [[np.nan], [2]], [1, 2], "x must be finite"),
        ({"rule": "hebb"}, [[1], [2]], [1, 2], "rule must be one of rosenblatt, delta"),
        ({"learning_rate": 0}, [[1], [2]], [1, 2], "learning_rate must be above 0"),
        ({"epochs": 0}, [[1], [2]], [1, 2], "epochs must be an integer of at least 1"),
        ({"initializer": [1, 2, 3]}, [[1], [2]], [1, 2], "1 inputs and the bias"),
        ({"initializer": "ones"}, [[1], [2]], [1, 2], "initializer must be one of"),
    ],
)
def test_what_does_not_fit_is_named(arguments, x, y, message):
    with pytest.raises(ValueError, match=message):
        Perceptron(**arguments).fit(x, y)


def test_an_untrained_one_and_other_inputs():
    with pytest.raises(ValueError, match="call fit first"):
        Perceptron().predict([[1]])
    with pytest.raises(ValueError, match="x has 3 inputs; the perceptron learned from 2"):
        Perceptron().fit(*toy.separable(9)).predict([[1, 2, 3]])
    with pytest.raises(ValueError, match="separates the classes"):
        mistake_bound([[1.0], [-1.0]], [1, 0], [-1.0, 0.0])
