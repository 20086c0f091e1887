"""Fakes of CuPy, cuBLAS and cuBLASLt, as far as ``cuda.py`` and ``cublas.py`` use them, and of the
code that NVRTC would return.

The libraries are C functions on host memory that handle their arguments as NVIDIA's documentation
specifies. Descriptors are NVIDIA's own if its cuBLASLt is installed (they need no GPU), so that
attributes of a wrong size or number raise an error.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from ctypes import POINTER, c_int, c_int64, c_longlong, c_size_t, c_uint64, c_void_p
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import emulated
import numpy as np
import pytest
from host_kernels import compile_text

from gpunn.backends.cupy.driver import cublas, cuda
from gpunn.backends.shared.precision import rounded

REALS = {0: ctypes.c_float, 1: ctypes.c_double}  # CUDA_R_32F, CUDA_R_64F
ROUNDING = {68: None, 70: None, 77: "tf32", 75: "bfloat16"}  # CUBLAS_COMPUTE_...
SUCCESS, INVALID_VALUE, EXECUTION_FAILED, NOT_SUPPORTED = 0, 7, 13, 15

GPUS = 2
ONE_GPU_AT_A_TIME = threading.RLock()  # kernels compiled for the CPU share memory of their module
STREAMS: list[Stream] = []
STREAM_OF_HANDLE: dict[int, int | None] = {}  # cuBLAS's handles; the address of a stream


def stream_at(address: int | None) -> emulated.Stream:
    """The stream that CUDA knows by this address."""
    return STREAMS[address - 1] if address else emulated.NULL


def columns(address: int, type_: int, rows: int, count: int, stride: int) -> np.ndarray:
    """A matrix in flat memory, in column-major order."""
    real = REALS[type_]
    flat = np.ctypeslib.as_array((real * (stride * count)).from_address(address))
    return flat.reshape(count, stride).T[:rows]


def scalar(pointer: int, type_: int) -> float:
    return float(REALS[type_].from_address(pointer).value)


def c_function(*types: Any) -> Callable[[Callable[..., int]], Any]:
    """A function as C sees it: arguments of another type or size are misread."""
    return ctypes.CFUNCTYPE(c_int, *types)


_operation = c_int, c_int
_sizes = c_int64, c_int64, c_int64


@c_function(
    c_void_p, *_operation, *_sizes, c_void_p, c_void_p, c_int, c_int64, c_void_p, c_int, c_int64,
    c_void_p, c_void_p, c_int, c_int64, c_int, c_int,
)  # fmt: skip
def gemm_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int,
    lda: int, b: int, b_type: int, ldb: int, beta: int, c: int, c_type: int, ldc: int,
    compute: int, algorithm: int,
) -> int:  # fmt: skip
    """cublasGemmEx_64."""
    precision, one, keep = ROUNDING[compute], scalar(alpha, c_type), scalar(beta, c_type)
    assert a_type == b_type == c_type == (compute == 70) and algorithm == -1

    def work() -> None:
        op_a = columns(a, a_type, *((k, m) if transa else (m, k)), lda)
        op_b = columns(b, b_type, *((n, k) if transb else (k, n)), ldb)
        out = columns(c, c_type, m, n, ldc)
        op_a, op_b = op_a.T if transa else op_a, op_b.T if transb else op_b
        product = one * (rounded(op_a, precision) @ rounded(op_b, precision))
        out[...] = product + (keep * out if keep else 0)

    stream_at(STREAM_OF_HANDLE[handle]).perform(work)
    return SUCCESS


@c_function(
    c_void_p, *_operation, *_sizes, c_void_p, c_void_p, c_int, c_int64, c_longlong, c_void_p,
    c_int, c_int64, c_longlong, c_void_p, c_void_p, c_int, c_int64, c_longlong, c_int64,
    c_int, c_int,
)  # fmt: skip
def gemm_strided_batched_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int,
    lda: int, a_stride: int, b: int, b_type: int, ldb: int, b_stride: int, beta: int, c: int,
    c_type: int, ldc: int, c_stride: int, count: int, compute: int, algorithm: int,
) -> int:  # fmt: skip
    """cublasGemmStridedBatchedEx_64: one product for each number i below count, of the matrices
    i times a stride, in elements, after the first."""
    sizes = (ctypes.sizeof(REALS[type_]) for type_ in (a_type, b_type, c_type))
    strides = a_stride, b_stride, c_stride
    of_a, of_b, of_c = (stride * size for stride, size in zip(strides, sizes, strict=True))
    for i in range(count):
        gemm_ex(
            handle, transa, transb, m, n, k, alpha, a + i * of_a, a_type, lda,
            b + i * of_b, b_type, ldb, beta, c + i * of_c, c_type, ldc, compute, algorithm,
        )  # fmt: skip
    return SUCCESS


def nvidia_library() -> ctypes.CDLL | None:
    """NVIDIA's cuBLASLt, if it is installed as a Python package."""
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations or () if package else ():
        for path in Path(folder).glob("cu*/lib/libcublasLt.so.*"):
            return ctypes.CDLL(str(path))
    return None


