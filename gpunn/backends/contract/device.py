"""The arrays of a device: made, copied to and from it, and reused as work arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from threading import local
from typing import Any, TypeVar

import numpy as np

from gpunn.backends.shared.threads import helper_number
from gpunn.common.config import runs_eagerly

Array = Any  # numpy.ndarray or cupy.ndarray: nothing outside the backends cares which
Own = TypeVar("Own", bound="Device")
Kept = TypeVar("Kept")


class _ScratchOfOneUser:
    """Work arrays of a backend that only one user has."""

    def __init__(self) -> None:
        self.arrays: dict[tuple, Any] = {}


class _ScratchOfEachThread(_ScratchOfOneUser, local):
    """Work arrays of a backend that several threads may use at once."""


class Sending:
    """Copies of arrays that are on their way to the device; by itself, copies that are there."""

    def join(self) -> None:
        """The device begins later work after these copies. The host does not wait here."""

    def wait(self) -> None:
        """Wait until the copies are there: then the arrays of the host may be overwritten."""


class Device(ABC):
    """What a backend does with arrays, apart from the operations on them.

    Attributes:
        root: the backend that this one was made of by `isolated`; else itself.
    """

    name: str

    xp: Any
    """The array module, numpy or cupy. A layer or loss of your own may be written with it
    (with ``out=``) and then runs on both, slower than with a kernel."""

    turn: AbstractContextManager[None] = nullcontext()
    """A block whose array functions come in order with the other work of this thread and of
    others. A layer or loss of your own is called in such a block; elsewhere ``xp`` needs one."""

    def __init__(self) -> None:
        self.root: Device = self
        self._scratch: _ScratchOfOneUser = _ScratchOfEachThread()

    def __copy__(self: Own) -> Own:
        """Another object for the same device; pickle and `deepcopy` find the one of its name."""
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        return made

    def isolated(self: Own) -> Own:
        """The same backend for one user at a time, with work arrays of its own.

        >>> from gpunn.backends import get_backend
        >>> shared = get_backend("numpy")
        >>> own = shared.isolated()
        >>> own.root is shared, own.scratch((2,), "float32") is shared.scratch((2,), "float32")
        (True, False)
        """
        own = copy(self)
        own._scratch = _ScratchOfOneUser()
        return own

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

    def wait_for_caller(self) -> None:  # noqa: B027  by itself, there is nothing to wait for
        """Begin later work after what this thread has given to the device without the backend:
        an array that comes from there may still be computed. The host does not wait."""

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
        """Begin to copy arrays of the host, made by `pinned`, to arrays of the device.

        The copies come after all work that the device was given so far, and run at the same
        time as later work, up to the call of `Sending.join`.

        Args:
            copies: pairs (array of the device, array of the host).
        """
        for target, source in copies:
            self.write(target, source)
        return Sending()

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done all work that it was given."""

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
        with self.turn:
            return -limit <= float(array.min()) <= float(array.max()) <= limit

    def free_bytes(self) -> int | None:
        """How many bytes the device can still give, or None where that is not known.

        An array for which there is no memory raises MemoryError. There may be more for smaller
        arrays: what arrays have left of larger pieces is used again, but is in nobody's sum.
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
                with self.turn:
                    fill(array)
            arrays[key] = array  # not before: an interrupt would leave it unfilled
        return array

    def _constant(self, slot: str, values: np.ndarray) -> Array:
        """These values on the device, written there once."""

        def make() -> Array:
            array = self.empty(values.shape, values.dtype)
            self.write(array, values)
            return array

        return self._kept((slot, values.dtype.name, values.shape, values.tobytes()), make)

    def kept(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """What a formula has made for arrays: ``make()`` is called where there is none of this key
        in this thread, and in eager steps each time."""
        return make() if runs_eagerly() else self._kept(key, make)

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        arrays, key = self._scratch.arrays, ("kept", helper_number(), *key)
        found = arrays.get(key)
        if found is None:
            found = arrays[key] = make()
        return found

    def forget_kept(self) -> None:
        """Forget what formulas have made: they have got other numbers."""
        arrays = self._scratch.arrays
        for key in [key for key in arrays if key[0] == "kept"]:
            del arrays[key]

    def row_max(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the largest of each row of x (rows, features): for
        formulas."""
        self.xp.max(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def row_sums(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the sum of each row of x (rows, features): for formulas."""
        self.xp.sum(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def add_to_bins(self, bins: Array, amounts: Array, state: Array) -> None:
        """state[bin] += amount for each of the ``bins`` (n,) of int64, in order, for formulas;
        numbers of bins that do not exist are ignored. ``amounts`` (n,) are float64."""
        self.apply(_add_to_bins, bins, amounts, state)

    def apply(self, function: Callable[..., None], *args: Any) -> None:
        """``function(xp, *args)``: what array functions with ``out=`` do not do, for formulas."""
        function(self.xp, *args)

    def apply_formula(self, formula: Any, method: Callable[..., None], *arrays: Any) -> None:
        """``method(self, *arrays)``, a method of a formula. That of a user's, unless it is made
        of operations on tensors, may look at the values of its arrays: it is called each time."""
        method(self, *arrays)

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


def _add_to_bins(xp: Any, bins: Array, amounts: Array, state: Array) -> None:
    inside = (bins >= 0) & (bins < len(state))
    if not inside.all():
        bins, amounts = bins[inside], amounts[inside]
    state += xp.bincount(bins, amounts, len(state))
