"""Attention without projections: by products, and by sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gpunn.common.arguments import check_flag, check_fraction, choice
from gpunn.common.fields import field
from gpunn.common.random import check_seed
from gpunn.core.storage import Parameter
from gpunn.ops.tensor import Tensor, ops

from ..layer import Layer
from ..noise import Dropout

__all__ = ["AdditiveAttention", "Attention"]


def both(mask: Any, other: Any) -> Any:
    """Return where two masks are true, each None for everywhere."""
    if mask is None or other is None:
        return mask if other is None else ops.cast(other, "bool")
    return ops.logical_and(mask, ops.cast(other, "bool"))


class Attention(Layer):
    """Compute ``y = softmax(scores) value``: for each query, the mean of the values whose keys
    match it.

    The scores are products ``query key^T`` ("dot", Luong et al., 2015), or ``sum(tanh(query +
    key))`` ("concat").

    Shapes: a list of query ``(batch, T, size)``, value ``(batch, S, n)`` and, by default the value,
    key ``(batch, S, size)`` -> y ``(batch, T, n)``; with ``return_attention_scores=True`` in a
    call, also the weights ``(batch, T, S)``. ``mask=[query_mask, value_mask]``, booleans ``(batch,
    T)`` and ``(batch, S)``, sets rows of y to 0 and leaves values out. With
    ``use_causal_mask=True`` a query sees only values up to its own position.

    Args:
        use_scale: whether to multiply by a trained number.
        score_mode: ``"dot"`` or ``"concat"``, which has a trained weight.
        dropout: the fraction of weights that are dropped in training.
        seed: key of the random stream; the model's when None.

    Raises:
        ValueError: for inputs that are no list of two or three tensors of three or more axes, or
            whose shapes do not match.

    >>> Attention()([[[[1.0, 0.0]]], [[[0.0, 2.0], [0.0, 4.0]]]]).tolist()
    [[[0.0, 3.0]]]
    """

    takes_list = supports_masking = True
    examples = (
        {"use_scale": True},
        {"score_mode": "concat", "use_scale": True, "dropout": 0.3, "seed": 2},
    )

    _refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("_calculate_scores", "_apply_scores", "_calculate_score_mask"),
        "write call(inputs, mask), in terms of gpunn.ops",
    )

    use_scale: bool = field(default=False, check=check_flag)
    score_mode: str = field(default="dot", check=choice("dot", "concat"))
    dropout: float = field(default=0.0, check=check_fraction)
    seed: int | None = field(default=None, check=check_seed)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._dropout = Dropout(self.dropout, seed=self.seed)
        self.scale: Parameter | None = None
        self.concat_score_weight: Parameter | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "dropout" and "_dropout" in vars(self):
            self._dropout.rate = self.dropout

    def build(self, input_shape: Any) -> None:
        self._check_shapes(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _check_shapes(self, shapes: Any) -> None:
        # One tensor has a shape of numbers.
        each = [shape if isinstance(shape, (list, tuple)) else () for shape in shapes]
        if not 2 <= len(each) <= 3 or any(len(shape) < 3 for shape in each):
            raise ValueError(
                f"{self.name}: expected a list [query, value] or [query, value, key] of tensors "
                f"(batch, ..., steps, features); got the shapes {shapes!r}."
            )
        query, value, key = shapes[0], shapes[1], shapes[-1]
        if query[-1] != key[-1] or value[:-1] != key[:-1]:
            raise ValueError(
                f"{self.name}: a key needs as many features as a query, and as many steps as a "
                f"value; got query {query}, value {value} and key {key}."
            )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the query."""
        return mask[0] if mask else None

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Return the scores (batch, T, S)."""
        factor = 1.0 if self.scale is None else self.scale
        if self.concat_score_weight is None:
            return ops.matmul(query, ops.swapaxes(key, -1, -2)) * factor
        pairs = ops.expand_dims(query, -2) + ops.expand_dims(key, -3)
        return self.concat_score_weight * ops.sum(ops.tanh(factor * pairs), -1)

    def call(
        self,
        inputs: Sequence[Tensor],
        mask: Sequence[Any] | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._check_shapes([getattr(x, "shape", ()) for x in inputs])
        query, value, key = inputs[0], inputs[1], inputs[-1]
        if mask is not None and (not isinstance(mask, (list, tuple)) or not 2 <= len(mask) <= 3):
            raise ValueError(
                f"{self.name}: mask must be a list [query_mask, value_mask], each None or "
                f"booleans (batch, steps); got {mask!r}."
            )
        of_query, of_value = mask[:2] if mask else (None, None)
        scores = self._scores(query, key)
        allowed = both(None, None if of_value is None else ops.expand_dims(of_value, -2))
        if use_causal_mask:
            allowed = both(allowed, ops.tri(*scores.shape[-2:], dtype="bool"))
        if allowed is not None:  # as in Keras: where all are masked, the weights stay as they are
            scores = ops.where(allowed, scores, scores - 1e9)
        weights = self._dropout(given := ops.softmax(scores, -1), training=training)
        y = ops.matmul(weights, value)
        if of_query is not None:
            y = ops.where(ops.expand_dims(ops.cast(of_query, "bool"), -1), y, 0.0)
        return (y, weights if self.dropout else given) if return_attention_scores else y


class AdditiveAttention(Attention):
    """Compute ``y = softmax(sum(scale tanh(query + key))) value``: attention by sums, of Bahdanau.

    Shapes, masks and arguments of a call are as in `Attention`. Source: Bahdanau, Cho and
    Bengio, "Neural machine translation by jointly learning to align and translate", 2015.

    Args:
        use_scale: whether to train a scale (size,); otherwise it is 1.

    The other arguments: as in `Attention`, without ``score_mode``.

    >>> AdditiveAttention(use_scale=False)([[[[1.0]]], [[[2.0], [2.0]]]]).tolist()
    [[[2.0]]]
    """

    examples = ({}, {"use_scale": False})

    use_scale: bool = field(default=True)
    score_mode: str = field(default="dot", attribute=None, kw_only=True)

    def build(self, input_shape: Any) -> None:
        self._check_shapes(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), name="scale")

    def _scores(self, query: Tensor, key: Tensor) -> Tensor:
        pairs = ops.tanh(ops.expand_dims(query, -2) + ops.expand_dims(key, -3))
        return ops.sum(pairs if self.scale is None else self.scale * pairs, -1)
