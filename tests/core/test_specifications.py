"""What the four planners of the core do, as small graphs in and lists out, to be read.

- the plan: layers in the order in which they run, and what each reads;
- the workspace: which arrays layers and batch sizes share;
- the scheduler: which tensors one expression computes;
- the computation: which results take the memory of earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops
from gpunn.backends import get_backend
from gpunn.core.plan import INPUT, Plan
from gpunn.core.workspace import Pool, Workspace
from gpunn.ops.fusion.schedule import Fused, scheduled
from gpunn.ops.gradients import topological_sort
from gpunn.ops.running.computation import Computation, Destination
from gpunn.ops.tensor import Tensor, leaf
from gpunn.ops.trace import Trace

# -- the plan


def plan_of(model: gpunn.Model) -> Plan:
    plan = model._builder.known_plan("the specification")
    assert isinstance(plan, Plan)
    return plan


def listed(model: gpunn.Model) -> list[str]:
    """Return a line for each node: its number, its layer, and the numbers that it reads."""
    plan, lines = plan_of(model), []
    for number, node in enumerate(plan.nodes):
        read = [f"x{INPUT - n}" if n < 0 else str(n) for n in node.sources]
        lines.append(f"{number} {type(node.layer).__name__} {' '.join(read)}")
    return [*lines, f"outputs {' '.join(map(str, plan.outputs))}"]


def test_a_chain_runs_in_its_order() -> None:
    chain = [layers.Dense(3), layers.Dropout(0.5), layers.Dense(2)]
    model = gpunn.Sequential([gpunn.Input((4,)), *chain])
    assert listed(model) == ["0 Dense x0", "1 Dropout 0", "2 Dense 1", "outputs 2"]


def test_a_node_comes_after_what_it_reads() -> None:
    """A skip connection; the graph was written with the sum's other operand first."""
    x = gpunn.Input((4,))
    skipped = layers.Dense(4, "relu")(x)
    summed = layers.Add()([x, layers.Dense(4)(skipped)])
    model = gpunn.Model(x, [summed, skipped])
    assert listed(model) == ["0 Dense x0", "1 Dense 0", "2 Add x0 1", "outputs 2 0"]


def test_a_layer_that_is_called_twice_is_two_nodes_with_the_same_weights() -> None:
    first, second, shared = gpunn.Input((4,)), gpunn.Input((4,)), layers.Dense(3)
    model = gpunn.Model([first, second], layers.Subtract()([shared(first), shared(second)]))
    assert listed(model) == ["0 Dense x0", "1 Dense x1", "2 Subtract 0 1", "outputs 2"]
    assert len(plan_of(model).parameters) == 2


def test_a_model_inside_another_is_its_nodes() -> None:
    inner = gpunn.Sequential([gpunn.Input((4,)), layers.Dense(3), layers.Dense(2)])
    x = gpunn.Input((4,))
    model = gpunn.Model(x, layers.Dense(1)(inner(x)))
    assert listed(model) == ["0 Dense x0", "1 Dense 0", "2 Dense 1", "outputs 2"]


def test_what_no_output_needs_does_not_run() -> None:
    x = gpunn.Input((4,))
    used = layers.Dense(3)(x)
    layers.Dense(5)(used)
    assert listed(gpunn.Model(x, used)) == ["0 Dense x0", "outputs 0"]


# -- the workspace


def bound(model: gpunn.Model, batch: int, pool: Pool, training: bool = True) -> Workspace:
    return Workspace(plan_of(model), get_backend("numpy"), "float32", batch, pool, training)


def test_a_smaller_batch_uses_the_first_rows_of_the_same_arrays() -> None:
    model = gpunn.Sequential([gpunn.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)])
    pool = Pool(get_backend("numpy"))
    whole, last = bound(model, 8, pool), bound(model, 5, pool)
    for large, small in zip(whole.calls, last.calls, strict=True):
        assert (large.y.shape[0], small.y.shape[0]) == (8, 5)
        assert small.y.ctypes.data == large.y.ctypes.data


def test_a_layer_reads_the_output_of_the_one_before() -> None:
    model = gpunn.Sequential([gpunn.Input((4,)), layers.Dense(3), layers.Dense(2)])
    workspace = bound(model, 8, Pool(get_backend("numpy")))
    first, second = workspace.calls
    assert first.x is workspace.xs[0] and second.x is first.y and workspace.ys == [second.y]
    assert np.shares_memory(second.dx, first.dy)


