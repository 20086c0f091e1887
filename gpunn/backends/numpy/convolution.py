"""Convolution, pooling and layout of images on NumPy, (samples, height, width, channels).

An operation is several passes over its arrays. Over a whole batch, each pass would write its
result to memory, where the next one reads it. So a thread performs all passes on a piece of the
batch, a few samples: their results stay in its cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array, Backend
from gpunn.backends.host.program import TracingBackend
from gpunn.backends.shared.functions import bits_of, select
from gpunn.backends.shared.geometry import Geometry
from gpunn.backends.shared.threads import workers

PIECE_BYTES = 1 << 20  # read and written by a piece, which is a few samples
PARTS = 16  # partial sums over the samples: the same for any number of threads
PARTS_BYTES = 1 << 22  # the most for all partial sums together
SIZE_WORTH_THREADS = 1 << 17  # elements: with fewer, waking a thread takes as long as the work
PRODUCT = 64  # terms of a sum that take as long as the other passes over its element
SHORT = 16  # elements: copies of shorter rows are slow

Function = Callable[..., Any]


class NumpyConvolution(TracingBackend):
    """The operations on images."""

    # -- convolution

    def _convolution(self, call: OpCall) -> None:
        x, bias, activation, geometry = call.x, call.bias, call.activation, call.geometry
        z, out = call.z, call.out
        matrix = rows_of(call.kernel)  # (cells channels, filters)
        groups = call.channels // call.group_channels

        def piece(at: slice) -> None:
            if groups > 1:
                patches = self._grouped_patches(x[at], geometry, groups)
                products = self._group_array("products", patches.shape[1], matrix, groups)
                np.matmul(patches, _grouped(matrix, groups), out=products)
                np.copyto(_grouped(rows_of(z[at]), groups), products)
            else:
                np.dot(self._patches(x[at], geometry), matrix, out=rows_of(z[at]))
            if activation.functor == "Relu":
                self._bias_relu(rows_of(z[at]), bias, rows_of(out[at]))
            else:
                self.bias_activation(rows_of(z[at]), bias, activation, rows_of(out[at]))

        self._parallel_for(_pieces(slice(0, len(x)), z, matrix), _work(out, matrix), piece)

    def _convolution_gradient(self, call: OpCall) -> None:
        x, dy, dx, saved = call.x, call.dy, call.dx, call.saved
        dkernel, dbias, geometry = call.dkernel, call.dbias, call.geometry
        matrix, n = rows_of(call.kernel), len(x)
        parts = max(1, min(n, PARTS, PARTS_BYTES // max(1, matrix.nbytes)))
        dtype, filters = matrix.dtype, matrix.shape[1]
        sums = self.scratch((parts, *matrix.shape), dtype, "kernel sums")
        bias_sums = self.scratch((parts, filters), dtype, "bias sums")
        groups = call.channels // call.group_channels
        scatter = self._scatter(call.kernel, geometry, call.accumulate_dx, groups)

        def part(number: int, of: slice) -> None:
            begun = False
            for at in _pieces(of, dy, matrix):
                dz = rows_of(dy[at])
                if saved is not None:
                    self.activation_gradient(call.activation, rows_of(saved[at]), dz, dz)
                if dkernel is not None and groups > 1:
                    patches = self._grouped_patches(x[at], geometry, groups)
                    term = self._group_array("sums", len(matrix), matrix, groups)
                    np.matmul(patches.swapaxes(1, 2), _grouped(dz, groups), out=term)
                    into = _grouped(sums[number], groups)
                    np.add(into, term, out=into) if begun else np.copyto(into, term)
                elif dkernel is not None:
                    patches = self._patches(x[at], geometry)
                    self._sum(patches.T, dz, sums[number], begun)
                if dbias is not None:
                    self._sum(self._ones(len(dz), dtype), dz, bias_sums[number], begun)
                if dx is not None:
                    scatter(dz.reshape(dy[at].shape), dx[at])
                begun = True

        cuts = [n * i // parts for i in range(parts + 1)]
        numbered = [(i, slice(cuts[i], cuts[i + 1])) for i in range(parts)]
        self._parallel_for(numbered, _work(dy, matrix), lambda one: part(*one))
        for partial_sums, gradient in ((sums, dkernel), (bias_sums, dbias)):
            if gradient is not None:
                gradient = gradient.reshape(partial_sums.shape[1:])
                with self._accumulating(gradient, call.accumulate_gradients) as target:
                    self._do(np.sum, partial_sums, axis=0, out=target)

    def _bias_relu(self, x: Array, bias: Array | None, out: Array) -> None:
        """Perform `bias_activation` for ReLU. NumPy's maximum is slow with a number, so it gets a
        row of zeros: a trace does that itself, but it holds a whole convolution as one call."""
        zeros = self.scratch(x.shape[-1:], x.dtype, "zeros", lambda array: array.fill(0))
        if bias is not None:
            x = np.add(x, bias, out=out)
        np.maximum(x, zeros, out=out)

    def _grouped_patches(self, x: Array, geometry: Geometry, groups: int) -> Array:
        """Return each group's patches, (groups, samples * windows, cells * channels of one)."""
        windows = self._windows(x, geometry)
        windows = windows.reshape(*windows.shape[:5], groups, -1).transpose(5, 0, 1, 2, 3, 4, 6)
        *counts, down, across, channels = windows.shape[1:]
        shape = groups, math.prod(counts), down * across * channels
        patches = self.scratch(shape, x.dtype, "patches of groups")
        np.copyto(patches.reshape(windows.shape), windows)
        return patches

    def _group_array(self, name: str, rows: int, matrix: Array, groups: int) -> Array:
        """Return a work array (groups, rows, filters of a group)."""
        shape = groups, rows, matrix.shape[1] // groups
        return self.scratch(shape, matrix.dtype, f"{name} of groups")

    def _windows(self, x: Array, geometry: Geometry) -> Array:
        """Return the pixels under each window, (samples, *windows, *window, channels), as a view of
        x or of a padded copy."""
        n, (height, width), channels = len(x), geometry.image, x.shape[-1]
        top, left = geometry.padding
        rows, columns = geometry.extent
        if top or left or rows > height or columns > width:
            size = n, max(rows, top + height), max(columns, left + width), channels
            # Only the border keeps its zeros: a larger image would leave its pixels there.
            padded = self.scratch(
                size, x.dtype, f"padded by {geometry.padding} for {geometry.image}",
                lambda array: array.fill(0),
            )
            np.copyto(padded[:, top : top + height, left : left + width], x)
            x = padded
        n_, y_, x_, c_ = x.strides
        return np.lib.stride_tricks.as_strided(
            x,
            (n, *geometry.windows, *geometry.window, channels),
            (
                n_, y_ * geometry.strides[0], x_ * geometry.strides[1],
                y_ * geometry.dilation[0], x_ * geometry.dilation[1], c_,
            ),
            writeable=False,
        )

    def _patches(self, x: Array, geometry: Geometry) -> Array:
        """Return the patch of each window, (samples * windows, cells * channels)."""
        if geometry.trivial:
            return rows_of(x)
        n, channels, windows = len(x), x.shape[-1], self._windows(x, geometry)
        shape = n * geometry.windows[0] * geometry.windows[1], geometry.cells * channels
        run = channels * (geometry.window[1] if geometry.dilation[1] == 1 else 1)
        if run < SHORT:  # then copy along the windows, and BLAS reads the result transposed
            patches = self.scratch(shape[::-1], x.dtype, "patches of few channels")
            windows = windows.transpose(3, 4, 5, 0, 1, 2)
            np.copyto(patches.reshape(windows.shape), windows)
            return patches.T
        patches = self.scratch(shape, x.dtype, "patches")
        np.copyto(patches.reshape(windows.shape), windows)
        return patches

    def _scatter(
        self, kernel: Array, geometry: Geometry, accumulate: bool, groups: int
    ) -> Callable[[Array, Array], None]:
        """Return f(dz, dx), which adds the windows' terms to the pixels of some samples."""
        def transposed(cell: Array) -> Array:
            return _grouped(cell, groups).swapaxes(1, 2) if groups > 1 else cell.T

        cells = [
            (transposed(kernel[r, s]), (slice(None), rows[0], columns[0]),
             (slice(None), rows[1], columns[1]))
            for r, rows in enumerate(geometry.along(0))
            for s, columns in enumerate(geometry.along(1))
        ]

        def scatter(dz: Array, dx: Array) -> None:
            if geometry.trivial and not accumulate and groups == 1:
                np.dot(rows_of(dz), cells[0][0], out=rows_of(dx))
                return
            term = self.scratch((*dz.shape[:3], dx.shape[-1]), dx.dtype, "pixel terms")
            if not accumulate:
                dx.fill(0)
            for cell, windows, pixels in cells:
                if groups > 1:
                    shape = groups, rows_of(dz).shape[0], cell.shape[2]
                    product = self.scratch(shape, dx.dtype, "pixel terms of groups")
                    np.matmul(_grouped(rows_of(dz), groups), cell, out=product)
                    np.copyto(_grouped(rows_of(term), groups), product)
                else:
                    np.dot(rows_of(dz), cell, out=rows_of(term))
                np.add(dx[pixels], term[windows], out=dx[pixels])

        return scatter

    def _sum(self, a: Array, b: Array, out: Array, begun: bool) -> None:
        """out (+)= a @ b"""
        term = self.scratch(out.shape, out.dtype, "term") if begun else out
        np.dot(a, b, out=term)
        if begun:
            np.add(out, term, out=out)

    # -- pooling

    def _max_pooling(self, call: OpCall) -> None:
        self._pooling(np.maximum, -np.inf, call)

    def _average_pooling(self, call: OpCall) -> None:
        self._pooling(np.add, 0.0, call, self._reciprocals(call.geometry, call.dtype))

    def _pooling(
        self, function: Function, start: float, call: OpCall, reciprocals: Array | None = None
    ) -> None:
        x, out, geometry = call.x, call.out, call.geometry
        down = _along(function, start, geometry, 0)
        across = _along(function, start, geometry, 1)

        def piece(at: slice) -> None:
            y = out[at]
            rows = self.scratch((len(y), y.shape[1], *x.shape[2:]), x.dtype, "pooled rows")
            down(x[at], rows)
            across(rows, y)
            if reciprocals is not None:
                np.multiply(y, reciprocals, out=y)

        self._parallel_for(_pieces(slice(0, len(x)), x), x.size, piece)

    def _max_pooling_gradient(self, call: OpCall) -> None:
        x, y, dy, dx, geometry = call.x, call.y, call.dy, call.dx, call.geometry
        # Across, then down: the first in a row, and the first such row, as in PyTorch.
        across = _along(np.maximum, -np.inf, geometry, 1)
        back_down, back_across = _chosen(geometry, 0), _chosen(geometry, 1)

        def piece(at: slice) -> None:
            shape = (*x[at].shape[:2], *y.shape[2:])
            largest = self.scratch(shape, x.dtype, "largest of columns")
            d_largest = self.scratch(shape, x.dtype, "gradient of columns")
            across(x[at], largest)
            back_down(self, largest, y[at], dy[at], d_largest)
            with self._accumulating(dx[at], call.accumulate_dx) as target:
                back_across(self, x[at], largest, d_largest, target)

        self._parallel_for(_pieces(slice(0, len(x)), x), x.size, piece)

    def _average_pooling_gradient(self, call: OpCall) -> None:
        dy, dx, geometry = call.dy, call.dx, call.geometry
        reciprocals = self._reciprocals(geometry, dy.dtype)
        back_across, back_down = _spread(geometry, 1), _spread(geometry, 0)

        def piece(at: slice) -> None:
            scaled = self.scratch(dy[at].shape, dy.dtype, "reciprocals")
            rows = self.scratch((*scaled.shape[:2], *dx.shape[2:]), dy.dtype, "gradient of rows")
            np.multiply(dy[at], reciprocals, out=scaled)
            back_across(scaled, rows)
            with self._accumulating(dx[at], call.accumulate_dx) as target:
                back_down(rows, target)

        self._parallel_for(_pieces(slice(0, len(dx)), dx), dx.size, piece)

    def _reciprocals(self, geometry: Geometry, dtype: Any) -> Array:
        """Return 1 / the number of pixels in each window, (height, width, 1)."""
        counts = np.outer(geometry.counts(0), geometry.counts(1))[..., None]
        name = f"reciprocals of {geometry}"
        return self.scratch(counts.shape, dtype, name, lambda array: np.divide(1, counts, array))

    # -- layout

    def _crop_or_pad(self, call: OpCall) -> None:
        x, out = call.x, call.out
        inside, source = _overlap(x.shape[1:3], call.offset, out.shape[1:3])
        pixels, target = x[(slice(None), *source)], out[(slice(None), *inside)]
        if target.size < out.size and not call.accumulate:
            self._do(out.fill, 0)
        self._store(pixels, target, call.accumulate)

    def _swap_axes(self, call: OpCall) -> None:
        self._store(call.x.swapaxes(1, 2), call.out, call.accumulate)

    def _parallel_for(
        self, pieces: Sequence[Any], elements: int, work: Callable[[Any], None]
    ) -> None:
        """Call ``work`` for each of the pieces, in several threads if there are many elements.

        The pieces are the same for any number of threads, and so are the results.
        """

        def one(number: int) -> None:
            work(pieces[number])

        if elements >= SIZE_WORTH_THREADS and len(pieces) > 1:
            self._do(workers.parallel_for, len(pieces), one)
        else:
            self._do(Backend.parallel_for, self, len(pieces), one)  # one after another