class OwnDescriptors:
    """Descriptors as Python dictionaries: attribute number to bytes."""

    # Size in bytes of each attribute, by the kind of descriptor.
    SIZES = {  # noqa: RUF012
        "MatmulDesc": {3: 4, 4: 4, 7: 4, 8: 8},
        "MatmulPreference": {1: 8, 5: 4, 6: 4, 7: 4, 8: 4},
        "MatrixLayout": {},
    }

    def __init__(self) -> None:
        self._descriptors: dict[int, dict[int, bytes]] = {}

    def create(self, kind: str, target: Any, *values: Any) -> int:
        target[0] = len(self._descriptors) + 1
        self._descriptors[target[0]] = {
            "MatmulDesc": lambda: {0: values[0], 1: values[1], 3: 0, 4: 0, 7: 1, 8: 0},
            "MatmulPreference": lambda: {1: 0, **dict.fromkeys((5, 6, 7, 8), 256)},
            "MatrixLayout": lambda: dict(enumerate((values[0], 0, *values[1:]))),
        }[kind]()
        return SUCCESS

    def destroy(self, handle: int) -> int:
        del self._descriptors[handle]
        return SUCCESS

    def set(self, kind: str, handle: int, attribute: int, buffer: int, size: int) -> int:
        if self.SIZES[kind].get(attribute) != size:
            return INVALID_VALUE
        value = ctypes.string_at(buffer, size)
        self._descriptors[handle][attribute] = int.from_bytes(value, "little")
        return SUCCESS

    def get(self, kind: str, handle: int, attribute: int, size: int) -> int:
        return self._descriptors[handle][attribute]


