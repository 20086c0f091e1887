"""Cases of Fourier transforms: pairs of tensors for complex ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import Call, floats, ints, of, oracle

CLOSE: Any = {"values": "keras", "edges": ("zeros",), "scale": "largest", "ulps": 64}


def pair(name: str, *shape: int, unlike: bool = False, **options: Any) -> Call:
    """A call with the parts of complex numbers of a shape."""
    other = (*shape[:-1], shape[-1] + 1) if unlike else shape
    return of(
        floats(*shape), floats(*other, seed=1),
        by=lambda k, real, imag: getattr(k, name)((real, imag), **options),
    )  # fmt: skip


SHAPES = [(8,), (3, 7), (2, 3, 1), (2, 3, 4), (3, 30)]
oracle(
    "fft", *(pair("fft", *s) for s in SHAPES), pair("fft", 4, unlike=True), of(floats(3, 3)),
    **CLOSE,
)  # fmt: skip
for name in ("fft2", "ifft2"):
    oracle(
        name, *(pair(name, *s) for s in ((4, 4), (3, 5), (2, 1, 6), (2, 2, 5, 1))), pair(name, 4),
        pair(name, 2, 4, unlike=True), **CLOSE,
    )  # fmt: skip
oracle(
    "rfft", *(of(floats(*s)) for s in SHAPES),
    *(of(floats(2, 9), fft_length=n) for n in (1, 2, 5, 8, 9, 12)), of(floats()),
    of(floats(4), fft_length=0), **CLOSE,
)  # fmt: skip
oracle(
    "irfft", *(pair("irfft", *s) for s in ((5,), (2, 2), (3, 2, 6))),
    *(pair("irfft", 2, 5, fft_length=n) for n in (1, 2, 5, 8, 9, 12)), pair("irfft", 2, 1),
    pair("irfft", 2, 3, unlike=True), **CLOSE,
)  # fmt: skip

SAMPLES = floats(2, 25)
oracle(
    "extract_sequences",
    *(
        of(floats(*s), sequence_length=n, sequence_stride=k)
        for s in ((9,), (2, 3, 8)) for n, k in ((3, 2), (1, 1), (8, 3), (2, 5))
    ),
    of(ints(2, 7), sequence_length=3, sequence_stride=1),
    of(floats(3), sequence_length=4, sequence_stride=1),
    of(floats(3), sequence_length=2, sequence_stride=0), values="keras", edges=(), ulps=0,
)  # fmt: skip


def cut(length: int, stride: int, whole: int) -> dict[str, int]:
    return {"sequence_length": length, "sequence_stride": stride, "fft_length": whole}


WINDOWS: list[dict[str, Any]] = [
    cut(8, 4, 8),
    {**cut(7, 2, 7), "window": "hamming"},
    {**cut(9, 3, 9), "window": "hamming"},
    {**cut(6, 3, 6), "window": np.linspace(0.5, 1.5, 6, dtype=np.float32)},
]
oracle(
    "stft", *(of(SAMPLES, **how) for how in WINDOWS), of(floats(3, 2, 12), **cut(4, 3, 6)),
    of(SAMPLES, **cut(4, 2, 9), center=False), of(SAMPLES, **cut(8, 3, 8), window=None),
    of(SAMPLES, **cut(9, 2, 8)), of(SAMPLES, **cut(8, 2, 8), window="blackman"),
    of(SAMPLES, **cut(8, 0, 8)), of(SAMPLES, **cut(8, 2, 8), window=np.ones(7, np.float32)),
    of(floats(3), **cut(8, 2, 8)), **CLOSE,
)  # fmt: skip


def back(*shape: int, **how: Any) -> Call:
    """A call that inverts any windows (..., windows, frequencies)."""
    return pair("istft", *shape, how["fft_length"] // 2 + 1, **how)


# Samples at the ends are divided by small squares.
oracle(
    "istft", *(back(2, 5, **how) for how in WINDOWS), back(5, **WINDOWS[0], length=11),
    back(2, 3, **WINDOWS[1]), pair("istft", 5, **cut(8, 2, 8)), **{**CLOSE, "ulps": 2048},
)  # fmt: skip
