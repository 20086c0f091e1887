"""A network as a regressor of scikit-learn."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from gpunn import losses
from gpunn.feeding.frames import from_column

from .estimator import GpunnEstimator, Targets
from .preparation import Scaling


@dataclass(eq=False, repr=False)
class GpunnRegressor(RegressorMixin, GpunnEstimator):
    """A network that predicts numbers.

    Inputs and targets are scaled inside: of each column its mean is subtracted, and it is divided
    by its standard deviation, in float64, as weighted by ``sample_weight``. Predictions are in the
    units of ``y``; losses and metrics are of scaled targets. ``scale=False`` leaves that out.

    Weights count as repetitions: a row of weight 2 is worth two rows of weight 1, in the scaling
    too, and sums over rows are divided by the total weight. Where all different rows fit into one
    batch, as they do by default up to 200, the results are equal to the last bit.

    Args:
        hidden_layer_sizes: the widths of the hidden layers. First weights are Glorot's, and
            biases are drawn from the same range.
        activation: of the hidden layers.
        dropout: share of the outputs of each hidden layer that is dropped in training.
        model: in place of these a function ``model(inputs, outputs)`` of the numbers of columns
            of ``X`` and ``y`` that gives a `gpunn.Model`, compiled or not.
        optimizer, learning_rate: name or object; the rate counts where it is given.
        loss: name or object.
        metrics, weighted_metrics, run_eagerly, matmul_precision: as of `gpunn.Model.compile`.
        epochs: how often the rows are passed over, at most.
        batch_size: rows of a step; "auto": 200, or all if there are fewer.
        shuffle, callbacks, verbose, steps_per_epoch, validation_freq: as of `gpunn.Model.fit`.
            Unless ``shuffle`` is False, data of up to 2048 rows are sorted first, and equal rows
            put together with the sum of their weights.
        early_stopping: hold out ``validation_split`` of the rows, watch the loss on these, and
            end with the weights of the best epoch. Else the training loss is watched.
        validation_split: that share.
        n_iter_no_change, tol: training ends when the loss has not become less by ``tol`` in more
            than so many epochs in a row; None: not before ``epochs``.
        scale: whether inputs and targets are scaled.
        warm_start: whether `fit` goes on with the weights of the last one.
        random_state: of first weights, order, dropout and what is held out.
        dtype: "float32" or "float64", of the network.
        backend: as of `gpunn.Model`.

    Attributes:
        model_: the trained `gpunn.Model`; it takes scaled inputs and gives scaled predictions.
        history_: figures by epoch, as of `gpunn.callbacks.History`.
        loss_curve_: the training loss by epoch.
        n_iter_: epochs of the last call.
        n_features_in_: number of columns.
        feature_names_in_: their names, if ``X`` was a frame.
        n_outputs_: number of columns of ``y``.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = GpunnRegressor(16, epochs=30, learning_rate=0.01, random_state=0)
    >>> regressor.fit(X, y).score(X, y) > 0.4
    True
    """

    _: KW_ONLY
    loss: Any = "mean_squared_error"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train one epoch on these rows; arguments as of `fit`. The first call decides the
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
            raise ValueError(f"y has {columns.shape[1]} columns; {self.n_outputs_} were fitted.")
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
        """A number for each row, (rows,) or (rows, outputs)."""
        outputs = self._outputs(X)[0]
        found = self._target_scaling.undone(outputs)
        return found[:, 0] if self._flat else found
