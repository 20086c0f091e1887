"""Weights of rows that a loss divides by their sum, or that a mask sets to 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.backends.contract.backend import Array, Backend
from gpunn.ops import broadcast_to, cast, equal, not_equal, ones, reshape, where
from gpunn.ops import sum as sum_of
from gpunn.ops.running.computation import Destination
from gpunn.ops.running.eager import stages_of, trace_for
from gpunn.ops.trace import Mode

from .loss import Loss


class NormalizedWeights:
    """Computes ``buffers.normalized`` in each step, as operations that a backend can trace.

    With a mask, it also writes ``masked``, the mask as numbers, and ``masked_weights``.

    Args:
        buffers: The arrays of the output, `gpunn.training.loss_terms.TargetBuffers`.
        given: The weights of the batch (batch,) or (batch, steps); None if all are 1.
    """

    def __init__(
        self, loss: Loss, buffers: Any, given: Array | None, backend: Backend, ranks: Any
    ) -> None:
        self._backend, self._ranks = backend, ranks
        normalized, reduction = buffers.normalized, loss.reduction
        shape, dtype = normalized.shape, normalized.dtype.name
        self._total = backend.zeros((1,), normalized.dtype)  # of all ranks
        trace = trace_for(backend, Mode.function(training=True))
        total = trace.placeholder(self._total)  # what the first stage has written
        with trace.active():
            weights = ones(shape, dtype) if given is None else trace.placeholder(given)
            divisor, first = None, []
            if buffers.mask is not None:
                mask = cast(trace.placeholder(buffers.mask), dtype)
                mask = reshape(broadcast_to(mask, buffers.mask_shape), shape)
                weights = weights * mask
                first = [
                    Destination(mask, buffers.masked), Destination(weights, buffers.masked_weights)
                ]
                if reduction != "mean_with_sample_weight":
                    divisor = mask  # Keras divides by the number of steps that the mask keeps
            self._divides = buffers.mask is None or reduction != "sum"
            if self._divides:
                share: Any = 1.0
                if loss.ignore_class is not None:
                    labels = reshape(trace.placeholder(buffers.y_true), shape)
                    counted = cast(not_equal(labels, loss.ignore_class), dtype)
                    weights = where(equal(counted, 0.0), 0.0, weights)
                    if divisor is not None and not loss._of_tensors:
                        # The loss divides by the number of this rank's steps of other classes.
                        divisor, share = divisor * counted, sum_of(counted) / counted.size
                divisor = sum_of(weights if divisor is None else divisor, keepdims=True)
                first.append(Destination(reshape(divisor, (1,)), self._total))
                # Without any weight the loss is 0, not 0 / 0.
                total = total + cast(equal(total, 0.0), dtype)
                factor = reshape(np.asarray(buffers.whole_steps, dtype) / total, (1,) * len(shape))
                weights = weights * (factor * share)
        stages = [first, [Destination(weights, normalized)]]
        self._stages = stages_of(trace, backend, stages)

    def compute(self) -> None:
        self._stages.run(0)
        if self._divides and self._ranks.size > 1:
            self._backend.sum_over_ranks(self._total, self._ranks)
        self._stages.run(1)
