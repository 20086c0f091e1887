"""Arrays in .npy and .npz files, checked before they are unpacked.

A small compressed file can hold a large array of zeros. The file states how large its arrays
are, so this is known before anything is unpacked.
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
from .unpickling import header_of

__all__ = ["headers", "read_npy", "read_npz"]

# NotImplementedError: a compression that Python does not know; RuntimeError: a password.
_BROKEN = (
    EOFError, KeyError, MemoryError, NotImplementedError, OSError, RuntimeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)
Header = tuple[tuple[int, ...], np.dtype[Any]]


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array in an .npy file, which must have the size that it states.

    Raises:
        DataFileError: the size differs, or the file is not an .npy file.
    """
    name = os.fspath(path)
    with _refusing(name, "cannot be read"):
        with open(name, "rb") as file:
            _header(file, os.path.getsize(name))
        return np.load(name, allow_pickle=False)


def headers(path: str | os.PathLike[str]) -> dict[str, Header]:
    """Return the shape and dtype of each array in an .npz file, without unpacking any.

    Raises:
        DataFileError: the file is not an .npz file, or an array differs from its stated size.
    """
    name = os.fspath(path)
    found = {}
    with _refusing(name, "is not an .npz file"), zipfile.ZipFile(name) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                found[member.filename.removesuffix(".npy")] = _header(file, member.file_size)
    return found


def read_npz(
    path: str | os.PathLike[str],
    names: Iterable[str] | None = None,
    max_bytes: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the arrays in an .npz file.

    Args:
        path: the file.
        names: of the requested arrays; all by default. Missing ones are omitted.
        max_bytes: limit of their unpacked size, see `check_unpacked`.

    Raises:
        DataFileError: the file is not an .npz file, is damaged, or its arrays are larger.
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
    """Raise `DataFileError` if a file cannot be read within the block, unless it is missing."""
    try:
        yield
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        raise DataFileError(f"{name} {wrong}: {str(error) or type(error).__name__}") from error


def _header(file: IO[bytes], size: int) -> Header:
    """Return the shape and dtype of an .npy file of ``size`` bytes."""
    shape, dtype = header_of(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded (allow_pickle=False)")
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise ValueError(
            f"an array of shape {shape} and dtype {dtype} needs {expected:,} bytes, it has {size:,}"
        )
    return shape, dtype
