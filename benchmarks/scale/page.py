"""The page of `curves`: a chart per curve, its straight pieces, and the cause of each bend."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import charts, machine

TOLERANCE = 0.15  # the largest distance of a point from the line of its straight piece
CHANGED = 1.25  # a rate that grew or fell by this factor is reported
BENT = 0.15  # a change in the slope of the work by this much is reported
MINOR = 0.1  # the rate of a part with a smaller share is not reported
CORES = 0.4  # a change in the busy cores by this much is reported
TIME_PARTS = {
    "fixed": "calls of Python and NumPy",
    "products": "matrix products",
    "rest": "passes over arrays",
}
MEMORY_PARTS = {
    "start": "the process before it has a model",
    "counted": "arrays",
    "other": "what no array accounts for, such as pages of a mapped file",
}
SERIES = {
    "memory": "data in memory",
    "map": "a memory-mapped file",
    "stream": "batches read from a file",
}
METHOD = """\
Each point is a process of its own. A step is a step of `fit`; its time is the median of seven
samples of about 0.4 s. It is taken apart by measurement, in turn with these samples: *calls of
Python and NumPy* is a step of the same layers one unit wide on one row; *matrix products* are
those of the step's profile, run by themselves; *passes over arrays* is what is left. Memory
is the most that the process has had; *arrays* is the most that Python's tracemalloc counts until
the first step has ended.

