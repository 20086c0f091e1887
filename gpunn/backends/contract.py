"""The operations that a device must be able to do, stated once.

An operation is what a GPU programmer would fuse into one kernel, not what an array
library calls a function. Every operation

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
from collections.abc import Callable
from typing import Any

from .control import Control
from .order import Order
from .recorder import Method, touching

Array = Any  # numpy.ndarray or cupy.ndarray: nothing above this floor cares which


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


class Contract(ABC):
    """The operations; `Backend` adds where arrays live and how steps are recorded."""

    operations: dict[str, Callable[..., None]] = {}  # noqa: RUF012 (made anew by each subclass)
    """The operations by name, as the class that brought each declares it."""

    xp: Any
    """The array module, numpy or cupy: the documented slow path. A layer or loss
    of your own may be written with it (with ``out=``) and runs on both."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.operations = {
            name: member
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if getattr(member, "is_operation", False)
        }

    @abstractmethod
    def scratch(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        slot: str = "",
        fill: Callable[[Array], None] | None = None,
    ) -> Array:
        """See `Backend.scratch`."""

    # -- products and element-wise passes

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

    # -- the two ends of a step

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
