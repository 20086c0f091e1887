"""`KeptSlots`: where the slots of each variable of an optimizer are, and their copies; its state as
variables; and `Exclusion`, which says what is excluded from weight decay."""

from __future__ import annotations

import os
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.contract.control import UPDATES
from gpunn.common import registry
from gpunn.common.config import floatx
from gpunn.common.holds import Exclusive
from gpunn.common.importing.light_dataclass import dataclass
from gpunn.common.names import plain
from gpunn.core.operators import Operators
from gpunn.core.storage import Parameter, ParameterStorage

if TYPE_CHECKING:
    from gpunn.ops.variable import StateVariable

Kept = TypeVar("Kept")
Flat = dict[str, Array]
"""The slots of a storage: for each name a flat array, laid out as its values are."""
NAMES = {"m": "momentum", "v": "velocity", "u": "norm", "v_max": "velocity_hat"}
"""Keras's names of slots that have another one here."""
_MOMENTS = (("m", "v"), ("v_max",))
SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Adadelta": (("accumulated_grad", "accumulated_delta_var"),), "Adagrad": (("accumulator",),),
    "Adam": _MOMENTS, "AdamW": _MOMENTS, "Adamax": (("m", "u"),), "Lamb": (("m", "v"),),
    "Lion": (("m",),), "Nadam": (("m", "v"),), "SGD": (("momentum",),),
    "RMSprop": (("velocity",), ("momentum",), ("average_gradient",)),
    "Ftrl": (("accumulator", "linear"),), "Adafactor": (("row_means", "column_means"),),
    "Muon": (("momentum", "velocity"),), "ScheduleFreeAdamW": (("momentum", "velocity"),),
}
"""Our slots by optimizer in Keras's order: group by group, and within one weight by weight."""
SHARED = (("average",), ("gradient_accumulator",))  # before these, of any optimizer
TOKEN = "_slots_token"
"""The attribute by which a variable and its copies are known."""


@dataclass(eq=False)
class Place:
    """The place of one variable's slots: a segment of the flat arrays of a parameter storage.

    Attributes:
        owner: returns the variable, or what owns the memory of an array; None once it is freed.
        variable: returns the variable as it was given last.
        copies: the storage, if it holds copies for the optimizer alone.
        stands: the parameter that stands for the variable there.
        token: what the variable and its copies are known by; None for arrays.
        stepped: whether a custom step has updated the variable.
    """

    owner: Callable[[], Any]
    variable: Callable[[], Any]
    token: str | None
    shape: tuple[int, ...]
    dtype: str
    storage: Callable[[], ParameterStorage | None]
    backend: Backend
    copies: ParameterStorage | None
    stands: Parameter | None
    flat: Flat
    at: slice
    stepped: bool = False

    def stands_for(self, variable: Any) -> Any:
        """Return what stands for the variable in the storage: a parameter, or itself."""
        return variable if self.stands is None else self.stands

    def copied(self, read: dict[int, np.ndarray]) -> Unclaimed:
        """Return a copy of the slots; ``read`` has flat arrays on the host, by their ``id``."""
        for array in self.flat.values():
            if id(array) not in read:
                read[id(array)] = self.backend.read(array)
        values = {name: read[id(array)][self.at] for name, array in self.flat.items()}
        variable = self.variable()
        array = variable if isinstance(variable, np.ndarray) else None
        return Unclaimed(self.token, _path(variable), self.shape, self.dtype, values, array)


@dataclass(eq=False)
class Unclaimed:
    """The slots in a copy of an optimizer, before it is given the variable."""

    token: str | None
    path: str | None  # of a weight
    shape: tuple[int, ...]
    dtype: str
    values: dict[str, np.ndarray]
    array: np.ndarray | None  # copied with the optimizer

    def is_of(self, variable: Any) -> bool:
        """Whether the variable was copied together with the optimizer."""
        if self.token is None:
            return self.array is not None and self.array is variable
        return bool(self.token == getattr(variable, TOKEN, None))

    def is_named(self, variable: Any) -> bool:
        """Whether the variable is a weight of the same path."""
        return self.path is not None and self.path == _path(variable) and self.is_like(variable)

    def is_like(self, variable: Any) -> bool:
        """Whether shape, dtype and path are the variable's, but for numbers in the path."""
        shape, path = tuple(np.shape(variable)), _path(variable)
        same = self.shape == shape and self.dtype == str(variable.dtype)
        return same and plain(self.path or "") == plain(path or "")


