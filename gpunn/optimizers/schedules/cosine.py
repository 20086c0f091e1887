"""Schedules made of pieces of a cosine, with warm-up, restarts, or one rise and fall."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.arguments import check_choice, check_fraction, check_number

from .schedule import LearningRateSchedule, check_rate, check_steps


class CosineDecay(LearningRateSchedule):
    """rate * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha), after a warm-up.

    Loshchilov and Hutter, "SGDR", 2017. With ``warmup_target`` the rate first rises on a
    straight line from ``initial_learning_rate`` to it, and the decay begins there.

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps of the decay, the warm-up not counted.
        alpha: the smallest value as a fraction of the largest.
        name: kept for Keras's scripts.
        warmup_target: None for no warm-up.
        warmup_steps: its steps.

    >>> CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10)(5)
    0.05
    """

    functor = "CosineDecay"
    examples = (
        {"initial_learning_rate": 0.1, "decay_steps": 9, "alpha": 0.1},
        {"initial_learning_rate": 0.0, "decay_steps": 9, "warmup_target": 0.2, "warmup_steps": 4},
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = check_rate("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.alpha = check_rate("alpha", alpha)
        self.name = name
        self.warmup_target = (
            None if warmup_target is None else check_rate("warmup_target", warmup_target)
        )
        check_rate("warmup_steps", warmup_steps)
        self.warmup_steps = warmup_steps

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        first = self.initial_learning_rate
        if self.warmup_target is None:
            return (first, first, 0.0, self.decay_steps, self.alpha)
        return (first, self.warmup_target, self.warmup_steps, self.decay_steps, self.alpha)

    def __call__(self, step: Any) -> float:
        initial, top, warmup_steps, decay_steps, alpha = self.parameters
        step = float(step)
        if step < warmup_steps:
            return initial + (top - initial) * (step / warmup_steps)
        done = min(step - warmup_steps, decay_steps) / decay_steps
        return top * ((1.0 - alpha) * _half_cosine(done) + alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """A cosine decay that begins anew again and again (Loshchilov and Hutter, 2017).

    Args:
        initial_learning_rate: at step 0.
        first_decay_steps: steps of the first decay.
        t_mul: each decay has so many times the steps of the one before; at least 1.
        m_mul: and begins at so many times its rate.
        alpha: the smallest value as a fraction of ``initial_learning_rate``.
        name: kept for Keras's scripts.

    >>> restarts = CosineDecayRestarts(0.1, first_decay_steps=10)
    >>> restarts(10), restarts(20)  # from 10 to 30, the second
    (0.1, 0.05)
    """

    functor = "CosineDecayRestarts"
    examples = (
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "m_mul": 0.5, "alpha": 0.1},
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.5},
    )

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = check_rate("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = check_steps("first_decay_steps", first_decay_steps)
        self.t_mul = check_number("t_mul", t_mul, 1)
        self.m_mul = check_rate("m_mul", m_mul)
        self.alpha = check_rate("alpha", alpha)
        self.name = name

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        rate, steps = self.initial_learning_rate, self.first_decay_steps
        return (rate, steps, self.t_mul, self.m_mul, self.alpha)

    def __call__(self, step: Any) -> float:
        left, steps, restarts = float(step), float(self.first_decay_steps), 0
        if self.t_mul == 1.0:
            restarts = math.floor(left / steps)
            left -= restarts * steps
        else:  # counted: a logarithm would put a restart a step too late or too early
            while left >= steps:
                left, steps, restarts = left - steps, steps * self.t_mul, restarts + 1
        top = self.m_mul**restarts * _half_cosine(left / steps)
        return self.initial_learning_rate * ((1.0 - self.alpha) * top + self.alpha)


class OneCycle(LearningRateSchedule):
    """One rise to ``max_learning_rate`` and one fall far below (Smith and Topin, 2018).

    The values are those of PyTorch's ``OneCycleLR``. After ``total_steps`` the last one stays.

    Args:
        max_learning_rate: the top.
        total_steps: of the whole training: epochs times batches of an epoch.
        rise: the part of the steps in which it rises (PyTorch's ``pct_start``).
        shape: of rise and fall, ``"cosine"`` or ``"linear"``.
        div_factor: it begins at max_learning_rate / div_factor,
        final_div_factor: and ends so many times below that.
        three_phase: fall to the beginning as fast as it rose, and only then to the end.

    >>> cycle = OneCycle(0.1, total_steps=101, shape="linear")
    >>> round(cycle(0), 6), round(cycle(29.3), 6), round(cycle(100), 9)
    (0.004, 0.1, 4e-07)
    """

    functor = "OneCycle"
    examples = (
        {"max_learning_rate": 0.1, "total_steps": 15},
        {"max_learning_rate": 0.1, "total_steps": 15, "shape": "linear", "three_phase": True},
    )

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        rise: float = 0.3,
        shape: str = "cosine",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        self.max_learning_rate = check_rate("max_learning_rate", max_learning_rate)
        self.total_steps = check_steps("total_steps", total_steps)
        self.rise = check_fraction("rise", rise)
        self.shape = check_choice("shape", shape, ("cosine", "linear"))
        self.div_factor = check_steps("div_factor", div_factor)
        self.final_div_factor = check_steps("final_div_factor", final_div_factor)
        self.three_phase = bool(three_phase)

    @property
    def parameters(self) -> tuple[float, ...]:  # type: ignore[override]
        """The shape, and of four corners of the curve the steps, then the values."""
        first = self.max_learning_rate / self.div_factor
        top, turn = self.rise * self.total_steps - 1, self.total_steps - 1
        back = 2 * self.rise * self.total_steps - 2 if self.three_phase else top
        low = first if self.three_phase else self.max_learning_rate
        steps = 0.0, top, back, turn
        rates = first, self.max_learning_rate, low, first / self.final_div_factor
        return (self.shape == "cosine", *steps, *rates)

    def __call__(self, step: Any) -> float:
        cosine, *corners = self.parameters
        steps, rates = corners[:4], corners[4:]
        step = min(float(step), steps[3])
        corner = next((i for i in (1, 2) if step <= steps[i]), 3)
        start, stop = steps[corner - 1], steps[corner]
        done = (step - start) / (stop - start) if stop > start else 1.0
        left = _half_cosine(done) if cosine else 1.0 - done
        return rates[corner] + (rates[corner - 1] - rates[corner]) * left


def _half_cosine(done: float) -> float:
    """From 1 at 0 down to 0 at 1."""
    return 0.5 * (1.0 + math.cos(math.pi * done))
