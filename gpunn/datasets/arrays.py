"""Arrays in .npy and .npz files, looked at before they are unpacked.

A small compressed file can hold a large array of zeros. How large the arrays are stands in
the file, so it is known before anything is unpacked.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .idx import DataFileError, check_unpacked

__all__ = ["headers", "read_npy", "read_npz"]

_BROKEN = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,  # a compression that Python does not know
    OSError,
    RuntimeError,  # a password
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
Header = tuple[tuple[int, ...], np.dtype[Any]]


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an .npy file, which must be as large as it says.

    Raises:
        DataFileError: it is not, or the file is none.
    """
    name = os.fspath(path)
    with _refusing(name, "cannot be read"):
        with open(name, "rb") as file:
            _header(file, os.path.getsize(name))
        array: NDArray[Any] = np.load(name, allow_pickle=False)
        return array


def headers(path: str | os.PathLike[str]) -> dict[str, Header]:
    """Shape and dtype of each array in an .npz file; none is unpacked.

    Raises:
        DataFileError: the file is none, or an array is not as large as it says.
    """
    name = os.fspath(path)
    found = {}
    with _refusing(name, "is no .npz file"), zipfile.ZipFile(name) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                found[member.filename.removesuffix(".npy")] = _header(file, member.file_size)
    return found


def read_npz(
    path: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    max_bytes: int | None = None,
) -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file.

    Args:
        path: the file.
        names: of the arrays that are wanted; all by default. Those not there are left out.
        max_bytes: what they may have unpacked, see `check_unpacked`.

    Raises:
        DataFileError: the file is none, is damaged, or its arrays are larger.
    """
    name = os.fspath(path)
    found = headers(name)
    wanted = [one for one in (found if names is None else names) if one in found]
    size = sum(math.prod(found[one][0]) * found[one][1].itemsize for one in wanted)
    check_unpacked(name, size, max_bytes, f"--max-bytes {size} to the command")
    with _refusing(name, "is damaged"), np.load(name, allow_pickle=False) as arrays:
        return {one: arrays[one] for one in wanted}


@contextmanager
def _refusing(name: str, wrong: str) -> Iterator[None]:
    """A file that cannot be read within the block is a `DataFileError`, unless it is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise DataFileError(f"{name} {wrong}: {str(error) or type(error).__name__}") from error


def _header(file: IO[bytes], size: int) -> Header:
    """Shape and dtype of an .npy file of ``size`` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"a format of arrays that is not known, {version}")
    readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[version[0]](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which nothing here loads (allow_pickle=False)")
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise ValueError(
            f"an array of shape {shape} and dtype {dtype} needs {expected:,} bytes, it has {size:,}"
        )
    return shape, dtype
