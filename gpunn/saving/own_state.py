"""What layers and models save by methods of their own, as in Keras: arrays, and files.

A class may replace `save_own_variables` and `load_own_variables`, and define ``save_assets`` and
``load_assets``. Files of models, of weights and checkpoints hold the arrays; files of models and
checkpoints hold the assets, too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.common.overrides import replaces

SAVES = "save_own_variables", "save_assets"
LOADS = "load_own_variables", "load_assets"
State = dict[str, dict[str, dict[str, np.ndarray]]]


def saves_itself(holder: Any, methods: Iterable[str] = (*SAVES, *LOADS)) -> bool:
    """Whether the class of a layer or model saves or loads by a method of its own."""
    return any(replaces(type(holder), method) for method in methods)


def own_state(model: Any) -> State:
    """Return what the parts of a model save by their own methods, by their place in it."""
    if not any(map(saves_itself, _inside(model))):
        return {}
    from .keras_format.places import places  # which few models need

    found: State = {}
    for path, (holder, _) in places(model).items():
        if saves_itself(holder):
            assets = {name: np.frombuffer(data, np.uint8) for name, data in assets_of(holder)}
            found[path] = {"variables": variables_of(holder), "assets": assets}
    return found


def load_own_state(model: Any, state: Any) -> None:
    """Let the parts of a model load what `own_state` has returned."""
    if not state:
        return
    from .keras_format.places import places

    for path, (holder, _) in places(model).items():
        if saves_itself(holder, LOADS) and path in state:
            load_variables(holder, state[path]["variables"])
            assets = state[path]["assets"]
            load_assets(holder, {name: data.tobytes() for name, data in assets.items()})


def _inside(holder: Any) -> Iterable[Any]:
    yield holder
    for inner in holder._layers_inside:
        yield from _inside(inner)


def variables_of(holder: Any) -> dict[str, np.ndarray]:
    """Return the arrays that a layer or model saves.

    Raises:
        ValueError: naming an entry that is no array of numbers.
    """
    store: dict[str, Any] = {}
    holder.save_own_variables(store)
    arrays = {str(name): np.asarray(value) for name, value in store.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(
                f"{holder.name}.save_own_variables: store[{name!r}] must be an array of numbers; "
                f"got {store[name]!r}. Texts belong in a file of save_assets(folder)."
            )
    return arrays


def load_variables(holder: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Let a layer or model load its arrays."""
    holder.load_own_variables(dict(arrays))


def assets_of(holder: Any) -> list[tuple[str, bytes]]:
    """Return the files that a layer or model saves, with their names in its folder."""
    if not hasattr(holder, "save_assets"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        holder.save_assets(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in files]


def load_assets(holder: Any, files: Mapping[str, bytes]) -> None:
    """Let a layer or model load its files from a folder, which is removed afterwards.

    Raises:
        ValueError: for a name that leads out of the folder.
    """
    if not hasattr(holder, "load_assets"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = os.path.normpath(os.path.join(folder, name))
            if os.path.isabs(name) or not path.startswith(folder + os.sep):
                raise ValueError(f"the file {name!r} of {holder.name} is not inside its folder.")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(data)
        holder.load_assets(folder)
