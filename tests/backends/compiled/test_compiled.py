"""The compiled backend: what it is made of, on each instruction set, and where it is not there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import registered_networks
from comparisons import COMPARISONS
from comparisons.formulas import ELEMENTWISE, LOSS_METRICS, metric
from comparisons.samples import DTYPES, Sample
from comparisons.steps import give_gradients, make_arena
from digit_networks import digits, program_1, program_2

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.compiled.products import ours_is_faster
from gpunn.backends.contract.control import Control
from gpunn.backends.cupy.driver import card
from gpunn.backends.cupy.launch import kernel_source
from gpunn.backends.shared.geometry import Geometry

REASON = cpu_kernels.why_not()
UNWANTED = os.environ.get("GPUNN_BUILD") == "none"
built = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.mark.skipif(UNWANTED, reason="GPUNN_BUILD is none")
def test_the_kernels_were_built() -> None:
    """Without them, most of what is tested here and elsewhere is skipped."""
    assert REASON is None


@built
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


# -- what there is


@built
def test_every_formula_is_compiled() -> None:
    chosen = {choice for operation in cpu_kernels.library().operations for choice in operation[1:]}
    missing = {
        kind: set(names) - chosen
        for kind, names in kernel_source.formulas().items()
        if set(names) - chosen
    }
    assert not missing


class Performed(dict[Any, Any]):
    """Compiled operations, and which of them were performed."""

    def __init__(self, operations: Any) -> None:
        super().__init__({key: self._counting(key, value) for key, value in operations.items()})
        self.seen: set[Any] = set()

    def _counting(self, key: Any, operation: Any) -> Callable[..., None]:
        def perform(*arguments: Any) -> None:
            self.seen.add(key)
            operation(*arguments)

        perform.bind = operation.bind  # type: ignore[attr-defined]
        return perform


@built
def test_every_operation_is_compared_with_numpy() -> None:
    """With every type and formula that there is, and for each method that was overridden."""
    backend: Any = type(get_backend("compiled"))()
    backend.compiled_operations = performed = Performed(backend.compiled_operations)
    with backend.profile() as operations:
        for name, compare in COMPARISONS.items():
            for dtype in DTYPES:
                # The seed chooses an activation there, here some other alternative.
                for seed in range(len(ELEMENTWISE) if name == "convolution" else 2):
                    compare(backend, Sample(3, 33, dtype, seed=seed))
        for formula in LOSS_METRICS:  # a loop for each of them, where a card has one for all
            for dtype in DTYPES:
                metric(formula, backend, Sample(3, 33, dtype))
    assert performed.seen == set(backend.library.operations)
    own = {name for c in type(backend).__mro__ if "compiled" in c.__module__ for name in vars(c)}
    assert own & set(backend.operations) <= {operation.name for operation in operations}


@built
@pytest.mark.parametrize("name", COMPARISONS)
def test_more_numbers_than_a_thread_takes_at_once(name: str) -> None:
    """Which are 2^16: what is cut into pieces has a second one here, and a ragged one."""
    COMPARISONS[name](get_backend("compiled"), Sample(2_003, 33, "float32"))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The calls that each program repeats, in the order in which the programs are made."""
    seen: list[list[Any]] = []
    backend: Any = get_backend("compiled")
    plain = backend.replay_of
    monkeypatch.setattr(backend, "replay_of", lambda c: (seen.append(c), plain(c))[1], False)
    return seen


def of_python(calls: list[Any]) -> list[Any]:
    """Those of the calls that bring a program back to Python."""
    return [call for call in calls if not isinstance(call, cpu_kernels.library().Bound)]


def classic(backend: str) -> Any:
    """The network of textbooks: 2-2-3-2."""
    chain = [layers.Dense(n, activation="sigmoid") for n in (2, 3, 2)]
    model = gpunn.Sequential([layers.Input((2,)), *chain], backend=backend)
    model.compile("sgd", "mse")
    return model


