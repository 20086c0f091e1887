"""The report page: one run in detail, or a comparison of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpunn.apps.web.page import page
from gpunn.callbacks.history import paired
from gpunn.common.markup import Markup, element, joined
from gpunn.common.markup.charts import curves

from .comparing import several
from .judged import judged
from .leaderboard import leaderboard
from .parts import duration, figure, number, pairs, readable_bytes, section, table
from .record import Record

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
