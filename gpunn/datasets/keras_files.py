"""The files of Keras's data sets: found in Keras's folder, or downloaded from its server.

Each is one file with one hash. gpunn looks in `GPUNN_DATA`, in Keras's folder (`KERAS_HOME`,
else `~/.keras`) and in its own cache; `GPUNN_OFFLINE=1` prevents downloads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gpunn.common.cache import cache_folder

from .dataset import DatasetUnavailable
from .idx import DataFileError
from .routes import FAILURES, download, is_offline

Split = tuple[NDArray[Any], NDArray[Any]]
ADDRESS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


@dataclass(frozen=True)
class KerasFile:
    """A file: its title, its address, its hash, and its other names in Keras's folder.

    `digest` is the SHA-256, or the MD5 where Keras has no other. `most` limits the download.
    """

    title: str
    address: str
    digest: str
    also: tuple[str, ...] = ()
    most: int = 128 << 20

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)


def find(file: KerasFile, path: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the file, downloading it if it is missing; its content is checked.

    Args:
        file: the file to find.
        path: its location; nothing else is tried then. Keras's own default, its bare name,
            is treated as None unless such a file exists.

    Raises:
        FileNotFoundError: `path` does not exist.
        DataFileError: `path` holds something else.
        DatasetUnavailable: no source worked.
    """
    if path is not None and (os.fspath(path) not in file.names or os.path.exists(path)):
        given = Path(path).expanduser()
        if not given.exists():
            raise FileNotFoundError(f"path: {given} does not exist; expected {file.title}.")
        _check(file, given)
        return given
    tried = []
    for place in _places():
        there = next((place / name for name in file.names if (place / name).is_file()), None)
        if there is None:
            tried.append(f"{place}: no {file.name} there")
            continue
        try:
            _check(file, there)
            return there
        except FAILURES as error:
            tried.append(str(error))
    if is_offline():
        tried.append(f"{file.address}: not tried, GPUNN_OFFLINE is set")
    else:
        try:
            return _fetch(file)
        except FAILURES as error:
            tried.append(f"{file.address}: {error or type(error).__name__}")
    listed = "".join(f"\n  - {reason}" for reason in tried)
    raise DatasetUnavailable(
        f"{file.title} is not on this machine and could not be fetched. Tried, in order:{listed}\n"
        f"To fix it, put {file.name} from {file.address} into {_cache()}."
    )


def _cache() -> Path:
    return cache_folder() / "datasets"


def _places() -> Iterator[Path]:
    data = os.environ.get("GPUNN_DATA")
    if data:
        yield Path(data).expanduser()
    home = os.environ.get("KERAS_HOME")
    yield (Path(home) if home else Path("~/.keras")).expanduser() / "datasets"
    yield _cache()


def _fetch(file: KerasFile) -> Path:
    import sys
    import tempfile

    print(f"fetching {file.title} ...", file=sys.stderr, flush=True)
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:
        target = Path(scratch, file.name)
        download(file.address, target, file.most)
        _check(file, target)
        return target.replace(cache / file.name)  # whole, before any other process sees it


def _check(file: KerasFile, path: Path) -> None:
    """Raise DataFileError if the content differs."""
    kind = "md5" if len(file.digest) == 32 else "sha256"
    found = digest_of(path, kind)
    if found != file.digest:
        raise DataFileError(
            f"{path}: expected {file.title}, whose {kind.upper()} is {file.digest}; got {found}"
        )


def digest_of(path: Path, kind: str) -> str:
    """Return the hash of a file as hexadecimal digits; ``kind`` is "md5" or "sha256"."""
    with path.open("rb") as content:
        begin = partial(hashlib.new, kind, usedforsecurity=False)
        return hashlib.file_digest(content, begin).hexdigest()
