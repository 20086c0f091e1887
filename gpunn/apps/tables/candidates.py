"""What is tried on a table: networks of several settings, and the linear model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpunn.apps.tables import linear
from gpunn.callbacks import Callback
from gpunn.common.random import seeded
from gpunn.models import Model, NonFiniteLossError

from .networks import MOST_PIECES, Network, Rows, built, joined, width_of
from .targets import TargetScale

TEMPERATURES = (1.0, 1.2, 1.5, 2.0, 3.0)
PATIENCE = 2  # lengths of training without improvement after which longer ones are not tried


@dataclass(frozen=True)
class Problem:
    """What is to be learned, whatever rows it is learned from.

    Attributes:
        classes: number of classes, 0 for regression.
        robust: whether the targets have outliers: Huber's loss is minimized.
        unit: for regression, the deviation that errors are measured in.
    """

    classes: int
    robust: bool = False
    unit: float = 1.0

    @property
    def loss(self) -> str:
        """The name of the loss that a network minimizes."""
        if self.classes:
            return "sparse_categorical_crossentropy"
        return "huber" if self.robust else "mse"

    def scale(self, y: np.ndarray, logs: bool) -> TargetScale:
        return TargetScale() if self.classes else TargetScale.of(y, logs)

    def losses(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the loss of each row (rows,): cross-entropy, squared error, or Huber's loss.

        Args:
            predicted: (..., rows, classes) probabilities, or (..., rows) numbers.
            y: (rows,).
        """
        if self.classes:
            of_truth = np.take_along_axis(
                predicted, y.reshape(*(1,) * (predicted.ndim - 2), -1, 1), -1
            )
            return -np.log(np.maximum(of_truth[..., 0].astype(np.float64), 1e-6))
        away = np.abs(predicted - y) / self.unit
        if self.robust:
            return np.where(away < 1, away**2, 2 * away - 1)
        return away**2

    def adjusted(
        self, predicted: np.ndarray, truth: np.ndarray, logs: bool
    ) -> tuple[np.ndarray, float]:
        """Return predictions that fit the truth better by one factor, and the factor.

        For classes it is the temperature that logits are divided by (Guo et al. 2017, "On
        calibration of modern neural networks"): a network is often too sure. For a network that
        learns logarithms it is what predictions are multiplied by, see `TargetScale`; else 1.
        """
        if self.classes:
            powers = [predicted ** (1 / t) for t in TEMPERATURES]
            found = [power / power.sum(axis=-1, keepdims=True) for power in powers]
            best = int(np.argmin([self.losses(one, truth).mean() for one in found]))
            return found[best], TEMPERATURES[best]
        if not logs:
            return predicted, 1.0
        factor = float(np.clip(truth.mean() / predicted.mean(), 0.5, 2.0))
        return predicted * factor, factor


@dataclass
class Fold:
    """Prepared rows to train on and to check by, their targets, and the latter's indices."""

    train: Rows
    y: np.ndarray
    check: Rows
    truth: np.ndarray
    rows: np.ndarray


@dataclass
class Learnt:
    """A model of prepared rows, with the scale of its outputs."""

    model: Model
    scale: TargetScale

    def predict(self, rows: Rows) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers (rows,) in the target's units."""
        outputs = self.model.predict(rows.inputs, batch_size=8192, verbose=0)
        return outputs if outputs.shape[1] > 1 else self.scale.undone(outputs)

    def adjust(self, problem: Problem, factor: float) -> None:
        """Apply the factor of `Problem.adjusted`."""
        if not problem.classes:
            self.scale = replace(self.scale, factor=factor)
        elif factor != 1.0:
            last = self.model.get_layer("output")
            last.set_weights([w / np.float32(factor) for w in last.get_weights()])


def in_columns(rows: Rows, pieces: bool, by: Rows) -> Rows | np.ndarray:
    """Return prepared rows as a linear model takes them: with ``pieces`` an array of numbers in the
    pieces that other rows define, and of the other columns."""
    if not pieces:
        return rows
    encode = Model(*joined(True, by))
    return encode.predict(rows.inputs, batch_size=8192, verbose=0)


