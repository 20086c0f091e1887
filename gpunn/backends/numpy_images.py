"""The contract on NumPy for images: convolution, pooling, padding.

A step over a whole batch would write each result to memory and read it back from there. So
a thread takes some samples at a time through all of an operation's passes, few enough that
what they write stays in its cache. Images are (samples, height, width, channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .base import Array, Backend
from .geometry import Geometry
from .threads import Workers

PIECE_BYTES = 1 << 20  # written and read for some samples at a time
PARTS = 16  # sums over the samples are made of so many, whoever makes them
PARTS_BYTES = 1 << 22  # what these may take
SIZE_WORTH_THREADS = 1 << 17  # elements: of fewer, to wake a thread takes as long as their work
PRODUCT = 64  # terms of a sum that take as long as the passes over an element
SHORT = 16  # elements: copies of shorter runs are slow

Function = Callable[..., Any]


class NumpyImages(Backend):
    """The operations on images."""

    _do: Callable[..., None]
    _workers: Workers

    # -- convolution

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
        matrix = _rows(kernel)  # (cells channels, filters)

        def part(at: slice) -> None:
            for some in _pieces(at, z, matrix):
                patches = self._patches(x[some], geometry)
                np.dot(patches, matrix, out=_rows(z[some]))
                if activation.functor == "Relu":
                    self._bias_relu(_rows(z[some]), bias, _rows(out[some]))
                else:
                    self.bias_activation(_rows(z[some]), bias, activation, _rows(out[some]))

        self._share(len(x), out.size * (1 + len(matrix) // PRODUCT), part)

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
        matrix, n = _rows(kernel), len(x)
        parts = max(1, min(n, PARTS, PARTS_BYTES // max(1, matrix.nbytes)))
        cuts = [n * i // parts for i in range(parts + 1)]
        dtype, filters = matrix.dtype, matrix.shape[1]
        sums = self.scratch((parts, *matrix.shape), dtype, "kernel sums")
        bias_sums = self.scratch((parts, filters), dtype, "bias sums")
        scatter = self._scatter(kernel, geometry, accumulate)

        def part(at: slice) -> None:
            for number in range(at.start, at.stop):
                begun = False
                for some in _pieces(slice(cuts[number], cuts[number + 1]), dy, matrix):
                    dz = _rows(dy[some])
                    self.activation_gradient(activation, _rows(saved[some]), dz, dz)
                    if dkernel is not None:
                        patches = self._patches(x[some], geometry)
                        self._sum(patches.T, dz, sums[number], begun)
                    if dbias is not None:
                        self._sum(self._ones(len(dz), dtype), dz, bias_sums[number], begun)
                    if dx is not None:
                        scatter(dz.reshape(dy[some].shape), dx[some])
                    begun = True

        self._share(parts, dy.size * (1 + len(matrix) // PRODUCT), part)
        if dkernel is not None:
            self._total(sums, _rows(dkernel), adds)
        if dbias is not None:
            self._total(bias_sums, dbias, adds)

    def _bias_relu(self, x: Array, bias: Array | None, out: Array) -> None:
        """As `bias_activation`, which a program notes with a row in place of the number 0: NumPy
        is slow with a number. What is done here is noted as a whole."""
        zeros = self.scratch(x.shape[-1:], x.dtype, "zeros", lambda array: array.fill(0))
        if bias is not None:
            x = np.add(x, bias, out=out)
        np.maximum(x, zeros, out=out)

    def _patches(self, x: Array, geometry: Geometry) -> Array:
        """What lies under each window, (samples windows, cells channels)."""
        n, (height, width), channels = len(x), geometry.image, x.shape[-1]
        if geometry.trivial:
            return _rows(x)
        top, left = geometry.padding
        rows, columns = geometry.extent
        if top or left or rows > height or columns > width:
            size = n, max(rows, top + height), max(columns, left + width), channels
            padded = self.scratch(
                size, x.dtype, f"padded by {geometry.padding}", lambda array: array.fill(0)
            )
            np.copyto(padded[:, top : top + height, left : left + width], x)
            x = padded
        n_, y_, x_, c_ = x.strides
        windows = np.lib.stride_tricks.as_strided(
            x,
            (n, *geometry.windows, *geometry.window, channels),
            (
                n_, y_ * geometry.strides[0], x_ * geometry.strides[1],
                y_ * geometry.dilation[0], x_ * geometry.dilation[1], c_,
            ),
            writeable=False,
        )  # fmt: skip
        shape = n * geometry.windows[0] * geometry.windows[1], geometry.cells * channels
        run = channels * (geometry.window[1] if geometry.dilation[1] == 1 else 1)
        if run < SHORT:  # along the windows, then, and BLAS reads it transposed
            patches = self.scratch(shape[::-1], x.dtype, "patches of few channels")
            windows = windows.transpose(3, 4, 5, 0, 1, 2)
            np.copyto(patches.reshape(windows.shape), windows)
            return patches.T
        patches = self.scratch(shape, x.dtype, "patches")
        np.copyto(patches.reshape(windows.shape), windows)
        return patches

    def _scatter(
        self, kernel: Array, geometry: Geometry, accumulate: bool
    ) -> Callable[[Array, Array], None]:
        """f(dz, dx), which gives the pixels of some samples what their windows are worth."""
        cells = [
            (kernel[r, s].T, (slice(None), rows[0], columns[0]), (slice(None), rows[1], columns[1]))
            for r, rows in enumerate(geometry.along(0))
            for s, columns in enumerate(geometry.along(1))
        ]

        def scatter(dz: Array, dx: Array) -> None:
            if geometry.trivial and not accumulate:
                np.dot(_rows(dz), cells[0][0], out=_rows(dx))
                return
            term = self.scratch((*dz.shape[:3], dx.shape[-1]), dx.dtype, "pixel terms")
            if not accumulate:
                dx.fill(0)
            for turned, windows, pixels in cells:
                np.dot(_rows(dz), turned, out=_rows(term))
                np.add(dx[pixels], term[windows], out=dx[pixels])

        return scatter

    def _sum(self, a: Array, b: Array, out: Array, begun: bool) -> None:
        """out (+)= a @ b"""
        term = self.scratch(out.shape, out.dtype, "term") if begun else out
        np.dot(a, b, out=term)
        if begun:
            np.add(out, term, out=out)

    def _total(self, sums: Array, out: Array, adds: bool) -> None:
        target = self.scratch(out.shape, out.dtype, "total") if adds else out
        self._do(np.sum, sums, axis=0, out=target)
        if adds:
            self._do(np.add, out, target, out=out)

    def _ones(self, n: int, dtype: Any) -> Array:
        return self.scratch((n,), dtype, "ones", lambda array: array.fill(1))

    # -- pooling

    def max_pooling(self, x: Array, geometry: Geometry, out: Array) -> None:
        self._pooling(np.maximum, -np.inf, x, geometry, out)

    def average_pooling(self, x: Array, geometry: Geometry, out: Array) -> None:
        self._pooling(np.add, 0.0, x, geometry, out, self._shares(geometry, x.dtype))

    def _pooling(
        self, function: Function, start: float, x: Array, geometry: Geometry, out: Array,
        shares: Array | None = None,
    ) -> None:  # fmt: skip
        down = _along(function, start, geometry, 0)
        across = _along(function, start, geometry, 1)

        def part(at: slice) -> None:
            for some in _pieces(at, x):
                y = out[some]
                rows = self.scratch((len(y), y.shape[1], *x.shape[2:]), x.dtype, "pooled rows")
                down(x[some], rows)
                across(rows, y)
                if shares is not None:
                    np.multiply(y, shares, out=y)

        self._share(len(x), x.size, part)

    def max_pooling_gradient(
        self, x: Array, y: Array, dy: Array, geometry: Geometry, dx: Array, accumulate: bool = False
    ) -> None:
        # Across, then down: the first in a row, and the first such row, as PyTorch has it.
        across = _along(np.maximum, -np.inf, geometry, 1)
        back_down, back_across = _chosen(geometry, 0), _chosen(geometry, 1)

        def part(at: slice) -> None:
            for some in _pieces(at, x):
                shape = (*x[some].shape[:2], *y.shape[2:])
                largest = self.scratch(shape, x.dtype, "largest of columns")
                d_largest = self.scratch(shape, x.dtype, "gradient of columns")
                across(x[some], largest)
                back_down(self, largest, y[some], dy[some], d_largest)
                target = self._target(dx[some], accumulate)
                back_across(self, x[some], largest, d_largest, target)
                if accumulate:
                    np.add(dx[some], target, out=dx[some])

        self._share(len(x), x.size, part)

    def average_pooling_gradient(
        self, dy: Array, geometry: Geometry, dx: Array, accumulate: bool = False
    ) -> None:
        shares = self._shares(geometry, dy.dtype)
        back_across, back_down = _spread(geometry, 1), _spread(geometry, 0)

        def part(at: slice) -> None:
            for some in _pieces(at, dx):
                share = self.scratch(dy[some].shape, dy.dtype, "shares")
                rows = self.scratch((*share.shape[:2], *dx.shape[2:]), dy.dtype, "gradient of rows")
                np.multiply(dy[some], shares, out=share)
                back_across(share, rows)
                target = self._target(dx[some], accumulate)
                back_down(rows, target)
                if accumulate:
                    np.add(dx[some], target, out=dx[some])

        self._share(len(dx), dx.size, part)

    def _shares(self, geometry: Geometry, dtype: Any) -> Array:
        """1 / the number of pixels in each window, (height, width, 1)."""
        counts = np.outer(geometry.counts(0), geometry.counts(1))[..., None]
        return self.scratch(
            counts.shape, dtype, f"shares of {geometry}", lambda array: np.divide(1, counts, array)
        )

    def _target(self, dx: Array, accumulate: bool) -> Array:
        return self.scratch(dx.shape, dx.dtype, "pooling term") if accumulate else dx

    # -- layout

    def crop_or_pad(
        self, x: Array, offset: tuple[int, int], out: Array, accumulate: bool = False
    ) -> None:
        inside, source = _overlap(x.shape[1:3], offset, out.shape[1:3])
        pixels, target = x[(slice(None), *source)], out[(slice(None), *inside)]
        if accumulate:
            self._do(np.add, target, pixels, out=target)
            return
        if target.size < out.size:
            self._do(out.fill, 0)
        self._do(np.copyto, target, pixels)

    def swap_axes(self, x: Array, out: Array, accumulate: bool = False) -> None:
        turned = x.swapaxes(1, 2)
        if accumulate:
            self._do(np.add, out, turned, out=out)
        else:
            self._do(np.copyto, out, turned)

    def _share(self, n: int, elements: int, part: Callable[[slice], None]) -> None:
        """Do ``part`` of 0 to ``n``, by all threads if it goes over so many elements."""
        if elements >= SIZE_WORTH_THREADS and n > 1:
            self._do(self._workers.share, n, part)
        else:
            self._do(part, slice(0, n))


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _pieces(at: slice, x: Array, matrix: Array | None = None) -> Iterator[slice]:
    """Some samples at a time: what they read and write stays in the cache.

    That is x, or the patches that a matrix multiplies to rows of x.
    """
    size = x[:1].nbytes if matrix is None else x[:1].nbytes * len(matrix) // matrix.shape[1]
    some = max(1, PIECE_BYTES // max(1, size))
    for start in range(at.start, at.stop, some):
        yield slice(start, min(start + some, at.stop))


def _overlap(
    image: tuple[int, ...], offset: tuple[int, int], out: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where in ``out`` there is a pixel, which is the image's at the same place + offset."""
    inside = tuple(
        slice(max(0, -k), max(0, -k, min(m, n - k)))
        for n, k, m in zip(image, offset, out, strict=True)
    )
    source = tuple(slice(s.start + k, s.stop + k) for s, k in zip(inside, offset, strict=True))
    return inside, source


