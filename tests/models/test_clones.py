"""Test clones of models, and models from configurations, beside Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn.common import registry

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own
X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
NAMES = {"shared", "both", "last", "inner", "end"}
XS = {"x": X, "y": X[::-1].copy()}


def chain(k: Any) -> Any:
    of = k.layers
    return k.Sequential(
        [k.Input((6,)), of.Dense(3, "relu", name="a"), of.Dropout(0.1), of.Dense(1, name="b")],
        name="chain",
    )


def graph(k: Any) -> Any:
    """Shared layers, operations on tensors, a model as a layer, and several inputs and outputs."""
    of = k.layers
    x, y = k.Input((6,), name="x"), k.Input((6,), name="y")
    shared = of.Dense(4, name="shared")
    h = of.Concatenate(name="both")([shared(x), shared(y)]) * 2 + 1
    inner = k.Sequential([k.Input((8,)), of.Dense(3), of.Dense(2, name="end")], name="inner")
    return k.Model({"x": x, "y": y}, [inner(h), of.Dense(1, name="last")(h)], name="graph")


def again(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def followed_by_dropout(k: Any) -> Callable[..., Any]:
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        y = layer(*args, **kwargs)
        return k.layers.Dropout(0.5)(y) if isinstance(layer, k.layers.Dense) else y

    return call


def described(model: Any) -> Any:
    """Return what a clone consists of; operations have other classes in Keras."""
    kinds = ("Dense", "Dropout", "Concatenate", "Sequential", "Bidirectional")
    names = sorted(type(layer).__name__ for layer in model.layers)
    return [name for name in names if name in kinds], model.count_params(), model.name


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (chain, lambda k: {}),
        (chain, lambda k: {"clone_function": again}),
        (chain, lambda k: {"input_tensors": k.Input((6,), batch_size=8)}),
        (chain, lambda k: {"input_tensors": [k.Input((6,))], "recursive": True}),
        (graph, lambda k: {"clone_function": again}),
        (graph, lambda k: {"recursive": True}),
        (graph, lambda k: {"input_tensors": {n: k.Input((6,), name=n) for n in "xy"}}),
        (graph, lambda k: {"call_function": followed_by_dropout(k)}),
    ],
)
def test_clones_are_kerass(keras: Any, make: Any, options: Any) -> None:
    clones = []
    for k in (gpunn, keras):
        model = make(k)
        clone = k.models.clone_model(model, **options(k))
        assert not {id(layer) for layer in model.layers} & {id(layer) for layer in clone.layers}
        for layer in model.layers:
            if layer.weights:  # by name: further layers may come in between
                clone.get_layer(layer.name).set_weights(layer.get_weights())
        x = X if make is chain else XS
        for made, wanted in zip(
            clone.predict(x, verbose=0), model.predict(x, verbose=0), strict=True
        ):
            assert_allclose(made, wanted, rtol=1e-6)
        clones.append(clone)
    assert described(clones[0]) == described(clones[1])
    if make is chain:
        assert clones[0].input_shape == clones[1].input_shape


def test_the_function_is_called_once_for_each_layer_and_may_keep_it(keras: Any) -> None:
    for recursive, inner in ((False, {"inner"}), (True, {"end"})):
        seen: list[list[str]] = []
        for k in (gpunn, keras):
            names: list[str] = []

            def same(layer: Any, names: list[str] = names) -> Any:
                names.append(layer.name)
                return layer

            model = graph(k)
            clone = k.models.clone_model(model, clone_function=same, recursive=recursive)
            assert clone.get_layer("shared") is model.get_layer("shared")
            seen.append([name for name in names if name in NAMES])
        assert sorted(seen[0]) == sorted(seen[1])
        assert inner & set(seen[0])


def test_a_layer_may_be_replaced_by_another() -> None:
    def twofold(layer: Any) -> Any:
        if isinstance(layer, gpunn.layers.LSTM):
            return gpunn.layers.Bidirectional(again(layer))
        return again(layer)

    model = gpunn.Sequential(
        [gpunn.Input((5, 2)), gpunn.layers.LSTM(3, name="lstm"), gpunn.layers.Dense(1)]
    )
    clone = gpunn.models.clone_model(model, clone_function=twofold)
    assert clone.layers[0].output_shape == (None, 6)
    assert clone.predict(np.ones((2, 5, 2)), verbose=0).shape == (2, 1)


def test_a_clone_of_a_compiled_model_is_compiled_alike(keras: Any) -> None:
    logs = []
    for k in (gpunn, keras):
        model = chain(k)
        rate = k.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        model.compile(
            k.optimizers.Adam(rate, clipnorm=2.0), "mse", loss_weights=[2.0],
            metrics=["mae", k.metrics.RootMeanSquaredError(name="root")],
        )  # fmt: skip
        model.fit(X, X[:, 0], epochs=2, verbose=0)
        clone = k.models.clone_model(model)
        assert clone.compiled and clone.optimizer is not model.optimizer
        assert int(clone.optimizer.iterations) == 0 and clone.optimizer.clipnorm == 2.0
        clone.set_weights(model.get_weights())
        assert clone.evaluate(X, X[:, 0], verbose=0) == model.evaluate(X, X[:, 0], verbose=0)
        clone.set_weights([np.full(p.shape, 0.1) for p in model.weights])
        clone.layers[1].rate = 0.0  # random numbers differ
        logs.append(clone.fit(X, X[:, 0], epochs=3, verbose=0).history)
    assert list(logs[0]) == list(logs[1])
    for name, values in logs[0].items():
        assert_allclose(values, logs[1][name], rtol=1e-5)


def test_a_clone_shares_the_functions_that_were_compiled() -> None:
    model = graph(gpunn)
    model.compile("sgd", [lambda y, z: gpunn.ops.mean(y - z, axis=-1), None], metrics=[["mae"], []])
    clone = gpunn.models.clone_model(model)
    y = [np.ones((8, 2)), np.ones((8, 1))]
    clone.set_weights(model.get_weights())
    assert clone.evaluate(XS, y, verbose=0) == model.evaluate(XS, y, verbose=0)


def test_what_a_model_cannot_do_with_a_clone_is_refused() -> None:
    class Own(gpunn.Model):
        def call(self, x: Any, training: bool | None = None) -> Any:
            return x

    clone = gpunn.models.clone_model
    with pytest.raises(ValueError, match="defines call"):
        clone(Own(), clone_function=again)
    with pytest.raises(ValueError, match="call_function does not go with a Sequential"):
        clone(chain(gpunn), call_function=lambda layer, x: layer(x))
    with pytest.raises(ValueError, match="must be symbolic"):
        clone(chain(gpunn), input_tensors=X)
    with pytest.raises(ValueError, match="input_tensors has 1 entries; 2 are expected"):
        clone(graph(gpunn), input_tensors=[gpunn.Input((6,))])
    with pytest.raises(ValueError, match="the outputs of 'shared', 1 symbolic tensors; got None"):
        clone(graph(gpunn), call_function=lambda layer, *args, **kwargs: None)


def test_inputs_by_name_are_not_taken_by_their_places(keras: Any) -> None:
    for m in (gpunn, keras):
        a, b = m.Input((3,), name="a"), m.Input((3,), name="b")
        model = m.Model({"a": a, "b": b}, m.layers.Subtract()([b, a]))
        with pytest.raises(ValueError, match="must have the same structure as"):
            m.models.clone_model(model, input_tensors=(a, b))
        clone = m.models.clone_model(model, input_tensors={"b": b, "a": a})
        found = clone.predict({"a": np.ones((2, 3)), "b": np.zeros((2, 3))}, verbose=0)
        np.testing.assert_array_equal(found, -1.0)


def test_configurations_with_custom_objects(keras: Any) -> None:
    with registry.restored():
        # A model of the name that custom objects give to a layer below.
        gpunn.saving.register_serializable(name="Doubled")(type("Other", (gpunn.Model,), {}))
        check_configurations(keras)


def check_configurations(keras: Any) -> None:
    for k in (gpunn, keras):

        class Twofold(k.layers.Dense):  # type: ignore[misc, name-defined]
            pass

        def tripled(x: Any) -> Any:
            return 3 * x

        x = k.Input((6,))
        own = {"Twofold": Twofold, "tripled": tripled}
        for model in (
            k.Sequential([k.Input((6,)), Twofold(2, activation=tripled)]),
            k.Model(x, Twofold(2, activation=tripled)(x)),
        ):
            made = type(model).from_config(model.get_config(), custom_objects=own)
            assert type(made.layers[-1]) is Twofold
            made.set_weights(model.get_weights())
            assert_allclose(made.predict(X, verbose=0), model.predict(X, verbose=0))
