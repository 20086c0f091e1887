"""Random compositions of operations: values and gradients agree with PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from operation_cases.case import floats
from operation_cases.computed import by_torch, in_steps

from gpunn import ops

Shape = tuple[int, ...]


class Step(NamedTuple):
    """One operation of a program: the earlier tensors it uses, in gpunn and in PyTorch."""

    name: str
    sources: tuple[int, ...]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]


class Program(NamedTuple):
    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    def run(self, tensors: Any, ours: bool) -> list[Any]:
        known = list(tensors)
        for step in self.steps:
            function = step.ours if ours else step.theirs
            known.append(function(*[known[i] for i in step.sources]))
        return [known[i] for i in self.results]

    def __repr__(self) -> str:
        lines = [f"x{i}: {shape}" for i, shape in enumerate(self.shapes)]
        for i, step in enumerate(self.steps, len(self.shapes)):
            lines.append(f"x{i} = {step.name}({', '.join(f'x{s}' for s in step.sources)})")
        return "\n".join([*lines, f"results: {self.results}"])


# Bounded and smooth, so that no program overflows and rounding errors stay small.
UNARY = {
    "tanh": (ops.tanh, torch.tanh), "sigmoid": (ops.sigmoid, torch.sigmoid),
    "sin": (ops.sin, torch.sin), "negative": (ops.negative, torch.neg),
    "exp of tanh": (lambda x: ops.exp(ops.tanh(x)), lambda x: torch.exp(torch.tanh(x))),
    "log of squares": (
        lambda x: ops.log(1.0 + ops.square(x)), lambda x: torch.log(1 + torch.square(x)),
    ),
    "stop_gradient": (ops.stop_gradient, lambda x: x.detach()),
    "twice": (lambda x: x + x, lambda x: x + x),
    "softplus": (ops.softplus, torch.nn.functional.softplus),
}  # fmt: skip
BINARY = {
    "add": (ops.add, torch.add), "subtract": (ops.subtract, torch.sub),
    "tanh of a product": (lambda a, b: ops.tanh(a * b), lambda a, b: torch.tanh(a * b)),
    "quotient": (lambda a, b: a / (2.0 + ops.tanh(b)), lambda a, b: a / (2 + torch.tanh(b))),
    "chosen": (
        lambda a, b: ops.where(a > 0.1, a, b), lambda a, b: torch.where(a > 0.1, a, b),
    ),
}  # fmt: skip


def shape_changes(draw: Any, shape: Shape) -> tuple[str, Any, Any]:
    axis = draw(st.integers(0, len(shape) - 1))
    n = shape[axis]
    kind = draw(
        st.sampled_from(
            ["sum", "mean", "max", "reshape", "transpose", "expand", "part", "flip", "softmax",
             "take", "pad", "cumsum", "tile"]
        )
    )  # fmt: skip
    keep = draw(st.booleans())
    if kind in ("sum", "mean", "max"):
        theirs = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}[kind]
        return (
            f"{kind} over {axis}",
            lambda x: getattr(ops, kind)(x, axis, keepdims=keep),
            lambda x: theirs(x, axis, keepdim=keep),
        )
    if kind == "reshape":
        new = draw(st.sampled_from([(-1,), (1, -1), (-1, 1)]))
        return f"reshape {new}", lambda x: ops.reshape(x, new), lambda x: x.reshape(new)
    if kind == "transpose":
        order = draw(st.permutations(range(len(shape))))
        return f"transpose {order}", lambda x: ops.transpose(x, order), lambda x: x.permute(order)
    if kind == "expand":
        return f"expand {axis}", lambda x: ops.expand_dims(x, axis), lambda x: x.unsqueeze(axis)
    if kind == "part":
        begin = draw(st.integers(0, n - 1))
        key = (slice(None),) * axis + (draw(st.sampled_from([begin, slice(begin, None)])),)
        return f"part {key}", lambda x: x[key], lambda x: x[key]
    if kind == "take":
        places = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4))
        index = torch.tensor(places)
        return (
            f"take {places} of {axis}",
            lambda x: ops.take(x, places, axis),
            lambda x: x.index_select(axis, index),
        )
    if kind == "pad":
        widths = [(0, 0)] * len(shape)
        widths[axis] = (1, 0)
        flat = [w for pair in reversed(widths) for w in pair]
        return (
            f"pad {widths}",
            lambda x: ops.pad(x, widths),
            lambda x: torch.nn.functional.pad(x, flat),
        )
    if kind == "tile":
        times = [1] * len(shape)
        times[axis] = 2 if n < 4 else 1
        return f"tile {times}", lambda x: ops.tile(x, times), lambda x: x.tile(times)
    ours = {"flip": ops.flip, "softmax": ops.softmax, "cumsum": ops.cumsum}[kind]
    theirs = {
        "flip": lambda x, a: x.flip(a), "softmax": torch.softmax, "cumsum": torch.cumsum
    }[kind]  # fmt: skip
    return f"{kind} along {axis}", lambda x: ours(x, axis), lambda x: theirs(x, axis)


def fits(a: Shape, b: Shape) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) < 5
    except ValueError:
        return False


@st.composite
def programs(draw: Any) -> Program:
    """Draw up to 15 operations on up to three tensors; later ones use any of the earlier."""
    sizes = st.integers(1, 4)
    given = tuple(draw(st.lists(st.lists(sizes, max_size=3).map(tuple), min_size=1, max_size=3)))
    known = [torch.zeros(shape) for shape in given]
    steps: list[Step] = []
    for _ in range(draw(st.integers(1, 15))):
        i = draw(st.integers(0, len(known) - 1))
        shape = tuple(known[i].shape)
        kind = draw(st.sampled_from(["unary", "binary", "binary", "shape", "shape", "joined"]))
        sources: tuple[int, ...] = (i,)
        if kind == "binary":
            sources = (
                i,
                draw(st.sampled_from([j for j, t in enumerate(known) if fits(shape, t.shape)])),
            )
            name = draw(st.sampled_from(sorted(BINARY)))
            ours, theirs = BINARY[name]
        elif kind == "joined" and shape:
            sources = i, draw(st.sampled_from([j for j, t in enumerate(known) if t.shape == shape]))
            name = "concatenate"
            ours = lambda *xs: ops.concatenate(xs, 0)  # noqa: E731
            theirs = lambda *xs: torch.cat(xs, 0)  # noqa: E731
        elif kind == "shape" and shape:
            name, ours, theirs = shape_changes(draw, shape)
        else:
            name = draw(st.sampled_from(sorted(UNARY)))
            ours, theirs = UNARY[name]
        made = theirs(*[known[j] for j in sources])
        if len(made.shape) > 4 or made.numel() > 300:
            continue
        steps.append(Step(name, sources, ours, theirs))
        known.append(made)
    last = len(known) - 1
    results = draw(st.lists(st.integers(0, last), max_size=2))
    return Program(given, tuple(steps), (last, *results))


def check(program: Program, dtype: str, *backends: str) -> None:
    arrays = [floats(*shape, seed=i) for i, shape in enumerate(program.shapes)]
    exact = by_torch(lambda *xs: program.run(xs, False), arrays, twice=False)
    given = [a.astype(dtype) for a in arrays]
    tolerance = 1e-8 if dtype == "float64" else 2e-3
    for backend in backends:
        found = in_steps(lambda *xs: program.run(xs, True), given, backend, twice=False)
        for ours, theirs in zip(found, exact, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                scale = max(1.0, float(np.abs(other).max(initial=0)))
                assert_allclose(one, other, tolerance, tolerance * scale, err_msg=backend)


def many(examples: int) -> Any:
    return settings(
        max_examples=examples, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


@pytest.mark.parametrize(("backend", "dtype"), [("numpy", "float64"), ("compiled", "float32")])
@many(200)
@given(program=programs())
def test_a_few(program: Program, backend: str, dtype: str) -> None:
    check(program, dtype, backend)


@many(40)
@given(program=programs())
def test_a_few_on_the_kernels_of_a_gpu(program: Program) -> None:
    check(program, "float32", "emulated")


@pytest.mark.in_turn(2)
@pytest.mark.more
@pytest.mark.timeout(3600)
@many(3_000)
@given(program=programs())
def test_many(program: Program) -> None:
    """To draw a program takes as long as to compute it: both backends get the same ones."""
    check(program, "float64", "numpy", "compiled")


@pytest.mark.more
@pytest.mark.timeout(3600)
@many(300)
@given(program=programs())
def test_many_on_the_kernels_of_a_gpu(program: Program) -> None:
    check(program, "float64", "emulated")
