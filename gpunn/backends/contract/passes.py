"""Products, passes over elements, and sums of columns."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..control import Control
from ..recorder import touching
from .operation import Array, Operations, operation


def dropout_scale(rate: float) -> float:
    """1 / (1 - rate), what dropout multiplies by; 0 for a rate of 1, which keeps nothing.

    >>> dropout_scale(0.5), dropout_scale(1.0)
    (2.0, 0.0)
    """
    return 1.0 / (1.0 - rate) if rate < 1.0 else 0.0


def _keeps_input(given: dict[str, Any]) -> bool:
    return given["bias"] is not None and given["activation"].saves == "input"


class Passes(Operations):
    """Products and passes over elements."""

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
    def prelu(self, x: Array, slopes: Array, out: Array) -> None:
        """out = x where x > 0, else x * slopes; x (rows, features), slopes (features,)."""

    @operation
    @touching(rewritten=lambda given: ("dx",) if given.get("accumulate") else ())
    @abstractmethod
    def prelu_gradient(
        self,
        x: Array,
        slopes: Array,
        dy: Array,
        terms: Array,
        dx: Array | None,
        accumulate: bool = False,
    ) -> None:
        """terms = dy * min(x, 0), whose sum over the rows is the gradient of the slopes, and
        dx = dy where x > 0, else dy * slopes (+= with ``accumulate``), if it is wanted."""

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
    def combine(
        self, combination: str, a: Array, b: Array, out: Array, accumulate: bool = False
    ) -> None:
        """out = a and b made into one, element by element; out may be a.

        ``combination``: "Product", "Quotient", "Larger", "Smaller" or "Same" (1 where they are
        equal, else 0).
        """

    @operation
    @touching(
        lambda given: {
            "x": given["x"][:, given["start"] : given["start"] + given["width"]],
            "out": given["out"][:, given["at"] : given["at"] + given["width"]],
        }
    )
    @abstractmethod
    def copy_columns(
        self, x: Array, start: int, out: Array, at: int, width: int, accumulate: bool = False
    ) -> None:
        """out[:, at : at + width] = x[:, start : start + width]; += with ``accumulate``.

        x and out are of one dtype and have as many rows: parts of rows are put together, or
        taken apart.
        """

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
