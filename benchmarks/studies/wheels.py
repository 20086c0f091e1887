"""The wheels of `make wheels`: sizes, kernels by Zig's compiler beside those by g++, and imports.

    python -m benchmarks.studies.wheels [--dist dist] [--rounds 15]

Two copies of the wheel for this Python differ in the compiled modules only: Zig's, and those of
this tree, by the system's compiler. Each runs in a process of its own, on one core, in turns. A
round starts both anew, since the places of code and data in memory differ from start to start.
CPU seconds are measured, since other processes change them less than elapsed time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine, samples
from benchmarks.common.workloads import WORKLOADS, generated_digits, initial_weights

COMPILED = Path("gpunn", "backends", "compiled")
SETS = ("avx512", "avx2", "baseline")
LIMIT = 1.03
TURNS = 3  # in each round, of which the best counts
SIZES, INSTALLED, IMPORT = 4.0, 20.0, 2.0  # MB, MB, times NumPy's
PIECES = {
    "W1": "an epoch of W1, 60,000 rows",
    "W2": "an epoch of W2, 30,000 rows",
    "W5a": "10,000 images predicted at once, 4 times",
    "W5b": "an image predicted, 5,000 times",
    "Huber": "Huber's loss of 10,000 x 784 outputs, by evaluate, 3 times",
}


def pieces() -> dict[str, Callable[[], Any]]:
    """Return what is measured; each call does the same work."""
    import gpunn as keras
    from benchmarks.contestants.gpunn_fit import network

    x, y, x_test, _ = generated_digits()
    found: dict[str, Callable[[], Any]] = {}
    for name, rows in (("W1", 60_000), ("W2", 30_000)):
        model = network(WORKLOADS[name], "compiled")
        model.set_weights(initial_weights(0, WORKLOADS[name]["sizes"]))
        options = {"batch_size": WORKLOADS[name]["batch"], "verbose": 0}

        def epoch(model: Any = model, rows: int = rows, options: Any = options) -> Any:
            model.fit(x[:rows], y[:rows], **options)
            return model.get_weights()

        found[name] = epoch
    images = (x_test.reshape(-1, 784) / np.float32(255)).astype(np.float32)
    predictor = network(WORKLOADS["W2"], "compiled", bytes_in=False)
    predictor.set_weights(initial_weights(0, WORKLOADS["W2"]["sizes"]))
    found["W5a"] = lambda: [
        predictor.predict(images, batch_size=10_000, verbose=0) for _ in range(4)
    ]
    one = images[:1]

    def singly() -> Any:
        for _ in range(5000):
            last = predictor.predict_on_batch(one)
        return [last]

    found["W5b"] = singly
    plain = keras.Sequential([keras.Input((784,)), keras.layers.Activation("linear")])
    plain.compile(loss=keras.losses.Huber(0.3))
    found["Huber"] = lambda: [
        plain.evaluate(images, images[::-1], batch_size=1000, verbose=0) for _ in range(3)
    ]
    return found


def answer() -> None:
    """In a process of its own: run the piece named on each line, answer with its CPU seconds."""
    keras_random_seed()
    found = pieces()
    for line in sys.stdin:
        name = line.strip()
        begun = time.process_time()
        result = found[name]()
        taken = time.process_time() - begun
        digest = hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in result))
        print(json.dumps([taken, digest.hexdigest()]), flush=True)


def keras_random_seed() -> None:
    import gpunn as keras

    keras.utils.set_random_seed(0)


def start(package: Path, instructions: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"}
    environment |= {"GPUNN_INSTRUCTIONS": instructions, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.studies.wheels", "--answer"]
    return subprocess.Popen(
        command, cwd=package, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def ask(process: subprocess.Popen[str], piece: str) -> tuple[float, str]:
    assert process.stdin and process.stdout
    print(piece, file=process.stdin, flush=True)
    taken, digest = json.loads(process.stdout.readline())
    return taken, digest


def compare(wheel: Path, sets: list[str], rounds: int, folder: Path) -> dict[str, Any]:
    """Return the CPU seconds of each piece by both compilers, and whether the results agree."""
    packages = {"zig": folder / "zig", "g++": folder / "gpp"}
    for compiler, package in packages.items():
        zipfile.ZipFile(wheel).extractall(package)
        if compiler == "g++":
            for module in (package / COMPILED).glob("_kernels_*"):
                module.unlink()
            for module in (ROOT / COMPILED).glob("_kernels_*"):
                shutil.copy(module, package / COMPILED)
    found: dict[str, Any] = {}
    for instructions in sets:
        taken = {piece: {compiler: [] for compiler in packages} for piece in PIECES}
        same = dict.fromkeys(PIECES, True)
        for number in range(rounds):
            order = list(packages.items())[:: 1 if number % 2 else -1]
            running = {compiler: start(package, instructions) for compiler, package in order}
            for piece in PIECES:
                best, digests = dict.fromkeys(running, float("inf")), set()
                for turn in range(1 + TURNS):  # the first one warms up
                    for compiler, process in running.items():
                        seconds, digest = ask(process, piece)
                        if turn:
                            best[compiler] = min(best[compiler], seconds)
                            digests.add((turn, digest))
                for compiler, seconds in best.items():
                    taken[piece][compiler].append(seconds)
                same[piece] &= len(digests) == TURNS
            for process in running.values():
                process.communicate()
        found[instructions] = {"cpu_seconds": taken, "same_bits": same}
    return found


def imports(wheel: Path, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return the CPU seconds of processes that import NumPy, gpunn and nothing, in turns."""
    zipfile.ZipFile(wheel).extractall(folder / "import")
    programs = {"nothing": "pass", "numpy": "import numpy", "gpunn": "import gpunn"}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    environment = {**os.environ, "PYTHONPATH": str(folder / "import")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for number in range(rounds + 1):
        for name, program in programs.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", program], env=environment, cwd=folder, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if number:
                taken[name].append(
                    after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                )
    return taken


def sizes(dist: Path) -> dict[str, dict[str, float]]:
    found = {}
    for wheel in sorted(dist.glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            installed = sum(one.file_size for one in file.infolist())
        found[wheel.name] = {"wheel": wheel.stat().st_size / 1e6, "installed": installed / 1e6}
    return found


def versions() -> dict[str, str]:
    """Return the first line in which each compiler names itself."""
    import ziglang

    zig = str(Path(ziglang.__file__).parent / "zig")
    commands = {"zig": [zig, "c++", "--version"], "g++": ["g++", "--version"]}
    return {
        name: subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]
        for name, command in commands.items()
    } | {"ziglang": subprocess.run([zig, "version"], capture_output=True, text=True).stdout.strip()}


def table(result: dict[str, Any]) -> str:
    lines = [
        "# Wheels",
        "",
        "By `benchmarks/studies/wheels.py`. Wheels have at most "
        f"{SIZES:.0f} MB, and {INSTALLED:.0f} MB installed.",
        "",
        "| wheel | MB | installed MB |",
        "| --- | --- | --- |",
    ]
    for name, size in result["megabytes"].items():
        lines.append(f"| `{name}` | {size['wheel']:.2f} | {size['installed']:.2f} |")
    lines += [
        "",
        "The kernels of the wheel by Zig's compiler, beside those by g++ with the same Python",
        "code: CPU milliseconds on one core, medians; the ratio within each round, with its",
        f"quartiles. A round starts new processes and takes the best of {TURNS} turns. The goal is",
        f"at most {LIMIT}. Other processes were running.",
        "",
        "| instructions | work | g++ | Zig | Zig / g++ | same bits |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for instructions, found in result["kernels"].items():
        for piece, taken in found["cpu_seconds"].items():
            gpp, zig = (1e3 * samples.quartiles(taken[name]).middle for name in ("g++", "zig"))
            low, middle, high = samples.quartiles(samples.ratios(taken["zig"], taken["g++"]))
            bits = "yes" if found["same_bits"][piece] else "no"
            lines.append(
                f"| {instructions} | {PIECES[piece]} | {gpp:.1f} | {zig:.1f} | "
                f"{middle:.3f} ({low:.3f} - {high:.3f}) | {bits} |"
            )
    taken = result["import_cpu_seconds"]
    low, middle, high = samples.quartiles(samples.ratios(taken["gpunn"], taken["numpy"]))
    medians = {name: 1e3 * samples.quartiles(values).middle for name, values in taken.items()}
    lines += [
        "",
        f"A process that imports gpunn takes {medians['gpunn']:.0f} ms of CPU time, one that",
        f"imports NumPy {medians['numpy']:.0f} ms, one that imports nothing "
        f"{medians['nothing']:.0f} ms. gpunn / NumPy: "
        f"{middle:.2f} ({low:.2f} - {high:.2f}); the goal is at most {IMPORT:.0f}.",
        "",
        f"{result['compilers']['g++']}; {result['compilers']['zig']} "
        f"(ziglang {result['compilers']['ziglang']}).",
        "",
        machine.line(result["machine"]),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="instruction sets")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer:
        answer()
        return
    machine.on_one_core()
    name = f"*-cp3{sys.version_info[1]}-cp3{sys.version_info[1]}-manylinux_*_x86_64.whl"
    wheel = next(asked.dist.glob(name), None) or next(asked.dist.glob("*-abi3-*_x86_64.whl"))
    result: dict[str, Any] = {"machine": machine.describe(), "compilers": versions()}
    with tempfile.TemporaryDirectory() as folder:
        result["kernels"] = compare(wheel, asked.sets, asked.rounds, Path(folder))
        result["import_cpu_seconds"] = imports(wheel, asked.rounds, Path(folder))
    result["megabytes"] = sizes(asked.dist)
    (RESULTS / "wheels.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "wheels.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
