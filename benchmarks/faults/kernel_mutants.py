"""Random faults in the kernels' source, C++ and CUDA, and whether the tests detect them.

    python -m benchmarks.faults.kernel_mutants --count 60

It draws lines of ``kernels/`` by a seed and changes one sign, comparison, number or barrier in
each. Formulas and CPU loops are rebuilt for ``baseline`` (a few seconds with ccache, if
installed); the tests compile the GPU source themselves. Run it in a separate clone. The
results go to the file of `mutants.py`, whose ``page`` counts both.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import ROOT

from . import mutants

# Patterns in the code of a line, and their replacements.
CHANGES = (
    (r" < ", " <= "), (r"<=", "<"), (r" > ", " >= "), (r">=", ">"), (r"==", "!="), (r"!=", "=="),
    (r"&&", "||"), (r"\|\|", "&&"),
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "), (r" % ", " / "),
    (r"\+=", "-="), (r"-=", "+="), (r"\*=", "/="), (r"(?<=[ (=])-(?=[a-z(])", ""),
    (r"(?<=[ (,])!(?=[a-z(])", ""), (r"\b1\b(?![.:])", "0"), (r"\b0\b(?![.x])", "1"),
    (r"\b2\b(?![.:])", "3"), (r"(?<!\w)0\.5\b", "1.5"), (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"), (r"__sync(threads|warp)\([^)]*\);", ";"), (r"\bcontinue;", ";"),
    (r"\bmin\(", "max("), (r"\bmax\(", "min("), (r"\bbreak;", ";"),
)  # fmt: skip
BOTH = (
    "tests/layers/test_normalization.py",
    "tests/layers/test_convolution.py",
    "tests/backends/test_parity.py",
)
GPU_TESTS = (
    "tests/kernels/test_kernels_on_cpu.py",
    "tests/kernels/test_cuda_on_cpu.py",
    "tests/backends/test_launches.py",
    "tests/backends/test_emulated_training.py",
    "tests/backends/test_cupy_backend.py",
    "tests/backends/test_launch_modes.py",
)
CPU = (
    "tests/backends/compiled/test_compiled.py",
    "tests/backends/compiled/test_compiled_library.py",
    "tests/backends/compiled/test_compiled_updates.py",
    "tests/backends/compiled/test_compiled_losses.py",
    "tests/backends/compiled/test_compiled_convolution.py",
    "tests/backends/compiled/test_compiled_products.py",
    "tests/kernels/test_math_functions.py",
    "tests/backends/test_operations.py",
    "tests/training/test_small_networks.py",
    "tests/feeding/test_data_formats.py",
    "tests/references/pytorch/test_pytorch.py",
    "tests/layers/test_gradients.py",
)


def _code(line: str) -> str:
    """Return a line without anything that is not code of a function."""
    code = line.partition("//")[0]
    return "" if code.lstrip().startswith(("#", "*", "/*", "template", "using", "static_assert")) \
        else code  # fmt: skip


def candidates() -> dict[tuple[str, int], list[tuple[int, int, str]]]:
    """Return the changes of each file and line: start column, end column, replacement."""
    found: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for path in sorted((ROOT / "kernels").rglob("*")):
        if path.suffix not in (".cu", ".cuh", ".cpp", ".hpp"):
            continue
        inside = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = _code(line)
            if "/*" in line or inside:
                inside, code = "*/" not in line, ""
            changes = [
                (m.start(), m.end(), new) for old, new in CHANGES for m in re.finditer(old, code)
            ]
            if changes and line.startswith(" "):  # within a body
                found[str(path.relative_to(ROOT)), number] = changes
    return found


def drawn(count: int, seed: int) -> list[tuple[str, int, tuple[int, int, str]]]:
    lines, generator = candidates(), random.Random(seed)
    chosen = generator.sample(sorted(lines), len(lines))[:count]
    return [(file, number, generator.choice(lines[file, number])) for file, number in chosen]


def build() -> str:
    """Build the compiled kernels for ``baseline``; return the compiler's errors, if any."""
    compiler = {"CC": "ccache gcc", "CXX": "ccache g++"} if shutil.which("ccache") else {}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    module = next(iter(ROOT.glob("gpunn/backends/compiled/_kernels_baseline*")), None)
    if module is not None:
        module.unlink()  # the build is optional: if it fails, no module must be left
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "GPUNN_BUILD": "baseline", **compiler},
        capture_output=True, text=True,
    )  # fmt: skip
    built = any(ROOT.glob("gpunn/backends/compiled/_kernels_baseline*"))
    return "" if built else done.stderr[-500:]


def tried(file: str) -> tuple[str, str]:
    """Build the targets of the file, and run its tests."""
    tests: tuple[str, ...] = ()
    if not file.endswith(".cu"):
        if build():
            return "refused", "the compiler"
        tests += CPU
    if "compiled" not in file:
        tests += GPU_TESTS
    os.environ["GPUNN_INSTRUCTIONS"] = "baseline"
    return mutants.tried([*tests, *BOTH], limit=900)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=60, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--part", default="0/1", help="which of how many parts of them")
    parser.add_argument("--out", type=Path, default=mutants.PATH, help="the file of results")
    arguments = parser.parse_args()
    out, (number, parts) = arguments.out, map(int, arguments.part.split("/"))
    result: dict[str, Any] = {"seed": arguments.seed, "mutants": []}
    if out.exists():
        result = json.loads(out.read_text())
    known = {(m["file"], m["line"]) for m in result["mutants"]}
    for file, line, (begin, end, new) in drawn(arguments.count, arguments.seed)[number::parts]:
        if (file, line) in known:
            continue
        path, started = ROOT / file, time.perf_counter()
        before = path.read_text()
        lines = before.splitlines(keepends=True)
        old = lines[line - 1]
        lines[line - 1] = f"{old[:begin]}{new}{old[end:]}"
        path.write_text("".join(lines))
        try:
            outcome, by = tried(file)
        finally:
            path.write_text(before)
        print(f"{outcome:9} {file}:{line} {lines[line - 1].strip()} {by}", flush=True)
        if outcome == "refused":
            continue
        result["mutants"].append({
            "file": file, "line": line, "operator": f"{old[begin:end]} -> {new}", "occurrence": 0,
            "change": [f"- {old.strip()}", f"+ {lines[line - 1].strip()}"], "tests": 0,
            "result": outcome, "by": by, "seconds": round(time.perf_counter() - started, 1),
        })  # fmt: skip
        out.write_text(json.dumps(result, indent=1) + "\n")
    build()


if __name__ == "__main__":
    main()
