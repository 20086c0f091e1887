"""Files of Keras 2, written by hand in its layout: predictions as of the same model in Keras 3."""

from __future__ import annotations

from typing import Any

import h5py
import keras2 as old
import numpy as np
import pytest

import gpunn
from gpunn.saving import load_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Do not pass an")


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_near(a: Any, b: Any, near: float = 1e-6) -> None:
    a, b = (list(x) if isinstance(x, (list, tuple)) else [x] for x in (a, b))
    for one, other in zip(a, b, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= near * max(1.0, np.abs(other).max())


def with_other_weights(model: Any) -> Any:
    model.set_weights(
        [rows(*w.shape, seed=k) ** 2 * 0.3 for k, w in enumerate(model.get_weights())]
    )
    return model


def arrays(model: Any) -> dict[str, dict[str, Any]]:
    """The weights of a model of Keras 3 by layer, with names as Keras 2 gives them."""
    return {
        layer.name: {f"{w.path}:0": w.numpy() for w in
                     [*layer.trainable_weights, *layer.non_trainable_weights]}
        for layer in model.layers
    }  # fmt: skip


POOL = {"padding": "valid", "data_format": "channels_last"}
CONV = {
    **POOL, "dilation_rate": [1, 1], "groups": 1, "use_bias": True,
    "bias_initializer": {"class_name": "Zeros", "config": {"dtype": "float32"}},
    "activity_regularizer": None,
}  # fmt: skip
NORMAL = {
    "momentum": 0.9, "epsilon": 0.01, "center": True, "scale": True, "renorm": False,
    "beta_initializer": {"class_name": "Zeros", "config": {}}, "fused": None,
    "gamma_initializer": {"class_name": "Ones", "config": {}}, "virtual_batch_size": None,
}  # fmt: skip


def pictures(keras: Any) -> tuple[Any, Any, Any]:
    layers = keras.layers
    kernel = old.initializer("VarianceScaling", scale=2.0, mode="fan_in", distribution="normal")
    config = old.sequential(
        "pictures", old.input_layer("conv2d_input", 8, 8, 2),
        old.described("Conv2D", "conv2d", batch_input_shape=[None, 8, 8, 2], filters=3,
                      kernel_size=[3, 3], strides=[1, 1], activation="relu",
                      kernel_initializer=kernel, **CONV),
        old.described("MaxPooling2D", "pool", pool_size=[2, 2], strides=[2, 2], **POOL),
        old.described("BatchNormalization", "bn", axis=[3], **NORMAL),
        old.described("DepthwiseConv2D", "depth", kernel_size=[2, 2], strides=[1, 1],
                      depth_multiplier=1, activation="linear",
                      depthwise_initializer=old.initializer(), **CONV),
        old.described("SeparableConv2D", "separable", filters=3, kernel_size=[1, 1],
                      strides=[1, 1], depth_multiplier=1, kernel_initializer=old.initializer(),
                      activation={"class_name": "LeakyReLU",
                                  "config": {"name": "leaky_re_lu", "alpha": 0.2}},
                      depthwise_initializer=old.initializer(),
                      pointwise_initializer=old.initializer(), **CONV),
        old.described("LeakyReLU", "leaky", alpha=0.1),
        old.described("ReLU", "relu", max_value=1.5, negative_slope=0.1, threshold=0.2),
        old.described("ThresholdedReLU", "thresholded", theta=0.3),
        old.described("Flatten", "flatten", data_format="channels_last"),
        old.described("Dropout", "dropout", rate=0.5, noise_shape=None, seed=None),
        old.dense("dense", 2, "softmax"),
    )  # fmt: skip
    model = keras.Sequential([
        keras.Input((8, 8, 2)), layers.Conv2D(3, 3, activation="relu", name="conv2d"),
        layers.MaxPooling2D(),
        layers.BatchNormalization(epsilon=0.01, name="bn"), layers.DepthwiseConv2D(2, name="depth"),
        layers.SeparableConv2D(3, 1, name="separable"), layers.LeakyReLU(0.2),
        layers.LeakyReLU(0.1), layers.ReLU(1.5, 0.1, 0.2), layers.ReLU(threshold=0.3),
        layers.Flatten(), layers.Dense(2, "softmax", name="dense"),
    ])  # fmt: skip
    return config, model, rows(5, 8, 8, 2)


def sentences(keras: Any) -> tuple[Any, Any, Any]:
    layers = keras.layers
    common = {"use_bias": True, "kernel_initializer": old.initializer(),
              "recurrent_initializer": old.initializer("Orthogonal", gain=1.0), "dropout": 0.0,
              "recurrent_dropout": 0.0, "implementation": 2, "return_state": False,
              "go_backwards": False, "stateful": False, "unroll": False,
              "activation": "tanh", "recurrent_activation": "sigmoid"}  # fmt: skip
    lstm = old.described("LSTM", "lstm", units=3, unit_forget_bias=True, return_sequences=True,
                         time_major=False, **common)  # fmt: skip
    config = old.sequential(
        "sentences",
        old.described("Embedding", "embedding", batch_input_shape=[None, 6], input_dim=9,
                      output_dim=4, input_length=6, mask_zero=False,
                      embeddings_initializer=old.initializer("RandomUniform", minval=-0.05,
                                                             maxval=0.05)),
        old.described("Bidirectional", "both", layer=lstm, merge_mode="concat"),
        old.described("GRU", "gru", units=4, return_sequences=True, reset_after=True, **common),
        old.described("GRU", "early", units=3, return_sequences=True,
                      **{**common, "recurrent_activation": "hard_sigmoid", "implementation": 0}),
        old.described("TimeDistributed", "each", layer=old.dense("inner", 2, "relu")),
        old.described("GlobalAveragePooling1D", "pool", data_format="channels_last",
                      keepdims=False),
    )  # fmt: skip

    def earlier(x: Any) -> Any:  # `hard_sigmoid` of Keras 2
        return keras.ops.clip(x * 0.2 + 0.5, 0.0, 1.0)

    model = keras.Sequential([
        keras.Input((6,), dtype="int32"), layers.Embedding(9, 4, name="embedding"),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both"),
        layers.GRU(4, return_sequences=True, name="gru"),
        layers.GRU(3, return_sequences=True, reset_after=False, name="early",
                   recurrent_activation=earlier),
        layers.TimeDistributed(layers.Dense(2, "relu"), name="each"),
        layers.GlobalAveragePooling1D(),
    ])  # fmt: skip
    return config, model, np.random.default_rng(0).integers(0, 9, (5, 6))


def branches(keras: Any) -> tuple[Any, Any, Any]:
    """A shared layer, and models in the model: their applications are counted from 1."""
    layers = keras.layers
    inner = old.functional(
        "inner", ["inner_in"], [["inner_dense", 0, 0]], old.applied(old.input_layer("inner_in", 3)),
        old.applied(old.dense("inner_dense", 3, "tanh"), [["inner_in", 0, 0]]),
    )  # fmt: skip
    chain = old.sequential(
        "chain", old.input_layer("chain_in", 3), old.dense("chain_dense", 2), trainable=True
    )
    attention = old.described(
        "MultiHeadAttention", "attention", num_heads=2, key_dim=3, value_dim=3, dropout=0.0,
        use_bias=True, output_shape=None, attention_axes=[1], query_shape=[None, 2, 3],
        key_shape=[None, 2, 3], value_shape=[None, 2, 3], kernel_initializer=old.initializer(),
    )  # fmt: skip
    heads = old.applied(attention)
    heads["inbound_nodes"] = [[["reshape", 0, 0, {"value": ["reshape", 0, 0]}]]]
    config = old.functional(
        "branches", ["a", "b"], [["inner", 2, 0], ["both", 0, 0], ["flat", 0, 0], ["chain", 2, 0]],
        old.applied(old.input_layer("a", 4)), old.applied(old.input_layer("b", 4)),
        old.applied(old.dense("shared", 3), [["a", 0, 0]], [["b", 0, 0]]),
        old.applied({**inner, "name": "inner"}, [["shared", 0, 0]], [["add", 0, 0]]),
        old.applied(chain, [["inner", 1, 0]], [["shared", 1, 0]]),
        old.applied(old.described("Add", "add"), [["inner", 1, 0], ["shared", 1, 0]]),
        old.applied(old.described("Concatenate", "both", axis=-1),
                    [["chain", 1, 0], ["add", 0, 0]]),
        old.applied(old.dense("wide", 6), [["both", 0, 0]]),
        old.applied(old.described("Reshape", "reshape", target_shape=[2, 3]), [["wide", 0, 0]]),
        heads, old.applied(old.described("Flatten", "flat"), [["attention", 0, 0]]),
    )  # fmt: skip
    a, b = keras.Input((4,)), keras.Input((4,))
    shared = layers.Dense(3, name="shared")
    x = keras.Input((3,))
    inner = keras.Model(x, layers.Dense(3, "tanh")(x), name="inner")
    chain = keras.Sequential([keras.Input((3,)), layers.Dense(2)], name="chain")
    first, second = shared(a), shared(b)
    y = inner(first)
    total = layers.Add()([y, second])
    both = layers.Concatenate(name="both")([chain(y), total])
    z = layers.Reshape((2, 3))(layers.Dense(6, name="wide")(both))
    flat = layers.Flatten()(layers.MultiHeadAttention(2, 3, name="attention")(z, z))
    model = keras.Model([a, b], [inner(total), both, flat, chain(second)])
    return config, model, [rows(5, 4), rows(5, 4, seed=1)]


@pytest.mark.parametrize(
    ("build", "parts"),
    [(pictures, 3), (sentences, 1), (branches, 1)],
    ids=["pictures", "sentences", "branches"],
)
def test_models(tmp_path, build, parts, keras, backend):
    gpunn.use_backend(backend)
    config, model, x = build(keras)
    expected = with_other_weights(model).predict(x, verbose=0)
    old.write(tmp_path / "m.h5", config, arrays(model), parts=parts)
    ours = load_model(tmp_path / "m.h5", compile=False)
    assert_near(ours.predict(x, verbose=0), expected, 1e-5)
    ours.set_weights([0 * w for w in ours.get_weights()])
    ours.load_weights(tmp_path / "m.h5")
    assert_near(ours.predict(x, verbose=0), expected, 1e-5)


def line(**config: Any) -> Any:
    return old.sequential("line", old.dense("d", 1, batch_input_shape=[None, 3]), **config)


WEIGHTS = {"d": {"d/kernel:0": np.ones((3, 1)), "d/bias:0": [0.5]}}


def test_early_models(tmp_path):
    """Of a list of layers, of Keras 2.0; and with a marked shape instead of an input."""
    listed = line()
    listed["config"] = listed["config"]["layers"]
    marked = old.sequential("line", old.dense("d", 1), build_input_shape={
        "class_name": "TensorShape", "items": [None, 3]})  # fmt: skip
    x = rows(4, 3)
    for config in (line(), listed, marked):
        old.write(tmp_path / "m.hdf5", config, WEIGHTS, version="2.0.6")
        model = load_model(tmp_path / "m.hdf5", compile=False)
        assert_near(model.predict(x, verbose=0), x.sum(1, keepdims=True) + np.float32(0.5))


decays = pytest.mark.filterwarnings("ignore:Argument `decay`")  # Keras's own, also of 0


@decays
def test_beside_keras(tmp_path, keras):
    """What Keras 3 reads of Keras 2, gpunn reads in the same way."""
    config = old.functional(
        "beside", ["a", "b"], [["sum", 0, 0], ["shared", 1, 0]],
        old.applied(old.input_layer("a", 4)), old.applied(old.input_layer("b", 4)),
        old.applied(old.dense("shared", 3, "elu"), [["a", 0, 0]], [["b", 0, 0]]),
        old.applied(old.described("BatchNormalization", "bn", axis=[1], momentum=0.9, epsilon=0.1),
                    [["shared", 0, 0]]),
        old.applied(old.described("Dropout", "drop", rate=0.5, noise_shape=None, seed=None),
                    [["bn", 0, 0]]),
        old.applied(old.described("Add", "sum"), [["drop", 0, 0], ["shared", 1, 0]]),
    )  # fmt: skip
    weights = {
        "a": {}, "b": {}, "drop": {}, "sum": {},
        "shared": {"shared/kernel:0": rows(4, 3), "shared/bias:0": rows(3)},
        "bn": {f"bn/{name}:0": rows(3, seed=k) ** 2
               for k, name in enumerate(["gamma", "beta", "moving_mean", "moving_variance"])},
    }  # fmt: skip
    training = trained({"class_name": "Adam", "config": ADAM}, loss="mean_squared_error")
    training["metrics"] = None
    old.write(tmp_path / "m.h5", config, weights, training)
    ours, theirs = load_model(tmp_path / "m.h5"), keras.saving.load_model(tmp_path / "m.h5")
    x = [rows(5, 4), rows(5, 4, seed=1)]
    assert_near(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    y = [rows(5, 3, seed=2), rows(5, 3, seed=3)]
    for model in (ours, theirs):
        model.get_layer("drop").rate = 0.0
        model.fit(x, y, batch_size=5, epochs=3, verbose=0)
    assert_near(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), 1e-4)


@decays
def test_keras_changes_what_the_model_computed(tmp_path, keras):
    """Its ``hard_sigmoid`` has another slope today, and it leaves the decay out."""
    config = old.sequential("m", old.input_layer("x", 3), old.dense("d", 1, "hard_sigmoid"))
    training = trained({"class_name": "SGD", "config": {"learning_rate": 0.1, "decay": 0.5}},
                       loss="mean_squared_error", metrics=None)  # fmt: skip
    old.write(tmp_path / "m.h5", config, WEIGHTS, training)
    ours, theirs = load_model(tmp_path / "m.h5"), keras.saving.load_model(tmp_path / "m.h5")
    x = np.ones((1, 3), "float32") / 2
    assert ours.predict(x, verbose=0).item() == pytest.approx(0.2 * 2 + 0.5)
    assert theirs.predict(x, verbose=0).item() == pytest.approx(2 / 6 + 0.5)
    assert float(theirs.optimizer.learning_rate) == pytest.approx(0.1)
    for _ in range(2):
        ours.train_on_batch(x, np.ones((1, 1)))
    assert float(ours.optimizer.learning_rate) == pytest.approx(0.1 / (1 + 0.5 * 2))


ADAM = {
    "name": "Adam", "learning_rate": 0.02, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999,
    "epsilon": 1e-07, "amsgrad": False,
}  # fmt: skip
WRAPPED = {
    "class_name": "MeanMetricWrapper",
    "config": {"name": "accuracy", "dtype": "float32", "fn": "binary_accuracy"},
}
LOSS = {
    "class_name": "BinaryCrossentropy",
    "config": {"reduction": "auto", "name": "bc", "from_logits": False, "label_smoothing": 0},
}


def trained(optimizer: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "loss": "mse", "metrics": ["mae"], "weighted_metrics": None, "loss_weights": None,
        "sample_weight_mode": None, "optimizer_config": optimizer, **options,
    }  # fmt: skip


def test_how_it_was_compiled(tmp_path, keras):
    training = trained({"class_name": "Adam", "config": ADAM}, loss=LOSS, metrics=[[WRAPPED]])
    config = old.sequential("s", old.dense("d", 1, "sigmoid", batch_input_shape=[None, 3]))
    old.write(tmp_path / "m.h5", config, WEIGHTS, training)
    ours = load_model(tmp_path / "m.h5")
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
    theirs.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    theirs.set_weights(ours.get_weights())
    x, y = rows(12, 3), (rows(12, 1, seed=1) > 0).astype("float32")
    for model in (ours, theirs):
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert_near(ours.get_weights(), theirs.get_weights(), 1e-5)
    found, expected = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (ours, theirs))
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(float(expected[key]), rel=1e-5) for key in found)


def test_the_rate_falls(tmp_path):
    """``lr`` and ``decay``: the rate is ``lr / (1 + decay * updates)``."""
    config = {"lr": 0.1, "decay": 0.25, "momentum": 0.0, "nesterov": False}
    training = trained({"class_name": "SGD", "config": config})
    old.write(tmp_path / "m.h5", line(), WEIGHTS, training, version="2.2.4")
    model = load_model(tmp_path / "m.h5")
    for k in range(3):  # for inputs of 0 only the bias changes: by 2 (1 - b) times the rate
        b = model.get_weights()[1].item()
        model.train_on_batch(np.zeros((1, 3)), np.ones((1, 1)))
        assert model.get_weights()[1].item() - b == pytest.approx(
            2 * (1 - b) * 0.1 / (1 + 0.25 * k), rel=1e-5
        )


def state(optimizer: Any, names: str, order: Any) -> dict[str, Any]:
    """The state of an optimizer of Keras 3 under the names of TensorFlow's optimizers."""
    own = [w.numpy() for w in optimizer.variables[2:]]
    slots = names.split()
    weights = ["d/kernel", "d/bias"]
    by_weight = {(weight, slot): own[len(slots) * k + j] for k, weight in enumerate(weights)
                 for j, slot in enumerate(slots)}  # fmt: skip
    found = {"training/iter:0": np.int64(optimizer.iterations.numpy())}
    for weight, slot in sorted(by_weight, key=order):
        found[f"training/{weight}/{slot}:0"] = by_weight[weight, slot]
    return found


