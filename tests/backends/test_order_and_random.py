"""The shuffled order is a good permutation, and dropout draws the documented random numbers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.control import BATCHES, PASS, POSITION, Control
from gpunn.backends.shared.order import Order, permutation

SEEDS = st.integers(0, 2**64 - 1)


@given(st.integers(1, 5000), SEEDS, st.integers(0, 2**40))
@settings(max_examples=300)
def test_each_row_comes_once(rows: int, seed: int, pass_number: int) -> None:
    order = permutation(rows, seed, pass_number)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(rows))
    assert np.array_equal(order, permutation(rows, seed, pass_number))


@pytest.mark.parametrize("rows", [2**k + d for k in range(1, 18) for d in (-1, 0, 1)])
def test_each_row_comes_once_around_powers_of_two(rows: int) -> None:
    assert np.array_equal(np.sort(permutation(rows, 9, 3)), np.arange(rows))


def test_mnists_sixty_thousand_rows() -> None:
    order = permutation(60_000, 1, 0)
    assert np.array_equal(np.sort(order), np.arange(60_000))
    # On average, a random permutation has one fixed point, and two neighbours in sequence.
    assert np.count_nonzero(order == np.arange(60_000)) < 8
    assert np.count_nonzero(np.diff(order) == 1) < 8
    ranks = np.corrcoef(order, np.arange(60_000))[0, 1]
    assert abs(ranks) < 4 / math.sqrt(60_000)


@given(st.integers(50, 3000), SEEDS, st.integers(0, 1000))
@settings(max_examples=100)
def test_passes_and_seeds_differ(rows: int, seed: int, pass_number: int) -> None:
    order = permutation(rows, seed, pass_number)
    for other in (
        permutation(rows, seed, pass_number + 1),
        permutation(rows, seed ^ 1, pass_number),
        permutation(rows, seed ^ (1 << 63), pass_number),
    ):
        # Two random permutations agree in one position on average; ten is one in a million.
        assert np.count_nonzero(order == other) < 12


def chi_square(counts: np.ndarray) -> float:
    """Return the chi-square of equally likely cells, in standard deviations above its mean."""
    expected = counts.mean()
    freedom = counts.size - 1
    return (((counts - expected) ** 2).sum() / expected - freedom) / math.sqrt(2 * freedom)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "rows", [10, 33, *(pytest.param(n, marks=pytest.mark.more) for n in (16, 100, 128))]
)
def test_every_row_is_as_likely_at_every_place(rows: int) -> None:
    passes = 3000
    counts = np.zeros((rows, rows))
    for pass_number in range(passes):
        counts[np.arange(rows), permutation(rows, 42, pass_number)] += 1
    # Rows and columns have fixed sums, so the cells have (rows - 1)^2 degrees of freedom.
    freedom = (rows - 1) ** 2
    expected = passes / rows
    statistic = ((counts - expected) ** 2).sum() / expected
    assert abs(statistic - freedom) / math.sqrt(2 * freedom) < 5


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("rows", [64, 100, 1000])
def test_neighbours_in_the_data_are_not_neighbours_in_the_order(rows: int) -> None:
    """The distance between the positions of rows 0 and 1 is that of two random positions."""
    distances = []
    for pass_number in range(2000):
        order = permutation(rows, 7, pass_number)
        place = np.empty(rows, np.int64)
        place[order] = np.arange(rows)
        distances.append(abs(place[0] - place[1]))
    mean = (rows + 1) / 3
    deviation = math.sqrt((rows + 1) * (rows - 2) / 18 / len(distances))
    assert abs(np.mean(distances) - mean) < 5 * deviation


@pytest.mark.parametrize("rows", range(1, 12))
def test_few_rows_are_shuffled_too(rows: int) -> None:
    orders = [tuple(permutation(rows, seed, 0)) for seed in range(400)]
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(rows))}
    possible = math.factorial(rows)
    if possible <= 24:
        assert set(orders) == set(itertools.permutations(range(rows)))
    else:  # slightly fewer than the expected number of different ones in 400 draws
        expected = possible * (1 - (1 - 1 / possible) ** 400)
        assert len(set(orders)) > 0.9 * expected
    firsts = np.bincount([order[0] for order in orders], minlength=rows)
    if rows > 1:
        assert chi_square(firsts) < 5


def test_an_order_without_a_seed_is_the_datas() -> None:
    assert np.array_equal(Order(7, None).indices(0), np.arange(7))
    assert np.array_equal(Order(7, None).indices(5), np.arange(7))
    shuffled = Order(50, 3)
    for pass_number in (0, 1, 0):
        assert np.array_equal(shuffled.indices(pass_number), permutation(50, 3, pass_number))


def test_gathers_of_a_pass_visit_every_row_once() -> None:
    backend = get_backend("numpy")
    control, order = Control(backend), Order(23, 5)
    source = np.arange(23, dtype=np.float32).reshape(23, 1)
    seen = []
    for size in (10, 10, 3):
        out = np.empty((size, 1), np.float32)
        backend.gather(source, order, control, out)
        seen += out[:, 0].tolist()
        control.set(POSITION, int(control.get()[POSITION]) + size)
    assert seen == permutation(23, 5, 0).tolist()
    control.set(PASS, 1)
    control.set(POSITION, 0)
    out = np.empty((23, 1), np.float32)
    backend.gather(source, order, control, out)
    assert out[:, 0].tolist() == permutation(23, 5, 1).tolist()


# -- dropout


def numpys_numbers(seed: int, stream: int, batch: int, shape: tuple[int, ...]) -> np.ndarray:
    """Generate the stream named in the contract, with NumPy's public interface alone."""
    counter = np.array([0, 0, batch, stream], np.uint64)
    bits = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=counter)
    return np.random.Generator(bits).random(shape, dtype=np.float32)


