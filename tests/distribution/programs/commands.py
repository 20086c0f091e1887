"""The command ``gpunn`` with these arguments."""

from __future__ import annotations

import sys

from gpunn.apps.cli import main
from gpunn.apps.roofline import ranks


def run(*words: str) -> int:
    # The doctor's figures are not checked: few measurements do.
    ranks.BATCHES, ranks.ROWS = (32, 64, 1024), 1024
    ranks.STEPS, ranks.REPEATS = 2, 2
    status = main(words)
    sys.stdout.flush()
    return status
