"""What `ops.ctc_loss` does: the forward algorithm of Graves et al. 2006, as a scan."""

from __future__ import annotations

from gpunn.ops.arithmetic import logaddexp, maximum
from gpunn.ops.conversion import cast
from gpunn.ops.elementwise import where
from gpunn.ops.gather_scatter.gather import take_along_axis
from gpunn.ops.joining import concatenate, stack
from gpunn.ops.library.control import scan
from gpunn.ops.making import arange
from gpunn.ops.reductions import log_softmax
from gpunn.ops.shapes import broadcast_to, expand_dims, reshape, transpose
from gpunn.ops.tensor import Tensor, ops

NEVER = -1e30  # the logarithm of no probability: minus infinity would have no differences


def ctc(
    labels: Tensor, logits: Tensor, label_lengths: Tensor, steps: Tensor, blank: int
) -> Tensor:
    """Return (batch,) negative log-likelihoods of labels (batch, most) for logits (batch, time,
    classes). Labels from the length of a sample on are blank."""
    batch, most = labels.shape
    time, dtype = logits.shape[1], logits.dtype
    # A path goes through blank, label, blank, label, ..., blank; two equal labels need the blank.
    blanks = broadcast_to(ops.full_like(labels[:, :1], blank), (batch, most))
    states = reshape(stack([blanks, labels], 2), (batch, 2 * most))
    states = concatenate([states, blanks[:, :1]], 1)  # (batch, 2 most + 1)
    never = ops.full((batch, 2), NEVER, dtype)
    others = ops.logical_and(states[:, 2:] != states[:, :-2], states[:, 2:] != blank)
    skips = concatenate([cast(states[:, :2] * 0, "bool"), others], 1)
    of_steps = broadcast_to(expand_dims(states, 1), (batch, time, 2 * most + 1))
    found = maximum(take_along_axis(log_softmax(logits, -1), of_steps, 2), NEVER)

    def step(before: Tensor, given: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        log_p, t = given
        one = concatenate([never[:, :1], before[:, :-1]], 1)
        two = where(skips, concatenate([never, before[:, :-2]], 1), NEVER)
        after = logaddexp(logaddexp(before, one), two) + log_p
        return where(expand_dims(t < steps, 1), after, before), None

    nowhere = broadcast_to(never[:, :1], (batch, 2 * most))
    first = concatenate([ops.zeros((batch, 1), dtype), nowhere], 1)
    last, _ = scan(step, first, (transpose(found, (1, 0, 2)), arange(time, dtype="int32")))
    ends = expand_dims(2 * label_lengths, 1)
    at_blank = take_along_axis(last, ends, 1)
    at_label = where(ends == 0, NEVER, take_along_axis(last, maximum(ends - 1, 0), 1))
    likelihood = reshape(logaddexp(at_blank, at_label), (batch,))
    return where(likelihood < 0.5 * NEVER, float("inf"), 0.0 - likelihood)
