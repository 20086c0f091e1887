"""Base class of callbacks that watch one figure: which way is better, and by how much."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from gpunn.common.names import closest, warn
from gpunn.common.registry import lookup
from gpunn.metrics import Mean

from .callback import Callback, Logs


def check_mode(name: str, value: Any) -> Any:
    """Return ``value`` if it is a mode, else ``"auto"`` with a warning."""
    if value in ("auto", "min", "max"):
        return value
    warn(f"{name} {value!r} is unknown: using 'auto'; expected 'auto', 'min' or 'max'.")
    return "auto"


def check_min_delta(name: str, value: Any) -> Any:
    """Return the absolute value."""
    return abs(value)


class _MonitorCallback(Callback):
    """Watches ``logs[monitor]``; smaller is better with ``mode="min"``.

    A subclass has a field ``monitor``, and fields for the other attributes that can be chosen.
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
        trainer = getattr(self.model, "_trainer", None)
        for measure in trainer.measures if trainer else ():
            if measure.name == name:
                return measure.metric.direction
        for metric in trainer.layer_metrics if trainer else ():
            if metric.name == name and type(metric) is not Mean:  # that may be one of anything
                return metric.direction
        if name == "loss" or (trainer and name in trainer.loss_names):  # the loss of an output
            return "down"
        with contextlib.suppress(ValueError):
            return lookup("metric", name).direction  # type: ignore[attr-defined]
        with contextlib.suppress(ValueError):
            lookup("loss", name)
            return "down"
        prefix = self.monitor.removesuffix(name)
        known = [prefix + one for one in trainer.log_names] if trainer else []
        raise ValueError(
            f"monitor={self.monitor!r}: it is unknown whether a higher or a lower one is better. "
            f"Pass mode='max' or mode='min'.{closest(self.monitor, known)}"
        )

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return True
        if self._direction() == "down":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def _value(self, logs: Logs) -> float | None:
        """Return the watched figure, or None with a warning that lists the available ones."""
        logs = logs or {}
        if self.monitor not in logs:
            known = sorted(logs)
            warn(
                f"{type(self).__name__} watches {self.monitor!r}, which is not among the "
                f"figures of this epoch: {', '.join(known)}.{closest(self.monitor, known)}"
                + (
                    " Pass validation_data to fit to get it."
                    if self.monitor.startswith("val_") and self.monitor[4:] in logs
                    else ""
                )
            )
            return None
        return float(logs[self.monitor])
