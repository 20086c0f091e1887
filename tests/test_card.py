"""What a machine without a usable card is told, and what cuBLAS would be told on one with."""

from __future__ import annotations

import ctypes
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import emulated
import numpy as np
import pytest
from machines import COMPLETE, INSTALL_12, LACKING

import gpunn
from gpunn.backends import card, cuda, kernel_source


def _forget() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.split(".")[0] in ("cupy", "cuda")]
    return {name: sys.modules.pop(name) for name in names}


@pytest.mark.parametrize("name", LACKING | COMPLETE)
def test_one_line_says_what_is_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = (LACKING | COMPLETE)[name]
    machine.write(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.syspath_prepend(tmp_path)
    kept = _forget()
    try:
        assert card.why_not.__wrapped__() == machine.line
    finally:
        _forget()
        sys.modules.update(kept)


def test_a_cupy_without_metadata_is_told_of_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(LACKING["CuPy broken"], distributions=()).write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reason = card.why_not.__wrapped__()
    assert reason is not None and reason.endswith(f"): {INSTALL_12}.")


def _gemm(real: Any) -> Any:
    """cublas<t>gemm_v2_64 as its documentation describes it, on host memory."""
    pointer, size = ctypes.c_void_p, ctypes.c_int64

    def gemm(
        handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int,
        b: int, ldb: int, beta: Any, c: int, ldc: int,
    ) -> int:  # fmt: skip
        def columns(address: int, rows: int, count: int, stride: int) -> np.ndarray:
            flat = np.ctypeslib.as_array((real * (stride * count)).from_address(address))
            return flat.reshape(count, stride).T[:rows]

        op_a = columns(a, k, m, lda).T if transa else columns(a, m, k, lda)
        op_b = columns(b, n, k, ldb).T if transb else columns(b, k, n, ldb)
        out = columns(c, m, n, ldc)
        out[...] = alpha[0] * (op_a @ op_b) + (beta[0] * out if beta[0] else 0)
        return 0

    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int, pointer, ctypes.c_int, ctypes.c_int, size, size, size, ctypes.POINTER(real),
        pointer, size, pointer, size, ctypes.POINTER(real), pointer, size,
    )  # fmt: skip
    function = prototype(gemm)

    def call(*arguments: Any) -> int:
        emulated.RECORDER.perform(lambda: function(*arguments))
        return 0

    return call


class _Stream:
    def __init__(self, non_blocking: bool) -> None:
        assert non_blocking, "others cannot be captured"
        self.ptr, self.used = 0, False

    def use(self) -> None:
        self.used = True

    def synchronize(self) -> None:
        emulated.RECORDER.synchronize()

    def begin_capture(self) -> None:
        emulated.RECORDER.recording = []

    def end_capture(self) -> Any:
        recorded, emulated.RECORDER.recording = emulated.RECORDER.recording, None

        def launch(stream: _Stream) -> None:
            assert stream is self
            for work in recorded or []:
                work()

        return SimpleNamespace(launch=launch)


class _Cupy(emulated.ArrayModule):
    """CuPy's names for what `gpunn.backends.cuda` uses, over what `emulated` has."""

    def __init__(self) -> None:
        device = SimpleNamespace(compute_capability="61", attributes={"MultiProcessorCount": 1})
        self.cuda = SimpleNamespace(
            Device=lambda: device,
            Stream=_Stream,
            MemoryPool=lambda: SimpleNamespace(malloc=None),
            using_allocator=lambda allocator: nullcontext(),
        )

    def asnumpy(self, array: Any, stream: _Stream) -> np.ndarray:
        assert stream.used
        return emulated.RECORDER.read(array)

    def RawModule(self, code: str, options: tuple, name_expressions: tuple) -> Any:
        def get_function(entry: str) -> Any:
            assert (entry,) == name_expressions
            kernel = kernel_source.kernels()[entry.split("<")[0]]
            assert code == kernel_source.source(kernel.file)
            return emulated.EmulatedKernels().prepare(entry, kernel)

        return SimpleNamespace(get_function=get_function)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A pretended cuBLAS, and a CuPy beside it."""
    calls: list[str] = []
    monkeypatch.setattr(cuda, "why_not", lambda: None)
    monkeypatch.setitem(sys.modules, "cupy", _Cupy())  # type: ignore[arg-type]
    made = SimpleNamespace(
        calls=calls,
        cublasCreate_v2=lambda handle: calls.append("create") or 0,
        cublasSetStream_v2=lambda handle, stream: calls.append("stream") or 0,
        cublasSetWorkspace_v2=lambda handle, space, size: calls.append("workspace") or 0,
        cublasSgemm_v2_64=_gemm(ctypes.c_float),
        cublasDgemm_v2_64=_gemm(ctypes.c_double),
    )
    monkeypatch.setattr(cuda, "cublas_library", lambda: made)
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cublas_is_asked_for_the_right_product(dtype: Any, library: SimpleNamespace) -> None:
    backend = cuda.make_backend()
    assert library.calls == ["create", "stream", "workspace"]  # the stream resets the work space
    rng = np.random.default_rng(0)
    for m, k, n in [(1, 1, 1), (2, 3, 4), (5, 1, 3), (1, 6, 2), (7, 4, 1)]:
        for options in range(8):
            transpose_a, transpose_b, accumulate = (bool(options & bit) for bit in (1, 2, 4))
            a, b, out = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
            product = backend.upload(out)
            backend.matmul(
                backend.upload(a.T if transpose_a else a),
                backend.upload(b.T if transpose_b else b),
                product, transpose_a, transpose_b, accumulate,
            )  # fmt: skip
            np.testing.assert_allclose(
                backend.read(product), a @ b + accumulate * out, 1e-4, 1e-6
            )


def test_a_failure_of_cublas_is_an_error(library: SimpleNamespace) -> None:
    library.cublasSetStream_v2 = lambda handle, stream: 7
    with pytest.raises(RuntimeError, match="cublasSetStream_v2 failed with status 7"):
        cuda.make_backend()


def test_what_cupy_is_asked_for_fits_together(library: SimpleNamespace) -> None:
    """The card's own file with a pretended CuPy: the same training as the emulated one."""
    weights = []
    for factory in (cuda.make_backend, emulated.make_backend):
        backend = factory()
        x, y = np.arange(600, dtype=np.uint8).reshape(-1, 4), np.arange(150) % 3
        gpunn.backends.register_backend("tried", lambda backend=backend: backend)
        try:
            gpunn.use_backend("tried")
            gpunn.utils.set_random_seed(1)
            model = gpunn.Sequential([gpunn.layers.Input((4,)), gpunn.layers.Dense(3)])
            loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("adam", loss)
            model.fit(x, y, batch_size=4, epochs=1, verbose=0)  # 37 steps and a ragged one
            weights.append(model.get_weights())
        finally:
            gpunn.use_backend("auto")
            del gpunn.backends._factories["tried"]
            gpunn.backends._instances.pop("tried", None)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, 1e-6)


def test_a_recording_that_fails_is_ended(library: SimpleNamespace) -> None:
    backend = cuda.make_backend()
    x = backend.zeros((3,), np.float32)

    def step() -> None:
        backend.read(x)

    program = backend.capture(step)
    program.run(1)
    with pytest.raises(RuntimeError, match="a step that is recorded cannot read"):
        program.run(1)
    assert backend.read(x).tolist() == [0, 0, 0]
