# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403
"""Optimizers: rules that update parameters from gradients."""

from typing import TYPE_CHECKING, Any

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from . import schedules as schedules
    from .adam import *
    from .adamax import *
    from .adamw import *
    from .adaptive import *
    from .by_weight.whole import *
    from .lamb import *
    from .lion import *
    from .nadam import *
    from .optimizer import *
    from .sgd import *

    LossScaleOptimizer: Any  # of a module above
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".adam": "Adam",
            ".adamax": "Adamax",
            ".adamw": "AdamW",
            ".adaptive": "Adadelta Adagrad Ftrl RMSprop",
            ".by_weight.whole": "Adafactor Muon ScheduleFreeAdamW",
            ".lamb": "Lamb",
            ".lion": "Lion",
            ".nadam": "Nadam",
            ".optimizer": "Optimizer deserialize get serialize",
            ".sgd": "SGD",
            ".schedules": "",
            "gpunn.compat.loss_scaling": "LossScaleOptimizer",
        },
        kind="optimizer",
    )
