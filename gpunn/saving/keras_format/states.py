"""Weights and the states of optimizers in files of Keras's: HDF5, by h5py."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gpunn.backends.contract.control import BATCHES, UPDATES
from gpunn.common.names import counted, first_few, warn
from gpunn.core.storage import Parameter
from gpunn.optimizers.kept import SHARED, SLOTS

from ..own_state import load_variables, saves_itself, variables_of, weights_stay_if_refused
from .lookups import WEIGHTS_OF_CODES, is_lookup, write_weights_of
from .places import class_of, places
from .strings import check_strings

MOST_PLACES = 100_000  # groups and arrays of a file
MOST_EXPANSION = 100  # bytes that each byte of a file may stand for
WITH_PRODUCT = {"Nadam"}  # Keras keeps the product of the momentum's factors behind them
SCRATCH = {"direction"}  # slots that hold nothing between updates


def h5py_of() -> Any:
    """Return the module h5py, or raise an ImportError with the command that installs it."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "Keras's files are HDF5, which takes h5py: pip install 'gpunn[keras]'."
        ) from error
    return h5py


# -- writing


def written(model: Any, optimizer: bool) -> bytes:
    """Return the HDF5 file of a model's weights and, if asked for, of its optimizer's state."""
    buffer = io.BytesIO()
    with h5py_of().File(buffer, "w") as file:
        for path, (holder, parameters) in places(model).items():
            arrays: dict[str, Any] = {str(k): p.numpy() for k, p in enumerate(parameters)}
            if saves_itself(holder, ["save_own_variables"]):
                arrays = variables_of(holder)
            _put(file, path, holder.name, arrays)
            write_weights_of(file, path, holder)
        names = slot_names(model) if optimizer else None
        own = model.optimizer if optimizer else None
        if own is not None and names is None and own.steps_done:
            warn(
                f"{model.name}: the state of {type(own).__name__} is not in the file, as Keras "
                f"has no place for it; loaded, it begins anew. Files of gpunn hold it."
            )
        if own is not None and names is not None:
            tensors = model.training_state()[0]
            rate = own.fixed_learning_rate
            numbers = [np.int32(own.steps_done), *([] if rate is None else [np.float32(rate)])]
            slots = [slot.written(tensors) for slot in _in_file(own, names, tensors)]
            if type(own).__name__ in WITH_PRODUCT:
                slots.append(np.array(_product(own), np.float32))
            arrays = {str(k): array for k, array in enumerate([*numbers, *slots])}
            _put(file, "optimizer", own.name, arrays)
    return buffer.getvalue()


def _put(file: Any, path: str, name: str, arrays: Mapping[str, Any]) -> None:
    group = file.create_group(f"{path}/vars".lstrip("/"))
    group.attrs["name"] = name
    for key, array in arrays.items():
        group.create_dataset(key, data=np.asarray(array))


def _product(optimizer: Any) -> float:
    """Return the product of Nadam's factors, from the first update to the last."""
    done, products = optimizer.iterations, optimizer.products
    return optimizer.beta_1**done * products[min(done, len(products)) - 1] if done else 1.0


def slot_names(model: Any) -> list[str] | None:
    """Return the names of the slots of a model's optimizer in Keras's order; None if it keeps
    others than Keras's."""
    optimizer, tensors = model.optimizer, model.training_state()[0]
    kept = {name.split("/")[1] for name in tensors if name.startswith("slot/")} - SCRATCH
    own = SLOTS.get(type(optimizer).__name__)
    if own is None or kept - {slot for group in (*SHARED, *own) for slot in group}:
        return None
    weights = {path: p for path, p in model._by_path().items() if p.trainable}
    return [
        f"slot/{slot}/{path}"
        for group in (*SHARED, *own) for path, p in weights.items() for slot in group
        if slot in kept and optimizer._keeps(slot, p)
    ]


class _Slot(NamedTuple):
    """An array in a file: which of our tensors it is a part of, how it is written and read."""

    name: str
    shape: tuple[int, ...]
    written: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    read: Callable[[np.ndarray], np.ndarray] | None = None  # None: not read


def _in_file(optimizer: Any, names: list[str], tensors: Mapping[str, np.ndarray]) -> list[_Slot]:
    """Return the arrays of slots in Keras's order."""
    found: list[_Slot] = []
    for name in names:
        shape, (_, slot, path) = tensors[name].shape, name.split("/", 2)
        if type(optimizer).__name__ != "Adafactor" or slot not in ("row_means", "column_means"):
            found.append(_Slot(name, shape, itemgetter(name), lambda x: x))
        elif slot == "row_means":
            found += _of_adafactor(f"slot/row_means/{path}", f"slot/column_means/{path}", shape)
    return found


