"""The page: scores with spreads and times, ranks, and gpunn against linear models."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.common import machine
from benchmarks.studies.tables import scores, sets
from benchmarks.studies.tables.contestants import CONTESTANTS, OTHERS
from benchmarks.studies.tables.measure import Key, Results

NAMES = {
    "log_loss": "log loss", "accuracy": "accuracy", "rmse": "RMSE", "mae": "MAE", "r2": "R2",
}  # fmt: skip
Splits = tuple[int, ...]
HALVES = {
    "tune": "The tables that gpunn's defaults were chosen on",
    "final": "The tables that were kept for the end",
}
INTRODUCTION = """\
# Tables: `gpunn train` beside other models

24 public tables with numbers, categories and missing values, by
`python -m benchmarks.studies.tables`. Twelve are for choosing gpunn's defaults, twelve are
measured once, at the end. The list, the metrics and the splits were committed before any result.
Three splits of each table, 75% of the rows to fit and 25% to test; classes keep their shares.

- **gpunn** is `GpunnAutoClassifier` or `GpunnAutoRegressor` on the columns as they are.
- **boosting** is `HistGradientBoosting` with its defaults and native categories.
- **boosting, tuned** is the best of a random search with 3 folds. It took as much CPU time as
  gpunn's fit on the same split, plus one fit with the settings found.
- **forest** is `RandomForest`, **MLP** is scikit-learn's, **linear** is `LogisticRegression` or
  `RidgeCV`. Categories are one-hot, missing numbers are medians. MLP and linear models get scaled
  numbers.

Other libraries, each with its defaults where nothing else is said:

- **CatBoost** and **LightGBM** take categories and missing numbers as they are. **LightGBM, tuned**
  is searched for as boosting is.
- **RealMLP** is pytabkit's network with the defaults that its authors tuned, one network, the best
  epoch by its own fifth of the rows: by the cross-entropy, without label smoothing, for classes.
- **FLAML** searches among LightGBM, XGBoost, CatBoost, forests and logistic regression. Its budget
  is the CPU time of gpunn's fit.

