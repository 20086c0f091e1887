"""Slices of tensors, and indexing by tensors of indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends.contract.backend import Array, Backend

from .arithmetic import equal
from .conversion import convert
from .dtypes import is_float, standard
from .elementwise import cast, where
from .fusion.storing import rearrange
from .gather_scatter.checks import PlaceError
from .gather_scatter.gather import checked_indices, take_at, take_unchecked
from .gather_scatter.moving import moving_starts, part_at
from .primitive import Primitive
from .shapes import axis_of, expand_dims, listed, moveaxis, reshape, whole
from .tensor import Shape, Tensor, UnknownShapeError, operation, operation_named, ops


def _columns(shape: Shape, key: tuple[Any, ...]) -> tuple[int, int, int] | None:
    """Describe a slice that cuts a single axis as columns of a matrix: the number of columns, the
    first column of the slice, and its width. Return None for any other slice.

    >>> _columns((5, 4, 3), (Ellipsis, slice(1, 3), slice(None)))
    (12, 3, 6)
    """
    parts = _parts(shape, key)
    cut = [axis for axis, n in enumerate(shape) if len(parts[axis]) != n]
    if len(cut) != 1 or any(part.step != 1 for part in parts):
        return None
    behind = math.prod(shape[cut[0] + 1 :])
    part = parts[cut[0]]
    return shape[cut[0]] * behind, part.start * behind, len(part) * behind


def _parts(shape: Shape, key: tuple[Any, ...]) -> list[range]:
    """Return the indices along each axis of the elements that a key takes, without new axes."""
    key = tuple(e for e in key if e is not None)
    at = key.index(Ellipsis) if Ellipsis in key else len(key)
    rest = [slice(None)] * (len(shape) - len(key) + (Ellipsis in key))
    whole = [*key[:at], *rest, *key[at + 1 :]]
    return [
        range(n)[e] if isinstance(e, slice) else range(n)[e:][:1]
        for n, e in zip(shape, whole, strict=True)
    ]


def _compute_part(backend: Backend, out: Array, x: Array, key: tuple[Any, ...]) -> None:
    columns = _columns(x.shape, key) if _is_plain(x) and _is_plain(out) else None
    if columns is not None:
        n, start, width = columns
        backend.copy_columns(x.reshape(-1, n), start, out.reshape(-1, width), 0, width)
        return
    box = _box(x.shape, key) if _is_plain(x) and _is_plain(out) else None
    if box is not None:
        backend.crop_or_pad(x.reshape(box.images), box.offset, out.reshape(box.part))
        return
    cut, grid, in_runs = _grid(x.shape, key if backend.repeats else ())
    if not cut or not rearrange(
        backend, x, x.shape, out, cut, lambda places: places[grid], f"part {key}", in_runs
    ):
        backend.xp.copyto(out, x[key])


def _grid(shape: Shape, key: tuple[Any, ...]) -> tuple[list[int], tuple[Any, ...], bool]:
    """Return the axes that a key cuts or turns, its indices from the first of these to the last,
    and whether those along the last are adjacent."""
    parts = _parts(shape, key)
    cut = [axis for axis, n in enumerate(shape) if parts[axis] != range(n)]
    if not cut:
        return cut, (), False
    return cut, np.ix_(*parts[cut[0] : cut[-1] + 1]), parts[cut[-1]].step == 1


class _Box(NamedTuple):
    """A part of images, of which it leaves out rows and columns at the ends."""

    images: Shape  # (samples, height, width, channels)
    part: Shape
    offset: tuple[int, int]


def _box(shape: Shape, key: tuple[Any, ...]) -> _Box | None:
    """Return the elements that a key takes as a part of images; None if it turns an axis, takes
    some of it with others between, or cuts axes that are not side by side."""
    parts = _parts(shape, key)
    cut = [axis for axis, n in enumerate(shape) if parts[axis] != range(n)]
    if not cut or cut[-1] - cut[0] > 1 or any(parts[a].step != 1 or not parts[a] for a in cut):
        return None
    first, last = (cut[0], cut[-1]) if cut[-1] > cut[0] else (None, cut[0])
    height, down = (1, range(1)) if first is None else (shape[first], parts[first])
    outer = math.prod(shape[: cut[0]])
    inner, across = math.prod(shape[last + 1 :]), parts[last]
    part = (outer, len(down), len(across), inner)
    return _Box((outer, height, shape[last], inner), part, (down.start, across.start))


def _is_plain(x: Array) -> bool:
    """Return whether the operations of the backend contract accept the array."""
    return x.dtype.kind == "f" and x.size > 0 and bool(x.flags.c_contiguous)


def _part_shape(shape: Shape, key: tuple[Any, ...]) -> Shape:
    try:
        return np.broadcast_to(np.empty(()), shape)[key].shape  # takes no memory
    except IndexError as error:
        raise PlaceError(f"{error}.") from None


def compute_placed(
    backend: Backend, out: Array, x: Array, shape: Shape, key: tuple[Any, ...]
) -> None:
    """Write x where a key takes it from ``out``, which has this shape, and zeros elsewhere."""
    box = _box(shape, key) if _is_plain(x) and _is_plain(out) else None
    if box is not None:
        top, left = box.offset
        backend.crop_or_pad(x.reshape(box.part), (-top, -left), out.reshape(box.images))
        return
    cut, grid, in_runs = _grid(shape, key)

    def places(of_x: np.ndarray) -> np.ndarray:
        whole = np.full(shape[cut[0] : cut[-1] + 1], -1, np.int32)
        whole[grid] = of_x
        return whole

    given = [len(part) for part in _parts(shape, key)]
    if cut and rearrange(backend, x, given, out, cut, places, f"place {shape} {key}", in_runs):
        return
    backend.xp.copyto(out, False)  # which each dtype can hold
    part = out[key if Ellipsis in key else (*key, ...)]  # an array, even for a single element
    backend.xp.copyto(part, x)


_part = Primitive("indexing", _compute_part, _part_shape, gradient="indexing")
placed = Primitive("placing", compute_placed, lambda given, shape, key: shape, gradient="placing")


def joined_where_whole(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of the same sum: if some of these are zeros around the slices of one tensor,
    side by side, they become one, without a sum. So the gradient of a split is no sum."""
    found = []
    for t in parts:
        if t.primitive is placed and not t.is_constant:
            columns = _columns(t.shape, t.attributes["key"])
            if columns is not None and columns[2]:
                found.append((*columns, t))
    found.sort(key=lambda one: one[1])
    ends = [0, *(start + width for _, start, width, _ in found)]
    beside = [start for _, start, _, _ in found] == ends[:-1]
    if not found or not beside or {n for n, *_ in found} != {ends[-1]}:
        return list(parts)
    slices = [reshape(t.inputs[0], (-1, width)) for _, _, width, t in found]
    own = {id(t) for *_, t in found}
    whole = reshape(ops.concatenate(slices, 1), found[0][3].shape)
    return [whole, *(t for t in parts if id(t) not in own)]


