"""gpunn's estimators compared with scikit-learn's networks, on scikit-learn's data sets.

    python -m benchmarks.studies.sklearn_networks [--seeds 10]

`GpunnClassifier` and `GpunnRegressor` on the raw data, and `MLPClassifier` and
`MLPRegressor` after a `StandardScaler` (regression targets are scaled too): one hidden layer
of 100, Adam, batches of 200 or of all rows, at most 200 epochs, and a stop when the training
loss has not improved by 1e-4 for ten epochs; these are the defaults of all four. Each seed draws
five folds; both fit each fold in turn. The time is that of `fit`, from parameters to a trained
network.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import RESULTS
from benchmarks.common import machine, samples

SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes")
FOLDS = 5
FASTER = 5.0  # times, at least


def contestants(regression: bool) -> dict[str, Callable[[int], Any]]:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from gpunn.sklearn import GpunnClassifier, GpunnRegressor

    if not regression:
        return {
            "gpunn": lambda seed: GpunnClassifier(random_state=seed),
            "scikit-learn": lambda seed: make_pipeline(
                StandardScaler(), MLPClassifier(random_state=seed)
            ),
        }
    return {
        "gpunn": lambda seed: GpunnRegressor(random_state=seed),
        "scikit-learn": lambda seed: TransformedTargetRegressor(
            make_pipeline(StandardScaler(), MLPRegressor(random_state=seed)),
            transformer=StandardScaler(),
        ),
    }


def measure(name: str, seeds: int) -> dict[str, dict[str, list[float]]]:
    """Measure scores and seconds of both, fold by fold."""
    from sklearn import datasets
    from sklearn.model_selection import KFold, StratifiedKFold

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    regression = y.dtype.kind == "f"
    both = contestants(regression)
    found: dict[str, dict[str, list[float]]] = {
        who: {"scores": [], "seconds": []} for who in both
    }  # fmt: skip
    for make in both.values():
        make(0).fit(x[::5], y[::5])  # warm-up: one-time imports and choices
    for seed in range(seeds):
        folds = (KFold if regression else StratifiedKFold)(FOLDS, shuffle=True, random_state=seed)
        for train, test in folds.split(x, y):
            for who, make in both.items():
                estimator = make(seed)
                begun = time.perf_counter()
                estimator.fit(x[train], y[train])
                found[who]["seconds"].append(time.perf_counter() - begun)
                found[who]["scores"].append(float(estimator.score(x[test], y[test])))
    return found


def difference(found: dict[str, Any]) -> tuple[float, float]:
    """Return the mean difference of gpunn's and scikit-learn's scores, and its standard error."""
    pairs = zip(found["gpunn"]["scores"], found["scikit-learn"]["scores"], strict=True)
    less = np.array([a - b for a, b in pairs])
    return float(less.mean()), float(less.std(ddof=1) / math.sqrt(len(less)))


def table(result: dict[str, Any]) -> str:
    lines = [
        "# Beside scikit-learn's networks",
        "",
        "`GpunnClassifier` and `GpunnRegressor` on the data as they are, and `MLPClassifier` and",
        "`MLPRegressor` behind a `StandardScaler`: one hidden layer of 100, the same batches,",
        f"epochs and stopping rule; {result['seeds']} seeds by {FOLDS} folds. By",
        "`benchmarks/studies/sklearn_networks.py`. The score is the accuracy, of `diabetes` R2;",
        "the difference is that of pairs, with its standard error. The goals: none below minus one",
        f"standard error, and `fit`, building included, at least {FASTER:g} times as fast.",
        "",
        "| data | score: gpunn | scikit-learn | difference | ms to fit: gpunn | scikit-learn "
        "| times as fast |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in result["found"].items():
        ours, theirs = found["gpunn"], found["scikit-learn"]
        mean, error = difference(found)
        times = [1e3 * samples.quartiles(of["seconds"]).middle for of in (ours, theirs)]
        faster = samples.quartiles(samples.ratios(theirs["seconds"], ours["seconds"]))
        lines.append(
            f"| {name} | {np.mean(ours['scores']):.4f} | {np.mean(theirs['scores']):.4f} "
            f"| {mean:+.4f} ± {error:.4f} | {times[0]:.1f} | {times[1]:.1f} "
            f"| {faster.middle:.1f} ({faster.low:.1f} - {faster.high:.1f}) |"
        )
    return "\n".join([*lines, "", machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")  # MLPClassifier warns that 200 epochs were not enough
    found = {name: measure(name, seeds) for name in SETS}
    result = {"machine": machine.describe(), "seeds": seeds, "found": found}
    (RESULTS / "sklearn.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "sklearn.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
