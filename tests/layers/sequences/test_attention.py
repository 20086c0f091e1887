"""Attention and EinsumDense beside Keras on PyTorch, in models, and in blocks of queries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops
from gpunn.backends import get_backend

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras
RANDOM = np.random.default_rng(5)
Q, K, V = (RANDOM.normal(size=s).astype("float32") for s in ((3, 5, 6), (3, 7, 6), (3, 7, 4)))
SEEN = RANDOM.random((3, 5, 7)) > 0.4
SEEN[:, :, 0] = True
ROWS, VALUES = np.arange(5) < np.array([[5], [2], [4]]), np.arange(7) < np.array([[7], [3], [1]])
DEEP = RANDOM.normal(size=(2, 3, 4, 6)).astype("float32")
SQUARE, CAUSAL = np.tile(Q[:, :, :1], (1, 1, 6))[:, :3] + Q[:, :3], np.tril(np.ones((3, 3)))
HEADS = {"num_heads": 2, "key_dim": 3, "bias_initializer": "glorot_uniform"}
GROUPS = {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2}
CALLS: list[tuple[str, dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    ("MultiHeadAttention", HEADS, (Q, V), {}),
    ("MultiHeadAttention", HEADS, (Q, V, K), {"use_causal_mask": True}),
    ("MultiHeadAttention", HEADS, (Q, V, K), {"attention_mask": SEEN}),
    ("MultiHeadAttention", HEADS, (Q, V, K), {"attention_mask": SEEN[0]}),
    ("MultiHeadAttention", HEADS, (Q, V), {"attention_mask": SEEN[:1], "value_mask": VALUES}),
    ("MultiHeadAttention", HEADS, (SQUARE, SQUARE), {"attention_mask": CAUSAL.astype(int)}),
    ("MultiHeadAttention", HEADS, (Q[:1], V[:1]),
     {"attention_mask": SEEN[0], "return_attention_scores": True}),
    ("MultiHeadAttention", {**HEADS, "attention_axes": (2,)}, (DEEP, DEEP),
     {"attention_mask": np.tri(4)}),
    ("MultiHeadAttention", {**HEADS, "attention_axes": (2,)}, (DEEP, DEEP),
     {"attention_mask": np.tri(4)[None]}),
    ("MultiHeadAttention", HEADS, (Q, V), {"value_mask": VALUES, "use_causal_mask": True}),
    ("MultiHeadAttention", HEADS, (Q, V, K), {"key_mask": VALUES, "attention_mask": SEEN}),
    ("MultiHeadAttention", HEADS, (Q, V), {"return_attention_scores": True}),
    ("MultiHeadAttention", HEADS, (Q, V),
     {"return_attention_scores": True, "attention_mask": SEEN, "use_causal_mask": True}),
    ("MultiHeadAttention", {**HEADS, "value_dim": 5, "output_shape": (2, 3)}, (Q, V), {}),
    ("MultiHeadAttention", {**HEADS, "use_bias": False, "use_gate": True}, (Q, V), {}),
    ("MultiHeadAttention", {**HEADS, "sliding_window": 2}, (Q, K), {"use_causal_mask": True}),
    ("MultiHeadAttention", HEADS, (DEEP, DEEP), {"return_attention_scores": True}),
    ("MultiHeadAttention", {**HEADS, "attention_axes": (2,)}, (DEEP, DEEP), {}),
    ("MultiHeadAttention", {**HEADS, "attention_axes": -2}, (DEEP, DEEP), {}),
    ("GroupQueryAttention", GROUPS, (Q, V, K), {"use_causal_mask": True}),
    ("GroupQueryAttention", GROUPS, (Q, V), {"attention_mask": SEEN}),
    ("GroupQueryAttention", GROUPS, (Q, V), {"attention_mask": SEEN[0]}),
    ("GroupQueryAttention", GROUPS, (SQUARE, SQUARE), {"attention_mask": CAUSAL[None]}),
    ("GroupQueryAttention", {**GROUPS, "use_gate": True}, (Q, V),
     {"return_attention_scores": True}),
    ("Attention", {}, ([Q, V, K],), {"return_attention_scores": True}),
    ("Attention", {"use_scale": True}, ([Q, K],), {"use_causal_mask": True}),
    ("Attention", {"score_mode": "concat", "use_scale": True}, ([Q, V, K],),
     {"mask": [ROWS, VALUES], "use_causal_mask": True}),
    ("Attention", {}, ([Q, K],), {"mask": [None, VALUES]}),
    ("AdditiveAttention", {}, ([Q, V, K],), {"mask": [ROWS, VALUES]}),
    ("AdditiveAttention", {"use_scale": False}, ([Q, K],), {"return_attention_scores": True}),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 4), "bias_axes": "d"},
     (Q,), {}),
    ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": (5, 4, 2), "bias_axes": "de",
                     "activation": "tanh"}, (Q,), {}),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 4, "bias_axes": "y"},
     (DEEP,), {}),
    ("EinsumDense", {"equation": "abc...,bd->adc...", "output_shape": (7, 4), "bias_axes": "d"},
     (DEEP,), {}),
    ("EinsumDense", {"equation": "abcd,cde->abe", "output_shape": (None, 5)}, (DEEP,), {}),
]  # fmt: skip


def both(name: str, arguments: dict[str, Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """A layer and Keras's, with the same weights."""
    made, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    made(*args, **kwargs), theirs(*args, **kwargs)
    theirs.set_weights([RANDOM.normal(0, 0.5, w.shape) for w in theirs.weights])
    assert [w.path.partition("/")[2] for w in made.weights] == [
        w.path.partition("/")[2] for w in theirs.weights
    ]
    made.set_weights(theirs.get_weights())
    return made, theirs


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("name", "arguments", "args", "kwargs"), CALLS)
def test_outputs_are_those_of_keras(
    name: str, arguments: dict, args: Any, kwargs: Any, every_backend: str
) -> None:
    gpunn.use_backend(every_backend)
    ours, theirs = both(name, arguments, args, kwargs)
    found, expected = ours(*args, **kwargs), theirs(*args, **kwargs)
    several = isinstance(expected, tuple)
    for y, wanted in zip(found, expected, strict=True) if several else [(found, expected)]:
        assert_allclose(y.numpy(), wanted.detach().cpu().numpy(), rtol=1e-5, atol=2e-6)
    again = type(ours).from_config(ours.get_config())
    again(*args, **kwargs)
    assert [w.shape for w in again.weights] == [w.shape for w in ours.weights]


