"""Machines that lack something, simulated by a fake package ``cupy`` on the path.

The package returns what CuPy 14 returns on such a machine; its error messages have the form of
CuPy's and CUDA's, several lines long where those are. Next to it is the metadata that tells
Python which distributions are installed.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from host_kernels import compile_library

INSTALL_12 = 'pip install "gpunn[cuda12]"'
INSTALL_13 = 'pip install "gpunn[cuda13]"'
WHEELS = tuple(
    f"nvidia-{library}{suffix}"
    for library in ("cublas", "cuda-nvrtc")
    for suffix in ("", "-cu12", "-cu13")
)


@dataclass(frozen=True)
class Machine:
    """What is installed, and the one-line message about it (None: nothing is missing)."""

    line: str | None
    distributions: tuple[str, ...] = ("cupy-cuda12x",)
    package: bool = True
    on_import: str = ""
    cuda: int = 12090
    driver: int = 12080  # the newest CUDA that it supports
    gpus: int | str = 1  # how many, or CUDA's error message
    capability: str = "86"
    missing: str = ""  # a CUDA library
    # The CUDA version of its libraries, if it is not CuPy's, and what installed them.
    libraries: dict[str, int] = field(default_factory=dict)
    wheels: dict[str, str] = field(default_factory=dict)
    nvidia_smi: str = ""  # its output about the GPUs; if empty, there is no nvidia-smi

    def write(self, folder: Path) -> None:
        """Write the packages and their metadata to ``folder``, and programs to its ``bin``."""
        (folder / "bin").mkdir()
        if self.nvidia_smi:
            program = folder / "bin" / "nvidia-smi"
            program.write_text(f"#!/bin/sh\necho '{self.nvidia_smi}'\n")
            program.chmod(0o755)
        # Those of CuPy's own CUDA also hide what the tests' environment may have.
        versions = dict.fromkeys(WHEELS, f"{self.cuda // 1000}.0") | self.wheels
        versions |= dict.fromkeys(self.distributions, "14.2.0")
        for name, version in versions.items():
            info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
        if not self.package:
            return
        majors = {
            name: self.libraries.get(name, self.cuda // 1000)
            for name in ("nvrtc", "cublas", "cublasLt")
        }
        cublas = compile_library(
            "".join(
                f'extern "C" int {name}GetProperty(int property, int* value) {{'
                f" *value = property == 0 ? {majors[name]} : -1; return 0; }}\n"
                for name in ("cublas", "cublasLt")
            )
        )
        modules = {
            "cupy/__init__.py": f"{self.on_import}\nfrom . import cuda\n",
            "cupy/cuda/__init__.py": f"""
                from . import nvrtc, runtime
                class Device:
                    compute_capability = {self.capability!r}
                def Stream(non_blocking):
                    raise MemoryError("the GPU is full")
                """,
            "cupy/cuda/runtime.py": f"""
                runtimeGetVersion = lambda: {self.cuda}
                driverGetVersion = lambda: {self.driver}
                def getDeviceCount():
                    if isinstance({self.gpus!r}, str):
                        raise RuntimeError({self.gpus!r})
                    return {self.gpus!r}
                """,
            "cupy/cuda/nvrtc.py": f"""
                from cuda.pathfinder import load_nvidia_dynamic_lib
                def getVersion():
                    load_nvidia_dynamic_lib("nvrtc")
                    return {majors['nvrtc']}, 5
                """,
            "cuda/__init__.py": "",
            "cuda/pathfinder.py": f"""
                class Loaded:
                    abs_path = {str(cublas)!r}
                def load_nvidia_dynamic_lib(name):
                    if name == {self.missing!r}:
                        files = f"lib{{name}}.so.13 or lib{{name}}.so.12"
                        raise RuntimeError(f"Failure finding {{files}}: No such file\\n\\n")
                    return Loaded
                """,
        }
        for name, text in modules.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))


NO_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"
NO_DEVICE = "cudaErrorNoDevice: no CUDA-capable device is detected"
BROKEN = """
frame = "=" * 64
try:
    raise ImportError("libcudart.so.12: cannot open shared object file")