def _of_adafactor(rows: str, columns: str, shape: tuple[int, ...]) -> list[_Slot]:
    """Return what Keras keeps of a weight: each mean once, and what it computes of both. Of a
    vector it has two numbers in their place."""
    if len(shape) < 2:
        nothing = _Slot(rows, (), lambda tensors: np.zeros((), np.float32))
        return [nothing, nothing, _Slot(rows, shape, itemgetter(rows), lambda x: x)]

    def both(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        r, c = tensors[rows], tensors[columns]
        mean = r.mean(axis=-2, keepdims=True)
        return np.divide(r * c, mean, out=np.zeros_like(r), where=mean != 0)

    return [
        _Slot(rows, shape[:-1], lambda tensors: tensors[rows][..., 0],
              lambda x: np.broadcast_to(x[..., None], shape)),
        _Slot(columns, (*shape[:-2], shape[-1]), lambda tensors: tensors[columns][..., 0, :],
              lambda x: np.broadcast_to(x[..., None, :], shape)),
        _Slot(rows, shape, both),
    ]


# -- reading


def opened(data: bytes | BinaryIO) -> Any:
    """Return an HDF5 file for reading, or raise a ValueError if it is none, or refers to other
    files. It is given by its bytes, or as a file that is open."""
    h5py = h5py_of()
    try:
        if isinstance(data, bytes) and data.startswith(b"\x89HDF"):
            check_strings(data, ["name"])
        file = h5py.File(io.BytesIO(data) if isinstance(data, bytes) else data, "r")
    except OSError as error:
        raise ValueError(f"the weights are not an HDF5 file: {error}") from None
    count, seen = 0, set()
    stack = [("", file)]
    while stack:
        path, group = stack.pop()
        for name in group:
            count += 1
            link = group.get(name, getlink=True)
            if type(link) is not h5py.HardLink or count > MOST_PLACES:
                raise ValueError(f"the entry '{path}{name}' is a link, or one of too many.")
            entry = group[name]
            if (place := h5py.h5o.get_info(entry.id).addr) in seen:  # so its bytes count once
                raise ValueError(f"the entry '{path}{name}' is another one under a second name.")
            seen.add(place)
            if isinstance(entry, h5py.Group):
                if path.count("/") > 100:
                    raise ValueError(f"the entry '{path}{name}' lies too deep.")
                stack.append((f"{path}{name}/", entry))
            elif not isinstance(entry, h5py.Dataset) or entry.external or entry.is_virtual:
                raise ValueError(f"the entry '{path}{name}' is not an array within the file.")
    return file


def elements(file: Any) -> int:
    """Return the number of weights in a file, or in a group of one, without the optimizer's:
    at most as many as its bytes can hold, since an array that nobody has written to takes none."""
    total, stack = 0, [file[name] for name in file if name != "optimizer"]
    while stack:
        entry = stack.pop()
        if hasattr(entry, "shape"):
            size = MOST_EXPANSION * entry.id.get_storage_size() // max(entry.dtype.itemsize, 1)
            total += min(math.prod(entry.shape), size)
        else:
            stack += entry.values()
    return min(total, MOST_EXPANSION * file.file.id.get_filesize())


def read(file: Any, model: Any, allow_nan: bool = False, skip_mismatch: bool = False) -> None:
    """Set a model's weights from a file.

    Args:
        skip_mismatch: Whether layers that do not fit stay as they are, with a warning.

    Raises:
        ValueError: naming the layer whose weights are missing, have another shape, or are not
            finite.
    """
    found: dict[int, np.ndarray] = {}
    stores: list[tuple[Any, dict[str, np.ndarray]]] = []
    own = places(model)
    for path, (holder, parameters) in own.items():
        place = f"{path}/vars".lstrip("/")
        if saves_itself(holder, ["load_own_variables"]):
            group = file.get(place)
            entries = group.items() if hasattr(group, "items") else ()
            arrays = {n: loaded(x, f"{place}/{n}", allow_nan) for n, x in entries if _of_numbers(x)}
            stores.append((holder, arrays))
            continue
        try:
            found |= _arrays(file, place, holder, parameters, allow_nan)
        except ValueError as error:
            if not skip_mismatch:
                raise
            warn(f"{holder.name} stays as it is: {error}")
    _tell_surplus(file, model, own)
    with weights_stay_if_refused(model):
        assign(model, found)
        for holder, arrays in stores:
            load_variables(holder, arrays)


def _arrays(
    file: Any, place: str, holder: Any, parameters: list[Parameter], allow_nan: bool
) -> dict[int, np.ndarray]:
    """Return the arrays for the parameters of a layer."""
    found: dict[int, np.ndarray] = {}
    group = file.get(place)
    if group is not None and not hasattr(group, "values"):
        raise ValueError(f"the file has an array at '{place}'; a group of arrays expected.")
    extra = {WEIGHTS_OF_CODES} if is_lookup(holder) else set()
    stored = [] if group is None else sorted(set(group) - extra, key=_number)
    if group is not None and "name" in group.attrs:
        _check_name(holder, str(group.attrs["name"]), place, bool(parameters))
    if len(stored) != len(parameters):
        raise ValueError(
            f"the file has {len(stored)} arrays at '{place}'; {holder.name!r} has "
            f"{len(parameters)}: {[(p.name, p.shape) for p in parameters]}."
        )
    for name, p in zip(stored, parameters, strict=True):
        entry = group[name]
        if not _fits(entry, p.shape):
            raise ValueError(
                f"the file has {_shown(entry)} at '{place}/{name}'; {p.path} has the shape "
                f"{tuple(p.shape)}."
            )
        found[id(p)] = loaded(entry, f"{place}/{name}", allow_nan)
    return found


def assign(model: Any, found: Mapping[int, np.ndarray]) -> None:
    """Set the parameters of a model for which there are arrays, by their ids."""
    if not (found or model._has_values):  # as it was when it was saved
        return
    own = model.weights
    missing = any(id(p) not in found for p in own)
    values = model.get_weights() if missing else [None] * len(own)
    model.set_weights([found.get(id(p), x) for p, x in zip(own, values, strict=True)])


def _fits(entry: Any, shape: Any) -> bool:
    """Whether an entry is an array of numbers of a shape: known before any of it is read."""
    return getattr(entry, "shape", None) == tuple(shape) and _of_numbers(entry)


def _of_numbers(entry: Any) -> bool:
    return hasattr(entry, "shape") and entry.dtype.kind in "fiub"


def _shown(entry: Any) -> str:
    if not hasattr(entry, "shape"):
        return "a group"
    what = "the shape" if entry.dtype.kind in "fiub" else f"values of type {entry.dtype}, of shape"
    return f"{what} {entry.shape}"


def loaded(entry: Any, place: str, allow_nan: bool) -> np.ndarray:
    """Return an array of a file, which must be finite."""
    array = np.asarray(entry[()])  # else one of shape () is a scalar
    if not allow_nan and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            f"the array '{place}' holds NaN or infinity. Pass allow_nan=True to load it anyway."
        )
    return array


