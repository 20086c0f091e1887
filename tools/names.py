"""Write the list of all public names, each stable or experimental: `make exports`.

``--check`` writes nothing, prints how the list differs from the program, and fails if it does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from difflib import unified_diff
from inspect import isclass, isfunction
from pathlib import Path
from types import ModuleType

import gpunn
from gpunn.common.importing.renamed import Renamed
from gpunn.common.importing.stability import stability_of

LIST = Path(__file__).parents[1] / "tests" / "project" / "public_names.txt"
# Classes whose attributes are listed too: those that users subclass or whose objects they use.
CLASSES = (
    "gpunn.Model", "gpunn.Sequential", "gpunn.layers.Layer", "gpunn.optimizers.Optimizer",
    "gpunn.losses.Loss", "gpunn.metrics.Metric", "gpunn.callbacks.Callback",
)  # fmt: skip
HEADER = "# Written by `make exports`: all public names, and how stable each is.\n"


def names(module: ModuleType = gpunn, path: str = "gpunn") -> Iterator[str]:
    """Yield all public names of a module and of the public modules in it."""
    for name in dir(module):
        if name.startswith("_"):
            continue
        found, full = getattr(module, name), f"{path}.{name}"
        yield full
        if isinstance(found, ModuleType) and found is not gpunn:
            yield from names(found, full)
        elif full in CLASSES:
            yield from (f"{full}.{one}" for one in attributes(found))


def attributes(cls: type) -> Iterator[str]:
    """Yield the public attributes of a class, methods as ``name()``, without old names."""
    for name in dir(cls):
        entry = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
        if not name.startswith("_") and not isinstance(entry, Renamed):
            method = isinstance(entry, (classmethod, staticmethod)) or isfunction(entry)
            yield f"{name}()" if method and not isclass(entry) else name


def written() -> str:
    """Return the text of the list."""
    lines = (f"{name} {stability_of(name.removesuffix('()'))}\n" for name in sorted({*names()}))
    return HEADER + "".join(lines)


def difference() -> str:
    """Return how the list differs from the program, as lines with + and -; "" if it is true."""
    before = LIST.read_text(encoding="utf-8") if LIST.exists() else ""
    lines = unified_diff(before.splitlines(True), written().splitlines(True), "listed", "now", n=0)
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if the list is not true")
    if not parser.parse_args().check:
        LIST.write_text(written(), encoding="utf-8")
        return 0
    print(found := difference(), end="")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
