"""The page of a run: Markdown with tables and charts, generated from the JSON file.

python -m benchmarks.race.page benchmarks/results/bench.json
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from benchmarks import RESULTS, ROOT
from benchmarks.common import charts, machine
from benchmarks.common.samples import Samples, quartiles, ratios, verdict

from .goals import Report, entry, goals, slowdowns

README = ROOT / "README.md"
BEGIN, END = "<!-- figures of benchmarks/results/bench.json -->", "<!-- end of figures -->"
NO_FIGURES = "No run has been recorded yet: `make bench` writes one."
ENOUGH = 7  # rounds; the page warns of fewer

# For each entry with samples: its heading, its unit, and the factor of seconds.
HEADINGS = {
    "W1 epoch": "W1, a training step",
    "W2 epoch": "W2, a training step",
    "W3 epoch": "W3, a training step",
    "W4 epoch": "W4, a training step",
    "W6 epoch": "W6, a training step",
    "W5a": "W5a, predict {rows:,} images at once (W2's network)",
    "W5b": "W5b, predict one image (W2's network)",
    "cold": "Cold start: from a fresh process to W2's first epoch and its test accuracy",
    "five epochs": "Five epochs of W2, from the initial weights on",
    "callbacks": "What watching costs: an epoch of W2 through fit",
}


def write(report: Report, path: Path) -> list[Path]:
    """Write the JSON, the page and its charts; for results/bench.json also the README's figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    return [path, *write_page(path)]


def write_page(path: Path) -> list[Path]:
    """Write everything that is generated from a JSON file."""
    report = json.loads(path.read_text())
    written = {path.with_suffix(".md"): markdown(report, path.stem)}
    written |= {path.with_name(name): text for name, text in pictures(report, path.stem).items()}
    if path.resolve() == RESULTS / "bench.json":
        written[README] = with_figures(README.read_text(), figures(report))
    for file, text in written.items():
        file.write_text(text)
    return list(written)


def with_figures(text: str, new: str) -> str:
    """Return ``text`` with ``new`` between the markers of the figures."""
    head, rest = text.split(f"{BEGIN}\n")
    return f"{head}{BEGIN}\n{new}\n{rest[rest.index(END) :]}"


def figures(report: Report | None) -> str:
    """Return the README's table: medians of all contestants on every workload."""
    if report is None:
        return NO_FIGURES
    columns = {f"W{i}": f"W{i} epoch" for i in range(1, 5)} | {"W5a": "W5a", "W5b": "W5b"}
    columns["W6"] = "W6 epoch"
    entries = {label: entry(report, key) for label, key in columns.items()}
    entries = {label: e for label, e in entries.items() if e.get("samples")}
    names = dict.fromkeys(name for e in entries.values() for name in e["samples"])
    rows = []
    for name in names:
        cells = []
        for e in entries.values():
            values = e["samples"].get(name)
            if not _known(values):
                cells.append("")
                continue
            middle = quartiles(values).middle / (e["steps"] or 1) * 1e3
            cells.append(f"{middle:.3g}")
        rows.append([name, *cells])
    e = entry(report, "W2 epoch")
    picture = f"![{_alt(e)}](benchmarks/results/{_file('bench', 'W2 epoch')})" if e else ""
    points = entry(report, "W6 epoch").get("title")
    summary = f"W6 is {points}." if points else ""
    source = f"{machine.line(report['machine'])} [The page](benchmarks/results/bench.md)."
    return "\n\n".join(filter(None, (_table(["ms", *entries], rows), summary, picture, source)))


def markdown(report: Report, stem: str) -> str:
    """Return the page; its charts are beside it, with names that begin with ``stem``."""
    parts = [f"# Benchmarks: {_title(report)}", *_opening(report)]
    rows = [[goal.text, goal.figure, _REACHED[goal.reached]] for goal in goals(report)]
    parts += ["## Goals on a CPU", _table(["goal", "measured", ""], rows)]
    for e in report["results"]:
        parts += section(e, report["reference"], stem)
    return "\n\n".join(parts) + "\n"


_REACHED = {True: "reached", False: "**not reached**", None: "not measured"}


def _title(report: Report) -> str:
    m = report["machine"]
    gpu = f", {m['cards'][0]['name']}" if m["cards"] else ""
    return f"{m['cpu']}, {m['cores']} cores{gpu}, {m['date']}"


