"""One NaN or infinity affects the results that depend on it, and no others, forward and backward.

The dependent results are found by changing the values: results that stay the same must stay bitwise
equal when the values become NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from operation_cases.case import floats, ints
from operation_cases.computed import in_steps, is_float, listed

from gpunn import ops
from gpunn.backends import get_backend
from gpunn.common.config import eagerly
from gpunn.ops.gradients import gradients
from gpunn.ops.running.computation import Computation, Destination
from gpunn.ops.trace import Trace

HARMFUL = (np.nan, np.inf, -np.inf)
more = pytest.mark.more
Arrays = list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """An operation that moves or adds rows.

    Attributes:
        function: a function of tensors.
        arrays: its arguments; a row or an element of the float ones becomes NaN.
        chosen: for operations that choose among values, which further elements may change. It
            takes the changed part, the index of a result and its shape, and returns a mask.
    """

    function: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    chosen: Callable[[Any, int, tuple[int, ...]], np.ndarray] | None = None


CASES: dict[str, Case] = {}


def case(name: str, function: Callable[..., Any], *arrays: np.ndarray, **options: Any) -> None:
    CASES[name] = Case(function, arrays, **options)


def its_row(part: Any, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Mark the whole changed row, where the order or the sum of a row matters."""
    mask = np.zeros(shape, bool)
    mask[part[0]] = True
    return mask