def drop(
    x: np.ndarray, rate: float, seed: int = 1, stream: int = 0, batch: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    backend = get_backend("numpy")
    control = Control(backend)
    control.set(BATCHES, batch)
    out, mask = np.empty_like(x), np.empty(x.shape, bool)
    backend.dropout(x, rate, seed, stream, control, out, mask)
    return out, mask


@given(
    SEEDS,
    st.integers(0, 1000),
    st.integers(0, 2**62),
    st.sampled_from([0.0, 0.1, 0.5, 0.999, 1.0]),
    st.tuples(st.integers(1, 9), st.integers(1, 33)),
)
@settings(max_examples=100)
def test_dropout_keeps_what_numpys_philox_says(
    seed: int, stream: int, batch: int, rate: float, shape: tuple[int, int]
) -> None:
    x = np.ones(shape, np.float32)
    out, mask = drop(x, rate, seed, stream, batch)
    kept = numpys_numbers(seed, stream, batch, shape) < 1.0 - rate
    assert np.array_equal(mask, kept)
    assert np.array_equal(out != 0, kept)
    if kept.any():
        np.testing.assert_allclose(out[kept], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.9])
def test_dropouts_share_and_mean(rate: float, dtype: str) -> None:
    n = 400_000
    x = np.random.default_rng(0).uniform(1, 2, (1000, n // 1000)).astype(dtype)
    out, mask = drop(x, rate)
    assert out.dtype == dtype
    share = math.sqrt(rate * (1 - rate) / n)  # standard deviation of the share dropped
    assert abs((~mask).mean() - rate) < 5 * share
    # The variance of mask x / (1 - rate) is E[x^2] rate / (1 - rate).
    deviation = math.sqrt((x**2).mean() * rate / (1 - rate) / n)
    assert abs(out.mean() - x.mean()) < 5 * deviation
    # Neighbours are dropped independently, along rows and along columns.
    for a, b in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / math.sqrt(a.size)


def test_dropouts_gradient_uses_the_same_mask() -> None:
    backend = get_backend("numpy")
    x = np.random.default_rng(0).standard_normal((50, 40)).astype(np.float32)
    _, mask = drop(x, 0.3)
    dx = np.empty_like(x)
    backend.dropout_gradient(x, 0.3, mask, dx)
    np.testing.assert_allclose(dx, np.where(mask, x / 0.7, 0), rtol=1e-6)


def test_batches_streams_and_seeds_have_masks_of_their_own() -> None:
    x = np.ones((100, 100), np.float32)
    masks = [
        drop(x, 0.5, **place)[1]
        for place in ({}, {"batch": 1}, {"stream": 1}, {"seed": 2}, {"batch": 2**40})
    ]
    for a, b in itertools.combinations(masks, 2):
        assert abs((a == b).mean() - 0.5) < 5 * 0.5 / 100


def test_the_layer_drops_in_training_only() -> None:
    x = np.ones((200, 50), np.float32)
    layer = layers.Dropout(0.25, seed=3)
    assert np.array_equal(layer(x), x)
    first, second = layer(x, training=True), layer(x, training=True)
    assert np.array_equal(first != 0, numpys_numbers(3, 0, 0, x.shape) < 0.75)
    assert np.array_equal(second != 0, numpys_numbers(3, 0, 1, x.shape) < 0.75)
    assert not layers.Dropout(1.0)(x, training=True).any()
    assert np.array_equal(layers.Dropout(0.0)(x, training=True), x)
