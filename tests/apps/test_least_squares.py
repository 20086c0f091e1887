"""Nonlinear least squares: the Jacobian and the fit, against SciPy, PyTorch and closed forms."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy.optimize import approx_fprime, curve_fit, least_squares

import gpunn
from gpunn import fit_least_squares, layers
from gpunn.apps.least_squares import output_jacobian
from gpunn.datasets import toy

RNG = np.random.default_rng(11)


def network(*units, inputs=2, activation="tanh", seed=0, dtype="float64", last=None, **options):
    gpunn.utils.set_random_seed(seed)
    stack = [layers.Input((inputs,))]
    for number, count in enumerate(units):
        final = number == len(units) - 1
        stack.append(layers.Dense(count, last if final else activation, bias_initializer="normal"))
    return gpunn.Sequential(stack, dtype=dtype, **options)


def flat(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


def outputs_at(model, x):
    """Return the outputs as a function of all weights, through the public API."""
    shapes = [w.shape for w in model.get_weights()]
    ends = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]

    def outputs(parameters):
        parts = np.split(parameters, ends)
        model.set_weights([p.reshape(s) for p, s in zip(parts, shapes, strict=True)])
        return model.predict(x, verbose=0).astype(float).ravel()

    return outputs


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "linear"])
@pytest.mark.parametrize("last", ["sigmoid", "softmax", None])
def test_the_jacobian_is_that_of_finite_differences(activation, last):
    model, x = network(4, 3, activation=activation, last=last), RNG.normal(size=(5, 2))
    start = flat(model)
    found = output_jacobian(model, x)
    numeric = approx_fprime(start, outputs_at(model, x), 1e-7)
    assert found.shape == (15, 4 * 2 + 4 + 4 * 3 + 3)
    np.testing.assert_allclose(found, numeric, atol=2e-6)


def test_the_jacobian_is_pytorchs():
    torch = pytest.importorskip("torch")
    model, x = network(3, 2, activation="sigmoid"), RNG.normal(size=(4, 2))
    shapes = [(2, 3), (3,), (3, 2), (2,)]

    def forward(*weights):
        a = torch.tensor(x)
        for number in (0, 2):
            a = a @ weights[number] + weights[number + 1]
            a = torch.sigmoid(a) if number == 0 else a
        return a

    given = tuple(torch.tensor(w) for w in model.get_weights())
    blocks = torch.autograd.functional.jacobian(forward, given)
    expected = np.concatenate([b.numpy().reshape(8, -1) for b in blocks], axis=1)
    assert [w.shape for w in model.get_weights()] == shapes
    np.testing.assert_allclose(output_jacobian(model, x), expected, rtol=1e-10, atol=1e-14)


def test_a_float32_model_on_another_backend_has_the_same_jacobian():
    import emulated  # noqa: F401  (makes the backend known)

    x = RNG.normal(size=(3, 2))
    model = network(3, 1, dtype="float32", backend="emulated")
    reference = network(3, 1)
    reference.set_weights(model.get_weights())
    np.testing.assert_array_equal(output_jacobian(model, x), output_jacobian(reference, x))


def test_shapes_layers_without_parameters_and_frozen_ones():
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [
            layers.Input((2, 3)),
            layers.Rescaling(0.5),
            layers.Flatten(),
            layers.Dense(4, "tanh", name="held"),
            layers.Dense(6, name="free"),
            layers.Reshape((3, 2)),
        ],
        dtype="float64",
    )
    x = RNG.normal(size=(2, 2, 3))
    whole = output_jacobian(model, x)
    np.testing.assert_allclose(whole, approx_fprime(flat(model), outputs_at(model, x)), atol=1e-5)
    model.get_layer("held").trainable = False
    np.testing.assert_array_equal(output_jacobian(model, x), whole[:, 28:])
    before = model.weights_dict()
    result = fit_least_squares(model, x, RNG.normal(size=(2, 3, 2)))
    after = model.weights_dict()
    assert result.cost < 1e-12
    np.testing.assert_array_equal(after["held/kernel"], before["held/kernel"])
    assert (after["free/kernel"] != before["free/kernel"]).any()


@pytest.mark.parametrize("method", ["lm", "trf", "dogbox"])
def test_a_line_is_fitted_as_by_the_normal_equations(method):
    x, y = RNG.normal(size=(30, 3)), RNG.normal(size=(30, 2))
    model = network(2, inputs=3)
    result = fit_least_squares(model, x, y, method=method)
    inputs = np.hstack([x, np.ones((30, 1))])
    best, rest, *_ = np.linalg.lstsq(inputs, y, rcond=None)
    np.testing.assert_allclose(np.vstack(model.get_weights()), best, atol=1e-8)
    assert result.cost == pytest.approx(rest.sum() / 60)
    assert result.success and result.evaluations <= 6


def test_weights_of_the_rows_are_those_of_weighted_least_squares():
    x, y, weight = RNG.normal(size=(30, 2)), RNG.normal(size=30), RNG.random(30)
    model = network(1)
    fit_least_squares(model, x, y, sample_weight=weight)
    inputs, root = np.hstack([x, np.ones((30, 1))]), np.sqrt(weight)[:, None]
    best, *_ = np.linalg.lstsq(root * inputs, root[:, 0] * y, rcond=None)
    np.testing.assert_allclose(np.vstack(model.get_weights())[:, 0], best, atol=1e-8)


def test_an_exponential_is_fitted_as_by_curve_fit():
    t = np.linspace(0, 3, 25)
    y = np.exp(0.7 - 1.3 * t) + 0.01 * RNG.normal(size=25)
    model = network(1, inputs=1, last="exponential")
    model.set_weights([[[0.0]], [0.0]])
    fit_least_squares(model, t[:, None], y)
    expected, _ = curve_fit(lambda t, a, b: np.exp(b + a * t), t, y, p0=[0, 0])
    np.testing.assert_allclose(flat(model), expected, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_ends_where_scipys_own_differences_end(seed):
    """The same method from the same start: the same path, except for finite-difference errors."""
    x = np.linspace(-2, 2, 40)[:, None]
    y = 2 * np.tanh(1.5 * x - 0.5) + 0.3 + 0.1 * RNG.normal(size=x.shape)
    model = network(1, 1, inputs=1, seed=seed)
    start, outputs = flat(model), outputs_at(model, x)
    theirs = least_squares(lambda w: outputs(w) - y[:, 0], start, method="lm", max_nfev=2000)
    outputs(start)
    ours = fit_least_squares(model, x, y)
    assert ours.cost == pytest.approx(theirs.cost / 40, rel=1e-4)
    np.testing.assert_allclose(flat(model), theirs.x, rtol=1e-3)
    assert abs(ours.evaluations - theirs.nfev) <= 3


def test_the_result_is_what_the_model_gives_now():
    x, y = toy.ten_points()
    targets = gpunn.utils.to_categorical(y)
    model = network(2, 3, 2, activation="sigmoid", last="sigmoid", seed=3, dtype="float32")
    model.compile("sgd", "half_squared_error")
    before = model.evaluate(x, targets, verbose=0)
    result = fit_least_squares(model, x, targets, max_evaluations=60)
    assert model.count_params() == 23 > targets.size  # more parameters than residuals
    assert model.evaluate(x, targets, verbose=0) == pytest.approx(result.cost, rel=1e-3, abs=1e-9)
    assert result.costs[0] == pytest.approx(before, rel=1e-6)
    assert result.cost == pytest.approx(min(result.costs)) and result.cost < before
    assert result.evaluations == len(result.costs) <= 60
    assert result.jacobians <= result.evaluations


def test_more_weights_than_residuals_is_solved_exactly():
    """The zeros that MINPACK gets then do not count in the fit or in the costs.

    Which of the many solutions is found is not tested: if the Jacobian is rank-deficient, the
    rounding of the last columns decides.
    """
    x, y = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 3))
    weight = np.array([1.0, 2.0, 0.0])
    model = network(3, inputs=5, activation="linear", seed=3)
    error = model.predict(x, verbose=0) - y
    result = fit_least_squares(model, x, y, sample_weight=weight)
    assert model.count_params() == 18 > y.size
    assert result.costs[0] == pytest.approx(float(weight @ (error**2).sum(1)) / 2 / 3, rel=1e-12)
    assert result.success and result.cost < 1e-25
    np.testing.assert_allclose(model.predict(x[:2], verbose=0), y[:2], atol=1e-12)
    assert abs(model.predict(x[2:], verbose=0) - y[2:]).min() > 1e-3  # that row was not fitted


def test_what_does_not_fit_is_named(monkeypatch):
    model, x = network(2), [[1.0, 2.0]]
    for arguments, message in (
        ({"y": [1]}, r"y has shape \(1,\); the outputs have \(1, 2\)"),
        ({"y": [[1.0, np.nan]]}, "not finite"),
        ({"method": "bfgs"}, "method must be one of lm, trf, dogbox"),
        ({"sample_weight": [-1]}, "sample_weight must be"),
        ({"max_evaluations": 0}, "max_evaluations must be an integer"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_least_squares(**{"model": model, "x": x, "y": [[1.0, 2.0]], **arguments})
    gpunn.utils.set_random_seed(0)
    noisy = gpunn.Sequential([layers.Input((9,)), layers.Dense(9), layers.Dropout(0.5)])
    with pytest.raises(ValueError, match=r"something else in training .*dropout"):
        fit_least_squares(noisy, np.ones((9, 9)), np.ones((9, 9)))
    with pytest.raises(ValueError, match="is not built"):
        fit_least_squares(gpunn.Sequential([layers.Dense(1)]), x, [[1.0]])
    model.trainable = False
    with pytest.raises(ValueError, match="no trainable parameters"):
        fit_least_squares(model, x, [[1.0, 2.0]])
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'pip install "gpunn\[scipy\]"'):
        fit_least_squares(model, x, [[1.0, 2.0]])


def test_a_model_whose_constructor_takes_nothing_is_fitted():
    class Line(gpunn.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x, training=None):
            return self.dense(x)

    x = np.random.default_rng(0).normal(size=(20, 2))
    model = Line()
    model.build((None, 2))
    fit_least_squares(model, x, x @ [[2.0], [-3.0]] + 1)
    expected = np.linalg.lstsq(np.c_[x, np.ones(20)], x @ [2.0, -3.0] + 1, rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in model.get_weights()]), expected,
                               rtol=1e-6)  # fmt: skip
