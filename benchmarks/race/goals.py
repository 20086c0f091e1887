"""The project's goals on a CPU, and whether a run reached them."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.common.samples import differ, quartiles, ratios

from . import catalog
from .cold import ONLY_NUMPY
from .one_point_a_step import TEN_ROWS
from .shapes import compared

Report = dict[str, Any]
COLD_SECONDS, PEAK_BYTES = 0.6, 150e6
FIVE_SECONDS, FIVE_ACCURACY = 1.0, 0.975
FIRST_FIT_SECONDS = 0.12
# W2 beside a busy process is no slower than it was alone before products were divided among
# threads in small pieces, relative to JAX alone in the same rounds, by instruction set.
BESIDE = {"avx2": 1.06, "avx512": 0.69}
# Each of two trainings on two cores keeps 0.8 of its speed: relative to running alone if one
# training uses a single core, relative to half of that if one training uses both.
TWO_COPIES = {"W2": 2.5, "W3": 2.5}  # both use two cores


class Goal(NamedTuple):
    """A goal, its measurement, and whether it was reached; None if it was not measured."""

    text: str
    figure: str
    reached: bool | None


def goals(report: Report) -> list[Goal]:
    """Return every goal, in the order of the workloads."""
    ours = report["reference"]
    on_batch = f"{ours}, predict_on_batch"
    found = [
        _ratio(report, "W1 epoch", "W1: at most 0.5 of JAX, scan over the epoch", ours,
               catalog.SCAN, 0.5),
        _ratio(report, "W1 epoch", "W1: 12 times as fast as PyTorch", ours, catalog.EAGER, 1 / 12),
        _ratio(report, "W2 epoch", "W2: at most 0.4 of JAX, scan over the epoch", ours,
               catalog.SCAN, 0.4),
        _ratio(report, "W2 dense", "W2 without zeros: at most 0.6 of JAX, scan over the epoch",
               ours, catalog.SCAN, 0.6),
        _ratio(report, "W2 epoch", "W2: 3 times as fast as PyTorch, fused optimizer", ours,
               catalog.FUSED, 1 / 3),
        _beside(report, ours),
        _ratio(report, "W3 epoch", "W3: at most 0.8 of JAX, scan over the epoch", ours,
               catalog.SCAN, 0.8),
        _ratio(report, "W3 epoch", "W3: at most 0.8 of JAX, jit a step", ours, catalog.JIT, 0.8),
        _ratio(report, "W4 epoch", "W4: at most 0.75 of PyTorch", ours, catalog.EAGER, 0.75),
        _ratio(report, "W5a", "W5a: at most 0.55 of PyTorch", ours, catalog.EAGER, 0.55),
        _ratio(report, "W5a dense", "W5a without zeros: at most 0.9 of PyTorch", ours,
               catalog.EAGER, 0.9),
        _ratio(report, "W5b", "W5b, predict_on_batch: at most 0.35 of JAX", on_batch,
               catalog.SCAN, 0.35),
        _ratio(report, "W5b", "W5b, predict: at most 0.6 of JAX", ours, catalog.SCAN, 0.6),
        _ratio(report, "W6 epoch", "W6: at most 0.65 of JAX, scan over the epoch", ours,
               catalog.SCAN, 0.65),
        _ratio(report, "W6 epoch", "W6: at most 0.85 of FANN", ours, catalog.POINTS, 0.85),
        _ratio(report, "W6 epoch", "W6, ten rows a pass: a step at most 3 times as long",
               f"{ours}{TEN_ROWS}", ours, 3.0),
        _shapes(report, ours),
    ]  # fmt: skip
    fits = entry(report, "first fit").get("samples", {})
    text = "First fit in a fresh process, beyond NumPy: within 0.12 s"
    pairs = zip(fits.get("gpunn", ()), fits.get(ONLY_NUMPY, ()), strict=True)
    beyond = [a - b for a, b in pairs if a is not None and b is not None]
    found.append(_most(text, beyond, FIRST_FIT_SECONDS, 1.0, "s"))
    cold = entry(report, "cold").get("samples", {}).get(ours)
    text = "Fresh process to the end of W2's first epoch: within 0.6 s"
    found.append(_most(text, cold, COLD_SECONDS, 1.0, "s"))
    five = entry(report, "five epochs")
    goal = _most("Five epochs of W2, to 97.5% in the median: within 1 s",
                 five.get("samples", {}).get(ours), FIVE_SECONDS, 1.0, "s")  # fmt: skip
    if goal.reached is not None:
        accuracy = five["accuracy"][ours]
        learned = goal.reached and accuracy >= FIVE_ACCURACY
        goal = Goal(goal.text, f"{goal.figure}, {accuracy:.2%}", learned)
    found.append(goal)
    peak = entry(report, "memory").get("bytes", {}).get(ours, {}).get("host")
    text = "Peak memory with W2 and data in bytes: under 150 MB"
    found.append(_most(text, [peak] if peak else None, PEAK_BYTES, 1e-6, "MB"))
    for workload, limit in TWO_COPIES.items():
        slowed = slowdowns(entry(report, f"together {workload}"), ours)
        text = f"{workload}, two at once: each at most {limit} times as long as one alone"
        found.append(_most(text, slowed, limit, 1.0, "times"))
    return found


def entry(report: Report, key: str) -> Report:
    """Return the entry of the report with this key, or an empty one."""
    return next((e for e in report["results"] if e["key"] == key), {})


def slowdowns(together: Report, name: str) -> list[float] | None:
    """Return the slowdown of the slower of two copies relative to one alone, round by round."""
    both, alone = together.get("both", {}).get(name), together.get("alone", {}).get(name)
    if not both or not alone:
        return None
    return ratios([max(pair) for pair in both], alone)


def _beside(report: Report, ours: str) -> Goal:
    limit = BESIDE.get(report["machine"].get("compiled"), 1.0)
    text = f"W2 beside a busy process: at most {limit:g} of JAX alone"
    busy = entry(report, "busy W2")
    beside, alone = busy.get("beside", {}).get(ours), busy.get("alone", {}).get(catalog.SCAN)
    return _most(text, ratios(beside or (), alone or ()), limit, 1.0, "times")


def _shapes(report: Report, ours: str) -> Goal:
    """Return the goal of no shape being slower, with those that are not clearly faster named."""
    rows = compared(entry(report, "shapes") or {"shapes": []}, ours)
    text = "Sixty shapes: none slower than the best other"
    if not rows:
        return Goal(text, "", None)
    middles = {name: quartiles(within).middle for name, *_, within in rows}
    slower = [name for name, *_, within in rows if differ(within) and middles[name] > 1]
    close = [f"{name}: {m:.3g}" for name, m in middles.items() if m > 0.95]
    figure = f"{len(slower)} of {len(rows)} slower"
    if close:
        figure += f"; above 0.95: {'; '.join(close)}"
    return Goal(text, figure, not slower)


def _ratio(report: Report, key: str, text: str, ours: str, other: str, limit: float) -> Goal:
    samples = entry(report, key).get("samples", {})
    within = ratios(samples.get(ours, ()), samples.get(other, ()))
    if not within:
        return Goal(text, "", None)
    low, middle, high = quartiles(within)
    return Goal(text, f"{middle:.3g} times ({low:.3g} - {high:.3g})", middle <= limit)


def _most(text: str, values: Any, limit: float, factor: float, unit: str) -> Goal:
    if not values or all(value is None for value in values):
        return Goal(text, "", None)
    low, middle, high = (factor * q for q in quartiles(values))
    spread = f" ({low:.3g} - {high:.3g})" if low != high else ""
    return Goal(text, f"{middle:.3g} {unit}{spread}", middle <= limit * factor)