def _opening(report: Report) -> list[str]:
    parts = [machine.line(report["machine"])]
    if busy := machine.complaint(report["load_before"], report["others_cores"]):
        parts.append(f"**{busy}**")
    if report["interrupted"]:
        parts.append("**Interrupted: what follows was done until then.**")
    if report["mode"] == "quick":
        parts.append("**A quick run: few rows and few rounds, to see that everything works.**")
    if report["left_out"]:
        parts.append(f"Left out for lack of time: {', '.join(report['left_out'])}.")
    parts += [f"**{stage} broke: {error}**" for stage, error in report["broken"].items()]
    absent = "; ".join(f"{name} ({why})" for name, why in report["absent"].items())
    parts.append(
        f"Data: {report['data']}. Absent: {absent or 'nobody'}. "
        f"{report['seconds'] / 60:.1f} minutes in all."
    )
    parts.append(
        "Each contestant runs in a process of its own, with the same data, the same initial "
        "weights and the same number of steps, at the number of threads (1 or all) that was "
        "better for it in the warm-up. Rounds are interleaved; figures are medians with "
        "quartiles; ratios are formed within a round. A ratio whose quartiles lie on both sides "
        'of 1 is no difference: "as fast". The first pass, with imports and compilation behind '
        "it or within it, stands apart. Every sample is in the JSON file."
    )
    return parts


def section(e: Report, ours: str, stem: str = "") -> list[str]:
    """Return an entry in paragraphs, compared with ``ours``; with a ``stem`` it links its chart."""
    key = e["key"]
    if "samples" in e:
        parts = [f"## {_heading(e)}", *_described(e), _samples_table(e, ours)]
        if stem and _pictured(e):
            parts.append(f"![{_alt(e)}]({_file(stem, key)})")
    elif key == "memory":
        parts = [f"## Memory: the peak of a process that trains {e['title']}", _memory_table(e)]
    elif key.startswith("together"):
        parts = [f"## Two copies at once: {e['title']}", _together_table(e)]
    elif key == "accuracy":
        parts = [f"## Time to accuracy: {e['title']}", *_accuracy(e)]
    else:
        parts = [f"## Operations of the contract, backend {e['backend']}", *_operations(e)]
    failed = e.get("failed", {})
    return parts + [f"Failed: {name}: {how.rstrip('.')}." for name, how in failed.items()]


# -- entries with samples


def _heading(e: Report) -> str:
    return HEADINGS[e["key"]].format(rows=e["rows"])


def _scale(e: Report) -> tuple[float, str]:
    """Return the factor of seconds, and the resulting unit."""
    if e["key"] in ("cold", "five epochs", "callbacks"):
        return 1.0, "s"
    return (1e3 / e["steps"], "ms a step") if e["steps"] else (1e3, "ms")


def _known(values: Samples | None) -> bool:
    return bool(values) and any(value is not None for value in values)


def _ranked(e: Report) -> list[str]:
    known = [name for name, values in e["samples"].items() if _known(values)]
    return sorted(known, key=lambda name: quartiles(e["samples"][name]).middle)


def _base(e: Report, ours: str) -> str:
    """Return the baseline contestant."""
    names = e["samples"]
    on_batch = f"{ours}, predict_on_batch"
    return on_batch if on_batch in names else ours if ours in names else next(iter(names), "")


def _described(e: Report) -> list[str]:
    rounds = max((len(values) for values in e["samples"].values()), default=0)
    text = f"{rounds} rounds"
    if e.get("steps"):
        text = f"{e['title']}. {text} of {e['rows']:,} rows, {e['steps']:,} steps"
    if e.get("accuracy"):
        passes = e["passes"]
        text += f". Test accuracy after {passes} pass{'es' * (passes > 1)}"
    if rounds < ENOUGH:
        text += f". **Fewer than {ENOUGH} rounds: little to go by**"
    return [f"{text}."]


def _samples_table(e: Report, ours: str) -> str:
    base, (factor, unit) = _base(e, ours), _scale(e)
    headers = ["contestant", unit, "quartiles", f"times as long as {base}"]
    extra = [name for name in ("threads", "accuracy", "first") if e.get(name)]
    if "epoch" in e["tiers"]:
        headers.insert(2, "s an epoch")
    rows = []
    for name in _ranked(e):
        values = e["samples"][name]
        low, middle, high = (factor * q for q in quartiles(values))
        within = ratios(values, e["samples"].get(base, ()))
        ratio = "" if name == base else _ratio(within)
        row = [name, f"{middle:.3g}", f"{low:.3g} - {high:.3g}", ratio]
        if "s an epoch" in headers:
            row.insert(2, f"{quartiles(values).middle:.3g}")
        rows.append(row + [_extra(e, what, name) for what in extra])
    titles = {
        "threads": "threads", "accuracy": "test accuracy", "first": "first pass, s",
    }  # fmt: skip
    return _table(headers + [titles[what] for what in extra], rows)


