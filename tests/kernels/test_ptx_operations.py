"""Each form of an instruction computes what the PTX manual says, bit by bit or, if it says so, to
within an error.

The expected values come from NumPy, Python's integers and fractions, not from the table's C++.
`test_ptx_memory` tests instructions on memory, and between threads.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from typing import Any

import numpy as np
import ptx
import pytest
from host_kernels import Launch
from host_kernels import compile_text as compile_cpp
from ptx.samples import OF_MEMORY, N, dtype, numbers


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
    "mad.wide": lambda a, b, c: a * b + c, "min": min, "max": max,
    "and": lambda a, b: a & b, "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b, "not": lambda a: ~a, "shl": lambda a, b: a << min(b, 64),
    "shr": lambda a, b: a >> min(b, 64), "clz": lambda a: 64 - a.bit_length(),
    "div": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
    "rem": lambda a, b: abs(a) % abs(b) * (-1 if a < 0 else 1), "cvt": lambda a: a,
    "bfe": lambda a, b, c: a >> (b & 255) & (1 << (c & 255)) - 1,
    "bfi": lambda a, b, c, d: (
        b & ~((1 << (d & 255)) - 1 << (c & 255)) | (a & (1 << (d & 255)) - 1) << (c & 255)
    ),
    "popc": lambda a: a.bit_count() if hasattr(a, "bit_count") else bin(a).count("1"),
    "mov": lambda a: a, "cvta": lambda a: a,
}  # fmt: skip
FLOATS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "abs": np.abs,
    "neg": np.negative, "sqrt": np.sqrt, "rcp": lambda a: a.dtype.type(1) / a,
    "copysign": lambda a, b: np.copysign(b, a), "mov": lambda a: a,
    # -0 is below +0
    "min": lambda a, b: np.where(a == b, np.where(np.signbit(a), a, b), np.fmin(a, b)),
    "max": lambda a, b: np.where(a == b, np.where(np.signbit(a), b, a), np.fmax(a, b)),
}  # fmt: skip
EXACT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "fma": lambda a, b, c: a * b + c,
}  # fmt: skip
# The value that is approximated, and the largest error, absolute or relative, in the words of the
# manual; the types of 64 bits give 20 bits.
APPROXIMATE: dict[str, tuple[Callable[..., Any], float, float]] = {
    "ex2": (np.exp2, 0.0, 2.0**-22), "lg2": (np.log2, 2.0**-22, 2.0**-22),
    "rcp": (lambda a: 1 / a, 0.0, 2.0**-23), "rsqrt": (lambda a: 1 / np.sqrt(a), 0.0, 2.0**-22.4),
    "div": (lambda a, b: a / b, 0.0, 2.0**-22),
}  # fmt: skip


COMPARED = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
}  # fmt: skip
ROUNDED = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def compared(how: str, result: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Ordered comparisons with NaN are false, those with a u are true."""
    nan = (a != a) | (b != b)
    if how in ("num", "nan"):
        return nan == (how == "nan")
    return COMPARED[how[:2]](a, b) & ~nan | (nan & (len(how) == 3))


def converted(modifiers: list[str], result: str, a: np.ndarray) -> np.ndarray:
    """Convert from floats, or to floats."""
    kind = dtype(result)
    if "sat" in modifiers:
        return np.where(a > 0, np.minimum(a, 1), 0).astype(kind)
    rounded = ROUNDED[modifiers[0]](a) if modifiers[0] in ROUNDED else a
    if kind.kind == "f":
        return rounded.astype(kind)
    limits, half = np.iinfo(kind), 2 ** (8 * kind.itemsize - 1)
    nan = 0 if max(kind.itemsize, a.itemsize) < 8 else -half if limits.min else half
    found = [
        nan if x != x else limits.max if x == np.inf else limits.min if x == -np.inf
        else min(max(int(x), limits.min), limits.max)
        for x in rounded.tolist()
    ]  # fmt: skip
    return np.array(found, kind)


def rounded_once(mode: str, name: str) -> Callable[..., np.ndarray]:
    """Round the exact result, a fraction, to the nearest (rn), towards 0 (rz) or down (rm)."""

    def near(exact: Fraction, kind: np.dtype) -> Any:
        limits = np.finfo(kind)
        most, infinity = Fraction(float(limits.max)), kind.type(np.inf)
        found = kind.type(float(min(max(exact, -most), most)))
        finite = [np.nextafter(found, -infinity), found, np.nextafter(found, infinity)]
        finite = [x for x in finite if np.isfinite(x)]
        if mode == "rm" or (mode == "rz" and exact > 0):
            return [-infinity, *(x for x in finite if Fraction(float(x)) <= exact)][-1]
        if mode == "rz":
            return next(x for x in finite if Fraction(float(x)) >= exact)
        if abs(exact) >= most + Fraction(2) ** (limits.maxexp - limits.nmant - 2):
            return np.copysign(infinity, found)
        word = f"u{kind.itemsize}"
        return min(finite, key=lambda x: (abs(Fraction(float(x)) - exact), x.view(word) & 1))

    def compute(result: str, *arrays: np.ndarray) -> np.ndarray:
        kind = dtype(result)
        rows = zip(*(array.astype("f8").tolist() for array in arrays), strict=True)
        return np.array([
            near(EXACT[name](*map(Fraction, row)), kind) if np.isfinite(row).all()
            else EXACT[name](*map(kind.type, row)) for row in rows
        ], kind)  # fmt: skip

    return compute


