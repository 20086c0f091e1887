"""The random numbers of the steps that a model defines itself, which its training state keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpunn.common.stored import OWN_DRAWS, ByName, Integer, Several, check
from gpunn.core.draws import Source
from gpunn.training.progress import Progress

METHODS = "train_step", "test_step", "predict_step"
SCHEMA = {OWN_DRAWS: ByName(Several(Integer(0, 2**64 - 1), 3))}


class StepDraws:
    """The random numbers of each of a model's steps.

    Args:
        seed, seen: Those of the model, as in `Source`.
    """

    def __init__(self, seed: int, seen: int) -> None:
        self._of = {name: Source(own, seen) for name, own in _seeds(seed).items()}

    def of(self, method: str) -> Source:
        """Return the random numbers of a step."""
        return self._of[method]

    def state(self) -> dict[str, Any]:
        """Return the entry of a training state; none before the first step."""
        states = {name: source.state() for name, source in self._of.items() if source.calls}
        return {OWN_DRAWS: states} if states else {}

    def restoring(self, document: Mapping[str, Any]) -> Callable[[int], None]:
        """Return what lets the steps go on from the states in a training state; those without one
        begin with the seed of the model that it is given.

        Raises:
            ValueError: for what `state` never returns.
        """
        states = _checked(document)

        def restore(seed: int) -> None:
            for name, own in _seeds(seed).items():
                self._of[name].restore(states.get(name, (own, 0, 0)))

        return restore


def draws_of(progress: Progress) -> StepDraws:
    """Return the random numbers of a model's own steps."""
    if progress.draws is None:
        progress.draws = StepDraws(progress.seed, progress.seeded)
    return progress.draws


def _seeds(seed: int) -> dict[str, int]:
    return {name: (seed + k) % 2**64 for k, name in enumerate(METHODS)}


def _checked(document: Mapping[str, Any]) -> dict[str, Sequence[int]]:
    """Return the states of the steps in a training state."""
    given = {OWN_DRAWS: document.get(OWN_DRAWS, {})}
    states: dict[str, Sequence[int]] = check(SCHEMA, given, "training/values")[OWN_DRAWS]
    for name, (_, begun, calls) in states.items():
        if name not in METHODS or begun > calls:
            raise ValueError(
                f"the entry 'training/values/draws/{name}' is {states[name]}: the seed of a step, "
                f"the number of the first call with it, and the number of calls expected."
            )
    return states
