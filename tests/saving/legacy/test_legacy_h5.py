"""Legacy HDF5 files: what Keras 3 writes, and reads of the same file, gpunn reads."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pytest
from keras2 import put_weights

import gpunn
from gpunn.saving import load_model

NEAR = 1e-6
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_near(a: Any, b: Any, near: float = NEAR) -> None:
    a, b = (list(x) if isinstance(x, (list, tuple)) else [x] for x in (a, b))
    for one, other in zip(a, b, strict=True):
        other = np.asarray(other)
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= near * max(1.0, np.abs(other).max())


def with_other_weights(model: Any) -> Any:
    model.set_weights(
        [rows(*w.shape, seed=k) ** 2 * 0.3 for k, w in enumerate(model.get_weights())]
    )
    return model


def pictures(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((8, 8, 2)), layers.Rescaling(1 / 3, 0.1),
        layers.Conv2D(3, 3, activation="relu", padding="same"), layers.MaxPooling2D(),
        layers.BatchNormalization(), layers.DepthwiseConv2D(2), layers.SeparableConv2D(3, 2),
        layers.LeakyReLU(0.1), layers.Conv2DTranspose(2, 2), layers.ReLU(2.0, 0.1, 0.01),
        layers.ZeroPadding2D(((1, 0), (0, 1))), layers.Flatten(), layers.Dropout(0.3),
        layers.Dense(4, "softmax", kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
                     kernel_constraint=keras.constraints.MaxNorm(3.0)),
    ])  # fmt: skip


def branches(keras: Any) -> Any:
    layers = keras.layers
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    shared = layers.Dense(3, "tanh", name="shared")
    inner_in = keras.Input((3,))
    inner = keras.Model(inner_in, layers.Dense(2)(layers.Dense(3, "relu")(inner_in)), name="inner")
    chain = keras.Sequential([layers.Dense(3), layers.BatchNormalization()], name="chain")
    x, y = shared(a), shared(layers.Dense(4)(b))
    z = inner(layers.Add()([chain(x), y]))
    return keras.Model([a, b], [inner(y), layers.Concatenate()([z, inner(x)]), inner(chain(y))])


def frozen(keras: Any) -> Any:
    """Weights in another order than in the layers: what is trained comes first."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((4,)), keras.Sequential([
        layers.Dense(4), layers.BatchNormalization(), layers.Dense(4, "tanh"),
    ], name="inner"), layers.Dense(2)])  # fmt: skip
    model.layers[0].layers[0].trainable = False
    return model


def sentences(keras: Any) -> Any:
    layers = keras.layers
    x = words = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(x)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    x = layers.GRU(4, return_sequences=True, reset_after=False)(x)
    x = layers.TimeDistributed(layers.Dense(4, "relu"))(x)
    x = layers.RNN([layers.SimpleRNNCell(3), layers.LSTMCell(4)], return_sequences=True)(x)
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(x, x))
    return keras.Model(words, layers.GlobalAveragePooling1D()(x))


def with_operations(keras: Any) -> Any:
    x = keras.Input((2, 4))
    y = keras.layers.Dense(3)(x[:, 0]) * 2.0 + 1.0
    return keras.Model(x, keras.layers.Dense(2)(keras.ops.concatenate([y, -y], axis=1)))


def masked_in_part(keras: Any) -> Any:
    """Its masks are computed by operations that have a dtype, as layers have."""
    layers = keras.layers
    words = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(words)
    y = layers.Dense(3)(keras.ops.cast(keras.ops.one_hot(words, 9), "float32"))
    return keras.Model(words, layers.LSTM(3)(layers.Concatenate()([x, layers.Dense(2)(x), y])))


INPUTS = {
    pictures: lambda: rows(5, 8, 8, 2),
    branches: lambda: [rows(5, 4), rows(5, 3, seed=1)],
    frozen: lambda: rows(5, 4),
    sentences: lambda: np.random.default_rng(0).integers(1, 9, (5, 6)),
    with_operations: lambda: rows(5, 2, 4),
    masked_in_part: lambda: np.random.default_rng(0).integers(0, 9, (5, 6)),
}


UNREADABLE = {sentences, with_operations, masked_in_part}
"""Keras cannot read these files of its own: it takes operations, as of masks, for layers."""


