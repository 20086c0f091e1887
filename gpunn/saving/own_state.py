"""What layers and models save by methods of their own, as in Keras: arrays, and files.

A class may replace `save_own_variables` and `load_own_variables`, and define ``save_assets`` and
``load_assets``. Files of models, of weights and checkpoints hold the arrays; files of models and
checkpoints hold the assets, too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.common.names import listed, warn
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
    if not state and not any(map(saves_itself, _inside(model))):
        return
    from .keras_format.places import places

    found, state = places(model), state or {}
    wanted = {path for path, (holder, _) in found.items() if saves_itself(holder)}
    if different := sorted(wanted ^ set(state)):
        warn(f"{model.name}: file and model do not share what is saved by methods of the classes, "
             f"which stays as it is: {listed(different)}.")  # fmt: skip
    for path in found:
        if path in wanted and path in state:
            holder = found[path][0]
            load_variables(holder, state[path]["variables"])
            assets = state[path]["assets"]
            load_assets(holder, {name: data.tobytes() for name, data in assets.items()})


def check_own_state(state: Any, allow_nan: bool = True) -> None:
    """Check an entry of a file that `own_state` should have returned.

    Raises:
        ValueError: naming what in it is missing, or is no array; or, unless ``allow_nan``, what is
            not finite.
    """
    for path, entry in (state or {}).items():
        if not isinstance(entry, dict) or set(entry) != {"variables", "assets"}:
            raise ValueError(f"the entry 'own_state/{path}' must hold 'variables' and 'assets'.")
        for kind, is_right in (("variables", _is_of_numbers), ("assets", _is_of_bytes)):
            arrays, place = entry[kind], f"own_state/{path}/{kind}"
            if not isinstance(arrays, dict):
                raise ValueError(f"the entry {place!r} must hold arrays by their names.")
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray) or not is_right(array):
                    what = "numbers" if kind == "variables" else "bytes"
                    raise ValueError(f"the entry '{place}/{name}' must be an array of {what}.")
                if not allow_nan and array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise ValueError(f"the entry '{place}/{name}' holds NaN or infinity. Pass "
                                     f"allow_nan=True to load it anyway.")  # fmt: skip


def _is_of_numbers(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiub"


def _is_of_bytes(array: np.ndarray) -> bool:
    return array.dtype == np.uint8 and array.ndim == 1


@contextmanager
def weights_stay_if_refused(model: Any) -> Iterator[None]:
    """A context in which weights are loaded: an error in it leaves them as they were.

    Only methods of classes raise errors there: without these, nothing is copied.
    """
    copies = model._has_values and any(map(saves_itself, _inside(model)))
    before = model.get_weights() if copies else None
    try:
        yield
    except BaseException:
        if before is not None:
            model.set_weights(before)
        raise


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
    """Let a layer or model load its arrays.

    Raises:
        ValueError: naming one that it asks for and that is not there.
    """
    try:
        holder.load_own_variables(dict(arrays))
    except KeyError as error:
        if error.args and error.args[0] in arrays:
            raise
        raise ValueError(
            f"{holder.name}.load_own_variables asks for {error}, which the file lacks; it has "
            f"{list(arrays)}."
        ) from error


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
