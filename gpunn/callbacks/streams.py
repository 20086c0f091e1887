"""What a stream writes to (a terminal, a notebook or a file), and so how much to show there."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from gpunn.common import config

COLUMNS = 80  # if the width is unknown


def check_verbose(value: Any) -> int:
    """Return the argument ``verbose``: 0, 1 or 2; ``"auto"`` is 1 where `is_live`, otherwise 2,
    and 0 after `config.disable_interactive_logging`."""
    if isinstance(value, int) and value in (0, 1, 2):
        return int(value)
    if isinstance(value, np.integer):
        return check_verbose(int(value))
    if isinstance(value, str) and value == "auto":
        if not config.is_interactive_logging_enabled():
            return 0
        return 1 if is_live(sys.stdout) else 2
    raise ValueError(f"verbose must be 0, 1, 2 or 'auto'; got {value!r}.")


def is_live(stream: Any) -> bool:
    """Whether the output is watched live: in a terminal or a notebook, not in a file."""
    return is_notebook(stream) or is_terminal(stream)


def is_terminal(stream: Any) -> bool:
    return bool(stream is not None and stream.isatty())


def is_notebook(stream: Any) -> bool:
    """Whether it is what a notebook's kernel uses as ``sys.stdout``."""
    return type(stream).__module__.partition(".")[0] == "ipykernel"


def columns(stream: Any) -> int:
    """Return the current width of this terminal in characters; 80 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except (AttributeError, OSError, ValueError):  # `io.UnsupportedOperation` is both of these
        return COLUMNS
