"""Training speed on a page, by gpunn and by others, and the size of such pages.

    python -m benchmarks.pages.steps                     # in Chromium, driven by Playwright
    python -m benchmarks.pages.steps --publish           # writes results/pages.json and pages.md

- `playground`: the network 2-8-8-8-8-8-8-1 with tanh on 250 points, batch 10, SGD;
- `w2`: 784-128-dropout 0.2-10, Adam, batch 32, on generated rows;
- frames per second of the playground while it learns, in its initial state;
- bytes of the pages and of the files they load.

npm installs TensorFlow.js into runs/pages. ``--network-code`` names the network code of
tensorflow/playground (``src/nn.ts``) as an ES module; without it that contestant is absent.
Each has its own page, with the same rows and initial weights, and takes turns with the others;
the losses after the first steps are shown with the times. Nothing else should run at the same time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from benchmarks.common import machine

from .browser import chromium, frames, opened
from .contestants import NETWORK_CODE, PACKAGES, contestants, sizes
from .table import markdown

FIRST = {"playground": 20, "w2": 100}  # epochs, steps: the losses are compared after these
SECONDS = 0.5  # the approximate duration of a sample


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network-code", type=Path, help="the playground's nn.ts, as ES module")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--publish", action="store_true", help="write results/pages.*")
    asked = parser.parse_args(arguments)
    before = machine.load()
    there, absent = contestants(asked.network_code)
    with chromium() as browser:
        pages = {name: opened(browser, each) for name, each in there.items()}
        found: dict[str, Any] = {
            "machine": machine.describe(),
            "in": f"Chromium {browser.version}",
            "packages": {} if "TensorFlow.js" in absent else PACKAGES,
            "absent": absent,
            "speed": speed(pages, asked.rounds),
        }
        for page in pages.values():
            page.context.close()
        found["frames"] = frames(browser, asked.rounds)
    found |= {"sizes": sizes(), "complaint": machine.complaint(before, None)}
    print(markdown(found), end="")
    if asked.publish:
        text = json.dumps(found, indent=1) + "\n"
        (RESULTS / "pages.json").write_text(text, encoding="utf-8")
        (RESULTS / "pages.md").write_text(markdown(found), encoding="utf-8")


def speed(pages: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Measure ms of an epoch of the playground's network and of a step of W2, by contestant."""
    found = {}
    for workload in FIRST:
        racing = {
            name: page
            for name, page in pages.items()
            if workload == "playground" or name != NETWORK_CODE
        }
        losses = {name: first(page, workload) for name, page in racing.items()}
        counts = {name: warmed(page, workload) for name, page in racing.items()}
        samples: dict[str, list[float]] = {name: [] for name in racing}
        for _ in range(rounds):
            for name, page in racing.items():
                samples[name].append(timed(page, workload, counts[name]))
        found[workload] = {"samples": samples, "loss": losses, "first": FIRST[workload]}
    return found


def first(page: Any, workload: str) -> float:
    """Return the loss after the first few steps."""
    timed(page, workload, FIRST[workload])
    return float(page.evaluate("(workload) => loss(workload)", workload))


def warmed(page: Any, workload: str) -> int:
    """Return the number of repetitions in a sample, after the browser's compilation."""
    count = 1
    for _ in range(4):
        count = max(1, round(1000 * SECONDS / timed(page, workload, count)))
    return count


def timed(page: Any, workload: str, count: int) -> float:
    """Return the milliseconds of one repetition, averaged over ``count``."""
    return float(page.evaluate("(asked) => timed(asked)", [workload, count])) / count


if __name__ == "__main__":
    main()