class KeptSlots:
    """The slots that an optimizer keeps, by variable: weights, variables and arrays of NumPy.

    An array is known by its memory, as long as what owns the memory lives. Slots are freed with
    their variable. Copies of the optimizer have them as plain arrays, until they are given the
    variables.

    Attributes:
        recent: the last custom steps, which those on the same variables use again.
        lock: of a thread that makes slots, a control block or a step for new variables.
    """

    def __init__(self) -> None:
        self.lock = Exclusive()  # for threads that make the first step at once
        self._places: dict[Any, Place] = {}
        self._unclaimed: list[Unclaimed] = []
        self.recent: list[Any] = []

    @property
    def waiting(self) -> int:
        """The number of copies of slots that no variable has claimed."""
        return len(self._unclaimed)

    @property
    def places(self) -> list[Place]:
        """The places of all variables that have slots, in the order in which they got them."""
        return list(self._places.copy().values())

    def are_known(self, variables: Sequence[Any]) -> bool:
        """Whether any of these variables has slots, or a custom step updated any other."""
        stepped = any(place.stepped for place in self.places)
        return stepped or any(self.find(v) is not None for v in variables)

    def copied(self) -> KeptSlots:
        """Return a copy, in which all slots are plain arrays that wait for their variables."""
        made, read = KeptSlots(), dict[int, np.ndarray]()
        made._unclaimed = [place.copied(read) for place in self.places]
        made._unclaimed += self._unclaimed
        return made

    def is_stepped(self, variable: Any) -> bool:
        """Whether a custom step has updated the variable."""
        place = self.find(variable)
        return place is not None and place.stepped

    def find(self, variable: Any) -> Place | None:
        """Return the place of a variable's slots, if it has any."""
        place = self._places.get(key_of(variable))
        return None if place is None or place.owner() is not _owner(variable) else place

    def known(self, variable: Any) -> Place:
        """Return the place of a variable's slots, which it has."""
        place = self.find(variable)
        assert place is not None
        return place

    def without_copies(self, variables: Sequence[Any], optimizer: Any) -> list[Any]:
        """Return the variables that need a new storage for copies of them: they have none
        with all slots of the optimizer, or another variable there is gone."""
        found: list[Any] = []
        counts = Counter(id(place.copies) for place in self.places)
        for v in variables:
            place = self.find(v)
            copies = None if place is None else place.copies
            if (
                place is None or copies is None or [*place.flat] != optimizer.all_slot_names
                or counts[id(copies)] < len(copies.parameters)
            ):
                found.append(v)
        return found

    def give(
        self, storage: ParameterStorage, optimizer: Any, variables: Sequence[Any] | None = None
    ) -> Flat:
        """Return the slots of a storage; values of those that have others are carried over.

        Args:
            variables: those that the parameters of the storage, which holds copies of them, stand
                for; None: the parameters themselves.
        """
        names, holds = optimizer.all_slot_names, variables is not None
        trained = [p for p in storage.parameters if p.trained]
        known = [self.find(v) for v in variables or trained]
        flat: Flat | None = next(
            (k.flat for k in known if k and k.storage() is storage and [*k.flat] == names), None
        )
        if flat is None:
            flat = optimizer._first_slots(storage)
        rows = zip(trained, variables or trained, known, storage.segments.tolist(), strict=True)
        new = [
            (p, v, place, slice(row[0], row[0] + row[1])) for p, v, place, row in rows
            if p.storage is storage and (place is None or place.flat is not flat)
        ]
        read: dict[int, np.ndarray] = {}
        before = {id(v): place.copied(read) for _, v, place, _ in new if place is not None}
        before |= self._claimed([v for _, v, place, _ in new if place is None])
        tokens = {place.token for place in self.places}
        for p, v, place, at in new:
            for name, values in before[id(v)].values.items() if id(v) in before else ():
                if name in flat:
                    storage.backend.write(flat[name][at], values.astype(storage.dtype))
            now = {
                "shape": p.shape, "dtype": str(v.dtype), "storage": weakref.ref(storage),
                "backend": storage.backend, "copies": storage if holds else None,
                "stands": p if holds else None, "flat": flat, "at": at,
            }
            if place is None:
                self._add(v, tokens, now)
            else:
                vars(place).update(now)
                registry.record_change()
                self.recent = []
        return flat

    def _add(self, variable: Any, tokens: set[str | None], now: dict[str, Any]) -> None:
        key, token = key_of(variable), getattr(variable, TOKEN, None)
        if isinstance(variable, Operators) and (token is None or token in tokens):
            # A copy of a variable with slots has the token too.
            token = vars(variable)[TOKEN] = os.urandom(16).hex()  # not as a change of a weight
        tokens.add(token)
        owner = reference(_owner(variable), partial(_free, weakref.ref(self), key))
        self._places[key] = Place(owner, reference(variable), token, **now)

    def _claimed(self, variables: Sequence[Any]) -> dict[int, Unclaimed]:
        """Return the slots that belong to these variables, by ``id``: first of all slots of copies
        of the variables themselves, then of weights of the same path, then of like variables."""
        found: dict[int, Unclaimed] = {}
        for fits in (Unclaimed.is_of, Unclaimed.is_named, Unclaimed.is_like):
            for v in variables if self._unclaimed else ():
                if id(v) not in found:
                    number = next((n for n, u in enumerate(self._unclaimed) if fits(u, v)), None)
                    if number is not None:
                        found[id(v)] = self._unclaimed.pop(number)
        return found


