"""Test what a compiled function returns: a GPU's values are read when someone looks at them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import emulated
import numpy as np
import pretended_cuda
import pytest
from little_memory import used

import gpunn
from gpunn import layers, ops
from gpunn.backends import get_backend
from gpunn.backends.cupy.driver import cuda

RNG = np.random.default_rng(8)
X = [RNG.normal(size=(5, 4)).astype("float32") for _ in range(7)]


@pytest.fixture
def backend(every_backend: str) -> Any:
    gpunn.use_backend(every_backend)
    return get_backend()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The backend of a pretended CUDA, whose streams do their work when something waits."""
    pretended_cuda.pretend(monkeypatch, pretended_cuda.Libraries(), "61")
    yield cuda.make_backend()
    pretended_cuda.STREAMS.clear()


def several(x: Any, y: Any) -> Any:
    """Results of several shapes and dtypes, in a structure."""
    product = x @ ops.transpose(y)
    return {
        "sum": ops.sum(product), "parts": [product, product > 0.0], "none": product[:0],
        "whole": ops.cast(ops.floor(x * 10.0), "int32"), "as is": x,
    }  # fmt: skip


def by_numpy(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    product = x @ y.T
    return {
        "sum": product.sum(), "parts": [product, product > 0], "none": product[:0],
        "whole": np.floor(x * np.float32(10)).astype("int32"), "as is": x,
    }  # fmt: skip


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        pairs = zip(found[name], value, strict=True) if name == "parts" else [(found[name], value)]
        for a, b in pairs:
            assert a.shape == b.shape and a.dtype == b.dtype.name
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-5)


@pytest.mark.all_backends
def test_each_result_keeps_the_values_of_its_call(backend: Any) -> None:
    function = gpunn.function(several)
    calls = [(a, b) for a in X for b in X[:2]]
    found = []
    for a, b in calls:
        given = a.copy(), b.copy()
        found.append(function(*given))
        for array in given:  # the caller may use them for the next arguments
            array[...] = np.nan
    assert function.compiled
    for k in RNG.permutation(len(calls)):
        assert_alike(found[k], by_numpy(*calls[k]))


LOOKS: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda t: t.numpy(),
    "an array": np.asarray,
    "of a dtype": lambda t: np.asarray(t, "float64"),
    "a list": lambda t: t.tolist(),
    "repr": repr,
    "str": lambda t: f"{t}",
    "pickle": lambda t: pickle.loads(pickle.dumps(t)).numpy(),
    "deepcopy": lambda t: copy.deepcopy(t).numpy(),
    "equal": lambda t: (t == 1.0).numpy(),
    "less": lambda t: (t < np.float32(0.5)).tolist(),
    "sum": lambda t: (t + t * 2.0).numpy(),
    "a function of NumPy": np.exp,
    "an operation": lambda t: ops.softmax(ops.reshape(t, (-1,))).numpy(),
    "dlpack": lambda t: np.from_dlpack(t),
    "convert": lambda t: ops.convert_to_tensor(t).numpy(),
    "convert to NumPy": ops.convert_to_numpy,
    "shape": lambda t: (t.shape, t.dtype, t.size, t.ndim),
    "an argument": lambda t: gpunn.function(lambda x: x * 2.0)(t).numpy(),
    "a variable": lambda t: gpunn.Variable(t).numpy(),
    "values": lambda t: t.value,
    "known": lambda t: (t.has_values, t.is_constant, t.is_number),
}
OF_A_NUMBER: dict[str, Callable[[Any], Any]] = {
    "float": float, "int": int, "bool": bool, "item": lambda t: t.item(),
    "format": lambda t: f"{t:.3f}", "power": lambda t: 2.0**float(t),
}  # fmt: skip
OF_ROWS: dict[str, Callable[[Any], Any]] = {
    "len": len, "iteration": lambda t: [row.tolist() for row in t], "a row": lambda t: t[1].numpy(),
    "a part": lambda t: t[:, ::2].tolist(),
}  # fmt: skip