except ImportError as error:
    raise ImportError(f"\\n{frame}\\nFailed to import CuPy.\\n\\n  {error}") from error
"""
CUPY_12 = f"pip uninstall -y cupy-cuda12x, then {INSTALL_12}"
CUPY_13 = f"pip uninstall -y cupy-cuda13x, then {INSTALL_12}"

BOTH = {"nvidia-cublas": "13.1.0.3", "nvidia-cuda-nvrtc": "13.0.88"}  # beside those for CUDA 12

LACKING = {
    "CuPy not installed": Machine(
        "CuPy is not installed, and no GPU was found (there is no nvidia-smi).",
        distributions=(),
        package=False,
    ),
    "CuPy not installed, a new GPU": Machine(
        f"CuPy is not installed: {INSTALL_13}.",
        distributions=(),
        package=False,
        nvidia_smi="8.9, 580.65.06, NVIDIA GeForce RTX 4090",
    ),
    "CuPy not installed, an old GPU": Machine(
        f"CuPy is not installed: {INSTALL_12}.",
        distributions=(),
        package=False,
        nvidia_smi="6.1, 580.65.06, NVIDIA GeForce GTX 1060 6GB",
    ),
    "CuPy lost its files": Machine(
        f"CuPy cannot be imported (No module named 'cupy'): {CUPY_12}.", package=False
    ),
    "CuPy broken": Machine(
        f"CuPy cannot be imported (libcudart.so.12: cannot open shared object file): {CUPY_12}.",
        on_import=BROKEN,
        nvidia_smi="8.6, 550.54.14, NVIDIA GeForce RTX 3060",
    ),
    "two distributions": Machine(
        "Several CuPy distributions are installed (cupy-cuda12x, cupy-cuda13x): "
        f"pip uninstall -y cupy-cuda12x cupy-cuda13x, then {INSTALL_12}.",
        distributions=("cupy-cuda12x", "cupy-cuda13x"),
    ),
    "CuPy for another CUDA": Machine(
        f"This CuPy is not for CUDA 12 or 13: pip uninstall -y cupy-cuda11x, then {INSTALL_12}.",
        distributions=("cupy-cuda11x",),
        cuda=11080,
    ),
    "no driver": Machine(
        "There is no NVIDIA driver: install it (525 or newer), until nvidia-smi lists the GPU.",
        driver=0,
        gpus=NO_DRIVER,
    ),
    "driver too old": Machine(
        "The NVIDIA driver is too old for this CuPy and its CUDA 12: install driver 525 or newer.",
        driver=11080,  # what driver 520 reports
        gpus=NO_DRIVER,
        nvidia_smi='Field "compute_cap" is not a valid field to query.',
    ),
    "driver too old for CUDA 13": Machine(
        "The NVIDIA driver is too old for this CuPy and its CUDA 13: "
        f"install driver 580 or newer, or {CUPY_13}.",
        distributions=("cupy-cuda13x",),
        cuda=13000,
        driver=12090,  # what driver 575 reports
        gpus=NO_DRIVER,
        nvidia_smi="8.6, 575.51.03, NVIDIA GeForce RTX 3060",
    ),
    "no GPU": Machine(
        f"The NVIDIA driver finds no usable GPU ({NO_DEVICE}): "
        "see nvidia-smi and CUDA_VISIBLE_DEVICES.",
        gpus=f"{NO_DEVICE}\n",
    ),
    "no GPU listed": Machine(
        "The NVIDIA driver finds no usable GPU (it lists none): "
        "see nvidia-smi and CUDA_VISIBLE_DEVICES.",
        gpus=0,
    ),
    "GPU too old": Machine(  # a GTX 1080
        f"The GPU (compute capability 6.1) is too old for this CuPy and its CUDA 13: {CUPY_13}.",
        distributions=("cupy-cuda13x",),
        cuda=13000,
        driver=13000,
        capability="61",
        nvidia_smi="6.1, 580.65.06, NVIDIA GeForce GTX 1080",
    ),
    "no NVRTC": Machine(
        "CUDA's library NVRTC is missing (Failure finding libnvrtc.so.13 or libnvrtc.so.12: "
        f"No such file): {INSTALL_12}.",
        missing="nvrtc",
    ),
    "no cuBLAS": Machine(
        "CUDA's library cuBLAS is missing (Failure finding libcublas.so.13 or libcublas.so.12: "
        f"No such file): {INSTALL_13}.",
        distributions=("cupy-cuda13x",),
        cuda=13000,
        driver=13000,
        missing="cublas",
    ),
    "no cuBLAS for a CuPy built here": Machine(
        "CUDA's library cuBLAS is missing (Failure finding libcublas.so.13 or libcublas.so.12: "
        f"No such file): pip uninstall -y cupy, then {INSTALL_12}.",
        distributions=("cupy",),
        missing="cublas",
    ),
    "another NVRTC, an old GPU": Machine(
        "CUDA's library NVRTC is of CUDA 13, this CuPy of 12: pip uninstall -y nvidia-cublas "
        f"nvidia-cuda-nvrtc, then {INSTALL_12}.",
        driver=13000,
        capability="61",
        libraries={"nvrtc": 13, "cublas": 13, "cublasLt": 13},
        wheels=BOTH,
    ),
    "another NVRTC, a newer GPU": Machine(
        "CUDA's library NVRTC is of CUDA 13, this CuPy of 12: pip uninstall -y nvidia-cublas "
        f"nvidia-cuda-nvrtc, then {INSTALL_12}, or pip uninstall -y cupy-cuda12x, "
        f"then {INSTALL_13}.",
        driver=13000,
        libraries={"nvrtc": 13, "cublas": 13, "cublasLt": 13},
        wheels=BOTH,
    ),
    "another cuBLAS, no driver for it": Machine(
        "CUDA's library cuBLAS is of CUDA 13, this CuPy of 12: pip uninstall -y nvidia-cublas, "
        f"then {INSTALL_12}.",
        libraries={"cublas": 13, "cublasLt": 13},
        wheels={"nvidia-cublas": "13.1.0.3", "nvidia-cuda-nvrtc-cu12": "12.9.86"},
    ),
    "another cuBLASLt, from outside": Machine(
        f"CUDA's library cuBLASLt is of CUDA 11, this CuPy of 12: {INSTALL_12}.",
        libraries={"cublasLt": 11},
    ),
    "an older NVRTC": Machine(
        "CUDA's library NVRTC is of CUDA 12, this CuPy of 13: pip uninstall -y "
        f"nvidia-cuda-nvrtc-cu12, then {INSTALL_13}, or {CUPY_13}.",
        distributions=("cupy-cuda13x",),
        cuda=13000,
        driver=13000,
        libraries={"nvrtc": 12},
        wheels={"nvidia-cublas": "13.1.0.3", "nvidia-cuda-nvrtc-cu12": "12.9.86"},
    ),
    "another NVRTC for a CuPy built here": Machine(
        "CUDA's library NVRTC is of CUDA 13, this CuPy of 12: pip uninstall -y nvidia-cublas "
        f"nvidia-cuda-nvrtc cupy, then {INSTALL_12}.",
        distributions=("cupy",),
        driver=13000,
        libraries={"nvrtc": 13},
        wheels=BOTH,
    ),
}

COMPLETE = {
    "GTX 1080, CUDA 12": Machine(None, driver=13000, capability="61"),
    "RTX 2060, CUDA 13": Machine(
        None, distributions=("cupy-cuda13x",), cuda=13000, driver=13000, capability="75"
    ),
    "B200, CUDA 12, oldest driver": Machine(None, driver=12000, capability="100"),
    "a CuPy built here": Machine(None, distributions=("cupy",)),
    "wheels of two CUDAs, but the right libraries": Machine(None, wheels=BOTH),
}
