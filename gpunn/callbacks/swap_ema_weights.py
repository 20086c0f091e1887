"""Evaluate, and save, with the moving average of the weights."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gpunn.common.fields import field

from .callback import Callback, Logs


class SwapEMAWeights(Callback):
    """Replaces the weights by the optimizer's moving average of them for each evaluation,
    validation and prediction, and restores the weights after it.

    Args:
        swap_on_epoch: also from the end of an epoch to the beginning of the next one, so that
            callbacks after this one, such as `ModelCheckpoint`, see the average.

    Raises:
        ValueError: if the model's optimizer keeps no average (``use_ema=True``).

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile(gpunn.optimizers.SGD(0.1, use_ema=True), "mse")
    >>> swap = gpunn.callbacks.SwapEMAWeights()
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=[swap])
    >>> sorted(history.history)  # val_loss is of the averages
    ['loss', 'val_loss']
    """

    swap_on_epoch: bool = field(default=False)
    _weights = cast("list[np.ndarray] | None", None)  # while the average replaces them

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        if not getattr(model.optimizer, "use_ema", False):
            raise ValueError(
                f"SwapEMAWeights: {model.name} has no optimizer with use_ema=True, which keeps "
                f"the average of the weights."
            )

    def _put_average(self) -> None:
        if self._weights is None:
            self._weights = self.model.get_weights()
            self.model.optimizer.finish(self.model._storage)

    def _put_weights(self) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)
            self._weights = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._put_weights()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.swap_on_epoch:
            self._put_average()

    def on_train_end(self, logs: Logs = None) -> None:
        self._weights = None  # the average replaces them for good

    def release(self) -> None:
        """Put the weights back if training, an evaluation or a prediction ends with an error."""
        self._put_weights()

    def on_test_begin(self, logs: Logs = None) -> None:
        self._put_average()

    def on_test_end(self, logs: Logs = None) -> None:
        self._put_weights()

    on_predict_begin, on_predict_end = on_test_begin, on_test_end
