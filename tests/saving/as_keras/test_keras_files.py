"""Files of Keras 3: what gpunn writes Keras loads, and what Keras writes gpunn loads."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import registered
from registered_networks import data as data_of
from registered_networks import every_case, network, unusual

import gpunn
from gpunn.saving import load_model

pytestmark = [
    unusual,
    # Keras's own, about arrays of NumPy 2 and about an optimizer that keeps more than gpunn's.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Skipping variable loading"),
]

NEAR = 1e-6
UNKNOWN = {
    "ConfusionMatrix", "EuclideanDistance", "Gaussian", "HalfSquaredError", "Huber",
    "PerceptronCriterion", "Ramp", "Sign", "Step", "Threshold",
}  # fmt: skip
"""Parts that Keras does not have: `Huber` as a metric, `Threshold` without its arguments."""


OF_TENSORFLOW = {"HashedCrossing"}
"""Parts that Keras makes with TensorFlow alone; here it runs on PyTorch."""
ON_ARRAYS = {"Equalization"}
"""Layers that Keras has outside of models alone: in one, it takes their output for the input."""


def assert_near(a: Any, b: Any) -> None:
    assert np.abs(np.asarray(a) - np.asarray(b)).max() <= NEAR * max(1.0, np.abs(b).max())


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def is_known_to_keras(kind: str, name: str, arguments: dict) -> bool:
    """Whether Keras has the part, and its files have room for these options of it."""
    if kind in ("activation", "layer"):  # an activation has no options there
        inner = arguments.get("activation")
        has_options = (
            inner["config"] if isinstance(inner, dict) else kind == "activation" and arguments
        )
        if has_options or "learning_rate_multiplier" in arguments:
            return False
    return name not in UNKNOWN or (name == "Huber" and kind == "loss")


@pytest.mark.in_turn(4)
@every_case
@pytest.mark.filterwarnings("ignore:.* is in gpunn's own format")
def test_every_part_goes_to_keras_and_back(tmp_path, kind, name, arguments, keras):
    model = network(gpunn.get_backend(), "float32", kind, name, arguments)
    x, y = data_of(model)
    model.fit(x, y, batch_size=11, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "ours.keras")
    assert zipfile.is_zipfile(tmp_path / "ours.keras") == is_known_to_keras(kind, name, arguments)
    if not is_known_to_keras(kind, name, arguments) or name in OF_TENSORFLOW | ON_ARRAYS:
        assert_near(load_model(tmp_path / "ours.keras").predict(x, verbose=0), expected)
        return
    theirs = keras.saving.load_model(tmp_path / "ours.keras")
    # Keras has PyTorch's edges there, and here it cuts nothing off outside of training. Rows of its
    # sparsemax may add up to 0.
    others = {
        ("AveragePooling2D", "same"), ("AveragePooling3D", "same"), ("RandomCrop", None),
        ("Sparsemax", None),
    }  # fmt: skip
    if (name, arguments.get("padding")) not in others:
        assert_near(theirs.predict(x, verbose=0), expected)
    theirs.save(tmp_path / "theirs.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = load_model(tmp_path / "theirs.keras")
    assert_near(ours.predict(x, verbose=0), expected)
    assert ours.optimizer.iterations == model.optimizer.iterations == 5


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("name", "options"),
    registered.cases("optimizer"),
    ids=registered.label,
)
def test_training_goes_on_in_keras_and_here(tmp_path, name, options, keras_as_elsewhere):
    keras = keras_as_elsewhere

    def new(module: Any) -> Any:
        chain = [module.Input((3,)), module.layers.Dense(4, "tanh"), module.layers.Dense(1)]
        model = module.Sequential(chain)
        model.compile(getattr(module.optimizers, name)(**options), "mse")
        return model

    x, y = rows(20, 3), rows(20, 1, seed=1)
    ours = new(gpunn)
    ours.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    ours.save(tmp_path / "m.keras")
    theirs = keras.saving.load_model(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    theirs.save(tmp_path / "theirs.keras")
    from_theirs = load_model(tmp_path / "theirs.keras")
    for model in (ours, theirs, again, from_theirs):
        model.fit(x, y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    for a, b, c, d in zip(
        *(m.get_weights() for m in (ours, theirs, again, from_theirs)), strict=True
    ):
        assert np.array_equal(a, c)
        assert np.abs(a - b).max() < 2e-5
        assert np.abs(a - d).max() < 2e-5


def branches(module: Any) -> Any:
    """Two inputs, a shared layer, a model in the model, operations, three outputs by name."""
    layers, ops = module.layers, module.ops
    a, b = module.Input((4,), name="a"), module.Input((2, 4), name="b")
    shared = layers.Dense(3, name="shared")
    inner_in = module.Input((3,))
    inner = module.Model(inner_in, layers.Dense(2)(layers.Dense(3, "tanh")(inner_in)), name="inner")
    chain = module.Sequential([layers.Dense(2), layers.BatchNormalization()], name="chain")
    x, y = shared(a), shared(b[:, 0])
    z = layers.Add()([x, y]) * 2.0 + x
    z = ops.concatenate([z, ops.mean(b, axis=1), ops.relu(-y)], axis=1)
    return module.Model(
        {"a": a, "b": b},
        {"first": inner(x), "second": chain(layers.Dropout(0.5)(z)), "third": inner(y) - 1.0},
    )


def tower(module: Any) -> Any:
    """Layers of one kind at different depths, whose order is that of the graph."""
    layers = module.layers
    x = module.Input((5,))
    long = layers.Dense(5)(layers.Dense(5, "relu")(layers.Dense(5)(x)))
    short = layers.Dense(5, "tanh")(x)
    other = layers.Concatenate()([layers.Dense(2)(short), layers.Dense(3)(long)])
    return module.Model(x, [layers.Dense(1)(other), layers.Average()([long, short])])


def pictures(module: Any) -> Any:
    layers = module.layers
    return module.Sequential([
        module.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Conv2D(3, 3, activation="relu"),
        layers.MaxPooling2D(), layers.BatchNormalization(), layers.Flatten(),
        layers.Dense(4, kernel_regularizer=module.regularizers.L1L2(0.1, 0.2),
                     kernel_constraint=module.constraints.MaxNorm(3.0)),
    ])  # fmt: skip


INPUTS = {
    branches: lambda: {"a": rows(6, 4), "b": rows(6, 2, 4)},
    tower: lambda: rows(6, 5),
    pictures: lambda: rows(6, 8, 8, 1),
}


def values_of(y: Any) -> list[np.ndarray]:
    if isinstance(y, dict):
        return [y[key] for key in sorted(y)]
    return list(y) if isinstance(y, list) else [y]


@pytest.mark.parametrize("build", INPUTS, ids=lambda build: build.__name__)
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_graphs(tmp_path, build, first, keras):
    maker, other = (gpunn, keras) if first == "ours" else (keras, gpunn)
    model, x = build(maker), INPUTS[build]()
    model.set_weights([np.random.default_rng(k).normal(size=w.shape) ** 2 + 0.1
                       for k, w in enumerate(map(np.asarray, model.get_weights()))])  # fmt: skip
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    again = other.saving.load_model(tmp_path / "m.keras")
    fresh = build(other)
    fresh.load_weights(tmp_path / "m.weights.h5")
    for made in (again, fresh):
        found = zip(
            values_of(model.predict(x, verbose=0)),
            values_of(made.predict(x, verbose=0)),
            strict=True,
        )
        for a, b in found:
            assert_near(a, b)
    if other is gpunn:
        again.load_weights(tmp_path / "m.keras")


def test_operations_keep_their_names(tmp_path, keras):
    """Else a new name might be that of a layer."""
    x = inputs = keras.Input((3,))
    for _ in range(3):
        x = keras.layers.Add()([x * 0.5 + 1.0, inputs])
    model = keras.Model(inputs, x)
    model.save(tmp_path / "m.keras")
    gpunn.backend.clear_session()  # operations are named add, add_1, ... again
    ours = load_model(tmp_path / "m.keras")
    assert {op.name for op in ours.operations} == {op.name for op in model.operations}
    assert_near(ours.predict(rows(2, 3), verbose=0), model.predict(rows(2, 3), verbose=0))


def test_operations_whose_first_argument_is_no_tensor(tmp_path, keras):
    x = keras.Input((3, 4))
    theirs = keras.Model(x, keras.ops.einsum("bij,bkj->bik", x, keras.ops.tanh(x)))
    theirs.save(tmp_path / "model.keras")
    ours = gpunn.saving.load_model(tmp_path / "model.keras")
    rows = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")
    predicted = [model.predict(rows, verbose=0) for model in (ours, theirs)]
    np.testing.assert_allclose(*predicted, rtol=1e-5)


def test_graphs_of_any_order(tmp_path, keras):
    """Random graphs of layers of one class: no weights change places."""
    for seed in range(12):
        random = np.random.default_rng(seed)
        made = [gpunn.Input((3,))]
        for _ in range(9):
            a, b = random.integers(0, len(made), 2)
            y = gpunn.layers.Dense(3)(made[a])
            made.append(y if random.random() < 0.5 else gpunn.layers.Add()([y, made[b]]))
        model = gpunn.Model(made[0], [made[-1], made[-2]])
        model.save(tmp_path / "m.keras")
        x = rows(4, 3)
        theirs = keras.saving.load_model(tmp_path / "m.keras")
        for a, b in zip(model.predict(x, verbose=0), theirs.predict(x, verbose=0), strict=True):
            assert_near(a, b)


def own_layer(module: Any) -> Any:
    @module.saving.register_keras_serializable(package="files")
    class Pair(module.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, units=3, **options):
            super().__init__(**options)
            self.units = units
            self.second = module.layers.Dense(units)
            self.blocks = [module.layers.Dense(units, "tanh"), module.layers.Dense(units)]

        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
            self.second.build((None, self.units))
            self.blocks[0].build(shape)
            self.blocks[1].build((None, self.units))

        def call(self, x):
            return self.second(self.blocks[1](self.blocks[0](x * self.scale)))

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    return Pair


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_own_layers_with_layers_inside(tmp_path, first, keras):
    maker, other = (gpunn, keras) if first == "ours" else (keras, gpunn)
    classes = {module: own_layer(module) for module in (gpunn, keras)}
    model = maker.Sequential([maker.Input((4,)), classes[maker](5), maker.layers.Dense(2)])
    model.set_weights(
        [rows(*w.shape, seed=k) for k, w in enumerate(map(np.asarray, model.get_weights()))]
    )
    model.save(tmp_path / "m.keras")
    again = other.saving.load_model(tmp_path / "m.keras", custom_objects={"Pair": classes[other]})
    assert_near(model.predict(rows(3, 4), verbose=0), again.predict(rows(3, 4), verbose=0))


def layer_of_layers(module: Any) -> Any:
    """As Keras's guide writes it: `from_config` restores the layers that the arguments hold."""

    @module.saving.register_keras_serializable(package="files")
    class Outer(module.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, inner, **options):
            super().__init__(**options)
            self.inner = inner

        def build(self, shape):
            if not self.inner.built:
                self.inner.build(shape)

        def call(self, x):
            return x + self.inner(x)

        def get_config(self):
            inner = module.saving.serialize_keras_object(self.inner)
            return {**super().get_config(), "inner": inner}

        @classmethod
        def from_config(cls, config):
            inner = module.saving.deserialize_keras_object(config.pop("inner"))
            return cls(inner, **config)

    return Outer


