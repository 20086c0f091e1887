"""Operations on tensors, by Keras 3's names: what a layer, a loss or a metric of yours is made of.

They compute at once where there are numbers, and are differentiated and repeated in each step
where a model is trained. Imports from `core` and what is below it.
"""

from __future__ import annotations

from typing import Any

from gpunn.core.operators import FUNCTIONS

from . import (  # noqa: F401
    arithmetic,
    elementwise,
    indexing,
    joining,
    making,
    products,
    reductions,
    shapes,
)
from .conversion import convert
from .library import (  # noqa: F401
    activations,
    arrays,
    control,
    images,
    linear,
    mathematics,
    networks,
    normalization,
    norms,
    order,
    search,
    special,
    statistics,
    updates,
)
from .library.missing import complaint
from .table import operation
from .table import ops as by_name
from .tensor import Tensor as Tensor

# The module of traces, which is above, has the name of this operation.
globals()["trace"] = FUNCTIONS["trace"]
# Keras has many operations under these names too.
nn = numpy = linalg = by_name


@operation
def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None) -> Tensor:
    """x as a tensor; see `gpunn.ops.Tensor`."""
    return convert(x, dtype)


@operation
def convert_to_numpy(x: Any) -> Any:
    """The numbers of a tensor, as an array of NumPy."""
    return convert(x).numpy()


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor."""
    return isinstance(x, Tensor)


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(complaint(name))


def __dir__() -> list[str]:
    return sorted({*FUNCTIONS, "Tensor", "is_tensor"})
