"""The base class of optimizers that update each weight as a whole."""

from __future__ import annotations

from typing import ClassVar

from gpunn.backends.contract.backend import Array
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.ops.tensor import Tensor, ops

from ..optimizer import Moved, Optimizer, Tensors
from .updating import decay_of, no_state, update_by_tensors, updated


class ByWeight(Optimizer):
    """Base class of optimizers that update each weight as a whole: `rule_of` computes with
    `gpunn.ops` on tensors of the weight's shape, as part of the step on every backend.

    Attributes:
        begins_at_weights: slots whose first value is the weights, before the first update.
    """

    _abstract = True
    _of_tensors = True
    functor = None
    begins_at_weights: ClassVar[tuple[str, ...]] = ()

    def rule_of(
        self, weight: Parameter, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Moved:
        """Return the new weights and the slots that change; arguments are those of `rule`, each of
        the shape of ``weight``, whose name and path may select what is computed."""
        raise TypeError(f"{type(self).__name__} must define rule_of(...).")

    decay_of = decay_of

    def _first_slots(self, storage: ParameterStorage) -> dict[str, Array]:
        made = super()._first_slots(storage)
        for name in self.begins_at_weights:
            storage.backend.write(made[name], storage.values)
        return made

    _update_by_tensors = update_by_tensors
    _updated = updated
    _state = staticmethod(no_state)


def root_of_mean_square(x: Tensor) -> Tensor:
    """The root of the mean of all squares."""
    return ops.sqrt(ops.mean(x * x))
