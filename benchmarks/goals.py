"""The project's goals on a CPU, and whether a run reached them."""

from __future__ import annotations

from typing import Any, NamedTuple

import catalog
from samples import quartiles, ratios

Report = dict[str, Any]
COLD_SECONDS, PEAK_BYTES, ONE_SECONDS, TWO_COPIES = 1.1, 200e6, 100e-6, 2.5


class Goal(NamedTuple):
    """What was to be reached, what was, and whether it did; None if it was not measured."""

    text: str
    figure: str
    reached: bool | None


def goals(report: Report) -> list[Goal]:
    """Every goal, in the order of the workloads."""
    ours = report["reference"]
    on_batch = f"{ours}, predict_on_batch"
    found = [
        _ratio(report, "W1 epoch", "W1: no slower than JAX, jit a step", ours, catalog.JIT, 1.0),
        _ratio(report, "W1 epoch", "W1: 3 times as fast as PyTorch", ours, catalog.EAGER, 1 / 3),
        _ratio(report, "W2 epoch", "W2: at most 0.85 of PyTorch, fused optimizer", ours,
               catalog.FUSED, 0.85),
        _ratio(report, "W3 epoch", "W3: at most 1.3 times its bare products", ours,
               catalog.PRODUCTS, 1.3),
        _ratio(report, "W4 epoch", "W4: at most 1.5 times PyTorch", ours, catalog.EAGER, 1.5),
        _ratio(report, "W5a", "W5a, predict: at most 1.15 times its bare products", ours,
               catalog.PRODUCTS, 1.15),
        _ratio(report, "W5b", "W5b, predict_on_batch: no slower than PyTorch", on_batch,
               catalog.EAGER, 1.0),
    ]  # fmt: skip
    one = entry(report, "W5b").get("samples", {}).get(ours)
    found.append(_most("W5b, predict: under 0.1 ms", one, ONE_SECONDS, 1e3, "ms"))
    cold = entry(report, "cold").get("samples", {}).get(ours)
    text = "Fresh process to the end of W2's first epoch: within 1.1 s"
    found.append(_most(text, cold, COLD_SECONDS, 1.0, "s"))
    peak = entry(report, "memory").get("bytes", {}).get(ours, {}).get("host")
    text = "Peak memory with W2 and data in bytes: under 200 MB"
    found.append(_most(text, [peak] if peak else None, PEAK_BYTES, 1e-6, "MB"))
    for workload in ("W2", "W3"):
        slowed = slowdowns(entry(report, f"together {workload}"), ours)
        text = f"{workload}, two at once: each at most 2.5 times as long as one alone"
        found.append(_most(text, slowed, TWO_COPIES, 1.0, "times"))
    return found


def entry(report: Report, key: str) -> Report:
    """The entry of the report with this key, or an empty one."""
    return next((e for e in report["results"] if e["key"] == key), {})


def slowdowns(together: Report, name: str) -> list[float] | None:
    """Of two copies at once, how much longer the slower took than one alone, round by round."""
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
    # "No slower" is not missed by what the spread hides.
    reached = (low if limit == 1.0 else middle) <= limit
    return Goal(text, f"{middle:.3g} times ({low:.3g} - {high:.3g})", reached)


def _most(text: str, values: Any, limit: float, factor: float, unit: str) -> Goal:
    if not values or all(value is None for value in values):
        return Goal(text, "", None)
    low, middle, high = (factor * q for q in quartiles(values))
    spread = f" ({low:.3g} - {high:.3g})" if low != high else ""
    return Goal(text, f"{middle:.3g} {unit}{spread}", middle <= limit * factor)
