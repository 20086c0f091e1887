"""The confusion matrix as a metric."""

from __future__ import annotations

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_positive_integer, optional
from gpunn.common.fields import field
from gpunn.losses.rows import row_argmax

from .binned import Binned, divide


class ConfusionMatrix(Binned):
    """The confusion matrix: how often each class (rows) was predicted as each class (columns).

    Targets are class numbers, or rows whose largest element is at the class. The predicted class
    has the largest prediction. With one output, the true class is whether the target is nonzero,
    and the predicted class whether the output exceeds ``threshold``.

    A model's logs hold numbers, so they show the share of correct predictions, those on the
    diagonal. After ``fit`` or ``evaluate``, ``result()`` returns the matrix of the last pass
    that was read. `gpunn.metrics.confusion_matrix` is the function for two arrays.

    Args:
        num_classes: width of the predictions; inferred from the data by default.
        threshold: decision threshold for one output.
        name, dtype: see `Metric`.

    Raises:
        ValueError: if ``num_classes`` is not a positive integer.

    >>> from gpunn.metrics import ConfusionMatrix
    >>> m = ConfusionMatrix()
    >>> m.update_state([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> m.result().numpy()
    array([[1., 0.],
           [1., 1.]])
    """

    functor = "Confusion"
    parameter_names = ("threshold",)
    by_output = True
    targets = "bits"
    examples = ({}, {"num_classes": 5}, {"threshold": 0.2, "name": "table"})

    num_classes: int | None = field(default=None, check=optional(check_positive_integer))
    threshold: float = field(default=0.5)
    name = "confusion_matrix"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outputs = self.fixed_outputs = self.num_classes

    @property
    def bins(self) -> int:
        return max(self.outputs or 0, 2) ** 2

    @property
    def predictions(self) -> str | None:  # type: ignore[override]
        return "probabilities" if self.outputs == 1 and 0 < self.threshold < 1 else None

    def width(self, classes: int) -> int:
        return 1

    def place(self, backend: Backend, y_true: Array, y_pred: Array, bins: Array) -> None:
        xp, classes = backend.xp, y_pred.shape[-1]
        if classes == 1:
            answer = backend.scratch(y_pred.shape[:1], bool, "answer")
            xp.greater(y_pred[:, 0], self.threshold, out=answer)
            truth = y_true
            if y_true.ndim == 2:
                truth = backend.scratch(y_pred.shape[:1], bool, "truth")
                xp.not_equal(y_true[:, 0], 0, out=truth)
        else:
            answer = row_argmax(backend, y_pred, "pred")
            truth = y_true if y_true.ndim == 1 else row_argmax(backend, y_true, "true")
        xp.multiply(truth, max(classes, 2), out=bins[:, 0], dtype=bins.dtype)
        xp.add(bins[:, 0], answer, out=bins[:, 0])

    def array(self, state: np.ndarray) -> np.ndarray:
        n = max(self.outputs or 0, 2)
        return state.reshape(n, n)

    def compute(self, state: np.ndarray) -> float:
        self._show(state)
        matrix = self.array(state)
        return float(divide(np.trace(matrix), matrix.sum()))
