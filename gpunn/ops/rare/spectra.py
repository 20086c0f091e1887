"""Fourier transforms. A complex tensor is a pair of real ones: (real, imag).

All of them are one primitive: sums with turning signs, which is its own derivative with the other
sign.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array
from gpunn.common.arguments import check_choice, check_integer
from gpunn.ops.conversion import convert, floats, promoted
from gpunn.ops.primitive import Gradients, Primitive
from gpunn.ops.tensor import Tensor, constant, operation, ops

Pair = tuple[Tensor, Tensor]

WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}  # a - b cos(2 pi t), by name
NOTHING = 1e-10  # sums of squared windows of at most this leave a sample as it is


def _transform(xp: Any, z: Array, out: Array, *, sign: int) -> None:
    """Write the sums of one sign, of pairs z (..., n, 2)."""
    whole = xp.empty(z.shape[:-1], np.result_type(z.dtype, np.complex64))
    xp.copyto(whole.real, z[..., 0])
    xp.copyto(whole.imag, z[..., 1])
    if whole.size:
        whole = xp.fft.fft(whole) if sign < 0 else xp.fft.ifft(whole, norm="forward")
    xp.copyto(out[..., 0], whole.real)
    xp.copyto(out[..., 1], whole.imag)


def _compute(backend: Any, out: Array, z: Array, sign: int) -> None:
    backend.apply(partial(_transform, sign=sign), z, out)


def _gradient(dy: Tensor, y: Tensor, z: Tensor, sign: int) -> Gradients:
    return (_turning_sum(dy, sign=-sign),)


# y_k = sum over j of z_j exp(sign 2 pi i j k / n), along the axis before the last
_turning_sum = Primitive("fft", _compute, lambda z, sign: z, gradient=_gradient)


def _joined(x: Any, axes: int = 1) -> Tensor:
    """Return a pair as one tensor (..., 2)."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        what = f"{len(x)} of them" if isinstance(x, (tuple, list)) else type(x).__name__
        raise ValueError(f"x must be a pair of tensors, (real, imag); got {what}.")
    real, imag = promoted(*x, at_least="float")
    if real.shape != imag.shape:
        raise ValueError(
            f"x must be a pair of equal shapes, (real, imag); got {real.shape} and {imag.shape}."
        )
    _check_samples(real, axes)
    return ops.stack([real, imag], -1)


def _check_samples(x: Tensor, axes: int = 1) -> None:
    if x.ndim < axes or 0 in x.shape[x.ndim - axes :]:
        form = "(..., samples)" if axes == 1 else "(..., rows, samples)"
        raise ValueError(f"x must be {form}, with at least one of each; got shape {x.shape}.")


def _pair(z: Tensor) -> Pair:
    return z[..., 0], z[..., 1]


def _in_two_directions(z: Tensor, sign: int) -> Tensor:
    by_rows = ops.swapaxes(_turning_sum(z, sign=sign), -2, -3)
    return ops.swapaxes(_turning_sum(by_rows, sign=sign), -2, -3)


@operation
def fft(x: Any) -> Pair:
    """Transform complex samples into frequencies: ``y_k = sum_j x_j exp(-2 pi i j k / n)``.

    Args:
        x: a pair (real, imag) of tensors (..., n). Integers become floats (floatx).

    Returns:
        a pair (real, imag) of tensors of this shape.

    Raises:
        ValueError: if x is no pair of equal shapes, or has no samples.

    >>> from gpunn import ops
    >>> real, imag = ops.fft(([1.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.0]))
    >>> real.tolist()
    [0.0, 2.0, 0.0, 2.0]
    """
    return _pair(_turning_sum(_joined(x), sign=-1))


@operation
def fft2(x: Any) -> Pair:
    """Transform complex samples along the last two axes, as `fft` does along one.

    Args:
        x: a pair (real, imag) of tensors (..., m, n). Integers become floats (floatx).

    Returns:
        a pair (real, imag) of tensors of this shape.

    Raises:
        ValueError: if x is no pair of equal shapes, or has no samples.

    >>> from gpunn import ops
    >>> real, imag = ops.fft2((ops.ones((2, 2)), ops.zeros((2, 2))))
    >>> real.tolist()
    [[4.0, 0.0], [0.0, 0.0]]
    """
    return _pair(_in_two_directions(_joined(x, 2), -1))


