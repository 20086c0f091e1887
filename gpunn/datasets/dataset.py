"""Where a data set comes from: a path, the cache, or its routes. Its content is always checked.

Environment variables: `GPUNN_DATA` is a folder with data sets, `GPUNN_CACHE` the folder of
downloaded ones, and `GPUNN_OFFLINE=1` restricts gpunn to these two.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpunn.common.cache import cache_folder

from . import idx
from .routes import FAILURES, Route, is_offline

Images = NDArray[np.uint8]
Split = tuple[Images, Images]

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


class DatasetUnavailable(FileNotFoundError):
    """No source of a data set worked; the message lists each one and why it failed.

    It is a ``FileNotFoundError``, which a program may catch to go on with other data:

    >>> issubclass(DatasetUnavailable, FileNotFoundError)
    True
    """


@dataclass(frozen=True)
class File:
    """One IDX file of unsigned bytes: its name, its shape, and its SHA-256 when unpacked."""

    name: str
    shape: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """The description of a data set.

    `files` are in the order of `NPZ_KEYS`; `key` is the name of its module and `folder` of its
    folder in the cache; `routes` are tried in order.
    """

    title: str
    key: str
    folder: str
    files: tuple[File, ...]
    routes: tuple[Route, ...]


def mnist_files(*sha256: str) -> tuple[File, ...]:
    """Return the files of MNIST, or of a data set in its format, with these hashes."""
    images, labels = "images-idx3-ubyte", "labels-idx1-ubyte"
    declared = {
        f"train-{images}": (60000, 28, 28),
        f"train-{labels}": (60000,),
        f"t10k-{images}": (10000, 28, 28),
        f"t10k-{labels}": (10000,),
    }
    return tuple(
        File(name, shape, digest)
        for (name, shape), digest in zip(declared.items(), sha256, strict=True)
    )


def load(dataset: DataSet, path: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Return `((x_train, y_train), (x_test, y_test))` from the first source that has them.

    Args:
        dataset: the description.
        path: a folder with the IDX files, or an `.npz` in Keras's format; nothing else is tried
            then. Keras's own default, a bare `"mnist.npz"`, is treated as None unless such a
            file exists.

    Raises:
        FileNotFoundError: `path` does not exist or lacks a file.
        DataFileError: `path` does not hold the data set.
        DatasetUnavailable: no source worked.
    """
    if path is not None and (os.fspath(path) != f"{dataset.key}.npz" or os.path.exists(path)):
        place = Path(path).expanduser()
        if not place.exists():
            raise FileNotFoundError(
                f"path: {place} does not exist; expected a folder with the IDX files of "
                f"{dataset.title} ({', '.join(file.name for file in dataset.files)}; plain or "
                ".gz) or an .npz file in Keras's format"
            )
        return _split(_read(dataset, place))
    tried: list[tuple[str, str]] = []
    arrays = _read_here(dataset, tried)
    if arrays is None:
        arrays = _fetch(dataset, tried)
        _keep(dataset, arrays)
    return _split(arrays)


def _read_here(dataset: DataSet, tried: list[tuple[str, str]]) -> list[Images] | None:
    data = os.environ.get("GPUNN_DATA")
    if not data:
        tried.append(("GPUNN_DATA", "not set"))
    else:
        try:
            return _read(dataset, Path(data).expanduser())
        except FAILURES as error:
            tried.append(("GPUNN_DATA", str(error)))
            _print_status(f"{dataset.title} is not taken from GPUNN_DATA: {error}")
    cache = _cache(dataset)
    try:
        return _read(dataset, cache)
    except FileNotFoundError as error:
        tried.append(("cache", str(error)))
    except FAILURES as error:
        tried.append(("cache", str(error)))
        _print_status(f"the cached {dataset.title} is damaged and not used: {error}")
    return None


def _fetch(dataset: DataSet, tried: list[tuple[str, str]]) -> list[Images]:
    if is_offline():
        tried += [(route.name, "not tried, GPUNN_OFFLINE is set") for route in dataset.routes]
        raise DatasetUnavailable(_explain(dataset, tried))
    _print_status(f"fetching {dataset.title} ...")
    names = [file.name for file in dataset.files]
    for route in dataset.routes:
        with _scratch(dataset) as folder:
            try:
                return _read(dataset, route.fetch(names, folder))
            except FAILURES as error:
                tried.append((route.name, str(error) or type(error).__name__))
    raise DatasetUnavailable(_explain(dataset, tried))