def test_the_state_of_tensorflows_optimizers(tmp_path, keras):
    x, y = rows(12, 3), rows(12, 1, seed=1)
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="d")])
    theirs.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
    theirs.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    weights = dict(zip(WEIGHTS["d"], theirs.get_weights(), strict=True))
    stored = state(theirs.optimizer, "m v", lambda at: ("mv".index(at[1]), at[0] == "d/bias"))
    training = trained({"class_name": "Adam", "config": ADAM})
    old.write(tmp_path / "m.h5", line(), {"d": weights}, training, stored)
    ours = load_model(tmp_path / "m.h5")
    for model in (ours, theirs):
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    assert_near(ours.get_weights(), theirs.get_weights(), 1e-5)
    assert int(ours.optimizer.iterations) == int(theirs.optimizer.iterations)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.popitem(),
        lambda state: state.update({"training/d/kernel/m:0": np.zeros((4, 1))}),
        lambda state: state.update({"training/iter:0": np.full(3, b"a")}),
        lambda state: state.update({"training/d/kernel/vhat:0": np.zeros((3, 1))}),
    ],
)
def test_a_state_that_does_not_fit(tmp_path, change):
    """As in Keras, the optimizer begins anew."""
    stored = {"training/iter:0": np.int64(3)}
    for slot in "mv":
        stored |= {f"training/d/{w}/{slot}:0": np.zeros(shape)
                   for w, shape in (("kernel", (3, 1)), ("bias", (1,)))}  # fmt: skip
    change(stored)
    training = trained({"class_name": "Adam", "config": ADAM})
    old.write(tmp_path / "m.h5", line(), WEIGHTS, training, stored)
    with pytest.warns(UserWarning, match="the optimizer begins anew"):
        model = load_model(tmp_path / "m.h5")
    assert model.optimizer.iterations == 0


