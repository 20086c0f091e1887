"""Repeated operations of a call are computed once; those that only look alike are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest

import gpunn
from gpunn import activations, layers, ops
from gpunn.common.config import runs_eagerly

X = np.array([[0.5, 2.0, -1.0], [1.0, -0.25, 3.0]], np.float32)


class Bent(activations.Activation):
    """Instances have equal configurations, but different values."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def forward(self, backend: Any, x: Any, out: Any) -> None:
        backend.xp.multiply(x, self.factor, out=out)

    def backward(self, backend: Any, saved: Any, dy: Any, out: Any) -> None:
        backend.xp.multiply(dy, self.factor, out=out)

    def get_config(self) -> dict[str, Any]:
        return {}


class Alike(layers.Layer):
    """Every instance compares equal to every other one."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 1


def of_bytes(number: float, dtype: str) -> Any:
    return np.array([number], np.float32).view(dtype)


def zero(x: Any, sign: float) -> Any:
    return 1.0 / ops.abs(x) * 0 + 1.0 / (ops.abs(x) * sign)


one, other = Bent(2.0), Bent(-3.0)
first, second = Alike(2.0), Alike(-3.0)

PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "0 and -0": (lambda x: zero(x, 0.0), lambda x: zero(x, -0.0)),
    "0 and -0 in pad": (
        lambda x: 1.0 / ops.pad(x, ((0, 0), (1, 0)), constant_values=0.0),
        lambda x: 1.0 / ops.pad(x, ((0, 0), (1, 0)), constant_values=-0.0),
    ),
    "0 and -0 in full": (
        lambda x: x / ops.full((2, 3), 0.0), lambda x: x / ops.full((2, 3), -0.0)
    ),
    "1 and 1.0": (
        lambda x: ops.cast(x * 0, "int32") + 1, lambda x: ops.cast(x * 0, "int32") + 1.5
    ),
    "1 and True": (
        lambda x: ops.cast(x > 0, "int32") + ops.cast(x > 0, "int32"),
        lambda x: ops.logical_or(x > 0, x > 0),
    ),
    "bytes of two dtypes": (
        lambda x: x + of_bytes(1.0, "f4"), lambda x: x + of_bytes(1.0, "i4"),
    ),
    "one number of two shapes": (
        lambda x: ops.shape(x[0] + np.ones((1,), "f4")),
        lambda x: ops.shape(x[0] + np.ones((1, 1), "f4")),
    ),
    "nan and a number": (
        lambda x: ops.where(x > np.nan, x, 2 * x), lambda x: ops.where(x > -1e9, x, 2 * x)
    ),
    "two arrays": (lambda x: x * np.array([1.0, 2, 3]), lambda x: x * np.array([1.0, 2, 4])),
    "axes": (lambda x: ops.sum(x, axis=0), lambda x: ops.sum(x, axis=1)),
    "a tuple and a number": (lambda x: ops.max(x, axis=(0, 1)), lambda x: ops.max(x, axis=(0,))),
    "slices": (lambda x: x[:, 0:1], lambda x: x[:, 0:1:2] + x[:, 1:2]),
    "own activations": (one, other),
    "own layers": (first, second),
    "order": (lambda x: x - x * 2, lambda x: x * 2 - x),
    "functions": (
        lambda x: ops.map(lambda row: row + 1, x), lambda x: ops.map(lambda row: row + 2, x)
    ),
}  # fmt: skip


def both(f: Callable[[Any], Any], g: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        results = [ops.cast(ops.convert_to_tensor(h(x)), "float32") for h in (f, g, f)]
        return ops.concatenate([ops.reshape(y, (1, -1)) for y in results], axis=1)

    return call


@pytest.mark.parametrize("name", PAIRS)
def test_what_looks_alike_is_computed_apart(name: str, backend: str) -> None:
    function = both(*PAIRS[name])

    class Own(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inside = [first, second]

        def call(self, x: Any) -> Any:
            # One row for all, the same for each sample.
            rows = ops.concatenate([function(ops.convert_to_tensor(X) + 0 * x[:1, :1])], axis=0)
            return ops.repeat(rows, x.shape[0], axis=0)

    model = gpunn.Sequential([gpunn.Input((3,)), Own()], backend=backend)
    wanted = np.asarray(function(ops.convert_to_tensor(X))) if "own" not in name else None
    if wanted is None:
        f, g = ((2 * X).ravel(), (-3 * X).ravel())
        wanted = np.concatenate([f, g, f])[None]
    np.testing.assert_allclose(model.predict(X, verbose=0), np.repeat(wanted, 2, 0), rtol=1e-6)


def test_two_draws_are_two(backend: str) -> None:
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            draws = [gpunn.random.normal(ops.shape(x)) for _ in range(2)]
            return ops.concatenate([*draws, draws[0]], axis=1)

    model = gpunn.Sequential([gpunn.Input((3,)), Own()], backend=backend)
    y = model.predict(X, verbose=0)
    assert not np.isclose(y[:, :3], y[:, 3:6]).any()
    np.testing.assert_array_equal(y[:, :3], y[:, 6:])


def keeping(kept: list[Any], make: Callable[[Any], Any]) -> Any:
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            if not kept:
                kept.append(make(x))
            return x + ops.sum(kept[0])

    return Own()


@pytest.fixture
def eager(request: pytest.FixtureRequest) -> Iterator[None]:
    before = runs_eagerly()
    gpunn.config.run_eagerly(request.param)
    yield
    gpunn.config.run_eagerly(before)


@pytest.mark.parametrize("eager", [False, True], indirect=True)
@pytest.mark.parametrize(
    "make", [lambda x: x * 2, lambda x: gpunn.random.normal((3,))], ids=["of the input", "drawn"]
)
def test_a_tensor_of_another_call_is_refused(make: Any, eager: None) -> None:
    layer = keeping([], make)
    with pytest.raises(ValueError, match="belongs to another call than the one that uses it"):
        layer(X)  # this calls it with two batch sizes, to infer shapes


@pytest.mark.parametrize("eager", [False, True], indirect=True)
def test_a_constant_may_be_kept(eager: None) -> None:
    layer = keeping([], lambda x: ops.ones((2,)) * 2)
    for _ in range(3):
        np.testing.assert_allclose(layer(X), X + 4)


def test_a_tensor_of_another_threads_call_is_refused() -> None:
    there, over = threading.Event(), threading.Event()
    kept: list[Any] = []
    errors: list[str] = []

    class Giving(layers.Layer):
        def call(self, x: Any) -> Any:
            kept.append(x * 2)
            there.set()
            over.wait(20)
            return x

    class Taking(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + kept[-1]

    def give() -> None:
        Giving()(X)

    thread = threading.Thread(target=give)
    thread.start()
    assert there.wait(20)
    try:
        Taking()(X)
    except ValueError as error:
        errors.append(str(error))
    over.set()
    thread.join()
    assert "nor be passed to another thread" in errors[0]
