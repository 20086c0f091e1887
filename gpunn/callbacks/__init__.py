# Below the docstring: written by `make exports` from the modules of this folder.
# ruff: noqa: F403, F405
"""Callbacks: hooks into training. Names and defaults are Keras's."""

from typing import TYPE_CHECKING, Any

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .backup_and_restore import *
    from .callback import *
    from .callback_list import *
    from .csv_logger import *
    from .gradient_monitor import *
    from .history import *
    from .lambda_callback import *
    from .learning_rates import *
    from .model_checkpoint import *
    from .optuna_pruning import *
    from .progress_bar import *
    from .stopping import *
    from .swap_ema_weights import *
    from .tensorboard import *

    ProgbarLogger = ProgressBar
    Report: Any  # of a module above
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            ".backup_and_restore": "BackupAndRestore",
            ".callback": "Callback",
            ".callback_list": "CallbackList",
            ".csv_logger": "CSVLogger",
            ".gradient_monitor": "GradientMonitor",
            ".history": "History",
            ".lambda_callback": "LambdaCallback",
            ".learning_rates": "LearningRateFinder LearningRateScheduler ReduceLROnPlateau",
            ".model_checkpoint": "ModelCheckpoint",
            ".optuna_pruning": "OptunaPruning",
            ".progress_bar": "ProgressBar=ProgbarLogger",
            ".stopping": (
                "EarlyStopping StopAfter StopAtTarget StopOnSmallChange StopOnSmallGradient "
                "TerminateOnNaN"
            ),
            ".swap_ema_weights": "SwapEMAWeights",
            ".tensorboard": "TensorBoard",
            "gpunn.apps.reports": "Report",
        },
        kind="callback",
    )
