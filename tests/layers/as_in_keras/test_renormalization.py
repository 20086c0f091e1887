"""Batch renormalization, compared with Keras: the same weights give the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras's own
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(1, 3, (24, 4, 3)).astype("float32")
Y = RANDOM.normal(size=X.shape).astype("float32")
LIMITS = {"rmax": 1.2, "rmin": 0.9, "dmax": 0.3}


def trained(lib: Any, options: dict[str, Any]) -> Any:
    inputs = lib.Input((4, 3))
    x = lib.layers.Dense(3, kernel_initializer="identity")(inputs)
    x = lib.layers.BatchNormalization(renorm=True, name="norm", **options)(x)
    model = lib.Model(inputs, x)
    model.compile(lib.optimizers.SGD(0.1), "mse")
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


@pytest.mark.in_turn(3)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"renorm_clipping": LIMITS, "renorm_momentum": 0.7, "center": False},
        {"axis": 1, "scale": False, "momentum": 0.5},
    ],
    ids=str,
)
def test_steps_and_predictions_are_those_of_keras(
    every_backend: str, keras: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    gpunn.use_backend(every_backend)
    theirs, ours = (trained(lib, options) for lib in (keras, gpunn))
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    for found, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    found = ours.predict(X, verbose=0)
    np.testing.assert_allclose(found, theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-5)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras"), gpunn.models.load_model(
        tmp_path / "theirs.keras"
    )
    for model in loaded:
        np.testing.assert_allclose(model.predict(X, verbose=0), found, rtol=1e-4, atol=1e-5)
        assert model.get_layer("norm").renorm_momentum == options.get("renorm_momentum", 0.99)


def test_the_deviations_begin_at_the_root_of_the_variance() -> None:
    four = gpunn.initializers.Constant(4.0)
    layer = gpunn.layers.BatchNormalization(renorm=True, moving_variance_initializer=four)
    layer.build((None, 5))
    np.testing.assert_array_equal(layer.moving_stddev, np.full(5, 2.0))
    np.testing.assert_array_equal(layer.renorm_stddev, np.full(5, 2.0))
