"""Test that a run stopped anywhere and resumed ends with the same bits, for every kind of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import gpunn
from gpunn import callbacks, layers
from gpunn.feeding import rows, sparse

ROWS, SIZE = 22, 5  # five batches a pass, the last one smaller
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(ROWS, 4)).astype("float32")
Y = RANDOM.integers(0, 3, ROWS)
PARTS = [(X[at : at + SIZE], Y[at : at + SIZE]) for at in range(0, ROWS, SIZE)]


class Numbered:
    """Batches by index, without a base class."""

    def __len__(self) -> int:
        return len(PARTS)

    def __getitem__(self, number: int) -> Any:
        if not 0 <= number < len(PARTS):
            raise IndexError(number)
        return PARTS[number]


class Sequence(gpunn.utils.PyDataset):
    def __len__(self) -> int:
        return len(PARTS)

    def __getitem__(self, index: int) -> Any:
        return PARTS[index]


class SelfShuffled(Sequence):
    """As in Keras's guides: the order is drawn at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.random, self.order = np.random.default_rng(3), np.arange(ROWS)

    def __getitem__(self, index: int) -> Any:
        chosen = self.order[index * SIZE : (index + 1) * SIZE]
        return X[chosen], Y[chosen]

    def on_epoch_end(self) -> None:
        self.random.shuffle(self.order)


class Endless(Sequence):
    num_batches = None  # type: ignore[assignment]

    def __getitem__(self, index: int) -> Any:
        drawn = np.random.default_rng(index).integers(0, ROWS, SIZE)
        return X[drawn], Y[drawn]


