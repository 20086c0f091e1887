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
            loss = made.scale_loss(ops.sum(y * y))
        gradients = tape.gradient(loss, layer.trainable_variables)
        made.apply(FORMS[form](gradients), layer.trainable_variables)
    return [np.asarray(w) for w in layer.get_weights()]


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", registered.names("optimizer"))
def test_a_step_by_hand_is_that_of_the_loss_itself(
    backend: str, name: str, form: str, connected: bool
) -> None:
    expected = stepped(name, backend, None, "of a tape", connected)
    for one, other in zip(stepped(name, backend, 8.0, form, connected), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
@pytest.mark.parametrize(
    "inner", ["adam", gpunn.optimizers.Adam(loss_scale_factor=4.0)], ids=["name", "object"]
)
def test_an_optimizer_of_half_precision_is_the_inner_one(keras: Any, inner: Any) -> None:
    """A step on gradients of float32 is that of Keras, which scales them up and down."""
    with pytest.warns(UserWarning, match="gpunn trains in float32, so adam trains without a scale"):
        ours = gpunn.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**10)
    theirs = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=2.0**10)
    w = np.ones(3, np.float32)
    v = keras.Variable(w)
    theirs.build([v])
    for _ in range(5):
        given = np.arange(3, dtype="float32")
        ours.apply([given * float(ours.scale_loss(1.0))], [w])
        theirs.apply([keras.ops.convert_to_tensor(given) * theirs.scale_loss(1.0)], [v])
    np.testing.assert_allclose(w, keras.ops.convert_to_numpy(v), rtol=1e-6)
    assert ours.loss_scale_factor is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"dynamic": False}, ValueError), ({"clipnorm": 1.0}, ValueError), ({"scale": 1}, TypeError)],
    ids=str,
)
def test_what_the_wrapper_does_not_take(arguments: dict[str, Any], error: type) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        gpunn.optimizers.LossScaleOptimizer("adam", **arguments)
