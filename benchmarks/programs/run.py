"""Run third-party programs with gpunn instead of Keras, and report which of them run.

    python -m benchmarks.programs.run FOLDER            # a page and runs/programs/*.json
    python -m benchmarks.programs.run FOLDER --only mnist --keep runs/kept
    python -m benchmarks.programs.run FOLDER --with keras --python VENV/bin/python
    python -m benchmarks.programs.run FOLDER --compare VENV/bin/python

FOLDER has git repositories, as owner+name or owner/name; `programs.json` lists their commits and
files, and the changes besides the import. VENV has Keras and TensorFlow. With
`--compare` each program runs with both, from equal weights, without dropout and shuffling, and the
results are compared. Each runs in a separate process and folder, without network access.
"""

from __future__ import annotations

import argparse
import ast
import collections
import concurrent.futures
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.common import machine

from .generated_data import ROWS
from .rewrite import GPUNN, KERAS, imports
from .sources import NotThere, parse, read

LIST = Path(__file__).parent / "programs.json"
OUT = ROOT / "runs" / "programs"
RESULTS = ROOT / "benchmarks" / "results"
OTHERS = {"keras", "keras_core", "matplotlib", "numpy", "pandas", "sklearn", "tensorflow",
          *sys.stdlib_module_names}  # fmt: skip
BY_HAND = "training step by hand"
SAME = "runs, as Keras does"
NOTES = "outcomes.jsonl"  # appended as they arrive
NEAR = 1e-4  # tolerance of losses, relative to the larger one

Program = dict[str, Any]
Outcome = dict[str, Any]


def changed(source: str, changes: list[dict[str, str]]) -> str:
    """Return the program with the changes of the list."""
    for change in changes:
        if change["old"] not in source:
            raise NotThere(f"the program has no {change['old']!r}")
        source = source.replace(change["old"], change["new"])
    return source


def write(program: Program, folder: Path, places: dict[str, str], into: Path) -> Path:
    """Write a program, and the modules of its repository that it imports, into a folder."""
    where = folder, program["repository"], program["commit"]
    source = changed(read(*where, program["path"]), program.get("changes", []))
    tree = parse(source)
    if tree is None:
        raise NotThere(f"{program['path']} is not Python 3")
    path = into / "program.py"
    path.write_text(imports(source, places), encoding="utf-8")
    for name in modules(tree):
        for beside in (Path(program["path"]).parent, Path()):
            try:
                text = read(*where, str(beside / name))
            except NotThere:
                continue
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_text(imports(text, places), encoding="utf-8")
            break
    return path


