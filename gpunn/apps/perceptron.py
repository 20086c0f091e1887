"""The perceptron: a threshold unit that learns from its mistakes, with scikit-learn's interface.

Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in
the brain", Psychological Review 65, 1958. Widrow and Hoff, "Adaptive switching circuits", 1960.
It is for small problems and for teaching: plain NumPy, one point at a time.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_integer, check_number

__all__ = ["ConvergenceWarning", "Perceptron", "mistake_bound"]


class ConvergenceWarning(UserWarning):
    """Issued when the epochs end before the learning rule has converged."""


@dataclass(eq=False, repr=False)
class Perceptron:
    """One unit, sign(w x), with the bias as the weight of an extra input that is always 1.

    For each point in turn, with inputs x and its class t as -1 or 1:

    - ``"rosenblatt"``: only if the point is on the wrong side, w += learning_rate t x (which is
      learning_rate (t - o) x for classes and outputs o of 0 and 1). If a plane separates the
      classes, one is found after finitely many mistakes: see `mistake_bound`.
    - ``"delta"``: always, w += learning_rate (t - w x) x, gradient descent on the squared error
      of the linear output, by Widrow and Hoff. It converges to near the least squares solution
      even for inseparable classes, but need not separate separable ones.

    Args:
        rule: one of the two.
        learning_rate: the learning rate. With zero initial weights, Rosenblatt's rule makes the
            same mistakes for any value.
        epochs: maximum number of passes over the points.
        tolerance: the delta rule stops when the mean squared error of an epoch differs from the
            previous epoch's by less.
        initializer: ``"zeros"``, ``"random"`` (normal with deviation 1), or the initial weights
            (inputs + 1,), the bias last.
        shuffle: whether each epoch has a new order.
        seed: seed of the initial weights and the order.

    Attributes:
        weights_: (inputs + 1,), the bias last.
        coef_, intercept_: the same in scikit-learn's form, (1, inputs) and (1,).
        classes_: the two labels; the second is predicted for w x >= 0.
        errors_: for each epoch, the number of points on the wrong side when they were visited.
        losses_: for each epoch, the mean of (t - w x)^2 when the points were visited.
        n_iter_: number of epochs.

    >>> from gpunn import Perceptron
    >>> unit = Perceptron().fit([[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "no", "no", "yes"])
    >>> unit.predict([[1, 1], [0, 1]]).tolist(), unit.errors_[-1]
    (['yes', 'no'], 0)
    """

    rule: str = "rosenblatt"
    learning_rate: float = 1.0
    epochs: int = 1000
    tolerance: float = 1e-4
    initializer: Any = "zeros"
    shuffle: bool = True
    seed: int = 0

    def fit(self, x: Any, y: Any) -> Perceptron:
        """Learn from points ``x`` (rows, inputs) and their labels ``y`` (rows,), of two values.

        Raises:
            ValueError: for invalid arguments.
            FloatingPointError: if the delta rule diverges: its learning rate is too large.

        Warns:
            ConvergenceWarning: if the epochs end with points on the wrong side (Rosenblatt's
                rule), or with the error still changing (the delta rule).
        """
        epochs = check_integer("epochs", self.epochs, 1)
        tolerance = check_number("tolerance", self.tolerance, 0)
        inputs, t = self._begin(x, y, None)
        random = np.random.default_rng(self.seed)
        self._start(inputs.shape[1], random)
        for _ in range(epochs):
            order = random.permutation(len(inputs)) if self.shuffle else np.arange(len(inputs))
            self._pass(inputs[order], t[order])
            if self.rule == "rosenblatt" and self.errors_[-1] == 0:
                return self
            change = abs(self.losses_[-1] - self.losses_[-2]) if self.n_iter_ > 1 else np.inf
            if self.rule == "delta" and change < tolerance:
                return self
        if self.rule == "rosenblatt":
            message = (
                f"{self.errors_[-1]} of {len(inputs)} points were still on the wrong side in the "
                f"last of {epochs} epochs. If no plane separates the classes, more epochs will not "
                f"help, but a network with a hidden layer may."
            )
        else:
            message = (
                f"After {epochs} epochs the error was still changing by {change:.2g} per epoch."
            )
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return self

    def partial_fit(self, x: Any, y: Any, classes: Any = None) -> Perceptron:
        """Pass over the points once, in their order, from the current weights.

        Args:
            x, y: as in `fit`.
            classes: the two labels, needed in the first call if y has only one.
        """
        if not hasattr(self, "weights_"):
            inputs, t = self._begin(x, y, classes)
            self._start(inputs.shape[1], np.random.default_rng(self.seed))
        else:
            inputs, t = self._begin(x, y, self.classes_)
        self._pass(inputs, t)
        return self

    def decision_function(self, x: Any) -> np.ndarray:
        """Return w x for each row: its distance from the plane times the norm of w without bias."""
        if not hasattr(self, "weights_"):
            raise ValueError("This Perceptron is not fitted yet: call fit first.")
        inputs = _with_one(x)
        if inputs.shape[1] != len(self.weights_):
            raise ValueError(
                f"x has {inputs.shape[1] - 1} inputs; the perceptron learned from "
                f"{len(self.weights_) - 1}."
            )
        return inputs @ self.weights_

    def predict(self, x: Any) -> np.ndarray:
        """Return the label of each row (rows,): the second class where w x >= 0."""
        above = self.decision_function(x) >= 0
        return self.classes_[above.astype(int)]

    def score(self, x: Any, y: Any) -> float:
        """Return the accuracy."""
        return float(np.mean(self.predict(x) == np.asarray(y)))

    @property
    def coef_(self) -> np.ndarray:
        return self.weights_[np.newaxis, :-1]

    @property
    def intercept_(self) -> np.ndarray:
        return self.weights_[-1:]

    @property
    def n_iter_(self) -> int:
        return len(self.errors_)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments, as scikit-learn's ``clone`` and searches need them."""
        return {name: getattr(self, name) for name in _ARGUMENTS}

    def set_params(self, **arguments: Any) -> Perceptron:
        """Change arguments by name."""
        for name, value in arguments.items():
            check_choice("set_params: each name", name, _ARGUMENTS)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"Perceptron(rule={self.rule!r}, learning_rate={self.learning_rate!r})"

    def _begin(self, x: Any, y: Any, classes: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the points with their extra input, and their classes as -1 and 1."""
        check_choice("rule", self.rule, ("rosenblatt", "delta"))
        if not check_number("learning_rate", self.learning_rate) > 0:
            raise ValueError(f"learning_rate must be above 0; got {self.learning_rate!r}.")
        inputs, labels = _with_one(x), np.asarray(y)
        if labels.shape != (len(inputs),):
            raise ValueError(
                f"y must hold a label for each of the {len(inputs)} rows of x; its shape is "
                f"{labels.shape}."
            )
        known = np.unique(labels if classes is None else np.asarray(classes))
        if len(known) != 2 or not np.isin(labels, known).all():
            raise ValueError(
                f"y must hold exactly two labels{_of(classes, known)}; it holds "
                f"{np.unique(labels)[:5].tolist()}."
            )
        self.classes_ = known
        return inputs, np.where(labels == known[1], 1.0, -1.0)

    def _start(self, size: int, random: np.random.Generator) -> None:
        self.errors_: list[int] = []
        self.losses_: list[float] = []
        if isinstance(self.initializer, str):
            check_choice("initializer", self.initializer, ("zeros", "random"))
            zeros = self.initializer == "zeros"
            self.weights_ = np.zeros(size) if zeros else random.standard_normal(size)
            return
        self.weights_ = np.array(self.initializer, np.float64)
        if self.weights_.shape != (size,):
            raise ValueError(
                f"initializer has the shape {self.weights_.shape}; expected a weight for each of "
                f"the {size - 1} inputs and the bias."
            )

    def _pass(self, inputs: np.ndarray, t: np.ndarray) -> None:
        """One epoch."""
        w, rate, delta = self.weights_, float(self.learning_rate), self.rule == "delta"
        errors, loss = 0, 0.0
        for x, wanted in zip(inputs, t, strict=True):
            v = float(w @ x)
            mistake = (v >= 0) != bool(wanted > 0)
            errors += mistake
            loss += (wanted - v) * (wanted - v)
            if delta:
                w += rate * (wanted - v) * x
            elif mistake:
                w += rate * wanted * x
            if not loss < 1e100:
                raise FloatingPointError(
                    f"The delta rule diverges with learning_rate={self.learning_rate!r}: choose "
                    f"less than 2 over the largest squared length of a row of x, the extra 1 "
                    f"included, which is {2 / np.max((inputs**2).sum(axis=1)):.3g}."
                )
        self.errors_.append(errors)
        self.losses_.append(loss / len(inputs))


_ARGUMENTS = tuple(argument.name for argument in fields(Perceptron))


def mistake_bound(x: Any, y: Any, weights: Any) -> float:
    """Return the maximum mistakes of Rosenblatt's rule from zero weights: (R / gamma)^2.

    R is the length of the longest row of x with its extra 1, gamma the distance of the plane
    from the nearest point, in that space. Any plane that separates the classes gives a bound; the
    widest margin gives the smallest. Novikoff, "On convergence proofs for perceptrons", 1962.

    Args:
        x: points (rows, inputs).
        y: their labels (rows,), of two values.
        weights: weights (inputs + 1,) of a plane that separates them, the bias last.

    Raises:
        ValueError: if the plane does not separate them.

    >>> mistake_bound([[1.0], [-1.0]], [1, 0], [1.0, 0.0])
    2.0
    """
    inputs = _with_one(x)
    labels = np.unique(np.asarray(y), return_inverse=True)[1]
    w = np.asarray(weights, np.float64)
    margin = float(np.min(np.where(labels == 1, 1, -1) * (inputs @ w)) / np.linalg.norm(w))
    if not margin > 0:
        raise ValueError("weights must be those of a plane that separates the classes.")
    return float(np.max((inputs**2).sum(axis=1)) / margin**2)


def _with_one(x: Any) -> np.ndarray:
    inputs = np.asarray(x, np.float64)
    if inputs.ndim != 2 or not len(inputs):
        raise ValueError(f"x must be points (rows, inputs); its shape is {inputs.shape}.")
    if not np.isfinite(inputs).all():
        raise ValueError("x must be finite; it holds NaN or infinity.")
    return np.hstack([inputs, np.ones((len(inputs), 1))])


def _of(classes: Any, known: np.ndarray) -> str:
    return "" if classes is None else f", {known.tolist()}"
