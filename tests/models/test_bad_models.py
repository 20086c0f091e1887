"""Test that invalid layers and models raise an error that names the argument and the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

layers = gpunn.layers
X = np.random.default_rng(0).random((12, 4)).astype("float32")

Refused = (ValueError, TypeError)


def sequential(*given: Any) -> Any:
    return gpunn.Sequential(list(given))


def compiled(*given: Any, **arguments: Any) -> Any:
    model = sequential(layers.Input((4,)), *given)
    model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return model


class Backward(gpunn.layers.Layer):
    """A layer that is only half implemented."""

    def forward(self, call: Any) -> None:
        call.backend.xp.multiply(call.x, 2, out=call.y)


SPARSE = "sparse_categorical_crossentropy"
Dense, SGD, Adam = layers.Dense, gpunn.optimizers.SGD, gpunn.optimizers.Adam

BUILD: dict[str, tuple[Any, list[str]]] = {
    "layers that are no list": (
        lambda: gpunn.Sequential(Dense(3), Dense(2), Dense(1)), ["Sequential([...])", "<Dense"]),
    # layers
    "no units": (lambda: Dense(0), ["units", "positive integer", "got 0"]),
    "-3 units": (lambda: Dense(-3), ["units", "positive integer", "got -3"]),
    "2.5 units": (lambda: Dense(2.5), ["units", "positive integer", "got 2.5"]),
    "True units": (lambda: Dense(True), ["units", "positive integer", "got True"]),
    "units a text": (lambda: Dense("8"), ["units", "positive integer", "got '8'"]),
    "negative dropout": (lambda: layers.Dropout(-0.1), ["rate", "0 to 1", "got -0.1"]),
    "dropout 1.2": (lambda: layers.Dropout(1.2), ["rate", "0 to 1", "got 1.2"]),
    "dropout NaN": (lambda: layers.Dropout(float("nan")), ["rate", "0 to 1", "got nan"]),
    "dropout a text": (lambda: layers.Dropout("half"), ["rate", "number", "'half'"]),
    "unknown activation": (
        lambda: Dense(3, activation="relus"), ["activation", "'relus'", "Did you mean 'relu'"]),
    "activation of NumPy": (
        lambda: compiled(Dense(3, activation=np.tanh)).predict(np.zeros((2, 4)), verbose=0),
        ["a NumPy function", "gpunn.ops instead of numpy"]),
    "unknown initializer": (
        lambda: Dense(3, kernel_initializer="glorot_unifrom"),
        ["initializer", "'glorot_unifrom'", "Did you mean 'glorot_uniform'"]),
    "initial values of another shape": (
        lambda: compiled(Dense(3, kernel_initializer=np.zeros((4, 2)))), ["(4, 2)", "(4, 3)"]),
    "dtype float16": (
        lambda: Dense(3, dtype="float16"),
        ["dtype", "'float32' or 'float64'", "float16"]),
    "an input of shape 0": (lambda: layers.Input((0,)), ["shape", "positive", "(0,)"]),
    "an input of shape 2.5": (lambda: layers.Input((2.5,)), ["shape", "positive", "(2.5,)"]),
    "an input without a shape": (lambda: layers.Input(), ["shape", "batch_shape"]),
    "a layer's name with a slash": (lambda: Dense(3, name="a/b"), ["name", "'a/b'"]),
    # models
    "something that is no layer": (lambda: sequential("dense"), ["layers", "'dense'"]),
    "a function as a layer": (lambda: sequential(print), ["layers", "print"]),
    "a class as a layer": (lambda: sequential(Dense), ["layers", "Dense", "Write Dense(...)"]),
    "an optimizer as a layer": (lambda: sequential(SGD()), ["layers", "SGD"]),
    "a name twice": (
        lambda: sequential(Dense(2, name="a"), Dense(3, name="a")), ["'a'", "names must differ"]),
    "the same object twice": (
        lambda: (lambda layer: sequential(layer, layer))(Dense(3, name="a")), ["'a'", "taken"]),
    "a second input": (
        lambda: sequential(layers.Input((4,)), layers.Input((4,))), ["already been configured"]),
    "an input in the middle": (
        lambda: sequential(Dense(3), layers.Input((4,))),
        ["input", "already"]),
    "a model without layers": (lambda: compiled().fit(X, X), ["no layers"]),
    "unknown backend": (
        lambda: gpunn.Sequential(backend="numpi"), ["backend", "'numpi'", "Did you mean 'numpy'"]),
    "unknown backend chosen": (
        lambda: gpunn.use_backend("cuda"), ["use_backend", "numpy", "cupy", "'cuda'"]),
    "model of dtype float16": (
        lambda: gpunn.Sequential(dtype="float16"), ["dtype", "'float32' or 'float64'"]),
    "two dtypes": (
        lambda: compiled(Dense(3, dtype="float64"), Dense(2, dtype="float32")),
        ["dtype", "float32", "float64"]),
    "default dtype float16": (lambda: gpunn.config.set_floatx("float16"), ["dtype", "'float16'"]),
    "a seed that is none": (lambda: gpunn.utils.set_random_seed(-1), ["seed", "got -1"]),
    "weights too few": (
        lambda: compiled(Dense(3)).set_weights([np.ones((4, 3))]), ["2 weight arrays", "got 1"]),
    "weights transposed": (
        lambda: compiled(Dense(3)).set_weights([np.ones((3, 4)), np.ones(3)]),
        ["kernel", "(4, 3)", "(3, 4)"]),
    "weights of a model that is not built": (
        lambda: sequential(Dense(3)).get_weights(), ["not built", "Input"]),
    "unknown layer": (
        lambda: compiled(Dense(3, name="hidden")).get_layer("hiden"),
        ["'hiden'", "Did you mean 'hidden'"]),
    # compile
    "unknown optimizer": (
        lambda: compiled(Dense(3), optimizer="adm"), ["optimizer", "'adm'", "Did you mean 'adam'"]),
    "optimizer a class of something else": (
        lambda: compiled(Dense(3), optimizer=Dense), ["optimizer", "Dense"]),
    "optimizer a function": (lambda: compiled(Dense(3), optimizer=print), ["optimizer", "print"]),
    "unknown loss": (
        lambda: compiled(Dense(3), loss="sparse_categorical_crossentropi"),
        ["loss", "Did you mean 'sparse_categorical_crossentropy'"]),
    "a loss for each output": (
        lambda: compiled(Dense(3), loss=["mse", "mse"]),
        ["loss has 2 entries; 1", "the only output"]),
    "unknown metric": (
        lambda: compiled(Dense(3), metrics=["acuracy"]),
        ["metric", "'acuracy'", "Did you mean 'accuracy'"]),
    "metrics a text": (
        lambda: compiled(Dense(3), metrics="accuracy"), ["metrics must be a list", "['accuracy']"]),
    "metrics a number": (lambda: compiled(Dense(3), metrics=[3]), ["metric", "3"]),
    "softmax and from_logits": (
        lambda: compiled(
            Dense(3, activation="softmax"),
            loss=gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ["from_logits=True", "softmax"]),
    "sigmoid and from_logits": (
        lambda: compiled(
            Dense(1, activation="sigmoid"), loss=gpunn.losses.BinaryCrossentropy(from_logits=True)),
        ["from_logits=True", "sigmoid"]),
    "logits without from_logits": (
        lambda: compiled(Dense(3), loss=SPARSE), ["linear", "'softmax'", "from_logits=True"]),
    "relu outputs as probabilities": (
        lambda: compiled(Dense(1, activation="relu"), loss="binary_crossentropy"),
        ["relu", "'sigmoid'", "from_logits=True"]),
    "a loss for each row": (
        lambda: compiled(Dense(3), loss=gpunn.losses.MeanSquaredError(reduction="none")),
        ["reduction", "a single number"]),
    "loss weights": (
        lambda: compiled(Dense(3), loss_weights=[1.0, 2.0]),
        ["loss_weights has 2 entries; 1", "the only output"]),
    # fit without compile
    "fit before compile": (
        lambda: sequential(layers.Input((4,)), Dense(3)).fit(X, X),
        ["compile", "optimizer", "loss"]),
    "evaluate before compile": (
        lambda: sequential(layers.Input((4,)), Dense(3)).evaluate(X, X), ["evaluate", "compile"]),
    "compile without a loss": (
        lambda: compiled(Dense(3), loss=None).fit(X, X), ["fit", "without a loss", "compile"]),
    "a layer without backward": (
        lambda: compiled(Dense(4), Backward()).fit(X, X, verbose=0),
        ["Backward", "backward(call)"]),
    # optimizers
    "negative rate": (lambda: SGD(-0.1), ["learning_rate", "at least 0", "got -0.1"]),
    "rate NaN": (lambda: Adam(float("nan")), ["learning_rate", "finite", "got nan"]),
    "rate infinite": (lambda: Adam(float("inf")), ["learning_rate", "finite", "got inf"]),
    "rate a text": (lambda: SGD("0.1"), ["learning_rate", "number", "'0.1'"]),
    "rate True": (lambda: SGD(True), ["learning_rate", "number", "True"]),
    "a negative rate later on": (
        lambda: setattr(SGD(), "learning_rate", -1.0), ["learning_rate", "got -1.0"]),
    "momentum 1.5": (lambda: SGD(0.1, momentum=1.5), ["momentum", "got 1.5"]),
    "beta 1": (lambda: Adam(beta_1=1.0), ["beta_1", "got 1.0"]),
    "negative epsilon": (lambda: Adam(epsilon=-1e-7), ["epsilon", "got -1e-07"]),
    "two kinds of clipping": (
        lambda: SGD(clipnorm=1.0, clipvalue=0.5), ["clipnorm", "clipvalue", "Only one"]),
    "negative clipping": (lambda: SGD(clipnorm=-1.0), ["clipnorm", "positive", "got -1.0"]),
    # losses
    "unknown reduction": (
        lambda: gpunn.losses.MeanSquaredError(reduction="men"),
        ["reduction", "'men'", "Did you mean 'mean'"]),
    "label smoothing 2": (
        lambda: gpunn.losses.CategoricalCrossentropy(label_smoothing=2.0),
        ["label_smoothing", "2.0"]),
    "shapes that would broadcast": (
        lambda: gpunn.losses.MeanSquaredError()(np.ones((4, 1)), np.ones((4, 3))),
        ["(4, 1)", "(4, 3)", "broadcast"]),
    # utilities
    "a class that one-hot rows lack": (
        lambda: gpunn.utils.to_categorical([0, 3], 3), ["3"]),
}  # fmt: skip


@pytest.mark.parametrize("what", BUILD)
def test_building_and_compiling_refuse(what: str) -> None:
    mistake, fragments = BUILD[what]
    with pytest.raises((*Refused, IndexError)) as caught:
        mistake()
    for fragment in fragments:
        assert fragment in str(caught.value)
