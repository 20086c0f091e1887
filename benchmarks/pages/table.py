"""The page of the results of `steps.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.common import machine
from benchmarks.common.samples import quartiles, ratios, verdict

from .contestants import NETWORK_CODE, REFERENCE

GOALS = "Goals: 1,000 epochs a second, at most 1 ms a step of W2, at least 30 pictures a second."
METHOD = f"""\
Each contestant has a page of its own in one browser, without anything drawn, the same rows in the
same order and the same first weights; each draws dropout its own way. They take turns, a sample of
half a second a round, after a warm-up. Figures are medians with quartiles; ratios are formed
within a round. The losses of all rows after the first few steps show that all compute the same.
By `benchmarks/pages/steps.py`.

- gpunn: `gpunn.wasm` by the `engine.js` of its pages, with SIMD and one thread. It adds up the
  loss of each epoch.
- TensorFlow.js: layers and `trainOnBatch`, on batches that were cut before the clock runs; `fit`
  is not faster. The ES2017 bundles, which are smaller than those for older browsers and not
  slower. The wasm backend has SIMD; it has threads only on pages from a server that isolates them
  by its headers. The WebGL backend is left out, since there is no card.
- {NETWORK_CODE}: `src/nn.ts` of tensorflow/playground, as an ES module
  that assigns its fields in the constructors, as its own compiler has it, which is the faster
  way. It is called as that playground calls it, but for the loss, which that computes by itself
  behind each epoch. Half the squared error is its loss, so that its learning rate is twice ours.
  It has no softmax and no Adam, and no part in W2."""


def markdown(found: Mapping[str, Any]) -> str:
    """Return the page, from the contents of the JSON file."""
    playground, w2 = found["speed"]["playground"], found["speed"]["w2"]
    parts = ["# Networks on a page", METHOD, GOALS, f"In {found['in']}"]
    parts[-1] += "".join(f", {name} {v}" for name, v in found["packages"].items()) + ", on "
    parts[-1] += machine.line(found["machine"])
    parts += [f"**{found['complaint']}**"] if found["complaint"] else []
    parts += [f"Absent: {name}, since {why}." for name, why in found["absent"].items()]
    parts += [
        "## 2-8-8-8-8-8-8-1 on 250 points, batch 10, SGD, epochs a second",
        _table(playground, "epochs", lambda milliseconds: 1000 / milliseconds, "most"),
        "## 784-128-dropout 0.2-10, batch 32, Adam, ms a step",
        _table(w2, "steps", lambda milliseconds: milliseconds, "least"),
        "## gpunn's playground, drawing while it learns",
        _frames(found["frames"]),
        "## Bytes",
        _sizes(found["sizes"]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(entry: Mapping[str, Any], unit: str, shown: Callable[[float], float], best: str) -> str:
    samples, base = entry["samples"], entry["samples"][REFERENCE]
    lines = [f"| by | median (quartiles) | {best} | time / gpunn's | loss after {entry['first']} "
             f"{unit} |", "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for name, milliseconds in samples.items():
        figures = _spread([shown(value) for value in milliseconds])
        ratio = "" if name == REFERENCE else verdict(ratios(milliseconds, base))
        lines.append(f"| {name} | {figures} | {_figure(shown(min(milliseconds)))} | {ratio} | "
                     f"{entry['loss'][name]:.4f} |")  # fmt: skip
    return "\n".join(lines)


def _frames(entry: Mapping[str, Any]) -> str:
    width, height = entry["size"]
    return (
        f"{_spread(entry['samples'])} pictures a second, {min(entry['samples'])} in the worst of "
        f"{len(entry['samples'])} seconds, in a window of {width} x {height}, drawn by the "
        f"processor; it learns {_figure(entry['epochs a second'])} epochs a second meanwhile."
    )


def _sizes(entry: Mapping[str, Sequence[int]]) -> str:
    lines = ["| what | bytes | by gzip |", "| --- | ---: | ---: |"]
    lines += [f"| {what} | {all_:,} | {packed:,} |" for what, (all_, packed) in entry.items()]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    low, middle, high = map(_figure, quartiles(values))
    return f"{middle} ({low} - {high})"


def _figure(value: float) -> str:
    """Format a value with three significant digits.

    >>> _figure(4711.2), _figure(0.98765)
    ('4,711', '0.988')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
