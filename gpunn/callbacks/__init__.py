# Below the docstring: written by `make exports` from the modules of this folder.
"""Callbacks: hooks into training. Names and defaults are Keras's."""

from typing import Any

from .backup_and_restore import BackupAndRestore
from .callback import Callback
from .callback_list import CallbackList
from .csv_logger import CSVLogger
from .early_stopping import EarlyStopping
from .gradient_monitor import GradientMonitor
from .history import History
from .lambda_callback import LambdaCallback
from .learning_rate_scheduler import LearningRateScheduler
from .model_checkpoint import ModelCheckpoint
from .optuna_pruning import OptunaPruning
from .progress_bar import ProgressBar
from .reduce_lr_on_plateau import ReduceLROnPlateau
from .stopping import (
    StopAfter,
    StopAtTarget,
    StopOnSmallChange,
    StopOnSmallGradient,
    TerminateOnNaN,
)
from .swap_ema_weights import SwapEMAWeights
from .tensorboard import TensorBoard

ProgbarLogger = ProgressBar
Report: Any  # of a module above

__all__ = [
    "BackupAndRestore", "CSVLogger", "Callback", "CallbackList", "EarlyStopping", "GradientMonitor",
    "History", "LambdaCallback", "LearningRateScheduler", "ModelCheckpoint", "OptunaPruning",
    "ProgbarLogger", "ProgressBar", "ReduceLROnPlateau", "Report", "StopAfter", "StopAtTarget",
    "StopOnSmallChange", "StopOnSmallGradient", "SwapEMAWeights", "TensorBoard", "TerminateOnNaN",
]  # fmt: skip