@pytest.mark.parametrize("seen", [SEEN, SEEN[0], SEEN[:1]], ids=["each", "all", "one"])
@pytest.mark.parametrize("path", [None, "model.gpunn", "model.keras"])
def test_masks_of_seen_values_in_graphs(seen: Any, path: str | None, tmp_path: Path) -> None:
    """One mask for all samples is a constant of the graph, or is computed in it."""
    q, v, m = gpunn.Input((5, 6)), gpunn.Input((7, 4)), gpunn.Input((5, 7), dtype="bool")
    layer = layers.MultiHeadAttention(**HEADS)
    given = m if seen is SEEN else seen
    model = gpunn.Model([q, v, m][:2 + (seen is SEEN)], layer(q, v, attention_mask=given))
    if path is not None:
        model.save(tmp_path / path)
        model = gpunn.models.load_model(tmp_path / path)
    whole = np.broadcast_to(seen, SEEN.shape)
    expected = layer(Q, V, attention_mask=whole)
    assert_allclose(model.predict([Q, V, whole][: len(model.inputs)]), expected, atol=1e-6)
    assert_allclose(Attending(layer)(Q, V, seen), expected, atol=1e-6)


class Attending(layers.Layer):
    """A layer of one's own, whose mask may be for all samples alike."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, q: Any, v: Any, mask: Any) -> Any:
        return self.inner(q, v, attention_mask=mask)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("MultiHeadAttention", {"num_heads": 3, "key_dim": 4}), ("GroupQueryAttention", GROUPS)],
)
def test_initial_weights_vary_as_those_of_keras(name: str, arguments: dict) -> None:
    x = np.ones((1, 2, 96), "float32")
    made, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    made(x, x), theirs(x, x)
    for ours, other in zip(made.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(ours.std(), other.std(), rtol=0.15)
        assert_allclose(np.abs(ours).max(), np.abs(other).max(), rtol=0.15)


# -- in models, as in Keras's examples


def transformer(k: Any) -> Any:
    """The model of Keras's example of texts by a transformer, with a mask beside."""

    class TransformerBlock(k.layers.Layer):
        def __init__(self, embed_dim: int, num_heads: int, ff_dim: int, rate: float = 0.0) -> None:
            super().__init__()
            self.att = k.layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
            self.ffn = k.Sequential(
                [k.layers.Dense(ff_dim, activation="relu"), k.layers.Dense(embed_dim)]
            )
            self.layernorm1 = k.layers.LayerNormalization(epsilon=1e-6)
            self.layernorm2 = k.layers.LayerNormalization(epsilon=1e-6)
            self.dropout1 = k.layers.Dropout(rate)
            self.dropout2 = k.layers.Dropout(rate)

        def call(self, inputs: Any) -> Any:
            attn_output = self.att(inputs, inputs, use_causal_mask=True)
            attn_output = self.dropout1(attn_output)
            out1 = self.layernorm1(inputs + attn_output)
            ffn_output = self.ffn(out1)
            ffn_output = self.dropout2(ffn_output)
            return self.layernorm2(out1 + ffn_output)

    class TokenAndPositionEmbedding(k.layers.Layer):
        def __init__(self, maxlen: int, vocab_size: int, embed_dim: int) -> None:
            super().__init__()
            self.token_emb = k.layers.Embedding(input_dim=vocab_size, output_dim=embed_dim)
            self.pos_emb = k.layers.Embedding(input_dim=maxlen, output_dim=embed_dim)

        def call(self, x: Any) -> Any:
            maxlen = k.ops.shape(x)[-1]
            positions = k.ops.arange(start=0, stop=maxlen, step=1)
            positions = self.pos_emb(positions)
            x = self.token_emb(x)
            return x + positions

    inputs = k.layers.Input(shape=(9,), dtype="int32")
    x = TokenAndPositionEmbedding(9, 20, 8)(inputs)
    x = TransformerBlock(8, 2, 16)(x)
    x = k.layers.Dropout(0.0)(x)
    outputs = k.layers.Dense(20, activation="softmax")(x)
    model = k.Model(inputs=inputs, outputs=outputs)
    model.compile(k.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


def test_a_transformer_trains_as_in_keras(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    ours, theirs = transformer(gpunn), transformer(keras)
    ours.set_weights(theirs.get_weights())
    codes = RANDOM.integers(0, 20, (22, 10)).astype("int32")
    x, y = codes[:, :-1], codes[:, 1:]
    assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-4, atol=1e-6)
    fit = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    found, expected = ours.fit(x, y, **fit).history, theirs.fit(x, y, **fit).history
    assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    for w, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(w, wanted, rtol=1e-3, atol=2e-5)


def cross(k: Any, **options: Any) -> Any:
    """Three inputs of one attention, and a mask of its values as a tensor."""
    q, v, key = (k.Input(x.shape[1:]) for x in (Q, V, K))
    seen = k.Input((7,))
    attention = k.layers.MultiHeadAttention(2, 3, **options)
    y, scores = attention(q, v, key=key, value_mask=seen > 0.5, return_attention_scores=True)
    more = k.layers.Attention()([y, y])
    return k.Model([q, v, key, seen], [more, scores])


def test_several_inputs_in_a_graph(tmp_path: Path, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    ours, theirs = cross(gpunn), cross(keras)
    ours.set_weights(theirs.get_weights())
    fed = [Q, V, K, VALUES.astype("float32")]
    expected = theirs.predict(fed, verbose=0)
    path = tmp_path / "cross.gpunn"
    ours.save(path)
    for model in (ours, gpunn.models.load_model(path)):
        for found, wanted in zip(model.predict(fed, verbose=0), expected, strict=True):
            assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_mask_of_queries_counts_when_it_is_given_by_hand() -> None:
    layer = layers.MultiHeadAttention(2, 3)
    whole = np.broadcast_to(ROWS[:, :, None], (3, 5, 7))
    assert_allclose(layer(Q, V, query_mask=ROWS), layer(Q, V, attention_mask=whole), rtol=1e-5)
    assert not np.allclose(layer(Q, V, query_mask=ROWS), layer(Q, V))


def padded(k: Any) -> Any:
    x = k.Input((6,), dtype="int32")
    words = k.layers.Embedding(10, 8, mask_zero=True)(x)
    return k.Model(x, k.layers.MultiHeadAttention(2, 4)(words, words))


@pytest.mark.skipif(not hasattr(layers, "Masking"), reason="masks are not passed on")
def test_masks_of_padding_are_those_of_queries_and_values() -> None:
    x = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 0], [1] * 6], "int32")
    ours, theirs = padded(gpunn), padded(keras)
    ours.set_weights(theirs.get_weights())
    expected = theirs.predict(x, verbose=0)
    assert_allclose(ours.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-6)


