"""Operations for losses."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.config import epsilon
from gpunn.ops.arithmetic import clip, logical_and, maximum
from gpunn.ops.conversion import floats
from gpunn.ops.dtypes import probabilities_kept
from gpunn.ops.elementwise import abs_, cast, exp, log, log1p, where
from gpunn.ops.gather_scatter.checks import checked, integers
from gpunn.ops.gather_scatter.gather import take_unchecked
from gpunn.ops.gradients import with_gradient
from gpunn.ops.primitive import Gradients
from gpunn.ops.reductions import largest, log_softmax, sum_
from gpunn.ops.shapes import axis_of, expand_dims, moveaxis, squeeze, whole
from gpunn.ops.tensor import Tensor, operation


def _alike(target: Any, output: Any) -> tuple[Tensor, Tensor]:
    """Return targets and outputs of the same shape, since broadcasting would pair each with all."""
    t, y = floats(target), floats(output)
    if t.shape != y.shape:
        raise ValueError(f"target has shape {t.shape} and output {y.shape}; they must be equal.")
    return t, y


# -- cross-entropies; some state a gradient that is more accurate than the derived one


def binary_cost(t: Tensor, y: Tensor) -> Tensor:
    """Compute -t log y - (1 - t) log(1 - y), with y clipped to [1e-7, 1 - 1e-7]."""
    p = clip(y, epsilon(), 1.0 - epsilon())
    cost = -(t * log(p) + (1.0 - t) * log(1.0 - p))

    def gradient(dy: Tensor) -> Gradients:
        slope = where(p == y, (p - t) / (p * (1.0 - p)), 0.0)  # 0 where clipping made p constant
        return dy * (log(1.0 - p) - log(p)), dy * slope

    return with_gradient(cost, [t, y], gradient)


def binary_cost_of_logits(t: Tensor, y: Tensor, clips: bool = False) -> Tensor:
    """Compute max(y, 0) - y t + log(1 + exp(-|y|)), which is `binary_cost` of sigmoid(y).

    Args:
        clips: whether to clip the probabilities as `binary_cost` does. The gradient is still that
            of the unclipped cost, so that saturated outputs learn.
    """
    e = exp(-abs_(y))
    z, rest = y, log1p(e)
    if clips:
        low, high = probabilities_kept(y.dtype)
        z, rest = clip(y, _logit(low), _logit(high)), maximum(rest, -math.log(high))
    # max(z, 0) - z t as z ([z > 0] - t), where infinity times 0 becomes 0
    factor = cast(y > 0.0, y.dtype) - t
    cost = where(factor == 0.0, 0.0, factor * z) + rest

    def gradient(dy: Tensor) -> Gradients:
        above = 1.0 / (1.0 + e)
        slope = where(y > 0.0, above, e * above) - t  # sigmoid(y) - t
        return dy * -y, dy * slope

    return with_gradient(cost, [t, y], gradient)


def categorical_cost(t: Tensor, y: Tensor, axis: int = -1) -> Tensor:
    """Compute -sum(t log p) along an axis, which is kept; p is y / sum(y), clipped to
    [1e-7, 1 - 1e-7]."""
    total = sum_(y, axis, keepdims=True)
    q = y / total
    p = clip(q, epsilon(), 1.0 - epsilon())
    logs = log(p)

    def gradient(dy: Tensor) -> Gradients:
        inside = where(p == q, t, 0.0)  # where p is not clipped
        slope = sum_(inside, axis, keepdims=True) / total - inside / (p * total)
        return dy * -logs, dy * slope

    return with_gradient(-sum_(t * logs, axis, keepdims=True), [t, y], gradient)


def categorical_cost_of_logits(t: Tensor, y: Tensor, axis: int = -1, clips: bool = False) -> Tensor:
    """Compute sum(t (log(sum(exp(y))) - y)) along an axis: `categorical_cost` of softmax(y).

    It ``clips`` as `binary_cost_of_logits` does.
    """
    z = y - largest(y, axis)
    e = exp(z)
    total = sum_(e, axis, keepdims=True)
    costs = log(total) - z  # -log p
    if clips:
        low, high = probabilities_kept(y.dtype)
        costs = clip(costs, -math.log(high), -math.log(low))
    # An impossible class that is not the target costs nothing: 0 times infinity becomes 0.
    cost = sum_(t * where(t == 0.0, 0.0, costs), axis, keepdims=True)

    def gradient(dy: Tensor) -> Gradients:
        slope = e * sum_(t, axis, keepdims=True) / total - t
        return dy * costs, dy * slope  # by y: softmax(y) sum(t) - t

    return with_gradient(cost, [t, y], gradient)


def _logit(p: float) -> float:
    return math.log(p) - math.log(1.0 - p)


@operation
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Tensor:
    """Compute the binary cross-entropy of each element: ``-t log(y) - (1 - t) log(1 - y)``.

    From logits z it is ``max(z, 0) - z t + log(1 + exp(-|z|))``, with the derivative
    ``sigmoid(z) - t``.

    Args:
        target: the labels t (...), from 0 to 1; of the shape of ``output``, which the result has
            too.
        output: probabilities y, clipped to [1e-7, 1 - 1e-7]; or logits.
        from_logits: whether ``output`` holds logits, to which `sigmoid` is applied.

    Raises:
        ValueError: if the shapes differ.

    >>> from gpunn import ops
    >>> ops.binary_crossentropy([1.0, 0.0], [0.5, 0.2]).numpy().round(3)
    array([0.693, 0.223], dtype=float32)
    """
    t, y = _alike(target, output)
    return binary_cost_of_logits(t, y) if from_logits else binary_cost(t, y)


@operation
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Compute the cross-entropy along the classes: ``-sum_c t_c log(y_c)``.

    Probabilities are normalized to sum to 1. With respect to logits,
    the derivative is ``softmax(z) - t`` for labels that sum to 1.

    Args:
        target: one-hot labels or probabilities t (..., classes), of the shape of ``output``.
        output: probabilities y, normalized and clipped to [1e-7, 1 - 1e-7]; or logits.
        from_logits: whether ``output`` holds logits, to which `softmax` is applied.
        axis: the axis of the classes, which is removed: the result is (...).

    Raises:
        ValueError: if the shapes differ, or the axis is out of range.

    >>> from gpunn import ops
    >>> ops.categorical_crossentropy([[0.0, 1.0]], [[0.2, 0.8]]).numpy().round(3)
    array([0.223], dtype=float32)
    """
    t, y = _alike(target, output)
    cost = categorical_cost_of_logits if from_logits else categorical_cost
    return squeeze(cost(t, y, axis), axis)