The primary score is the log loss (no probability counts as less than 1e-7) or the root of the mean
squared error, RMSE; smaller is better. "±" is the standard deviation over the splits. CPU seconds
are those of `fit`, the mean over splits. Each contestant has one core, and they run one at a time.
The machine's load changes CPU seconds a little, seconds much, and no scores but those of the tuned
contestants and FLAML, by the number of their candidates."""


def page(results: Results) -> str:
    """Return the page, in Markdown; contestants and tables without results are left out."""
    parts = [INTRODUCTION]
    for half, title in HALVES.items():
        tables = [name for name, table in sets.TABLES.items() if table.half == half]
        who = present(results, tables)
        if not who:
            parts.append(f"## {title}\n\nNot measured yet.")
            continue
        parts += [f"## {title}", standings(results, tables, who)]
        parts.append(given(results, tables, who, sets.SPLITS))
        parts += [matrix(results, tables, who, task) for task in scores.PRIMARY]
        parts.append(beside_others(results, tables))
    if any(key.contestant == "gpunn" for key in results.found):
        parts += ["## gpunn against linear models", against(results, "linear")]
    parts += ["## Each table", *(details(results, name) for name in sets.TABLES)]
    parts += ["## Machine", machines(results)]
    return "\n\n".join(filter(None, parts)) + "\n"


def present(results: Results, tables: Iterable[str], splits: Splits = sets.SPLITS) -> list[str]:
    """Return the contestants that have all splits of any of the tables."""
    return [
        who for who in CONTESTANTS if any(complete(results, table, who, splits) for table in tables)
    ]


def complete(
    results: Results, table: str, contestant: str, splits: Splits = sets.SPLITS
) -> list[dict[str, Any]]:
    """Return the results of all splits, or none if one is missing."""
    found = [results.found.get(Key(table, split, contestant)) for split in splits]
    return [] if None in found else [record for record in found if record]


def primary(
    results: Results, table: str, contestant: str, splits: Splits = sets.SPLITS
) -> list[float]:
    metric = scores.PRIMARY[sets.TABLES[table].task]
    return [record["scores"][metric] for record in complete(results, table, contestant, splits)]


def beside_others(results: Results, tables: list[str]) -> str:
    """Return standings and scores with the other libraries, of the splits that were measured."""
    splits = tuple(
        split for split in sets.SPLITS if {*OTHERS} & {*present(results, tables, (split,))}
    )
    if not splits:
        return ""
    who = present(results, tables, splits)
    whole = [one for one in who if all(complete(results, name, one, splits) for name in tables)]
    partly = ", ".join(one for one in who if one not in whole)
    of = "all splits" if splits == sets.SPLITS else f"the first of {len(sets.SPLITS)} splits"
    parts = [f"### Beside other libraries, on {of}"]
    if whole and partly:
        parts.append(f"Not ranked, since some tables are not measured yet: {partly}.")
    parts.append(standings(results, tables, whole or who, splits))
    parts.append(given(results, tables, who, splits))
    parts += [matrix(results, tables, who, task, splits) for task in scores.PRIMARY]
    return "\n\n".join(filter(None, parts))


def standings(
    results: Results, tables: list[str], who: list[str], splits: Splits = sets.SPLITS
) -> str:
    """Return mean ranks and wins of the tables that all contestants have results of."""
    shared = [name for name in tables if all(complete(results, name, one, splits) for one in who)]
    if not shared:
        return "No table has results of all contestants yet."
    ranks: dict[str, list[float]] = {one: [] for one in who}
    for name in shared:
        means = {one: statistics.mean(primary(results, name, one, splits)) for one in who}
        for one, rank in scores.ranks(means).items():
            ranks[one].append(rank)
    lines = [
        f"Ranks by the primary score on {len(shared)} tables: 1, a win, is the best of {len(who)}.",
        "",
        "| contestant | mean rank | wins | CPU s to fit each table once |",
        "| --- | --- | --- | --- |",
    ]
    for one in sorted(who, key=lambda one: statistics.mean(ranks[one])):
        seconds = sum(cpu(complete(results, name, one, splits)) for name in shared)
        wins = sum(rank == 1 for rank in ranks[one])
        lines.append(f"| {one} | {statistics.mean(ranks[one]):.2f} | {wins} | {seconds:.1f} |")
    return "\n".join(lines)


def given(results: Results, tables: list[str], who: list[str], splits: Splits) -> str:
    """Say how the CPU time that contestants were given compares with what gpunn took later on."""
    shares = [
        record["given"] / ours["cpu"]["fit"]
        for name in tables
        for one in who
        for record, ours in zip(
            complete(results, name, one, splits),
            complete(results, name, "gpunn", splits),
            strict=False,
        )
        if record["given"]
    ]
    if not shares:
        return ""
    return (
        f"Those that search were given {min(shares):.2f} to {max(shares):.2f} times the CPU "
        f"seconds of gpunn's fit, {statistics.mean(shares):.2f} on average."
    )


def matrix(
    results: Results, tables: list[str], who: list[str], task: str, splits: Splits = sets.SPLITS
) -> str:
    """Return the primary scores of the tables of a task, the best in bold."""
    lines = [
        f"### {task.capitalize()}: {NAMES[scores.PRIMARY[task]]}, and CPU seconds of `fit`",
        "",
        f"| table | {' | '.join(who)} |",
        "| --- " * (len(who) + 1) + "|",
    ]
    for name in (name for name in tables if sets.TABLES[name].task == task):
        known = {one: primary(results, name, one, splits) for one in who}
        best = min((statistics.mean(each) for each in known.values() if each), default=None)
        cells = []
        for one, each in known.items():
            if not each:
                cells.append("")
                continue
            score = spread(each)
            score = f"**{score}**" if statistics.mean(each) == best else score
            cells.append(f"{score}; {cpu(complete(results, name, one, splits)):.2f} s")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def against(results: Results, rival: str) -> str:
    """Return gpunn's losses compared with a rival's, row by row, corrected for all tables."""
    found = {
        name: (
            difference(results, name, "gpunn", rival),
            estimate([record["blocks"] for record in complete(results, name, rival)]).mean,
        )
        for name in sets.TABLES
        if complete(results, name, "gpunn") and complete(results, name, rival)
    }
    # Tables that are not measured yet count as comparisons without a difference.
    corrected = scores.holm([found[name][0].p if name in found else 1.0 for name in sets.TABLES])
    of_table = dict(zip(sets.TABLES, corrected, strict=True))
    words = {name: scores.verdict(of[0].mean, of_table[name]) for name, of in found.items()}
    counts = ", ".join(
        f"{list(words.values()).count(word)} {word}" for word in ("better", "equal", "worse")
    )
    lines = [
        "The mean difference of the log loss or squared error of the same test rows, as a share of",
        f"the {rival} model's, with its 95% interval. p is that of no difference, corrected for",
        f"{len(sets.TABLES)} comparisons by Holm's method; below {scores.LEVEL} gpunn is better or",
        "worse. The intervals are of other test rows, given the rows that models were fitted to.",
        f"Of {len(found)} tables: {counts}.",
        "",
        "| half | table | difference | 95% interval | p | gpunn is |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (less, base) in found.items():
        mean, low, high = (f"{value / base:+.1%}" for value in less[:3])
        lines.append(
            f"| {sets.TABLES[name].half} | {name} | {mean} | {low} to {high} "
            f"| {of_table[name]:.2g} | {words[name]} |"
        )
    return "\n".join(lines)


def difference(results: Results, table: str, one: str, other: str) -> scores.Estimate:
    """Return the mean difference of two contestants' losses of the same rows."""
    pairs = zip(complete(results, table, one), complete(results, table, other), strict=True)
    blocks = []
    for a, b in ((a["blocks"], b["blocks"]) for a, b in pairs):
        if a["counts"] != b["counts"]:
            raise ValueError(
                f"Results of {one} and {other} on {table} are of different test rows; "
                f"measure both again with --again."
            )
        sums = np.subtract(a["sums"], b["sums"])
        blocks.append({"sums": sums, "counts": a["counts"]})
    return estimate(blocks)


