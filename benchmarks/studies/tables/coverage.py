"""How often the intervals and the sets of classes of `GpunnAuto...` hold the truth, on 24 tables.

    python -m benchmarks.studies.tables.coverage                # resumes where it stopped
    python -m benchmarks.studies.tables.coverage --minutes 0.1  # with a shorter search
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS
from benchmarks.common import machine
from benchmarks.studies.tables import sets
from gpunn.apps.tables.intervals import USUAL, ClassSets, of_model
from gpunn.sklearn import GpunnAutoClassifier, GpunnAutoRegressor

FILE = "tables-coverage"
INTRODUCTION = """\
# Tables: how often intervals hold the truth

`predict_interval` of `GpunnAutoRegressor` and `predict_set` of `GpunnAutoClassifier` on the 24
tables of [the study](tables.md), by `python -m benchmarks.studies.tables.coverage`. Each table is
split three times, 75% of the rows to fit, and the test rows are counted whose target is in the
interval or the set.{how}

- **{usual}**, and likewise the other levels: the share of the test rows, of all splits. For classes
  it is that of the classes whose probability is large enough. What is shown also names the most
  probable class where none is: **shown**.
- **error**: the standard error at {usual}, sqrt(0.9 x 0.1 (1 / a + 1 / b)), for a rows of
  cross-validation in one split and b rows that are in any test.
- **size**: for classes the mean number in the set; for numbers the mean width of the interval, in
  standard deviations of the test rows' targets. **spread** is the power of the prediction that
  the width grows with, in each split."""


def measure(name: str, seed: int, minutes: float | None) -> dict[str, Any]:
    """Fit a split of a table, and count what the intervals or sets hold."""
    columns, targets = sets.load(name)
    train, test = sets.split(name, targets, seed)
    classes = sets.TABLES[name].task == "classification"
    kind = GpunnAutoClassifier if classes else GpunnAutoRegressor
    model = kind(minutes=minutes, random_state=seed).fit(columns.iloc[train], targets[train])
    known, x, y = of_model(model.model_), columns.iloc[test], targets[test]
    assert known is not None
    found: dict[str, Any] = {"rows": known.rows, "test": len(test), "held": {}, "shown": {}}
    every = np.arange(len(test))
    if isinstance(known, ClassSets):
        y = np.searchsorted(model.classes_, y)
        right = model.predict_proba(x)[every, y]
    for level in known.levels:
        if isinstance(known, ClassSets):
            sets_of = model.predict_set(x, level)
            inside, held, sizes = sets_of[every, y], right >= known.levels[level], sets_of.sum(1)
        else:
            low, high = model.predict_interval(x, level).T
            inside = held = (low <= y) & (y <= high)
            sizes = (high - low) / y.std()
            found["power"] = known.power
        found["held"][f"{level:g}"] = int(held.sum())
        found["shown"][f"{level:g}"] = int(inside.sum())
        if level == USUAL:
            found["size"] = float(sizes.mean())
    return found


def page(results: dict[str, Any]) -> str:
    """Return the page, in Markdown, of the tables of which all splits are measured."""
    minutes = results["minutes"]
    how = f" The search took {minutes:g} minutes each (`--minutes {minutes:g}`)." if minutes else ""
    usual = f"{USUAL:.0%}"
    parts = [INTRODUCTION.format(how=how, usual=usual), ""]
    every: list[float] = []
    for task in ("classification", "regression"):
        levels = ("0.5", "0.8", "0.9", "0.95", "0.99")
        named = [f"{float(level):.0%}" for level in levels]
        last = ["shown", "size"] if task == "classification" else ["size", "spread"]
        head = ["table", "rows", *named, "error", *last]
        lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
        offs, far = [], []
        for name, table in sets.TABLES.items():
            found = [results["found"].get(f"{name} {seed}") for seed in sets.SPLITS]
            if table.task != task or None in found:
                continue
            shares = [_share(found, "held", level) for level in levels]
            error = _error(name, found)
            offs.append(shares[2] - USUAL)
            if abs(offs[-1]) > 0.02:
                far.append((name, abs(offs[-1]) > 2 * error))
            cells = [name, f"{found[0]['rows']:,}", *map(_percent, shares), f"{error:.1%}"]
            size = f"{np.mean([one['size'] for one in found]):.2f}"
            if task == "classification":
                cells += [_percent(_share(found, "shown", "0.9")), size]
            else:
                cells += [size, ", ".join(f"{one['power']:g}" for one in found)]
            lines.append(f"| {' | '.join(cells)} |")
        if offs:
            every += offs
            beyond = ", ".join(name for name, is_beyond in far if is_beyond) or "none"
            parts += [
                f"## {task.capitalize()}",
                f"The mean at {usual} is {USUAL + np.mean(offs):.1%}. Of {len(offs)} tables, "
                f"{len(far)} are further from it than two points; of these by more than two "
                f"errors: {beyond}.",
                "\n".join(lines),
            ]
    parts[1] = f"The mean of all {len(every)} tables at {usual} is {USUAL + np.mean(every):.1%}."
    return "\n\n".join([*parts, "## Machine", machine.line(results["machine"])]) + "\n"


def _share(found: list[dict[str, Any]], what: str, level: str) -> float | None:
    if any(level not in one[what] for one in found):
        return None  # of too few rows
    return sum(one[what][level] for one in found) / sum(one["test"] for one in found)


def _error(name: str, found: list[dict[str, Any]]) -> float:
    _, targets = sets.load(name)
    tested = np.unique(np.concatenate([sets.split(name, targets, seed)[1] for seed in sets.SPLITS]))
    return float((USUAL * (1 - USUAL) * (1 / found[0]["rows"] + 1 / len(tested))) ** 0.5)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.tables.coverage")
    parser.add_argument("--minutes", type=float, help="of a search; by default its counted work")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    file = options.out / f"{FILE}.json"
    results: dict[str, Any] = {"minutes": options.minutes, "found": {}}
    if file.exists():
        known = json.loads(file.read_text())
        results = known if options.page or known["minutes"] == options.minutes else results
    results["machine"] = results.get("machine") or machine.describe()
    for name in sorted(sets.TABLES, key=lambda name: sets.TABLES[name].rows):
        for seed in () if options.page else sets.SPLITS:
            if f"{name} {seed}" not in results["found"]:
                found = results["found"][f"{name} {seed}"] = measure(name, seed, options.minutes)
                print(name, seed, found, flush=True)
                file.write_text(json.dumps(results, indent=1) + "\n")
    text = page(results)
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