@operation
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Compute the cross-entropy of integer class labels: ``-log(y_c)`` for the class c.

    See `categorical_crossentropy`. A label out of range raises an error, in a step too.

    Args:
        target: integers (...), also as floats, of the shape of ``output`` without the classes, or
            with a last axis of length 1.
        output, from_logits, axis: as in `categorical_crossentropy`: (..., classes) -> (...).

    Raises:
        ValueError: if the shapes do not match, or the axis is out of range.
        IndexError: if a label is not from 0 to the number of classes - 1.
        IntegerError: a TypeError and ValueError, if a label is not an integer; in a trace, the step
            raises it.

    >>> from gpunn import ops
    >>> ops.sparse_categorical_crossentropy([1], [[0.2, 0.8]]).numpy().round(3)
    array([0.223], dtype=float32)
    """
    y = floats(output)
    place = axis_of(axis, y.ndim)
    if not from_logits:
        y = y / sum_(y, place, keepdims=True)
    logs = log_softmax(y, place) if from_logits else log(clip(y, epsilon(), 1.0 - epsilon()))
    return -of_class(moveaxis(logs, place, -1), target, "sparse_categorical_crossentropy")


def of_class(rows: Tensor, target: Any, name: str) -> Tensor:
    """Return the entry of the class of each row: (..., classes), integers (...) -> (...).

    A step too raises an error for an integer that is no class. ``target`` may be (..., 1).
    """
    what = f"{name}: classes"
    t = integers(target, what)
    if t.ndim == rows.ndim and t.shape[-1] == 1:
        t = t[..., 0]
    if t.shape != rows.shape[:-1]:
        raise ValueError(
            f"{name}: target has shape {t.shape} and output, with its classes last, {rows.shape}; "
            f"expected a target of {rows.shape[:-1]}."
        )
    t = checked(t, 0, rows.shape[-1] - 1, what)
    own = take_unchecked(rows, expand_dims(t, -1), rows.ndim - 1, along=True, wraps=False)
    return squeeze(own, -1)


@operation
def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Tensor:
    """Compute the CTC loss of sequences: ``-log p(labels)``, over all ways to align them.

    A step has one label or none, the blank. A path of one class per step stands for its labels
    without repetitions and blanks, and the probabilities of all paths of the labels are added.
    Logits are turned into probabilities by `softmax`. Where no path has as many steps, the loss is
    infinite, and its derivative 0. Source: Graves et al. 2006, "Connectionist temporal
    classification".

    Args:
        target: integers (batch, labels), of which those beyond a sample's length do not matter.
        output: logits (batch, steps, classes).
        target_length: integers (batch,), the number of labels of each sample.
        output_length: integers (batch,), the number of steps of each sample.
        mask_index: the class that is the blank.

    Returns:
        a tensor (batch,).

    Raises:
        ValueError: if the shapes do not match, or ``mask_index`` is no class.
        IndexError: if a label is no class or is the blank, or a length not from 0 to the axis's; in
            a trace, the step raises it.

    >>> from gpunn import ops
    >>> ops.ctc_loss([[1]], [[[0.0, 0.0], [0.0, 0.0]]], [1], [2]).numpy().round(4)  # -log(3 / 4)
    array([0.2877], dtype=float32)
    """
    from gpunn.ops.loops.ctc import ctc  # which `fit` does not need, nor
    from gpunn.ops.making import arange, full

    y, labels = floats(output), integers(target, "ctc_loss: target")
    lengths = [
        integers(x, f"ctc_loss: {name}")
        for name, x in (("target_length", target_length), ("output_length", output_length))
    ]
    if (y.ndim, labels.ndim) != (3, 2) or {labels.shape[:1], *(x.shape for x in lengths)} != {
        y.shape[:1]
    }:
        raise ValueError(
            f"ctc_loss: target has shape {labels.shape}, output {y.shape}, target_length "
            f"{lengths[0].shape} and output_length {lengths[1].shape}; (batch, labels), (batch, "
            f"steps, classes), (batch,) and (batch,) are expected."
        )
    blank = whole(mask_index, "ctc_loss: mask_index")
    if not 0 <= blank < y.shape[2]:
        raise ValueError(
            f"ctc_loss: mask_index must be from 0 to {y.shape[2] - 1}, a class; got {blank}."
        )
    counts = checked(lengths[0], 0, labels.shape[1], "ctc_loss: target_length")
    steps = checked(lengths[1], 0, y.shape[1], "ctc_loss: output_length")
    if not labels.shape[1]:
        labels = full((len(y), 1), blank, "int32")
    inside = arange(labels.shape[1], dtype="int32") < expand_dims(counts, 1)
    blanks = sum_(cast(logical_and(inside, labels == blank), "int32"), -1)
    what = f"ctc_loss: number of blanks (class {blank}) within the labels of a sample"
    counts = counts + checked(blanks, 0, 0, what)
    labels = checked(where(inside, labels, blank), 0, y.shape[2] - 1, "ctc_loss: target")
    return ctc(labels, y, counts, steps, blank)
