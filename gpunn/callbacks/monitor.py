"""What callbacks that watch one figure share: which way is better, and by how much."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, cast

from gpunn.common.arguments import warn
from gpunn.common.names import closest
from gpunn.common.registry import lookup

from .callback import Callback, Logs


def check_mode(name: str, value: Any) -> Any:
    """``value`` if it is a mode, else ``"auto"`` with a warning."""
    if value in ("auto", "min", "max"):
        return value
    warn(f"{name} {value!r} is unknown: 'auto' is taken; there are 'auto', 'min' and 'max'.")
    return "auto"


def check_min_delta(name: str, value: Any) -> Any:
    """How far ``value`` is from 0."""
    return abs(value)


class _MonitorCallback(Callback):
    """Watches ``logs[monitor]``; smaller is better with ``mode="min"``.

    A subclass has a field ``monitor``, and fields for what else of these is to be chosen.
    """

    monitor = ""
    mode = "auto"
    min_delta = 0.0
    best = cast("float | None", None)

    def _direction(self) -> str:
        """``"down"`` if smaller values are better, else ``"up"``."""
        if self.mode != "auto":
            return "down" if self.mode == "min" else "up"
        name = self.monitor.removeprefix("val_")
        trainer = getattr(self.model, "trainer", None)
        for measure in trainer.measures if trainer else ():
            if measure.name == name:
                return measure.metric.direction
        if name == "loss" or (trainer and name in trainer.log_names):  # the loss of an output
            return "down"
        with contextlib.suppress(ValueError):
            return lookup("metric", name).direction  # type: ignore[attr-defined]
        with contextlib.suppress(ValueError):
            lookup("loss", name)
            return "down"
        raise ValueError(
            f"{type(self).__name__} cannot tell whether more or less of {self.monitor!r} is "
            f"better: give mode='max' or mode='min'."
        )

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return True
        if self._direction() == "down":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def _value(self, logs: Logs) -> float | None:
        """The watched figure, or None with a warning that says what there is instead."""
        logs = logs or {}
        if self.monitor not in logs:
            known = sorted(logs)
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not among the "
                f"figures of this epoch: {', '.join(known)}.{closest(self.monitor, known)}"
                + (
                    " Give fit validation_data to have it."
                    if self.monitor.startswith("val_") and self.monitor[4:] in logs
                    else ""
                ),
                stacklevel=2,
            )
            return None
        return float(logs[self.monitor])