@pytest.mark.parametrize("inherited", [False, True])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_own_layers_that_restore_layers(tmp_path, first, inherited, keras):
    maker, other = (gpunn, keras) if first == "ours" else (keras, gpunn)
    classes = {module: layer_of_layers(module) for module in (gpunn, keras)}
    if inherited:
        classes = {module: type("Outer", (cls,), {}) for module, cls in classes.items()}
    model = maker.Sequential([
        maker.Input((4,)), classes[maker](maker.layers.Dense(4, "tanh")),
        classes[maker](classes[maker](maker.layers.Dense(4), dtype="float32")),
    ])  # fmt: skip
    model.set_weights(
        [rows(*w.shape, seed=k) for k, w in enumerate(map(np.asarray, model.get_weights()))]
    )
    model.save(tmp_path / "m.keras")
    with other.saving.custom_object_scope({"Outer": classes[other]}):
        again = other.saving.load_model(tmp_path / "m.keras")
    assert_near(model.predict(rows(3, 4), verbose=0), again.predict(rows(3, 4), verbose=0))


# -- what is refused


def saved(folder: Path, keras: Any) -> tuple[Path, Any]:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="one"),
                              keras.layers.Dense(2, name="two")])  # fmt: skip
    model.compile("adam", "mse")
    model.save(folder / "m.keras")
    return folder / "m.keras", model


