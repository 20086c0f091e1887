"""One network trained by several processes, on one machine or on several, through MPI.

``mpiexec -n 4 python train.py`` starts four processes of a program that calls `initialize` first.
The names are Keras's, see ``keras.distribution``.
"""

from gpunn.common.importing.lazy import offer

from .data_parallel import DataParallel, LayoutMap, ModelParallel, distribution, set_distribution
from .launch import initialize, rank, size

__all__ = [
    "DataParallel", "LayoutMap", "ModelParallel", "distribution", "initialize", "rank",
    "set_distribution", "size",
]
offer(__name__)
