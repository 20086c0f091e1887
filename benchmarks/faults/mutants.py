"""How many random faults the tests detect: a mutation run with cosmic-ray.

    python -m pip install cosmic-ray
    python -m benchmarks.faults.mutants trace             # which test runs which line: 30 minutes
    python -m benchmarks.faults.mutants run --count 300   # plant faults, run their lines' tests
    python -m benchmarks.faults.mutants again --tests tests/test_x.py  # survivors, new tests
    python -m benchmarks.faults.mutants page              # the table of results/mutants.md

``trace`` runs the suite once under coverage. ``run`` draws mutants by a seed, evenly over the
lines of `SUBJECTS`, and plants each in the working tree while its tests run: those
that execute the line, the short ones first, until one fails. Run it in a separate clone, ideally in
two with ``--part 0/2`` and ``--part 1/2``. ``results/mutants.json`` keeps the results, and
why a survivor may survive: written by hand into ``reason``, with ``equivalent: true`` if no test
could distinguish it from the original.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT

from .tracing import environment, trace, traced

PATH = RESULTS / "mutants.json"
SUBJECTS = (
    "gpunn/core", "gpunn/structure", "gpunn/feeding", "gpunn/training", "gpunn/models",
    "gpunn/optimizers", "gpunn/callbacks", "gpunn/saving", "gpunn/regularizers.py",
    "gpunn/constraints.py", "gpunn/losses", "gpunn/metrics",
    "gpunn/backends/contract/control.py", "gpunn/backends/shared/order.py",
    "gpunn/utils", "gpunn/apps/data_checks",
)  # fmt: skip
OPERATORS = (
    "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Div", "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Div", "ReplaceBinaryOperator_Mod_FloorDiv",
    "ReplaceBinaryOperator_Pow_Mul", "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Lt_Gt", "ReplaceComparisonOperator_Gt_Lt",
    "ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "AddNot", "NumberReplacer",
    "ZeroIterationForLoop", "ExceptionReplacer", "RemoveDecorator",
)  # fmt: skip
LIMIT = 240.0  # seconds for all tests of a mutant
FIRST = 20  # the shortest tests, which run first by themselves: they need few files
HANGS = 60.0  # seconds for one of them: a test that does not end has detected the fault


def drawn(count: int, seed: int) -> list[Any]:
    """Draw mutants of lines inside functions, at random by line and then by operator."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    paths = [
        path.relative_to(ROOT)
        for subject in SUBJECTS
        for path in ([ROOT / subject] if subject.endswith(".py") else (ROOT / subject).glob("*.py"))
    ]
    os.chdir(ROOT)
    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(Path(folder) / "all.sqlite", WorkDB.Mode.create) as db,
    ):
        init(sorted(paths), db, {})
        mutations = [m for item in db.work_items for m in item.mutations]
    by_line: dict[tuple[str, int], list[Any]] = {}
    for m in mutations:
        if m.operator_name.removeprefix("core/") in OPERATORS and m.definition_name:
            by_line.setdefault((str(m.module_path), m.start_pos[0]), []).append(m)
    generator = random.Random(seed)
    chosen = generator.sample(sorted(by_line), len(by_line))[:count]
    return [generator.choice(by_line[line]) for line in chosen]


def _tests_of(mutation: Any, lines: dict[str, dict[int, list[str]]]) -> list[str]:
    """Return the tests that run its lines; if none, as for defaults, of the nearest line below."""
    of_file = lines.get(str(mutation.module_path), {})
    first, last = mutation.start_pos[0], mutation.end_pos[0]
    tests = {t for line in range(first, last + 1) for t in of_file.get(line, [])}
    below = last
    while not tests and below < last + 40:
        below += 1
        tests = set(of_file.get(below, []))
    return sorted(tests)


def run(count: int, seed: int, part: str, out: Path) -> None:
    """Plant each mutant, run its tests; each result is written to ``out`` immediately."""
    lines, seconds = traced()
    number, parts = map(int, part.split("/"))
    found: list[dict[str, Any]] = json.loads(out.read_text())["mutants"] if out.exists() else []
    known = {(m["file"], m["operator"], m["occurrence"]) for m in found}
    for m in drawn(count, seed)[number::parts]:
        mutant: dict[str, Any] = {
            "file": str(m.module_path), "line": m.start_pos[0],
            "operator": m.operator_name.removeprefix("core/"), "occurrence": m.occurrence,
            "arguments": getattr(m, "operator_args", None) or {},
        }  # fmt: skip
        if (mutant["file"], mutant["operator"], mutant["occurrence"]) in known:
            continue
        tests = sorted(_tests_of(m, lines), key=lambda t: seconds.get(t, 1.0))
        if plant(mutant, [tests[:FIRST], tests[FIRST:]]):
            found.append(mutant | {"tests": len(tests)})
            out.write_text(json.dumps({"seed": seed, "mutants": found}, indent=1) + "\n")