def test_dropout_of_scores_only_in_training() -> None:
    layer = layers.MultiHeadAttention(2, 3, dropout=0.5, seed=1)
    y = layer(Q, V)
    assert_allclose(layer(Q, V), y)
    dropped = layer(Q, V, training=True)
    assert not np.allclose(dropped, y) and np.isfinite(dropped).all()
    model = gpunn.Sequential([gpunn.Input((5, 6)), Itself(dropout=0.3), layers.Dense(1)])
    model.compile("sgd", "mse")
    assert np.isfinite(model.fit(Q, Q[..., :1], verbose=0).history["loss"]).all()


class Itself(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 3, **options)

    def call(self, x: Any) -> Any:
        return self.attention(x, x)


def test_penalties_on_projections_are_added_once() -> None:
    layer = layers.MultiHeadAttention(1, 2, kernel_regularizer="l2", activity_regularizer="l2")
    theirs = keras.layers.MultiHeadAttention(
        1, 2, kernel_regularizer="l2", activity_regularizer="l2"
    )
    layer(Q, V), theirs(Q, V)
    theirs.set_weights(layer.get_weights())
    layer(Q, V), theirs(Q, V)
    assert_allclose(sum(map(float, layer.losses)), float(sum(theirs.losses)), rtol=1e-5)


