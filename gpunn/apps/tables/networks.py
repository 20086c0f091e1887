"""The networks that are tried on a table, and how one is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.names import counted
from gpunn.layers import Concatenate, Dense, Dropout, Input, ReLU
from gpunn.models import Model
from gpunn.optimizers import AdamW
from gpunn.optimizers.schedules import CosineDecay

PIECES = 16  # pieces of a column's range, by its quantiles
MOST_VALUES = 50  # of a column, which then has a piece between each two of them
MOST_PIECES = 1024  # inputs that pieces may make
LENGTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of a training that are tried, in its epochs
MANY = 50_000  # rows
THINNEST = 1e-4  # width of a piece, in deviations


@dataclass
class Rows:
    """Prepared rows: scaled numbers (rows, n), and indicators and one-hot categories (rows, k)."""

    numbers: np.ndarray
    others: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, at: Any) -> Rows:
        return Rows(self.numbers[at], self.others[at])

    @property
    def arrays(self) -> list[np.ndarray]:
        """The inputs of a network: those that have columns."""
        return [part for part in (self.numbers, self.others) if part.shape[1]]

    @property
    def inputs(self) -> Any:
        """What a network takes: an array, or a list of two."""
        return self.arrays if len(self.arrays) > 1 else self.arrays[0]

    @property
    def width(self) -> int:
        return self.numbers.shape[1] + self.others.shape[1]

    def joined(self) -> np.ndarray:
        return np.concatenate(self.arrays, axis=1)


@dataclass(frozen=True)
class Network:
    """Settings of one network.

    Attributes:
        hidden: units of the hidden layers.
        activation: of the hidden layers.
        dropout: fraction of each hidden layer's outputs to drop in training.
        rate: learning rate at the beginning; it falls to 0 along a cosine.
        decay: weight decay of AdamW.
        pieces: whether each number is encoded by how far it has come through each piece of the
            column's range, see `piece_ends` (Gorishniy et al. 2022, "On embeddings for numerical
            features", piecewise linear encoding).
        logs: whether the logarithm of the target is learned.
        optimizer: name of another optimizer than AdamW; None for AdamW.
        batch_size, epochs: None for those that fit the number of rows.
    """

    hidden: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    dropout: float = 0.0
    rate: float | None = 3e-3
    decay: float = 0.0
    pieces: bool = False
    logs: bool = False
    optimizer: str | None = None
    batch_size: int | None = None
    epochs: int | None = None

    @property
    def name(self) -> str:
        """The settings in words, such as ``128-128 relu, dropout 0.1``."""
        said = ["-".join(map(str, self.hidden)) or "no hidden layer"]
        if self.hidden:
            said[0] += f" {self.activation}"
        said += [f"dropout {self.dropout:g}"] if self.dropout and self.hidden else []
        said += [f"weight decay {self.decay:g}"] if self.decay else []
        said += ["numbers by quantiles"] if self.pieces else []
        said += ["logarithm of the target"] if self.logs else []
        return ", ".join(said)

    def document(self) -> dict[str, Any]:
        """Return the settings for the model's file."""
        return {**asdict(self), "hidden": list(self.hidden)}

    def for_rows(self, rows: int) -> tuple[int, int]:
        """Return batch size and number of epochs.

        >>> Network().for_rows(150), Network().for_rows(5_000), Network().for_rows(500_000)
        ((16, 100), (128, 62), (256, 8))
        """
        usual = int(2 ** np.clip(round(np.log2(max(rows, 1) / 32)), 4, 8))
        epochs = 100 * min(1.0, 1000 / max(rows, 1)) ** 0.3
        epochs *= min(1.0, MANY / max(rows, 1)) ** 0.3  # of many rows, few passes are enough
        return self.batch_size or usual, self.epochs or max(round(epochs), 4)

    def work(self, rows: int, width: int, outputs: int) -> float:
        """Estimate the cost of a training, in multiplications and what takes as long as them.

        Args:
            width: number of inputs of the first layer, see `width_of`.
        """
        batch, epochs = self.for_rows(rows)
        sizes = (width, *self.hidden, outputs)
        weights = sum(a * b for a, b in pairwise(sizes))
        epochs = epochs if self.epochs else 2 * epochs  # of all lengths together
        steps = -(-rows // batch) * epochs
        return 3.0 * weights * rows * epochs + 5e5 * steps + 5e8

    def parameters(self, width: int, outputs: int) -> int:
        """Return the number of weights and biases that are learned from inputs of a width."""
        sizes = (width, *self.hidden, outputs)
        return sum((a + 1) * b for a, b in pairwise(sizes))

    def training(self, rows: int, at: int) -> str:
        """Say how long it is trained, and how.

        >>> Network(decay=0.1).training(150, 2)
        '25 epochs, batches of 16, AdamW at 0.003'
        """
        said = f"{counted(self.lengths(rows)[at], 'epoch')}, batches of {self.for_rows(rows)[0]}"
        name = type(self.made_optimizer()).__name__
        return f"{said}, {name}" + ("" if self.rate is None else f" at {self.rate:g}")

    def lengths(self, rows: int) -> list[int]:
        """Return the numbers of epochs among which cross-validation chooses.

        >>> Network().lengths(100), Network(epochs=30).lengths(100)
        ([6, 12, 25, 50, 100], [30])
        """
        _, epochs = self.for_rows(rows)
        return [epochs] if self.epochs else [max(1, round(epochs * part)) for part in LENGTHS]

    def falling_rate(self, steps: int) -> CosineDecay:
        """Return the learning rate of AdamW, which falls to 0 in so many steps."""
        return CosineDecay(1e-3 if self.rate is None else self.rate, steps)

    def made_optimizer(self) -> Any:
        """Return the optimizer; before a training, AdamW is given its `falling_rate`."""
        if self.optimizer is None:
            return AdamW(self.falling_rate(1), weight_decay=self.decay, beta_2=0.99)
        chosen = registry.lookup("optimizer", self.optimizer)
        return chosen() if self.rate is None else chosen(self.rate)


def piece_ends(numbers: np.ndarray) -> list[np.ndarray]:
    """Return the ends of the pieces that each column of scaled numbers (rows, n) is cut into.

    They are the column's values where these are few, so that each has an effect of its own, as with
    codes; else the quantiles. A value that many rows share gets a piece of width 0 behind it: a
    step.

    >>> numbers = np.concatenate([np.zeros(60), np.arange(40)])[:, None]
    >>> piece_ends(numbers[:62])[0].tolist(), len(piece_ends(np.arange(99.0)[:, None])[0])
    ([0.0, 1.0], 17)
    """
    found = []
    for column in numbers.T:
        ends = np.unique(column)
        if len(ends) > MOST_VALUES:
            ends = np.quantile(column, np.linspace(0, 1, PIECES + 1))
            ends = ends[np.r_[True, True, ends[2:] > ends[:-2]]]
        found.append(ends if len(ends) > 1 else np.r_[ends, ends + 1])
    return found


def in_pieces(x: Any, numbers: np.ndarray, free: Callable[[str], str]) -> Any:
    """Encode scaled numbers (rows, n) in pieces: min(max((x - a) / (b - a), 0), 1) for each piece
    from a to b, by the training rows; ``free`` makes layer names.
    """
    each = piece_ends(numbers)
    of = np.repeat(np.arange(len(each)), [len(ends) - 1 for ends in each])
    widths = np.maximum(np.concatenate([np.diff(ends) for ends in each]), THINNEST)
    kernel = np.zeros((len(each), len(of)))
    kernel[of, np.arange(len(of))] = 1 / widths
    bias = -np.concatenate([ends[:-1] for ends in each]) / widths
    dense = Dense(len(of), trainable=False, name=free("pieces"))
    x = dense(x)
    dense.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return ReLU(max_value=1.0, name=free("numbers in pieces"))(x)


def width_of(rows: Rows, pieces: bool) -> int:
    """Return the number of columns of prepared rows, with numbers in pieces if asked to."""
    if not pieces:
        return rows.width
    return sum(len(ends) - 1 for ends in piece_ends(rows.numbers)) + rows.others.shape[1]


def joined(pieces: bool, rows: Rows) -> tuple[list[Any], Any]:
    """Return a network's inputs for prepared rows, and the tensor of all columns: numbers as they
    are or in pieces, then the others."""
    ends = [Input((part.shape[1],), name=f"input {i}") for i, part in enumerate(rows.arrays)]
    parts = list(ends)
    if pieces:
        parts[0] = in_pieces(parts[0], rows.numbers, str)
    return ends, parts[0] if len(parts) == 1 else Concatenate(name="all columns")(parts)


def built(network: Network, rows: Rows, classes: int, name: str = "network") -> Model:
    """Return an untrained network for prepared rows, which take part by their quantiles only."""
    ends, x = joined(network.pieces, rows)
    for number, units in enumerate(network.hidden, 1):
        x = Dense(units, activation=network.activation, name=f"hidden {number}")(x)
        if network.dropout:
            x = Dropout(network.dropout, name=f"dropout {number}")(x)
    last: dict[str, Any] = {"activation": "softmax"} if classes else {}
    x = Dense(classes or 1, **last, name="output")(x)
    return Model(ends, x, name=name)
