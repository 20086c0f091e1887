"""Test the shapes of operations on symbolic tensors, with and without an axis of samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras

# Each takes the operations, and a function that makes symbolic tensors.
Case = Callable[[Any, Callable[..., Any]], Any]
CASES: dict[str, Case] = {
    "sum": lambda ops, t: ops.sum(t(None, 3)),
    "mean over samples": lambda ops, t: ops.mean(t(None, 3, 4), axis=0),
    "moments": lambda ops, t: ops.moments(t(None, 3, 4), axes=[0]),
    "transposed": lambda ops, t: ops.transpose(t(None, 3, 4)),
    "squeezed": lambda ops, t: ops.squeeze(t(1, 3), axis=0),
    "one sample": lambda ops, t: t(None, 3)[0],
    "steps as samples": lambda ops, t: ops.reshape(
        ops.reshape(t(None, 5, 3), (-1, 3)) * 2, (-1, 5, 3)),
    "reversed": lambda ops, t: ops.flip(t(None, 3), axis=0),
    "split samples": lambda ops, t: ops.split(t(None, 3), 2, axis=0),
    "known shapes": lambda ops, t: ops.matmul(t(2, 3), t(3, 4)),
    "flat": lambda ops, t: ops.reshape(t(None, 3), (-1,)),
    "of both": lambda ops, t: ops.add(t(None, 3), t(2, None)),
    "of both, more axes": lambda ops, t: ops.matmul(t(None, 3, 4), t(3, None, 4, 5)),
    "of a batch of one": lambda ops, t: ops.add(t(1, 3), t(None, 3)),
    "of declared batches": lambda ops, t: ops.add(t(2, 3), t(None, 3)),
    "an unknown and a known axis": lambda ops, t: ops.multiply(t(None, None, 3), t(None, 5, 3)),
    "joined": lambda ops, t: ops.concatenate([t(2, 3), t(3, 3)], axis=0),
    "an outer product": lambda ops, t: ops.outer(t(None, 3), t(2, None)),
    "a scalar": lambda ops, t: ops.exp(t()),
    "a scalar and samples": lambda ops, t: ops.add(t(), t(None, 3)),
    "booleans": lambda ops, t: ops.all(t(None, 3) > 0),
    "integers": lambda ops, t: ops.argmax(t(None, 3), axis=0),
    "used on": lambda ops, t: ops.exp(ops.sum(x := t(None, 3), axis=0)) * x,
    "a map": lambda ops, t: ops.map(lambda x: x**2, t(None, 5)),
    "a scan": lambda ops, t: list(ops.scan(lambda c, x: (c + x, c), t(5), t(6, 5))),
    "a scan of running sums": lambda ops, t: ops.associative_scan(
        lambda a, b: a + b, t(None, 6), axis=0),
    "a loop": lambda ops, t: ops.fori_loop(0, 3, lambda i, x: x * 2, t(3, 5, None)),
    "a choice": lambda ops, t: list(ops.switch(
        t(dtype="int32"), [lambda x: (x[:, 0], x[0])], t(None, 2))),
    "a condition": lambda ops, t: ops.cond(
        t(dtype="bool"), lambda: ops.ones((1, 3)), lambda: ops.zeros((1, 3))),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_shapes_and_dtypes_are_those_of_keras(what: str, keras: Any) -> None:
    found = []
    for library in (gpunn, keras):

        def tensor(*shape: int | None, dtype: str = "float32", library: Any = library) -> Any:
            return library.KerasTensor(shape, dtype)

        results = CASES[what](library.ops, tensor)
        results = results if isinstance(results, (list, tuple)) else [results]
        assert all(isinstance(t, library.KerasTensor) for t in results)
        found.append([(t.shape, str(t.dtype).replace("int64", "int32")) for t in results])
    assert found[0] == found[1]


def test_an_unknown_axis_meets_one_of_length_1() -> None:
    """Keras leaves the axis unknown, and its backend refuses other lengths, as gpunn does."""
    first, second = gpunn.Input((None, 3)), gpunn.Input((1, 2))
    model = gpunn.Model([first, second], layers.Concatenate()([first, second]))
    a, b = np.ones((4, 1, 3)), np.zeros((4, 1, 2))
    assert_allclose(model.predict([a, b], verbose=0), np.concatenate([a, b], axis=-1))
    with pytest.raises(ValueError, match="shape"):
        model.predict([np.ones((4, 2, 3)), b], verbose=0)


def test_structure_of_results_is_that_of_the_function() -> None:
    made = ops.map(lambda x: {"a": x**2, "b": x[:2]}, gpunn.Input((5,)))
    assert {key: t.shape for key, t in made.items()} == {"a": (None, 5), "b": (None, 2)}
    assert isinstance(ops.moments(gpunn.Input((5,)), axes=[0]), tuple)


def test_no_model_has_what_depends_on_a_result_without_samples() -> None:
    x = gpunn.Input((3,))
    centred = x - ops.mean(x, axis=0)
    assert centred.shape == (None, 3)
    for output in (centred, layers.Dense(2)(centred), gpunn.Sequential([layers.Dense(2)])(centred)):
        with pytest.raises(ValueError, match=r"outputs: .*mean: .*each sample.*Lambda"):
            gpunn.Model(x, output)
    with pytest.raises(ValueError, match=r"inputs: .*has no batch axis"):
        gpunn.Model(gpunn.KerasTensor(()), x)
    with pytest.raises(ValueError, match="scalar"):
        layers.Dense(2)(ops.sum(x))
    assert gpunn.Model(x, x * 2)(np.ones((2, 3))).shape == (2, 3)  # x itself is as before


def test_two_lengths_that_cannot_be_one_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        ops.add(gpunn.KerasTensor((2, 3)), gpunn.KerasTensor((3, 3)))
    with pytest.raises(ValueError, match="broadcast"):
        ops.add(gpunn.Input((3,)), gpunn.Input((4,)))


def test_an_axis_of_unknown_length_meets_a_known_one(keras: Any) -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(4, 5, 3)).astype("float32") for _ in range(2))
    found = []
    for library in (gpunn, keras):
        x, y = library.Input((None, 3)), library.Input((5, 3))
        z = library.ops.maximum(x, y)
        assert z.shape == (None, 5, 3)
        model = library.Model([x, y], library.layers.Add()([x, z]))
        found.append(model.predict([a, b], verbose=0))
    assert_allclose(found[0], found[1], 1e-6)
    with pytest.raises(ValueError, match="broadcast"):
        x, y = gpunn.Input((None, 3)), gpunn.Input((5, 3))
        gpunn.Model([x, y], ops.maximum(x, y)).predict([a[:, :4], b])


def test_a_model_computes_operations_that_take_functions(tmp_path: Path) -> None:
    factor = gpunn.Variable(2.0)
    x = gpunn.Input((3,))
    model = gpunn.Model(x, ops.vectorized_map(lambda row: factor * row, x) + 1)
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    assert_allclose(model.predict(rows, verbose=0), 2 * rows + 1)
    factor.assign(3.0)
    assert_allclose(model.predict(rows, verbose=0), 3 * rows + 1)
    with pytest.raises(ValueError, match="vectorized_map cannot be saved"):
        model.save(tmp_path / "model.keras")


def test_a_function_reads_tensors_when_a_model_is_made(keras: Any) -> None:
    rows, found = np.arange(6, dtype="float32").reshape(2, 3), []
    for library in (gpunn, keras):
        x = library.Input((3,))
        loop = library.ops.fori_loop(0, 3, lambda i, y: y * 1.5 + y[:, :1] * i, x)
        found.append(library.Model(x, loop).predict(rows, verbose=0))
    assert_allclose(found[0], found[1], 1e-6)


def test_a_value_that_such_a_function_reads_may_change() -> None:
    holder = {"factor": 2.0}
    x = gpunn.Input((3,))
    model = gpunn.Model(x, ops.vectorized_map(lambda row: holder["factor"] * row, x))
    rows = np.ones((2, 3), "float32")
    assert_allclose(model.predict(rows, verbose=0), 2 * rows)
    holder["factor"] = 5.0
    assert_allclose(model.predict(rows, verbose=0), 5 * rows)


def test_a_mix_of_the_samples_of_integers_is_refused(keras: Any) -> None:
    x, table = gpunn.Input((4,), dtype="int32"), np.arange(6.0).reshape(2, 3)
    for mixed in (ops.flip(x, axis=0), ops.roll(x, 1, axis=0), ops.cumsum(x, axis=0)):
        with pytest.raises(ValueError, match=r"depend on the other samples.*Lambda"):
            gpunn.Model(x, mixed)
    # Of a table of two rows, not every integer is an index.
    numbers, found = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]), []
    for library in (gpunn, keras):
        x = library.Input((4,), dtype="int32")
        model = library.Model(x, library.ops.take(table, x, axis=0))
        found.append(model.predict(numbers, batch_size=2, verbose=0))
    assert_allclose(found[0], found[1])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize(
    ("shape", "how"),
    [
        ((5,), {}), ((5,), {"offset": 1}), ((5, 6), {}), ((None, 4), {"axis1": 1, "axis2": 2}),
        ((5, 6), {"axis1": 1, "axis2": 2}), ((5, 6), {"axis1": -1, "axis2": -2}),
        ((5, None, 6), {"axis1": 3, "axis2": 1}), ((None, 6), {"axis1": -1, "axis2": 0}),
    ],
)  # fmt: skip
def test_a_diagonal_is_of_unknown_length_where_an_axis_is(keras: Any, shape: Any, how: Any) -> None:
    ours, theirs = (m.ops.diagonal(m.Input(shape), **how).shape for m in (gpunn, keras))
    assert tuple(ours) == tuple(theirs)