@pytest.mark.parametrize("build", INPUTS, ids=lambda build: build.__name__)
def test_models_of_keras(tmp_path, build, keras):
    model, x = with_other_weights(build(keras)), INPUTS[build]()
    model.compile("adam", "mse")
    model.save(tmp_path / "m.h5")
    expected = model.predict(x, verbose=0)
    ours = load_model(tmp_path / "m.h5")
    assert_near(ours.predict(x, verbose=0), expected)
    if build not in UNREADABLE:
        theirs = keras.saving.load_model(tmp_path / "m.h5", compile=False)
        assert_near(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    for a, b in zip(ours.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(a, b)
    fresh = build(gpunn)
    fresh.load_weights(tmp_path / "m.h5")
    assert_near(fresh.predict(x, verbose=0), expected)


OPTIMIZERS = {
    "adam": lambda k: k.optimizers.Adam(0.02, amsgrad=True),
    "sgd": lambda k: k.optimizers.SGD(0.1, momentum=0.9),
    "rmsprop": lambda k: k.optimizers.RMSprop(0.01, momentum=0.5),
    "schedule": lambda k: k.optimizers.AdamW(k.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on(tmp_path, name, keras, backend):
    gpunn.use_backend(backend)
    x, y = rows(20, 3), rows(20, 1, seed=1)
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"),
                               keras.layers.Dense(1)])  # fmt: skip
    theirs.compile(OPTIMIZERS[name](keras), "mse", metrics=["mae"])
    theirs.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    theirs.save(tmp_path / "m.h5")
    ours = load_model(tmp_path / "m.h5")
    assert int(ours.optimizer.iterations) == 4
    for model in (ours, theirs):
        model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(a - b).max() < 2e-5
    found = ours.evaluate(x, y, verbose=0, return_dict=True)
    expected = theirs.evaluate(x, y, verbose=0, return_dict=True)
    assert found.keys() == expected.keys()
    assert found["mae"] == pytest.approx(float(expected["mae"]), rel=1e-4)


def test_what_is_not_compiled(tmp_path, keras):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.save(tmp_path / "m.h5")
    with pytest.warns(UserWarning, match="compile it before"):
        assert not load_model(tmp_path / "m.h5").compiled
    assert not load_model(tmp_path / "m.h5", compile=False).compiled
    model.compile("adam", "mse")
    model.save(tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5").compiled
    assert not load_model(tmp_path / "m.h5", compile=False).compiled


def own_layer(module: Any) -> Any:
    class Scaled(module.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, units=3, **options):
            super().__init__(**options)
            self.units = units
            self.inner = module.layers.Dense(units)

        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
            self.inner.build(shape)

        def call(self, x):
            return self.inner(x * self.scale)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    return Scaled


def test_own_layers(tmp_path, keras):
    model = with_other_weights(
        keras.Sequential([keras.Input((4,)), own_layer(keras)(5), keras.layers.Dense(2)])
    )
    model.save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"m\.h5: Unknown layer: 'Scaled'.*custom_objects"):
        load_model(tmp_path / "m.h5")
    objects = {"Scaled": own_layer(gpunn)}
    ours = load_model(tmp_path / "m.h5", custom_objects=objects, compile=False)
    assert_near(ours.predict(rows(3, 4), verbose=0), model.predict(rows(3, 4), verbose=0))


# -- weights alone


def network(module: Any, last: int = 2, names: str = "one two three") -> Any:
    first, second, third = names.split()
    return module.Sequential([
        module.Input((3,)), module.layers.Dense(4, name=first),
        module.layers.BatchNormalization(name=second), module.layers.Dense(last, name=third),
    ])  # fmt: skip


@pytest.fixture
def weights(tmp_path, keras):
    """A file of weights, and the model that has them."""
    model = with_other_weights(network(keras))
    arrays = {
        layer.name: {w.path + ":0": w.numpy() for w in layer.weights} for layer in model.layers
    }
    with h5py.File(tmp_path / "w.h5", "w") as file:
        put_weights(file, arrays, parts=2)
    return tmp_path / "w.h5", model


# The last layers' shapes differ, or their names do.
CASES = {
    "in order": (2, "a b c", {}),
    "by name": (2, "one other three", {"by_name": True}),
    "in order, of other shapes": (5, "a b c", {"skip_mismatch": True}),
    "by name, of other shapes": (5, "one b three", {"by_name": True, "skip_mismatch": True}),
    "by name, of other numbers": (2, "two b three", {"by_name": True, "skip_mismatch": True}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:Skipping loading")
def test_weights_alone(weights, keras, case):
    path, _ = weights
    last, names, options = CASES[case]
    ours, theirs = (network(module, last, names) for module in (gpunn, keras))
    theirs.set_weights(ours.get_weights())
    theirs.load_weights(path, **options)
    if options.get("skip_mismatch"):
        with pytest.warns(UserWarning, match="stays as it is"):
            ours.load_weights(path, **options)
    else:
        ours.load_weights(path, **options)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("last", "names", "options", "message"),
    [
        (5, "a b c", {}, r"shape \(4, 2\) at '/three/.*kernel:0'; c/kernel has .*\(4, 5\)"),
        (2, "two b c", {"by_name": True}, r"4 arrays of 'two'; 'two' has 2"),
    ],
)
def test_weights_that_do_not_fit(weights, last, names, options, message):
    path, _ = weights
    model = network(gpunn, last, names)
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"w\.h5: (.|\n)*{message}"):
        model.load_weights(path, **options)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_another_number_of_layers(weights):
    path, _ = weights
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(4)])
    with pytest.raises(ValueError, match="weights of 3 layers, 'one', 'two', 'three'; the model"):
        model.load_weights(path, skip_mismatch=True)  # as Keras
    with pytest.raises(ValueError, match=r"of weights alone\. For weights, build the model, and"):
        load_model(path)


def test_other_files_by_name_or_of_other_shapes(tmp_path, keras):
    theirs = with_other_weights(network(keras))
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    same = network(gpunn)
    same.load_weights(tmp_path / "m.keras")
    same.save(tmp_path / "m.gpunn")
    for name in ("m.keras", "m.weights.h5", "m.gpunn"):
        ours = network(gpunn, 5)
        before = ours.get_weights()
        with pytest.raises(ValueError, match=rf"{name}: by_name=True is only for legacy"):
            ours.load_weights(tmp_path / name, by_name=True)
        with pytest.raises(ValueError, match=name):
            ours.load_weights(tmp_path / name)
        with pytest.warns(UserWarning, match="stay"):
            ours.load_weights(tmp_path / name, skip_mismatch=True)
        for k, (a, b) in enumerate(zip(ours.get_weights(), theirs.get_weights(), strict=True)):
            assert np.array_equal(a, before[k] if k > 5 else b)
