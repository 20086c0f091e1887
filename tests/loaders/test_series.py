"""`timeseries_dataset_from_array`: NumPy's windows, Keras's examples, and training on them."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import gpunn
from gpunn import layers
from gpunn.utils import timeseries_dataset_from_array as windows_of

RNG = np.random.default_rng(3)
SERIES, ANSWERS = RNG.normal(size=(60, 2)), RNG.normal(size=60)


def windows(x: np.ndarray, length: int, stride: int, rate: int) -> np.ndarray:
    whole = sliding_window_view(x, (length - 1) * rate + 1, axis=0)
    return np.moveaxis(whole[::stride, ..., ::rate], -1, 1)


def stacked(data: Any) -> Any:
    batches = list(data)
    if isinstance(batches[0], tuple):
        return tuple(np.concatenate([np.asarray(b[k]) for b in batches]) for k in (0, 1))
    return np.concatenate([np.asarray(batch) for batch in batches])


@pytest.mark.parametrize(
    ("length", "stride", "rate"), list(itertools.product((1, 5), (1, 3), (1, 4)))
)
@pytest.mark.parametrize(("start", "end"), [(None, None), (7, None), (None, 40), (7, 40)])
def test_windows_are_those_of_numpy(
    length: int, stride: int, rate: int, start: int | None, end: int | None
) -> None:
    options: Any = {"sequence_stride": stride, "sampling_rate": rate, "batch_size": 4,
                    "start_index": start, "end_index": end}  # fmt: skip
    expected = windows(SERIES[start:end], length, stride, rate)
    data = windows_of(SERIES, None, length, **options)
    assert np.array_equal(stacked(data), expected) and len(data) == -(-len(expected) // 4)
    x, y = stacked(windows_of(SERIES, ANSWERS, length, **options))
    assert np.array_equal(x, expected)
    assert np.array_equal(y, ANSWERS[start:end][::stride][: len(expected)])


def test_the_first_example_of_keras() -> None:
    found = stacked(windows_of(np.arange(99), None, 10, sequence_stride=3, sampling_rate=2))
    assert found[[0, 1, -1]].tolist() == [
        [*range(0, 20, 2)], [*range(3, 23, 2)], [*range(78, 98, 2)],
    ]  # fmt: skip


def test_the_second_example_of_keras() -> None:
    data = np.arange(50.0)
    for inputs, targets in windows_of(data[:-10], data[10:], sequence_length=10):
        assert np.array_equal(inputs[0], data[:10]) and np.array_equal(targets[0], data[10])
        break


def test_the_third_example_of_keras() -> None:
    x = np.arange(100)
    parts = [windows_of(part, None, 20, sequence_stride=20) for part in (x, x * 2)]
    for inputs, targets in zip(*parts, strict=True):
        assert np.array_equal(np.asarray(targets), np.asarray(inputs) * 2)
        assert np.array_equal(targets[1], 2 * x[20:40])


def test_shuffling_keeps_pairs_and_is_determined_by_the_seed() -> None:
    expected = windows(SERIES, 5, 1, 1)

    def passes(seed: int) -> list[Any]:
        data = windows_of(SERIES, np.arange(60), 5, batch_size=7, shuffle=True, seed=seed)
        return [stacked(data), stacked(data)]

    found = passes(1)
    for x, y in found:
        assert sorted(y.tolist()) == [*range(56)] and np.array_equal(x, expected[y])
    orders = [y.tolist() for _, y in (*found, *passes(1), *passes(2))]
    assert orders[:2] == orders[2:4] and len({*map(tuple, orders)}) == 4


def test_forms_of_data(tmp_path: Path) -> None:
    expected = windows(SERIES, 5, 1, 2)
    for given in (SERIES.tolist(), SERIES[:, ::-1][:, ::-1], gpunn.ops.convert_to_tensor(SERIES)):
        np.testing.assert_allclose(stacked(windows_of(given, None, 5, 1, 2)), expected, rtol=1e-6)
    np.save(tmp_path / "series.npy", SERIES)
    mapped = np.load(tmp_path / "series.npy", mmap_mode="r")
    assert np.array_equal(stacked(windows_of(mapped, None, 5, 1, 2)), expected)
    single = list(windows_of(SERIES, ANSWERS, 5, batch_size=None))
    assert len(single) == 56 and single[3][0].shape == (5, 2) and single[3][1].shape == ()
    for dtype in ("uint8", "int64", "float32"):
        data = windows_of(np.zeros(9, dtype), None, 3)
        assert [batch.dtype for batch in data.as_numpy_iterator()] == [dtype]


def test_windows_without_a_target_are_left_out() -> None:
    x, y = stacked(windows_of(SERIES, ANSWERS[:20], 5, start_index=10))
    assert len(x) == 10 and np.array_equal(y, ANSWERS[10:20])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sequence_length": 61}, "no window: each takes 61 steps"),
        ({"sequence_length": 20, "sampling_rate": 4}, "each takes 77 steps"),
        ({"targets": ANSWERS[:5], "start_index": 5}, "no window: .* and 5 targets"),
        ({"sequence_length": 0}, "sequence_length"),
        ({"sequence_stride": 0}, "sequence_stride"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"start_index": -1}, "start_index"),
        ({"start_index": 9, "end_index": 9}, "start_index must be below end_index"),
        ({"end_index": 61}, "at most 60"),
        ({"batch_size": 0}, "batch_size"),
        ({"data": 3.0}, "axis of steps"),
        ({"format": "grain"}, "format"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_unusable_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"data": SERIES, "targets": None, "sequence_length": 5}
    with pytest.raises(ValueError, match=message):
        windows_of(**(options | given))


def network() -> gpunn.Sequential:
    gpunn.utils.set_random_seed(4)
    model = gpunn.Sequential([layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_training_equals_that_on_the_windows(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    data = windows_of(SERIES, ANSWERS, 5, sampling_rate=2, batch_size=8)
    x, y = windows(SERIES, 5, 1, 2), ANSWERS[:52]
    losses = []
    for given in ((data,), (x, y, 8)):
        model = network()
        fitted = model.fit(*given, epochs=2, shuffle=False, verbose=0, validation_data=data)
        losses.append(fitted.history["loss"] + fitted.history["val_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_allclose(
        model.evaluate(data, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-5
    )
    predicted = model.predict(windows_of(SERIES, None, 5, sampling_rate=2, batch_size=8), verbose=0)
    np.testing.assert_allclose(predicted, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


WHOLE = RNG.integers(0, 256, (60, 2))
FORMS = {
    "bytes": WHOLE.astype("uint8"),
    "integers": WHOLE,
    "floats": SERIES.astype("float32"),
    "numbers": SERIES[:, 0],
    "images": RNG.normal(size=(60, 2, 3)),
}


@pytest.mark.parametrize(("length", "stride", "rate"), [(7, 1, 1), (4, 3, 2), (3, 2, 5)])
@pytest.mark.parametrize("form", FORMS)
def test_steps_that_gather_windows_give_the_bits_of_windows(
    form: str, length: int, stride: int, rate: int, every_backend: str
) -> None:
    """Shuffled, with a scaled input, and a last batch of other size."""
    gpunn.use_backend(every_backend)
    series = FORMS[form]
    options: Any = {"sequence_stride": stride, "sampling_rate": rate}
    data = windows_of(series, ANSWERS, length, batch_size=8, shuffle=True, **options)
    x = np.ascontiguousarray(windows(series, length, stride, rate))
    y = ANSWERS[::stride][: len(x)]
    assert len(x) % 8
    fitted = []
    for given in ((data,), (x, y, 8)):
        gpunn.utils.set_random_seed(4)
        model = gpunn.Sequential([layers.Rescaling(1 / 128, -1), *network().layers])
        model.compile("sgd", "mse")
        model.fit(*given, epochs=3, verbose=0)
        fitted.append([*model.get_weights(), model.evaluate(*given[:2], verbose=0, batch_size=8)])
    for ours, expected in zip(*fitted, strict=True):
        assert np.array_equal(ours, expected)


def test_the_seed_of_the_data_set_determines_the_order_of_training() -> None:
    weights = []
    for seed in (1, 1, 2):
        model = network()
        gpunn.utils.set_random_seed(len(weights))
        data = windows_of(SERIES, ANSWERS, 5, batch_size=8, shuffle=True, seed=seed)
        model.fit(data, epochs=2, verbose=0)
        weights.append(model.get_weights()[0])
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_windows_of_tokens(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    text = RNG.integers(0, 9, 60)
    fitted = []
    for x in (windows_of(text[:-6], text[6:], 6, batch_size=8), windows(text[:-6], 6, 1, 1)):
        gpunn.utils.set_random_seed(4)
        model = gpunn.Sequential([layers.Embedding(9, 4), layers.Flatten(), layers.Dense(9)])
        model.compile("sgd", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
        y = None if not isinstance(x, np.ndarray) else text[6:55]
        x = x if y is None else np.ascontiguousarray(x)
        model.fit(x, y, 8 if y is not None else None, shuffle=False, verbose=0)
        fitted.append(model.get_weights())
    for ours, expected in zip(*fitted, strict=True):
        assert np.array_equal(ours, expected)


def test_any_view_of_overlapping_windows_takes_the_memory_of_its_series() -> None:
    series = np.random.default_rng(0).normal(size=(20_000, 4)).astype("float32")
    x = np.moveaxis(sliding_window_view(series, 100, axis=0), -1, 1)  # 32 MB of 320 kB
    network().fit(x[:500], series[:500, 0], epochs=1, verbose=0)
    tracemalloc.start()
    network().fit(x, series[: len(x), 0], validation_split=0.2, epochs=1, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * series.nbytes


def test_few_windows_with_gaps_are_held_out(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    x, losses = windows(SERIES, 3, 1, 5), []
    for given in (x, np.ascontiguousarray(x)):
        options: Any = {"validation_split": 2 / len(x), "shuffle": False, "verbose": 0}
        losses.append(network().fit(given, ANSWERS[: len(x)], **options).history["val_loss"])
    assert losses[0] == losses[1]


def test_a_series_in_a_file_is_read_from_it(tmp_path: Path) -> None:
    np.save(tmp_path / "series.npy", SERIES.astype("float32"))
    losses = []
    for series in (np.load(tmp_path / "series.npy", mmap_mode="r"), SERIES.astype("float32")):
        fitted = network().fit(windows_of(series, ANSWERS, 5), epochs=2, verbose=0)
        losses.append(fitted.history["loss"])
    assert losses[0] == losses[1]
    mapped = np.load(tmp_path / "series.npy", mmap_mode="r+")
    data = windows_of(mapped, ANSWERS, 5)
    with (tmp_path / "series.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(ValueError, match="has become shorter"):
        network().fit(data, verbose=0)


def test_a_gap_in_the_series_is_refused() -> None:
    gap = SERIES.copy()
    gap[30, 1] = np.nan
    with pytest.raises(ValueError, match=r"nan at \[26, 4, 1\]"):
        network().fit(windows_of(gap, ANSWERS, 5), verbose=0)
    gap[31, 1], gap[30, 1] = gap[30, 1], 0  # no window of even entries contains it
    network().fit(windows_of(gap, ANSWERS, 5, 2, sampling_rate=2), verbose=0)


def test_memory_is_that_of_the_series() -> None:
    series = np.zeros((20_000, 4), "float32")  # its windows take 100 times as much
    network().fit(windows_of(series[:500], series[:500, 0], 100, batch_size=16), verbose=0)
    tracemalloc.start()
    network().fit(windows_of(series, series[:, 0], 100, batch_size=16), epochs=1, verbose=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * series.nbytes
