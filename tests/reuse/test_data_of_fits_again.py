"""Data that a fit, evaluation or prediction has left early serve the next model like new ones."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from properties.reused import (
    HOOKS,
    LEAVING,
    Leaving,
    Trap,
    assert_leaves_nothing,
    interrupted_by,
    network,
    plain,
    threads_end,
)

import gpunn as tf
from gpunn.utils import (
    PyDataset,
    image_dataset_from_directory,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)

RANDOM = np.random.default_rng(2)
X, Y = RANDOM.standard_normal((10, 3)), RANDOM.standard_normal((10, 2))


class Numbered(PyDataset):
    """Batches by number; each passes a trap."""

    def __init__(self, trap: Trap) -> None:
        super().__init__(workers=2)
        self.trap = trap

    def __len__(self) -> int:
        return 3

    def __getitem__(self, number: int) -> Any:
        rows = slice(4 * number, 4 * number + 4)
        return self.trap((X[rows], Y[rows]))


class Listed:
    """An iterable that begins anew each time, as PyTorch's loaders do."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, 10, 4):
            yield self.trap((X[start : start + 4], Y[start : start + 4]))


def pictures(folder: Path, trap: Trap) -> Any:
    """Two classes of pictures that are resized, so that each batch is read from files."""
    for number in range(8):
        path = folder / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray(np.full((3, 3, 3), 30 * number, np.uint8)).save(path)
    data = image_dataset_from_directory(
        folder, image_size=(2, 2), batch_size=3, seed=4, verbose=False, label_mode="categorical"
    )
    return data.map(lambda x, y: trap((x / 255, y)))


def texts(folder: Path, trap: Trap) -> Any:
    for number in range(8):
        path = folder / str(number % 2) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ab" * number)
    data = text_dataset_from_directory(
        folder, batch_size=3, seed=4, verbose=False, label_mode="categorical"
    )
    return data.map(lambda x, y: trap(([[float(len(text))] for text in x], y)))


def shuffled(trap: Trap) -> Any:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).cache().shuffle(4, seed=2)
    return data.batch(4).map(lambda *batch: trap(batch)).prefetch(2)


KINDS: dict[str, Callable[[Path, Trap], Any]] = {
    "data set": lambda folder, trap: shuffled(trap),
    "PyDataset": lambda folder, trap: Numbered(trap),
    "iterable": lambda folder, trap: Listed(trap),
    "series": lambda folder, trap: timeseries_dataset_from_array(X, Y, 3, 1, 1, 3, True),
    "pictures": pictures,
    "texts": texts,
}  # fmt: skip
SOURCES = ("series",)  # whose batches a program gathers, where nothing can be raised


def results(data: Any, backend: str, *callbacks: Any, inside: bool = False) -> list[Any]:
    """Fit a new model, evaluate it and predict; with ``inside`` only the fit."""
    model = network(backend)
    history = model.fit(data, epochs=2, verbose=0, validation_data=data, callbacks=list(callbacks))
    found = [history.history, model.get_weights()]
    if not inside:
        rows = model.predict(data, verbose=0)  # in the order of the next pass
        found += [model.evaluate(data, verbose=0), sorted(np.round(rows, 5).tolist())]
    return plain(found)


def leave(data: Any, backend: str, trap: Trap, draw: random.Random, kind: str) -> None:
    """Leave one fit, evaluation or prediction by a callback, or by the data themselves."""
    error = draw.choice(LEAVING)
    model = network(backend)
    road = draw.choice(["fit", "evaluate", "predict", "data"])
    if road == "data" and kind not in SOURCES:
        trap.set(draw.randint(0, 9), error)
        interrupted_by(trap, lambda: results(data, backend))
        return
    own = Trap()
    own.set(draw.randint(0, 1), error)
    if road == "evaluate":
        hook = Leaving(draw.choice(["on_test_batch_begin", "on_test_batch_end"]), own)
        interrupted_by(own, lambda: model.evaluate(data, verbose=0, callbacks=[hook]))
    elif road == "predict":
        hook = Leaving("on_predict_batch_end", own)
        interrupted_by(own, lambda: model.predict(data, verbose=0, callbacks=[hook]))
    else:
        hook = Leaving(draw.choice(HOOKS), own)
        interrupted_by(own, lambda: results(data, backend, hook, inside=True))


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_were_left_early_are_like_new(kind: str, backend: str, tmp_path: Path) -> None:
    check(kind, backend, tmp_path, 3)


