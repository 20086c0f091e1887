"""Vocabularies in Keras's files: learnt ones lie beside the configuration, as lines of a text.

A layer's are in ``assets/PATH/vocabulary.txt``, with the entries for masks and unknown values; with
``output_mode="tf_idf"`` the weights of these entries are in the file of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .names import class_name
from .parts import is_part

LOOKUPS = {"IntegerLookup", "StringLookup", "TextVectorization"}
WEIGHTS_OF_CODES = "idf_weights"
"""Name of the array with the weight of each entry of a vocabulary."""
INSIDE = "_lookup_layer"
"""The lookup in Keras's `TextVectorization`, which stores all once more."""


def is_lookup(layer: Any) -> bool:
    """Whether a layer has a vocabulary that Keras stores in its own way."""
    return any(cls.__name__ in LOOKUPS for cls in type(layer).__mro__)


def write_weights_of(file: Any, path: str, layer: Any) -> None:
    """Write the weights of a lookup's entries to a file of weights, if it has some."""
    if not is_lookup(layer) or layer.output_mode != "tf_idf":
        return
    weights = np.asarray(layer.get_config()["idf_weights"] or [], np.float32)
    if layer.pad_to_max_tokens:
        weights = np.pad(weights, (0, layer.depth - len(weights)))
    inside = type(layer).__name__ == "TextVectorization"
    for place in (path, f"{path}/{INSIDE}") if inside else (path,):
        file.require_group(f"{place}/vars")[WEIGHTS_OF_CODES] = weights


def filled(
    config: Any, read: Callable[[str], bytes | None], file: Any, path: str = ""
) -> Any:
    """Return the configuration of a model with the vocabularies that lie beside it.

    Args:
        config: Keras's configuration of a model.
        read: Returns a member of the archive, or None if it is missing.
        file: The file of weights.
        path: Of the model in the file of weights.

    Raises:
        ValueError: naming a member that is no text, or weights that do not fit a vocabulary.
    """
    entries = config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(entries, list):
        return config
    counts: dict[str, int] = {}
    found = []
    for entry in entries:
        if isinstance(entry, Mapping) and isinstance(entry.get("class_name"), str):
            name = class_name(entry["class_name"])
            counts[name] = counts.get(name, -1) + 1
            place = f"{path}layers/{name}" + (f"_{counts[name]}" if counts[name] else "")
            entry = _filled_part(entry, read, file, place)
        found.append(entry)
    return {**config, "layers": found}


def _filled_part(entry: Any, read: Any, file: Any, place: str) -> Any:
    config = entry.get("config")
    if not isinstance(config, Mapping):
        return entry
    if entry["class_name"] in LOOKUPS and config.get("vocabulary") is None:
        config = _with_vocabulary(config, read, file, place, entry["class_name"])
    elif "layers" in config:
        config = filled(config, read, file, f"{place}/")
    else:  # a layer around another
        config = {
            key: _filled_part(x, read, file, f"{place}/{key}")
            if is_part(x) and isinstance(x["class_name"], str) else x
            for key, x in config.items()
        }
    return {**entry, "config": config}


def _with_vocabulary(config: Any, read: Any, file: Any, place: str, kind: str) -> Any:
    member = f"assets/{place}/vocabulary.txt"
    data = read(member)
    if data is None:
        return config
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the member {member!r} is not text in UTF-8.") from None
    lines = text.split("\n")
    if len(lines) != config.get("vocabulary_size"):  # as Keras reads them
        lines = text.splitlines()
    while lines and not lines[-1]:
        lines.pop()
    if kind == "IntegerLookup":
        try:
            vocabulary: list[Any] = [int(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"the member {member!r} holds no integer: {error}.") from None
    else:
        vocabulary = list(lines)
    if not vocabulary:
        return config
    made = {**config, "vocabulary": vocabulary}
    if config.get("output_mode") == "tf_idf":
        made["idf_weights"] = _weights(file, f"{place}/vars/{WEIGHTS_OF_CODES}", len(vocabulary))
    return made


def _weights(file: Any, place: str, count: int) -> list[float]:
    entry = file.get(place)
    shape = getattr(entry, "shape", None)
    # Padded rows have weights for entries that are not there.
    if shape is None or len(shape) != 1 or shape[0] < count or entry.dtype.kind != "f":
        raise ValueError(
            f"the file has {entry} at '{place}'; a weight for each of {count} entries expected."
        )
    return np.asarray(entry[:count], np.float64).tolist()
