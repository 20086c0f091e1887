"""The shell of every page: one file, which makes no request and runs no script but its own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpunn.common.markup import Markup, element, joined

from .modules import inlined

# Nothing may be loaded but pictures that stand in the page or were made by it; where a browser
# knows Trusted Types, no script can make markup from text either.
POLICY = (
    ("default-src", "'none'"),
    ("img-src", "data: blob:"),
    ("base-uri", "'none'"),
    ("form-action", "'none'"),
    ("require-trusted-types-for", "'script'"),
)
GENERATOR = "gpunn"  # by which a page is known again
# What runs the scripts of a packed page.
UNPACKER = Path(__file__).parent / "js" / "unpacker.js"
STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def page(
    title: str,
    body: Markup,
    scripts: Sequence[str | Path] = (),
    styles: Sequence[str | Path] = (),
    data: Any = None,
    *,
    wasm: bool = False,
    packed: bool = False,
) -> str:
    """A whole page, to be written as UTF-8 and opened from disk.

    It has light and dark colours, by what the reader's system prefers, and a content security
    policy under which nothing is loaded and only the scripts and styles given here work: no
    ``style="..."`` and no ``onclick="..."``. Scripts get texts of users to the screen by
    ``textContent``; where browsers can (Trusted Types), assigning to ``innerHTML`` is an error.

    Args:
        title: any text.
        body: what is between ``<body>`` and its end, made by `gpunn.common.markup`, so that texts
            of users are escaped; ``Markup(text)`` for HTML that has none.
        scripts: each an ES module: a path, whose relative imports are inlined with it (see
            `gpunn.apps.web.modules`), or a text that imports nothing. They run when the page is
            read, in their order.
        styles: paths or texts of CSS, after the page's own (``page.css``, which names the
            colours).
        data: what JSON can say, for scripts:
            ``JSON.parse(document.getElementById("data").textContent)``.
        wasm: whether scripts may compile WebAssembly.
        packed: whether scripts stand in the page by gzip, to make it smaller: they run all the
            same, and only they.

    Raises:
        TypeError: for a body that is no `Markup`, or data that are not JSON.
        ValueError: for NaN or infinity in the data, or a script or style that would end its
            element.

    >>> shown = page("1 < 2", element("p", "<script>"), data={"name": "</script>"})
    >>> "<title>1 &lt; 2</title>" in shown, "<p>&lt;script&gt;</p>" in shown
    (True, True)
    >>> '{"name":"\\\\u003c/script\\\\u003e"}' in shown
    True
    """
    if not isinstance(body, Markup):
        raise TypeError(
            "body must be Markup, as gpunn.common.markup makes it; a string could have texts of "
            "users in it that are not escaped."
        )
    style = _inside("style", "\n".join([STYLE, *map(_text, styles)]))
    modules = [_inside("script", inlined(script)) for script in scripts]
    policy = [*POLICY, ("style-src", _hash(style))]
    shown = modules
    if packed:
        shown = [_inside("script", inlined(UNPACKER))]
        modules = [*modules, *shown]  # allowed, all of them
    allowed = [*map(_hash, modules), *(["'wasm-unsafe-eval'"] if wasm else [])]
    policy += [("script-src", " ".join(allowed))] if allowed else []
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy",
                content="; ".join(" ".join(part) for part in policy)),
        element("meta", name="generator", content=GENERATOR),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),  # else a server would be asked for one
        element("title", title),
        element("style", style),
    ]  # fmt: skip
    last = [] if data is None else [element("script", as_json(data), type="application/json",
                                            id="data")]  # fmt: skip
    if packed:
        texts = [pack(module.encode()) for module in modules if module not in shown]
        last.append(element("script", as_json(texts), type="application/json", id="packed"))
    last += [element("script", module, type="module") for module in shown]
    return joined(
        Markup('<!DOCTYPE html>\n<html lang="en">\n'),
        element("head", *_lines(head)), Markup("\n"),
        element("body", Markup("\n"), body, Markup("\n"), *_lines(last)),
        Markup("\n</html>\n"),
    )  # fmt: skip


def is_page(beginning: bytes) -> bool:
    """Whether a file is a page of gpunn's, by its first 4,000 bytes.

    >>> is_page(page("mine", Markup("")).encode()[:4000]), is_page(b"<!DOCTYPE html>")
    (True, False)
    """
    return element("meta", name="generator", content=GENERATOR).encode() in beginning


def pack(content: bytes) -> str:
    """Bytes as a page holds them packed: by gzip, in base64. Equal bytes give equal texts.

    >>> gzip.decompress(base64.b64decode(pack(b"engine")))
    b'engine'
    """
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def as_json(data: Any) -> Markup:
    """JSON that can stand in a script element: no text in it can end that, or begin a comment.

    >>> as_json(["</script>", "<!--", "\\u2028", "\\ud800"])
    '["\\\\u003c/script\\\\u003e","\\\\u003c!--","\\\\u2028","\\\\ud800"]'
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _lines(parts: Sequence[Markup]) -> list[Markup]:
    return [Markup(f"{part}\n") for part in parts]


def _text(source: str | Path) -> str:
    return source.read_text(encoding="utf-8") if isinstance(source, Path) else source


def _inside(name: str, text: str) -> Markup:
    """What is to stand in an element whose content is no markup, as a browser will read it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if re.search(rf"</{name}|<!--|\0", text, re.IGNORECASE):
        raise ValueError(f"A {name} cannot have '</{name}', '<!--' or NUL in it.")
    return Markup(text)


def _hash(text: str) -> str:
    """By which a content security policy allows a text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
