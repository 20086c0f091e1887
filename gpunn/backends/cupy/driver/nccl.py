"""Sums over ranks between GPUs: NCCL, through CuPy. It has not been run on two GPUs yet."""

from __future__ import annotations

from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.backends.contract.ranks import Ranks

SUM, TYPES = "NCCL_SUM", {"float32": "NCCL_FLOAT32", "float64": "NCCL_FLOAT64"}


class NcclSum:
    """The sum of an array over the GPUs of all ranks, in place, on the backend's stream.

    Creating it is collective: the ranks, each with a GPU of its own, send each other NCCL's
    identifier. A first sum sets up the connections, which a capture may not do.

    Raises:
        ImportError: if NCCL is missing.
    """

    def __init__(self, cupy: Any, stream: Any, ranks: Ranks) -> None:
        nccl = _library()
        self._nccl, self._stream = nccl, stream
        identifier = ranks.first(nccl.get_unique_id() if ranks.rank == 0 else None)
        self._communicator = nccl.NcclCommunicator(ranks.size, identifier, ranks.rank)
        with stream:
            self(cupy.zeros((1,), "float32"))
        stream.synchronize()

    def __call__(self, array: Array) -> None:
        kind = getattr(self._nccl, TYPES[array.dtype.name])
        pointer = array.data.ptr
        self._communicator.allReduce(
            pointer, pointer, array.size, kind, getattr(self._nccl, SUM), self._stream.ptr
        )


def _library() -> Any:
    """Return CuPy's module of NCCL. Without the library, CuPy has none, or one without contents."""
    try:
        from cupy.cuda import nccl

        found, why = getattr(nccl, "available", nccl is not None), "CuPy did not find it"
    except ImportError as error:
        found, why = False, str(error)
    if found:
        return nccl
    raise ImportError(f'Training over several GPUs needs NCCL: pip install "gpunn[nccl]". {why}.')
