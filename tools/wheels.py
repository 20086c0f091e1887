"""Build the wheels for Linux, x86-64 and ARM64, and the source archive: `make wheels`.

Each machine gets two wheels in dist/: one for Python 3.11, and one of the stable interface for
Python 3.12 and newer. The compiler is Zig's, from the package ``ziglang`` in the version that
pyproject.toml pins: it brings the headers and libraries of both machines, so that the wheels run
on each Linux with the C library of ``manylinux_2_28``. Each wheel is then audited. It requires a
Python 3.11 and a newer one, with headers; a wheel whose Python is missing is left out, with a
message. There is no wheel for free-threaded Python: the thread tests have not been run there.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import deflate
import zig

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheels"  # environments of the Pythons, kept
GLIBC = (2, 28)
MODULES = {"x86_64": "baseline avx2 avx512", "aarch64": "baseline"}
OLDEST, STABLE = (3, 11), (3, 12)
# The files that a clone also has, and a build must not see.
LEFT_BEHIND = (".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "_kernels_*",
               "not_built.json")  # fmt: skip
MEGABYTE = 1_000_000
# A wheel has at most 4 MB. Code that takes little of a step's time is optimized for size, as for
# browsers in tools/web.py; so is all of the baseline of x86-64, which few CPUs choose. Loops are
# unrolled in products only, g++ does it nowhere.
SMALLER = {"small": "|".join(f"*/{name}.cpp*" for name in (
               "activations", "attention", "convolution", "elements", "expressions",
               "generated_loops", "lanes", "layout", "losses", "metrics", "module", "narrow",
               "noise", "normalization", "penalties", "places", "pool", "pooling",
               "rare_gathers", "rows", "schedules", "updates")),
           "unrolled": "*/products.cpp*",
           }  # fmt: skip
RARE = {"x86_64": "*=_kernels_baseline*", "aarch64": "none"}
CXX = """#!/bin/sh
case "$*" in
  {small}|{rare}) exec {command} "$@" -Os ;;
  {unrolled}|*" -shared "*) exec {command} "$@" ;;
  *) exec {command} "$@" -fno-unroll-loops ;;
