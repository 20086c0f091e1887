"""The rule of an optimizer as calls of array functions that change its arrays in place.

`Optimizer.rule` is written with `gpunn.ops`, for one weight. The kernels contain it compiled, from
the output of ``make formulas``. This module turns the same lines into a function of calls like
``xp.multiply(g, rate, out=step)``, for NumPy and for custom optimizers on a GPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.signatures import signature
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor

if TYPE_CHECKING:
    from gpunn.ops.fusion.formulas import Formula, Reader

WEIGHTS = "w"
_GIVEN = {"learning_rate": "rate", "iterations": "t", "steps_done": "t"}


def recorded(
    optimizer: Any, names: Mapping[int, str] = MappingProxyType({})
) -> tuple[Formula, Reader]:
    """Record what the rule of ``optimizer`` computes with its current attributes.

    Inputs are "w", "g", the slots (such as "m", with their old values), "rate", "t" and the
    optimizer's numbers; outputs are "w" and the slots that change.

    Raises:
        TypeError: if the rule does more than compute with scalars, or returns anything but the
            weights and a dictionary of slots.
        ValueError: if it names an unknown slot.
    """
    from gpunn.ops.fusion.formulas import Reader, Recorder  # kernels compute most rules

    recorder = Recorder()
    reader = Reader(optimizer, recorder, _GIVEN)
    slots = {name: recorder.array(name) for name in optimizer.slot_names}
    where = f"{type(optimizer).__name__}.rule"

    def outputs(given: Any) -> dict[str, Tensor]:
        w, changed = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
        if not isinstance(w, Tensor) or not isinstance(changed, Mapping):
            raise TypeError(
                f"{where} must return the new weights, or (weights, slots) with the slots that "
                f"change in a dictionary by their names; got {given!r}."
            )
        if unknown := changed.keys() - slots.keys():
            raise ValueError(
                f"{where} returns the slots {', '.join(sorted(unknown))}; slot_names has "
                f"{', '.join(slots) or 'none'}."
            )
        return {WEIGHTS: w, **{name: convert(value) for name, value in changed.items()}}

    try:
        formula = recorder.record(
            type(optimizer).rule, outputs, reader, recorder.array(WEIGHTS), recorder.array("g"),
            slots, recorder.number("rate"), recorder.number("t"), names=names,
        )
    except TypeError as error:
        if where in str(error):
            raise
        raise TypeError(f"{where}: {error}") from error
    return formula, reader


Move = Callable[[Any, Backend, Array, Array, Mapping[str, Array], Any, Any], None]


def with_options(name: str, optimizer: Any) -> str:
    """Return an optimizer's functor: the name of its formula and the options that are set."""
    options = (o for o in optimizer.options if getattr(optimizer, o))
    return name + "".join(option.title() for option in options)


def forms(cls: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each combination of an optimizer's options, and an optimizer with these set.

    >>> from gpunn.optimizers import SGD
    >>> [made.functor for on, made in forms(SGD)]
    ['SGD', 'SGD', 'SGDMomentum', 'SGDMomentumNesterov']
    """
    defaults = {name: signature(cls).parameters[name].default for name in cls.options}
    for chosen in itertools.product((False, True), repeat=len(defaults)):
        on = tuple(itertools.compress(defaults, chosen))
        yield on, cls(**{name: True if defaults[name] is False else 0.5 for name in on})


def move_of(optimizer: Any) -> Move:
    """Return a rule as one function of in-place calls, which is called as `Optimizer.move`. Work
    arrays belong to the backend."""
    from gpunn.ops.fusion.calls import GLOBALS, calls

    formula, reader = recorded(optimizer)
    numbers = {name: getattr(optimizer, name) for name in reader.numbers}
    source = "\n    ".join(
        ["def move(self, backend, w, g, slots, rate, t):", "xp = backend.xp",
         *(f"self_{name} = self.{name}" if now.__class__ is float
           else f"self_{name} = self.number_now({name!r})" for name, now in numbers.items()),
         *(f"slot_{name} = slots[{name!r}]" for name in optimizer.slot_names),
         *calls(formula, _array, _number, like=WEIGHTS)]
    )
    space: dict[str, Any] = dict(GLOBALS)
    exec(source, space)
    return space["move"]


def _array(name: str) -> str:
    return name if name in (WEIGHTS, "g") else f"slot_{name}"


def _number(name: str) -> str:
    return name if name in ("rate", "t") else f"self_{name}"