def _free(kept: weakref.ref[KeptSlots], key: Any, owner: Any) -> None:
    slots = kept()
    place = None if slots is None else slots._places.get(key)
    if slots is not None and place is not None and place.owner is owner:
        del slots._places[key]
        slots.recent = [update for update in slots.recent if place not in update.kept]


def reference(thing: Any, freed: Any = None) -> Callable[[], Any]:
    """Return a weak reference; of what none can be made of, one that keeps it alive."""
    try:
        return weakref.ref(thing, freed)
    except TypeError:
        return partial(_itself, thing)


def _itself(thing: Any) -> Any:
    return thing


def key_of(variable: Any) -> Any:
    """Return what identifies a variable as long as it lives; of an array, its memory."""
    if not isinstance(variable, np.ndarray):
        return id(variable)
    address = variable.__array_interface__["data"][0]
    return address, variable.shape, variable.strides, variable.dtype.str


def _owner(variable: Any) -> Any:
    """Return what owns the memory of an array; any other variable itself."""
    owner, of = variable, getattr(variable, "base", None)
    while of is not None and isinstance(variable, np.ndarray):
        owner, of = of, getattr(of, "obj" if isinstance(of, memoryview) else "base", None)
    return owner


def _path(variable: Any) -> str | None:
    return variable.path if isinstance(variable, Parameter) else None


def numbers_of(optimizer: Any, dtype: str | None = None) -> list[StateVariable]:
    """Return the number of steps; and the learning rate, unless a schedule computes it."""
    from gpunn.ops.variable import StateVariable  # training reads no state as variables

    def set_steps(value: np.ndarray) -> None:
        optimizer.control_on(_backend_of(optimizer)).set(UPDATES, int(value))

    def set_rate(value: np.ndarray) -> None:
        optimizer.learning_rate = float(value)

    def steps() -> np.ndarray:
        return np.array(optimizer.steps_done, np.int32)

    path, dtype = optimizer.name, dtype or floatx()
    found = [StateVariable(f"{path}/iteration", (), "int32", steps, set_steps)]
    if optimizer.fixed_learning_rate is not None:
        found.append(StateVariable(
            f"{path}/learning_rate", (), dtype,
            lambda: np.array(optimizer.fixed_learning_rate, dtype), set_rate,
        ))  # fmt: skip
    return found


