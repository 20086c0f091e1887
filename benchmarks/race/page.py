"""The page of a run: Markdown with tables and charts, generated from the JSON file.

python -m benchmarks.race.page benchmarks/results/bench.json
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from benchmarks.common import charts, machine
from benchmarks.common.samples import Samples, quartiles, ratios, verdict

from . import readme, sections
from .goals import Report, goals
from .sections import table

ENOUGH = 7  # rounds; the page warns of fewer

# For each entry with samples: its heading, its unit, and the factor of seconds.
HEADINGS = {
    "W1 epoch": "W1, a training step",
    "W2 epoch": "W2, a training step",
    "W3 epoch": "W3, a training step",
    "W4 epoch": "W4, a training step",
    "W6 epoch": "W6, a training step",
    "W2 dense": "W2 on images without zeros, a training step",
    "W5a": "W5a, predict {rows:,} images at once (W2's network)",
    "W5a dense": "W5a on images without zeros, predict {rows:,} at once",
    "W5b": "W5b, predict one image (W2's network)",
    "cold": "Cold start: from a fresh process to W2's first epoch and its test accuracy",
    "first fit": "From a fresh process to the end of a first fit, imports included",
    "five epochs": "Five epochs of W2, from the initial weights on",
    "callbacks": "What watching costs: an epoch of W2 through fit",
}


def write(report: Report, path: Path) -> list[Path]:
    """Write the JSON, the page and its charts; in results/ also the README's figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    return [path, *write_page(path)]


def write_page(path: Path) -> list[Path]:
    """Write everything that is generated from a JSON file."""
    report = json.loads(path.read_text())
    written = {path.with_suffix(".md"): markdown(report, path.stem)}
    written |= {path.with_name(name): text for name, text in pictures(report, path.stem).items()}
    if path.resolve() in readme.RUNS:
        written[readme.README] = readme.text()
    for file, text in written.items():
        file.write_text(text)
    return list(written)


def markdown(report: Report, stem: str) -> str:
    """Return the page; its charts are beside it, with names that begin with ``stem``."""
    parts = [f"# Benchmarks: {_title(report)}", *_opening(report)]
    rows = [[goal.text, goal.figure, _REACHED[goal.reached]] for goal in goals(report)]
    parts += ["## Goals on a CPU", table(["goal", "measured", ""], rows)]
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
        parts = [f"## {_heading(e)}", *_described(e), _samplestable(e, ours)]
        if stem and _pictured(e):
            parts.append(f"![{_alt(e)}]({_file(stem, key)})")
    else:
        parts = sections.section(e, ours)
    failed = e.get("failed", {})
    return parts + [f"Failed: {name}: {how.rstrip('.')}." for name, how in failed.items()]


# -- entries with samples


def _heading(e: Report) -> str:
    return HEADINGS[e["key"]].format(rows=e["rows"])


def _scale(e: Report) -> tuple[float, str]:
    """Return the factor of seconds, and the resulting unit."""
    if e["key"] in ("cold", "first fit", "five epochs", "callbacks"):
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


def _samplestable(e: Report, ours: str) -> str:
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
    return table(headers + [titles[what] for what in extra], rows)


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
        indent = " " * 11
        lines += textwrap.wrap(goal.figure, 79, initial_indent=indent, subsequent_indent=indent)
    lines += [f"{name}: {why}"[:79] for name, why in report["absent"].items()]
    if busy := machine.complaint(report["load_before"], report["others_cores"]):
        lines += ["", *textwrap.wrap(busy, 79)]
    return "\n".join(lines)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(*write_page(Path(argument)), sep="\n")
