"""The contract on a card for images: patches and products, pooling, padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn.backends.contract import Given
from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry

from .launch.base import CupyBase
from .launch.parts import type_name

PATCH_BYTES = 1 << 26  # of some samples at a time
SMALL = 1 << 12  # elements of a sample


class CupyImages(CupyBase):
    """The operations on images, (samples, height, width, channels)."""

    # -- convolution

    def _convolution(self, given: Given) -> None:
        x, geometry, z, out = given.x, given.geometry, given.z, given.out
        if not x.size:
            return
        matrix = _rows(given.kernel)  # (cells channels, filters)
        rows = _rows(z)  # (windows, filters)
        for some in self._some_samples(x, geometry):
            patches = self._patches(x[some], geometry)
            self._product(patches, matrix, _rows(z[some]), precision=given.precision)
        same = self.overlap(z, out) == "same"
        self.bias_activation(rows, given.bias, given.activation, rows if same else _rows(out))

    def _convolution_gradient(self, given: Given) -> None:
        x, dy, dx, dkernel, geometry = given.x, given.dy, given.dx, given.dkernel, given.geometry
        precision, accumulate = given.precision, given.accumulate_dx
        if not x.size:
            return
        dz, matrix = _rows(dy), _rows(given.kernel)
        self.activation_gradient(given.activation, _rows(given.saved), dz, dz)
        if dkernel is not None:
            for number, some in enumerate(self._some_samples(x, geometry)):
                self._product(
                    self._patches(x[some], geometry), _rows(dy[some]), _rows(dkernel),
                    transpose_a=True, accumulate=given.accumulate_gradients or number > 0,
                    precision=precision,
                )  # fmt: skip
        if given.dbias is not None:
            self.column_sums(dz, given.dbias, accumulate=given.accumulate_gradients)
        if dx is None:
            return
        if geometry.trivial:
            self._product(
                dz, matrix, _rows(dx),
                transpose_b=True, accumulate=accumulate, precision=precision,
            )  # fmt: skip
            return
        for some in self._some_samples(x, geometry):
            dpatches = self._patch_array(x[some], geometry)
            self._product(
                _rows(dy[some]), matrix, dpatches, transpose_b=True, precision=precision
            )
            self._image_part("patches_gradient", dx[some], dpatches, geometry, accumulate, dx[some])

    def _some_samples(self, x: Array, geometry: Geometry) -> Iterator[slice]:
        """As many samples at a time as there is room for the patches of."""
        n, sample = len(x), x[:1].nbytes // (geometry.image[0] * geometry.image[1])
        sample *= geometry.cells * geometry.windows[0] * geometry.windows[1]
        some = n if geometry.trivial else max(1, PATCH_BYTES // max(1, sample))
        for start in range(0, n, some):
            yield slice(start, min(start + some, n))

    def _patch_array(self, x: Array, geometry: Geometry) -> Array:
        windows = len(x) * geometry.windows[0] * geometry.windows[1]
        return self.scratch((windows, geometry.cells * x.shape[-1]), x.dtype, "patches")

    def _patches(self, x: Array, geometry: Geometry) -> Array:
        """What lies under each window, (samples windows, cells channels)."""
        if geometry.trivial:
            return _rows(x)
        patches = self._patch_array(x, geometry)
        self._image_part("patches", patches, x, geometry, patches)
        return patches

    def _image_part(
        self, name: str, work: Array, first: Array, geometry: Geometry, *others: Any
    ) -> None:
        """A part whose parameters begin with an array, the geometry, samples and channels; a
        thread takes an element of ``work``."""
        out = others[-1]
        image = out if out.ndim == 4 else first
        samples, channels = len(image), image.shape[-1]
        self._part(
            name, (type_name(out.dtype),), work.size,
            first, self._geometry(geometry), samples, channels, *others,
            rows=_cut(samples, work),
        )  # fmt: skip

    def _geometry(self, geometry: Geometry) -> Array:
        g = geometry
        numbers = (*g.image, *g.windows, *g.window, *g.strides, *g.padding, *g.dilation)
        return self._constant("geometry", np.array(numbers, np.int32))

    # -- pooling

    def _max_pooling(self, given: Given) -> None:
        self._image_part("max_pooling", given.out, given.x, given.geometry, given.out)

    def _max_pooling_gradient(self, given: Given) -> None:
        dx, arrays = given.dx, (given.y, given.dy)
        self._image_part(
            "max_pooling_gradient", dx, given.x, given.geometry, *arrays, given.accumulate_dx, dx
        )

    def _average_pooling(self, given: Given) -> None:
        self._image_part("average_pooling", given.out, given.x, given.geometry, given.out)

    def _average_pooling_gradient(self, given: Given) -> None:
        dx = given.dx
        self._image_part(
            "average_pooling_gradient", dx, given.dy, given.geometry, given.accumulate_dx, dx
        )

    # -- layout

    def _crop_or_pad(self, given: Given) -> None:
        x, out = given.x, given.out
        self._part(
            "crop_or_pad", (type_name(out.dtype),), out.size,
            x, *x.shape, *given.offset, *out.shape[1:3], given.accumulate, out,
            rows=_cut(given.samples, out),
        )  # fmt: skip

    def _swap_axes(self, given: Given) -> None:
        x, out = given.x, given.out
        self._part(
            "swap_axes", (type_name(out.dtype),), out.size, x, *x.shape, given.accumulate, out,
            rows=_cut(given.samples, out),
        )  # fmt: skip


def _cut(samples: int, work: Array) -> int:
    """Into how many pieces the work may be cut to share a launch with what comes before: a
    sample is a block's, and a large one would keep it busy while others are idle."""
    return samples if work.size <= samples * SMALL else 0


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])