def carrying(form: str) -> Callable[..., tuple[int, bool]]:
    """The result and the carry, or borrow, of numbers of 32 bits, with that of before."""
    opcode, *modifiers = form.split(".")
    writes, reads = "cc" in modifiers, opcode in ("addc", "subc", "madc")

    def compute(a: int, b: int, c: int, carry: int) -> tuple[int, bool]:
        given = carry if reads else 0
        if opcode.startswith("mad"):
            product = a * b >> 32 if "hi" in modifiers else a * b % 2**32
            wide = product + c + given
        else:
            wide = a + b + given if opcode.startswith("add") else a - b - given
        return wide % 2**32, bool(wide >> 32 & 1) if writes else bool(carry)

    return compute


def reference(form: str) -> Callable[..., np.ndarray] | None:
    opcode, *modifiers = form.split(".")
    if opcode == "setp":
        return partial(compared, modifiers[0])
    if opcode == "selp":
        return lambda result, a, b, chosen: np.where(chosen != 0, a, b)
    if opcode == "cvt" and "f" in (modifiers[-1][0], modifiers[-2][0]):
        return partial(converted, modifiers)
    if opcode == "mul" and modifiers[0] == "hi":
        return wrapped(lambda a, b: a * b >> int(modifiers[1][1:]))
    if modifiers[-1] == "pred":
        return lambda result, *arrays: wrapped(INTEGERS[opcode])(result, *arrays) & 1
    exact = opcode == "fma" or {"rz", "rm"} & {*modifiers}
    if exact:
        return rounded_once(modifiers[0], opcode)
    if modifiers[-1][0] in "bus" and opcode not in OF_MEMORY:
        key = f"{opcode}.{modifiers[0]}" if modifiers[0] in ("lo", "wide") else opcode
        return wrapped(INTEGERS[key]) if key in INTEGERS else None
    if modifiers[-1][0] == "f" and "approx" not in modifiers:
        function = FLOATS.get(opcode)
        return (lambda result, *arrays: function(*arrays)) if function else None
    return None


APPROXIMATIONS = [form for form in ptx.OPERATIONS if ".approx" in form]
CARRIES = [f for f in ptx.OPERATIONS if ".cc." in f or f.startswith(("addc", "subc", "madc"))]
TESTED = {
    form: found for form in ptx.OPERATIONS
    if form not in CARRIES and (found := reference(form)) is not None
}  # fmt: skip


@cache
def kernels() -> dict[str, Launch]:
    """One kernel for each form, which applies it to arrays."""
    text, forms = "", [*TESTED, *APPROXIMATIONS]
    for form in forms:
        operation = ptx.OPERATIONS[form]
        types = [*operation.operands, operation.result]
        name = "test_" + form.replace(".", "_")
        parameters = ",".join(f".param .u64 {name}_{i}" for i in range(len(types)))
        text += f".visible .entry {name}({parameters})\n{{\n.reg .b32 %i;\nmov.u32 %i, %tid.x;\n"
        for i, type_ in enumerate(types):
            size = dtype(type_).itemsize
            text += (
                f".reg .{type_} %x{i};\n.reg .b64 %a{i};\n.reg .b64 %o{i};\n"
                f"ld.param.u64 %a{i}, [{name}_{i}];\nmul.wide.u32 %o{i}, %i, {size};\n"
                f"add.s64 %a{i}, %a{i}, %o{i};\n"
            )
            if type_ == "pred":
                text += f".reg .u32 %n{i};\n"
            if i == len(types) - 1:
                continue
            if type_ == "pred":
                text += f"ld.global.u32 %n{i}, [%a{i}];\nsetp.ne.u32 %x{i}, %n{i}, 0;\n"
            else:
                text += f"ld.global.{type_.replace('b', 'u')} %x{i}, [%a{i}];\n"
        last = len(types) - 1
        stored, value = operation.result.replace("b", "u").replace("s", "u"), f"%x{last}"
        choice = ""
        if operation.result == "pred":
            stored, value = "u32", f"%n{last}"
            choice = f"selp.u32 {value}, 1, 0, %x{last};\n"
        operands = ", ".join(f"%x{i}" for i in range(last))
        text += (
            f"{form} %x{last}, {operands};\n{choice}"
            f"st.global.{stored} [%a{last}], {value};\nret;\n}}\n"
        )
    names = ["test_" + form.replace(".", "_") for form in forms]
    return dict(zip(forms, compile_cpp(ptx.to_cpp(text), names).values(), strict=True))


