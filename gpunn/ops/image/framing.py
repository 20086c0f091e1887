"""Images with fewer or more rows and columns at their sides."""

from __future__ import annotations

from typing import Any

from gpunn.ops.shapes import whole
from gpunn.ops.table import operation_named, ops
from gpunn.ops.tensor import Tensor

from .sampling import Batched


def _sides(
    length: int, sign: int, before: Any, after: Any, target: Any, names: tuple[str, str, str]
) -> tuple[int, int]:
    """Return how many rows or columns are cut (a sign of -1) or added (1) before and after, of
    which two are given with the new length, or one and the other."""
    given = dict(zip(names, (before, after, target), strict=True))
    known = {name: whole(n, name, 0) for name, n in given.items() if n is not None}
    if len(known) != 2:
        raise ValueError(
            f"exactly two of {', '.join(names)} are expected; got "
            f"{', '.join(f'{name}={n!r}' for name, n in given.items())}."
        )
    first, second, new = (known.get(name) for name in names)
    if new is not None:
        rest = sign * (new - length) - (first if second is None else second)  # type: ignore[operator]
        first, second = (first, rest) if second is None else (rest, second)
    assert first is not None and second is not None
    if min(first, second) < 0 or (sign < 0 and first + second > length):
        raise ValueError(
            f"{', '.join(f'{name}={n}' for name, n in known.items())} do not fit images of "
            f"{length} {'rows' if 'top' in names[0] else 'columns'}."
        )
    return first, second


def _both(kind: str, image: Any, sign: int, given: tuple[Any, ...]) -> list[tuple[int, int]]:
    top, left, bottom, right, height, width = given
    vertical = f"top_{kind}", f"bottom_{kind}", "target_height"
    horizontal = f"left_{kind}", f"right_{kind}", "target_width"
    return [
        _sides(image[0], sign, top, bottom, height, vertical),
        _sides(image[1], sign, left, right, width, horizontal),
    ]


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
    sides = top_cropping, left_cropping, bottom_cropping, right_cropping
    (top, below), (left, right) = _both(
        "cropping", given.x.shape[1:3], -1, (*sides, target_height, target_width)
    )
    height, width = given.x.shape[1:3]
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
    sides = top_padding, left_padding, bottom_padding, right_padding
    widths = _both("padding", given.x.shape[1:3], 1, (*sides, target_height, target_width))
    return given.back(ops.pad(given.x, [(0, 0), *widths, (0, 0)]))
