"""The report page: one run in detail, or a comparison of several."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpunn.apps.web.page import page
from gpunn.callbacks.history import paired
from gpunn.common.markup import Markup, element, joined
from gpunn.common.markup.charts import LOOKS, curves, sample

from .judged import judged
from .leaderboard import leaderboard
from .parts import duration, figure, number, pairs, readable_bytes, section, table
from .record import Record

RUNS = len(LOOKS)  # lines in a chart, so that all are distinct


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
                 for label, found in [*zip(labels, figures, strict=True)][:RUNS]}
        ends = [f"{label} {number(values[-1])}" for label, values in shown.items() if values]
        text = f"{name} over the epochs; at the end: {', '.join(ends)}"
        charts.append(figure(curves(name, shown, label=text, size=(360, 240), key=False)))
    note = [element("p", f"The charts show the first {RUNS} runs.")] if len(runs) > RUNS else []
    key = [element("li", sample(i), " ", label) for i, label in enumerate(labels[:RUNS])]
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


STYLE = Path(__file__).parent / "report.css"
DRAWN = 6  # lines in a chart, so that all are distinct
EPOCHS = 30  # in the table of epochs
LAYERS = 20  # in a table that is open


def report(runs: Sequence[Record], show_data: bool = True) -> str:
    """Return a report of one run, or of several to compare, as the HTML of a page without scripts.
    With ``show_data`` it shows rows of the data."""
    if len(runs) == 1:
        title, body = f"Report: {runs[0].name}", _one(runs[0], show_data)
    else:
        title, body = f"Report of {len(runs)} runs", several(runs)
    return page(title, element("main", element("h1", title), body), styles=[STYLE])


def _one(run: Record, show_data: bool) -> Markup:
    begin, end = run.begin, run.end
    drawn = [_of_part(run), element("div", _charts(run), class_="row"), _epochs(run)]
    shown = section("Curves", drawn) if run.epochs else None
    whole = not begin["trained"]  # else the model comes first, and then what a part of it did
    return joined(
        _state(run),
        shown if whole else None,
        [judged(end, show_data)] if end else [],
        leaderboard(begin["tried"]),
        section("Settings", pairs(begin["settings"].items()), _layers(begin["layers"])),
        _data(end) if end else None,
        None if whole else shown,
        _weights(end["weights"]) if end and end["weights"] else None,
        _gradients(run),
        _time(run),
        section("Environment", pairs(begin["environment"].items())),
        _again(begin),
    )


def _state(run: Record) -> Markup:
    end = run.end
    if end is None:
        text = f"Not finished: {len(run.epochs)} of {run.begin['epochs']} epochs are recorded."
    else:
        text = f"{end['ended']} It took {duration(end['seconds'])}."
    begun = f"Started {run.begin['began']}."
    kind = "state" if end and end["complete"] else "state stopped"
    return element("p", text, " ", begun, class_=kind)


def _layers(layers: list[list[str]]) -> Markup:
    """Make a table of layers, with many in a part to open."""
    whole = table(("layer", "output shape", "parameters"), layers)
    if len(layers) <= LAYERS:
        return whole
    return element("details", element("summary", f"The {len(layers):,} layers"), whole)


def _of_part(run: Record) -> Markup | list[Markup]:
    """Say what the epochs are of, if not of the whole model."""
    trained = run.begin["trained"]
    return element("p", f"Of {trained}.") if trained else []


def _charts(run: Record) -> list[Markup]:
    found = []
    for name, lines in paired(run.figures()).items():
        ends = [f"{label} {number(values[-1])}" for label, values in lines.items()]
        label = f"{name} over {len(run.epochs)} epochs; at the end: {', '.join(ends)}"
        found.append(figure(curves(name, lines, label=label, size=(360, 220))))
    return found


def _epochs(run: Record) -> Markup | None:
    """Make a table of the metrics; of many epochs it has a selection with the last one."""
    count = len(run.epochs)
    if not count:
        return None
    step = -(-count // EPOCHS)
    shown = sorted({*range(0, count, step), count - 1})
    names = list(run.figures())
    lines = [
        (run.epochs[i]["epoch"], *[number(run.epochs[i]["logs"].get(n)) for n in names])
        for i in shown
    ]
    summary = "The same as a table" + ("" if step == 1 else f", every {step} epochs")
    return element("details", element("summary", summary), table(("epoch", *names), lines))


def _data(end: dict[str, Any]) -> Markup:
    found = end["data"]
    if found is None:
        return Markup("")
    rows = [(severity, check, text) for severity, check, text in found["findings"]]
    checks = (
        table(("", "check", "finding"), rows, numbers=False, class_="findings")
        if rows
        else element("p", "The data checks found nothing.")
    )
    return section("The data", element("p", found["summary"]), checks)


def _weights(found: dict[str, Any]) -> Markup:
    shown = f"{found['shown']} of {found['units']}" if found["shown"] < found["units"] else "all"
    what = (
        "a row for each input, a column for each unit"
        if found["table"]
        else "a picture for each unit"
    )
    label = f"Weights of the first layer, {found['layer']}: {what}"
    picture = element("img", src=found["picture"], alt=label, width=found["width"],
                      height=found["height"])
    caption = (
        f"{label} ({shown} units). Black is {-found['bound']:.3g}, white {found['bound']:.3g}, "
        f"grey zero."
    )
    return section("Weights of the first layer", figure(picture, caption))


def _gradients(run: Record) -> Markup:
    norms = {n: v for n, v in run.gradients("gradient_norm").items()
             if any(map(math.isfinite, v))}
    if not norms:
        return Markup("")
    last = {one["layer"]: one for epoch in run.epochs for one in epoch["gradients"]}
    looked = {name: _filled(values) for name, values in [*norms.items()][:DRAWN]}
    ends = ", ".join(f"{name} {number(last[name]['gradient_norm'])}" for name in looked)
    label = f"Gradient norm by layer over epochs; at the end: {ends}"
    often = max(sum(map(math.isfinite, values)) for values in norms.values()) > 1
    picture = [figure(curves("gradient norm", looked, powers=True, size=(360, 240),
                             label=label))] if often else []  # of one step there is no line
    lines = [
        (name, *[number(one[f]) for f in ("gradient_norm", "weight_norm", "update_ratio")],
         *["" if one[f] is None else f"{one[f]:.0%}" for f in ("dead", "saturated")])
        for name, one in last.items()
    ]
    findings = [element("p", text) for text in (run.end or {"findings": []})["findings"]]
    notes = findings or [element("p", "No problems were found.")]
    head = ("layer", "gradient", "weights", "update / weights", "dead", "saturated")
    return section(
        "Gradients by layer", _of_part(run), *notes,
        element("div", picture,
                table(head, lines, caption="Norms in the last step that was measured."),
                class_="row"),
    )


def _filled(values: list[float]) -> list[float]:
    """Fill gaps with the last measured value, so that the line is continuous."""
    found, last = [], math.nan
    for value in values:
        last = value if math.isfinite(value) else last
        found.append(last)
    return found


def _time(run: Record) -> Markup:
    seconds = [epoch["seconds"] for epoch in run.epochs]
    if not seconds:
        return Markup("")
    memory = max((epoch["memory"] or 0 for epoch in run.epochs), default=0)
    rows = [("per epoch", f"{duration(sum(seconds) / len(seconds))} on average")]
    if run.end:
        rows.append(("total", duration(run.end["seconds"])))
    if memory:
        rows.append(("memory", f"{readable_bytes(memory)} at most, of the whole process"))
    label = f"Seconds per epoch: from {min(seconds):.3g} to {max(seconds):.3g}"
    of = run.begin["trained"]
    drawn = figure(curves("seconds per epoch", {"": seconds}, label=label), of and f"Of {of}.")
    return section("Time and memory", element("div", pairs(rows), drawn, class_="row"))


def _again(begin: dict[str, Any]) -> Markup:
    parts = []
    if begin["command"]:
        parts.append(element("pre", element("code", begin["command"])))
    if begin["code"]:
        head = element("summary", "The model in Python, with new initial weights")
        parts.append(element("details", head, element("pre", element("code", begin["code"]))))
    return section("Repeat the run", *parts)
