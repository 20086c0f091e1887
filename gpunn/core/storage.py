"""The storage of parameters: named segments of a few flat arrays.

A `ParameterStorage` holds one flat array of parameter values, one of gradients with the same
layout, the optimizer's slots, and one of state that is not trained
(moving averages). A `Parameter` is a view of its segment. An optimizer's update is
one operation over the flat arrays. Freezing a layer, changing its learning
rate or exempting it from decay changes only a row of the table of segments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import field
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common import registry
from gpunn.common.config import resolve_dtype
from gpunn.common.holds import Access
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.core.recording import recorded, refuse

from .operators import ASSIGNED, FUNCTIONS, Kept

# Elements: segments begin on a cache line, which cuBLAS also prefers. Small ones share a line: in a
# network of a few units, most of an update would else be of the gaps.
ALIGNMENT, ALIGNMENT_OF_SMALL = 16, 4

HANDLED = ("trainable", "multiplier", "decay", "l1", "l2")
SEGMENT = np.dtype(
    [
        ("offset", np.int64),
        ("size", np.int64),
        ("trainable", np.bool_),
        ("multiplier", np.float64),
        ("decay", np.bool_),
        ("l1", np.float64),
        ("l2", np.float64),
    ]
)


Result = TypeVar("Result")
_WEIGHT_LIMIT: ContextVar[float] = ContextVar("values that a storage may hold", default=math.inf)


def with_weight_limit(values: int, work: Callable[[], Result]) -> Result:
    """Return ``work()``; meanwhile creating a parameter storage of more values raises an error.

    The limit belongs to a context that ends with this call, even after an error.
    """
    context = copy_context()
    context.run(_WEIGHT_LIMIT.set, values)
    return context.run(work)


class Parameter(Kept):
    """An array that a layer declares: its values, its gradient, and its training options.

    A layer creates one with ``self.kernel = self.parameter(shape, initializer)``.

    Args:
        shape: of the values.
        initializer: called as ``initializer(shape, dtype)`` for the initial values.
        name: unique in its layer.
        trained: False for state that no gradient changes (moving averages).
        multiplier: factor on the learning rate.
        decay: whether weight decay applies.
        regularizer: the penalty on it that is added to the loss, or None.
        constraint: the constraint applied after each update, or None.
        integers: the dtype of its values, if they are integers or booleans: they are stored as
            floats, and values that the storage's dtype cannot represent raise an error.

    Attributes:
        array: the values on the device, a view of the storage's flat array.
        gradient: the gradient of the last step, likewise; None for state.
        connections: a mask on the host, True where there is a connection; None: everywhere.
        kept: the values before it has a storage, of a copy (by pickle, for example), or of what was
            created as a variable; else None.
        by_rows: whether its layer only reads rows of it, with `take`.
        was_variable: whether it was created as a `gpunn.Variable`.
        is_followed: whether programs of others read it, which are made anew when it moves.
        frozen: whether `trainable` was set to False last, for it or a layer that holds it; None if
            it was not set.
    """

    shape: tuple[int, ...]
    initializer: Callable[..., np.ndarray] | None
    trained: bool
    _multiplier: float
    decay: bool
    regularizer: Any
    constraint: Any
    integers: str | None
    by_rows = was_variable = is_followed = False
    frozen: bool | None = None
    layer: Any = None
    within = ""  # its path, if its layer is part of another
    array: Array = None
    gradient: Array = None
    connections: np.ndarray | None = None
    kept: np.ndarray | None = None
    storage: ParameterStorage | None = None

    def __init__(
        self,
        shape: Sequence[int],
        initializer: Callable[..., np.ndarray] | None = None,
        name: str = "parameter",
        trained: bool = True,
        multiplier: float = 1.0,
        decay: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        integers: str | None = None,
    ) -> None:
        vars(self).update(  # at once: nobody has it yet
            shape=tuple(map(int, shape)), initializer=initializer, name=name, trained=trained,
            _multiplier=multiplier, decay=decay, regularizer=regularizer, constraint=constraint,
            integers=integers,
        )  # fmt: skip

    def __setattr__(self, name: str, value: Any) -> None:
        registry.record_change()  # as attributes of parts do: also before, an interrupt may follow
        super().__setattr__(name, value)
        registry.record_change()

    def __getstate__(self) -> dict[str, Any]:
        """Return its values instead of its storage, which may hold other parameters."""
        kept = self.kept if self.storage is None else self.numpy()
        return {**vars(self), "storage": None, "array": None, "gradient": None, "kept": kept}

    @property
    def value(self) -> Any:
        """Its `array`; as a tensor if it was created as a variable, whose value is one."""
        return self.array

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def count(self) -> int:
        """Number of its values: `size` without masked connections."""
        return self.size if self.connections is None else int(self.connections.sum())

    def existing(self, values: np.ndarray) -> np.ndarray:
        """Return ``values``, with 0 where there is no connection."""
        return values if self.connections is None else np.where(self.connections, values, 0)

    @property
    def path(self) -> str:
        """``layer name/parameter name``: unique in a model."""
        return self.within or (
            self.name if self.layer is None else f"{self.layer.name}/{self.name}"
        )

    @property
    def trainable(self) -> bool:
        """Whether updates change it: trained, and not frozen; by default its layer says so.

        Raises:
            ValueError: when set to True for one without a gradient.
        """
        if self.frozen is not None:
            return self.trained and not self.frozen
        return self.trained and (self.layer is None or self.layer.trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value and not self.trained and self.storage is not None:
            raise ValueError(
                f"{self.path} was created with trainable=False, and has no gradient. Create it "
                f"with trainable=True, and set trainable = False until it is to be trained."
            )
        self.trained, self.frozen = self.trained or bool(value), not value

    @property
    def multiplier(self) -> float:
        """Factor on the learning rate: its own times its layer's."""
        return self._multiplier * getattr(self.layer, "_rate_factor", 1.0)

    @property
    def coefficients(self) -> tuple[float, float]:
        """(l1, l2) of the penalty l1 sum(|w|) + l2 sum(w^2); others have none."""
        return getattr(self.regularizer, "coefficients", None) or (0.0, 0.0)

    @property
    def training_options(self) -> tuple[Any, ...]:
        """Its training options. Programs that were made for other options are no longer valid."""
        limits = getattr(self.constraint, "parameters", None)
        penalty = self.regularizer, self.coefficients
        return (self.trainable, self.multiplier, self.decay, *penalty, self.constraint, limits)

    @property
    def dtype(self) -> str | None:
        """The dtype of its values; None if it is not known yet."""
        if self.integers is not None:
            return "bool" if self.integers == "bool" else "int32"
        return self.stored_dtype

    @property
    def stored_dtype(self) -> str | None:
        """The dtype that its values are stored in, integers too; None before they are."""
        if self.storage is not None:
            return self.storage.dtype
        return None if self.kept is None else self.kept.dtype.name

    def array_on(self, backend: Backend) -> Array:
        """Return the array from which steps read the values."""
        if self.storage is None:
            self.layer._own_storage()
        return self.array

    def stored(self) -> np.ndarray:
        """Return a copy of the values that are stored now, inside a trace too."""
        kept = self.kept
        if self.storage is None and kept is not None:
            return kept.copy()
        storage = self._storage()
        found = storage.access.read(lambda: storage.backend.read(self.array))
        return found if self.integers is None else found.astype(self.dtype)

    @property
    def access(self) -> Access:
        """The access to its values."""
        return self._storage().access

    def values_on(self, backend: Backend) -> Array:
        """Return an array with the values that are stored now, to copy from."""
        return self.array_on(backend)

    @recorded
    def assign(self, values: Any) -> Any:
        """Set the values; masked connections stay 0. Return the new ones as a tensor.

        In a layer's `call` they are set in each step, after its forward pass; later reads of the
        parameter in the call get the new values.

        Raises:
            ValueError: if the shape differs.
            TypeError: in a call of a model that only predicts.
        """
        if not any(assigned(self, values) for assigned in ASSIGNED):
            values = np.asarray(values)
            self.check(values)
            self.write(values)
        return FUNCTIONS["convert_to_tensor"](self)

    def write(self, values: np.ndarray) -> None:
        """Set the values on the device, inside a trace too."""
        storage = self._storage()
        dtype = storage.dtype
        values = np.ascontiguousarray(self.existing(self.exact(values, dtype)), dtype)
        refuse(f"it writes to {self.path}: use assign.")
        with storage.access.writing():
            storage.backend.write(self.array, values)

    def exact(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """Return the values, truncated if they are integers.

        Raises:
            OverflowError: for an integer that the storage dtype cannot represent.
        """
        if self.integers is None:
            return values
        most = 2**31 if dtype == "float64" else 2**24
        whole = np.trunc(values) if values.dtype.kind == "f" else values
        wrong = ~((whole >= -most) & (whole <= most))
        if wrong.any():
            raise OverflowError(
                f"{self.path} was declared with dtype={self.integers!r} in a layer of {dtype}, "
                f"which represents integers only up to {most}; got {values[wrong].flat[0]}."
            )
        return whole

    def check(self, values: Any) -> None:
        """Raise an error for values of another shape."""
        if values.shape != self.shape:
            raise ValueError(
                f"{self.path} has shape {self.shape}; got values of shape {values.shape}."
            )

    def _storage(self) -> ParameterStorage:
        layer = self.layer
        if self.storage is None and layer is not None and (layer.built or self.kept is not None):
            layer._own_storage()
        if self.storage is None:
            raise ValueError(f"{self.path} has no values yet: its layer is not built.")
        return self.storage

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy().astype(dtype, copy=False)

    def __dlpack__(self, **options: Any) -> Any:
        """Return a copy of the values for another library, on their device."""
        storage = self._storage()

        def copied() -> Array:
            with storage.backend.stream_lock:
                return self.array.copy()

        return storage.access.read(copied).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device of the values."""
        self._storage()
        return self.array.__dlpack_device__()

    def __repr__(self) -> str:
        return f"<Parameter {self.path} {self.shape} {self.dtype}>"


@dataclass
class ParameterGroup:
    """Adjacent parameters with the same update, as one slice of the flat arrays."""

    start: int
    stop: int
    multiplier: float  # factor on the learning rate
    decay: bool  # whether weight decay applies
    values: Array
    gradients: Array
    slots: dict[str, Array] = field(default_factory=dict)


class ParameterStorage:
    """The flat arrays of a connected set of layers.

    Parameters of another storage move here with their values; the others are initialised.

    Attributes:
        access: to the weights, for threads that read them and the one that writes them.
        decays: whether weight decay applies to a parameter; the optimizer may exclude some.
    """

    decays: Callable[[Parameter], bool] = staticmethod(attrgetter("decay"))

    _own: set[int] | None = None  # the `id` of the parameters that it trains, if it is a part

    def __init__(self, backend: Backend, dtype: str, parameters: Iterable[Parameter]) -> None:
        self.backend = backend
        self.dtype = resolve_dtype(dtype)
        self.access = Access()
        self.parameters = list(parameters)
        self._check_weight_limit()
        trained = [p for p in self.parameters if p.trained]
        state = [p for p in self.parameters if not p.trained]
        self.segments = np.zeros(len(trained), SEGMENT)
        size = self._layout(trained, self.segments)
        initial = [self._first_values(p) for p in self.parameters]
        moves = any(p.is_followed and p.storage is not None for p in self.parameters)
        if moves:
            registry.record_move()
        self.values: Array = backend.zeros((size,), self.dtype)
        self.gradients: Array = backend.zeros((size,), self.dtype)
        state_table = np.zeros(len(state), SEGMENT)
        self.row_gradients: Mapping[int, Any] = {}  # of the last step, see `by_rows`
        self.state: Array = backend.zeros((self._layout(state, state_table),), self.dtype)
        self.slots: dict[str, Array] = {}
        self.trained: list[Parameter] = []
        registry.record_change()  # also before, an interrupt may follow
        for parameter, (start, size, *_) in zip(trained, self.segments.tolist(), strict=True):
            flat, gradients = (a[start : start + size] for a in (self.values, self.gradients))
            shape = parameter.shape
            vars(parameter).update(array=flat.reshape(shape), gradient=gradients.reshape(shape))
        for parameter, (start, size, *_) in zip(state, state_table.tolist(), strict=True):
            parameter.array = self.state[start : start + size].reshape(parameter.shape)
        for parameter, values in zip(self.parameters, initial, strict=True):
            backend.write(parameter.array, values)
        self.refresh()
        for parameter in self.parameters[::-1]:  # the first one last: then all are there
            vars(parameter).update(storage=self, kept=None)
        registry.record_change()
        if moves:
            registry.record_move()

    def _check_weight_limit(self) -> None:
        wanted, limit = sum(p.size for p in self.parameters), _WEIGHT_LIMIT.get()
        if wanted > limit:
            largest = max(self.parameters, key=lambda p: p.size)
            raise ValueError(
                f"the layers have {wanted:,} weights, but {limit:,} are stored: {largest.path!r} "
                f"alone has the shape {largest.shape}."
            )

    @staticmethod
    def _layout(parameters: list[Parameter], table: np.ndarray) -> int:
        end = 0
        for row, parameter in enumerate(parameters):
            size = parameter.size
            power = 1 << max(size - 1, 0).bit_length()
            start = _aligned(end, min(max(power, ALIGNMENT_OF_SMALL), ALIGNMENT))
            table[row]["offset"], table[row]["size"] = start, size
            end = start + size
        return _aligned(end, ALIGNMENT)

    def _first_values(self, parameter: Parameter) -> np.ndarray:
        if parameter.storage is not None:
            return parameter.stored().astype(self.dtype)
        if parameter.kept is not None:
            return parameter.exact(parameter.kept, self.dtype).astype(self.dtype)
        if parameter.initializer is None:
            return np.zeros(parameter.shape, self.dtype)
        dtype = self.dtype if parameter.integers is None else "float64"
        values = np.asarray(parameter.initializer(parameter.shape, dtype))
        if values.shape != parameter.shape:
            raise ValueError(
                f"{parameter.path}: the initializer returned values of shape {values.shape}; "
                f"expected {parameter.shape}."
            )
        return parameter.existing(parameter.exact(values, self.dtype))

    def add_slots(self, names: Sequence[str]) -> None:
        """Create the optimizer's arrays of these names, zero, instead of any others."""
        self.take_slots({name: self.backend.zeros(self.values.shape, self.dtype) for name in names})

    def take_slots(self, slots: dict[str, Array]) -> None:
        """Use these arrays of the optimizer instead of any others."""
        self.slots = slots
        self.refresh()

    def part(
        self, parameters: Sequence[Parameter], among: Sequence[Parameter] | None = None
    ) -> ParameterStorage:
        """Return a storage of the same arrays and its own slots, which trains these parameters.

        They are ``among`` those that stand for its trained ones, if these are given.
        """
        made, own = ParameterStorage.__new__(ParameterStorage), {id(p) for p in parameters}
        vars(made).update(vars(self), segments=self.segments.copy(), slots={}, _own=own)
        made.parameters = list(self.parameters if among is None else among)
        made.refresh()
        return made

    def _trains(self, parameter: Parameter) -> bool:
        return parameter.trainable if self._own is None else id(parameter) in self._own

    def refresh(self) -> None:
        """Read again which parameters are trained and how, and group them."""
        trained = [p for p in self.parameters if p.trained]
        starts = self.segments["offset"].tolist()
        handled = [(self._trains(p), p.multiplier, self.decays(p)) for p in trained]
        self.trained = [p for p, (trains, *_) in zip(trained, handled, strict=True) if trains]
        rows = [(*one, *p.coefficients) for one, p in zip(handled, trained, strict=True)]
        for name, column in zip(HANDLED, zip(*rows, strict=True), strict=False):
            self.segments[name] = column
        self.groups: list[ParameterGroup] = []
        ends = [*starts, self.values.size][1:]
        for start, end, (trains, multiplier, decay) in zip(starts, ends, handled, strict=True):
            if not trains:
                continue
            last = self.groups[-1] if self.groups else None
            if last and (last.multiplier, last.decay, last.stop) == (multiplier, decay, start):
                start = self.groups.pop().start
            self.groups.append(self._group(start, end, multiplier, decay))
        table = np.array(
            [(g.start, g.stop, g.multiplier, g.decay) for g in self.groups], np.float64
        ).reshape(-1, 4)
        self.group_table: Array = self.backend.zeros(table.shape, np.float64)
        self.backend.write(self.group_table, table)

    @property
    def penalized(self) -> list[Parameter]:
        """The parameters that are trained with a penalty."""
        return [p for p in self.trained if p.regularizer is not None]

    def _group(self, start: int, stop: int, multiplier: float, decay: bool) -> ParameterGroup:
        at = slice(start, stop)
        slots = {name: slot[at] for name, slot in self.slots.items()}
        values, gradients = self.values[at], self.gradients[at]
        return ParameterGroup(start, stop, multiplier, decay, values, gradients, slots)

    def segment(self, flat: Array, parameter: Parameter) -> Array:
        """Return the part of a flat array (such as a slot) that belongs to a trained parameter."""
        index = [p for p in self.parameters if p.trained].index(parameter)
        offset, size = (int(self.segments[index][name]) for name in ("offset", "size"))
        return flat[offset : offset + size].reshape(parameter.shape)


def _aligned(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment
