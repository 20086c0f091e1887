"""What a stream leads to, a terminal, a notebook or a file, and so how much is shown there."""

from __future__ import annotations

import os
import sys
from typing import Any

COLUMNS = 80  # where nothing says how wide the place is


def check_verbose(value: Any) -> int:
    """The argument ``verbose``: 0, 1 or 2; ``"auto"`` is 1 where `is_live`, otherwise 2.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, str) and value == "auto":
        return 1 if is_live(sys.stdout) else 2
    if not isinstance(value, int) or value not in (0, 1, 2):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto'; got {value!r}.")
    return int(value)


def is_live(stream: Any) -> bool:
    """Whether somebody looks on: at a terminal or a notebook, not at a file."""
    return is_notebook(stream) or is_terminal(stream)


def is_terminal(stream: Any) -> bool:
    return bool(stream is not None and stream.isatty())


def is_notebook(stream: Any) -> bool:
    """Whether it is what a notebook's kernel has in the place of ``sys.stdout``."""
    return type(stream).__module__.partition(".")[0] == "ipykernel"


def columns(stream: Any) -> int:
    """How many characters a line of this terminal takes now; 80 where it cannot say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except (AttributeError, OSError, ValueError):  # `io.UnsupportedOperation` is both of these
        return COLUMNS
