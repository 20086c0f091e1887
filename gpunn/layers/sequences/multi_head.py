"""Attention of several heads, with projections of its inputs and its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gpunn.common import registry
from gpunn.common.arguments import check_flag, check_fraction, optional
from gpunn.common.fields import field
from gpunn.common.random import check_seed
from gpunn.common.signatures import signature
from gpunn.ops.products import LETTERS
from gpunn.ops.shapes import listed, places_of, whole
from gpunn.ops.tensor import Tensor, ops

from ..arguments import check_units
from ..dense import KernelAndBias
from ..noise import Dropout
from ..shapes import check_shape
from ..traced import penalized
from ..wrapping import InputSpec
from .attention import both
from .einsum_dense import EinsumDense

__all__ = ["GroupQueryAttention", "MultiHeadAttention"]


class _Heads(KernelAndBias):
    """Base class of layers with projections to heads; a subclass has `_counts`."""

    _abstract = supports_masking = _builds_itself = True
    _refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("_compute_attention", "_compute_attention_mask", "_compute_causal_mask",
         "_masked_softmax"),
        "write call(query, value, key), in terms of layers and gpunn.ops",
    )  # fmt: skip

    _counts = (1, 1, 1, 1)
    """The number of heads of queries and of keys, and the sizes of a key and a value."""
    _sizes: ClassVar[Any] = None  # of the output's last axes; None: as of the query
    _flash: ClassVar[Any]
    _activity: ClassVar[Any]

    dropout: float = field(default=0.0, check=check_fraction, kw_only=True, placed=True)
    use_bias: bool = field(default=True, check=check_flag, kw_only=True, placed=True)
    sliding_window: Any = field(
        default=None, check=optional(check_units), kw_only=True, placed=True
    )
    flash_attention: Any = field(
        default=None, check=optional(check_flag), attribute="_flash", kw_only=True, placed=True
    )
    activity_regularizer: Any = field(
        default=None, attribute="_activity", kw_only=True, placed=True, after="bias_regularizer"
    )
    use_gate: bool = field(
        default=False, check=check_flag, kw_only=True, placed=True, after="bias_constraint"
    )
    seed: int | None = field(
        default=None, check=check_seed, kw_only=True, placed=True, after="use_gate"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._refuse_to_drop(self.dropout)
        heads, others, size, depth = self._counts
        self.query_dense = self._dense("query", 1, (heads, size))
        self.key_dense = self._dense("key", 1, (others, size))
        if self.use_gate:
            self._gate_dense = self._dense("gate", 1, (heads, depth), activation="sigmoid")
        self.value_dense = self._dense("value", 1, (others, depth))
        self._dropped = Dropout(self.dropout, seed=self.seed)

    def __setattr__(self, name: str, value: Any) -> None:
        later = name == "dropout" and "_dropped" in vars(self)
        if later:
            self._refuse_to_drop(value)
        super().__setattr__(name, value)
        if later:
            self._dropped.rate = self.dropout

    def _refuse_to_drop(self, rate: Any) -> None:
        self._refuse(self._flash and rate, (
            "Dropout is not supported when flash attention is enabled: it keeps no scores to drop"
        ))

    def _refuse(self, wrong: Any, why: str) -> None:
        if wrong:
            raise ValueError(f"{self.name}: {why}.")

    def _dense(self, name: str, taken: int, sizes: Sequence[Any], **options: Any) -> EinsumDense:
        """Return a projection of some last axes to axes of these sizes."""
        letters = LETTERS[: taken + len(sizes)]
        made = letters[taken:]
        for kind in ("initializer", "regularizer", "constraint"):
            for part in (f"kernel_{kind}", f"bias_{kind}"):
                options[part] = getattr(self, part)
        projection = EinsumDense(
            f"...{letters[:taken]},{letters}->...{made}", tuple(sizes), name=name,
            bias_axes=made if self.use_bias else None, activity_regularizer=self._activity,
            dtype=self.dtype, **options,
        )
        projection.supports_masking = True  # this layer reads the masks itself
        return projection

    def build(  # type: ignore[override]
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        self._check(query_shape, value_shape, key_shape)
        self.output_dense = self._dense("attention_output", 2, self._sizes or query_shape[-1:])
        self.query_dense.build(query_shape)
        self.query_dense.input_spec = InputSpec(ndim=len(query_shape))
        self.key_dense.build(key_shape)
        if self.use_gate:
            self._gate_dense.build(query_shape)
        self.value_dense.build(value_shape)
        self.output_dense.build((*query_shape[:-1], self._counts[0], self._counts[3]))

    def _check(self, *shapes: Any) -> list[int]:
        """Return the axes of attention of inputs of these shapes."""
        query, value, key = shapes
        fits = 3 <= len(query) == len(value) and tuple(value[:-1]) == tuple(key[:-1])
        self._refuse(
            not fits, "the numbers of axes of query and value must be equal, at least three, and so"
            f" the lengths of axes of value and key but the last; got {query}, {value} and {key}",
        )
        return [1]

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        keeps, causal = return_attention_scores, use_causal_mask
        self._refuse(self._flash and keeps, "flash_attention keeps no scores to return")
        key = value if key is None else key
        if not self.built:
            self.build(query.shape, value.shape, key.shape)
        axes = self._check(query.shape, value.shape, key.shape)
        mask = None if query_mask is None else ops.expand_dims(ops.cast(query_mask, "bool"), -1)
        for part in (value_mask, key_mask):
            mask = both(mask, None if part is None else ops.expand_dims(part, -2))
        mask = both(mask, attention_mask)
        if self.sliding_window is not None or causal:
            self._refuse(axes[1:], "causal masks and sliding windows need one axis of attention")
            t, s = query.shape[axes[0]], value.shape[axes[0]]
        if self.sliding_window is not None:
            apart = ops.expand_dims(ops.arange(t), 1) - ops.arange(s)
            mask = both(mask, ops.abs(apart) < self.sliding_window)
        gate = self._gate_dense(query) if self.use_gate else None
        query, key, value = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        repeats = self._counts[0] // self._counts[1]
        if repeats > 1:
            key, value = (ops.repeat(x, repeats, -2) for x in (key, value))
        if mask is not None:  # axes of heads, and of no attention, come behind axes of samples
            at = max(mask.ndim - 2 * len(axes), 0)
            more = query.ndim - 1 + len(axes) - mask.ndim
            mask = ops.reshape(mask, (*mask.shape[:at], *[1] * more, *mask.shape[at:]))
        scale = query.shape[-1] ** -0.5
        if axes == [1] and query.ndim == 4 and not (keeps or self.dropout):
            y = ops.dot_product_attention(query, key, value, None, mask, scale, causal)
            return self._penalized(self.output_dense(y if gate is None else y * gate))
        mask = both(mask, ops.tri(t, s, dtype="bool")) if causal else mask
        names = LETTERS[: query.ndim - 1]
        others = "".join(LETTERS[30 + i] if i in axes else c for i, c in enumerate(names))
        pairs = "".join(
            [c for i, c in enumerate(names) if i not in axes]
            + [of[i] for of in (names, others) for i in axes]
        )
        scores = ops.einsum(f"{names}z,{others}z->{pairs}", query * scale, key)
        scores = scores if mask is None else ops.where(mask, scores, -3e38)
        flat = ops.reshape(scores, (*scores.shape[: -len(axes)], -1))
        weights = ops.reshape(ops.softmax(flat, -1), scores.shape)
        weights = weights if mask is None else ops.where(mask, weights, 0.0)
        read = self._dropped(weights, training=training)
        y = ops.einsum(f"{pairs},{others}z->{names}z", read, value)
        y = self._penalized(self.output_dense(y if gate is None else y * gate))
        return (y, self._penalized(weights)) if keeps else y

    def _run(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        given = signature(self.call).bind_partial(*args, **kwargs)
        query, mask = map(given.arguments.get, ("query", "attention_mask"))
        if query is not None and mask is not None:  # it may be for all samples alike
            query, mask = np.shape(query), np.asarray(mask)
            axes = 2 * len(self._check(query, query, query))
            own = mask.shape[1:] if mask.ndim > axes else mask.shape
            if own == mask.shape or len(mask) == 1:
                mask = np.broadcast_to(mask, (query[0], *own))
            given.arguments["attention_mask"] = mask
        return super()._run(*given.args, training=training, **given.kwargs)

    def _penalized(self, y: Tensor) -> Tensor:
        """Return an output of `call`, with what a subclass adds to the loss for it."""
        return y

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._activity is not None:
            config["activity_regularizer"] = registry.serialize(self._activity)
        return config


def _check_axes(name: str, value: Any) -> tuple[int, ...]:
    return tuple(whole(axis, name) for axis in listed(value))


def _check_sizes(name: str, value: Any) -> tuple[int, ...]:
    return check_shape(listed(value), name)


class MultiHeadAttention(_Heads):
    """Attend with several heads: each compares projections of queries and keys, and averages a
    projection of the values.

    A head computes ``softmax(q k^T / sqrt(key_dim)) v`` with ``q = query Wq + bq``, and k and v
    likewise. The heads, side by side, are projected to the output. Unless scores are returned or
    dropped, they are computed in blocks: memory does not grow with ``T S``. Source: Vaswani et al.,
    "Attention is all you need", 2017.

    Shapes: query ``(batch, T, n)``, value and, by default the value, key ``(batch, S, m)`` -> y
    ``(batch, T, *output_shape)``; with ``return_attention_scores=True`` in a call, also ``(batch,
    heads, T, S)``. The booleans ``query_mask`` (batch, T), ``value_mask`` and ``key_mask`` (batch,
    S) and ``attention_mask`` of a call are True where a query sees a value. The last is (batch, T,
    S), or (T, S) for all samples. With ``use_causal_mask=True`` a query sees only values up to its
    own position.

    Args:
        num_heads: number of heads.
        key_dim, value_dim: sizes of a head's keys and values; by default the same.
        dropout: the fraction of scores that are dropped in training.
        output_shape: sizes of the last axes of the output; by default the query's.
        attention_axes: axes along which queries see values; by default all but the first and last.
        sliding_window: a query sees values fewer positions away than this; None: all.
        flash_attention: accepted as in Keras; blocks are chosen by size.
        use_gate: whether to multiply what the heads read by a sigmoid of a projected query.
        seed: key of the random stream of the dropout; the model's when None.

    The other arguments are for each projection, as in `Dense`.

    Raises:
        ValueError: for inputs whose shapes do not match, and for ``flash_attention=True`` with
            dropout or with returned scores.

    >>> import numpy as np
    >>> layer = MultiHeadAttention(num_heads=2, key_dim=3)
    >>> y, scores = layer(np.ones((1, 5, 4)), np.ones((1, 7, 4)), return_attention_scores=True)
    >>> y.shape, scores.shape
    ((1, 5, 4), (1, 2, 5, 7))
    """

    examples = (
        {"num_heads": 2, "key_dim": 3, "bias_initializer": "normal"},
        {"num_heads": 1, "key_dim": 2, "value_dim": 3, "use_gate": True, "use_bias": False},
        {"num_heads": 2, "key_dim": 2, "dropout": 0.4, "seed": 3, "output_shape": [3],
         "use_bias": False},
    )

    num_heads: int = field(check=check_units)
    key_dim: int = field(check=check_units)
    value_dim: Any = field(default=None, check=optional(check_units))
    dropout: float = field(default=0.0, kw_only=True, placed=True)
    use_bias: bool = field(default=True, kw_only=True, placed=True)
    output_shape: Any = field(default=None, check=optional(_check_sizes), attribute="_sizes")
    attention_axes: Any = field(default=None, check=optional(_check_axes))

    def __post_init__(self) -> None:
        heads, size = self.num_heads, self.key_dim
        self._counts = heads, heads, size, self.value_dim or size
        super().__post_init__()

    def _check(self, *shapes: Any) -> list[int]:
        super()._check(*shapes)
        n, given = len(shapes[0]), self.attention_axes
        axes = [*range(1, n - 1)] if given is None else places_of(given, n, "attention_axes")
        self._refuse(
            not axes or {0, n - 1} & {*axes}, "attention_axes must be between those of samples and "
            f"features of the {n} axes of a query; got {given!r}",
        )
        return axes

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": self._sizes}


class GroupQueryAttention(_Heads):
    """Attend as `MultiHeadAttention`, with groups of queries' heads that share keys and values.

    Its other arguments, inputs and arguments of a call are as in `MultiHeadAttention`. Source:
    Ainslie et al., "GQA: training generalized multi-query transformer models", 2023.

    Shapes: query ``(batch, T, n)``, value and key ``(batch, S, m)`` -> y ``(batch, T, n)``; with
    ``return_attention_scores=True``, also ``(batch, heads, T, S)``.

    Args:
        head_dim: size of a head.
        num_query_heads: number of heads of queries.
        num_key_value_heads: number of heads of keys and values, a divisor of that.

    Raises:
        ValueError: for numbers of heads that do not divide, and as in `MultiHeadAttention`.

    >>> import numpy as np
    >>> layer = GroupQueryAttention(3, num_query_heads=4, num_key_value_heads=2)
    >>> layer(np.ones((1, 5, 4)), np.ones((1, 5, 4)), use_causal_mask=True).shape
    (1, 5, 4)
    """

    examples = ({"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2,
                 "bias_initializer": "normal", "sliding_window": 2},)

    head_dim: int = field(check=check_units)
    num_query_heads: int = field(check=check_units)
    num_key_value_heads: int = field(check=check_units)

    def __post_init__(self) -> None:
        heads, others, size = self.num_query_heads, self.num_key_value_heads, self.head_dim
        self._counts = heads, others, size, size
        super().__post_init__()
        self._refuse(
            heads % others,
            f"num_query_heads={heads} must be a multiple of num_key_value_heads={others}",
        )

    def _penalized(self, y: Tensor) -> Tensor:
        return penalized(y, self._activity)  # beside the projections' penalties, as in Keras

    def _check(self, *shapes: Any) -> list[int]:
        self._refuse(
            len(shapes[0]) != 3,
            f"a query needs three axes (batch, steps, features); got {shapes[0]}",
        )
        return super()._check(*shapes)
