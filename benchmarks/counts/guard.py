"""Compare the machine instructions of six short pieces of work with those of an earlier commit.

    python -m benchmarks.counts.guard [--limit 1.03] [COMMIT]  # HEAD^; `make bench-guard`

Valgrind's callgrind counts them, so nothing depends on the load of the machine. It has no AVX-512:
both trees are compiled for AVX2, with one thread. Fails if one needs more than ``limit`` times as
many as before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("guarded.py")
INSTRUCTION_SET = "avx2" if platform.machine() in ("x86_64", "amd64") else "baseline"
KERNELS = ("kernels", "setup.py")  # what the compiled libraries are made from
TOTALS = re.compile(r"^totals: (\d+)", re.M)


def counts(package: Path) -> dict[str, int]:
    """Return the instructions of each piece of work, with the gpunn in this folder.

    Work with two counts, of some and of twice as many epochs, gets the difference.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--dump-before=getppid"]
        command += [f"--callgrind-out-file={folder}/out", sys.executable, str(PROGRAM)]
        environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONHASHSEED": "0"}
        output = _run(command, env=environment, cwd=folder)
        names = json.loads(output.splitlines()[-1])
        dumps = [Path(folder, f"out.{number}").read_text() for number in range(1, len(names) + 1)]
    totals = [int(TOTALS.findall(dump)[-1]) for dump in dumps]
    counted: dict[str, int] = {}
    for name, total in zip(names, totals, strict=True):
        title, _, second = name.partition(": ")
        if name and name not in ("start of Python", "import numpy"):
            counted[title] = total - counted[title] if second == "1" else total
    return counted


def build(tree: Path, folder: Path, instructions: str = INSTRUCTION_SET) -> Path:
    """Compile the package in a source tree, and return the folder it can be imported from."""
    options = ["--build-base", str(folder / "objects"), "--build-lib", str(folder / "package")]
    command = [sys.executable, "setup.py", "--quiet", "build", *options]
    _run(command, cwd=tree, env={**os.environ, "GPUNN_BUILD": instructions})
    _run([sys.executable, "-m", "compileall", "-q", str(folder / "package")])
    return folder / "package"


def built_in_place() -> list[Path]:
    """Return the tree's own libraries for `INSTRUCTION_SET`; none if a source is newer than one."""
    folder = ROOT / "gpunn" / "backends" / "compiled"
    found = [*folder.glob("_kernels_chooser.*"), *folder.glob(f"_kernels_{INSTRUCTION_SET}.*")]
    made_from = [ROOT / "setup.py", *(ROOT / "kernels").rglob("*.[ch]*")]
    newest = max(path.stat().st_mtime for path in made_from)
    fresh = len(found) == 2 and all(path.stat().st_mtime >= newest for path in found)
    return found if fresh else []


def compare(commit: str, folder: Path, limit: float) -> list[tuple[str, int, int]]:
    """Return each piece of work with its instructions at the commit, and in the tree as it is.

    Work that needs more than ``limit`` times as many is counted again: garbage collection and the
    addresses of objects make some counts 2% higher. The least of both counts is that of the work.
    """
    earlier = folder / "earlier"
    earlier.mkdir()
    _run(["git", "archive", "--output", str(folder / "tree.tar"), commit], cwd=ROOT)
    shutil.unpack_archive(folder / "tree.tar", earlier, filter="data")
    libraries = built_in_place()
    now = build(ROOT, folder / "now", "none" if libraries else INSTRUCTION_SET)
    for library in libraries:
        shutil.copy(library, now / library.relative_to(ROOT))
    same = subprocess.run(["git", "diff", "--quiet", commit, "--", *KERNELS], cwd=ROOT, check=False)
    then = build(earlier, folder / "then", INSTRUCTION_SET if same.returncode else "none")
    if not same.returncode:
        for library in now.rglob("*.so"):
            shutil.copy(library, then / library.relative_to(now))
    before, after = counts(then), counts(now)
    if any(count > limit * before.get(name, count) for name, count in after.items()):
        before, after = _least(before, counts(then)), _least(after, counts(now))
    return [(name, before.get(name, 0), count) for name, count in after.items()]


def _least(counts: dict[str, int], again: dict[str, int]) -> dict[str, int]:
    return {name: min(count, again[name]) for name, count in counts.items()}


def _run(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def report(rows: list[tuple[str, int, int]], limit: float) -> tuple[str, bool]:
    """Return a line for each piece of work, and whether one needs more than ``limit`` times as many
    instructions as before; one that is new does not.

    >>> report([("import", 100, 103), ("fit", 100, 104), ("predict", 0, 5)], 1.03)[1]
    True
    """
    lines, failed = [], False
    for name, before, now in rows:
        more = 0 < limit * before < now
        failed = failed or more
        ratio = f"{now / before:.3f}" if before else "new"
        lines.append(f"{name:<52}{before:>14,}{now:>14,}{ratio:>8}{'  MORE' if more else ''}")
    return "\n".join(lines), failed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="guard", description=__doc__.partition("\n")[0])
    parser.add_argument("commit", nargs="?", default="HEAD^", help="compare with (HEAD^)")
    parser.add_argument("--limit", type=float, default=1.03, help="times as many at most (1.03)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(arguments.commit, Path(folder), arguments.limit)
    text, failed = report(rows, arguments.limit)
    print(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
