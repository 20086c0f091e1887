"""Fourier transforms beside their definitions, and in models."""

from __future__ import annotations

from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
import scipy.signal
from numpy.testing import assert_allclose
from operation_cases.case import floats
from operation_cases.computed import BACKENDS

import gpunn
from gpunn import layers, ops

WAYS = [
    {"sequence_length": 8, "sequence_stride": 2, "fft_length": 8},
    {"sequence_length": 7, "sequence_stride": 2, "fft_length": 12, "window": "hamming"},
    {"sequence_length": 9, "sequence_stride": 4, "fft_length": 11, "window": None},
    {"sequence_length": 5, "sequence_stride": 5, "fft_length": 5, "window": np.arange(1.0, 6.0)},
]


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_windows_of_frequencies_give_their_samples_back(way: dict[str, Any], center: bool) -> None:
    """Also where Keras on PyTorch gives others: without a window, or with a shorter one."""
    x = floats(2, 40)
    y = ops.istft(ops.stft(x, **way, center=center), **way, center=center).numpy()
    read = slice(12, y.shape[-1] - 12)  # at the ends, few windows, or none, have a sample
    assert y.shape[-1] > 30
    assert_allclose(y[:, read], x[:, read], rtol=0, atol=2e-6)


@pytest.mark.parametrize("way", WAYS)
def test_a_window_is_weighed_and_lies_between_zeros(way: dict[str, Any]) -> None:
    x, (length, stride, n) = floats(40), list(way.values())[:3]
    t = np.arange(length) / length
    shapes = {"hann": 0.5 - 0.5 * np.cos(2 * np.pi * t)}
    shapes["hamming"] = 0.54 - 0.46 * np.cos(2 * np.pi * t)
    window = way.get("window", "hann")
    weights = np.ones(n)
    if window is not None:
        own = shapes[window] if isinstance(window, str) else window
        before = (n - length) // 2
        weights = np.pad(own, (before, n - length - before))
    begins = range(0, 40 - n + 1, stride)
    expected = np.array([np.fft.rfft(x[k : k + n] * weights) for k in begins])
    real, imag = ops.stft(x, **way, center=False)
    assert_allclose(real.numpy() + 1j * imag.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("window", ["hann", "hamming"])
def test_a_window_of_one_sample_keeps_it(window: str) -> None:
    x = floats(2, 9)
    shape = scipy.signal.get_window(window, 1)
    real, imag = ops.stft(x, 1, 2, 4, window=window, center=False)
    expected = shape * x[:, 1:7:2, None] * np.exp(-0.5j * np.pi * np.arange(3))
    assert_allclose(real.numpy() + 1j * imag.numpy(), expected, rtol=0, atol=1e-6)


def test_no_rows_are_no_error() -> None:
    none = np.zeros((0, 8))
    assert ops.fft((none, none))[0].shape == (0, 8)
    assert ops.irfft(ops.rfft(none)).shape == (0, 8)
    assert ops.stft(none, 4, 2, 4)[1].shape == (0, 5, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_learns_from_spectra(backend: str) -> None:
    """Two pitches at any phase: their samples are alike, and their powers are not."""
    random = np.random.default_rng(0)
    y = np.arange(64) % 2
    phases = random.uniform(0, 2 * np.pi, (64, 1))
    x = np.sin(np.where(y, 9, 5)[:, None] * np.linspace(0, 2 * np.pi, 64) + phases)

    def power(x: Any) -> Any:
        real, imag = ops.stft(x, 16, 8, 16)
        return ops.mean(ops.square(real) + ops.square(imag), 1)

    with gpunn.utils.seeded(1):
        sound = gpunn.Input((64,))
        spectrum = layers.Lambda(power)(sound)
        assert spectrum.shape == (None, 9)
        model = gpunn.Model(sound, layers.Dense(1, "sigmoid")(spectrum), backend=backend)
    model.compile(gpunn.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=12, batch_size=16, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.fft(np.ones(4)), "fft: x must be a pair of tensors, .*; got ndarray"),
        (lambda: ops.fft([np.ones(4)] * 3), "fft: x must be a pair .*; got 3 of them"),
        (lambda: ops.rfft(np.ones((2, 0))), "rfft: x must be .* got shape .2, 0."),
        (lambda: ops.rfft(np.ones(4), -1), "rfft: fft_length must be .* at least 1; got -1"),
        (lambda: ops.irfft((np.ones(1), np.ones(1))), "irfft: x of one frequency needs fft_length"),
        (lambda: ops.extract_sequences(np.ones(3), 4, 1), "at least 4 of them.*got shape .3,"),
        (lambda: ops.stft(np.ones(9), 6, 2, 4), "stft: fft_length must be at least .*6; got 4"),
        (lambda: ops.stft(np.ones(9), 4, 2, 4, "flat"), "window must be one of hann, hamming"),
        (lambda: ops.stft(np.ones(3), 8, 2, 8), "more than fft_length // 2 = 4 of them"),
        (lambda: ops.istft((np.ones(3), np.ones(3)), 4, 2, 4), "istft: x must be a pair"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_what_is_expected(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
