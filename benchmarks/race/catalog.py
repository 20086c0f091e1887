"""Who takes part: the contestants' files, and which of them can run here."""

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

from .rounds import Program

FOLDER = ROOT / "benchmarks" / "contestants"
OURS = FOLDER / "gpunn_fit.py"
NUMPY, PRODUCTS = "NumPy as in tutorials", "only the matrix products"
EAGER, FUSED = "PyTorch", "PyTorch, fused optimizer"
JIT, SCAN = "JAX, jit a step", "JAX, scan over the epoch"
POINTS = "FANN"
QUICK = (NUMPY, PRODUCTS, FUSED, SCAN, POINTS)  # neighbours of a quick run
YARDSTICKS = (NUMPY, PRODUCTS)
SLOW = ("jit_compile",)  # compile for minutes: only in a full run
ON_CARD = "(card)"  # a variant of this name runs on a card
# Whether a framework finds the card, asked without a context in this process.
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
    only: str | None = None  # the one workload that it has


@cache
def variants() -> list[Variant]:
    """Every variant of every contestant, ours first; read from the files, nothing imported."""
    found = []
    for file in sorted(FOLDER.glob("*.py"), key=lambda file: (file != OURS, file.name)):
        constants = {}
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in ("VARIANTS", "REQUIRES", "CONVOLVES", "ONLY"):
                    constants[name] = ast.literal_eval(node.value)
        for name, options in constants.get("VARIANTS", {}).items():
            # What Keras runs on is a package of its own.
            backend = (options["backend"],) if "keras" in constants["REQUIRES"] else ()
            requires = (*constants["REQUIRES"], *backend)
            convolves = constants.get("CONVOLVES", False)
            only = constants.get("ONLY")
            found.append(Variant(file, name, options, requires, convolves, only))
    return found


def reference() -> str:
    """The contestant that the others are compared with: gpunn on the CPU, compiled if it is."""
    return ours()[0].name


def ours(card: bool = False) -> list[Variant]:
    """gpunn's own variants that can run here; with a ``card`` that on it too."""
    own = [v for v in variants() if v.file == OURS and (card or ON_CARD not in v.name)]
    return [v for v in own if why_no_backend(v) is None]


def choose(
    against: Collection[str] = (), quick: bool = False, full: bool = False, card: bool = False
) -> tuple[list[Program], dict[str, str]]:
    """The programs to run, and by name why others are absent.

    Args:
        against: parts of the names of the neighbours wanted; all by default.
        quick, full: which of them by default.
        card: whether there is a card that gpunn can use.

    Raises:
        ValueError: if no neighbour has a name with such a part.
    """
    every = variants()
    for part in against:
        if not any(_matches(part, v) for v in every if v.file != OURS):
            known = ", ".join(dict.fromkeys(v.file.stem for v in every if v.file != OURS))
            raise ValueError(f"--against {part!r}: no such neighbour. Known: {known}; or a name.")
    programs, absent = [], {}
    for v in every:
        on_card = ON_CARD in v.name
        if on_card and not card:
            continue
        if v.file != OURS:
            if against:
                wanted = any(_matches(part, v) for part in against)
            elif quick:
                wanted = v.name.replace(f" {ON_CARD}", "") in QUICK
            else:
                wanted = full or not any(word in v.name for word in SLOW)
                # Beside a card the neighbours' times on the CPU are for a full run.
                wanted &= full or not card or on_card or v.name in YARDSTICKS
            if not wanted:
                continue
        reason = why_absent(v.requires, on_card) or why_no_backend(v)
        if reason is None:
            programs.append(program(v))
        else:
            absent[v.name] = reason
    return programs, absent


def program(variant: Variant, **environment: str) -> Program:
    """A variant as it is started; on a card the host's threads are no matter."""
    alone = variant.file == OURS or ON_CARD in variant.name
    return Program(variant.name, variant.file, variant.name, environment, alone)


def _matches(part: str, v: Variant) -> bool:
    return part.lower() in v.name.lower() or part.lower() in v.file.stem.lower()


def convolves(wanted: Program) -> bool:
    """Whether this contestant has the convolutional network."""
    return any(v.convolves for v in variants() if v.file == wanted.file)


def only(wanted: Program) -> str | None:
    """The one workload that this contestant has, or None if it has the others too."""
    return next((v.only for v in variants() if v.file == wanted.file), None)


def why_no_backend(v: Variant) -> str | None:
    """Of gpunn on its compiled kernels: why it cannot run here."""
    from gpunn.backends.compiled import cpu_kernels

    wanted = v.file == OURS and v.options["backend"] == "compiled"
    return cpu_kernels.why_not() if wanted else None


def why_absent(requires: tuple[str, ...], on_card: bool) -> str | None:
    for package in requires:
        if package.startswith("lib"):  # one of the system's
            if ctypes.util.find_library(package[3:]) is None:
                return f"{package} is not installed"
        elif importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    for package in requires if on_card else ():
        if package in FINDS and not _finds_card(package):
            return f"{package} finds no card"
    return None


@cache
def _finds_card(package: str) -> bool:
    command = [sys.executable, "-c", FINDS[package]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.strip().endswith("True")


def has_card() -> bool:
    """Whether gpunn can use a card here."""
    if not machine.cards():
        return False
    from gpunn.backends.cupy.driver.card import why_not

    return why_not() is None
