"""Labels from the outputs of a network that is trained by the CTC loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_integer
from gpunn.ops.conversion import convert, floats
from gpunn.ops.tensor import Tensor, UnknownShapeError, constant, operation, ops

NO_LABEL = -1  # after the last label


@operation
def ctc_decode(
    inputs: Any, sequence_lengths: Any, strategy: str = "greedy", beam_width: int = 100,
    top_paths: int = 1, merge_repeated: bool = True, mask_index: int | None = 0,
) -> tuple[Tensor, Tensor]:
    """Find the likeliest labels of sequences, see `ctc_loss`.

    "greedy" takes the likeliest class of each step. "beam_search" adds up the probabilities of all
    paths of the same labels, and goes on with the ``beam_width`` likeliest beginnings of labels.
    Source: A. Graves (2012), "Sequence transduction with recurrent neural networks".

    Args:
        inputs: logits (batch, steps, classes). Integers become floats (floatx).
        sequence_lengths: integers (batch,), the number of steps of each sample.
        strategy: "greedy" or "beam_search". For the latter the values must be known: outside of a
            traced step.
        beam_width: see above; it does not matter for "greedy".
        top_paths: how many labels "beam_search" returns for each sample, the likeliest first.
        merge_repeated: whether "greedy" takes a class that is repeated from step to step as one
            label. "beam_search" always does, as `ctc_loss`.
        mask_index: the class that is the blank; None for the last one. With -1, "greedy" takes no
            class as the blank.

    Returns:
        labels, int32 (paths, batch, steps), with -1 after the last label; and scores. Those of
        "greedy" are ``-sum of the largest logits`` (batch, 1), those of "beam_search" are log
        probabilities (batch, paths): -infinity where there are fewer labels than ``top_paths``, and
        NaN, without labels, where logits are NaN or infinite.

    Raises:
        ValueError: if a shape, the strategy, a number or the blank does not fit.
        UnknownShapeError: a TypeError and ValueError, for "beam_search" in a trace.

    >>> from gpunn import ops
    >>> labels, scores = ops.ctc_decode([[[0.0, 5.0], [0.0, 4.0], [3.0, 0.0], [0.0, 2.0]]], [4])
    >>> labels.tolist(), scores.tolist()
    ([[[1, 1, -1, -1]]], [[-14.0]])
    """
    check_choice("strategy", strategy, ("greedy", "beam_search"))
    inputs, lengths = floats(inputs), convert(sequence_lengths)
    if inputs.ndim != 3 or not inputs.shape[2]:
        raise ValueError(f"inputs must be (batch, steps, classes); got shape {inputs.shape}.")
    if lengths.shape != inputs.shape[:1] or lengths.dtype != "int32":
        raise ValueError(
            f"sequence_lengths must be integers (batch,), here ({inputs.shape[0]},); got "
            f"{lengths.dtype} {lengths.shape}."
        )
    classes = inputs.shape[2]
    blank = check_integer("mask_index", mask_index, -1 if strategy == "greedy" else 0, classes - 1)
    if blank >= classes:
        raise ValueError(f"mask_index must be one of {classes} classes; got {blank}.")
    if strategy == "greedy":
        return _greedy(inputs, lengths, merge_repeated, blank)
    width = check_integer("beam_width", beam_width, 1)
    paths = check_integer("top_paths", top_paths, 1)
    if inputs.value is None or lengths.value is None:
        raise UnknownShapeError(
            'strategy "beam_search" needs the values of inputs, which are not known in a step that '
            'is traced: call it on what predict returns, or use "greedy".'
        )
    labels = np.full((paths, *inputs.shape[:2]), NO_LABEL, np.int32)
    scores = np.full((inputs.shape[0], paths), -np.inf, inputs.dtype)
    logs = ops.log_softmax(inputs).numpy()
    for sample, length in enumerate(lengths.numpy()):
        steps = logs[sample, : max(length, 0)]
        if np.isnan(steps).any():
            scores[sample] = np.nan
            continue
        best = _search(steps, width, blank)[:paths]
        for place, (found, score) in enumerate(best):
            labels[place, sample, : len(found)], scores[sample, place] = found, score
    return constant(labels, "int32"), constant(scores, inputs.dtype)


def _greedy(
    inputs: Tensor, lengths: Tensor, merge_repeated: bool, blank: int
) -> tuple[Tensor, Tensor]:
    steps = inputs.shape[1]
    places = np.arange(steps, dtype=np.int32)
    within = ops.less(places, ops.expand_dims(lengths, 1))  # (batch, steps)
    labels = ops.argmax(inputs, -1) if steps else ops.zeros(inputs.shape[:2], "int32")
    counts = ops.logical_and(within, ops.not_equal(labels, blank))
    if merge_repeated:
        changes = ops.not_equal(labels[:, 1:], labels[:, :-1])
        counts = ops.logical_and(counts, ops.pad(changes, [(0, 0), (1, 0)], constant_values=True))
    order = ops.argsort(ops.where(counts, places, steps), -1)
    labels = ops.take_along_axis(ops.where(counts, labels, NO_LABEL), order, -1)
    scores = -ops.sum(ops.where(within, ops.max(inputs, -1), 0.0), 1, keepdims=True)
    return ops.expand_dims(labels, 0), scores


def _search(logs: np.ndarray, width: int, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """Return the likeliest labels of a sample with their log probabilities, best first.

    Args:
        logs: log probabilities (steps, classes).
    """
    beams: dict[tuple[int, ...], int] = {(): 0}  # the beginnings, and their places
    ends = np.array([[0.0, -np.inf]])  # log probabilities (beams, 2): of a blank last, or a label
    with np.errstate(invalid="ignore", divide="ignore"):
        for log in logs.astype(np.float64):
            known = list(beams)
            total = np.logaddexp(ends[:, 0], ends[:, 1])
            longer = total[:, None] + log  # by each class (beams, classes)
            stays = np.stack([total + log[blank], np.full(len(known), -np.inf)], 1)
            for k, labels in enumerate(known):
                if not labels:
                    continue
                last = labels[-1]
                longer[k, last] = ends[k, 0] + log[last]  # only a blank parts equal labels
                stays[k, 1] = ends[k, 1] + log[last]
            longer[:, blank] = -np.inf
            for k, labels in enumerate(known):
                parent = beams.get(labels[:-1]) if labels else None
                if parent is not None:  # which becomes the same labels
                    own = parent, labels[-1]
                    stays[k, 1], longer[own] = np.logaddexp(stays[k, 1], longer[own]), -np.inf
            scores = np.concatenate([np.logaddexp(stays[:, 0], stays[:, 1]), longer.reshape(-1)])
            best = np.argsort(-scores, kind="stable")[:width]
            best = best[scores[best] > -np.inf]
            beams, kept = {}, list[np.ndarray]()
            for k in best:
                if k < len(known):
                    beams[known[k]] = len(kept)
                    kept.append(stays[k])
                else:
                    parent, label = divmod(int(k) - len(known), len(log))
                    beams[(*known[parent], label)] = len(kept)
                    kept.append(np.array([-np.inf, scores[k]]))
            ends = np.array(kept).reshape(-1, 2)
    total = np.logaddexp(ends[:, 0], ends[:, 1])
    return [(labels, float(total[k])) for labels, k in beams.items()]
