"""The overhead of a training step besides its arithmetic: array functions, Python, dtypes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pytest
import registered
import registered_networks
import threadpoolctl
from digit_networks import PROGRAMS, mlp, program_1, stepper

import gpunn
from benchmarks.counts.counting import instructions
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.numpy.backend import NumpyBackend

on_the_host = pytest.mark.parametrize("backend", ["numpy", "compiled"])


# -- the slow path is not taken


class Forbidden:
    """Replace ``backend.xp``: any access raises an error."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"backend.xp.{name} is used by a step, outside its operations")


class Strict(NumpyBackend):
    """Allow array functions inside operations only.

    The formulas of activations, losses and optimizers are part of operations and may use them: a
    GPU runs their functors instead.
    """

    inside = 0  # the number of operations being performed
    watches = False

    @property
    def xp(self) -> Any:
        return Forbidden() if self.watches and not self.inside else super().xp


def performed(name: str) -> Callable[..., None]:
    perform = getattr(NumpyBackend, name)

    @wraps(perform)
    def recorded(self: Strict, *args: Any, **kwargs: Any) -> None:
        self.inside += 1
        try:
            perform(self, *args, **kwargs)
        finally:
            self.inside -= 1

    return recorded


for _name in NumpyBackend.operations:
    setattr(Strict, _name, performed(_name))


NOT_IN_A_CHAIN = (
    "InputLayer", "Flatten",
    "StringLookup", "IntegerLookup", "SimpleImputer", "MissingIndicator",  # work before a step
    "DatetimeEncoder", "Hashing", "HashingVectorizer", "TextVectorization",
    "CategoryEncoding",  # with several columns it copies one after the other
    *registered_networks.WITH_ARRAY_FUNCTIONS,
)  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_built_in_layers_keep_off_the_slow_path(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Strict()
    chains = [
        registered.in_a_chain(registered.make("layer", name, arguments), 12)
        for name, arguments in registered.cases("layer", *NOT_IN_A_CHAIN)
    ]
    for chain in chains:
        model = mlp([layers.Dense(12), *chain, layers.Dense(5)], optimizer, backend)
        run = stepper(model, 4, 4, weighted=True)
        monkeypatch.setattr(Strict, "watches", True)
        with model.backend.profile():  # operations instead of a traced program
            run(3)
        monkeypatch.undo()


def test_what_takes_the_slow_path_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(layers.Layer):
        def forward(self, call: Any) -> None:
            call.backend.xp.negative(call.x, out=call.y)

        def backward(self, call: Any) -> None:
            call.backend.xp.negative(call.dy, out=call.dx)

    model = mlp([layers.Dense(6), Slow()], "sgd", Strict())
    run = stepper(model, 4, 4)
    monkeypatch.setattr(Strict, "watches", True)
    with pytest.raises(AssertionError, match=r"backend\.xp\.negative is used"):
        run(1)


@pytest.mark.parametrize("kind", ["activation", "loss", "optimizer"])
def test_every_formula_has_a_functor(kind: str) -> None:
    for name, arguments in registered.cases(kind):
        made = registered.make(kind, name, arguments)
        # Of tensors: operations, each of which has a kernel.
        of_tensors = made._is_traced if kind == "activation" else made._of_tensors
        assert made.functor is not None or of_tensors, name


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_loop_over_samples_runs_in_python(name: str) -> None:
    make, _ = PROGRAMS[name]
    counts = []
    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # helper threads are not counted
        for batch in (9, 13):  # a step with fewer rows is divided differently
            run = stepper(make(), batch, 4, weighted=True)
            run(1)
            run(1)
            counts.append(instructions(lambda run=run: run(1)))
    assert counts[0] == counts[1] > 100


def test_a_profile_ends_with_its_block() -> None:
    model = program_1()
    run = stepper(model, 4, 8)
    run(2)
    plain = instructions(lambda: run(1))
    with model.backend.profile() as operations:
        run(1)
    length = len(operations)
    assert length > 10
    assert instructions(lambda: run(1)) == plain
    assert len(operations) == length


# -- dtypes


def watched(backend: Any) -> list[tuple[int, str]]:
    """Record the size and dtype of every array that the backend creates from now on."""
    made: list[tuple[int, str]] = []

    def noting(make: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(shape: tuple[int, ...], dtype: Any) -> Any:
            array = make(shape, dtype)
            made.append((array.size, array.dtype.name))
            return array

        return recorded

    backend.empty, backend.zeros = noting(backend.empty), noting(backend.zeros)
    return made


@on_the_host
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_keeps_its_dtype_all_the_way(
    dtype: str, weighted: bool, optimizer: str, backend: Any
) -> None:
    """Data and weights are given as float64: nothing of the other precision remains."""
    backend = type(get_backend(backend))()
    made = watched(backend)
    other = {"float32": "float64", "float64": "float32"}[dtype]
    model = gpunn.Sequential(
        [
            layers.Input((20,)),
            layers.Dense(30, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(30, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ],
        dtype=dtype,
        backend=backend,
    )
    metrics = ["accuracy", "sparse_categorical_crossentropy"]
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=metrics)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((50, 20)), random.integers(0, 10, 50)
    weights = random.uniform(size=50) if weighted else None
    model.fit(x, y, batch_size=16, epochs=2, sample_weight=weights, verbose=0)
    model.evaluate(x, y, sample_weight=weights, verbose=0)
    # Counters, the contributions of a batch's rows to sums, and dropout's random numbers have fixed
    # dtypes.
    allowed = 16 * 30 if other == "float32" else 50 * 3
    assert max((size for size, name in made if name == other), default=0) <= allowed
    assert {p.value.dtype.name for p in model.weights} == {dtype}
    assert {p.gradient.dtype.name for p in model.weights} == {dtype}
    assert {slot.dtype.name for slot in model._storage.slots.values()} <= {dtype}
    for call in model._trainer.last_batch.workspace.calls:
        assert call.y.dtype == dtype
        assert call.dx is None or call.dx.dtype == dtype
    assert model.predict(x, verbose=0).dtype == dtype
    assert model.layers[0](x).dtype == dtype
    assert model.activations(x)[model.layers[1].name].dtype == dtype


def test_float64_is_not_rounded_to_float32_on_the_way() -> None:
    """A difference that float32 cannot represent reaches the output, the loss and the weights."""
    kernel, tiny = np.array([[1.0 + 1e-12]]), 1e-12
    model = gpunn.Sequential([layers.Input((1,)), layers.Dense(1)], dtype="float64")
    model.compile(gpunn.optimizers.SGD(1.0), "half_squared_error")
    model.set_weights([kernel, np.zeros(1)])
    assert model.predict(np.array([[1.0]]), verbose=0).item() == 1.0 + tiny
    assert model.evaluate([[1.0]], [[1.0]], verbose=0) == pytest.approx(0.5 * tiny**2, rel=1e-3)
    model.train_on_batch(np.array([[1.0]]), np.array([[1.0 + 2 * tiny]]))
    assert model.get_weights()[0].item() == pytest.approx(1.0 + 2 * tiny, abs=1e-15)
