"""Arguments that an operation cannot use are refused, by an error that names both and what came.

It is raised before any work, and is the same for known values and in a trace.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers, ops, random
from gpunn.common.config import set_floatx
from gpunn.core.operators import FUNCTIONS
from gpunn.ops.running.shape_trace import trace_of
from gpunn.ops.tensor import NeedsValuesError, leaf

X = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)
ANY, TRUTH = np.ones((2, 3, 4)), np.ones((1, 2, 1, 4))
Call = Callable[[Any], Any]
Case = tuple[Call, type[Exception], str]

V, T, P = ValueError, TypeError, IndexError

# A call by x (3, 4), the error, and how its message begins.
AXES: dict[str, Case] = {
    "argmax of two": (lambda x: ops.argmax(x, (0, 1)), T, "argmax: axis must be one"),
    "cumsum of two": (lambda x: ops.cumsum(x, (0, 1)), T, "cumsum: axis must be one"),
    "sort by two": (lambda x: ops.sort(x, (0, 1)), T, "sort: axis must be one"),
    "diff": (lambda x: ops.diff(x, axis=9), V, "diff: axis must name one of the 2"),
    "trapezoid": (lambda x: ops.trapezoid(x, axis=9), V, "trapezoid: axis must name"),
    "sparsemax": (lambda x: ops.sparsemax(x, 9), V, "sparsemax: axis must name"),
    "cross": (lambda x: ops.cross(x[:, :3], x[:, :3], axis=9), V, "cross: axis must"),
    "cross b": (lambda x: ops.cross(x[:, :3], x[:, :3], axisb=9), V, "cross: axisb must"),
    "cross c": (lambda x: ops.cross(x[:, :3], x[:, :3], axisc=9), V, "cross: axisc must"),
    "diagonal": (lambda x: ops.diagonal(x, 0, 9), V, "diagonal: axis1 must name"),
    "diagonal of one": (lambda x: ops.diagonal(x, 0, 0, -2), V, "diagonal: axis1 and axis2"),
    "trace": (lambda x: ops.trace(x, axis2=9), V, "trace: axis2 must name"),
    "one_hot": (lambda x: ops.one_hot(x, 12, 9), V, "one_hot: axis must name"),
    "linspace": (lambda x: ops.linspace(x, x, axis=9), V, "linspace: axis must name"),
    "stack": (lambda x: ops.stack([x, x], 9), V, "stack: axis must name"),
    "median": (lambda x: ops.median(x, 9), V, "median: axis must name"),
    "roll": (lambda x: ops.roll(x, 1, 1.5), T, "roll: axis must .* got 1.5"),
    "softmax of nothing": (lambda x: ops.softmax(x[:0], 9), V, "softmax: axis must"),
    "log_softmax of nothing": (lambda x: ops.log_softmax(x[:0], 9), V, "log_softmax: axis"),
    "norm": (lambda x: ops.norm(x, axis=1.5), T, "norm: axis must"),
    "shuffle": (lambda x: random.shuffle(x, 9), V, "axis must name one of the 2"),
    "shuffle by half": (lambda x: random.shuffle(x, 0.5), T, "axis must .* got 0.5"),
}  # fmt: skip
COUNTS: dict[str, Case] = {
    "rot90": (lambda x: ops.rot90(x, 1.5), T, "rot90: k must .* integers; got 1.5"),
    "tri": (lambda x: ops.tri(2.5), T, "tri: N must .* got 2.5"),
    "tri of less": (lambda x: ops.tri(2, -1), V, "tri: M must be 0 or more; got -1"),
    "tri by half": (lambda x: ops.tri(2, 2, 0.5), T, "tri: k must"),
    "eye": (lambda x: ops.eye(-1), V, "eye: N must be 0 or more; got -1"),
    "identity": (lambda x: ops.identity(1.5), T, "identity: n must"),
    "tril": (lambda x: ops.tril(x, 0.5), T, "tril: k must"),
    "triu": (lambda x: ops.triu(x, 0.5), T, "triu: k must"),
    "diag": (lambda x: ops.diag(x, 0.5), T, "diag: k must"),
    "vander": (lambda x: ops.vander(x[0], -1), V, "vander: N must be 0 or more"),
    "round": (lambda x: ops.round(x, 0.5), T, "round: decimals must"),
    "diff": (lambda x: ops.diff(x, 1.5), T, "diff: n must"),
    "roll": (lambda x: ops.roll(x, 1.5), T, "roll: shift must .* got 1.5"),
    "roll of three": (lambda x: ops.roll(x, (1, 2), (0, 1, 1)), V, "roll: shift and axis"),
    "one_hot": (lambda x: ops.one_hot(x, -1), V, "one_hot: num_classes must be 0 or more"),
    "multi_hot": (lambda x: ops.multi_hot(x, 2.5), T, "multi_hot: num_classes must"),
    "linspace": (lambda x: ops.linspace(0, 1, 2.5), T, "linspace: num must"),
    "logspace": (lambda x: ops.logspace(0, 1, -1), V, "logspace: num must be 0 or more"),
    "top_k": (lambda x: ops.top_k(x, 1.5), T, "top_k: k must"),
    "in_top_k": (lambda x: ops.in_top_k([0, 1, 1], x, -1), V, "in_top_k: k must be 0"),
    "segment_sum": (lambda x: ops.segment_sum(x, [0, 0, 1], -1), V, "segment_sum: num_seg"),
    "segment_max": (lambda x: ops.segment_max(x, [0, 0, 1], 1.5), T, "segment_max: num_seg"),
    "space_to_depth": (lambda x: ops.space_to_depth(ops.ones((1, 4, 4, 1)), 1.5), T,
                       "space_to_depth: block_size must"),
    "conv": (lambda x: ops.conv(x[None], np.ones((2, 4, 5)), 1.5), V, "conv: strides must"),
    "max_pool": (lambda x: ops.max_pool(x[None], None), V, "max_pool: pool_size must"),
    "fori_loop": (lambda x: ops.fori_loop(0, 1.5, lambda i, v: v, x), T,
                  "fori_loop: upper must"),
    "while_loop": (lambda x: ops.while_loop(lambda v: False, lambda v: v, x, -1), V,
                   "while_loop: maximum_iterations must be 0 or more"),
    "scan of parts": (lambda x: ops.scan(lambda c, y: (c, y), 0.0, x, 1.5), T,
                      "scan: length must"),
    "scan unrolled": (lambda x: ops.scan(lambda c, y: (c, y), 0.0, x, unroll=0), V,
                      "scan: unroll must be 1 or more"),
    "scan of nothing": (lambda x: ops.scan(lambda c, y: (c, y), x), V,
                        "scan: xs or length must be given"),
    "scan of two lengths": (lambda x: ops.scan(lambda c, y: (c, y), 0.0, (x, x[0])), V,
                            r"scan: xs and length must .*'xs\[1\]': 4"),
    "scan of a number": (lambda x: ops.scan(lambda c, y: (c, y), 0.0, {"a": x[0, 0]}), V,
                         r"scan: xs\['a'\] must have an axis of steps"),
    "scan of no function": (lambda x: ops.scan(3, 0.0, x), T, "scan: f must be a function"),
    "scan without a pair": (lambda x: ops.scan(lambda c, y: c, x[0], x), T,
                            "scan: f must return a pair"),
    "scan of less": (lambda x: ops.scan(lambda c, y: ((c[0],), y), (0.0, {"a": x[0]}), x), V,
                     "scan: f must return a carry of the structure of init, .* got"),
    "scan of another shape": (lambda x: ops.scan(lambda c, y: ((c[0], y[:1]), y), (x, x[0]), x), V,
                              r"scan: .* init\[1\] is \(4,\) of float32, and f returns \(1,\)"),
    "scan of another dtype": (lambda x: ops.scan(lambda c, y: ((c > 0), y), x[0], x), V,
                              r"scan: .* init is \(4,\) of float32, .* \(4,\) of bool"),
    "associative_scan": (lambda x: ops.associative_scan(lambda a, b: a[:, :1], x), V,
                         "associative_scan: f must return the structure and shapes"),
    "associative_scan of two": (lambda x: ops.associative_scan(ops.add, (x, x[0])), V,
                                "associative_scan: elems must be tensors of one length"),
    "categorical": (lambda x: random.categorical(x, -1), V, "num_samples must be 0"),
    "arange": (lambda x: ops.arange(1, 5, 0), V, "arange: step must not be 0"),
    "arange of text": (lambda x: ops.arange("a"), T, "arange: stop must be a number; got 'a'"),
    "arange without end": (lambda x: ops.arange(np.inf), V, "arange: stop must be finite"),
    "percentile": (lambda x: ops.percentile(x, 150), V,
                   "percentile: q must be from 0 to 100; got 150"),
    "nanquantile": (lambda x: ops.nanquantile(x, 2), V, "nanquantile: q must be from 0 to 1; got"),
    "hamming": (lambda x: ops.hamming(2.5), T, "hamming: x must be given in integers; got 2.5"),
    "geomspace": (lambda x: ops.geomspace(-1, 1), V, "geomspace: start and stop must both"),
    "histogram": (lambda x: ops.histogram(x[0], 0), V, "histogram: .* bins 1 or more; got .* 0"),
    "range": (lambda x: ops.histogram(x[0], 2, (1, 0)), V,
              r"histogram: The second .*; got \(1, 0\)"),
    "gcd": (lambda x: ops.gcd(x, 2), T, "gcd: x1 must be integers; got float32"),
    "ldexp": (lambda x: ops.ldexp(x, 0.5), T, "ldexp: x2 must be integers; got float32"),
    "view": (lambda x: ops.view(x, "uint8"), V, "view: dtype must be one of int32.*got 'uint8'"),
    "correlate": (lambda x: ops.correlate(x[0], x[0], "a"), V, "correlate: mode must be one of"),
    "switch": (lambda x: ops.switch(0, [], x), V, "switch: branches must be one function or"),
    "switch by tensors": (lambda x: ops.switch(x[0, 0] > 0, x, -x), T,
                          "switch: branches must be functions; got Tensor"),
    "vectorize": (lambda x: ops.vectorize("a"), T, "vectorize: pyfunc must be a function"),
    "signature": (lambda x: ops.vectorize(ops.sum, signature="n->"), V, "vectorize: signature"),
    "beta": (lambda x: random.beta((2,), 1.0, 0.0), V, "beta must be positive; got 0.0"),
    "counts": (lambda x: random.binomial((2,), 1.5, 0.5), V, "counts must be integers of 0"),
    "shares": (lambda x: random.binomial((2,), 2, 1.5), V, "probabilities must be from 0 to 1"),
    "randint": (lambda x: random.randint((2,), 0, 2.5), V, "minval must be below.* got 0 and 2.5"),
    "dropout": (lambda x: random.dropout(x, "a"), T, "rate must be a number; got 'a'"),
}  # fmt: skip
SHAPES: dict[str, Case] = {
    "empty": (lambda x: ops.empty((-1,)), V, r"empty: shape must .* got \(-1,\)"),
    "zeros": (lambda x: ops.zeros((-1,)), V, r"zeros: shape must .* got \(-1,\)"),
    "ones": (lambda x: ops.ones((2, 1.5)), T, "ones: shape must .* got 1.5"),
    "text": (lambda x: ops.empty("a"), T, "empty: shape must .* got 'a'"),
    "full": (lambda x: ops.full((2,), x), V, r"full: .* cannot be broadcast to \(2,\)"),
    "broadcast_to": (lambda x: ops.broadcast_to(x, (2, 2)), V,
                     r"broadcast_to: .* cannot be broadcast to \(2, 2\). Got the shapes \(3, 4\)"),
    "matmul": (lambda x: ops.matmul(ANY * x[0], ops.ones((3, 4, 2))), V,
               r"matmul: .*\(2, 3, 4\) and \(3, 4, 2\)"),
    "vdot": (lambda x: ops.vdot(x, x[0]), V, r"vdot: x1 and x2 .*\(3, 4\) and \(4,\)"),
    "tensordot": (lambda x: ops.tensordot(x, x, [[0]]), V, "tensordot: axes must be"),
    "einsum": (lambda x: ops.einsum(3, x), V, "einsum: .* got '3'"),
    "attention": (lambda x: ops.dot_product_attention(TRUTH, TRUTH, x), V,
                  "dot_product_attention: query, key and value must"),
    "normalization": (lambda x: ops.layer_normalization(x, [1.0, 2.0]), V,
                      r"layer_normalization: gamma must .* got \(2,\)"),
    "stack": (lambda x: ops.stack([x, x[:2]]), V, r"stack: .* \(3, 4\), \(2, 4\)"),
    "stack of a number": (lambda x: ops.stack(3), T, "stack: x must be a sequence"),
    "hstack": (lambda x: ops.hstack([x, x[:2]]), V, "hstack: shapes must be equal"),
    "vstack of none": (lambda x: ops.vstack([]), V, "vstack: xs must have one"),
    "dstack": (lambda x: ops.dstack([x, x[:2]]), V, "dstack: shapes must be equal"),
    "append": (lambda x: ops.append(x, x[:2], 1), V, "append: shapes must be equal"),
    "divide_no_nan": (lambda x: ops.divide_no_nan(x, x[0, :2]), V, "divide_no_nan: the sh"),
    "clip": (lambda x: ops.clip(x, x[0, :2], 1), V, "clip: the shapes cannot"),
    "isclose": (lambda x: ops.isclose(x, x[0, :2]), V, "isclose: the shapes cannot"),
    "max of none": (lambda x: ops.max(x[:0]), V, r"max: x must have elements .*\(0, 4\)"),
    "ptp of none": (lambda x: ops.ptp(x[:0]), V, "ptp: x must have elements"),
    "amin of none": (lambda x: ops.amin(x[:0]), V, "amin: x must have elements"),
    "median of none": (lambda x: ops.median(x[:0]), V, "median: x must have elements"),
    "argmin of none": (lambda x: ops.argmin(x[:0], 0), V, "argmin: x must have elements"),
    "pad of none": (lambda x: ops.pad(x[:0], 1, "reflect"), V, "pad: mode 'reflect' needs"),
    "view of a row": (lambda x: ops.view(x[:, :3], "float64"), V, "view: the last axis of x"),
    "corrcoef": (lambda x: ops.corrcoef(x[None]), V, r"corrcoef: x must .* got shape \(1, 3, 4\)"),
    "vectors": (lambda x: ops.correlate(x, x[0]), V, "correlate: x1 and x2 must be vectors"),
    "cdist": (lambda x: ops.cdist(x, x[:, :3]), V, "cdist: x and y must be vectors"),
    "unfold": (lambda x: ops.unfold(x, 2), V, "unfold: x must be .batch, channels"),
    "unfold of less": (lambda x: ops.unfold(x[None, None], 5), V, "unfold: kernel_size .5, 5."),
    "fold": (lambda x: ops.fold(x[None], 2, 2), V, r"fold: x must be \(batch, channels x 4, 1\)"),
    "select": (lambda x: ops.select([x > 0], [x, x]), V, "select: condlist and choicelist"),
    "slice_update": (lambda x: ops.slice_update(x, (0,), x), V, "slice_update: expected"),
    "slice_update by half": (lambda x: ops.slice_update(x, (0.5, 0), x), T,
                             "slice_update: start_indices must"),
    "in_top_k": (lambda x: ops.in_top_k([0, 1], x, 1), V, "in_top_k: targets must be one"),
    "bincount": (lambda x: ops.bincount(1, minlength=3), V, "bincount: x must have one axis"),
    "unravel_index": (lambda x: ops.unravel_index(1, (2.5, 2)), T, "unravel_index: shape"),
    "scatter": (lambda x: ops.scatter([[0]], [1.0], (-3,)), V, "scatter: shape must"),
    "digitize": (lambda x: ops.digitize(x, x), V, "digitize: bins must have one axis"),
    "map": (lambda x: ops.map(ops.sum, [[1, 2], [3, 4]]), V, "map: xs must be tensors"),
    "normal": (lambda x: random.normal((2.5,)), T, "shape must .* got 2.5"),
    "uniform": (lambda x: random.uniform((-1,)), V, r"shape must .* got \(-1,\)"),
    "dropout": (lambda x: random.dropout(x, 0.5, (4,)), V, r"noise_shape must .*\(4,\)"),
}  # fmt: skip
INDICES: dict[str, Case] = {
    "x[9]": (lambda x: x[9], P, "indexing: index 9 is out of bounds"),
    "x[0, -5]": (lambda x: x[0, -5], P, "indexing: index -5 is out of bounds"),
    "x[0, 0, 0]": (lambda x: x[0, 0, 0], P, "indexing: too many indices"),
    "x[[0], [0], [0]]": (lambda x: x[[0], [0], [0]], P, "indexing: 3 indices"),
    "x[[0.5]]": (lambda x: x[[0.5]], P, "indexing: tensors in an index must be integers"),
    "x['a']": (lambda x: x["a"], P, "indexing: an index must be"),
    "take": (lambda x: ops.take(x, [1.7]), T, "take: indices must be integers; got 1.7"),
    "take of NaN": (lambda x: ops.take(x, [np.nan]), T, "take: indices .* got nan"),
    "take_along_axis": (lambda x: ops.take_along_axis(x, [[0.5]], 1), T, "take_along_axis: in"),
    "bincount": (lambda x: ops.bincount([1.5], minlength=3), T, "bincount: values must be int"),
    "unravel_index": (lambda x: ops.unravel_index([1.5], (2, 2)), T, "unravel_index: indices"),
    "scatter": (lambda x: ops.scatter([[0.5]], x[:1], (3, 4)), T, "scatter: indices must be"),
    "scatter_update": (lambda x: ops.scatter_update(x, [[0.5]], x[:1]), T, "scatter_update: i"),
    "segment_sum": (lambda x: ops.segment_sum(x, [0.5, 0, 1], 2), T, "segment_sum: segment_ids"),
    "in_top_k": (lambda x: ops.in_top_k([0, 1, 1.5], x, 1), T, "in_top_k: targets must be int"),
    "crossentropy": (lambda x: ops.sparse_categorical_crossentropy([0.5, 1, 1], x), T,
                     "sparse_categorical_crossentropy: classes must be integers; got 0.5"),
}  # fmt: skip
REFUSED = [
    pytest.param(*case, id=f"{kind} {name}")
    for kind, cases in (("axis", AXES), ("count", COUNTS), ("shape", SHAPES), ("index", INDICES))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_it_is_refused_by_name_eagerly_and_in_a_trace(
    call: Call, error: type[Exception], message: str
) -> None:
    messages = []
    for computed in (
        lambda: call(ops.convert_to_tensor(X)),
        lambda: trace_of(call, [((3, 4), "float32")]),
    ):
        with pytest.raises(error, match=f"^{message}") as caught:
            computed()
        messages.append(str(caught.value).split(", at ")[0])
    assert messages[0] == messages[1]


@pytest.mark.parametrize("axis", [99, 1.5, "a"])
@pytest.mark.parametrize(
    "name", [n for n, f in FUNCTIONS.items() if "axis" in inspect.signature(f).parameters]
)
def test_every_axis_that_is_none_is_refused_by_name(name: str, axis: Any) -> None:
    given = {
        "associative_scan": (ops.add, X),
        "append": (X, X), "argpartition": (X, 1), "batch_normalization": (X, [1.0] * 4, [1.0] * 4),
        "categorical_crossentropy": (X, X), "cross": (X[:, :3], X[:, :3]), "linspace": (0, 1),
        "logspace": (0, 1), "geomspace": (1, 2), "nanquantile": (X, 0.5), "nanpercentile": (X, 50),
        "concatenate": ([X, X],), "stack": ([X, X],), "multi_hot": ([1, 2], 3), "one_hot": ([1], 3),
        "quantile": (X, 0.5), "percentile": (X, 50), "repeat": (X, 2), "roll": (X, 1),
        "split": (X, 1), "array_split": (X, 1), "take": (X, [1]), "take_along_axis": (X, [[1]]),
        "sparse_categorical_crossentropy": ([0, 1, 2], X),
    }.get(name, (X,))  # fmt: skip
    with pytest.raises(
        ValueError, match=rf"^{name}: axis .* got {re.escape(repr(axis))}\.$"
    ) as caught:
        FUNCTIONS[name](*given, axis=axis)
    assert isinstance(caught.value, TypeError) == (axis != 99)


def test_a_call_itself_is_refused_by_python() -> None:
    with pytest.raises(TypeError, match=r"^softmax\(\) missing 1 required"):
        ops.softmax()
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
        ops.map(lambda x: 1 / 0, X)
    with pytest.raises(ValueError, match=r"^stack: x must have one tensor"):
        ops.map(lambda x: ops.stack([]), X)  # what failed, not what called it


def test_what_is_missing_in_a_trace_names_the_operation() -> None:
    with pytest.raises(NeedsValuesError, match=r"^unique: the number of .* Use ops\.sort, or"):
        ops.unique(leaf((3,), "float32"))
    for name in ("segment_sum", "segment_max", "segment_min", "segment_prod"):
        with pytest.raises(NeedsValuesError, match=f"^{name}: in a trace, num_segments must be"):
            FUNCTIONS[name](leaf((3, 4), "float32"), leaf((3,), "int32"))


@pytest.mark.parametrize("where", ["take", "sparse_categorical_crossentropy", "bincount"])
def test_a_step_refuses_fractions(where: str, every_backend: str) -> None:
    """Floats are indices if they are whole numbers."""
    found: dict[str, Callable[[Any], Any]] = {
        "take": lambda i: ops.take(ops.arange(5.0) * 2, i),
        "bincount": lambda i: ops.bincount(i, ops.ones(i.shape), 5),
        "sparse_categorical_crossentropy": lambda i: ops.sparse_categorical_crossentropy(
            i[:, :1], ops.ones((i.shape[0], 5)), from_logits=True
        )[:, None],
    }

    class Found(layers.Layer):
        def call(self, x: Any) -> Any:
            return found[where](x)

    model = gpunn.Sequential([layers.Input((2,)), Found()], backend=every_backend)
    x = np.array([[0, 4], [3, 1], [2, 2]], np.float32)
    expected = found[where](ops.convert_to_tensor(x.astype(np.int32))).numpy()
    assert_array_equal(model.predict(x, verbose=0), expected)
    assert_array_equal(found[where](ops.convert_to_tensor(x)), expected)
    for wrong in (1.5, -0.25):
        x[1, 0] = wrong
        with pytest.raises(
            TypeError, match=rf"^{where}: .* must be integers: their fractions .* step"
        ):
            model.predict(x, verbose=0)


def test_floats_of_a_graph_may_be_indices(every_backend: str) -> None:
    x = layers.Input((2,))
    model = gpunn.Model(x, [ops.one_hot(x, 5), ops.take(ROWS, x, 0)], backend=every_backend)
    model.summary(print_fn=lambda line: None)
    given = np.array([[0, 4], [3, 1]], np.float32)
    classes, rows = model.predict(given, verbose=0)
    assert_array_equal(classes, np.eye(5)[given.astype(int)])
    assert_array_equal(rows, ROWS[given.astype(int)])
    given[0, 1] = 0.5
    with pytest.raises(TypeError, match=r"must be integers: their fractions .* got 0.5 in a step"):
        model.predict(given, verbose=0)


def test_what_is_no_class_gives_zeros(every_backend: str) -> None:
    class Encoded(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.one_hot(x, 3) * 2.0

    model = gpunn.Sequential([layers.Input((4,)), Encoded()], backend=every_backend)
    x = np.array([[0.0, 1.5, 2.0, -1.0], [3.0, 2.5, 0.5, 1.0]], np.float32)
    expected = 2.0 * (x[..., None] == np.arange(3))
    assert_array_equal(model.predict(x, verbose=0), expected)
    assert_array_equal(ops.one_hot(x, 3) * 2.0, expected)
    assert ops.one_hot([1.5, np.nan, 1.0], 2).tolist() == [[0, 0], [0, 0], [0, 1]]
    assert ops.multi_hot([1.5, 1.0], 2).tolist() == [0, 1]


def test_large_indices_of_floats_keep_their_value() -> None:
    assert ops.one_hot(np.array([16777217.0]), 3).tolist() == [[0.0, 0.0, 0.0]]
    (row,) = ops.unravel_index(np.array([16777217.0]), (2**25,))
    assert row.tolist() == [16777217]


@pytest.mark.parametrize("floatx", ["float32", "float64"])
def test_numbers_alone_give_floatx(floatx: str) -> None:
    try:
        set_floatx(floatx)
        for found in (
            ops.tri(2), ops.linspace(0, 1, 3), ops.linspace(0.0, 1.0, 3), ops.logspace(0, 1, 3),
            ops.arctan2(1, 2), ops.hypot(3.0, 4.0), ops.logaddexp(1, 2.0), ops.divide_no_nan(1, 2),
            ops.heaviside(1, 0.5), ops.conv(np.ones((1, 4, 3), int), np.ones((2, 3, 5), int)),
        ):  # fmt: skip
            assert found.dtype == floatx
        single = ops.convert_to_tensor([1.0], "float32")
        assert ops.linspace(single, 2).dtype == ops.hypot(single, 1).dtype == "float32"
    finally:
        set_floatx("float32")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.0, 3.0), (2**24 - 2, 2**24), (-0.1, 0.1)])
def test_uniform_samples_stay_below_maxval(low: float, high: float) -> None:
    x = random.uniform((100_000,), low, high, seed=3)
    assert x.dtype == "float32"
    assert bool(ops.all((x >= low) & (x < high)))
    given = np.array([high], np.float32)
    assert_array_equal(random.uniform((100_000,), low, given, seed=3), x)
    assert len(np.unique(np.round(np.asarray(x), 3))) > 1


def test_uniform_samples_of_a_step_stay_below_maxval(every_backend: str) -> None:
    class Drawn(layers.Layer):
        def call(self, x: Any) -> Any:
            return random.uniform(x.shape, 2**24 - 2, 2**24)

    model = gpunn.Sequential([layers.Input((50,)), Drawn()], backend=every_backend)
    x = model.predict(np.zeros((40, 50)), batch_size=40, verbose=0)
    assert set(np.unique(x)) == {2**24 - 2, 2**24 - 1}
    assert 0.4 < np.mean(x == 2**24 - 2) < 0.6


def test_uniform_samples_between_equal_and_falling_bounds() -> None:
    assert random.uniform((3,), 2.0, 2.0, seed=1).tolist() == [2.0, 2.0, 2.0]
    x = random.uniform((100,), 1.0, 0.0, seed=1)
    assert 0.0 < float(ops.min(x)) < 0.1 < 0.9 < float(ops.max(x)) <= 1.0
