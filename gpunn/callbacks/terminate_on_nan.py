"""Stop when the loss is NaN or infinite."""

from __future__ import annotations

import math

from gpunn.common.fields import field

from .callback import Callback, Logs


class TerminateOnNaN(Callback):
    """Stops training after the batch whose running loss is NaN or infinite.

    It reads the loss after every batch, which slows training down.

    Args:
        raise_error: raise instead of stopping, so that `on_train_end` is not reached.

    Raises:
        RuntimeError: with ``raise_error``, naming the batch.
    """

    raise_error: bool = field(default=False)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: the loss is {loss} after batch {batch}.")
        self._print(f"Batch {batch}: the loss is {loss}, training stops.")
        self.model.stop_training = True
