"""What a device is: where arrays live, how they come and go, how steps are recorded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any, Protocol

import numpy as np

from .contract import Array as Array
from .contract import Contract
from .recorder import Launch, describe

Step = Callable[[], None]


class Program(Protocol):
    """A step that is performed over and over. ``run(n)`` performs it n times."""

    def run(self, steps: int) -> None: ...


class Sending(Protocol):
    """Arrays on their way to the device."""

    def join(self) -> None:
        """What the device is asked for from now on comes after them; nobody waits here."""

    def wait(self) -> None:
        """Wait until they have arrived: then those of the host may be written anew."""


class Sent:
    """Those that are there already."""

    def join(self) -> None: ...

    def wait(self) -> None: ...


class Backend(Contract):
    """One device and the operations on it. Subclasses: numpy, cupy."""

    name: str

    cache_bytes: int | None = None
    """A large batch of a prediction is cut into pieces whose arrays fit into so much; None:
    it is not cut."""

    recorded = False
    """Whether operations are being recorded just now."""

    precisions: Collection[str] | None = None
    """Formats that a product can round its factors to, see `precision`. None on a device that
    gains nothing by it, where a wish for it is left aside."""

    performing: Launch | None = None
    """The operation that is performed just now, if operations are being recorded."""

    def __init__(self) -> None:
        self._scratch: dict[tuple, Array] = {}
        self.launches: list[Launch] = []

    # -- arrays: where they live, how they come and go

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An uninitialised C-contiguous array on the device."""

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of zeros on the device."""

    @abstractmethod
    def upload(self, source: Any) -> Array:
        """``source`` (NumPy array, or anything with ``__dlpack__``) on the device.

        C-contiguous, dtype kept. No copy is made of what is already there.
        """

    @abstractmethod
    def write(self, target: Array, source: Any) -> None:
        """Copy host values into ``target`` (cast to its dtype)."""

    @abstractmethod
    def read(self, array: Array) -> np.ndarray:
        """A NumPy copy of ``array``. The one place that waits for the device."""

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An uninitialised array of the host that `send` can take arrays out of."""
        return np.empty(shape, dtype)

    def send(self, copies: Sequence[tuple[Array, np.ndarray]]) -> Sending:
        """Begin to copy, from each second array, one of `pinned`, to the first, on the device.

        The copies come after all that the device was asked for so far, and run beside what
        it is asked for from now on, until that joins them.
        """
        for target, source in copies:
            self.write(target, source)
        return Sent()

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until everything asked for so far is done."""

    @abstractmethod
    def owns(self, array: Any) -> bool:
        """Whether ``array`` lives on this backend's device already."""

    def within(self, array: Any, limit: float) -> bool:
        """Whether all numbers of a floating-point array, of the host or the device, are between
        -limit and limit; NaN is not. It may overflow: see `session`.

        >>> from gpunn.backends import get_backend
        >>> [get_backend().within(np.array([1.0, x]), 2.0) for x in (-2.0, 2.5, np.nan)]
        [True, False, False]
        """
        if type(array) is np.ndarray and array.dtype.char in "fd" and array.flags.c_contiguous:
            flat = array.ravel()
            if float(flat.dot(flat)) <= limit:  # the fastest way for NumPy to go over an array
                return True
        # It may have overflowed. The largest and the smallest do not, and NaN is both.
        return -limit <= float(array.min()) <= float(array.max()) <= limit

    def free_bytes(self) -> int | None:
        """How much memory can still be had, or None where that is not known.

        An array for which there is none raises MemoryError.
        """
        return None

    def scratch(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        slot: str = "",
        fill: Callable[[Array], None] | None = None,
    ) -> Array:
        """A reusable work array: valid until the same shape, dtype and slot is asked again
        in the same thread.

        ``fill(array)`` is called once, when it is made: for constants.

        >>> import numpy as np
        >>> from gpunn.backends import get_backend
        >>> b = get_backend("numpy")
        >>> b.scratch((2, 3), np.float32) is b.scratch((2, 3), np.float32)
        True
        """
        key = (shape, dtype, slot, get_ident())
        array = self._scratch.get(key)
        if array is None:
            array = self._scratch[key] = self.empty(shape, dtype)
            if fill is not None:
                fill(array)
        return array

    def _constant(self, slot: str, values: np.ndarray) -> Array:
        """These values on the device, written there once."""
        return self.scratch(
            values.shape, values.dtype, f"{slot} {values.tolist()}",
            lambda array: self.write(array, values),
        )  # fmt: skip

    def _parameters(self, formula: Any) -> Array:
        """The numbers of a formula, on the device."""
        return self._constant("parameters", np.array(formula.parameters or (0.0,), np.float64))

    def row_max(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the largest of each row of x (rows, features): for
        formulas."""
        self.xp.max(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def row_sums(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the sum of each row of x (rows, features): for formulas."""
        self.xp.sum(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def apply(self, function: Callable[..., None], *args: Any) -> None:
        """``function(xp, *args)``: what array functions with ``out=`` do not do, for formulas."""
        function(self.xp, *args)

    def release(self) -> None:
        """Forget the work arrays, so that their memory can be used otherwise."""
        self._scratch.clear()

    # -- recording

    @contextmanager
    def recording(self) -> Iterator[list[Launch]]:
        """List every operation performed in the block: shapes, bytes, flops, launches.

        The recorder is free when it is off: it shadows the methods of this one
        object for the length of the block and nothing else.
        """
        self.launches = launches = []

        def recorded(name: str, method: Callable[..., None]) -> Callable[..., None]:
            def perform(*args: Any, **kwargs: Any) -> None:
                if self.performing is not None:  # what an operation performs is none of its own
                    method(*args, **kwargs)
                    return
                self.performing = describe(self.operations[name], args, kwargs)
                launches.append(self.performing)
                try:
                    method(*args, **kwargs)
                finally:
                    self.performing = None

            return perform

        for name in self.operations:
            self.__dict__[name] = recorded(name, getattr(self, name))
        self.recorded = True
        try:
            yield launches
        finally:
            self.recorded = False
            for name in self.operations:
                self.__dict__.pop(name, None)

    @abstractmethod
    def capture(self, step: Step, listable: bool = False) -> Program:
        """A `Program` that repeats ``step``, which calls operations of this backend only.

        Nothing is performed here. The first ``run`` finds out what the step is made of;
        what is found is repeated.

        Args:
            step: the step.
            listable: whether the step does nothing but ask for operations and call
                ``xp`` with ``out=``. Then it may be called once to list what it asks for,
                without doing it. A layer or formula from outside the framework promises
                neither: its step is recorded as it stands.
        """

    def session(self, threads: bool = True) -> AbstractContextManager[None]:
        """Around a run of steps: the backend sees to threads and to warnings of arithmetic.

        Args:
            threads: False if all of it is so small that no library would use several.
        """
        return nullcontext()

    def share(self, n: int, work: Callable[[slice], None]) -> None:
        """Call ``work(part)`` for parts that make up 0 to ``n``, at once where there are
        several threads."""
        work(slice(0, n))
