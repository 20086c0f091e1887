"""Run Keras's own tests with Keras and with gpunn, and report how many pass with both.

    python -m benchmarks.keras_tests.run                     # results/keras-tests.md: 40 minutes
    python -m benchmarks.keras_tests.run --only layers/core  # prints what stops, by its error
    python -m benchmarks.keras_tests.run --only ops/nn_test.py --names relu

The installed Keras contains its tests. They are copied into a temporary folder and run from there:
with Keras on PyTorch, which says which of them count, and with gpunn, whose names answer their
imports (`imports.py`). A test counts if it passes with Keras; those that do not concern gpunn are
not run: see `concerns`.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine

from . import FOLDERS
from .imports import source

PATH = RESULTS / "keras-tests.json"
KEPT = ROOT / "runs" / "keras-tests"
MISSING = "NoSuchName"

Outcome = dict[str, Any]


def copy_tests(only: str, into: Path) -> list[Path]:
    """Copy Keras's test files, of a folder or one of them, keeping their folders."""
    start = source("keras.src")
    assert start is not None
    copied = []
    for path in sorted(start.parent.rglob("*_test.py")):
        name = path.relative_to(start.parent)
        if name.parts[0] in FOLDERS and str(name).startswith(only):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            copied.append(Path(shutil.copy(path, into / name)))
    if not copied:
        raise SystemExit(f"--only {only}: Keras has no such tests; its folders: {FOLDERS}")
    return copied


def run_tests(framework: str, options: argparse.Namespace) -> dict[str, Outcome]:
    """Run the tests with ``"keras"`` or ``"gpunn"``; return their outcomes by name."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outcomes.jsonl"
        out.touch()
        tests = Path(folder) / "tests"
        copy_tests(options.only, tests)
        environment = os.environ | {
            "KERAS_BACKEND": "torch", "KERAS_TESTS_OUT": str(out), "KERAS_TESTS_WITH": framework,
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "HOME": folder, "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "Agg",
        }  # fmt: skip
        chosen = ["-k", options.names] if options.names else []
        command = (
            sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", folder,
            "-p", "benchmarks.keras_tests.recording", "-p", "no:cacheprovider",
            "--import-mode", "importlib", "--tb", "no", "--timeout", "60", "-n", str(options.jobs),
            "--dist", "loadfile", "--continue-on-collection-errors", *chosen, str(tests),
        )  # fmt: skip
        done = subprocess.run(
            command, cwd=folder, env=environment, text=True, capture_output=True
        )
        if options.only or done.returncode > 1:
            said = (done.stdout + done.stderr).splitlines()
            print(framework, *said[-25:], sep="\n", file=sys.stderr)
        outcomes: dict[str, Outcome] = {}
        for line in out.read_text("utf-8").splitlines():
            outcome = json.loads(line)
            outcomes[outcome["test"]] = outcome
    return outcomes


def kind(outcome: Outcome | None) -> str:
    """Return how a test that passes with Keras ends with gpunn."""
    if outcome is None:
        return "not collected"
    if outcome["outcome"] != "failed":
        return outcome["outcome"]
    error, message = outcome["error"], outcome["message"]
    if error == MISSING:
        return "absent name"
    if error == "AttributeError" and re.search(r"has no attribute '_", message):
        return "private name"
    if error == "AssertionError":
        return "other words" if "does not match" in message else "other result"
    return "error"


def compare(keras: dict[str, Outcome], gpunn: dict[str, Outcome]) -> dict[str, Any]:
    """Count the tests that pass with Keras, by folder and by how they end with gpunn."""
    folders: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for test, outcome in keras.items():
        if outcome["outcome"] == "passed":
            folders[test.partition("/")[0]][kind(gpunn.get(test))] += 1
    return {folder: dict(counts) for folder, counts in sorted(folders.items())}


KINDS = (
    "passed", "absent name", "private name", "other words", "error", "other result", "skipped",
    "not collected",
)  # fmt: skip


def table(folders: dict[str, dict[str, int]]) -> list[str]:
    """Return rows of Markdown: a folder of Keras's source each, and their sum."""
    heads = ["folder", "counted", *KINDS]
    rows = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    total: collections.Counter[str] = collections.Counter()
    for counts in folders.values():
        total.update(counts)
    for folder, counts in [*folders.items(), ("all", dict(total))]:
        numbers = [sum(counts.values()), *(counts.get(kind, 0) for kind in KINDS)]
        rows.append(f"| {folder} | " + " | ".join(f"{n:,}" for n in numbers) + " |")
    return rows


def page(result: dict[str, Any]) -> str:
    """Return the page of results."""
    versions = result["machine"]["versions"]
    text = f"""\
# Keras's own tests

Of the tests that pass with Keras {versions["keras"]} on PyTorch {versions["torch"]}: how many pass
with gpunn's names in place of Keras's. `python -m benchmarks.keras_tests.run` wrote this page.
Not counted are tests of other frameworks, compilers, several devices and bounding boxes, and in
tests of dtypes those other than float32, int32 and bool.

- "absent name": gpunn does not have a name that the test uses.
- "private name": the test reads an attribute of Keras whose name begins with an underscore.
- "other words": an error is raised, as the test asks, with another text.
- "other result": an assertion of the test fails. "error": another error is raised.
"""
    return "\n".join([text, *table(result["folders"]), ""])


def show(keras: dict[str, Outcome], gpunn: dict[str, Outcome], options: Any) -> None:
    """Print what stops, the most frequent first."""
    reasons: dict[str, list[str]] = collections.defaultdict(list)
    for test, outcome in keras.items():
        ours = gpunn.get(test)
        if outcome["outcome"] == "passed" and kind(ours) != "passed":
            error = (ours or {}).get("error", "")
            text = " ".join((ours or {}).get("message", "").split())[: options.width]
            reasons[f"{kind(ours)}: {error}: {text}"].append(test)
    for reason, tests in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(tests):5} {reason}")
        print(*(f"        {test}" for test in tests[: options.examples]), sep="\n")


def main() -> None:
    """Run the tests and write or print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keras_tests.run")
    parser.add_argument("--only", default="", metavar="PATH", help="of Keras's source: layers/rnn")
    parser.add_argument("--names", default="", metavar="WORDS", help="tests, as for pytest's -k")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--examples", type=int, default=1, help="tests shown for each reason")
    parser.add_argument("--width", type=int, default=150, help="characters of each reason")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    both = []
    for framework in ("keras", "gpunn"):
        kept = KEPT / f"{framework}.json"
        known = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
        outcomes = run_tests(framework, options) if framework == "gpunn" or not known else known
        if not (options.only or options.names):
            kept.write_text(json.dumps(outcomes), encoding="utf-8")
        both.append(outcomes)
    keras, gpunn = both
    if options.only or options.names:
        keras = {
            test: outcome for test, outcome in keras.items()
            if test.startswith(options.only) and (test in gpunn or not options.names)
        }  # fmt: skip
    else:
        result = {"machine": machine.describe(), "folders": compare(keras, gpunn)}
        PATH.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        PATH.with_suffix(".md").write_text(page(result), encoding="utf-8")
    show(keras, gpunn, options)
    print(*table(compare(keras, gpunn)), sep="\n")


if __name__ == "__main__":
    main()