@built
@pytest.mark.parametrize(
    ("make", "batch"),
    [(program_1, 10), (program_2, 32), (classic, 1)],
    ids=["784-16-16-10", "784-128-.2-10", "2-2-3-2"],
)
def test_a_step_is_one_program(make: Any, batch: int, steps: list[list[Any]]) -> None:
    """Of compiled calls alone: nothing of Python is between them, but for products that BLAS does
    faster. There are none on a CPU with AVX2."""
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
    # Each is multiplied by its input, its gradient by that, and by all but the first the gradient.
    expected = 3 * len(left) - (kernels[0] in left)
    assert [call.func.__name__ for call in of_python(calls)] == ["dot"] * expected
    assert chosen == "baseline" or expected == 0


@built
@registered_networks.unusual
def test_a_step_with_anything_that_is_registered_is_one_program(steps: list[list[Any]]) -> None:
    found = {}
    for case in registered_networks.CASES:
        model = registered_networks.network("compiled", "float32", *case)
        x, y = registered_networks.data(model)
        steps.clear()
        model.fit(x, y, batch_size=17, epochs=1, verbose=0)
        if len(steps) != 1 or of_python(steps[0]):
            found[str(case)] = steps[:]
    assert not found


@built
def test_a_program_performs_its_calls_in_order() -> None:
    """Bit for bit what they give one by one."""
    library = cpu_kernels.library()
    affine = library.operations["affine", "float32", "float32"]
    combine = library.operations["combine", "float32", "Product"]
    random, results = np.random.default_rng(0), []
    start = random.standard_normal(37).astype(np.float32)
    for together in (False, True):
        x, y = start.copy(), start.copy()
        calls = [
            affine.bind(x, 0.9, 0.1, x.size, False, y),
            combine.bind(x, y, x.size, False, y),
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


@built
@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_argument_is_named(what: str) -> None:
    call, message = REFUSED[what]
    x, out = np.ones(3, np.float32), np.zeros(3, np.float32)
    with pytest.raises(TypeError, match=message):
        call(x, out)
    assert not out.any()
    affine(x, out, False)
    assert out.tolist() == [2, 2, 2]


@built
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
    """What operations take and give."""

    x: Any  # (rows, columns), as y and out
    y: Any
    row: Any  # (columns,), as sums
    out: Any
    sums: Any
    square: Any  # (columns, columns)


OPERATIONS: dict[str, Callable[[Any, Arrays], None]] = {
    "activation": lambda b, a: b.bias_activation(a.x, a.row, gpunn.activations.Tanh(), a.out),
    "softmax": lambda b, a: b.bias_activation(a.x, None, gpunn.activations.Softmax(), a.out),
    "gradient": lambda b, a: b.activation_gradient(gpunn.activations.Tanh(), a.x, a.y, a.out),
    "sums": lambda b, a: b.column_sums(a.x, a.sums),
    "affine": lambda b, a: b.affine(a.x, 2.0, 1.0, a.out, accumulate=True),
    "combine": lambda b, a: b.combine("Larger", a.x, a.y, a.out),
    "columns": lambda b, a: b.copy_columns(a.x, 0, a.out, 0, a.x.shape[1]),
    "prelu": lambda b, a: b.prelu(a.x, a.row, a.out),
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


@built
@pytest.mark.parametrize("name", OPERATIONS)
@hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None)
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


# -- instruction sets


def run_digests(instructions: str, *arguments: str, **environment: str) -> Any:
    """What `compiled_digests.py` prints."""
    done = subprocess.run(
        [sys.executable, "compiled_digests.py", *arguments],
        cwd=Path(__file__).parents[2] / "support",
        env={**os.environ, "GPUNN_INSTRUCTIONS": instructions, **environment},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


digests_of = cache(run_digests)


@pytest.fixture(params=cpu_kernels.INSTRUCTIONS)
def instructions(request: pytest.FixtureRequest) -> str:
    """Each set that this machine has."""
    if REASON is not None:
        pytest.skip(REASON)
    if request.param not in cpu_kernels.available():
        pytest.skip(f"this machine has no {request.param}, or it was not built for it")
    return request.param


# What has products in it: these add up with fused multiplications where there are any.
WITH_PRODUCTS = {
    "convolution", "products", "rounded_products", "persistent_steps", "persistent_updates",
}  # fmt: skip


def test_each_instruction_set(instructions: str) -> None:
    """A training and every operation agree with NumPy, and all but products have the same bits."""
    found = digests_of(instructions)
    assert found["instructions"] == instructions
    assert found["digests"].keys() == COMPARISONS.keys()
    expected = digests_of(cpu_kernels.available()[0])["digests"]
    differing = {name for name, digest in found["digests"].items() if digest != expected[name]}
    assert differing <= WITH_PRODUCTS


@built
def test_an_instruction_set_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNN_INSTRUCTIONS", "avx1024")
    with pytest.raises(RuntimeError, match="must be one of baseline, avx2, avx512; got 'avx1024'"):
        cpu_kernels.library()
    assert "avx1024" in str(cpu_kernels.why_not())


# -- threads


def large_operations() -> dict[str, str]:
    """Digests of what operations give that are worth several threads."""
    backend, found = get_backend("compiled"), {}
    random = np.random.default_rng(0)
    x = random.standard_normal((1103, 1021), np.float32)
    w, out = random.standard_normal((1021, 67), np.float32), np.empty_like(x)
    mean, variance, factors = random.random((3, 1021), np.float32)
    images = x[:, :1020].reshape(1103, 10, 6, 17).copy()
    geometry = Geometry.fit((10, 6), (2, 2), (2, 2), "valid")
    pooled, product = np.empty((1103, 5, 3, 17), np.float32), np.empty((1103, 67), np.float32)
    mask, totals = np.empty(x.shape, bool), np.zeros(3)
    labels = np.arange(len(x), dtype=np.int32) % 1021
    entropy = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    sample = Sample(1103, 1021)

    def note(name: str, *arrays: Any) -> None:
        bits = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        found[name] = hashlib.sha256(bits).hexdigest()

    for formula in (gpunn.activations.Gelu(), gpunn.activations.Softmax()):
        backend.bias_activation(x.copy(), mean, formula, out)
        note(f"{formula}", out)
    backend.activation_gradient(gpunn.activations.Tanh(), x, out.copy(), out)
    note("gradient", out)
    backend.loss(entropy, labels, x, None, 0.5, out, totals)
    note("loss", out, totals)
    backend.dropout(x, 0.3, 5, 6, Control(backend), out, mask)
    note("dropout", out, mask)
    backend.column_sums(x, out[0])
    note("column sums", out[0])
    backend.matmul(x, w, product)
    note("product", product)
    backend.matmul(x, product, w, transpose_a=True)
    note("transposed product", w)
    flat = x[:, :, None]
    backend.batch_statistics(flat, 0.9, mean, variance, factors.copy(), factors.copy())
    backend.normalize(flat, mean, variance, factors, None, 0.1, out[:, :, None])
    note("batch normalization", mean, variance, out)
    backend.max_pooling(images, geometry, pooled)
    note("pooling", pooled)
    for optimizer in (gpunn.optimizers.Adam(global_clipnorm=0.1), gpunn.optimizers.Lamb()):
        made, control = make_arena(backend, sample, optimizer), Control(backend)
        give_gradients(made, sample)
        optimizer.step(made, control)
        note(optimizer.name, *(parameter.value for parameter in made.parameters))
    return found


@built
def test_the_number_of_threads_makes_no_difference() -> None:
    """Bit for bit, in operations that are large enough to be shared out."""
    library, found = cpu_kernels.library(), []
    try:
        for count in (1, 3):
            library.set_threads(count)
            found.append(large_operations())
    finally:
        library.set_threads(1)
    assert found[0] == found[1]


# -- without the library


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch, no_backend_yet: None) -> Iterator[None]:
    """A process that never saw a backend, on a machine without card and compiled kernels."""
    monkeypatch.setattr(cpu_kernels, "is_built", lambda which: False)
    for name in ("GPUNN_BACKEND", "GPUNN_INSTRUCTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(card, "why_not", lambda: "There is no card.")
    known = (cpu_kernels.load, cpu_kernels.of_this_cpu)
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


def test_without_it_numpy_takes_over(hidden: None, capsys: pytest.CaptureFixture[str]) -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1)])
    assert type(model.backend) is type(get_backend("numpy"))
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "using the NumPy backend. There is no card. " in said
    assert cpu_kernels.why_not() is not None and str(cpu_kernels.why_not()) in said


def test_without_it_to_ask_for_it_raises(hidden: None) -> None:
    for ask in (gpunn.use_backend, get_backend):
        with pytest.raises(RuntimeError, match="compiled kernels were not built"):
            ask("compiled")
    assert get_backend().name == "numpy"