@operation
def get_item(x: Any, key: Any) -> Tensor:
    """Return a part of a tensor, as ``x[key]``: integers, slices, None, ``...`` or index tensors.

    Elements that are not taken get the gradient 0; an element that is taken twice gets the sum.

    Args:
        x: a tensor or array-like; the result has its dtype.
        key: one index or a tuple of them, by NumPy's rules. A tensor may also be a boolean mask
            whose values are known: outside a step, and in a tape.

    Raises:
        PlaceError: an IndexError and ValueError, for an index out of range, which the step raises
            if it is known only there, and for too many indices.
        IndexError: for any other kind of index, and a mask of another shape.
        UnknownShapeError: a TypeError and ValueError, for a mask of each step in a trace.

    >>> from gpunn import ops
    >>> ops.convert_to_tensor([[1, 2, 3], [4, 5, 6]])[:, 1:].tolist()
    [[2, 3], [5, 6]]
    """
    x = convert(x)
    entries = key if isinstance(key, tuple) else (key,)
    if any(isinstance(entry, (Tensor, np.ndarray, list)) for entry in entries):
        return by_tensor(x, entries)
    plain = tuple(map(_plain, entries))
    if plain in ((slice(None),), (Ellipsis,), ()):
        return x
    shape = None if x.is_constant else _shape_of_all(x.shape, plain)
    return _part(x, key=plain) if shape is None else reshape(x, shape)


def _shape_of_all(shape: Shape, key: tuple[Any, ...]) -> Shape | None:
    """Return the shape of a part that holds all elements in the same order, which need no copy;
    None for any other.

    >>> _shape_of_all((1, 3), (0,)), _shape_of_all((3,), (slice(None, None, -1),))
    ((3,), None)
    """
    try:
        found = _part_shape(shape, key)
    except PlaceError:
        return None  # the primitive complains
    forward = all(e.step is None or e.step > 0 for e in key if isinstance(e, slice))
    return found if forward and math.prod(found) == math.prod(shape) else None


