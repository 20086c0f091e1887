"""Unsupported operations raise an error that says what to write instead."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn import grad, ops
from gpunn.core.operators import FUNCTIONS
from gpunn.ops.elementwise import elementwise
from gpunn.ops.running.shape_trace import trace_of

# Members of `keras.ops` that are namespaces, not operations.
NAMESPACES = {"image", "linalg", "nn", "numpy"}


def traced(function: Callable[..., Any], *shape: int) -> None:
    trace_of(function, [(shape, "float32")])


def test_every_name_of_keras_is_an_operation_or_raises_an_error_that_helps(keras: Any) -> None:
    for name in dir(keras.ops):
        if name.startswith("__") or name in NAMESPACES or name in FUNCTIONS:
            continue
        if name == "is_tensor":
            continue
        with pytest.raises(AttributeError, match=rf"no operation '{name}'[.:] *\w"):
            getattr(ops, name)


@pytest.mark.parametrize(
    ("name", "instead"),
    [("eigvalsh", "gpunn.ops.eigh"), ("jvp", "gpunn.jvp"),
     ("eig", "symmetric matrices"), ("polar", "complex"), ("reduce_sum", "docs/reference/ops.md"),
     ("sofmax", "'softmax'")],
)  # fmt: skip
def test_a_missing_operation_says_what_to_use(name: str, instead: str) -> None:
    for namespace in (ops, ops.nn, ops.linalg):
        with pytest.raises(AttributeError, match=instead):
            getattr(namespace, name)


def test_namespaces_of_keras_have_the_same_operations() -> None:
    assert ops.nn.softmax is ops.softmax and ops.linalg.norm is ops.norm
    assert ops.numpy.trace is ops.trace
    with pytest.raises(AttributeError):
        _ = ops.nn.sofmax


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_an_operation_is_pickled_by_its_public_name(name: str) -> None:
    function = getattr(ops, name)
    assert (function.__module__, function.__qualname__) == ("gpunn.ops", name)
    assert pickle.loads(pickle.dumps(function)) is function


def test_pickles_that_name_an_earlier_module_load() -> None:
    assert pickle.loads(b"cgpunn.ops.library.arrays\ndiag\n.") is ops.diag
    assert pickle.loads(b"cgpunn.ops.further.mathematics\nbitwise_not\n.") is ops.bitwise_not
    with pytest.raises(AttributeError):
        pickle.loads(b"cgpunn.ops.library.arrays\ndiagg\n.")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_missing_and_surplus_arguments_are_said_of_the_operation(name: str) -> None:
    required = [
        p for p in inspect.signature(FUNCTIONS[name]).parameters.values()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]  # fmt: skip
    for options in ({"surplus": 1}, {}) if required else ({"surplus": 1},):
        with pytest.raises(TypeError) as raised:
            FUNCTIONS[name](**options)
        assert "<locals>" not in str(raised.value)
        assert "argument" in str(raised.value)


def test_a_tensor_never_changes() -> None:
    t = ops.convert_to_tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"ops\.where.*ops\.slice_update"):
        t[0] = 3.0
    array = t.numpy()
    array[0] = 9.0
    assert t.tolist() == [1.0, 2.0]


def test_arrays_of_the_host_are_copied() -> None:
    host = np.ones(2, np.float32)
    t = ops.convert_to_tensor(host)
    host[0] = 9.0
    assert t.tolist() == [1.0, 1.0]


def choose(x: Any) -> Any:
    return x if x[0] > 0 else -x


def loop(x: Any) -> Any:
    while ops.sum(x) > 1:
        x = x / 2
    return x


ASKING: dict[str, Callable[[Any], Any]] = {
    "if": choose, "while": loop, "and": lambda x: x[0] > 0 and x[1] > 0,
    "not": lambda x: not x[0], "float": lambda x: float(x[0]), "int": lambda x: int(x[0]),
    "numpy": np.exp, "method numpy": lambda x: x.numpy(), "tolist": lambda x: x.tolist(),
    "convert_to_numpy": ops.convert_to_numpy, "range": lambda x: range(ops.argmax(x)),
    "end of a slice": lambda x: x[: ops.argmax(x)],
    "shape of a slice": lambda x: ops.slice(x, [0], [ops.argmax(x)]),
}  # fmt: skip


@pytest.mark.traced
@pytest.mark.parametrize("name", ASKING)
def test_numbers_that_are_not_there_yet_name_where(name: str) -> None:
    with pytest.raises(TypeError, match=r"ops\.where"):
        traced(ASKING[name], 3)


def test_with_numbers_python_decides() -> None:
    assert choose(ops.convert_to_tensor([-2.0])).tolist() == [2.0]
    assert loop(ops.convert_to_tensor([3.0])).tolist() == [0.75]


WRONG: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "matmul": (lambda x: x @ ops.zeros((5, 2)), ("matmul", r"\(3, 4\)", r"\(5, 2\)")),
    "add": (lambda x: x + ops.zeros((3, 3)), ("add", r"\(3, 4\)", r"\(3, 3\)")),
    "concatenate": (
        lambda x: ops.concatenate([x, ops.zeros((2, 3))], 0),
        ("concatenate", r"\(3, 4\)", r"\(2, 3\)"),
    ),
    "index": (lambda x: x[:, 7], ("indexing", r"\(3, 4\)")),
    "broadcast_to": (lambda x: ops.broadcast_to(x, (3, 5)), ("broadcast_to", r"\(3, 4\)")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_shapes_that_do_not_fit_name_the_operation_the_shapes_and_the_line(name: str) -> None:
    function, parts = WRONG[name]
    with pytest.raises(ValueError, match=parts[0]) as caught:
        traced(function, 3, 4)
    for part in (*parts, f"{Path(__file__).name} line {function.__code__.co_firstlineno}"):
        caught.match(part)


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: ops.reshape(x, (5, -1)), "axis": lambda x: ops.sum(x, 2),
    "axis twice": lambda x: ops.sum(x, (0, -2)), "transpose": lambda x: ops.transpose(x, (0, 0)),
    "squeeze": lambda x: ops.squeeze(x, 0), "split": lambda x: ops.split(x, 5, 1),
    "take": lambda x: ops.take(x, [4], 1), "einsum": lambda x: ops.einsum("ij,jk->ik", x, x),
    "tensordot": lambda x: ops.tensordot(x, x, 1), "top_k": lambda x: ops.top_k(x, 5),
    "pad": lambda x: ops.pad(x, 1, "wrap"), "norm": lambda x: ops.norm(x, ord=3),
    "max of none": lambda x: ops.max(x[:0]), "diag": lambda x: ops.diag(x[None]),
    "slice_update": lambda x: ops.slice_update(x, (2, 2), ops.zeros((2, 2))),
    "cross": lambda x: ops.cross(x, x), "stack of none": lambda x: ops.stack([]),
    "ragged": lambda x: ops.convert_to_tensor([[1.0], [1.0, 2.0]]),
    "complex": lambda x: ops.cast(x, "complex64"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_wrong_arguments_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        traced(ARGUMENTS[name], 3, 4)


@pytest.mark.traced
@pytest.mark.parametrize(
    "count",
    [
        lambda x: ops.bincount(ops.cast(x, "int32")),
        lambda x: ops.where(x > 0),
        lambda x: ops.segment_sum(x, ops.cast(x[:, 0], "int32")),
    ],
)
def test_shapes_that_depend_on_numbers_are_refused(count: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        traced(count, 3, 4)


@pytest.mark.parametrize("given", ["text", None, object(), {"a": 1}, 1j])
def test_what_holds_no_numbers_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="numbers are expected"):
        ops.convert_to_tensor(given)


def test_a_tensor_behaves_as_an_array() -> None:
    t = ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(t) == 2 and t.ndim == 2 and t.size == 4 and [float(r[0]) for r in t] == [1.0, 3.0]
    assert np.exp(t).shape == np.asarray(t).shape == (2, 2)
    assert isinstance(np.ones((2, 2)) * t, ops.Tensor)
    assert f"{t[0, 1]:.1f}" == "2.0" and "shape=(2, 2)" in repr(t)
    assert int(ops.argmax(t)) == [3, 5][0] and [10, 20, 30][ops.argmax(t[0])] == 20
    assert isinstance(ops.convert_to_numpy(t), np.ndarray)
    assert ops.dtype(t) == "float32" and ops.shape(t) == (2, 2)
    assert ops.is_tensor(t) and not ops.is_tensor(t.numpy())


def test_masks_choose_where_the_numbers_are_there() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = ops.convert_to_tensor(x)
    assert t[t > 2].tolist() == x[x > 2].tolist()
    assert t[None, [1]].tolist() == x[None, [1]].tolist()


@pytest.mark.traced
def test_masks_choose_nothing_where_there_are_no_numbers() -> None:
    with pytest.raises(ValueError, match=r"ops\.where"):
        traced(lambda x: x[x > 2], 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [(lambda: ops.conv(np.ones((1, 4, 4, 3)), np.ones((2, 2, 2, 5))), "3 channels.*(2, 2, 2, 5)"),
     (lambda: ops.conv(np.ones((1, 4, 4, 4, 3)), np.ones((2, 2, 3, 5))), "for volumes; got"),
     (lambda: ops.conv(np.ones((1, 4, 4, 4, 3)), np.ones((5, 2, 2, 3, 5))), "a depth of 5"),
     (lambda: ops.conv(np.ones((1, 4, 4, 4, 3)), np.ones((2, 2, 2, 3, 5)), (1, 2)), "or three"),
     (lambda: ops.max_pool(np.ones((1, 4, 4, 3)), 5), "max_pool: a window of 5 x 5.*4 x 4"),
     (lambda: ops.average_pool(np.ones((1, 4, 3)), (2, 2)), "pool_size must be one number"),
     (lambda: ops.max_pool(np.ones((1, 4, 4, 3)), 2, padding="full"), "'valid' or 'same'"),
     (lambda: ops.max_pool(np.ones((1, 4, 4, 3)), 2, data_format="last"), "'channels_last'"),
     (lambda: ops.conv_transpose(np.ones((1, 4, 3)), np.ones((2, 5, 3)), 2, output_padding=2),
      "output_padding must be below the strides, (1, 2); got (0, 2)")],
)  # fmt: skip
def test_images_that_do_not_fit(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        call()


def test_a_function_without_a_rule_has_no_gradient_in_silence() -> None:
    spacing = elementwise("spacing")
    assert spacing(ops.array([1.0])).item() == np.spacing(np.float32(1))
    with pytest.raises(ValueError, match=r"spacing has no derivative: .*gradient_rules"):
        grad(lambda x: ops.sum(spacing(x)))([1.0])
