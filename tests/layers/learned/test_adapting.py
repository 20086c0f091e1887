"""Adapting a layer to batches is adapting it to all rows, whatever it has learned before."""

from __future__ import annotations

import copy
import inspect
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import registered

import gpunn
from gpunn.common import registry
from gpunn.layers import IntegerLookup, SimpleImputer, StringLookup, TextVectorization

D = gpunn.data.Dataset
NAMES = [n for n in registered.names("layer") if hasattr(registry.entries("layer")[n], "adapt")]
ROWS, COLUMNS = 23, 3
# What an argument of this name may be, beside its default.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "axis": (None, -1, 1),
    "epsilon": (0.005, 0.002),
    "mask_token": ("masked",),
    "max_tokens": (4, 5, 12),
    "ngrams": (2, (1, 3)),
    "num_bins": (3, 5),
    "num_oov_indices": (1, 2, 3),
    "output_mode": ("int", "multi_hot", "count", "tf_idf", "one_hot"),
    "output_sequence_length": (2, 5),
    "pad_to_max_tokens": (True,),
    "split": ("character",),
    "standardize": ("lower", None),
    "strategy": ("mean", "median"),
}
WORDS = [*"abcdefghijklm", "masked", "[UNK]"]


def rows(kind: type, seed: int, count: int = ROWS) -> np.ndarray:
    """Rows for a layer of this class; those of another seed hold the same values, more or less
    often."""
    draw = np.random.default_rng(seed)
    chances = draw.dirichlet(np.ones(len(WORDS)))
    picked = draw.choice(len(WORDS), (count, COLUMNS), p=chances)
    picked.flat[: len(WORDS)] = draw.permutation(len(WORDS))  # each occurs
    if issubclass(kind, TextVectorization):
        return np.array([[" ".join(WORDS[k] for k in row)] for row in picked], object)
    if issubclass(kind, StringLookup):
        return np.array(WORDS, object)[picked]
    if issubclass(kind, IntegerLookup):
        return picked - 1  # the word for an unknown value is -1
    numbers = draw.normal(draw.uniform(-9, 9, COLUMNS), draw.uniform(0.1, 9, COLUMNS), picked.shape)
    if seed % 3 == 1:  # of mean 0, to the last bit
        numbers[1::2] = -numbers[: 2 * (len(numbers) // 2) : 2]
        numbers[2 * (len(numbers) // 2) :] = 0.0
    if issubclass(kind, SimpleImputer):
        numbers[draw.random(picked.shape) < 0.3] = np.nan
        numbers[0] = 1.0
    return numbers


def options(kind: type, seed: int) -> dict[str, Any]:
    """Draw up to four arguments, two of which the seed takes in turn."""
    draw = random.Random(seed)
    known = [name for name in inspect.signature(kind).parameters if name in OPTIONS]
    for _ in range(100):
        names = draw.sample(known, min(len(known), draw.randint(1, 4)))
        given = {name: draw.choice(OPTIONS[name]) for name in names}
        if issubclass(kind, IntegerLookup) and "mask_token" in given:
            given["mask_token"] = 3
        if kind.__name__ == "Normalization":
            given["invert"] = draw.random() < 0.3
        if kind.__name__ == "Discretization":
            given.setdefault("num_bins", 4)
        try:
            kind(**given)
        except ValueError:  # arguments that exclude each other
            continue
        return given
    raise AssertionError(f"{kind}: no arguments found")


def of_dataset(x: np.ndarray, size: int) -> Any:
    return D.from_tensor_slices(x).batch(size)


def of_generator(x: np.ndarray, size: int) -> Any:
    return (x[k : k + size] for k in range(0, len(x), size))


def with_targets(x: np.ndarray, size: int) -> Any:
    return ((part, np.zeros(len(part))) for part in of_generator(x, size))


def of_list(x: np.ndarray, size: int) -> Any:
    return [*of_generator(x, size)]


class Numbered(gpunn.utils.PyDataset):
    """Batches that are asked for by number."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = [*batches]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Any:
        return self.batches[number]


def of_numbered(x: np.ndarray, size: int) -> Any:
    return Numbered(with_targets(x, size))


FORMS: tuple[Callable[[np.ndarray, int], Any], ...] = (
    of_dataset, of_generator, with_targets, of_list, of_numbered,
)  # fmt: skip


def learned(layer: Any) -> list[Any]:
    """Everything that a layer has learned, in an order and without its names."""
    config = layer.get_config()
    weights = [np.asarray(weight) for weight in getattr(layer, "weights", ())]
    return [*(config[name] for name in sorted(config) if name != "name"), *weights]


def assert_as_counted(layer: Any, x: np.ndarray) -> None:
    """Compare with what NumPy and a counter say of all rows."""
    if isinstance(layer, gpunn.layers.Normalization):
        kept = {k % x.ndim for k in layer.axis}
        around = tuple(k for k in range(x.ndim) if k not in kept)
        np.testing.assert_allclose(layer.mean, x.mean(around, keepdims=True), 1e-12, 1e-12)
        np.testing.assert_allclose(layer.variance, x.var(around, keepdims=True), rtol=1e-12)
    elif isinstance(layer, SimpleImputer):
        of = np.nanmedian if layer.strategy == "median" else np.nanmean
        np.testing.assert_allclose(layer.statistics, of(x, axis=0), rtol=1e-12)
    elif type(layer) in (StringLookup, IntegerLookup):
        counts = Counter(x.ravel().tolist())
        del counts[layer.oov_token], counts[layer.mask_token]
        tokens = layer.get_vocabulary(include_special_tokens=False)
        assert tokens == sorted(counts, key=lambda t: (counts[t], t), reverse=True)[: len(tokens)]
        size, most = layer.vocabulary_size(), layer.max_tokens
        assert len(tokens) == len(counts) if most is None else size == min(most, size)
        if layer.output_mode == "tf_idf":
            documents = np.array([(x == token).any(-1).sum() for token in tokens])
            weights = np.log(1 + len(x) / (1 + documents))
            found = layer.get_config()["idf_weights"][-len(tokens) :]
            np.testing.assert_allclose(found, weights, rtol=1e-12)


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (float, np.ndarray)) and np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def every(count: int, more: int) -> Any:
    return pytest.mark.parametrize(
        "seed",
        [pytest.param(k, marks=[] if k < count else [pytest.mark.more]) for k in range(more)],
    )


@every(4, 60)
@pytest.mark.parametrize("name", NAMES)
def test_batches_are_all_rows(name: str, seed: int, doubles: None) -> None:
    kind: Any = registry.entries("layer")[name]
    arguments, x = options(kind, seed), rows(kind, seed)
    whole = kind(**arguments)
    whole.adapt(x)
    assert_as_counted(whole, x)
    expected = learned(whole)
    again = kind(**arguments)
    for k, form in enumerate(FORMS):
        size = (4, 5, 22, 1, 7, 23, 40)[(seed + k) % 7]
        again.adapt(form(x, size))  # for the second time, all but the first
        assert_same(learned(again), expected)
        assert_same(np.asarray(again(x[:5])), np.asarray(whole(x[:5])))
        again.adapt(rows(kind, seed + 1000))  # forgotten by the next
    if "steps" in inspect.signature(kind.adapt).parameters:
        whole.adapt(x[:10])
        again.adapt(of_generator(x, 5), steps=2)
        assert_same(learned(again), learned(whole))


@every(3, 30)
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_knows_what_the_layer_has_learned(name: str, seed: int, doubles: None) -> None:
    kind: Any = registry.entries("layer")[name]
    layer, x = kind(**options(kind, seed)), rows(kind, seed)
    layer.adapt(x)
    expected = np.asarray(layer(x))
    config = layer.get_config()
    in_file = json.loads(json.dumps(config))  # where a tuple is a list
    for again in (kind.from_config(config), kind.from_config(in_file), copy.deepcopy(layer)):
        assert_same(np.asarray(again(x)), expected)
        assert_same(learned(again), learned(layer))


@every(3, 12)
def test_boundaries_divide_many_rows_evenly_whatever_the_batches(seed: int) -> None:
    draw = np.random.default_rng(seed)
    bins, epsilon = int(draw.integers(2, 9)), 0.01
    sizes = draw.choice([3, 40, 700, 9000], 6)
    # Each batch from elsewhere: one that counted too much would move the boundaries.
    batches = [draw.normal(draw.uniform(-5, 5), 1, (size, 1)) for size in sizes]
    layer = gpunn.layers.Discretization(num_bins=bins, epsilon=epsilon)
    layer.adapt(iter(batches))
    values = np.sort(np.concatenate(batches).ravel())
    shares = np.searchsorted(values, layer.bin_boundaries) / len(values)
    np.testing.assert_allclose(shares, np.arange(1, bins) / bins, atol=len(sizes) * epsilon)


@every(1, 20)
@pytest.mark.parametrize("name", NAMES)
def test_a_model_computes_with_what_its_layer_learns_later(
    name: str, seed: int, backend: str, doubles: None
) -> None:
    gpunn.use_backend(backend)
    kind: Any = registry.entries("layer")[name]
    arguments = options(kind, seed)
    x, earlier = rows(kind, seed), rows(kind, seed + 1000)

    def model_of(layer: Any) -> Any:
        dtype = "string" if x.dtype == object else "int64" if x.dtype.kind == "i" else None
        given = gpunn.Input(x.shape[1:], dtype=dtype)
        return gpunn.Model(given, layer(given))

    layer, fresh = kind(**arguments), kind(**arguments)
    layer.adapt(earlier)
    model = model_of(layer)
    model.predict(x, verbose=0)
    layer.adapt(of_dataset(x, 6))
    fresh.adapt(x)
    other = model_of(fresh)
    for part in (x, x[:3]):
        expected = other.predict(part, verbose=0)
        np.testing.assert_allclose(model.predict(part, verbose=0), expected, 1e-12, 1e-12)


def test_a_feature_space_learns_from_batches_as_from_all_rows() -> None:
    columns = {
        "float_normalized": rows(SimpleImputer, 3)[:, 0],
        "float_discretized": rows(gpunn.layers.Normalization, 1)[:, 0],
        "string_categorical": rows(StringLookup, 2)[:, 0],
        "integer_categorical": rows(IntegerLookup, 3)[:, 0],
    }
    columns["float_normalized"] = np.nan_to_num(columns["float_normalized"])
    whole, again = (gpunn.utils.FeatureSpace({name: name for name in columns}) for _ in range(2))
    whole.adapt(columns)
    expected = np.asarray(whole(columns))

    def batches() -> Any:
        for k in range(0, ROWS, 5):
            yield {name: values[k : k + 5] for name, values in columns.items()}

    forms = D.from_tensor_slices(columns).batch(5), batches(), [*batches()], Numbered(batches())
    for form in forms:
        again.adapt(form)
        np.testing.assert_allclose(np.asarray(again(columns)), expected, rtol=1e-5, atol=1e-5)
        again.adapt({name: values[::-1][:9] for name, values in columns.items()})
