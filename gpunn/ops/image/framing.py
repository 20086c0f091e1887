"""Images with fewer or more rows and columns at their sides."""

from __future__ import annotations

from typing import Any

from gpunn.ops.shapes import whole
from gpunn.ops.tensor import Tensor, operation_named, ops

from .sampling import Batched


def _frame(kind: str, image: Any, sign: int, *given: Any) -> list[tuple[int, int]]:
    """Return the rows and the columns that are cut (a sign of -1) or added (1) before and after: of
    three numbers for each, before, after, and those of the result, two are given."""
    found = []
    sides = ("top", "bottom", "height"), ("left", "right", "width")
    for place, (n, (one, other, size)) in enumerate(zip(image, sides, strict=True)):
        names = f"{one}_{kind}", f"{other}_{kind}", f"target_{size}"
        all_three = dict(zip(names, given[place::2], strict=True))
        known = {k: whole(v, k, 0) for k, v in all_three.items() if v is not None}
        said = ", ".join(f"{k}={v!r}" for k, v in all_three.items())
        if len(known) != 2:
            raise ValueError(f"exactly two of {', '.join(names)} are expected; got {said}.")
        before, after, new = (known.get(name) for name in names)
        rest = sign * ((new or 0) - n) - (before or 0) - (after or 0)
        ends = rest if before is None else before, rest if after is None else after
        if min(ends) < 0 or (sign < 0 and sum(ends) > n):
            raise ValueError(f"{said} do not fit images of {size} {n}.")
        found.append(ends)
    return found


@operation_named("image.crop_images")
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Cut rows and columns off images.

    Args:
        images, data_format: as in `resize`.
        top_cropping, bottom_cropping, target_height: rows to cut off above and below, and rows that
            are left: exactly two of the three.
        left_cropping, right_cropping, target_width: likewise for columns.

    Returns:
        images (batch, target_height, target_width, channels), of the same kind.

    Raises:
        ValueError: for another number of arguments, and for more rows or columns than there are.

    >>> from gpunn import ops
    >>> x = [[[1.0], [2.0], [3.0]]]
    >>> ops.image.crop_images(x, 0, 1, target_height=1, target_width=1).tolist()
    [[[2.0]]]
    """
    given = Batched(images, data_format)
    height, width = given.x.shape[1:3]
    (top, below), (left, right) = _frame(
        "cropping", (height, width), -1, top_cropping, left_cropping, bottom_cropping,
        right_cropping, target_height, target_width,
    )
    return given.back(given.x[:, top : height - below, left : width - right])


@operation_named("image.pad_images")
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Add rows and columns of zeros to images.

    Args:
        images, data_format: as in `resize`.
        top_padding, bottom_padding, target_height: rows to add above and below, and rows of the
            result: exactly two of the three.
        left_padding, right_padding, target_width: likewise for columns.

    Returns:
        images (batch, target_height, target_width, channels), of the same kind.

    Raises:
        ValueError: for another number of arguments, and for a result that is smaller.

    >>> from gpunn import ops
    >>> ops.image.pad_images([[[1.0]]], 0, 1, target_height=1, target_width=3).tolist()
    [[[0.0], [1.0], [0.0]]]
    """
    given = Batched(images, data_format)
    widths = _frame(
        "padding", given.x.shape[1:3], 1, top_padding, left_padding, bottom_padding, right_padding,
        target_height, target_width,
    )
    return given.back(ops.pad(given.x, [(0, 0), *widths, (0, 0)]))
