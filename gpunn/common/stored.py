"""Checks of values that were read from a file.

Each value is declared once, with its type and range. `check` compares the values with their
declaration before they are used. So an object that saves its state (a callback, the training of a
model) declares it and needs no further checks.

>>> check({"wait": Integer(), "best": Number(or_none=True)}, {"wait": 2, "best": None}, "state")
{'wait': 2, 'best': None}
>>> check({"wait": Integer()}, {"wait": -1}, "state")
Traceback (most recent call last):
    ...
ValueError: the entry 'state/wait' is -1: an integer of at least 0 expected.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .importing.lazy import offer

__all__ = [
    "Anything", "Arrays", "ByName", "FieldSchema", "Integer", "Number", "Several", "Text", "check",
    "check_array",
]
offer(__name__)

MOST = 2**62  # largest stored count, which leaves room to continue counting in 64 bits
OWN_STEPS = "own/"  # before the entries of a training state for steps that a model defines itself
OWN_DRAWS = "draws"  # the entry for the random numbers of such steps


class FieldSchema(ABC):
    """Base class of value schemas; a subclass defines the expected values.

    Args:
        or_none: whether None is also as expected.

    >>> class Even(FieldSchema):
    ...     expected = "an even number"
    ...     def fits(self, value):
    ...         return type(value) is int and value % 2 == 0
    >>> Even().check(4, "state/count")
    4
    """

    def __init__(self, *, or_none: bool = False) -> None:
        self.or_none = or_none

    def check(self, value: Any, entry: str) -> Any:
        """Return ``value`` after checking it; ``entry`` is its path in the file.

        Raises:
            ValueError: if the value is not as expected.
        """
        if value is None and self.or_none:
            return None
        return self._check(value, entry)

    def _check(self, value: Any, entry: str) -> Any:
        if not self.fits(value):
            raise ValueError(
                f"the entry {entry!r} is {_short(value)}: {self.expected} expected"
                f"{', or null' if self.or_none else ''}."
            )
        return value

    @property
    @abstractmethod
    def expected(self) -> str:
        """Description of expected values in messages, such as "an integer of at least 0"."""

    @abstractmethod
    def fits(self, value: Any) -> bool:
        """Return whether a value other than None is as expected."""


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Integer(FieldSchema):
    """Schema of an integer, by default a count from 0 to 2^62.

    Args:
        least, most: the smallest and the largest value that is allowed.
        or_none: whether None is allowed too.

    >>> Integer(1).expected, Integer(1).fits(0), Integer(1).fits(2)
    ('an integer of at least 1', False, True)
    """

    def __init__(self, least: int = 0, most: int = MOST, *, or_none: bool = False) -> None:
        super().__init__(or_none=or_none)
        self.least, self.most = least, most

    @property
    def expected(self) -> str:
        upwards = self.most in (MOST, 2**64 - 1)
        most = "" if upwards else f" and at most {self.most:,}"
        return f"an integer of at least {self.least}{most}"

    def fits(self, value: Any) -> bool:
        return type(value) is int and self.least <= value <= self.most


class Number(FieldSchema):
    """Schema of a real number, by default including NaN and infinity, which metrics may be.

    Args:
        least: the smallest value that is allowed, if any.
        finite: whether NaN and infinity are refused.
        or_none: whether None is allowed too.

    >>> Number(finite=True).fits(1.5), Number(finite=True).fits(math.inf)
    (True, False)
    """

    def __init__(
        self, least: float | None = None, finite: bool = False, *, or_none: bool = False
    ) -> None:
        super().__init__(or_none=or_none)
        self.least, self.finite = least, finite

    @property
    def expected(self) -> str:
        least = "" if self.least is None else f" of at least {self.least:g}"
        return f"a {'finite ' if self.finite else ''}number{least}"

    def fits(self, value: Any) -> bool:
        if type(value) not in (int, float):
            return False
        above = self.least is None or value >= self.least
        return above and (not self.finite or math.isfinite(value))


class Text(FieldSchema):
    """Schema of a string; of one of several, if these are given.

    Args:
        among: the strings that are allowed; None means any.
        or_none: whether None is allowed too.

    >>> Text(("min", "max")).fits("min"), Text(("min", "max")).fits("mean")
    (True, False)
    """

    def __init__(self, among: tuple[str, ...] | None = None, *, or_none: bool = False) -> None:
        super().__init__(or_none=or_none)
        self.among = among

    @property
    def expected(self) -> str:
        return "a text" if self.among is None else f"one of {', '.join(self.among)}"

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and (self.among is None or value in self.among)


class Anything(FieldSchema):
    """Schema of any value, for entries that are only shown and stored.

    >>> Anything().fits({"a": [1, "b"]})
    True
    """

    expected = "anything"

    def fits(self, value: Any) -> bool:
        return True


class Several(FieldSchema):
    """Schema of a list of values of one kind, of a given length if there is one.

    Args:
        of: the schema of each entry; by default `Anything`.
        length: the number of entries; None means any.
        or_none: whether None is allowed too.

    >>> Several(Integer(), length=2).check([1, 2], "state/shape")
    [1, 2]
    """

    def __init__(
        self, of: FieldSchema | None = None, length: int | None = None, *, or_none: bool = False
    ) -> None:
        super().__init__(or_none=or_none)
        self.of, self.length = of or Anything(), length

    @property
    def expected(self) -> str:
        return "a list" if self.length is None else f"a list of {self.length} entries"

    def fits(self, value: Any) -> bool:
        return isinstance(value, (list, tuple)) and self.length in (None, len(value))

    def _check(self, value: Any, entry: str) -> Any:
        super()._check(value, entry)
        return [self.of.check(one, f"{entry}/{i}") for i, one in enumerate(value)]


class ByName(FieldSchema):
    """Schema of a dictionary of values of one kind, with any names.

    Args:
        of: the schema of each value; by default `Anything`.
        or_none: whether None is allowed too.

    >>> ByName(Number()).check({"loss": 0.5}, "state/logs")
    {'loss': 0.5}
    """

    expected = "a dictionary"

    def __init__(self, of: FieldSchema | None = None, *, or_none: bool = False) -> None:
        super().__init__(or_none=or_none)
        self.of = of or Anything()

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict)

    def _check(self, value: Any, entry: str) -> Any:
        super()._check(value, entry)
        return {name: self.of.check(one, f"{entry}/{name}") for name, one in value.items()}


class Arrays(FieldSchema):
    """Schema of a list of arrays like those that a function returns, such as the weights of a
    model.

    Args:
        like: a function that returns arrays; shapes and kinds of dtypes are compared.
        or_none: whether None is allowed too.

    >>> schema = Arrays(lambda: [np.zeros((2,))])
    >>> schema.check([np.ones((2,))], "state/weights")
    [array([1., 1.])]
    """

    expected = "a list of arrays as the model's weights"

    def __init__(
        self, like: Callable[[], list[np.ndarray]] = list, *, or_none: bool = False
    ) -> None:
        super().__init__(or_none=or_none)
        self.like = like

    def fits(self, value: Any) -> bool:
        return isinstance(value, list)

    def _check(self, value: Any, entry: str) -> Any:
        own = self.like()
        if len(super()._check(value, entry)) != len(own):
            raise ValueError(f"the entry {entry!r} has {len(value)} arrays; {len(own)} expected.")
        for i, (array, one) in enumerate(zip(value, own, strict=True)):
            check_array(array, one.shape, one.dtype.kind, f"{entry}/{i}")
        return value


def check_array(array: Any, shape: tuple[int, ...], kind: str, entry: str) -> np.ndarray:
    """Return ``array``, which must have this shape and kind of dtype.

    Args:
        array: the value from the file.
        shape: the expected shape.
        kind: "f" for floats or "i" for integers.
        entry: its path in the file, for the message.

    Raises:
        ValueError: if it is not such an array.

    >>> check_array(np.ones((2,)), (2,), "f", "state/weights")
    array([1., 1.])
    """
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind != kind:
        kinds = {"f": "floating-point numbers", "i": "integers"}
        raise ValueError(
            f"the entry {entry!r} is {_short(array)}: an array of {kinds[kind]} of shape {shape} "
            f"expected."
        )
    return array


def check(kept: Mapping[str, FieldSchema], values: Any, place: str) -> dict[str, Any]:
    """Check the values of a dictionary against their declarations.

    Args:
        kept: the declarations by name.
        values: the dictionary from the file.
        place: path of the dictionary in the file, for messages.

    Returns:
        the values by name, as the declarations return them.

    Raises:
        ValueError: naming an entry that is missing, unknown or not as declared.

    >>> check({"wait": Integer()}, {"wait": 2}, "state")
    {'wait': 2}
    """
    if not isinstance(values, dict):
        raise ValueError(f"the entry {place!r} is {_short(values)}: a dictionary expected.")
    inside = f"{place}/" if place else ""
    for name in sorted(set(kept) ^ set(values)):
        state = "missing" if name in kept else "not known"
        raise ValueError(f"the entry '{inside}{name}' is {state}.")
    return {name: kind.check(values[name], f"{inside}{name}") for name, kind in kept.items()}
