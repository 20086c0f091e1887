"""The layer that maps numbers to bins."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunn.common.arguments import check_positive, optional
from gpunn.common.config import floatx
from gpunn.common.fields import field
from gpunn.ops.dtypes import is_float
from gpunn.ops.tensor import ops

from .encoding import (
    OfCodes,
    alone,
    check_codes,
    encoded,
    mode_check,
    refuse_sparse,
    with_rows,
)
from .on_host import batches, numbers

__all__ = ["Discretization"]


ONE_LOOP = 64
"""Up to this many boundaries, a number is compared with each in turn."""


def _check_boundaries(name: str, value: Any) -> tuple[float, ...]:
    array = np.asarray(value)
    rising = array.ndim == 1 and array.dtype.kind in "biuf" and bool((np.diff(array) >= 0).all())
    if not rising or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers in increasing order; got {value!r}.")
    return tuple(array.astype(np.float64).tolist())


class Discretization(OfCodes):
    """Map numbers to bins: bin k holds the numbers from boundary k - 1 up to, but not including,
    boundary k.

    The boundaries are given, or `adapt` computes them as quantiles of data, so that all bins get
    about the same number of values. The layer is computed inside the step. NaN in data is refused.

    Shapes: x ``(batch, ...)`` -> bin numbers of the same shape; with the other output modes, rows
    of as many numbers as there are bins.

    Args:
        bin_boundaries: where bins end, in increasing order; there is one more bin than boundaries.
        num_bins: number of bins that `adapt` creates. Exactly one of the two must be given.
        epsilon: accuracy of the quantiles: data are summarized by about 1 / epsilon values.
        output_mode: ``"int"``: the index of the bin; ``"one_hot"``, ``"multi_hot"`` and
            ``"count"`` encode it as rows, as in `CategoryEncoding`.
        sparse: accepted as in Keras; must be False.

    Raises:
        ValueError: for both or none of bin_boundaries and num_bins, and for NaN in an array.

    >>> Discretization([0.0, 1.0])([[-1.5, 0.0, 0.5, 3.4]]).tolist()
    [[0, 1, 1, 2]]
    >>> layer = Discretization(num_bins=4)
    >>> layer.adapt(range(1, 9))
    >>> layer.bin_boundaries
    [2.0, 4.0, 6.0]
    """

    examples = (
        {"bin_boundaries": [-0.5, 0.25, 1.0]},
        {"bin_boundaries": [0.1], "output_mode": "count"},
    )


    bin_boundaries: Any = field(
        default=None, check=optional(_check_boundaries), attribute="_boundaries",
        managed=property(lambda layer: layer._boundaries and list(layer._boundaries)),
    )
    num_bins: int | None = field(default=None, check=optional(partial(check_codes, least=2)))
    epsilon: float = field(default=0.01, check=check_positive)
    output_mode: str = field(
        default="int", check=mode_check("int", "one_hot", "multi_hot", "count")
    )
    sparse: bool = field(default=False, check=refuse_sparse)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._boundaries: tuple[float, ...] | None
        if (self._boundaries is None) == (self.num_bins is None):
            raise ValueError(
                f"{self.name} needs either bin_boundaries or num_bins; got "
                f"{'neither' if self.num_bins is None else 'both'}."
            )

    @property
    def _is_given(self) -> bool:
        return self.num_bins is None

    @property
    def depth(self) -> int:
        """Number of bins."""
        return len(self._known()) + 1

    def _known(self) -> tuple[float, ...]:
        if self._boundaries is None:
            raise ValueError(
                f"{self.name} has no boundaries yet: call {self.name}.adapt(data) first, or pass "
                f"bin_boundaries."
            )
        return self._boundaries

    def call(self, x: Any) -> Any:
        x = x if is_float(x.dtype) else ops.cast(x, floatx())
        bounds = np.asarray(self._known(), x.dtype)
        if len(bounds) > ONE_LOOP:
            codes: Any = ops.digitize(x, bounds)
        else:  # comparisons with constants are fused into one loop
            codes = ops.full_like(x, len(bounds))
            for bound in bounds:
                codes = codes - ops.cast(ops.less(x, bound), x.dtype)  # NaN is in the last bin
        if self.output_mode == "int":
            return ops.cast(codes, "int32")
        return self._as_asked(encoded(ops.cast(codes, x.dtype), self.output_mode, self.depth))

    def _run(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        x = with_rows(self, np.asarray(args[0] if args else kwargs["x"]))
        if x.dtype.kind == "f" and (gaps := np.isnan(x)).any():  # a model refuses it in its data
            raise ValueError(
                f"{self.name}: x holds nan at {np.argwhere(gaps)[0].tolist()}, which belongs to no "
                f"bin. Fill in the value, for example with Imputation, or remove its row."
            )
        single = alone(self, x)
        y = super()._run(x[None] if single else x, training=training)
        return y[0] if single else y

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Compute boundaries that divide the data into bins of about equal counts.

        Args:
            data: numbers of any shape: an array, a list, a column of a frame, or batches of them.
            steps: how many batches are read; all by default.

        Raises:
            TypeError, ValueError: for data other than finite numbers, if bin_boundaries were
                given, and if the number of bins would change in a model.

        >>> layer = Discretization(num_bins=2)
        >>> layer.adapt([1.0, 2.0, 3.0, 4.0])
        >>> layer.bin_boundaries
        [2.0]
        """
        if self.num_bins is None:
            raise ValueError(f"{self.name}.adapt: bin_boundaries were given; give num_bins.")
        summary = np.zeros((2, 0))
        for batch in batches(data, steps):
            values = _summary(numbers(batch, self.name).reshape(-1), self.epsilon)
            summary = _compressed(_merged(values, summary), self.epsilon)
        if not summary.shape[1]:
            raise ValueError(f"{self.name}.adapt: the data yield no batches.")
        found = tuple(_compressed(summary, 1.0 / self.num_bins)[0, :-1].tolist())
        if self.output_mode != "int" and self.input_shape and len(found) + 1 != self.depth:
            raise ValueError(
                f"{self.name}.adapt: the data give {len(found) + 1} bins, but the layer is part of "
                f"a model that was built for {self.depth}. Rebuild the model."
            )
        self._boundaries = found

    def data_held(self) -> dict[str, str]:
        """Describe what the layer stores of the data's values, and so what a saved model tells
        about them.

        >>> Discretization([0.0, 1.0]).data_held()
        {'boundaries': '2, from 0 to 1'}
        """
        if not self._boundaries:
            return {}
        low, high = self._boundaries[0], self._boundaries[-1]
        return {"boundaries": f"{len(self._boundaries)}, from {low:g} to {high:g}"}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config = dict(config)
        found = config.pop("bin_boundaries", None)
        if config.get("num_bins") is None or found is None:
            return cls(bin_boundaries=found, **config)
        layer = cls(**config)
        layer._boundaries = _check_boundaries("bin_boundaries", found)
        return layer


# A summary is a table of two rows: some of the values in order, and how many values each of them
# represents. The three functions give the same numbers as Keras's.


def _summary(values: np.ndarray, epsilon: float) -> np.ndarray:
    """Return about 1 / epsilon of the values, at equal distances in their order."""
    step = max(values.size * epsilon, 1)
    kept = np.sort(values)[int(step - 1) :: int(step)]
    return np.stack([kept, np.full(kept.size, float(step))])


def _merged(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = np.concatenate([a, b], axis=1)
    return both[:, np.argsort(both[0])]


def _compressed(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """Interpolate a summary to 1 / epsilon values; a shorter one is returned unchanged."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    counts = summary[1].cumsum()
    of_whole = counts / counts[-1]
    values = np.interp(shares, of_whole, summary[0])
    return np.stack([values, np.diff(np.interp(shares, of_whole, counts), prepend=0.0)])
