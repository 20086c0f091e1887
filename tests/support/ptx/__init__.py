"""The kernels as a GPU runs them: the PTX that NVRTC makes of them, as C++ for `host_kernels`.

- `parsing` reads PTX.
- `operations` is the table of instructions: each form with its meaning.
- `translation` writes C++.
"""

from .operations import OPERATIONS
from .parsing import PtxError
from .translation import to_cpp

__all__ = ["OPERATIONS", "PtxError", "to_cpp"]
