"""The folder of cached files, and a cache in it of bytes that take long to make."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .atomic_files import atomic_write

_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """Return the folder for cached files: `GPUNN_CACHE`, or gpunn's in the platform's cache."""
    chosen = os.environ.get("GPUNN_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base, "gpunn")
    try:
        home = Path.home()
    except RuntimeError:
        import tempfile

        return Path(tempfile.gettempdir(), "gpunn")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "gpunn", "cache")
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "gpunn"
    return home / ".cache" / "gpunn"


def cached(folder: Path, key: Sequence[str], make: Callable[[], bytes]) -> bytes:
    """Return what ``make`` returns, from a file in ``folder`` if it was made before.

    The key is everything that the result depends on. A file that was truncated, or holds something
    else, is replaced. If the folder cannot be read or written, the bytes are made each time.
    """
    identity = json.dumps([*key]).encode()
    path = folder / hashlib.sha256(identity).hexdigest()
    with contextlib.suppress(OSError):
        stored = path.read_bytes()
        if stored[:_DIGEST] == hashlib.sha256(identity + stored[_DIGEST:]).digest():
            return stored[_DIGEST:]
    made = make()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, [hashlib.sha256(identity + made).digest(), made])
    return made
