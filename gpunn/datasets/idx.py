"""Read and write IDX, the file format of MNIST; files that are not exactly valid are rejected.

An IDX file is two zero bytes, one byte for the element type, one for the number of dimensions,
each dimension as four bytes, then the elements; all numbers are big-endian. The format is
described on the home page of MNIST (LeCun, Cortes and Burges).
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpunn.common.atomic_files import atomic_write
from gpunn.common.importing.lazy import offer

if TYPE_CHECKING:
    import gzip

__all__ = ["DataFileError", "check_unpacked", "read", "sha256", "write"]
offer(__name__)

MAX_UNPACKED = 1 << 30  # bytes, by default
USUAL_RATIO = 16  # of compressed data: that many times the file's size is always allowed

_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CODES = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
_MAX_DIMENSIONS = 64  # NumPy's own limit
_CHUNK = 1 << 20


class DataFileError(ValueError):
    """A data file is invalid; the message names the file and what was expected.

    It is a ``ValueError``. No part of the file is used.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(b"hello")
    ...     try:
    ...         read(path)
    ...     except DataFileError as error:
    ...         print("wrong magic number" in str(error))
    True
    """


def check_unpacked(
    name: str, size: int, max_bytes: int | None = None, remedy: str = "unpack it first"
) -> None:
    """Raise an error for a file that would become implausibly large when unpacked.

    Args:
        name: path of the file.
        size: its unpacked size in bytes.
        max_bytes: the limit; by default 1 GiB, or 16 times the size of the file if that is more.
        remedy: what else can be done about it.

    Raises:
        DataFileError: the unpacked size exceeds the limit.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "images.gz")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(b"packed")
    ...     check_unpacked(path, 1000)
    ...     try:
    ...         check_unpacked(path, 1000, max_bytes=999)
    ...     except DataFileError as error:
    ...         print("more than max_bytes (999)" in str(error))
    True
    """
    packed = os.path.getsize(name)
    most = max(MAX_UNPACKED, USUAL_RATIO * packed) if max_bytes is None else max_bytes
    if size > most:
        raise DataFileError(
            f"{name}: {packed:,} bytes would become {size:,}, more than max_bytes ({most:,}). If "
            f"you trust it, pass max_bytes={size}, or {remedy}."
        )


def read(
    path: str | os.PathLike[str],
    *,
    dtype: DTypeLike | None = None,
    shape: tuple[int, ...] | None = None,
    sha256: str | None = None,
    max_bytes: int | None = None,
) -> NDArray[Any]:
    """Read one IDX file, plain or gzip (detected by its first bytes), as a writable array.

    Args:
        path: the file.
        dtype: the expected element type; None accepts any.
        shape: the expected shape; None accepts any.
        sha256: the expected SHA-256 of the uncompressed file, in hexadecimal.
        max_bytes: limit of the size of a gzip file's elements, see `check_unpacked`.

    Returns:
        The array, in native byte order.

    Raises:
        DataFileError: the file is not an IDX file, is truncated, has trailing data, is corrupt,
            or differs from what is expected. No part of it is returned.
        OSError: the file cannot be opened or read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/labels-idx1-ubyte", np.array([5, 0, 4], np.uint8))
    ...     read(folder + "/labels-idx1-ubyte", shape=(3,))
    array([5, 0, 4], dtype=uint8)
    """
    name = os.fspath(path)
    with open(name, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            return _read(raw, name, dtype, shape, sha256)
        import gzip

        try:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(unpacked, name, dtype, shape, sha256, max_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataFileError(
                f"{name}: expected a whole gzip file, but it is truncated or corrupt ({error})"
            ) from error


def write(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an array as a plain IDX file, completely or not at all.

    Args:
        path: the file; an existing one is replaced.
        array: of unsigned or signed bytes, int16, int32, float32 or float64, of 1 to 64 dimensions.

    Raises:
        ValueError: IDX does not support the element type or shape.
        OSError: the file cannot be written; what was there before is untouched.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(folder + "/pixels-idx2-ubyte", np.array([[0, 255]], np.uint8))
    ...     read(folder + "/pixels-idx2-ubyte").tolist()
    [[0, 255]]
    """
    atomic_write(path, _pieces(array))


def sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256, in hexadecimal, of the IDX file that `write` creates for an array.

    Args:
        array: as for `write`.

    Raises:
        ValueError: IDX does not support the element type or shape.

    >>> digest = sha256(np.array([5, 0, 4], np.uint8))
    >>> len(digest), digest == sha256(np.array([5, 0, 4], np.uint8))
    (64, True)
    """
    digest = hashlib.sha256()
    for piece in _pieces(array):
        digest.update(piece)
    return digest.hexdigest()


def _read(
    file: IO[bytes] | gzip.GzipFile,
    name: str,
    dtype: DTypeLike | None,
    shape: tuple[int, ...] | None,
    expected_hash: str | None,
    max_bytes: int | None = None,
) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4:
        raise DataFileError(f"{name}: truncated: expected an IDX header, got {len(magic)} bytes")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        codes = " ".join(f"{code:02x}" for code in _DTYPES)
        raise DataFileError(
            f"{name}: wrong magic number {magic.hex(' ')}: an IDX file starts with 00 00, a type "
            f"(one of {codes}) and the number of dimensions (1 to {_MAX_DIMENSIONS})"
        )
    stored = _DTYPES[magic[2]]
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataFileError(
            f"{name}: truncated: expected {4 * magic[3]} bytes of dimensions, got {len(sizes)}"
        )
    found = struct.unpack(f">{magic[3]}I", sizes)
    if dtype is not None and stored != np.dtype(dtype).newbyteorder(">"):
        raise DataFileError(
            f"{name}: expected elements {np.dtype(dtype).name}, the header says {stored.name}"
        )
    if shape is not None and found != tuple(shape):
        raise DataFileError(f"{name}: expected the shape {tuple(shape)}, the header says {found}")

    # In pieces, because a damaged header may ask for more than there is memory.
    expected = math.prod(found) * stored.itemsize
    if not isinstance(file, io.BufferedReader):  # an uncompressed file has its own size
        check_unpacked(name, expected, max_bytes)
    body = bytearray()
    while len(body) <= expected:
        piece = file.read(min(_CHUNK, expected + 1 - len(body)))
        if not piece:
            break
        body += piece
    if len(body) != expected:
        wrong = f"truncated: got {len(body)}" if len(body) < expected else "trailing data: got more"
        raise DataFileError(
            f"{name}: {wrong}, expected {expected} bytes after the header ({stored.name}, {found})"
        )
    if expected_hash is not None:
        digest = hashlib.sha256(magic + sizes)
        digest.update(body)
        if digest.hexdigest() != expected_hash:
            raise DataFileError(
                f"{name}: wrong content: expected SHA-256 {expected_hash}, got {digest.hexdigest()}"
            )
    try:
        array = np.frombuffer(body, stored).reshape(found)
    except ValueError as error:
        raise DataFileError(f"{name}: expected a shape that NumPy can hold, got {found}") from error
    return array.astype(stored.newbyteorder("="), copy=False)


def _pieces(array: NDArray[Any]) -> tuple[bytes, memoryview]:
    """Return the header and the elements of the array's file."""
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(str(dtype) for dtype in _CODES)
        raise ValueError(f"array: IDX has no element type {array.dtype}; convert to one of {known}")
    if not 1 <= array.ndim <= _MAX_DIMENSIONS or max(array.shape) >= 1 << 32:
        raise ValueError(
            f"array: the shape {array.shape} does not fit in IDX: 1 to {_MAX_DIMENSIONS} "
            "dimensions, each below 2**32"
        )
    header = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    elements = np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
    return header, elements.reshape(-1).view(np.uint8).data
