"""The mathematics of a first course, compared with the library's results."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import layers
from gpunn.optimizers import SGD


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def network(sizes, activation="sigmoid", loss="half_squared_error", rate=0.1, backend=None):
    model = gpunn.Sequential([layers.Input((sizes[0],))], dtype="float64", backend=backend)
    for units in sizes[1:]:
        model.add(layers.Dense(units, activation, bias_initializer="normal"))
    model.compile(SGD(rate), loss)
    return model


def test_one_step_down_a_bowl():
    """z = x^2 + y^2 from (1, 1) with rate 0.25."""
    point = np.array([1.0, 1.0])
    SGD(0.25).apply([2 * point], [point])
    assert point.tolist() == [0.5, 0.5]
    assert float(point @ point) == 0.5


def test_one_step_down_a_bowl_by_a_network(backend):
    """The same as a loss: the squared length of the output of y = w for x = 1."""
    model = gpunn.Sequential([layers.Input((1,))], dtype="float64", backend=backend)
    model.add(layers.Dense(2, use_bias=False, kernel_initializer="ones"))
    model.compile(SGD(0.25), gpunn.losses.MeanSquaredError(reduction="sum"))
    before = model.train_on_batch([[1.0]], [[0.0, 0.0]])
    # The mean of two squares is half their sum, and so is the step.
    assert before == 1.0
    assert model.get_weights()[0].tolist() == [[0.75, 0.75]]


class TestCircuit:
    """f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))), w = (2, -3, -3), x = (-1, -2)."""

    x, w = (-1.0, -2.0), (2.0, -3.0, -3.0)

    def test_values(self, backend):
        """The first layer has the identity as its kernel: its bias is added to x."""
        model = network((2, 2, 1), "linear", backend=backend)
        model.pop()
        model.add(layers.Dense(1, "sigmoid"))
        model.compile(SGD(0.0), gpunn.losses.MeanSquaredError(reduction="sum"))
        w0, w1, w2 = self.w
        model.set_weights([np.eye(2), np.zeros(2), [[w0], [w1]], [w2]])
        f = float(model.predict([self.x])[0, 0])
        assert round(f, 2) == 0.73
        # d (f - t)^2 / df = 1 where t = f - 1/2: then the gradients are those of f.
        model.train_on_batch([self.x], [[f - 0.5]])
        _, dx, dw, dw2 = model.gradients().values()
        assert np.round([*dw[:, 0], *dw2], 2).tolist() == [-0.20, -0.39, 0.20]
        assert np.round(dx, 2).tolist() == [0.39, -0.59]

    def test_another_graph_of_the_same_function(self, backend):
        """The last weight is applied to an input of 1, and tanh replaces sigmoid: sigmoid(s) = (1 +
        tanh(s / 2)) / 2."""
        model = gpunn.Sequential([layers.Input((3,))], dtype="float64", backend=backend)
        model.add(layers.Dense(1, use_bias=False))
        model.add(layers.Rescaling(0.5))
        model.add(layers.Activation("tanh"))
        model.add(layers.Rescaling(0.5, 0.5))
        model.compile(SGD(0.0), gpunn.losses.MeanSquaredError(reduction="sum"))
        model.set_weights([np.reshape(self.w, (3, 1))])
        f = float(model.predict([[*self.x, 1.0]])[0, 0])
        model.train_on_batch([[*self.x, 1.0]], [[f - 0.5]])
        [dw] = model.gradients().values()
        s = np.dot(self.w, [*self.x, 1.0])
        expected = sigmoid(s) * (1 - sigmoid(s)) * np.array([*self.x, 1.0])
        assert f == pytest.approx(sigmoid(s), rel=1e-15)
        np.testing.assert_allclose(dw[:, 0], expected, rtol=1e-12)


def test_ascent_on_a_performance_is_our_descent(backend):
    """P = -1/2 (d - z)^2 for y = s(w_l x), z = s(w_r y): the steps are
    r (d - z) z (1 - z) y for w_r and r (d - z) z (1 - z) w_r y (1 - y) x for w_l."""
    x, d, left, right, rate = 0.7, 0.2, -1.3, 2.1, 0.5
    model = gpunn.Sequential([layers.Input((1,))], dtype="float64", backend=backend)
    for _ in range(2):
        model.add(layers.Dense(1, "sigmoid", use_bias=False))
    model.compile(SGD(rate), "half_squared_error")
    model.set_weights([[[left]], [[right]]])
    performance = -model.train_on_batch([[x]], [[d]])
    y = sigmoid(left * x)
    z = sigmoid(right * y)
    ascent = (d - z) * z * (1 - z)
    steps = [rate * ascent * right * y * (1 - y) * x, rate * ascent * y]
    assert performance == pytest.approx(-((d - z) ** 2) / 2, rel=1e-12)
    found = [w.item() for w in model.get_weights()]
    np.testing.assert_allclose(found, [left + steps[0], right + steps[1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [(2, 2, 2), (3, 4, 1), (4, 3, 4, 5, 2)])
def test_the_equations_of_backpropagation(sizes, backend):
    """delta^L = (a^L - y) s'(z^L), delta^l = ((W^(l+1))^T delta^(l+1)) s'(z^l),
    dC/db = delta, dC/dW = delta a^T, with W of shape (outputs, inputs); one sample."""
    gpunn.utils.set_random_seed(0)
    model = network(sizes, backend=backend)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=sizes[0]), rng.normal(size=sizes[-1])
    weights = model.get_weights()
    matrices, biases = [w.T for w in weights[::2]], weights[1::2]
    a, z = [x], []
    for w, b in zip(matrices, biases, strict=True):
        z.append(w @ a[-1] + b)
        a.append(sigmoid(z[-1]))
    slope = [sigmoid(s) * (1 - sigmoid(s)) for s in z]
    delta = [(a[-1] - y) * slope[-1]]
    for w, s in zip(matrices[:0:-1], slope[-2::-1], strict=True):
        delta.insert(0, (w.T @ delta[0]) * s)
    model.train_on_batch(x[None], y[None])
    found = list(model.gradients().values())
    for i, d in enumerate(delta):
        np.testing.assert_allclose(found[2 * i], np.outer(d, a[i]).T, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found[2 * i + 1], d, rtol=0, atol=1e-12)


@settings(max_examples=15)
@given(
    rows=st.integers(1, 40),
    batch=st.integers(1, 45),
    shuffle=st.booleans(),
    epochs=st.integers(1, 3),
)
def test_an_epoch_visits_each_sample_once(rows, batch, shuffle, epochs):
    """Row i is the i-th unit vector, so weight i counts the visits of row i."""
    steps = []
    count = gpunn.callbacks.LambdaCallback(on_train_batch_end=lambda number, logs: steps.append(1))
    model = gpunn.Sequential([layers.Input((rows,))], dtype="float64", backend="numpy")
    model.add(layers.Dense(1, use_bias=False, kernel_initializer="zeros"))
    model.compile(SGD(1.0), Downwards(reduction="sum"))
    model.fit(
        np.eye(rows), np.zeros((rows, 1)), batch, epochs, 0, shuffle=shuffle, callbacks=[count]
    )
    assert len(steps) == epochs * math.ceil(rows / batch)
    assert model.get_weights()[0][:, 0].tolist() == [float(epochs)] * rows


class Downwards(gpunn.losses.Loss):
    """-y: its gradient is -1 everywhere, so that a step of rate 1 adds 1 for each visit."""

    def forward(self, backend, y_true, y_pred, values):
        backend.xp.negative(y_pred[:, 0], out=values)

    def backward(self, backend, y_true, y_pred, gradient):
        gradient.fill(-1)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 12), features=st.integers(1, 5))
def test_gradient_descent_is_as_fast_as_the_theorem_says_on_least_squares(seed, rows, features):
    """f convex, its gradient with Lipschitz constant L, t <= 1/L:
    f(x_k) - f* <= ||x_0 - x*||^2 / (2 t k)."""
    from scipy.linalg import lstsq

    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, features)), rng.normal(size=(rows, 1))
    best, *_ = lstsq(x, y)
    lipschitz = np.linalg.eigvalsh(x.T @ x / rows)[-1]
    model = gpunn.Sequential([layers.Input((features,))], dtype="float64", backend="numpy")
    model.add(layers.Dense(1, use_bias=False))
    model.compile(SGD(1 / lipschitz), "half_squared_error")
    start = model.get_weights()[0]
    lowest = np.mean((x @ best - y) ** 2) / 2
    for k in range(1, 30):
        model.train_on_batch(x, y)
        bound = np.sum((start - best) ** 2) * lipschitz / (2 * k)
        assert model.evaluate(x, y, verbose=0) - lowest <= bound * (1 + 1e-9) + 1e-12


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), penalty=st.sampled_from([0.0, 0.01, 0.3]))
def test_gradient_descent_is_as_fast_as_the_theorem_says_on_logistic_regression(seed, penalty):
    """f = mean log(1 + exp(-t w x)) + penalty ||w||^2; its Hessian is at most
    x^T x / (4 rows) + 2 penalty. A small pull keeps the minimum finite where penalty is 0."""
    from scipy.optimize import minimize

    penalty += 1e-3
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(12, 3)), rng.integers(0, 2, (12, 1)).astype(float)

    def cost(w):
        z = x @ w[:, None]
        return np.mean(np.logaddexp(0, z) - t * z) + penalty * w @ w

    best = minimize(cost, np.zeros(3), method="BFGS", options={"gtol": 1e-9})
    lipschitz = np.linalg.eigvalsh(x.T @ x / 48)[-1] + 2 * penalty
    model = gpunn.Sequential([layers.Input((3,))], dtype="float64", backend="numpy")
    model.add(
        layers.Dense(
            1, "sigmoid", use_bias=False, kernel_regularizer=gpunn.regularizers.L2(penalty)
        )
    )
    model.compile(SGD(1 / lipschitz), "binary_crossentropy")
    start = model.get_weights()[0][:, 0]
    for k in range(1, 30):
        model.train_on_batch(x, t)
        bound = np.sum((start - best.x) ** 2) * lipschitz / (2 * k)
        found = model.evaluate(x, t, verbose=0)
        assert found == pytest.approx(cost(model.get_weights()[0][:, 0]), rel=1e-9)
        assert found - best.fun <= bound * (1 + 1e-9) + 1e-9