def modules(tree: ast.Module) -> set[str]:
    """Return the files to which the imports of a program may refer."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = {name for name in names if name.split(".")[0] not in OTHERS}
    return {name.replace(".", "/") + ".py" for name in ours}


class Runner:
    """A process that has imported a framework and runs programs with it, one after the other."""

    def __init__(self, framework: str, python: str) -> None:
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS")}
        environment = {
            **os.environ, **threads, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg",
        }  # fmt: skip
        command = [python, "-W", "ignore", "-m", "benchmarks.programs.inside", "--with", framework]
        self.places = GPUNN if framework == "gpunn" else KERAS
        self.process = subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, program: Program, options: argparse.Namespace, exact: bool = False) -> Outcome:
        """Run one program; return its outcome."""
        with tempfile.TemporaryDirectory() as scratch:
            into = Path(scratch)
            try:
                path = write(program, options.folder, self.places, into)
            except (NotThere, SyntaxError) as error:
                return failure("NotThere", str(error))
            if options.keep:
                name = re.sub(r"\W+", "_", f"{program['repository']}_{program['path']}")
                options.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, options.keep / f"{name}.py")
            outcome = into / "outcome.json"
            asked = {
                "program": str(path), "outcome": str(outcome), "seconds": options.seconds,
                "compared": bool(options.compare), "exact": exact,
            }  # fmt: skip
            assert self.process.stdin and self.process.stdout
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            status = json.loads(self.process.stdout.readline())["status"]
            if outcome.exists():
                text = outcome.read_text(encoding="utf-8")
                found: Outcome = json.loads(text.replace(f"{ROOT}/", "").replace(f"{into}/", ""))
                return found
            if status in (-signal.SIGXCPU, -signal.SIGALRM):
                return failure("Timeout", f"computed for more than {options.seconds} s")
            output = (into / "output.txt").read_text(errors="replace").strip().splitlines() or [""]
            return failure("Ended", f"status {status}: {output[-1]}")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def failure(kind: str, message: str) -> Outcome:
    return {"error": {"type": kind, "message": message, "line": 0}, "events": []}


def difference(ours: Any, theirs: Any) -> str:
    """Return the first difference of two training records, or an empty string."""
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return f"{len(ours)} and {len(theirs)} of them"
        ours, theirs = dict(enumerate(ours)), dict(enumerate(theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return f"{list(ours)} and {list(theirs)}"
        parts = ((name, difference(ours[name], theirs[name])) for name in ours)
        return next((f"{name}: {apart}" for name, apart in parts if apart), "")
    if isinstance(ours, float) and isinstance(theirs, float):
        same = math.isclose(ours, theirs, rel_tol=NEAR, abs_tol=NEAR)
        both = math.isnan(ours) and math.isnan(theirs)
        close = same or both or by_one_row(ours, theirs)
        return "" if close else f"{ours:.6g} and {theirs:.6g}"
    return "" if ours == theirs else f"{ours} and {theirs}"


def by_one_row(ours: float, theirs: float) -> bool:
    """Whether both are fractions of the same number of rows, at most `ROWS`, and differ by one row:
    the two largest outputs of that row are so close that the last bits decide."""
    rows = round(1 / abs(ours - theirs)) if ours != theirs else 0
    counts = ours * rows, theirs * rows
    whole = all(0 <= n <= rows and abs(n - round(n)) < 1e-3 for n in counts)
    return rows <= ROWS and whole and abs(round(counts[0]) - round(counts[1])) == 1


def reason(outcome: Outcome) -> str:
    """Return the first error in one line, without details of this program."""
    error = outcome["error"]
    return f"{error['type']}: {error['message']}"


def line(outcome: Outcome) -> str:
    error = outcome["error"]
    if error is None:
        return outcome.get("beside", "runs")
    return f"{reason(outcome)} (line {error['line']}: `{error.get('text', '')}`)"


def totals(found: list[Program]) -> dict[str, Any]:
    """Count the programs, those that run, and those that train as with Keras."""
    fit = [p for p in found if p.get("needs") != BY_HAND]
    unchanged = [p for p in found if all(c["for"] != "gpunn" for c in p.get("changes", []))]
    running = [p for p in found if p["outcome"]["error"] is None]
    plain = [p for p in fit if p in unchanged]
    edited = [p for p in fit if p not in plain and p in running]
    runs = [p for p in plain if p in running]
    by_hand = [p for p in running if p not in fit]
    keras = [p for p in plain if p["outcome"].get("keras", p.get("keras")) == "runs"]
    beside = collections.Counter(p["outcome"].get("beside", "").partition(":")[0] for p in runs)
    return {
        "by_hand": len(found) - len(fit),
        "by_hand_run_unchanged": sum(p in unchanged for p in by_hand),
        "by_hand_run_edited": sum(p not in unchanged for p in by_hand),
        "by_hand_as_keras_does": sum(
            p["outcome"].get("beside", "").startswith(SAME) for p in by_hand
        ),
        "trained_by_fit": len(fit),
        "run_unchanged": len(runs),
        "run_edited": len(edited),
        "run_with_keras": len(keras),
        "run_with_both": sum(p in runs for p in keras),
        "as_keras_does": beside[SAME],
        "in_float64": sum(SAME + ":" in p["outcome"].get("beside", "") for p in runs),
        "differ": beside["differs"],
    }


def page(result: dict[str, Any], framework: str) -> str:
    """Return the totals, the reasons of failure, and a row for each program."""
    found = result["programs"]
    outcomes = [p["outcome"] for p in found]
    runs = [o["error"] is None for o in outcomes]
    t = result["totals"]
    lines = ["# Programs by others", ""]
    if t["trained_by_fit"]:
        lines += [
            f"{t['run_unchanged']} of {t['trained_by_fit']} programs that train by `fit` run with "
            f"{framework} when the import is changed; {t['run_edited']} more after small edits. "
            f"{t['run_with_keras']} of them have been seen to run with Keras 3; of these, "
            f"{t['run_with_both']} run with {framework}.", "",
        ]  # fmt: skip
    same = ""
    if result["compared_with"]:
        same = f", and {t['by_hand_as_keras_does']} of both compute the gradients that Keras does"
        lines += [
            f"Beside {result['compared_with']}, from equal weights, in the order of the rows and "
            f"without dropout.", "",
        ]  # fmt: skip
    if result["compared_with"] and t["trained_by_fit"]:
        lines += [
            f"{t['as_keras_does']} give the same losses and metrics "
            f"(to {NEAR:g}, shares of rows to one row), the same names in histories and "
            f"shapes of predictions, {t['in_float64']} of them in float64, where rounding grows to "
            f"more in float32, and with categorical cross-entropies of clipped probabilities, as "
            f"Keras's on PyTorch; {t['differ']} differ, for the reasons in their rows.", "",
        ]  # fmt: skip
    if t["by_hand"]:
        lines += [
            f"{t['by_hand']} programs write the training step by hand (a gradient tape); "
            f"{t['by_hand_run_unchanged']} of them run, {t['by_hand_run_edited']} more after small "
            f"edits{same}.", "",
        ]  # fmt: skip
    lines += [
        "Data sets are made up in the place of downloads; `fit` is given less data and two epochs, "
        "and so are loops by hand. [How](../README.md).", "",
    ]  # fmt: skip
    groups = collections.Counter(p.get("needs", "built-in parts") for p in found)
    ran = collections.Counter(
        p.get("needs", "built-in parts") for p, r in zip(found, runs, strict=True) if r
    )
    lines += ["| kind | programs | run |", "| --- | --- | --- |"]
    lines += [f"| {name} | {number} | {ran[name]} |" for name, number in groups.most_common()]
    reasons = collections.Counter(reason(o) for o, r in zip(outcomes, runs, strict=True) if not r)
    lines += ["", "| programs | first error |", "| --- | --- |"]
    lines += [f"| {number} | {cell(why)} |" for why, number in reasons.most_common()]
    lines += ["", "| program | kind | outcome |", "| --- | --- | --- |"]
    for program, outcome in zip(found, outcomes, strict=True):
        name = named(program)
        kind = program.get("needs", "built-in parts")
        text = line(outcome)
        if outcome.get("beside", "").startswith("differs") and "differs" in program:
            text += f"; {program['differs']}"
        lines.append(f"| {cell(name)} | {kind} | {cell(text)} |")
    return "\n".join([*lines, "", machine.line(result["machine"]), ""])


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def some(programs: list[Program], options: argparse.Namespace) -> list[Outcome]:
    """Run programs one after the other, compared with Keras's on request; return the outcomes."""
    python = {"gpunn": sys.executable, "keras": options.compare or options.python}
    frameworks = ["gpunn", "keras"] if options.compare else [options.framework]
    runners = [Runner(name, python[name]) for name in frameworks]
    outcomes = []
    known = dict(recorded(options)) if options.resume else {}
    for program in programs:
        if (outcome := known.get(named(program))) is not None:
            outcomes.append(outcome)
            continue
        found = [runner.run(program, options) for runner in runners]
        if len(found) == 2:
            found[0]["beside"] = beside(*found)
            if found[0]["beside"].startswith("differs") and not found[0]["error"]:
                exact = [runner.run(program, options, True) for runner in runners]
                if beside(*exact) == SAME:
                    found[0]["beside"] = f"{SAME}: in float64, clipped; else {found[0]['beside']}"
            found[0]["keras"] = "runs" if found[1]["error"] is None else reason(found[1])
        print(f"{named(program)}: {line(found[0])}", flush=True)
        outcomes.append(found[0])
        with (options.out / NOTES).open("a", encoding="utf-8") as notes:
            notes.write(json.dumps([named(program), found[0]]) + "\n")
    for runner in runners:
        runner.close()
    return outcomes