class Loader:
    """Iterated again each pass, in an order that is drawn when the pass begins."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(4)

    def __iter__(self) -> Iterator[Any]:
        order = self.random.permutation(ROWS)
        for at in range(0, ROWS, SIZE):
            yield X[order[at : at + SIZE]], Y[order[at : at + SIZE]]


def generator() -> Iterator[Any]:
    random = np.random.default_rng(6)
    while True:
        drawn = random.integers(0, ROWS, SIZE)
        yield X[drawn], Y[drawn]


def samples() -> Any:
    return gpunn.data.Dataset.from_tensor_slices((X, Y))


def mapped(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


# Rebuilds the data as a restarted process does: arguments of fit.
KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "arrays": lambda folder: {"x": X, "y": Y},
    "lists": lambda folder: {"x": X.tolist(), "y": Y.tolist()},
    "a frame": lambda folder: {"x": pd.DataFrame(X), "y": pd.Series(Y)},
    "arrays as they stand": lambda folder: {"x": X, "y": Y, "shuffle": False},
    "a memory map": lambda folder: {"x": mapped(folder), "y": Y},
    "streamed": lambda folder: {"x": X, "y": Y},
    "sparse rows": lambda folder: {"x": scipy.sparse.csr_matrix(X), "y": Y},
    "many sparse rows": lambda folder: {"x": scipy.sparse.csr_matrix(X), "y": Y},
    "many sparse rows as they stand": lambda folder: {
        "x": scipy.sparse.csr_matrix(X), "y": Y, "shuffle": False
    },
    "a list of batches": lambda folder: {"x": list(PARTS)},
    "a loader": lambda folder: {"x": Loader()},
    "a generator": lambda folder: {"x": generator(), "steps_per_epoch": 4},
    "numbered": lambda folder: {"x": Numbered()},
    "a data set": lambda folder: {"x": Sequence()},
    "a data set as it stands": lambda folder: {"x": Sequence(), "shuffle": False},
    "a data set that shuffles itself": lambda folder: {"x": SelfShuffled()},
    "a data set without end": lambda folder: {"x": Endless(), "steps_per_epoch": 4},
    "samples": lambda folder: {"x": samples().shuffle(7, seed=1).batch(SIZE)},
    "samples, repeated": lambda folder: {
        "x": samples().shuffle(30, seed=1).batch(SIZE).repeat(), "steps_per_epoch": 4
    },
    "samples, kept": lambda folder: {"x": samples().shuffle(30, seed=1).cache().batch(SIZE)},
    "rows held out at random": lambda folder: {
        "x": X, "y": Y, "validation_split": 0.3, "validation_strategy": "shuffled"
    },
    "rows held out by class": lambda folder: {
        "x": X, "y": Y, "validation_split": 0.3, "validation_strategy": "stratified"
    },
    "validated by a loader": lambda folder: {"x": X, "y": Y, "validation_data": Loader(),
        "validation_steps": 2},
    "validated by a generator": lambda folder: {"x": X, "y": Y, "validation_data": generator(),
        "validation_steps": 3},
    "validated by samples": lambda folder: {"x": X, "y": Y, "validation_steps": 2,
        "validation_data": samples().shuffle(30, seed=1).batch(SIZE)},
}  # fmt: skip
EPOCHS = 4


class Stop(Exception):
    pass


class Stopping(callbacks.Callback):
    """Raises after so many batches, or when an epoch begins, or when training ends."""

    def __init__(self, at: Any) -> None:
        self.at, self.batches = at, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        self.stop(self.batches)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.stop(f"epoch {epoch}")

    def on_train_end(self, logs: Any = None) -> None:
        self.stop("end")

    def stop(self, place: Any) -> None:
        if place == self.at:
            raise Stop


def train(kind: str, folder: Path, stop: Any = None, **arguments: Any) -> tuple[Any, ...]:
    """Weights and history of a run in this folder; the model draws its own seed."""
    dense, drop = layers.Dense(5, "relu", kernel_initializer="ones"), layers.Dropout(0.3)
    model = gpunn.Sequential([layers.Input((4,)), dense, drop, layers.Dense(3)], backend="numpy")
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(gpunn.optimizers.Adam(0.05), loss)
    data = {"batch_size": SIZE} if kind_has_rows(kind) else {}
    history = model.fit(
        **{**KINDS[kind](folder), **data, **arguments}, epochs=EPOCHS, verbose=0,
        callbacks=[Stopping(stop), callbacks.BackupAndRestore(folder / "backup", 1)],
    )  # fmt: skip
    return [weight.tobytes() for weight in model.get_weights()], history.history


def kind_has_rows(kind: str) -> bool:
    return kind.startswith(
        ("array", "list", "a frame", "a memory", "streamed", "sparse", "many", "rows", "valid")
    )


# Completed batches: within a pass of five or three, at its end, within a later one.
PLACES = [2, 3, 5, 7, "epoch 2", "end"]
# `make test` stops each kind at every other one, `make test-more` at all of them.
IN_TURN = {kind: PLACES[number % 2 :: 2] for number, kind in enumerate(KINDS)}


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Limit the available memory as the name of a kind says."""

    def make(kind: str) -> None:
        if kind == "streamed":
            monkeypatch.setattr(rows, "_lack", lambda *of: True)
        if kind.startswith("many sparse"):
            monkeypatch.setattr(sparse, "DENSE_BYTES", 0)

    return make


@pytest.mark.in_turn(2)
@pytest.mark.filterwarnings("ignore:.*data ran out:UserWarning")
@pytest.mark.parametrize(
    ("steps", "everywhere"),
    [
        (None, False), pytest.param(None, True, marks=pytest.mark.more),
        pytest.param(3, True, marks=pytest.mark.more),
    ],
    ids=["a pass an epoch", "a pass an epoch, everywhere", "epochs of three batches"],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_anywhere_it_goes_on(
    kind: str, steps: int | None, everywhere: bool, rooms: Callable[[str], None], tmp_path: Path
) -> None:
    rooms(kind)
    arguments = {} if steps is None else {"steps_per_epoch": steps}
    gpunn.utils.set_random_seed(1)
    expected = train(kind, tmp_path, **arguments)
    for place in PLACES if everywhere else IN_TURN[kind]:
        gpunn.utils.set_random_seed(1)
        with pytest.raises(Stop):
            train(kind, tmp_path, place, **arguments)
        gpunn.utils.set_random_seed(2)  # another process, with another seed
        assert train(kind, tmp_path, **arguments) == expected, place