def changed(path: Path, name: str, change: Any, **options: Any) -> None:
    """Write an archive anew, with one member changed, or left out if it becomes None."""
    with zipfile.ZipFile(path) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w", **options) as archive:
        for one, data in members.items():
            if data is not None:
                archive.writestr(one, data)


def in_config(change: Any) -> Any:
    def of(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return of


def in_weights(change: Any) -> Any:
    def of(data: bytes) -> bytes:
        import io

        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            change(file)
        return buffer.getvalue()

    return of


def layer(document: Any, number: int = 1) -> Any:
    return document["config"]["layers"][number]


def replace(file: Any, place: str, value: Any) -> None:
    del file[place]
    file[place] = value


FIRST = "layers/dense/vars/0"
CONFIGS = {
    "huge": (lambda d: layer(d)["config"].update(units=10**9), "weights"),
    "unknown class": (lambda d: layer(d).update(class_name="Thick"), "Thick"),
    "unknown option": (lambda d: layer(d)["config"].update(sparkle=3), "sparkle"),
    "half precision": (lambda d: layer(d)["config"].update(dtype="mixed_float16"), "float16"),
    "code": (
        lambda d: layer(d).update(
            class_name="Lambda", config={"function": {"class_name": "__lambda__", "config": {}}}
        ), "is a Lambda: .* gpunn does not run",
    ),
    "no dictionary": (lambda d: layer(d).update(config=[1]), "configuration"),
    "too many": (lambda d: d["config"].update(layers=[layer(d)] * 20_000), "max_parts"),
}  # fmt: skip
WEIGHTS = {
    "missing": (lambda f: f.__delitem__(FIRST), "8 are stored|dense/vars"),
    "shape": (lambda f: replace(f, FIRST, np.ones((2, 3), "f4")), r"the shape \(2, 3\) at 'lay"),
    "text": (lambda f: replace(f, FIRST, np.full((3, 2), b"a")), r"of type \|S1, .*dense/vars/0"),
    "nan": (lambda f: f[FIRST].__setitem__((0, 0), np.nan), "allow_nan"),
    "external link": (
        lambda f: replace(f, FIRST, h5py.ExternalLink("/etc/passwd", "/a")), "link",
    ),
    "soft link": (lambda f: replace(f, FIRST, h5py.SoftLink("/layers/dense_1/vars/0")), "link"),
    "hard link": (lambda f: replace(f, FIRST, f["layers/dense_1/vars/1"]), "second name"),
    "a group": (lambda f: (f.__delitem__(FIRST), f.create_group(FIRST)), "8 are stored|dense/vars"),
    "name": (lambda f: f["layers/dense/vars"].attrs.__setitem__("name", "two"), "order"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_that_do_not_fit(tmp_path, name, keras):
    path, _ = saved(tmp_path, keras)
    change, named = CONFIGS[name]
    changed(path, "config.json", in_config(change))
    with pytest.raises(ValueError, match=rf"m\.keras: (.|\n)*({named})"):
        load_model(path)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit(tmp_path, name, keras):
    path, _ = saved(tmp_path, keras)
    change, named = WEIGHTS[name]
    changed(path, "model.weights.h5", in_weights(change))
    with pytest.raises(ValueError, match=rf"m\.keras: (.|\n)*({named})"):
        load_model(path)
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2, name="one"),
                              gpunn.layers.Dense(2, name="two")])  # fmt: skip
    before = model.get_weights()
    with pytest.raises(ValueError, match=named):
        model.load_weights(path)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_weights_alone_are_no_model_and_need_one_that_is_built(tmp_path, keras):
    path, _ = saved(tmp_path, keras)
    load_model(path, compile=False).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"build the model, and use model\.load_weights"):
        load_model(tmp_path / "m.weights.h5")
    for name in ("m.weights.h5", "m.keras"):
        unbuilt = gpunn.Sequential([gpunn.layers.Dense(2)])
        with pytest.raises(ValueError, match=rf"{name}: .*is not built.* layers\.Input"):
            unbuilt.load_weights(tmp_path / name)


