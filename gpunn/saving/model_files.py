"""Models in files: what a saved model consists of, and how it is put together again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.atomic_files import Path
from gpunn.core.arena import with_room_for

from . import files
from .announcing import say_what_is_held, say_whose_format
from .files import MAX_HEADER

MAX_PARTS = 10_000  # of a model that is loaded, by default


def save_model(
    model: Any,
    filepath: Path,
    overwrite: bool = True,
    include_optimizer: bool = True,
    *,
    announce: bool = True,
) -> None:
    """Save a model: architecture, weights, and if it is compiled all that training needs.

    Args:
        model: the model.
        filepath: a file of any name, or a folder (an existing one, or a path that ends in
            a separator). The format is gpunn's own whatever the name: one that ends as Keras's
            do (``.keras``, ``.h5``) is announced once, by a warning.
        overwrite: replace what is there.
        include_optimizer: store the optimizer's state too, so that training can go on
            exactly as if there had been no break.
        announce: print, once in a process, which of the data's values the file
            holds, as categories and names of classes: see `gpunn.Model.data_held`.

    Raises:
        FileExistsError: with ``overwrite=False``, if there is something already.
        ValueError: for a part that is not registered and could not be loaded again.
    """
    _check_overwrite(filepath, overwrite)
    document = describe(model, include_optimizer)
    files.write(filepath, {"kind": "model", **document})
    say_whose_format(filepath)
    if announce:
        say_what_is_held(filepath, document.get("data_held", {}))


def save_weights(model: Any, filepath: Path, overwrite: bool = True) -> None:
    """Save the weights of a model and nothing else. Arguments as of `save_model`."""
    _check_overwrite(filepath, overwrite)
    files.write(filepath, {"kind": "weights", "weights": model.weights_dict()})
    say_whose_format(filepath)


def load_model(
    filepath: Path,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
    *,
    allow_nan: bool = False,
    max_parts: int = MAX_PARTS,
    max_header: int = MAX_HEADER,
) -> Any:
    """The model that `save_model` (or a checkpoint) stored.

    No code of the file is run and no module that it names imported: only registered
    classes, and those in ``custom_objects``, can occur in it.

    Args:
        filepath: the file or folder.
        custom_objects: further classes and functions by the names under which they are stored.
        compile: compile the model as it was, with the state of its optimizer.
        safe_mode: there is no other; taken so that Keras scripts run.
        allow_nan: load weights and optimizer states that are NaN or infinite too.
        max_parts: how many layers, their applications, losses and metrics there may be
            together, and thresholds or classes of a metric.
        max_header: bytes that settings and states may have.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming file and entry, if anything in it is not as it should be, or it is
            more than it may be. Of a model whose layers ask for more weights than are stored,
            nothing is made.
    """
    with opened(filepath, max_header, "model", "checkpoint") as document:
        _check_parts(document, max_parts)
        if not allow_nan:
            _check_finite(document["weights"], "weights")
            if compile and isinstance(document["training"], dict):
                _check_finite(document["training"].get("tensors"), "training/tensors", "slot/")
        return registry.also(custom_objects or {}, lambda: _restored(document, compile))


def _restored(document: dict[str, Any], compile: bool) -> Any:
    entry = {"class_name": document["class_name"], "config": document["config"]}

    def build() -> Any:
        model = registry.deserialize(entry, "model")
        if "input_shape" in document:
            model.build(document["input_shape"])
        set_weights(model, document["weights"])
        return model

    model = with_room_for(sum(array.size for array in document["weights"].values()), build)
    model.trained_on = document.get("trained_on", {})
    if compile and document["compile"] is not None:
        model.compile_from_config(document["compile"])
        if document["training"] is not None:
            set_training(model, document["training"])
    return model


def model_to_json(model: Any, **options: Any) -> str:
    """A model's layers and how they are put together, without weights, as text in JSON: gpunn's
    own, which Keras does not read.

    Args:
        model: of which.
        options: of `json.dumps`, as ``indent``.

    Raises:
        ValueError: for a part that is not registered, or that holds an array.
    """
    entry = registry.serialize(model) or {}
    if model.has_call and model.built:
        entry["input_shape"] = _lists(model.input_shape)

    def refuse(value: Any) -> Any:
        raise ValueError(f"JSON cannot hold {type(value).__name__}: save the model in a file.")

    return json.dumps(entry, default=refuse, **options)


def model_from_json(
    json_string: str,
    custom_objects: dict[str, Any] | None = None,
    *,
    max_parts: int = MAX_PARTS,
) -> Any:
    """A model of the layers that `model_to_json` described, with new initial weights.

    Args:
        json_string: the text. It runs no code, but may ask for more weights than there is room
            for.
        custom_objects: further classes and functions by the names under which they are stored.
        max_parts: as of `load_model`.

    Raises:
        ValueError: for a text that describes no model, or a larger one.
    """
    try:
        entry = json.loads(json_string)
    except ValueError as error:
        raise ValueError(f"json_string is no JSON: {error}") from None
    shape = entry.pop("input_shape", None) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or set(entry) != {"class_name", "config"}:
        raise ValueError("json_string describes no model: model.to_json() makes such a text.")
    _check_parts({**entry, "compile": None}, max_parts)

    def build() -> Any:
        model = registry.deserialize(entry, "model")
        if shape is not None:
            model.build(shape)
        return model

    return registry.also(custom_objects or {}, build)


def load_weights(
    model: Any, filepath: Path, *, allow_nan: bool = False, max_header: int = MAX_HEADER
) -> None:
    """Load weights into a built model, from a file of weights, a model or a checkpoint.

    Names and shapes must be those of the model. Numbers that layers got because their
    names were taken (``dense_1``) do not count.

    Args:
        model: built.
        filepath: the file or folder.
        allow_nan, max_header: as of `load_model`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file and the weight that does not fit, or is not finite.
    """
    with opened(filepath, max_header, "weights", "model", "checkpoint") as document:
        if not allow_nan:
            _check_finite(document["weights"], "weights")
        set_weights(model, document["weights"])


def describe(model: Any, include_training: bool = True) -> dict[str, Any]:
    """Everything about a model as a document for `files.write`."""
    compiled = model.get_compile_config()
    document = {
        **(registry.serialize(model) or {}),
        "compile": compiled,
        "weights": model.weights_dict(),
        "training": None,
    }
    if model.has_call and model.built:
        document["input_shape"] = _lists(model.input_shape)
    if model.trained_on:
        document["trained_on"] = model.trained_on
    if held := model.data_held():
        document["data_held"] = held
    if compiled is not None and include_training and model.built:
        tensors, values = model.training_state()
        document["training"] = {"tensors": tensors, "values": values}
    return document


def _lists(shape: Any) -> Any:
    """A shape, or several, with lists in the place of tuples."""
    if isinstance(shape, dict):
        return {name: _lists(entry) for name, entry in shape.items()}
    return [_lists(entry) for entry in shape] if isinstance(shape, (list, tuple)) else shape


def set_weights(model: Any, stored: dict[str, np.ndarray]) -> None:
    """Load weights by name, whatever numbers the names got (``dense_1``)."""
    if not model.built:
        raise ValueError(
            "the model has no weights yet: give it an Input layer or call it on a batch first."
        )
    model.load_weights_dict(_renamed(stored, model.weights_dict()))


def set_training(model: Any, training: Any) -> None:
    """Give a model the training state that `describe` took."""
    if not isinstance(training, dict) or set(training) != {"tensors", "values"}:
        raise ValueError("'training' is not a dictionary of 'tensors' and 'values'.")
    tensors = _renamed(training["tensors"], model.training_state()[0])
    model.set_training_state(tensors, training["values"])


def _renamed(stored: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``stored`` under the names in ``own``, if they differ in their numbers alone."""
    if set(own) != set(stored) and list(map(plain, own)) == list(map(plain, stored)):
        return dict(zip(own, stored.values(), strict=True))
    return stored