class NvidiaDescriptors:
    """NVIDIA's own descriptors."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def create(self, kind: str, target: Any, *values: Any) -> int:
        types = {"MatmulDesc": (c_int, c_int), "MatmulPreference": ()}.get(
            kind, (c_int, c_uint64, c_uint64, c_int64)
        )
        made = [type_(value) for type_, value in zip(types, values, strict=True)]
        return getattr(self._library, f"cublasLt{kind}Create")(target, *made)

    def destroy(self, handle: int) -> int:
        return SUCCESS

    def set(self, kind: str, handle: int, attribute: int, buffer: int, size: int) -> int:
        function = getattr(self._library, f"cublasLt{kind}SetAttribute")
        return function(c_void_p(handle), attribute, c_void_p(buffer), c_size_t(size))

    def get(self, kind: str, handle: int, attribute: int, size: int) -> int:
        value, written = ctypes.create_string_buffer(size), c_size_t()
        function = getattr(self._library, f"cublasLt{kind}GetAttribute")
        status = function(c_void_p(handle), attribute, value, c_size_t(size), ctypes.byref(written))
        assert status == 0 and written.value == size
        return int.from_bytes(value.raw, "little")


class Libraries:
    """cuBLAS and cuBLASLt; ``calls`` lists the calls, except products.

    Attributes:
        epilogues: those for which the heuristic has an algorithm.
        reals: types for which it has algorithms; others are an invalid value.
        relu: what its epilogue computes of a value and 0. NVIDIA documents max(x, 0) and does not
            mention NaN; a GPU's instruction for the maximum, like `fmax` in C, returns 0.
        failures: the status with which a function fails, by its name.
        chosen: algorithms that it has returned so far.
    """

    def __init__(self) -> None:
        nvidia = nvidia_library()
        self.calls: list[str] = []
        self.epilogues = {4, 6, 256}  # BIAS, RELU_BIAS, BGRADA
        self.reals = {*REALS}
        self.relu: Callable[[Any, Any], Any] = np.fmax
        self.failures: dict[str, int] = {}
        self.chosen: list[tuple[int, ...]] = []
        self.products = 0  # by cublasLtMatmul
        self._workspace = (0, 0)
        self._descriptors: Any = NvidiaDescriptors(nvidia) if nvidia else OwnDescriptors()
        self.cublasGemmEx_64: Any = gemm_ex
        self.cublasGemmStridedBatchedEx_64: Any = gemm_strided_batched_ex
        self.cublasLtCreate = self._recorded("cublasLtCreate")
        self._functions = dict(self._describing())

    def __getattr__(self, name: str) -> Any:
        function = self.__dict__["_functions"][name]
        status = self.__dict__["failures"].get(name, SUCCESS)
        return (lambda *arguments: status) if status else function

    def _recorded(self, name: str) -> Callable[..., int]:
        return lambda *arguments: self.calls.append(name) or SUCCESS

    def cublasCreate_v2(self, handle: Any) -> int:
        self.calls.append("cublasCreate_v2")
        handle._obj.value = len(STREAM_OF_HANDLE) + 1
        STREAM_OF_HANDLE[handle._obj.value] = None
        return SUCCESS

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        self.calls.append("cublasSetStream_v2")
        STREAM_OF_HANDLE[handle.value] = stream.value
        return SUCCESS

    def cublasSetWorkspace_v2(self, handle: Any, address: Any, size: Any) -> int:
        self.calls.append("cublasSetWorkspace_v2")
        self._workspace = (address.value, size.value)
        return SUCCESS

    def _describing(self) -> Iterator[tuple[str, Any]]:
        """The functions that create, fill and destroy descriptors, and the two that use them."""
        pointer, d = POINTER(c_void_p), self._descriptors
        made = {
            "MatmulDesc": (c_int, c_int),
            "MatmulPreference": (),
            "MatrixLayout": (c_int, c_uint64, c_uint64, c_int64),
        }

        def functions(kind: str, types: tuple) -> Iterator[tuple[str, Any]]:
            yield "Create", c_function(pointer, *types)(lambda *v: d.create(kind, *v))
            yield "Destroy", c_function(c_void_p)(d.destroy)
            setting = c_function(c_void_p, c_int, c_void_p, c_size_t)
            yield "SetAttribute", setting(lambda *v: d.set(kind, *v))

        for kind, types in made.items():
            for name, function in functions(kind, types):
                yield f"cublasLt{kind}{name}", function
        p = c_void_p
        heuristic = c_function(p, p, p, p, p, p, p, c_int, p, POINTER(c_int))
        yield "cublasLtMatmulAlgoGetHeuristic", heuristic(self._heuristic)
        matmul = c_function(p, p, p, p, p, p, p, p, p, p, p, p, p, p, c_size_t, p)
        yield "cublasLtMatmul", matmul(self._matmul)

    def _problem(self, operation: int, *layouts: int) -> tuple[int, ...]:
        """Compute type, transpositions and epilogue; type, rows, columns, stride of each."""
        get = self._descriptors.get
        asked = [get("MatmulDesc", operation, attribute, 4) for attribute in (0, 3, 4, 7)]
        for layout in layouts:
            asked += [get("MatrixLayout", layout, *field) for field in ((0, 4), (2, 8), (3, 8))]
            asked.append(get("MatrixLayout", layout, 4, 8))
        return tuple(asked)

    def _heuristic(
        self, handle: int, operation: int, a: int, b: int, c: int, d: int, preference: int,
        asked: int, results: int, count: Any,
    ) -> int:  # fmt: skip
        if any(stream.captured is not None for stream in STREAMS) or asked != 1:
            return EXECUTION_FAILED
        problem = self._problem(operation, a, b, d)
        get = self._descriptors.get
        alignments = [get("MatmulPreference", preference, n, 4) for n in (5, 6, 7, 8)]
        assert all(n in (4, 8, 16, 32, 64, 128, 256) for n in alignments)
        count[0] = 0
        if not self.reals.issuperset(problem[4::4]):
            return INVALID_VALUE
        if problem[3] not in self.epilogues:
            return NOT_SUPPORTED
        self.chosen.append(problem)
        words = (c_uint64 * 8).from_address(results)
        words[0] = len(self.chosen)
        c_size_t.from_address(results + 64).value = get("MatmulPreference", preference, 1, 8)
        c_int.from_address(results + 72).value = SUCCESS
        count[0] = 1
        return SUCCESS

    def _matmul(
        self, handle: int, operation: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int,
        beta: int, c: int, c_layout: int, d: int, d_layout: int, algorithm: int,
        workspace: int, size: int, stream: int | None,
    ) -> int:  # fmt: skip
        problem = self._problem(operation, a_layout, b_layout, d_layout)
        number = c_uint64.from_address(algorithm).value
        if self.chosen[number - 1] != problem or (workspace, size) != self._workspace:
            return INVALID_VALUE
        compute, transa, transb, epilogue, *layouts = problem
        type_, m, n, _ = layouts[8:]
        assert scalar(alpha, type_) == 1 and scalar(beta, type_) == 0 and c == d
        vector = self._descriptors.get("MatmulDesc", operation, 8, 8)
        precision = ROUNDING[compute]
        k = layouts[1 if transa else 2]
        inner = layouts[6 if transb else 5]
        if (layouts[2 if transa else 1], inner, layouts[5 if transb else 6]) != (m, k, n):
            return INVALID_VALUE

        def work() -> None:
            first, second = columns(a, *layouts[:4]), columns(b, *layouts[4:8])
            first, second = first.T if transa else first, second.T if transb else second
            value = rounded(first, precision) @ rounded(second, precision)
            beside = columns(vector, type_, m, 1, m)
            if epilogue == 256:
                beside[...] = first.sum(1, keepdims=True)
            else:
                value = value + beside
            columns(d, type_, m, n, m)[...] = self.relu(value, 0) if epilogue == 6 else value

        stream_at(stream).perform(work)
        self.products += 1
        return SUCCESS


class Stream(emulated.Stream):
    """A stream that does its work as late as possible: when something waits for it."""

    def __init__(self, non_blocking: bool) -> None:
        assert non_blocking, "others cannot be captured"
        STREAMS.append(self)
        self.ptr, self.gpu = len(STREAMS), emulated.current_gpu()
        self._work: deque[Callable[[], Any]] = deque()
        self._memory: list[np.ndarray] = []

    def keep(self, memory: np.ndarray) -> None:
        self._memory.append(memory)

    @property
    def pending(self) -> int:
        """How much of its work nothing has waited for."""
        return len(self._work)

    def use(self) -> None:
        emulated.use(self)

    def perform(self, work: Callable[[], Any]) -> None:
        assert emulated.current_gpu() == self.gpu, "cudaErrorInvalidResourceHandle"
        (self._work if self.captured is None else self.captured).append(work)

    def synchronize(self) -> None:
        self.refuse("synchronize")
        with ONE_GPU_AT_A_TIME:
            while self._work:
                self._work.popleft()()

    def record(self) -> Any:
        event = SimpleNamespace(done=False)
        self.perform(lambda: setattr(event, "done", True))

        def synchronize() -> None:
            with ONE_GPU_AT_A_TIME:
                while not event.done:
                    self._work.popleft()()

        event.synchronize = synchronize
        return event

    def wait_event(self, event: Any) -> None:
        self.refuse("wait for another stream")
        self.perform(event.synchronize)

    def begin_capture(self) -> None:
        assert self.captured is None, "cudaErrorIllegalState"
        self.captured = []

    def is_capturing(self) -> bool:
        return self.captured is not None

    def end_capture(self) -> Any:
        assert self.captured is not None, "cudaErrorIllegalState"
        captured, self.captured = self.captured, None

        def launch(stream: Stream | None = None) -> None:
            for work in captured:
                (stream or emulated.current_stream()).perform(work)

        return SimpleNamespace(launch=launch)


class Device(emulated.Gpu):
    """A GPU: the current one, or that of a number."""

    def __init__(self, capability: str, number: int | None = None) -> None:
        super().__init__(emulated.current_gpu() if number is None else number)
        self.compute_capability = capability
        self.attributes = {
            "MultiProcessorCount": 2, "CooperativeLaunch": 1, "L2CacheSize": 1 << 20,
            "ClockRate": 1_252_500, "MemoryClockRate": 2_005_000, "GlobalMemoryBusWidth": 64
        }  # fmt: skip


def load_code(text: str, capability: int) -> bytes:
    """In place of `gpunn.backends.cupy.driver.nvrtc.load_code`: the source, marked as code."""
    return b"code for %d\n%s" % (capability, text.encode())


class Module:
    """A module of kernels, which compiles the source in its code for the CPU."""

    def __init__(self, processors: int) -> None:
        self._processors = processors
        self._source: str | None = None

    def load(self, code: bytes) -> None:
        mark, _, source = code.decode().partition("\n")
        if not mark.startswith("code for "):
            raise RuntimeError("CUDA_ERROR_INVALID_IMAGE: device kernel image is invalid")
        self._source, self._gpu = source, emulated.current_gpu()

    def get_function(self, name: str) -> Callable[..., None]:
        source = self._source
        assert source is not None, "nothing was loaded"
        run = compile_text(source, [name])[name]

        def launch(
            grid: tuple, block: tuple, args: list, stream: Stream | None = None,
            enable_cooperative_groups: bool = False,
        ) -> None:  # fmt: skip
            assert emulated.current_gpu() == self._gpu, "cudaErrorInvalidResourceHandle"
            waits = "grid_barrier(barrier" in source  # blocks wait for each other
            assert enable_cooperative_groups == waits
            # CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE: more blocks than the compiler left room for
            bounds = re.search(r"__launch_bounds__\(BLOCK, (\d+)\)", source)
            each = int(bounds[1]) if bounds else 1
            assert not waits or math.prod(grid) <= each * self._processors
            (stream or emulated.current_stream()).perform(lambda: run(grid, block, args))

        launch.ptr = source  # type: ignore[attr-defined]
        return launch


class Nvtx:
    """CuPy's module of that name.

    Attributes:
        found: the ranges so far, each with those around it.
    """

    available = True

    def __init__(self) -> None:
        self.found: list[tuple[str, ...]] = []
        self._open: list[str] = []

    def RangePush(self, name: str) -> None:
        self._open.append(name)
        self.found.append(tuple(self._open))

    def RangePop(self) -> None:
        self._open.pop()


class Cupy(emulated.ArrayModule):
    """CuPy's names that `gpunn.backends.cupy.driver.cuda` uses, implemented by `emulated`."""

    def __init__(self, capability: str) -> None:
        self._processors = 2
        self.resident = 2
        """Blocks of a kernel that fit on a multiprocessor at once."""
        self.cuda = SimpleNamespace(
            Device=lambda number=None: Device(capability, number),
            Stream=Stream,
            get_current_stream=emulated.current_stream,
            Module=lambda: Module(self._processors),
            MemoryPool=lambda: SimpleNamespace(malloc=None),
            nvtx=Nvtx(),
            alloc_pinned_memory=emulated.PAGE_LOCKED.allocate,
            runtime=SimpleNamespace(
                pointerGetAttributes=lambda address: SimpleNamespace(
                    type=int(emulated.PAGE_LOCKED.has(address))
                ),
                getDeviceCount=lambda: GPUS,
                memGetInfo=lambda: (emulated.MEMORY.free(), 1 << 60),
                getDeviceProperties=lambda number: {"name": b"Quadro P400"},
            ),
            driver=SimpleNamespace(
                occupancyMaxActiveBlocksPerMultiprocessor=lambda kernel, threads, shared: (
                    self.resident
                )
            ),
            using_allocator=lambda allocator: nullcontext(),
        )

    def asnumpy(self, array: Any, stream: Stream) -> np.ndarray:
        stream.refuse("read")
        stream.synchronize()
        return np.array(array.view(np.ndarray))


def pretend(monkeypatch: pytest.MonkeyPatch, libraries: Libraries, capability: str) -> None:
    """Let `cuda.make_backend` find these, on a GPU of this compute capability."""
    monkeypatch.setattr(cuda, "why_not", lambda: None)
    monkeypatch.setattr(cuda, "load_code", load_code)
    monkeypatch.setitem(sys.modules, "cupy", Cupy(capability))
    monkeypatch.setattr(cublas, "nvidia_library", lambda name: libraries)