@dataclass(frozen=True)
class LinearModel:
    """Ridge or logistic regression; the path has the penalties.

    With ``pieces`` it is a sum of one curve for each number, and counts as a network without hidden
    layers, of which it is the solution.
    """

    logs: bool = False
    pieces: bool = False

    @property
    def is_network(self) -> bool:
        return self.pieces

    @property
    def name(self) -> str:
        said = "no hidden layer, numbers by quantiles" if self.pieces else "linear model"
        return said + (", logarithm of the target" if self.logs else "")

    def document(self) -> dict[str, Any]:
        """Return the settings for the model's file."""
        return {"linear": True, "logs": self.logs, "pieces": self.pieces}

    def work(self, rows: int, width: int, outputs: int) -> float:
        """Estimate the cost of learning from rows, in multiplications."""
        if outputs == 1:
            return 2.0 * rows * width**2 + 10.0 * width**3
        return 4.0 * rows * width * outputs * linear.STEPS + 1e8

    def parameters(self, width: int, outputs: int) -> int:
        """Return how many values it learns from inputs of a width, see `width_of`."""
        return Network(()).parameters(width, outputs)

    def training(self, rows: int, at: int) -> str:
        """Say how the solution at a place of the path is learned from some number of rows."""
        # Logistic regression has the first ones.
        return f"penalty {linear.OF_RIDGE[at]:g}"

    def _solutions(
        self, problem: Problem, rows: Rows, y: np.ndarray, scale: TargetScale
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        x = in_columns(rows, self.pieces, rows)
        if problem.classes:
            return linear.logistic(x, y, problem.classes)
        return linear.ridge(x, scale.learned(y)[:, 0])

    def path(
        self, problem: Problem, part: Fold, seed: int, places: range | None = None
    ) -> np.ndarray:
        """Return the predictions for the rows to check by, by each solution on the path: all of
        them, whichever ``places`` are asked for, since they cost little."""
        check = in_columns(part.check, self.pieces, part.train)
        x = np.asarray(check.joined() if isinstance(check, Rows) else check, np.float64)
        scale = problem.scale(part.y, self.logs)
        found = []
        for kernel, bias in self._solutions(problem, part.train, part.y, scale):
            outputs = x @ kernel + bias
            found.append(_softmax(outputs) if problem.classes else scale.undone(outputs))
        return np.stack(found)

    def learn(
        self, problem: Problem, rows: Rows, y: np.ndarray, at: int, seed: int, *callbacks: Callback
    ) -> Learnt:
        """Return the solution at a place of the path; the callbacks are for its training."""
        scale = problem.scale(y, self.logs)
        solutions = self._solutions(problem, rows, y, scale)
        kernel, bias = next(w for i, w in enumerate(solutions) if i == at)
        model = built(Network((), pieces=self.pieces), rows, problem.classes, "linear")
        model.get_layer("output").set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
        return Learnt(model, scale)


class NetworkModel(Network):
    """A network; the path has the lengths of its training."""

    is_network = True

    def path(
        self, problem: Problem, part: Fold, seed: int, places: range | None = None
    ) -> np.ndarray:
        """Return the predictions for the rows to check by, by each solution on the path; NaN for
        those before the ``places`` that are asked for."""
        whole = range(len(self.lengths(len(part.train))))
        places = whole if places is None else whole[places.start : places.stop]
        found: list[np.ndarray] = []
        losses: list[float] = []
        training = Training(self, problem, part.train, part.y, seed)
        for at in places:
            try:
                learnt = training.learn(at)
            except NonFiniteLossError:
                shape = (len(part.truth), problem.classes)[: 2 if problem.classes else 1]
                found.append(np.full(shape, np.nan))
                break
            found.append(learnt.predict(part.check))
            losses.append(float(problem.losses(found[-1], part.truth).mean()))
            if len(losses) - 1 - int(np.argmin(losses)) >= PATIENCE:
                break
        return np.stack([np.full_like(found[0], np.nan)] * places.start + found)

    def learn(
        self, problem: Problem, rows: Rows, y: np.ndarray, at: int, seed: int, *callbacks: Callback
    ) -> Learnt:
        return Training(self, problem, rows, y, seed, bool(callbacks)).learn(at, *callbacks)


class Training:
    """The training of a network, of one length after another: each begins anew.

    Args:
        watched: whether callbacks are told of metrics.
    """

    def __init__(
        self, network: NetworkModel, problem: Problem, rows: Rows, y: np.ndarray, seed: int,
        watched: bool = False,
    ) -> None:
        self.network, self.rows, self.seed = network, rows, seed
        self.scale = problem.scale(y, network.logs)
        self.targets = y.astype(np.int32) if problem.classes else self.scale.learned(y)
        self.batch, _ = network.for_rows(len(rows))
        metrics = ["accuracy"] if problem.classes else ["mae"]
        with seeded(seed):
            self.model = built(network, rows, problem.classes)
            optimizer = network.made_optimizer()
            self.model.compile(optimizer, problem.loss, metrics=metrics if watched else None)
        self._set_back = self.model._training.current_trainer().setting_back()

    def learn(self, at: int, *callbacks: Callback) -> Learnt:
        """Return the network after the training at a place of its lengths; it is the same one for
        each."""
        epochs = self.network.lengths(len(self.rows))[at]
        steps = -(-len(self.rows) // self.batch) * epochs
        self._set_back()
        if self.network.optimizer is None:
            self.model.optimizer.learning_rate = self.network.falling_rate(steps)
        with seeded(self.seed):
            self.model.fit(
                self.rows.inputs,
                self.targets,
                batch_size=self.batch,
                epochs=epochs,
                verbose=0,
                callbacks=[*callbacks],
            )
        return Learnt(self.model, self.scale)


Candidate = LinearModel | NetworkModel
"""A way to learn from rows, with a path of solutions among which cross-validation chooses."""


def _softmax(logits: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


# In the order in which they are tried: the first ones have to do where the budget is small.
NETWORKS = (
    NetworkModel((128, 128), dropout=0.0, rate=3e-3),
    NetworkModel((128, 128), dropout=0.3, rate=1e-3, decay=0.02),
    NetworkModel((128, 128), dropout=0.1, rate=3e-3, pieces=True),
    NetworkModel((64,), "silu", dropout=0.3, rate=1e-3),
    NetworkModel((256, 256), dropout=0.1, rate=3e-3),
    NetworkModel((128, 128), dropout=0.3, rate=1e-3, decay=0.02, pieces=True),
    NetworkModel((), rate=1e-2, pieces=True),
    NetworkModel((128, 128, 128), "silu", dropout=0.1, rate=1e-3),
    NetworkModel((32,), dropout=0.0, rate=3e-3, decay=0.1),
    NetworkModel((256, 256), dropout=0.3, rate=3e-3, pieces=True),
    NetworkModel((128, 128), "silu", dropout=0.0, rate=3e-3, decay=0.05),
    NetworkModel((256, 256, 256), dropout=0.2, rate=1e-3),
)
MOST_DRAWN = 1000  # networks that `more` draws
LOGS_TRIED = (0, 2, 4)  # networks that are also tried on the logarithm of a skewed target


def candidates(given: dict[str, Any], skewed: bool) -> list[Candidate]:
    """Return what is tried, the linear model first, with the settings that the user gave:
    candidates that then are equal are tried once. With ``skewed``, logarithms of the target are
    also tried."""
    networks = [replace(network, **given) for network in NETWORKS]
    if skewed:
        logs = [replace(networks[i], logs=True) for i in LOGS_TRIED]
        networks[1:1] = logs[:1]
        networks += logs[1:]
    scales = (False, True) if skewed else (False,)
    lines, curves = ([LinearModel(logs, pieces) for logs in scales] for pieces in (False, True))
    return [*lines, *curves, *dict.fromkeys(networks)]


def usable(candidate: Candidate, rows: Rows) -> bool:
    """Whether a table's numbers are few enough to be encoded in pieces, if a candidate does it, and
    its rows few enough to hold the pieces of all of them, if it does that."""
    if not candidate.pieces:
        return True
    if isinstance(candidate, LinearModel) and len(rows) > linear.BLOCK:
        return False
    return 0 < width_of(rows, True) - rows.others.shape[1] <= MOST_PIECES


def more(given: dict[str, Any], skewed: bool, seed: int) -> Iterator[Candidate]:
    """Yield further networks, drawn at random."""
    random = np.random.default_rng(seed)
    seen = set(NETWORKS)
    for _ in range(MOST_DRAWN):
        width = int(random.choice([32, 64, 128, 256, 384]))
        drawn = NetworkModel(
            (width,) * int(random.integers(1, 4)),
            str(random.choice(["relu", "silu", "selu", "tanh"])),
            float(random.choice([0.0, 0.1, 0.2, 0.3, 0.5])),
            float(10 ** random.uniform(-3.5, -2)),
            float(random.choice([0.0, 0.02, 0.1])),
            bool(random.integers(2)),
            skewed and bool(random.integers(2)),
        )
        network = replace(drawn, **given)
        if network not in seen:
            seen.add(network)
            yield network
