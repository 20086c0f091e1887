"""Cases of operations that are imported when they are first used."""

from . import matrices, rare, spectra

__all__ = ["matrices", "rare", "spectra"]
