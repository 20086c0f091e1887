"""Files with a change as by an accident or on purpose: what a reader of files must survive."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

VALUES: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 10**30, 1e300, -0.5, "", "float16", "NaN", [], [None], {},
    [[[]]], {"class_name": "Dense", "config": {}}, "x" * 300,
]  # fmt: skip


def flipped(data: bytes, r: random.Random) -> bytes:
    """Return data with some bytes changed."""
    changed = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 8])):
        changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def cut(data: bytes, r: random.Random) -> bytes:
    """Return data without their end, or without a part in the middle."""
    at = r.randrange(len(data))
    return data[:at] + (data[at + r.randrange(1, 64) :] if r.random() < 0.5 else b"")


def _places(value: Any) -> list[tuple[Any, Any]]:
    inside = list(value.items() if isinstance(value, dict) else enumerate(value))
    found = [(value, key) for key, _ in inside]
    return found + [
        place for _, one in inside if isinstance(one, (dict, list)) for place in _places(one)
    ]


def changed_json(data: bytes, r: random.Random) -> bytes:
    """Return JSON in which a value is replaced, left out, or taken from another place."""
    document = json.loads(data)
    holder, key = r.choice(_places(document))
    kind = r.random()
    if kind < 0.6:
        holder[key] = r.choice(VALUES)
    elif kind < 0.8:
        del holder[key]
    else:
        other, its = r.choice(_places(document))
        holder[key] = json.loads(json.dumps(other[its]))
    return json.dumps(document).encode()


def changed_archive(data: bytes, r: random.Random) -> bytes:
    """Return an archive with a member changed, left out or doubled, or with changed bytes."""
    kind = r.random()
    if kind < 0.2:
        return r.choice([flipped, cut])(data, r)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    k = r.randrange(len(members))
    name, held = members[k]
    if kind < 0.3:
        del members[k]
    elif kind < 0.4:
        members.append((name, r.choice([flipped, cut])(held, r)))
    elif name.endswith(".json") and kind < 0.85:
        members[k] = name, changed_json(held, r)
    else:
        members[k] = name, r.choice([flipped, cut])(held, r)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", r.choice([0, 8])) as archive:
        for name, held in members:
            archive.writestr(name, held)
    return buffer.getvalue()


def changed_tensors(data: bytes, r: random.Random) -> bytes:
    """Return a file of safetensors with changed bytes, or with changed JSON in its header."""
    if r.random() < 0.5:
        return r.choice([flipped, cut])(data, r)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if r.random() < 0.5:
        changed = changed_json(json.dumps(header).encode(), r)
    else:  # what only gpunn reads
        own = header["__metadata__"]
        own["gpunn"] = changed_json(own["gpunn"].encode(), r).decode()
        changed = json.dumps(header).encode()
    return len(changed).to_bytes(8, "little") + changed + data[8 + length :]
