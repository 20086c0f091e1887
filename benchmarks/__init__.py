"""Measurements of gpunn's cost: the programs behind `make bench`, `make gpu` and similar targets.

Run from the top of the source tree, as in ``python -m benchmarks.studies.threads``. The folders
import `common`, the contestants, and of each other only the folders that their ``__init__`` names.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