def test_a_flattened_output_is_the_same_memory() -> None:
    model = gpunn.Sequential([gpunn.Input((2, 4)), layers.Dense(3), layers.Flatten()])
    dense, flat = bound(model, 8, Pool(get_backend("numpy"))).calls
    assert flat.y.shape == (8, 6) and np.shares_memory(flat.y, dense.y)


# -- the scheduler


def order(*outputs: Tensor) -> list[str]:
    """Return what is computed one after the other; those that one expression computes in []."""
    graph = topological_sort(outputs)
    there = {id(t) for t in graph if t.primitive is None}
    steps = scheduled([t for t in graph if t.primitive is not None], there, set(map(id, outputs)))
    return [
        f"[{', '.join(t.primitive.name for t in step.group.members)}]"
        if isinstance(step, Fused) else step.primitive.name
        for step in steps
    ]  # fmt: skip


@pytest.fixture
def x() -> Any:
    """A leaf x (8, 4), inside a trace."""
    with Trace().active():
        yield leaf((8, 4), "float32")


def test_a_chain_of_elements_is_one_expression(x: Tensor) -> None:
    assert order(ops.exp(x * 2.0 + 1.0)) == ["[multiply, add, exp]"]


def test_a_sum_along_the_rows_and_what_reads_it_are_in_it(x: Tensor) -> None:
    e = ops.exp(x)
    assert order(e / ops.sum(e, -1, keepdims=True)) == ["[exp, sum, divide]"]


def test_a_row_is_read_in_each_row(x: Tensor) -> None:
    assert order(ops.tanh(x + leaf((4,), "float32"))) == ["[add, tanh]"]


def test_a_product_divides_what_is_before_it_from_what_is_after(x: Tensor) -> None:
    y = ops.matmul(ops.exp(x), leaf((4, 4), "float32"))
    assert order(ops.tanh(y)) == ["[exp]", "matmul", "[tanh]"]


def test_products_come_first_so_that_more_is_joined_behind_them(x: Tensor) -> None:
    w = leaf((4, 4), "float32")
    assert order(ops.exp(x) + ops.matmul(x, w)) == ["matmul", "[exp, add]"]


def test_what_two_results_need_is_computed_once(x: Tensor) -> None:
    e = ops.exp(x)
    assert order(e * 2.0, e + 1.0) == ["[exp, multiply, add]"]


def test_arrays_of_other_sizes_have_another_expression(x: Tensor) -> None:
    other = leaf((3, 5), "float32")
    assert order(ops.exp(x), ops.tanh(other)) == ["[exp]", "[tanh]"]


# -- the computation


def places(trace: Trace, leaves: Sequence[Tensor], *results: Tensor) -> list[str]:
    """Return for each tensor which array it is in, by letters in the order of their first use."""
    backend = get_backend("numpy").isolated()
    arrays = {id(t): backend.zeros(t.shape, t.dtype) for t in leaves}
    computation = Computation(backend, arrays, [[Destination(results[-1])]])
    found = [computation.array(t) for t in results]
    owners: list[Any] = []
    for array in found:
        if not any(np.shares_memory(array, known) for known in owners):
            owners.append(array)
    return ["abcd"[next(k for k, known in enumerate(owners) if np.shares_memory(known, array))]
            for array in found]  # fmt: skip


def test_memory_of_a_result_that_is_read_no_more_is_used_again() -> None:
    """A chain of products needs two arrays in turns, however long it is."""
    trace = Trace()
    with trace.active():
        x, w = leaf((8, 4), "float32"), leaf((4, 4), "float32")
        chain = [ops.matmul(x, w)]
        for _ in range(4):
            chain.append(ops.matmul(chain[-1], w))
    assert places(trace, [x, w], *chain) == ["a", "b", "a", "b", "a"]


def test_memory_of_a_result_that_is_read_later_is_kept() -> None:
    trace = Trace()
    with trace.active():
        x, w = leaf((8, 4), "float32"), leaf((4, 4), "float32")
        first = ops.matmul(x, w)
        second = ops.matmul(first, w)
        third = ops.matmul(second, w)
        last = ops.matmul(ops.transpose(third), first)  # (4, 4)
    assert places(trace, [x, w], first, second, third, last) == ["a", "b", "c", "d"]
