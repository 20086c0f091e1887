"""Any index of NumPy's, masks and new axes included, wherever its values are known: in a tape, in
functions, and in `gpunn.grad`; values are compared with NumPy, gradients with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.ops.running.shape_trace import trace_of
from gpunn.ops.tensor import NeedsValuesError

SOME = settings(max_examples=150, derandomize=True, database=None)
MORE = settings(max_examples=3000, derandomize=True, database=None)
on_the_host = pytest.mark.parametrize("backend", ["numpy", "compiled"])
X = np.arange(12, dtype="float32").reshape(3, 4) / 3 - 1
ROWS, PLACES = np.array([True, False, True]), np.array([0, -1])


@st.composite
def indices(draw: Any) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """Draw a shape, and an index with arrays, masks of one or several axes, new axes and ``...``,
    apart from each other or not."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    common = draw(st.integers(0, 3))
    key: list[Any] = []
    axis = 0
    while axis < len(shape):
        n = shape[axis]
        kind = draw(st.sampled_from(["slice", "whole", "place", "places", "list", "mask", "masks"]))
        if kind in ("place", "places", "list") and not n:
            kind = "slice"
        if kind == "whole":
            key.append(slice(None))
        elif kind == "place":
            key.append(int(random.integers(-n, n)))
        elif kind == "places":
            own = (common,) if random.random() < 0.7 else (2, 1) if random.random() < 0.5 else ()
            key.append(random.integers(-n, n, own))
        elif kind == "list":
            key.append(random.integers(-n, n, common).tolist())
        elif kind == "slice":
            step = draw(st.sampled_from([None, 1, 2, -1]))
            key.append(slice(draw(st.none() | st.integers(-n - 1, n + 1)), None, step))
        else:
            axes = 1 if kind == "mask" else draw(st.integers(1, len(shape) - axis))
            mask = np.zeros(shape[axis : axis + axes], bool)
            mask.flat[random.permutation(mask.size)[:common]] = True
            key.append(mask)
            axis += axes - 1
        axis += 1
    if draw(st.booleans()):
        start = draw(st.integers(0, len(key)))
        stop = draw(st.integers(start, len(key)))
        if not any(isinstance(e, np.ndarray) and e.ndim > 1 and e.dtype == bool for e in key):
            key[start:stop] = [Ellipsis]
    for _ in range(draw(st.integers(0, 2))):
        key.insert(draw(st.integers(0, len(key))), None)
    return shape, tuple(key)


def check(shape: tuple[int, ...], key: tuple[Any, ...], backend: str) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    given = tuple(e.astype("int32") if getattr(e, "dtype", bool) == np.int64 else e for e in key)
    try:
        expected = x[key]
    except IndexError:  # arrays that do not broadcast
        with pytest.raises((IndexError, ValueError)):
            _ = ops.convert_to_tensor(x)[given]
        return
    gpunn.use_backend(backend)
    dy = np.random.default_rng(1).standard_normal(expected.shape)
    theirs = torch.tensor(x, requires_grad=True)
    flat = np.arange(x.size).reshape(x.shape)[key].ravel().copy()  # it has no negative steps
    (theirs.reshape(-1)[torch.tensor(flat)] * torch.tensor(dy.ravel())).sum().backward()
    with gpunn.GradientTape() as tape:
        v = gpunn.Variable(x, dtype="float64")
        found = v[given]
        y = ops.sum(found * dy)
    assert_array_equal(found.numpy(), expected, str(key))
    assert_allclose(tape.gradient(y, v).numpy(), theirs.grad, rtol=1e-12, err_msg=str(key))
    slope = gpunn.grad(lambda x: ops.sum(x[given] * dy))(ops.convert_to_tensor(x, "float64"))
    assert_allclose(slope.numpy(), theirs.grad, rtol=1e-12, err_msg=str(key))
    part = gpunn.function(lambda x: x[given])
    for factor in (1, 2, 3):
        assert_allclose(part(factor * x).numpy(), factor * expected, rtol=1e-6, err_msg=str(key))
    assert_array_equal(ops.convert_to_tensor(x, "float64")[given].numpy(), expected, str(key))


@on_the_host
@SOME
@given(index=indices())
def test_any_index_is_numpys(index: Any, backend: str) -> None:
    check(index[0], index[1], backend)


