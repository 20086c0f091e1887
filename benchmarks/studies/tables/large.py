"""Time and memory of `gpunn train` and `gpunn predict` on a table of a million rows.

    python -m benchmarks.studies.tables.large                  # minutes
    python -m benchmarks.studies.tables.large --rows 20000 --trial

Rows come from a known function of numbers and categories, plus noise, so the best possible error is
known. gpunn's commands are compared with programs that read the same CSV files by pandas, for
gradient boosting. Each runs in a process of its own, on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import RESULTS, ROOT
from benchmarks.common import machine

NOISE = 1.0  # the standard deviation: no model's error on new rows is smaller
AT_A_TIME = 100_000  # rows that are drawn and written at once
NEW_SHARE = 0.2  # rows to predict, for each row to fit
MISSING = 0.02
SEED_OF_NEW = 1_000_000  # later than those of all parts of the table
LEVELS = {"colour": 3, "region": 12, "shop": 50, "weekday": 7}
LAUNCHER = "benchmarks.studies.tables.launcher"
PROGRAM = "benchmarks.studies.tables.boosting_program"
COMMANDS = {
    "gpunn": {
        "train": ["gpunn", "train", "{table}", "--target", "y", "--out", "{model}", "--no-data"],
        "predict": ["gpunn", "predict", "{model}/model.gpunn", "{new}", "--out", "{predictions}"],
    },
    "boosting": {
        "train": [PROGRAM, "train", "{table}", "y", "{model}"],
        "predict": [PROGRAM, "predict", "{model}", "{new}", "{predictions}"],
    },
}


def drawn(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Return 12 columns and the target ``y``; a few numbers and categories are missing.

    >>> table = drawn(1000, seed=0)
    >>> len(table), sorted(set(table["colour"].tolist()))
    (13, ['', 'colour0', 'colour1', 'colour2'])
    """
    generator = np.random.default_rng(seed)
    # The effects of categories are those of every seed.
    effects = np.random.default_rng(1)
    table: dict[str, np.ndarray] = {
        "temperature": generator.normal(15, 8, rows),
        "pressure": generator.normal(0, 1, rows),
        "income": generator.lognormal(10, 1, rows),
        "distance": generator.exponential(5, rows),
        "hour": generator.integers(0, 24, rows),
        "visits": generator.poisson(3, rows),
        "share": generator.random(rows),
        "unrelated": generator.normal(0, 1, rows),
    }
    y = 2 * np.sin(table["temperature"] / 5) + table["pressure"] * (table["share"] - 0.5) * 4
    y += np.log(table["income"]) + np.maximum(table["distance"] - 5, 0) / 2
    y += 1.5 * np.cos(table["hour"] * np.pi / 12) * (table["visits"] > 3)
    for name, levels in LEVELS.items():
        codes = generator.integers(0, levels, rows)
        y += effects.normal(0, 1, levels)[codes]
        if name == "colour":
            y += (codes == 1) * table["pressure"]
        table[name] = np.char.add(name, codes.astype(str))
    for name in ("temperature", "income", "colour"):
        holes = generator.random(rows) < MISSING
        table[name] = np.where(holes, "" if name in LEVELS else np.nan, table[name])
    table["y"] = y + generator.normal(0, NOISE, rows)
    return table


def write(path: Path, rows: int, seed: int) -> None:
    """Write rows as CSV, some at a time; the seed of each part follows from `seed`."""
    import pandas as pd

    for number, first in enumerate(range(0, rows, AT_A_TIME)):
        part = pd.DataFrame(drawn(min(AT_A_TIME, rows - first), seed + number))
        part.to_csv(path, mode="a", header=number == 0, index=False, float_format="%.6g")


def run(command: list[str]) -> dict[str, float]:
    """Run a module; return its CPU seconds, seconds and the peak of its memory in bytes."""
    with tempfile.NamedTemporaryFile() as file:
        done = subprocess.run(
            [sys.executable, "-m", LAUNCHER, file.name, *command],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")
        took: dict[str, float] = json.loads(file.read())
        return took


def measure(contestant: str, places: dict[str, Path]) -> dict[str, Any]:
    """Train and predict; return what both took."""
    places = {
        **places, "model": places["folder"] / f"{contestant}-model",
        "predictions": places["folder"] / f"{contestant}.csv",
    }  # fmt: skip
    return {
        step: run([part.format(**places) for part in command])
        for step, command in COMMANDS[contestant].items()
    }


def error(new: Path, predictions: Path) -> float:
    """Return the RMSE of the predictions in a file."""
    import pandas as pd

    predicted = pd.read_csv(predictions)["predicted y"]
    return float(((predicted - pd.read_csv(new)["y"]) ** 2).mean() ** 0.5)


def study(rows: int) -> dict[str, Any]:
    """Write the tables and measure both contestants on them."""
    others = machine.Others()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {"folder": folder, "table": folder / "table.csv", "new": folder / "new.csv"}
        new_rows = round(rows * NEW_SHARE)
        write(places["table"], rows, seed=0)
        write(places["new"], new_rows, SEED_OF_NEW)
        for contestant in COMMANDS:
            found[contestant] = measure(contestant, places)
            found[contestant]["rmse"] = error(places["new"], folder / f"{contestant}.csv")
            print(contestant, found[contestant], flush=True)
        size = places["table"].stat().st_size
    return {
        "machine": machine.describe(), "others": others.cores(), "rows": rows,
        "new_rows": new_rows, "bytes": size, "found": found,
    }  # fmt: skip


def page(result: dict[str, Any]) -> str:
    lines = [
        "# A large table: `gpunn train` and `gpunn predict` beside gradient boosting",
        "",
        f"{result['rows']:,} rows of 13 columns, a CSV file of {result['bytes'] / 1e6:.0f} MB, by",
        "`python -m benchmarks.studies.tables.large`: eight columns of numbers, four of categories",
        "and the target, a function of eleven of them plus noise. A few cells are empty. gpunn's",
        "commands are compared with `HistGradientBoosting`, with its defaults, in a program that",
        f"reads and writes the same files by pandas. RMSE is that of {result['new_rows']:,} new",
        f"rows; the noise alone is {NOISE:g}. `gpunn train` keeps rows for validation and test,",
        "as always. Everything runs on one core. Times include the start of the process; rows a",
        "second are those of CPU time.",
        "",
        "| program | train: CPU s | s | peak memory, MB | RMSE | predict: CPU s | rows a second "
        "| peak memory, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in result["found"].items():
        train, predict = found["train"], found["predict"]
        lines.append(
            f"| {name} | {train['cpu']:.1f} | {train['seconds']:.1f} | {train['memory'] / 1e6:.0f} "
            f"| {found['rmse']:.3f} | {predict['cpu']:.1f} "
            f"| {result['new_rows'] / predict['cpu']:,.0f} | {predict['memory'] / 1e6:.0f} |"
        )
    lines += ["", machine.line(result["machine"])]
    if said := machine.complaint(None, result["others"]):
        lines.append(said)
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--trial", action="store_true", help="write no files of results")
    options = parser.parse_args()
    machine.on_one_core()
    result = study(options.rows)
    text = page(result)
    if not options.trial:
        (RESULTS / "tables-large.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "tables-large.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
