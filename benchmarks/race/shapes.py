"""Sixty networks of one or two hidden layers, from 1 to 65,536 rows, inputs, units and classes.

Twenty are networks of textbooks and of small data sets; the others were drawn once: powers
of two, without those whose step takes more than 2 GFLOP or needs more than 2**22 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common.samples import quartiles, ratios
from benchmarks.common.workloads import lay_out

from . import catalog
from .rounds import EPOCH, Race
from .tiers import Entry, Setting

SAMPLE_SECONDS = 0.03
MOST_STEPS = 2_000


class Shape(NamedTuple):
    """A network of equally wide hidden layers with ReLU, trained in batches of ``batch`` rows."""

    batch: int
    inputs: int
    units: int
    classes: int
    hidden: int = 1
    optimizer: str = "adam"

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        return f"{sizes}, {'SGD' if self.optimizer == 'sgd' else 'Adam'}, batch {self.batch}"

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.inputs, *[self.units] * self.hidden, self.classes)

    @property
    def steps(self) -> int:
        """Return the steps of a pass: fewer of the longer ones, so that it takes milliseconds."""
        weights = sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        fitting = 2**24 // (self.batch * self.inputs)  # of the data set in memory
        lasting = int(1e9 / (6 * self.batch * weights + 5e5))
        return max(2, min(MOST_STEPS, fitting, lasting))


KNOWN = (
    Shape(1, 784, 1024, 10), Shape(128, 784, 256, 10), Shape(1, 784, 128, 10),
    Shape(32, 784, 128, 10), Shape(1024, 4, 64, 3), Shape(1024, 784, 128, 10),
    Shape(65_536, 4, 16, 3), Shape(16, 65_536, 16, 10), Shape(16, 4, 65_536, 3),
    Shape(1, 1, 1, 1, 1, "sgd"), Shape(16, 4, 16, 3, 1, "sgd"), Shape(32, 13, 64, 3),
    Shape(32, 30, 64, 2, 2), Shape(64, 64, 100, 10, 2, "sgd"), Shape(128, 784, 512, 10, 2),
    Shape(32, 54, 256, 7, 2), Shape(256, 784, 1024, 10, 2, "sgd"), Shape(10, 784, 30, 10, 1, "sgd"),
    Shape(64, 784, 16, 10, 2, "sgd"), Shape(100, 3072, 100, 10, 1, "sgd"),
)  # fmt: skip
DRAWN = (
    (512, 1024, 16, 64), (128, 16, 256, 1), (1, 2, 16384, 32), (2, 8, 128, 16),
    (16, 16, 8, 8192), (2048, 16, 16, 32), (16, 8192, 1, 256), (1, 8, 2, 65536),
    (256, 512, 128, 1024), (8, 2048, 128, 4096), (512, 2, 128, 2), (1, 8, 128, 4096),
    (16, 4, 16, 128), (8, 4, 64, 2), (1024, 4, 16, 128), (1024, 1024, 8, 1024),
    (16, 8, 1024, 64), (8, 8192, 32, 2048), (4, 1, 256, 512), (64, 1, 4, 32768),
    (2048, 4, 8, 4), (32, 4096, 128, 4), (128, 512, 2, 64), (1024, 32, 128, 32),
    (16, 128, 4096, 2), (128, 8, 16, 1), (4, 32768, 2, 128), (1024, 1, 1, 512),
    (8, 16384, 128, 128), (32, 2048, 8, 8), (8, 256, 8192, 32), (4, 32, 2, 32768),
    (8, 32, 4096, 8), (16, 8, 1, 8192), (1024, 4, 1, 1024), (2048, 256, 8, 32),
    (16, 64, 4, 1024), (32768, 1, 1, 64), (2048, 1024, 16, 2048), (64, 128, 16, 8),
)  # fmt: skip
SHAPES = (
    *KNOWN,
    *(Shape(*four, 1 + i % 2, ("adam", "sgd")[i // 2 % 2]) for i, four in enumerate(DRAWN)),
)


def shapes(setting: Setting) -> Iterable[Entry]:
    """Measure a pass of each shape; every contestant serves all of them in the same processes."""
    neighbours = setting.pick(catalog.FUSED, catalog.JIT, catalog.SCAN)
    programs = [
        p for p in neighbours if p.name == catalog.reference()
        or (p.file != catalog.OURS and catalog.ON_GPU not in p.name
        and p.name not in catalog.YARDSTICKS)
    ]  # fmt: skip
    measure = replace(EPOCH, seconds=SAMPLE_SECONDS)
    found: list[Entry] = []
    folder = setting.folder / "shapes"
    with Race(programs, "W2", 0, folder, tests=False) as race:
        for shape in SHAPES[:: 12 if setting.quick else 1]:
            race.work, race.rows = prepare(shape, folder), shape.steps * shape.batch
            race.workload = f"shapes: {shape}"
            race.warm_up([measure], tell=setting.tell, keep=True)
            samples = race.run([measure], setting.rounds, setting.until, setting.tell)["epoch"]
            found.append({
                "name": str(shape), "steps": shape.steps, "samples": samples,
                "threads": dict(race.threads["epoch"]),
            })  # fmt: skip
    yield {"key": "shapes", "tiers": ["shapes"], "shapes": found, "failed": race.failed}


def prepare(shape: Shape, folder: Path) -> dict[str, Any]:
    """Write random data of this shape for the contestants; return its workload."""
    generator = np.random.Generator(np.random.PCG64(0))
    rows = shape.steps * shape.batch
    x = generator.uniform(0.01, 1, (rows, shape.inputs)).astype(np.float32)
    y = generator.integers(0, shape.classes, rows).astype(np.int32)
    lay_out(folder, (x, y, x[:1], y[:1]))
    return {
        "sizes": shape.sizes, "dropout": 0.0, "optimizer": shape.optimizer, "batch": shape.batch,
        "largest": 1.0,
    }  # fmt: skip


def compared(entry: Entry, ours: str) -> list[tuple[str, str, float, float, list[float]]]:
    """Return for each shape: name, best other contestant, our seconds, its seconds, the ratios.

    Seconds are medians of a step; ratios are ours to the other's, round by round.
    """
    rows = []
    for one in entry["shapes"]:
        samples = {name: s for name, s in one["samples"].items() if any(s)}
        others = {name: quartiles(s).middle for name, s in samples.items() if name != ours}
        if ours not in samples or not others:
            continue
        best = min(others, key=others.__getitem__)
        own = quartiles(samples[ours]).middle
        within = ratios(samples[ours], samples[best])
        rows.append((one["name"], best, own / one["steps"], others[best] / one["steps"], within))
    return rows
