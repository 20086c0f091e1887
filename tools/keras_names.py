"""Write `tests/project/keras_names.txt`: the public names of the installed Keras, with its version.

    .venv/bin/python tools/keras_names.py

Each line is a name such as ``layers.Dense``. Names of its backend, and of modules that only other
frameworks have, are not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

PLACE = Path(__file__).parents[1] / "tests" / "project" / "keras_names.txt"


def public_names(module: Any, path: str = "") -> Iterator[str]:
    """Yield the public names of a module and of the modules in it, as paths."""
    for name in sorted(vars(module)):
        if name.startswith("_"):
            continue
        value = getattr(module, name)
        here = f"{path}.{name}" if path else name
        if isinstance(value, ModuleType):
            if value.__name__.startswith("keras.") and not value.__name__.startswith("keras.src"):
                yield here
                yield from public_names(value, here)
        else:
            yield here


def main() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    names = sorted(public_names(keras))
    PLACE.write_text("\n".join([f"# Keras {keras.__version__}", *names, ""]), "utf-8")


if __name__ == "__main__":
    main()
