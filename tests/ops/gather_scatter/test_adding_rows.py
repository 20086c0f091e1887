"""Rows added to, or kept at, indices: in order and exact, compared with NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import emulated
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.testing import assert_array_equal
from operation_cases.computed import BACKENDS, by_torch, eagerly, in_steps, weights

import gpunn
from gpunn import layers, ops
from gpunn.backends import choice_put_back, get_backend

SOME = settings(max_examples=12, derandomize=True, database=None)
MORE = settings(max_examples=200, derandomize=True, database=None)


def same(found: Any, expected: np.ndarray) -> None:
    assert np.asarray(found).dtype == expected.dtype
    assert_array_equal(found, expected)


# -- the order of the sums


def check_order(
    count: int, n: int, columns: int, dtype: str, seed: int, backend: str
) -> None:
    random = np.random.default_rng(seed)
    ids = random.integers(-1, n + 1, count).astype(np.int32)
    if dtype == "int32":
        rows = random.integers(-(2**31), 2**31, (count, columns)).astype(np.int32)  # they wrap
    else:
        rows = (random.standard_normal((count, columns)) * 10.0 ** random.integers(-6, 7)).astype(
            dtype
        )
    expected = np.zeros((n, columns), dtype)
    for row, place in zip(rows, ids, strict=True):
        if 0 <= place < n:
            with np.errstate(over="ignore"):
                expected[place] += row
    found = in_steps(lambda x, i: ops.segment_sum(x, i, n), [rows, ids], backend, twice=False)
    same(found.values[0], expected)


some_rows = given(
    count=st.integers(0, 400),
    n=st.sampled_from([1, 2, 7, 300, 70_000]),
    columns=st.sampled_from([0, 1, 3, 40]),
    dtype=st.sampled_from(["float32", "float64", "int32"]),
    seed=st.integers(0, 2**32 - 1),
)


@pytest.mark.parametrize("backend", BACKENDS)
@SOME
@some_rows
def test_rows_are_added_in_their_order(backend: str, **sample: Any) -> None:
    """The bits are those of a loop for any table size: the values are chosen so that the order
    matters. Rows of no segment are left out."""
    check_order(**sample, backend=backend)


@pytest.mark.more
@pytest.mark.parametrize("backend", BACKENDS)
@MORE
@some_rows
def test_more_rows_are_added_in_their_order(backend: str, **sample: Any) -> None:
    check_order(**sample, backend=backend)


def test_threads_change_no_bit() -> None:
    """Enough elements for several threads, for each way of dividing them."""
    compiled, numpy = get_backend("compiled"), get_backend("numpy")
    random = np.random.default_rng(0)
    library: Any = compiled.library  # type: ignore[attr-defined]
    for outer, count, n, inner in (
        (1, 4000, 500, 300), (1, 1 << 20, 3, 1), (1, 1 << 18, 1 << 16, 5), (3, 90_000, 100, 4),
        (40, 3000, 11, 9),
    ):  # fmt: skip
        rows = random.standard_normal((outer, count, inner)).astype(np.float32)
        places = random.integers(-n, n, (1, count)).astype(np.int32)
        expected = np.zeros((outer, n, inner), np.float32)
        numpy.scatter_rows("Sum", rows, places, expected)
        taken = np.empty_like(rows)
        numpy.take_rows(expected, places, taken)
        for threads in (1, 2, 3, 5):
            library.set_threads(threads)
            try:
                found, again = np.zeros_like(expected), np.empty_like(rows)
                compiled.scatter_rows("Sum", rows, places, found)
                compiled.take_rows(found, places, again)
            finally:
                library.set_threads(1)
            assert_array_equal(found, expected)
            assert_array_equal(again, taken)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_table_and_places_of_more_than_32_bits_together(backend: str) -> None:
    """70,000 indices into 70,000 rows: their product is above 2^32."""
    n = 70_000
    random = np.random.default_rng(0)
    places = random.integers(-n, n, n).astype(np.int32)
    factors = random.standard_normal((n, 1)).astype(np.float32)
    table = random.standard_normal((n, 1)).astype(np.float32)
    expected = np.zeros_like(table)
    np.add.at(expected, places, factors)
    with choice_put_back():
        gpunn.use_backend(backend)
        found = gpunn.grad(lambda x: ops.sum(ops.take(x, places, 0) * factors))(table)
    assert_array_equal(found, expected)


class Embedding(layers.Layer):
    """Rows of a table, gathered by index and along an axis."""

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight((50, 6), "uniform", name="table")

    def call(self, x: Any) -> Any:
        numbers = ops.cast(x, "int32")  # (batch, 4)
        rows = ops.take(self.table, numbers, 0)  # (batch, 4, 6)
        sums = ops.segment_sum(ops.reshape(rows, (-1, 6)), ops.reshape(numbers, (-1,)) // 10, 5)
        own = ops.take_along_axis(rows[:, 0], numbers[:, :2] % 6, 1)
        return ops.concatenate([ops.max(rows, 1), own, rows[:, 1] * ops.sum(sums)], -1)


class Rows(Embedding):
    """Only gathers the rows of a table."""

    def call(self, x: Any) -> Any:
        numbers = ops.cast(x - 50.0, "int32")  # counted from the end
        return ops.reshape(ops.take(self.table, numbers, 0), (-1, 24))


def trained(backend: Any, layer: type[Embedding] = Embedding) -> list[np.ndarray]:
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [layers.Input((4,)), layer(), layers.Dense(8, "tanh"), layers.Dense(1)],
        backend=backend,
    )  # fmt: skip
    model.compile("adam", "mse")
    x = (np.random.default_rng(0).pareto(1.0, (70, 4)) * 3).astype(int) % 50
    model.fit(x, np.sin(x).sum(1, keepdims=True), batch_size=16, epochs=3, verbose=0)
    return model.get_weights()


def test_a_table_is_trained_alike_everywhere() -> None:
    expected = trained("numpy")
    for backend in ("compiled", "emulated"):
        for found, other in zip(trained(backend), expected, strict=True):
            np.testing.assert_allclose(found, other, 1e-3, 1e-5)


@pytest.mark.parametrize("mode", ["fused", "persistent"])
def test_a_table_is_trained_in_each_launch_mode(mode: str) -> None:
    """These modes reject a step with a part that cannot be listed."""
    gpu = emulated.make_backend(mode)
    for found, other in zip(trained(gpu, Rows), trained("numpy", Rows), strict=True):
        np.testing.assert_allclose(found, other, 1e-3, 1e-5)


# -- compared with other libraries


def beside_torch(ours: Any, theirs: Any, *arrays: np.ndarray, twice: bool = True) -> None:
    expected = by_torch(theirs, list(arrays), twice)
    for backend in ("numpy", "compiled"):
        found = in_steps(ours, list(arrays), backend, twice)
        for some, others in zip(found, expected, strict=True):
            for one, other in zip(some, others, strict=True):
                np.testing.assert_allclose(one, other, 1e-5, 1e-5)


TIES = np.array([[2, 1, 2, 0, 1], [3, 3, 3, 3, 3], [0, -1, 5, -1, 0]], np.float32)


def test_orders_of_equal_numbers() -> None:
    def sorted_(x: torch.Tensor) -> Any:
        return torch.sort(x, stable=True)[0]

    ends = TIES.copy()
    ends[0, 2], ends[1, [1, 4]], ends[2, :3] = np.inf, np.nan, [-np.inf, np.inf, np.inf]
    for x in (TIES, ends):
        beside_torch(ops.sort, sorted_, x)
    beside_torch(
        lambda x: ops.take_along_axis(x, ops.argsort(x), -1) * np.arange(5.0), lambda x:
        sorted_(x) * torch.arange(5.0), TIES,
    )  # fmt: skip
    for k in (0, 1, 3, 5):

        def largest(x: torch.Tensor, k: int = k) -> Any:
            places = torch.argsort(-x, stable=True)[:, :k]
            return torch.take_along_dim(x, places, 1)

        beside_torch(lambda x, k=k: ops.top_k(x, k)[0], largest, TIES)


def test_a_class_that_is_impossible_costs_the_others_nothing() -> None:
    """Another class has a logit of -inf: 0 times its logarithm would be NaN."""
    logits = np.array([[1, -np.inf, 0.5], [-np.inf, -np.inf, 3], [0, 1, 2]], np.float32)
    labels = np.int32([0, 2, 1])
    beside_torch(
        lambda x, t: ops.sparse_categorical_crossentropy(t, x, from_logits=True),
        lambda x, t: torch.nn.functional.cross_entropy(x, t.long(), reduction="none"),
        logits, labels, twice=False,
    )  # fmt: skip


def test_repeated_and_negative_places() -> None:
    places = np.array([[0, -1, 0], [2, 2, -3]], np.int32)
    there = torch.tensor(places).long() % 3
    x = np.random.default_rng(0).standard_normal((3, 3, 2)).astype(np.float32)
    beside_torch(lambda x, i: ops.take(x, i, 1), lambda x, i: x[:, there], x, places)
    beside_torch(
        lambda x: ops.take_along_axis(x, places[:, :, None], 1),  # for the whole first axis
        lambda x: torch.take_along_dim(x[:2], there[:, :, None], 1), x[:2],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "of_places", "axis"),
    [((3, 4), (1, 2), 1), ((1, 4), (3, 2), 1), ((3, 4), (2, 1), 0), ((2, 1, 3), (1, 4, 2), 2)],
)
def test_take_along_axis_broadcasts(shape: Any, of_places: Any, axis: int) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal(shape).astype(np.float32)
    places = random.integers(-shape[axis], shape[axis], of_places).astype(np.int32)
    there = torch.tensor(places % shape[axis]).long()

    def theirs(x: torch.Tensor, i: torch.Tensor) -> Any:
        lengths = [max(n, m) for n, m in zip(shape, of_places, strict=True)]
        lengths[axis] = shape[axis]
        x = x.expand(lengths)
        lengths[axis] = of_places[axis]
        return torch.take_along_dim(x, there.expand(lengths), axis)

    beside_torch(lambda x, i: ops.take_along_axis(x, i, axis), theirs, x, places)
    same(ops.take_along_axis(x, places, axis).numpy(), np.take_along_axis(x, places, axis))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"take_along_axis: .*\(2, 3, 4\).*\(3, 2, 1\)"):
        ops.take_along_axis(ops.ones((2, 3, 4)), np.zeros((3, 2, 1), int), 2)
    with pytest.raises(ValueError, match="take_along_axis: indices must have as many axes"):
        ops.take_along_axis(ops.ones((2, 3)), [0], 1)
    with pytest.raises(ValueError, match=r"segment_sum: .*\(5, 2\).*\(4,\)"):
        ops.segment_sum(ops.ones((5, 2)), [0, 1, 0, 1], 2)
    with pytest.raises(ValueError, match="scatter: values must have 3 elements for each of 2"):
        ops.scatter([[0], [1]], np.ones((2, 4)), (5, 3))
    for call in (ops.take, ops.take_along_axis):
        with pytest.raises(ValueError, match="axis"):
            call(ops.ones((2, 3)), [[0]], 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_several_updates_the_last_one_counts(backend: str) -> None:
    random = np.random.default_rng(1)
    x, new = (random.standard_normal(shape).astype(np.float32) for shape in ((6, 3), (40, 3)))
    places = random.integers(-6, 5, (40, 1)).astype(np.int32)
    expected, last = x.copy(), np.full(6, -1)
    for number, (place,) in enumerate(places):
        expected[place], last[place] = new[number], number
    found = in_steps(ops.scatter_update, [x, places, new], backend)
    same(found.values[0], expected)
    (dy,) = weights([x.shape], "float32", 1)
    dx, dnew = np.where(last[:, None] < 0, dy, 0), np.zeros_like(new)
    for place, number in enumerate(last):
        if number >= 0:
            dnew[number] = dy[place]
    same(found.first[0], dx)
    same(found.first[1], dnew)


def test_places_that_there_are_not_are_in_no_top() -> None:
    """As in Keras on JAX, where PyTorch raises an error; the same for predictions that are NaN."""
    rows = np.array([[1, 3, 2], [np.nan, 1, 2], [np.inf, 1, np.nan]], np.float32)
    for targets, k, expected in (
        ([1, 0, 0], 1, [True, False, False]), ([3, 5, 2], 3, [False] * 3),
        ([-1, 1, 1], 3, [False, True, True]), ([2, 2, 0], 2, [True, True, True]),
    ):  # fmt: skip
        assert ops.in_top_k(targets, rows, k).tolist() == expected
        ours = lambda t, p, k=k: ops.in_top_k(t, p, k)  # noqa: E731
        found = in_steps(ours, [np.int32(targets), rows], "compiled", twice=False)
        assert found.values[0].tolist() == expected


SEGMENTS = np.array([0, 0, 2, 1, 2, 0, -1, 9], np.int32)
LARGEST = np.array([2, 2, -np.inf, 5, -np.inf, 1, 7, 8], np.float32)[:, None]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_largest_of_segments(backend: str) -> None:
    """Equal values share the gradient, infinite ones too; an empty segment has the least value."""

    def largest(x: Any, i: Any) -> Any:
        return ops.segment_max(x, i, 4)

    found = in_steps(largest, [LARGEST, SEGMENTS], backend)
    same(found.values[0], np.array([[2], [5], [-np.inf], [-np.inf]], np.float32))
    (dy,) = weights([(4, 1)], "float32", 1)
    a, b, c = dy[0, 0] / 2, dy[1, 0], dy[2, 0] / 2
    same(found.first[0], np.array([a, a, c, b, c, 0, 0, 0], np.float32)[:, None])
    harmed = LARGEST.copy()
    harmed[0] = np.nan
    found = in_steps(largest, [harmed, SEGMENTS], backend)
    same(found.values[0], np.array([[np.nan], [5], [-np.inf], [-np.inf]], np.float32))
    same(found.first[0], np.array([2 * a, 0, c, b, c, 0, 0, 0], np.float32)[:, None])
    whole = (LARGEST[:, 0] != -np.inf) * 16_777_217
    found = in_steps(largest, [whole.astype(np.int32), SEGMENTS], backend, twice=False)
    same(found.values[0], np.array([16_777_217, 16_777_217, 0, -(2**31)], np.int32))


# -- empty arrays, and integers


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_nothing(backend: str) -> None:
    """No indices, no rows, no columns."""
    none = np.zeros((0,), np.int32)
    table = np.ones((3, 2), np.float32)
    for ours, arrays, value, gradient in (
        (lambda x, i: ops.take(x, i, 0), [table, none], (0, 2), (3, 2)),
        (lambda x, i: ops.take(x, i, 1), [table, none], (3, 0), (3, 2)),
        (lambda x, i: x[i], [table[:0], none], (0, 2), (0, 2)),
        (lambda x, i: ops.take(x, i, 0), [table[:, :0], np.int32([2, -1])], (2, 0), (3, 0)),
        (lambda x, i: ops.take_along_axis(x, i, 1), [table, none.reshape(3, 0)], (3, 0), (3, 2)),
        (lambda x, i: ops.segment_sum(x, i, 4), [table[:0], none], (4, 2), (0, 2)),
        (lambda x, i: ops.segment_sum(x, i, 0), [table, np.int32([0, 1, 2])], (0, 2), (3, 2)),
        (lambda x, i: ops.segment_max(x, i, 0), [table, np.int32([0, 1, 2])], (0, 2), (3, 2)),
        (lambda x, i: ops.scatter(i[:, None], x, (5, 2)), [table[:0], none], (5, 2), (0, 2)),
        (lambda x, i: ops.scatter_update(x, i[:, None], x[:0]), [table, none], (3, 2), (3, 2)),
        (lambda w, i: ops.bincount(i, w, 3), [table[0, :0], none], (3,), (0,)),
    ):  # fmt: skip
        found = in_steps(ours, arrays, backend)
        assert found.values[0].shape == value and found.first[0].shape == gradient
        at = eagerly(ours, arrays)[0]
        assert_array_equal(at, found.values[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_whole_numbers_are_exact(backend: str) -> None:
    """Integers above 2^24, which float32 cannot represent, and booleans."""
    big = np.arange(2**24, 2**24 + 12, dtype=np.int32).reshape(4, 3)
    places = np.int32([3, 0, 0, -1])

    def ours(x: Any, i: Any) -> Any:
        return [
            ops.take(x, i, 0), x[i], ops.take_along_axis(x, i[:, None] % 3, 1),
            ops.scatter(i[:, None], x, (4, 3)), ops.scatter_update(x, i[:, None], x),
            ops.segment_sum(x, i, 4), ops.bincount(i + 1, minlength=5),
            ops.take(x > 2**24 + 5, i, 0), ops.scatter_update(x, i[:, None], x, "add"),
            ops.sort(x), ops.tril(x), ops.triu(x),
        ]  # fmt: skip

    added, last, kept = np.zeros_like(big), big.copy(), big.copy()
    np.add.at(added, places, big)
    np.add.at(kept, places, big)
    for row, place in zip(big, places, strict=True):
        last[place] = row
    segments = np.zeros_like(big)
    np.add.at(segments, places[:3], big[:3])
    expected = [
        big[places], big[places], np.take_along_axis(big, places[:, None] % 3, 1), added, last,
        segments, np.bincount(places + 1, minlength=5).astype(np.int32), big[places] > 2**24 + 5,
        kept, np.sort(big), np.tril(big), np.triu(big),
    ]  # fmt: skip
    found = in_steps(ours, [big, places], backend, twice=False).values
    for one, other in zip(found, expected, strict=True):
        same(one, other)
    for one, other in zip(eagerly(ours, [big, places]), expected, strict=True):
        same(one, other)
