"""Cases of operations that are imported when they are first used."""

from . import matrices, rare

__all__ = ["matrices", "rare"]
