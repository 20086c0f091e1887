"""Serve a model over HTTP with the standard library alone: what `gpunn serve` runs."""

from __future__ import annotations

from .server import Limits, Server

__all__ = ["Limits", "Server"]
