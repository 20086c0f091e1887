"""Schedules made of pieces of a cosine, with warm-up, restarts, or one rise and fall."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from gpunn.common.arguments import check_flag, check_fraction, check_number, choice, optional
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .schedule import LearningRateSchedule, check_rate, check_steps


def _check_warmup(name: str, value: Any) -> Any:
    check_rate(name, value)
    return value  # an int stays one


class CosineDecay(LearningRateSchedule):
    """``rate * ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha)``, after a warm-up.

    The rate falls along half a period of a cosine: slowly at first, fast in the middle, slowly at
    the end. The formula is Keras's. The step is the number of batches trained on so far, from 0.

    Loshchilov and Hutter, "SGDR", 2017. With ``warmup_target`` the rate first rises linearly
    from ``initial_learning_rate`` to this target, where the decay begins.

    Args:
        initial_learning_rate: at step 0.
        decay_steps: steps of the decay, the warm-up not counted.
        alpha: the smallest value as a fraction of the largest.
        name: kept for Keras's scripts.
        warmup_target: None for no warm-up.
        warmup_steps: number of warm-up steps.

    Raises:
        ValueError: for an argument out of its range.

    >>> from gpunn.optimizers.schedules import CosineDecay
    >>> CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10)(5)
    0.05
    """

    functor = "CosineDecay"
    examples = (
        {"initial_learning_rate": 0.1, "decay_steps": 9, "alpha": 0.1},
        {"initial_learning_rate": 0.0, "decay_steps": 9, "warmup_target": 0.2, "warmup_steps": 4},
    )
    parameter_names = ("initial_learning_rate", "top_rate", "rise_steps", "decay_steps", "alpha")

    initial_learning_rate: float = field(check=check_rate)
    decay_steps: float = field(check=check_steps)
    alpha: float = field(default=0.0, check=check_rate)
    name: str = field(default="CosineDecay")
    warmup_target: float | None = field(default=None, check=optional(check_rate))
    warmup_steps: float = field(default=0, check=_check_warmup)

    @property
    def top_rate(self) -> float:
        """The rate at which the decay begins."""
        return self.initial_learning_rate if self.warmup_target is None else self.warmup_target

    @property
    def rise_steps(self) -> float:
        """Number of steps before the decay begins."""
        return 0 if self.warmup_target is None else self.warmup_steps

    def rate(self, step: Tensor) -> Tensor:
        first, top = self.initial_learning_rate, self.top_rate
        rising = first + (top - first) * (step / self.rise_steps)
        done = ops.minimum(step - self.rise_steps, self.decay_steps) / self.decay_steps
        half_cosine = 0.5 * (1.0 + ops.cos(math.pi * done))  # from 1 at 0 down to 0 at 1
        falling = top * ((1.0 - self.alpha) * half_cosine + self.alpha)
        return ops.where(step < self.rise_steps, rising, falling)


class CosineDecayRestarts(LearningRateSchedule):
    """A cosine decay with repeated restarts (Loshchilov and Hutter, 2017).

    Each decay is as in `CosineDecay`; then the rate jumps back up, and the next decay begins. The
    formula is Keras's.

    Args:
        first_decay_steps: steps of the first decay.
        t_mul: ratio of the steps of a decay to the steps of the previous one; at least 1.
        m_mul: ratio of their initial rates.

    The step, the other arguments, and errors: as for `CosineDecay`.

    >>> from gpunn.optimizers.schedules import CosineDecayRestarts
    >>> restarts = CosineDecayRestarts(0.1, first_decay_steps=10)
    >>> restarts(10), restarts(20)  # from 10 to 30, the second
    (0.1, 0.05)
    """

    functor = "CosineDecayRestarts"
    examples = (
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "m_mul": 0.5, "alpha": 0.1},
        {"initial_learning_rate": 0.1, "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.5},
    )
    parameter_names = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha")

    initial_learning_rate: float = field(check=check_rate)
    first_decay_steps: float = field(check=check_steps)
    t_mul: float = field(default=2.0, check=partial(check_number, least=1))
    m_mul: float = field(default=1.0, check=check_rate)
    alpha: float = field(default=0.0, check=check_rate)
    name: str = field(default="SGDRDecay")

    def __call__(self, step: Any) -> float:
        left, steps, restarts = float(step), float(self.first_decay_steps), 0
        if self.t_mul == 1.0:
            restarts = math.floor(left / steps)
            left -= restarts * steps
        else:  # counted: a logarithm could place a restart one step too late or too early
            while left >= steps:
                left, steps, restarts = left - steps, steps * self.t_mul, restarts + 1
        top = self.m_mul**restarts * _half_cosine(left / steps)
        return self.initial_learning_rate * ((1.0 - self.alpha) * top + self.alpha)


class OneCycle(LearningRateSchedule):
    """One rise to ``max_learning_rate`` and one fall far below (Smith and Topin, 2018).

    The learning rate rises to its peak and then falls until the end of the training. The
    step is the number of batches trained on so far, from 0.

    The values equal PyTorch's ``OneCycleLR``. After ``total_steps`` the rate stays fixed.

    Args:
        max_learning_rate: the peak.
        total_steps: steps of the whole training: epochs times batches per epoch.
        rise: fraction of the steps in which the rate rises (PyTorch's ``pct_start``).
        shape: of rise and fall, ``"cosine"`` or ``"linear"``.
        div_factor: the initial rate is ``max_learning_rate / div_factor``.
        final_div_factor: the final rate is the initial rate divided by this.
        three_phase: fall to the initial rate as fast as it rose, and only then to the final one.

    Raises:
        ValueError: for an argument out of its range.

    >>> from gpunn.optimizers.schedules import OneCycle
    >>> cycle = OneCycle(0.1, total_steps=101, shape="linear")
    >>> round(cycle(0), 6), round(cycle(29.3), 6), round(cycle(100), 9)
    (0.004, 0.1, 4e-07)
    """

    functor = "OneCycle"
    examples = (
        {"max_learning_rate": 0.1, "total_steps": 15},
        {"max_learning_rate": 0.1, "total_steps": 15, "shape": "linear", "three_phase": True},
    )
    parameter_names = ("follows_cosine", "steps", "rates")

    max_learning_rate: float = field(check=check_rate)
    total_steps: int = field(check=check_steps)
    rise: float = field(default=0.3, check=check_fraction)
    shape: str = field(default="cosine", check=choice("cosine", "linear"))
    div_factor: float = field(default=25.0, check=check_steps)
    final_div_factor: float = field(default=1e4, check=check_steps)
    three_phase: bool = field(default=False, check=check_flag)

    def __post_init__(self) -> None:
        first = self.max_learning_rate / self.div_factor
        top, turn = self.rise * self.total_steps - 1, self.total_steps - 1
        back = 2 * self.rise * self.total_steps - 2 if self.three_phase else top
        low = first if self.three_phase else self.max_learning_rate
        # At the four corners of the curve.
        self.steps = 0.0, top, back, turn
        self.rates = first, self.max_learning_rate, low, first / self.final_div_factor
        self.follows_cosine = self.shape == "cosine"

    def __call__(self, step: Any) -> float:
        steps, rates = self.steps, self.rates
        step = min(float(step), steps[3])
        corner = next((i for i in (1, 2) if step <= steps[i]), 3)
        start, stop = steps[corner - 1], steps[corner]
        done = (step - start) / (stop - start) if stop > start else 1.0
        left = _half_cosine(done) if self.follows_cosine else 1.0 - done
        return rates[corner] + (rates[corner - 1] - rates[corner]) * left


def _half_cosine(done: float) -> float:
    """From 1 at 0 down to 0 at 1."""
    return 0.5 * (1.0 + math.cos(math.pi * done))