def plain(name: str) -> str:
    """A name without the numbers that tell equal names apart: ``dense_1/kernel``.

    >>> plain("dense_12/kernel")
    'dense/kernel'
    """
    return re.sub(r"_\d+(?=/|$)", "", name)


def _check_finite(arrays: Any, place: str, prefix: str = "") -> None:
    for name, array in arrays.items() if isinstance(arrays, dict) else ():
        floats = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        if floats and name.startswith(prefix) and not np.isfinite(array).all():
            at = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            raise ValueError(
                f"the entry '{place}/{name}' holds {array[at]} at {list(at)}. Pass "
                f"allow_nan=True to load it all the same."
            )


def _check_parts(document: dict[str, Any], most: int) -> None:
    """Refuse settings of more parts than may be, before one of them is made."""
    for place in ("config", "compile"):
        found = _parts(document[place])
        if found > most:
            raise ValueError(
                f"the entry {place!r} has {found:,} parts (layers, their applications, losses, "
                f"metrics), and max_parts is {most:,}. If it comes from somebody you trust, "
                f"pass max_parts={found}; commands take --max-parts {found}."
            )
    compiled = document["compile"] or {}
    for place in ("metrics", "weighted_metrics"):
        number = max(_integers(compiled.get(place)), default=0)
        if number > most:
            raise ValueError(
                f"the entry 'compile/{place}' asks for {number:,} thresholds or classes, and "
                f"max_parts is {most:,}. If it comes from somebody you trust, pass "
                f"max_parts={number}."
            )


