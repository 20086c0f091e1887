"""Convolution, pooling and layout of images, (samples, height, width, channels)."""

from __future__ import annotations

from gpunn.backends.shared.geometry import Geometry

from .declaration import Argument, MatrixProduct, OpCall, reads, rewrites, writes
from .device import Array
from .formulas import ActivationProtocol
from .operation import Operations, operation

IMAGE = "samples *geometry.image channels"
WINDOWS = "samples *geometry.windows channels"
KERNEL = "*geometry.window group_channels filters"
FILTERED = "samples *geometry.windows filters"
GROUPS = (
    "0 < group_channels <= channels and channels % group_channels == 0",
    "filters % max(1, channels // max(1, group_channels)) == 0",
)


def _keeps_z(call: OpCall) -> bool:
    """Return whether z + bias is kept for the gradient."""
    return bool(call.activation.saves == "input")


def _patches(call: OpCall) -> tuple[int, int, int]:
    """Return how many groups of channels there are, the windows, and the cells of a patch."""
    windows = call.samples * call.geometry.windows[0] * call.geometry.windows[1]
    groups = call.channels // max(1, call.group_channels)
    return groups, windows, call.geometry.cells * call.group_channels


def _product(call: OpCall) -> list[MatrixProduct]:
    groups, windows, cells = _patches(call)
    return [MatrixProduct(windows, call.filters // max(1, groups), cells, "", groups)]


def _gradients(call: OpCall) -> list[MatrixProduct]:
    groups, windows, cells = _patches(call)
    filters = call.filters // max(1, groups)
    found = []
    if call.dkernel is not None:
        found.append(MatrixProduct(cells, filters, windows, "a", groups))
    if call.dx is not None:
        found.append(MatrixProduct(windows, cells, filters, "b", groups))
    return found


class Convolution(Operations):
    """Convolution, pooling, and the layout of images in memory."""

    @operation(
        x=reads(IMAGE),
        kernel=reads(KERNEL),
        bias=reads("filters", optional=True),
        out=writes(FILTERED, over=lambda call: () if _keeps_z(call) else ("z",)),
        z=Argument(FILTERED, read=_keeps_z, written=True),
        where=GROUPS,
        products=_product,
    )
    def convolution(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None,
        activation: ActivationProtocol,
        geometry: Geometry,
        z: Array,
        out: Array,
        precision: str | None = None,
    ) -> None:
        """out = activation(z + bias), where z = (patches of x in the windows) @ kernel.

        A kernel of fewer channels than x divides channels and filters into groups: each group's
        filters see its own channels only.

        Cells outside the image add 0. If a weight there is not finite, they may also add NaN: some
        kernels multiply it by 0, others leave these cells out.

        ``z`` is ``out``, except for an activation whose gradient reads its input: then it is
        another array, and holds ``z + bias`` afterwards.
        """

    @operation(
        x=reads(IMAGE),
        kernel=reads(KERNEL),
        saved=reads(FILTERED, optional=True),
        dy=rewrites(FILTERED),
        dkernel=writes(KERNEL, accumulate_if="accumulate_gradients", optional=True),
        dbias=writes("filters", accumulate_if="accumulate_gradients", optional=True),
        dx=writes(IMAGE, accumulate_if="accumulate_dx", optional=True),
        where=(*GROUPS, "saved is not None or activation.functor == 'Linear'"),
        products=_gradients,
    )
    def convolution_gradient(
        self,
        x: Array,
        kernel: Array,
        activation: ActivationProtocol,
        geometry: Geometry,
        saved: Array | None,
        dy: Array,
        dkernel: Array | None,
        dbias: Array | None,
        dx: Array | None,
        accumulate_gradients: bool = False,
        accumulate_dx: bool = False,
        precision: str | None = None,
    ) -> None:
        """Compute the requested gradients of `convolution` from ``saved``, its ``out`` or ``z``;
        None for a linear activation.

        dy is overwritten with dz = dy * activation'(.); dkernel = patches^T dz, dbias = the
        sum of dz over all windows (+= with ``accumulate_gradients``); dx = for each pixel, the
        sum of dz kernel^T over the windows that contain it (+= with ``accumulate_dx``).
        """

    @operation(x=reads(IMAGE), out=writes(WINDOWS))
    def max_pooling(self, x: Array, geometry: Geometry, out: Array) -> None:
        """out = the largest pixel of each window."""

    @operation(
        x=reads(IMAGE),
        y=reads(WINDOWS),
        dy=reads(WINDOWS),
        dx=writes(IMAGE, accumulate_if="accumulate_dx"),
    )
    def max_pooling_gradient(
        self,
        x: Array,
        y: Array,
        dy: Array,
        geometry: Geometry,
        dx: Array,
        accumulate_dx: bool = False,
    ) -> None:
        """dx = dy at the largest pixel of each window; x and y (its ``out``) as in `max_pooling`.

        Among equal pixels it is the first one in row-major order. Pixels of a window with a NaN
        get 0 from it.
        """

    @operation(x=reads(IMAGE), out=writes(WINDOWS))
    def average_pooling(self, x: Array, geometry: Geometry, out: Array) -> None:
        """out = the mean of each window's pixels."""

    @operation(dy=reads(WINDOWS), dx=writes(IMAGE, accumulate_if="accumulate_dx"))
    def average_pooling_gradient(
        self, dy: Array, geometry: Geometry, dx: Array, accumulate_dx: bool = False
    ) -> None:
        """dx = for each pixel, the sum of dy / pixels over the windows that contain it."""

    @operation(
        x=reads("samples height width channels"),
        out=writes("samples out_height out_width channels", accumulate_if="accumulate"),
        where=(
            "len(offset) == 2 and all(hasattr(n, '__index__') and abs(n) < 2**31 for n in offset)",
        ),
    )
    def crop_or_pad(
        self, x: Array, offset: tuple[int, int], out: Array, accumulate: bool = False
    ) -> None:
        """out[:, i, j] = x[:, i + offset[0], j + offset[1]], and 0 outside of x."""

    @operation(x=reads("samples a b"), out=writes("samples b a", accumulate_if="accumulate"))
    def swap_axes(self, x: Array, out: Array, accumulate: bool = False) -> None:
        """out = x with its last two axes swapped: channels first to channels last, or back."""
