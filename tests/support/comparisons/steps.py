"""Operations at the end of a step (updates and penalties), and whole steps as programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import BATCHES, UPDATES, Control
from gpunn.backends.shared.order import Order
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.distribution.communicator import ALONE

from .samples import NUMPY, Sample, assert_alike, on_both


def shared_launch(gpu: Backend, sample: Sample) -> None:
    """Operations that a program runs in one launch, row by row."""
    softmax = gpunn.activations.get("softmax")
    x, rate = sample.normal(), 0.3

    def several(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, sample.seed)
        backend.bias_activation(a["x"], a["bias"], gpunn.activations.get("tanh"), a["x"])
        backend.dropout(a["x"], rate, 7, 3, control, a["y"], a["mask"])
        backend.bias_activation(a["y"], None, softmax, a["y"])
        backend.activation_gradient(softmax, a["y"], a["dy"], a["dy"])
        backend.dropout_gradient(a["dy"], rate, a["mask"], a["dx"], accumulate=True)

    both = on_both(
        gpu, partial(program, "fused", several, 1), x=x, y=x, dy=sample.normal(),
        bias=sample.normal(sample.columns), dx=sample.normal(),
        mask=np.zeros(sample.shape, np.bool_),
    )  # fmt: skip
    assert_alike(*both, sample.dtype)


def stacked_products(gpu: Backend, sample: Sample) -> None:
    """Products of stacks of matrices: of as many each, or of one matrix with many."""
    rows, columns = sample.shape
    stack, inner = (int(n) for n in sample.rng.integers(1, 9, 2))

    def multiply(backend: Backend, a: dict[str, Any]) -> None:
        for number in range(4):
            turned = bool(number & 1), bool(number & 2)
            for x, w in (("x", "w"), ("one x", "w"), ("x", "one w")):
                left, right = (
                    backend.upload(np.ascontiguousarray(f.swapaxes(1, 2)) if turn else f)
                    for f, turn in zip((given[x], given[w]), turned, strict=True)
                )
                backend.batched_matmul(left, right, a[f"{x} {w} {number}"], *turned)

    given = {
        "x": sample.normal(stack, rows, columns), "w": sample.normal(stack, columns, inner),
        "one x": sample.normal(1, rows, columns), "one w": sample.normal(1, columns, inner),
    }  # fmt: skip
    pairs = ("x w", "one x w", "x one w")
    empty = np.zeros((stack, rows, inner), sample.dtype)
    outs = {f"{pair} {i}": empty for pair in pairs for i in range(4)}
    assert_alike(*on_both(gpu, multiply, **outs), sample.dtype, float(columns))


def products(gpu: Backend, sample: Sample) -> None:
    """Products as parts of a kernel, in each of their forms, each depending on the previous one."""
    rows, columns = sample.shape
    inner = int(sample.rng.integers(1, 40))

    def multiply(backend: Backend, a: dict[str, Any]) -> None:
        backend.matmul(a["x"], a["w"], a["y"])
        backend.matmul(a["x"], a["w"], a["sum"], accumulate=True)
        backend.matmul(a["x"], a["y"], a["dw"], transpose_a=True)
        backend.matmul(a["x"], a["sum"], a["dw"], transpose_a=True, accumulate=True)
        backend.matmul(a["y"], a["w"], a["dx"], transpose_b=True)
        backend.matmul(a["sum"], a["w"], a["dx"], transpose_b=True, accumulate=True)

    arrays = {
        "x": sample.normal(), "w": sample.normal(columns, inner), "dw": np.zeros((columns, inner)),
        "y": np.zeros((rows, inner)), "sum": sample.normal(rows, inner), "dx": sample.normal(),
    }  # fmt: skip
    arrays = {name: array.astype(sample.dtype) for name, array in arrays.items()}
    size = float(np.abs(arrays["x"]).sum()) * inner
    both = on_both(gpu, partial(program, "persistent", multiply, 1), **arrays)
    assert_alike(*both, sample.dtype, size)


def persistent_steps(gpu: Backend, sample: Sample) -> None:
    """Three steps in one launch, in which all blocks wait for each other repeatedly."""
    _steps("persistent", gpu, sample)


def fused_steps(gpu: Backend, sample: Sample) -> None:
    """Three steps, whose products share launches with what is before and behind them."""
    _steps("fused", gpu, sample)


def _steps(mode: str, gpu: Backend, sample: Sample) -> None:
    rows, columns = sample.shape
    tanh = gpunn.activations.get("tanh")

    def step(backend: Backend, a: dict[str, Any]) -> None:
        backend.gather(a["source"], order, a["control"], a["x"], 0.5)
        backend.matmul(a["x"], a["w"], a["y"])
        backend.bias_activation(a["y"], a["b"], tanh, a["y"])
        backend.matmul(a["y"], a["w"], a["dx"], transpose_b=True)
        backend.column_sums(a["y"], a["sums"], accumulate=True)
        backend.matmul(a["x"], a["y"], a["dw"], transpose_a=True)
        backend.affine(a["dw"], 1e-3 / rows, 0.0, a["w"], accumulate=True)
        backend.affine(a["sums"], 1e-3 / rows, 0.0, a["b"], accumulate=True)
        backend.advance(a["control"], 1, a["totals"])

    def steps(backend: Backend, a: dict[str, Any]) -> None:
        program(mode, step, 3, backend, {**a, "control": Control(backend)})

    order = Order(rows + 3, sample.seed)
    both = on_both(
        gpu, steps, x=sample.normal(), w=sample.normal(columns, 3), totals=np.zeros(3),
        b=sample.normal(3), y=sample.normal(rows, 3), sums=sample.normal(3),
        dx=sample.normal(), dw=sample.normal(columns, 3), source=sample.normal(rows + 3, columns),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, 10.0 * rows)


def persistent_scan(gpu: Backend, sample: Sample) -> None:
    """A recurrence and its gradients, in turns that differ in their arrays and in a number. The
    last state of a step is the first one of the next."""
    rows, columns = sample.shape
    turns, units = 2 + columns % 5, 3
    tanh = gpunn.activations.get("tanh")

    def step(backend: Backend, a: dict[str, Any]) -> None:
        x, h, dh = a["x"], a["h"], a["dh"]
        for t in range(turns):
            backend.matmul(h[t], a["u"], h[t + 1])
            backend.affine(x[t], 1.0 / (t + 1), 0.0, h[t + 1], accumulate=True)
            backend.bias_activation(h[t + 1], a["b"], tanh, h[t + 1])
        for t in reversed(range(turns)):
            backend.activation_gradient(tanh, h[t + 1], dh[t + 1], a["dz"][t])
            backend.matmul(a["dz"][t], a["u"], dh[t], transpose_b=True)
        flat = h[:-1].reshape(-1, units), a["dz"].reshape(-1, units)
        backend.matmul(*flat, a["du"], transpose_a=True)
        backend.affine(a["du"], 1e-3 / rows, 0.0, a["u"], accumulate=True)
        backend.affine(h[turns], 1.0, 0.0, h[0])

    both = on_both(
        gpu, partial(program, "persistent", step, 3), x=sample.normal(turns, rows, units),
        h=sample.normal(turns + 1, rows, units), dh=sample.normal(turns + 1, rows, units),
        u=sample.normal(units, units), b=sample.normal(units),
        dz=np.zeros((turns, rows, units), sample.dtype), du=sample.normal(units, units),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, 10.0 * rows)


def persistent_evaluation(gpu: Backend, sample: Sample) -> None:
    """Three steps in one launch, in which the blocks wait for what the last of them does: it sums
    up the losses, and the weights of the rows, which all need."""
    rows, columns = sample.shape
    linear, squares = gpunn.activations.get("linear"), gpunn.losses.MeanSquaredError()
    metric = gpunn.metrics.Precision()
    metric.build((3,))

    def step(backend: Backend, a: dict[str, Any]) -> None:
        backend.gather(a["source"], order, a["control"], a["x"], 0.5)
        backend.matmul(a["x"], a["w"], a["y"])
        backend.bias_activation(a["y"], a["b"], linear, a["y"])
        backend.loss(squares, a["t"], a["y"], None, 1.0 / rows, None, a["totals"])
        backend.metric(metric, a["t"], a["y"], a["weights"], a["state"])
        backend.advance(a["control"], 1, a["totals"])

    def steps(backend: Backend, a: dict[str, Any]) -> None:
        program("persistent", step, 3, backend, {**a, "control": Control(backend)})

    order = Order(rows + 3, sample.seed)
    both = on_both(
        gpu, steps, x=sample.normal(), w=sample.normal(columns, 3), totals=np.zeros(2),
        b=sample.normal(3), y=sample.normal(rows, 3), source=sample.normal(rows + 3, columns),
        t=sample.rng.integers(0, 2, (rows, 3)).astype(sample.dtype),
        weights=sample.rng.random(rows).astype(sample.dtype), state=np.zeros(metric.state_size),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, 10.0 * rows)


def program(
    mode: str,
    step: Callable[[Backend, dict[str, Any]], None],
    steps: int,
    backend: Backend,
    a: dict[str, Any],
) -> None:
    """Run ``step`` this many times as a program, on a GPU in this launch mode."""
    own = backend.isolated()
    own.launch_mode = mode  # type: ignore[attr-defined]
    own.program(lambda: step(own, a), True).run(steps)


def make_storage(backend: Backend, sample: Sample, optimizer: Any = None) -> ParameterStorage:
    """Make four parameters: one is frozen, one has a low rate, one has no decay."""
    rng = np.random.default_rng(sample.seed)

    def values(shape: Any, dtype: Any) -> np.ndarray:
        return np.asarray(rng.normal(size=shape), dtype)

    parameters = [
        Parameter(sample.shape, values),
        Parameter((sample.columns,), values, decay=False),
        Parameter((3,), values, multiplier=0.1),
        Parameter((1, 1), values),
    ]
    made = ParameterStorage(backend, sample.dtype, parameters)
    if optimizer is not None:
        optimizer.add_slots(made)
    parameters[3].layer = type("Layer", (), {"name": "frozen", "trainable": False})
    made.refresh()
    return made


def give_gradients(made: ParameterStorage, sample: Sample) -> None:
    for parameter in made.parameters:
        gradient = sample.normal(*parameter.shape)
        if parameter.shape == sample.shape and sample.values != "infinite":
            gradient = sample.numbers()
        made.backend.write(parameter.gradient, gradient)


def optimizer(formula: Any, gpu: Backend, sample: Sample) -> None:
    results = []
    for backend in (NUMPY, gpu):
        made, control = make_storage(backend, sample, formula), Control(backend)
        numbers = replace(sample)
        frozen = made.parameters[3].numpy()
        for step in range(3):
            control.set(UPDATES, step)
            control.set_learning_rate(0.1 / (1 + step))
            give_gradients(made, numbers)
            formula.step(made, control)
        assert made.parameters[3].numpy() == frozen
        results.append(
            (
                {str(i): p.numpy() for i, p in enumerate(made.parameters)},
                {name: backend.read(slot) for name, slot in made.slots.items()},
            )
        )
    (weights, slots), (others, other_slots) = results
    assert_alike(weights, others, sample.dtype, 1.0)  # a single weight may end up close to 0
    assert_alike(slots, other_slots, sample.dtype)


def persistent_updates(gpu: Backend, sample: Sample) -> None:
    """Gradients that threads compute and apply without waiting for each other, in one kernel."""
    _updates("persistent", gpu, sample)


def fused_updates(gpu: Backend, sample: Sample) -> None:
    """The same, in a launch of each step."""
    _updates("fused", gpu, sample)


def _updates(mode: str, gpu: Backend, sample: Sample) -> None:
    formula = gpunn.optimizers.SGD(0.1, momentum=0.9)
    results = []
    for backend in (NUMPY, gpu):
        numbers = replace(sample)
        made, control = make_storage(backend, numbers, formula), Control(backend)
        control.set_learning_rate(0.1)
        give_gradients(made, replace(numbers, values="normal"))
        x, dz, source = (
            backend.upload(numbers.normal(*shape))
            for shape in ((5, sample.rows), (5, sample.columns), (20, sample.rows))
        )

        def step(backend: Backend, a: Any) -> None:
            backend.gather(a["source"], Order(20, 3), a["control"], a["x"])
            backend.matmul(a["x"], a["dz"], a["made"].parameters[0].gradient, transpose_a=True)
            backend.column_sums(a["dz"], a["made"].parameters[1].gradient)
            backend.update(formula, a["made"], a["control"])
            backend.advance(a["control"], 5, a["totals"])

        given = {"x": x, "dz": dz, "source": source, "made": made, "control": control}
        given["totals"] = backend.zeros((3,), np.float64)
        program(mode, step, 3, backend, given)
        results.append({str(i): p.numpy() for i, p in enumerate(made.parameters)})
    assert_alike(results[0], results[1], sample.dtype, 10.0)


def clip(by: str, gpu: Backend, sample: Sample) -> None:
    for limit in (0.5, 1e9):
        results = []
        for backend in (NUMPY, gpu):
            made = make_storage(backend, sample)
            give_gradients(made, replace(sample))
            backend.clip_gradients(made, by, limit)
            trained = made.parameters[:3]
            results.append({str(i): backend.read(p.gradient) for i, p in enumerate(trained)})
        assert_alike(results[0], results[1], sample.dtype)


def advance(gpu: Backend, sample: Sample) -> None:
    results = []
    for backend in (NUMPY, gpu):
        control, totals = Control(backend), backend.zeros((3,), np.float64)
        for value in (0.0, np.nan, np.inf):
            backend.write(totals, np.array([value, 0, 0]))
            backend.advance(control, sample.rows, totals)
        results.append({"counters": control.get()})
    assert_alike(results[0], results[1], sample.dtype)


def schedule(formula: Any, gpu: Backend, sample: Sample) -> None:
    """The value at some step, and long after the end of the schedule, at two indices."""
    results = []
    for backend in (NUMPY, gpu):
        control, found = Control(backend), []
        for step, place in ((sample.rows % 24, 1), (10**6, 2)):
            control.set(UPDATES, step)
            backend.schedule(formula, control, place)
            found.append(backend.read(control.rates))
        results.append({"rates": np.array(found)})
    assert_alike(results[0], results[1], "float64")


def sum_over_one_rank(gpu: Backend, sample: Sample) -> None:
    gradients = sample.normal()

    def add_up(backend: Backend, a: dict[str, Any]) -> None:
        backend.sum_over_ranks(a["gradients"], ALONE)

    own, others = on_both(gpu, add_up, gradients=gradients)
    assert_alike(own, others, sample.dtype)
    np.testing.assert_array_equal(own["gradients"], gradients)


def regularize(gpu: Backend, sample: Sample) -> None:
    results = []
    for backend in (NUMPY, gpu):
        made = make_storage(backend, sample)
        for parameter, (l1, l2) in zip(
            made.parameters, ((0.1, 0.2), (0.0, 0.3), (0.2, 0.0), (1.0, 1.0)), strict=True
        ):
            parameter.regularizer = gpunn.regularizers.L1L2(l1, l2)
        made.refresh()
        give_gradients(made, replace(sample, values="normal"))
        totals = backend.zeros((3,), np.float64)
        for gradients in (True, False, True):
            backend.regularize(made, 7, gradients, totals)
        trained = made.parameters[:3]
        found = {str(i): backend.read(p.gradient) for i, p in enumerate(trained)}
        results.append({**found, "totals": backend.read(totals)})
    assert_alike(results[0], results[1], sample.dtype)


def constrain(formula: Any, gpu: Backend, sample: Sample) -> None:
    w = sample.normal()

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        backend.constrain(formula, a["w"])
        if sample.rows % 2 == 0:
            backend.constrain(formula, a["cube"].reshape(2, sample.rows // 2, sample.columns))

    assert_alike(*on_both(gpu, both_ways, w=w, cube=w), sample.dtype)
