"""The compiled backend: its operations, and its steps as programs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import registered_networks
from comparisons import COMPARISONS
from comparisons.formulas import ELEMENTWISE, LOSS_METRICS, metric
from comparisons.samples import DTYPES, Sample
from digit_networks import digits, program_1, program_2

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.compiled.products import ours_is_faster
from gpunn.backends.contract.control import Control
from gpunn.backends.cupy.launch import kernel_source

pytestmark = pytest.mark.skipif(bool(cpu_kernels.why_not()), reason=str(cpu_kernels.why_not()))


@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("limit", ["float32", "float64"])
def test_what_is_finite_is_what_numpy_finds(given: str, limit: str) -> None:
    most, ours, theirs = float(np.finfo(limit).max), get_backend("compiled"), get_backend("numpy")
    with np.errstate(all="ignore"):
        odd = np.array([0.0, 1e19, 1e39, -1e300, np.inf, -np.inf, np.nan], given)
    for value in [*odd, np.finfo(given).max, np.finfo(given).min]:
        for size in (1, 16, 37):
            for place in (0, size - 1):
                x = np.ones(size, given)
                x[place] = value
                with np.errstate(over="ignore"):
                    found = theirs.within(x, most)
                assert ours.within(x, most) is found is (abs(float(value)) <= most)


# -- formulas and operations


def test_every_formula_is_compiled() -> None:
    chosen = {choice for operation in cpu_kernels.library().operations for choice in operation[1:]}
    missing = {
        kind: set(names) - chosen
        for kind, names in kernel_source.formulas().items()
        if set(names) - chosen
    }
    assert not missing


class Performed(dict[Any, Any]):
    """Compiled operations that record which of them were performed."""

    def __init__(self, operations: Any) -> None:
        super().__init__({key: self._counting(key, value) for key, value in operations.items()})
        self.seen: set[Any] = set()

    def _counting(self, key: Any, operation: Any) -> Callable[..., None]:
        def perform(*arguments: Any) -> None:
            self.seen.add(key)
            operation(*arguments)

        perform.bind = operation.bind  # type: ignore[attr-defined]
        return perform


def test_every_operation_is_compared_with_numpy() -> None:
    """Every type and formula is compared, and each overridden method."""
    backend: Any = type(get_backend("compiled"))()
    backend.compiled_operations = performed = Performed(backend.compiled_operations)
    with backend.profile() as operations:
        for name, compare in COMPARISONS.items():
            for dtype in DTYPES:
                # The seed chooses an activation there, and another alternative here.
                for seed in range(len(ELEMENTWISE) if name == "convolution" else 2):
                    compare(backend, Sample(3, 33, dtype, seed=seed))
        for formula in LOSS_METRICS:  # one loop for each, where a GPU has one for all
            for dtype in DTYPES:
                metric(formula, backend, Sample(3, 33, dtype))
    # See test_loops.py, test_joining.py, and test_determinism.py in tests/training.
    elsewhere = ("loop", "matmul_update", "next_pass", "scatter_update")
    here = {key for key in backend.library.operations if key[0] not in elsewhere}
    assert {key for key in performed.seen if key[0] not in elsewhere} == here
    own = {name for c in type(backend).__mro__ if "compiled" in c.__module__ for name in vars(c)}
    assert own & set(backend.operations) <= {operation.name for operation in operations}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", COMPARISONS)
def test_more_numbers_than_a_thread_takes_at_once(name: str) -> None:
    """A thread takes 2^16 elements: larger work has a second piece here, and a ragged one."""
    COMPARISONS[name](get_backend("compiled"), Sample(2_003, 33, "float32"))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The calls that each program repeats, in the order in which the programs are created."""
    seen: list[list[Any]] = []
    backend: Any = get_backend("compiled")
    plain = backend.replay_of
    monkeypatch.setattr(backend, "replay_of", lambda c: (seen.append(c), plain(c))[1], False)
    return seen


def of_python(calls: list[Any]) -> list[Any]:
    """Return the calls that go back to Python."""
    return [call for call in calls if not isinstance(call, cpu_kernels.library().Bound)]


