"""Operations that split and join tensors along axes, and move blocks between axes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice
from gpunn.common.names import counted
from gpunn.ops.conversion import convert, promoted
from gpunn.ops.elementwise import where
from gpunn.ops.joining import at_least, concatenate, sections_of, several, split
from gpunn.ops.shapes import axis_of, expand_dims, listed, moveaxis, reshape, whole, with_axes
from gpunn.ops.tensor import Tensor, operation, ops


@operation
def append(x1: Any, x2: Any, axis: int | None = None) -> Tensor:
    """Append one tensor to another along an axis; by default both are flattened first.

    Args:
        x1, x2: tensors or array-likes of equal shapes except along the axis; promoted to one dtype.
        axis: the axis to join them along.

    Raises:
        ValueError: if the axis is out of range, or shapes differ along another axis.

    >>> from gpunn import ops
    >>> ops.append([[1, 2]], [[3, 4]]).tolist(), ops.append([[1, 2]], [[3, 4]], axis=0).tolist()
    ([1, 2, 3, 4], [[1, 2], [3, 4]])
    """
    a, b = promoted(x1, x2)
    if axis is None:
        return concatenate([reshape(a, (-1,)), reshape(b, (-1,))], 0)
    return concatenate([a, b], axis)


@operation
def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split a tensor into parts of nearly equal length: the first parts may be 1 longer; see
    `split`.

    Args:
        x: a tensor of one or more axes; the parts have its dtype.
        indices_or_sections: the number of parts, or the indices at which parts begin.
        axis: the axis to split.

    Raises:
        ValueError: for fewer than one part, or an axis out of range.

    >>> from gpunn import ops
    >>> [part.tolist() for part in ops.array_split([1, 2, 3, 4, 5], 3)]
    [[1, 2], [3, 4], [5]]
    """
    x = convert(x)
    parts = sections_of(indices_or_sections)
    if parts is not None:
        n = x.shape[axis_of(axis, x.ndim)]
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        indices_or_sections = np.cumsum(sizes)[:-1].tolist()
    return split(x, indices_or_sections, axis)


@operation
def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor along its second axis, or a vector along its first; see `split`.

    Args:
        x: a tensor or array-like, such as (m, 2 n), which 2 sections split into two tensors (m, n).
        indices_or_sections: the number of equal parts, or the indices at which parts begin.

    Raises:
        ValueError: if the length is not divisible into equal parts, or x has too few axes.

    >>> from gpunn import ops
    >>> [part.tolist() for part in ops.hsplit([[1, 2], [3, 4]], 2)]
    [[[1], [3]], [[2], [4]]]
    """
    x = convert(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@operation
def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor of two or more axes along its first axis: (2 m, n) -> two of (m, n).

    Arguments and errors: as for `hsplit`.

    >>> from gpunn import ops
    >>> [part.tolist() for part in ops.vsplit([[1, 2], [3, 4], [5, 6]], [1])]
    [[[1, 2]], [[3, 4], [5, 6]]]
    """
    return split(with_axes(x, 2), indices_or_sections, 0)


@operation
def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """Split a tensor of three or more axes along its third axis: (m, n, 2 k) -> two of (m, n, k).

    Arguments and errors: as for `hsplit`.

    >>> from gpunn import ops
    >>> [part.shape for part in ops.dsplit(ops.ones((2, 3, 4)), 2)]
    [(2, 3, 2), (2, 3, 2)]
    """
    return split(x, indices_or_sections, 2)


@operation
def dstack(xs: Sequence[Any]) -> Tensor:
    """Join tensors along the third axis: vectors (n,) become (1, n, 1), and matrices (m, n, 1).

    Arguments and errors: as for `hstack`.

    >>> from gpunn import ops
    >>> ops.dstack([[1, 2], [3, 4]]).tolist()
    [[[1, 3], [2, 4]]]
    """
    tensors = [at_least(t, 2) for t in several(xs, "xs")]
    return concatenate([expand_dims(t, -1) if t.ndim == 2 else t for t in tensors], 2)


@operation
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """Choose each element from the first choice whose condition is true, else the default.

    Args:
        condlist: conditions: a list of tensors that broadcast with the choices.
        choicelist: as many choices, which are promoted to one dtype.
        default: a number or tensor, for elements where no condition is true.

    Raises:
        ValueError: if the lists differ in length, or the shapes do not broadcast.

    >>> from gpunn import ops
    >>> x = ops.array([1, 5, 9])
    >>> ops.select([x < 3, x < 7], [x * 10, x * 100], default=-1).tolist()
    [10, 500, -1]
    """
    conditions, choices, found = listed(condlist), listed(choicelist), default
    if len(conditions) != len(choices):
        raise ValueError(
            f"condlist and choicelist must be equally long; got {len(conditions)}, {len(choices)}."
        )
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        found = where(condition, choice, found)
    return convert(found)


FORMATS = "channels_last", "channels_first"


def _blocks(x: Any, block_size: int, data_format: str) -> tuple[Tensor, bool]:
    """Return images with their channels last, and whether the channels were first."""
    x, block_size = convert(x), whole(block_size, "block_size", 1)
    first = check_choice("data_format", data_format, FORMATS) == "channels_first"
    if x.ndim != 4:
        raise ValueError(f"x must be images (batch, height, width, channels); got shape {x.shape}.")
    return moveaxis(x, 1, -1) if first else x, first


