"""Images on a GPU: patches and products, pooling, padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Array
from gpunn.backends.shared.geometry import Geometry

from .launch.fuse import MOST_IN_SLICE
from .launch.task_backend import TaskBackend

PATCH_BYTES = 1 << 26  # of some samples at a time


class CupyImages(TaskBackend):
    """The operations on images, (samples, height, width, channels)."""

    # -- convolution

    def _convolution(self, call: OpCall) -> None:
        x, geometry, z, out = call.x, call.geometry, call.z, call.out
        if not x.size:
            return
        matrix = _rows(call.kernel)  # (cells channels, filters)
        rows = _rows(z)  # (windows, filters)
        for chunk in self._sample_chunks(x, geometry):
            patches = self._patches(call, x[chunk])
            self._product(patches, matrix, _rows(z[chunk]), precision=call.precision)
        same = self.overlap(z, out) == "same"
        self.bias_activation(rows, call.bias, call.activation, rows if same else _rows(out))

    def _convolution_gradient(self, call: OpCall) -> None:
        x, dy, dx, dkernel, geometry = call.x, call.dy, call.dx, call.dkernel, call.geometry
        precision, accumulate = call.precision, call.accumulate_dx
        if not x.size:
            return
        dz, matrix = _rows(dy), _rows(call.kernel)
        self.activation_gradient(call.activation, _rows(call.saved), dz, dz)
        if dkernel is not None:
            for number, chunk in enumerate(self._sample_chunks(x, geometry)):
                self._product(
                    self._patches(call, x[chunk]), _rows(dy[chunk]), _rows(dkernel),
                    transpose_a=True, accumulate=call.accumulate_gradients or number > 0,
                    precision=precision,
                )  # fmt: skip
        if call.dbias is not None:
            self.column_sums(dz, call.dbias, accumulate=call.accumulate_gradients)
        if dx is None:
            return
        if geometry.trivial:
            self._product(
                dz, matrix, _rows(dx),
                transpose_b=True, accumulate=accumulate, precision=precision,
            )  # fmt: skip
            return
        for chunk in self._sample_chunks(x, geometry):
            dpatches = self._patch_array(x[chunk], geometry)
            self._product(_rows(dy[chunk]), matrix, dpatches, transpose_b=True, precision=precision)
            out = dx[chunk]
            self._image_part(
                "patches_gradient", call, out, out, dpatches=dpatches, accumulate=accumulate,
                out=out,
            )  # fmt: skip

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
        )  # fmt: skip

    def _geometry(self, geometry: Geometry) -> Array:
        g = geometry
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
        )  # fmt: skip

    def _swap_axes(self, call: OpCall) -> None:
        out = call.out
        self._part("swap_axes", call, out.size, **_cut(call.samples, out))


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
