"""Shapes of inputs and outputs of layers, with and without the batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from itertools import product
from typing import Any, NamedTuple

from gpunn.common.snapshots import set_within

Shape = tuple[int | None, ...]
"""With the batch axis first; None for any length, as in Keras."""
LENGTHS = ((88, 104), (24, 40), (8, 12), (3, 5))
"""Pairs of lengths that stand in for unknown ones, to see which axes of a result follow them: long
enough for windows, with divisors, and seldom the length of another axis."""
DIVISIBLE = ((27720, 55440),)
"""Lengths that most others divide, for shapes alone: a reshape may divide an axis."""
_length: ContextVar[int] = ContextVar("length", default=0)  # that stands in now


class IntegerSample(tuple[Any, ...]):
    """The shape of one sample of integers or booleans. Floats have a plain tuple.

    >>> IntegerSample((2, 3), "int32") == (2, 3), dtype_of(IntegerSample((2,), "bool"))
    (True, 'bool')
    """

    dtype: str  # "int32" or "bool"

    def __new__(cls, shape: Sequence[int | None], dtype: str) -> IntegerSample:
        made = super().__new__(cls, shape)
        made.dtype = dtype
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return IntegerSample, (tuple(self), self.dtype)


def sample_of(shape: Sequence[int | None], dtype: str | None) -> tuple[Any, ...]:
    """Return the shape of one sample of this dtype; None and float dtypes mean the model's dtype.

    >>> sample_of([3], "float32"), type(sample_of([3], "bool")).__name__
    ((3,), 'IntegerSample')
    """
    return IntegerSample(shape, dtype) if dtype in ("int32", "bool") else tuple(shape)


def dtype_of(sample: Sequence[int]) -> str | None:
    """Return ``"int32"`` or ``"bool"`` for samples of these; None for the model's floats."""
    return sample.dtype if isinstance(sample, IntegerSample) else None


class Rows(NamedTuple):
    """Layout of several outputs of one sample in the output of a node, one after the other: floats
    in it, and integers beside it, or in it if there are only integers.

    Attributes:
        shape, dtype: of one sample of the node's output; a single output keeps its own.
        integers: how many integers are beside it.
        places: for each output, where it begins, and whether it is beside the node's output.
    """

    shape: tuple[int, ...]
    dtype: str | None
    integers: int
    places: list[tuple[int, bool]]

    @classmethod
    def of(cls, outputs: Sequence[tuple[int, ...]]) -> Rows:
        """
        >>> Rows.of([(2, 3), sample_of((4,), "int32"), (5,)])
        Rows(shape=(11,), dtype=None, integers=4, places=[(0, False), (0, True), (6, False)])
        """
        if len(outputs) == 1:
            return cls(tuple(outputs[0]), dtype_of(outputs[0]), 0, [(0, False)])
        floats = [shape for shape in outputs if dtype_of(shape) is None]
        ends, places = {False: 0, True: 0}, []
        for shape in outputs:
            beside = bool(floats) and dtype_of(shape) is not None
            places.append((ends[beside], beside))
            ends[beside] += 0 if None in shape else math.prod(shape)  # such a plan does not run
        return cls((ends[False],), None if floats else "int32", ends[True], places)


def is_shape(x: Any) -> bool:
    """Whether ``x`` is one shape, not a list, tuple or dictionary of several."""
    if not isinstance(x, (list, tuple)):
        return False
    for n in x:  # noqa: SIM110 (each layer asks many times)
        if isinstance(n, (list, tuple, dict)):
            return False
    return True


def each_shape(function: Callable[[Any], Any], shapes: Any) -> Any:
    """Apply a function to one shape, or to several in lists, tuples and dictionaries; other values
    are kept.

    >>> each_shape(len, [(2, 3), {"a": (4,)}])
    [2, {'a': 1}]
    """
    if isinstance(shapes, dict):
        return {key: each_shape(function, entry) for key, entry in shapes.items()}
    if is_shape(shapes):
        return function(shapes)
    if not isinstance(shapes, (list, tuple)):
        return shapes
    return type(shapes)([each_shape(function, entry) for entry in shapes])


def whole_shape(shape: Any) -> Any:
    """Return a shape of one sample, or several of them, as tuples of int."""
    return each_shape(lambda sample: tuple([n if n is None else int(n) for n in sample]), shape)


def with_batch_axis(shape: Any) -> Any:
    """Return the shapes with the batch axis, None, in front."""
    return each_shape(lambda sample: (None, *sample), shape)


def without_batch_axis(shape: Any) -> Any:
    """Return the shapes without the first axis, of one sample."""
    return each_shape(lambda whole: tuple([n if n is None else int(n) for n in whole[1:]]), shape)


