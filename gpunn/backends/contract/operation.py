"""What marks an operation, and how a class knows those it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ..recorder import Method

Array = Any  # numpy.ndarray or cupy.ndarray: nothing above this floor cares which


def operation(method: Method) -> Method:
    """Mark a contract method as an operation: it is recorded and may be replaced."""
    method.is_operation = True  # type: ignore[attr-defined]
    return method


class Operations(ABC):
    """Some of the operations, and what they need of a backend."""

    operations: dict[str, Callable[..., None]] = {}  # noqa: RUF012 (made anew by each subclass)
    """The operations by name, as the class that brought each declares it."""

    xp: Any
    """The array module, numpy or cupy: the documented slow path. A layer or loss
    of your own may be written with it (with ``out=``) and runs on both."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.operations = {
            name: member
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if getattr(member, "is_operation", False)
        }

    @abstractmethod
    def scratch(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        slot: str = "",
        fill: Callable[[Array], None] | None = None,
    ) -> Array:
        """See `Backend.scratch`."""
