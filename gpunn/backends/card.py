"""Whether an NVIDIA card can be used from here, and if not, what is missing."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module, metadata, util

INSTALL = 'pip install "gpunn[cuda12]"'
DISTRIBUTIONS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")


@cache
def why_not() -> str | None:
    """Why CuPy cannot be used here, in one line that says what helps; None if it can."""
    cupys = [name for name in DISTRIBUTIONS if _installed(name)]
    if len(cupys) > 1:
        return (
            f"Several CuPy distributions are installed ({', '.join(cupys)}): "
            f"pip uninstall -y {' '.join(cupys)}, then {INSTALL}."
        )
    if util.find_spec("cupy") is None:
        return f"CuPy is not installed: {INSTALL}."
    try:
        import cupy
        from cupy.cuda import nvrtc, runtime
    except Exception as error:
        return f"CuPy cannot be imported ({_first_line(error)}): {INSTALL}."
    if not cupy.cuda.is_available():
        if not runtime.driverGetVersion():
            return "There is no NVIDIA driver: install it, until nvidia-smi lists the card."
        try:
            runtime.getDeviceCount()
        except Exception as error:
            return f"The NVIDIA driver finds no usable card ({_first_line(error)})."
        return "The NVIDIA driver finds no card (see nvidia-smi and CUDA_VISIBLE_DEVICES)."
    cuda = runtime.runtimeGetVersion() // 1000
    capability = int(cupy.cuda.Device().compute_capability)
    if cuda >= 13 and capability < 75:
        return (
            f"The card (compute capability {capability / 10}) is too old for this CuPy and its "
            f"CUDA {cuda}: pip uninstall -y {' '.join(cupys)}, then {INSTALL}."
        )
    try:
        nvrtc.getVersion()
        cublas_library()
    except Exception as error:
        return f"A CUDA library is missing ({_first_line(error)}): {INSTALL}."
    return None


def cublas_library() -> ctypes.CDLL:
    """cuBLAS, where CuPy would find it."""
    pathfinder = import_module("cuda.pathfinder")  # comes with CuPy
    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
