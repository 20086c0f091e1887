"""TensorFlow's ``tf.data``: samples one after the other, changed on their way to ``fit``.

``fit``, ``evaluate`` and ``predict`` take a `Dataset` of batches as they take anything that yields
batches. Its functions are called in Python, sample by sample, in this thread: nothing is compiled
or done ahead. Data that fit into memory train many times faster as arrays: ``fit(x, y)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpunn.common.arguments import check_integer
from gpunn.common.random import check_seed, draw_seed

from .samples import Samples, array_of, call, each, joined, leaves, stacked, tensor_of

__all__ = ["AUTOTUNE", "Dataset", "experimental"]

AUTOTUNE = -1
INFINITE, UNKNOWN = -1, -2  # what `Dataset.cardinality` gives where there is no number
experimental = SimpleNamespace(
    AUTOTUNE=AUTOTUNE, INFINITE_CARDINALITY=INFINITE, UNKNOWN_CARDINALITY=UNKNOWN,
    cardinality=lambda dataset: dataset.cardinality(),
)  # fmt: skip

Length = float | None  # of a data set: a whole number, infinity, or not known
Pass = tuple[int, ...]  # the number of a pass, and of each inner one of what is repeated


class Dataset(Samples):
    """Samples, or batches of them, that can be read again and again.

    A sample is an array, or a tuple or dictionary of arrays. Each method gives a new data set;
    reading it gives tensors with numbers. ``num_parallel_calls``, ``deterministic`` and ``name``
    are taken and change nothing.

    Args:
        begin: called for each pass with its number, gives the samples one after the other.
        length: how many; infinity, or None if that is not known.

    >>> squares = Dataset.range(5).map(lambda n: n * n).batch(2)
    >>> [batch.tolist() for batch in squares], len(squares)
    ([[0, 1], [4, 9], [16]], 3)
    """

    def __init__(self, begin: Callable[[Pass], Iterator[Any]], length: Length = None) -> None:
        self._begin = begin
        self._length = length
        self._passes = itertools.count()  # begun by iterating
        self._mapped: tuple[Dataset, Callable[..., Any]] | None = None  # what `map` was given

    # -- where samples come from

    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """One sample for each row of these arrays."""
        whole = each(tensors, array_of)
        lengths = {len(array) if array.ndim else None for array in leaves(whole)}
        if len(lengths) != 1 or None in lengths:
            shapes = [array.shape for array in leaves(whole)]
            raise ValueError(f"arrays of as many rows are expected; got the shapes {shapes}.")
        (rows,) = lengths
        assert rows is not None
        return Dataset(lambda at: (each(whole, itemgetter(i)) for i in range(rows)), rows)

    @staticmethod
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """One sample: these arrays."""
        whole = each(tensors, array_of)
        return Dataset(lambda at: iter([whole]), 1)

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = (),
        name: str | None = None,
    ) -> Dataset:
        """What a generator function yields, as arrays of ``output_types`` if these are given; it
        is called for each pass."""
        if not callable(generator):
            raise TypeError(f"generator must be a function that yields samples; got {generator!r}.")
        dtypes = None if output_types is None else leaves(output_types)

        def begin(at: Pass) -> Iterator[Any]:
            for given in generator(*args):
                sample = each(given, array_of)
                if dtypes is not None:
                    left = iter(dtypes)
                    sample = each(sample, lambda array: array.astype(next(left)))  # noqa: B023
                yield sample

        return Dataset(begin)

    @staticmethod
    def range(*args: int, output_type: Any = None, name: str | None = None) -> Dataset:
        """The whole numbers of Python's ``range``."""
        numbers = range(*(int(n) for n in args))
        dtype = np.dtype(output_type or "int64")
        return Dataset(lambda at: (np.asarray(n, dtype) for n in numbers), len(numbers))

    @staticmethod
    def zip(*datasets: Any, name: str | None = None) -> Dataset:
        """Tuples of a sample of each, as long as all have one."""
        parts = tuple(datasets[0]) if len(datasets) == 1 else datasets
        lengths = [part._length for part in parts]
        known = None if None in lengths else min(n for n in lengths if n is not None)
        return Dataset(lambda at: zip(*(part._begin(at) for part in parts), strict=False), known)

    @staticmethod
    def sample_from_datasets(
        datasets: Sequence[Dataset],
        weights: Sequence[float] | None = None,
        seed: int | None = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
    ) -> Dataset:
        """Each time the next sample of one of these, drawn with these chances; as long as one of
        them has a sample, or all have."""
        chances = np.ones(len(datasets)) if weights is None else np.asarray(weights, float)
        if len(chances) != len(datasets) or not len(datasets) or chances.min() < 0:
            raise ValueError(f"weights: one of at least 0 for each data set; got {weights!r}.")
        given = check_seed("seed", seed)
        first = draw_seed() if given is None else given
        again = rerandomize_each_iteration is not False

        def begin(at: Pass) -> Iterator[Any]:
            draw = np.random.default_rng([first, *(at if again else (0,))])
            sources, left = [data._begin(at) for data in datasets], chances.copy()
            while left.sum() > 0:
                which = draw.choice(len(sources), p=left / left.sum())
                try:
                    yield next(sources[which])
                except StopIteration:
                    if stop_on_empty_dataset:
                        return
                    left[which] = 0

        endless = any(data.endless for data in datasets)
        return Dataset(begin, math.inf if endless and not stop_on_empty_dataset else None)

    # -- samples changed

    def map(
        self, map_func: Callable[..., Any], num_parallel_calls: Any = None,
        deterministic: Any = None, name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """What a function gives for each sample, whose parts it is given as arguments."""

        def begin(at: Pass) -> Iterator[Any]:
            return (each(call(map_func, sample), array_of) for sample in self._begin(at))

        made = Dataset(begin, self._length)
        made._mapped = self, map_func
        return made

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """The samples for which a function says true."""
        return Dataset(lambda at: (s for s in self._begin(at) if bool(call(predicate, s))))

    def flat_map(self, map_func: Callable[..., Dataset], name: str | None = None) -> Dataset:
        """The samples of the data sets that a function makes of each sample, joined."""

        def begin(at: Pass) -> Iterator[Any]:
            for sample in self._begin(at):
                yield from call(map_func, sample)._begin(at)

        return Dataset(begin)

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """Pairs of a number from ``start`` on and a sample."""
        return Dataset(
            lambda at: ((np.asarray(n), s) for n, s in enumerate(self._begin(at), start)),
            self._length,
        )

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """What a function makes of the whole data set."""
        return transformation_func(self)

    # -- samples put together

    def batch(
        self, batch_size: int, drop_remainder: bool = False, num_parallel_calls: Any = None,
        deterministic: Any = None, name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """So many samples at a time, stacked; the last batch has what is left, or is dropped."""
        size = check_integer("batch_size", batch_size, 1)
        length = _divided(self._length, size, drop_remainder)

        def begin(at: Pass) -> Iterator[Any]:
            samples = self._begin(at)
            while group := list(itertools.islice(samples, size)):
                if len(group) == size or not drop_remainder:
                    yield joined(group, stacked)

        return Dataset(begin, length)

    def unbatch(self, name: str | None = None) -> Dataset:
        """The rows of each sample, as samples."""
        return self.flat_map(
            lambda *parts: Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])
        )

    def window(
        self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """Data sets of ``size`` samples each, every ``stride``-th, which begin ``shift`` samples
        after the one before, or after its end."""
        size = check_integer("size", size, 1)
        shift = check_integer("shift", shift, 1, None) or size
        stride = check_integer("stride", stride, 1)

        def begin(at: Pass) -> Iterator[Any]:
            samples = self._begin(at)
            seen: list[Any] = []
            span = (size - 1) * stride + 1
            while True:
                seen += itertools.islice(samples, max(0, span - len(seen)))
                inside = seen[:span:stride]
                if not inside or (drop_remainder and len(inside) < size):
                    return
                yield joined(inside, lambda part: Dataset(lambda at: iter(part), len(part)))
                skipped = shift - len(seen)
                seen = seen[shift:]
                if skipped > 0:
                    next(itertools.islice(samples, skipped, skipped), None)

        if self._length in (None, math.inf):
            return Dataset(begin, self._length)
        assert self._length is not None
        left = self._length - ((size - 1) * stride if drop_remainder else 0)
        return Dataset(begin, max(0, math.ceil(left / shift)))

    # -- which samples, and in which order

    def shuffle(
        self, buffer_size: int, seed: int | None = None,
        reshuffle_each_iteration: bool | None = None, name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """Each time one of the next ``buffer_size`` samples, drawn at random.

        The order is another in each pass, unless ``reshuffle_each_iteration`` is False. It
        follows from ``seed``, or from `set_random_seed`.
        """
        if self._mapped is not None:  # so that the function is called for what is read only
            before, function = self._mapped
            return before.shuffle(buffer_size, seed, reshuffle_each_iteration).map(function)
        size = check_integer("buffer_size", buffer_size, 1)
        given = check_seed("seed", seed)
        first = draw_seed() if given is None else given
        again = reshuffle_each_iteration in (None, True)

        def begin(at: Pass) -> Iterator[Any]:
            draw = np.random.default_rng([first, *(at if again else (0,))])
            samples = self._begin(at)
            held = list(itertools.islice(samples, size))
            for sample in samples:
                place = draw.integers(len(held))
                yield held[place]
                held[place] = sample
            draw.shuffle(held)
            yield from held

        return Dataset(begin, self._length)

    def repeat(self, count: int | None = None, name: str | None = None) -> Dataset:
        """The samples so often, without end by default."""
        if count is None or count == -1:
            return Dataset(self._without_end, math.inf if self._length != 0 else 0)
        count = check_integer("count", count, 0)
        length = 0 if not count else None if self._length is None else self._length * count

        def begin(at: Pass) -> Iterator[Any]:
            for number in range(count):
                yield from self._begin((*at, number))

        return Dataset(begin, length)

    def _without_end(self, at: Pass) -> Iterator[Any]:
        for number in itertools.count():
            empty = True
            for sample in self._begin((*at, number)):
                empty = False
                yield sample
            if empty:
                return

    def take(self, count: int, name: str | None = None) -> Dataset:
        """The first samples; all for -1."""
        if count == -1:
            return self
        count = check_integer("count", count, 0)
        length = None if self._length is None else min(self._length, count)
        return Dataset(lambda at: itertools.islice(self._begin(at), count), length)

    def skip(self, count: int, name: str | None = None) -> Dataset:
        """All but the first samples; none for -1."""
        if count == -1:
            return self.take(0)
        count = check_integer("count", count, 0)
        length = None if self._length is None else max(0, self._length - count)
        return Dataset(lambda at: itertools.islice(self._begin(at), count, None), length)

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """These samples, then those of another data set."""
        lengths = self._length, dataset._length
        length = None if None in lengths else sum(n for n in lengths if n is not None)
        return Dataset(lambda at: itertools.chain(self._begin(at), dataset._begin(at)), length)

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """The samples as the first pass gives them, kept in memory once it has been read to its
        end."""
        if filename:
            raise ValueError(f"cache keeps samples in memory, not in a file; got {filename!r}.")
        kept: list[list[Any]] = []

        def begin(at: Pass) -> Iterator[Any]:
            if kept:
                yield from kept[0]
                return
            seen = []
            for sample in self._begin((0,)):
                seen.append(sample)
                yield sample
            kept[:] = [seen]

        return Dataset(begin, self._length)

    def prefetch(self, buffer_size: int | None = None, name: str | None = None) -> Dataset:
        """This data set: nothing is prepared ahead."""
        return self

    # -- read

    def __iter__(self) -> Iterator[Any]:
        return self.batches_of_pass(next(self._passes))

    def batches_of_pass(
        self, number: int, seed: int | None = None, skip: int = 0
    ) -> Iterator[Any]:
        """What iterating gives in the pass of this number, from the ``skip``-th on. `fit` asks for
        its passes so, and finds them again when it goes on from a checkpoint; the order is the data
        set's own, whatever the ``seed``."""
        samples = itertools.islice(self._begin((number,)), skip, None)
        return (each(sample, tensor_of) for sample in samples)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The samples as arrays of NumPy."""
        return self._begin((next(self._passes),))

    def reduce(self, initial_state: Any, reduce_func: Callable[[Any, Any], Any]) -> Any:
        """What a function of what it gave last and a sample gives at the end."""
        state = each(initial_state, lambda x: tensor_of(array_of(x)))
        for sample in self:
            state = reduce_func(state, sample)
        return state

    def cardinality(self) -> int:
        """The number of samples; -1 if they have no end, -2 if it is not known."""
        if self._length is None:
            return UNKNOWN
        return INFINITE if self._length == math.inf else int(self._length)

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("how many samples there are is not known before they are read.")
        if self._length == math.inf:
            raise TypeError("the samples are repeated without end: there is no number of them.")
        return int(self._length)

    @property
    def endless(self) -> bool:
        """Whether the samples are repeated without end: then `fit` wants ``steps_per_epoch``."""
        return self._length == math.inf

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        known = {UNKNOWN: "not known how many", INFINITE: "without end"}
        number = self.cardinality()
        return f"<Dataset, samples: {known.get(number, number)}>"


def _divided(length: Length, size: int, drop_remainder: bool) -> Length:
    """How many groups of this size there are."""
    if length is None or length == math.inf:
        return length
    return length // size if drop_remainder else math.ceil(length / size)
