"""The site: Sphinx reads the Markdown pages, and makes the reference from docstrings.

`make docs` builds it in build/docs; warnings are errors.
"""

from __future__ import annotations

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
autodoc_inherit_docstrings = False  # a method without words does what that of its base does
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
highlight_language = "text"  # of blocks that name none

html_theme = "furo"
html_title = f"gpunn {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
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


# -- formulas


def mathml(text: str, display: str) -> str:
    return convert(text, display=display)


def visit_inline(self: Any, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


# -- the reference: a page for each public module

API = DOCS / "reference" / "api"
FIRST = "The names of `gpunn` itself: models, tensors, backends, and the other modules."


def modules() -> dict[str, ModuleType]:
    """Return the public modules by name, each once, though Keras has some under two names."""
    found = {"gpunn": gpunn}
    for name in sorted(gpunn.__all__):
        module = getattr(gpunn, name)
        if isinstance(module, ModuleType) and module not in found.values():
            found[f"gpunn.{name}"] = module
    return found


def write_reference(app: Sphinx) -> None:
    shutil.rmtree(API, ignore_errors=True)
    API.mkdir()
    known: set[int] = set()
    found = modules()
    # The module that defines an object comes first: elsewhere it is only named.
    for name, module in sorted(found.items(), key=lambda pair: pair[0] == "gpunn"):
        (API / f"{name}.rst").write_text(page(name, module, known), encoding="utf-8")
    names = "\n".join(f"   {name}" for name in found)
    text = f"Public names\n============\n\n.. toctree::\n\n{names}\n"
    (API / "index.rst").write_text(text, encoding="utf-8")


def page(name: str, module: ModuleType, known: set[int]) -> str:
    about = inspect.getdoc(module) or FIRST
    lines = [name, "=" * len(name), "", about, "", f".. currentmodule:: {name}", ""]
    for each in sorted(n for n in module.__all__ if not n.startswith("_")):
        member = getattr(module, each)
        if isinstance(member, ModuleType):
            continue
        index = "" if id(member) not in known or not callable(member) else "   :no-index:"
        known.add(id(member))
        if isinstance(member, type):
            lines += [f".. autoclass:: {name}.{each}", "   :members:", index, ""]
        elif callable(member):
            lines += [f".. autofunction:: {name}.{each}", index, ""]
        else:
            lines += [f".. autodata:: {name}.{each}", "   :no-value:", index, ""]
    return "\n".join(lines)


def leave_out(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> Any:
    """Leave out a class's plain attributes: its arguments are described, the rest is for tests."""
    is_code = callable(member) or isinstance(member, property)
    return True if what == "class" and not is_code else None


def setup(app: Sphinx) -> None:
    app.connect("source-read", link_to_repository)
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-skip-member", leave_out)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None)
    )


html_math_renderer = "mathml"
