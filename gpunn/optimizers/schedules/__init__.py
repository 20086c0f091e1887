# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403
"""Schedules: a learning rate or momentum as a function of the number of batches so far.

``Adam(learning_rate=schedule)`` and ``SGD(momentum=schedule)`` accept a schedule instead
of a number. The step itself computes a built-in schedule, on the device. A custom schedule,
a subclass of `LearningRateSchedule` with ``__call__(step)``, is evaluated on the host before
each update: it works everywhere, but only one step at a time.
"""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .cosine import *
    from .decay import *
    from .schedule import *
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".cosine": "CosineDecay CosineDecayRestarts OneCycle",
            ".decay": (
                "Constant ExponentialDecay InverseTimeDecay PiecewiseConstantDecay "
                "PolynomialDecay"
            ),
            ".schedule": "LearningRateSchedule deserialize get serialize",
        },
        kind="schedule",
    )
