"""Elements of HTML and SVG. A string in one is text; only a `Markup` is taken as it is."""

from __future__ import annotations

import re
from html import escape
from typing import Any

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NAME = re.compile(r"[A-Za-z][\w:.-]*", re.ASCII)
EMPTY = frozenset(("br", "col", "hr", "img", "input", "link", "meta"))  # have no end tag in HTML


class Markup(str):
    """Text that is HTML or SVG already. Whoever makes one has escaped what is in it."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Any text as markup that shows it, in an element or in an attribute.

    Characters that no page can have, as NUL or half of a pair, become U+FFFD.

    >>> escaped("<img src=x onerror='alert(1)'>")
    '&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;'
    """
    if isinstance(text, Markup):
        return text
    return Markup(escape(NOT_XML.sub("\ufffd", str(text))))


def joined(*parts: Any) -> Markup:
    """Parts one after the other: `Markup` as it is, lists of parts in turn, all else as text.

    None is nothing.

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
    """One element with what is in it, as of `joined`.

    Args:
        name: of the element.
        *children: its content.
        **attributes: those that are None or False are left out, True stands without a value. An
            underscore is a hyphen, one at the end is none (``class_``).

    Raises:
        ValueError: for a name of an element or an attribute that is none.

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
        raise ValueError(f"{name!r} is no name of an element or an attribute.")
    return name