def _tell_surplus(file: Any, model: Any, own: Mapping[str, Any]) -> None:
    """Warn of layers in a file that the model lacks: their weights are not loaded."""
    models = {path.rpartition("layers/")[0] for path in own if re.search(r"layers/[^/]+$", path)}
    surplus = []
    for path in sorted(models):
        group = file.get(f"{path}layers")
        surplus += [
            f"'{path}layers/{name}'"
            for name in group or ()
            if f"{path}layers/{name}" not in own and _holds_arrays(group[name])
        ]
    if surplus:
        warn(
            f"{model.name}: the file has weights of {counted(len(surplus), 'layer')} that the "
            f"model lacks, {first_few(surplus, 3)}; they are not loaded."
        )


def _holds_arrays(entry: Any) -> bool:
    """Whether weights are in an entry, or below it: the state of a random generator is none."""
    if hasattr(entry, "shape"):
        return True
    return any(_holds_arrays(entry[name]) for name in entry if name != "seed_generator")


def _number(name: str) -> int:
    if not name.isdigit():
        raise ValueError(f"an array of weights is named {name!r}; a number is expected.")
    return int(name)


def _check_name(holder: Any, stored: str, place: str, has_weights: bool) -> None:
    """Raise an error if a file holds another kind of layer at a place."""
    own, other = (re.sub(r"_\d+$", "", name) for name in (holder.name, stored))
    custom = class_of(holder) not in (own, other)
    if has_weights and own != other and custom and holder.name != stored:
        raise ValueError(
            f"'{place}' belongs to {stored!r} in the file, but to {holder.name!r} in the model: "
            f"the layers are not the same, or in another order."
        )


def read_optimizer(file: Any, model: Any, allow_nan: bool = False) -> bool:
    """Set the state of a model's optimizer; return False if the file's is of another form.

    Raises:
        ValueError: naming an array that is not finite.
    """
    names, group = slot_names(model), file.get("optimizer/vars")
    if names is None or not hasattr(group, "values"):
        return False
    fixed = model.optimizer.fixed_learning_rate is not None
    tensors, values = model.training_state()
    more = type(model.optimizer).__name__ in WITH_PRODUCT
    own = _in_file(model.optimizer, names, tensors)
    shapes = [(), *[()] * fixed, *(slot.shape for slot in own), *[()] * more]
    entries = {f"optimizer/vars/{name}": group[name] for name in sorted(group, key=_number)}
    # All shapes are compared before anything is read: a file may claim any.
    if len(entries) != len(shapes) or not all(map(_fits, entries.values(), shapes)):
        return False
    steps, *arrays = (loaded(entry, place, allow_nan) for place, entry in entries.items())
    slots = zip(own, arrays[fixed : fixed + len(own)], strict=True)
    tensors |= {slot.name: slot.read(array) for slot, array in slots if slot.read is not None}
    tensors["counters"][UPDATES] = tensors["counters"][BATCHES] = int(steps)
    model.set_training_state(tensors, values)
    if fixed:
        model.optimizer.learning_rate = float(arrays[0])
    return True
