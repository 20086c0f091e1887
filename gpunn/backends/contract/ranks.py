"""What operations need of the processes that train together."""

from __future__ import annotations

from typing import Any, Protocol


class Ranks(Protocol):
    """See `gpunn.distribution.communicator.Communicator`."""

    @property
    def rank(self) -> int:
        """The number of this process."""

    @property
    def size(self) -> int:
        """The number of processes."""

    def sum(self, array: Any) -> None:
        """Replace an array on the host by its sum over all ranks."""

    def first(self, value: Any) -> Any:
        """Return the value of rank 0."""
