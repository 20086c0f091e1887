"""Image operations as ONNX operators: channels are last in gpunn and first in ONNX.

Images of one axis get the height 1, as in gpunn's kernels.
"""

from __future__ import annotations

from typing import Any

from gpunn.ops.tensor import Tensor


class ImageOperators:
    """A part of `OnnxGraph`."""

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """See `OnnxGraph`."""
        raise NotImplementedError

    def integers(self, values: Any) -> str:
        """See `OnnxGraph`."""
        raise NotImplementedError

    def _first(self, x: str, ndim: int = 4) -> str:
        x = x if ndim == 4 else self.add("Unsqueeze", x, self.integers([1]))
        return self.add("Transpose", x, perm=[0, 3, 1, 2])

    def _last(self, x: str, ndim: int = 4) -> str:
        x = self.add("Transpose", x, perm=[0, 2, 3, 1])
        return x if ndim == 4 else self.add("Squeeze", x, self.integers([1]))

    @staticmethod
    def _lacking(geometry: Any) -> list[int]:
        """Return the pixels missing after the last one; negative if no window reads some."""
        spans = [d * (k - 1) + 1 for k, d in zip(geometry.window, geometry.dilation, strict=True)]
        return [
            (m - 1) * step + span - n - before
            for n, m, span, step, before in zip(
                geometry.image, geometry.windows, spans, geometry.strides, geometry.padding,
                strict=True,
            )
        ]

    def _windows(self, geometry: Any) -> dict[str, Any]:
        behind = [max(n, 0) for n in self._lacking(geometry)]
        return {
            "kernel_shape": list(geometry.window),
            "strides": list(geometry.strides),
            "pads": [*geometry.padding, *behind],
        }

    def _conv(self, t: Tensor, x: str, kernel: str) -> str:
        geometry = t.attributes["geometry"]
        kernel = self.add("Transpose", kernel, perm=[3, 2, 0, 1])
        sizes = {**self._windows(geometry), "dilations": list(geometry.dilation)}
        images, cells = (part.shape for part in t.inputs)
        groups, ndim = images[-1] // cells[2], len(images)
        y = self.add("Conv", self._first(x, ndim), kernel, group=groups, **sizes)
        return self._last(y, ndim)

    def _convs_gradient_by_the_image(self, t: Tensor, dy: str, kernel: str) -> str:
        geometry = t.attributes["geometry"]
        kernel = self.add("Transpose", kernel, perm=[3, 2, 0, 1])
        more = [max(-n, 0) for n in self._lacking(geometry)]
        sizes = {**self._windows(geometry), "dilations": list(geometry.dilation)}
        first = self._first(dy, t.ndim)
        made = self.add("ConvTranspose", first, kernel, output_padding=more, **sizes)
        return self._last(made, t.ndim)

    def _pooled(self, operator: str, t: Tensor, x: str, **options: Any) -> str:
        sizes = self._windows(t.attributes["geometry"])
        return self._last(self.add(operator, self._first(x), **sizes, **options))

    def _max_pool(self, t: Tensor, x: str) -> str:
        return self._pooled("MaxPool", t, x)

    def _average_pool(self, t: Tensor, x: str) -> str:
        return self._pooled("AveragePool", t, x, count_include_pad=0)
