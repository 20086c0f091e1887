"""The derivative of a sum along one axis beside broadcasting along the other, which is a sum along
that axis. All combinations are compared with PyTorch, eagerly and in a step."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import gpunn
from gpunn import layers, ops

ROWS, COLUMNS = 5, 4
SHAPES = {"matrix": (ROWS, COLUMNS), "row": (COLUMNS,), "column": (ROWS, 1), "number": ()}
REDUCED = {
    "0": {"axis": 0}, "1": {"axis": 1}, "0 kept": {"axis": 0, "keepdims": True},
    "1 kept": {"axis": 1, "keepdims": True}, "all": {},
}  # fmt: skip
COMBINED = [
    lambda a, b: a * b, lambda a, b: a + b * b, lambda a, b: b - a * a, lambda a, b: a / (2 + b * b)
]  # fmt: skip
CASES = list(itertools.product(("row", "column", "number"), REDUCED, ("row", "column", "matrix")))


def value(given: dict[str, Any], case: Any, sum_of: Any, mean_of: Any) -> Any:
    """Combine all four arrays into one number."""
    other, reduced, last = case
    arguments = REDUCED[reduced]
    found = given["matrix"]
    for number, combine in enumerate(COMBINED):
        found = combine(found, given[other])
        one = sum_of if number % 2 else mean_of
        part = one(found, **arguments)
        if arguments.get("axis") == 1 and "keepdims" not in arguments:
            part = part.reshape((ROWS, 1))
        found = found * 0.5 + combine(given[last], part) * given["number"]
    return mean_of(found * found)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("case", CASES, ids=" ".join)
@pytest.mark.parametrize(
    "backend",
    ["compiled", *(pytest.param(name, marks=pytest.mark.more) for name in ("numpy", "emulated"))],
)
def test_gradients_are_those_of_pytorch(backend: str, case: Any) -> None:
    random = np.random.default_rng(0)
    arrays = {name: random.uniform(0.5, 1.5, shape) for name, shape in SHAPES.items()}
    theirs = {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
    kept = {"axis": "dim", "keepdims": "keepdim"}

    def named(function: Any) -> Any:
        return lambda x, **options: function(x, **{kept[k]: v for k, v in options.items()})

    expected = value(theirs, case, named(torch.sum), named(torch.mean))
    expected.backward()

    class Weighted(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.own = {
                name: self.add_weight(shape, "zeros", name=name) for name, shape in SHAPES.items()
            }

        def call(self, x: Any) -> Any:
            self.add_loss(value(self.own, case, ops.sum, ops.mean))
            return x

    gpunn.use_backend(backend)
    layer = Weighted(dtype="float64")
    model = gpunn.Sequential([gpunn.Input((1,)), layer], dtype="float64")
    model.compile(gpunn.optimizers.SGD(1.0))
    for name, weight in layer.own.items():
        weight.assign(arrays[name])
    loss = model.train_on_batch(np.zeros((2, 1)))
    assert float(np.ravel(loss)[0]) == pytest.approx(expected.item(), rel=1e-10)
    for name, weight in layer.own.items():
        found = arrays[name] - weight.numpy()
        gradient = 0.0 * arrays[name] if theirs[name].grad is None else theirs[name].grad.numpy()
        np.testing.assert_allclose(found, gradient, rtol=1e-8, atol=1e-10, err_msg=name)
    tensors = {name: ops.convert_to_tensor(a, dtype="float64") for name, a in arrays.items()}
    eager = gpunn.grad(lambda x: value({**tensors, "matrix": x}, case, ops.sum, ops.mean))
    np.testing.assert_allclose(eager(tensors["matrix"]), theirs["matrix"].grad, rtol=1e-8)
