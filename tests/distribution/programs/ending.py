"""One rank ends before the others' collective operation: ``ending.py HOW OPERATION RANK``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

from gpunn.distribution import initialize, rank
from gpunn.distribution.launch import world

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "any": (False,), "compare_warnings": (), "first": ("value",), "gather": (3,), "least": (4, 5),
    "meet": (), "shard_of": (6,), "sum": (np.ones(3),),
}  # fmt: skip


def main() -> None:
    how, name, ends = sys.argv[1:]
    initialize(timeout=3600)
    operation = getattr(world(), name)
    operation(*ARGUMENTS[name])  # of all, as it should be
    if rank() == int(ends) and how == "returns":
        return
    if rank() == int(ends) and how == "raises":
        raise RuntimeError("no more")
    if rank() == int(ends):
        os.kill(os.getpid(), signal.SIGKILL)
    operation(*ARGUMENTS[name])
    print("came back")


if __name__ == "__main__":
    main()
