"""The frame of every page: a single file that makes no requests and runs only its own scripts."""

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

from .modules import inlined, without_comments

# A page may load only pictures that it contains or has made. In browsers with Trusted Types,
# scripts cannot create markup from strings either.
POLICY = (
    ("default-src", "'none'"),
    ("img-src", "data: blob:"),
    ("base-uri", "'none'"),
    ("form-action", "'none'"),
    ("require-trusted-types-for", "'script'"),
)
GENERATOR = "gpunn"  # identifies a page written by gpunn
# Runs the scripts of a packed page.
UNPACKER = Path(__file__).parent / "js" / "unpacker.js"
STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def page(
    title: str,
    body: Markup,
    scripts: Sequence[str | Path] = (),
    styles: Sequence[str | Path] = (),
    data: Any = None,
    *,
    connects: bool = False,
    wasm: bool = False,
    packed: bool = False,
) -> str:
    """Return a complete page, to be written as UTF-8 and opened from disk.

    The page has light and dark colours, by the reader's system preference. Its content security
    policy allows no loading, and only the scripts and styles given here: neither ``style="..."``
    nor ``onclick="..."`` works. Scripts show user strings with ``textContent``; in browsers with
    Trusted Types, assigning to ``innerHTML`` is an error.

    Args:
        body: the content of ``<body>``, made by `gpunn.common.markup` so that user strings are
            escaped; ``Markup(text)`` for HTML without such strings.
        scripts: ES modules: a path, whose relative imports are inlined (see
            `gpunn.apps.web.modules`), or a text that imports nothing. They run in order when the
            page is loaded.
        styles: paths or texts of CSS, after the page's own (``page.css``, which names the
            colours).
        data: JSON data for scripts:
            ``JSON.parse(document.getElementById("data").textContent)``.
        connects: whether scripts may send to the server from which the page came.
        wasm: whether scripts may compile WebAssembly.
        packed: whether to compress scripts with gzip, without the comments that document types,
            for a smaller page; the policy still allows only them.

    Raises:
        TypeError: if the body is not `Markup`, or the data are not JSON.
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
            "body must be Markup from gpunn.common.markup; a plain string could contain user text "
            "that is not escaped."
        )
    style = _inside("style", "\n".join([STYLE, *map(_text, styles)]))
    whole = map(inlined, scripts)
    modules = [_inside("script", without_comments(m) if packed else m) for m in whole]
    policy = [*POLICY, ("style-src", _hash(style))]
    shown = modules
    if packed:
        shown = [_inside("script", inlined(UNPACKER))]
        modules = [*modules, *shown]  # the policy allows all of them
    policy += [("connect-src", "'self'")] if connects else []
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
        element("link", rel="icon", href="data:,"),  # else browsers would request an icon
        element("title", title),
        element("style", style),
    ]
    last = [] if data is None else [element("script", as_json(data), type="application/json",
                                            id="data")]
    if packed:
        sources = [pack(module.encode()) for module in modules if module not in shown]
        last.append(element("script", as_json(sources), type="application/json", id="packed"))
    last += [element("script", module, type="module") for module in shown]
    return joined(
        Markup('<!DOCTYPE html>\n<html lang="en">\n'),
        element("head", *_lines(head)), Markup("\n"),
        element("body", Markup("\n"), body, Markup("\n"), *_lines(last)),
        Markup("\n</html>\n"),
    )


def is_page(beginning: bytes) -> bool:
    """Whether a file is a page written by gpunn, by its first 4,000 bytes.

    >>> is_page(page("mine", Markup("")).encode()[:4000]), is_page(b"<!DOCTYPE html>")
    (True, False)
    """
    return element("meta", name="generator", content=GENERATOR).encode() in beginning


def pack(content: bytes) -> str:
    """Compress bytes with gzip and encode them in base64. Equal bytes give equal strings."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def as_json(data: Any) -> Markup:
    """Return JSON that is safe in a script element: it cannot end it or start a comment.

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
    """Return the content of a raw-text element, with line ends as a browser reads them."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if re.search(rf"</{name}|<!--|\0", text, re.IGNORECASE):
        raise ValueError(f"A {name} cannot have '</{name}', '<!--' or NUL in it.")
    return Markup(text)


def _hash(text: str) -> str:
    """Return the hash by which a content security policy allows a text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
