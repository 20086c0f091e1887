"""NVTX: names that NVIDIA's profilers, such as Nsight Systems, show over launches."""

from __future__ import annotations

import os
from typing import Any

from gpunn.common.names import warn


def nvtx_of(cupy: Any) -> Any:
    """Return CuPy's functions of NVTX if ``GPUNN_NVTX`` asks for them, else None.

    Raises:
        ValueError: if it is neither 0 nor 1.
    """
    given = os.environ.get("GPUNN_NVTX") or "0"
    if given not in ("0", "1"):
        raise ValueError(f"GPUNN_NVTX must be 0 or 1; got {given!r}.")
    if given == "0":
        return None
    nvtx = getattr(cupy.cuda, "nvtx", None)
    if nvtx is None or not getattr(nvtx, "available", True):
        warn("GPUNN_NVTX=1 names no launches: this CuPy was built without NVTX.")
        return None
    return nvtx