# -- what is refused

CODE = ["4wEAAAAAAAAA", None, None]
REFUSED = {
    "code": (old.described("Lambda", "twice", function=CODE, function_type="lambda"),
             "'twice' is a Lambda"),
    "unknown class": (old.described("CuDNNLSTM", "fast", units=3), "Unknown layer: 'CuDNNLSTM'"),
    "unknown option": (old.dense("d", 1, sparkle=3), "Dense has sparkle=3"),
    "time first": (old.described("LSTM", "l", units=3, time_major=True), "time_major=True"),
    "half precision": (old.described("Dense", "d", units=1) | {
        "config": {"name": "d", "units": 1, "dtype": {
            "class_name": "Policy", "config": {"name": "mixed_float16"}}}}, "mixed_float16"),
    "no layer": ("Dense", "a layer is described as 'Dense'"),
    "too large": (old.dense("d", 10**9), "weights, but 4 are stored"),
    "too many": (None, "max_parts"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_are_refused(tmp_path, name):
    entry, message = REFUSED[name]
    layers = [old.input_layer("x", 3), entry] if entry else [old.dense("d", 1)] * 30
    old.write(tmp_path / "m.h5", old.sequential("m", *layers), WEIGHTS)
    with pytest.raises(ValueError, match=rf"m\.h5: (.|\n)*{message}"):
        load_model(tmp_path / "m.h5", compile=False, max_parts=20)


def test_a_lambda_is_replaced_by_a_layer_of_yours(tmp_path):
    class Twice(gpunn.layers.Layer):
        def call(self, x):
            return 2 * x

    layers = [old.input_layer("x", 3),
              old.described("Lambda", "twice", function=CODE, function_type="lambda")]  # fmt: skip
    old.write(tmp_path / "m.h5", old.sequential("m", *layers), {})
    model = load_model(tmp_path / "m.h5", custom_objects={"Lambda": Twice}, compile=False)
    assert model.predict(np.ones((1, 3)), verbose=0).tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (trained({"class_name": "Yogi", "config": {}}), "Unknown optimizer: 'yogi'"),
        (trained({"class_name": "Adam", "config": ADAM}, loss="mine"), "Unknown loss: 'mine'"),
        (trained(None), "the optimizer is described as None"),
    ],
)
def test_compilations_that_are_refused(tmp_path, training, message):
    old.write(tmp_path / "m.h5", line(), WEIGHTS, training)
    with pytest.raises(ValueError, match=rf"m\.h5: (.|\n)*{message}(.|\n)*compile=False"):
        load_model(tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5", compile=False).count_params() == 4


def own_loss(y_true: Any, y_pred: Any) -> Any:
    return gpunn.ops.mean(gpunn.ops.square(y_true - y_pred), axis=-1)


def test_a_loss_of_yours(tmp_path):
    training = trained({"class_name": "Adam", "config": ADAM}, loss="own_loss", metrics=[])
    old.write(tmp_path / "m.h5", line(), WEIGHTS, training)
    model = load_model(tmp_path / "m.h5", custom_objects={"own_loss": own_loss})
    assert model.evaluate(np.zeros((2, 3)), np.ones((2, 1)), verbose=0) == pytest.approx(0.25)


def put(place: str, value: Any) -> Any:
    def change(file: Any) -> None:
        del file[place]
        file[place] = value

    return change


def claim(place: str, *shape: int) -> Any:
    def change(file: Any) -> None:
        del file[place]
        file.create_dataset(place, shape, "f4")

    return change


def elsewhere(file: Any) -> None:
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 1), "f4", external=[("/etc/passwd", 0, 12)])