A straight piece is a line through its points, both axes being logarithmic, from which none is
further away than 15%, or than its samples differ; there are as few pieces as that allows. A bend
is where two of them meet. What is said of it is found out from the points around it: which part
is the largest before and after, whether the flops and bytes of the step's operations bend too
(where a part of them does not depend on what is varied), which cache the arrays outgrow, how many
cores were at work, and what that did to the rates."""


@dataclass(frozen=True)
class Piece:
    """Points ``first`` to ``last`` lie on y = c x^slope."""

    first: int
    last: int
    slope: float


def pieces(xs: Sequence[float], ys: Sequence[float], spread: Sequence[float] = ()) -> list[Piece]:
    """Return the fewest straight pieces, on logarithmic axes, that meet at points and fit them all.

    A point may deviate from its line by `TOLERANCE`, or by its ``spread`` if that is larger.

    >>> [round(p.slope, 3) for p in pieces([1, 2, 4, 8, 16], [5, 5, 5, 20, 80])]
    [0.0, 2.0]
    """
    logs = [(math.log(x), math.log(y)) for x, y in zip(xs, ys, strict=True)]
    tolerances = [math.log(1 + max(TOLERANCE, s)) for s in spread or [0.0] * len(logs)]
    best: list[tuple[int, float, list[Piece]]] = [(0, 0.0, [])]
    for last in range(1, len(logs)):
        choices = []
        for first in range(last):
            slope, errors = _line(logs[first : last + 1], tolerances[first : last + 1])
            if max(map(abs, errors)) <= 1:
                count, error, before = best[first]
                total = error + sum(e * e for e in errors)
                choices.append((count + 1, total, [*before, Piece(first, last, slope)]))
        best.append(min(choices, key=lambda choice: choice[:2]))
    return best[-1][2]


def _line(points: list[tuple[float, float]], tolerances: list[float]) -> tuple[float, list[float]]:
    """Return the slope of the least-squares line, and each distance relative to ``tolerances``."""
    weights = [1 / r**2 for r in tolerances]
    x, y = (
        sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        for values in zip(*points, strict=True)
    )
    terms = [(w, a - x, b - y) for w, (a, b) in zip(weights, points, strict=True)]
    slope = sum(w * a * b for w, a, b in terms) / sum(w * a * a for w, a, _ in terms)
    return slope, [(b - slope * a) / r for (_, a, b), r in zip(terms, tolerances, strict=True)]


def time_of(point: dict[str, Any]) -> dict[str, float]:
    """Return seconds and their parts, as far as measured."""
    whole = statistics.median(point["seconds"])
    parts = {"whole": whole, "fixed": min(point["fixed"], whole)}
    if "products" in point:
        parts["products"] = min(point["products"], whole - parts["fixed"])
    parts["rest"] = whole - sum(v for name, v in parts.items() if name != "whole")
    return parts


def memory_of(point: dict[str, Any]) -> dict[str, float]:
    """Return bytes and their parts, as far as measured."""
    parts = {"whole": point["peak"]}
    if point["start"]:
        counted = min(point["counted"], point["peak"] - point["start"])
        other = point["peak"] - point["start"] - counted
        parts |= {"start": point["start"], "counted": counted, "other": other}
    return parts


def explain(
    points: Sequence[dict[str, Any]],
    curve: Sequence[dict[str, float]],
    names: dict[str, str],
    found: Sequence[Piece],
    caches: dict[str, int],
) -> list[str]:
    """Return one or more sentences for each bend, the end of a piece."""
    sentences = []
    for before, after in itertools.pairwise(found):
        bend = before.last
        near = points[bend - 1], points[bend + 1]
        facts = [_shares(curve[before.first : bend + 1], curve[bend : after.last + 1], names)]
        if names is TIME_PARTS:
            facts.append(_threads(*near))
            if "products" in near[0]:
                facts.append(_work(points, before, after))
                facts += [_passes(*near, caches), _products(*near)]
        facts = [fact for fact in facts if fact]
        if not facts:
            spread = max(map(_spread, points[bend - 1 : bend + 2]))
            facts = [f"No counter explains it; samples around it differ by {spread:.0%}."]
        way = f"from slope {before.slope:.2f} to {after.slope:.2f}"
        sentences.append(f"**{charts.number(points[bend]['x'])}**, {way}. " + " ".join(facts))
    return sentences


def _shares(
    before: Sequence[dict[str, float]], after: Sequence[dict[str, float]], names: dict[str, str]
) -> str:
    shares = []
    for side in (before, after):
        mean = {n: statistics.fmean(p[n] / p["whole"] for p in side) for n in names if n in side[0]}
        shares.append(mean)
    if not shares[0]:
        return ""
    first, second = (max(side, key=side.__getitem__) for side in shares)
    if first == second:
        moved = max(names, key=lambda n: abs(shares[1].get(n, 0) - shares[0].get(n, 0)))
        change = shares[1].get(moved, 0) - shares[0].get(moved, 0)
        if abs(change) < 0.1:
            return ""
        return (
            f"The share of {names[moved]} goes from {shares[0][moved]:.0%} before it to "
            f"{shares[1][moved]:.0%} after it."
        )
    return (
        f"Before it, the largest part are {names[first]} ({shares[0][first]:.0%}); after it, "
        f"{names[second]} ({shares[1][second]:.0%})."
    )


def _work(points: Sequence[dict[str, Any]], before: Piece, after: Piece) -> str:
    bent = []
    for name in ("flops", "bytes"):
        slopes = [
            _line([(math.log(p["x"]), math.log(p[name])) for p in side], [1.0] * len(side))[0]
            for side in (points[p.first : p.last + 1] for p in (before, after))
        ]
        if abs(slopes[1] - slopes[0]) > BENT:
            bent.append(f"{name} from slope {slopes[0]:.2f} to {slopes[1]:.2f}")
    return f"The work itself bends: {' and '.join(bent)}." if bent else ""


def _passes(before: dict[str, Any], after: dict[str, Any], caches: dict[str, int]) -> str:
    outgrown = [
        f"{name} ({_bytes(size)})"
        for name, size in caches.items()
        if before["held"] < size <= after["held"]
    ]
    outgrowing = (
        f"The arrays, {_bytes(before['held'])} at {before['x']:,} and {_bytes(after['held'])} at "
        f"{after['x']:,}, outgrow {' and '.join(outgrown)}."
    )
    if any(_minor("rest", point) for point in (before, after)):
        return outgrowing if outgrown else ""
    rates = [p["bytes"] / time_of(p)["rest"] / 1e9 for p in (before, after)]
    if not outgrown and max(rates) < CHANGED * min(rates):
        return ""
    change = f"The passes over arrays go from {rates[0]:.3g} to {rates[1]:.3g} GB/s."
    return f"{outgrowing} {change}" if outgrown else change


def _threads(before: dict[str, Any], after: dict[str, Any]) -> str:
    if abs(after["cores"] - before["cores"]) <= CORES:
        return ""
    return f"Cores at work: {before['cores']:.1f} before, {after['cores']:.1f} after."


def _products(before: dict[str, Any], after: dict[str, Any]) -> str:
    if any(_minor("products", point) for point in (before, after)):
        return ""
    rates = [p["flops"] / p["products"] / 1e9 for p in (before, after)]
    if max(rates) < CHANGED * min(rates):
        return ""
    return f"The matrix products go from {rates[0]:.3g} to {rates[1]:.3g} GFLOP/s."


def _minor(part: str, point: dict[str, Any]) -> bool:
    parts = time_of(point)
    return parts[part] < MINOR * parts["whole"]


def _spread(point: dict[str, Any]) -> float:
    low, middle, high = statistics.quantiles(point["seconds"], n=4)
    return (high - low) / middle


def write(report: dict[str, Any], axes: Iterable[Any], out: Path) -> Path:
    """Write ``out/scale.md`` and its charts in ``out/scale/``."""
    (out / "scale").mkdir(parents=True, exist_ok=True)
    files, text = page(report, axes)
    for name, content in files.items():
        (out / "scale" / name).write_text(content)
    path = out / "scale.md"
    path.write_text(text)
    return path


def page(report: dict[str, Any], axes: Iterable[Any]) -> tuple[dict[str, str], str]:
    """Return charts by file name, and the page."""
    files: dict[str, str] = {}
    busy = machine.complaint(report["load_before"], report["others_cores"])
    sizes = ", ".join(f"{name} {_bytes(size)}" for name, size in report["caches"].items())
    backends = {p["backend"] for entry in report["axes"].values() for p in entry["points"]}
    lines = [
        "# How time and memory grow",
        "",
        *([f"**{busy}**", ""] if busy else []),
        *(["**A quick run: few points, short samples.**", ""] if report["quick"] else []),
        METHOD,
        "",
        f"{machine.line(report['machine'])} Data caches of a core: {sizes or 'not told'}. "
        f"{'On the CPU and on the card' if len(backends) > 1 else 'On the CPU only'}; "
        f"{report['seconds'] / 60:.1f} minutes.",
    ]
    for axis in axes:
        if axis.key in report["axes"]:
            lines += _section(axis, report["axes"][axis.key], report["caches"], files)
    return files, "\n".join(lines) + "\n"


def _section(axis: Any, entry: dict, caches: dict[str, int], files: dict[str, str]) -> list[str]:
    curves: dict[str, list[dict[str, Any]]] = {}
    for point in entry["points"]:
        name = SERIES.get(point["series"], "")
        where = "" if point["backend"] == "numpy" else "card"
        title = ", ".join(filter(None, (name, where))) or "the whole"
        curves.setdefault(title, []).append(point)
    lines = ["", f"## {axis.title}", "", f"{axis.network}. Slope {axis.slope[0]} is expected "
             f"where arithmetic is all: {axis.slope[1]}. {axis.note}".rstrip()]  # fmt: skip
    for missing in entry["failed"]:
        label = " ".join(filter(None, (missing["backend"], missing["series"])))
        lines += ["", f"Missing: {missing['x']:,} ({label}), {missing['reason']}."]
    for kind, of, names, unit in (
        ("time", time_of, TIME_PARTS, 1e3),
        ("memory", memory_of, MEMORY_PARTS, 1e-6),
    ):
        label = f"ms {axis.timed}" if kind == "time" else "MB at most"
        known = {
            title: [p for p in points if kind == "time" or p["peak"]]
            for title, points in curves.items()
        }
        series: dict[str, list[tuple[float, float]]] = {}
        for title, points in known.items():
            for name in ("whole", *names):
                shown = title if name == "whole" else names[name]
                if name == "whole" or len(curves) == 1:
                    line = [(p["x"], of(p).get(name, 0) * unit) for p in points]
                    series[shown] = [(x, y) for x, y in line if y > 0]
        series = {title: line for title, line in series.items() if line}
        if not series:
            continue
        title = f"{f'Time of {axis.timed}' if kind == 'time' else 'Memory'}: {axis.network}"
        low = min(y for points in known.values() for p in points for y in [of(p)["whole"] * unit])
        # A negligible part would stretch the chart.
        series = {t: [(x, y) for x, y in line if y > low / 30] for t, line in series.items()}
        files[f"{axis.key}-{kind}.svg"] = charts.lines(
            title, {t: line for t, line in series.items() if line}, axis.label, label
        )
        lines += [*([""] if lines[-1] else []), f"![{title}](scale/{axis.key}-{kind}.svg)", ""]
        for title, points in known.items():
            if len(points) < 2:
                continue
            curve = [of(p) for p in points]
            spread = [_spread(p) if kind == "time" else 0 for p in points]
            found = pieces([p["x"] for p in points], [c["whole"] for c in curve], spread)
            slopes = "; ".join(
                f"{points[p.first]['x']:,} to {points[p.last]['x']:,}: {p.slope:.2f}" for p in found
            )
            several = f" ({title})" if len(known) > 1 else ""
            lines.append(f"{kind.capitalize()}{several}, slope of each straight piece: {slopes}.")
            bends = explain(points, curve, names, found, caches)
            lines += [*([""] if bends else []), *(f"- Bend at {bend}" for bend in bends), ""]
    return [*lines, *([""] if lines[-1] else []), *_table(axis, curves)]


def _table(axis: Any, curves: dict[str, list[dict[str, Any]]]) -> list[str]:
    several = len(curves) > 1
    head = [*(["curve"] if several else []), axis.label, f"ms {axis.timed}", "quartiles", "calls"]
    head += ["products", "passes", "cores", f"arrays of {axis.timed}", "memory"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for title, points in curves.items():
        for p in points:
            parts, (low, _, high) = time_of(p), statistics.quantiles(p["seconds"], n=4)
            shares = [
                f"{parts[name] / parts['whole']:.0%}" if name in parts else ""
                for name in TIME_PARTS
            ]
            lines.append(
                f"| {f'{title} | ' if several else ''}{p['x']:,} | {parts['whole'] * 1e3:.4g} | "
                f"{low * 1e3:.4g} - {high * 1e3:.4g} | {' | '.join(shares)} | {p['cores']:.1f} | "
                f"{_bytes(p['held'])} | {_bytes(p['peak']) if p['peak'] else 'not known'} |"
            )
    return lines


def _bytes(n: float) -> str:
    """Format bytes in a suitable unit.

    >>> _bytes(49152), _bytes(33_554_432), _bytes(2.5e9)
    ('48 kB', '32 MB', '2.3 GB')
    """
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20)):
        if n >= size:
            return f"{n / size:.3g} {unit}" if n / size < 1000 else f"{n / size:.0f} {unit}"
    return f"{n / 1024:.3g} kB"
