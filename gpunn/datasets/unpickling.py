"""Read pickled arrays without running code from the pickle."""

from __future__ import annotations

import io
import pickle
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .idx import DataFileError


class ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays and containers of them, and allows nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        # NumPy's constructors of arrays have moved between releases; an array tells where they
        # are. Protocol 5, Python's default from 3.14 on, has its own constructor.
        empty = np.empty(0)
        known: dict[Any, Any] = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
        for core in ("numpy.core", "numpy._core"):
            known[f"{core}.multiarray", "_reconstruct"] = empty.__reduce__()[0]
            known[f"{core}.numeric", "_frombuffer"] = empty.__reduce_ex__(5)[0]
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of arrays")
        return known[module, name]


NOT_ARRAYS = (
    pickle.UnpicklingError, zlib.error, OSError, EOFError, ValueError, TypeError, AttributeError,
    IndexError,
)


def read_npz_objects(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in an .npz file, also of Python lists, such as words."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()
            }
    except (*NOT_ARRAYS, zipfile.BadZipFile) as error:
        raise DataFileError(f"{path}: expected an .npz file of arrays: {error}") from error


def header_of(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the shape and dtype at the beginning of an .npy file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown version of the array format, {version}")
    readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[version[0]](file)
    return shape, dtype


def _array(content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    if header_of(file)[1].hasobject:
        return ArrayUnpickler(file).load()
    file.seek(0)
    found = np.lib.format.read_array(file, allow_pickle=False)
    return found


def read_tar_pickles(path: Path, names: list[str]) -> list[dict[str, Any]]:
    """Return the pickled dictionaries of arrays and lists in a tar archive, by member names."""
    import tarfile

    try:
        with tarfile.open(path) as archive:
            found = [
                ArrayUnpickler(io.BytesIO(member.read()), encoding="bytes").load()
                for member in map(archive.extractfile, names)
                if member is not None
            ]
        return [{key.decode(): value for key, value in entry.items()} for entry in found]
    except (*NOT_ARRAYS, KeyError, tarfile.TarError) as error:
        raise DataFileError(f"{path}: expected an archive of {names}: {error}") from error
