"""One step of an optimizer on weights, variables or plain NumPy arrays, outside `fit`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import Control
from gpunn.backends.shared.interrupts import perform
from gpunn.common.config import resolve_dtype
from gpunn.common.holds import in_order, with_all
from gpunn.common.names import warn
from gpunn.core.by_rows import RowGradient, complete_gradients
from gpunn.core.operators import Kept
from gpunn.core.recording import recorded
from gpunn.core.settings import NEVER, Dependencies, Settings
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.distribution.communicator import Shard, active_shard
from gpunn.ops.conversion import convert
from gpunn.ops.dtypes import standard
from gpunn.ops.gather_scatter.gather import scattered
from gpunn.ops.running.effects import Effect, Unsupported
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import current

from .kept import Place, key_of, reference
from .runs import Runs

RECENT = 4
"""Custom steps that an optimizer keeps, if it is given other variables in turns."""


@recorded
def apply_to_arrays(optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
    """Implement `Optimizer.apply`; see there."""
    gradients, variables = list(gradients), list(variables)
    for v in variables:
        if not isinstance(v, (Kept, np.ndarray)):
            raise TypeError(
                f"an optimizer changes weights, variables and arrays of NumPy in place; got a "
                f"{type(v).__name__}. Keep the value in a gpunn.Variable."
            )
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
              for g, v in zip(gradients, variables, strict=False)]
    wanted = [tuple(np.shape(v)) for v in variables]
    if shapes != wanted or len(gradients) != len(variables):
        raise ValueError(f"gradients of shapes {shapes} do not fit variables of {wanted}.")
    if wanting:
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        gradients, variables = [list(each) for each in zip(*pairs, strict=True)]
    if not variables:
        return
    trace = current()
    if trace is not None and trace.mode.is_step:
        trace.add_effect(UpdateInStep(optimizer, gradients, variables))
        return
    Update.of(optimizer, variables).apply(gradients, variables)


class Update:
    """A step of an optimizer on some variables: weights, variables or arrays.

    Weights that are trained together are updated where they are, with the slots that `fit` uses.
    Others are copied to storages of the optimizer, and back. It does not keep the variables alive.

    Attributes:
        storages: those in which the optimizer steps; parameters stand there for the variables.
        places: for each of the variables, the parameter whose gradient is written.
        copies: the parameters to which values are copied, each with the number of its variable.
        kept: the places of the variables' slots.
        dependencies: where slots and variables are, how these are trained, and the control block,
            which `fit` may replace.
        runs: the programs of the step.
    """

    def __init__(self, optimizer: Any, variables: Sequence[Any]) -> None:
        if optimizer._is_lazy:
            raise ValueError(
                f"{type(optimizer).__name__}(lazy=True) updates rows of tables in fit and "
                f"train_on_batch; steps by hand are given whole gradients. Leave lazy out for them."
            )
        self.optimizer, slots = optimizer, optimizer._slots
        self._variables = [reference(v) for v in variables]
        before = _training_options(self._variables)
        homes = [_home_of(v) for v in variables]
        for home in {id(home): home for home in homes}.values():
            if home is not None:
                slots.give(home, optimizer)
        loose = [v for v, home in zip(variables, homes, strict=True) if home is None]
        for storage, copied in new_storages(slots.without_copies(loose, optimizer), optimizer):
            slots.give(storage, optimizer, copied)
        self.kept: list[Place] = [slots.known(v) for v in variables]
        self._flat = [place.flat for place in self.kept]
        parts = _parts(variables, self.kept, optimizer)
        self.storages = [part for part, _ in parts.values()]
        self.places = [parts[id(place.storage())][1][id(place.stands_for(v))]
                       for v, place in zip(variables, self.kept, strict=True)]
        self.copies = [
            (n, p) for n, (p, place) in enumerate(zip(self.places, self.kept, strict=True))
            if place.copies is not None
        ]
        self.runs, self._recorded = Runs(optimizer, self.storages), False
        self.control: Control = self.runs.control
        # Without a reference to the update, so that it is freed at once.
        state = partial(_state, optimizer, self.kept, self._variables)
        self.dependencies = Dependencies(partial(Settings, (), state))
        if before != _training_options(self._variables):  # by another thread
            self.dependencies = NEVER

    @classmethod
    def of(cls, optimizer: Any, variables: Sequence[Any]) -> Update:
        """Return the update of these variables; the last ones are kept."""
        slots = optimizer._slots
        recent: list[Update] = slots.recent
        for known in recent:
            if known.is_of(variables):
                return known
        with slots.lock:
            if slots.recent is not recent:  # another thread has made one
                return cls.of(optimizer, variables)
            made = cls(optimizer, variables)
            slots.recent = [made, *slots.recent[: RECENT - 1]]
            return made

    def is_of(self, variables: Sequence[Any]) -> bool:
        """Whether it updates these variables, which are where they were, and trained as then."""
        return (
            len(variables) == len(self._variables)
            and all(map(lambda v, known: known() is v, variables, self._variables))
            and self.dependencies.are_current()
        )

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Make the step at once."""
        self.record_step()
        wanted = [storage.access for storage in self.storages]
        wanted += [variables[n].access for n, _ in self.copies
                   if isinstance(variables[n], Kept)]

        def applied() -> bool:
            if not self.dependencies.are_current():  # another thread has moved the slots meanwhile
                return False
            self._apply_in(self.runs.backends, gradients, variables)
            return True

        if not with_all(in_order((access, True) for access in wanted), applied):
            Update.of(self.optimizer, variables).apply(gradients, variables)

    def _apply_in(
        self, backends: Sequence[Backend], gradients: Sequence[Any], variables: Sequence[Any]
    ) -> None:
        """Make the step, under the stream lock of each of these backends."""
        if backends:
            with backends[0].stream_lock:
                self._apply_in(backends[1:], gradients, variables)
            return
        scale = self.scale
        for home in filter(None, (place.storage() for place in self.kept)):
            if home.row_gradients:
                complete_gradients(home)
                home.row_gradients = {}
        for n, p in self.copies:
            p.array[...] = np.asarray(variables[n])  # in a parameter storage of NumPy
        for g, p in zip(gradients, self.places, strict=True):
            into = cast(ParameterStorage, p.storage).backend
            as_it_is = isinstance(g, Tensor) and g.dtype == p.dtype
            as_it_is = as_it_is and scale == 1 and p.connections is None
            given = g.array_at(into) if as_it_is else None  # if it is where the weight is
            if given is None:
                given = p.existing(np.asarray(g, p.dtype))
                given = given if scale == 1 else given * scale
            into.write(p.gradient, given)
        for work in self.over_ranks(active_shard()):
            work()
        self.optimizer.write_rates()
        works: list[Callable[[], None]] = [self.runs, partial(self._write_back, variables)]
        if self.copies and self.runs.is_ours:  # an interrupt waits until they are written back
            perform(works, 1)
        else:
            for work in works:
                work()

    def over_ranks(
        self, shard: Shard | None, backend: Backend | None = None
    ) -> list[Callable[[], None]]:
        """Return what replaces the mean gradients of a rank's rows by the whole batch's.

        Args:
            backend: The one of a program; by default each storage's.
        """
        works: list[Callable[[], None]] = []
        if shard is None:
            return works
        for storage in self.storages:
            of = storage.backend if backend is None else backend
            for group in storage.groups:
                g = storage.gradients[group.start : group.stop]
                works.append(partial(of.affine, g, shard.rows / shard.whole, 0.0, g))
                works.append(partial(of.sum_over_ranks, g, shard.ranks))
        return works

    def record_step(self) -> None:
        """Note that the variables are updated."""
        if not self._recorded:
            for place in self.kept:
                place.stepped = True
            self._recorded = True

    def finish(self, variables: Sequence[Any]) -> None:
        """End training: with averages, they replace the weights."""
        for storage in self.storages:
            self.optimizer.finish(storage)
        self._write_back(variables)

    def _write_back(self, variables: Sequence[Any]) -> None:
        for n, p in self.copies:
            v = variables[n]
            if isinstance(v, np.ndarray):
                v[...] = p.array
            else:
                v.assign(p.array.copy())

    @property
    def scale(self) -> float:
        """The factor on gradients, which come from a scaled loss."""
        return 1.0 / (self.optimizer.loss_scale_factor or 1.0)


