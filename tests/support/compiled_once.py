"""The folder of what tests compile, outside of the clone: all clones of a machine share it.

Each file is named after what it is made of, so an unchanged kernel is compiled once. Files that no
run has used for a month are removed.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from gpunn.common.cache import cache_folder

MONTH = 30 * 24 * 3600  # seconds
_ROOT = Path(__file__).parents[2]
_VARIABLE = "GPUNN_TEST_CACHE"  # processes that tests start use the same, whatever their HOME


def folder(name: str) -> Path:
    """Return the folder for one kind of files, below ``GPUNN_TEST_CACHE`` or gpunn's cache."""
    top = _ROOT / os.environ.get(_VARIABLE, cache_folder() / "tests")
    os.environ[_VARIABLE] = str(top)  # a relative path means the same in other folders
    try:
        (top / name).mkdir(parents=True, exist_ok=True)
        writable = os.access(top / name, os.W_OK)
    except OSError:
        writable = False
    return (top if writable else _ROOT / "build") / name


def used(path: Path) -> Path:
    """Note that a file of the cache was used today."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > MONTH / 30:
            os.utime(path)
    return path


def forget_old(name: str) -> None:
    """Remove files that have not been used for a month."""
    with contextlib.suppress(OSError), os.scandir(folder(name)) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                state = entry.stat()
                last = max(state.st_mtime, state.st_atime)
                if entry.is_file() and time.time() - last > MONTH:
                    os.unlink(entry.path)
