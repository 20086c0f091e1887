"""Write the exports of each package of parts, from the definitions in its modules: `make exports`.

A module exports the names in its ``__all__``; without one, the parts that it defines: public
classes that derive from the package's base class and are not abstract. The files are parsed, not
imported, so this also works while an ``__init__`` names something that no longer exists.
"""

from __future__ import annotations

import ast
import itertools
import runpy
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parents[1] / "gpunn"
HEADER = "# Below the docstring: written by `make exports` from the modules of this folder.\n"
WIDTH = 100
snake_case = runpy.run_path(str(PACKAGE / "common" / "names.py"))["snake_case"]


class Part(NamedTuple):
    """A class registered by its name, and its aliases."""

    module: str
    name: str
    aliases: tuple[str, ...]


def called_object(part: Part) -> str:
    """Return ``silu = swish = Silu()``: an object that is called like a function."""
    names = [snake_case(part.name), *filter(str.islower, part.aliases)]
    return f"{' = '.join(names)} = {part.name}()"


def row_function(part: Part) -> str:
    """Return ``mean_squared_error = mse = MSE = row_function(MeanSquaredError)``, as in Keras."""
    return f"{' = '.join([snake_case(part.name), *part.aliases])} = row_function({part.name})"


def other_names(part: Part) -> str:
    """Return ``MaxPool2D = MaxPooling2D``: Keras has both."""
    return " = ".join([*part.aliases, part.name]) if part.aliases else ""


def nothing(part: Part) -> str:
    return ""


# The packages, and the names defined beside the class of each part.
PACKAGES: dict[str, Callable[[Part], str]] = {
    "activations": called_object,
    "callbacks": other_names,
    "layers": other_names,
    "losses": row_function,
    "metrics": nothing,
    "optimizers": nothing,
    "optimizers/schedules": nothing,
}
# Module and name of the function that makes the object beside a class, if it is not the class.
MAKE = {called_object: (".activation", "get"), row_function: (".loss", "row_function")}

# Names of a package that are defined in a higher layer, and where.
ABOVE = {
    "callbacks": {"Report": "gpunn.apps.reports"},
    "optimizers": {"LossScaleOptimizer": "gpunn.compat.loss_scaling"},
}

# Subfolders whose parts are exported by the package itself.
JOINED = (
    *(f"layers/{name}" for name in ("convolutional", "pictures", "preprocessing", "sequences")),
    "optimizers/by_weight",
)


def assigned(body: Iterable[ast.stmt], name: str) -> Any:
    """Return the literal that a module or a class assigns to ``name``; None without one."""
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


def parts(modules: Mapping[str, list[ast.stmt]]) -> Iterator[Part]:
    """Yield the parts that a package defines, without its base class, which sets ``_kind``."""
    classes = {
        node.name: (module, node)
        for module, body in modules.items()
        for node in body
        if isinstance(node, ast.ClassDef)
    }

    def derives(name: str) -> bool:
        """Whether the class is the base class, or derives from it."""
        if name not in classes:
            return False
        node = classes[name][1]
        bases = (ast.unparse(base) for base in node.bases)
        return bool(assigned(node.body, "_kind")) or any(map(derives, bases))

    for name, (module, node) in sorted(classes.items()):
        hidden = name.startswith("_") or assigned(node.body, "_abstract")
        if derives(name) and not hidden and not assigned(node.body, "_kind"):
            yield Part(module, name, assigned(node.body, "aliases") or ())


