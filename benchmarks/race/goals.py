"""The project's goals on a CPU, and whether a run reached them."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.common.samples import quartiles, ratios

from . import catalog

Report = dict[str, Any]
COLD_SECONDS, PEAK_BYTES = 0.6, 150e6
FIVE_SECONDS, FIVE_ACCURACY = 1.0, 0.975
STEPS, STEPS_SECONDS = 1_000_000, 3.0
# Each of two trainings on two cores keeps 0.8 of its speed: relative to running alone if one
# training uses a single core, relative to half of that if one training uses both.
TWO_COPIES = {"W2": 1.25, "W3": 2.5}


class Goal(NamedTuple):
    """A goal, its measurement, and whether it was reached; None if it was not measured."""

    text: str
    figure: str
    reached: bool | None


def goals(report: Report) -> list[Goal]:
    """Return every goal, in the order of the workloads."""
    ours = report["reference"]
    found = [
        _ratio(report, "W1 epoch", "W1: at most 0.5 of JAX, scan over the epoch", ours,
               catalog.SCAN, 0.5),
        _ratio(report, "W1 epoch", "W1: 12 times as fast as PyTorch", ours, catalog.EAGER, 1 / 12),
        _ratio(report, "W2 epoch", "W2: at most 0.9 of JAX, scan over the epoch", ours,
               catalog.SCAN, 0.9),
        _ratio(report, "W2 epoch", "W2: 3 times as fast as PyTorch, fused optimizer", ours,
               catalog.FUSED, 1 / 3),
        _ratio(report, "W3 epoch", "W3: no slower than JAX, jit a step", ours, catalog.JIT, 1.0),
        _ratio(report, "W4 epoch", "W4: at most 0.75 of PyTorch", ours, catalog.EAGER, 0.75),
        _ratio(report, "W5a", "W5a, predict: at most 0.85 of PyTorch", ours, catalog.EAGER, 0.85),
        _ratio(report, "W5b", "W5b, predict: at most 0.5 of PyTorch", ours, catalog.EAGER, 0.5),
    ]  # fmt: skip
    points = entry(report, "W6 epoch")
    taken = [s and s * STEPS / points["steps"] for s in points.get("samples", {}).get(ours, ())]
    found.append(_most("W6: a million steps within 3 s", taken, STEPS_SECONDS, 1.0, "s"))
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


def _ratio(report: Report, key: str, text: str, ours: str, other: str, limit: float) -> Goal:
    samples = entry(report, key).get("samples", {})
    within = ratios(samples.get(ours, ()), samples.get(other, ()))
    if not within:
        return Goal(text, "", None)
    low, middle, high = quartiles(within)
    # "No slower" is reached if the difference is within the spread.
    reached = (low if limit == 1.0 else middle) <= limit
    return Goal(text, f"{middle:.3g} times ({low:.3g} - {high:.3g})", reached)


def _most(text: str, values: Any, limit: float, factor: float, unit: str) -> Goal:
    if not values or all(value is None for value in values):
        return Goal(text, "", None)
    low, middle, high = (factor * q for q in quartiles(values))
    spread = f" ({low:.3g} - {high:.3g})" if low != high else ""
    return Goal(text, f"{middle:.3g} {unit}{spread}", middle <= limit * factor)
