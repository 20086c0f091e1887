"""TensorFlow's ``tf.data``: a pipeline of samples for ``fit``.

``fit``, ``evaluate`` and ``predict`` accept a `Dataset` of batches like anything that yields
batches. Its functions run in Python, sample by sample, in this thread or in the thread of
`Dataset.prefetch`: nothing is compiled. Data that fit in memory train many times faster as arrays:
``fit(x, y)``.
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
from gpunn.common.random import drawing_from
from gpunn.feeding.batches import BatchedArrays

from . import passes
from .passes import Length, Pass, divided, draws_of_passes, generators
from .prefetching import prefetched
from .samples import Samples, array_of, call, each, joined, leaves, own, stacked, tensor_of, typed

__all__ = ["AUTOTUNE", "Dataset", "experimental"]

AUTOTUNE = -1
INFINITE, UNKNOWN = -1, -2  # returned by `Dataset.cardinality` if there is no finite size
experimental = SimpleNamespace(
    AUTOTUNE=AUTOTUNE, INFINITE_CARDINALITY=INFINITE, UNKNOWN_CARDINALITY=UNKNOWN,
    cardinality=lambda dataset: dataset.cardinality(),
)


class Dataset(Samples):
    """Samples, or batches of samples, that can be read repeatedly.

    A sample is an array, or a tuple or dictionary of arrays. Each method returns a new data set;
    iterating yields tensors, and NumPy arrays of strings and of integers beyond int32. The samples
    are copies: later changes of what was given or read change nothing, but for memory maps. The
    random numbers of the functions are those that `set_random_seed` determines when the data set
    is made; each pass has others. ``num_parallel_calls``, ``deterministic`` and ``name`` are
    accepted and ignored.

    Args:
        begin: Called for each pass with its number; returns an iterator of samples.
        length: Number of samples; infinity, or None if unknown.

    >>> squares = Dataset.range(5).map(lambda n: n * n).batch(2)
    >>> [batch.tolist() for batch in squares], len(squares)
    ([[0, 1], [4, 9], [16]], 3)
    """

    _batched_arrays: BatchedArrays | None = None  # what `fit` reads instead of the batches
    _sources: Sequence[Dataset] = ()  # what a method derived this one from

    def __init__(self, begin: Callable[[Pass], Iterator[Any]], length: Length = None) -> None:
        self._begin = begin
        self._length = length
        self._passes = itertools.count()  # passes begun by iterating, also derived data sets
        self._mapped: tuple[Dataset, Callable[..., Any]] | None = None  # arguments of `map`

    @classmethod
    def _from(
        cls, sources: Sequence[Dataset], begin: Callable[[Pass], Iterator[Any]],
        length: Length = None,
    ) -> Dataset:
        made = Dataset(begin, length)
        made._sources = sources
        return made

    def _next_pass(self) -> int:
        """Return the number of a new pass, which is also one of what this data set is made of."""
        return max(next(self._passes), *(data._next_pass() for data in self._sources), 0)

    # -- sources

    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """Create one sample for each row of these arrays."""
        whole = each(tensors, array_of)
        lengths = {len(array) if array.ndim else None for array in leaves(whole)}
        if len(lengths) != 1 or None in lengths:
            shapes = [array.shape for array in leaves(whole)]
            raise ValueError(
                f"All arrays must have the same number of rows; got the shapes {shapes}."
            )
        (rows,) = lengths
        assert rows is not None
        return Dataset(lambda at: (each(whole, itemgetter(i)) for i in range(rows)), rows)

    @staticmethod
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """Create a single sample from these arrays."""
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
        """Create samples from a generator function, as arrays of ``output_types`` if given.

        The function is called for each pass.
        """
        if not callable(generator):
            raise TypeError(f"generator must be a function that yields samples; got {generator!r}.")
        dtypes = None if output_types is None else leaves(output_types)
        source, ends = draws_of_passes(), object()

        def begin(at: Pass) -> Iterator[Any]:
            draws = source(at)
            with drawing_from(draws):
                samples = iter(generator(*args))
            while True:
                with drawing_from(draws):
                    given = next(samples, ends)
                if given is ends:
                    return
                yield each(given, array_of) if dtypes is None else typed(given, dtypes)

        return Dataset(begin)

    @staticmethod
    def range(*args: int, output_type: Any = None, name: str | None = None) -> Dataset:
        """Create the integers of Python's ``range``."""
        numbers = range(*(int(n) for n in args))
        dtype = np.dtype(output_type or "int64")
        return Dataset(lambda at: (np.asarray(n, dtype) for n in numbers), len(numbers))

    @staticmethod
    def zip(*datasets: Any, name: str | None = None) -> Dataset:
        """Create tuples with one sample of each data set, until one of them ends."""
        parts = tuple(datasets[0]) if len(datasets) == 1 else datasets
        lengths = [part._length for part in parts]
        known = None if None in lengths else min(n for n in lengths if n is not None)
        return Dataset._from(
            parts, lambda at: zip(*(part._begin(at) for part in parts), strict=False), known
        )

    @staticmethod
    def sample_from_datasets(
        datasets: Sequence[Dataset],
        weights: Sequence[float] | None = None,
        seed: int | None = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
    ) -> Dataset:
        """Draw each sample from one of the data sets, with probabilities ``weights``.

        Ends when all are empty, or, with ``stop_on_empty_dataset``, when the first one is.
        """
        chances = np.ones(len(datasets)) if weights is None else np.asarray(weights, float)
        if len(chances) != len(datasets) or not len(datasets) or chances.min() < 0:
            raise ValueError(
                f"weights must hold one value of at least 0 for each data set; got {weights!r}."
            )
        generator = generators(seed, rerandomize_each_iteration is not False)

        def begin(at: Pass) -> Iterator[Any]:
            samples = [data._begin(at) for data in datasets]
            return passes.alternating(samples, chances, generator(at), stop_on_empty_dataset)

        endless = any(data.endless for data in datasets)
        length = math.inf if endless and not stop_on_empty_dataset else None
        return Dataset._from(tuple(datasets) if seed is None else (), begin, length)

    # -- transforming samples

    def map(
        self, map_func: Callable[..., Any], num_parallel_calls: Any = None,
        deterministic: Any = None, name: str | None = None,
    ) -> Dataset:
        """Apply a function to each sample; the parts of a sample are its arguments."""
        source = draws_of_passes()

        def begin(at: Pass) -> Iterator[Any]:
            draws = source(at)
            return (each(call(map_func, sample, draws), array_of) for sample in self._begin(at))

        made = self._from([self], begin, self._length)
        made._mapped = self, map_func
        return made

    def filter(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """Keep the samples for which a function returns true."""
        source = draws_of_passes()

        def begin(at: Pass) -> Iterator[Any]:
            draws = source(at)
            return (s for s in self._begin(at) if bool(call(predicate, s, draws)))

        return self._from([self], begin)

    def flat_map(self, map_func: Callable[..., Dataset], name: str | None = None) -> Dataset:
        """Apply a function that returns a data set to each sample, and join the data sets."""
        source = draws_of_passes()

        def begin(at: Pass) -> Iterator[Any]:
            draws = source(at)
            for sample in self._begin(at):
                yield from call(map_func, sample, draws)._begin(at)

        return self._from([self], begin)

    def enumerate(self, start: int = 0, name: str | None = None) -> Dataset:
        """Pair each sample with a number, counting from ``start``."""
        return self._from(
            [self], lambda at: ((np.asarray(n), s) for n, s in enumerate(self._begin(at), start)),
            self._length,
        )

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """Apply a function to the whole data set."""
        return transformation_func(self)

    # -- grouping samples

    def batch(
        self, batch_size: int, drop_remainder: bool = False, num_parallel_calls: Any = None,
        deterministic: Any = None, name: str | None = None,
    ) -> Dataset:
        """Stack ``batch_size`` samples at a time; the last batch is smaller, or dropped."""
        size = check_integer("batch_size", batch_size, 1)
        length = divided(self._length, size, drop_remainder)

        def begin(at: Pass) -> Iterator[Any]:
            samples = self._begin(at)
            while group := list(itertools.islice(samples, size)):
                if len(group) == size or not drop_remainder:
                    yield joined(group, stacked)

        return self._from([self], begin, length)

    def unbatch(self, name: str | None = None) -> Dataset:
        """Split each sample into its rows."""
        return self.flat_map(
            lambda *parts: Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])
        )

    def window(
        self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:
        """Create data sets of ``size`` samples, taking every ``stride``-th sample.

        Each starts ``shift`` samples after the previous one started; by default ``size``.
        """
        size = check_integer("size", size, 1)
        shift = check_integer("shift", shift, 1, None) or size
        stride = check_integer("stride", stride, 1)

        def begin(at: Pass) -> Iterator[Any]:
            for inside in passes.windows(self._begin(at), size, shift, stride):
                if drop_remainder and len(inside) < size:
                    return
                yield joined(inside, lambda part: Dataset(lambda at: iter(part), len(part)))

        if self._length in (None, math.inf):
            return self._from([self], begin, self._length)
        left = self._length - ((size - 1) * stride if drop_remainder else 0)
        return self._from([self], begin, max(0, math.ceil(left / shift)))

    # -- selection and order

    def shuffle(
        self, buffer_size: int, seed: int | None = None,
        reshuffle_each_iteration: bool | None = None, name: str | None = None,
    ) -> Dataset:
        """Draw each sample at random from the next ``buffer_size`` samples.

        The order differs in each pass, unless ``reshuffle_each_iteration`` is False. It
        is determined by ``seed``, or by `set_random_seed`.
        """
        if self._mapped is not None:  # call the function only for samples that are read
            before, function = self._mapped
            return before.shuffle(buffer_size, seed, reshuffle_each_iteration).map(function)
        size = check_integer("buffer_size", buffer_size, 1)
        generator = generators(seed, reshuffle_each_iteration in (None, True))

        def begin(at: Pass) -> Iterator[Any]:
            return passes.shuffled(self._begin(at), size, generator(at))

        return Dataset(begin, self._length)  # its passes begin with 0, and so with ``seed``

    def repeat(self, count: int | None = None, name: str | None = None) -> Dataset:
        """Repeat the samples ``count`` times, endlessly by default."""
        if count is None or count == -1:
            return self._from([self], self._without_end, math.inf if self._length != 0 else 0)
        count = check_integer("count", count, 0)
        length = 0 if not count else None if self._length is None else self._length * count

        def begin(at: Pass) -> Iterator[Any]:
            for number in range(count):
                yield from self._begin((*at, number))

        return self._from([self], begin, length)

    def _without_end(self, at: Pass) -> Iterator[Any]:
        for number in itertools.count():
            empty = True
            for sample in self._begin((*at, number)):
                empty = False
                yield sample
            if empty:
                return

    def take(self, count: int, name: str | None = None) -> Dataset:
        """Keep the first ``count`` samples; all for -1."""
        if count == -1:
            return self
        count = check_integer("count", count, 0)
        length = None if self._length is None else min(self._length, count)
        return self._from([self], lambda at: itertools.islice(self._begin(at), count), length)

    def skip(self, count: int, name: str | None = None) -> Dataset:
        """Skip the first ``count`` samples; all for -1."""
        if count == -1:
            return self.take(0)
        count = check_integer("count", count, 0)
        length = None if self._length is None else max(0, self._length - count)
        return self._from([self], lambda at: itertools.islice(self._begin(at), count, None), length)

    def concatenate(self, dataset: Dataset, name: str | None = None) -> Dataset:
        """Append the samples of another data set."""
        lengths = self._length, dataset._length
        length = None if None in lengths else sum(n for n in lengths if n is not None)
        return self._from(
            [self, dataset],
            lambda at: itertools.chain(self._begin(at), dataset._begin(at)), length,
        )

    def cache(self, filename: str = "", name: str | None = None) -> Dataset:
        """Keep the samples of the first pass in memory, once it has been read to its end."""
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

        return self._from([self], begin, self._length)

    def prefetch(self, buffer_size: int | None = None, name: str | None = None) -> Dataset:
        """Make up to ``buffer_size`` samples in a thread, while earlier ones are used.

        For None and `AUTOTUNE` there are two. The samples are the same as without the thread, as
        far as the functions of the data set draw their random numbers with `gpunn.random`.
        """
        size = 2 if buffer_size in (None, AUTOTUNE) else buffer_size
        ahead = check_integer("buffer_size", size, 0)
        if not ahead:
            return self
        return self._from(
            [self], lambda at: prefetched(lambda: self._begin(at), ahead), self._length
        )

    # -- reading

    def __iter__(self) -> Iterator[Any]:
        return self.batches_of_pass(self._next_pass())

    def batches_of_pass(self, number: int, seed: int | None = None, skip: int = 0) -> Iterator[Any]:
        """Iterate over the pass of this number, starting at the ``skip``-th sample.

        `fit` requests its passes this way, so that it can resume from a checkpoint. The data set
        determines the order and ignores ``seed``.
        """
        samples = itertools.islice(self._begin((number,)), skip, None)
        return (each(sample, tensor_of) for sample in samples)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Iterate over the samples as NumPy arrays."""
        samples = self._begin((self._next_pass(),))
        return (each(sample, own) for sample in samples)

    def reduce(self, initial_state: Any, reduce_func: Callable[[Any, Any], Any]) -> Any:
        """Combine the samples: apply a function to the last result and each sample in turn."""
        state = each(initial_state, lambda x: tensor_of(array_of(x)))
        for sample in self:
            state = reduce_func(state, sample)
        return state

    def cardinality(self) -> int:
        """Return the number of samples; -1 if endless, -2 if unknown."""
        if self._length is None:
            return UNKNOWN
        return INFINITE if self._length == math.inf else int(self._length)

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("The number of samples is not known before they are read.")
        if self._length == math.inf:
            raise TypeError("The samples are repeated endlessly: the data set has no length.")
        return int(self._length)

    @property
    def endless(self) -> bool:
        """Whether the samples are repeated endlessly, when `fit` needs ``steps_per_epoch``."""
        return self._length == math.inf

    def __getattr__(self, name: str) -> Any:  # of TensorFlow's methods, say which there are
        if not name.startswith("_"):
            there = ", ".join(one for one in dir(Dataset) if not one.startswith("_"))
            raise AttributeError(f"gpunn's Dataset has no {name!r}. It has {there}.")
        raise AttributeError(name)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        known = {UNKNOWN: "unknown", INFINITE: "infinite"}
        number = self.cardinality()
        return f"<Dataset, samples: {known.get(number, number)}>"

