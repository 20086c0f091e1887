"""Operations on tensors, by Keras 3's names: what a layer, a loss or a metric of yours is made of.

They compute at once where there are numbers, and are differentiated and repeated in each step
where a model is trained. Imports from `core` and what is below it.
"""

from __future__ import annotations

from typing import Any

from gpunn.common.names import closest
from gpunn.core.operators import FUNCTIONS

from . import (  # noqa: F401
    elementwise,
    indexing,
    joining,
    making,
    nn,
    parts,
    products,
    reductions,
    shapes,
)
from .conversion import convert
from .table import operation
from .tensor import Tensor


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
    raise AttributeError(
        f"gpunn.ops has no operation {name!r}.{closest(name, sorted(FUNCTIONS))} The list of all "
        f"is in docs/ops.md; layers and gpunn.activations offer what is larger."
    )


def __dir__() -> list[str]:
    return sorted({*FUNCTIONS, "Tensor", "is_tensor"})
