"""Metrics, layers that adapt, losses and feature spaces: used, left early, used again as new ones.

Every registered class is among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import registered
from properties.reused import LEAVING, Trap, interrupted_by, network, plain

import gpunn
from gpunn import layers
from gpunn.common import registry
from gpunn.utils import FeatureSpace

# -- metrics

METRICS = registered.cases("metric", "MeanMetricWrapper")  # which has to be given a function


def batch(metric: Any, draw: np.random.Generator) -> tuple[Any, ...]:
    """Return targets, predictions and weights that a metric takes."""
    rows = 5
    weights = draw.uniform(0.5, 2.0, rows)
    p = draw.dirichlet(np.ones(5), rows)
    if type(metric).__name__ in registered.OF_VALUES:
        return p[:, 0], weights
    labels = draw.integers(0, 5, rows)
    return labels if metric.sparse else np.eye(5)[labels], p, weights


@pytest.mark.parametrize(("name", "arguments"), METRICS, ids=registered.label)
def test_a_metric_that_is_reset_is_a_new_one(name: str, arguments: dict[str, Any]) -> None:
    """After other batches, and after one of a wrong form in the middle."""
    draw = np.random.default_rng(4)
    used, fresh = (registered.make("metric", name, arguments) for _ in range(2))
    for metric in (used, fresh):
        metric.build((None, 5))
    first = plain(fresh.result()) if name in registered.OF_VALUES else None
    batches = [batch(fresh, draw) for _ in range(6)]
    for given in batches[:3]:
        used.update_state(*given)
    used.result()
    with pytest.raises((ValueError, TypeError)):
        used.update_state(*(part[n:] for n, part in enumerate(batches[0])))
    used.reset_state()
    assert first is None or plain(used.result()) == first
    for given in batches[3:]:
        used.update_state(*given)
        fresh.update_state(*given)
        assert plain(used.result()) == plain(fresh.result())


@pytest.mark.parametrize("kind", ["metric", "loss"])
def test_a_part_of_two_models_in_turn(kind: str, backend: str) -> None:
    """Each evaluation has the value of a part of its own; some are left early before it."""
    draw = random.Random(kind)
    x, labels = np.random.default_rng(1).standard_normal((7, 3)), np.arange(7) % 5
    names = registered.cases(kind, *registered.OF_VALUES, "MeanMetricWrapper")
    for name, arguments in draw.sample(names, 3):
        shared, alone = (registered.make(kind, name, arguments) for _ in range(2))
        y = labels if shared.sparse else np.eye(5)[labels]

        def model(part: Any, seed: int, y: Any = y) -> Any:
            given = {"metrics": [part]} if kind == "metric" else {"loss": part, "metrics": []}
            loss = "sparse_categorical_crossentropy" if y.ndim == 1 else "mse"
            logits = kind == "loss" and getattr(part, "from_logits", False)
            chain = (gpunn.Input((3,)), layers.Dense(5, None if logits else "softmax"))
            made = network(backend, *chain, **{"loss": loss, **given})
            made.set_weights([w + 0.1 * seed for w in made.get_weights()])
            return made

        both, own = [model(shared, seed) for seed in range(2)], model(alone, 1)
        wanted = own.evaluate(x, y, batch_size=3, verbose=0)
        for number in (0, 1, 0, 1):
            trap = Trap()
            trap.set(1, LEAVING[number])
            hook = gpunn.callbacks.LambdaCallback()
            hook.on_test_batch_end = lambda *args, trap=trap, **kwargs: trap()
            assert interrupted_by(trap, lambda: both[number].evaluate(  # noqa: B023
                x, y, batch_size=3, verbose=0, callbacks=[hook]  # noqa: B023
            ))  # fmt: skip
            found = both[number].evaluate(x, y, batch_size=3, verbose=0)
            if number == 1:
                assert plain(found) == plain(wanted), name


# -- layers that adapt

ADAPTING = [
    name for name, kind in registry.entries("layer").items()
    if hasattr(kind, "adapt") and name in registered.names("layer")
]  # fmt: skip
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "Normalization": [{}, {"axis": None}, {"invert": True}],
    "Discretization": [{"num_bins": 3}, {"num_bins": 3, "epsilon": 0.3}],
    "IntegerLookup": [{}, {"max_tokens": 4, "num_oov_indices": 2}],
    "StringLookup": [{}, {"max_tokens": 4}, {"output_mode": "tf_idf"}],
    "TextVectorization": [{}, {"output_mode": "tf_idf"}, {"ngrams": 2, "max_tokens": 6}],
    "SimpleImputer": [{}, {"strategy": "mean"}],
}


def data_for(name: str, draw: random.Random, rows: int = 12) -> Any:
    """Return rows of what a layer takes: numbers, integers, words or texts."""
    words = [*"abcdefgh", *(draw.choice("abcdefgh") for _ in range(2 * rows - 8))]
    draw.shuffle(words)  # all of them, as a layer that was called keeps its number of columns
    if name == "IntegerLookup":
        return np.array([ord(word) for word in words]).reshape(rows, 2)
    if name == "StringLookup":
        return np.array(words).reshape(rows, 2)
    if name == "TextVectorization":
        return np.array([" ".join(words[2 * n : 2 * n + 3]) for n in range(rows)])
    return np.array([draw.uniform(-3, 9) for _ in words]).reshape(rows, 2)


def learnt(layer: Any, data: Any) -> Any:
    """Return what the layer does with data, and its configuration without its name."""
    config = {k: v for k, v in layer.get_config().items() if k != "name"}
    return plain([np.asarray(layer(data)).tolist(), repr(config)])


def in_batches(data: Any, trap: Trap) -> Iterator[Any]:
    for start in range(0, len(data), 4):
        yield trap(data[start : start + 4])


@pytest.mark.parametrize("name", ADAPTING)
def test_a_layer_that_adapts_again_is_a_new_one(name: str) -> None:
    draw = random.Random(name)
    assert OPTIONS[name]
    for options in OPTIONS[name]:
        used = registry.entries("layer")[name](**options)
        for attempt in range(3):
            first, second, trap = data_for(name, draw), data_for(name, draw), Trap()
            used.adapt(first)
            before = learnt(used, first)
            trap.set(draw.randint(0, 2), LEAVING[attempt % 2])
            assert interrupted_by(trap, lambda: used.adapt(in_batches(second, trap)))  # noqa: B023
            assert learnt(used, first) == before  # adapted to all of the data, or as before
            with pytest.raises((ValueError, TypeError)):
                used.adapt(iter([second[:3], [object()]]))
            used.adapt(in_batches(second, Trap()))
            fresh = registry.entries("layer")[name](**options)
            fresh.adapt(in_batches(second, Trap()))
            assert learnt(used, second) == learnt(fresh, second)


def test_a_model_follows_a_layer_that_adapts_again(backend: str) -> None:
    """Two models share the layer; both predict as one with a new layer."""
    draw = random.Random(5)
    layer = layers.Normalization()
    rows = [data_for("Normalization", draw) for _ in range(3)]
    layer.adapt(rows[0])
    models = [network(backend, layer, layers.Dense(1)) for _ in range(2)]
    for data in rows:
        layer.adapt(data)
        fresh = layers.Normalization()
        fresh.adapt(data)
        wanted = network(backend, fresh, layers.Dense(1)).predict(data, verbose=0)
        for model in models * 2:
            np.testing.assert_allclose(model.predict(data, verbose=0), wanted, 1e-5, 1e-6)


def test_a_feature_space_that_adapts_again_is_a_new_one() -> None:
    kinds = {"a": "float_normalized", "b": "float_discretized", "c": "integer_categorical",
             "d": "string_categorical", "e": "float_rescaled", "f": "string_hashed"}  # fmt: skip

    def space() -> Any:
        return FeatureSpace(kinds, crosses=[("c", "d")], num_discretization_bins=3)

    def table(draw: random.Random) -> dict[str, Any]:
        numbers, words = data_for("", draw)[:, 0], data_for("StringLookup", draw)[:, 0]
        integers = data_for("IntegerLookup", draw)[:, 0]
        return {"a": numbers, "b": numbers**2, "c": integers, "d": words, "e": numbers, "f": words}

    draw = random.Random(6)
    used = space()
    first, second, trap = table(draw), table(draw), Trap()
    used.adapt(first)
    before = plain(used(first))
    trap.set(1)

    def batches(part: dict[str, Any] = second, trap: Trap = trap) -> Iterator[dict[str, Any]]:
        for rows in (slice(0, 5), slice(5, None)):
            yield trap({name: column[rows] for name, column in part.items()})

    assert interrupted_by(trap, lambda: used.adapt(batches()))
    assert plain(used(first)) == before
    used.adapt(batches())
    fresh = space()
    fresh.adapt(second)
    assert plain(used(second)) == plain(fresh(second))