def classic(backend: str) -> Any:
    """The textbook network 2-2-3-2."""
    chain = [layers.Dense(n, activation="sigmoid") for n in (2, 3, 2)]
    model = gpunn.Sequential([layers.Input((2,)), *chain], backend=backend)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("make", "batch"),
    [(program_1, 10), (program_2, 32), (classic, 1)],
    ids=["784-16-16-10", "784-128-.2-10", "2-2-3-2"],
)
def test_a_step_is_one_program(make: Any, batch: int, steps: list[list[Any]]) -> None:
    """A step consists of compiled calls only, except for products that are faster with BLAS. There
    are none of these on a CPU with AVX2."""
    model = make(backend="compiled")
    x, y = digits(4 * batch)
    if make is classic:
        x, y = np.ones((4, 2)), np.ones((4, 2))
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0)
    (calls,) = steps
    assert len(calls) > 10
    kernels = [w.shape for w in model.get_weights() if w.ndim == 2]
    chosen = cpu_kernels.chosen()
    left = [shape for shape in kernels if not ours_is_faster(chosen, batch, *reversed(shape))]
    # Forward pass, weight gradient and, for all but the first, input gradient: one product each.
    expected = 3 * len(left) - (kernels[0] in left)
    assert [call.func.__name__ for call in of_python(calls)] == ["dot"] * expected
    assert chosen == "baseline" or expected == 0


@registered_networks.unusual
def test_a_step_with_anything_that_is_registered_is_one_program(steps: list[list[Any]]) -> None:
    """Only the layers that are listed, with the reason, go back to Python in a step."""
    by_functions = set()
    for case in registered_networks.CASES:
        model = registered_networks.network("compiled", "float32", *case)
        x, y = registered_networks.data(model)
        steps.clear()
        model.fit(x, y, batch_size=17, epochs=1, verbose=0)
        (calls,) = steps
        if of_python(calls):
            by_functions.add(case[1])
    assert by_functions == registered_networks.WITH_ARRAY_FUNCTIONS


def test_a_program_performs_its_calls_in_order() -> None:
    """The results are bitwise those of the individual calls."""
    library = cpu_kernels.library()
    affine = library.operations["affine", "float32", "float32"]
    product = library.operations["loop", "float32", "e e; multiply 0 1; 2"]
    random, results = np.random.default_rng(0), []
    start = random.standard_normal(37).astype(np.float32)
    for together in (False, True):
        x, y = start.copy(), start.copy()
        calls = [
            affine.bind(x, 0.9, 0.1, x.size, False, y),
            product.bind(x, y, np.zeros(1), 1, x.size, False, y),
            affine.bind(y, -0.5, 0.3, x.size, True, x),
        ]
        if together:
            library.Program(calls).run(50)
        else:
            for _ in range(50):
                for call in calls:
                    call()
        results.append((x.tobytes(), y.tobytes()))
    assert results[0] == results[1] != (start.tobytes(), start.tobytes())


def test_a_long_run_of_short_steps_releases_the_gil() -> None:
    """Without forced switches, another thread runs only if the GIL is released."""
    library = cpu_kernels.library()
    x = np.ones(3, np.float32)
    step = library.operations["affine", "float32", "float32"].bind(x, 1.0, 0.0, 3, False, x)
    program, waits, ran = library.Program([step]), threading.Lock(), threading.Event()

    def wait() -> None:
        with waits:
            ran.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        program.run(1)
        with waits:
            thread = threading.Thread(target=wait)
            thread.start()  # until it waits for the lock
        program.run(10_000_000)
        assert ran.is_set()
        thread.join()
    finally:
        sys.setswitchinterval(before)


# -- arguments


def affine(x: Any, out: Any, *more: Any) -> None:
    cpu_kernels.library().operations["affine", "float32", "float32"](x, 2.0, 0.0, 3, *more, out)


