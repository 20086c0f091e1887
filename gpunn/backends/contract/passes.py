"""Matrix products, element-wise operations, and sums of columns."""

from __future__ import annotations

from .control import Control
from .declaration import COUNTERS, PLAIN, KernelCall, OpCall, reads, writes
from .device import Array
from .formulas import ActivationProtocol
from .operation import Operations, operation


def dropout_scale(rate: float) -> float:
    """Return dropout's scale, 1 / (1 - rate); 0 for a rate of 1, which keeps nothing.

    >>> dropout_scale(0.5), dropout_scale(1.0)
    (2.0, 0.0)
    """
    return 1.0 / (1.0 - rate) if rate < 1.0 else 0.0


def _keeps_input(call: OpCall) -> bool:
    """Return whether x + bias is kept in x, for the gradient."""
    return call.bias is not None and call.activation.saves == "input"


class Passes(Operations):
    """Matrix products and element-wise operations."""

    @operation(
        a=reads("m k", transposed="transpose_a"),
        b=reads("k n", transposed="transpose_b"),
        out=writes("m n", accumulate_if="accumulate"),
        flops=lambda call: 2 * call.m * call.n * call.k,
    )
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
        """out = a @ b; += with ``accumulate``.

        ``precision``: one of ``precisions``, the format that a and b are rounded to; None: no
        rounding.
        """

    @operation(
        a=reads("a_stack m k", transposed="transpose_a"),
        b=reads("b_stack k n", transposed="transpose_b"),
        out=writes("stack m n"),
        where=("a_stack in (1, stack)", "b_stack in (1, stack)"),
        flops=lambda call: 2 * call.stack * call.m * call.n * call.k,
    )
    def batched_matmul(
        self,
        a: Array,
        b: Array,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> None:
        """out[i] = a[i] @ b[i] for each matrix of the stacks; a stack of one is used for all."""

    @operation(
        x=reads("*rows features", rewritten=_keeps_input),
        bias=reads("features", optional=True),
        out=writes("*rows features", over=lambda call: () if _keeps_input(call) else ("x",)),
    )
    def bias_activation(
        self, x: Array, bias: Array | None, activation: ActivationProtocol, out: Array
    ) -> None:
        """out = activation(x + bias).

        ``out`` may be ``x``. For an activation whose gradient reads its input
        (``activation.saves == "input"``), ``x`` is a different array and holds
        ``x + bias`` afterwards.
        """

    @operation(
        saved=reads("*rows features"),
        dy=reads("*rows features"),
        out=writes("*rows features", accumulate_if="accumulate", over=("dy",)),
    )
    def activation_gradient(
        self,
        activation: ActivationProtocol,
        saved: Array,
        dy: Array,
        out: Array,
        accumulate: bool = False,
    ) -> None:
        """out = dy * f'(.), from the activation's saved output or input; out may be dy."""

    @operation(
        x=reads("rows features"),
        out=writes("features", accumulate_if="accumulate"),
    )
    def column_sums(self, x: Array, out: Array, accumulate: bool = False) -> None:
        """out = the sum over the rows of x, as for a bias gradient."""

    @operation(
        x=reads("*shape", "real"),
        out=writes("*shape", "float or int32", accumulate_if="accumulate", over=("x",)),
        where=(PLAIN,),
    )
    def affine(
        self, x: Array, scale: float, offset: float, out: Array, accumulate: bool = False
    ) -> None:
        """out = x * scale + offset, converted to out's dtype; out may be x."""

    @operation(
        x=reads(
            "rows x_columns",
            part=lambda call: call.x[:, call.start : call.start + call.width],
        ),
        into=writes(
            "rows into_columns",
            accumulate_if="accumulate",
            part=lambda call: call.into[:, call.at : call.at + call.width],
        ),
        where=(
            "0 <= width",
            "0 <= start <= x_columns - width",
            "0 <= at <= into_columns - width",
        ),
        by_kernel=KernelCall(
            "x, x_columns, start, rows, width, at, into_columns, accumulate, into",
            n="rows * width", slices="rows",
        ),
    )  # fmt: skip
    def copy_columns(
        self, x: Array, start: int, into: Array, at: int, width: int, accumulate: bool = False
    ) -> None:
        """into[:, at : at + width] = x[:, start : start + width]; += with ``accumulate``.

        It concatenates or splits rows.
        """
        source, target = x[:, start : start + width], into[:, at : at + width]
        if accumulate:
            self.xp.add(target, source, out=target)
        else:
            self.xp.copyto(target, source)

    @operation(
        x=reads("*shape"),
        out=writes("*shape"),
        mask=writes("*shape", "bool"),
        counters=COUNTERS,
        where=("0 <= rate <= 1", "0 <= first < 2**62"),
    )
    def dropout(
        self,
        x: Array,
        rate: float,
        seed: int,
        stream: int,
        control: Control,
        out: Array,
        mask: Array,
        first: int = 0,
    ) -> None:
        """Inverted dropout: out = x * mask / (1 - rate), mask kept for the gradient.

        An element is kept where its uniform float32 random number is below 1 - rate. The
        random numbers are those of ``numpy.random.Generator(Philox(key=seed, counter=c))
        .random(dtype=float32)`` in C order, with
        c = (0, 0, control's batch counter, stream) as the four 64-bit words. The first ``first``
        numbers are skipped: x may be a rank's part of a larger array, from this element on.
        """

    @operation(
        dy=reads("*shape"),
        mask=reads("*shape", "bool"),
        out=writes("*shape", accumulate_if="accumulate", over=("dy",)),
        where=("0 <= rate <= 1",),
    )
    def dropout_gradient(
        self, dy: Array, rate: float, mask: Array, out: Array, accumulate: bool = False
    ) -> None:
        """out = dy * mask / (1 - rate); out may be dy."""
