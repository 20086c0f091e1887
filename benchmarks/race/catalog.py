"""The list of contestants: their files, and which of them can run here."""

from __future__ import annotations

import ast
import ctypes.util
import importlib.util
import subprocess
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import ROOT
from benchmarks.common import machine

from .processes import Program

FOLDER = ROOT / "benchmarks" / "contestants"
OURS = FOLDER / "gpunn_fit.py"
NUMPY, PRODUCTS = "NumPy as in tutorials", "only the matrix products"
EAGER, FUSED = "PyTorch", "PyTorch, fused optimizer"
JIT, SCAN = "JAX, jit a step", "JAX, scan over the epoch"
POINTS = "FANN"
QUICK = (NUMPY, PRODUCTS, FUSED, SCAN, POINTS)  # the other frameworks in a quick run
YARDSTICKS = (NUMPY, PRODUCTS)
# Compile for minutes, or train for as long as all others together: only in a full run.
SLOW = ("jit_compile", "Keras 3 on PyTorch")
ON_GPU = "(card)"  # marks a variant that runs on a GPU
# Whether a framework finds the GPU, checked without creating a context in this process.
FINDS = {
    "torch": "import torch; print(torch.cuda.is_available())",
    "jax": "import jax; print(jax.default_backend() == 'gpu')",
}


class Variant(NamedTuple):
    file: Path
    name: str
    options: dict[str, Any]
    requires: tuple[str, ...]
    convolves: bool  # whether it has the convolutional network
    only: str | None = None  # the only workload that it implements


@cache
def variants() -> list[Variant]:
    """Return every variant of every contestant, ours first, read from the files without imports."""
    found = []
    for file in sorted(FOLDER.glob("*.py"), key=lambda file: (file != OURS, file.name)):
        constants = {}
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in ("VARIANTS", "REQUIRES", "CONVOLVES", "ONLY"):
                    constants[name] = ast.literal_eval(node.value)
        for name, options in constants.get("VARIANTS", {}).items():
            # Keras's backend is a separate package.
            backend = (options["backend"],) if "keras" in constants["REQUIRES"] else ()
            requires = (*constants["REQUIRES"], *backend)
            convolves = constants.get("CONVOLVES", False)
            only = constants.get("ONLY")
            found.append(Variant(file, name, options, requires, convolves, only))
    return found


def reference() -> str:
    """Return the baseline: gpunn on the CPU, with the compiled kernels if available."""
    return ours()[0].name


def ours(gpu: bool = False) -> list[Variant]:
    """Return gpunn's variants that can run here; with a ``gpu``, also the GPU variant."""
    own = [v for v in variants() if v.file == OURS and (gpu or ON_GPU not in v.name)]
    return [v for v in own if why_no_backend(v) is None]


def choose(
    against: Collection[str] = (), quick: bool = False, full: bool = False, gpu: bool = False
) -> tuple[list[Program], dict[str, str]]:
    """Return the programs to run, and by name why others are absent.

    Args:
        against: substrings of the names of the frameworks to compare with; all by default.
        quick, full: determine the default selection.
        gpu: whether gpunn can use a GPU here.

    Raises:
        ValueError: if no framework's name contains such a substring.
    """
    every = variants()
    for part in against:
        if not any(_matches(part, v) for v in every if v.file != OURS):
            known = ", ".join(dict.fromkeys(v.file.stem for v in every if v.file != OURS))
            raise ValueError(f"--against {part!r}: no such neighbour. Known: {known}; or a name.")
    programs, absent = [], {}
    for v in every:
        on_gpu = ON_GPU in v.name
        if on_gpu and not gpu:
            continue
        if v.file != OURS:
            if against:
                wanted = any(_matches(part, v) for part in against)
            elif quick:
                wanted = v.name.replace(f" {ON_GPU}", "") in QUICK
            else:
                wanted = full or not any(word in v.name for word in SLOW)
                # With a GPU, the other frameworks' CPU times are for a full run.
                wanted &= full or not gpu or on_gpu or v.name in YARDSTICKS
            if not wanted:
                continue
        reason = why_absent(v.requires, on_gpu) or why_no_backend(v)
        if reason is None:
            programs.append(program(v))
        else:
            absent[v.name] = reason
    return programs, absent


def program(variant: Variant, **environment: str) -> Program:
    """Return the program of a variant; on a GPU the number of host threads does not matter."""
    alone = variant.file == OURS or ON_GPU in variant.name
    return Program(variant.name, variant.file, variant.name, environment, alone)


def _matches(part: str, v: Variant) -> bool:
    return part.lower() in v.name.lower() or part.lower() in v.file.stem.lower()


def convolves(wanted: Program) -> bool:
    """Whether this contestant implements the convolutional network."""
    return any(v.convolves for v in variants() if v.file == wanted.file)


def only(wanted: Program) -> str | None:
    """Return the only workload that this contestant implements; None if there are several."""
    return next((v.only for v in variants() if v.file == wanted.file), None)


def why_no_backend(v: Variant) -> str | None:
    """Return why gpunn with compiled kernels cannot run here; None if it can."""
    from gpunn.backends.compiled import cpu_kernels

    wanted = v.file == OURS and v.options["backend"] == "compiled"
    return cpu_kernels.why_not() if wanted else None


def why_absent(requires: tuple[str, ...], on_gpu: bool) -> str | None:
    for package in requires:
        if package.startswith("lib"):  # a system library
            if ctypes.util.find_library(package[3:]) is None:
                return f"{package} is not installed"
        elif importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    for package in requires if on_gpu else ():
        if package in FINDS and not _finds_gpu(package):
            return f"{package} finds no GPU"
    return None


@cache
def _finds_gpu(package: str) -> bool:
    command = [sys.executable, "-c", FINDS[package]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.strip().endswith("True")


def has_gpu() -> bool:
    """Whether gpunn can use a GPU here."""
    if not machine.gpus():
        return False
    from gpunn.backends.cupy.driver.gpu import why_not

    return why_not() is None
