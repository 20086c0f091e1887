"""Write the public names of the installed Keras, with its version, to `tests/project`.

    .venv/bin/python tools/keras_names.py

Each line of `keras_names.txt` is a name such as ``layers.Dense``. Names of its backend, and of
modules that only other frameworks have, are not there. Each line of `keras_members.txt` is a class,
and the attributes that its objects have besides those of the class before the comma.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parents[1] / "tests" / "project"
# By module: the class that the others there are derived from.
BASES = {
    "layers": "Layer", "losses": "Loss", "metrics": "Metric", "optimizers": "Optimizer",
    "callbacks": "Callback", "initializers": "Initializer", "regularizers": "Regularizer",
    "constraints": "Constraint", "models": "Model",
}  # fmt: skip


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


def members(keras: Any) -> Iterator[str]:
    """Yield the classes with their public attributes, but for those of PyTorch's modules."""
    import torch

    for module, base in BASES.items():
        classes = vars(getattr(keras, module))
        common = _public(classes[base]) - {*dir(torch.nn.Module), "torch_params"}
        yield f"{module}.{base}: {' '.join(sorted(common))}"
        for name, cls in sorted(classes.items()):
            if isinstance(cls, type) and issubclass(cls, classes[base]) and name != base:
                own = _public(cls) - _public(classes[base])
                if own:
                    yield f"{module}.{name}, {base}: {' '.join(sorted(own))}"


def _public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def main() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    lists = {"names": sorted(public_names(keras)), "members": list(members(keras))}
    for what, lines in lists.items():
        text = "\n".join([f"# Keras {keras.__version__}", *lines, ""])
        (FOLDER / f"keras_{what}.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