def slots_of(optimizer: Any, places: list[Place]) -> list[StateVariable]:
    """Return the slots at these places, in Keras's order."""
    slots = in_order(optimizer, places)
    return [slot_of(optimizer, name, place) for name, place in slots if name in place.flat]


def in_order(optimizer: Any, places: Sequence[Kept]) -> list[tuple[str, Kept]]:
    """Return each slot's name with each place, in Keras's order."""
    names = optimizer.all_slot_names
    groups = *SHARED, *SLOTS.get(type(optimizer).__name__, (tuple(optimizer.slot_names),))
    rest = tuple(name for name in names if not any(name in group for group in groups))
    return [
        (name, place)
        for group in (*groups, rest) for place in places for name in group if name in names
    ]


def slot_of(optimizer: Any, name: str, place: Place) -> StateVariable:
    """Return a slot as a variable that reads and sets it between steps."""
    from gpunn.ops.variable import StateVariable

    variable, storage = place.variable(), place.storage()
    of = getattr(variable, "path", None) or getattr(variable, "name", None) or "variable"
    path = f"{optimizer.name}/{of.replace('/', '_')}_{NAMES.get(name, name)}"

    def read() -> np.ndarray:
        return place.backend.read(place.flat[name][place.at]).reshape(place.shape)

    def put(value: np.ndarray) -> None:
        flat = place.flat[name]
        place.backend.write(flat[place.at], np.ravel(value).astype(flat.dtype))

    access = None if storage is None else storage.access
    dtype = str(place.flat[name].dtype)
    return StateVariable(path, tuple(place.shape), dtype, read, put, access)


def _backend_of(optimizer: Any) -> Backend:
    control = optimizer._control
    return get_backend() if control is None else control.backend


class Exclusion:
    """The weights that are excluded from weight decay.

    Args:
        names: Regular expressions; a weight is excluded if its name contains a match of one.
        paths: Paths of excluded weights, such as ``"dense/bias"``.
        variables: Excluded weights, variables and arrays, which it does not keep alive.

    Raises:
        TypeError: for names or paths that are no lists of strings.
        ValueError: for a name that is no regular expression.
    """

    def __init__(
        self, names: Iterable[str] = (), paths: Iterable[str] = (), variables: Iterable[Any] = ()
    ) -> None:
        self.names, self._paths = _strings("var_names", names), _strings("paths", paths)
        for name in self.names:
            try:
                re.compile(name)
            except re.error as error:
                raise ValueError(
                    f"var_names must be regular expressions; got {name!r}: {error}."
                ) from None
        self._variables = [weakref.ref(variable) for variable in variables]

    def __bool__(self) -> bool:
        return bool(self.names or self._paths or self._variables)

    def __contains__(self, variable: Any) -> bool:
        """Whether the weight is excluded."""
        if any(known() is variable for known in self._variables):
            return True
        if isinstance(variable, Parameter) and variable.path in self._paths:
            return True
        name = str(getattr(variable, "name", ""))
        return any(re.search(pattern, name) for pattern in self.names)

    def get_config(self) -> dict[str, list[str]]:
        """Return names and paths as JSON-serializable values; variables that are no weights of a
        layer have no path, and are left out."""
        known = (variable() for variable in self._variables)
        paths = [v.path for v in known if isinstance(v, Parameter)]
        return {"names": self.names, "paths": [*self._paths, *paths]}

    @classmethod
    def from_config(cls, config: Any) -> Exclusion:
        """Return what `get_config` described; raises a ValueError for anything else."""
        if not isinstance(config, Mapping) or set(config) != {"names", "paths"}:
            raise ValueError(f"excluded weights are described as {config!r}.")
        try:
            return cls(config["names"], config["paths"])
        except TypeError as error:
            raise ValueError(str(error)) from None

    def __reduce__(self) -> tuple[Any, ...]:
        config = self.get_config()
        return Exclusion, (config["names"], config["paths"])


def _strings(argument: str, given: Any) -> list[str]:
    several = isinstance(given, (list, tuple, set))
    if not several or not all(isinstance(entry, str) for entry in given):
        raise TypeError(f"{argument} must be a list of strings; got {given!r}.")
    return list(given)
