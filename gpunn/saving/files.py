"""The file format: a tree of JSON values and arrays in one safetensors file.

`write` stores a document (dictionaries, lists, strings, numbers and NumPy arrays). Its
arrays become the file's tensors, named by their path in the document; everything else is
JSON in the file's metadata, under the key ``gpunn``, with its checksum. A folder
holds the same file as ``model.safetensors`` with a readable copy of the JSON, ``model.json``.

Nothing in a file is ever executed or imported. Reading checks all of it: each error is
a ValueError that names the file and the entry. The checksums are CRC-32: they detect accidental
changes, not deliberate ones, which can change the checksum too.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zlib
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from gpunn.common.atomic_files import Path, atomic_write, make_folder_of
from gpunn.common.names import closest, warn

VERSION = 2  # files of version 1 had no checksum of the JSON
DTYPES = {  # safetensors' names, and NumPy's
    "BOOL": "bool",
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
MAX_HEADER = 1 << 25  # default limit on bytes of JSON to read
HEADER_LIMIT = 100_000_000  # limit of safetensors itself
OTHERS = {  # suffixes of files that are no models of gpunn or Keras
    ".csv", ".gif", ".html", ".ipynb", ".jpeg", ".jpg", ".json", ".md", ".npy", ".npz", ".onnx",
    ".pb", ".pdf", ".pickle", ".pkl", ".png", ".pt", ".pth", ".py", ".svg", ".tflite", ".txt",
    ".xml", ".yaml", ".yml", ".zip",
}
_KEY = "gpunn"
_TENSORS, _COPY = "model.safetensors", "model.json"
HDF5, ZIP = "an HDF5 file", "a zip archive"
_FOREIGN = {b"\x89HDF": HDF5, b"PK\x03\x04": ZIP, b"\x80": "a pickle"}


def kind_of(path: Path) -> str:
    """Return what a file is by its first bytes, if it is not in gpunn's format; else ``""``."""
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as stream:
        return _kind_of(stream.read(9))


def _kind_of(data: bytes) -> str:
    found = (kind for magic, kind in _FOREIGN.items() if data.startswith(magic))
    return next(found, "") if data[8:9] != b"{" else ""


def write(path: Path, document: dict[str, Any]) -> None:
    """Write ``document`` to the file ``path``, or into it if it is a folder.

    ``path`` is a folder if it exists as one or ends in a separator. The file is complete
    or unchanged whatever happens: the bytes go to a temporary file beside it, which is
    flushed to disk and then renamed. Equal documents give equal bytes.

    Raises:
        ValueError: naming the entry that can be stored neither as JSON nor as a tensor, or if
            the JSON is too long to be read again.
    """
    tensors: dict[str, np.ndarray] = {}
    packed = _pack(document, (), tensors)
    envelope = {"version": VERSION, "crc32": _checksum_of(packed), "document": packed}
    text = json.dumps(envelope, allow_nan=False)
    file = _file_of(path)
    data = safetensors.save(tensors, {_KEY: text})
    _check_length(int.from_bytes(data[:8], "little"), file)
    make_folder_of(file)
    if file == os.fspath(path):
        atomic_write(file, [data])
        return
    # Without a copy the file is valid; with a copy of another file it is not.
    copy = os.path.join(path, _COPY)
    with contextlib.suppress(FileNotFoundError):
        os.remove(copy)
    atomic_write(file, [data])
    text = json.dumps(envelope, allow_nan=False, indent=2) + "\n"
    atomic_write(copy, [text.encode()])


