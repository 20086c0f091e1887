"""Atomic writing of files: a file is complete or unchanged, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from typing import Any

Path = str | os.PathLike[str]


def atomic_write(path: Path, pieces: Iterable[Any]) -> None:
    """Atomically replace the content of the file ``path`` by ``pieces`` of bytes.

    They are written to a temporary file beside it, which is flushed to disk and then renamed.

    Raises:
        OSError: if writing fails; the previous file is unchanged. It names this file, or the folder
            that is missing.
    """
    folder, name = os.path.split(os.path.realpath(path))
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, os.path.join(folder, name))
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            error.filename = os.fspath(path) if os.path.isdir(folder) else folder
        raise
    with contextlib.suppress(PermissionError):  # Windows does not open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder_of(path: Path) -> None:
    """Create the folder of the file ``path``, and those above it, unless it is there."""
    os.makedirs(os.path.dirname(os.path.realpath(path)), exist_ok=True)


def leftovers(path: Path) -> list[str]:
    """Return temporary files that killed processes left while they wrote the file ``path``."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        return []
    return [
        os.path.join(folder, entry)
        for entry in os.listdir(folder)
        if entry.startswith(f".{name}.") and entry.endswith(".tmp")
    ]
