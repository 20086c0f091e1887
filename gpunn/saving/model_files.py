"""Model files: the contents of a saved model, and how it is restored."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.atomic_files import Path
from gpunn.common.names import listed, plain, warn
from gpunn.common.stored import OWN_STEPS
from gpunn.core.storage import with_weight_limit

from . import files
from .announcing import announce_data_held, announce_format
from .files import MAX_HEADER
from .own_state import check_own_state, load_own_state, own_state, weights_stay_if_refused

MAX_PARTS = 10_000  # default limit for loaded models


def save_model(
    model: Any,
    filepath: Path,
    overwrite: bool = True,
    include_optimizer: bool = True,
    *,
    announce: bool = True,
) -> None:
    """Save a model: architecture, weights and, if compiled, the full training state.

    Args:
        model: The model.
        filepath: A file, usually ``.gpunn``, or a folder (an existing one, or a path that ends in
            a separator). ``.keras`` writes Keras 3's own format, which takes h5py; what Keras
            lacks is written in gpunn's format, with one warning. So is ``.h5``.
        overwrite: Whether to replace an existing file.
        include_optimizer: Whether to store the optimizer's state, so that training can continue
            exactly as if it had not been interrupted.
        announce: Whether to print, once per process, which data values the file contains,
            such as categories and class names: see `gpunn.Model.data_held`.

    Raises:
        FileExistsError: with ``overwrite=False``, if the file exists.
        ValueError: for the suffix of another kind of file, such as ``.png``, and for a part that no
            file can name, such as a lambda. One that is not registered is loaded with
            ``custom_objects``.

    >>> import gpunn, tempfile
    >>> from gpunn.saving import load_model, save_model
    >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, folder + "/model.gpunn")
    ...     load_model(folder + "/model.gpunn").count_params()
    8
    """
    _check_place(filepath, overwrite)
    if not model._has_values:
        warn(
            f"{model.name} is saved without weights: it is not built yet. Call it on a batch "
            f"first, or fit it."
        )
    described = model.data_held()
    model._check_kept()
    if not _as_keras(filepath, ".keras", lambda: _archive().save_model(
        model, filepath, include_optimizer
    )):
        files.write(filepath, {"kind": "model", **describe(model, include_optimizer)})
        announce_format(filepath)
    if announce:
        announce_data_held(filepath, described)


def save_weights(model: Any, filepath: Path, overwrite: bool = True) -> None:
    """Save only the weights of a model.

    `load_weights` reads them into a model of the same layers, which is created first.

    Args:
        model: A built model.
        filepath: A file or a folder, as in `save_model`; ``.weights.h5`` writes a
            file of Keras's.
        overwrite: Whether to replace an existing file.

    Raises:
        FileExistsError: with ``overwrite=False``, if the file exists.
        ValueError: for the suffix of another kind of file, such as ``.png``.

    >>> import gpunn, tempfile
    >>> from gpunn.saving import load_weights, save_weights
    >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(model, folder + "/weights.gpunn")
    ...     load_weights(model, folder + "/weights.gpunn")
    """
    _check_place(filepath, overwrite)
    if not _as_keras(filepath, ".weights.h5", lambda: _archive().save_weights(model, filepath)):
        document = {"kind": "weights", "weights": model.weights_dict()}
        files.write(filepath, document | _own(model))
        announce_format(filepath)


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
    """Load a model saved by `save_model`, by Keras as ``.keras`` or ``.h5``, or in a checkpoint.

    Loading runs no code from the file and imports no module that it names: only registered
    classes, and those in ``custom_objects``, can occur in it.

    Args:
        filepath: The file or folder.
        custom_objects: Additional classes and functions by their stored names.
        compile: Whether to compile the model as before, with the state of its optimizer.
        safe_mode: Accepted for compatibility with Keras; loading is always safe.
        allow_nan: Whether to load weights and optimizer states that are NaN or infinite.
        max_parts: Maximum number of layers, their applications, losses and metrics together,
            and of thresholds or classes of a metric.
        max_header: Maximum bytes of settings and states.

    Returns:
        A new model, equal to the one that was saved.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: naming file and entry, if an entry is invalid or exceeds a limit. If the
            layers need more weights than are stored, no model is created.

    >>> import gpunn, tempfile
    >>> from gpunn.saving import load_model
    >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(folder + "/model.gpunn")
    ...     again = load_model(folder + "/model.gpunn")
    >>> type(again.optimizer).__name__, bool(again([[5.0]]) == model([[5.0]]))
    ('Adam', True)
    """
    kind = files.kind_of(filepath)
    if kind in (files.ZIP, files.HDF5):
        with _errors_name(filepath):
            return (_archive() if kind == files.ZIP else _legacy()).load_model(
                filepath, custom_objects or {}, compile, allow_nan, max_header,
                lambda document: _check_parts(document, max_parts),
            )
    with opened(filepath, max_header, "model", "checkpoint") as document:
        _check_parts(document, max_parts)
        check_own_state(document.get("own_state"), allow_nan)
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
        if "layer_shapes" in document:
            from .keras_format.places import build_layers

            build_layers(model, document["layer_shapes"])
        set_weights(model, document["weights"])
        load_own_state(model, document.get("own_state"))
        return model

    model = with_weight_limit(sum(array.size for array in document["weights"].values()), build)
    model.trained_on = document.get("trained_on", {})
    if compile and document["compile"] is not None:
        model.compile_from_config(document["compile"])
        if document["training"] is not None:
            set_training(model, document["training"])
    return model


def model_to_json(model: Any, **options: Any) -> str:
    """Return a model's layers and connections without weights as a JSON string.

    The format is gpunn's own; Keras does not read it.

    Args:
        model: The model.
        options: Options of ``json.dumps``, such as ``indent``.

    Returns:
        A string that `model_from_json` reads.

    Raises:
        ValueError: for a part that is not registered, or that holds an array.

    >>> import json
    >>> import gpunn
    >>> from gpunn.saving import model_to_json
    >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> json.loads(model_to_json(model))["class_name"]
    'Sequential'
    """
    entry = registry.naming(lambda: registry.serialize(model)) or {}
    if model._has_call and model.built:
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
    """Create a model from a string of `model_to_json`, with new initial weights.

    Args:
        json_string: The JSON string. It runs no code, but may request more weights than fit in
            memory.
        custom_objects: Additional classes and functions by their stored names.
        max_parts: As in `load_model`.

    Returns:
        A new model, not compiled.

    Raises:
        ValueError: if the string does not describe a model, or exceeds ``max_parts``.

    >>> import gpunn
    >>> from gpunn.saving import model_from_json
    >>> model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    >>> model_from_json(model.to_json()).count_params()
    8
    """
    try:
        entry = json.loads(json_string)
    except ValueError as error:
        raise ValueError(f"json_string is not JSON: {error}") from None
    shape = entry.pop("input_shape", None) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or set(entry) != {"class_name", "config"}:
        raise ValueError("json_string does not describe a model: use a string of model.to_json().")
    _check_parts({**entry, "compile": None}, max_parts)

    def build() -> Any:
        model = registry.deserialize(entry, "model")
        if shape is not None:
            model.build(shape)
        return model

    return registry.also(custom_objects or {}, build)


def load_weights(
    model: Any,
    filepath: Path,
    skip_mismatch: bool = False,
    *,
    by_name: bool | None = None,
    allow_nan: bool = False,
    max_header: int = MAX_HEADER,
) -> None:
    """Load weights into a built model, from a file of weights, a model or a checkpoint.

    Files of Keras (``.h5``, ``.weights.h5``, ``.keras``) fit a model of the same layers in the same
    order. In others, names and shapes must match the model. Numeric suffixes of duplicate layer
    names (``dense_1``) are ignored.

    Args:
        model: A built model.
        filepath: The file or folder.
        skip_mismatch: Whether weights of other shapes than in the file stay as they are, with a
            warning.
        by_name: Whether each layer takes the weights of the layer of its name, and others stay as
            they are: only for legacy ``.h5`` files of Keras.
        allow_nan, max_header: As in `load_model`.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: naming the file and the weight that does not fit, or is not finite; if
            ``by_name`` is set for another file. The model is unchanged.

    >>> import gpunn, tempfile
    >>> from gpunn.saving import load_weights, save_weights
    >>> model = gpunn.Sequential([gpunn.Input((1,)), gpunn.layers.Dense(1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(model, folder + "/weights.gpunn")
    ...     load_weights(model, folder + "/weights.gpunn")
    """
    kind = files.kind_of(filepath)
    with _errors_name(filepath):
        if kind == files.HDF5:
            _legacy().load_weights(model, filepath, allow_nan, bool(by_name), skip_mismatch)
            return
        if by_name:
            raise ValueError("by_name=True is only for legacy .h5 files of Keras: leave it out.")
        if kind == files.ZIP:
            _archive().load_weights(model, filepath, allow_nan, skip_mismatch)
            return
    with opened(filepath, max_header, "weights", "model", "checkpoint") as document:
        if not allow_nan:
            _check_finite(document["weights"], "weights")
        check_own_state(document.get("own_state"), allow_nan)
        with weights_stay_if_refused(model):
            set_weights(model, document["weights"], skip_mismatch)
            load_own_state(model, document.get("own_state"))


def describe(model: Any, include_training: bool = True) -> dict[str, Any]:
    """Return everything about a model as a document for `files.write`."""
    return registry.naming(lambda: _described(model, include_training))


def _described(model: Any, include_training: bool) -> dict[str, Any]:
    compiled = model.get_compile_config()
    document = {
        **(registry.serialize(model) or {}),
        "compile": compiled,
        "weights": model.weights_dict() if model._has_values else {},
        "training": None,
        **_own(model),
    }
    if model._has_call and model.built:
        document["input_shape"] = _lists(model.input_shape)
    elif model._has_values and not model.built:
        from .keras_format.places import shapes_of_layers  # which few models need

        document["layer_shapes"] = {k: _lists(x) for k, x in shapes_of_layers(model).items()}
    if model.trained_on:
        document["trained_on"] = model.trained_on
    if described := model.data_held():
        document["data_held"] = described
    if compiled is not None and include_training and model.built:
        tensors, values = model.training_state()
        document["training"] = {"tensors": tensors, "values": values}
    return document


def _own(model: Any) -> dict[str, Any]:
    """Return the entry of what its parts save by their own methods, if they do."""
    state = own_state(model)
    return {"own_state": state} if state else {}


def _lists(shape: Any) -> Any:
    """Replace tuples by lists in one or several shapes."""
    if isinstance(shape, dict):
        return {name: _lists(entry) for name, entry in shape.items()}
    return [_lists(entry) for entry in shape] if isinstance(shape, (list, tuple)) else shape


def set_weights(model: Any, stored: dict[str, np.ndarray], skip_mismatch: bool = False) -> None:
    """Load weights by name, ignoring numeric suffixes of names (``dense_1``).

    Args:
        skip_mismatch: Whether weights that do not fit stay as they are, with a warning.
    """
    if not model._has_values:
        if not stored:  # as it was when it was saved
            return
        raise ValueError(
            "the model has no weights yet: give it an Input layer or call it on a batch first."
        )
    own = model.weights_dict()
    stored = _renamed(stored, own)
    if skip_mismatch:
        fitting = {p: a for p, a in stored.items() if p in own and a.shape == own[p].shape}
        if different := [path for path in (*own, *stored) if path not in fitting]:
            shown = listed(list(dict.fromkeys(different)))
            warn(f"{model.name}: weights that file and model do not share in name and shape stay "
                 f"as they are: {shown}.")
        stored = {**own, **fitting}
    model.load_weights_dict(stored)


def set_training(model: Any, training: Any) -> None:
    """Restore a training state from `describe` in a model."""
    if not isinstance(training, dict) or set(training) != {"tensors", "values"}:
        raise ValueError("'training' is not a dictionary of 'tensors' and 'values'.")
    tensors = _renamed(training["tensors"], model.training_state()[0])
    model.set_training_state(tensors, training["values"])


def _renamed(stored: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return ``stored`` under the names in ``own``, if they differ only in numeric suffixes.

    Entries of the model's own steps, which a new model may lack, keep their names.
    """
    steps = {name: array for name, array in stored.items() if name.startswith(OWN_STEPS)}
    stored = {name: array for name, array in stored.items() if name not in steps}
    own = {name: array for name, array in own.items() if not name.startswith(OWN_STEPS)}
    if set(own) != set(stored) and list(map(plain, own)) == list(map(plain, stored)):
        stored = dict(zip(own, stored.values(), strict=True))
    return stored | steps


def _check_finite(arrays: Any, place: str, prefix: str = "") -> None:
    for name, array in arrays.items() if isinstance(arrays, dict) else ():
        floats = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        if floats and name.startswith(prefix) and not np.isfinite(array).all():
            at = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
            raise ValueError(
                f"the entry '{place}/{name}' holds {array[at]} at {list(at)}. Pass "
                f"allow_nan=True to load it anyway."
            )


def _check_parts(document: dict[str, Any], most: int) -> None:
    """Reject settings with too many parts, before any of them is created."""
    for place in ("config", "compile"):
        found = _parts(document[place])
        if found > most:
            raise ValueError(
                f"the entry {place!r} has {found:,} parts (layers, their applications, losses, "
                f"metrics), but max_parts is {most:,}. If you trust the source, "
                f"pass max_parts={found}; commands take --max-parts {found}."
            )
    compiled = document["compile"] or {}
    for place in ("metrics", "weighted_metrics"):
        number = max(_integers(compiled.get(place)), default=0)
        if number > most:
            raise ValueError(
                f"the entry 'compile/{place}' requests {number:,} thresholds or classes, but "
                f"max_parts is {most:,}. If you trust the source, pass "
                f"max_parts={number}."
            )


def _parts(value: Any) -> int:
    """Count the names and dictionaries in lists, anywhere in ``value``.

    The entries of a vocabulary are plain strings: no objects are created from them.
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
    if isinstance(value, dict):  # numbers of shared parts are no sizes
        value = [entry for key, entry in value.items() if key != registry.SHARED_ID]
    if isinstance(value, list):
        for entry in value:
            yield from _integers(entry)
    elif isinstance(value, int):
        yield value


def _archive() -> Any:
    from .keras_format import archive  # only for Keras's files

    return archive


def _legacy() -> Any:
    from .keras_format import legacy  # only for Keras's HDF5 files

    return legacy


def _as_keras(path: Path, ending: str, write: Callable[[], None]) -> bool:
    """Return whether a file is one of Keras's by its name, and could be written as such; if it
    could not, a warning says why."""
    if not os.fspath(path).endswith(ending) or os.path.isdir(path):
        return False
    try:
        write()
    except (ImportError, ValueError) as error:
        from .keras_format.parts import UnknownInKerasError

        if not isinstance(error, (ImportError, UnknownInKerasError)):
            raise
        announce_format(path, f" {error}")
        return False
    return True


def _check_place(path: Path, overwrite: bool) -> None:
    files.check_suffix(path)
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{os.fspath(path)} exists already, and overwrite=False.")


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
    "input_shape": (list, dict),  # for a model with a call
    "trained_on": (dict,),
    "layer_shapes": (dict,),  # for one whose own steps alone call its layers
    "own_state": (dict,),  # of classes that save by their own methods
    "data_held": (dict,),  # for readers of the file; not used in loading
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
    """Open the document at ``path``; check that it has one of these kinds and valid part types.

    Any error caused by a wrong entry becomes an error about the file.
    """
    document = files.read(path, max_header)
    with _errors_name(path):
        _check_document(document, kinds)
        yield document


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """A context whose errors become errors about a file."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # the effects of a wrong value cannot be foreseen
        raise ValueError(f"Cannot load {os.fspath(path)}: {error}") from error


def _check_document(document: dict[str, Any], kinds: Sequence[str]) -> None:
    kind = document.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        use = " Build the model, and use model.load_weights." if kind == "weights" else ""
        raise ValueError(f"it holds {kind!r} and not {' or '.join(kinds)}.{use}")
    optional = _OF_SOME if kind != "weights" else {"own_state": (dict,)}
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
            raise ValueError(f"the weight {name!r} is not a floating-point tensor.")