def rank(name: str) -> int:
    """Return the sort key: CONSTANTS come first, then Classes, then functions."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2


def strings(key: str, names: Iterable[str]) -> str:
    """Return an entry of a dictionary, ``"key": "name name",``, formatted as ruff does."""
    text = " ".join(sorted(names, key=lambda name: (rank(name), name.lower())))
    line = f'"{key}": "{text}",\n'
    if len(line) <= WIDTH - 12:
        return line
    pieces = textwrap.wrap(text, WIDTH - 20)
    quoted = [f'    "{piece} "\n' for piece in pieces[:-1]] + [f'    "{pieces[-1]}"\n']
    return "".join([f'"{key}": (\n', *quoted, "),\n"])


def dictionary(entries: Mapping[str, Iterable[str]]) -> str:
    """Return ``{...},`` as an argument of a call in a block."""
    inside = "".join(strings(key, names) for key, names in entries.items())
    return textwrap.indent(f"{{\n{textwrap.indent(inside, '    ')}}},\n", " " * 8)


def statements(folder: Path) -> str:
    """Return the imports of a package, and where its names are defined."""
    name = folder.relative_to(PACKAGE).as_posix()
    joined = [inner for inner in JOINED if inner.rpartition("/")[0] == name]
    paths = [folder.glob("[!_]*.py"), *((PACKAGE / inner).glob("[!_]*.py") for inner in joined)]
    modules = {
        ".".join(path.relative_to(folder).with_suffix("").parts): ast.parse(
            path.read_text(encoding="utf-8")
        ).body
        for path in sorted(itertools.chain(*paths))
    }
    found = list(parts(modules))
    names = {module: assigned(body, "__all__") for module, body in modules.items()}
    for module, listed in names.items():
        if listed is None:
            names[module] = [part.name for part in found if part.module == module]
    beside = PACKAGES[name]
    lines = {part.name: line for part in found if (line := beside(part))}
    others = {of: line.split(" = ")[:-1] for of, line in lines.items()}
    inner = [
        path.parent.name
        for path in sorted(folder.glob("*/__init__.py"))
        if path.parent.relative_to(PACKAGE).as_posix() not in joined
    ]
    above = ABOVE.get(name, {})

    imports = [f"from . import {one} as {one}\n" for one in inner]
    for module in filter(names.get, names):
        # With whatever else the module defines: `__all__` says what the package exports.
        imports.append(f"from .{module} import *\n")
        if beside is row_function and module == "loss":  # which does not list it
            imports.append(f"from .loss import {row_function.__name__}\n")
    beside_lines = [*lines.values(), *(f"{one}: Any  # of a module above" for one in above)]
    block = ["".join(imports), "".join(f"{line}\n" for line in beside_lines)]
    homes = {
        f".{module}": ["=".join([one, *others.get(one, ())]) for one in listed]
        for module, listed in names.items()
        if listed
    }
    homes |= {f".{one}": [] for one in inner} | {module: [one] for one, module in above.items()}
    make = '        make=("{}", "{}"),\n'.format(*MAKE[beside]) if beside in MAKE else ""
    return (
        f"from typing import TYPE_CHECKING{', Any' if above else ''}\n\n"
        "from gpunn.common.importing.lazy import lazy\n\n"
        "if TYPE_CHECKING:\n"
        f"{textwrap.indent(chr(10).join(filter(None, block)), '    ')}"
        "else:\n"
        "    __getattr__, __dir__ = lazy(\n"
        "        __name__,\n"
        f"{dictionary(homes)}"
        f"{make}"
        f'        kind="{kind_of(modules.values())}",\n'
        "    )\n"
    )


def kind_of(modules: Iterable[list[ast.stmt]]) -> str:
    """Return the kind that the base class among these modules sets."""
    classes = (node for body in modules for node in body if isinstance(node, ast.ClassDef))
    return next(kind for node in classes if (kind := assigned(node.body, "_kind")))


def written(folder: Path) -> str:
    """Return the whole ``__init__.py`` of a package: its current docstring and updated exports."""
    source = (folder / "__init__.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source), clean=False)
    below = statements(folder)
    checks = "F403, F405" if " = " in below.partition("else:")[0] else "F403"
    return f'{HEADER}# ruff: noqa: {checks}\n"""{text}"""\n\n{below}'


def main(*_: Any) -> None:
    for name in PACKAGES:
        path = PACKAGE / name / "__init__.py"
        path.write_text(written(path.parent), encoding="utf-8")


if __name__ == "__main__":
    main()
