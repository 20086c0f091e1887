"""The compiled operations on images, (samples, height, width, channels)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.numpy.convolution import PARTS, PARTS_BYTES, rows_of
from gpunn.backends.shared.geometry import Geometry
from gpunn.common.importing.light_dataclass import dataclass

from .operations import Arguments, CompiledOperations, compiled, name_of

GROUP = 128  # windows: fewer do not keep the registers busy
PIECES = 4  # at least, however large their sums are
FLOPS = 20_000_000  # worth more than one piece
DEPTHWISE = 8  # times the time of another flop: more memory is read for each
WIDTH = 32  # columns of the widest panel
LINEAR = "Linear"  # used if the operation does not apply the activation itself


@dataclass(frozen=True)
class Layout:
    """The traversal of images by a convolution: numbers and tables for the compiled loops.

    Attributes:
        numbers: the geometry, the size of padded images, samples, channels, filters, samples
            in a group, pieces, groups of channels.
        at: the offset of each window of a group of images.
        cells: the offset of each element of a patch from there.
        padded: (pieces, samples of a group, height, width, channels) if windows extend over
            the edges of images, which are then copied into such an array.
    """

    numbers: Array
    at: Array
    cells: Array
    padded: tuple[int, ...] | None


class CompiledConvolution(CompiledOperations):
    """Convolution, pooling, and the layout of images in memory."""

    def _geometry(self, geometry: Geometry, *more: int) -> Array:
        g = geometry
        numbers = *g.image, *g.windows, *g.window, *g.strides, *g.padding, *g.dilation, *more
        return self._constant("geometry", np.array(numbers, np.int64))

    def _places(self, counts: tuple[int, ...], steps: tuple[int, ...]) -> Array:
        """Return the offsets, flat, of the elements of an array (counts) with these strides."""

        def fill(array: Array) -> None:
            places = array.reshape(counts)
            places.fill(0)
            for axis, (count, step) in enumerate(zip(counts, steps, strict=True)):
                along = (np.arange(count) * step).reshape(-1, *(1,) * (len(counts) - axis - 1))
                np.add(places, along, out=places)

        return self.scratch((math.prod(counts),), np.int64, f"places {counts} {steps}", fill)

    # -- convolution

    def _convolution(self, call: OpCall) -> None:
        x, kernel, bias, activation = call.x, call.kernel, call.bias, call.activation
        geometry, z, out, dtype = call.geometry, call.z, call.out, name_of(call.dtype)
        operation = self._compiled("convolution", dtype, activation.functor)
        parameters, start, result = self._parameters(activation), bias, out
        if operation is None:
            operation = self._compiled("convolution", dtype, LINEAR)
            start, result = None, z
        layout = self._layout(x, kernel, geometry)
        groups = call.channels // call.group_channels
        panels = self._panels(groups, len(layout.cells), call.filters // groups, x.dtype)
        self._do(
            operation, x, kernel, start, parameters, layout.numbers, layout.at, layout.cells,
            self._padded(layout, x, geometry), panels, z, result,
        )
        if start is not bias or result is not out:
            self.bias_activation(rows_of(z), bias, activation, rows_of(out))

    def _convolution_gradient(self, call: OpCall) -> None:
        x, kernel, activation, geometry = call.x, call.kernel, call.activation, call.geometry
        dy, dkernel, dx = call.dy, call.dkernel, call.dx
        saved = dy if call.saved is None else call.saved  # which a linear activation does not read
        operation = self._compiled(
            "convolution_gradient", name_of(call.dtype), activation.functor
        )
        if operation is None:
            self.activation_gradient(activation, rows_of(saved), rows_of(dy), rows_of(dy))
            operation = self._compiled("convolution_gradient", name_of(call.dtype), LINEAR)
        layout = self._layout(x, kernel, geometry)
        (pieces, groups), filters, dtype = layout.numbers[-2:], call.filters, call.dtype
        padded = pixels = transposed = sums = None
        if dkernel is not None:
            padded = self._padded(layout, x, geometry)
            sums = self.scratch((pieces, *kernel.shape), dtype, "kernel sums")
        if dx is not None:
            joined = geometry.dilation[1] == 1 and groups == 1
            run = call.group_channels * (geometry.window[1] if joined else 1)
            runs = groups * len(layout.cells) // run
            transposed = self._panels(runs, filters // groups, run, dtype)
            if layout.padded is not None:
                pixels = self.scratch(layout.padded, dtype, "pixels")
        bias_sums = self.scratch((pieces, filters), dtype, "bias sums")
        self._do(
            operation, x, kernel, self._parameters(activation), layout.numbers, layout.at,
            layout.cells, padded, pixels, transposed, sums, bias_sums, saved, dy, dkernel,
            call.dbias, dx, call.accumulate_gradients, call.accumulate_dx,
        )

    def _layout(self, x: Array, kernel: Array, geometry: Geometry) -> Layout:
        g, n, channels, filters = geometry, len(x), x.shape[-1], kernel.shape[-1]
        height, width = (
            max(extent, before + size)
            for extent, before, size in zip(g.extent, g.padding, g.image, strict=True)
        )
        windows, deep = g.windows[0] * g.windows[1], kernel.shape[2]
        groups = channels // deep
        # The kernels of pages, which are to stay small, have no loops of one filter a channel.
        has_loops = self.instructions != "wasm"
        depthwise = has_loops and groups > 1 and groups == channels == filters
        group = 1 if depthwise else max(1, min(n, -(-GROUP // windows)))
        pieces = 1
        if 2 * n * windows * kernel.size * (DEPTHWISE if depthwise else 1) > FLOPS:
            most = min(PARTS, max(PIECES, PARTS_BYTES // kernel.nbytes))
            pieces = max(1, min(most, -(-n // group)))
        line = width * channels
        inside = (height, width) == g.image or depthwise
        return Layout(
            self._geometry(g, height, width, n, channels, filters, group, pieces, groups),
            self._places(
                (group, *g.windows), (height * line, g.strides[0] * line, g.strides[1] * channels)
            ),
            self._places(
                (*g.window, deep), (g.dilation[0] * line, g.dilation[1] * channels, 1)
            ),
            None if inside else (pieces, group, height, width, channels),
        )

    def _padded(self, layout: Layout, x: Array, geometry: Geometry) -> Array | None:
        if layout.padded is None:
            return None
        return self.scratch(
            layout.padded, x.dtype, f"padded by {geometry.padding} for {geometry.image}",
            lambda array: array.fill(0),
        )

    def _panels(self, runs: int, rows: int, columns: int, dtype: Any) -> Array:
        """Return a work array for matrices (rows, columns) packed for products, in panels of
        columns."""
        shape = runs, rows, -(-columns // WIDTH) * WIDTH
        return self.scratch(shape, dtype, "panels", lambda array: array.fill(0))

    # -- pooling

    @compiled()
    def _max_pooling(self, call: OpCall) -> Arguments:
        sizes = call.samples, call.channels
        return call.x, self._geometry(call.geometry), None, *sizes, call.out

    @compiled()
    def _max_pooling_gradient(self, call: OpCall) -> Arguments:
        sizes = call.samples, call.channels
        arrays = call.x, self._geometry(call.geometry), call.y, call.dy
        return *arrays, *sizes, call.accumulate_dx, call.dx

    @compiled()
    def _average_pooling(self, call: OpCall) -> Arguments:
        geometry, sizes = call.geometry, (call.samples, call.channels)
        reciprocals = self._reciprocals(geometry, call.dtype)
        return call.x, self._geometry(geometry), reciprocals, *sizes, call.out

    @compiled()
    def _average_pooling_gradient(self, call: OpCall) -> Arguments:
        geometry, sizes = call.geometry, (call.samples, call.channels)
        reciprocals = self._reciprocals(geometry, call.dtype)
        return call.dy, self._geometry(geometry), reciprocals, *sizes, call.accumulate_dx, call.dx

    # -- layout

    @compiled()
    def _crop_or_pad(self, call: OpCall) -> Arguments:
        x, out = call.x, call.out
        return x, *x.shape, *call.offset, *out.shape[1:3], call.accumulate, out

    @compiled()
    def _swap_axes(self, call: OpCall) -> Arguments:
        return call.x, *call.x.shape, call.accumulate, call.out
