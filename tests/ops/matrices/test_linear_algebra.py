"""Linear algebra in steps: matrices that have no result, subspaces, layers that train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from operation_cases.case import floats
from operation_cases.computed import BACKENDS, by_torch, in_steps
from operation_cases.later.matrices import definite, regular

import gpunn
from gpunn import layers, ops
from gpunn.ops.running.shape_trace import trace_of

each_backend = pytest.mark.parametrize("backend", BACKENDS)
WITHOUT = {
    "cholesky": (definite(4, 3, 3), -np.eye(3), "not positive definite"),
    "inv": (regular(4, 3, 3), np.ones((3, 3)), "singular"),
}


@each_backend
@pytest.mark.parametrize("name", WITHOUT)
def test_a_matrix_without_a_result_is_refused_at_once_and_spoils_no_other_in_a_step(
    name: str, backend: str
) -> None:
    x, bad, why = WITHOUT[name]
    function = getattr(ops, name)
    whole = in_steps(function, [x], backend, twice=False)
    x = x.copy()
    x[1], x[2, 0, 1] = bad, np.nan
    with pytest.raises(np.linalg.LinAlgError, match=f"{name}: a matrix is {why}"):
        function(x)
    found = in_steps(function, [x], backend, twice=False)
    assert np.isnan(found.values[0][[1, 2]]).all()
    for one, other in ((found.values[0], whole.values[0]), (found.first[0], whole.first[0])):
        assert_array_equal(one[[0, 3]], other[[0, 3]])


@pytest.mark.parametrize(
    "name", ["cholesky", "qr", "svd", "eigh", "lu_factor", "inv", "pinv", "det", "slogdet"]
)
def test_a_matrix_that_is_not_finite_gives_nan_at_once(name: str) -> None:
    x = definite(2, 3, 3)
    whole = getattr(ops, name)(x)
    x[1, 0, 2] = np.inf
    found = getattr(ops, name)(x)
    pairs = zip(found, whole, strict=True) if isinstance(whole, tuple) else [(found, whole)]
    for one, other in pairs:
        assert_array_equal(one[0], other[0])
        if one.dtype != "int32":
            assert np.isnan(one[1]).all()


@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [
        (ops.inv, [(2, 3)], r"inv: x must be square matrices .*; got shape .2, 3."),
        (ops.qr, [(3,)], r"qr: x must be matrices \(\.\.\., m, n\); got shape .3,."),
        (ops.solve, [(3, 4), (3,)], "solve: a must be square matrices"),
        (ops.solve, [(3, 3), (4, 2)], "solve: b must be .* got shapes .3, 3. of a and .4, 2. of b"),
        (ops.solve, [(2, 3, 3), (4, 3, 2)], "solve: the stacks of a .* do not broadcast"),
        (ops.lstsq, [(5, 3), (3,)], "lstsq: b must be"),
        (lambda x: ops.qr(x, "r"), [(3, 3)], "qr: mode must be one of reduced, complete; got 'r'"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_computed(
    function: Callable[..., Any], shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*map(np.ones, shapes))
    with pytest.raises(ValueError, match=message):
        trace_of(function, [(shape, "float32") for shape in shapes])


@pytest.mark.parametrize("rows", [(5, 3), (2, 4, 1)])
def test_the_space_beside_the_columns_has_a_gradient(rows: tuple[int, ...]) -> None:
    """Further columns of q and u are any, but ``q q^T`` of them is 1 less that of the others."""
    n, x = rows[-1], floats(*rows)

    def beside(q: Any) -> Any:
        return q[..., n:] @ ops.swapaxes(q[..., n:], -1, -2)

    def expected(x: Any) -> Any:
        q = torch.linalg.qr(x).Q
        return torch.eye(rows[-2], dtype=x.dtype) - q @ q.mT

    theirs = by_torch(expected, [x])
    turned = in_steps(lambda x: ops.swapaxes(x, -1, -2), [x]).values[0]
    for function, given, turns in (
        (lambda x: beside(ops.qr(x, mode="complete")[0]), x, False),
        (lambda x: beside(ops.svd(x)[0]), x, False),
        (lambda x: beside(ops.swapaxes(ops.svd(x)[2], -1, -2)), turned, True),
    ):
        ours = in_steps(function, [given])
        slope = ours.first[0].swapaxes(-1, -2) if turns else ours.first[0]
        assert_allclose(ours.values[0], theirs.values[0], 1e-9, 1e-12)
        assert_allclose(slope, theirs.first[0], 1e-9, 1e-12)


def test_the_product_of_nearly_equal_singular_vectors_has_a_gradient() -> None:
    """``u v`` is a smooth function of the matrix, though u and v are not."""
    x = np.diag([2.0, 2.0, 0.5]) + 1e-9 * floats(3, 3)
    ours = in_steps(lambda x: ops.matmul(*ops.svd(x)[::2]), [x], twice=False)
    steps = np.eye(9).reshape(9, 3, 3) * 1e-4
    weights = by_torch(lambda x: 1.0 * x, [x], twice=False).first[0]  # of each element

    def nearest(x: np.ndarray) -> np.ndarray:
        u, _, v = np.linalg.svd(x)
        return u @ v

    slopes = [((nearest(x + d) - nearest(x - d)) * weights).sum() / 2e-4 for d in steps]
    assert_allclose(ours.first[0], np.reshape(slopes, (3, 3)), 1e-5, 1e-6)


class Whitened(layers.Layer):
    """x times the inverse factor of a covariance that is trained."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((3, 3), name="w", initializer="glorot_uniform")

    def call(self, x: Any) -> Any:
        covariance = ops.transpose(self.w) @ self.w + ops.eye(3)
        self.add_loss(0.1 * ops.logdet(covariance))
        return ops.transpose(
            ops.solve_triangular(ops.cholesky(covariance), ops.transpose(x), lower=True)
        )


@each_backend
def test_a_layer_with_matrices_trains_as_in_pytorch(backend: str) -> None:
    """A GPU cannot capture them: each step is launched, with a warning."""
    x, y = floats(8, 3).astype("float32"), floats(8, 3, seed=1).astype("float32")
    gpunn.utils.set_random_seed(1)
    model = gpunn.Sequential([layers.Input((3,)), Whitened()], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    w = torch.tensor(model.get_weights()[0], requires_grad=True)

    def output(x: np.ndarray) -> Any:
        covariance = w.T @ w + torch.eye(3)
        factor = torch.linalg.cholesky(covariance)
        found = torch.linalg.solve_triangular(factor, torch.tensor(x).T, upper=False).T
        return found, 0.1 * torch.logdet(covariance)

    for _ in range(3):
        found, penalty = output(x)
        loss = ((found - torch.tensor(y)) ** 2).mean() + penalty
        (slope,) = torch.autograd.grad(loss, w)
        w = (w - 0.1 * slope).detach().requires_grad_()
    warns = pytest.warns(UserWarning, match="cuSOLVER") if backend == "emulated" else (
        contextlib.nullcontext()
    )
    with warns:
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert_allclose(model.get_weights()[0], w.detach().numpy(), 1e-5, 1e-6)
    assert_allclose(model.predict(x, verbose=0), output(x)[0].detach().numpy(), 1e-5, 1e-6)
