"""Every operation agrees with its reference: at once, in steps and fused, on every backend."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import emulated
import numpy as np
import pytest
from host_kernels import compile_together
from numpy.testing import assert_array_equal
from operation_cases import ORACLES
from operation_cases.case import Call
from operation_cases.checking import (
    REFUSALS,
    Expected,
    cases,
    check,
    computed,
    expected,
    flat,
    quiet,
)
from operation_cases.libraries import OURS

from gpunn.backends.contract.backend import Backend
from gpunn.core.operators import FUNCTIONS

NAMES = sorted(ORACLES)
FEW = slice(0, 3)
more = pytest.mark.more


def test_every_operation_has_an_oracle() -> None:
    assert set(ORACLES) == set(FUNCTIONS)


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("name", NAMES)
def test_ordinary_numbers(name: str) -> None:
    check(name, "eager", "float64")
    check(name, "traced", "float64", calls=FEW, twice=True)
    check(name, "traced", "float64", calls=slice(FEW.stop, None))


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("name", NAMES)
def test_numbers_at_the_edge(name: str) -> None:
    for edge in ("", *ORACLES[name].edges):
        check(name, "fused", "float32", "compiled", edge, slice(0, 1 if edge else 3))


@pytest.mark.more(3)
@pytest.mark.parametrize(
    ("backend", "dtype", "ways"),
    [
        ("numpy", "float64", ("eager", "traced")), ("numpy", "float32", ("fused",)),
        ("compiled", "float64", ("traced",)), ("compiled", "float32", ("fused",)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_each_way_at_each_edge(
    name: str, backend: str, dtype: str, ways: tuple[str, ...]
) -> None:
    for way, edge in itertools.product(ways, ("", *ORACLES[name].edges)):
        check(name, way, dtype, backend, edge, twice=way == "traced" and not edge)
    expected.cache_clear()


EACH_RUN = NAMES[::6]  # the others run in `make test-more`
BY_TURN = [*EACH_RUN, *(name for name in NAMES if name not in EACH_RUN)]
TOGETHER = 12  # names per joint compilation of kernels: compiling one by one takes far longer


@functools.cache
def compile_kernels(group: int, dtype: str) -> None:
    def ask(backend: Backend) -> None:
        for name in BY_TURN[group * TOGETHER :][:TOGETHER]:
            for _, exact, _ in cases(name, dtype, calls=FEW):
                with contextlib.suppress(Exception):  # nothing is computed: steps may differ
                    computed(exact, "fused", backend)

    compile_together(emulated.launched(ask))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=more)])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in EACH_RUN else more) for n in BY_TURN]
)
def test_on_the_kernels_of_a_gpu(name: str, dtype: str) -> None:
    compile_kernels(BY_TURN.index(name) // TOGETHER, dtype)
    check(name, "fused", dtype, "emulated", calls=FEW)


# -- the same values in other forms

FORMS: dict[str, Any] = {
    "turned round": lambda a: np.ascontiguousarray(a[::-1])[::-1] if a.ndim else a,
    "every other": lambda a: np.repeat(a, 2, -1)[..., ::2] if a.ndim else a,
    "in Fortran's order": lambda a: np.asfortranarray(a) if a.ndim else a,
    "in wider integers": lambda a: a.astype(np.int64) if a.dtype == np.int32 else a,
    "of the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "lists": lambda a: a.tolist() if a.size else a,  # an empty list would lose the shape
}


def same(exact: Expected, one: Iterable[Any], other: Iterable[Any], what: str) -> None:
    """Assert that an operation gives the same result for both, or rejects both."""
    found: list[list[np.ndarray]] = []
    refused: list[type | None] = []
    for given in (one, other):
        try:
            found.append(flat(exact.function(OURS, *given)))
            refused.append(None)
        except REFUSALS as error:
            refused.append(type(error))
    assert refused[0] == refused[1], what
    for a, b in zip(*found, strict=True) if found else ():
        assert a.dtype == b.dtype, what
        assert_array_equal(a, b, what)


def by_name(name: str) -> Iterator[tuple[Call, Expected, str]]:
    """Yield the first calls of an operation that compute nothing else from its arrays."""
    return (found for found in cases(name, "float32", calls=slice(0, 8)) if not found[0].function)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", [n if n in EACH_RUN else pytest.param(n, marks=more) for n in NAMES]
)
def test_arrays_in_other_forms(name: str, form: str) -> None:
    for _, exact, what in by_name(name):
        same(exact, exact.arrays, map(FORMS[form], exact.arrays), what)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int8"])
@pytest.mark.parametrize(
    "name", [n if n in EACH_RUN else pytest.param(n, marks=more) for n in NAMES]
)
def test_dtypes_that_are_not_computed_in(name: str, dtype: str) -> None:
    """The result is that of the same values in the dtype used for computation."""
    wide = np.dtype("float32" if dtype == "float16" else "int32")
    for _, exact, what in by_name(name):
        with quiet():
            narrow = [a.astype(dtype) if a.dtype == wide else a for a in exact.arrays]
        same(exact, narrow, [a.astype(wide) if a.dtype == dtype else a for a in narrow], what)
