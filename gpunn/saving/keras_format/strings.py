"""A check of strings in HDF5 files, made before the library reads them.

A string of any length lies in a heap of the file; the attribute holds its length and its place.
Where both lengths differ, HDF5 writes beyond its buffer. So they are compared here first, in the
bytes of the file. Source: HDF5 File Format Specification 3.0, III.E and IV.A.2.m.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

_VARIABLE = 9  # the class of datatypes of any length
_PLACE = struct.Struct("<IQI")  # length, address of the heap, number within it
_OBJECT = struct.Struct("<HH4xQ")  # number, references, length


def check_strings(data: Any, names: Iterable[str]) -> None:
    """Check the attributes of these names, or of such a name and a number, wherever they occur.

    Args:
        data: The bytes of a file, or a map of them.
        names: The names of all attributes that will be read.

    Raises:
        ValueError: naming an attribute whose strings are not where it says.
    """
    version = data[8]
    lengths = data[13:15] if version < 2 else data[9:11]
    base = data[24:32] if version == 0 else data[28:36] if version == 1 else data[12:20]
    if lengths != b"\x08\x08" or base != bytes(8):
        raise ValueError("it is not an HDF5 file as Keras writes it: its addresses are of a kind "
                         "that is not read.")
    heaps: dict[int, dict[int, int]] = {}
    total = 0
    for name in names:
        for found, start, count in _attributes(data, name):
            if start + _PLACE.size * count > len(data):
                raise ValueError(f"the attribute {found!r} lies beyond the end of the file.")
            for number in range(count):
                length, address, index = _PLACE.unpack_from(data, start + _PLACE.size * number)
                if not length:
                    continue
                total += length
                if address not in heaps:
                    heaps[address] = _heap(data, address)
                if heaps[address].get(index) != length or total > len(data):
                    raise ValueError(
                        f"the attribute {found!r} is damaged: it has a text of {length:,} bytes "
                        f"that is not in the file."
                    )


def _attributes(data: Any, stem: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name, the place of the values and their number of each attribute of texts."""
    at = -1
    while (at := data.find(stem.encode(), at + 1)) >= 0:
        end = data.find(b"\0", at, at + len(stem) + 12)
        name = bytes(data[at:end])
        if end < 0 or (len(name) > len(stem) and not name[len(stem) :].isdigit()) or at < 9:
            continue
        for version, before in ((1, 8), (2, 8), (3, 9)):
            start = at - before
            lengths = struct.unpack_from("<HHH", data, start + 2)
            if data[start] != version or lengths[0] != len(name) + 1:
                continue
            if version > 1 and data[start + 1]:
                raise ValueError(f"the attribute {name!r} has a shared type, which is not read.")
            pad = 8 if version == 1 else 1
            typed, spaced, stored = at, 0, 0
            typed += -(-lengths[0] // pad) * pad
            spaced = typed + -(-lengths[1] // pad) * pad
            stored = spaced + -(-lengths[2] // pad) * pad
            if stored <= len(data) and data[typed] & 15 == _VARIABLE:
                if not _is_text(data[typed:spaced]):
                    raise ValueError(f"the attribute {name!r} is damaged: it holds no texts.")
                yield name.decode("latin-1"), stored, _elements(data, spaced)


def _is_text(datatype: Any) -> bool:
    """Whether a datatype of any length is one of texts: HDF5 reads others beyond its buffer."""
    if len(datatype) < 16:
        return False
    bits, zero, size = struct.unpack_from("<HBI", datatype, 1)  # kind, padding and character set
    base, of_base = datatype[8] & 15, struct.unpack_from("<I", datatype, 12)[0]
    kind = bits & 15 == 1 and bits >> 4 & 15 < 3 and bits >> 8 < 2 and zero == 0
    return kind and size == _PLACE.size and of_base == 1 and base in (0, 3)  # bytes or characters


def _elements(data: Any, at: int) -> int:
    """Return the number of elements of a dataspace."""
    version, rank = data[at], data[at + 1]
    if version == 2 and data[at + 3] == 2:  # of no elements
        return 0
    start = at + (8 if version == 1 else 4)
    if version not in (1, 2) or rank > 1 or start + 8 * rank > len(data):
        raise ValueError("a list of names in the file is damaged.")
    return math.prod(struct.unpack_from(f"<{rank}Q", data, start))


def _heap(data: Any, address: int) -> dict[int, int]:
    """Return the lengths of the objects in a heap by their numbers."""
    if address + 16 > len(data) or data[address : address + 4] != b"GCOL":
        raise ValueError("a text of the file is damaged: it lies in no heap.")
    end = min(address + int.from_bytes(data[address + 8 : address + 16], "little"), len(data))
    found, at = dict[int, int](), address + 16
    while at + _OBJECT.size <= end:
        index, _, length = _OBJECT.unpack_from(data, at)
        at += _OBJECT.size
        if index == 0:  # the rest is free
            break
        if at + length > end or index in found:
            raise ValueError("a text of the file is damaged: its heap is.")
        found[index] = length
        at += -(-length // 8) * 8
    return found