def rows_of(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _grouped(matrix: Array, groups: int) -> Array:
    """Return (rows, columns) as (groups, rows, columns of a group), a view."""
    return matrix.reshape(len(matrix), groups, -1).swapaxes(0, 1)


def _work(x: Array, matrix: Array) -> int:
    """Return the number of elements that takes as long as a product into x and a pass over it."""
    return int(x.size * (1 + len(matrix) // PRODUCT))


def _pieces(of: slice, x: Array, matrix: Array | None = None) -> list[slice]:
    """Return slices of a few samples, small enough that their data stay in the cache.

    These data are x, or the patches that a matrix multiplies to give rows of x.
    """
    size = x[:1].nbytes if matrix is None else x[:1].nbytes * len(matrix) // matrix.shape[1]
    samples = max(1, PIECE_BYTES // max(1, size))  # of a slice
    starts = range(of.start, of.stop, samples)
    return [slice(start, min(start + samples, of.stop)) for start in starts]


def _overlap(
    image: tuple[int, ...], offset: tuple[int, int], out: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the part of ``out`` that has pixels, and the part of the image that they come from."""
    inside = tuple(
        slice(max(0, -k), max(0, -k, min(m, n - k)))
        for n, k, m in zip(image, offset, out, strict=True)
    )
    source = tuple(slice(s.start + k, s.stop + k) for s, k in zip(inside, offset, strict=True))
    return inside, source


# Pooling treats one axis at a time: a window reduces its rows' results, a row its cells.


def _cells(geometry: Geometry, axis: int) -> list[tuple[tuple, tuple]]:
    """Return for each cell along an axis its windows and pixels, as indices of images."""
    before = (slice(None),) * (1 + axis)
    return [((*before, windows), (*before, pixels)) for windows, pixels in geometry.along(axis)]


def _along(
    function: Function, start: float, geometry: Geometry, axis: int
) -> Callable[[Array, Array], None]:
    """Return f(x, out): out = function of the cells of each window along an axis."""
    (first, pixels), *others = _cells(geometry, axis)
    whole = slice(0, geometry.windows[axis])

    def pool(x: Array, out: Array) -> None:
        if first[-1] == whole and others and others[0][0][-1] == whole:
            function(x[pixels], x[others[0][1]], out=out)
            rest = others[1:]
        else:
            out.fill(start)
            rest = [(first, pixels), *others]
        for windows, cell in rest:
            function(out[windows], x[cell], out=out[windows])

    return pool


def _apart(geometry: Geometry, axis: int) -> bool:
    """Return whether no pixel lies in two windows."""
    return geometry.strides[axis] >= geometry.window[axis]


def _spread(geometry: Geometry, axis: int) -> Callable[[Array, Array], None]:
    """Return f(dy, dx): each pixel gets the sum of dy of its windows along an axis."""
    cells, apart = _cells(geometry, axis), _apart(geometry, axis)
    covers = apart and _covers(geometry, axis)

    def spread(dy: Array, dx: Array) -> None:
        if not covers:
            dx.fill(0)
        for windows, pixels in cells:
            if apart:
                np.copyto(dx[pixels], dy[windows])
            else:
                np.add(dx[pixels], dy[windows], out=dx[pixels])

    return spread


def _covers(geometry: Geometry, axis: int) -> bool:
    pixels = sum(len(range(geometry.image[axis])[p]) for _, p in geometry.along(axis))
    return pixels == geometry.image[axis]


def _chosen(geometry: Geometry, axis: int) -> Callable[..., None]:
    """Return f(backend, x, y, dy, dx): in each window along an axis, the first cell equal to its
    maximum y gets dy."""
    cells, apart = _cells(geometry, axis), _apart(geometry, axis)
    covers, whole = apart and _covers(geometry, axis), slice(0, geometry.windows[axis])
    *others, (windows, pixels) = cells
    last: tuple | None = pixels
    if windows[-1] != whole:  # not every window has this cell
        others, last = cells, None

    def choose(backend: Any, x: Array, y: Array, dy: Array, dx: Array) -> None:
        if not covers:
            dx.fill(0)
        left = backend.scratch(dy.shape, dy.dtype, "left")  # what no earlier cell took
        if last is not None and apart:
            left = dx[last]
        np.copyto(left, dy)
        if np.isnan(y.max()):  # no cell equals NaN: the last one would get what is left
            np.copyto(left, 0, where=np.isnan(y))
        for windows, cell in others:
            target = dx[cell]
            term = target if apart else backend.scratch(target.shape, dx.dtype, "chosen term")
            hit = backend.scratch(target.shape, bool, "chosen")
            rest = bits_of(left[windows])
            np.equal(x[cell], y[windows], out=hit)
            select(backend, hit, left[windows], term)
            np.bitwise_xor(rest, bits_of(term), out=rest)  # 0 where it was taken
            if not apart:
                np.add(target, term, out=target)
        if last is not None and not apart:
            np.add(dx[last], left, out=dx[last])

    return choose
