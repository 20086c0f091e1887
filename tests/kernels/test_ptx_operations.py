"""Each form of an arithmetic instruction computes what the PTX manual says, bit by bit.

The expected values come from NumPy and Python's integers, not from the table's C++.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import ptx
import pytest
from host_kernels import Launch
from host_kernels import compile_text as compile_cpp

N = 256
EDGES = {
    "f": [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 1e-40, 3e9, -3e9, np.inf, -np.inf, np.nan],
    "i": [0, 1, 2, 31, 32, 33, 63, 64, 255, -1, -2, 2**31, 2**63, 2**63 - 1, 2**31 - 1],
}


def dtype(type_: str) -> np.dtype:
    bits = int(type_[1:]) // 8
    return np.dtype(f"{ {'s': 'i', 'f': 'f'}.get(type_[0], 'u') }{bits}")


def numbers(type_: str, rng: np.random.Generator) -> np.ndarray:
    if type_[0] == "f":
        return rng.choice([*EDGES["f"], *rng.normal(size=9)], N).astype(dtype(type_))
    values = [int(v) for v in rng.integers(-(2**63), 2**63, 9)] + EDGES["i"]
    chosen = [values[i] % 2**64 for i in rng.integers(0, len(values), N)]
    return np.array(chosen, np.uint64).astype(f"u{dtype(type_).itemsize}").view(dtype(type_))


def wrapped(function: Callable[..., int]) -> Callable[..., np.ndarray]:
    """Compute with Python's integers and keep the low bits."""

    def compute(result: str, *arrays: np.ndarray) -> np.ndarray:
        rows = zip(*(array.tolist() for array in arrays), strict=True)
        kind = dtype(result)
        low = [function(*row) % 2 ** (8 * kind.itemsize) for row in rows]
        return np.array(low, np.uint64).astype(f"u{kind.itemsize}").view(kind)

    return compute


INTEGERS: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul.lo": lambda a, b: a * b,
    "mul.wide": lambda a, b: a * b, "mad.lo": lambda a, b, c: a * b + c, "neg": lambda a: -a,
    "min": min, "max": max, "and": lambda a, b: a & b, "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b, "not": lambda a: ~a, "shl": lambda a, b: a << min(b, 64),
    "shr": lambda a, b: a >> min(b, 64), "clz": lambda a: 64 - a.bit_length(),
    "popc": lambda a: a.bit_count() if hasattr(a, "bit_count") else bin(a).count("1"),
}  # fmt: skip
FLOATS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "abs": np.abs,
    "neg": np.negative, "sqrt": np.sqrt, "rcp": lambda a: a.dtype.type(1) / a,
}  # fmt: skip


def reference(form: str) -> Callable[..., np.ndarray] | None:
    opcode, *modifiers = form.split(".")
    if modifiers[-1][0] in "busp" and not {"cc", "hi", "pred", "global"} & {*modifiers}:
        key = f"{opcode}.{modifiers[0]}" if modifiers[0] in ("lo", "wide") else opcode
        return wrapped(INTEGERS[key]) if key in INTEGERS else None
    if modifiers[-1][0] == "f" and not {"rz", "rm", "approx", "global"} & {*modifiers}:
        function = FLOATS.get(opcode)
        return (lambda result, *arrays: function(*arrays)) if function else None
    return None


TESTED = {form: f for form in ptx.OPERATIONS if (f := reference(form)) is not None}


@cache
def kernels() -> dict[str, Launch]:
    """One kernel for each form, which applies it to arrays."""
    text = ""
    for form in TESTED:
        operation = ptx.OPERATIONS[form]
        types = [*operation.operands, operation.result]
        name = "test_" + form.replace(".", "_")
        parameters = ",".join(f".param .u64 {name}_{i}" for i in range(len(types)))
        text += f".visible .entry {name}({parameters})\n{{\n.reg .b32 %i;\nmov.u32 %i, %tid.x;\n"
        for i, type_ in enumerate(types):
            size = int(type_[1:]) // 8
            text += (
                f".reg .{type_} %x{i};\n.reg .b64 %a{i};\n.reg .b64 %o{i};\n"
                f"ld.param.u64 %a{i}, [{name}_{i}];\nmul.wide.u32 %o{i}, %i, {size};\n"
                f"add.s64 %a{i}, %a{i}, %o{i};\n"
            )
            if i < len(types) - 1:
                text += f"ld.global.{type_.replace('b', 'u')} %x{i}, [%a{i}];\n"
        last = len(types) - 1
        stored = operation.result.replace("b", "u").replace("s", "u")
        operands = ", ".join(f"%x{i}" for i in range(last))
        text += (
            f"{form} %x{last}, {operands};\nst.global.{stored} [%a{last}], %x{last};\nret;\n}}\n"
        )
    names = ["test_" + form.replace(".", "_") for form in TESTED]
    return dict(zip(TESTED, compile_cpp(ptx.to_cpp(text), names).values(), strict=True))


@pytest.mark.parametrize("form", TESTED)
def test_an_instruction_computes_what_the_manual_says(form: str) -> None:
    rng = np.random.default_rng(0)
    operation = ptx.OPERATIONS[form]
    arrays = [numbers(type_, rng) for type_ in operation.operands]
    found = np.zeros(N, dtype(operation.result))
    kernels()[form]((1,), (N,), [*arrays, found])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, TESTED[form](operation.result, *arrays))
