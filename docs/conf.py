"""The site: Sphinx reads the Markdown pages, and makes the reference from docstrings.

`make docs` builds it in build/docs; warnings are errors.
"""

from __future__ import annotations

import functools
import inspect
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))
import gpunn  # noqa: E402
from gpunn.apps.web.playground import playground_page  # noqa: E402
from gpunn.common.importing.stability import stability_of  # noqa: E402

PROJECT = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = PROJECT["urls"]["Source"]

project = "gpunn"
author = PROJECT["authors"][0]["name"]
copyright = author
version = release = gpunn.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["**/README.md"]

myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page may begin below another's heading

default_role = "py:obj"  # `gpunn.layers.Dense` in a docstring is a link, other words are code
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # arguments are described in words
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # a method without words does what its base's method does
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
highlight_language = "text"  # of blocks that name none

html_theme = "furo"
html_title = f"gpunn {release}"
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"  # of `setup`
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("copy.js", {"defer": "defer"})]
html_theme_options = {
    "source_repository": f"{SOURCE}/",
    "source_branch": "main",
    "source_directory": "docs/",
    "navigation_with_keys": True,
}


# -- links to files of the repository, which are no pages

OUTSIDE = re.compile(r"\]\(\.\./\.\./([^)\s]+)\)")


def link_to_repository(app: Sphinx, name: str, text: list[str]) -> None:
    """Turn ``](../../examples/xor.py)`` into a link to the code host."""
    text[0] = OUTSIDE.sub(rf"]({SOURCE}/blob/main/\1)", text[0])


# -- the playground: on the front page, its picture becomes a frame

PICTURE = re.compile(r"!\[([^]]+)\]\(images/playground\.png\)")
SHOWN = "playground.html#data=rings&amp;net=6:tanh"
FRAME = rf'<iframe class="playground" src="{SHOWN}" title="\1"></iframe>'


def show_playground(app: Sphinx, name: str, text: list[str]) -> None:
    if name == app.config.root_doc:
        text[0] = PICTURE.sub(FRAME, text[0])


def write_playground(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "playground.html").write_text(playground_page(), encoding="utf-8")


# -- formulas


def visit_inline(self: Any, node: nodes.math) -> None:
    self.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


# -- the reference: a page for each public module

API = DOCS / "reference" / "api"
FIRST = "The names of `gpunn` itself. Those that a module has too are described there."


@functools.cache
def modules() -> dict[str, ModuleType]:
    """Return the public modules by name, each once, though Keras has some under two names."""
    found: dict[str, ModuleType] = {}
    waiting = [("gpunn", gpunn)]
    for name, module in waiting:
        if module not in found.values():
            found[name] = module
            public = [n for n in sorted(module.__all__) if not n.startswith("_")]
            inner = [(f"{name}.{n}", getattr(module, n)) for n in public]
            waiting += [(n, m) for n, m in inner if isinstance(m, ModuleType)]
    return found


def write_reference(app: Sphinx) -> None:
    """Write a page for each module that has something of its own."""
    shutil.rmtree(API, ignore_errors=True)
    API.mkdir()
    known: set[int] = set()
    names = []
    # `gpunn` comes last: what a module has is only named there.
    for name, module in sorted(modules().items(), key=lambda pair: (pair[0] == "gpunn", pair[0])):
        members = members_of(module)
        if all(id(member) in known for member in members.values() if callable(member)):
            continue  # Keras's other names, such as ops.nn
        (API / f"{name}.rst").write_text(page(name, module, members, known), encoding="utf-8")
        known |= {id(member) for member in members.values()}
        names.append(name)
    listed = "\n".join(f"   {name}" for name in sorted(names))
    text = f"Public names\n============\n\n.. toctree::\n\n{listed}\n"
    (API / "index.rst").write_text(text, encoding="utf-8")


def members_of(module: ModuleType) -> dict[str, Any]:
    public = {n: getattr(module, n) for n in sorted(module.__all__) if not n.startswith("_")}
    return {n: member for n, member in public.items() if not isinstance(member, ModuleType)}


def page(name: str, module: ModuleType, members: dict[str, Any], known: set[int]) -> str:
    about = inspect.getdoc(module) or FIRST
    lines = [name, "=" * len(name), "", about, "", f".. currentmodule:: {name}", ""]
    names: dict[int, list[str]] = {}  # of the same object, its own first
    for each, member in members.items():
        others = names.setdefault(id(member) if callable(member) else id(each), [])
        others.insert(0 if getattr(member, "__name__", "") == each else len(others), each)
    ordered = sorted(
        names.values(), key=lambda n: (not isinstance(members[n[0]], type), n[0].lower())
    )
    for each, *others in ordered:
        member = members[each]
        index = "   :no-index:" if id(member) in known and callable(member) else ""
        if isinstance(member, type):
            lines += [f".. autoclass:: {name}.{each}", "   :members:", inherited(member), index, ""]
        elif callable(member):
            lines += [f".. autofunction:: {name}.{each}", index, ""]
        else:
            lines += [f".. autodata:: {name}.{each}", "   :no-value:", index, ""]
        if others:
            lines += [f"   Other names: ``{'``, ``'.join(others)}``.", ""]
    return "\n".join(lines)


def inherited(cls: type) -> str:
    """Return the option that shows what a class has of bases that are not public themselves."""
    public = [base for base in cls.__mro__[1:] if is_public(base)]
    described = {base.__name__ for each in public for base in each.__mro__} | {"object"}
    return f"   :inherited-members: {', '.join(sorted(described))}"


def is_public(cls: type) -> bool:
    return any(cls is getattr(module, cls.__name__, None) for module in modules().values())


def mark(app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]) -> None:
    """Say of a name whether it is stable; of a stable class's members only if one is not."""
    try:
        stability = stability_of(name)
    except (AttributeError, ImportError):  # an attribute of instances only
        return
    if stability == "experimental":
        lines[:0] = ["*Experimental.*", ""]
    elif what in ("class", "function", "exception"):
        lines += ["", "*Stable.*", ""]


def leave_out_links(app: Sphinx, name: str, template: str, context: Any, tree: Any) -> None:
    """Leave out the links to a page's source where it is written here: the repository lacks it."""
    if (DOCS / name).is_relative_to(API):
        context["page_source_suffix"] = ""


def leave_out(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> Any:
    """Leave out a class's plain attributes: its arguments are described, the rest is for tests."""
    is_code = callable(member) or isinstance(member, property)
    return True if what == "class" and not is_code else None


def setup(app: Sphinx) -> None:
    app.connect("source-read", link_to_repository)
    app.connect("source-read", show_playground)
    app.connect("builder-inited", write_reference)
    app.connect("html-page-context", leave_out_links)
    app.connect("build-finished", write_playground)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", mark)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None)
    )

