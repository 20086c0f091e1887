"""The operations that every backend implements, declared once.

An operation is what a GPU programmer would fuse into one kernel, not what an array
library calls a function. Every operation

- writes into arrays it is given, and allocates nothing that outlives it,
- never waits for the device (only `Backend.read` and `Backend.synchronize` do),
- reads values that change from step to step from the `Control` block, because
  a captured CUDA graph contains Python numbers as constants,
- sums in a fixed order, so that the same seed gives the same bits.

Its declaration describes each array, see `operation`. A backend implements only the computation,
``_matmul(call)`` for ``matmul``, and is never called with invalid arguments.

Formulas (activations, losses, metrics, optimizer updates, see ``formulas``) are passed as
objects with two implementations: one in terms of `xp` with `out=`, and the name of a
C++ functor in `kernels/` (attribute ``functor``, None if there is none). The NumPy backend
runs the first; the compiled and the CuPy backend run the second where it exists.
"""

from __future__ import annotations

from .convolution import Convolution
from .declaration import OpCall, OpDeclaration
from .device import Array
from .expression import Expressions
from .gather_scatter import GatherScatter
from .normalization import Normalization
from .operation import operation
from .passes import Passes, dropout_scale
from .steps import Steps

__all__ = ["LATER", "Array", "Contract", "OpCall", "OpDeclaration", "dropout_scale", "operation"]


LATER = Convolution, Expressions, GatherScatter, Normalization
"""Groups of operations that few steps call: see `operations_later`."""


class Contract(Passes, Expressions, Normalization, Convolution, GatherScatter, Steps):
    """All operations; `Backend` adds the arrays and the repetition of steps."""
