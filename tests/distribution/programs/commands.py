"""The command ``gpunn`` with these arguments."""

from __future__ import annotations

import sys

from gpunn.apps.cli import doctor_ranks, main


def run(*words: str) -> int:
    # The doctor's figures are not checked: few measurements do.
    doctor_ranks.BATCHES, doctor_ranks.ROWS = (32, 64, 1024), 1024
    doctor_ranks.STEPS, doctor_ranks.REPEATS = 2, 2
    status = main(words)
    sys.stdout.flush()
    return status
