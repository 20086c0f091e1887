"""The formulas' math functions without CUDA, defined in kernels/formulas/math.cuh.

They are compared with NumPy's in the next wider type. Errors are in units in the last place; among
subnormal numbers the unit is the smallest positive value. Names ending in _64 are functions of
double, the others of float.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gpunn.backends.cupy.launch import kernel_source

INSTRUCTIONS = {
    "baseline": (),
    "avx2": ("-mavx2", "-mfma"),
    "avx512": (
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"),
        *("-mfma", "-mprefer-vector-width=512"),
    ),
}
COMPILER = (
    *("g++", "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"),
    "-fno-ipa-icf",  # each loop is compiled, also where two formulas are the same
    *("-fopt-info-vec-optimized", "-shared", "-fPIC", "-x", "c++", "-"),
)


def _turned(x: np.ndarray, quarters: int) -> np.ndarray:
    """Return sin(2 pi (x + quarters / 4)); the reduction to an eighth of a turn is exact."""
    rest = x - np.round(x)
    nearest = np.round(4 * rest)
    angle = 2 * np.pi * (rest - nearest / 4)
    sine, cosine = np.sin(angle), np.cos(angle)
    which = (np.nan_to_num(nearest).astype(np.int64) + quarters) % 4
    return np.choose(which, [sine, cosine, -sine, -cosine])


EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]),
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "sqrt": np.sqrt,
    "cos_turns": lambda x: _turned(x, 1),
    "sin_turns": lambda x: _turned(x, 0),
    "exp_64": np.exp,
    "expm1_64": np.expm1,
    "log_64": np.log,
    "log1p_64": np.log1p,
    "tanh_64": np.tanh,
    "sqrt_64": np.sqrt,
}
SIGNED = "expm1", "log1p", "tanh", "sinh", "sin_turns"  # f(-0) = -0
# Copying and filling, which need no loops; and the C library's function of double, erfc.
COPIES = {"Linear.forward", "Linear.gradient", "Step.gradient", "OpenStep.gradient"}
ABROAD = COPIES | {f"{name}_64" for name in COPIES} | {"Gelu.forward_64", "Gelu.gradient_64"}


def loops() -> dict[str, str]:
    """Return a line of C++ for each function, and for each activation's value and gradient."""
    begin = 'extern "C" void {}(const {t}* __restrict x, {}{t}* __restrict y, long n) {{ {}'
    loop = "for (long i = 0; i < n; ++i) y[i] = "
    lines = {}
    for f in EXACT:
        body = f"{loop}math::{f.removesuffix('_64')}(x[i]); }}"
        lines[f] = begin.format(f"f_{f}", "", body, t=scalar(f))
    for name in kernel_source.formulas()["Activation"]:
        for method, arguments in (("forward", "x[i]"), ("gradient", "x[i], dy[i]")):
            for end in "", "_64":
                t = scalar(end)
                more = f"const {t}* __restrict dy, const double* p, "
                body = f"const {name}<{t}> f(p); {loop}f.{method}({arguments}); }}"
                line = begin.format(f"{name}_{method}{end}", more, body, t=t)
                lines[f"{name}.{method}{end}"] = line
    return lines


def scalar(name: str) -> str:
    """Return the C++ type that a function takes."""
    return "double" if name.endswith("_64") else "float"


def dtypes(name: str) -> tuple[type, type, type]:
    """Return the dtype that a function takes, the next wider one, and unsigned integers."""
    if scalar(name) == "double":
        return np.float64, np.longdouble, np.uint64
    return np.float32, np.float64, np.uint32


Function = Callable[[np.ndarray], np.ndarray]