def _parts(value: Any) -> int:
    """How many names and dictionaries stand in lists, anywhere in ``value``.

    The entries of a vocabulary are texts as they were read: nothing is made of them.
    """
    if isinstance(value, dict):
        plain = (key for key, entry in value.items() if key == "vocabulary" and _is_plain(entry))
        value = {key: entry for key, entry in value.items() if key not in set(plain)}
    entries = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return 0
    own = isinstance(value, list) and sum(isinstance(e, (dict, str)) for e in value)
    return own + sum(map(_parts, entries))


def _is_plain(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(e, (dict, list)) for e in value)


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, (dict, list)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _integers(entry)
    elif isinstance(value, int):
        yield value


def _check_overwrite(path: Path, overwrite: bool) -> None:
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{os.fspath(path)} is there already, and overwrite=False.")


_PARTS: dict[str, dict[str, tuple[type, ...]]] = {
    "weights": {"weights": (dict,)},
    "model": {
        "class_name": (str,),
        "config": (dict,),
        "compile": (dict, type(None)),
        "weights": (dict,),
        "training": (dict, type(None)),
    },
}
_OF_SOME: dict[str, tuple[type, ...]] = {
    "input_shape": (list, dict),  # of a model with a call
    "trained_on": (dict,),
    "data_held": (dict,),  # for who looks at the file: nothing is made of it
}
_PARTS["checkpoint"] = {
    **_PARTS["model"],
    "callbacks": (list,),
    "epoch": (int,),
    "batch": (int,),
    "stopped": (bool,),
}


@contextmanager
def opened(path: Path, max_header: int, *kinds: str) -> Iterator[dict[str, Any]]:
    """The document at ``path``, which is of one of these kinds, its parts of the right types.

    Whatever a wrong entry of it causes is an error about the file.
    """
    document = files.read(path, max_header)
    try:
        _check_document(document, kinds)
        yield document
    except Exception as error:  # what a wrong value breaks cannot be foreseen
        raise ValueError(f"Cannot load {os.fspath(path)}: {error}") from error


def _check_document(document: dict[str, Any], kinds: Sequence[str]) -> None:
    kind = document.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"it holds {kind!r} and not {' or '.join(kinds)}.")
    optional = _OF_SOME if kind != "weights" else {}
    parts = _PARTS[kind] | {name: optional[name] for name in optional.keys() & document.keys()}
    for name in sorted(set(parts) ^ set(document)):
        state = "missing" if name in parts else "unknown"
        raise ValueError(f"the entry {name!r} is {state}.")
    for name, types in parts.items():
        if not isinstance(document[name], types):
            shown = json.dumps(document[name], default=str)[:60]
            raise ValueError(f"the entry {name!r} is {shown}.")
    for name, value in document["weights"].items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise ValueError(f"the weight {name!r} is no tensor of floating-point numbers.")