@pytest.mark.all_backends
@pytest.mark.parametrize("rank", ["a number", "rows"])
def test_a_result_behaves_as_a_tensor_of_its_values(backend: Any, rank: str) -> None:
    """Whatever looks at it first. Two calls make the program."""
    function = gpunn.function(lambda x: ops.max(x) if rank == "a number" else x * 0.5)
    for x in X[:3]:
        function(x)
    for name, look in (LOOKS | (OF_A_NUMBER if rank == "a number" else OF_ROWS)).items():
        expected = ops.convert_to_tensor(X[4].max() if rank == "a number" else X[4] * 0.5)
        np.testing.assert_equal(look(function(X[4])), look(expected), err_msg=name)
    assert function.compiled


def test_results_are_read_once_and_together(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpunn.use_backend(gpu)
    backend, reads = get_backend(), []
    function = gpunn.function(several)
    for x in X[:3]:
        function(x, x)
    read = type(backend).read
    monkeypatch.setattr(type(backend), "read", lambda *args: reads.append(1) or read(*args))
    found = function(X[3], X[4])
    assert not reads
    assert_alike(found, by_numpy(X[3], X[4]))
    assert_alike(found, by_numpy(X[3], X[4]))
    assert len(reads) == 1


def test_a_call_waits_for_nothing(pretended: Any) -> None:
    """The device still has work to do when it returns."""
    model = gpunn.Sequential([layers.Input((4,)), layers.Dense(3)], backend=pretended)
    model.build()
    kernel = model.get_weights()[0]
    function = gpunn.function(lambda x: ops.sum(ops.square(model(x)), axis=0))
    for x in X[:3]:
        np.asarray(function(x))
    found = [function(x) for x in X]
    assert any(stream.pending for stream in pretended_cuda.STREAMS)
    for x, y in zip(X, found, strict=True):
        np.testing.assert_allclose(np.asarray(y), ((x @ kernel) ** 2).sum(0), rtol=1e-5)


@pytest.mark.all_backends
def test_losses_that_are_looked_at_late_are_the_same(backend: Any) -> None:
    def trained(late: bool) -> Any:
        gpunn.utils.set_random_seed(3)
        model = gpunn.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dropout(0.2)])
        model.build()
        optimizer = gpunn.optimizers.Adam(0.02)

        @gpunn.function
        def step(x: Any) -> Any:
            with gpunn.GradientTape() as tape:
                loss = ops.mean(ops.square(model(x, training=True) - 1.0))
            optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
            return loss

        losses = [step(x) if late else float(step(x)) for x in X * 2]
        return [float(loss) for loss in losses], model.get_weights()

    (losses, weights), (expected, others) = trained(True), trained(False)
    assert losses == expected and losses[-1] < losses[0]
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "an argument": lambda x, k: ops.sum(ops.take(x, k, axis=0)),
    "computed": lambda x, k: ops.sum(ops.take(x, k * 2 - k, axis=0)),
    "both": lambda x, k: ops.sum(ops.take(x, k, axis=0) + ops.take(x, k * 2 - k, axis=0)),
    "in a scan": lambda x, k: ops.scan(
        lambda carry, row: (carry + ops.sum(ops.take(row, k)), carry), 0.0, x[:, :]
    )[0],
}


def refusal(function: Callable[[Any, Any], Any]) -> str:
    function = gpunn.function(function)
    for x in X[:3]:
        function(x, np.array([0, 3]))
    with pytest.raises(ValueError) as refused:
        function(X[0], np.array([7, 1]))
    assert np.isfinite(float(function(X[1], np.array([0, 3]))))
    return str(refused.value)


@pytest.mark.parametrize("place", PLACES)
def test_values_that_are_errors_are_so_in_the_call(other: str, place: str) -> None:
    """In the same words, not where someone looks at the result."""
    found = []
    for name in ("numpy", other):
        gpunn.use_backend(name)
        found.append(refusal(PLACES[place]))
    assert found[0] == found[1] and "7" in found[0]


def classifying() -> tuple[Any, Any]:
    """A model, and a step that trains it and returns the loss and the accuracy."""
    gpunn.utils.set_random_seed(2)
    model = gpunn.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    loss, optimizer = gpunn.losses.SparseCategoricalCrossentropy(), gpunn.optimizers.SGD(0.1)
    model.build()

    @gpunn.function
    def step(x: Any, y: Any) -> Any:
        with gpunn.GradientTape() as tape:
            y_pred = model(x, training=True)
            value = loss(y, y_pred)
        optimizer.apply(tape.gradient(value, model.trainable_weights), model.trainable_weights)
        return value, ops.mean(ops.cast(ops.equal(ops.argmax(y_pred, -1), y), "float32"))

    return model, step


