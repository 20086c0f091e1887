"""The template of pages: what a browser finds in a page, whatever strings it contains."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gpunn.apps.web.modules import inlined
from gpunn.apps.web.page import page
from gpunn.common.markup import Markup, element, joined

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}",
    "</title><h1>",
    '" onload="alert(1)',
    "' onload='alert(1)",
    "<!--<script>",
    "]]><![CDATA[",
    "&lt;b&gt; &amp;",
    "</body></html>",
    "\u2028\u2029\u202e\x00\x1b\ud800",
    "javascript:alert(1)",
]
EVERYTHING = " ".join(HOSTILE)


class Seen(HTMLParser):
    """A page as a browser would parse it: its elements, and the content of those of one kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.content: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.elements.append((tag, dict(attributes)))
        self.content.setdefault(tag, []).append("")
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.open:
            self.content[tag][-1] += data

    @property
    def policy(self) -> dict[str, list[str]]:
        metas = [a for tag, a in self.elements if a.get("http-equiv") == "Content-Security-Policy"]
        parts = [part.split() for part in str(metas[0]["content"]).split(";")]
        return {name: values for name, *values in parts}


def hashes(sources: Iterable[str]) -> list[str]:
    digests = [hashlib.sha256(text.encode()).digest() for text in sources]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def as_shown(text: str) -> str:
    return text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd").replace("\ud800", "\ufffd")


@pytest.mark.parametrize("text", [*HOSTILE, EVERYTHING])
def test_a_text_is_text_wherever_it_stands(text: str) -> None:
    body = element("main", element("p", text, title=text, data_name=text), [text, None])
    seen = Seen(page(text, body, ["let a = 1;"], data={text: [text]}))
    tags = [tag for tag, _ in seen.elements]
    assert [tag for tag in tags if tag not in ("meta", "link")] == [
        "html", "head", "title", "style", "body", "main", "p", "script", "script"
    ]  # fmt: skip
    assert not seen.open
    assert seen.content["title"] == [as_shown(text)]
    assert seen.content["p"] == [as_shown(text)]
    assert seen.content["main"] == [as_shown(text) * 2]
    assert next(a for tag, a in seen.elements if tag == "p") == {
        "title": as_shown(text), "data-name": as_shown(text)
    }  # fmt: skip
    assert json.loads(seen.content["script"][0]) == {text: [text]}


def test_a_page_can_be_written() -> None:
    page(EVERYTHING, element("p", EVERYTHING), data=EVERYTHING).encode()


def test_only_what_was_given_may_run() -> None:
    text = page("a", element("p"), ["let a = 1;\r\nlet b;", "let ü = 'é';"], ["p { color: red }"])
    seen = Seen(text)
    policy = seen.policy
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == hashes(seen.content["script"]) and len(policy["script-src"]) == 2
    assert policy["style-src"] == hashes(seen.content["style"])
    assert policy["img-src"] == ["data:", "blob:"]
    assert set(policy) == {
        "default-src", "script-src", "style-src", "img-src", "base-uri", "form-action",
        "require-trusted-types-for",
    }  # fmt: skip
    assert "p { color: red }" in seen.content["style"][0]
    first = [a for tag, a in seen.elements if tag == "meta"]
    assert "charset" in first[0] and "http-equiv" in first[1]


def test_nothing_runs_where_no_script_was_given() -> None:
    seen = Seen(page("a", element("p"), data=[1]))
    assert "script-src" not in seen.policy
    assert [a["type"] for tag, a in seen.elements if tag == "script"] == ["application/json"]


def test_web_assembly_is_allowed_where_it_is_asked_for() -> None:
    assert "wasm-unsafe-eval" not in page("a", element("p"), ["1;"])
    assert (
        "'wasm-unsafe-eval'"
        in Seen(page("a", element("p"), ["1;"], wasm=True)).policy["script-src"]
    )


