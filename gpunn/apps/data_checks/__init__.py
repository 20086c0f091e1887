"""What may be wrong with data, before a model is trained on them: `gpunn.utils.check_data`.

It imports `gpunn.common`.
"""

from __future__ import annotations

from .check import DataCheckError, check_data

__all__ = ["DataCheckError", "check_data"]
