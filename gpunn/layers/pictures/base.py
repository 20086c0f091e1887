"""Base classes of layers that change pictures, and checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from gpunn.common.arguments import check_number
from gpunn.common.fields import field
from gpunn.common.random import check_seed
from gpunn.layers.arguments import check_data_format
from gpunn.layers.layer import Layer
from gpunn.layers.noise import _RandomLayer
from gpunn.layers.wrapping import InputSpec
from gpunn.ops.random import even
from gpunn.ops.tensor import Tensor, ops


def check_range(least: float, most: float) -> Callable[[str, Any], Any]:
    """Return a check for a range: one number, or a pair of them with the lower one first.

    >>> check_range(-1, 1)("factor", 0.25), check_range(0, 1)("factor", [0.5, 0.1])
    (0.25, (0.1, 0.5))
    """

    def check(name: str, value: Any) -> Any:
        several = isinstance(value, (tuple, list))
        ends = [check_number(name, end) for end in (value if several else [value])]
        fit = all(least <= end <= most and math.isfinite(end) for end in ends)
        if len(ends) != 1 + several or not fit:
            raise ValueError(
                f"{name} must be a number, or two of them as a range, from {least} to {most}; got "
                f"{name}={value!r}."
            )
        return (min(ends), max(ends)) if several else ends[0]

    return check


class Pictures(Layer):
    """Base class of layers that change pictures; a subclass defines `_changed`."""

    _abstract = True
    _refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("get_random_transformation", "transform_images", "transform_labels",
         "transform_single_image", "transform_single_label"),
        "write call(x, training), with super().call(x, training) for what the layer does",
    )  # fmt: skip

    data_format: Any = field(default=None, check=check_data_format, kw_only=True, placed=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.input_spec = InputSpec(ndim=4)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        change = self._changed if training else self._otherwise
        if self.data_format == "channels_last":
            return change(x)
        return ops.moveaxis(change(ops.moveaxis(x, 1, -1)), -1, 1)

    def _changed(self, x: Tensor) -> Tensor:
        """Return pictures (batch, height, width, channels) as they are in training."""
        raise TypeError(f"{type(self).__name__} must define _changed(x).")

    def _otherwise(self, x: Tensor) -> Tensor:
        """Return them as they are outside of training."""
        return self._changed(x)

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        """Run the layer by itself on pictures, or on one picture of three axes."""
        if len(args) == 1 and isinstance(args[0], (list, tuple)):  # of pictures
            if len({np.shape(picture) for picture in args[0]}) > 1:
                raise ValueError(
                    f"{self.name}: pictures of one size are expected; got the shapes "
                    f"{', '.join(str(np.shape(picture)) for picture in args[0])}. Call it on each."
                )
            args = (np.asarray(args[0]),)
        if len(args) == 1 and np.ndim(args[0]) == 3:
            return super()._run(np.asarray(args[0])[None], training=training, **kwargs)[0]
        return super()._run(*args, training=training, **kwargs)


class RandomPictures(Pictures, _RandomLayer):
    """Base class of layers that change each picture at random in training, and not otherwise."""

    _abstract = True

    seed: int | None = field(default=None, check=check_seed, kw_only=True, placed=True)
    data_format: Any = field(default=None, kw_only=True, placed=True)

    def call(self, x: Tensor, training: bool | None = True) -> Tensor:
        return super().call(x, training)

    def _otherwise(self, x: Tensor) -> Tensor:
        return x

    def _drawn(self, x: Tensor, *ranges: Any) -> list[Tensor]:
        """Draw a number (batch, 1) for each picture from each range: a pair, or f for (-f, f)."""
        ends = [given if isinstance(given, tuple) else (-given, given) for given in ranges]
        shares = even((len(x), len(ends)), x.dtype, self.seed)
        columns = [shares[:, k : k + 1] for k in range(len(ends))] if len(ends) > 1 else [shares]
        return [share * (b - a) + a for share, (a, b) in zip(columns, ends, strict=True)]

    def _chosen(self, x: Tensor, chance: Any) -> Tensor:
        """Draw whether each picture is changed, (batch, 1), with a probability from this range."""
        share, limit = self._drawn(x, (0.0, 1.0), from_zero(chance))
        return share < limit


def from_zero(given: Any) -> tuple[float, float]:
    """Return a range: a pair, or from 0 to one number."""
    return given if isinstance(given, tuple) else (0.0, given)
