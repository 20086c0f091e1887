"""`CompiledStep`: a traced function as a program of a backend, on given arguments or on rows."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.contract.backend import Array, Backend, Program
from gpunn.backends.contract.control import POSITION, Control
from gpunn.backends.contract.device import place_of
from gpunn.backends.shared.order import Order
from gpunn.common.config import floatx
from gpunn.common.holds import in_order, with_all
from gpunn.common.nested import found_in, replaced
from gpunn.common.registry import Entry
from gpunn.core.draws import DrawPosition, Source, context_at, count_from
from gpunn.core.operators import Operators
from gpunn.core.recording import Placed
from gpunn.core.settings import Dependencies, Settings
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor, constant

from .effects import Unsupported
from .placed import divides, evaluated
from .recorder import Recorder
from .replay import Replay, values_of
from .step_arguments import Arguments
from .step_trace import StepComputation, StepTrace


class Result:
    """What a call returns; its values may still be on the device."""

    def __init__(self, value: Any, read: Callable[[Any], Any] | None = None) -> None:
        self._value, self._read = value, read

    def values(self) -> Any:
        """Return the result with values for its tensors."""
        if self._read is not None:
            self._value, self._read = self._read(self._value), None
        return self._value


class GoesOnError(Exception):
    """A step was traced for a device that ends it at an error, and is run on one that goes on."""


class CompiledStep:
    """A user's function, traced once for arguments of one form, as a program of a backend.

    It may be a whole training step: it also updates weights and metrics.

    Args:
        recording: of a call with such arguments.
        used: what it uses besides, whose changes matter.
        fixed: the Python numbers among the arguments that are constants, by their places.
        draws: the random numbers of the function.
        stops: as in `StepTrace`.

    Attributes:
        origin: where the random numbers begin, see `Source`.

    Raises:
        GoesOnError: if the device of its weights does not stop; then trace it without ``stops``.
        NeedsValuesError, Unsupported: if Python has to run it.
    """

    def __init__(
        self, recording: Recorder, arguments: Arguments, used: Sequence[Any],
        fixed: Mapping[int, Any], draws: Source, stops: bool,
    ) -> None:
        self._lock = threading.RLock()  # of its arrays
        self._draws, self.origin = draws, draws.origin
        self._trace = trace = StepTrace(stops)
        leaves = [trace.leaf(x.shape, x.dtype.name) for x in arguments.arrays]
        replay = Replay(recording, trace.leaf, fixed)
        try:
            with trace.active():
                self._result = replay.run(leaves)
            _check_result(self._result)
            leaves += replay.inputs.values()
            self._formulas = list(replay.inputs)
            of_effects = [part for effect in trace.effects for part in effect.parts]
            self._parts = [*used, *{id(part): part for part in of_effects}.values()]
            computed = [
                t for t in found_in(self._result, Tensor)
                if not t.is_constant and id(t) not in trace.late
            ]
            self._outputs = list({id(t): t for t in computed}.values())
            fails = trace.checks or any(divides(formula) for formula, _ in self._formulas)
            if recording.catches and fails:
                raise Unsupported("it catches errors, and some values are errors.")
            self._bind(leaves)
        finally:
            trace.end()

    def _bind(self, leaves: Sequence[Tensor]) -> None:
        trace = self._trace
        weights = [h.source for h in trace.variables.values() if isinstance(h.source, Parameter)]
        for p in weights:
            if p.storage is None:
                p.layer._own_storage()
        self._weights = weights
        self._dependencies = [Dependencies(lambda: Settings(self._parts, self._state))]
        storages = [p.storage for p in weights if p.storage is not None]
        found = {id(storage): storage for storage in storages}
        self._storages = list(found.values())
        roots = {id(a.backend.root): a.backend for a in self._storages}
        if len(roots) > 1:
            raise Unsupported("weights on several backends.")
        backend: Backend = next(iter(roots.values()), get_backend())
        if trace.mode.stops and not backend.stops:
            raise GoesOnError
        dtype = self._storages[0].dtype if self._storages else floatx()
        changed = {id(source) for effect in trace.effects for source in effect.changes}
        changed |= {id(variable.source) for variable in trace.assigned}
        sources = [variable.source for variable in trace.variables.values()]
        self._accesses = in_order((source.access, id(source) in changed) for source in sources)
        self._place = DrawPosition(self.origin[0], 0, self.origin[1])  # of the next run
        self._context = context_at(backend, self._place, dtype)
        self._backend = backend = self._context.backend
        own = self._context.control
        assert own is not None
        self._control = own
        updates = [effect for effect in trace.effects if effect.optimizer is not None]
        if len(updates) == 1:  # one control block, as in fit: a kernel reads the counters of one
            updates[0].counts = False
            self._control = updates[0].optimizer.control_on(backend)
            if not trace.draws:
                self._context.control = self._control
        blocks = [self._control, *((own, self._context.own_control) if trace.draws else ())]
        self._advanced = [*{id(block): block for block in blocks if block is not None}.values()]
        self._given = backend.parcel([(t.shape, t.dtype) for t in leaves])
        self._arrays = self._given.arrays
        inputs = [*zip(leaves, self._arrays, strict=True)]
        for effect in trace.effects:
            effect.prepare(backend)
            self._dependencies += [effect.dependencies] if effect.dependencies else []
        with backend.stream_lock:
            self._computation = StepComputation(
                trace, backend, inputs, self._outputs, self._context
            )
        self._kept = self._computation.kept
        # Checks of arguments, which the host makes too, before a step on a device that goes on.
        places = {id(leaf): k for k, leaf in enumerate(leaves)}
        checked = [check.of for check in backend.checks]
        self._checked = [
            (t, places[id(t.inputs[0])]) for t in checked
            if t is not None and id(t.inputs[0]) in places
        ]
        self._may_fail = len(self._checked) < len(checked)
        self._zero = backend.zeros((1,), np.float64)
        self._program: Program = backend.program(self._step, True, {})
        self._rows: tuple[Any, OnRows] | None = None
        self._is_running = False  # also after an interrupt: what it holds is then unknown

    def _step(self) -> None:
        self._computation.run()
        self._advance(0)

    def _advance(self, rows: int) -> None:
        """Count a step on the device."""
        for control in self._advanced:
            self._backend.advance(control, rows, self._zero)

    def _draw_from(self, place: DrawPosition, steps: int) -> None:
        """Let the next steps draw from the place of the first one on."""
        if place != self._place and self._trace.draws:
            count_from(self._context, place)
        at = place.counter + steps, place.own_counter + steps
        self._place = DrawPosition(place.seed, *at)

    def is_current(self) -> bool:
        """Whether nothing that it uses has changed since it was made."""
        with self._lock:
            if self._is_running or (self._trace.draws and self.origin != self._draws.origin):
                return False
            for dependencies in self._dependencies:  # noqa: SIM110 (this runs at each call)
                if not dependencies.are_current():
                    return False
            return True

    def _state(self) -> Any:
        """Return what it depends on besides the settings of its parts."""
        controls = [part._control for _, part, *_ in self._trace.begins.values()]
        return controls, [(p.storage, p.training_options) for p in self._weights]

    def run(self, arguments: Arguments) -> Result:
        """Run it with these arguments; the result is read when it is asked for, before another
        run."""
        numbers, arrays = arguments.numbers, arguments.arrays
        if self._formulas:
            arrays = [*arrays, *values_of(self._formulas, numbers)]
        for t, k in self._checked:
            t.primitive.now(self._backend, t.shape, t.dtype, [arrays[k]], t.attributes)
        with self._lock:
            for effect in self._trace.effects:
                effect.before_each()
            place = self._draws.take() if self._trace.draws else self._draws.pass_over()
            self._alone(lambda: self._run_once(arrays, place))
        if not numbers:
            return Result(self._result, self._read)
        return Result(self._result, lambda result: self._read(result, numbers))

    def values(self, arguments: Arguments) -> Any:
        """Run it with these arguments, and return its result, in any thread. A device is waited for
        when someone looks at values, unless one of them may be an error."""
        with self._lock:
            result = self.run(arguments)
            if self._may_fail:
                return result.values()
            reads = zip(self._outputs, self._kept.read_later(), strict=True)
            found = [Tensor.later(read, t.shape, t.dtype) for t, read in reads]
            return self._filled(self._result, arguments.numbers, found)

    @property
    def backend(self) -> Any:
        """The backend that it runs on."""
        return self._backend.root

    def forget_rows(self) -> None:
        """Free the program for the rows of arrays, and these."""
        self._rows = None

    def on_rows(
        self, sources: Sequence[Array], order: Order, first: int, size: int
    ) -> OnRows | None:
        """Return this program for the rows of arrays of its backend, as many at a time as its
        arguments have, from the number ``first`` of ``size`` rows on; None if the host has to
        prepare each step."""
        if any(effect.by_host for effect in self._trace.effects):
            return None
        kinds = {"float32": "f", "float64": "f", "int32": "iu"}  # that a program gathers
        for a, into in zip(sources, self._arrays, strict=True):
            gathered = a.dtype.kind in kinds.get(into.dtype.name, "") and a.flags.c_contiguous
            if a.shape[1:] != into.shape[1:] or not gathered:
                return None
        key = tuple(map(place_of, sources)), order.rows, order.seed, first, size
        if self._rows is None or self._rows[0] != key:
            self._rows = key, OnRows(self, sources, order, first, size)
        return self._rows[1]

    def _alone(self, work: Callable[[], None]) -> None:
        """Do work while no other thread changes the weights."""

        def record_assignments() -> None:
            self._is_running = True
            work()
            for effect in self._trace.effects:
                effect.after_each()
            self._is_running = False

        with_all(self._accesses, record_assignments)

    def _run_once(self, arrays: Sequence[np.ndarray], place: DrawPosition | None) -> None:
        if place is not None:
            self._draw_from(place, 1)
        self._given.write(arrays)
        self._program.run(1)

    def _read(self, result: Any, numbers: Sequence[Any] = ()) -> Any:
        """Return the result with the values that the last run has computed."""
        found = zip(self._outputs, self._kept.read(), strict=True)
        return self._filled(result, numbers, [constant(array, t.dtype) for t, array in found])

    def _filled(self, result: Any, numbers: Sequence[Any], outputs: Sequence[Tensor]) -> Any:
        """Return the result with these values of the outputs."""
        values = dict(zip(map(id, self._outputs), outputs, strict=True))

        def value_of(x: Any) -> Any:
            if isinstance(x, Placed):
                return evaluated(x.formula, numbers)
            if not isinstance(x, Tensor):
                return as_result(x)
            if id(x) in self._trace.late:
                return self._trace.late[id(x)][1].value()
            return values.get(id(x), x)

        return replaced(value_of, result)


class OnRows:
    """A program whose steps gather their arguments from arrays, one batch after the other.

    The arrays (rows, ...) must exist as long as this is used.

    Attributes:
        at_once: how many steps to run before the host is asked again.
    """

    at_once = 1

    def __init__(
        self, of: CompiledStep, sources: Sequence[Array], order: Order, first: int, size: int
    ) -> None:
        self._of, self._order = of, order
        backend = of._backend
        self._sources = list(map(backend.borrowed, sources))
        self._first, self._size = first, size
        self._program: Program = backend.program(self._step, True, {})

    def _step(self) -> None:
        of = self._of
        for source, into in zip(self._sources, of._arrays, strict=True):
            of._backend.gather(source, self._order, of._control, into, 1.0, 0.0, self._first)
        of._computation.run()
        of._advance(self._size)

    @property
    def control(self) -> Control:
        """Where the steps count, and read the pass and the position of the next batch."""
        return self._of._control

    def begin(self, number: int, position: int) -> None:
        """Let the next step read the rows of the pass of this number, from a position on."""
        self._began = position
        self.control.begin_pass(number)
        self.control.set(POSITION, position)

    def done(self) -> int:
        """Return how many steps have ended since then; waits for the device."""
        return int(self.control.get()[POSITION] - self._began) // self._size

    def run(self, steps: int) -> Result:
        """Run so many steps; return the result of the last one.

        After an error, `control` and the random numbers are as after the steps before it.
        """
        of, place = self._of, self._of._draws.take(steps)

        def work() -> None:
            of._draw_from(place, steps)
            self._program.run(steps)

        try:
            with of._backend.parallel_region():
                of._alone(work)
        except BaseException:
            of._draws.give_back(steps - self.done())
            raise
        return Result(self._of._result, self._of._read)


PLAIN = (
    bool, int, float, complex, str, bytes, type(None), type(...), type, np.generic, np.dtype,
    np.ndarray, Operators, Entry,
)
"""What a step may return besides tensors, in lists, tuples and dictionaries."""


def _check_result(result: Any) -> None:
    """Refuse a result that hides what it holds: a program could not put values in their place."""
    for x in found_in(result, object):
        if not isinstance(x, PLAIN):
            raise Unsupported(
                f"it returns a {type(x).__name__}, which may hold tensors: return them in lists, "
                f"tuples and dictionaries."
            )


def as_result(x: Any) -> Any:
    """Return a part of a result as each call returns it: an array as a tensor of its values now."""
    return constant(x, x.dtype.name) if isinstance(x, np.ndarray) else x


def random_states() -> Any:
    """Return what tells whether NumPy's or Python's random numbers were drawn."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    return pickle.dumps(state), random.getstate()
