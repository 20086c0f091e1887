"""The parts of a page for entries that are not lists of samples."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.common.samples import quartiles, ratios, verdict

from .goals import Report, slowdowns
from .shapes import compared


def section(e: Report, ours: str) -> list[str]:
    """Return an entry in paragraphs, compared with ``ours``."""
    key = e["key"]
    if key == "memory":
        return [f"## Memory: the peak of a process that trains {e['title']}", _memory_table(e)]
    if key.startswith("together"):
        return [f"## Two copies at once: {e['title']}", _together_table(e)]
    if key.startswith("busy"):
        return [f"## Beside a process that keeps a core busy: {e['title']}", _busy_table(e)]
    if key == "accuracy":
        return [f"## Time to accuracy: {e['title']}", *_accuracy(e)]
    if key == "shapes":
        return [f"## {len(e['shapes'])} shapes: a training step of each", *_shapes(e, ours)]
    return [f"## Operations of the contract, backend {e['backend']}", *_operations(e)]


def table(headers: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _memory_table(e: Report) -> str:
    rows = []
    for name, peak in sorted(e["bytes"].items(), key=lambda item: item[1]["host"] or 0):
        rows.append([name, *(f"{b / 1e6:,.0f}" if b else "" for b in (peak["host"], peak["card"]))])
    return table(["contestant", "host, MB", "card, MB"], rows)


def _together_table(e: Report) -> str:
    rows = []
    for name, alone in e["alone"].items():
        both = [max(pair) for pair in e["both"][name]]
        low, middle, high = quartiles(slowdowns(e, name) or [])
        one, two = (f"{quartiles(values).middle * 1e3:.3g}" for values in (alone, both))
        rows.append([name, one, two, f"{middle:.3g} ({low:.3g} - {high:.3g})"])
    headers = ["contestant", "alone, ms", "slower of two, ms", "times as long"]
    return table(headers, rows) + (
        f"\n\nA pass over {e['rows']:,} rows, with as many threads as each takes by itself."
    )


def _accuracy(e: Report) -> list[str]:
    rows = []
    for name, runs in e["runs"].items():
        for target in e["targets"]:
            taken = [reach(run, target) for run in runs]
            reached = [seconds for seconds in taken if seconds is not None]
            spread = ""
            if reached:
                low, middle, high = quartiles(reached)
                spread = f"{middle:.3g} ({low:.3g} - {high:.3g})"
            rows.append([name, f"{target:.1%}", spread, f"{len(reached)} of {len(runs)}"])
    headers = ["contestant", "test accuracy", "s of training", "seeds that reached it"]
    return [
        table(headers, rows),
        f"Seconds of training, compilation included and tests not; a seed that has not reached "
        f"it after {e['most_epochs']} epochs is given up.",
    ]


def reach(run: Report, target: float) -> float | None:
    """Return seconds of training until the test accuracy was at least ``target``, or None.

    >>> reach({"seconds": [1.0, 2.0, 2.0], "accuracy": [0.9, 0.98, 0.97]}, 0.975)
    3.0
    """
    for number, accuracy in enumerate(run["accuracy"], 1):
        if accuracy >= target:
            return sum(run["seconds"][:number])
    return None


def _operations(e: Report) -> list[str]:
    if "operations" not in e:
        return []
    rows = []
    for o in e["operations"]:
        low, middle, high = (1e6 * q for q in quartiles(o["samples"]))
        shapes = ", ".join("x".join(map(str, shape)) or "1" for shape in o["shapes"].values())
        bound = o["bound"] and 1e6 * o["bound"]
        rows.append([
            o["in"], f"{o['operation']} {o['formula']}".strip(), shapes, f"{middle:.3g}",
            f"{low:.3g} - {high:.3g}", f"{bound:.2g}" if bound else "",
            f"{middle / bound:.2g}" if bound else "",
        ])  # fmt: skip
    headers = ["in", "operation", "arrays", "us", "quartiles", "bound, us", "times the bound"]
    text = (
        "Each call of a step by itself, repeated as fit repeats it. The bound is the traffic of "
        "its arrays at the speed of a copy of as many bytes, or its product's arithmetic at the "
        "rate of a large one; it knows nothing of what a call costs."
    )
    missing = sorted(set(e["contract"]) - {o["operation"] for o in e["operations"]})
    parts = [text, table(headers, rows)]
    return [*parts, f"Not timed: {', '.join(missing)}."] if missing else parts


def _busy_table(e: Report) -> str:
    rows = []
    for name, alone in e["alone"].items():
        if not alone or not e["beside"][name]:
            continue
        low, middle, high = quartiles(ratios(e["beside"][name], alone))
        one, two = (
            f"{quartiles(values).middle / e['steps'] * 1e3:.3g}"
            for values in (alone, e["beside"][name])
        )
        rows.append([name, one, two, f"{middle:.3g} ({low:.3g} - {high:.3g})"])
    return table(["contestant", "alone, ms a step", "beside it, ms a step", "times as long"], rows)


def _shapes(e: Report, ours: str) -> list[str]:
    rows = []
    for name, best, own, other, within in compared(e, ours):
        low, _, high = quartiles(within)
        rows.append([
            name, f"{1e6 * own:.3g}", f"{1e6 * other:.3g}", best,
            f"{verdict(within)} ({low:.3g} - {high:.3g})",
        ])  # fmt: skip
    headers = ["network", f"{ours}, us", "best other, us", "which", "times as long"]
    return [
        "Sizes are inputs, units of one or two hidden layers, classes. Random data without zeros; "
        "steps are those of a whole pass.",
        table(headers, rows),
    ]