def test_a_layer_of_ones_own_stands_in_for_a_lambda(tmp_path, keras):
    class Twice(gpunn.layers.Layer):
        def call(self, x):
            return 2 * x

    written = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: 2 * x),
                                keras.layers.Dense(2)])  # fmt: skip
    written.save(tmp_path / "m.keras")
    read = load_model(tmp_path / "m.keras", custom_objects={"Lambda": Twice})
    assert_near(read.predict(rows(5, 3), verbose=0), written.predict(rows(5, 3), verbose=0))


def test_older_versions(tmp_path, keras):
    path, _ = saved(tmp_path, keras)
    changed(path, "metadata.json", in_config(lambda d: d.update(keras_version="2.13.1")))
    with pytest.raises(ValueError, match=r"an archive of Keras 2\.13\.1, which Keras 3 does not"):
        load_model(path)
    with h5py.File(tmp_path / "old.keras", "w") as file:
        file.attrs["keras_version"] = "2.9.0"
    with pytest.raises(ValueError, match="an HDF5 file without a 'model_config', such as"):
        load_model(tmp_path / "old.keras")


def test_an_array_without_contents_makes_no_room(tmp_path, keras):
    """HDF5 stores nothing of an array that nobody has written to, whatever its shape."""

    def grow(file):
        for place, shape in ((FIRST, (3, 10**9)), ("layers/dense/vars/1", (10**9,)),
                             ("layers/dense_1/vars/0", (10**9, 2))):  # fmt: skip
            del file[place]
            file.create_dataset(place, shape, "f4", chunks=True)

    path, _ = saved(tmp_path, keras)
    changed(path, "config.json", in_config(lambda d: layer(d)["config"].update(units=10**9)))
    changed(path, "model.weights.h5", in_weights(grow))
    with pytest.raises(ValueError, match=r"m\.keras: the layers have .* weights, but .* stored"):
        load_model(path)


