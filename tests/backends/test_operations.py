"""Wrong calls of every operation of the contract fail alike on all backends and write nothing.

The valid calls are those of `comparisons`. Each array in turn is given another shape, another
dtype, another layout, or the memory of another array, and each number another value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from comparisons.samples import assert_alike
from wrong_calls import arrays_in, is_array, outcome, renewed, valid_calls, wrong_calls

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import POSITION, Control
from gpunn.backends.shared.geometry import Geometry

BACKENDS = ("numpy", "compiled", "emulated")


# -- wrong calls


def host_only(backend: Backend, array: Any) -> Iterator[tuple[str, Any]]:
    """Arrays of a kind that a GPU backend does not have."""
    if array.size and array.dtype.itemsize > 1:
        memory = np.zeros(array.nbytes + 1, np.uint8)
        yield "at an odd address", memory[1:].view(array.dtype).reshape(array.shape)
        yield "in foreign byte order", array.astype(array.dtype.newbyteorder())


@pytest.mark.parametrize("name", sorted(get_backend("numpy").operations))
def test_a_wrong_call_is_refused_alike_everywhere(name: str) -> None:
    """A call that happens to be valid, with more rows for example, gives the same everywhere."""
    found: dict[str, list[tuple[str, tuple[str, str], Any]]] = {}
    for backend_name in BACKENDS:
        backend = get_backend(backend_name)
        found[backend_name] = []
        for number, (operation, valid) in enumerate(valid_calls(backend_name)):
            if operation.name != name:
                continue
            for label, arguments in wrong_calls(backend, operation, valid):
                what = outcome(backend, operation, arguments)
                results = {}
                if what[0] == "performed":
                    arrays = arrays_in(arguments)
                    results = {str(i): backend.read(a) for i, a in enumerate(arrays)}
                found[backend_name].append((f"{number} {label}", what, results))
    numpy, refused = found.pop("numpy"), 0
    differing: list[Any] = []
    for others in found.values():
        for (label, ours, a), (other_label, theirs, b) in zip(numpy, others, strict=True):
            assert label == other_label
            if "not within a pass" in ours[1] and theirs[0] == "performed":
                continue  # only the GPU knows its position
            differing += [(label, ours, theirs)] if theirs != ours else []
            refused += ours[0] != "performed"
            if a and b and not label.split()[1].startswith(("storage", "geometry")):
                # These start from values that each backend computed itself, in float32.
                assert_alike(a, b, "float32", 1e4)
    assert not differing
    assert refused >= 6


@pytest.mark.parametrize("backend_name", ["numpy", "compiled"])
def test_arrays_that_only_the_host_has_are_refused(backend_name: str) -> None:
    backend = get_backend(backend_name)
    for operation, valid in valid_calls(backend_name):
        for name, value in valid.items():
            for label, wrong in host_only(backend, value) if is_array(value) else ():
                arguments = {**renewed(backend, valid), name: wrong}
                assert outcome(backend, operation, arguments)[0] == "ValueError", (name, label)


@pytest.mark.parametrize("backend_name", ["numpy", "compiled"])
def test_what_is_written_to_must_not_be_read_only(backend_name: str) -> None:
    backend, refused = get_backend(backend_name), 0
    for operation, valid in valid_calls(backend_name):
        for name, value in valid.items():
            if is_array(value):
                arguments = renewed(backend, valid)
                arguments[name].flags.writeable = False
                what, why = outcome(backend, operation, arguments)
                if what != "performed":
                    assert what == "ValueError" and "read-only" in why
                    refused += 1
    assert refused > 30


@pytest.mark.parametrize("backend_name", BACKENDS)
def test_positions_before_the_first_row_are_refused(backend_name: str) -> None:
    control = Control(get_backend(backend_name))
    for position in (-1, -(10**12)):
        with pytest.raises(ValueError, match=f"position must be at least 0; got {position}"):
            control.set(POSITION, position)


@pytest.mark.parametrize(
    "wrong",
    [
        {"windows": (0, 2)}, {"window": (-1, 2)}, {"strides": (1, 0)}, {"dilation": (0, 1)},
        {"padding": (-1, 0)}, {"image": (2,)}, {"image": (2, 2**31)}, {"windows": (2.5, 1)},
    ],
    ids=str,
)  # fmt: skip
def test_a_geometry_that_is_none_is_refused(wrong: Any) -> None:
    sizes = {"image": (5, 5), "windows": (2, 2), "window": (2, 2)}
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        Geometry(**{**sizes, **wrong})


def test_a_backend_that_lacks_an_operation_cannot_be_made() -> None:
    class Lacking(type(get_backend("numpy"))):
        _matmul = property(lambda self: (_ for _ in ()).throw(AttributeError))

    with pytest.raises(TypeError, match="Lacking must define _matmul"):
        Lacking()
