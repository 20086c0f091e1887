# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403
"""Optimizers: rules that update parameters from gradients."""

from typing import TYPE_CHECKING, Any

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from . import schedules as schedules
    from .adam import *
    from .adamw import *
    from .adaptive import *
    from .by_weight.whole import *
    from .lion import *
    from .optimizer import *
    from .sgd import *
    from .two_means import *

    LossScaleOptimizer: Any  # of a module above
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".adam": "Adam",
            ".adamw": "AdamW",
            ".adaptive": "Adadelta Adagrad Ftrl RMSprop",
            ".by_weight.whole": "Adafactor Muon ScheduleFreeAdamW",
            ".lion": "Lion",
            ".optimizer": "Optimizer deserialize get serialize",
            ".sgd": "SGD",
            ".two_means": "Adamax Lamb Nadam",
            ".schedules": "",
            "gpunn.compat.loss_scaling": "LossScaleOptimizer",
        },
        kind="optimizer",
    )
