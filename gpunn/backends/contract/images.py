"""Images, (samples, height, width, channels): convolution, pooling, layout."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..geometry import Geometry
from ..recorder import touching
from .operation import Array, Operations, operation


def _convolution_flops(given: dict[str, Any]) -> int:
    """2 for each output and each number that it is a sum of; as much for each gradient."""
    filters, wanted = given["kernel"].shape[-1], [given.get(k) for k in ("dkernel", "dx")]
    products = sum(array is not None for array in wanted) if "dy" in given else 1
    out = given["dy"] if "dy" in given else given["out"]
    return 2 * products * int(out.size) * (int(given["kernel"].size) // filters)


def _touched_once(given: dict[str, Any]) -> dict[str, Any]:
    """The arrays given, without a ``z`` that is ``out``."""
    arrays = {name: array for name, array in given.items() if hasattr(array, "nbytes")}
    return {n: a for n, a in arrays.items() if n != "z" or a is not given["out"]}


class Images(Operations):
    """Convolution, pooling, and how images lie in memory."""

    @operation
    @touching(
        _touched_once,
        rewritten=lambda given: ("z",) if given["activation"].saves == "input" else (),
        flops=_convolution_flops,
    )
    @abstractmethod
    def convolution(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None,
        activation: Any,
        geometry: Geometry,
        z: Array,
        out: Array,
        precision: str | None = None,
    ) -> None:
        """out = activation(z + bias), z = the patches of x under the windows times the kernel.

        x (samples, *geometry.image, channels), kernel (*geometry.window, channels, filters),
        bias (filters,) or None, z and out (samples, *geometry.windows, filters). ``z`` is
        ``out``, but for an activation whose gradient reads its input: then it is another
        array, and is left holding ``z + bias``.
        """

    @operation
    @touching(
        rewritten=lambda given: (
            "dy",
            *(("dkernel", "dbias") if given.get("adds") else ()),
            *(("dx",) if given.get("accumulate") else ()),
        ),
        flops=_convolution_flops,
    )
    @abstractmethod
    def convolution_gradient(
        self,
        x: Array,
        kernel: Array,
        activation: Any,
        geometry: Geometry,
        saved: Array,
        dy: Array,
        dkernel: Array | None,
        dbias: Array | None,
        dx: Array | None,
        adds: bool = False,
        accumulate: bool = False,
        precision: str | None = None,
    ) -> None:
        """The gradients of the same that are wanted, from ``saved``, its ``out`` or ``z``.

        dy is overwritten with dz = dy * activation'(.); dkernel = patches^T dz, dbias = the
        sum of dz over all windows (+= with ``adds``); dx = each pixel's sum of dz kernel^T
        over the windows that it lies in (+= with ``accumulate``).
        """

    @operation
    @abstractmethod
    def max_pooling(self, x: Array, geometry: Geometry, out: Array) -> None:
        """out (samples, *geometry.windows, channels) = the largest pixel of each window."""

    @operation
    @touching(rewritten=lambda given: ("dx",) if given.get("accumulate") else ())
    @abstractmethod
    def max_pooling_gradient(
        self, x: Array, y: Array, dy: Array, geometry: Geometry, dx: Array, accumulate: bool = False
    ) -> None:
        """dx = dy at the largest pixel of each window, x and y being as in `max_pooling`.

        Of equal ones it is the first: of the first row in which there is one.
        """

    @operation
    @abstractmethod
    def average_pooling(self, x: Array, geometry: Geometry, out: Array) -> None:
        """out (samples, *geometry.windows, channels) = the mean of each window's pixels."""

    @operation
    @touching(rewritten=lambda given: ("dx",) if given.get("accumulate") else ())
    @abstractmethod
    def average_pooling_gradient(
        self, dy: Array, geometry: Geometry, dx: Array, accumulate: bool = False
    ) -> None:
        """dx = each pixel's sum of dy / pixels over the windows that it lies in."""

    @operation
    @abstractmethod
    def crop_or_pad(
        self, x: Array, offset: tuple[int, int], out: Array, accumulate: bool = False
    ) -> None:
        """out[:, i, j] = x[:, i + offset[0], j + offset[1]], 0 where there is no such pixel."""

    @operation
    @abstractmethod
    def swap_axes(self, x: Array, out: Array, accumulate: bool = False) -> None:
        """out (samples, b, a) = x (samples, a, b): channels from first to last, or back."""
