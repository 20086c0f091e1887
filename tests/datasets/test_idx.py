"""Test the IDX reader and writer: the published format, and files that violate it."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from idx_files import CODES, idx_bytes

from gpunn.datasets import idx
from gpunn.datasets.idx import DataFileError

ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=1, max_dims=4, min_side=0))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx")


IN_MEMORY = {
    "as it is": lambda array: array,
    "of the other byte order": lambda array: array.astype(array.dtype.newbyteorder()),
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "in the order of Fortran": np.asfortranarray,
    "every other row of another": lambda array: np.repeat(array, 2, axis=0)[::2],
}


@given(array=ARRAYS, packed=st.booleans(), layout=st.sampled_from(sorted(IN_MEMORY)))
def test_reads_and_writes_what_the_format_says(
    folder: Path, array: np.ndarray, packed: bool, layout: str
) -> None:
    content = idx_bytes(array)
    path = folder / "any-name"
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    digest = hashlib.sha256(content).hexdigest()
    got = idx.read(path, dtype=array.dtype, shape=array.shape, sha256=digest)
    assert got.dtype == array.dtype and got.dtype.isnative and got.flags.writeable
    np.testing.assert_array_equal(got, array)
    given = IN_MEMORY[layout](array)
    idx.write(path, given)
    assert path.read_bytes() == content
    assert idx.sha256(given) == digest


@given(cut=st.integers(0, 15 + 24), packed=st.booleans())
def test_a_file_cut_anywhere_is_refused(folder: Path, cut: int, packed: bool) -> None:
    content = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))[:cut]
    path = folder / "cut"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataFileError, match="cut: truncated"):
        idx.read(path)


@given(data=st.data())
def test_a_gzip_cut_or_changed_anywhere_is_refused(folder: Path, data: st.DataObject) -> None:
    content = idx_bytes(np.arange(24, dtype=np.uint8))
    packed = gzip.compress(content)
    path = folder / "packed"
    path.write_bytes(packed[: data.draw(st.integers(2, len(packed) - 1))])
    with pytest.raises(DataFileError, match="packed: expected a whole gzip file"):
        idx.read(path)
    # After the ten-byte header, whose time and system fields have no meaning here.
    flipped = bytearray(packed)
    flipped[data.draw(st.integers(10, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(flipped)
    try:
        got = idx.read(path)
    except DataFileError as error:
        assert "packed: " in str(error)
    else:  # unused bits of the compressed stream may change without changing the content
        np.testing.assert_array_equal(got, np.arange(24))


@pytest.mark.parametrize("packed", [False, True])
def test_trailing_data_is_refused(tmp_path: Path, packed: bool) -> None:
    content = idx_bytes(np.arange(5, dtype=np.int16))
    path = tmp_path / "long"
    path.write_bytes(gzip.compress(content + b"\0") if packed else content + b"\0")
    with pytest.raises(DataFileError, match="long: trailing data: got more, expected 10 bytes"):
        idx.read(path)


@pytest.mark.parametrize("packed", [False, True])
def test_trailing_data_behind_a_long_file_is_refused(tmp_path: Path, packed: bool) -> None:
    # The file's length is a multiple of the read chunk size.
    content = idx_bytes(np.zeros(2 << 20, np.uint8)) + b"\0"
    path = tmp_path / "long"
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    with pytest.raises(DataFileError, match="long: trailing data: got more, expected 2097152"):
        idx.read(path)


@pytest.mark.parametrize("tail", [gzip.compress(b"more"), b"more"], ids=["gzip", "text"])
def test_data_behind_a_gzip_is_refused(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "long"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(5, dtype=np.int16))) + tail)
    with pytest.raises(DataFileError, match="long: "):
        idx.read(path)


@pytest.mark.parametrize(
    "start",
    [
        b"\1\0\x08\1",
        b"\0\1\x08\1",
        b"\0\0\x0a\1",
        b"\0\0\x08\0",
        b"\0\0\x08\xff",
        b"<htm",
        b"PK\3\4",
    ],
)
def test_a_wrong_magic_number_is_refused(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "page"
    path.write_bytes(start + bytes(2000))
    with pytest.raises(DataFileError, match=f"page: wrong magic number {start.hex(' ')}"):
        idx.read(path)


def test_another_content_than_expected_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(idx_bytes(np.zeros((2, 3), np.uint8)))
    with pytest.raises(DataFileError, match=r"other: expected the shape \(3, 2\).*\(2, 3\)"):
        idx.read(path, shape=(3, 2))
    with pytest.raises(DataFileError, match=r"other: expected elements float32, .* says uint8"):
        idx.read(path, dtype=np.float32)
    with pytest.raises(DataFileError, match="other: wrong content: expected SHA-256 00"):
        idx.read(path, sha256="00")
    with pytest.raises(FileNotFoundError):
        idx.read(tmp_path / "missing")


def test_a_header_beyond_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"\0\0\x0e\x03" + b"\xff" * 12 + b"short")
    with pytest.raises(DataFileError, match="huge: truncated: got 5, expected 63382529967"):
        idx.read(path)
    # No elements at all, yet a shape that no array can have.
    path.write_bytes(b"\0\0\x08\x04" + bytes(4) + b"\xff" * 12)
    with pytest.raises(DataFileError, match="huge: expected a shape that NumPy can hold"):
        idx.read(path)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.float16, np.complex64, object])
def test_write_refuses_what_idx_cannot_hold(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="array: IDX has no element type"):
        idx.write(path, np.zeros(3, dtype))
    with pytest.raises(ValueError, match="array: the shape"):
        idx.write(path, np.zeros((), np.uint8))
    assert path.read_bytes() == b"old"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        idx.write(tmp_path / "folder", np.zeros(3, np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
