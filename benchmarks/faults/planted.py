"""Realistic faults, planted one by one, and whether `make test` notices them.

    python -m benchmarks.faults.mutants trace       # which test runs which line: 30 minutes
    python -m benchmarks.faults.planted run         # plant each fault, run the tests of its lines
    python -m benchmarks.faults.planted again       # the survivors again, after tests have changed
    python -m benchmarks.faults.planted page        # the table of results/planted.md

Each file of ``planted/`` says what a user would see, how a person comes to write it, and holds the
change. ``run`` applies it to the working tree while the tests run that execute its lines, until one
fails: use a separate clone, or two with ``--part 0/2`` and ``--part 1/2``. Each case runs on one
backend, as in `make test`. ``results/planted.json`` keeps the results.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT

from . import kernel_mutants
from .mutants import FIRST, tried
from .tracing import traced

PATCHES = Path(__file__).with_name("planted")
PATH = RESULTS / "planted.json"
NEAR = 3  # lines around an insertion whose tests run it
LIMIT = 240.0  # seconds for all tests of a fault


def changed_lines(patch: str) -> Iterator[tuple[str, int]]:
    """The lines of the original files that a patch removes, or between which it inserts."""
    file, number = "", 0
    for line in patch[patch.index("diff --git") :].splitlines():
        if line.startswith("--- a/"):
            file = line[6:]
        elif found := re.match(r"@@ -(\d+)", line):
            number = int(found[1])
        elif line.startswith("-"):
            yield file, number
            number += 1
        elif line.startswith("+") and not line.startswith("+++"):
            yield from ((file, number + near) for near in range(-1, 1))
        elif line.startswith(" "):
            number += 1


def tests_of(patch: str, lines: dict[str, dict[int, list[str]]]) -> set[str]:
    """The test functions that run its lines, or, if none does, lines next to them."""
    for near in (0, NEAR, 10 * NEAR):
        tests = {
            test
            for file, number in changed_lines(patch)
            for line in range(number - near, number + near + 1)
            for test in lines.get(file, {}).get(line, [])
        }
        if tests:
            return tests
    return set()


def in_stages(file: str, tests: set[str], seconds: dict[str, float]) -> list[list[str]]:
    """The tests of the folder of that file first, then the others; in each the short ones first."""
    area = Path(file).parts[1]
    near = {test for test in tests if f"/{area}/" in test}
    ordered = [sorted(some, key=lambda t: seconds.get(t, 1.0)) for some in (near, tests - near)]
    return [stage for stage in (ordered[0][:FIRST], ordered[0][FIRST:], ordered[1]) if stage]


def plant(path: Path, known: str, rotation: int, trace: Any) -> dict[str, Any]:
    """Apply the patch, run its tests, and take it back; ``known`` is a test that noticed it."""
    patch, begin = path.read_text(encoding="utf-8"), time.perf_counter()
    file = next(changed_lines(patch))[0]
    tests = tests_of(patch, trace[0])
    if not tests and not file.startswith("kernels/"):
        raise SystemExit(f"{path.stem}: no test of the trace runs its lines; trace again.")
    stages = in_stages(file, tests, trace[1])
    if known and (ROOT / known.partition("::")[0]).exists():
        stages.insert(0, [known])
    _git("apply", str(path))
    try:
        if file.startswith("kernels/"):
            outcome, by = kernel_mutants.tried(file)
        else:
            outcome, by = "survived", ""
            left = LIMIT
            for stage in stages:
                start = time.perf_counter()
                outcome, by = tried(stage, left, ["--rotation", str(rotation)])
                left -= time.perf_counter() - start
                if outcome == "killed" or left <= 0:
                    break
    finally:
        _git("apply", "--reverse", str(path))
    print(f"{outcome:9} {path.stem} {by}", flush=True)
    return {
        "noticed": outcome == "killed", "by": by, "tests": len(tests),
        "seconds": round(time.perf_counter() - begin, 1),
    }  # fmt: skip


def run(out: Path, part: str, rotation: int, only_survivors: bool, names: list[str]) -> None:
    if unknown := [name for name in names if not (PATCHES / f"{name}.patch").exists()]:
        raise SystemExit(f"There is no {PATCHES.name}/{unknown[0]}.patch.")
    results = json.loads(out.read_text()) if out.exists() else {}
    trace, (number, parts) = traced(), map(int, part.split("/"))
    for path in sorted(PATCHES.glob("*.patch"))[number::parts]:
        before = results.get(path.stem, {})
        if (only_survivors and before.get("noticed")) or (names and path.stem not in names):
            continue
        known = before.get("by", "") if before.get("noticed") else ""
        found = plant(path, known.partition(" ")[2], rotation, trace)
        later = {"later": True} if only_survivors and found["noticed"] else {}
        results[path.stem] = found | later
        out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def page(results: dict[str, Any], before: dict[str, Any]) -> str:
    noticed = sum(result["noticed"] for result in results.values())
    later = sum(result.get("later", False) for result in results.values())
    text = [
        "# Realistic faults that the tests notice", "",
        f"{len(results)} faults, each as a tired but competent person would make it "
        f"(`benchmarks/faults/planted`). `make test` notices {noticed}: "
        f"**{noticed / max(1, len(results)):.0%}**; {later} of them only since tests were written "
        f"for faults that nothing had noticed."
        + (f" Of {len(before)} that an earlier suite ran beside, it noticed "
           f"{sum(r['noticed'] for r in before.values())}." if before else ""), "",
        "| fault | what a user sees | noticed by |", "| --- | --- | --- |",
    ]  # fmt: skip
    for name, result in sorted(results.items()):
        what = re.search(r"What: (.*)", (PATCHES / f"{name}.patch").read_text(encoding="utf-8"))
        by = f"`{result['by'].partition(' ')[2]}`" if result["noticed"] else "**nothing**"
        text.append(f"| {name} | {what[1] if what else ''} | {by} |".replace("::", ": "))
    return "\n".join(text) + "\n"


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("run", "again", "page"))
    parser.add_argument("names", nargs="*", help="of faults; all by default")
    parser.add_argument("--part", default="0/1", help="which of how many parts of them")
    parser.add_argument("--rotation", type=int, default=0, help="which backend each case runs on")
    parser.add_argument("--out", type=Path, default=PATH, help="the file of results")
    parser.add_argument("--before", type=Path, help="results of an earlier suite, for the page")
    arguments = parser.parse_args()
    if arguments.what == "page":
        before = json.loads(arguments.before.read_text()) if arguments.before else {}
        text = page(json.loads(arguments.out.read_text()), before)
        arguments.out.with_suffix(".md").write_text(text)
        print(text)
    else:
        again = arguments.what == "again"
        run(arguments.out, arguments.part, arguments.rotation, again, arguments.names)


if __name__ == "__main__":
    main()
