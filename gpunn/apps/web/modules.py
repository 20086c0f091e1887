"""Bundle ES modules into one script, since a page opened from disk cannot import modules.

The modules also run unbundled in a browser. These forms are supported, at the beginning of a line:

    import { a, b as c } from "./other.js";
    import * as other from "./other.js";
    export function f() {}   export async function g() {}   export class C {}   export const x = 1;
    export { d, e as f };

Each imported module becomes a function that is called once and returns its exports. An export thus
has the value of its name at the end of the module, and only the first module may ``await``.
Comments of the form ``/** ... */`` that begin a line and end one are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

STATEMENT = re.compile(r"^(?:import|export)\b", re.MULTILINE)
IMPORT = re.compile(
    r"""import\s+(?:\{(?P<names>[^{}]*)\}|\*\s+as\s+(?P<all>[\w$]+))\s+from\s+"""
    r"""(?P<quote>["'])(?P<source>\.{1,2}/[^"'\n]+)(?P=quote);"""
)
EXPORT = re.compile(
    r"export\s+(?:(?P<kind>(?:async\s+)?function\s*\*?|class|const)\s+(?P<name>[\w$]+)"
    r"|\{(?P<names>[^{}]*)\};)"
)
COMMENT = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*\n", re.MULTILINE | re.DOTALL)
PAIR = re.compile(r"([\w$]+)(?:\s+as\s+([\w$]+))?")


def inlined(script: str | Path) -> str:
    """Return a module, given by its path or as a text that imports nothing, with everything that it
    imports, as the text of one module.

    Raises:
        ValueError: for an import or export in an unsupported form, or for circular imports.
        OSError: if a file cannot be read.
    """
    done: dict[Path, str] = {}
    if isinstance(script, Path):
        first = script.resolve()
        return "\n".join([*_before(first, done, []), _rewritten(first, done)[0]])
    if STATEMENT.search(script):
        raise ValueError("A script passed as text cannot import or export; pass its path.")
    return script


def without_comments(module: str) -> str:
    """Return a module without the comments that document its types, a third of its text.

    >>> without_comments("/** @param {number} x */\\nconst f = (x) => x; /** kept */\\n")
    'const f = (x) => x; /** kept */\\n'
    """
    return COMMENT.sub("", module)


def _before(path: Path, done: dict[Path, str], above: list[Path]) -> list[str]:
    """Return the modules that the one at ``path`` imports, each after its own imports.

    ``done`` receives, for each, the name of the constant that holds its exports.
    """
    if path in above:
        circle = " -> ".join(p.name for p in [*above[above.index(path) :], path])
        raise ValueError(f"Modules import each other in a circle: {circle}.")
    sources = []
    for source in _sources(path):
        if source not in done:
            sources += _before(source, done, [*above, path])
            body, exports = _rewritten(source, done)
            done[source] = f"module${len(done) + 1}"
            sources.append(
                f"const {done[source]} = (() => {{ // {source.name}\n{body}\n"
                f"return Object.freeze({{ {', '.join(exports)} }});\n}})();"
            )
    return sources


def _sources(path: Path) -> list[Path]:
    text = path.read_text(encoding="utf-8")
    found = (IMPORT.match(text, statement.start()) for statement in STATEMENT.finditer(text))
    return [(path.parent / match["source"]).resolve() for match in found if match]


def _rewritten(path: Path, done: dict[Path, str]) -> tuple[str, list[str]]:
    """Return a module's text without import and export statements, and its exports."""
    text = path.read_text(encoding="utf-8")
    parts, exports, end = [], [], 0
    for statement in STATEMENT.finditer(text):
        begin = statement.start()
        if match := IMPORT.match(text, begin):
            module = done[(path.parent / match["source"]).resolve()]
            pairs = [] if match["all"] else _pairs(match["names"], path)
            named = ", ".join(f"{name}: {new}" if new else name for name, new in pairs)
            taken = match["all"] or f"{{ {named} }}"
            parts += [text[end:begin], f"const {taken} = {module};"]
        elif match := EXPORT.match(text, begin):
            if match["name"]:
                exports.append(match["name"])
                parts += [text[end:begin], f"{match['kind']} {match['name']}"]
            else:
                pairs = _pairs(match["names"], path)
                exports += [f"{new}: {name}" if new else name for name, new in pairs]
                parts.append(text[end:begin])
        else:
            line = text.count("\n", 0, begin) + 1
            shown = text[begin:].splitlines()[0]
            raise ValueError(f"{path.name}, line {line}: cannot be inlined: {shown}")
        end = match.end()
    return "".join([*parts, text[end:]]), exports


def _pairs(names: str, path: Path) -> list[tuple[str, str | None]]:
    """Parse ``a, b as c`` into ``[("a", None), ("b", "c")]``."""
    found = []
    for name in filter(None, map(str.strip, names.split(","))):
        match = PAIR.fullmatch(name)
        if match is None:
            raise ValueError(f"{path.name}: cannot be inlined: {name!r} among its names.")
        found.append((match[1], match[2]))
    return found