@pytest.mark.in_turn(2)
@pytest.mark.more
@on_the_host
@MORE
@given(index=indices())
def test_any_more_indices_are_numpys(index: Any, backend: str) -> None:
    check(index[0], index[1], backend)


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((3, 4), (ROWS,)), ((3, 4), (ROWS, 1)), ((3, 4), (ROWS, PLACES)), ((3, 4), (X > 0,)),
        ((3, 4), (PLACES, slice(None), None)), ((3, 4), (None, PLACES)),
        ((3, 4), (PLACES, None, PLACES)), ((3, 4), (..., np.zeros(4, bool))), ((3, 4), ([],)),
        ((3, 4, 5), (slice(None), PLACES, ..., PLACES)), ((3, 4, 5), (0, None, PLACES)),
        ((3, 4), (np.array(True), PLACES)), ((3, 4), (np.array(False),)),
    ],
    ids=str,
)  # fmt: skip
def test_some_indices_are_numpys(shape: Any, key: Any, backend: str) -> None:
    check(shape, key, backend)


OF_VALUES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "x[x > 0]": (lambda x: x[x > 0], lambda x: x[x > 0]),
    "x[x[:, 0] > 0, None]": (lambda x: x[x[:, 0] > 0, None], lambda x: x[x[:, 0] > 0, None]),
    "bincount": (lambda x: ops.bincount(ops.cast(ops.abs(x[0]), "int32"), x[1]),
                 lambda x: torch.bincount(x[0].abs().int(), x[1])),
    "segment_sum": (lambda x: ops.segment_sum(x, ops.cast(x[:, 0] > 0, "int32")),
                    lambda x: torch.zeros(int((x[:, 0] > 0).any()) + 1, 4).index_add(
                        0, (x[:, 0] > 0).int(), x)),
    "arange": (lambda x: ops.arange(int(ops.sum(x > 0))) * x[0, 0],
               lambda x: torch.arange(int((x > 0).sum())) * x[0, 0]),
    "if": (lambda x: x * 2 if ops.sum(x) > 0 else x * 3, lambda x: x * 2 if x.sum() > 0 else x * 3),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_VALUES)
def test_shapes_that_depend_on_values(name: str, backend: str) -> None:
    gpunn.use_backend(backend)
    ours, theirs = OF_VALUES[name]
    of = gpunn.function(ours)
    for shift in (0.0, 1.0, -0.5, 0.25):
        x = torch.tensor(X + np.float32(shift), requires_grad=True)
        expected = theirs(x)
        if name != "bincount":  # PyTorch has no gradient of it
            (expected**2).sum().backward()
        given = x.detach().numpy()
        v = gpunn.Variable(given)
        with gpunn.GradientTape() as tape:
            found = ours(v)
            y = ops.sum(found**2)
        assert_allclose(found.numpy(), expected.detach(), rtol=1e-6)
        assert_allclose(of(given).numpy(), expected.detach(), rtol=1e-6)
        slopes = [tape.gradient(y, v), gpunn.grad(lambda x: ops.sum(ours(x) ** 2))(given)]
        for slope in slopes if name != "bincount" else ():
            assert_allclose(slope.numpy(), x.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize("name", ["x[x > 0]", "bincount", "segment_sum", "arange", "if"])
def test_a_step_says_that_values_are_needed(name: str) -> None:
    with pytest.raises(NeedsValuesError):
        trace_of(OF_VALUES[name][0], [((3, 4), "float32")])


def test_a_model_in_a_tape_chooses_rows_by_values(backend: str) -> None:
    """A call that reads values runs in Python, also where others are programs."""
    gpunn.use_backend(backend)

    class Chosen(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.sum(x[x > 0]) * x

    layer, v = Chosen(), gpunn.Variable(X)
    for _ in range(3):
        with gpunn.GradientTape() as tape:
            y = ops.sum(layer(v) ** 2)
        x = torch.tensor(X, requires_grad=True)
        ((x[x > 0].sum() * x) ** 2).sum().backward()
        assert_allclose(tape.gradient(y, v).numpy(), x.grad, rtol=1e-5)


def test_a_mask_of_another_shape_is_refused() -> None:
    for key in (np.ones(4, bool), np.ones((3, 3), bool), (0, ROWS), np.ones((3, 4, 1), bool)):
        with pytest.raises(IndexError):
            _ = X[key]
        with gpunn.GradientTape(), pytest.raises(IndexError):
            _ = gpunn.Variable(X)[key]
