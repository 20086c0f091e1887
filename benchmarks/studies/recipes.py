"""Accuracies of the recipes of examples/mnist_recipes.py, seed by seed, as a file and a page.

    python -m benchmarks.studies.recipes mlp best fashion --seeds 5  # about 25 minutes on two cores
    python -m benchmarks.studies.recipes convnet --seeds 1

Recipes that are not named keep their results in the file.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import time
from typing import Any

from benchmarks import RESULTS, ROOT
from benchmarks.common.machine import describe, line

PATH = RESULTS / "recipes.json"
GOALS = {"mlp": 0.983, "best": 0.988, "convnet": 0.990, "fashion": 0.88}


def table(recipes: dict[str, Any]) -> str:
    """Return the page beside the JSON file."""
    lines = [
        "# What the recipes reach",
        "",
        "Accuracy on the 10,000 test images after the last epoch (none is chosen by looking at",
        "them), by `benchmarks/studies/recipes.py`; the networks stand in",
        "`examples/mnist_recipes.py`.",
        "",
        "| recipe | epochs | parameters | accuracy, seed by seed | mean | asked for | s a seed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in recipes.items():
        each = " ".join(f"{value:.4f}" for value in found["accuracy"])
        mean, seconds = map(statistics.mean, (found["accuracy"], found["seconds"]))
        lines.append(
            f"| {name} | {found['epochs']} | {found['parameters']:,} | {each} | {mean:.4f} "
            f"| {GOALS[name]:.3f} | {seconds:.0f} |"
        )
    lines.append("")
    for name, found in recipes.items():
        lines += [f"{name}, {found['backend']} backend: {line(found['machine'])}", ""]
    return "\n".join(lines)


def main() -> None:
    example = runpy.run_path(str(ROOT / "examples" / "mnist_recipes.py"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", choices=example["RECIPES"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    recipes = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name in options.recipes:
        _, dataset, epochs, _ = example["RECIPES"][name]
        data = dataset.load_data()
        found: dict[str, Any] = {"epochs": epochs, "accuracy": [], "seconds": []}
        for seed in range(options.seeds):
            started = time.perf_counter()
            model, accuracy = example["train"](name, epochs, seed, data, verbose=0)
            found["seconds"].append(round(time.perf_counter() - started, 1))
            found["accuracy"].append(round(float(accuracy), 4))
            print(name, seed, found["accuracy"][-1], found["seconds"][-1], flush=True)
        found |= {
            "parameters": model.count_params(), "backend": model.backend.name,
            "machine": describe(),
        }  # fmt: skip
        recipes[name] = found
        PATH.write_text(json.dumps(recipes, indent=1) + "\n", encoding="utf-8")
        PATH.with_suffix(".md").write_text(table(recipes), encoding="utf-8")


if __name__ == "__main__":
    main()