def _keep(dataset: DataSet, arrays: list[Images]) -> None:
    # Each file is renamed into place, so that other processes see complete files only.
    cache = _cache(dataset)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for file, array in zip(dataset.files, arrays, strict=True):
            idx.write(cache / file.name, array)
    except OSError as error:
        _print_status(
            f"{dataset.title} cannot be kept in {cache}: {error}; set GPUNN_CACHE to another path"
        )


def _read(dataset: DataSet, path: Path) -> list[Images]:
    if path.is_dir():
        return _read_folder(dataset, path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    return _read_npz(dataset, path)


def _read_folder(dataset: DataSet, path: Path) -> list[Images]:
    folder = path / dataset.folder if (path / dataset.folder).is_dir() else path
    return [
        idx.read(locate(folder, file.name), dtype=np.uint8, shape=file.shape, sha256=file.sha256)
        for file in dataset.files
    ]


def locate(folder: Path, name: str) -> Path:
    """Return the IDX file of this name in `folder`, plain or gzip."""
    # Some archives spell train-images.idx3-ubyte.
    for spelling in (name, name.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            if (folder / (spelling + ending)).is_file():
                return folder / (spelling + ending)
    raise FileNotFoundError(f"{folder}: expected {name} or {name}.gz there")


def _read_npz(dataset: DataSet, path: Path) -> list[Images]:
    import zipfile

    from .arrays import headers, read_npz

    if not zipfile.is_zipfile(path):
        raise idx.DataFileError(f"{path}: expected an .npz file in Keras's format")
    expected = f"{path}: expected an .npz file with the arrays {', '.join(NPZ_KEYS)}"
    try:
        there = headers(path)
    except idx.DataFileError as error:
        raise idx.DataFileError(f"{expected}: {error}") from error
    files = dict(zip(NPZ_KEYS, dataset.files, strict=True))
    for key, file in files.items():
        if key not in there:
            raise idx.DataFileError(f"{expected}: it lacks {key}")
        shape, dtype = there[key]
        if dtype != np.uint8 or shape != file.shape:
            raise idx.DataFileError(
                f"{path}: {key}: expected uint8 {file.shape}, got {dtype} {shape}"
            )
    arrays = read_npz(path, NPZ_KEYS)
    for key, file in files.items():
        found = idx.sha256(arrays[key])
        if found != file.sha256:
            raise idx.DataFileError(
                f"{path}: {key}: wrong content: as an IDX file expected SHA-256 {file.sha256}, "
                f"got {found}"
            )
    return list(arrays.values())


def _split(arrays: list[Images]) -> tuple[Split, Split]:
    x_train, y_train, x_test, y_test = arrays
    return (x_train, y_train), (x_test, y_test)


def _cache(dataset: DataSet) -> Path:
    return cache_folder() / "datasets" / dataset.folder


@contextmanager
def _scratch(dataset: DataSet) -> Iterator[Path]:
    import tempfile

    # Beside the cache, where there is room for the data; elsewhere if that cannot be written.
    place = _cache(dataset).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=place, prefix=".fetching-")
    except OSError:
        made = tempfile.TemporaryDirectory(prefix="gpunn-fetching-")
    with made as folder:
        yield Path(folder)


def _explain(dataset: DataSet, tried: list[tuple[str, str]]) -> str:
    import shlex

    program = f"from gpunn.datasets import {dataset.key}; {dataset.key}.load_data()"
    unset = "env -u GPUNN_OFFLINE " if os.environ.get("GPUNN_OFFLINE") else ""
    routes = "".join(f"\n  - {name}: {reason}" for name, reason in tried)
    return (
        f"{dataset.title} is not on this machine and could not be fetched. Tried, in order:{routes}"
        f"\nTo fix it, run this with a connection:\n  {unset}{shlex.quote(sys.executable)} -c "
        f'"{program}"\nIf that is another machine, copy its cache folder to {_cache(dataset)} here.'
    )


def _print_status(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