esac
"""


class CannotBuild(Exception):
    """A wheel cannot be built here, or does not pass its audit."""


@dataclass(frozen=True)
class Interpreter:
    """A Python to build with, and where its headers are."""

    program: str
    version: tuple[int, int]
    include: str

    @property
    def stable(self) -> bool:
        return self.version >= STABLE

    @property
    def name(self) -> str:
        return f"cp{self.version[0]}{self.version[1]}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the wheels")
    parser.add_argument("--machines", nargs="+", choices=MODULES, default=list(MODULES))
    parser.add_argument("--pythons", nargs="+", choices=("3.11", "3.12"), default=["3.11", "3.12"],
                        help="3.12 stands for the wheel of the stable interface")  # fmt: skip
    parser.add_argument("--no-audit", action="store_true", help="only build")
    asked = parser.parse_args(arguments)
    pythons = {"3.11": find(OLDEST, OLDEST), "3.12": find(STABLE, (3, 99))}
    missing = [name for name in asked.pythons if pythons[name] is None]
    asked.dist.mkdir(parents=True, exist_ok=True)
    built = []
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as folder, open(WORK / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one build at a time
            found = [python for name in asked.pythons if (python := pythons[name])]
            if not found:
                raise CannotBuild("There is no Python with headers to build wheels with.")
            archive = source_archive(found[0], Path(folder), asked.dist)
            built = [archive]
            for python in found:
                for machine in asked.machines:
                    print(f"Building for {machine} with {python.program}", flush=True)
                    built.append(wheel(archive, python, machine, asked.dist))
        if not asked.no_audit:
            audit(built)
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 1
    for path in built:
        print(f"{path.name}: {path.stat().st_size / MEGABYTE:.2f} MB, {unpacked(path)}")
    for name in missing:
        which = "3.11" if name == "3.11" else "3.12 or newer"
        print(f"Left out: no Python {which} with headers was found.", file=sys.stderr)
    return int(bool(missing))


def find(lowest: tuple[int, int], highest: tuple[int, int]) -> Interpreter | None:
    """Return the oldest Python between two versions that has headers, or None."""
    found = [
        python for program in candidates() if (python := ask(program))
        if lowest <= python.version <= highest
    ]  # fmt: skip
    return min(found, key=lambda python: python.version, default=None)


def candidates() -> Iterator[str]:
    yield sys.executable
    for minor in range(OLDEST[1], 20):
        if found := shutil.which(f"python3.{minor}"):
            yield found
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip()
        yield from sorted(map(str, Path(root).glob("versions/3.*/bin/python")))


def ask(program: str) -> Interpreter | None:
    """Return what a Python says of itself: None for one without the GIL or without headers."""
    script = (
        "import ensurepip, os, sys, sysconfig, venv\n"
        "include = sysconfig.get_path('include')\n"
        "free = sysconfig.get_config_var('Py_GIL_DISABLED')\n"
        "if sys.implementation.name == 'cpython' and not free:\n"
        "    if os.path.exists(os.path.join(include, 'Python.h')):\n"
        "        print(*sys.version_info[:2], include)"
    )
    try:
        done = subprocess.run(
            [program, "-I", "-c", script], capture_output=True, text=True, env=clean()
        )
    except OSError:
        return None
    if done.returncode or not done.stdout:
        return None
    major, minor, include = done.stdout.strip().split(" ", 2)
    return Interpreter(program, (int(major), int(minor)), include)


def clean() -> dict[str, str]:
    """Return this process's environment without what would change a build."""
    own = ("PYTHON", "GPUNN", "VIRTUAL_ENV", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS")
    own += ("LDFLAGS", "LDSHARED", "LDCXXSHARED", "AR")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def environment(python: Interpreter) -> Path:
    """Return the Python of an environment that has what pyproject.toml requires of a build."""
    folder = WORK / python.name
    own = folder / "bin" / "python"
    if not own.exists():
        run(python.program, "-m", "venv", folder)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        run(own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--only-binary=:all:", *project["build-system"]["requires"])  # fmt: skip
    return own


def source_archive(python: Interpreter, folder: Path, dist: Path) -> Path:
    """Write the source archive, from a copy of the tree: setuptools packs what old builds list."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_BEHIND), symlinks=True)
    run(environment(python), "setup.py", "--quiet", "sdist", "--dist-dir", folder / "made",
        cwd=tree, GPUNN_BUILD="none", **since())  # fmt: skip
    return take(folder / "made", "*.tar.gz", dist)


def wheel(archive: Path, python: Interpreter, machine: str, dist: Path) -> Path:
    """Build a wheel from the source archive; return where it was written."""
    folder = WORK / f"{python.name}-{machine}"
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (tree,) = folder.glob("gpunn-*")
    platform = f"manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}"
    run(environment(python), "setup.py", "--quiet", "bdist_wheel", "--plat-name", platform,
        "--dist-dir", folder / "made", cwd=tree, **compiler(python, machine, folder))  # fmt: skip
    made = take(folder / "made", "*.whl", dist)
    pack_tightly(made)
    shutil.rmtree(folder)
    return made


class Tight:
    """What `zlib.compressobj` returns, but for libdeflate's highest level: 3% fewer bytes."""

    def __init__(self, *_: object) -> None:
        self._data = bytearray()

    def compress(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def flush(self) -> bytes:
        packed: bytes = deflate.deflate_compress(bytes(self._data), 12)
        return packed


def pack_tightly(path: Path) -> None:
    """Compress a wheel's files again: nothing else of them changes."""
    tight = path.with_suffix(".tight")
    with (
        zipfile.ZipFile(path) as loose,
        zipfile.ZipFile(tight, "w") as file,
        mock.patch("zlib.compressobj", Tight),
    ):
        for one in loose.infolist():
            file.writestr(one, loose.read(one), zipfile.ZIP_DEFLATED)
    tight.replace(path)


def compiler(python: Interpreter, machine: str, folder: Path) -> dict[str, str]:
    """Return the variables with which setup.py compiles for a machine, by Zig."""
    target = f"-target {machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    try:
        # Functions that throw nothing need no tables for unwinding.
        tables = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
        command, variables = zig.compiler(folder, "-w", *tables, *target.split())
    except ModuleNotFoundError:
        raise CannotBuild("The package ziglang is needed: make .venv/.for-wheels") from None
    program = shlex.quote(str(zig.program()))
    cc, cxx = f"{program} cc {target}", folder / "c++"
    cxx.write_text(CXX.format(command=command, rare=RARE[machine], **SMALLER), encoding="utf-8")
    cxx.chmod(0o755)
    suffix = f".cpython-{python.name[2:]}-{machine}-linux-gnu.so"
    # Debian's Python.h includes <MACHINE-linux-gnu/python3.x/pyconfig.h>, which is the same text
    # on all Linux machines of 64 bits.
    name = f"python{python.version[0]}.{python.version[1]}"
    for place in Path(python.include).parent.glob(f"*-linux-gnu/{name}"):
        beside = folder / "include" / f"{machine}-linux-gnu" / name
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.symlink_to(place)
    return {
        "GPUNN_BUILD": MODULES[machine],
        "CC": cc,
        "CXX": str(cxx),
        "AR": f"{program} ar",
        "LDSHARED": f"{cc} -shared -s",
        "LDCXXSHARED": f"{cxx} -shared -s",
        "CFLAGS": f"-idirafter {folder / 'include'}",
        **variables,
        "SETUPTOOLS_EXT_SUFFIX": suffix,
        "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
        **since(),
    }


def since() -> dict[str, str]:
    """Return the time of the last commit, for files in archives: the same sources, same bytes."""
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True
    )
    return {"SOURCE_DATE_EPOCH": done.stdout.strip() or "1700000000"}


def take(folder: Path, pattern: str, dist: Path) -> Path:
    """Move the only file of a pattern to a folder."""
    (made,) = folder.glob(pattern)
    return Path(shutil.move(made, dist / made.name))


def unpacked(path: Path) -> str:
    """Return the size that a wheel takes once installed."""
    if path.suffix != ".whl":
        return "sources"
    with zipfile.ZipFile(path) as file:
        return f"{sum(one.file_size for one in file.infolist()) / MEGABYTE:.2f} MB installed"


def audit(built: list[Path]) -> None:
    """Check the wheels and the source archive with the packagers' tools.

    Raises:
        CannotBuild: if one of them complains.
    """
    tools = (sys.executable, "-m")
    run(*tools, "twine", "check", "--strict", *built)
    for path in (path for path in built if path.suffix == ".whl"):
        said = " ".join(run(*tools, "auditwheel", "show", path).split())
        served = re.search(r'platform tag: "manylinux_(\d+)_(\d+)_(\w+)"', said)
        if served is None or (int(served[1]), int(served[2])) > GLIBC:
            raise CannotBuild(f"auditwheel of {path.name}: {said}")
        if not path.name.endswith(f"{served[3]}.whl"):
            raise CannotBuild(f"{path.name} has modules for {served[3]}")
        if "-abi3-" in path.name:
            run(*tools, "abi3audit", "--strict", path)
    print(f"auditwheel, abi3audit and twine check --strict: clean ({len(built)} files)")


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean() | variables,
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        output = (done.stdout + done.stderr).strip().splitlines()[-30:]
        raise CannotBuild("\n".join([f"{' '.join(map(str, command))} failed:", *output]))
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