# One axis of a pooling at a time: a window takes the rows' results, and a row its cells'.


def _cells(geometry: Geometry, axis: int) -> list[tuple[tuple, tuple]]:
    """For each cell along an axis, its windows and pixels, as indices of images."""
    before = (slice(None),) * (1 + axis)
    return [((*before, windows), (*before, pixels)) for windows, pixels in geometry.along(axis)]


def _along(
    function: Function, start: float, geometry: Geometry, axis: int
) -> Callable[[Array, Array], None]:
    """f(x, out): out = function of the cells of each window along an axis."""
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
    """Whether no pixel lies in two windows."""
    return geometry.strides[axis] >= geometry.window[axis]


def _spread(geometry: Geometry, axis: int) -> Callable[[Array, Array], None]:
    """f(dy, dx): each pixel gets what its windows along an axis have."""
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
    """f(backend, x, y, dy, dx): the first cell of each window along an axis that is its
    largest, y, gets dy."""
    cells, apart = _cells(geometry, axis), _apart(geometry, axis)
    covers, whole = apart and _covers(geometry, axis), slice(0, geometry.windows[axis])
    *others, (windows, pixels) = cells
    last: tuple | None = pixels
    if windows[-1] != whole:  # it is not there in each window
        others, last = cells, None

    def choose(backend: Any, x: Array, y: Array, dy: Array, dx: Array) -> None:
        if not covers:
            dx.fill(0)
        left = backend.scratch(dy.shape, dy.dtype, "left")  # what no cell before has got
        if last is not None and apart:
            left = dx[last]
        np.copyto(left, dy)
        for windows, cell in others:
            target = dx[cell]
            term = target if apart else backend.scratch(target.shape, dx.dtype, "chosen term")
            hit = backend.scratch(target.shape, bool, "chosen")
            np.equal(x[cell], y[windows], out=hit)
            np.multiply(left[windows], hit, out=term)
            np.subtract(left[windows], term, out=left[windows])
            if not apart:
                np.add(target, term, out=target)
        if last is not None and not apart:
            np.add(dx[last], left, out=dx[last])

    return choose
