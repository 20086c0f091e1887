"""Pictures resized on the host as TensorFlow's ``tf.image.resize`` does, without antialiasing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

Kernel = Callable[[np.ndarray], np.ndarray]


def _cubic(b: float, c: float) -> Kernel:
    """Return the kernel of Mitchell and Netravali (1988) with these parameters."""

    def kernel(x: np.ndarray) -> np.ndarray:
        near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b
        far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x
        found: np.ndarray = np.where(x < 1, near, far + 8 * b + 24 * c) / 6
        return found

    return kernel


def _lanczos(radius: int) -> Kernel:
    return lambda x: np.sinc(x) * np.sinc(x / radius)


# Radius and weight at a distance from 0 to the radius.
KERNELS: dict[str, tuple[float, Kernel]] = {
    "bilinear": (1, lambda x: 1 - x),
    "bicubic": (2, _cubic(0, 0.5)),
    "mitchellcubic": (2, _cubic(1 / 3, 1 / 3)),
    "lanczos3": (3, _lanczos(3)),
    "lanczos5": (5, _lanczos(5)),
    "gaussian": (1.5, lambda x: np.exp(-2 * x * x)),
}
INTERPOLATIONS = ("nearest", "area", *KERNELS)


@lru_cache(64)
def _taps(length: int, new: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (taps, new) into an axis, and their weights, which sum to 1."""
    scale = length / new
    centres = (np.arange(new) + 0.5) * scale
    if kind == "nearest":
        return np.minimum(centres.astype(int), length - 1)[np.newaxis], np.ones((1, new))
    radius, kernel = KERNELS.get(kind, (scale / 2, None))
    first = np.ceil(centres - radius - 0.5 - (kernel is None)).astype(int)
    at = first + np.arange(math.ceil(2 * radius) + 1 + (kernel is None))[:, np.newaxis]
    if kernel is None:  # the share of each pixel that is inside the new one
        ends = np.minimum(at + 1, centres + radius), np.maximum(at, centres - radius)
        weights = np.maximum(ends[0] - ends[1], 0)
    else:
        distance = np.abs(at + 0.5 - centres)
        weights = np.where(distance < radius, kernel(np.minimum(distance, radius)), 0)
    weights[(at < 0) | (at >= length)] = 0
    used = weights.any(axis=1)
    weights = weights[used] / weights.sum(axis=0)
    return at[used].clip(0, length - 1), weights


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
        rows = max(min(height, int(width * high / wide)), 1)
        columns = max(min(width, int(height * wide / high)), 1)
        top, left = int((height - rows) / 2), int((width - columns) / 2)
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
