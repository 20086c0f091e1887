"""Keras's ScheduleFreeAdamW as it is meant, and as it is with TensorFlow or JAX.

It keeps ``momentum.value`` to use it after the update. With PyTorch that is the same memory, which
then holds the new values, unless reading it makes a copy.
"""

from __future__ import annotations

from typing import Any

import pytest


def with_copied_momentum(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Copied(keras.Variable):
        @property
        def value(self) -> Any:
            return super().value.clone()

        def _direct_assign(self, value: Any) -> None:
            with torch.no_grad():
                super().value.copy_(value)

    cls = keras.optimizers.ScheduleFreeAdamW
    build = cls.build

    def built(self: Any, variables: Any) -> None:
        build(self, variables)
        for momentum in self._momentums:
            momentum.__class__ = Copied

    monkeypatch.setattr(cls, "build", built)