@pytest.mark.all_backends
def test_a_class_out_of_range_is_refused_before_a_weight_changes(backend: Any) -> None:
    model, step = classifying()
    for x in X[:3]:
        step(x, np.array([0, 1, 2, 1, 0]))
    assert step.compiled
    before = model.get_weights()
    with pytest.raises(IndexError, match=r"labels must be from 0 to 2.*; got 3 in a step"):
        step(X[3], np.array([0, 1, 3, 1, 0]))
    for weight, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, now)
    assert np.isfinite(float(step(X[4], np.array([0, 1, 2, 1, 0]))[0]))


def test_a_step_whose_labels_the_host_checks_is_not_waited_for(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpunn.use_backend(gpu)
    (_, step), backend, reads = classifying(), get_backend(), []
    for x in X[:3]:
        step(x, np.array([0, 1, 2, 1, 0]))
    read = type(backend).read
    with monkeypatch.context() as patch:
        patch.setattr(type(backend), "read", lambda *args: reads.append(1) or read(*args))
        losses = [step(x, np.array([0, 1, 2, 1, 0])) for x in X]
        assert not reads
    assert float(losses[-1][0]) < float(losses[0][0])


@pytest.mark.all_backends
def test_threads_call_and_look_at_the_same_time(backend: Any) -> None:
    function, found = gpunn.function(several), list[Any]([None] * 8)
    for x in X[:3]:
        function(x, x)

    def work(k: int) -> None:
        given = X[k % len(X)]
        kept = [function(given, X[n]) for n in range(4)]
        found[k] = all(
            np.allclose(np.asarray(one["parts"][0]), given @ X[n].T, atol=1e-5)
            for n, one in enumerate(kept)
        )

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * len(found)


def test_two_threads_look_at_one_result(gpu: str) -> None:
    gpunn.use_backend(gpu)
    function = gpunn.function(lambda x: x * 2.0)
    for x in X[:3]:
        function(x)
    results, seen = [function(x) for x in X * 5], [list[Any](), list[Any]()]
    threads = [
        threading.Thread(target=lambda k=k: seen[k].extend(np.asarray(t) for t in results))
        for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in seen:
        np.testing.assert_array_equal(one, [x * 2 for x in X * 5])


@pytest.mark.parametrize("look", [False, True])
def test_results_leave_the_device_when_they_were_looked_at_or_dropped(gpu: str, look: bool) -> None:
    gpunn.use_backend(gpu)
    function = gpunn.function(lambda x: (x * 2.0, ops.sum(x)))
    x = np.ones((100, 100), "float32")
    for _ in range(4):
        np.asarray(function(x)[0])
    before = used(get_backend())
    kept = [function(x) for _ in range(20)]
    assert used(get_backend()) >= before + 20 * x.nbytes
    if look:
        for y, _ in kept:
            y.numpy()
    else:
        kept.clear()
    assert used(get_backend()) <= before + x.nbytes


def test_large_results_are_read_in_the_call(gpu: str) -> None:
    """The device keeps no second copy of them."""
    gpunn.use_backend(gpu)
    function, x = gpunn.function(lambda x: x + 1.0), np.ones((1000, 500), "float32")
    for _ in range(4):
        function(x)
    before = used(get_backend())
    kept = [function(x) for _ in range(4)]
    assert used(get_backend()) <= before
    assert all((np.asarray(y) == 2).all() for y in kept)


def test_the_last_values_before_an_interrupt_can_be_looked_at() -> None:
    """What a call has returned is not lost in the next one."""
    gpunn.use_backend("emulated")
    function = gpunn.function(lambda x: x * 2.0)
    for x in X[:3]:
        function(x)
    kept = function(X[3])
    with pytest.MonkeyPatch.context() as patch:

        def interrupted(*args: Any) -> Any:
            raise KeyboardInterrupt

        patch.setattr(emulated.STREAM, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            function(X[4])
    np.testing.assert_array_equal(kept.numpy(), X[3] * 2)
    np.testing.assert_array_equal(function(X[5]).numpy(), X[5] * 2)
