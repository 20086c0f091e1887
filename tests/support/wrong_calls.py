"""Invalid calls of each operation of the contract, derived from the valid ones of `comparisons`.

Each array in turn gets another shape, dtype, layout, or the memory of another array; each number
gets another value.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from comparisons import COMPARISONS
from comparisons.formulas import ELEMENTWISE
from comparisons.samples import Sample

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import Control
from gpunn.backends.contract.declaration import OpDeclaration
from gpunn.backends.shared.geometry import Geometry
from gpunn.core.storage import ParameterStorage

CALLS = 3  # of each operation, with different optional arguments
Arguments = dict[str, Any]


def chosen() -> Iterator[tuple[str, Sample]]:
    """A comparison of each kind, but only some formulas: they are all checked the same way."""
    kinds: dict[str, int] = {}
    for name in COMPARISONS:
        # One calls more of a backend that rounds; the other leaves arrays unwritten on a GPU.
        if name in ("rounded_products", "pooled_convolution"):
            continue
        kind = name.split()[0].split("(")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] <= 2 or kind == "optimizer":
            yield name, Sample(4, 7, "float32", seed=1 + len(ELEMENTWISE) // 2)


@functools.cache
def valid_calls(name: str) -> list[tuple[OpDeclaration, Arguments]]:
    """Calls of each operation on a backend, the same for every backend."""
    backend = get_backend(name)
    if name == "numpy":
        backend = type(backend)()  # the comparisons compute the expected results with the other one
    found: dict[tuple, tuple[OpDeclaration, Arguments]] = {}
    counts: dict[str, int] = {}
    for comparison, sample in chosen():
        profile = backend.profile()
        with profile:
            COMPARISONS[comparison](backend, sample)
        for profiled, (_, given) in zip(profile.operations, profile.calls, strict=True):
            operation = backend.operations[profiled.name]
            arguments = {n: given.__dict__[n] for n in operation.names}
            key = operation.name, *(
                v is None if v is None or is_array(v) else type(v) is bool and v
                for v in arguments.values()
            )
            if key not in found and counts.get(operation.name, 0) < CALLS:
                counts[operation.name] = counts.get(operation.name, 0) + 1
                found[key] = operation, arguments
    assert counts.keys() == backend.operations.keys()
    return list(found.values())


def is_array(value: Any) -> bool:
    return hasattr(value, "shape") and not isinstance(value, np.generic)


def is_list(value: Any) -> bool:
    """Whether it is several arrays."""
    return isinstance(value, list) and all(map(is_array, value))


def renewed(backend: Backend, arguments: Arguments) -> Arguments:
    """Return the same call on copies of the arrays; a repeated array is copied once."""
    copies: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if is_list(value):
            return [copied(array) for array in value]
        if isinstance(value, Control):
            other = Control(backend)
            backend.write(other.counters, backend.read(value.counters))
            backend.write(other.rates, backend.read(value.rates))
            return other
        if not is_array(value):
            return value
        if id(value) not in copies:
            copies[id(value)] = backend.upload(backend.read(value).copy())
        return copies[id(value)]

    return {name: copied(value) for name, value in arguments.items()}


def arrays_in(arguments: Arguments) -> list[Any]:
    """Return all arrays that the call could write to."""
    found = []
    for value in arguments.values():
        if isinstance(value, ParameterStorage):
            found += [value.values, value.gradients, *value.slots.values()]
        elif isinstance(value, Control):
            found += [value.counters, value.rates]
        elif is_list(value):
            found += value
        else:
            found.append(value)
    return [array for array in found if is_array(array)]


def other_shapes(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for axis in range(len(shape)):
        for n in (shape[axis] + 1, max(shape[axis] - 1, 0), 3 * shape[axis]):
            yield (*shape[:axis], n, *shape[axis + 1 :])
        yield (*shape[:axis], *shape[axis + 1 :])
    yield (*shape, 1)
    yield (1, *shape)
    if len(shape) > 1:
        yield shape[::-1]
        yield (int(np.prod(shape)),)
    yield ()


def wrong_arrays(backend: Backend, name: str, arguments: Arguments) -> Iterator[tuple[str, Any]]:
    array = arguments[name]
    filled = backend.read(array).reshape(-1)
    filled = filled if filled.size else np.zeros(1, array.dtype)
    for shape in other_shapes(tuple(array.shape)):
        yield f"shape {shape}", backend.upload(np.resize(filled, shape))
    values = backend.read(array)
    for dtype in ("float64", "float32", "float16", "int32", "int64", "bool", "complex64"):
        if np.dtype(dtype) != array.dtype:
            with np.errstate(all="ignore"):
                yield f"dtype {dtype}", backend.upload(values.astype(dtype))
    if array.size > 1:
        twice = backend.upload(np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype))
        yield "every other column", twice[..., ::2]
        if array.ndim > 1 and min(array.shape) > 1:
            yield "Fortran order", backend.upload(np.zeros(array.shape[::-1], array.dtype)).T
    for value in ("text", 3.0, values.tolist(), object()):
        yield f"no array: {type(value).__name__}", value
    for other, value in arguments.items():
        if other != name and is_array(value) and value.dtype == array.dtype:
            if value.shape == array.shape:
                yield f"the same as {other}", value
            if value.size >= array.size > 1:
                whole = backend.upload(np.zeros(value.size + 1, array.dtype))
                arguments[other] = whole[1:].reshape(value.shape)
                yield f"beginning before {other}", whole[: array.size].reshape(array.shape)
                arguments[other] = value


def wrong_numbers(value: Any) -> Iterator[tuple[str, Any]]:
    for other in (-1, -(10**12), 10**6, 2**31, 2**63, 10**30):
        yield f"{other}", other
    yield "2.5", 2.5
    yield "text", "text"


def changed(holder: Any, **attributes: Any) -> Any:
    """Return a copy of ``holder`` with these attributes changed."""
    made = object.__new__(type(holder))
    vars(made).update({**vars(holder), **attributes})
    return made


def wrong_holders(backend: Backend, holder: Any) -> Iterator[tuple[str, Any]]:
    """Storages and control blocks with one array replaced."""
    for name in ("values", "gradients", "counters"):
        if hasattr(holder, name):
            size, dtype = getattr(holder, name).size, getattr(holder, name).dtype
            for wrong in (np.zeros(size + 1, dtype), np.zeros(size, "int8"), [0.0]):
                array = wrong if type(wrong) is list else backend.upload(wrong)
                yield f"{name} {np.shape(wrong)}", changed(holder, **{name: array})
    for name in getattr(holder, "slots", {}):
        without = {n: slot for n, slot in holder.slots.items() if n != name}
        yield f"no slot {name}", changed(holder, slots=without)
        short = {**holder.slots, name: holder.slots[name][:-1]}
        yield f"short slot {name}", changed(holder, slots=short)


def wrong_calls(backend: Backend, operation: OpDeclaration, valid: Arguments) -> Iterator[Any]:
    for name, value in valid.items():
        if is_array(value):
            arguments = renewed(backend, valid)
            for label, wrong in wrong_arrays(backend, name, arguments):
                yield f"{name}: {label}", {**arguments, name: wrong}
        elif is_list(value):
            yield f"{name}: one less", {**renewed(backend, valid), name: value[1:]}
            arguments = renewed(backend, valid)
            apart = {
                f"{key}[{number}]" if is_list(arrays) else key: array
                for key, arrays in arguments.items()
                for number, array in enumerate(arrays if is_list(arrays) else [arrays])
            }
            first = f"{name}[0]"
            for label, wrong in wrong_arrays(backend, first, apart):
                with_it = {**apart, first: wrong}
                yield f"{first}: {label}", {
                    key: [with_it[f"{key}[{number}]"] for number in range(len(arrays))]
                    if is_list(arrays) else with_it[key] for key, arrays in arguments.items()
                }
        elif type(value) is int and name not in ("seed", "stream"):
            for label, wrong in wrong_numbers(value):
                yield f"{name}: {label}", {**renewed(backend, valid), name: wrong}
        elif isinstance(value, tuple):
            for label, wrong in wrong_numbers(value):
                yield f"{name}: {label}", {**renewed(backend, valid), name: (wrong, *value[1:])}
            yield f"{name}: short", {**renewed(backend, valid), name: value[1:]}
        elif isinstance(value, Geometry):
            for axis in ("image", "windows", "window"):
                pair = getattr(value, axis)
                for other in ((pair[0] + 1, pair[1]), (pair[0], 1000)):
                    changed = Geometry(**{**vars(value), axis: other})
                    yield f"{name}: {axis} {other}", {**renewed(backend, valid), name: changed}
        elif isinstance(value, (ParameterStorage, Control)):
            for label, changed in wrong_holders(backend, value):
                yield f"{name}: {label}", {**renewed(backend, valid), name: changed}
        elif type(value) is str:
            yield f"{name}: unknown", {**renewed(backend, valid), name: "unknown"}
    yield "one argument less", dict(list(renewed(backend, valid).items())[1:])
    yield "one argument more", {**renewed(backend, valid), "surplus": 1}


def outcome(backend: Backend, operation: OpDeclaration, arguments: Arguments) -> tuple[str, str]:
    """Return what the call raises; it must not have written anything."""
    before = [backend.read(array).tobytes() for array in arrays_in(arguments)]
    try:
        with np.errstate(all="ignore"):
            getattr(backend, operation.name)(**arguments)
    except (ValueError, TypeError) as error:
        after = [backend.read(array).tobytes() for array in arrays_in(arguments)]
        assert after == before, f"{operation.name} has written before it said: {error}"
        return type(error).__name__, str(error).replace(f"the {backend.name} backend", "BACKEND")
    return "performed", ""