def again(out: Path, tests: list[str]) -> None:
    """Plant the survivors again, and run these tests, which may be new."""
    result = json.loads(out.read_text())
    for mutant in result["mutants"]:
        if mutant["result"] == "survived" and "reason" not in mutant:
            plant(mutant, [tests])
            out.write_text(json.dumps(result, indent=1) + "\n")


def plant(mutant: dict[str, Any], tests: list[list[str]]) -> bool:
    """Change the file, run the tests, one list after the other, and record the result."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator

    begin = time.perf_counter()
    operator = get_operator(f"core/{mutant['operator']}")(**mutant["arguments"])
    with use_mutation(Path(mutant["file"]), operator, mutant["occurrence"]) as (before, after):
        if after is None or after == before:
            return False
        for some in tests:
            mutant["result"], mutant["by"] = tried(some)
            if mutant["result"] == "killed":
                break
    mutant["change"] = list(_difference(before, after))
    mutant["seconds"] = round(time.perf_counter() - begin, 1)
    place = f"{mutant['file']}:{mutant['line']} {mutant['operator']}"
    print(f"{mutant['result']:9} {place} {mutant['by']}", flush=True)
    return True


def _difference(before: str, after: str) -> Iterator[str]:
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""):
        if line[0] in "+-" and line[:3] not in ("---", "+++"):
            yield f"{line[0]} {line[1:].strip()}"


def tried(
    tests: list[str], limit: float = LIMIT, options: Sequence[str] = ()
) -> tuple[str, str]:
    """Whether one of the tests fails ("killed", and which), or none does ("survived")."""
    if not tests:
        return "survived", ""
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-rfE",
        "-p", "no:cacheprovider", f"--timeout={HANGS:.0f}", "-o", "timeout_method=thread",
        *options, *tests,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "survived", f"the first {limit:.0f} s of its tests"
    if process.returncode in (0, 5):  # 5: none of them is run, as on another backend
        return "survived", ""
    if process.returncode == 4:  # such as a test that is gone since the trace
        raise ValueError(f"pytest did not understand: {output[-2000:]}")
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "killed", failed[0].split(" - ")[0] if failed else f"exit status {process.returncode}"


def page(result: dict[str, Any]) -> str:
    mutants = result["mutants"]
    survivors = [m for m in mutants if m["result"] == "survived"]
    equivalent = [m for m in survivors if m.get("equivalent")]
    killed = len(mutants) - len(survivors)
    share = killed / max(1, len(mutants) - len(equivalent))
    text = [
        "# Random faults that the tests see", "",
        f"{len(mutants)} mutants, drawn by seed {result['seed']} over the lines of training, "
        f"arena, optimizers, losses, metrics, callbacks, saving, feeding and of the kernels' text "
        f"(`benchmarks/faults/mutants.py`, with cosmic-ray, `kernel_mutants.py`). "
        f"Killed: {killed}. Survived: {len(survivors)}, of which {len(equivalent)} are equivalent: "
        f"no test could tell them from the original. **{share:.1%} of the others are killed.**", "",
        "| survivor | change | reason |", "| --- | --- | --- |",
    ]  # fmt: skip
    for m in survivors:
        change = "<br>".join(f"`{line}`" for line in m["change"][:2]).replace("|", "\\|")
        kind = "equivalent: " if m.get("equivalent") else ""
        text.append(f"| {m['file']}:{m['line']} | {change} | {kind}{m.get('reason', '')} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("trace", "run", "again", "page"))
    parser.add_argument("--count", type=int, default=300, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--part", default="0/1", help="which of how many parts of them")
    parser.add_argument("--tests", nargs="+", default=[], help="for the survivors")
    parser.add_argument("--out", type=Path, default=PATH, help="the file of results")
    arguments = parser.parse_args()
    if arguments.what == "trace":
        trace()
    elif arguments.what == "run":
        run(arguments.count, arguments.seed, arguments.part, arguments.out)
    elif arguments.what == "again":
        again(arguments.out, arguments.tests)
    else:
        text = page(json.loads(arguments.out.read_text()))
        arguments.out.with_suffix(".md").write_text(text)
        print(text)


if __name__ == "__main__":
    main()
