"""The networks that are tried on a table, and how one is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gpunn.common import registry
from gpunn.common.names import counted
from gpunn.layers import Concatenate, Dense, Dropout, Input, Normalization, ReLU
from gpunn.models import Model
from gpunn.optimizers import AdamW
from gpunn.optimizers.schedules import CosineDecay

PIECES = 16  # pieces of a column's range, by its quantiles
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
        pieces: whether each number is encoded by its quantiles: how far it has come through each
            piece of the column's range (Gorishniy et al. 2022, "On embeddings for numerical
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
        """Estimate the cost of a training, in multiplications and what takes as long as them."""
        batch, epochs = self.for_rows(rows)
        sizes = (width * (PIECES if self.pieces else 1), *self.hidden, outputs)
        weights = sum(a * b for a, b in pairwise(sizes))
        epochs = epochs if self.epochs else 2 * epochs  # of all lengths together
        steps = -(-rows // batch) * epochs
        return 3.0 * weights * rows * epochs + 5e5 * steps + 5e8

    def parameters(self, columns: Rows, outputs: int) -> int:
        """Return the number of weights and biases that are learned for such prepared rows."""
        numbers, others = columns.numbers.shape[1], columns.others.shape[1]
        sizes = (numbers * (PIECES if self.pieces else 1) + others, *self.hidden, outputs)
        return sum((a + 1) * b for a, b in pairwise(sizes))

    def training(self, rows: int, at: int) -> str:
        """Say how long it is trained, and how.

        >>> Network(decay=0.1).training(150, 2)
        '25 epochs, batches of 16, AdamW at 0.003'
        """
        said = f"{counted(self.lengths(rows)[at], 'epoch')}, batches of {self.for_rows(rows)[0]}"
        name = type(self.made_optimizer(1)).__name__
        return f"{said}, {name}" + ("" if self.rate is None else f" at {self.rate:g}")

    def lengths(self, rows: int) -> list[int]:
        """Return the numbers of epochs among which cross-validation chooses.

        >>> Network().lengths(100), Network(epochs=30).lengths(100)
        ([6, 12, 25, 50, 100], [30])
        """
        _, epochs = self.for_rows(rows)
        return [epochs] if self.epochs else [max(1, round(epochs * part)) for part in LENGTHS]

    def made_optimizer(self, steps: int) -> Any:
        if self.optimizer is None:
            rate = 1e-3 if self.rate is None else self.rate
            return AdamW(CosineDecay(rate, steps), weight_decay=self.decay, beta_2=0.99)
        chosen = registry.lookup("optimizer", self.optimizer)
        return chosen() if self.rate is None else chosen(self.rate)


def in_pieces(x: Any, numbers: np.ndarray, free: Callable[[str], str]) -> Any:
    """Encode scaled numbers (rows, n) as (rows, n PIECES): min(max((x - a) / (b - a), 0), 1) for
    each piece from a to b, which are quantiles of the training rows; ``free`` makes layer names.
    """
    ends = np.quantile(numbers, np.linspace(0, 1, PIECES + 1), axis=0)  # (PIECES + 1, n)
    widths = np.maximum(np.diff(ends, axis=0), THINNEST).ravel()
    x = Concatenate(name=free("numbers for each piece"))([x] * PIECES)
    x = Normalization(mean=ends[:-1].ravel(), variance=widths**2, name=free("pieces"))(x)
    return ReLU(max_value=1.0, name=free("numbers in pieces"))(x)


def built(network: Network, rows: Rows, classes: int, name: str = "network") -> Model:
    """Return an untrained network for prepared rows, which take part by their quantiles only."""
    ends = [Input((part.shape[1],), name=f"input {i}") for i, part in enumerate(rows.arrays)]
    parts = list(ends)
    if network.pieces:
        parts[0] = in_pieces(parts[0], rows.numbers, str)
    x = parts[0] if len(parts) == 1 else Concatenate(name="all columns")(parts)
    for number, units in enumerate(network.hidden, 1):
        x = Dense(units, activation=network.activation, name=f"hidden {number}")(x)
        if network.dropout:
            x = Dropout(network.dropout, name=f"dropout {number}")(x)
    last: dict[str, Any] = {"activation": "softmax"} if classes else {}
    x = Dense(classes or 1, **last, name="output")(x)
    return Model(ends, x, name=name)
