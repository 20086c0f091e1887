"""What every optimizer is: a formula over flat arrays, slots beside them, a learning rate."""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import registry
from ..arguments import check_number
from ..backends import get_backend
from ..backends.base import Array, Backend
from ..backends.control import UPDATES, Control


class Optimizer(registry.Entry):
    """Base class. A subclass names its slots and writes `update`.

    One update runs over one flat array: all parameters of a model lie in it, so no
    loop over layers exists anywhere.

    Args:
        learning_rate: at least 0.
        weight_decay: w loses ``weight_decay * learning_rate * w`` before each update
            (decoupled, Loshchilov and Hutter, 2019); biases included, as in Keras.
        clipnorm: largest norm of one parameter's gradient.
        clipvalue: largest absolute gradient element.
        global_clipnorm: largest norm of all gradients together.
        name: shown in the model's configuration.

    Attributes:
        functor: name of the functor in ``kernels/updates.cuh``, or None.
        slot_names: arrays that it keeps beside the parameters.
    """

    kind = "optimizer"
    functor: str | None = None
    slot_names: tuple[str, ...] = ()
    parameters: tuple[float, ...] = ()

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        unsupported = {
            "use_ema": use_ema,
            "ema_overwrite_frequency": ema_overwrite_frequency,
            "loss_scale_factor": loss_scale_factor,
            "gradient_accumulation_steps": gradient_accumulation_steps,
        }
        for argument, value in unsupported.items():
            if value:
                raise ValueError(f"{argument}={value!r} is not supported; leave it out.")
        self.ema_momentum = ema_momentum
        self.use_ema, self.ema_overwrite_frequency = False, None
        self.loss_scale_factor = self.gradient_accumulation_steps = None
        for argument, value in (
            ("clipnorm", clipnorm),
            ("clipvalue", clipvalue),
            ("global_clipnorm", global_clipnorm),
        ):
            if value is not None and not check_number(argument, value) > 0:
                raise ValueError(f"{argument} must be positive; got {value!r}.")
        if sum(value is not None for value in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(
                f"Only one of clipnorm, clipvalue and global_clipnorm can be set; got "
                f"clipnorm={clipnorm!r}, clipvalue={clipvalue!r}, "
                f"global_clipnorm={global_clipnorm!r}."
            )
        if weight_decay is not None and not check_number("weight_decay", weight_decay) >= 0:
            raise ValueError(f"weight_decay must be at least 0; got {weight_decay!r}.")
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.weight_decay = weight_decay
        self.name = name or registry.snake_case(type(self).__name__)
        self._control: Control | None = None
        self._owner: weakref.ref[Any] | None = None
        self._learning_rate = 0.0
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """The learning rate; setting it reaches a recorded step too."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        value = check_number("learning_rate", value)
        if not value >= 0 or math.isinf(value):
            raise ValueError(f"learning_rate must be a finite number of at least 0; got {value!r}.")
        self._learning_rate = value
        if self._control is not None:
            self._control.set_learning_rate(value)

    @property
    def iterations(self) -> int:
        """Updates done so far."""
        return 0 if self._control is None else int(self._control.get()[UPDATES])

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
        self._control = control
        control.set_learning_rate(self._learning_rate)

    def update(
        self,
        backend: Backend,
        w: Array,
        g: Array,
        slots: dict[str, Array],
        learning_rate: Any,
        updates: Any,
        decay: bool,
    ) -> None:
        """Change ``w`` (n,) in place by its gradient ``g`` (n,); ``updates`` were done before.

        ``learning_rate`` and ``updates`` are numbers on NumPy and arrays of one
        element on a card: compute with them, do not branch on them.
        """
        raise TypeError(f"{type(self).__name__} must define update(...).")

    def apply(self, gradients: Sequence[Any], variables: Sequence[np.ndarray]) -> None:
        """One step on plain NumPy arrays, in place. Slots are kept between calls.

        Raises:
            ValueError: if numbers or shapes of gradients and variables differ.

        >>> from gpunn.optimizers import SGD
        >>> w = np.array([1.0])
        >>> SGD(0.5).apply([[1.0]], [w]); w.tolist()
        [0.5]
        """
        shapes = [tuple(np.shape(g)) for g in gradients], [np.shape(v) for v in variables]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"gradients of shapes {shapes[0]} do not fit variables of {shapes[1]}."
            )
        from ..arena import Arena, Parameter

        backend = get_backend("numpy")
        dtype = variables[0].dtype if variables else np.dtype("float32")
        arena: Arena | None = getattr(self, "_loose", None)
        if arena is None or [p.shape for p in arena.parameters] != shapes[1]:
            arena = Arena(
                backend,
                dtype.name,
                [Parameter(shape, name=str(i)) for i, shape in enumerate(shapes[1])],
            )
            arena.add_slots(self.slot_names)
            self._loose = arena
            self.attach(Control(backend))
        assert self._control is not None
        for parameter, g, v in zip(arena.parameters, gradients, variables, strict=True):
            parameter.value[...] = v
            parameter.gradient[...] = g
        if self.clipping:
            backend.clip_gradients(arena, *self.clipping)
        backend.update(self, arena, self._control)
        self._control.set(UPDATES, self.iterations + 1)
        for parameter, v in zip(arena.parameters, variables, strict=True):
            v[...] = parameter.value

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


def decayed(backend: Backend, w: Array, rate: Any, scratch: Array) -> None:
    """w -= rate * w."""
    backend.xp.multiply(w, rate, out=scratch)
    backend.xp.subtract(w, scratch, out=w)
