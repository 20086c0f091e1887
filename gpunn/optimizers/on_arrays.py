"""One step of an optimizer on weights, variables or plain NumPy arrays, outside `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend, Program
from gpunn.backends.contract.control import Control
from gpunn.backends.shared.interrupts import perform
from gpunn.common import registry
from gpunn.common.names import warn
from gpunn.core.arena import Arena, Parameter
from gpunn.core.operators import Operators
from gpunn.core.settings import Settings
from gpunn.ops.conversion import convert
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import Effect, Unsupported, current


def apply_to_arrays(optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
    """Implement `Optimizer.apply`; see there."""
    gradients, variables = list(gradients), list(variables)
    wanting = [v for g, v in zip(gradients, variables, strict=False) if g is None]
    if wanting:
        names = ", ".join(getattr(v, "path", getattr(v, "name", "an array")) for v in wanting)
        if len(wanting) == len(variables):
            raise ValueError(
                f"There are no gradients for any of {names}: compute the loss from them inside "
                f"`with gpunn.GradientTape() as tape:`."
            )
        warn(f"There are no gradients for {names}: they stay as they are.")
    shapes = [tuple(np.shape(v if g is None else g))
              for g, v in zip(gradients, variables, strict=False)]  # fmt: skip
    wanted = [tuple(np.shape(v)) for v in variables]
    if shapes != wanted or len(gradients) != len(variables):
        raise ValueError(f"gradients of shapes {shapes} do not fit variables of {wanted}.")
    if wanting:
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        gradients, variables = [list(each) for each in zip(*pairs, strict=True)]
    if not variables:
        return
    trace = current()
    if trace is not None and trace.has_effects:
        trace.add_effect(UpdateInStep(optimizer, gradients, variables))
        return
    Update.of(optimizer, variables).apply(gradients)


class Update:
    """A step of an optimizer on some variables: weights, variables or arrays.

    Weights that are trained together are updated where they are, with the slots that `fit` uses.
    Others are copied to an arena of their own, and back.

    Attributes:
        arenas: those in which the optimizer steps.
        places: for each of the variables, the parameter whose gradient is written.
    """

    def __init__(self, optimizer: Any, variables: Sequence[Any]) -> None:
        if optimizer._is_lazy:
            raise ValueError(
                f"{type(optimizer).__name__}(lazy=True) updates rows of tables in fit and "
                f"train_on_batch; steps by hand are given whole gradients. Leave lazy out for them."
            )
        self.optimizer, self.variables = optimizer, variables
        self._homes = homes = [_home_of(v) for v in variables]
        arenas = {id(arena): arena for arena in homes if arena is not None}
        if optimizer.global_clipnorm and (len(arenas) > 1 or None in homes):
            homes, arenas = [None] * len(homes), {}  # the norm is that of all gradients
        self._treatments = _treatments(variables)
        self._seen = registry.last_change
        self.arenas: list[Arena] = []
        for arena in arenas.values():
            own = [v for v, home in zip(variables, homes, strict=True) if home is arena]
            part = arena.part(own)
            part.take_slots(optimizer.slots_in(arena))
            self.arenas.append(part)
        loose = [v for v, home in zip(variables, homes, strict=True) if home is None]
        self.copies = []
        if loose:
            own_arena = _arena_of_copies(optimizer, loose)
            self.copies = [*zip(loose, own_arena.parameters, strict=True)]
            self.arenas.append(own_arena)
        copies = {id(v): p for v, p in self.copies}
        self.places: list[Parameter] = [copies.get(id(v), v) for v in variables]
        self.control: Control = optimizer.control_on(self.arenas[0].backend)
        self._no_loss = self.arenas[0].backend.zeros((1,), np.float64)
        self._made: tuple[Program, list[int], Settings] | None = None

    @classmethod
    def of(cls, optimizer: Any, variables: Sequence[Any]) -> Update:
        """Return the update of these variables; the last one is kept."""
        known: Update | None = vars(optimizer).get("_last_update")
        if known is None or not known.is_of(variables):
            known = vars(optimizer)["_last_update"] = cls(optimizer, variables)
        return known

    def is_of(self, variables: Sequence[Any]) -> bool:
        """Whether it is that of these variables, which are where they were, and trained as then."""
        now = registry.last_change
        if now != self._seen:
            if _treatments(variables) != self._treatments:
                return False
            self._seen = now
        return (
            len(variables) == len(self.variables)
            and all(map(lambda a, b: a is b, variables, self.variables))
            and all(map(lambda v, home: _home_of(v) is home, variables, self._homes))
            and self.control is self.optimizer._control
            and all(list(arena.slots) == self.optimizer.all_slot_names for arena in self.arenas)
        )

    def apply(self, gradients: Sequence[Any]) -> None:
        """Make the step at once."""
        optimizer, scale = self.optimizer, self.scale
        with ExitStack() as stack:
            for arena in self.arenas:
                stack.enter_context(arena.access.writing())
            stack.enter_context(self.arenas[0].backend.turn)
            for v, p in self.copies:
                p.value[...] = np.asarray(v)  # in an arena of NumPy
            for g, p in zip(gradients, self.places, strict=True):
                into = cast(Arena, p.arena).backend
                as_it_is = isinstance(g, Tensor) and g.dtype == p.dtype
                as_it_is = as_it_is and scale == 1 and p.connections is None
                given = g.array_at(into) if as_it_is else None  # if it is where the weight is
                if given is None:
                    given = p.existing(np.asarray(g, p.dtype))
                    given = given if scale == 1 else given * scale
                into.write(p.gradient, given)
            optimizer.write_rates()
            run = partial(self._program().run, 1)
            if self.copies and self._is_ours:  # an interrupt waits until they are written back
                perform([run, self._write_back], 1)
            else:
                run()
                self._write_back()

    def finish(self) -> None:
        """End training: with averages, they replace the weights."""
        for arena in self.arenas:
            self.optimizer.finish(arena)
        self._write_back()

    def _write_back(self) -> None:
        for v, p in self.copies:
            if isinstance(v, np.ndarray):
                v[...] = p.value
            else:
                v.assign(p.value.copy())

    def _program(self) -> Program:
        """Return the program of the step; it is made again if what it uses has changed."""
        now = registry.last_change
        places = [id(a) for arena in self.arenas for a in arena.slots.values()]
        if self._made is not None:
            program, known, settings = self._made
            if known == places and (settings.are_untouched(now) or settings.are_same(now)):
                return program
        backend = self.arenas[0].backend.isolated()
        constraints = [p.constraint for arena in self.arenas for p in arena.trained if p.constraint]
        parts = [self.optimizer, *self.optimizer.schedules.values(), *constraints]
        traceable = all(map(registry.is_traceable, parts))
        program = backend.program(partial(self.step, backend), traceable)
        self._is_ours = traceable
        self._made = program, places, Settings(parts, now)
        return program

    def step(self, backend: Backend) -> None:
        """Issue the operations of the step, and count it."""
        for arena in self.arenas:
            self.optimizer.step(arena, self.control, backend)
        backend.advance(self.control, 0, self._no_loss)

    @property
    def scale(self) -> float:
        """The factor on gradients, which are those of a scaled loss."""
        return 1.0 / (self.optimizer.loss_scale_factor or 1.0)


class UpdateInStep(Effect):
    """A step of an optimizer as part of a traced step."""

    def __init__(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        for v in variables:
            if not isinstance(v, Operators):
                raise TypeError(
                    f"an optimizer in a step updates weights and variables; got a "
                    f"{type(v).__name__}."
                )
        self.optimizer, self._variables = optimizer, variables
        self._gradients = [_as_in_fit(optimizer, g, v)
                           for g, v in zip(gradients, variables, strict=True)]  # fmt: skip
        super().__init__(self._gradients, variables, [optimizer])

    def begin(self, backend: Backend) -> list[tuple[Any, Any, bool]]:
        update = Update(self.optimizer, self._variables)
        if update.copies or any(a.backend.root is not backend.root for a in update.arenas):
            raise Unsupported("variables outside the model's arrays are copied by the host.")
        self._update = update
        return [(g, p.gradient, False) for g, p in zip(self._gradients, update.places, strict=True)]

    def bind(self, backend: Backend, arrays: Callable[[Any], Any]) -> Callable[[], None]:
        return partial(self._update.step, backend)

    def is_current(self) -> bool:
        """Whether the control block is that of the optimizer: `fit` may have given it another."""
        return self._update.control is self.optimizer._control

    @property
    def by_host(self) -> bool:  # type: ignore[override]
        """Whether the host computes its rate."""
        return any(s.functor is None for s in self.optimizer.schedules.values())

    def before_each(self) -> None:
        if self.by_host:
            self.optimizer.write_rates()


def _as_in_fit(optimizer: Any, gradient: Any, variable: Any) -> Tensor:
    """Return a gradient of a step without the scale of the loss, and 0 where there is no
    connection."""
    found = convert(gradient, variable.dtype)
    if optimizer.loss_scale_factor:
        found = found * (1.0 / optimizer.loss_scale_factor)
    connections = getattr(variable, "connections", None)
    return found if connections is None else found * convert(connections, found.dtype)


def _treatments(variables: Sequence[Any]) -> list[Any]:
    return [getattr(v, "treatment", None) for v in variables]


def _home_of(variable: Any) -> Arena | None:
    """Return the arena of a weight that has a gradient there, if it is one."""
    if not isinstance(variable, Parameter) or not variable.trained:
        return None
    if variable.arena is None and variable.layer is not None:
        variable.layer._own_arena()
    return variable.arena


def _arena_of_copies(optimizer: Any, variables: Sequence[Any]) -> Arena:
    """Return the arena for copies of variables with the optimizer's slots for them; variables are
    told apart by what they are, arrays by their shapes."""
    key: Any = tuple(np.shape(v) for v in variables)
    kept = vars(optimizer).setdefault("_loose", {})
    alive: Sequence[Any] = []
    if any(isinstance(v, Operators) for v in variables):
        key, alive = tuple(map(id, variables)), variables
    if key not in kept:
        dtype = str(variables[0].dtype) if variables else "float32"
        arena = Arena(
            get_backend("numpy"), dtype, [stand_in(n, v) for n, v in enumerate(variables)]
        )
        for parameter, v in zip(arena.parameters, variables, strict=True):
            parameter.value[...] = np.asarray(v)
        kept[key] = arena, alive
    found: Arena = kept[key][0]
    found.take_slots(optimizer.slots_in(found))
    return found


def stand_in(number: int, variable: Any) -> Parameter:
    """Return a parameter that is treated as a weight is."""
    if not isinstance(variable, Parameter):
        return Parameter(np.shape(variable), name=str(number))
    made = Parameter(
        variable.shape, name=str(number), multiplier=variable.multiplier, decay=variable.decay,
        constraint=variable.constraint,
    )  # fmt: skip
    made.connections = variable.connections
    return made
