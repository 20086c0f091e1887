"""A network as a scikit-learn regressor."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from gpunn import losses
from gpunn.feeding.frames import from_column

from .estimator import GpunnEstimator
from .preparation import Scaling, Targets


@dataclass(eq=False, repr=False)
class GpunnRegressor(RegressorMixin, GpunnEstimator):
    """A neural network regressor.

    The estimator standardizes inputs and targets: it subtracts each column's mean and divides by
    its standard deviation, in float64, weighted by ``sample_weight``. Predictions are in the units
    of ``y``; losses and metrics are of scaled targets. ``scale=False`` disables this.

    Weights count as repetitions: a row of weight 2 is worth two rows of weight 1, also in the
    scaling, and sums over rows are divided by the total weight. If all distinct rows fit into one
    batch, by default up to 200, the results are bit-identical.

    Args:
        hidden_layer_sizes: widths of the hidden layers. Initial weights are Glorot uniform, and
            initial biases are drawn from the same range.
        activation: activation of the hidden layers.
        dropout: fraction of the outputs of each hidden layer to drop in training.
        model: a function ``model(inputs, outputs)`` that replaces the arguments above. It takes
            the numbers of columns of ``X`` and ``y`` and returns a `gpunn.Model`, compiled or not.
        optimizer, learning_rate: name or object; a given rate overrides the optimizer's.
        loss: name or object.
        metrics, weighted_metrics, run_eagerly, matmul_precision: as for `gpunn.Model.compile`.
        epochs: maximum number of passes over the rows.
        batch_size: rows per step; "auto" means 200, or all if there are fewer.
        shuffle, callbacks, verbose, steps_per_epoch, validation_freq: as for `gpunn.Model.fit`.
            Unless ``shuffle`` is False, data of up to 2048 rows are sorted first, and equal rows
            are merged with the sum of their weights.
        early_stopping: whether to hold out ``validation_split`` of the rows, monitor the loss on
            them, and restore the weights of the best epoch. Otherwise the training loss is
            monitored.
        validation_split: fraction of the rows to hold out.
        n_iter_no_change, tol: training stops when the loss has not improved by ``tol`` for more
            than this number of consecutive epochs; None to train for all ``epochs``.
        scale: whether to standardize inputs and targets.
        warm_start: whether `fit` continues with the weights of the previous call.
        random_state: seed of initial weights, order, dropout and held-out rows.
        dtype: dtype of the network, "float32" or "float64".
        backend: as for `gpunn.Model`.

    Attributes:
        model_: the trained `gpunn.Model`; it takes scaled inputs and gives scaled predictions.
        history_: loss and metrics by epoch, as in `gpunn.callbacks.History`.
        loss_curve_: the training loss by epoch.
        n_iter_: number of epochs of the last call.
        n_features_in_: number of columns.
        feature_names_in_: names of the columns, if ``X`` was a DataFrame.
        n_outputs_: number of columns of ``y``.

    >>> from sklearn.datasets import load_diabetes
    >>> from gpunn.sklearn import GpunnRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = GpunnRegressor(16, epochs=30, learning_rate=0.01, random_state=0)
    >>> regressor.fit(X, y).score(X, y) > 0.4
    True
    """

    _: KW_ONLY
    loss: Any = "mean_squared_error"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch on these rows; arguments as for `fit`. The first call determines the
        scaling.

        Returns:
            The estimator.
        """
        return self._partial_fit(X, y, sample_weight)

    def _targets(self, y: np.ndarray, first: bool) -> Targets:
        columns = y.reshape(len(y), -1)
        if y.dtype.kind not in "biuf":
            columns = np.stack([from_column(column, "y") for column in columns.T], axis=1)
        columns = columns.astype(np.float64)
        if first:
            self._flat, self.n_outputs_ = y.ndim == 1, columns.shape[1]
        if columns.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {columns.shape[1]} columns; fit had {self.n_outputs_}.")
        return Targets(columns, [self.n_outputs_])

    def _scale(self, X: Any, values: np.ndarray, weights: np.ndarray) -> None:
        super()._scale(X, values, weights)
        scaling = Scaling.of(values, weights) if self.scale else Scaling.none(values.shape[1])
        self._target_scaling = scaling

    def _learned(self, values: np.ndarray) -> np.ndarray:
        return self._target_scaling(values, self.dtype)

    def _loss(self, output: int, linear: bool) -> Any:
        return losses.get(copy.deepcopy(self.loss))

    def predict(self, X: Any) -> np.ndarray:
        """Return the predictions, (rows,) or (rows, outputs)."""
        outputs = self._outputs(X)[0]
        found = self._target_scaling.undone(outputs)
        return found[:, 0] if self._flat else found
