"""The compiled end of a step, beyond the tests shared with the other backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from comparisons.formulas import OPTIMIZERS, label
from numpy.testing import assert_array_equal

from gpunn import constraints, optimizers, regularizers
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import LEARNING_RATE, UPDATES, Control
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.optimizers import schedules

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
SMALL = [(7, 5), (5,), (5, 3), (3,)]
LARGE = [(1023, 1024), (1024,), (70_001,)]  # for several threads, with a short last piece

SCHEDULED = optimizers.SGD(
    schedules.CosineDecay(0.05, 30, alpha=0.1),
    momentum=schedules.PiecewiseConstantDecay([4, 11], [0.3, 0.6, 0.9]),
    nesterov=True,
    gradient_accumulation_steps=3,
)


class Mine(optimizers.Optimizer):
    """An update that only NumPy implements."""

    def update(self, backend: Any, w: Any, g: Any, slots: Any, rate: Any, *rest: Any) -> None:
        w -= rate * np.sign(g)


class Wave(schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> float:
        return 0.01 * (1 + step % 3)


class Rounded(constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return np.round(w, 2)


class Cubes(regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return 0.1 * np.sum(np.abs(x) ** 3)

    def gradient(self, x: Any) -> Any:
        return 0.3 * x * np.abs(x)


def make_storage(
    backend: Backend, optimizer: Any, dtype: str, shapes: list[tuple[int, ...]], **treatment: Any
) -> ParameterStorage:
    random = np.random.default_rng(0)
    storage = ParameterStorage(
        backend,
        dtype,
        [
            Parameter(shape, lambda s, d: np.asarray(random.normal(size=s), d), f"{i}", **treatment)
            for i, shape in enumerate(shapes)
        ],
    )
    optimizer.add_slots(storage)
    return storage


def make_step(storage: ParameterStorage, optimizer: Any) -> tuple[Callable[[], None], Array]:
    """Return a step and its totals. Gradients and penalties pull the weights towards zero."""
    backend = storage.backend
    control, totals = Control(backend), backend.zeros((3,), np.float64)
    optimizer.attach(control)

    def step() -> None:
        for parameter in storage.parameters:
            backend.affine(parameter.value, 0.5, 0.01, parameter.gradient)
        backend.regularize(storage, 4, True, totals)
        optimizer.step(storage, control)
        backend.advance(control, 4, totals)

    return step, totals


def trained(backend: Backend, optimizer: Any, steps: int, *how: Any, **treatment: Any) -> dict:
    """Return the state after this many steps of one program."""
    optimizer = type(optimizer).from_config(optimizer.get_config())
    own = backend.isolated()
    storage = make_storage(own, optimizer, *how, **treatment)
    step, totals = make_step(storage, optimizer)
    with own.parallel_region():
        program = own.program(step, traceable=True)
        program.run(2)
        program.run(steps - 2)
    slots = {name: slot.copy() for name, slot in storage.slots.items()}
    return {"values": storage.values.copy(), "totals": totals, **slots}


def difference(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-30))


@pytest.fixture
def backend() -> Iterator[Any]:
    made: Any = get_backend("compiled")
    yield made
    made.library.set_threads(1)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, SCHEDULED], ids=label)
def test_many_steps_agree_with_numpy(backend: Backend, optimizer: Any, dtype: str) -> None:
    """Includes counters, schedules and accumulated gradients: the program handles all of them."""
    how: Any = (40, dtype, SMALL)
    a, b = (trained(each, optimizer, *how) for each in (get_backend("numpy"), backend))
    assert a.keys() == b.keys()
    for name in a:
        assert difference(a[name], b[name]) < TOLERANCE[dtype], name


# Norms are excluded: their sums are added in another order.
WITH_SUMS = optimizers.Lamb, optimizers.Adafactor, optimizers.Muon  # over a weight, in any order
WITHOUT_NORMS = [o for o in OPTIMIZERS if not isinstance(o, WITH_SUMS) and o.clipnorm is None]


@pytest.mark.parametrize("optimizer", WITHOUT_NORMS, ids=label)
def test_an_update_is_the_same_operations_in_the_same_order_as_on_numpy(
    backend: Backend, optimizer: Any
) -> None:
    """In double precision each operation rounds alike, so the results are bitwise equal."""
    how: Any = (5, "float64", SMALL)
    a, b = (trained(each, optimizer, *how) for each in (get_backend("numpy"), backend))
    for name in a.keys() - {"totals"}:
        assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.Adam(amsgrad=True, clipnorm=0.1),
        optimizers.Lamb(schedules.OneCycle(0.1, 50), global_clipnorm=0.1, use_ema=True),
        optimizers.RMSprop(clipvalue=0.1, gradient_accumulation_steps=2),
        SCHEDULED,
    ],
    ids=label,
)
@pytest.mark.parametrize("constraint", [constraints.MaxNorm(1.0), constraints.NonNeg()])
def test_a_step_is_one_program(backend: Backend, optimizer: Any, constraint: Any) -> None:
    penalty = regularizers.L1L2(0.1, 0.2)
    own: Any = backend.isolated()
    storage = make_storage(
        own, optimizer, "float32", SMALL, regularizer=penalty, constraint=constraint
    )
    step, _ = make_step(storage, optimizer)
    step()
    calls = own.trace(step).calls
    assert len(calls) >= 4 + 2 * len(storage.parameters)
    assert all(isinstance(call, own.library.Bound) for call in calls)


@pytest.mark.parametrize("regularizer", [Cubes(), regularizers.OrthogonalRegularizer(0.1)])
@pytest.mark.parametrize(
    "optimizer", [Mine(0.01), Mine(0.01, gradient_accumulation_steps=2), optimizers.SGD(0.05)]
)
def test_what_has_no_functor_is_numpys(backend: Backend, optimizer: Any, regularizer: Any) -> None:
    treatment = {"regularizer": regularizer, "constraint": Rounded()}
    how: Any = (9, "float64", [(7, 5), (5, 3)])
    a, b = (trained(each, optimizer, *how, **treatment) for each in (get_backend("numpy"), backend))
    np.testing.assert_allclose(b["values"], a["values"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(b["totals"], a["totals"], rtol=1e-12)


def test_schedules_without_functors_are_the_hosts(backend: Backend) -> None:
    control = Control(backend)
    control.set(UPDATES, 7)
    backend.schedule(Wave(), control, LEARNING_RATE)
    assert control.rates[LEARNING_RATE] == 0.02


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.Adam(0.01, weight_decay=0.1, global_clipnorm=5.0),
        optimizers.Lamb(0.01, clipnorm=1.0, use_ema=True, ema_overwrite_frequency=2),
        optimizers.SGD(0.01, momentum=0.9, clipvalue=0.5, gradient_accumulation_steps=2),
    ],
    ids=label,
)
def test_threads_change_no_bit(backend: Any, optimizer: Any) -> None:
    """Nor do pieces: NumPy, which does not divide the arrays, gets the same weights."""
    found = []
    for threads in (1, 2, 3):
        storage = make_storage(
            backend, optimizer, "float32", LARGE, regularizer=regularizers.L1L2(1e-3, 1e-3)
        )
        step, totals = make_step(storage, optimizer)
        backend.library.set_threads(threads)
        for _ in range(2):
            step()
        found.append([storage.values, totals, *storage.slots.values()])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)
    reference = make_storage(
        get_backend("numpy"), optimizer, "float32", LARGE,
        regularizer=regularizers.L1L2(1e-3, 1e-3),
    )  # fmt: skip
    step, totals = make_step(reference, optimizer)
    for _ in range(2):
        step()
    for a, b in zip((reference.values, totals), found[0], strict=False):
        assert difference(a, b) < 1e-5  # NumPy adds in single precision


@pytest.mark.parametrize("by", ["norm", "global_norm"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0, 0.0])
def test_norms_as_pytorch_limits_them(backend: Backend, by: str, value: float) -> None:
    """A value that is not finite spoils every gradient that shares its norm."""
    storage = make_storage(backend, optimizers.SGD(), "float64", SMALL)
    random = np.random.default_rng(1)
    zeros = [torch.zeros(p.shape, dtype=torch.float64) for p in storage.trained]
    theirs = [torch.nn.Parameter(z) for z in zeros]
    for p in storage.trained:
        p.gradient[...] = random.normal(size=p.shape)
    storage.trained[0].gradient[2, 3] = value
    for p, t in zip(storage.trained, theirs, strict=True):
        t.grad = torch.from_numpy(p.gradient.copy())
    backend.clip_gradients(storage, by, 0.7)
    for group in [[t] for t in theirs] if by == "norm" else [theirs]:
        torch.nn.utils.clip_grad_norm_(group, 0.7)
    for p, t in zip(storage.trained, theirs, strict=True):
        np.testing.assert_allclose(p.gradient, t.grad.numpy(), rtol=3e-6)  # PyTorch adds 1e-6


def test_norms_of_many_small_numbers(backend: Backend) -> None:
    """A single-precision sum of squares would lose the small values beside the first one."""
    storage = make_storage(backend, optimizers.SGD(), "float32", [(1 << 20,)])
    storage.gradients[:] = 1e-3
    storage.gradients[0] = 100.0
    norm = np.linalg.norm(storage.gradients.astype(np.float64))
    backend.clip_gradients(storage, "norm", 1.0)
    np.testing.assert_allclose(storage.gradients[0], 100.0 / norm, rtol=1e-7)


def test_a_new_rate_reaches_a_program(backend: Backend) -> None:
    sgd, own = optimizers.SGD(1.0), backend.isolated()
    storage, control = make_storage(own, sgd, "float64", [(3,)]), Control(own)
    sgd.attach(control)
    storage.values[:], storage.gradients[:] = 0.0, 1.0
    program = own.program(lambda: sgd.step(storage, control), traceable=True)
    program.run(5)
    sgd.learning_rate = 0.25
    program.run(4)
    np.testing.assert_allclose(storage.values, -6.0)
