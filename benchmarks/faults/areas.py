"""Which tests of other folders run the lines of each folder: for `make test AREA=layers`.

    python -m benchmarks.faults.mutants trace       # which test runs which line: 30 minutes
    python -m benchmarks.faults.areas               # writes tests/support/selection/areas.json

A test is worth the lines that fewer than `TIMES` chosen tests execute. The one worth most in
a second is chosen next, until they take `SECONDS` or nothing is left.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from benchmarks import ROOT

from .tracing import traced

PATH = ROOT / "tests" / "support" / "selection" / "areas.json"
SECONDS = 90.0
TIMES = 3
SHORTEST = 0.02  # seconds: what a test costs besides


def chosen(lines: dict[str, set[int]], seconds: dict[str, float]) -> list[str]:
    """Return tests in the order in which they are worth most; ``lines`` has those of each.

    >>> lines = {"slow": {1, 2, 3}, "quick": {1, 2}, "other": {3}, "again": {1, 2}, "late": {1}}
    >>> chosen(lines, {"slow": 80.0, "quick": 1.0, "other": 1.0, "again": 2.0, "late": 3.0})
    ['quick', 'again', 'other', 'late', 'slow']
    """
    times: Counter[int] = Counter()
    order: list[str] = []

    def worth(test: str) -> float:
        new = sum(times[line] < TIMES for line in lines[test])
        return new / (seconds.get(test, 1.0) + SHORTEST)

    heap = [(-worth(test), test) for test in sorted(lines)]
    heapq.heapify(heap)
    left = SECONDS
    while heap:
        before, test = heapq.heappop(heap)
        now = worth(test)
        if now == 0 or seconds.get(test, 1.0) > left:
            continue
        if now < -before:  # what was chosen since then executes some of its lines
            heapq.heappush(heap, (-now, test))
            continue
        order.append(test)
        times.update(lines[test])
        left -= seconds.get(test, 1.0)
    return order


def areas(traces: dict[str, dict[int, list[str]]]) -> dict[str, dict[str, set[int]]]:
    """Return the lines, numbered over all files, that each test executes, for each folder."""
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    number = 0
    for file, lines in sorted(traces.items()):
        parts = Path(file).parts
        names = [parts[1]] if len(parts) > 2 else []
        if "by_hand" in parts:
            names.append("by_hand")
        for tests in lines.values():
            number += 1
            for name in names:
                for test in tests:
                    found[name][test].add(number)
    return found


def by_file(tests: Iterable[str]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        file, _, function = test.removeprefix("tests/").partition("::")
        files[file].append(function)
    return {file: sorted(functions) for file, functions in sorted(files.items())}


def main() -> None:
    traces, seconds = traced()
    result = {}
    for area, lines in sorted(areas(traces).items()):
        others = {test: of for test, of in lines.items() if not test.startswith(f"tests/{area}/")}
        result[area] = by_file(chosen(others, seconds))
        print(f"{area}: {sum(map(len, result[area].values()))} tests of other folders")
    text = ",\n".join(
        f"{json.dumps(area)}: {{\n"
        + ",\n".join(f" {json.dumps(f)}: {json.dumps(names)}" for f, names in files.items())
        + "}"
        for area, files in result.items()
    )
    PATH.write_text(f"{{{text}}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
