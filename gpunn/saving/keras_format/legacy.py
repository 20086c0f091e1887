"""Legacy HDF5 files of Keras 2 and Keras 3: whole models (``model.h5``), and weights alone.

The root holds JSON in attributes, ``model_config`` and ``training_config``; the group
``model_weights`` holds a group for each layer, and ``optimizer_weights`` the optimizer's state.
A file of weights is such a group. Attributes list the names in order: ``layer_names``, and
``weight_names`` of each layer; long lists are in parts, ``layer_names0`` and so on.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count, takewhile
from typing import Any

import numpy as np

from gpunn.backends.contract.control import BATCHES, UPDATES
from gpunn.common import registry
from gpunn.common.atomic_files import Path
from gpunn.common.names import warn
from gpunn.core.storage import Parameter, with_weight_limit

from . import archive, graphs, states
from .legacy_configs import compile_config, model_entry
from .strings import check_strings

TEXTS = ("model_config", "training_config", "keras_version")
NAMES = ("layer_names", "weight_names")
TOP = "top_level_model_weights"
_SLOTS = {"m": "m", "v": "v", "vhat": "v_max", "momentum": "momentum", "rms": "velocity",
          "mg": "average_gradient", "accumulator": "accumulator"}
"""Our names for the slots of TensorFlow's optimizers before Keras 2.11."""


class _File:
    """A file that is open for reading, and its size in bytes."""

    def __init__(self, file: Any, size: int) -> None:
        self.root, self.size = file, size

    @property
    def weights(self) -> Any:
        """The group with the groups of layers."""
        root = self.root
        if not _listed(root, "layer_names") and "model_weights" in root:
            return self.group(root, "model_weights")
        return root

    def group(self, parent: Any, name: str) -> Any:
        found = parent.get(name)
        if not hasattr(found, "keys"):
            raise ValueError(f"the file has no group {name!r} in {parent.name!r}.")
        return found

    def text(self, name: str, most: int) -> str | None:
        """Return the text in an attribute of the file, of at most so many bytes."""
        if name not in self.root.attrs:
            return None
        value = self._attribute(self.root, name)
        value = value.decode() if isinstance(value, bytes) else value
        if not isinstance(value, str):
            raise ValueError(f"the attribute {name!r} is no text: {value!r:.60}.")
        if len(value) > most:
            raise ValueError(
                f"the attribute {name!r} has {len(value):,} bytes, but max_header is {most:,}. If "
                f"you trust the source, pass max_header={len(value)}."
            )
        return value

    def document(self, name: str, most: int) -> dict[str, Any] | None:
        """Return the JSON in an attribute of the file."""
        text = self.text(name, most)
        try:
            found = None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the attribute {name!r} is no JSON: {error}.") from None
        if found is not None and not isinstance(found, dict):
            raise ValueError(f"the attribute {name!r} holds no dictionary.")
        return found

    def names(self, group: Any, name: str) -> list[str]:
        """Return a list of names, which may lie in several attributes."""
        several = (f"{name}{number}" for number in count())
        parts = [name] if name in group.attrs else takewhile(group.attrs.__contains__, several)
        found = list[str]()
        for part in parts:
            values = self._attribute(group, part)
            if not isinstance(values, np.ndarray) or values.ndim != 1:
                raise ValueError(f"the attribute {part!r} of {group.name!r} is no list of names.")
            found += [x.decode() if isinstance(x, bytes) else x for x in values.tolist()]
        if not all(isinstance(x, str) for x in found):
            raise ValueError(f"the attribute {name!r} of {group.name!r} holds more than names.")
        return found

    def _attribute(self, group: Any, name: str) -> Any:
        about = group.attrs.get_id(name)
        if math.prod(about.shape) * about.dtype.itemsize > self.size:
            raise ValueError(f"the attribute {name!r} would take more bytes than the file has.")
        return group.attrs[name]

    def entries(self, group: Any) -> list[tuple[str, Any]]:
        """Return the arrays of a group with their names in order, none of them read yet."""
        found = []
        for name in self.names(group, "weight_names"):
            entry = group.get(name)
            if getattr(entry, "shape", None) is None or entry.dtype.kind not in "fiub":
                raise ValueError(f"the file has no array of numbers {name!r} in {group.name!r}.")
            size = entry.dtype.itemsize * math.prod(entry.shape)
            packed = states.MOST_EXPANSION if entry.chunks else 1
            if size > packed * self.size:
                raise ValueError(
                    f"the array {name!r} of shape {entry.shape} would take more bytes than the "
                    f"file has."
                )
            found.append((f"{group.name}/{name}".replace("//", "/"), entry))
        return found