def _ratio(within: list[float]) -> str:
    outcome = verdict(within)
    if not within or outcome == "too few":
        return outcome
    low, _, high = quartiles(within)
    return f"{outcome} ({low:.3g} - {high:.3g})"


def _extra(e: Report, what: str, name: str) -> str:
    value = e[what].get(name)
    if what == "threads":
        return _threads(e, name)
    if value is None:
        return ""
    return f"{value:.4f}" if what == "accuracy" else f"{value:.3g}"


def _threads(e: Report, name: str) -> str:
    """Return the number of threads, and the warm-up times with the rejected numbers."""
    if name not in e["threads"]:
        return ""
    taken, factor = e["threads"][name], _scale(e)[0]
    if taken is None:
        return "its own choice"
    others = [
        f"{n}: {factor * seconds:.3g}" for n, seconds in e["tried"][name].items() if int(n) != taken
    ]
    return f"{taken} ({', '.join(others)})" if others else f"{taken}"


def _pictured(e: Report) -> bool:
    return len(_ranked(e)) > 1


def _file(stem: str, key: str) -> str:
    return f"{stem}-{key.lower().replace(' ', '-')}.svg"


def _alt(e: Report) -> str:
    factor, unit = _scale(e)
    middles = {name: factor * quartiles(e["samples"][name]).middle for name in _ranked(e)}
    return f"{_heading(e)}, {unit}: " + "; ".join(f"{n} {m:.3g}" for n, m in middles.items())


def pictures(report: Report, stem: str) -> dict[str, str]:
    """Return SVG by file name: bars of each entry with samples of several contestants."""
    found = {}
    for e in report["results"]:
        if "samples" in e and _pictured(e):
            factor, unit = _scale(e)
            rows = [
                (name, *(factor * q for q in quartiles(e["samples"][name]))) for name in _ranked(e)
            ]
            emphasis = [name for name in e["samples"] if name.startswith("gpunn")]
            chart = charts.bars(_heading(e), rows, unit, _alt(e), emphasis)
            found[_file(stem, e["key"])] = chart
    return found


# -- other entries


def _memory_table(e: Report) -> str:
    rows = []
    for name, peak in sorted(e["bytes"].items(), key=lambda item: item[1]["host"] or 0):
        rows.append([name, *(f"{b / 1e6:,.0f}" if b else "" for b in (peak["host"], peak["card"]))])
    return _table(["contestant", "host, MB", "card, MB"], rows)


def _together_table(e: Report) -> str:
    rows = []
    for name, alone in e["alone"].items():
        both = [max(pair) for pair in e["both"][name]]
        low, middle, high = quartiles(slowdowns(e, name) or [])
        one, two = (f"{quartiles(values).middle * 1e3:.3g}" for values in (alone, both))
        rows.append([name, one, two, f"{middle:.3g} ({low:.3g} - {high:.3g})"])
    headers = ["contestant", "alone, ms", "slower of two, ms", "times as long"]
    return _table(headers, rows) + (
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
        _table(headers, rows),
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
    parts = [text, _table(headers, rows)]
    return [*parts, f"Not timed: {', '.join(missing)}."] if missing else parts


def _table(headers: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


# -- for a terminal


def terminal(report: Report) -> str:
    """Return the medians in lines of at most 80 columns, and the goals."""
    lines: list[str] = []
    for e in report["results"]:
        if "samples" in e:
            factor, unit = _scale(e)
            base = _base(e, report["reference"])
            lines += ["", f"{_heading(e)}: {unit}"[:79]]
            for name in _ranked(e):
                values = e["samples"][name]
                low, middle, high = (factor * q for q in quartiles(values))
                outcome = "" if name == base else verdict(ratios(values, e["samples"][base]))
                spread = f"{low:.3g} - {high:.3g}"
                lines.append(f"  {name[:36]:<36} {middle:>9.3g}  {spread:<19} {outcome}".rstrip())
        for name, how in e.get("failed", {}).items():
            lines.append(f"  {name}: {how}"[:79])
    met = [goal for goal in goals(report) if goal.reached is not None]
    if met:
        lines += ["", "Goals"]
    for goal in met:
        lines.append(f"  {'reached' if goal.reached else 'NOT    '}  {goal.text}")
        lines.append(f"{'':11}{goal.figure}")
    lines += [f"{name}: {why}"[:79] for name, why in report["absent"].items()]
    if busy := machine.complaint(report["load_before"], report["others_cores"]):
        lines += ["", *textwrap.wrap(busy, 79)]
    return "\n".join(lines)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(*write_page(Path(argument)), sep="\n")
