"""The backend contract: what a device must be able to do, stated once.

An operation here is what a GPU programmer would fuse into one kernel, not what
an array library calls a function. Every operation

- writes into arrays it is given, and allocates nothing that outlives it,
- never waits for the device (only `Backend.read` and `Backend.synchronize` do),
- takes numbers that change from step to step out of the `Control` block, because
  a recorded CUDA graph bakes Python numbers in,
- sums in a fixed order, so that the same seed gives the same bits.

Formulas (activations, losses, metrics, optimizer updates) come in as objects that
know two things: their formula in terms of `xp` with `out=`, and the name of a C++
functor in `kernels/` (attribute ``functor``, None if there is none). The NumPy
backend runs the first, the CuPy backend the second where it exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any, Protocol

import numpy as np

from .control import Control
from .order import Order
from .recorder import Launch, Method, describe, touching

Array = Any  # numpy.ndarray or cupy.ndarray: nothing above this floor cares which
Step = Callable[[], None]


def dropout_scale(rate: float) -> float:
    """1 / (1 - rate), what dropout multiplies by; 0 for a rate of 1, which keeps nothing.

    >>> dropout_scale(0.5), dropout_scale(1.0)
    (2.0, 0.0)
    """
    return 1.0 / (1.0 - rate) if rate < 1.0 else 0.0


def _keeps_input(given: dict[str, Any]) -> bool:
    return given["bias"] is not None and given["activation"].saves == "input"


def operation(method: Method) -> Method:
    """Mark a contract method as an operation: it is recorded and may be replaced."""
    method.is_operation = True  # type: ignore[attr-defined]
    return method


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


class Backend(ABC):
    """One device and the operations on it. Subclasses: numpy, cupy."""

    name: str
    xp: Any
    """The array module, numpy or cupy: the documented slow path. A layer or loss
    of your own may be written with it (with ``out=``) and runs on both."""

    operations: dict[str, Callable[..., None]] = {}  # noqa: RUF012 (made anew by each subclass)
    """The contract's operations by name, as the class that brought each declares it."""

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

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.operations = {
            name: member
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if getattr(member, "is_operation", False)
        }

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

    def row_max(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the largest of each row of x (rows, features): for
        formulas."""
        self.xp.max(x, axis=-1, keepdims=out.ndim > 1, out=out)

    def row_sums(self, x: Array, out: Array) -> None:
        """out (rows,) or (rows, 1) = the sum of each row of x (rows, features): for formulas."""
        self.xp.sum(x, axis=-1, keepdims=out.ndim > 1, out=out)

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

    # -- operations: products and element-wise passes

    @operation
    @abstractmethod
    def matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
        precision: str | None = None,
    ) -> None:
        """out (m, n) = a (m, k) @ b (k, n); += with ``accumulate``.

        ``precision``: one of ``precisions``, what a and b are rounded to; None: not at all.
        """

    @operation
    @touching(rewritten=lambda given: ("x",) if _keeps_input(given) else ())
    @abstractmethod
    def bias_activation(self, x: Array, bias: Array | None, activation: Any, out: Array) -> None:
        """out = activation(x + bias); x (rows, features), bias (features,) or None.

        ``out`` may be ``x``. For an activation whose gradient reads its input
        (``activation.saves == "input"``), ``x`` is a different array and is left
        holding ``x + bias``.
        """

    @operation
    @abstractmethod
    def activation_gradient(
        self, activation: Any, saved: Array, dy: Array, out: Array, accumulate: bool = False
    ) -> None:
        """out = dy * f'(.), from the output or input the activation saved; out may be dy."""

    @operation
    @abstractmethod
    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        """out (features,) = sum over the rows of x (rows, features): a bias gradient."""

    @operation
    @abstractmethod
    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        """out = x * scale + offset, converted to out's dtype (x may be of any real dtype)."""

    @operation
    @abstractmethod
    def dropout(
        self,
        x: Array,
        rate: float,
        seed: int,
        stream: int,
        control: Control,
        out: Array,
        mask: Array,
    ) -> None:
        """Inverted dropout: out = x * mask / (1 - rate), mask (bool, kept for the gradient).

        An element is kept where its uniform float32 number is below 1 - rate. The
        numbers are what ``numpy.random.Generator(Philox(key=seed, counter=c))
        .random(dtype=float32)`` gives in C order, with
        c = (0, 0, control's batch counter, stream) as the four 64-bit words.
        """

    @operation
    @abstractmethod
    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        """out = dy * mask / (1 - rate)."""

    # -- operations: the two ends of a step

    @operation
    @touching(lambda given: {"source": given["source"][: len(given["out"])], "out": given["out"]})
    @abstractmethod
    def gather(
        self,
        source: Array,
        order: Order,
        control: Control,
        out: Array,
        scale: float = 1.0,
        offset: float = 0.0,
    ) -> None:
        """The next batch: out[i] = source[order[position + i]] * scale + offset.

        ``source`` (rows, ...) of any real dtype, ``out`` (batch, ...) of the model's
        dtype (or int32 for labels); pass and position are read from ``control``.
        """

    @operation
    @abstractmethod
    def loss(
        self,
        loss: Any,
        y_true: Array,
        y_pred: Array,
        weights: Array | None,
        scale: float,
        gradient: Array | None,
        totals: Array,
    ) -> None:
        """Loss, its gradient and the count of right answers in one pass over the rows.

        With l_i the loss of row i and w_i its weight (1 without weights):
        gradient = scale * w_i * dl_i/dy_pred (skipped if None);
        totals[0] += scale * rows * sum(w_i * l_i); totals[1] += rows;
        and where ``loss.counts_matches``: totals[2] += rows whose largest
        prediction is at the true class (the first one on ties), unless totals has
        only two places.

        y_pred (rows, classes); y_true int32 (rows,) for a loss with
        ``loss.sparse``, otherwise (rows, classes) in the model's dtype;
        totals float64 (3,) or (2,).
        """

    @operation
    @abstractmethod
    def metric(
        self, metric: Any, y_true: Array, y_pred: Array, weights: Array | None, state: Array
    ) -> None:
        """Add one batch to a metric's float64 ``state`` on the device."""

    @operation
    @touching(
        lambda given: {
            "values": given["arena"].values,
            "gradients": given["arena"].gradients,
            **given["arena"].slots,
        },
        rewritten=lambda given: ("values", *given["arena"].slots),
    )
    @abstractmethod
    def update(self, optimizer: Any, arena: Any, control: Control) -> None:
        """One optimizer step over the arena's flat arrays (all runs of trainable segments)."""

    @operation
    @touching(lambda given: {"gradients": given["arena"].gradients}, lambda given: ("gradients",))
    def clip_gradients(self, arena: Any, by: str, limit: float) -> None:
        """Limit the gradients in place: each element ("value"), the norm of each
        parameter's ("norm") or the norm of all together ("global_norm")."""
        xp = self.xp
        if by == "value":
            for run in arena.runs:
                xp.clip(run.gradients, -limit, limit, out=run.gradients)
            return
        groups = (
            [[p.gradient] for p in arena.trained]
            if by == "norm"
            else [[run.gradients for run in arena.runs]]
        )
        for group in groups:
            # A dot product of the flat array with itself would go to BLAS, which a
            # recorded graph cannot hold; square and sum can be recorded.
            squares = 0.0
            for g in group:
                square = self.scratch(g.shape, g.dtype, "square")
                xp.square(g, out=square)
                squares = squares + xp.sum(square)
            factor = limit / xp.maximum(xp.sqrt(squares), limit)
            for g in group:
                xp.multiply(g, factor.astype(g.dtype), out=g)

    @operation
    @abstractmethod
    def advance(self, control: Control, rows: int, totals: Array) -> None:
        """End of a step: one more batch and update, ``rows`` further in the order.

        If totals[0] (the loss so far) is not finite and no earlier step was marked,
        the step is marked in the control block.
        """
