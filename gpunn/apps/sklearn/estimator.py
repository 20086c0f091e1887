"""The common base of both estimators: check, scale, build, train and predict."""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

import gpunn
from gpunn import initializers, layers, optimizers
from gpunn.callbacks import Callback, History
from gpunn.common.arguments import check_flag, check_fraction, check_integer, check_not_negative
from gpunn.common.random import seeded_context
from gpunn.feeding.frames import check_known
from gpunn.feeding.sparse import SparseBatches, is_small

from .preparation import MERGED, Pending, Prepared, Scaling, Targets, merged
from .stopping import Patience
from .validation import validated

AUTO_BATCH = 200  # rows of a batch, as in scikit-learn's networks
# Within a search: a function of what `fit` gets, which may make it an estimator that is trained.
TRAINED: ContextVar[Callable[..., bool] | None] = ContextVar("trained", default=None)


@dataclass(eq=False, repr=False)
class GpunnEstimator(BaseEstimator):
    """Base class of both estimators, with their common parameters.

    It is a dataclass, whose ``__init__`` names all parameters, as scikit-learn requires. A subclass
    defines the targets, their loss, and the meaning of the network's outputs.
    """

    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"
    _: KW_ONLY
    dropout: float = 0.0
    model: Any = None
    optimizer: Any = "adam"
    learning_rate: Any = None
    loss: Any = None
    metrics: Any = None
    weighted_metrics: Any = None
    epochs: int = 200
    batch_size: Any = "auto"
    shuffle: bool = True
    steps_per_epoch: int | None = None
    early_stopping: bool = False
    validation_split: float = 0.1
    validation_freq: int = 1
    n_iter_no_change: int | None = 10
    tol: float = 1e-4
    scale: bool = True
    warm_start: bool = False
    random_state: Any = None
    callbacks: Any = None
    verbose: Any = 0
    dtype: str = "float32"
    backend: Any = None
    run_eagerly: bool = False
    matmul_precision: str | None = None

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Return the names of the parameters, which scikit-learn reads from the constructor for
        each clone: here once for each constructor."""
        of, names = vars(cls).get("_known_names", (None, ()))
        if of is not cls.__init__:
            names = tuple(super()._get_param_names())
            cls._known_names = cls.__init__, names
        return list(names)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn 1.5
        return {"multioutput": True}

    # -- for subclasses

    def _targets(self, y: np.ndarray, first: bool) -> Targets:
        raise TypeError(f"{type(self).__name__} must define _targets(y, first).")

    def _scale(self, X: Any, values: np.ndarray, weights: np.ndarray) -> None:
        """Determine the scaling of inputs, and in a subclass also of targets."""
        self._scaling = Scaling.of(X, weights) if self.scale else Scaling.none(X.shape[1])

    def _learned(self, values: np.ndarray) -> np.ndarray:
        """Return the values of `Targets` as the network learns them."""
        return values

    def _loss(self, output: int, linear: bool) -> Any:
        raise TypeError(f"{type(self).__name__} must define _loss(output, linear).")

    def _factors_by_class(self, targets: Targets, weights: np.ndarray) -> np.ndarray:
        """Return the factors (rows,) of the rows' weights in training."""
        return np.ones(len(weights))

    # -- fit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train a network, from new weights unless ``warm_start`` is set.

        Args:
            X: (rows, columns): an array, a DataFrame, or a sparse matrix.
            y: (rows,) or (rows, outputs).
            sample_weight: (rows,), how often each row counts; rows of weight 0 are left out.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: for invalid parameters or data, before any work.
        """
        there = TRAINED.get()
        if there is not None and there(self, X, y, sample_weight):
            return self
        return self._end(self._begin_fit(X, y, sample_weight).run())

    def _begin_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Pending:
        """Do all of `fit` before the training, which `Pending.run` and `_end` complete."""
        self._check_parameters()
        again = self.warm_start and hasattr(self, "model_")
        rows = self._prepared(X, y, sample_weight, first=not again)
        return self._pending(rows, int(self.epochs), first=not again)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Any:
        self._check_parameters()
        if self.early_stopping:
            raise ValueError("partial_fit trains one epoch: early_stopping must be False.")
        first = not hasattr(self, "model_")
        rows = self._prepared(X, y, sample_weight, first)
        return self._end(self._pending(rows, 1, first, stops=False).run())

    def _prepared(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Prepared:
        """Return the rows as the network gets them; what is set of them does not depend on it."""
        X, y = validated(
            self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32), multi_output=True,
            reset=first,
        )
        check_known(sample_weight, "Input sample_weight contains NaN: sample_weight")
        weights = np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64))
        if (weights < 0).any():
            raise ValueError("Negative values in data passed to `sample_weight`.")
        if not weights.any():
            raise ValueError("sample_weight is 0 for all rows: there is nothing to train on.")
        if sparse.issparse(y):
            y = y.toarray()
        X, y, weights = _counting(X, y, weights)
        targets = self._targets(y, first)
        values, factors = targets.values, self._factors_by_class(targets, weights)
        if first:
            self._seed = _seed_of(self.random_state)
        seed = self._seed
        held_x = None
        if self.early_stopping:
            X, held_x, values, held_values, weights, held_weights, factors, _ = self._split(
                targets, seed, X, values, weights, factors
            )
        X, values, weights = _counting(X, values, weights * factors)
        if not len(values):
            raise ValueError("class_weight is 0 for all rows: there is nothing to train on.")
        large = _is_large(X)
        if self.shuffle and X.shape[0] <= MERGED and not large:
            X = X.toarray() if sparse.issparse(X) else X
            X, values, weights = merged(X, values, weights)
        if first:
            self._scale(X, values, weights)
        values, rows = self._learned(values), X.shape[0]
        batch = min(AUTO_BATCH, rows) if self.batch_size == "auto" else int(self.batch_size)
        outputs = len(targets.units)
        given: dict[str, Any] = {}
        if held_x is not None:
            held_y = _columns(self._learned(held_values), outputs)
            dense = self._scaling(held_x, self.dtype)
            given["validation_data"] = dense, held_y, self._each(held_weights)
            given["validation_freq"] = self.validation_freq
        y, each = _columns(values, outputs), self._each(weights)
        x = self._scaled(X, y, each, batch)
        if not large:
            given["batch_size"] = batch
        if large:  # whose batches bring them
            y = each = None
        return Prepared(X.shape[1], targets.units, x, y, each, given, seed)

    def _pending(
        self, rows: Prepared, epochs: int, first: bool, stops: bool = True, model: Any = None
    ) -> Pending:
        """Return the training; its network is built, unless ``model`` is one like it."""
        context = seeded_context(rows.seed) if first else copy_context()
        if first:
            self._values: dict[str, list[Any]] = {}
        if model is not None:
            self.model_ = model
        elif first:
            context.run(self._build, rows.columns, rows.units)
        given = {
            **rows.given, "epochs": epochs, "verbose": self.verbose, "shuffle": bool(self.shuffle),
            "callbacks": self._callbacks("validation_data" in rows.given, stops),
            "steps_per_epoch": self.steps_per_epoch,
        }  # fmt: skip
        return Pending(self.model_, context, rows.x, rows.y, rows.sample_weight, given)

    def _end(self, history: History) -> Any:
        """Take over what a training brought, and return the estimator."""
        for name, found in history.history.items():
            self._values.setdefault(name, []).extend(found)
        self.history_ = self._values
        self.loss_curve_ = self._values["loss"]
        self.n_iter_ = len(history.epoch)
        return self

    def _scaled(self, X: Any, y: Any = None, weights: Any = None, batch: int = 1024) -> Any:
        """Return the scaled rows; large sparse ones are made dense in batches, with ``y``."""
        if not _is_large(X):
            return self._scaling(X, self.dtype)
        return SparseBatches(X, y, weights, batch, lambda some: self._scaling(some, self.dtype))

    def _split(self, targets: Targets, seed: int, *arrays: Any) -> Any:
        """Split each array into training and held-out rows."""
        stratify = targets.stratify
        if stratify is not None and np.unique(stratify, return_counts=True)[1].min() < 2:
            stratify = None
        return train_test_split(
            *arrays, test_size=self.validation_split, random_state=seed, stratify=stratify
        )

    def _each(self, weights: np.ndarray) -> np.ndarray | None:
        """Normalize weights to mean 1, so that sums are divided by the total; None for ones."""
        weights = weights * (len(weights) / weights.sum())
        return None if np.all(weights == 1.0) else weights

    def _callbacks(self, validates: bool, stops: bool) -> list[Callback]:
        given = self.callbacks if self.callbacks is not None else []
        callbacks = list(given) if isinstance(given, (list, tuple)) else [given]
        if stops and self.n_iter_no_change is not None:
            monitor = "val_loss" if validates else "loss"
            callbacks.append(Patience(monitor, self.tol, self.n_iter_no_change, validates))
        return callbacks

    # -- the network

    def _build(self, inputs: int, units: Sequence[int]) -> None:
        if self.model is not None:
            model = self.model(inputs, units[0] if len(units) == 1 else list(units))
            if not isinstance(model, gpunn.Model):
                raise TypeError(f"model must return a gpunn.Model; it returned {model!r}.")
            if not model.built:
                model.build((None, inputs))
        else:
            model = self._network(inputs, units)
        self.model_ = model
        self._check_outputs(units)
        if not model.compiled:
            losses = [self._loss(k, linear) for k, linear in enumerate(self._linear())]
            model.compile(
                self._optimizer(), losses if len(losses) > 1 else losses[0],
                metrics=copy.deepcopy(self.metrics),
                weighted_metrics=copy.deepcopy(self.weighted_metrics),
                run_eagerly=self.run_eagerly, matmul_precision=self.matmul_precision,
            )

    def _network(self, inputs: int, units: Sequence[int]) -> gpunn.Model:
        chain: list[Any] = [gpunn.Input((inputs,), name="features")]
        sizes = _sizes(self.hidden_layer_sizes)
        for number, (before, width) in enumerate(pairwise([inputs, *sizes]), 1):
            name = f"hidden_{number}"
            chain.append(_dense(before, width, activation=self.activation, name=name))
            if self.dropout:
                chain.append(layers.Dropout(self.dropout, name=f"dropout_{number}"))
        known: dict[str, Any] = {"dtype": self.dtype, "backend": self.backend}
        if len(units) == 1:
            chain.append(_dense([inputs, *sizes][-1], units[0], name="output"))
            return gpunn.Sequential(chain, name="network", **known)
        x = start = chain[0]
        for layer in chain[1:]:
            x = layer(x)
        last = [inputs, *sizes][-1]
        ends = [_dense(last, n, name=f"output_{k}")(x) for k, n in enumerate(units)]
        return gpunn.Model(start, ends, name="network", **known)

    def _optimizer(self) -> Any:
        given = optimizers.get(copy.deepcopy(self.optimizer))
        optimizer = type(given).from_config(given.get_config())
        if self.learning_rate is not None:
            optimizer.learning_rate = self.learning_rate
        return optimizer

    @property
    def _plan(self) -> Any:
        return self.model_._plan

    def _linear(self) -> list[bool]:
        """Whether each output ends with logits, without an activation."""
        plan = self._plan
        found = [plan.activation(number) for number in plan.outputs]
        return [getattr(activation, "functor", None) in (None, "Linear") for activation in found]

    def _check_outputs(self, units: Sequence[int]) -> None:
        found = [shape[-1] for shape in self._plan.output_shapes]
        if found != list(units):
            raise ValueError(f"model returned a network with outputs of {found} units; "
                             f"{list(units)} are needed.")

    # -- predict

    def _outputs(self, X: Any) -> list[np.ndarray]:
        """Return the values of each output of the network for the rows."""
        check_is_fitted(self, "model_")
        X = validated(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        found = self.model_.predict(self._scaled(X), verbose=0)
        return [np.asarray(y, np.float64) for y in (found if isinstance(found, list) else [found])]

    # -- parameters

    def _check_parameters(self) -> None:
        """Check all parameters before any work is done."""
        _sizes(self.hidden_layer_sizes)
        if self.model is not None and not callable(self.model):
            raise TypeError(
                f"model must be None or a function of the numbers of inputs and outputs that "
                f"returns a gpunn.Model; got {self.model!r}."
            )
        gpunn.activations.get(self.activation)
        if self.loss is not None:
            gpunn.losses.get(self.loss)
        optimizers.get(self.optimizer)
        check_fraction("dropout", self.dropout, below_one=True)
        check_fraction("validation_split", self.validation_split, below_one=True)
        check_integer("epochs", self.epochs, 1)
        check_integer("n_iter_no_change", self.n_iter_no_change, 1, None)
        check_not_negative("tol", self.tol)
        for name in ("shuffle", "scale", "early_stopping", "warm_start"):
            check_flag(name, getattr(self, name))
        if self.batch_size != "auto":
            check_integer("batch_size", self.batch_size, 1)
        if self.early_stopping and not self.validation_split:
            raise ValueError("early_stopping needs a validation_split above 0.")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64'; got {self.dtype!r}.")


def _dense(inputs: int, units: int, **options: Any) -> layers.Dense:
    """Return a Dense layer whose biases are drawn from the range of Glorot's weights.

    scikit-learn's networks do so too: within few updates they learn more than with biases of 0.
    """
    bound = math.sqrt(6 / (inputs + units))
    first = initializers.RandomUniform(-bound, bound)
    return layers.Dense(units, bias_initializer=first, **options)


def _columns(values: np.ndarray, outputs: int) -> Any:
    """Return the targets of each output of the network."""
    if outputs == 1:
        return values
    return [np.ascontiguousarray(column) for column in values.T]


def _is_large(X: Any) -> bool:
    return sparse.issparse(X) and not is_small(X)


def _sizes(given: Any) -> list[int]:
    sizes = [given] if isinstance(given, numbers.Integral) else given
    if not isinstance(sizes, (list, tuple, np.ndarray)):
        raise TypeError(
            f"hidden_layer_sizes must be a number or a sequence of them; got {given!r}."
        )
    return [int(check_integer("hidden_layer_sizes", int(n) if isinstance(n, np.integer) else n, 1))
            for n in sizes]


def _counting(X: Any, y: np.ndarray, weights: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return the rows whose weight is not 0."""
    if weights.all():
        return X, y, weights
    rows = np.flatnonzero(weights)
    return X[rows], y[rows], weights[rows]


def _seed_of(random_state: Any) -> int:
    """Return a seed; an integer is used directly, which is faster than making a generator."""
    if isinstance(random_state, (int, np.integer)) and 0 <= random_state < 2**32:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
