"""Checks of data before a model is trained on them: `gpunn.utils.check_data`.

The checks import only `gpunn.common`; `tables` reads files for the command line with
`gpunn.apps.tables`.
"""

from __future__ import annotations

from .check import DataCheckError, DataReport, check_data

__all__ = ["DataCheckError", "DataReport", "check_data"]
