"""``.keras`` archives and ``.weights.h5`` files.

An archive is a zip file: ``config.json`` describes the model, ``model.weights.h5`` holds its
weights and the optimizer's state. Keras ignores ``gpunn.json``, which holds what only gpunn knows.
Nothing in a file is executed or imported, and nothing is read that is larger than the model.
"""

from __future__ import annotations

import datetime
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.atomic_files import Path, atomic_write, make_folder_of
from gpunn.common.names import warn
from gpunn.common.nested import replaced
from gpunn.common.overrides import replaces
from gpunn.core.storage import with_weight_limit
from gpunn.optimizers.kept import Exclusion
from gpunn.optimizers.optimizer import EXCLUDED

from ..files import not_json
from ..own_state import assets_of, load_assets, saves_itself
from . import graphs, lookups, states
from .parts import complete_shared_numbers, described, from_keras, is_part, written_in
from .places import build_layers, places, shapes_of_layers

CONFIG, WEIGHTS, METADATA, OWN = "config.json", "model.weights.h5", "metadata.json", "gpunn.json"
KERAS_VERSION = "3.15.1"  # whose format this is
KINDS = {
    "optimizer": "optimizer", "loss": "loss", "metrics": "metric", "weighted_metrics": "metric",
}


# -- writing


def save_model(model: Any, path: Path, include_optimizer: bool) -> None:
    """Write a model in Keras's format.

    Raises:
        UnknownInKerasError: naming a part that Keras does not have. Nothing is written.
    """
    registry.naming(lambda: _save_model(model, path, include_optimizer))


def _save_model(model: Any, path: Path, include_optimizer: bool) -> None:
    with written_in(model.dtype):
        entry = graphs.model_to_keras(registry.serialize(model) or {})
    if model.built:
        entry["build_config"] = {"input_shape": model.input_shape}
    compiled = _compile_config(model)
    document: dict[str, Any] = {"trained_on": model.trained_on}
    if shapes := shapes_of_layers(model):
        document["layer_shapes"] = shapes
    if compiled is not None and compiled.get("optimizer", "") is None:
        document["compile_config"], compiled = compiled, None  # Keras cannot load it
    entry["compile_config"] = compiled
    excluded = {} if model.optimizer is None else model.optimizer.get_config()
    document |= {key: excluded[key] for key in (EXCLUDED,) if key in excluded}  # Keras forgets it
    with_state = include_optimizer and model.compiled and model.built
    if with_state:
        tensors, values = model.training_state()
        own = {name: array for name, array in tensors.items() if not name.startswith("slot/")}
        document["training"] = {"values": values, **{k: v.tolist() for k, v in own.items()}}
    members = {
        METADATA: {
            "keras_version": KERAS_VERSION,
            "date_saved": f"{datetime.datetime.now():%Y-%m-%d@%H:%M:%S}",
        },
        CONFIG: entry,
        OWN: document,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, json.dumps(member, default=partial(_plain, member)))
        archive.writestr(WEIGHTS, states.written(model, with_state))
        for place, (holder, _) in places(model).items():
            for name, data in assets_of(holder):
                archive.writestr(f"{_folder(place)}{name}", data)
    _write(path, buffer.getvalue())


def save_weights(model: Any, path: Path) -> None:
    """Write a model's weights as Keras does."""
    model._require_values("save_weights")
    _write(path, states.written(model, optimizer=False))


def _write(path: Path, data: bytes) -> None:
    make_folder_of(path)
    atomic_write(path, [data])