def test_no_address_is_loaded() -> None:
    seen = Seen(page("a", element("p"), ["let a;"], data=1))
    addresses = [a[n] for _, a in seen.elements for n in ("src", "href", "srcset") if n in a]
    assert addresses == ["data:,"]
    assert "@import" not in seen.content["style"][0] and "url(" not in seen.content["style"][0]


def test_a_string_is_no_body() -> None:
    with pytest.raises(TypeError, match="Markup"):
        page("a", "<p>text</p>")
    assert "<p>text</p>" in page("a", Markup("<p>text</p>"))


@pytest.mark.parametrize("text", ["a = '</script>'", "a = '</SCRIPT '", "// <!--", "a\0"])
def test_a_script_that_would_end_its_element_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A script cannot have"):
        page("a", element("p"), [text])


def test_data_are_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        page("a", element("p"), data=[float("nan")])
    with pytest.raises(TypeError, match="JSON"):
        page("a", element("p"), data=object())


@pytest.mark.parametrize("name", ["p onload=alert(1)", "a>b", "", "1a"])
def test_names_of_elements_and_attributes_are_names(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        element(name)
    with pytest.raises(ValueError, match="not a name"):
        element("p", **{name: "x"})


def test_attributes_that_are_none_or_false_are_left_out() -> None:
    assert element("input", value=None, checked=True, disabled=False, max=0) == (
        '<input checked max="0">'
    )
    assert joined("<", [Markup("<b>"), 1], None) == "&lt;<b>1"


# -- modules


@pytest.fixture
def modules(tmp_path: Path) -> Any:
    """Write modules by name."""

    def write(**sources: str) -> Path:
        for name, text in sources.items():
            (tmp_path / f"{name}.js").write_text(text)
        return tmp_path / f"{next(iter(sources))}.js"

    return write


def printed_by_node(text: str, path: Path) -> str:
    """Return what a module prints in node, a JavaScript runtime that loads modules as a browser."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: apt install nodejs")
    path = path.with_suffix(".mjs")
    path.write_text(text)
    done = subprocess.run([node, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_inlined_modules_do_what_they_do_as_files(modules: Any, tmp_path: Path) -> None:
    sources = {
        "main": 'import { twice, Box as Case } from "./numbers.js";\n'
        'import * as words from "./words.js";\nimport {\n  count,\n} from "./state.js";\n'
        "const same = 1;\n"
        'console.log(twice(3), new Case(4).value, words.hello, words.plural("a"), count(), '
        "same);\n",
        "numbers": 'import { count } from "./state.js";\ncount();\nconst same = 2;\n'
        "export function twice(x) { return same * x; }\n"
        "export class Box { constructor(v) { this.value = v; } }\n",
        "words": 'export const hello = "import it";\nfunction s(x) { return x + "s$1"; }\n'
        "export { s as plural, s };\n",
        "state": "let calls = 0;\nexport function count() { return ++calls; }\n",
    }
    main = modules(**sources)
    text = inlined(main)
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert printed_by_node(text, tmp_path / "one") == "6 4 import it as$1 2 1"
    (tmp_path / "package.json").write_text('{"type": "module"}')
    apart = subprocess.run(["node", str(main)], capture_output=True, text=True, check=True)
    assert apart.stdout.strip() == "6 4 import it as$1 2 1"


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"a": 'import { b } from "./b.js";', "b": 'import { a } from "./a.js";'}, "circle: a.js"),
        ({"a": "export default 3;"}, "a.js, line 1: cannot be inlined: export default 3;"),
        ({"a": "\nexport let x = 3;"}, "a.js, line 2: cannot be inlined"),
        ({"a": 'import x from "./b.js";'}, "cannot be inlined"),
        ({"a": 'import { x } from "https://example.org/b.js";'}, "cannot be inlined"),
        ({"a": 'export { "x y" as z };'}, "among its names"),
    ],
)
def test_what_cannot_be_inlined_raises(modules: Any, sources: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        inlined(modules(**sources))


def test_a_text_that_imports_is_refused() -> None:
    with pytest.raises(ValueError, match="pass its path"):
        inlined('import { a } from "./a.js";')
