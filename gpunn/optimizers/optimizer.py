"""The base class of optimizers: a formula over flat arrays, their slots, and a learning rate."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from gpunn.backends import get_backend
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
from gpunn.common.config import floatx
from gpunn.common.fields import add_defaults, field
from gpunn.common.names import snake_case
from gpunn.common.parts import Formula, lookups
from gpunn.common.signatures import signature
from gpunn.core.recording import active, refuse
from gpunn.core.settings import Cached, Settings
from gpunn.core.storage import ParameterStorage
from gpunn.ops.conversion import convert
from gpunn.ops.elementwise import cast as cast_to
from gpunn.ops.shapes import reshape
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current

from .custom_steps import CustomSteps
from .kept import Exclusion, KeptSlots
from .learning_rate import LearningRate, checked_rate
from .rules import Move, move_of

if TYPE_CHECKING:
    from .schedules import LearningRateSchedule

__all__ = ["Optimizer", "deserialize", "get", "serialize"]

# Slots in addition to an optimizer's own: the sum of the gradients since the last update, and the
# moving average of the weights.
SUM = "gradient_accumulator"
AVERAGE = "average"
EXCLUDED = "excluded_from_weight_decay"
"""The entry of configurations for weights that are excluded; other optimizers lack it."""
Slots = dict[str, Array]
Tensors = Mapping[str, Tensor]
Moved = tuple[Tensor, Tensors]
"""A weight after a step, and its slots."""

_positive = optional(check_positive)


def _every(least: int) -> Callable[[str, Any], int | None]:
    """Return the check of a frequency; None or 0 means never."""
    return lambda name, value: check_integer(name, value or None, least, None)


class Optimizer(CustomSteps, Formula):
    """Base class of optimizers. A subclass names its slots and defines `rule` or `update`.

    One update runs over one flat array that holds all parameters of a model, so there is
    no loop over layers.

    Args:
        learning_rate: at least 0; or a schedule, see `gpunn.optimizers.schedules`.
        weight_decay: subtract ``weight_decay * learning_rate * w`` from w before each update
            (decoupled, Loshchilov and Hutter, 2019), biases included, as in Keras.
        clipnorm: largest norm of one parameter's gradient.
        clipvalue: largest absolute gradient element.
        global_clipnorm: largest norm of all gradients together.
        use_ema: keep a moving average of the weights (Polyak and Juditsky, 1992), which
            replaces them when `fit` ends.
        ema_momentum: m in ``average = m average + (1 - m) weights``, from 0 to 1.
        ema_overwrite_frequency: number of updates between replacements of the weights by
            their average; None: only when `fit` ends.
        loss_scale_factor: multiply the loss by this number, and divide the gradients by it
            before they are used, so that small gradients do not underflow.
        gradient_accumulation_steps: make one update every this many steps (at least 2) with
            the mean of their gradients, as for a batch that many times as large.
        name: shown in the model's configuration.

    A subclass declares its own arguments as fields, ``learning_rate`` first, or defines an
    ``__init__`` that takes the others as ``**common``. Its signature and its configuration
    include them all.

    Attributes:
        functor: name of the formula of the kernels, in
            ``kernels/formulas/generated_updates.cuh``, which ``make formulas`` writes from `rule`;
            None if they have none.
        parameter_names: attributes that are passed to this formula.
        options: arguments that select another formula in `rule`, in their order in the
            functor's name.
        slot_names: arrays that it keeps alongside the parameters, at most three.
        not_negative: slots of squares and magnitudes, whose square root is taken.
        first_values: initial values of slots, if not zero.
        steps_by_norms: whether `update` leaves the weights unchanged (except for decay) and
            writes a direction into its slot "direction". Each parameter then takes a step of
            learning rate times its own norm in that direction.

    Raises:
        ValueError: for an argument out of its range, or several of the three kinds of clipping.

    >>> import numpy as np
    >>> from gpunn import ops
    >>> from gpunn.optimizers import Optimizer
    >>> class _BySign(Optimizer):
    ...     learning_rate: float = 0.1
    ...     def rule(self, w, g, slots, rate, t):
    ...         return w - rate * ops.sign(g), {}
    >>> w = np.array([1.0, 1.0])
    >>> _BySign(0.25).apply([[3.0, -0.01]], [w]); w.tolist()
    [0.75, 1.25]
    """

    _kind = "optimizer"
    __experimental__ = frozenset(
        {"all_slot_names", "attach", "control_on", "drop_sums", "fixed_learning_rate", "move"}
        | {"not_negative", "number_now", "options", "schedules", "slots_in", "step"}
        | {"steps_by_norms", "steps_done", "steps_per_update", "take_owner", "write_rates"}
    )
    _not_watched = frozenset(
        {"_control", "_owner", "_slots", "_calls", "_built_for"}
        | {"_slots_made", "_slots_known", "_in_update", "_collects"}
    )
    _refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            (
                "apply", "apply_gradients", "stateless_apply", "minimize", "get_updates",
                "_resource_apply_dense", "_resource_apply_sparse",
            ),
            "write rule(w, g, slots, rate, t), the update of one weight, or update(backend, w, g, "
            "slots, learning_rate, updates, decay), which changes the flat array w in place",
        ),
        "update_step": "derive from gpunn.optimizers.Optimizer itself, whose update_step is "
        "called, or write rule(w, g, slots, rate, t)",
        **dict.fromkeys(
            ("build", "_create_slots"),
            "name the arrays that it keeps in slot_names, and their first_values",
        ),
        "finalize_variable_values": "write finish(storage)",
        "scale_loss": "pass loss_scale_factor",
        "_clip_gradients": "pass clipnorm, clipvalue or global_clipnorm, or change g in update",
        "exclude_from_weight_decay": "call it, or declare a parameter with decay=False",
        **dict.fromkeys(
            ("_apply_weight_decay", "_use_weight_decay"),
            "call exclude_from_weight_decay, or write update",
        ),
        **dict.fromkeys(
            ("_update_model_variables_moving_average",
             "_overwrite_model_variables_with_average_value"),
            "pass use_ema, ema_momentum and ema_overwrite_frequency",
        ),
        "_get_current_learning_rate": "write a schedule of the learning rate",
    }
    _reached_by: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "update_step": ("rule",), "build": ("update_step",)
    }
    slot_names: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    not_negative: ClassVar[tuple[str, ...]] = ()
    first_values: ClassVar[Mapping[str, float]] = MappingProxyType({})
    steps_by_norms = False
    _is_lazy = False

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        if "update_step" in vars(cls):
            from .by_weight.by_update_step import INSTALLED  # which few programs need

            for name, value in INSTALLED.items():
                if name not in vars(cls):
                    setattr(cls, name, value)
        super().__init_subclass__()
        cls._has_move = cls.move is not Optimizer.move
        own = list(signature(cls.__init__).parameters.values())[1:]
        if own and own[-1].kind is inspect.Parameter.VAR_KEYWORD:
            taken = {parameter.name for parameter in own}
            own[-1:] = [
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                for parameter in signature(cls.__mro__[1]).parameters.values()
                if parameter.name not in taken
            ]
        cls.__signature__ = inspect.Signature(own)

    _has_move = False
    # Not annotated: type checkers take annotated attributes for constructor arguments.
    _learning_rate = cast("float | LearningRateSchedule", 0.0)
    _control = cast("Control | None", None)
    _exclusion = Exclusion()
    _attached = 0

    def _rate_now(self) -> Any:
        """The learning rate; for a schedule, its value for the next batch.

        Setting it affects a captured step too. As in Keras, a schedule can be replaced by
        another one but not by a number, which the next update would overwrite. In a step that is
        traced it is a tensor, and cannot be set.
        """
        if (watcher := active.watcher) is not None and watcher.records:
            return watcher.call(_number_now, (self, "learning_rate"), {}, True)
        if (here := vars(self).get("_in_update")) is not None:
            return here[0]
        trace = current()
        if trace is not None and self._control is not None:
            if self.schedules:
                trace.refuse_values(f"the learning rate of {self.name}, which a schedule gives")
            else:
                found = trace.number_of(self, self._control, LEARNING_RATE, True)
                if found is not None:
                    return cast_to(reshape(found, ()), floatx())
        return LearningRate(self._rate_stored(), self)

    def _rate_stored(self) -> float:
        rate = self._learning_rate
        return float(rate if isinstance(rate, float) else rate(self.steps_done))

    def _set_rate(self, value: Any) -> None:
        refuse("it changes a learning rate.")
        if (trace := current()) is not None:
            trace.refuse_values(f"a change of the learning rate of {self.name}")
        self._learning_rate = rate = checked_rate(value, self._learning_rate)
        if self._control is not None and isinstance(rate, float):
            self._control.set_learning_rate(rate)

    learning_rate: Any = field(managed=property(_rate_now, _set_rate))
    # Not annotated either: its position among the arguments depends on the optimizer.
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
        self._slots = KeptSlots()

    def __getstate__(self) -> dict[str, Any]:
        """The state with copies of the slots and the update count, without the model."""
        control = self._control
        counted = None if control is None else (control.backend.root, control.get())
        state = {**vars(self), "_control": counted, "_owner": None, "_slots": self._slots.copied()}
        for name in ("_calls", "_built_for", "_slots_made"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = state["_slots"]  # a list in a pickle of an earlier version
        vars(self).update(state, _slots=kept if isinstance(kept, KeptSlots) else KeptSlots())
        if (counted := state["_control"]) is not None:
            backend, counters = counted
            self._control = Control(backend)
            self._control.restore(counters)
            self._control.set_learning_rate(self._rate_stored())
        add_defaults(self)

    def _watched(self) -> Mapping[str, Any]:
        """The attributes without a constant learning rate, which the control block holds."""
        return {
            name: value
            for name, value in super()._watched().items()
            if name != "_learning_rate" or self.schedules
        }

    @property
    def fixed_learning_rate(self) -> float | None:
        """The learning rate if it is a number; None if a schedule computes it."""
        return None if LEARNING_RATE in self.schedules else self._rate_stored()

    @property
    def schedules(self) -> dict[int, LearningRateSchedule]:
        """Schedules that compute rates of the control block for each batch, by their indices."""
        rate = self._learning_rate
        return {} if isinstance(rate, float) else {LEARNING_RATE: rate}

    @property
    def iterations(self) -> Any:
        """Updates done so far; in a step that is traced a tensor."""
        if (watcher := active.watcher) is not None and watcher.records:
            return watcher.call(_number_now, (self, "iterations"), {}, True)
        if (here := vars(self).get("_in_update")) is not None:
            return cast_to(here[1], "int32")
        trace = current()
        if trace is not None and (control := self._control) is not None:
            found = trace.number_of(self, control, UPDATES, False)
            if found is not None:
                return cast_to(reshape(found, ()), "int32") // self.steps_per_update
        return self.steps_done // self.steps_per_update

    @property
    def steps_done(self) -> int:
        """Batches whose gradients it has received so far; schedules count these."""
        return 0 if self._control is None else int(self._control.get()[UPDATES])

    @property
    def steps_per_update(self) -> int:
        """Number of steps whose gradients one update combines."""
        return self.gradient_accumulation_steps or 1

    @property
    def clipping(self) -> tuple[str, float] | None:
        """The arguments of `Backend.clip_gradients`, or None."""
        for by in ("clipvalue", "clipnorm", "global_clipnorm"):
            if (limit := getattr(self, by)) is not None:
                return {"clipvalue": "value", "clipnorm": "norm"}.get(by, "global_norm"), limit
        return None

    @property
    def _skips_zeros(self) -> bool:
        """Whether `rule` leaves a weight whose gradient is 0 as it is, for any slots."""
        return False

    def _needs_all_rows(self, decay: bool = True) -> str | None:
        """Return why all rows of a table, with weight ``decay`` or without, must be updated, if an
        option requires it."""
        for name in (
            "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "loss_scale_factor",
            "gradient_accumulation_steps", *(("weight_decay",) if decay else ()),
        ):
            if value := getattr(self, name):
                return f"{name}={value!r} concerns all rows"
        return None

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Exclude weights from weight decay, instead of those excluded before.

        It is called before the first update. Files and configurations of the optimizer hold it.

        Args:
            var_list: Weights of layers, variables or arrays.
            var_names: Strings, or regular expressions. A weight is excluded if its name contains
                one of them: ``["bias"]`` excludes all biases.

        Raises:
            ValueError: after the first update or `build`; for a name that is no regular expression.
            TypeError: for names that are no list of strings.

        >>> from gpunn.optimizers import AdamW
        >>> optimizer = AdamW(weight_decay=0.1)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
        """
        if self.steps_done or vars(self).get("_built_for"):
            raise ValueError(
                "exclude_from_weight_decay must be called before the optimizer is built and "
                "before its first update: create another optimizer."
            )
        self._exclusion = Exclusion(var_names or (), (), () if var_list is None else list(var_list))

    def decays(self, variable: Any) -> bool:
        """Return whether weight decay applies to a weight, variable or array.

        >>> import gpunn
        >>> optimizer = gpunn.optimizers.AdamW(weight_decay=0.1)
        >>> weight = gpunn.Variable([1.0], name="kernel")
        >>> optimizer.exclude_from_weight_decay([weight])
        >>> optimizer.decays(weight), optimizer.decays(gpunn.Variable([1.0]))
        (False, True)
        """
        return bool(getattr(variable, "decay", True)) and variable not in self._exclusion

    def take_owner(self, training: Any) -> None:
        """Bind the optimizer to the training of a model, the only one that it trains.

        Raises:
            ValueError: if it is bound to another model that is still in use.
        """
        owner = self._owner() if self._owner else None
        if owner is not None and owner is not training:
            raise ValueError(
                f"This optimizer already trains the model {owner.name!r}: create one for each "
                f"model with type(optimizer).from_config(optimizer.get_config())."
            )
        self._owner = weakref.ref(training)

    def attach(self, control: Control) -> None:
        """Tie the learning rate and the update count to a model's control block."""
        if self._control is not control:
            if self._control is not None:
                control.set(UPDATES, int(self._control.get()[UPDATES]))
            self._attached += 1  # so that steps which read the block are made again
        self._control = control
        registry.record_change()
        control.set_learning_rate(self._rate_stored())
        if any(place >= PARAMETERS for place in self.schedules):
            for place, value in enumerate(self.parameters, PARAMETERS):
                control.set_rate(place, value)

    def _keeps(self, slot: str, weight: Any) -> bool:
        """Whether a slot of its own holds anything for a weight."""
        return True

    def add_slots(self, storage: ParameterStorage) -> None:
        """Add the arrays that the optimizer keeps alongside the parameters to ``storage``.

        Slots already kept for a parameter are carried over. The update count, which `attach`
        carries over, begins anew if there are none, and no custom steps count.
        """
        goes_on, waiting = self._slots.are_known(storage.parameters), self._slots.waiting
        storage.decays = self.decays
        storage.take_slots(self.slots_in(storage))
        if not goes_on and self._slots.waiting == waiting:
            self._control = None
            registry.record_change()

    @property
    def all_slot_names(self) -> list[str]:
        """The names of its own slots and of those that its options need."""
        sums = [SUM] if self.gradient_accumulation_steps else []
        return [*self.slot_names, *sums, *([AVERAGE] if self.use_ema else [])]

    def slots_in(self, storage: ParameterStorage) -> dict[str, Array]:
        """Return its slots for the parameters of a storage; they are created once."""
        with self._slots.lock:
            return self._slots.give(storage, self)

    def _first_slots(self, storage: ParameterStorage) -> dict[str, Array]:
        """Return new slots for a storage, with their first values."""
        backend = storage.backend
        made = {n: backend.zeros(storage.values.shape, storage.dtype) for n in self.all_slot_names}
        for name, value in self.first_values.items():
            backend.write(made[name], np.array(value, storage.dtype))
        if self.use_ema:
            backend.write(made[AVERAGE], storage.values)
        return made

    def control_on(self, backend: Backend) -> Control:
        """Return its control block, which is on this backend."""
        if self._control is None or self._control.backend.root is not backend.root:
            self.attach(Control(backend.root))
        assert self._control is not None
        return self._control

    def drop_sums(self, storage: ParameterStorage) -> None:
        """Reset the accumulated gradients of frozen parameters: they miss the current update and
        must not enter the first one after unfreezing."""
        if self.gradient_accumulation_steps:
            for parameter in storage.parameters:
                if parameter.trained and not parameter.trainable:
                    gathered = storage.segment(storage.slots[SUM], parameter)
                    storage.backend.write(gathered, np.zeros(parameter.shape, storage.dtype))

    def write_rates(self) -> None:
        """Write the schedules' values for the next batch from the host."""
        assert self._control is not None
        if not self.schedules:
            return
        steps = self.steps_done
        for place, schedule in self.schedules.items():
            self._control.set_rate(place, float(schedule(steps)))

    def step(
        self, storage: ParameterStorage, control: Control, backend: Backend | None = None
    ) -> None:
        """Issue the operations that end a step, once ``storage`` has its gradients.

        ``backend`` is the storage's, or one that is `Backend.isolated` from it.
        """
        backend = backend or storage.backend
        self._gather(storage, control, backend)
        if self.clipping:
            backend.clip_gradients(storage, *self.clipping)
        self._change(storage, control, backend)

    def _gather(self, storage: ParameterStorage, control: Control, backend: Backend) -> None:
        """Issue the operations of a step that come before clipping."""
        if self.gradient_accumulation_steps:
            backend.accumulate_gradients(self, storage, control)

    def _change(self, storage: ParameterStorage, control: Control, backend: Backend) -> None:
        """Issue the operations of a step that come after clipping."""
        for place, schedule in self.schedules.items():
            if schedule.functor is not None:  # else the host has written the rate
                backend.schedule(schedule, control, place)
        if storage.groups:  # none if all weights are updated by rows
            backend.update(self, storage, control)
        if self.steps_by_norms:
            backend.step_by_norms(self, storage, control)
        if self.use_ema:
            backend.average_weights(self, storage, control)
        for parameter in storage.trained:
            if parameter.constraint is not None:
                backend.constrain(parameter.constraint, parameter.array)

    def finish(self, storage: ParameterStorage) -> None:
        """End training: with ``use_ema``, replace the weights by their averages."""
        if self.use_ema:
            with storage.access.writing():
                for group in storage.groups:
                    storage.backend.write(group.values, group.slots[AVERAGE])

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
        """Update ``w`` (n,) in place from its gradient ``g`` (n,), after ``updates`` updates.

        ``learning_rate`` and ``updates`` are numbers on NumPy and one-element arrays on a
        GPU: compute with them, but do not branch on them. This method applies weight decay,
        if any, and calls `move`, which follows `rule`. Define one of the three.
        """
        if self.weight_decay and decay:
            lost = backend.scratch(w.shape, w.dtype, "step")
            backend.xp.multiply(w, self.weight_decay * learning_rate, out=lost)
            backend.xp.subtract(w, lost, out=w)
        if self._has_move:
            self.move(backend, w, g, slots, learning_rate, updates + 1)
        else:  # for each piece of an array
            self._calls.get()(self, backend, w, g, slots, learning_rate, updates + 1)

    def move(self, backend: Backend, w: Array, g: Array, slots: Slots, rate: Any, t: Any) -> None:
        """Update ``w`` (n,) in place from its gradient ``g`` (n,), in the ``t``-th update, by
        calling array functions that compute `rule`."""
        self._calls.get()(self, backend, w, g, slots, rate, t)

    @cached_property
    def _calls(self) -> Cached[Move]:
        return Cached(lambda: Settings([self]), lambda: move_of(self))

    def rule(
        self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> Tensor | Moved:
        """Compute the update of one weight, with operations of `gpunn.ops` on scalars.

        It is called once and traced. Floats that it reads from ``self`` may change between
        updates. Other attributes, such as flags, may select what it computes.

        Args:
            w: the weight, after its decay.
            g: its gradient.
            slots: its slot values, by the names in ``slot_names``.
            rate: the learning rate.
            t: the number of this update, from 1 on.

        Returns:
            the new weight; or that and a dictionary of the slots that change.

        >>> import numpy as np
        >>> from gpunn import ops
        >>> class _SignDescent(Optimizer):
        ...     def rule(self, w, g, slots, rate, t):
        ...         return w - rate * ops.sign(g)
        >>> w = np.array([1.0, 2.0])
        >>> _SignDescent(0.25).apply([[3.0, -0.1]], [w]); w.tolist()
        [0.75, 2.25]
        """
        raise TypeError("an optimizer must define rule(...) or update_step(...).")

    def _update_by_tensors(
        self, backend: Backend, storage: ParameterStorage, control: Control
    ) -> None:
        """Issue the operations of an update, of one that is ``_of_tensors``."""
        raise TypeError(f"{type(self).__name__} updates arrays.")

    def number_now(self, name: str) -> Any:
        """Return the number ``name`` that `rule` reads in the next update: the attribute."""
        return float(getattr(self, name) or 0.0)

    def get_config(self) -> dict[str, Any]:
        schedule = self.schedules.get(LEARNING_RATE)
        rate = float(self.learning_rate) if schedule is None else registry.serialize(schedule)
        found = {**super().get_config(), "learning_rate": rate}
        return {**found, EXCLUDED: self._exclusion.get_config()} if self._exclusion else found

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create an optimizer from a dictionary that its `get_config` returned.

        Args:
            config: the arguments of the constructor, by name, and what is excluded from decay.

        >>> from gpunn.optimizers import Adam
        >>> Adam.from_config({"learning_rate": 0.5}).get_config()["learning_rate"]
        0.5
        """
        made = super().from_config({key: x for key, x in config.items() if key != EXCLUDED})
        if EXCLUDED in config:
            made._exclusion = Exclusion.from_config(config[EXCLUDED])
        return made


get, serialize, deserialize = lookups(Optimizer)


def _number_now(optimizer: Any, name: str) -> Tensor:
    """Return an attribute as a tensor: in a step, each step has its own value."""
    if optimizer._control is None:  # a step reads it from there
        optimizer.control_on(get_backend())
    value = getattr(optimizer, name)
    found = convert(value, "int32" if name == "iterations" else floatx())
    found.part_of = (value, None) if isinstance(value, LearningRate) else None  # to assign to
    return found