def read(path: Path, max_header: int = MAX_HEADER) -> dict[str, Any]:
    """Read the document in the file or folder ``path``.

    Args:
        path: As in `write`.
        max_header: Maximum bytes of JSON.

    Raises:
        FileNotFoundError: if the file does not exist, with the closest existing name.
        ValueError: if anything in it is not as `write` leaves it.
    """
    file = _file_of(path)
    try:
        with open(file, "rb") as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            # Of a foreign or too long file, read only enough to recognize it.
            data = start + stream.read(min(length, max_header + 1))
            if len(data) == 8 + length <= 8 + max_header and data[8:9] == b"{":
                data += stream.read()
    except FileNotFoundError:
        folder, name = os.path.split(os.path.abspath(path))
        if os.path.isfile(os.path.join(path, "saved_model.pb")):
            raise ValueError(
                f"Cannot load {name}: it is a SavedModel folder of TensorFlow, which gpunn does "
                f"not read. Load it in TensorFlow, and save it there as an .h5 file."
            ) from None
        near = os.listdir(folder) if os.path.isdir(folder) and not os.path.isdir(path) else []
        raise FileNotFoundError(f"There is no file {file}.{closest(name, near)}") from None
    try:
        tensors, envelope = _parse(data, max_header)
        if file != os.fspath(path):
            _check_copy(os.path.join(path, _COPY), envelope, max_header)
        used: set[str] = set()
        document = _unpack(envelope["document"], tensors, used)
        surplus = sorted(set(tensors) - used)
        if surplus:
            raise ValueError(f"the tensor {surplus[0]!r} belongs to nothing.")
        if not isinstance(document, dict):
            raise ValueError(f"its document is a {type(document).__name__}, not a dictionary.")
        return document
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Cannot load {file}: {error}") from None


def _file_of(path: Path) -> str:
    path = os.fspath(path)
    folder = os.path.isdir(path) or path.endswith(tuple(filter(None, (os.sep, os.altsep))))
    return os.path.join(path, _TENSORS) if folder else path


def check_suffix(path: Path) -> None:
    """Reject the suffix of another kind of file, such as a picture.

    Raises:
        ValueError: naming it, and what is expected.
    """
    suffix = os.path.splitext(_file_of(path))[1]
    if suffix.lower() in OTHERS:
        raise ValueError(
            f"A model is saved as .gpunn, as .keras or .weights.h5 for Keras, or without a suffix; "
            f"got {suffix}, of another kind of file. model.export(path) writes .onnx. Received: "
            f"filepath={os.fspath(path)}."
        )


def _check_length(length: int, file: str) -> None:
    """Reject a header that is too long to be read, or warn about one above the default limit."""
    if length > HEADER_LIMIT:
        raise ValueError(
            f"{file} would have {length:,} bytes of settings and states, which no program "
            f"can read again: a file holds at most {HEADER_LIMIT:,}."
        )
    if length > MAX_HEADER:
        warn(
            f"{file} has {length:,} bytes of settings and states: load it with max_header={length}."
        )