def test_members_that_are_missing_or_swell(tmp_path, keras):
    for name in ("config.json", "model.weights.h5"):
        path, _ = saved(tmp_path, keras)
        changed(path, name, lambda data: None)
        with pytest.raises(ValueError, match="no member"):
            load_model(path)
        path, _ = saved(tmp_path, keras)
        packed = {"compression": zipfile.ZIP_DEFLATED}
        changed(path, name, lambda data: data + b" " * 50_000_000, **packed)
        with pytest.raises(ValueError, match="would take"):
            load_model(path)
    path, _ = saved(tmp_path, keras)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"m\.keras"):
        load_model(path)


def test_without_h5py_a_file_is_still_written(tmp_path, monkeypatch, no_backend_yet, keras):
    path, _ = saved(tmp_path, keras)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2)])
    with pytest.warns(UserWarning, match=r"pip install 'gpunn\[keras\]'"):
        model.save(tmp_path / "ours.keras")
    assert_near(load_model(tmp_path / "ours.keras").predict(rows(2, 3)), model.predict(rows(2, 3)))
    with pytest.raises(ImportError, match=r"pip install 'gpunn\[keras\]'"):
        load_model(path)


def test_resuming_from_our_file_is_exact(tmp_path, keras):
    def new() -> Any:
        gpunn.utils.set_random_seed(3)
        chain = [gpunn.Input((3,)), gpunn.layers.Dropout(0.5), gpunn.layers.Dense(1)]
        model = gpunn.Sequential(chain)
        model.compile("adam", "mse", metrics=["mae"])
        return model

    x, y = rows(20, 3), rows(20, 1, seed=1)
    whole, half = new(), new()
    whole.fit(x, y, batch_size=5, epochs=4, verbose=0)
    half.fit(x, y, batch_size=5, epochs=2, verbose=0)
    half.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    again.fit(x, y, batch_size=5, epochs=4, initial_epoch=2, verbose=0)
    assert all(map(np.array_equal, whole.get_weights(), again.get_weights()))


@pytest.mark.parametrize("weighted", [["mse"], ["mse", "mean_absolute_percentage_error"]])
def test_weighted_metrics(tmp_path, weighted, keras):
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=weighted)
    model.save(tmp_path / "m.keras")
    x, y, weights = rows(20, 3), rows(20, 1, seed=1), rows(20, seed=2) ** 2
    expected = model.evaluate(x, y, sample_weight=weights, verbose=0)
    for load in (load_model, keras.saving.load_model):
        again = load(tmp_path / "m.keras")
        found = again.evaluate(x, y, sample_weight=weights, verbose=0)
        assert np.allclose(sorted(found), sorted(expected), rtol=1e-5)  # Keras's order is its own


@pytest.mark.parametrize("loss", [None, "mse"])
def test_a_model_compiled_without_an_optimizer(tmp_path, loss, keras):
    """Keras cannot load its own file of one: it loads ours as one that is not compiled."""
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(1)])
    model.compile(None, loss)
    model.save(tmp_path / "m.keras")
    x, y = rows(20, 3), rows(20, 1, seed=1)
    theirs, again = keras.saving.load_model(tmp_path / "m.keras"), load_model(tmp_path / "m.keras")
    assert np.allclose(theirs.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    assert again.optimizer is None and again.compiled
    if loss:
        assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
