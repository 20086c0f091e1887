"""Instructions of PTX on memory, and between threads, do what the manual says.

`test_ptx_operations` tests those that compute with registers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import ptx
import pytest
from host_kernels import compile_text as compile_cpp
from ptx.samples import OF_MEMORY, dtype, numbers

THREADS = 64  # two warps


def run(
    body: str, arrays: Sequence[Any], parameters: str = "", before: str = "", order: int = 0
) -> None:
    """Run a kernel on arrays, of which thread i gets the addresses of element i: %a0, %a1 ...

    Args:
        body: its instructions; %i is the number of the thread, %x, %y, %z and %w are registers of
            64 bits, %u and %v of 32, %p of a predicate.
        parameters: more of them, which numbers among ``arrays`` are for.
        before: functions and variables.
    """
    names = [f"k_{n}" for n, array in enumerate(arrays) if isinstance(array, np.ndarray)]
    given = ", ".join([*(f".param .u64 {name}" for name in names), *filter(None, [parameters])])
    text = f"{before}\n.visible .entry k({given})\n{{\n"
    text += ".reg .b32 %i, %u, %v;\n.reg .b64 %o, %x, %y, %z, %w;\n.reg .pred %p;\n"
    text += "mov.u32 %i, %tid.x;\n"
    for n, name in enumerate(names):
        text += f".reg .b64 %a{n};\nld.param.u64 %a{n}, [{name}];\n"
        text += f"mul.wide.u32 %o, %i, {arrays[n].itemsize};\nadd.s64 %a{n}, %a{n}, %o;\n"
    compiled = compile_cpp(ptx.to_cpp(f"{text}{body}\nret;\n}}\n"), ["k"])["k"]
    compiled((1,), (THREADS,), arrays, order)


def extended(values: np.ndarray) -> np.ndarray:
    """What a register of 64 bits holds: signed numbers are extended by their sign."""
    if values.dtype.kind == "f":
        return values.view(f"u{values.itemsize}").astype("u8")
    return values.astype("i8").view("u8") if values.dtype.kind == "i" else values.astype("u8")


def as_number(type_: str, register: str) -> str:
    """Instructions that put the bits of a float in %x."""
    bits = type_[1:]
    kept = "" if bits == "64" else f"cvt.u64.u{bits} %x, %u;\n"
    return f"mov.b{bits} {'%u' if kept else '%x'}, {register};\n{kept}"


LOADS = [form for form in ptx.OPERATIONS if form.startswith("ld.")]
STORES = [form for form in ptx.OPERATIONS if form.startswith("st.")]


@pytest.mark.parametrize("form", LOADS)
def test_a_load_extends_what_it_reads(form: str) -> None:
    type_, space = form.split(".")[-1], re.findall("global|shared|local|param", form)[0]
    rng, size = np.random.default_rng(0), dtype(type_).itemsize
    width = 2 if ".v2." in form else 1
    given = numbers(type_, rng)[: width * THREADS]
    found = np.zeros((THREADS, width), "u8")
    is_float = type_[0] == "f"
    register, declared = ("%f", f".reg .{type_} %f, %g;\n") if is_float else ("%x", "")
    arrays: list[Any] = [found[:, 0].copy(), given[:THREADS].copy()]
    target, place, body, parameters, before = register, "%a1", declared, "", ""
    if space == "param":
        arrays, place, parameters = [arrays[0], given[3]], "value", f".param .{type_} value"
        given = np.full(THREADS, given[3])
    elif space != "global":
        name = f".{space} .align 8 .b8 memory[{8 * THREADS}];\n"
        before, body = (name, body) if space == "shared" else ("", name + body)
        body += "mov.u64 %y, memory;\nmul.wide.u32 %o, %i, 8;\nadd.s64 %y, %y, %o;\n"
        body += f"ld.global.u{8 * size} %x, [%a1];\nst.{space}.u{8 * size} [%y], %x;\n"
        place = "%y"
    if width == 2:
        arrays = [*arrays, given, found[:, 1].copy()]
        body += f"ld.param.u64 %y, [k_2];\nmul.wide.u32 %o, %i, {2 * size};\nadd.s64 %y, %y, %o;\n"
        target, place = ("{%f, %g}" if is_float else "{%x, %z}"), "%y"
    body += f"{form} {target}, [{place}];\n"
    if width == 2:
        body += as_number(type_, "%g").replace("%x", "%z") if is_float else ""
        body += "st.global.u64 [%a3], %z;\n"
    body += as_number(type_, "%f") if is_float else ""
    run(body + "st.global.u64 [%a0], %x;", arrays, parameters, before)
    np.testing.assert_array_equal(arrays[0], extended(given[::width]))
    if width == 2:
        np.testing.assert_array_equal(arrays[3], extended(given[1::2]))


@pytest.mark.parametrize("form", STORES)
def test_a_store_writes_its_bytes_and_no_others(form: str) -> None:
    type_, space = form.split(".")[-1], re.findall("global|shared|local|param", form)[0]
    bits = dtype(type_).itemsize * 8
    given = numbers(type_, np.random.default_rng(0))[:THREADS]
    found = np.full(THREADS, 0x5555555555555555, "u8")
    body, value, before = "", "%x", ""
    body += f"ld.global.u{bits} %x, [%a1];\n"
    if type_[0] == "f":
        body, value = f".reg .{type_} %f;\nld.global.{type_} %f, [%a1];\n", "%f"
    if space == "global":
        body += f"{form} [%a0], {value};"
    elif space == "param":  # of a function, which returns it
        wide = max(bits, 32)
        before = (
            f".func (.param .b{wide} back) f(.param .b{wide} one)\n{{\n.reg .b64 %x;\n"
            f"ld.param.u{wide} %x, [one];\nst.param.u{wide} [back], %x;\nret;\n}}\n"
        )
        body += (
            f"{{\n.param .b{wide} one;\n.param .b{wide} back;\nld.global.u64 %y, [%a0];\n"
            f"st.param.u{wide} [one], %y;\n{form} [one], {value};\ncall.uni (back), f, (one);\n"
            f"ld.param.u{wide} %y, [back];\n}}\nst.global.u{wide} [%a0], %y;"
        )
    else:
        name = f".{space} .align 8 .b8 memory[{8 * THREADS}];\n"
        before, body = (name, body) if space == "shared" else ("", name + body)
        body += "mov.u64 %y, memory;\nmul.wide.u32 %o, %i, 8;\nadd.s64 %y, %y, %o;\n"
        body += f"ld.global.u64 %z, [%a0];\nst.{space}.u64 [%y], %z;\n{form} [%y], {value};\n"
        body += f"ld.{space}.u64 %z, [%y];\nst.global.u64 [%a0], %z;"
    run(body, [found, given], before=before)
    rest = np.uint64(0x5555555555555555 >> bits << bits)
    np.testing.assert_array_equal(found, given.view(f"u{bits // 8}").astype("u8") | rest)


ATOMIC = {"add": lambda a, b: a + b, "min": min, "max": max}


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("form", [form for form in ptx.OPERATIONS if form.startswith("atom.")])
def test_an_atomic_returns_what_was_there(form: str, order: int) -> None:
    """From one thread to the next, in some order, the value changes by the operation."""
    type_, bits = form.split(".")[-1], form[-2:]
    x = np.random.default_rng(0).permutation(THREADS).astype(dtype(type_)) - dtype(type_).type(9)
    place, before = np.full(1, 3, x.dtype), np.zeros_like(x)
    body = f".reg .{type_} %n, %m;\nld.global.{type_} %n, [%a2];\nld.param.u64 %y, [k_0];\n"
    body += f"{form} %m, [%y], %n;\nst.global.{'f' if type_[0] == 'f' else 'u'}{bits} [%a1], %m;"
    run(body, [place, before, x], order=order)
    operation = ATOMIC[form.split(".")[2]]
    with np.errstate(over="ignore"):
        after = [operation(b, a) for a, b in zip(x, before, strict=True)]
    assert sorted([*before, *place]) == sorted([*after, x.dtype.type(3)])


def test_a_butterfly_keeps_the_value_of_lanes_that_it_cannot_read() -> None:
    """The manual: segments of 2^n lanes, and a last lane of each, are in the operand c."""
    x = np.arange(100, 100 + THREADS, dtype="u4")
    for bits, segment, last in ((16, 0, 31), (1, 0, 31), (5, 0, 20), (2, 24, 7), (9, 24, 7)):
        found, exists = np.zeros_like(x), np.zeros_like(x)
        body = f"ld.global.u32 %u, [%a0];\nshfl.sync.bfly.b32 %v|%p, %u, {bits}, "
        body += f"{segment << 8 | last}, -1;\nselp.u32 %u, 1, 0, %p;\n"
        run(body + "st.global.u32 [%a1], %v;\nst.global.u32 [%a2], %u;", [x, found, exists])
        lane = np.arange(THREADS) % 32
        inside = (lane ^ bits) <= (lane & segment | last & ~segment)
        other = x[np.arange(THREADS) // 32 * 32 + (lane ^ bits)]
        assert exists.astype(bool).tolist() == inside.tolist()
        np.testing.assert_array_equal(found, np.where(inside, other, x))


def test_a_ballot_has_a_bit_for_each_lane_of_the_warp() -> None:
    x, found = np.random.default_rng(0).integers(0, 2, THREADS, "u4"), np.zeros(THREADS, "u4")
    body = "ld.global.u32 %u, [%a0];\nsetp.ne.u32 %p, %u, 0;\n"
    run(body + "vote.sync.ballot.b32 %v, %p, -1;\nst.global.u32 [%a1], %v;", [x, found])
    words = np.packbits(x.astype(bool), bitorder="little").view("u4")
    np.testing.assert_array_equal(found, words.repeat(32))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(
    ("wait", "distance"), [("bar.sync 0;", 33), ("bar.warp.sync -1;", 1)], ids=["block", "warp"]
)
def test_behind_a_barrier_all_have_written(wait: str, distance: int, order: int) -> None:
    """And fences and naps change no values."""
    x, found = np.arange(THREADS, dtype="u4"), np.zeros(THREADS, "u4")
    body = "mov.u64 %y, memory;\nmul.wide.u32 %o, %i, 4;\nadd.s64 %x, %y, %o;\n"
    body += "ld.global.u32 %u, [%a0];\nst.shared.u32 [%x], %u;\nmembar.gl;\nnanosleep.u32 20;\n"
    body += f"{wait}\nxor.b32 %v, %i, {distance};\nmul.wide.u32 %o, %v, 4;\n"
    body += "add.s64 %x, %y, %o;\nld.shared.u32 %u, [%x];\nst.global.u32 [%a1], %u;"
    run(body, [x, found], before=f".shared .align 4 .b8 memory[{4 * THREADS}];", order=order)
    np.testing.assert_array_equal(found, x ^ distance)


def test_every_form_has_a_test() -> None:
    """Here, those of these opcodes; `test_ptx_operations` tests all others."""
    named = {"bar.sync", "bar.warp.sync", "membar.gl", "nanosleep.u32", "shfl.sync.bfly.b32"}
    named |= {"vote.sync.ballot.b32", *LOADS, *STORES}
    named |= {form for form in ptx.OPERATIONS if form.startswith("atom.")}
    assert named == {form for form in ptx.OPERATIONS if form.split(".")[0] in OF_MEMORY}