@pytest.mark.parametrize("form", TESTED)
def test_an_instruction_computes_what_the_manual_says(form: str) -> None:
    rng = np.random.default_rng(0)
    operation = ptx.OPERATIONS[form]
    arrays = [numbers(type_, rng) for type_ in operation.operands]
    if form.startswith(("div.", "rem.")) and operation.result[0] in "su":
        arrays[1][arrays[1] == 0] = 3  # the manual leaves division by zero to the machine
    found = np.zeros(N, dtype(operation.result))
    kernels()[form]((1,), (N,), [*arrays, found])
    with np.errstate(all="ignore"):
        expected = TESTED[form](operation.result, *arrays)
        np.testing.assert_array_equal(found, expected)
        if found.dtype.kind == "f" and not form.startswith(("fma", "add.rz", "mul.rz")):
            known = found == found  # signs of zeros, too
            np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(expected)[known])


def test_every_form_has_a_test() -> None:
    """Here, or in `test_ptx_memory`."""
    others = {form for form in ptx.OPERATIONS if form.split(".")[0] in OF_MEMORY}
    assert {*TESTED, *APPROXIMATIONS, *CARRIES} == ptx.OPERATIONS.keys() - others


@pytest.mark.parametrize("form", APPROXIMATIONS)
def test_an_approximation_has_the_error_that_the_manual_allows(form: str) -> None:
    rng = np.random.default_rng(0)
    operation = ptx.OPERATIONS[form]
    arrays = [numbers(type_, rng) for type_ in operation.operands]
    for array in arrays:
        array[::2] = rng.normal(size=N // 2) * 10.0 ** rng.integers(-30, 30, N // 2)
    found = np.zeros(N, dtype(operation.result))
    kernels()[form]((1,), (N,), [*arrays, found])
    compute, absolute, relative = APPROXIMATE[form.split(".")[0]]
    relative = 2.0**-19 if form.endswith("f64") else relative
    tiny = np.finfo(found.dtype).tiny if "ftz" in form else 0.0
    with np.errstate(all="ignore"):
        given = [np.where(abs(a) < tiny, np.copysign(0, a), a).astype("f8") for a in arrays]
        expected = compute(*given)
        if form.startswith("div"):  # 1 / b is 0 there
            expected = np.where(abs(given[1]) > 2.0**126, given[0] * 0.0, expected)
        ends = expected.astype(found.dtype)
        ends[abs(ends) < tiny] = 0
        finite = np.isfinite(ends) & (ends != 0)
        np.testing.assert_array_equal(found[~finite], ends[~finite])
        spacing = np.finfo(found.dtype).smallest_subnormal
        allowed = absolute + relative * abs(expected) + float(spacing)
        assert (abs(found - expected) <= allowed)[finite].all()


@pytest.mark.parametrize("form", CARRIES)
def test_a_carry_is_read_and_written(form: str) -> None:
    count = len(ptx.OPERATIONS[form].operands)
    operands = ", ".join(["%a", "%b", "%c"][:count])
    text = ".visible .entry carries(" + ",".join(f".param .u64 p{i}" for i in range(5)) + ")\n{\n"
    text += ".reg .b32 %i;\n.reg .b64 %o;\nmov.u32 %i, %tid.x;\nmul.wide.u32 %o, %i, 4;\n"
    for i, name in enumerate("abcde"):
        text += f".reg .b32 %{name};\n.reg .b64 %p{i};\nld.param.u64 %p{i}, [p{i}];\n"
        text += f"add.s64 %p{i}, %p{i}, %o;\nld.global.u32 %{name}, [%p{i}];\n"
    text += f"add.cc.u32 %d, %d, %e;\n{form} %d, {operands};\naddc.u32 %e, 0, 0;\n"
    text += "st.global.u32 [%p3], %d;\nst.global.u32 [%p4], %e;\nret;\n}\n"
    rng = np.random.default_rng(0)
    arrays = [numbers("u32", rng) for _ in range(5)]
    expected = [
        carrying(form)(a, b, c, d + e >> 32)
        for a, b, c, d, e in zip(*(array.tolist() for array in arrays), strict=True)
    ]
    compile_cpp(ptx.to_cpp(text), ["carries"])["carries"]((1,), (N,), arrays)
    assert [*zip(arrays[3].tolist(), map(bool, arrays[4]), strict=True)] == expected
