"""The CPU seconds of `make test`, by folder.

    python -m benchmarks.counts.suite write    # results/suite.md, of the last whole run
    python -m benchmarks.counts.suite check    # a folder that grew much: at the end of test-more

A run of `make test` leaves its seconds in ``build/suite-seconds.json``. A machine that is twice as
slow needs twice the seconds: ``check`` divides by the median of all folders' growth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine

MEASURED = ROOT / "build" / "suite-seconds.json"
PATH = RESULTS / "suite.json"
GROWTH, SECONDS = 4 / 3, 10.0  # a folder fails that grows by both
SLOWEST = 25  # test functions on the page

Row = list[float]  # cases, seconds of the process, of its children, of the clock


def folder_of(function: str) -> str:
    """Return the folder of a test function, such as tests/layers.

    >>> folder_of("tests/layers/sequences/test_masks.py::test_a")
    'tests/layers'
    >>> folder_of("gpunn/utils.py::gpunn.utils.plot_model")
    'gpunn'
    """
    parts = function.partition("::")[0].split("/")
    return "/".join(parts[:2]) if parts[0] == "tests" else parts[0]


def by_folder(measured: dict[str, Row]) -> dict[str, Row]:
    folders: dict[str, Row] = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    for function, row in measured.items():
        total = folders[folder_of(function)]
        total[:] = [a + b for a, b in zip(total, row, strict=True)]
    return {name: [round(v, 1) for v in row] for name, row in sorted(folders.items())}


def grown(now: dict[str, Row], then: dict[str, Row]) -> list[str]:
    """Return a line for each folder that grew by a third and ten seconds, machine aside.

    >>> before = {name: [1, 30.0, 0.0, 40.0] for name in "abc"}
    >>> grown({**before, "c": [1, 45.0, 0.0, 50.0]}, before)
    ['c: 30 -> 45 CPU seconds']
    >>> grown({name: [1, 60.0, 0.0, 80.0] for name in "abc"}, before)
    []
    """
    # Other processes, which may have to compile something, are left aside.
    cpu = {name: (then[name][1], now[name][1]) for name in now.keys() & then.keys()}
    factor = statistics.median(new / max(old, 0.1) for old, new in cpu.values()) if cpu else 1.0
    return [
        f"{name}: {old:.0f} -> {new / factor:.0f} CPU seconds"
        for name, (old, new) in sorted(cpu.items())
        if new / factor > old * GROWTH and new / factor > old + SECONDS
    ]


def page(result: dict) -> str:
    folders = sorted(result["folders"].items(), key=lambda item: -sum(item[1][1:3]))
    totals = [sum(row[at] for _, row in folders) for at in range(4)]
    text = [
        "# What `make test` takes", "",
        f"{totals[0]:,.0f} cases, {totals[1] + totals[2]:,.0f} CPU seconds, collection aside "
        f"({result['machine']}). Written by `make suite-times`; `make test-more` fails if a folder "
        f"takes a third and {SECONDS:.0f} s more than here.", "",
        "| folder | cases | CPU s | of these in other processes | elapsed s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for name, (cases, own, children, clock) in [*folders, ("all", totals)]:
        seconds = f"{own + children:.1f} | {children:.1f} | {clock:.1f}"
        text.append(f"| {name} | {cases:,.0f} | {seconds} |")
    text += ["", f"The {SLOWEST} functions that take most:", "", "| CPU s | cases | test |"]
    text += ["| ---: | ---: | --- |"]
    for name, (cases, own, children, _) in result["slowest"]:
        text.append(f"| {own + children:.1f} | {cases:.0f} | `{name}` |")
    return "\n".join(text) + "\n"


def read() -> dict[str, Row] | None:
    try:
        return json.loads(MEASURED.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def write() -> None:
    measured = read()
    if measured is None:
        sys.exit("Nothing is measured: `make test` has not run to its end here.")
    slowest = sorted(measured.items(), key=lambda item: -sum(item[1][1:3]))[:SLOWEST]
    described = machine.describe()
    result = {
        "machine": f"{described['cpu']}, {described['cores']} cores",
        "folders": by_folder(measured), "slowest": slowest,
    }  # fmt: skip
    PATH.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PATH.with_suffix(".md").write_text(page(result), encoding="utf-8")
    print(page(result))


def check() -> None:
    measured = read()
    if measured is None or not PATH.exists():
        print("Folders are not compared: `make test` or `make suite-times` was not run.")
        return
    then = json.loads(PATH.read_text(encoding="utf-8"))["folders"]
    lines = grown(by_folder(measured), then)
    if lines:
        sys.exit("\n".join(["Folders take much longer than benchmarks/results/suite.md:", *lines]))
    print("No folder takes much longer than benchmarks/results/suite.md says.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("write", "check"))
    {"write": write, "check": check}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
