"""Tests that need a GPU: graphs, memory, and the same bits in every process.

``make gpu`` runs these tests on the machine's GPU (marker ``gpu``). The ordinary test run uses the
emulated GPU, which keeps the tests working. They need only NumPy, CuPy and pytest.
"""

from __future__ import annotations

import gc
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from comparisons import COMPARISONS
from comparisons.samples import DTYPES, VALUES, Sample
from gpu_programs import PROGRAMS, SPARSE, trained
from little_memory import limited, refusal, used
from properties.pairwise import pairwise

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.backend import LAUNCH_MODES, Backend
from gpunn.backends.cupy.launch.protocols import Epilogue, Matmul
from gpunn.backends.shared.precision import PRECISIONS


class _Eager:
    """A program without a graph."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.step = step

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()


HIDDEN_LAYERS: dict[str, Callable[[], list[Any]]] = {
    "dense": lambda: [layers.Dense(16, activation="relu"), layers.Dropout(0.3)],
    "a scan": lambda: [layers.Reshape((6, 2)), layers.LSTM(5)],
}


@pytest.mark.parametrize(
    ("mode", "hidden"), [*((mode, "dense") for mode in LAUNCH_MODES), ("persistent", "a scan")]
)
def test_a_training_in_each_launch_mode_is_that_of_numpy(
    gpu: str, mode: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a persistent kernel the steps of a scan are a loop."""
    monkeypatch.setattr(get_backend(gpu), "launch_mode", mode)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(84, 12)).astype(np.float32), random.integers(0, 5, 84)
    results = []
    for backend in ("numpy", gpu):
        gpunn.utils.set_random_seed(3)
        chain = [layers.Input((12,)), *HIDDEN_LAYERS[hidden]()]
        model = gpunn.Sequential(
            [*chain, layers.Dense(5, activation="softmax")], backend=backend
        )
        model.compile("adam", SPARSE)
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        results.append([*model.get_weights(), model.predict(x, verbose=0)])
    for expected, result in zip(*results, strict=True):
        assert np.linalg.norm(result - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("pinned", [False, True])
def test_the_caller_may_change_what_was_written(gpu: str, pinned: bool) -> None:
    """A copy that is made behind long kernels has been made when the call returns."""
    backend = get_backend(gpu)
    size = 1 << (24 if gpu == "cupy" else 18)  # a megabyte or more
    make = backend.pinned if pinned else np.empty
    batch, x = make((size,), np.float32), backend.zeros((size,), np.float32)
    for _ in range(50):
        backend.affine(x, 0.5, 1.0, x)
    batch[:] = 1
    backend.write(x, batch)
    uploaded = backend.upload(batch)
    batch[:] = 0
    for array in (x, uploaded):
        assert (backend.read(array) == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", LAUNCH_MODES)
def test_nan_goes_through_a_relu(
    gpu: str, mode: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the library's ReLU too: it is used only where it treats NaN as the kernels do."""
    backend = get_backend(gpu)
    monkeypatch.setattr(backend, "launch_mode", mode)
    if gpu == "emulated":
        monkeypatch.setattr(backend.blas, "epilogues", ("bias", "relu"))  # type: ignore[attr-defined]
    own, random, relu = backend.isolated(), np.random.default_rng(0), gpunn.activations.relu
    for m, k, n in [(1, 1, 1), (2, 3, 4), (32, 784, 128), (33, 127, 65)]:
        a, b, bias = (random.normal(size=shape).astype(dtype) for shape in ((m, k), (k, n), (n,)))
        a[m // 2, 0] = bias[n // 3] = np.nan
        x, w, vector = map(own.upload, (a, b, bias))
        out = own.zeros((m, n), dtype)

        def step(x: Any = x, w: Any = w, vector: Any = vector, out: Any = out) -> None:
            own.matmul(x, w, out)
            own.bias_activation(out, vector, relu, out)

        program = own.program(step, True)
        for _ in range(2):  # performed, replayed
            program.run(1)
            expected = a @ b + bias
            np.testing.assert_array_equal(np.isnan(own.read(out)), np.isnan(expected))
            own.write(out, np.zeros((m, n), dtype))


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("program", PROGRAMS)
def test_captured_steps_give_the_bits_of_eager_ones(
    gpu: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = get_backend(gpu)
    monkeypatch.setattr(backend, "launch_mode", "plain")
    captured = trained(gpu, program)
    assert trained(gpu, program, watched=True) == captured
    monkeypatch.setattr(type(backend), "program", lambda self, step, *_: _Eager(step))
    assert trained(gpu, program) == captured


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "program",
    [pytest.param(p, marks=[pytest.mark.more] * (i % 2)) for i, p in enumerate(PROGRAMS)],
)
def test_many_steps_in_a_launch_give_the_bits_of_single_ones(
    gpu: str, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the launch mode that the rule chooses."""
    monkeypatch.setattr(get_backend(gpu), "launch_mode", None)
    assert trained(gpu, program, watched=True) == trained(gpu, program)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("name", COMPARISONS)
def test_kernels_agree_with_numpy(gpu: str, name: str) -> None:
    """Run the ordinary run's comparisons of every kernel on the GPU instead of the CPU.

    `test_kernels_on_cpu.py` compares the emulated GPU on many shapes.
    """
    shapes = [(33, 31), (2, 10), (97, 1000), (2000, 33)]
    some = slice(1 if gpu == "emulated" else None)
    for (rows, columns), dtype, values in itertools.product(
        shapes[some], DTYPES[some], VALUES[some]
    ):
        COMPARISONS[name](get_backend(gpu), Sample(rows, columns, dtype, values))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_is_captured_as_it_is_performed(gpu: str, dtype: str) -> None:
    """cuBLAS's own product, called directly and inside a capture, gives the same bits."""
    backend, random = get_backend(gpu).isolated(), np.random.default_rng(0)
    for m, k, n in [(1, 1, 1), (32, 784, 128), (10, 16, 10), (33, 127, 65), (128, 1024, 1)]:
        for options in range(8):
            *transposes, accumulate = how = tuple(bool(options & bit) for bit in (1, 2, 4))
            shapes = [(k, m) if transposes[0] else (m, k), (n, k) if transposes[1] else (k, n)]
            a, b = (backend.empty(shape, dtype) for shape in shapes)
            out, expected = backend.zeros((m, n), dtype), backend.zeros((m, n), dtype)
            program = backend.program(partial(backend.matmul, a, b, out, *how))
            host = np.zeros((m, n))
            for steps in (1, 1, 3):  # performed, captured, replayed
                values = [random.normal(size=shape).astype(dtype) for shape in shapes]
                for array, value in zip((a, b), values, strict=True):
                    backend.write(array, value)
                program.run(steps)
                for _ in range(steps):
                    backend.matmul(a, b, expected, *how)
                x, y = (
                    (v.T if t else v).astype(float) for v, t in zip(values, transposes, strict=True)
                )
                host = host + steps * (x @ y) if accumulate else x @ y
                result = backend.read(out)
                np.testing.assert_array_equal(result, backend.read(expected))
                error = np.linalg.norm(result - host) / np.linalg.norm(host)
                assert error < {"float32": 3e-6, "float64": 1e-14}[dtype]


@pytest.mark.parametrize("kind", ["bias", "relu", "bias_gradient"])
def test_a_product_with_an_epilogue_is_captured_as_it_is_performed(
    gpu: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the library supports it; a GPU may have none. Includes rounded factors."""
    backend, random = get_backend(gpu), np.random.default_rng(0)
    blas = backend.blas  # type: ignore[attr-defined]
    if gpu == "emulated":
        monkeypatch.setattr(blas, "epilogues", (kind,))
    for precision in (None, *blas.precisions):
        for m, k, n in [(1, 1, 1), (32, 784, 128), (10, 16, 10), (33, 127, 65), (784, 32, 128)]:
            transpose = kind == "bias_gradient"  # of x, as a layer requests it
            values = random.normal(size=(m, k)), random.normal(size=(k, n)), random.normal(size=n)
            x, y, vector = (backend.upload(v.astype(np.float32)) for v in values)
            x = backend.upload(values[0].T.astype(np.float32)) if transpose else x
            out = backend.zeros((m, n), np.float32)
            epilogue = Epilogue(kind, vector)
            asked = Matmul(x, y, out, transpose, precision=precision, epilogue=epilogue)
            if not blas.offers(asked):
                continue
            results = []
            blas(asked)
            replay, _ = backend.capture(partial(blas, asked), 1)  # type: ignore[attr-defined]
            for again in (False, True):
                if again:
                    backend.write(out, np.zeros((m, n), np.float32))
                    replay()
                results.append((backend.read(out), backend.read(vector)))
            for first, second in zip(*results, strict=True):
                np.testing.assert_array_equal(first, second)
            expected = values[0] @ values[1] + (0 if transpose else values[2])
            expected = np.maximum(expected, 0) if kind == "relu" else expected
            beside = values[1].sum(0) if transpose else values[2]
            allowed = 3e-6 if precision is None else 2.0 ** -PRECISIONS[precision]
            for result, right in zip(results[0], (expected, beside), strict=True):
                assert np.linalg.norm(result - right) <= allowed * max(np.linalg.norm(right), 1)


@pytest.mark.in_turn(2)
def test_two_processes_train_to_the_same_bits(gpu: str) -> None:
    program = "784-128-dropout-10, Adam"
    train = f"import gpu_programs; print(gpu_programs.trained({gpu!r}, {program!r}))"
    command = [sys.executable, "-c", train]
    outcomes = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert outcomes[0] == outcomes[1] and outcomes[0].strip() == trained(gpu, program)


def _free(backend: Backend) -> int:
    gc.collect()
    backend.synchronize()
    free = backend.free_bytes()
    assert free is not None
    return free


@pytest.mark.more
def test_a_thousand_fits_leave_the_memory_flat(gpu: str) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(14, 6)).astype(np.float32), random.integers(0, 3, 14)
    model = gpunn.Sequential([layers.Input((6,)), layers.Dense(3)], backend=gpu)
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)

    def fit(times: int) -> int:
        for _ in range(times):
            model.fit(x, y, batch_size=4, verbose=0)
        return _free(model.backend)

    before, arrays = fit(20), used(model.backend)
    # The whole GPU is queried, and its driver allocates memory in large pieces.
    assert before - fit(1000) <= 16 << 20
    assert used(model.backend) <= arrays


def _wide(gpu: str, hidden: list[Any]) -> Any:
    model = gpunn.Sequential(
        [layers.Input((300,)), *hidden, layers.Dense(4, activation="softmax")], backend=gpu
    )
    model.compile("adam", SPARSE, metrics=["accuracy"])
    return model


HIDDEN: dict[str, Callable[[], list[Any]]] = {
    "dropout": lambda: [layers.Dense(300, activation="tanh"), layers.Dropout(0.5)],
    "narrow": lambda: [layers.Dense(5, activation="relu")],
    "none": list,
}
CALLS: dict[str, Callable[[Any, np.ndarray, np.ndarray, int], Any]] = {
    "fit": lambda model, x, y, size: model.fit(x, y, batch_size=size, verbose=0),
    "fit on batches": lambda model, x, y, size: model.fit([(x[:size], y[:size])], verbose=0),
    "train_on_batch": lambda model, x, y, size: model.train_on_batch(x[:size], y[:size]),
    "evaluate": lambda model, x, y, size: model.evaluate(x, y, batch_size=size, verbose=0),
    "predict": lambda model, x, y, size: model.predict(x, batch_size=size, verbose=0),
}


SHORTAGES = {"call": [*CALLS], "hidden": [*HIDDEN], "spare": [2_000_000, 4_850_000]}
"""What there is no room for; the second number of bytes has room for the input."""
EVERY_TWO = [tuple(row.values()) for row in pairwise(SHORTAGES)]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("call", "hidden", "spare"),
    [
        pytest.param(*row, marks=[] if row in EVERY_TWO else [pytest.mark.more])
        for row in itertools.product(*SHORTAGES.values())
    ],
)
def test_out_of_memory_names_the_batch_size_and_one_that_fits(
    gpu: str, call: str, hidden: str, spare: int
) -> None:
    model = _wide(gpu, HIDDEN[hidden]())
    x, y = np.ones((4000, 300), np.float32), np.arange(4000) % 4
    CALLS[call](model, x[:8], y[:8], 8)
    with limited(model.backend, x.nbytes + spare):
        before = used(model.backend)
        error = refusal(lambda: CALLS[call](model, x, y, 4000))
        assert f"The {gpu} backend ran out of memory with batch_size=4000." in error
        each, free, fits = (
            int(n.replace(",", "")) for n in re.findall(r"[\d,]+(?= bytes| are| would)", error)
        )
        # The memory of the attempt is free again, except for y.
        assert used(model.backend) - before < 50_000
        assert free / 2 < fits * each <= free or fits == 2048
        CALLS[call](model, x, y, fits)


def test_a_model_survives_running_out_of_memory(gpu: str) -> None:
    """The memory of the attempt is released, and training continues unaffected."""
    x, y = np.ones((4000, 300), np.float32), np.arange(4000) % 4
    weights = []
    for attempt in (False, True):
        gpunn.utils.set_random_seed(1)
        model = _wide(gpu, HIDDEN["narrow"]())
        model.fit(x[:60], y[:60], batch_size=8, verbose=0)
        before = used(model.backend)
        if attempt:
            training = model._trainer.training.backend
            training.scratch((100_000,), np.float32, "work array")
            with limited(model.backend, x.nbytes + 100_000):
                refusal(lambda: model.train_on_batch(x, y))  # noqa: B023  called at once
            assert used(model.backend) <= before
        model.fit(x[:60], y[:60], batch_size=8, verbose=0)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_data_that_does_not_fit_is_named(gpu: str) -> None:
    model = _wide(gpu, [])
    x, y = np.ones((4000, 300), np.float32), np.arange(4000) % 4
    model.fit(x[:8], y[:8], batch_size=8, verbose=0)
    with limited(model.backend, 1_000_000):
        error = refusal(lambda: model.fit(x, y, verbose=0))
    assert error.startswith(f"x does not fit into the memory of the {gpu} backend: ")
    assert "(4000, 300), 4,800,000 bytes" in error
    with limited(model.backend, x[:1].nbytes + 600):
        error = refusal(lambda: model.predict(x[:1], verbose=0))
    assert "with batch_size=1." in error and "none fits" in error