@pytest.mark.more(2)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_data_that_were_left_often(kind: str, backend: str, tmp_path: Path, seed: int) -> None:
    check(kind, backend, tmp_path, 12, seed)


def check(kind: str, backend: str, folder: Path, times: int, seed: int = 0) -> None:
    before = {*threading.enumerate()}
    draw, trap = random.Random(f"{seed} {kind}"), Trap()
    tf.utils.set_random_seed(seed)
    data = KINDS[kind](folder, trap)
    tf.utils.set_random_seed(seed)
    wanted = results(KINDS[kind](folder, Trap()), backend)
    for _ in range(times):
        leave(data, backend, trap, draw, kind)
    assert results(data, backend) == wanted
    assert results(data, backend) == wanted  # another model, with the same data
    pool = {thread for thread in threading.enumerate() if thread.name.startswith("decode")}
    assert threads_end(before | pool)


def test_an_iterator_goes_on_where_it_was_left(backend: str) -> None:
    """Each fit reads as many batches as it has steps, and one that is left no more than that."""
    read: list[int] = []

    def batches() -> Generator[Any, None, None]:
        while True:
            number = len(read) % 5
            read.append(number)
            yield X[number : number + 4], Y[number : number + 4]

    own, trap, alone = batches(), Trap(), network(backend)
    model = network(backend)
    for steps, left in ((2, None), (3, 1), (3, 2), (1, None), (4, 0)):
        start = len(read)
        if left is None:
            model.fit(own, epochs=2, steps_per_epoch=steps, verbose=0)
            done = 2 * steps
        else:
            trap.set(left)
            hook = Leaving("on_train_batch_end", trap)
            given = {"steps_per_epoch": steps, "verbose": 0, "callbacks": [hook]}
            assert interrupted_by(trap, partial(model.fit, own, **given))
            done = left + 1
        assert len(read) == start + done
        for number in read[start:]:
            alone.train_on_batch(X[number : number + 4], Y[number : number + 4])
    for one, other in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    own.close()
    with pytest.raises(ValueError, match="no batches"):
        model.fit(own, steps_per_epoch=1, verbose=0)


def test_fits_left_early_leave_nothing(backend: str) -> None:
    rows = np.zeros((6, 10_000))
    data = tf.data.Dataset.from_tensor_slices((rows, rows[:, :2])).batch(2).prefetch(1)
    draw = random.Random(1)

    def use() -> None:
        trap = Trap()
        model = network(backend, tf.layers.Dense(2))
        trap.set(draw.randint(0, 2), draw.choice(LEAVING))
        hooks = [Leaving(draw.choice(HOOKS), trap)]
        given = {"validation_data": data, "callbacks": hooks}
        interrupted_by(trap, lambda: model.fit(data, verbose=0, **given))

    assert_leaves_nothing(use, 6, 200_000)


KEPT = {
    "contiguous": lambda x: x,
    "every other column": lambda x: x.repeat(2, axis=1)[:, ::2],
    "in the order of Fortran": np.asfortranarray,
    "from the end": lambda x: np.ascontiguousarray(x[::-1])[::-1],
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("dtypes", [("uint8", "float32"), ("bool", "float64", "int16"),
                                    ("float64", "uint8", "float32"), ("float32", "int8")])
def test_arrays_of_one_shape_may_have_another_dtype(
    backend: str, dtypes: tuple[str, ...], kept: str
) -> None:
    def model() -> Any:
        tf.utils.set_random_seed(0)
        made = tf.Sequential([tf.Input((3,)), tf.layers.Dense(2)], backend=backend)
        made.compile(tf.optimizers.SGD(0.0), "mse")
        return made

    def losses(made: Any, k: int) -> Any:
        x = KEPT[kept]((X * 2 + k / 4).astype(dtypes[k]))
        of = {"batch_size": 4, "shuffle": False, "verbose": 0}
        return [made.fit(x, Y, epochs=epochs, **of).history["loss"] for epochs in (1, 2)]

    expected = [losses(model(), k) for k in range(len(dtypes))]
    one = model()
    for k, wanted in enumerate(expected):
        for found, each in zip(losses(one, k), wanted, strict=True):
            assert found == pytest.approx(each, rel=1e-6)
