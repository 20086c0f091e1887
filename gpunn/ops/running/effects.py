"""What a traced step does besides computing tensors, and the groups in which it does so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn.backends.contract.backend import Array
from gpunn.core.settings import Dependencies
from gpunn.ops.tensor import Tensor


class Unsupported(Exception):
    """A step cannot be one program; it runs operation by operation."""


class Effect:
    """What a traced step does besides computing tensors, at one point of the program: an optimizer
    updates weights, a metric counts.

    It reads ``inputs``, ``changes`` parameters and variables, and uses the settings of ``parts``.
    """

    position = 0  # of the first tensor after it
    optimizer: Any = None
    """The optimizer of which it is a step."""
    dependencies: Dependencies | None = None
    """What it was bound for, if there is anything besides the settings of its parts."""
    counts = True
    """Whether it counts the steps of its optimizer; if not, the program around it does."""

    def __init__(
        self, inputs: Sequence[Tensor], changes: Sequence[Any] = (), parts: Sequence[Any] = ()
    ) -> None:
        self.inputs, self.changes, self.parts = list(inputs), list(changes), list(parts)

    def prepare(self, backend: Any) -> None:
        """Make what it needs on a backend, before this thread takes its stream lock."""

    def begin(self, backend: Any) -> list[tuple[Tensor, Array, bool]]:
        """Return its inputs, each with the array that it is written to, and whether it is added;
        None for one that is only computed.

        Raises:
            Unsupported: if it cannot be part of a program on this backend.
        """
        return [(t, None, False) for t in self.inputs]

    def bind(self, backend: Any, arrays: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Return the work to do when the inputs are computed, if any; ``arrays`` gives their
        arrays."""
        return lambda: None

    def shares_part(self, other: Effect) -> bool:
        """Whether both use the settings, or the state, of a part."""
        return any(a is b for a in self.parts for b in other.parts)

    by_host = False
    """Whether the host has something to do before each step."""

    def before_each(self) -> None:
        """Do it."""

    def after_each(self) -> None:
        """Note on the host what the last steps did."""


class LateResult(Effect):
    """The result of a part's state, which is known after the step. As an effect, it keeps the
    state that there is at its place; as long as it is none, its value is that at the step's end."""

    def value(self) -> Any:
        """Return it, after the step."""
        raise NotImplementedError


def grouped(effects: Sequence[Effect]) -> list[list[Effect]]:
    """Return the effects in groups, in order: what one group reads is computed together. A group
    ends with an effect that changes something, and before one that uses a part of another in it.
    An effect that only reads what is made before a change goes before it."""
    groups: list[list[Effect]] = []
    for effect in effects:
        last = groups[-1] if groups else []
        if not last or any(one.shares_part(effect) for one in last):
            groups.append([effect])
        elif not last[-1].changes:
            last.append(effect)
        elif not effect.changes and all(t.position < last[-1].position for t in effect.inputs):
            last.insert(-1, effect)
        else:
            groups.append([effect])
    return groups
