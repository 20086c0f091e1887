"""Test the moving average of weights: when it replaces them, and when not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers
from gpunn.optimizers import SGD

each_backend = pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])


def line(backend: str, **options: Any) -> Any:
    """y = w x; the weight grows by 1 each update while it is below its target."""
    model = gpunn.Sequential(
        [layers.Input((1,)), layers.Dense(1, use_bias=False, name="line")], backend=backend
    )
    model.compile(SGD(1.0, use_ema=True, ema_momentum=0.5, **options), "mae")
    model.set_weights([[[0.0]]])
    return model


ONE, FAR = np.ones((1, 1), "float32"), np.full((1, 1), 1000.0, "float32")


def weight(model: Any) -> float:
    return float(model.get_weights()[0].item())


@each_backend
@pytest.mark.parametrize("swap", [None, False, True])
@pytest.mark.parametrize("validated", [False, True])
def test_a_fit_ends_with_the_average_for_good(
    backend: str, swap: bool | None, validated: bool
) -> None:
    """The weights are 1, 2, 3, 4; their average 1, 1.5, 2.25, 3.125."""
    model = line(backend)
    seen: list[float] = []
    watch = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(weight(model)),
        on_train_end=lambda logs: seen.append(weight(model)),
    )
    swapping = [] if swap is None else [callbacks.SwapEMAWeights(swap_on_epoch=swap)]
    model.fit(
        ONE, FAR, epochs=4, verbose=0, callbacks=[*swapping, watch],
        validation_data=(ONE, FAR) if validated else None,
    )  # fmt: skip
    assert seen == [0, 1, 2, 3, 3.125] and weight(model) == 3.125
    assert model.predict(ONE, verbose=0).item() == 3.125
    assert model.evaluate(ONE, FAR, verbose=0) == 1000 - 3.125
    assert weight(model) == 3.125


@each_backend
def test_what_is_swapped_in_for_a_look_is_swapped_back(backend: str) -> None:
    """After three batches, without a completed fit: the weight is 3, the average 2.25."""
    model = line(backend)
    for _ in range(3):
        model.train_on_batch(ONE, FAR)
    for _ in range(2):
        swap = callbacks.SwapEMAWeights()
        assert model.evaluate(ONE, FAR, verbose=0, callbacks=[swap]) == 1000 - 2.25
        assert weight(model) == 3
        assert model.predict(ONE, verbose=0, callbacks=[swap]).item() == 2.25
        assert weight(model) == 3
    model.train_on_batch(ONE, FAR)
    assert weight(model) == 4


@each_backend
@pytest.mark.parametrize("overwriting", [None, 1])
def test_no_average_is_written_over_frozen_weights(backend: str, overwriting: int | None) -> None:
    """It was frozen at 3 when its average was 2.25, and stays 3 whatever writes averages."""
    model = gpunn.Sequential(
        [layers.Input((1,)), *(layers.Dense(1, use_bias=False, name=n) for n in ("a", "b"))],
        backend=backend,
    )
    model.compile(SGD(1.0, use_ema=True, ema_momentum=0.5), "mae")
    model.set_weights([[[0.0]], [[1.0]]])
    model.layers[1].trainable = False
    for _ in range(3):
        model.train_on_batch(ONE, FAR)
    assert [w.item() for w in model.get_weights()] == [3, 1]
    for layer in model.layers:
        layer.trainable = layer.name == "b"
    model.optimizer.ema_overwrite_frequency = overwriting
    seen: list[float] = []
    watch = callbacks.LambdaCallback(
        on_test_begin=lambda logs: seen.append(weight(model)),
        on_epoch_begin=lambda epoch, logs: seen.append(weight(model)),
    )
    swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
    model.fit(ONE, FAR, epochs=2, verbose=0, callbacks=[swap, watch], validation_data=(ONE, FAR))
    assert seen == [3, 3, 3, 3] and weight(model) == 3
    model.evaluate(ONE, FAR, verbose=0, callbacks=[swap, watch])
    assert seen[-1] == 3 and weight(model) == 3
