"""Gradients of a loss that was scaled up: a step divides them by ``loss_scale_factor``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn import layers, ops

FORMS = {
    "of a tape": lambda gradients: gradients,
    "arrays": lambda gradients: [np.asarray(g) for g in gradients],
    "computed": lambda gradients: [g * 1.0 for g in gradients],
}


def stepped(name: str, backend: str, factor: float | None, form: str, connected: bool) -> Any:
    gpunn.use_backend(backend)
    mask = np.array([[1, 0], [1, 1], [0, 1]]) if connected else None
    layer = layers.Dense(2, kernel_initializer="ones", connections=mask)
    layer.build((None, 3))
    options = registered.examples("optimizer", name)[0]
    made = getattr(gpunn.optimizers, name)(**{**options, "loss_scale_factor": factor})
    for k in range(3):
        with gpunn.GradientTape() as tape:
            y = layer(np.arange(6.0, dtype="float32").reshape(2, 3) / 8 + k)
            loss = ops.sum(y * y) * (factor or 1.0)
        gradients = tape.gradient(loss, layer.trainable_variables)
        made.apply(FORMS[form](gradients), layer.trainable_variables)
    return [np.asarray(w) for w in layer.get_weights()]


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", registered.names("optimizer"))
def test_a_step_by_hand_is_that_of_the_loss_itself(
    backend: str, name: str, form: str, connected: bool
) -> None:
    if name == "LossScaleOptimizer":
        pytest.skip("it scales by itself")
    expected = stepped(name, backend, None, "of a tape", connected)
    for one, other in zip(stepped(name, backend, 8.0, form, connected), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6)