def check_spec(layer: Any, samples: Sequence[Any], floats: str) -> None:
    """Raise an error if inputs with these shapes of one sample are not what a layer's
    ``input_spec`` expects; see `InputSpec`. ``floats``: the dtype of those that are floats."""
    given = layer.input_spec
    if given is None:
        return
    given = list(given.values()) if isinstance(given, dict) else given
    specs = given if isinstance(given, (list, tuple)) else [given]
    if len(specs) != len(samples):
        raise ValueError(f"{layer.name}: {len(specs)} inputs are expected; got {len(samples)}.")
    for k, (spec, sample) in enumerate(zip(specs, samples, strict=True)):
        shape = (None, *sample)
        wanted = spec and spec.expected(shape, dtype_of(sample) or floats)
        if wanted:
            which = "inputs" if len(specs) == 1 else f"as input {k}, tensors"
            raise ValueError(f"{layer.name}: {which} of {wanted} are expected; got shape {shape}.")


def check_shape(shape: Any, argument: str = "input_shape") -> tuple[Any, ...]:
    """Return a shape of one sample as a tuple of positive integers, or None for unknown axes."""
    try:
        given = shape if isinstance(shape, Sequence) else (int(shape),)
        result = tuple(n if n is None else int(n) for n in given)
        ok = all(n is None or (n > 0 and n == m) for n, m in zip(result, given, strict=False))
    except (TypeError, ValueError):
        ok = False
    if not ok:
        raise ValueError(
            f"{argument} must be the shape of one sample, positive integers (None for an axis of "
            f"any length); got {shape!r}."
        )
    return result


# -- axes of any length


def covers(known: Any, shape: Any) -> bool:
    """Whether a shape, or each of several, is the known one but for its unknown axes.

    >>> covers((None, 3), (7, 3)), covers((None, 3), (7, 4)), covers([(2,)], [(2,)])
    (True, False, True)
    """
    if not isinstance(known, (list, tuple)) or not isinstance(shape, (list, tuple)):
        return known is None or known == shape
    return len(known) == len(shape) and all(map(covers, known, shape))


def common(one: Any, other: Any) -> Any:
    """Return two shapes as one, or several: an axis that differs is unknown.

    >>> common([(2, 3), (4,)], [(2, 5), (4,)])
    [(2, None), (4,)]
    """
    if isinstance(one, dict):
        return {key: common(entry, other[key]) for key, entry in one.items()}
    if not is_shape(one):
        return type(one)(common(a, b) for a, b in zip(one, other, strict=True))
    axes = [n if n == m else None for n, m in zip(one, other, strict=True)]
    return sample_of(axes, dtype_of(one))


def unknown(shape: Any) -> Any:
    """Return a shape, or several, in which a length that stands in for an unknown one is None."""
    length = _length.get()
    return each_shape(lambda s: tuple([None if n == length else n for n in s]), shape)


def over_lengths(
    shapes: Any, found: Callable[[Any], Any], start: int = 0, lengths: Any = LENGTHS
) -> Any:
    """Return ``found(shapes)``, the shapes that follow from others. If axes of these are unknown
    (None, from the axis ``start`` on), it is called with two lengths for them: what differs is
    unknown. If that fails, an unknown axis has the length of another shape's, counted from the end.

    >>> over_lengths([(None, 3)], lambda shapes: [(*shapes[0], 2)])
    [(None, 3, 2)]
    >>> import numpy as np
    >>> over_lengths([(None, 3), (2, None)], lambda shapes: np.broadcast_shapes(*shapes))
    (2, 3)
    """

    def filled(length: int, known: Mapping[int, int]) -> Any:
        def whole(s: Any) -> Any:
            axes = [known.get(k - len(s), length) if n is None else n for k, n in enumerate(s)]
            return sample_of([*s[:start], *axes[start:]], dtype_of(s))

        return each_shape(whole, shapes)

    followed: list[bool] = []
    ends: dict[int, int] = {}  # lengths of known axes, which others may have to match

    def see(s: Any) -> None:
        followed.append(None in s[start:])
        ends.update({k - len(s): n for k, n in enumerate(s) if n not in (None, 1) and k >= start})

    each_shape(see, shapes)
    if not any(followed):
        return found(shapes)
    first: Exception | None = None
    several = len(followed) > 1
    tried = [*product(({}, ends) if several else ({},), lengths)]
    for known, pair in tried + several * [({}, (1, 1))]:  # at last, a known length may be 1
        made = []
        try:
            for length in pair:
                with set_within(_length, length):
                    made.append(found(filled(length, known)))
            return common(*made)
        except Exception as error:  # the length may be too short, or too long, for the layer
            first = first or error
    assert first is not None
    first.add_note(f"This was for an input of unknown length (None): {shapes}.")
    raise first
