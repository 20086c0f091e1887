"""Products, minima and maxima of inputs with masks, compared with Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own
STEPS, CODES = 5, 7


def model(library: Any, kind: str, masks: str, sequences: bool) -> Any:
    """Merge three inputs, of which some have a mask."""
    of, inputs, read = library.layers, [], []
    for masked in masks:
        inputs.append(library.Input((STEPS,), dtype="int32"))
        read.append(of.Embedding(CODES, 3, mask_zero=masked == "m")(inputs[-1]))
    merged = getattr(of, kind)()(read)
    return library.Model(inputs, of.LSTM(2, return_sequences=True)(merged) if sequences else merged)


@pytest.mark.parametrize("masks", ["mm-", "-m", "m-", pytest.param("mmm", marks=pytest.mark.more)])
@pytest.mark.parametrize("kind", ["Multiply", "Minimum", "Maximum"])
def test_a_masked_step_leaves_the_other_inputs(
    every_backend: str, keras: Any, kind: str, masks: str
) -> None:
    gpunn.use_backend(every_backend)
    random = np.random.default_rng(1)
    xs = [random.integers(0, 3, (6, STEPS)) for _ in masks]
    for sequences in (False, True) if set(masks) == {"m"} else (False,):
        ours, theirs = (model(library, kind, masks, sequences) for library in (gpunn, keras))
        ours.set_weights(theirs.get_weights())
        expected = theirs.predict(xs, verbose=0)
        np.testing.assert_allclose(ours.predict(xs, verbose=0), expected, 1e-6, 1e-6)
        y = random.standard_normal(expected.shape)
        for library, one in ((gpunn, ours), (keras, theirs)):
            one.compile(library.optimizers.SGD(0.5), "mse")
            one.train_on_batch(xs, y)
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, 1e-5, 1e-6)


def test_inputs_with_fewer_axes_and_all_masked() -> None:
    of = gpunn.layers
    x = np.array([[[2.0, 3.0], [0.0, 0.0]]], "float32")
    both = of.Multiply()([of.Masking()(x), np.array([[4.0, 5.0]], "float32")])
    np.testing.assert_array_equal(both, [[[8, 15], [4, 5]]])
    np.testing.assert_array_equal(of.Multiply()([of.Masking()(x)] * 2)[0], [[4, 9], [0, 0]])
