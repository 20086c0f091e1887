"""Check whether an NVIDIA GPU can be used, and if not, what is missing."""

from __future__ import annotations

import ctypes
import sys
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from .cuda_extra import NEEDS, explain_extra, lists_a_gpu, query_nvidia_smi

DISTRIBUTIONS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
# Distributions of the libraries, with a suffix until CUDA 12 and without one from 13 on.
LIBRARIES = ("nvidia-cublas", "nvidia-cuda-nvrtc")
LIBRARY_DISTRIBUTIONS = tuple(
    f"{name}{suffix}" for name in LIBRARIES for suffix in ("", "-cu11", "-cu12", "-cu13")
)
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # on the PCI bus: the vendor, and the class of graphics cards


@cache
def is_usable() -> bool:
    """Return whether CuPy can be used: at once if there is none, without looking for the reason."""
    return ("cupy" in sys.modules or find_spec("cupy") is not None) and why_not() is None


@cache
def why_not() -> str | None:
    """Return why CuPy cannot be used, in one line with a remedy; None if it can."""
    cupys = [name for name in DISTRIBUTIONS if _version(name)]
    # A second CuPy would break both, and pip does not repair a broken one.
    replace = f"pip uninstall -y {' '.join(cupys)}, then {_install(12)}"
    if len(cupys) > 1:
        return f"Several CuPy distributions are installed ({', '.join(cupys)}): {replace}."
    try:
        import cupy
        from cupy.cuda import nvrtc, runtime
    except Exception as error:
        if not cupys and isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            extra, reason = explain_extra(query_nvidia_smi())
            if extra is None:
                return f"CuPy is not installed, and no GPU was found ({reason})."
            return f'CuPy is not installed: pip install "gpunn[{extra}]".'
        cause = _first_line(error.__cause__ or error)  # CuPy's own message begins with a frame
        return f"CuPy cannot be imported ({cause}): {replace if cupys else _install(12)}."
    cuda = runtime.runtimeGetVersion() // 1000
    if cuda not in NEEDS:
        return f"This CuPy is not for CUDA {' or '.join(map(str, NEEDS))}: {replace}."
    needs = NEEDS[cuda]
    driver = runtime.driverGetVersion()  # the newest CUDA that it supports; 0 without a driver
    if not driver:
        return (
            f"There is no NVIDIA driver: install it ({needs.driver} or newer), "
            f"until nvidia-smi lists the GPU."
        )
    if driver // 1000 < cuda:
        other = f", or {replace}" if driver // 1000 in NEEDS else ""
        return (
            f"The NVIDIA driver is too old for this CuPy and its CUDA {cuda}: "
            f"install driver {needs.driver} or newer{other}."
        )
    try:
        if not runtime.getDeviceCount():
            raise LookupError("it lists none")  # CUDA itself raises an error in this case
    except Exception as error:
        return (
            f"The NVIDIA driver finds no usable GPU ({_first_line(error)}): "
            f"see nvidia-smi and CUDA_VISIBLE_DEVICES."
        )
    capability = divmod(int(cupy.cuda.Device().compute_capability), 10)
    if capability < needs.capability:
        return (
            f"The GPU (compute capability {capability[0]}.{capability[1]}) is too old for this "
            f"CuPy and its CUDA {cuda}: {replace}."
        )
    own = f"cupy-cuda{cuda}x" in cupys
    fits = _install(cuda) if own else replace
    for library, load in (
        ("NVRTC", lambda: nvrtc.getVersion()[0]),
        ("cuBLAS", partial(_cublas_major, "cublas")),
        ("cuBLASLt", partial(_cublas_major, "cublasLt")),
    ):
        try:
            found = load()
        except Exception as error:
            return f"CUDA's library {library} is missing ({_first_line(error)}): {fits}."
        if found != cuda:
            # Such a library may reject the GPU, or misread its arguments.
            fine = "", str(cuda)
            others = [name for name in LIBRARY_DISTRIBUTIONS if _version(name) not in fine]
            remove = [*others, *([] if own else cupys)]
            first = f"pip uninstall -y {' '.join(remove)}, then " * bool(remove)
            remedy = f"{first}{_install(cuda if own else 12)}"
            usable = found in NEEDS and driver // 1000 >= found
            if own and usable and capability >= NEEDS[found].capability:
                remedy += f", or pip uninstall -y {' '.join(cupys)}, then {_install(found)}"
            return f"CUDA's library {library} is of CUDA {found}, this CuPy of {cuda}: {remedy}."
    return None


def is_seen() -> bool:
    """Return whether this machine has an NVIDIA GPU meant for use, usable or not: one that
    the driver lists or, if CuPy is installed, one on the PCI bus."""
    return lists_a_gpu(query_nvidia_smi()) or (is_on_bus() and any(map(_version, DISTRIBUTIONS)))


def is_on_bus(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Return whether there is an NVIDIA GPU on the PCI bus, whose devices Linux describes in this
    folder; False if this is not Linux."""
    for device in devices.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:  # it was removed meanwhile, or is not readable
            continue
        if vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False


def nvidia_library(name: str) -> ctypes.CDLL:
    """Load a library of CUDA, such as ``"nvrtc"`` or ``"cublas"``, from where CuPy finds it."""
    pathfinder = import_module("cuda.pathfinder")  # comes with CuPy
    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)


def _cublas_major(name: str) -> int:
    """Return the CUDA major version that the library reports; this needs no GPU."""
    value, function = ctypes.c_int(), f"{name}GetProperty"
    status = getattr(nvidia_library(name), function)(0, ctypes.byref(value))  # MAJOR_VERSION
    if status:
        raise RuntimeError(f"{function} failed with status {status}")
    return value.value


def _install(cuda: int) -> str:
    return f'pip install "gpunn[cuda{cuda}]"'


def _version(distribution: str) -> str:
    """Return the major version of a distribution; "" if it is not installed."""
    from importlib import metadata  # takes as long to import as a third of gpunn

    try:
        return metadata.version(distribution).partition(".")[0]
    except metadata.PackageNotFoundError:
        return ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
