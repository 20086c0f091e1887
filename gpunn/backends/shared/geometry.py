"""The positions of the windows of a convolution or a pooling on an image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpunn.common.importing.light_dataclass import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Windows on an image, each field a pair (height, width).

    Cell (r, s) of window (i, j) lies on the pixel (i, j) * strides - padding +
    (r, s) * dilation. Outside the image, it counts as 0 in a convolution and is
    ignored in a pooling.

    Attributes:
        window: the number of cells of each.
        strides: from one window to the next.
        padding: missing pixels before the first, at the top and on the left.
        dilation: from one cell of a window to the next.
    """

    image: Pair
    windows: Pair
    window: Pair
    strides: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def __post_init__(self) -> None:
        for name, pair in vars(self).items():
            least = 0 if name == "padding" else 1
            whole = len(pair) == 2 and all(hasattr(n, "__index__") for n in pair)
            if not whole or not all(least <= n < 2**31 for n in pair):
                raise ValueError(f"{name} must be two numbers of at least {least}; got {pair!r}.")

    @classmethod
    def fit(
        cls, image: Pair, window: Pair, strides: Pair, padding: str, dilation: Pair = (1, 1)
    ) -> Geometry:
        """Return the windows that lie completely on an image (``padding="valid"``), or one at
        every ``strides`` pixels (``"same"``). If the number of missing pixels is odd, the extra
        one is below or on the right, as in Keras. With ``"causal"``, as many, all pixels are
        missing before the first: no window reads a pixel after its own.

        Raises:
            ValueError: if no window fits on the image.

        >>> Geometry.fit((5, 5), (3, 3), (2, 2), "valid").windows
        (2, 2)
        >>> Geometry.fit((4, 5), (3, 2), (2, 1), "same")
        Geometry(image=(4, 5), windows=(2, 5), window=(3, 2), strides=(2, 1), padding=(0, 0), \
dilation=(1, 1))
        """
        spans = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
        if padding in ("same", "causal"):
            windows = [-(-n // step) for n, step in zip(image, strides, strict=True)]
        else:
            windows = [(n - k) // s + 1 for n, k, s in zip(image, spans, strides, strict=True)]
        if min(windows) < 1:
            raise ValueError(
                f"a window of {spans[0]} x {spans[1]} pixels is larger than the image of "
                f"{image[0]} x {image[1]}"
            )
        before = [0 if padding == "valid" else k - 1 for k in spans]
        if padding == "same":
            before = [
                max((m - 1) * step + k - n, 0) // 2
                for n, m, k, step in zip(image, windows, spans, strides, strict=True)
            ]
        return cls(image, _pair(windows), window, strides, _pair(before), dilation)

    @property
    def trivial(self) -> bool:
        """Whether each pixel is a window by itself."""
        return self.window == (1, 1) and self.strides == (1, 1) and self.padding == (0, 0)

    @property
    def cells(self) -> int:
        """The number of cells of a window."""
        return self.window[0] * self.window[1]

    @property
    def extent(self) -> Pair:
        """The size of the area that the windows cover, missing pixels included."""
        height, width = (
            (m - 1) * step + d * (k - 1) + 1
            for m, k, step, d in zip(
                self.windows, self.window, self.strides, self.dilation, strict=True
            )
        )
        return height, width

    @property
    def transposed(self) -> Geometry | None:
        """The windows of the gradient of a convolution as a convolution itself: one for each pixel,
        on the results of the windows, with the cells in reverse order. None with strides, where
        most of its cells would be empty.

        >>> Geometry.fit((5, 5), (3, 3), (1, 1), "valid").transposed
        Geometry(image=(3, 3), windows=(5, 5), window=(3, 3), strides=(1, 1), padding=(2, 2), \
dilation=(1, 1))
        """
        height, width = (
            d * (k - 1) - before
            for k, d, before in zip(self.window, self.dilation, self.padding, strict=True)
        )
        if self.strides != (1, 1) or min(height, width) < 0:
            return None
        padding, dilation = (height, width), self.dilation
        return Geometry(self.windows, self.image, self.window, (1, 1), padding, dilation)

    def along(self, axis: int) -> Iterator[tuple[slice, slice]]:
        """Yield for each cell of a window along an axis (0: height) the windows in which it lies
        on a pixel, and these pixels.

        >>> list(Geometry.fit((4, 4), (1, 2), (1, 2), "valid").along(1))
        [(slice(0, 2, None), slice(0, 3, 2)), (slice(0, 2, None), slice(1, 4, 2))]
        """
        step, pixels = self.strides[axis], self.image[axis]
        for cell in range(self.window[axis]):
            offset = cell * self.dilation[axis] - self.padding[axis]
            first = max(0, -(offset // step))
            stop = min(self.windows[axis], (pixels - 1 - offset) // step + 1)
            start = first * step + offset
            if stop > first:
                yield slice(first, stop), slice(start, start + (stop - first - 1) * step + 1, step)
            else:
                yield slice(0, 0), slice(0, 0)

    def counts(self, axis: int) -> list[int]:
        """Return for each window the number of its cells along an axis that lie on a pixel.

        >>> Geometry.fit((3, 3), (2, 2), (1, 1), "same").counts(0)
        [2, 2, 1]
        """
        counts = [0] * self.windows[axis]
        for windows, _ in self.along(axis):
            for i in range(windows.start, windows.stop):
                counts[i] += 1
        return counts


def planes(x: Any) -> Any:
    """Return images (samples, height, width, channels); images of one axis have the height 1."""
    return x if x.ndim == 4 else x.reshape(len(x), 1, *x.shape[1:])


def _pair(values: list[int]) -> Pair:
    return values[0], values[1]