REFUSED: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "a list": (lambda x, out: affine([1.0], out, False), "argument 1 is list, not an array"),
    "a number": (lambda x, out: affine(x, 7, False), "argument 6 is int, not an array"),
    "another dtype": (
        lambda x, out: affine(x.astype("f8"), out, False), "argument 1 is float64, not float32"
    ),
    "another byte order": (
        lambda x, out: affine(x.astype(">f4"), out, False), "argument 1 is >f4, not float32"
    ),
    "too few": (lambda x, out: affine(x, out), "affine takes 6 arguments, not 5"),
    "too many": (lambda x, out: affine(x, out, True, False), "affine takes 6 arguments, not 7"),
    "a stride": (
        lambda x, out: affine(np.zeros(6, "f4")[::2], out, False), "argument 1 is not C-contiguous"
    ),
    "not aligned": (
        lambda x, out: affine(np.zeros(13, "u1")[1:].view("f4"), out, False),
        "argument 1 is not C-contiguous and aligned",
    ),
    "read only": (
        lambda x, out: affine(x, np.broadcast_to(out, (3,)), False),
        "argument 6 cannot be written to",
    ),
    "text for a number": (
        lambda x, out: cpu_kernels.library().operations["affine", "float32", "float32"](
            x, "2", 0.0, 3, False, out
        ),
        "must be real number, not str",
    ),
    "a fraction for a count": (
        lambda x, out: cpu_kernels.library().operations["affine", "float32", "float32"](
            x, 2.0, 0.0, 3.5, False, out
        ),
        "'float' object cannot be interpreted as an integer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_argument_is_named(what: str) -> None:
    call, message = REFUSED[what]
    x, out = np.ones(3, np.float32), np.zeros(3, np.float32)
    with pytest.raises(TypeError, match=message):
        call(x, out)
    assert not out.any()
    affine(x, out, False)
    assert out.tolist() == [2, 2, 2]


def test_a_program_takes_bound_calls_alone() -> None:
    library = cpu_kernels.library()
    with pytest.raises(TypeError, match="a program is made of bound calls"):
        library.Program([print])
    with pytest.raises(TypeError, match="affine takes 6 arguments, not 1"):
        library.operations["affine", "float32", "float32"].bind(np.ones(3))


# -- any shape

PRIMES = (0, 1, 2, 3, 7, 13, 31, 61, 127)


@dataclass
class Arrays:
    """The inputs and outputs of operations."""

    x: Any  # (rows, columns), like y and out
    y: Any
    row: Any  # (columns,), like sums
    out: Any
    sums: Any
    square: Any  # (columns, columns)


OPERATIONS: dict[str, Callable[[Any, Arrays], None]] = {
    "activation": lambda b, a: b.bias_activation(a.x, a.row, gpunn.activations.Tanh(), a.out),
    "softmax": lambda b, a: b.bias_activation(a.x, None, gpunn.activations.Softmax(), a.out),
    "gradient": lambda b, a: b.activation_gradient(gpunn.activations.Tanh(), a.x, a.y, a.out),
    "sums": lambda b, a: b.column_sums(a.x, a.sums),
    "affine": lambda b, a: b.affine(a.x, 2.0, 1.0, a.out, accumulate=True),
    "columns": lambda b, a: b.copy_columns(a.x, 0, a.out, 0, a.x.shape[1]),
    "product": lambda b, a: b.matmul(a.x, a.y, a.square, transpose_a=True),
    "normalize": lambda b, a: b.normalize(
        a.x[:, :, None], a.row, a.row**2, None, a.row, 0.1, a.out[:, :, None]
    ),
    "statistics": lambda b, a: b.batch_statistics(
        a.x[:, :, None], 0.9, a.sums, a.square[0], np.ones_like(a.row), np.ones_like(a.row)
    ),
    "layer_norm": lambda b, a: b.layer_norm(
        a.x, a.row, None, 0.1, np.empty(len(a.x), a.x.dtype), np.empty(len(a.x), a.x.dtype), a.out
    ),
    "loss": lambda b, a: b.loss(
        gpunn.losses.MeanSquaredError(), a.x, a.y, None, 0.5, a.out, np.zeros(3)
    ),
    "dropout": lambda b, a: b.dropout(a.x, 0.5, 3, 1, Control(b), a.out, np.empty(a.x.shape, bool)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@hypothesis.settings(max_examples=25, derandomize=True, database=None)
@hypothesis.given(
    rows=st.sampled_from(PRIMES), columns=st.sampled_from(PRIMES[1:]), dtype=st.sampled_from(DTYPES)
)
def test_any_shape(name: str, rows: int, columns: int, dtype: str) -> None:
    random = np.random.default_rng(rows)
    x, y = random.standard_normal((2, rows, columns)).astype(dtype)
    row = random.standard_normal(columns).astype(dtype)
    results: list[Any] = []
    for backend in ("numpy", "compiled"):
        out, sums, square = np.ones_like(x), np.ones_like(row), np.ones((columns, columns), dtype)
        arrays = Arrays(x.copy(), y.copy(), row.copy(), out, sums, square)
        with np.errstate(all="ignore"):
            OPERATIONS[name](get_backend(backend), arrays)
        results.append((arrays.out, sums, square))
    limit = {"float32": 1e-6, "float64": 1e-14}[dtype] * np.sqrt(columns + rows)
    for a, b in zip(*results, strict=True):
        size = np.linalg.norm(a[np.isfinite(a)])
        np.testing.assert_allclose(b, a, rtol=0, atol=limit * size, equal_nan=True)