KERNEL = "model_weights/d/d/kernel:0"
DAMAGED = {
    "shape": (put(KERNEL, np.ones((2, 3), "f4")), r"shape \(2, 3\) at '/.*d/kernel:0'"),
    "text": (put(KERNEL, np.full((3, 1), b"a")), "no array of numbers 'd/kernel:0'"),
    "a group": (lambda f: (f.__delitem__(KERNEL), f.create_group(KERNEL)), "1 are stored"),
    "nan": (lambda f: f[KERNEL].__setitem__((0, 0), np.nan), "allow_nan"),
    "gigabytes": (claim(KERNEL, 3, 10**10), "1 are stored"),
    "missing": (lambda f: f.__delitem__(KERNEL), "1 are stored"),
    "no layer": (lambda f: f.__delitem__("model_weights/d"), "0 are stored"),
    "no weights": (lambda f: f.__delitem__("model_weights"), "no group 'model_weights'"),
    "external link": (put(KERNEL, h5py.ExternalLink("/etc/passwd", "/a")), "link"),
    "soft link": (put(KERNEL, h5py.SoftLink("/model_weights/d/d/bias:0")), "link"),
    "external bytes": (elsewhere, "within the file"),
    "names": (lambda f: f["model_weights"].attrs.__setitem__("layer_names", 3), "list of names"),
    "numbers": (lambda f: f["model_weights/d"].attrs.__setitem__("weight_names", [1, 2]), "names"),
    "config": (lambda f: f.attrs.__setitem__("model_config", b"{"), "model_config' is no JSON"),
    "list": (lambda f: f.attrs.__setitem__("model_config", b"[1]"), "no dictionary"),
    "deep": (lambda f: f.attrs.__setitem__("model_config", b"[" * 50_000),
             "model_config' is no JSON"),
    "number": (lambda f: f.attrs.__setitem__("model_config", 3), "no text"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_are_damaged(tmp_path, name, peak):
    change, message = DAMAGED[name]
    path = tmp_path / "m.h5"
    old.write(path, line(), WEIGHTS)
    with h5py.File(path, "r+") as file:
        change(file)

    def refused() -> None:
        with pytest.raises(ValueError, match=rf"m\.h5: (.|\n)*{message}"):
            load_model(path, compile=False)

    assert peak(refused) < 50e6
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(1)])
    if "model_config" not in message and name not in ("list", "number"):
        before = model.get_weights()
        with pytest.raises(ValueError, match=r"m\.h5: "):
            model.load_weights(path)
        assert all(map(np.array_equal, before, model.get_weights()))


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Flip bits, set lengths, or cut a file off."""
    kind = random.integers(4)
    damaged = bytearray(data)
    if kind == 0:
        return bytes(damaged[: random.integers(len(data))])
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(len(data) - 8))
        if kind == 1:
            damaged[at] ^= 1 << random.integers(8)
        elif kind == 2:
            damaged[at : at + 4] = random.integers(2**32, dtype="uint64").tobytes()[:4]
        else:
            damaged[at] = random.integers(256)
    return bytes(damaged)


@pytest.mark.parametrize(
    "seed", [pytest.param(k, marks=pytest.mark.more if k else ()) for k in range(6)]
)
@pytest.mark.filterwarnings("ignore")
def test_files_that_are_damaged_anywhere(tmp_path, seed, peak):
    """Each is read, or refused with an error that names it."""
    path = tmp_path / "m.h5"
    stored = {"training/iter:0": np.int64(3)}
    training = trained({"class_name": "Adam", "config": ADAM})
    old.write(path, line(), WEIGHTS, training, stored)
    data, random = path.read_bytes(), np.random.default_rng(seed)
    refused = []

    def load() -> None:
        try:
            load_model(path, max_parts=100)
        except ValueError as error:
            assert str(path) in str(error)
            refused.append(error)

    def load_all() -> None:
        for _ in range(100 if seed else 30):
            path.write_bytes(mutated(data, random))
            load()

    assert peak(load_all) < 50e6
    assert len(refused) > 10
