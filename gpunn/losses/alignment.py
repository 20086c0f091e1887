"""The loss of sequences of labels without their places."""

from __future__ import annotations

import numpy as np

from gpunn.ops.tensor import Tensor, ops

from .loss import ReductionFirst


class CTC(ReductionFirst):
    """``l = -log p(labels)``, over all ways in which the steps may be those of the labels.

    A network says of each step of a sequence, such as of a sound, which label it is or that it is
    none, which is class 0. The targets are labels in their order, as the letters of a word; of
    which steps they are is not known. The operation `gpunn.ops.ctc_loss` has the formula.

    ``y_true`` holds labels (batch, most) from 1 to classes - 1, and 0 after the last one of a
    sample. ``y_pred`` holds logits (batch, steps, classes), all steps of which count, as in Keras.
    Values are (batch,). One is infinite if a sample has more labels than steps, where two equal
    labels need a step between them; methods such as `fit` refuse these data.

    Args:
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: when called, for arrays of other axes, and for predictions with a mask.
        IndexError: for a label that is no class.

    Source: Graves, Fernandez, Gomez and Schmidhuber, Connectionist temporal classification, 2006.

    >>> from gpunn.losses import CTC
    >>> round(float(CTC()([[1]], [[[0.0, 0.0], [0.0, 0.0]]])), 4)  # -log(3 / 4)
    0.2877
    """

    sparse = _of_sequences = True
    name = "ctc"

    def _check_labels(self, labels: np.ndarray, sample: tuple[int | None, ...]) -> None:
        if labels.ndim != 2 or len(sample) != 2 or sample[0] is None:
            return
        follows = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)
        needed = (labels != 0).sum(-1) + follows.sum(-1)
        if labels.size and (most := int(needed.max())) > sample[0]:
            row = int(needed.argmax())
            raise ValueError(
                f"{self.name}: y_true[{row}] is {labels[row].tolist()}, which takes {most} steps, "
                f"one for each label and one between equal ones, but the predictions have "
                f"{sample[0]}. Give the sequences more steps, or leave the sample out."
            )

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if y_true.ndim != 2 or y_pred.ndim != 3:
            raise ValueError(
                f"{self.name}: y_true has shape {y_true.shape} and y_pred {y_pred.shape}; labels "
                f"(batch, most) and logits (batch, steps, classes) are expected."
            )
        lengths = ops.sum(ops.cast(y_true != 0, "int32"), -1)
        steps = ops.full((y_pred.shape[0],), y_pred.shape[1], "int32")
        return ops.ctc_loss(y_true, y_pred, lengths, steps)