def _plain(document: Any, value: Any) -> Any:
    """Return a value of NumPy in a document as one of JSON."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise not_json(_place_of(value, document), value)


def _place_of(value: Any, document: Any) -> str:
    """Return the keys and numbers that lead to a value."""
    if value is document:
        return ""
    several = isinstance(document, (list, tuple))
    inside = dict(enumerate(document)) if several else document
    for key, entry in inside.items() if isinstance(inside, dict) else ():
        found = _place_of(value, entry)
        if found or entry is value:
            return f"{key}/{found}".rstrip("/")
    return ""


def _compile_config(model: Any) -> dict[str, Any] | None:
    config: dict[str, Any] | None = model.get_compile_config()
    if config is None or replaces(type(model), "get_compile_config"):
        return config
    made: dict[str, Any] = {
        "loss_weights": config["loss_weights"], "run_eagerly": config.get("run_eagerly", False),
        "steps_per_execution": 1, "jit_compile": False,
    }
    alone = not model.built or len(model.output_names) == 1
    for key, kind in KINDS.items():
        value = described(config[key], kind)
        if alone and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if alone and kind == "metric" and isinstance(value, (str, dict)):
            value = [value]  # Keras takes no single one
        made[key] = value or None
    return made


# -- reading


def load_model(
    path: Path,
    custom_objects: Mapping[str, Any],
    compile: bool,
    allow_nan: bool,
    max_header: int,
    check: Any,
) -> Any:
    """Return the model in an archive; arguments as in `gpunn.saving.load_model`.

    Args:
        check: Called with the configurations of the model and of its compilation.

    Raises:
        ValueError: naming what is missing, too large, or not in gpunn.
    """
    with zipfile.ZipFile(path) as archive:
        _check_members(archive)
        entry = _json(archive, CONFIG, max_header)
        about, own = (
            _json(archive, name, max_header) if name in archive.namelist() else {}
            for name in (METADATA, OWN)
        )
        weights = _member(archive, WEIGHTS, None)
        names = [name for name in archive.namelist() if name.startswith("assets/")]
        texts = {name: _member(archive, name, max_header) for name in names if _is_text(name)}
        assets = {name: _member(archive, name, None) for name in names if name not in texts}
    if (version := str(about.get("keras_version"))).startswith("2."):
        raise ValueError(
            f"it is an archive of Keras {version}, which Keras 3 does not read either: pass the "
            f"weights on, by get_weights there and set_weights here."
        )
    complete_shared_numbers(entry)
    found = own.get("compile_config") or entry.get("compile_config")
    compiled = found or None if compile else None  # Keras writes {}
    check({"config": entry.get("config"), "compile": compiled})
    with states.opened(weights) as file:
        entry["config"] = lookups.filled(entry.get("config"), texts.get, file)

        def build() -> Any:
            model = graphs.model_from_keras(entry)
            shape = (entry.get("build_config") or {}).get("input_shape")
            if not model.built and shape is not None:
                model.build(shape)
            build_layers(model, own.get("layer_shapes"))
            states.read(file, model, allow_nan)
            files = {**texts, **assets}  # a file of the user's may be named as a vocabulary is
            for place, (holder, _) in places(model).items():
                if saves_itself(holder, ["load_assets"]):
                    start = _folder(place)
                    load_assets(holder, {
                        name.removeprefix(start): data
                        for name, data in files.items() if name.startswith(start)
                    })  # fmt: skip
            return model

        def restored() -> Any:
            model = with_weight_limit(states.elements(file), build)
            if isinstance(own.get("trained_on"), dict):
                model.trained_on = own["trained_on"]
            if compiled is not None:
                compile_model(model, compiled)
                if EXCLUDED in own and model.optimizer is not None:
                    model.optimizer._exclusion = Exclusion.from_config(own[EXCLUDED])
                _set_training(file, model, own.get("training"), allow_nan)
            return model

        return registry.also(dict(custom_objects), restored)


def load_weights(model: Any, path: Path, allow_nan: bool, skip_mismatch: bool) -> None:
    """Set a model's weights from an archive of Keras's."""
    model._require_values("load_weights")
    with zipfile.ZipFile(path) as archive:
        _check_members(archive)
        data = _member(archive, WEIGHTS, None)
    with states.opened(data) as file:
        states.read(file, model, allow_nan, skip_mismatch)


def _check_members(archive: zipfile.ZipFile) -> None:
    """Raise an error for a member that is there twice: programs would read different ones."""
    names = archive.namelist()
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise ValueError(f"it has more than one member {twice!r}.")


def _json(archive: zipfile.ZipFile, name: str, most: int) -> dict[str, Any]:
    found = json.loads(_member(archive, name, most))
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} holds no dictionary.")
    return found


def _member(archive: zipfile.ZipFile, name: str, most: int | None) -> bytes:
    """Return a member of an archive, of at most so many bytes, and not much more than it takes."""
    try:
        about = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"it is no archive of Keras 3: it has no member {name!r}.") from None
    limit = states.MOST_EXPANSION * max(about.compress_size, 1)
    if about.file_size > (limit if most is None else min(most, limit)):
        raise ValueError(
            f"the member {name!r} would take {about.file_size:,} bytes, as in a decompression bomb."
        )
    return archive.read(name)


def _folder(path: str) -> str:
    return f"assets/{path}/" if path else "assets/"


def _is_text(name: str) -> bool:
    return name.endswith("/vocabulary.txt") and f"/{lookups.INSIDE}/" not in name


def compile_model(model: Any, config: Mapping[str, Any]) -> None:
    """Compile a model as Keras has described it."""
    if replaces(type(model), "compile_from_config"):
        model.compile_from_config(config)
        return

    def made(kind: str, key: str) -> Any:
        def own(x: Any) -> Any:
            known = from_keras(x, kind) if is_part(x) else x
            if isinstance(known, str):  # now: custom_objects hold while the file is read only
                with suppress(ValueError):
                    return registry.lookup(registry.FUNCTION, known)
            return registry.deserialize(known, kind) if is_part(known) else known

        return replaced(own, config.get(key), is_part)

    options = {key: made(kind, key) for key, kind in KINDS.items()}
    eager = config.get("run_eagerly") is True
    model.compile(**options, loss_weights=config.get("loss_weights"), run_eagerly=eager)


def _set_training(file: Any, model: Any, own: Any, allow_nan: bool) -> None:
    """Set the optimizer's state, and what only gpunn's file knows of the training."""
    if not model.built or "optimizer" not in file:
        return
    if not states.read_optimizer(file, model, allow_nan):
        warn(
            f"{model.name}: the state of the optimizer in the file has another form than here; the "
            f"optimizer begins anew."
        )
        return  # its counts would belong to a state that is not there
    if isinstance(own, dict) and isinstance(own.get("values"), dict):
        tensors = model.training_state()[0]
        for name in tensors.keys() & own.keys():
            tensors[name] = np.asarray(own[name], tensors[name].dtype)
        model.set_training_state(tensors, own["values"])