class Build:
    """The loops, compiled for one set of instructions.

    Attributes:
        vectorised: the loops that the compiler reports as vectorized.
    """

    def __init__(self, instructions: str, folder: Path) -> None:
        path = folder / f"{instructions}.so"
        lines = loops()
        text = kernel_source.source("generated_activations.cuh") + '#line 1 "loops"\n'
        command = [*COMPILER, *INSTRUCTIONS[instructions], "-o", str(path)]
        source = text + "\n".join(lines.values())
        report = subprocess.run(command, input=source, text=True, check=True, capture_output=True)
        self.vectorised = {
            name
            for number, name in enumerate(lines, 1)
            for line in report.stderr.splitlines()
            if line.startswith(f"loops:{number}:") and "loop vectorized" in line
        }
        self._library = ctypes.CDLL(str(path))

    def __call__(self, name: str, x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        function = self._library[f"f_{name}"]
        pointers = ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
        function(*pointers, ctypes.c_long(x.size))
        return y


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    """The builds by instruction set; a test that requests a missing one is skipped."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    information = Path("/proc/cpuinfo")
    known = information.read_text().split() if information.exists() else []
    folder = tmp_path_factory.mktemp("math")

    @cache
    def build(instructions: str) -> Build:
        needed = [flag[2:] for flag in INSTRUCTIONS[instructions] if "=" not in flag]
        if not set(needed) <= set(known):
            pytest.skip(f"this CPU has no {instructions}")
        return Build(instructions, folder)

    return build


@cache
def numbers(dtype: type) -> np.ndarray:
    """Every sign and exponent with the smallest and largest mantissas, and some simple and random
    ones; also random values where the functions are neither trivial nor infinite."""
    rng = np.random.default_rng(0)
    bits, each = np.finfo(dtype).nmant, 390 if dtype is np.float32 else 50
    one = 1 << bits
    edges = [0, 1, 2, 3, one // 4, one // 2, one // 4 * 3, one - 3, one - 2, one - 1]
    mantissas = np.concatenate([edges, rng.integers(0, one, each)]).astype(np.uint64)
    ends = np.arange(1 << np.finfo(dtype).bits - bits, dtype=np.uint64)[:, None] << np.uint64(bits)
    words = (ends | mantissas).astype(f"u{dtype().itemsize}").reshape(-1)
    most = 110 if dtype is np.float32 else 750
    ranges = np.concatenate([rng.uniform(-size, size, 20_000) for size in (0.5, 2, 12, most)])
    return np.concatenate([words.view(dtype), ranges.astype(dtype)])


def units(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return errors in units in the last place. Infinity counts as the next power of two."""
    half = exact.dtype.type(2) ** (np.finfo(got.dtype).maxexp - 1)
    rounded = np.minimum(np.abs(exact), half).astype(got.dtype)
    ends = -2 * half, 2 * half
    difference = np.clip(got.astype(exact.dtype), *ends) - np.clip(exact, *ends)
    return np.abs(difference) / np.spacing(rounded)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(  # the others give the same bits, see below
    "instructions",
    [pytest.param(each, marks=[pytest.mark.more] * (i > 0)) for i, each in enumerate(INSTRUCTIONS)],
)
def test_error_is_below_two_units(
    instructions: str, name: str, builds: Callable[[str], Build]
) -> None:
    dtype, wider, _ = dtypes(name)
    x = numbers(dtype)
    got = builds(instructions)(name, x)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(wider))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    number = ~np.isnan(exact)
    x, got, exact = x[number], got[number], exact[number]
    errors = units(got, exact)
    worst = errors.argmax()
    assert errors[worst] < 2, f"{name}({x[worst]}) = {got[worst]}, not {exact[worst]}"
    if name.removesuffix("_64") in SIGNED:
        assert (np.signbit(got) == np.signbit(exact))[exact != 0].all()


