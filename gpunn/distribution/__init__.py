# ruff: noqa: F403, F405
"""One network trained by several processes, on one machine or on several, through MPI.

``mpiexec -n 4 python train.py`` starts four processes of a program that calls `initialize` first.
The names are Keras's, see ``keras.distribution``.
"""

from typing import TYPE_CHECKING

from gpunn.common.importing.lazy import lazy

if TYPE_CHECKING:
    from .data_parallel import *
    from .launch import initialize, rank, size

__all__ = [
    "DataParallel", "LayoutMap", "ModelParallel", "distribution", "initialize", "rank",
    "set_distribution", "size",
]
_PARALLEL = "DataParallel LayoutMap ModelParallel distribution set_distribution"
_MODULES = {".data_parallel": _PARALLEL, ".launch": "initialize rank size"}
__getattr__, __dir__ = lazy(__name__, _MODULES)
