"""Any index of an array, and comparisons with rows of values, in a step, compared with NumPy; and
assignments to parts of variables, `v[key].assign(x)`."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from numpy.testing import assert_array_equal
from operation_cases.computed import Result, in_steps, weights

import gpunn
from gpunn import layers, ops

SOME = settings(max_examples=120, derandomize=True, database=None)
MORE = settings(max_examples=1500, derandomize=True, database=None)
on_the_host = pytest.mark.parametrize("backend", ["numpy", "compiled"])


@st.composite
def indices(draw: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Draw a shape and an index for it, which may contain integer arrays."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    of_places = draw(st.booleans())
    common = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    seed = draw(st.integers(0, 2**32 - 1))
    key: list[Any] = []
    for n in shape:
        kinds = ["slice", "whole", "place", *["places"] * (3 * of_places)]
        kind = draw(st.sampled_from(kinds))
        if kind == "whole":
            key.append(slice(None))
        elif kind == "place":
            key.append(draw(st.integers(-n, n - 1)))
        elif kind == "places":
            random = np.random.default_rng([seed, len(key)])
            own = tuple(m if random.random() < 0.7 else 1 for m in common)
            own = own[int(random.random() < 0.3) :]
            key.append(random.integers(-n, n, own).astype(np.int32))
        else:
            ends = st.none() | st.integers(-n - 1, n + 1)
            step = draw(st.sampled_from([None, 1, 2, -1, -2]))
            key.append(slice(draw(ends), draw(ends), step))
    if draw(st.booleans()):  # replace some entries with `...`, or omit the last ones
        start = draw(st.integers(0, len(key)))
        key[start : draw(st.integers(start, len(key)))] = [Ellipsis]
    elif draw(st.booleans()):
        del key[draw(st.integers(1, len(key))) :]
    if not any(isinstance(entry, np.ndarray) for entry in key) and draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    return shape, key


def check_index(shape: tuple[int, ...], key: list[Any], backend: str) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    arrays = [entry for entry in key if isinstance(entry, np.ndarray)]

    def part(x: Any, *places: Any) -> Any:
        rest = iter(places)
        return x[tuple(next(rest) if isinstance(e, np.ndarray) else e for e in key)]

    found: Result = in_steps(part, [x, *arrays], backend)
    expected = x[tuple(key)]
    assert_array_equal(found.values[0], expected, str(key))
    (dy,) = weights([expected.shape], "float32", 1)
    gradient = np.zeros_like(x)
    np.add.at(gradient, tuple(key), dy)
    assert_array_equal(found.first[0], gradient, str(key))


@on_the_host
@SOME
@given(index=indices())
def test_any_index(index: Any, backend: str) -> None:
    check_index(index[0], index[1], backend)


@pytest.mark.more
@on_the_host
@MORE
@given(index=indices())
def test_any_more_indices(index: Any, backend: str) -> None:
    check_index(index[0], index[1], backend)


PLACES = [np.array([1, -1, 0, 1], np.int32)] * 3


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((3, 4, 5), np.s_[:, ::-1, 1:]), ((3, 4, 5), np.s_[::-1, :, 1:]),
        ((3, 4, 5), np.s_[1:, ::-1]), ((3, 4, 5), np.s_[:, 1:, ::-1]),
        ((3, 4, 5), np.s_[::-1, 1:2]), ((3, 2, 4, 5), (slice(None), *PLACES)),
        ((2, 4, 5), tuple(PLACES)), ((2, 4, 5), (PLACES[0], slice(None), PLACES[1])),
        ((2, 3, 4), (0, slice(1, None), PLACES[0])),
    ],
    ids=str,
)  # fmt: skip
def test_some_indices(shape: tuple[int, ...], key: Any, backend: str) -> None:
    check_index(shape, list(key), backend)


@pytest.mark.parametrize("entry", [1.0, True, "a", np.float32(1), [0.5], slice(0.0, 2)], ids=repr)
def test_what_is_no_place_is_refused(entry: Any) -> None:
    """Booleans and floats are not valid indices, and are not truncated."""
    with pytest.raises(IndexError):
        _ = ops.ones((2, 3))[entry]


@pytest.mark.parametrize(
    ("start", "shape"), [((2,), (2,)), ((-1,), (1,)), ((0,), (4,)), ((4,), (0,)), ((0, 0), (1,))]
)
def test_a_part_beyond_the_end_is_refused(start: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match=r"slice: .*\(3,\)"):
        ops.slice(ops.ones((3,)), start, shape)


@pytest.mark.parametrize("form", ["a tensor", "a list"])
@pytest.mark.parametrize(
    ("start", "shape"),
    [((1, 0, 2), (2, 3, 2)), ((0, 2, 3), (3, 1, 0)), ((2, 1), (1, 2)), ((0,), (3,))], ids=str,
)  # fmt: skip
def test_parts_whose_start_a_step_computes(start: Any, shape: Any, form: str, backend: str) -> None:
    whole = tuple(slice(at, at + n) for at, n in zip(start, shape, strict=True))
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    place = np.array(start, np.int32)

    def given(at: Any) -> Any:
        return at if form == "a tensor" else [0 + at[k] for k in range(len(start))]

    found: Result = in_steps(lambda x, at: ops.slice(x, given(at), shape), [x, place], backend)
    assert_array_equal(found.values[0], x[whole])
    (dy,) = weights([x[whole].shape], "float32", 1)
    gradient = np.zeros_like(x)
    gradient[whole] = dy
    assert_array_equal(found.first[0], gradient)
    if len(start) < x.ndim:
        return
    new = np.random.default_rng(1).standard_normal(shape).astype(np.float32)

    def replaced(x: Any, new: Any, at: Any) -> Any:
        return ops.slice_update(x, given(at), new)

    found = in_steps(replaced, [x, new, place], backend)
    updated = x.copy()
    updated[whole] = new
    assert_array_equal(found.values[0], updated)
    (dy,) = weights([x.shape], "float32", 1)
    assert_array_equal(found.first[1], dy[whole])
    dy[whole] = 0
    assert_array_equal(found.first[0], dy)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_parts_in_a_loop_are_those_of_keras(keras: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)

    def run(lib: Any) -> Any:
        def body(i: Any, state: Any) -> Any:
            row = lib.ops.slice(state, [i, 0], [1, 3])
            return lib.ops.slice_update(state, [3 - i, 0], lib.ops.cumsum(row, 1))

        found = lib.ops.fori_loop(0, 4, body, lib.ops.convert_to_tensor(x))
        return lib.ops.convert_to_numpy(found)

    np.testing.assert_allclose(run(gpunn), run(keras), rtol=1e-6)


@pytest.mark.traced
@pytest.mark.parametrize("name", ["slice", "slice_update"])
def test_a_step_refuses_parts_beyond_the_end(name: str, backend: str) -> None:
    def part(x: Any, at: Any) -> Any:
        new = ops.zeros((2,))
        return ops.slice(x, at, (2,)) if name == "slice" else ops.slice_update(x, at, new)

    x = np.ones(3, np.float32)
    for at in (-1, 2):
        with pytest.raises(IndexError, match=rf"{name}: start_indices must be from 0 to 1.*; got"):
            in_steps(part, [x, np.array([at], np.int32)], backend)
    first = np.zeros(1, np.int32)
    for shape in ((-1,), (4,), (1, 1)):
        with pytest.raises(ValueError, match=r"slice: a (start and a size|part is longer)"):
            in_steps(lambda x, at, shape=shape: ops.slice(x, at, shape), [x, first], backend)


X = np.ones((2, 3), np.float32)
WRONG: dict[str, Any] = {
    "take": lambda: ops.take(X, [0], 2), "take below": lambda: ops.take(X, [0], -3),
    "moveaxis": lambda: ops.moveaxis(X, 2, 0), "moveaxis to": lambda: ops.moveaxis(X, 0, -3),
    "swapaxes": lambda: ops.swapaxes(X, 0, 2), "flip": lambda: ops.flip(X, 2),
    "flip twice": lambda: ops.flip(X, (1, -1)), "roll": lambda: ops.roll(X, 1, 2),
    "roll by less": lambda: ops.roll(X, 0.5, 0), "split": lambda: ops.split(X, 1, 2),
    "split into none": lambda: ops.split(X, -1), "unstack": lambda: ops.unstack(X, axis=2),
    "array_split": lambda: ops.array_split(X, 0), "repeat": lambda: ops.repeat(X, 2, 2),
    "concatenate": lambda: ops.concatenate([X, X], 2), "trace": lambda: ops.trace(X, 0, 0, 2),
    "tensordot": lambda: ops.tensordot(X, X, [[2], [2]]), "pad": lambda: ops.pad(X, -1),
    "pad by less": lambda: ops.pad(X, 0.5), "bincount": lambda: ops.bincount([0], minlength=-1),
    "tril": lambda: ops.tril(X[0]), "diff": lambda: ops.diff(X, axis=2),
    "take_along_axis": lambda: ops.take_along_axis(X, [[0]], 2),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_axis_or_a_number_that_there_is_not_is_refused(name: str) -> None:
    """An invalid one is never silently replaced."""
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        WRONG[name]()


# -- comparisons with a row of values that could be taken for indices


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
ROWS = ([0, 1, 3], [1, 2, 3], [0, 1, 2], [2, 1, 0], [0, 0, 1], [0, 1, 2, 3], [-1, 0, 1], [5])


@on_the_host
@SOME
@given(
    row=st.sampled_from(ROWS) | st.lists(st.integers(-2, 5), min_size=1, max_size=5),
    comparison=st.sampled_from(["equal", *COMPARISONS]),
    dtype=st.sampled_from(["int32", "float32"]),
    flat=st.booleans(),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whole_numbers_beside_a_row(
    row: list[int], comparison: str, dtype: str, flat: bool, turned: bool, seed: int, backend: str
) -> None:
    """Compare, and compute with the booleans in the same expression."""
    random = np.random.default_rng(seed)
    n = len(row)
    x = random.integers(-2, 6, (7, 1 if flat else n)).astype(dtype)
    factors = random.standard_normal((7, n)).astype(np.float32)

    def ours(x: Any, factors: Any) -> Any:
        pair = (np.array(row), x) if turned else (x, np.array(row))
        holds = getattr(ops, comparison)(*pair)
        return ops.cast(holds, "float32") * factors + ops.where(holds, 1.0, -1.0)

    pair = (np.array(row), x) if turned else (x, np.array(row))
    holds = getattr(np, comparison)(*pair)
    expected = holds.astype(np.float32) * factors + np.where(holds, np.float32(1), np.float32(-1))
    assert_array_equal(in_steps(ours, [x, factors], backend, twice=False).values[0], expected)


@pytest.mark.more
@on_the_host
def test_more_classes_than_float32_can_number(backend: str) -> None:
    n = 2**24 + 2
    x = np.array([[n - 1]], np.int32)
    found = in_steps(lambda x: ops.one_hot(x[:, 0], n) * 2.0, [x], backend, twice=False).values[0]
    assert_array_equal(np.flatnonzero(found), [n - 1])


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows_on_each_backend(row: list[int], backend: str) -> None:
    x = np.arange(-2, 5, dtype=np.int32)[:, None]
    found = in_steps(
        lambda x: ops.cast(x == np.array(row), "float32") * 2.0, [x], backend, twice=False
    )
    assert_array_equal(found.values[0], 2.0 * (x == np.array(row)))


# -- parts of variables

FIRST = np.arange(24.0).reshape(2, 3, 4).astype(np.float32)
PARTS: list[tuple[Any, Any]] = [
    (1, 5.0),
    (-1, np.ones((3, 4))),
    ((0, 2, 3), 7.0),
    (np.s_[:, 1], [1.0, 2.0, 3.0, 4.0]),
    (np.s_[..., 0], np.array([[1.0], [2.0]])),
    (np.s_[:, ::-2, 1:3], np.arange(8.0).reshape(2, 2, 2)),
    (np.s_[1:, [2, 0]], -1.0),
    (np.s_[:0], 3.0),
    (np.s_[:, None, 1], 2.0),
]


def assigned(key: Any, value: Any) -> np.ndarray:
    expected = FIRST.copy()
    expected[key] = value
    return expected


@pytest.mark.parametrize(("key", "value"), PARTS)
def test_a_part_is_assigned_as_in_numpy(key: Any, value: Any) -> None:
    v = gpunn.Variable(FIRST)
    before = v[key]
    assert_array_equal(before.numpy(), FIRST[key])
    found = before.assign(value)
    assert_array_equal(v.numpy(), assigned(key, value))
    assert_array_equal(found.numpy(), v.numpy())
    assert_array_equal(before.numpy(), FIRST[key])  # a copy, as in TensorFlow


@pytest.mark.parametrize(("key", "value"), PARTS)
def test_a_part_is_assigned_inside_a_tape(key: Any, value: Any) -> None:
    v = gpunn.Variable(FIRST)
    with gpunn.GradientTape() as tape:
        v[key].assign(value)
        y = ops.sum(v * v)
    assert_array_equal(v.numpy(), assigned(key, value))
    assert_array_equal(tape.gradient(y, v).numpy(), 2 * assigned(key, value))


def test_a_part_is_assigned_in_each_step(backend: str) -> None:
    count = gpunn.Variable(np.zeros(2), dtype="float32")

    class Counted(layers.Layer):
        def call(self, x: Any) -> Any:
            count[1].assign(count[1] + x.shape[0])
            return x * 1.0

    model = gpunn.Sequential([gpunn.Input((3,)), Counted()], backend=backend)
    for _ in range(2):
        model.predict(np.zeros((8, 3), np.float32), batch_size=4, verbose=0)
    assert_array_equal(count.numpy(), [0, 16])


def test_only_variables_have_parts_to_assign_to() -> None:
    v = gpunn.Variable(FIRST)
    for t in (ops.convert_to_tensor(FIRST), v * 1.0, v[0] * 1.0, v[0][0]):
        with pytest.raises(TypeError, match=r"only a gpunn.Variable and its parts.*Variable\(x\)"):
            t.assign(0.0)
    with pytest.raises(ValueError, match="broadcast"):
        v[0].assign([1.0, 2.0])


def test_a_condition_alone_gives_indices() -> None:
    x = np.random.default_rng(3).normal(size=(3, 4)).astype("float32")
    for condition in (x > 0, x > 9, np.array(True), np.arange(4) % 2):
        for found in (ops.where(condition), ops.nonzero(condition)):
            expected = np.nonzero(np.atleast_1d(condition))
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                assert one.dtype == "int32"
                assert_array_equal(one, other)
    rows, columns = ops.where(x > 0)
    assert_array_equal(ops.convert_to_tensor(x)[rows, columns], x[x > 0])
    with pytest.raises(ValueError, match=r"where: x1 and x2 must both be given, or none"):
        ops.where(x > 0, x)
    with pytest.raises(ValueError, match=r"the number of indices depends on the values"):
        gpunn.Model(i := gpunn.Input((3,)), ops.nonzero(i)[0]).predict(np.ones((2, 3)), verbose=0)


def test_sparse_results_are_refused() -> None:
    for make in (lambda s: ops.one_hot([1], 2, sparse=s), lambda s: ops.bincount([1], sparse=s),
                 lambda s: ops.multi_hot([1], 2, sparse=s)):  # fmt: skip
        assert make(False).numpy().sum() == 1
        with pytest.raises(ValueError, match="sparse must be False"):
            make(True)