INF, NAN = math.inf, math.nan
SPECIAL = {
    "exp": [(0, 1), (-0.0, 1), (89, INF), (INF, INF), (-104, 0), (-INF, 0)],
    "expm1": [(0, 0), (-0.0, -0.0), (-30, -1), (-INF, -1), (89, INF), (INF, INF)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (-1e-45, NAN), (-INF, NAN), (INF, INF)],
    "log1p": [(0, 0), (-0.0, -0.0), (-1, -INF), (-1.5, NAN), (-INF, NAN), (INF, INF)],
    "erfc": [(0, 1), (-0.0, 1), (11, 0), (INF, 0), (-11, 2), (-INF, 2)],
    "tanh": [(0, 0), (-0.0, -0.0), (30, 1), (INF, 1), (-30, -1), (-INF, -1)],
    "sinh": [(0, 0), (-0.0, -0.0), (90, INF), (INF, INF), (-90, -INF), (-INF, -INF)],
    "cosh": [(0, 1), (-0.0, 1), (90, INF), (INF, INF), (-90, INF), (-INF, INF)],
    "sqrt": [(0, 0), (-0.0, -0.0), (4, 2), (INF, INF), (-1, NAN)],
    "cos_turns": [(0, 1), (-0.0, 1), (0.5, -1), (-1.5, -1), (3e9, 1), (INF, NAN), (-INF, NAN)],
    "sin_turns": [(0, 0), (-0.0, -0.0), (0.25, 1), (-1.25, -1), (0.75, -1), (INF, NAN)],
}
# Where double overflows, or loses all digits, later.
SPECIAL_64 = {
    "exp_64": [(0, 1), (-0.0, 1), (709.7, math.exp(709.7)), (710, INF), (INF, INF), (-746, 0)],
    "expm1_64": [(0, 0), (-0.0, -0.0), (-40, -1), (-INF, -1), (710, INF), (INF, INF)],
    "log_64": [(1, 0), (0, -INF), (-0.0, -INF), (-5e-324, NAN), (-INF, NAN), (INF, INF)],
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_special_values(instructions: str, builds: Callable[[str], Build]) -> None:
    for name in EXACT:
        pairs = SPECIAL.get(name) or SPECIAL_64.get(name) or SPECIAL[name.removesuffix("_64")]
        x, expected = np.array([*pairs, (NAN, NAN)], dtypes(name)[0]).T.copy()
        got = builds(instructions)(name, x)
        np.testing.assert_array_equal(got, expected, err_msg=name)
        signs = np.signbit(got) == np.signbit(expected)
        assert signs[~np.isnan(expected)].all(), (name, x, got)


@pytest.mark.parametrize("name", EXACT)
def test_the_instructions_do_not_change_a_bit(name: str, builds: Callable[[str], Build]) -> None:
    """Nor does the position in the array: its last elements are computed one by one."""
    dtype, _, words = dtypes(name)
    x = numbers(dtype)
    expected = builds("baseline")(name, x)
    number = ~np.isnan(expected)

    def assert_same(got: np.ndarray) -> None:
        np.testing.assert_array_equal(np.isnan(got), ~number[-got.size :])
        same = got.view(words) == expected.view(words)[-got.size :]
        assert (same | ~number[-got.size :]).all()

    for size in range(1, 20):
        assert_same(builds("baseline")(name, x[-size:]))
    for instructions in ("avx2", "avx512"):
        assert_same(builds(instructions)(name, x))
        assert_same(builds(instructions)(name, x[1:]))


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_loops_become_vector_instructions(
    instructions: str, builds: Callable[[str], Build]
) -> None:
    """All of the functions, and every activation's value and gradient."""
    version = subprocess.run(["g++", "-dumpversion"], text=True, capture_output=True).stdout
    if int(version.split(".")[0]) < 12:  # Clang reports 4 here
        pytest.skip("says so of GCC 12 and newer ones")
    abroad = ABROAD | (
        {"Celu.forward_64"} if instructions == "baseline" else set()
    )  # a branch there
    assert set(loops()) - builds(instructions).vectorised == abroad


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
@pytest.mark.parametrize("without", [(), ("-DWITHOUT_INT128",)], ids=["int128", "halves"])
def test_upper_halves_of_products(without: tuple[str, ...], tmp_path: Path) -> None:
    """They make the random numbers, also where a compiler has no integers of 128 bits."""
    line = 'extern "C" uint64 high(uint64 a, uint64 b) { return math::high_product(a, b); }'
    source = kernel_source.source("generated_activations.cuh") + line
    command = [*COMPILER, *without, "-o", str(tmp_path / "high.so")]
    subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    high = ctypes.CDLL(str(tmp_path / "high.so")).high
    high.restype, high.argtypes = ctypes.c_uint64, [ctypes.c_uint64, ctypes.c_uint64]
    ends = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0xD2E7470EE14C6C93, 0xCA5A826395121157]
    random = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64).tolist()
    for a in [*ends, *random]:
        for b in (*ends, random[a % 1000]):
            assert high(a, b) == a * b >> 64