def _plain(entry: Any) -> Any:
    """Convert an entry of an index to Python integers."""
    if entry is None or entry is Ellipsis:
        return entry
    if isinstance(entry, slice):
        ends = (entry.start, entry.stop, entry.step)
        return slice(*[None if end is None else _whole(end) for end in ends])
    return _whole(entry)


def _whole(entry: Any) -> int:
    if isinstance(entry, Tensor):  # in a trace, this raises a helpful error
        return index(entry)
    try:
        if not isinstance(entry, (bool, np.bool_)):
            return index(entry)
    except TypeError:
        pass
    expected = "integers, slices, None, `...` or tensors of integers"
    raise IndexError(f"indexing: an index must be of {expected}; got {entry!r}.")


@operation_named("slice")
def slice_of(inputs: Any, start_indices: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return the slice of the given shape that begins at the given indices.

    Args:
        inputs: a tensor or array-like; the result has its dtype.
        start_indices: non-negative integers for the first axes; the other axes are kept whole. A
            step may compute them, in a tensor or several.
        shape: as many sizes; -1 extends to the end of the axis, if the start is known.

    Raises:
        ValueError: if the slice exceeds the tensor, also in a step, and for different numbers of
            starts and sizes.
        IndexError: if a start or size is not an integer.

    >>> from gpunn import ops
    >>> ops.slice([[1, 2, 3], [4, 5, 6]], [0, 1], [2, -1]).tolist()
    [[2, 3], [5, 6]]
    """
    x = convert(inputs)
    if (moving := moving_starts(start_indices)) is not None:
        return part_at(x, moving, shape)
    starts, sizes = list(map(_whole, listed(start_indices))), list(map(_whole, listed(shape)))
    if not len(starts) == len(sizes) <= x.ndim:
        raise ValueError(
            f"expected a start and a size for each axis of {x.shape}; got {starts} and {sizes}."
        )
    stops = [n if size == -1 else at + size for at, size, n in zip(starts, sizes, x.shape)]  # noqa: B905
    if not all(0 <= at <= stop <= n for at, stop, n in zip(starts, stops, x.shape)):  # noqa: B905
        raise ValueError(f"slice: shape {sizes} at {starts} exceeds the shape {x.shape}.")
    return get_item(x, tuple(map(slice, starts, stops)))


def by_tensor(x: Tensor, entries: tuple[Any, ...]) -> Tensor:
    """Compute x[entries] where some entries are tensors of indices, by NumPy's rules."""
    key = [_index(e) for e in entries]
    tensors = [e for e in key if isinstance(e, Tensor)]
    if any(is_float(t.dtype) for t in tensors):
        raise PlaceError(f"indexing: tensors in an index must be integers; got {entries!r}.")
    masks = any(t.dtype == "bool" for t in tensors)
    if masks and x.is_constant and all(t.has_values for t in tensors):
        return convert(x.numpy()[tuple(map(_as_numpy, key))], x.dtype)
    new, whole, gap = _by_axes(x.shape, key)
    axes = [axis for axis, e in enumerate(whole) if not isinstance(e, slice)]
    x = get_item(expand_dims(x, new) if new else x,
                 tuple(e if isinstance(e, slice) else slice(None) for e in whole))
    if len(axes) == 1:
        return take_at(x, whole[axes[0]], axes[0], "x[indices]")
    row = row_numbers(
        [whole[axis] for axis in axes], [x.shape[axis] for axis in axes], "x[indices]"
    )
    front = moveaxis(x, axes, list(range(len(axes))))
    kept = front.shape[len(axes) :]
    rows = reshape(front, (math.prod(front.shape[: len(axes)]), *kept))
    found = take_unchecked(rows, reshape(row, (-1,)), wraps=False)
    found = reshape(found, (*row.shape, *kept))
    adjacent = axes[-1] - axes[0] == len(axes) - 1 and not axes[0] < gap <= axes[-1]
    if adjacent:  # they are replaced in place
        places = list(range(row.ndim))
        return moveaxis(found, places, [axes[0] + a for a in places])
    return found


def _index(entry: Any) -> Any:
    """Return an entry of an index with tensors, with a tensor for each array and list."""
    if isinstance(entry, list) and not np.size(entry):
        return convert(entry, "int32")
    if isinstance(entry, (Tensor, np.ndarray, list)):
        return convert(entry)
    return _plain(entry)


def _by_axes(shape: Shape, key: Sequence[Any]) -> tuple[list[int], list[Any], int]:
    """Return the new axes that an index with tensors adds, a slice, integer or tensor for each axis
    that there is then, and before which axis an empty ``...`` is, which separates tensors too.

    >>> new, whole, gap = _by_axes((2, 3), [None, convert([True, False])])
    >>> new, whole[0], whole[1].tolist(), whole[2]
    ([0], slice(None, None, None), [0], slice(None, None, None))
    """
    taken = [0 if e is None or e is Ellipsis else _axes_of(e) for e in key]
    rest = len(shape) - sum(taken)
    if rest < 0:
        raise PlaceError(f"indexing: {sum(taken)} indices are too many for shape {shape}.")
    new: list[int] = []
    whole: list[Any] = []
    gap = axis = 0
    if not any(e is Ellipsis for e in key):
        key, taken = [*key, Ellipsis], [*taken, 0]
    for e, axes in zip(key, taken, strict=True):
        if e is Ellipsis:
            gap = 0 if rest else len(whole)
            whole += [slice(None)] * rest
            axis += rest
        elif isinstance(e, Tensor) and e.dtype == "bool":
            new += [] if axes else [len(whole)]
            whole += _indices_of(e, shape[axis : axis + axes])
        else:
            new += [] if axes else [len(whole)]
            whole.append(slice(None) if e is None else e)
        axis += axes
    return new, whole, gap


def _axes_of(entry: Any) -> int:
    """Return how many axes an entry of an index takes: a mask all that it has."""
    return entry.ndim if isinstance(entry, Tensor) and entry.dtype == "bool" else 1


def _indices_of(mask: Tensor, lengths: Shape) -> list[Tensor]:
    """Return the indices of the elements that a mask takes, along each of its axes."""
    if mask.shape != lengths:
        raise IndexError(
            f"indexing: a mask of shape {mask.shape} does not fit axes of the lengths {lengths}."
        )
    if mask.value is None:
        raise UnknownShapeError(
            f"indexing: the shape of x[mask] depends on the values of the mask, of shape "
            f"{mask.shape}, which are those of each step. Choose with ops.where(mask, x, 0)."
        )
    return [convert(found, "int32") for found in np.nonzero(np.atleast_1d(mask.value))]


def _as_numpy(entry: Any) -> Any:
    return entry.numpy() if isinstance(entry, Tensor) else entry


def row_numbers(indices: Sequence[Any], lengths: Sequence[int], what: str) -> Tensor:
    """Convert indices along several axes, which are broadcast together, to flat indices.

    Raises:
        ValueError: for an index out of range, or if there are more elements than int32 can count.
    """
    if math.prod(lengths) >= 2**31:
        raise ValueError(
            f"{what}: flat indices are int32, but axes of lengths {lengths} have "
            f"{math.prod(lengths):,} elements."
        )
    row: Any = 0
    for each, n in zip(indices, lengths, strict=True):
        numbers = checked_indices(each, n, what)
        row = row * n + where(numbers < 0, numbers + n, numbers)
    return convert(row, "int32")


def check_dense(sparse: bool) -> None:
    """Raise a ValueError if a sparse result is asked for, as TensorFlow and JAX have."""
    if sparse:
        raise ValueError("sparse must be False: tensors here are dense; got True.")


@operation
def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Tensor:
    """Encode class indices as one-hot vectors along a new axis: (...) -> (..., num_classes).

    ``y[..., c]`` is 1 where x is c, else 0. The gradient of x is 0.

    Args:
        x: integers (...), also as floats; what is none of the classes, such as 1.5, gives a vector
            of zeros.
        num_classes: the length of the new axis.
        axis: the position of the new axis.
        dtype: of the result; floatx by default.
        sparse: must be false.

    Raises:
        ValueError: if ``axis`` is out of range, ``num_classes`` is negative or ``sparse`` is true.
        IntegerError: a TypeError and ValueError, if one of these is not an integer.

    >>> from gpunn import ops
    >>> ops.one_hot([1, 0], 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    check_dense(sparse)
    x, classes = convert(x), np.arange(whole(num_classes, "num_classes", 0))
    place = axis_of(axis, x.ndim + 1)
    hits = cast(equal(expand_dims(x, -1), classes), standard(dtype))
    return hits if place == x.ndim else moveaxis(hits, -1, place)
