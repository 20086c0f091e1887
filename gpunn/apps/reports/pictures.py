"""Arrays as PNG files inside a page: a dozen lines, so that a report needs no other package."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from typing import Any

import numpy as np

BEGIN = "data:image/png;base64,"
PICTURE = re.compile(re.escape(BEGIN) + r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


def png(pixels: np.ndarray) -> str:
    """Encode uint8 pixels (height, width), or (height, width, 3) for RGB, as a PNG data URL."""
    height, width = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)  # 0: pixels as they are
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return BEGIN + base64.b64encode(content).decode()


def is_image(sample: tuple[Any, ...]) -> bool:
    """Whether rows of this shape are pictures: (height, width), (..., 1) or (..., 3)."""
    return (len(sample) == 2 or (len(sample) == 3 and sample[2] in (1, 3))) and min(sample) >= 4


def image(values: np.ndarray, low: float, high: float) -> str:
    """Encode values (height, width) or (..., 1 or 3) as a picture: ``low`` is black, ``high``
    white."""
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    scaled = (values.astype(np.float64) - low) * (255 / ((high - low) or 1.0))
    return png(np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8))