@operation
def ifft2(x: Any) -> Pair:
    """Invert `fft2`: ``y_jk = sum_pq x_pq exp(2 pi i (j p / m + k q / n)) / (m n)``.

    Arguments, result and errors: as for `fft2`.

    >>> from gpunn import ops
    >>> real, imag = ops.ifft2(([[4.0, 0.0], [0.0, 0.0]], ops.zeros((2, 2))))
    >>> real.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    z = _joined(x, 2)
    return _pair(_in_two_directions(z, 1) / float(z.shape[-2] * z.shape[-3]))


@operation
def rfft(x: Any, fft_length: int | None = None) -> Pair:
    """Transform real samples into frequencies 0 to n // 2, as `fft`; the others are conjugates.

    Args:
        x: a tensor (..., samples). Integers become floats (floatx).
        fft_length: n: further samples are cut off, missing ones are 0. By default all of them.

    Returns:
        a pair (real, imag) of tensors (..., n // 2 + 1).

    Raises:
        ValueError: if x has no samples, or ``fft_length`` is not a positive integer.

    >>> from gpunn import ops
    >>> real, imag = ops.rfft([1.0, 0.0, -1.0, 0.0])
    >>> real.tolist()
    [0.0, 2.0, 0.0]
    """
    x = floats(x)
    _check_samples(x)
    n = check_integer("fft_length", fft_length, 1, x.shape[-1])
    x = _of_length(x, n)
    found = _turning_sum(ops.stack([x, ops.zeros_like(x)], -1), sign=-1)
    return _pair(found[..., : n // 2 + 1, :])


@operation
def irfft(x: Any, fft_length: int | None = None) -> Tensor:
    """Invert `rfft`.

    Args:
        x: a pair (real, imag) of tensors (..., frequencies), of frequency 0 and up. Integers become
            floats (floatx). The imaginary parts of frequency 0, and of n / 2, do not count.
        fft_length: n, the number of samples: further frequencies are cut off, missing ones are 0.
            By default twice the number of frequencies, less 2.

    Returns:
        a tensor (..., n).

    Raises:
        ValueError: if x is no pair of equal shapes, or has no frequencies, or ``fft_length`` is not
            a positive integer.

    >>> from gpunn import ops
    >>> ops.irfft(([0.0, 2.0, 0.0], [0.0, 0.0, 0.0])).tolist()
    [1.0, 0.0, -1.0, 0.0]
    """
    z = _joined(x)
    n = check_integer("fft_length", fft_length, 1, 2 * (z.shape[-2] - 1))
    if n < 1:
        raise ValueError("x of one frequency needs fft_length, the number of samples.")
    z = ops.swapaxes(_of_length(ops.swapaxes(z, -1, -2), n // 2 + 1), -1, -2)
    others = ops.flip(z[..., 1 : (n + 1) // 2, :], -2) * np.array([1.0, -1.0], z.dtype)
    whole = ops.concatenate([z, others], -2)
    found: Tensor = _turning_sum(whole, sign=1)[..., 0] / float(n)
    return found


def _of_length(x: Tensor, n: int) -> Tensor:
    """Cut the last axis to n, or fill it up with zeros."""
    if x.shape[-1] < n:
        return ops.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - x.shape[-1])])
    return x[..., :n]


# -- windows that follow one another


@operation
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Tensor:
    """Cut samples into sequences that begin every ``sequence_stride`` samples.

    Args:
        x: a tensor (..., samples), of any dtype.
        sequence_length: the number of samples in a sequence.
        sequence_stride: from the beginning of one to that of the next.

    Returns:
        a tensor (..., sequences, sequence_length); samples after the last whole one are left out.

    Raises:
        ValueError: if an argument is not a positive integer, or no sequence fits.

    >>> from gpunn import ops
    >>> ops.extract_sequences([1, 2, 3, 4, 5, 6], 3, 2).tolist()
    [[1, 2, 3], [3, 4, 5]]
    """
    x = convert(x)
    length = check_integer("sequence_length", sequence_length, 1)
    stride = check_integer("sequence_stride", sequence_stride, 1)
    if x.ndim < 1 or x.shape[-1] < length:
        raise ValueError(
            f"x must be (..., samples), with at least {length} of them, the length of a sequence; "
            f"got shape {x.shape}."
        )
    count = (x.shape[-1] - length) // stride + 1
    return ops.take(x, _places(count, length, stride), axis=-1)


def _places(count: int, length: int, stride: int) -> np.ndarray:
    """Return the samples (count, length) of sequences."""
    return np.arange(length, dtype=np.int32) + stride * np.arange(count, dtype=np.int32)[:, None]


def _weights(window: Any, length: int, fft_length: int, dtype: str) -> Tensor:
    """Return a window (fft_length,), with zeros on both sides."""
    if fft_length < length:
        raise ValueError(
            f"fft_length must be at least sequence_length, {length}; got {fft_length}."
        )
    if window is None:
        return constant(np.ones(fft_length), dtype)
    if isinstance(window, str):
        a, b = WINDOWS[check_choice("window", window, list(WINDOWS))]
        turns = np.arange(length) / length if length > 1 else 0.5  # one sample is in the middle
        weights = constant(np.full(length, a - b * np.cos(2 * np.pi * turns)), dtype)
    else:
        weights = ops.cast(convert(window), dtype)
        if weights.shape != (length,):
            raise ValueError(
                f"window must be (sequence_length,), here ({length},); got shape {weights.shape}."
            )
    before = (fft_length - length) // 2
    return ops.pad(weights, [(before, fft_length - length - before)])


@operation
def stft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann",
    center: bool = True,
) -> Pair:
    """Transform windows of samples into frequencies, see `rfft`: a spectrogram.

    Args:
        x: a tensor (..., samples). Integers become floats (floatx).
        sequence_length: the number of samples in a window.
        sequence_stride: from one window to the next.
        fft_length: n of `rfft`: at least ``sequence_length``. A window is in the middle, between
            zeros.
        window: what samples are multiplied by: "hann", ``0.5 - 0.5 cos(2 pi t)``, "hamming",
            ``0.54 - 0.46 cos(2 pi t)`` (t from 0 to below 1; of one sample, 0.5), a tensor
            (sequence_length,), or None for all ``fft_length`` samples unchanged.
        center: whether x is continued by ``fft_length // 2`` samples on both sides, as in a mirror,
            so that window t has its middle at sample ``t * sequence_stride``.

    Returns:
        a pair (real, imag) of tensors (..., windows, fft_length // 2 + 1).

    Raises:
        ValueError: if x has too few samples, a length is not a positive integer, or the window does
            not fit.

    >>> from gpunn import ops
    >>> real, imag = ops.stft([0.0, 1.0, 2.0, 3.0, 4.0], 3, 2, 3)
    >>> real.numpy().round(3).tolist()
    [[0.75, -0.375], [3.75, -1.875], [5.25, -2.625]]
    """
    x = floats(x)
    length = check_integer("sequence_length", sequence_length, 1)
    n = check_integer("fft_length", fft_length, 1)
    weights = _weights(window, length, n, x.dtype)
    if center:
        _check_samples(x)
        if n // 2 and x.shape[-1] <= n // 2:
            raise ValueError(
                f"x must be (..., samples), with more than fft_length // 2 = {n // 2} of them for "
                f"center=True; got shape {x.shape}."
            )
        x = ops.pad(x, [(0, 0)] * (x.ndim - 1) + [(n // 2, n // 2)], mode="reflect")
    return rfft(extract_sequences(x, n, sequence_stride) * weights, n)


@operation
def istft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int,
    length: int | None = None, window: Any = "hann", center: bool = True,
) -> Tensor:
    """Invert `stft`: the samples whose windows come closest to x.

    Windows w of `irfft` overlap: ``y_t = sum of w x / sum of w^2``, where the latter is not 0.
    Source: D. Griffin and J. Lim (1984).

    Args:
        x: a pair (real, imag) of tensors (..., windows, frequencies). Integers become floats
            (floatx).
        sequence_length, sequence_stride, fft_length, window, center: as in `stft`.
        length: samples of the result, at most; by default all of them, less those that ``center``
            has added.

    Returns:
        a tensor (..., samples).

    Raises:
        ValueError: if x is no pair of equal shapes (..., windows, frequencies), or as for `stft`.

    >>> from gpunn import ops
    >>> x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    >>> y = ops.istft(ops.stft(x, 4, 1, 4), 4, 1, 4)
    >>> y.numpy().round(4).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    own = check_integer("sequence_length", sequence_length, 1)
    n = check_integer("fft_length", fft_length, 1)
    stride = check_integer("sequence_stride", sequence_stride, 1)
    most = check_integer("length", length, 0, None)
    frames = irfft(x, n)
    if frames.ndim < 2 or not frames.shape[-2]:
        raise ValueError(
            f"x must be a pair of tensors (..., windows, frequencies), with at least one of each; "
            f"got shape {(*frames.shape[:-1], '...')}."
        )
    weights = _weights(window, own, n, frames.dtype)
    count = frames.shape[-2]
    squares = _overlapping(ops.broadcast_to(ops.square(weights), (count, n)), stride)
    squares = ops.where(ops.greater(squares, NOTHING), squares, 1.0)
    y = _overlapping(frames * weights, stride) / squares
    first = n // 2 if center else 0
    last = y.shape[-1] - first if most is None else min(first + most, y.shape[-1])
    return y[..., first : max(first, last)]


def _overlapping(frames: Tensor, stride: int) -> Tensor:
    """Add up sequences (..., count, length) that begin every ``stride`` samples."""
    count, length = frames.shape[-2:]
    places = _places(count, length, stride).reshape(-1)
    rows = ops.moveaxis(ops.reshape(frames, (*frames.shape[:-2], count * length)), -1, 0)
    total = ops.segment_sum(rows, places, length + stride * (count - 1))
    return ops.moveaxis(total, 0, -1)


