"""Whether an NVIDIA card can be used from here, and if not, what is missing."""

from __future__ import annotations

import ctypes
from functools import cache, partial
from importlib import import_module
from pathlib import Path

from .cuda_extra import NEEDS, explain_extra, lists_a_card, query_nvidia_smi

DISTRIBUTIONS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
# What brings the libraries: under one name until CUDA 12, under the other from 13 on.
LIBRARIES = ("nvidia-cublas", "nvidia-cuda-nvrtc")
LIBRARY_DISTRIBUTIONS = tuple(
    f"{name}{suffix}" for name in LIBRARIES for suffix in ("", "-cu11", "-cu12", "-cu13")
)
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # on the PCI bus: the vendor, and the class of graphics cards


@cache
def why_not() -> str | None:
    """Why CuPy cannot be used here, in one line that says what helps; None if it can."""
    cupys = [name for name in DISTRIBUTIONS if _version(name)]
    # A second CuPy beside the first would break both, and pip leaves a broken one as it is.
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
                return f"CuPy is not installed, nor is a card to be seen ({reason})."
            return f'CuPy is not installed: pip install "gpunn[{extra}]".'
        cause = _first_line(error.__cause__ or error)  # CuPy's own text begins with a frame
        return f"CuPy cannot be imported ({cause}): {replace if cupys else _install(12)}."
    cuda = runtime.runtimeGetVersion() // 1000
    if cuda not in NEEDS:
        return f"This CuPy is not for CUDA {' or '.join(map(str, NEEDS))}: {replace}."
    needs = NEEDS[cuda]
    driver = runtime.driverGetVersion()  # the newest CUDA that it knows; 0 without a driver
    if not driver:
        return (
            f"There is no NVIDIA driver: install it ({needs.driver} or newer), "
            f"until nvidia-smi lists the card."
        )
    if driver // 1000 < cuda:
        other = f", or {replace}" if driver // 1000 in NEEDS else ""
        return (
            f"The NVIDIA driver is too old for this CuPy and its CUDA {cuda}: "
            f"install driver {needs.driver} or newer{other}."
        )
    try:
        if not runtime.getDeviceCount():
            raise LookupError("it lists none")  # CUDA makes that an error by itself
    except Exception as error:
        return (
            f"The NVIDIA driver finds no usable card ({_first_line(error)}): "
            f"see nvidia-smi and CUDA_VISIBLE_DEVICES."
        )
    capability = divmod(int(cupy.cuda.Device().compute_capability), 10)
    if capability < needs.capability:
        return (
            f"The card (compute capability {capability[0]}.{capability[1]}) is too old for this "
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
            # Such a library may refuse the card, or read what it is given as something else.
            fine = "", str(cuda)
            others = [name for name in LIBRARY_DISTRIBUTIONS if _version(name) not in fine]
            remove = [*others, *([] if own else cupys)]
            first = f"pip uninstall -y {' '.join(remove)}, then " * bool(remove)
            said = f"{first}{_install(cuda if own else 12)}"
            usable = found in NEEDS and driver // 1000 >= found
            if own and usable and capability >= NEEDS[found].capability:
                said += f", or pip uninstall -y {' '.join(cupys)}, then {_install(found)}"
            return f"CUDA's library {library} is of CUDA {found}, this CuPy of {cuda}: {said}."
    return None


def is_seen() -> bool:
    """Whether this machine has an NVIDIA card that somebody wants to use, usable or not: one that
    the driver lists, or where CuPy is installed one that is on the bus."""
    return lists_a_card(query_nvidia_smi()) or (any(map(_version, DISTRIBUTIONS)) and is_on_bus())


def is_on_bus(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether there is an NVIDIA card on the PCI bus; False where this is not Linux.

    Args:
        devices: the folder in which Linux describes what is on the bus.
    """
    for device in devices.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:  # it was taken away meanwhile, or may not be read
            continue
        if vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False


def cublas_library(name: str = "cublas") -> ctypes.CDLL:
    """cuBLAS, or cuBLASLt (``"cublasLt"``) which comes with it, where CuPy would find it."""
    pathfinder = import_module("cuda.pathfinder")  # comes with CuPy
    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)


def _cublas_major(name: str) -> int:
    """The CUDA that the library is of, as it says itself; no card is needed for that."""
    value, function = ctypes.c_int(), f"{name}GetProperty"
    status = getattr(cublas_library(name), function)(0, ctypes.byref(value))  # MAJOR_VERSION
    if status:
        raise RuntimeError(f"{function} failed with status {status}")
    return value.value


def _install(cuda: int) -> str:
    return f'pip install "gpunn[cuda{cuda}]"'


def _version(distribution: str) -> str:
    """The first number of a distribution's version; "" if it is not installed."""
    from importlib import metadata  # takes as long to import as a third of gpunn

    try:
        return metadata.version(distribution).partition(".")[0]
    except metadata.PackageNotFoundError:
        return ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