def _listed(group: Any, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


def _compile(model: Any, config: Mapping[str, Any]) -> None:
    try:
        archive.compile_model(model, config)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{error} Or load the model with compile=False, and compile it here."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        check_strings(data, (*TEXTS, *NAMES, "name"))
        with states.opened(stream) as file:
            yield _File(file, len(data))


def load_model(
    path: Path,
    custom_objects: Mapping[str, Any],
    compile: bool,
    allow_nan: bool,
    max_header: int,
    check: Callable[[dict[str, Any]], None],
) -> Any:
    """Return the model in a legacy file; arguments as in `archive.load_model`.

    Raises:
        ValueError: naming what is missing, too large, or not in gpunn.
    """
    with _opened(path) as file:
        config = file.document("model_config", max_header)
        if config is None:
            raise ValueError(
                "it is an HDF5 file without a 'model_config', such as one of weights alone. For "
                "weights, build the model, and use model.load_weights."
            )
        old = _is_old(file.text("keras_version", max_header))
        entry = registry.also(dict(custom_objects), lambda: model_entry(config, old))
        training = file.document("training_config", max_header) if compile else None
        compiled = None if training is None else compile_config(training, old)
        check({"config": entry["config"], "compile": compiled})
        stored = file.group(file.root, "model_weights")

        def build() -> Any:
            model = graphs.model_from_keras(entry)
            shape = entry["config"].get("build_input_shape")
            if not model.built and shape is not None:
                model.build(shape)
            _set_by_place(file, stored, model, allow_nan, skip_mismatch=False, named=True)
            return model

        def restored() -> Any:
            model = with_weight_limit(states.elements(stored), build)
            if compiled is not None:
                _compile(model, compiled)
                _set_optimizer(file, model)
            elif compile:
                warn(
                    f"{model.name}: the file does not say how the model was compiled; compile it "
                    f"before fit or evaluate."
                )
            return model

        return registry.also(dict(custom_objects), restored)


def load_weights(
    model: Any, path: Path, allow_nan: bool, by_name: bool, skip_mismatch: bool
) -> None:
    """Set a model's weights from an HDF5 file of Keras's, legacy or not.

    Args:
        by_name: Whether each layer takes the weights of the layer of its name, if there is one.
        skip_mismatch: Whether weights of another shape are left as they are, with a warning.
    """
    model._require_values("load_weights")
    with _opened(path) as file:
        # Without names of layers it is a .weights.h5 file of Keras 3.
        if not (_listed(file.root, "layer_names") or "model_weights" in file.root):
            if by_name:
                raise ValueError(
                    "by_name=True is only for legacy .h5 files of Keras: leave it out."
                )
            states.read(file.root, model, allow_nan, skip_mismatch)
            return
        set_them = _set_by_name if by_name else _set_by_place
        set_them(file, file.weights, model, allow_nan, skip_mismatch)


def _is_old(version: str | None) -> bool:
    """Whether Keras 2, or an earlier one, has written a file."""
    return version is None or version.startswith(("0.", "1.", "2."))


# -- weights


def _set_by_place(
    file: _File, group: Any, model: Any, allow_nan: bool, skip_mismatch: bool, named: bool = False
) -> None:
    """Set the weights of a model, whose layers take the file's in this order.

    Args:
        named: Whether the file has described the model, so that the layers have its names.
    """
    own = [layer for layer in model.layers if layer.weights]
    stored = {}
    for name in file.names(group, "layer_names"):
        entries = file.entries(file.group(group, name))
        if entries:
            stored[name] = entries
    if len(own) != len(stored):
        raise ValueError(
            f"the file has weights of {len(stored)} layers, {_few(stored)}; the model has "
            f"{len(own)} such layers, {_few(layer.name for layer in own)}."
        )
    names = [layer.name for layer in own]
    if not named or set(names) != stored.keys():
        names = list(stored)
    found = dict[int, np.ndarray]()
    for name, layer in zip(names, own, strict=True):
        entries = _without_count(layer, stored[name])
        _match(layer, name, entries, found, allow_nan, skip_mismatch)
    _set_top(file, group, model, found, allow_nan, skip_mismatch, by_name=False)
    states.assign(model, found)


def _set_by_name(
    file: _File, group: Any, model: Any, allow_nan: bool, skip_mismatch: bool
) -> None:
    """Set the weights of the layers that a file has by name."""
    own = {layer.name: layer for layer in model.layers}
    found = dict[int, np.ndarray]()
    for name in file.names(group, "layer_names"):
        if name in own:
            entries = _without_count(own[name], file.entries(file.group(group, name)))
            if skip_mismatch and len(entries) != len(own[name].weights):
                _warn_of(own[name], f"the file has {len(entries)} arrays of it")
                continue
            _match(own[name], name, entries, found, allow_nan, skip_mismatch)
    _set_top(file, group, model, found, allow_nan, skip_mismatch, by_name=True)
    states.assign(model, found)


def _set_top(
    file: _File, group: Any, model: Any, found: dict[int, np.ndarray], allow_nan: bool,
    skip_mismatch: bool, by_name: bool,
) -> None:
    """Find the weights that a model has besides its layers' weights."""
    if TOP not in group:
        return
    entries = file.entries(file.group(group, TOP))
    own = list(model._own_parameters)
    if by_name and skip_mismatch and len(entries) != len(own):
        _warn_of(model, f"the file has {len(entries)} arrays of the model itself")
        return
    _match_all(model.name, own, "the model itself", entries, found, allow_nan, skip_mismatch)


def _without_count(layer: Any, entries: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Leave out the number of samples that `Normalization` of Keras 2 has seen."""
    counts = len(entries) == 3 and entries[-1][0].rpartition("/")[2].startswith("count")
    return entries[:2] if counts and type(layer).__name__ == "Normalization" else entries


def _match(
    layer: Any, name: str, entries: list[Any], found: dict[int, np.ndarray], allow_nan: bool,
    skip_mismatch: bool,
) -> None:
    own = [*layer.trainable_weights, *layer.non_trainable_weights]  # the order of legacy files
    _match_all(layer.name, own, name, entries, found, allow_nan, skip_mismatch)


def _match_all(
    own_name: str, own: list[Parameter], name: str, entries: list[tuple[str, Any]],
    found: dict[int, np.ndarray], allow_nan: bool, skip_mismatch: bool,
) -> None:
    """Read the arrays of a layer, which must have the shapes of its parameters."""
    if len(entries) != len(own):
        raise ValueError(
            f"the file has {len(entries)} arrays of {name!r}; {own_name!r} has {len(own)}: "
            f"{[(p.name, p.shape) for p in own]}."
        )
    for (place, entry), p in zip(entries, own, strict=True):
        if entry.shape != tuple(p.shape):
            what = f"the file has the shape {entry.shape} at {place!r}; {p.path} has the shape"
            if not skip_mismatch:
                raise ValueError(f"{what} {tuple(p.shape)}.")
            warn(f"{p.path} stays as it is: {what} {tuple(p.shape)}.")
            continue
        found[id(p)] = states.loaded(entry, place, allow_nan)


def _warn_of(layer: Any, what: str) -> None:
    shapes = [(p.name, p.shape) for p in layer.weights]
    warn(f"{layer.name} stays as it is: {what}; it has {len(shapes)}: {shapes}.")


def _few(names: Any) -> str:
    names = list(names)
    return f"{', '.join(map(repr, names[:6]))}{', ...' if len(names) > 6 else ''}" or "none"


# -- the state of the optimizer


def _set_optimizer(file: _File, model: Any) -> None:
    """Set the state of the optimizer; if it has another form, warn and let it begin anew."""
    if "optimizer_weights" not in file.root or not model.built:
        return
    try:
        entries = file.entries(file.group(file.root, "optimizer_weights"))
        read = _read_optimizer([(name, entry) for name, entry in entries], model)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        read, why = False, f": {error}"
    else:
        why = " has another form than here"
    if not read:
        warn(
            f"{model.name}: the state of the optimizer in the file{why}; the optimizer begins anew."
        )


def _read_optimizer(entries: list[tuple[str, Any]], model: Any) -> bool:
    """Set the state of an optimizer from arrays in Keras's order, or in TensorFlow's."""
    if len(entries) <= 2 and model.optimizer.steps_done == 0:  # it was not used
        steps = [entry for _, entry in entries[:1] if entry.shape == ()]
        return not steps or int(steps[0][()]) == 0 or states.slot_names(model) == []
    by_slot = _by_slot(entries)
    if by_slot is not None:
        return _set_by_slot(entries[0][1], by_slot, model)
    group = {str(number): entry for number, (_, entry) in enumerate(entries)}
    return bool(states.read_optimizer({"optimizer/vars": group}, model))


def _by_slot(entries: list[tuple[str, Any]]) -> dict[str, list[Any]] | None:
    """Return the arrays by slot if they have TensorFlow's names, ``Adam/dense/kernel/m:0``."""
    found: dict[str, list[Any]] = {}
    for name, entry in entries[1:]:
        slot = name.rpartition("/")[2].partition(":")[0]
        if slot not in _SLOTS:
            return None
        found.setdefault(_SLOTS[slot], []).append(entry)
    first = entries[0][0].rpartition("/")[2].partition(":")[0] if entries else ""
    return found if first == "iter" else None


def _set_by_slot(iterations: Any, found: Mapping[str, list[Any]], model: Any) -> bool:
    tensors, values = model.training_state()
    names = states.slot_names(model)
    arrays = {slot: iter(entries) for slot, entries in found.items()}
    read = {}
    for name in names or ():
        slot = name.split("/")[1]
        entry = next(arrays.get(slot, iter(())), None)
        if entry is None or entry.shape != tensors[name].shape:
            return False
        read[name] = entry[()]
    if names is None or any(next(rest, None) is not None for rest in arrays.values()):
        return False
    tensors |= read
    tensors["counters"][UPDATES] = tensors["counters"][BATCHES] = int(iterations[()])
    model.set_training_state(tensors, values)
    return True
