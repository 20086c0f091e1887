"""The compiled matrix product, on each instruction set of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from gpunn.backends.compiled import cpu_kernels

INSTRUCTIONS = cpu_kernels.available() if cpu_kernels.why_not() is None else ()

pytestmark = pytest.mark.skipif(not INSTRUCTIONS, reason=str(cpu_kernels.why_not()))


@pytest.fixture(params=INSTRUCTIONS)
def module(request: pytest.FixtureRequest) -> Iterator[Any]:
    found = cpu_kernels.module(request.param)
    yield found
    found.set_threads(1)


def matmul(
    module: Any, a: np.ndarray, b: np.ndarray, out: np.ndarray, transpose_a: bool = False,
    transpose_b: bool = False, accumulate: bool = False, gaps: tuple[int, int, int] = (0, 0, 0),
) -> np.ndarray:  # fmt: skip
    """Compute out (+)= a @ b; a and b may be stored transposed.

    The stride of the rows exceeds their length by ``gaps``. The gaps hold NaN, so that reading them
    would make every result NaN. They must not be written either, which is checked here.
    """
    given = a.T if transpose_a else a, b.T if transpose_b else b, out
    wide = []
    for matrix, gap in zip(given, gaps, strict=True):
        wide.append(np.full((len(matrix), matrix.shape[1] + gap), np.nan, matrix.dtype))
        wide[-1][:, : matrix.shape[1]] = matrix
    module.operations["matmul", out.dtype.name](
        *wide, len(a), b.shape[1], a.shape[1], *(w.shape[1] for w in wide), transpose_a,
        transpose_b, accumulate,
    )  # fmt: skip
    assert np.isnan(wide[2][:, out.shape[1] :]).all()
    return wide[2][:, : out.shape[1]].copy()


def draws(rng: np.random.Generator, dtype: str, *shapes: tuple[int, int]) -> list[np.ndarray]:
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


SIZES = st.one_of(
    st.integers(0, 9),
    st.sampled_from([11, 13, 15, 16, 17, 31, 32, 33, 47, 64, 67, 97, 128, 129, 193, 257, 300]),
)
BOOLEANS = st.booleans()


@hypothesis.settings(max_examples=150, derandomize=True)
@hypothesis.given(
    m=SIZES, n=SIZES, k=SIZES, transpose_a=BOOLEANS, transpose_b=BOOLEANS, accumulate=BOOLEANS,
    gaps=st.tuples(*[st.sampled_from([0, 0, 1, 3, 16])] * 3),
    dtype=st.sampled_from(["float32", "float64"]), seed=st.integers(0, 99),
)  # fmt: skip
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_whole_numbers_come_out_exactly(
    instructions: str, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool,
    accumulate: bool, gaps: tuple[int, int, int], dtype: str, seed: int,
) -> None:  # fmt: skip
    module = cpu_kernels.module(instructions)
    rng = np.random.default_rng(seed)
    a, b, out = (rng.integers(-9, 10, shape) for shape in ((m, k), (k, n), (m, n)))
    wanted = a @ b + out * accumulate
    a, b, out = (x.astype(dtype) for x in (a, b, out))
    found = matmul(module, a, b, out, transpose_a, transpose_b, accumulate, gaps)
    np.testing.assert_array_equal(found, wanted.astype(dtype))


# Small networks; powers of two; more rows, columns or terms than a block; vectors.
SHAPES = [
    (32, 128, 784), (784, 128, 32), (10, 16, 784), (128, 10, 32), (64, 512, 256), (256, 544, 64),
    (395, 67, 30), (37, 1100, 40), (9, 32, 2601), (1, 150, 700), (150, 1, 700), (2, 40, 333),
    (1, 2601, 300), (450, 130, 600),
]  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_stay_within_their_bound(
    module: Any, dtype: str, transposed: tuple[bool, bool]
) -> None:
    """The sum of products has k roundings of at most eps/2 each (Higham, *Accuracy and Stability of
    Numerical Algorithms*, 3.5), and adding to the previous output has one more."""
    rng = np.random.default_rng(3)
    wider = np.float64 if dtype == "float32" else np.longdouble
    for m, n, k in SHAPES:
        a, b, out = draws(rng, dtype, (m, k), (k, n), (m, n))
        found = matmul(module, a, b, out, *transposed, accumulate=True)
        bound = abs(a.astype(wider)) @ abs(b.astype(wider)) + abs(out)
        error = abs(found - (a.astype(wider) @ b.astype(wider) + out))
        assert (error <= (k + 1) * np.finfo(dtype).eps / 2 * bound).all(), (m, n, k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_place_of_an_element_does_not_change_its_bits(module: Any, dtype: str) -> None:
    rng = np.random.default_rng(5)
    for transpose_b in (False, True):
        for m, n, k in SHAPES:
            a, b, out = draws(rng, dtype, (m, k), (k, n), (m, n))
            found = matmul(module, a, b, out, transpose_b=transpose_b)
            rows, columns = rng.permutation(m), rng.permutation(n)
            moved = matmul(module, a[rows], b[:, columns], out, transpose_b=transpose_b)
            np.testing.assert_array_equal(moved, found[rows][:, columns])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("accumulate", [False, True])
def test_leaving_out_zeros_changes_no_bit(module: Any, accumulate: bool, dtype: str) -> None:
    """Rows that are all zero in a factor with few zeros are not left out: each row of the result
    depends on its own row of the factor only."""
    rng = np.random.default_rng(8)
    for m, n, k in [(8, 64, 9), (33, 130, 300), (200, 257, 784), (9, 1024, 256), (40, 300, 1300)]:
        a, b, out, full = draws(rng, dtype, (m, k), (k, n), (m, n), (4 * m, k))
        a[rng.random(a.shape) < 0.8] = 0
        found = matmul(module, a, b, out, accumulate=accumulate, gaps=(0, 1, 3))
        beside, below = np.concatenate([a, full]), np.concatenate([out, full @ b])
        wanted = matmul(module, beside, b, below, accumulate=accumulate)[:m]
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_zero_times_what_is_not_finite_is_nan(module: Any, wrong: float) -> None:
    rng = np.random.default_rng(9)
    a, b, out = draws(rng, "float32", (16, 300), (300, 200), (16, 200))
    a[rng.random(a.shape) < 0.9] = 0
    a[:, 123], b[123, 77] = 0, wrong
    found = matmul(module, a, b, out)
    assert np.isnan(found[:, 77]).all() and np.isfinite(np.delete(found, 77, axis=1)).all()


@pytest.mark.parametrize("accumulate", [False, True])
def test_a_row_alone_has_the_bits_that_it_has_among_others(module: Any, accumulate: bool) -> None:
    rng = np.random.default_rng(10)
    for n, k in [(64, 300), (256, 9), (257, 300), (2601, 1000)]:
        a, b, out = draws(rng, "float32", (3, k), (k, n), (3, n))
        among = matmul(module, a, b, out, accumulate=accumulate)
        alone = matmul(module, a[:1], b, out[:1], accumulate=accumulate)
        np.testing.assert_array_equal(alone, among[:1])


# At least as many multiplications as are divided among threads: by rows, by columns, by the sums.
LARGE = [
    (2048, 128, 70, False, False), (130, 2060, 65, False, True), (300, 300, 190, True, False),
    (2, 8400, 1000, False, True), (40, 300, 1300, False, False), (64, 150, 1500, True, False),
    (33, 260, 1700, False, True), (1, 5001, 300, False, False),
]  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("accumulate", [False, True])
def test_threads_change_no_bits(module: Any, accumulate: bool, dtype: str) -> None:
    rng = np.random.default_rng(6)
    for m, n, k, *transposed in LARGE:
        a, b, out = draws(rng, dtype, (m, k), (k, n), (m, n))
        found = []
        for count in (1, 2, 5):
            module.set_threads(count)
            found.append(
                matmul(module, a, b, out, *transposed, accumulate=accumulate, gaps=(0, 0, 3))
            )
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])


def test_callers_do_not_disturb_each_other(module: Any) -> None:
    """A caller that finds the threads busy computes alone."""
    rng = np.random.default_rng(7)
    a, b, out = draws(rng, "float32", (512, 128), (128, 260), (512, 260))
    alone = matmul(module, a, b, out)
    module.set_threads(3)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: matmul(module, a, b, out), range(40)):
            np.testing.assert_array_equal(found, alone)


FORK = """
import importlib, os, sys
import numpy as np

module = importlib.import_module(sys.argv[1])
module.set_threads(3)
a, b = np.ones((512, 128), "f"), np.ones((128, 260), "f")

def is_right():
    out = np.zeros((512, 260), "f")
    module.operations["matmul", "float32"](
        a, b, out, 512, 260, 128, 128, 260, 260, False, False, False
    )
    return (out == 128).all()

assert is_right()
child = os.fork()
if child == 0:
    os._exit(0 if is_right() and is_right() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert is_right()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_threads_survive_a_fork_and_the_end(module: Any) -> None:
    """A child process starts its own threads, and sleeping threads keep no process alive."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, module.__name__], check=True, timeout=120
    )
