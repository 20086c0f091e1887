"""Pictures resized on the host as TensorFlow's ``tf.image.resize`` does, without antialiasing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gpunn.ops.image.framing import Kernel, crop_of, cubic, lanczos, linear, taps

# Radius and weight at a distance from 0 to the radius.
KERNELS: dict[str, tuple[float, Kernel]] = {
    "bilinear": (1, linear),
    "bicubic": (2, cubic(0, 0.5)),
    "mitchellcubic": (2, cubic(1 / 3, 1 / 3)),
    "lanczos3": (3, lanczos(3)),
    "lanczos5": (5, lanczos(5)),
    "gaussian": (1.5, lambda x: np.exp(-2 * x * x)),
}
INTERPOLATIONS = ("nearest", "area", *KERNELS)


@lru_cache(64)
def _taps(length: int, new: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (taps, new) into an axis, and their weights, which sum to 1."""
    half = length / new / 2
    share = half + 0.5, lambda x: np.clip(half + 0.5 - x, 0, min(1, 2 * half))
    return taps(length, new, *(KERNELS | {"nearest": (0, linear), "area": share})[kind])


def resized(x: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize a picture (height, width, channels) to ``size``, (height, width), as float32.

    >>> resized(np.array([[[0], [4]]], np.uint8), (1, 4), "bilinear")[0, :, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    x = x.astype(np.float32)
    for axis in sorted((0, 1), key=lambda axis: size[axis] / x.shape[axis]):
        if x.shape[axis] != size[axis]:
            at, weights = _taps(x.shape[axis], size[axis], interpolation)
            weights = weights.astype(np.float32).reshape(len(at), -1, *[1] * (2 - axis))
            found = x.take(at[0], axis) * weights[0]
            for places, weight in zip(at[1:], weights[1:], strict=True):
                found += x.take(places, axis) * weight
            x = found
    return x


def fitted(
    x: np.ndarray, size: tuple[int, int], interpolation: str, crop: bool, pad: bool
) -> np.ndarray:
    """Resize a picture as `resized`; to keep its proportions, ``crop`` it or ``pad`` it with 0."""
    (height, width), (high, wide) = x.shape[:2], size
    if crop:  # as Keras's smart_resize
        (top, rows), (left, columns) = crop_of((height, width), size)
        return resized(x[top : top + rows, left : left + columns], size, interpolation)
    if not pad:
        return resized(x, size, interpolation)
    ratio = np.float32(max(np.float32(width / wide), np.float32(height / high)))
    rows, columns = (max(1, int(np.float32(n) / ratio)) for n in (height, width))
    top, left = (
        max(0, int((most - np.float32(n) / ratio) / 2))
        for n, most in ((height, high), (width, wide))
    )
    found = np.zeros((*size, x.shape[2]), np.float32)
    found[top : top + rows, left : left + columns] = resized(x, (rows, columns), interpolation)
    return found
