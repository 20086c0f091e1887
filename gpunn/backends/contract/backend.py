"""What a device is: where arrays live, how they come and go, how steps are repeated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from threading import local
from typing import Any, Protocol, TypeVar

import numpy as np

from gpunn.backends.shared.threads import helper_number

from . import Array as Array
from . import Contract
from .profiling import Profile, current_profile

Step = Callable[[], None]
Own = TypeVar("Own", bound="Backend")


class NotTraceableError(RuntimeError):
    """A step cannot be traced: it does more than ask for operations."""


class Program(Protocol):
    """A step that is performed over and over. ``run(n)`` performs it n times."""

    def run(self, steps: int) -> None: ...


class _OfEachThread(local):
    """Work arrays of a backend that several threads may use at once."""

    def __init__(self) -> None:
        self.arrays: dict[tuple, Any] = {}


class _OfOne:
    """Work arrays of a backend that is one user's own."""

    def __init__(self) -> None:
        self.arrays: dict[tuple, Any] = {}


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


class Backend(Contract, ABC):
    """One device and the operations on it. Subclasses: numpy, cupy.

    A backend may be used by several threads at once. What is computed again and again is
    computed on one of `isolated`: it has work arrays of its own, and what is being traced on
    it is nobody else's business. Whoever is interrupted in the middle throws it away.
    """

    name: str

    cache_bytes: int | None = None
    """A large batch of a prediction is cut into pieces whose arrays fit into so much; None:
    it is not cut."""

    precisions: Collection[str] | None = None
    """Formats that a product can round its factors to, see `precision`. None on a device that
    gains nothing by it, where a wish for it is left aside."""

    def __init__(self) -> None:
        lacking = [name for name in self.operations if not hasattr(self, f"_{name}")]
        if lacking:
            raise TypeError(f"{type(self).__name__} must define _{', _'.join(lacking)}.")
        self.root: Backend = self
        """What it was made of by `isolated`; else itself."""
        self._scratch: _OfEachThread | _OfOne = _OfEachThread()

    def isolated(self: Own) -> Own:
        """The same backend for one user at a time, with work arrays of its own.

        >>> from gpunn.backends import get_backend
        >>> shared = get_backend("numpy")
        >>> own = shared.isolated()
        >>> own.root is shared, own.scratch((2,), "float32") is shared.scratch((2,), "float32")
        (True, False)
        """
        own = copy(self)
        own._scratch = _OfOne()
        return own

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

    def convert(self, x: Any, out: Array, scale: float = 1.0, offset: float = 0.0) -> None:
        """out = x * scale + offset, for an array of the host or the device in any real dtype,
        however it lies in memory."""
        if type(x) is np.ndarray and scale == 1.0 and offset == 0.0:
            self.write(out, x)  # there is nothing to compute
            return
        self.affine(self.upload(x), scale, offset, out)

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
        -limit and limit; NaN is not.

        >>> from gpunn.backends import get_backend
        >>> [get_backend().within(np.array([1.0, x]), 2.0) for x in (-2.0, 2.5, np.nan)]
        [True, False, False]
        """
        if type(array) is np.ndarray and array.dtype.char in "fd" and array.flags.c_contiguous:
            flat = array.ravel()
            with np.errstate(over="ignore"):  # the largest and the smallest do not overflow
                if float(flat.dot(flat)) <= limit:  # the fastest way to go over an array
                    return True
        # NaN is both.
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
        arrays, key = self._scratch.arrays, (shape, dtype, slot, helper_number())
        array = arrays.get(key)
        if array is None:
            array = self.empty(shape, dtype)
            if fill is not None:
                fill(array)
            arrays[key] = array  # not before: an interrupt would leave it unfilled
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
        self._scratch.arrays.clear()

    def overlap(self, a: Array, b: Array) -> str | None:
        """Whether two arrays, each in one piece, are the ``"same"`` memory or share a
        ``"part"`` of it; None if they have none in common."""
        if not np.may_share_memory(a, b):
            return None
        same = a is b or (
            a.nbytes == b.nbytes
            and a.__array_interface__["data"] == b.__array_interface__["data"]
        )
        return "same" if same else "part"

    # -- steps

    def profile(self) -> Profile:
        """List every operation that this thread asks for in a block: shapes, bytes, flops.

        >>> from gpunn.backends import get_backend
        >>> backend = get_backend("numpy")
        >>> with backend.profile() as operations:
        ...     backend.column_sums(backend.zeros((5, 3), "f4"), backend.zeros((3,), "f4"))
        >>> operations[0].name, operations[0].flops
        ('column_sums', 15)
        """
        return Profile(self.root)

    @property
    def profiled(self) -> bool:
        """Whether this thread makes a profile of it just now: then steps are not traced."""
        return current_profile(self) is not None

    def program(self, step: Step, traceable: bool = False) -> Program:
        """A `Program` that repeats ``step``, which calls operations of this backend only.

        Nothing is performed here. The first ``run`` finds out what the step is made of;
        what is found is repeated. One user at a time runs it.

        Args:
            step: the step.
            traceable: whether the step does nothing but ask for operations and call
                ``xp`` with ``out=``. Then it may be called once to see what it asks for,
                without doing it. A layer or formula from outside the framework promises
                neither: its step is called as it stands.

        Raises:
            RuntimeError: if the backend is not one of `isolated`: others may be using it.
        """
        if self.root is self:
            raise RuntimeError("A program is made on a backend of its own: backend.isolated().")
        return self._program(step, traceable)

    @abstractmethod
    def _program(self, step: Step, traceable: bool) -> Program:
        """See `program`."""

    def session(self) -> AbstractContextManager[None]:
        """Around a run of steps: the backend sees to threads."""
        return nullcontext()

    def share(self, pieces: int, work: Callable[[int], None]) -> None:
        """Call ``work(piece)`` for every piece from 0 on, at once where there are several
        threads."""
        for piece in range(pieces):
            work(piece)
