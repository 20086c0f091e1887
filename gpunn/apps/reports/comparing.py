"""The report page of several runs: their results, their curves, and where they differ."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from gpunn.common.markup import Markup, element, joined
from gpunn.common.markup.charts import LOOKS, curves, sample

from .parts import duration, figure, number, section, table
from .record import Record

DRAWN = len(LOOKS)  # lines in a chart, so that all are distinct


def several(runs: Sequence[Record]) -> Markup:
    """Render the comparison of several runs."""
    labels = _labels(runs)
    figures = [run.figures() for run in runs]
    names = list(dict.fromkeys(name for found in figures for name in found))
    rows = []
    for label, run, found in zip(labels, runs, figures, strict=True):
        last = [number(found[n][-1]) if n in found else "-" for n in names]
        rows.append((label, f"{len(run.epochs)} of {run.begin['epochs']}", *last,
                     duration(run.end["seconds"]) if run.end else "-"))
    tested = [(label, run.end["results"]) for label, run in zip(labels, runs, strict=True)
              if run.end and run.end["results"]]
    kinds = list(dict.fromkeys(name for _, found in tested for name in found["figures"]))
    results = [
        (label, found["part"], *[number(found["figures"].get(name)) for name in kinds])
        for label, found in tested
    ]
    charts = []
    for name in names:
        shown = {label: found.get(name, [])
                 for label, found in [*zip(labels, figures, strict=True)][:DRAWN]}
        ends = [f"{label} {number(values[-1])}" for label, values in shown.items() if values]
        text = f"{name} over the epochs; at the end: {', '.join(ends)}"
        charts.append(figure(curves(name, shown, label=text, size=(360, 240), key=False)))
    note = [element("p", f"The charts show the first {DRAWN} runs.")] if len(runs) > DRAWN else []
    key = [element("li", sample(i), " ", label) for i, label in enumerate(labels[:DRAWN])]
    return joined(
        section("Last epoch of each run", table(("run", "epochs", *names, "time"), rows)),
        section("Evaluation", table(("run", "on", *kinds), results)) if results else None,
        section("Curves", note, element("ul", key, class_="key"),
                element("div", charts, class_="row")) if charts else None,
        section("Differences", _differing(labels, runs)),
    )


def _labels(runs: Sequence[Record]) -> list[str]:
    """Return a name for each run: its folder's name if these are distinct, else its path."""
    short = [Path(run.path).parent.name or run.name for run in runs]
    return short if len(set(short)) == len(runs) else [run.path for run in runs]


def _differing(labels: list[str], runs: Sequence[Record]) -> Markup:
    """Make a table of the settings and environment entries that differ, with a row for each run.

    What all runs share of a command, or of another list, is left out.
    """
    entries = [
        {**{name: value.split(", ") for name, value in r.begin["settings"].items()},
         **{name: [value] for name, value in r.begin["environment"].items()},
         "layers": [f"{name} {shape}" for name, shape, _ in r.begin["layers"]],
         "command": _options(r.begin["command"])}
        for r in runs
    ]
    names = dict.fromkeys(name for one in entries for name in one)
    columns = {}
    for name in names:
        values = [one.get(name, []) for one in entries]
        if any(value != values[0] for value in values):
            columns[name] = [*map(_lines, _without_common(values))]
    if not columns:
        return element("p", "No recorded entry differs; the seeds may.")
    rows = [*zip(labels, *columns.values(), strict=True)]
    caption = "What all runs have in common is left out."
    return table(("run", *columns), rows, numbers=False, caption=caption)


def _options(command: str) -> list[str]:
    """Split a command into its options, each with its values.

    >>> _options("gpunn train 'my table.csv' --hidden 64 32 --seed 1")
    ['gpunn', 'train', "'my table.csv'", '--hidden 64 32', '--seed 1']
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return [command]
    parts: list[str] = []
    for word in words:
        if parts and parts[-1].startswith("-") and not word.startswith("--"):
            parts[-1] += f" {shlex.quote(word)}"
        else:
            parts.append(shlex.quote(word))
    return parts


def _without_common(values: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the parts of each value, without those that all values have.

    >>> _without_common([["Adam", "rate 1"], ["Adam", "rate 2"], ["Adam"]])
    [['rate 1'], ['rate 2'], []]
    """
    common = set(values[0]).intersection(*values[1:])
    found = [[part for part in value if part not in common] for value in values]
    if all(one == found[0] for one in found):  # they differ in the order, or how often
        return [list(value) for value in values]
    return found


def _lines(parts: Sequence[str]) -> str:
    """Return parts as a cell with a line for each."""
    if len(parts) < 2:
        return parts[0] if parts else "-"
    return joined(*[element("div", part, class_="long") for part in parts])