def its_segment(part: Any, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Mark the segment for the largest in each segment; in the gradient, the rows that belong to
    it, in the changed columns."""
    mask = np.zeros(shape, bool)
    segments = IDS[part[0]]
    rows = np.isin(np.arange(shape[0]) if number == 0 else IDS, segments)
    mask[np.ix_(rows, np.arange(shape[1])[part[1:] or slice(None)].reshape(-1))] = True
    return mask


X = floats(5, 4)
PLACES = ints(7, low=-5, high=5)
IN_ROWS = ints(5, 3, low=-4, high=4)
IDS = ints(5, low=-1, high=5)  # below 0: of no segment
MANY = 20_000

case("take rows", lambda x, i: ops.take(x, i, 0), X, PLACES)
case("take columns", lambda x, i: ops.take(x, i, 1), X, ints(2, 3, low=-4, high=4))
case("take of all", ops.take, X, ints(6, low=-20, high=20))
case(
    "take of a large table", lambda x, i: ops.take(x, i, 0), floats(MANY, 2),
    ints(9, low=-MANY, high=MANY),
)  # fmt: skip
case("take_along_axis", lambda x, i: ops.take_along_axis(x, i, 1), X, IN_ROWS)
case("take_along_axis 0", lambda x, i: ops.take_along_axis(x, i, 0), X, ints(3, 4, high=5))
case("x[places]", lambda x, i: x[i], X, PLACES)
case("x[:, places]", lambda x, i: x[:, i], X, ints(3, low=-4, high=4))
case("x[rows, columns]", lambda x, i: x[np.arange(5), i], X, ints(5, low=-4, high=4))
case("x[:, i, j]", lambda x, i: x[:, i, i], floats(3, 4, 4), ints(5, low=-4, high=4))
case("x[1:, ::-2]", lambda x: x[1:, ::-2], X)
case("x[::-1, :, 1:]", lambda x: x[::-1, :, 1:], floats(3, 4, 5))
case("flip", lambda x: ops.flip(x, 1), X)
case("slice", lambda x: ops.slice(x, (1, 0), (3, -1)), X)
case("slice_update", lambda x, new: ops.slice_update(x, (1, 2), new), X, floats(2, 2, seed=1))
case("scatter", lambda v, i: ops.scatter(i, v, (4, 3)), floats(5, 3), ints(5, 1, low=-4, high=4))
case(
    "scatter of two", lambda v, i: ops.scatter(i, v, (4, 3)), floats(6), ints(6, 2, low=-3, high=3)
)
case(
    "scatter to many", lambda v, i: ops.scatter(i, v, (MANY, 3)), floats(5, 3),
    ints(5, 1, low=0, high=50),
)  # fmt: skip
for reduction in (None, "add"):
    case(
        f"scatter_update {reduction}", lambda x, i, v, r=reduction: ops.scatter_update(x, i, v, r),
        X, ints(7, 1, low=-5, high=5), floats(7, 4, seed=1),
    )  # fmt: skip
case("segment_sum", lambda x, i: ops.segment_sum(x, i, 4), X, IDS)
case("segment_sum of many", lambda x, i: ops.segment_sum(x, i, MANY), X, IDS)
case("segment_max", lambda x, i: ops.segment_max(x, i, 4), X, IDS, chosen=its_segment)
case("bincount", lambda w, i: ops.bincount(i, w, 9), floats(20), ints(20, low=0, high=9))
case("bincount of rows", lambda w, i: ops.bincount(i, w, 4), X, ints(5, 4, low=0, high=4))
case("one_hot", lambda x, i: ops.one_hot(i, 4) + x, X, ints(5, low=-1, high=5))
case("sort", ops.sort, X, chosen=its_row)
case("argsort and take", lambda x: ops.take_along_axis(x, ops.argsort(x), -1), X, chosen=its_row)
case("top_k", lambda x: ops.top_k(x, 2)[0], X, chosen=its_row)
case("concatenate", lambda a, b: ops.concatenate([a, b, a], 0), X, floats(2, 4))
case("concatenate columns", lambda a, b: ops.concatenate([a, b], 1), X, floats(5, 2))
case("stack", lambda a, b: ops.stack([a, b], 1), X, floats(5, 4, seed=1))
case("split", lambda x: ops.split(x, [1, 3], 0), X)
case("unstack", lambda x: ops.unstack(x, axis=1), X)
case("append", ops.append, X, floats(3))
for mode in ("constant", "reflect", "symmetric"):
    case(f"pad {mode}", lambda x, m=mode: ops.pad(x, ((1, 2), (0, 3)), m), X)
case("roll", lambda x: ops.roll(x, (2, -1), (0, 1)), X)
case("tile", lambda x: ops.tile(x, (2, 3)), X)
case("repeat", lambda x: ops.repeat(x, 2, 0), X)
case("repeat each", lambda x: ops.repeat(x, [1, 0, 3, 2, 1], 0), X)
case("transpose", ops.transpose, X)
case("transpose of three", lambda x: ops.transpose(x, (2, 0, 1)), floats(3, 4, 5))
case("tril", lambda x: ops.tril(x, -1), X)
case("triu", lambda x: ops.triu(x, 1), floats(2, 4, 4))
case("diag", ops.diag, floats(5))
case("diagonal", lambda x: ops.diagonal(x, 1), X)
case("rot90", ops.rot90, X)
case("broadcast_to", lambda x: ops.broadcast_to(x[:, None], (5, 3, 4)), X)
case("meshgrid", lambda a, b: ops.meshgrid(a, b), floats(3), floats(4))
case("space_to_depth", lambda x: ops.space_to_depth(x, 2), floats(2, 4, 4, 1))
case("depth_to_space", lambda x: ops.depth_to_space(x, 2), floats(2, 2, 2, 4))
case("where", lambda a, b, c: ops.where(c > 0, a, b), X, floats(5, 4, seed=1), ints(5, 4))
case("select", lambda a, b, c: ops.select([c > 0], [a], b), X, floats(5, 4, seed=1), ints(5, 4))
case("cumsum along the other axis", lambda x: ops.cumsum(x, 1), X)
case("cumsum", lambda x: ops.cumsum(x, 0), X)
case("diff", lambda x: ops.diff(x, axis=0), X)
case("sum along the other axis", lambda x: ops.sum(x, 1), X)
case("mean along the other axis", lambda x: ops.mean(x, 1), X)
case("max along the other axis", lambda x: ops.max(x, 1), X, chosen=its_row)
case("sum", lambda x: ops.sum(x, 0), X)
case("trace", ops.trace, X)
case("matmul", lambda x: x @ floats(4, 3, seed=2), X)
case("matmul of stacks", lambda x: x @ floats(3, 4, 2, seed=2), floats(3, 5, 4))
case("einsum", lambda x: ops.einsum("bij,jk->bik", x, floats(4, 2, seed=2)), floats(3, 5, 4))
case("tensordot", lambda x: ops.tensordot(x, floats(4, 2, seed=2), 1), X)
case("outer", lambda x: ops.outer(x, floats(3, seed=2)), floats(5))
case("inner", lambda x: ops.inner(x, floats(3, 4, seed=2)), X)
case("kron", lambda x: ops.kron(x, floats(2, 2, seed=2)), floats(3, 2))
case("cross", lambda x: ops.cross(x, floats(5, 3, seed=2)), floats(5, 3))
case("vander", lambda x: ops.vander(x, 3), floats(5))
case("trapezoid", ops.trapezoid, X)
case("cumprod", lambda x: ops.cumprod(x, 1), X)
case("prod along the other axis", lambda x: ops.prod(x, 1), X, chosen=its_row)
case("var along the other axis", lambda x: ops.var(x, 1), X, chosen=its_row)
case("std along the other axis", lambda x: ops.std(x, 1), X, chosen=its_row)
case("ptp along the other axis", lambda x: ops.ptp(x, 1), X, chosen=its_row)
case("median along the other axis", lambda x: ops.median(x, 1), X, chosen=its_row)
case("nansum along the other axis", lambda x: ops.nansum(x, 1), X, chosen=its_row)
case("nanmax along the other axis", lambda x: ops.nanmax(x, 1), X, chosen=its_row)
case("sparsemax", ops.sparsemax, X / 20, chosen=its_row)
case("rms_normalization", ops.rms_normalization, X, chosen=its_row)
case("glu", ops.glu, X)
case("map", lambda x: ops.map(lambda row: row * 2.0, x), X)
case(
    "dot_product_attention",
    lambda x: ops.dot_product_attention(x, floats(2, 4, 1, 3, seed=2), floats(2, 4, 1, 3, seed=3)),
    floats(2, 3, 1, 3), chosen=its_row,
)  # fmt: skip
IMAGES, KERNEL = floats(2, 4, 5, 2), floats(2, 3, 2, 3, seed=2)
for padding in ("valid", "same"):
    case(f"conv {padding}", lambda x, p=padding: ops.conv(x, KERNEL, padding=p), IMAGES)
    case(
        f"conv_transpose {padding}",
        lambda x, p=padding: ops.conv_transpose(x, floats(2, 3, 3, 2, seed=2), 2, p), IMAGES,
    )  # fmt: skip
    case(
        f"depthwise_conv {padding}",
        lambda x, p=padding: ops.depthwise_conv(x, KERNEL, padding=p), IMAGES,
    )  # fmt: skip
    case(
        f"average_pool {padding}", lambda x, p=padding: ops.average_pool(x, 2, 1, p), IMAGES
    )
    case(
        f"max_pool {padding}", lambda x, p=padding: ops.max_pool(x, 2, 1, p), IMAGES,
        chosen=its_row,
    )  # fmt: skip
case("filters of conv", lambda w: ops.conv(IMAGES, w), KERNEL)
case("filters of depthwise_conv", lambda w: ops.depthwise_conv(IMAGES, w), KERNEL)
case("softmax", ops.softmax, X, chosen=its_row)
case("log_softmax", ops.log_softmax, X, chosen=its_row)
case("logsumexp", lambda x: ops.logsumexp(x, 1), X, chosen=its_row)
case("layer_normalization", ops.layer_normalization, X, chosen=its_row)
case("normalize", ops.normalize, X, chosen=its_row)
case("norm", lambda x: ops.norm(x, axis=1), X, chosen=its_row)
case(
    "sparse_categorical_crossentropy",
    lambda x, t: ops.sparse_categorical_crossentropy(t, x, from_logits=True),
    X, ints(5, low=0, high=4), chosen=its_row,
)  # fmt: skip
case(
    "sparse_categorical_crossentropy of probabilities",
    lambda x, t: ops.sparse_categorical_crossentropy(t, ops.exp(x)), X, ints(5, low=0, high=4),
    chosen=its_row,
)  # fmt: skip


class Steps:
    """A function's results and gradients, computed repeatedly for different values."""

    def __init__(self, function: Callable[..., Any], arrays: Sequence[np.ndarray], name: str):
        self.device = get_backend(name).isolated()
        trace = Trace()

        def held(array: np.ndarray) -> Any:
            return self.device.upload(array.copy()).reshape(array.shape)

        with self.device.stream_lock:
            self._given = list(map(held, arrays))
            leaves = list(map(trace.placeholder, self._given))
            with trace.active():
                ys = listed(function(*leaves))
                self._shapes = [y.shape for y in ys]
                self._dys = [held(np.zeros(y.shape, y.dtype)) for y in ys]
                dys = list(map(trace.placeholder, self._dys))
                xs = [x for x in leaves if is_float(x)]
                dxs = gradients(ys, xs, dys)
            wanted = [*ys, *(dx for dx in dxs if dx is not None)]
            self._found = [self.device.empty(t.shape, t.dtype) for t in wanted]
            targets = [Destination(t, a) for t, a in zip(wanted, self._found, strict=True)]
            self._computation = Computation(self.device, trace.arrays, [targets])

    def weights(self, random: np.random.Generator) -> Arrays:
        return [random.standard_normal(shape).astype(np.float32) for shape in self._shapes]

    def run(self, arrays: Sequence[np.ndarray], dys: Sequence[np.ndarray]) -> Arrays:
        for array, numbers in zip([*self._given, *self._dys], [*arrays, *dys], strict=True):
            self.device.write(array, numbers)
        with self.device.stream_lock, np.errstate(all="ignore"):
            self._computation.run(0)
        return [self.device.read(array) for array in self._found]


class EagerSteps:
    """The same, computed operation by operation; weighted as in `in_steps`."""

    def __init__(self, function: Callable[..., Any], arrays: Sequence[np.ndarray], name: str):
        self._function, self._name = function, name

    def weights(self, random: np.random.Generator) -> Arrays:
        return []

    def run(self, arrays: Sequence[np.ndarray], dys: Sequence[np.ndarray]) -> Arrays:
        with eagerly(True):
            found = in_steps(self._function, list(arrays), self._name, twice=False)
        return [*found.values, *found.first]


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two results differ; NaN equals NaN, and 0 equals -0."""
    return (a != b) & ((a == a) | (b == b))


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Surround the function with element-wise operations, which are fused with it."""

    def among_others(*xs: Any) -> Any:
        ys = function(*(x * 2.0 + 1.0 if is_float(x) else x for x in xs))
        return [y * 3.0 - 1.0 for y in listed(ys)]

    return among_others


def parts_of(shape: tuple[int, ...], random: np.random.Generator) -> list[Any]:
    """Return rows along each axis and single elements; only a few of many."""
    found: list[Any] = []
    for axis in range(len(shape)):
        for place in random.permutation(shape[axis])[:5]:
            found.append((slice(None),) * axis + (int(place),))
    for _ in range(3):
        found.append(tuple(int(random.integers(n)) for n in shape))
    return found


def check(name: str, backend: str, among_others: bool = False, kind: Any = Steps) -> None:
    one = CASES[name]
    function = fused(one.function) if among_others else one.function
    arrays = [a.astype(np.float32) if is_float(a) else a for a in one.arrays]
    steps = kind(function, arrays, backend)
    random = np.random.default_rng(0)
    given = [*arrays, *steps.weights(random)]
    n = len(arrays)
    before = steps.run(given[:n], given[n:])
    for number, array in enumerate(given):
        if not is_float(array) or not array.size:
            continue
        for part in parts_of(array.shape, random):

            def with_other(values: Any, number: int = number, part: Any = part) -> Arrays:
                changed = [a.copy() for a in given]
                changed[number][part] = values
                return steps.run(changed[:n], changed[n:])

            reached = [np.zeros(b.shape, bool) for b in before]
            for scale in (3.0, -7.0):
                moved = array[part] + scale * (1.0 + random.random(array[part].shape))
                for found, now, then in zip(reached, with_other(moved), before, strict=True):
                    found |= differ(now, then)
            if one.chosen is not None and number < n:
                for k, found in enumerate(reached):
                    found |= one.chosen(part, k, found.shape)
            harm = HARMFUL[int(random.integers(len(HARMFUL)))]
            for k, (found, now) in enumerate(zip(reached, with_other(harm), strict=True)):
                spread = differ(now, before[k]) & ~found
                assert not spread.any(), (
                    f"{harm} at {part} of array {number} reaches {np.argwhere(spread)[:5].tolist()}"
                    f" of result {k}: {now[spread][:5]} in place of {before[k][spread][:5]}"
                )


every_case = pytest.mark.parametrize("name", CASES)
SOME = ("take rows", "x[rows, columns]", "scatter", "scatter_update None", "segment_max", "sort")


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("backend", ["numpy", pytest.param("compiled", marks=more)])
@every_case
def test_nothing_else_changes(name: str, backend: str) -> None:
    check(name, backend)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("backend", ["compiled", pytest.param("numpy", marks=more)])
@every_case
def test_nothing_else_changes_among_others(name: str, backend: str) -> None:
    check(name, backend, among_others=True)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SOME else more) for n in CASES])
def test_nothing_else_changes_on_a_gpu(name: str) -> None:
    check(name, "emulated")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SOME else more) for n in CASES])
def test_nothing_else_changes_in_eager_steps(name: str) -> None:
    check(name, "numpy", kind=EagerSteps)
