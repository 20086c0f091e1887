"""What every optimizer is: a formula over flat arrays, slots beside them, a learning rate."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import LEARNING_RATE, PARAMETERS, UPDATES, Control
from gpunn.common import registry
from gpunn.common.arguments import (
    check_flag,
    check_fraction,
    check_integer,
    check_not_negative,
    check_positive,
    optional,
)
from gpunn.common.fields import field
from gpunn.common.formula import Formula
from gpunn.common.lookups import lookups
from gpunn.common.names import snake_case
from gpunn.common.signatures import signature
from gpunn.core.arena import Arena
from gpunn.ops.tensor import Tensor

from .learning_rate import LearningRate, checked_rate
from .on_arrays import apply_to_arrays
from .rules import Calls
from .schedules import LearningRateSchedule

__all__ = ["Optimizer", "deserialize", "get", "serialize"]

# Slots that an optimizer keeps beside its own: the gradients of the steps since the last update,
# and the moving average of the weights.
SUM = "gradient_accumulator"
AVERAGE = "average"
Slots = dict[str, Array]
Tensors = Mapping[str, Tensor]

_positive = optional(check_positive)


def _every(least: int) -> Callable[[str, Any], int | None]:
    """The check of how often something is done; None or 0 for never."""
    return lambda name, value: check_integer(name, value or None, least, None)


class Optimizer(Formula):
    """Base class. A subclass names its slots and writes `rule`, or `update`.

    One update runs over one flat array: all parameters of a model lie in it, so no
    loop over layers exists anywhere.

    Args:
        learning_rate: at least 0; or a schedule, see `gpunn.optimizers.schedules`.
        weight_decay: w loses ``weight_decay * learning_rate * w`` before each update
            (decoupled, Loshchilov and Hutter, 2019); biases included, as in Keras.
        clipnorm: largest norm of one parameter's gradient.
        clipvalue: largest absolute gradient element.
        global_clipnorm: largest norm of all gradients together.
        use_ema: keep a moving average of the weights (Polyak and Juditsky, 1992), which
            takes their place when `fit` ends.
        ema_momentum: m in average = m average + (1 - m) weights, from 0 to 1.
        ema_overwrite_frequency: number of updates after which, each time, the weights become
            their average; None: only when `fit` ends.
        loss_scale_factor: gradients are those of the loss times this number, and divided
            by it before they are used, so that small ones do not vanish on the way.
        gradient_accumulation_steps: number of steps, at least 2, after which one update is made
            with the mean of their gradients, as for a batch that many times as large.
        name: shown in the model's configuration.

    A subclass declares its own arguments as fields, ``learning_rate`` first, or writes an
    ``__init__`` that leaves the others to ``**common``; its signature and its configuration have
    them all.

    Attributes:
        functor, parameter_names: see `Formula`; in ``kernels/formulas/generated_updates.cuh``,
            which ``make formulas`` writes from `rule`.
        options: arguments by which `rule` becomes another formula, in the order in which they stand
            in its functor's name.
        slot_names: arrays that it keeps beside the parameters, at most three.
        not_negative: of the slots, those of squares and magnitudes, whose root is taken.
        first_values: what is in a slot at first, where that is not zero.
        steps_by_norms: whether `update` leaves the weights (but for their decay) alone and
            writes into its slot "direction" where they shall go. Each parameter then takes a
            step of learning rate times its own norm in that direction.
    """

    kind = "optimizer"
    _not_watched = frozenset({"_control", "_owner", "_slots", "_loose", "_calls"})
    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            (
                "update_step",
                "apply",
                "apply_gradients",
                "stateless_apply",
                "minimize",
                "get_updates",
                "_resource_apply_dense",
                "_resource_apply_sparse",
            ),
            "write update(backend, w, g, slots, learning_rate, updates, decay), which changes "
            "the flat array w in place",
        ),
        **dict.fromkeys(
            ("build", "_create_slots"),
            "name the arrays that it keeps in slot_names, and their first_values",
        ),
        "finalize_variable_values": "write finish(arena)",
        "scale_loss": "pass loss_scale_factor",
        "exclude_from_weight_decay": "declare a parameter with decay=False",
        "_get_current_learning_rate": "write a schedule of the learning rate",
    }
    slot_names: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    not_negative: ClassVar[tuple[str, ...]] = ()
    first_values: ClassVar[Mapping[str, float]] = MappingProxyType({})
    steps_by_norms = False

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = list(signature(cls.__init__).parameters.values())[1:]
        if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
            taken = {parameter.name for parameter in own}
            own[-1:] = [
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                for parameter in signature(Optimizer).parameters.values()
                if parameter.name not in taken
            ]
        cls.__signature__ = inspect.Signature(own)

    # Without a type: only what has one is an argument to type checkers.
    _learning_rate = cast("float | LearningRateSchedule", 0.0)
    _control = cast("Control | None", None)

    def _rate_now(self) -> Any:
        """The learning rate, of a schedule its value for the next batch.

        Setting it reaches a captured step too. A schedule takes another one, but, as in
        Keras, no number: the next update would overwrite it.
        """
        rate = self._learning_rate
        now = rate(self.steps_done) if isinstance(rate, LearningRateSchedule) else rate
        return LearningRate(now, self)

    def _set_rate(self, value: Any) -> None:
        self._learning_rate = rate = checked_rate(value, self._learning_rate)
        if self._control is not None and not isinstance(rate, LearningRateSchedule):
            self._control.set_learning_rate(rate)

    learning_rate: Any = field(managed=property(_rate_now, _set_rate))
    # Without a type here too: each optimizer has it as an argument at another place.
    weight_decay = field(default=None, check=optional(check_not_negative))
    clipnorm: float | None = field(default=None, check=_positive, kw_only=True)
    clipvalue: float | None = field(default=None, check=_positive, kw_only=True)
    global_clipnorm: float | None = field(default=None, check=_positive, kw_only=True)
    use_ema: bool = field(default=False, check=check_flag, kw_only=True)
    ema_momentum: float = field(default=0.99, check=check_fraction, kw_only=True)
    ema_overwrite_frequency: int | None = field(default=None, check=_every(1), kw_only=True)
    loss_scale_factor: float | None = field(default=None, check=_positive, kw_only=True)
    gradient_accumulation_steps: int | None = field(default=None, check=_every(2), kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        limits = {by: getattr(self, by) for by in ("clipnorm", "clipvalue", "global_clipnorm")}
        if sum(limit is not None for limit in limits.values()) > 1:
            raise ValueError(
                f"Only one of clipnorm, clipvalue and global_clipnorm can be set; got "
                f"{', '.join(f'{by}={limit!r}' for by, limit in limits.items())}."
            )
        self.name = self.name or snake_case(type(self).__name__)
        self._owner: weakref.ref[Any] | None = None
        self._slots: tuple[weakref.ref[Arena], dict[str, Array]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the model that it trains, which brings its slots; with the count of updates."""
        control = self._control
        counted = None if control is None else (control.backend.root, control.get())
        state = {**vars(self), "_control": counted, "_owner": None, "_slots": None}
        state.pop("_calls", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if (counted := state["_control"]) is not None:
            backend, counters = counted
            self._control = Control(backend)
            self._control.restore(counters)
            self._control.set_learning_rate(self.learning_rate)
        if (arena := state.get("_loose")) is not None:
            self._slots = weakref.ref(arena), arena.slots

    def _watched(self) -> Mapping[str, Any]:
        """Its attributes, without a learning rate that is a number: the control block has it."""
        return {
            name: value
            for name, value in super()._watched().items()
            if name != "_learning_rate" or self.schedules
        }

    @property
    def fixed_learning_rate(self) -> float | None:
        """The learning rate, if it is a number and not computed by a schedule."""
        return None if LEARNING_RATE in self.schedules else float(self.learning_rate)

    @property
    def schedules(self) -> dict[int, LearningRateSchedule]:
        """What computes rates of the control block anew for each batch, by their places."""
        rate = self._learning_rate
        return {LEARNING_RATE: rate} if isinstance(rate, LearningRateSchedule) else {}

    @property
    def iterations(self) -> int:
        """Updates done so far."""
        return self.steps_done // self.steps_per_update

    @property
    def steps_done(self) -> int:
        """Batches whose gradients it was given so far, which schedules count."""
        return 0 if self._control is None else int(self._control.get()[UPDATES])

    @property
    def steps_per_update(self) -> int:
        """How many steps' gradients an update waits for."""
        return self.gradient_accumulation_steps or 1

    @property
    def clipping(self) -> tuple[str, float] | None:
        """What `Backend.clip_gradients` is to do, or None."""
        for by in ("clipvalue", "clipnorm", "global_clipnorm"):
            if (limit := getattr(self, by)) is not None:
                return {"clipvalue": "value", "clipnorm": "norm"}.get(by, "global_norm"), limit
        return None

    def take_owner(self, model: Any) -> None:
        """Belong to ``model``; an optimizer trains one model, since its counts are that one's.

        Raises:
            ValueError: if it belongs to another that is still in use.
        """
        owner = self._owner() if self._owner else None
        if owner is not None and owner is not model:
            raise ValueError(
                f"This optimizer already trains the model {owner.name!r}: make one for each "
                f"model, type(optimizer).from_config(optimizer.get_config())."
            )
        self._owner = weakref.ref(model)

    def attach(self, control: Control) -> None:
        """Tie the learning rate and the update count to a model's control block."""
        if self._control is not None and self._control is not control:
            control.set(UPDATES, int(self._control.get()[UPDATES]))
        self._control = control
        control.set_learning_rate(self.learning_rate)
        if any(place >= PARAMETERS for place in self.schedules):
            for place, value in enumerate(self.parameters, PARAMETERS):
                control.set_rate(place, value)

    def add_slots(self, arena: Arena) -> None:
        """Give ``arena`` the arrays that this keeps beside the parameters.

        Those that it has kept for the same arena go on as they are, as does the count of
        updates, which `attach` takes along.
        """
        names = list(self.slot_names)
        if self.gradient_accumulation_steps:
            names.append(SUM)
        if self.use_ema:
            names.append(AVERAGE)
        if self._slots is not None and self._slots[0]() is arena and [*self._slots[1]] == names:
            arena.take_slots(self._slots[1])
            return
        self._control = None
        arena.add_slots(names)
        self._slots = weakref.ref(arena), arena.slots
        for name, value in self.first_values.items():
            arena.backend.write(arena.slots[name], np.array(value, arena.dtype))
        if self.use_ema:
            arena.backend.write(arena.slots[AVERAGE], arena.values)

    def drop_sums(self, arena: Arena) -> None:
        """Forget the gradients that frozen parameters have gathered: the update that they were
        for passes by, and the next one after a thaw is not theirs."""
        if self.gradient_accumulation_steps:
            for parameter in arena.parameters:
                if parameter.trained and not parameter.trainable:
                    gathered = arena.segment(arena.slots[SUM], parameter)
                    arena.backend.write(gathered, np.zeros(parameter.shape, arena.dtype))

    def write_rates(self) -> None:
        """Write from the host what the schedules give for the next batch."""
        assert self._control is not None
        steps = self.steps_done
        for place, schedule in self.schedules.items():
            self._control.set_rate(place, float(schedule(steps)))

    def step(self, arena: Arena, control: Control, backend: Backend | None = None) -> None:
        """Ask for the operations that end a step, once ``arena`` has its gradients.

        ``backend`` is the arena's, or one that is `Backend.isolated` from it.
        """
        backend = backend or arena.backend
        if self.gradient_accumulation_steps:
            backend.accumulate_gradients(self, arena, control)
        if self.clipping:
            backend.clip_gradients(arena, *self.clipping)
        for place, schedule in self.schedules.items():
            if schedule.functor is not None:  # else the host has written the rate
                backend.schedule(schedule, control, place)
        backend.update(self, arena, control)
        if self.steps_by_norms:
            backend.step_by_norms(self, arena, control)
        if self.use_ema:
            backend.average_weights(self, arena, control)
        for parameter in arena.trained:
            if parameter.constraint is not None:
                backend.constrain(parameter.constraint, parameter.value)

    def finish(self, arena: Arena) -> None:
        """The end of training: with ``use_ema`` the weights become their averages."""
        if self.use_ema:
            with arena.access.writing():
                for group in arena.groups:
                    arena.backend.write(group.values, group.slots[AVERAGE])

    def update(
        self,
        backend: Backend,
        w: Array,
        g: Array,
        slots: Slots,
        learning_rate: Any,
        updates: Any,
        decay: bool,
    ) -> None:
        """Change ``w`` (n,) in place by its gradient ``g`` (n,); ``updates`` were done before.

        ``learning_rate`` and ``updates`` are numbers on NumPy and arrays of one
        element on a card: compute with them, do not branch on them. Here ``w`` decays, if it
        is to, and then `move` is called, which follows `rule`: write one of the three.
        """
        if self.weight_decay and decay:
            lost = backend.scratch(w.shape, w.dtype, "step")
            backend.xp.multiply(w, self.weight_decay * learning_rate, out=lost)
            backend.xp.subtract(w, lost, out=w)
        self.move(backend, w, g, slots, learning_rate, updates + 1)

    def move(self, backend: Backend, w: Array, g: Array, slots: Slots, rate: Any, t: Any) -> None:
        """Change ``w`` (n,) in place by its gradient ``g`` (n,), in the ``t``-th update: by calls
        of array functions that do what `rule` says."""
        calls: Calls | None = self.__dict__.get("_calls")
        if calls is None or (calls.seen != registry.last_change and not calls.fit(self)):
            calls = self.__dict__["_calls"] = Calls(self)
        calls.move(self, backend, w, g, slots, rate, t)

    def rule(
        self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Tensor | tuple[Tensor, Tensors]:
        """The update of one weight, in operations of `gpunn.ops` on single numbers.

        It is called once, to see what it computes. Floats that it reads from ``self`` may change
        from update to update; whatever else it reads, as a flag, may decide what it computes.

        Args:
            w: the weight, after its decay.
            g: its gradient.
            slots: what is kept for it, by the names in ``slot_names``.
            rate: the learning rate.
            t: the number of this update, from 1 on.

        Returns:
            the new weight; or that and a dictionary of the slots that change.

        >>> import numpy as np
        >>> from gpunn import ops
        >>> class SignDescent(Optimizer):
        ...     def rule(self, w, g, slots, rate, t):
        ...         return w - rate * ops.sign(g)
        >>> w = np.array([1.0, 2.0])
        >>> SignDescent(0.25).apply([[3.0, -0.1]], [w]); w.tolist()
        [0.75, 2.25]
        """
        raise TypeError(f"{type(self).__name__} must define rule(...) or update(...).")

    def number_now(self, name: str) -> Any:
        """What `rule` reads as the number ``name``, in the update that is due: the attribute."""
        return float(getattr(self, name) or 0.0)

    def apply(self, gradients: Sequence[Any], variables: Sequence[np.ndarray]) -> None:
        """One step on plain NumPy arrays, in place. Slots are kept between calls.

        Raises:
            ValueError: if numbers or shapes of gradients and variables differ.

        >>> from gpunn.optimizers import SGD
        >>> w = np.array([1.0])
        >>> SGD(0.5).apply([[1.0]], [w]); w.tolist()
        [0.5]
        """
        apply_to_arrays(self, gradients, variables)

    def get_config(self) -> dict[str, Any]:
        schedule = self.schedules.get(LEARNING_RATE)
        rate = float(self.learning_rate) if schedule is None else registry.serialize(schedule)
        return {**super().get_config(), "learning_rate": rate}


get, serialize, deserialize = lookups(Optimizer)