@operation
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Rearrange each block of pixels into channels; height and width shrink by the block size b.

    Args:
        x: images (batch, height, width, channels), which give (batch, height / b, width / b,
            channels * b^2).
        block_size: the side b of a block.
        data_format: "channels_last", or "channels_first", where the channels are the second axis.

    Raises:
        ValueError: if x does not have four axes, its sizes are not divisible, or for another
            ``data_format``.

    >>> from gpunn import ops
    >>> ops.space_to_depth(ops.reshape([1, 2, 3, 4], (1, 2, 2, 1)), 2).tolist()
    [[[[1, 2, 3, 4]]]]
    """
    x, first = _blocks(x, block_size, data_format)
    n, height, width, channels = x.shape
    if height % block_size or width % block_size:
        raise ValueError(f"{height} x {width} pixels do not divide into blocks of {block_size}.")
    rows, columns = height // block_size, width // block_size
    apart = reshape(x, (n, rows, block_size, columns, block_size, channels))
    # Adjacent: the pixels of a block or, if channels come first, of a channel.
    together = ops.transpose(apart, (0, 1, 3, 5, 2, 4) if first else (0, 1, 3, 2, 4, 5))
    y = reshape(together, (n, rows, columns, channels * block_size**2))
    return moveaxis(y, -1, 1) if first else y


@operation
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Tensor:
    """Rearrange channels into blocks of pixels; height and width grow by the block size b.

    It is the inverse of `space_to_depth`: images (batch, height, width, channels) give (batch,
    height * b, width * b, channels / b^2). Arguments and errors: as there, for channels that are
    not divisible by b^2.

    >>> from gpunn import ops
    >>> ops.depth_to_space(ops.reshape([1, 2, 3, 4], (1, 1, 1, 4)), 2).tolist()
    [[[[1], [2]], [[3], [4]]]]
    """
    x, first = _blocks(x, block_size, data_format)
    n, rows, columns, channels = x.shape
    if channels % block_size**2:
        raise ValueError(f"{channels} channels do not divide by the square of {block_size}.")
    rest = channels // block_size**2
    if first:
        apart = reshape(x, (n, rows, columns, rest, block_size, block_size))
        together = ops.transpose(apart, (0, 1, 4, 2, 5, 3))
    else:
        apart = reshape(x, (n, rows, columns, block_size, block_size, rest))
        together = ops.transpose(apart, (0, 1, 3, 2, 4, 5))
    y = reshape(together, (n, rows * block_size, columns * block_size, rest))
    return moveaxis(y, -1, 1) if first else y


_GROUP = r"\w+|\([\w\s]*\)"  # of a pattern: the name of an axis, or several for one axis


@operation
def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> Tensor:
    """Split, reorder and merge axes as a pattern of names says, such as ``"b h w c -> b (h w) c"``.

    Names in parentheses, ``(h w)``, are parts of one axis, the last one varying fastest. Source:
    Rogozhnikov 2022, einops.

    Args:
        tensor: a tensor or array-like.
        pattern: the axes before and after ``->``, with the same names on both sides.
        axes_lengths: lengths of axes by name; of those in parentheses on the left, one may miss.

    Raises:
        ValueError: for a pattern of another form, and for lengths that do not fit the tensor.

    >>> from gpunn import ops
    >>> ops.rearrange([[1, 2, 3, 4]], "b (n two) -> n (two b)", two=2).tolist()
    [[1, 2], [3, 4]]
    """
    x, sides = convert(tensor), str(pattern).split("->")
    before, after = ([re.findall(r"\w+", one) for one in re.findall(_GROUP, side)]
                     for side in (sides[0], sides[-1]))
    names, places = (re.findall(r"\w+", side) for side in (sides[0], sides[-1]))
    wrong = "has no '->' between two sides" if len(sides) != 2 else ""
    if not wrong and re.sub(_GROUP, "", "".join(sides)).strip():
        wrong = "has more than names, and single parentheses around some"
    for name in dict.fromkeys((*names, *places)):
        if not wrong and (names.count(name), places.count(name)) != (1, 1):
            wrong = f"has {name} {names.count(name)} and {places.count(name)} times"
    if wrong:
        raise ValueError(
            f"pattern must have each axis once on both sides, such as 'b h w c -> b (h w) c'; "
            f"{pattern!r} {wrong}."
        )
    if unknown := axes_lengths.keys() - {*names}:
        raise ValueError(f"pattern {pattern!r} has no axis {' or '.join(sorted(unknown))}.")
    sizes = {a: whole(n, a, 0) for a, n in axes_lengths.items()}
    if len(before) != x.ndim:
        raise ValueError(
            f"pattern {pattern!r} is of {counted(len(before), 'axis', 'axes')}, but the tensor has "
            f"{x.ndim}: shape {x.shape}. Write (h w) for one axis that is split into two."
        )
    for n, group in zip(x.shape, before, strict=True):
        lacking = [a for a in group if a not in sizes]
        if len(lacking) > 1:
            raise ValueError(
                f"({' '.join(group)}) is an axis of {n}, of which the lengths of "
                f"{' and '.join(lacking)} are unknown. Pass all but one, such as {lacking[0]}=1."
            )
        product = math.prod(sizes[a] for a in group if a in sizes)
        sizes.update(dict.fromkeys(lacking, n // max(product, 1)))
        if math.prod(sizes[a] for a in group) != n:
            told = ", ".join(f"{a}={sizes[a]}" for a in group if a not in lacking)
            raise ValueError(
                f"{told} does not fit the axis ({' '.join(group)}), which is {n} for a tensor of "
                f"shape {x.shape}."
            )
    y = ops.transpose(reshape(x, [sizes[a] for a in names]), [names.index(a) for a in places])
    return reshape(y, [math.prod(sizes[a] for a in group) for group in after])
