"""Choose the CuPy extra for the NVIDIA driver and GPUs of this machine.

It needs only the standard library, so that it can run as a script before anything is installed::

    python gpunn/backends/cupy/driver/cuda_extra.py

prints ``cuda12``, ``cuda13`` or an empty line, and the reason on the standard error stream.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from typing import NamedTuple


class Needs(NamedTuple):
    """The minimum NVIDIA driver and GPU (compute capability)."""

    driver: int
    capability: tuple[int, int]


# Requirements of each CUDA version that CuPy supports. Within a family every minor version runs on
# the family's first driver, as long as kernels are compiled to machine code, as in `nvrtc`:
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, table 1.
# CUDA 12.0 dropped Kepler, 13.0 Maxwell, Pascal and Volta:
# https://docs.nvidia.com/cuda/cufft/deprecated-functionality.html; and CuPy on a GTX 1080 with
# NVRTC 13 fails: https://github.com/cupy/cupy/issues/9475.
NEEDS = {12: Needs(525, (5, 0)), 13: Needs(580, (7, 5))}

_QUERY = "--query-gpu=compute_cap,driver_version,name"
_UNKNOWN_FIELD = "is not a valid field"  # the error of a driver that is older than this query
_GPU = re.compile(r"^\s*(\d+)\.(\d+)\s*,\s*(\d+)[.\d]*\s*,\s*(\S.*?)\s*$", re.MULTILINE)


def query_nvidia_smi() -> str:
    """Return the output of ``nvidia-smi`` on the GPUs, including errors ("" if it is absent)."""
    places = itertools.product(os.get_exec_path(), ("nvidia-smi", "nvidia-smi.exe"))
    if not any(os.path.exists(os.path.join(*place)) for place in places):
        return ""
    import subprocess  # takes longer to import than the search

    command = ["nvidia-smi", _QUERY, "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30
        )
    except FileNotFoundError:
        return ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout


def name_gpus() -> list[str]:
    """Return the names of this machine's GPUs, as ``nvidia-smi`` reports them."""
    return [name for _, _, _, name in _GPU.findall(query_nvidia_smi())]


def lists_a_gpu(nvidia_smi_output: str) -> bool:
    """Return whether the output of :func:`query_nvidia_smi` is from a machine with a GPU.

    >>> lists_a_gpu("8.9, 580.65.06, NVIDIA GeForce RTX 4090"), lists_a_gpu("No devices found")
    (True, False)
    """
    # A driver that does not know the field yet is installed because there is a GPU.
    return bool(_GPU.search(nvidia_smi_output)) or _UNKNOWN_FIELD in nvidia_smi_output


def choose_extra(nvidia_smi_output: str) -> str | None:
    """Return the extra to install, ``"cuda12"`` or ``"cuda13"``, or None if neither can work.

    nvidia_smi_output: one line per GPU, ``compute capability, driver version, name``, as given by
    :func:`query_nvidia_smi`. The oldest of several GPUs decides, so that all of them can be used.

    >>> choose_extra("8.9, 580.65.06, NVIDIA GeForce RTX 4090")
    'cuda13'
    >>> choose_extra("6.1, 580.65.06, NVIDIA GeForce GTX 1060 6GB")
    'cuda12'
    """
    return explain_extra(nvidia_smi_output)[0]


def explain_extra(nvidia_smi_output: str) -> tuple[str | None, str]:
    """Return the choice of :func:`choose_extra`, and its reason in one line.

    >>> explain_extra("6.1, 580.65.06, NVIDIA GeForce GTX 1060 6GB")[1]
    'NVIDIA GeForce GTX 1060 6GB (compute capability 6.1, driver 580): CUDA 13 starts at 7.5'
    """
    gpus = [
        ((int(major), int(minor)), int(driver), name)
        for major, minor, driver, name in _GPU.findall(nvidia_smi_output)
    ]
    if _UNKNOWN_FIELD in nvidia_smi_output:
        return None, f"the NVIDIA driver is too old: CUDA 12 needs {NEEDS[12].driver} or newer"
    if not gpus:
        line = nvidia_smi_output.strip().split("\n")[0]
        return None, f"nvidia-smi found no GPU: {line}" if line else "there is no nvidia-smi"
    capability, driver, name = min(gpus)
    gpu = f"{name} (compute capability {capability[0]}.{capability[1]}, driver {driver})"
    extra = None
    for cuda, needs in NEEDS.items():
        if capability < needs.capability:
            return extra, f"{gpu}: CUDA {cuda} starts at {'.'.join(map(str, needs.capability))}"
        if driver < needs.driver:
            return extra, f"{gpu}: CUDA {cuda} needs driver {needs.driver} or newer"
        extra = f"cuda{cuda}"
    return extra, gpu


if __name__ == "__main__":
    chosen, reason = explain_extra(query_nvidia_smi())
    print(chosen or "")
    print(f"CUDA libraries to install: {chosen or 'none'} ({reason})", file=sys.stderr)
