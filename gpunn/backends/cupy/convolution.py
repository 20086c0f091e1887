"""Convolution, as patches and products, pooling and layout of images on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry

from .launch.codegen import BLOCK
from .launch.fuse import MOST_IN_SLICE
from .launch.protocols import EPILOGUES
from .launch.roofline import FEW, takes_few_rows
from .launch.task_backend import TaskBackend

PATCH_BYTES = 1 << 26  # of some samples at a time

# The product in convolution.cu:
DEPTH = 8  # as there
MOST_ELEMENTS = 1 << 30  # of an array, which it counts in 32 bits
PIECES = 128  # at most, of the sums of a kernel's gradient; each is
PIECE = 512  # terms or more
RATE = 0.6  # relative to the rate of the library's products. ASSUMED.
WINDOWS = 32  # that a thread adds up in registers, or more

# In operations of the library's products: what a GPU does of them in the time of a byte of patches
# from memory, of one from the L2 cache, and of a launch, for each multiprocessor. Chosen so that no
# GPU of `hot-kernels.md` is predicted to lose; a product hides some bytes behind its arithmetic.
BYTE, CACHED_BYTE = 12, 4
LAUNCH = 3.5e5
BLOCKS_EACH = 8  # of `KernelSet.blocks`, of a multiprocessor


class CupyConvolution(TaskBackend):
    """The operations on images, (samples, height, width, channels)."""

    # -- convolution

    def _convolution(self, call: OpCall) -> None:
        x, geometry, z, out = call.x, call.geometry, call.z, call.out
        if not x.size:
            return
        matrix = _rows(call.kernel)  # (cells channels, filters)
        rows = _rows(z)  # (windows, filters)
        same = self.overlap(z, out) == "same"
        kind = EPILOGUES.get(call.activation.functor) if same else None
        sizes = len(rows), call.filters, len(matrix)
        if call.group_channels < call.channels:
            self._image_part("grouped_convolution", call, z, x, out=z)
        elif self._without_patches(call, sizes, rows.nbytes if kind else 0, 2 if kind else 1):
            self._convolve(
                call, x, geometry, z, bias=call.bias if kind else None, relu=kind == "relu",
                turned=False, accumulate=False,
            )
            if kind:
                return
        else:
            for chunk in self._sample_chunks(x, geometry):
                patches = self._patches(call, x[chunk])
                self._product(patches, matrix, _rows(z[chunk]), precision=call.precision)
        self.bias_activation(rows, call.bias, call.activation, rows if same else _rows(out))

    def _convolution_gradient(self, call: OpCall) -> None:
        if not call.x.size:
            return
        dz = _rows(call.dy)
        if call.saved is not None:
            self.activation_gradient(call.activation, _rows(call.saved), dz, dz)
        if call.dkernel is not None:
            self._kernel_gradient(call)
        if call.dbias is not None:
            self.column_sums(dz, call.dbias, accumulate=call.accumulate_gradients)
        if call.dx is not None:
            self._image_gradient(call)

    def _kernel_gradient(self, call: OpCall) -> None:
        x, dy, dkernel = call.x, call.dy, _rows(call.dkernel)
        sizes = *dkernel.shape, len(_rows(dy))
        if call.group_channels < call.channels:
            pieces = max(1, min(PIECES, sizes[2] // PIECE))
            self._partial_gradients("grouped_kernel_gradient", call, pieces * dkernel.size, pieces)
            return
        if self._has_few_rows(call, sizes):
            pieces = max(1, sizes[2] // WINDOWS)
            self._partial_gradients("few_rows_gradient", call, pieces * sizes[1], pieces)
            return
        tiles = _tiles(*dkernel.shape)
        pieces = max(1, min(PIECES // tiles, sizes[2] // PIECE))
        if self._without_patches(call, sizes, -pieces * dkernel.nbytes, 0, pieces):
            self._partial_gradients("kernel_gradient", call, tiles * pieces * BLOCK, pieces)
            return
        for number, chunk in enumerate(self._sample_chunks(x, call.geometry)):
            self._product(
                self._patches(call, x[chunk]), _rows(dy[chunk]), dkernel,
                transpose_a=True, accumulate=call.accumulate_gradients or number > 0,
                precision=call.precision,
            )

    def _partial_gradients(self, name: str, call: OpCall, threads: int, pieces: int) -> None:
        """Request a part that computes the kernel's gradient from each piece, and their sum."""
        dkernel = call.dkernel.reshape(-1)
        shape = pieces, dkernel.size
        partial = self.scratch(shape, dkernel.dtype, "gradients of the kernel")
        geometry = self._geometry(call.geometry)
        values = {"dz": call.dy, "geometry": geometry, "pieces": pieces, "partial": partial}
        self._ask(self._task(name, call, threads, **values))
        self.column_sums(partial, dkernel, accumulate=call.accumulate_gradients)

    def _image_gradient(self, call: OpCall) -> None:
        dy, dx, geometry, accumulate = call.dy, call.dx, call.geometry, call.accumulate_dx
        matrix, precision = _rows(call.kernel), call.precision
        if call.group_channels < call.channels:
            self._image_part(
                "grouped_image_gradient", call, dx, dx, dz=dy, accumulate=accumulate, out=dx
            )
            return
        transposed = geometry.transposed
        sizes = len(_rows(dx)), call.channels, geometry.cells * call.filters
        if transposed and self._without_patches(call, sizes, 0, 1):
            self._convolve(
                call, dy, transposed, dx, channels=call.filters, filters=call.channels,
                bias=None, relu=False, turned=True, accumulate=accumulate,
            )
            return
        if geometry.trivial:
            self._product(
                _rows(dy), matrix, _rows(dx),
                transpose_b=True, accumulate=accumulate, precision=precision,
            )
            return
        for chunk in self._sample_chunks(dx, geometry):
            dpatches = self._patch_array(dx[chunk], geometry)
            self._product(_rows(dy[chunk]), matrix, dpatches, transpose_b=True, precision=precision)
            out = dx[chunk]
            self._image_part(
                "patches_gradient", call, out, out, dpatches=dpatches, accumulate=accumulate,
                out=out,
            )

    def _convolve(
        self, call: OpCall, x: Array, geometry: Geometry, out: Array, **values: Any
    ) -> None:
        rows = _rows(out)
        threads = _tiles(*rows.shape) * BLOCK
        self._part(
            "convolution", call, threads, x=x, geometry=self._geometry(geometry), out=out, **values
        )

    def _has_few_rows(self, call: OpCall, sizes: tuple[int, int, int]) -> bool:
        """Return whether a kernel's gradient has few rows, and is predicted to be faster with a
        thread for each filter than by the library, which keeps few blocks busy with it."""
        (rows, filters, windows), x = sizes, call.x
        if rows > FEW or call.precision or self._is_persistent():
            return False
        if max(x.size, windows * (filters + rows)) >= MOST_ELEMENTS:
            return False
        patches = 0 if call.geometry.trivial else 2 * windows * rows * x.itemsize
        fused = self._traced is not None  # then its kernel has the sizes as constants
        return takes_few_rows(*sizes, self.kernels.gpu, patches, fused)

    def _is_persistent(self) -> bool:
        """Whether a step is traced for a persistent kernel."""
        return self._traced is not None and not self._epilogues

    def _without_patches(
        self, call: OpCall, sizes: tuple[int, int, int], saved: int, launches: int, pieces: int = 1
    ) -> bool:
        """Return whether a product is computed without writing its patches: where it is predicted
        to be faster than the library's.

        In a persistent kernel it is not: there a block takes its rows through all layers, and this
        product would have to wait for all others.

        Args:
            sizes: the rows, columns and terms of this product.
            saved: bytes, besides the patches, that need not be written and read again.
            pieces: of the terms, each with blocks of its own.
        """
        geometry, x, kernel = call.geometry, call.x, call.kernel
        windows = len(x) * geometry.windows[0] * geometry.windows[1]
        largest = max(x.size, windows * call.filters, kernel.size * PIECES)
        if geometry.trivial or call.precision or largest >= MOST_ELEMENTS:
            return False
        if self._is_persistent():
            return False
        patches = windows * geometry.cells * call.channels
        moved = 2 * (patches * x.itemsize + saved)
        byte = CACHED_BYTE if moved <= self.kernels.gpu.l2 else BYTE
        multiprocessors = self.kernels.blocks // BLOCKS_EACH
        library = 2 * patches * call.filters + byte * moved + LAUNCH * multiprocessors * launches
        return cost(*sizes, pieces, multiprocessors) < library

    def _sample_chunks(self, x: Array, geometry: Geometry) -> Iterator[slice]:
        """Yield slices of as many samples as there is memory for their patches."""
        n, sample = len(x), x[:1].nbytes // (geometry.image[0] * geometry.image[1])
        sample *= geometry.cells * geometry.windows[0] * geometry.windows[1]
        at_once = n if geometry.trivial else max(1, PATCH_BYTES // max(1, sample))
        for start in range(0, n, at_once):
            yield slice(start, min(start + at_once, n))

    def _patch_array(self, x: Array, geometry: Geometry) -> Array:
        windows = len(x) * geometry.windows[0] * geometry.windows[1]
        return self.scratch((windows, geometry.cells * x.shape[-1]), x.dtype, "patches")

    def _patches(self, call: OpCall, x: Array) -> Array:
        """Return the patch of each window, (samples * windows, cells * channels)."""
        if call.geometry.trivial:
            return _rows(x)
        patches = self._patch_array(x, call.geometry)
        self._image_part("patches", call, patches, x, x=x, out=patches)
        return patches

    def _image_part(
        self, name: str, call: OpCall, work: Array, images: Array, /, **values: Any
    ) -> None:
        """Launch a part with one thread for each element of ``work``; it gets the samples and
        channels of ``images``."""
        samples, channels = len(images), images.shape[-1]
        self._part(
            name, call, work.size, **_cut(samples, work), samples=samples, channels=channels,
            geometry=self._geometry(call.geometry), **values,
        )

    def _geometry(self, g: Geometry) -> Array:
        numbers = (*g.image, *g.windows, *g.window, *g.strides, *g.padding, *g.dilation)
        return self._constant("geometry", np.array(numbers, np.int32))

    # -- pooling

    def _max_pooling(self, call: OpCall) -> None:
        self._image_part("max_pooling", call, call.out, call.x)

    def _max_pooling_gradient(self, call: OpCall) -> None:
        self._pooling_gradient("max_pooling_gradient", call)

    def _average_pooling(self, call: OpCall) -> None:
        self._image_part("average_pooling", call, call.out, call.x)

    def _average_pooling_gradient(self, call: OpCall) -> None:
        self._pooling_gradient("average_pooling_gradient", call)

    def _pooling_gradient(self, name: str, call: OpCall) -> None:
        dx, accumulate = call.dx, call.accumulate_dx
        self._image_part(name, call, dx, dx, accumulate=accumulate, out=dx)

    # -- layout

    def _crop_or_pad(self, call: OpCall) -> None:
        out, (top, left) = call.out, call.offset
        self._part(
            "crop_or_pad", call, out.size, **_cut(call.samples, out), top=top, left=left,
            rows=call.out_height, columns=call.out_width,
        )

    def _swap_axes(self, call: OpCall) -> None:
        out = call.out
        self._part("swap_axes", call, out.size, **_cut(call.samples, out))


def cost(rows: int, columns: int, terms: int, pieces: int, multiprocessors: int) -> float:
    """Return the time of a product in ``convolution.cu``, in operations of the library's products.

    It counts whole tiles, and at least the time of one tile on each multiprocessor.

    >>> cost(96, 64, 8, 1, 10) == cost(1, 33, 1, 1, 10) == cost(960, 64, 8, 1, 1)
    True
    """
    height, width = _tile(columns)
    tile = 2 * height * width * -(-terms // DEPTH) * DEPTH
    return tile / pieces * max(_tiles(rows, columns) * pieces, multiprocessors) / RATE


def _tile(columns: int) -> tuple[int, int]:
    """Return the rows and columns of a block's tile of a product with so many columns."""
    return (192, 32) if columns <= 32 else (96, 64)


def _tiles(rows: int, columns: int) -> int:
    """Return the number of tiles of a product."""
    height, width = _tile(columns)
    return -(-rows // height) * -(-columns // width)


def _cut(samples: int, work: Array) -> dict[str, Any]:
    """Return how a part that writes ``work`` is divided, so that it can share a launch.

    Its slices are samples; if these are too large, pixels of what it writes. They are none of what
    it reads: there a pixel of the result needs several.
    """
    if work.size <= samples * MOST_IN_SLICE:
        return {"sliced": samples}
    return {"sliced": work.size // work.shape[-1], "reads_rows": False}


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])