class UpdateInStep(Effect):
    """A step of an optimizer as part of a traced step."""

    def __init__(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        for v in variables:
            if not isinstance(v, Kept):
                raise TypeError(
                    f"an optimizer in a step updates weights and variables; got a "
                    f"{type(v).__name__}."
                )
        self.optimizer, self._variables = optimizer, variables
        self._gradients = [_as_in_fit(optimizer, g, v)
                           for g, v in zip(gradients, variables, strict=True)]
        super().__init__(self._gradients, variables, [optimizer])
        self._by_rows: dict[int, RowGradient] = {}  # by the `id` of the parameter
        # Of weights, by their `id`.
        self._tables: list[tuple[ParameterStorage, int, RowGradient | None]] = []

    def prepare(self, backend: Backend) -> None:
        with self.optimizer._slots.lock:
            self._update = Update(self.optimizer, self._variables)
            self.dependencies = self._update.dependencies

    def begin(self, backend: Backend) -> list[tuple[Any, Any, bool]]:
        update = self._update
        if update.copies:
            v = self._variables[update.copies[0][0]]
            raise Unsupported(
                f"an optimizer updates {getattr(v, 'path', '') or v.name}, which is no trained "
                f"weight of a layer: create it by add_weight of a layer or model."
            )
        if any(a.backend.root is not backend.root for a in update.storages):
            raise Unsupported("an optimizer updates weights on another backend.")
        if update.runs.by_host:
            raise Unsupported("the norm of gradients in several storages is limited by the host.")
        update.record_step()
        targets: list[tuple[Any, Any, bool]] = []
        for g, v, p in zip(self._gradients, self._variables, update.places, strict=True):
            found = None
            if count := _rows_to_update(self.optimizer, g, p):
                found = self._by_rows[id(p)] = RowGradient(backend, p, count)
                targets += [(*target, False) for target in found.targets(g)]
            else:
                targets.append((g, p.gradient, False))
            if g.primitive is scattered:  # a program for other batches may do otherwise
                self._tables.append((v.storage, id(v), found))
        return targets

    def after_each(self) -> None:
        for storage, key, found in self._tables:
            others = {k: g for k, g in storage.row_gradients.items() if k != key}
            storage.row_gradients = others if found is None else {**others, key: found}

    def bind(self, backend: Backend, arrays: Callable[[Any], Any]) -> Callable[[], None]:
        works = self._update.over_ranks(active_shard(), backend)
        works.append(self._update.runs.step(backend, self.counts, self._by_rows))
        if len(works) == 1:
            return works[0]

        def run() -> None:
            for work in works:
                work()

        return run

    @property
    def by_host(self) -> bool:  # type: ignore[override]
        """Whether the host computes its rate."""
        return any(s.functor is None for s in self.optimizer.schedules.values())

    def before_each(self) -> None:
        if self.by_host:
            self.optimizer.write_rates()


def _rows_to_update(optimizer: Any, gradient: Tensor, p: Parameter) -> int:
    """Return how many rows of a table a step updates instead of all, see `gpunn.core.by_rows`; 0 if
    its gradient is not that of `take`, or something concerns all rows."""
    how = {"merging": "Sum", "shape": p.shape, "axis": 0, "along": False, "wraps": False}
    if gradient.primitive is not scattered or gradient.attributes != how:
        return 0
    before, _, places = gradient.inputs
    some = optimizer._skips_zeros and not optimizer._needs_all_rows(optimizer.decays(p))
    some = some and p.constraint is None and active_shard() is None
    some = some and before.is_constant and not np.any(before.value)
    return places.size if some and 2 * places.size <= p.shape[0] else 0


def _as_in_fit(optimizer: Any, gradient: Any, variable: Any) -> Tensor:
    """Return a gradient of a step without the scale of the loss, and 0 where there is no
    connection."""
    found = convert(gradient, variable.dtype)
    if optimizer.loss_scale_factor:
        found = found * (1.0 / optimizer.loss_scale_factor)
    connections = getattr(variable, "connections", None)
    return found if connections is None else found * convert(connections, found.dtype)


def _training_options(variables: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return where each variable is, without keeping it alive, and how it is trained."""
    found = []
    for known in variables:
        home = _home_of(v := known())
        found.append((home and weakref.ref(home), getattr(v, "training_options", None)))
    return found


def _state(optimizer: Any, places: Sequence[Place], variables: Sequence[Callable[[], Any]]) -> Any:
    slots = [id(place.flat) for place in places]
    return slots, optimizer._control, optimizer.all_slot_names, _training_options(variables)


def _home_of(variable: Any) -> ParameterStorage | None:
    """Return the storage of a weight that has a gradient there, if it is one."""
    if not isinstance(variable, Parameter) or not variable.trained:
        return None
    if variable.storage is None and variable.layer is not None:
        variable.layer._own_storage()
    return variable.storage


def new_storages(
    variables: Iterable[Any], optimizer: Any
) -> list[tuple[ParameterStorage, list[Any]]]:
    """Return storages for copies of variables, one for each dtype, and the variables of each."""
    by_dtype: dict[str, dict[Any, Any]] = {}
    for v in variables:
        dtype = resolve_dtype(standard(v.dtype))
        by_dtype.setdefault(dtype, {}).setdefault(key_of(v), v)
    found: list[tuple[ParameterStorage, list[Any]]] = []
    for dtype, own in by_dtype.items():
        places = [
            placeholder(str(n), v, optimizer.decays(v)) for n, v in enumerate(own.values())
        ]
        for p, v in zip(places, own.values(), strict=True):
            p.kept = np.array(v, dtype)  # its first values
        found.append((ParameterStorage(get_backend("numpy"), dtype, places), list(own.values())))
    return found


def _parts(
    variables: Sequence[Any], places: Sequence[Place], optimizer: Any
) -> dict[int, tuple[ParameterStorage, dict[int, Parameter]]]:
    """Return the part that trains these variables of each storage with their slots, by its ``id``.

    With it are the parameters that stand for the storage's there, by their ``id``: without
    layers and storages, which the optimizer must not keep alive.
    """
    found: dict[int, tuple[ParameterStorage, dict[int, Parameter]]] = {}
    for place in places:
        storage = place.storage()
        if storage is None or id(storage) in found:
            continue
        own = {id(other.stands_for(v)): v for v, other in zip(variables, places, strict=True)
               if other.storage() is storage}
        trained = [p for p in storage.parameters if p.trained]
        stand = {
            id(p): placeholder(p.name, v := own.get(id(p), p), optimizer.decays(v))
            for p in trained
        }
        part = storage.part([stand[number] for number in own], list(stand.values()))
        for p in trained:
            vars(stand[id(p)]).update(array=p.array, gradient=p.gradient, storage=part)
        part.take_slots(place.flat)
        found[id(storage)] = part, stand
    return found


def placeholder(name: str, variable: Any, decay: bool) -> Parameter:
    """Return a parameter that is treated as a weight is."""
    if not isinstance(variable, Parameter):
        constraint = getattr(variable, "constraint", None)
        made = Parameter(np.shape(variable), name=name, decay=decay, constraint=constraint)
        made.within = str(getattr(variable, "path", "") or getattr(variable, "name", ""))
        return made
    made = Parameter(
        variable.shape, name=name, multiplier=variable.multiplier, decay=decay,
        constraint=variable.constraint,
    )
    made.connections, made.within = variable.connections, variable.path
    return made
