"""What clients send: strict JSON and pictures, and the reason why something else is refused."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Beginnings of the formats that are read. Pillow would start other programs for some others.
_PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8|BM|RIFF....WEBP", re.DOTALL)
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
MAX_PIXELS = 50_000_000  # of the pictures of a request
SHOWN = 40  # characters of a client's text that a reason repeats


class Refused(Exception):
    """A request that gets no prediction: the status of the answer, and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Question(NamedTuple):
    """A request that was understood.

    Attributes:
        inputs: arrays of equally many rows, by the names of the model's inputs.
        answer: returns the document of the answer, given the outputs by name.
    """

    inputs: dict[str, np.ndarray]
    answer: Callable[[dict[str, np.ndarray]], dict[str, Any]]

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))


class Picture(io.BytesIO):
    """An image's bytes as a file that messages call by a name."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name = name
        if not _PICTURE.match(content):
            raise Refused(400, f"{name} is no PNG, JPEG, GIF, BMP or WebP")

    def __str__(self) -> str:
        return self.name


def document(body: bytes) -> dict[str, Any]:
    """Return the object in JSON, which has no key twice and no NaN.

    Raises:
        Refused: for anything else.

    >>> document(b'{"rows": [{"age": 3, "age": 4}]}')
    Traceback (most recent call last):
    gpunn.apps.serving.bodies.Refused: the key 'age' stands twice in an object
    """

    def not_finite(name: str) -> Any:
        raise Refused(400, f"{name} is not a finite number")

    try:
        found = json.loads(
            body.decode("utf-8"), parse_constant=not_finite, object_pairs_hook=_without_twins
        )
    except UnicodeDecodeError as error:
        raise Refused(
            400,
            f"the body is not UTF-8: {error.reason} at {error.start}. A picture needs its "
            f"Content-Type, such as image/png",
        ) from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refused(400, f"the body is {kind_of(found)}; an object is expected")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise Refused(400, f"the key {shown(twice)} stands twice in an object")
    return found


def only(found: Mapping[str, Any], *known: str) -> str:
    """Return the one key of a document, which is among these."""
    if len(found) != 1 or not {*found} <= {*known}:
        expected = " or ".join(f'{{"{name}": ...}}' for name in known)
        there = ", ".join(shown(name) for name in [*found][:5]) or "none"
        raise Refused(400, f"the body must be {expected}, with no other key; it has {there}")
    return next(iter(found))


def pictures(values: Any) -> list[Picture]:
    """Return the pictures in a list of base64, also with a browser's ``data:image/png;base64,``."""
    if not isinstance(values, list) or not values:
        raise Refused(400, "pictures must be a list of at least one picture, each in base64")
    found = []
    for k, text in enumerate(values):
        if not isinstance(text, str):
            raise Refused(400, f"pictures[{k}] is {kind_of(text)}; a text in base64 is expected")
        start = _DATA_URL.match(text)
        try:
            content = base64.b64decode(text[start.end() if start else 0 :], validate=True)
        except (binascii.Error, ValueError):
            raise Refused(400, f"pictures[{k}] is not base64") from None
        found.append(Picture(f"pictures[{k}]", content))
    return found


def shown(text: Any) -> str:
    """Return a client's text in quotes, shortened.

    >>> shown("a" * 50)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'"
    """
    text = str(text)
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def kind_of(value: Any) -> str:
    """Say what a value of JSON is.

    >>> kind_of("soon"), kind_of(2.5), kind_of(None), kind_of([1]), kind_of(True)
    ("the text 'soon'", 'the number 2.5', 'null', 'a list', 'true')
    """
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, (int, float)):
        return f"the number {value:.10g}" if isinstance(value, float) else "a whole number"
    return "a list" if isinstance(value, list) else "an object"