@pytest.mark.parametrize("keeps", [False, True])
def test_penalties_on_groups_are_those_of_outputs_too(keeps: bool) -> None:
    made = [
        library.layers.GroupQueryAttention(2, 4, 2, activity_regularizer="l2")
        for library in (gpunn, keras)
    ]
    for layer in made:
        layer(Q, V)
    made[1].set_weights(made[0].get_weights())
    for layer in made:
        layer(Q, V, return_attention_scores=keeps)
    ours, theirs = (sum(map(float, layer.losses)) for layer in made)
    assert_allclose(ours, theirs, rtol=1e-5)


# -- in blocks


def attended(q: Any, k: Any, v: Any, mask: Any, causal: bool, blocks: bool) -> Any:
    """Attention; a bias of 0 is only taken by the composed formula."""
    bias = None if blocks else np.zeros((1, 1, 1, 1), q.dtype)
    return ops.dot_product_attention(q, k, v, bias, mask, is_causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "shapes", [(2, 300, 290, 2, 3, 5), (1, 140, 270, 1, 8, 8), (3, 5, 4, 2, 1, 1)]
)
@pytest.mark.parametrize("masked", ["not", "by sample", "by key", "by query"])
def test_blocks_change_nothing(
    shapes: tuple[int, ...], masked: str, causal: bool, every_backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gpunn.use_backend(every_backend)
    monkeypatch.setattr(get_backend(), "blocks_from", 0)
    batch, t, s, heads, size, depth = shapes
    random = np.random.default_rng(1)
    q, k, v, dy = (
        random.normal(size=shape).astype("float32")
        for shape in ((batch, t, heads, size), (batch, s, heads, size), (batch, s, heads, depth),
                      (batch, t, heads, depth))
    )  # fmt: skip
    mask = {
        "not": None, "by sample": random.random((batch, 1, t, s)) > 0.5,
        "by key": random.random((1, heads, 1, s)) > 0.5, "by query": np.arange(t)[:, None] > t // 3,
    }[masked]  # fmt: skip
    results = []
    for blocks in (True, False):

        def loss(q: Any, k: Any, v: Any, blocks: bool = blocks) -> Any:
            return ops.sum(attended(q, k, v, mask, causal, blocks) * dy)

        y = attended(q, k, v, mask, causal, blocks)
        results.append([y.numpy(), *map(np.asarray, gpunn.grad(loss, argnums=(0, 1, 2))(q, k, v))])
    for found, expected in zip(*results, strict=True):
        assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_second_derivatives_of_blocks(
    doubles: None, every_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpunn.use_backend(every_backend)
    monkeypatch.setattr(get_backend(), "blocks_from", 0)
    random = np.random.default_rng(2)
    x, mask = random.normal(size=(2, 4, 2, 3)), random.random((2, 1, 4, 4)) > 0.3
    found = []
    for blocks in (True, False):

        def squared_slope(x: Any, blocks: bool = blocks) -> Any:
            f = lambda x: ops.sum(attended(x, x * x, 2.0 * x, mask, True, blocks) ** 2)  # noqa: E731
            return ops.sum(gpunn.grad(f)(x) ** 2)

        found.append(np.asarray(gpunn.grad(squared_slope)(x)))
    assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-12)


# -- refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.MultiHeadAttention(0, 2), "num_heads must be a positive integer"),
        (lambda: layers.MultiHeadAttention(2, 2, dropout=0.1, flash_attention=True), "scores"),
        (lambda: layers.MultiHeadAttention(1, 1, attention_axes=(0,))(Q, V), "attention_axes"),
        (lambda: layers.MultiHeadAttention(1, 1)(DEEP, Q[:2]), "query and value must be equal"),
        (lambda: layers.MultiHeadAttention(1, 1)(Q, V, V[:, :3]), "axes of value and key"),
        (lambda: layers.MultiHeadAttention(1, 1)(DEEP, DEEP, use_causal_mask=True), "one axis"),
        (lambda: layers.GroupQueryAttention(2, 3, 2), "multiple of num_key_value_heads"),
        (lambda: layers.GroupQueryAttention(2, 2, 2)(DEEP, DEEP), "three axes"),
        (lambda: layers.Attention()([Q]), "list"),
        (lambda: layers.Attention()(gpunn.Input((4, 3))), "expected a list .query, value."),
        (lambda: layers.Attention()([Q, V]), "as many features"),
        (lambda: layers.Attention()([Q, K], mask=VALUES), "list"),
        (lambda: layers.Attention(score_mode="sum"), "score_mode"),
        (lambda: layers.EinsumDense("ab,bc", 3), "of the form"),
        (lambda: layers.EinsumDense("ab,cd->ad", 3), "'c'"),
        (lambda: layers.EinsumDense("...ab,bc->ac", 3), "of the form"),
        (lambda: layers.EinsumDense("aab,bc->ac", 3), "of the form"),
        (lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="x"), "bias_axes"),
        (lambda: layers.EinsumDense("abc,cd->abd", 3)(Q), "does not fit"),
        (lambda: layers.EinsumDense("abc,cd->abd", (4, 3))(Q), "one length"),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, None))(Q), "is known"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "values"), [(4, 4), (3, 6), (6, 3), (1, 1)])
def test_a_window_hides_what_is_far_away_on_either_side(
    backend: str, queries: int, values: int, causal: bool
) -> None:
    gpunn.use_backend(backend)
    random = np.random.default_rng(0)
    x, v = (random.normal(size=(2, steps, 3)).astype("float32") for steps in (queries, values))
    for window in (1, 2, 3, 7):
        layer = layers.MultiHeadAttention(2, 3, sliding_window=window)
        _, scores = layer(x, v, return_attention_scores=True, use_causal_mask=causal)
        apart = np.arange(queries)[:, None] - np.arange(values)
        seen = (abs(apart) < window) & ((apart >= 0) | (not causal))
        some = seen.any(axis=1)  # what a query that sees nothing gives is said elsewhere
        found = np.asarray(scores) > 1e-6
        assert (found[:, :, some] == seen[some]).all()