def estimate(blocks: list[dict[str, Any]]) -> scores.Estimate:
    sums, counts = (np.sum([block[name] for block in blocks], 0) for name in ("sums", "counts"))
    return scores.mean_of_rows(sums, counts)


def details(results: Results, name: str) -> str:
    """Return all scores of a table, or nothing without results."""
    table = sets.TABLES[name]
    who = present(results, [name])
    if not who:
        return ""
    metrics = list(complete(results, name, who[0])[0]["scores"])
    facts = [
        f"{table.rows:,} rows, {table.columns} columns",
        table.source,
        f"target `{table.target}`",
    ]
    left_out = "; ".join(f"`{column}`: {why}" for column, why in table.left_out.items())
    lines = [
        f"### {name}, {table.task} ({table.half})",
        "",
        ", ".join(facts) + (f". Left out, {left_out}." if left_out else "."),
        "",
        f"| contestant | {NAMES[metrics[0]]} | 95% interval | "
        + " | ".join(NAMES[metric] for metric in metrics[1:])
        + " | CPU s | s | CPU s to predict |",
        "| --- " * (len(metrics) + 5) + "|",
    ]
    for one in who:
        records = complete(results, name, one)
        each = [spread([of["scores"][metric] for of in records]) for metric in metrics]
        rows = estimate([record["blocks"] for record in records])
        low, high = max(rows.low, 0.0), rows.high
        if table.task == "regression":
            low, high = low**0.5, high**0.5
        tried = statistics.mean(of.get("candidates", 0) for of in records)
        label = f"{one} ({tried:.0f} candidates)" if tried else one
        wall, predicting = (
            statistics.mean(of[clock][step] for of in records)
            for clock, step in (("wall", "fit"), ("cpu", "predict"))
        )
        cells = [label, each[0], f"{low:.4g} to {high:.4g}", *each[1:]]
        cells += [f"{seconds:.2f}" for seconds in (cpu(records), wall, predicting)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Return a mean and the standard deviation, if there is one, to the same digit.

    >>> spread([0.123, 0.124, 0.128]), spread([1234.0, 1250.0, 1290.0]), spread([1.0])
    ('0.1250 ± 0.0026', '1258 ± 29', '1.000')
    """
    mean = statistics.mean(values)
    digits = max(0, 3 - int(np.floor(np.log10(abs(mean))))) if mean else 4
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def cpu(records: list[dict[str, Any]]) -> float:
    return statistics.mean(record["cpu"]["fit"] for record in records)


def machines(results: Results) -> str:
    """Return the machines of the results, and how busy they were."""
    lines = []
    for session, described in results.sessions.items():
        records = [record for record in results.found.values() if record["session"] == session]
        who = [name for name in CONTESTANTS if name in {of["contestant"] for of in records}]
        others = [record["others"] for record in records if record["others"] is not None]
        busy = f" Other processes kept {statistics.mean(others):.2f} cores busy." if others else ""
        if records:
            lines.append(f"- {', '.join(who)}: {machine.line(described)}{busy}")
    return "\n".join(lines)