def _checksum_of(packed: Any) -> int:
    """Return the checksum of JSON as `json.dumps` writes it."""
    return zlib.crc32(json.dumps(packed).encode())


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _pack(value: Any, place: tuple[str, ...], tensors: dict[str, np.ndarray]) -> Any:
    """Convert ``value`` to JSON-serializable values; its arrays go to ``tensors``."""
    name = "/".join(place)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.name not in DTYPES.values():
            raise ValueError(
                f"{name!r} is an array of dtype {value.dtype}, which a file cannot hold."
            )
        if name in tensors:
            raise ValueError(f"Two arrays have the same path {name!r}.")
        # Not ascontiguousarray, which turns a scalar into a row.
        tensors[name] = np.asarray(value, value.dtype.newbyteorder("="), order="C")
        return {
            "$tensor": name,
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "crc32": _checksum(tensors[name]),
        }
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise ValueError(f"{name!r} has the key {key!r}; a string without $ is expected.")
        return {key: _pack(entry, (*place, key), tensors) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(entry, (*place, str(i)), tensors) for i, entry in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise not_json(name, value)


def not_json(name: str, value: Any) -> ValueError:
    """Return the error for an entry of a description that is no value of JSON."""
    return ValueError(
        f"{name!r} is {value!r}, which JSON cannot hold: describe it by numbers and texts in the "
        f"get_config of its class, and make it of them in from_config."
    )


def _unpack(value: Any, tensors: dict[str, np.ndarray], used: set[str]) -> Any:
    """The inverse of `_pack`."""
    if isinstance(value, list):
        return [_unpack(entry, tensors, used) for entry in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return _tensor(value, tensors, used)
    if "$float" in value:
        if len(value) != 1 or value["$float"] not in ("nan", "inf", "-inf"):
            raise ValueError(f"{value!r} is not a number.")
        return float(value["$float"])
    return {key: _unpack(entry, tensors, used) for key, entry in value.items()}


def _tensor(entry: dict[str, Any], tensors: dict[str, np.ndarray], used: set[str]) -> np.ndarray:
    name = entry["$tensor"]
    if set(entry) != {"$tensor", "dtype", "shape", "crc32"} or not isinstance(name, str):
        raise ValueError(f"{entry!r} does not describe a tensor.")
    if name not in tensors:
        raise ValueError(f"the tensor {name!r} is missing.")
    if name in used:
        raise ValueError(f"the tensor {name!r} is used twice.")
    used.add(name)
    array = tensors[name]
    for what, found in (("dtype", array.dtype.name), ("shape", list(array.shape))):
        if entry[what] != found:
            raise ValueError(f"the tensor {name!r} has {what} {found}, not {entry[what]}.")
    if entry["crc32"] != _checksum(array):
        raise ValueError(f"the values of the tensor {name!r} are damaged (wrong checksum).")
    return array


def _parse(data: bytes, max_header: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the JSON of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    if kind := _kind_of(data):
        raise ValueError(
            f"it is {kind}; gpunn reads its own files, and .keras archives of Keras 3."
        )
    if len(data) < 9 or data[8:9] != b"{" or len(data) < 8 + min(length, max_header + 1):
        raise ValueError(
            "it is not a safetensors file, which gpunn writes, nor one of Keras's, or a "
            "truncated one."
        )
    if length > max_header:
        raise ValueError(
            f"it has {length:,} bytes of settings and states, but max_header is {max_header:,}. "
            f"If you trust the source, pass max_header={length}."
        )
    header = _json(data[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise ValueError("it is a safetensors file, but not one of gpunn's.")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ValueError(f"the tensor {name!r} has a dtype that gpunn never writes: {entry!r}.")
    envelope = _envelope(metadata[_KEY])
    try:
        # A copy: arrays from safetensors are read-only.
        return {name: array.copy() for name, array in safetensors.load(data).items()}, envelope
    except SafetensorError as error:
        raise ValueError(f"its tensors are truncated or damaged: {error}.") from None


def _envelope(text: str) -> dict[str, Any]:
    """Return the JSON under `_KEY` after checking its version and checksum."""
    envelope = _json(text.encode())
    version = envelope.get("version")
    keys = {"version", "document"} if version == 1 else {"version", "document", "crc32"}
    newer = type(version) is int and version > VERSION
    if type(version) is not int or version < 1 or (set(envelope) != keys and not newer):
        raise ValueError(f"format version {version!r} is not one of gpunn's.")
    if newer:
        raise ValueError(
            f"it was written by a newer gpunn (format {version}; this one reads {VERSION})."
        )
    if version > 1 and envelope["crc32"] != _checksum_of(envelope["document"]):
        raise ValueError("its settings and states are damaged (wrong checksum).")
    return envelope


def _check_copy(path: str, envelope: dict[str, Any], max_header: int) -> None:
    if os.path.exists(path):
        most = 8 * max_header  # it is indented
        with open(path, "rb") as stream:
            text = stream.read(most + 1)
        if len(text) > most:
            raise ValueError(f"{path} has more than {most:,} bytes: it is not a copy of the JSON.")
        copy = _json(text)
        if copy != envelope:
            raise ValueError(
                f"{path} is not a copy of the JSON in {_TENSORS}. Changes there have no "
                f"effect; remove it to load the folder."
            )


def _json(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; reject duplicate keys and numbers that are not finite."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"bad JSON: {error}.") from None
    except UnicodeDecodeError:
        raise ValueError("bad JSON: not UTF-8.") from None
    if not isinstance(value, dict):
        raise ValueError(f"bad JSON: an object expected, not a {type(value).__name__}.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys: set[str] = set()
        twice = next(key for key, _ in pairs if key in keys or keys.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"bad JSON: the key {twice!r} occurs twice.")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"bad JSON: the number {text} is not finite.")
    return number
