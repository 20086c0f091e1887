"""Expressions as users write them, alone and in the steps of programs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.expression import COLUMNS, ELEMENTS, ONE, Expression

from .expression_cases import every_case, of
from .samples import Sample, assert_alike, on_both
from .steps import program

EXPRESSIONS = (
    "each extent", "flat", "softmax and its gradient", "sums", "conversions",
    "conversions of wide values", "truths",
)  # fmt: skip


def expression(name: str, gpu: Backend, sample: Sample) -> None:
    (case,) = (case for case in every_case(sample.dtype) if case.name == name)
    arrays: Any = case.arrays(sample.shape, sample.rng)
    both = on_both(gpu, partial(case.ask, size=sample.shape), **arrays)
    assert_alike(*both, sample.dtype)


def expressions_in_steps(gpu: Backend, sample: Sample) -> None:
    """Expressions between a product and the next operation: whole rows, by columns, as one row."""
    dtype, (rows, columns) = sample.dtype, sample.shape
    dense = of(dtype, (ELEMENTS, COLUMNS), ("add", 0, 1), ("tanh", 2), write=(3,))
    scores = of(
        dtype, (ELEMENTS,), ("row_max", 0), ("subtract", 0, 1), ("exp", 2), ("row_sum", 3),
        ("divide", 3, 4), ("column_sum", 5), write=(5, (6, True)),
    )  # fmt: skip
    flat = of(dtype, (ELEMENTS, ELEMENTS), ("multiply", 0, 1), write=((2, True), 2))
    step = of(
        dtype, (COLUMNS, COLUMNS, ONE), ("multiply", 1, 2), ("subtract", 0, 3), write=(4,)
    )  # fmt: skip
    n = 3 * rows

    def ask(
        backend: Backend, made: Expression, size: tuple[int, int], inputs: Any, outputs: Any
    ) -> None:
        backend.expression(made, *size, inputs, outputs)

    def steps(backend: Backend, a: dict[str, Any]) -> None:
        backend.matmul(a["x"], a["w"], a["z"])
        ask(backend, dense, (rows, 3), [a["z"], a["b"]], [a["y"]])
        ask(backend, scores, (rows, 3), [a["y"]], [a["p"], a["db"]])
        flats = [a[name].reshape(1, n) for name in ("y", "p", "sum", "product")]
        ask(backend, flat, (1, n), flats[:2], flats[2:])
        backend.bias_activation(a["product"], None, gpunn.activations.get("relu"), a["product"])
        backend.matmul(a["x"], a["product"], a["dw"], transpose_a=True)
        ask(backend, step, (1, 3), [a["b"], a["db"], a["rate"]], [a["next"]])
        backend.affine(a["next"], 1.0, 0.0, a["b"])
        backend.affine(a["dw"], 1e-3 / rows, 0.0, a["w"], accumulate=True)

    many, few = np.zeros((rows, 3), dtype), np.zeros((1, 3), dtype)
    arrays = {
        "x": sample.normal(), "w": sample.normal(columns, 3), "b": sample.normal(1, 3), "z": many,
        "y": many, "p": many, "sum": many, "product": many, "dw": sample.normal(columns, 3),
        "db": few, "next": few, "rate": np.full((1, 1), 1e-3 / rows, dtype),
    }  # fmt: skip
    for mode in ("plain", "fused", "persistent"):
        both = on_both(gpu, partial(program, mode, steps, 2), **arrays)
        assert_alike(*both, dtype, 10.0 * rows * columns)
