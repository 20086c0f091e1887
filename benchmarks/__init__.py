"""What gpunn costs, measured: the programs behind `make bench`, `make gpu` and their kin.

Run from the top of the source tree, as in ``python -m benchmarks.studies.threads``. The folders
import `common`, the contestants, and of each other only what their own ``__init__`` names.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
