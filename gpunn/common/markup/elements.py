"""Elements of HTML and SVG. Strings in them are escaped; only a `Markup` is inserted unchanged."""

from __future__ import annotations

import re
from typing import Any

# Compiled at first use, because it takes long.
NOT_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
NAME = re.compile(r"[A-Za-z][\w:.-]*", re.ASCII)
EMPTY = frozenset(("br", "col", "hr", "img", "input", "link", "meta"))  # have no end tag in HTML


class Markup(str):
    """Text that is already HTML or SVG. Its creator must have escaped its contents."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Escape text for an element or an attribute.

    Characters that are invalid in a page, such as NUL or a lone surrogate, become U+FFFD.

    >>> escaped("<img src=x onerror='alert(1)'>")
    '&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;'
    """
    if isinstance(text, Markup):
        return text
    from html import escape  # with a table of all entities

    return Markup(escape(re.sub(NOT_XML, "\ufffd", str(text))))


def joined(*parts: Any) -> Markup:
    """Join parts: `Markup` unchanged, lists of parts recursively, anything else as escaped text.

    None is skipped.

    >>> joined("1 < 2", element("br"), ["3", None])
    '1 &lt; 2<br>3'
    """
    found = []
    for part in parts:
        if isinstance(part, (list, tuple)):
            found.append(joined(*part))
        elif part is not None:
            found.append(escaped(part))
    return Markup("".join(found))


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element with its content, combined as in `joined`.

    Args:
        name: Name of the element.
        *children: Its content.
        **attributes: None and False are left out, True gives an attribute without a value. An
            underscore becomes a hyphen; one at the end is removed (``class_``).

    Raises:
        ValueError: for an invalid name of an element or attribute.

    >>> element("p", "a & b", class_="note", aria_label='"x"', hidden=True)
    '<p class="note" aria-label="&quot;x&quot;" hidden>a &amp; b</p>'
    """
    begins = [_checked(name)]
    for key, value in attributes.items():
        key = _checked(key.rstrip("_").replace("_", "-"))
        if value is True:
            begins.append(key)
        elif value is not None and value is not False:
            begins.append(f'{key}="{escaped(str(value))}"')
    begin = f"<{' '.join(begins)}>"
    return Markup(begin if name in EMPTY else f"{begin}{joined(*children)}</{name}>")


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of an element or an attribute.")
    return name
