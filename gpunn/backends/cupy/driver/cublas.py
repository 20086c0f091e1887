"""Matrix products on a GPU: cuBLAS and cuBLASLt, called through ctypes.

CuPy's own products cannot be captured; calls of the libraries themselves can. A plain product,
or a product of stacks of matrices, is one call of cuBLAS. A product with an `Epilogue` is one call
of cuBLASLt. Its algorithm is chosen, and tried, when the product is first offered.

The numbers below are NVIDIA's, of cublas_api.h, cublasLt.h and library_types.h of CUDA 12.9.
Their meaning is documented at https://docs.nvidia.com/cuda/cublas, their values also in the tables
of https://docs.nvidia.com/cuda/nvmath-python/latest/bindings/cublasLt.html.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from ctypes import byref, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.backends.cupy.launch.protocols import Epilogue, Matmul, column_major
from gpunn.backends.shared.precision import CAPABILITY, PRECISIONS

from .gpu import nvidia_library

DEFAULT_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT

# cudaDataType_t and the type of alpha and beta, by item size
TYPES: dict[int, tuple[int, Any]] = {4: (0, c_float), 8: (1, ctypes.c_double)}
# cublasComputeType_t: CUBLAS_COMPUTE_32F, _64F, _32F_FAST_TF32 and _32F_FAST_16BF
COMPUTE = {(4, None): 68, (8, None): 70, (4, "tf32"): 77, (4, "bfloat16"): 75}
# cublasLtEpilogue_t: BIAS, RELU_BIAS and BGRADA. cuBLAS sees row-major arrays transposed, and
# `column_major` passes b as its A: the sums of b's columns are the bias gradient of A.
EPILOGUES = {"bias": 4, "relu": 6, "bias_gradient": 256}
# cublasLtMatmulDescAttributes_t
TRANSPOSE_A, TRANSPOSE_B, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8
# cublasLtMatmulPreferenceAttributes_t, the alignments of A, B, C and D
WORKSPACE_BYTES, ALIGNMENTS = 1, (5, 6, 7, 8)


class CublasError(RuntimeError):
    """A function of the libraries failed."""


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t, which begins with the algorithm."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int32),
        ("waves", c_float),
        ("reserved", c_int32 * 4),
    )


class _Plan(NamedTuple):
    """The descriptors and algorithm of one cuBLASLt product."""

    operation: c_void_p  # descriptor; the vector's address is set in it at each call
    layouts: list[c_void_p]  # of A, B and the result
    algorithm: _Heuristic


class Cublas:
    """The products on a stream, see `MatmulLibrary`."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._blas, self._lt = nvidia_library("cublas"), nvidia_library("cublasLt")
        capability = int(cupy.cuda.Device().compute_capability)
        self.precisions: Collection[str] = PRECISIONS if capability >= CAPABILITY else ()
        self._cupy, self._queue, self._stream = cupy, stream, c_void_p(stream.ptr)
        self._handle, self._lt_handle = c_void_p(), c_void_p()
        self._call("cublasCreate_v2", byref(self._handle))
        self._call("cublasSetStream_v2", self._handle, self._stream)
        # Set after the stream, which resets it. cuBLAS would allocate its own workspace
        # during a capture; it uses 32 MiB on Hopper, 4 elsewhere.
        size = (32 if capability >= 90 else 4) << 20
        self._memory = cupy.empty((size,), np.uint8)  # shared by both libraries in turn
        self._workspace = c_void_p(self._memory.data.ptr), c_size_t(size)
        self._call("cublasSetWorkspace_v2", self._handle, *self._workspace)
        self._call("cublasLtCreate", byref(self._lt_handle))
        self._plans: dict[tuple, _Plan | None] = {}

    def _call(self, function: str, *arguments: Any) -> None:
        library = self._lt if function.startswith("cublasLt") else self._blas
        status = getattr(library, function)(*arguments)
        if status:
            raise CublasError(f"{function} failed with status {status}.")

    def __call__(self, product: Matmul) -> None:
        type_, real = TYPES[product.out.dtype.itemsize]
        one, beta = real(1.0), real(1.0 if product.accumulate else 0.0)
        arrays = product.b, product.a, product.out
        first, second, result = (c_void_p(array.data.ptr) for array in arrays)
        if product.epilogue is not None:
            plan = self._plans.get(_key(product, product.epilogue))
            if plan is None or product.accumulate:
                kind = product.epilogue.kind
                raise RuntimeError(f"The epilogue {kind!r} is not offered here.")
            self._multiply(plan, product.a, product.b, product.out, product.epilogue.vector)
            return
        layout = column_major(product)
        m, n, k = layout.m, layout.n, layout.k
        count: list[Any] = [c_int64(n) for n in product.out.shape[:-2]]  # of a stack

        def matrix(address: c_void_p, stride: int, step: int) -> list[Any]:
            of_stack = [c_int64(step)] if count else []
            return [address, type_, c_int64(stride), *of_stack]

        self._call(
            "cublasGemmStridedBatchedEx_64" if count else "cublasGemmEx_64", self._handle,
            layout.transpose_first, layout.transpose_second,
            *map(c_int64, (m, n, k)), byref(one),
            *matrix(first, layout.first_stride, layout.first_step),
            *matrix(second, layout.second_stride, layout.second_step), byref(beta),
            *matrix(result, m, m * n), *count,
            COMPUTE[product.out.dtype.itemsize, product.precision], DEFAULT_ALGORITHM,
        )

    def _multiply(self, plan: _Plan, a: Array, b: Array, out: Array, vector: Array) -> None:
        """Compute a product with an epilogue."""
        real = TYPES[out.dtype.itemsize][1]
        first, second, result = (c_void_p(array.data.ptr) for array in (b, a, out))
        self._set("MatmulDesc", plan.operation, BIAS_POINTER, c_void_p(vector.data.ptr))
        of_first, of_second, of_result = plan.layouts
        self._call(
            "cublasLtMatmul", self._lt_handle, plan.operation, byref(real(1.0)),
            first, of_first, second, of_second, byref(real(0.0)),
            result, of_result, result, of_result,
            byref(plan.algorithm), *self._workspace, self._stream,
        )

    def offers(self, product: Matmul) -> bool:
        epilogue = product.epilogue
        if epilogue is None or 0 in (*product.a.shape, *product.b.shape):
            return False
        # Sums of b's columns are computed only if its rows are read as cuBLAS's columns.
        if epilogue.kind == "bias_gradient" and product.transpose_b:
            return False
        key = _key(product, epilogue)
        if key not in self._plans:
            self._plans[key] = self._choose(product, epilogue, key[-1])
        return self._plans[key] is not None

    def _choose(
        self, product: Matmul, epilogue: Epilogue, alignments: tuple[int, ...]
    ) -> _Plan | None:
        """Return the library's best guess after trying it; None if it has none for this GPU.

        The kind of failure depends on GPU and type. If it is not offered, kernels do the work.
        """
        plan = _Plan(c_void_p(), [c_void_p() for _ in range(3)], _Heuristic())
        try:
            self._describe(plan, product, epilogue)
            if self._guess(plan, alignments) and self._does(plan, product, epilogue):
                return plan
        except (CublasError, MemoryError):  # there may be too little memory to try it
            pass
        for kind, handle in (
            ("MatmulDesc", plan.operation), *(("MatrixLayout", layout) for layout in plan.layouts),
        ):
            if handle:
                getattr(self._lt, f"cublasLt{kind}Destroy")(handle)
        return None

    def _describe(self, plan: _Plan, product: Matmul, epilogue: Epilogue) -> None:
        """Fill the descriptors of the product and its arrays."""
        layout, size = column_major(product), product.out.dtype.itemsize
        type_, operation = TYPES[size][0], plan.operation
        create, compute = "cublasLtMatmulDescCreate", COMPUTE[size, product.precision]
        self._call(create, byref(operation), compute, type_)
        self._set("MatmulDesc", operation, TRANSPOSE_A, c_int32(layout.transpose_first))
        self._set("MatmulDesc", operation, TRANSPOSE_B, c_int32(layout.transpose_second))
        self._set("MatmulDesc", operation, EPILOGUE, c_uint32(EPILOGUES[epilogue.kind]))
        self._set("MatmulDesc", operation, BIAS_POINTER, c_void_p(epilogue.vector.data.ptr))
        m, n, k = layout.m, layout.n, layout.k
        first, second, result = plan.layouts
        self._lay_out(first, type_, *((k, m) if layout.transpose_first else (m, k)))
        self._lay_out(second, type_, *((n, k) if layout.transpose_second else (k, n)))
        self._lay_out(result, type_, m, n)

    def _guess(self, plan: _Plan, alignments: tuple[int, ...]) -> bool:
        """Let the library choose an algorithm; return whether it has one."""
        preference, count = c_void_p(), c_int32()
        self._call("cublasLtMatmulPreferenceCreate", byref(preference))
        try:
            size = c_uint64(self._memory.nbytes)
            self._set("MatmulPreference", preference, WORKSPACE_BYTES, size)
            for attribute, array in zip(ALIGNMENTS, (1, 0, 2, 2), strict=True):
                self._set("MatmulPreference", preference, attribute, c_uint32(alignments[array]))
            of_first, of_second, of_result = plan.layouts
            self._call(
                "cublasLtMatmulAlgoGetHeuristic", self._lt_handle, plan.operation,
                of_first, of_second, of_result, of_result, preference,
                1, byref(plan.algorithm), byref(count),
            )
        finally:
            self._call("cublasLtMatmulPreferenceDestroy", preference)
        return count.value > 0 and plan.algorithm.state == 0

    def _does(self, plan: _Plan, product: Matmul, epilogue: Epilogue) -> bool:
        """Return whether the algorithm runs here, and its ReLU propagates NaN as ours does.

        NVIDIA documents max(x, 0), but not its result for NaN: the GPU's own instruction
        gives 0. So this adds a bias of NaN, in arrays of its own.
        """
        shape, dtype = epilogue.vector.shape, product.out.dtype
        with self._queue:
            vector = self._cupy.asarray(np.full(shape, np.nan, dtype))
            out = self._cupy.zeros(product.out.shape, dtype)
            self._multiply(plan, product.a, product.b, out, vector)
            self._queue.synchronize()  # before the memory of these arrays is reused
            if epilogue.kind != "relu":
                return True
            return bool(np.isnan(self._cupy.asnumpy(out, stream=self._queue)).all())

    def _lay_out(self, layout: c_void_p, type_: int, rows: int, columns: int) -> None:
        """Create a layout of contiguous columns, which are the rows of an array."""
        sizes = c_uint64(rows), c_uint64(columns), c_int64(rows)
        self._call("cublasLtMatrixLayoutCreate", byref(layout), type_, *sizes)

    def _set(self, kind: str, handle: c_void_p, attribute: int, value: Any) -> None:
        size = c_size_t(ctypes.sizeof(value))
        self._call(f"cublasLt{kind}SetAttribute", handle, attribute, byref(value), size)


def _key(product: Matmul, epilogue: Epilogue) -> tuple:
    """Return all that the choice of an algorithm depends on; the arrays' alignments come last."""
    a, b, out, transpose_a, transpose_b, _, precision, _ = product
    pointers = (array.data.ptr for array in (a, b, out, epilogue.vector))
    alignments = tuple(min(p & -p, 256) for p in pointers)  # it needs no more than 256 bytes
    shapes = a.shape, b.shape, transpose_a, transpose_b
    return (*shapes, out.dtype.itemsize, precision, epilogue.kind, alignments)