def named(program: Program) -> str:
    return f"{program['repository']} {program['path']}"


def recorded(options: argparse.Namespace) -> list[tuple[str, Outcome]]:
    """Return the outcomes recorded by an earlier run."""
    notes = options.out / NOTES
    lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    return [tuple(json.loads(line)) for line in lines]


def beside(ours: Outcome, theirs: Outcome) -> str:
    """Compare the results of a program with gpunn and with Keras."""
    if theirs["error"]:
        return f"runs; Keras: {line(theirs)}"
    apart = difference(ours["events"], theirs["events"])
    return f"differs: {apart}" if apart else SAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder with the repositories")
    parser.add_argument("--list", type=Path, default=LIST)
    parser.add_argument("--only", help="only programs whose repository and path contain this")
    parser.add_argument("--with", dest="framework", default="gpunn", choices=("gpunn", "keras"))
    parser.add_argument("--python", default=sys.executable, help="has Keras")
    parser.add_argument("--compare", help="a Python that has Keras and TensorFlow")
    parser.add_argument("--seconds", type=int, default=40, help="CPU time limit of each program")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder to keep the modified programs in")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument("--needs", help="only programs of this kind")
    parser.add_argument("--publish", nargs="?", const="programs", metavar="NAME",
                        help="also write NAME into benchmarks/results")  # fmt: skip
    options = parser.parse_args()
    programs = json.loads(options.list.read_text(encoding="utf-8"))
    if options.only:
        programs = [p for p in programs if options.only in named(p)]
    if options.needs:
        programs = [p for p in programs if p.get("needs") == options.needs]
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.resume:
        (options.out / NOTES).unlink(missing_ok=True)
    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        shares = [programs[start :: options.at_once] for start in range(options.at_once)]
        parts = list(pool.map(lambda share: some(share, options), shares))
    outcomes = [parts[i % options.at_once][i // options.at_once] for i in range(len(programs))]
    found = [{**p, "outcome": o} for p, o in zip(programs, outcomes, strict=True)]
    result = {
        "machine": machine.describe(),
        "compared_with": versions(options.compare) if options.compare else None,
        "totals": totals(found),
        "programs": found,
    }
    text = page(result, "gpunn" if options.compare else options.framework)
    places = [(options.out, "programs"), (RESULTS, options.publish)]
    for folder, name in places if options.publish else places[:1]:
        content = json.dumps(result, indent=1) + "\n"
        (folder / f"{name}.json").write_text(content, encoding="utf-8")
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        for outcome in outcomes:  # the results hold the outcomes of programs, not all numbers
            outcome.pop("events", None)
    print(text[: text.index("\n| program |")])


ASKED = """
from importlib.metadata import PackageNotFoundError, version
for name in ("keras", "tensorflow", "tensorflow-cpu", "torch"):
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""


def versions(python: str) -> str:
    """Return the versions of Keras and its backends in that Python, for a page."""
    done = subprocess.run([python, "-c", ASKED], capture_output=True, text=True, check=True)
    return ", ".join(done.stdout.split("\n")[:-1])


if __name__ == "__main__":
    main()
