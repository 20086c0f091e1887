"""The version, in the one place that the package, its metadata and its files take it from."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
