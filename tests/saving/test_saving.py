"""Test that saved models load bit for bit, and that a file can carry nothing else."""

import copy
import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import layers
from gpunn.saving import files

RNG = np.random.default_rng(7)
X = RNG.normal(size=(50, 4, 3)).astype("float32")
Y = RNG.integers(0, 3, 50)


def network(dtype=None, optimizer="adam"):
    model = gpunn.Sequential(
        [
            layers.Input((4, 3), dtype=dtype),
            layers.Rescaling(0.5, offset=-0.1, dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(8, activation="relu", kernel_initializer="he_normal", dtype=dtype),
            layers.Dropout(0.3, dtype=dtype),
            layers.Dense(3, activation="softmax", dtype=dtype),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(**arguments):
    model = network(**arguments)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    return model


def bits(model):
    return [weight.tobytes() for weight in model.get_weights()]


@pytest.mark.filterwarnings("ignore:.*own format:UserWarning")
@pytest.mark.parametrize("name", ["model.gpunn", "any name", "folder/", "model.keras"])
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_a_loaded_model_predicts_the_same_bits(tmp_path, name, dtype):
    model = trained(dtype=dtype)
    path = os.path.join(tmp_path, name)
    model.save(path)
    again = gpunn.saving.load_model(path)
    assert again.predict(X, verbose=0).tobytes() == model.predict(X, verbose=0).tobytes()
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert again.get_config() == model.get_config()
    again.save(tmp_path / "again")
    model.save(tmp_path / "first")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "first").read_bytes()


@pytest.mark.parametrize(
    "optimizer", ["adam", gpunn.optimizers.SGD(0.05, momentum=0.9, nesterov=True)]
)
def test_training_goes_on_as_if_it_had_not_been_saved(tmp_path, optimizer):
    gpunn.utils.set_random_seed(3)
    model = network(optimizer=optimizer)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    model.save(tmp_path / "m")
    model.fit(X, Y, batch_size=16, epochs=5, initial_epoch=2, verbose=0)
    again = gpunn.saving.load_model(tmp_path / "m")
    again.fit(X, Y, batch_size=16, epochs=5, initial_epoch=2, verbose=0)
    assert bits(again) == bits(model)


COMPILED = {
    "loss_weights": {"a": 0.5, "b": 20.0},
    "metrics": {"a": ["mae"], "b": ["mse", "mape"]},
    "weighted_metrics": {"b": ["mae"]},
    "run_eagerly": True,
    "loss": {"a": "mae", "b": gpunn.losses.Huber(0.1)},
    "optimizer": gpunn.optimizers.SGD(0.05, momentum=0.5),
}


@pytest.mark.parametrize("suffix", ["gpunn", "keras"])
@pytest.mark.parametrize("argument", COMPILED)
def test_each_argument_of_compile_is_read_back(tmp_path, argument, suffix):
    x = gpunn.Input((2,))
    outputs = [layers.Dense(1, name=name)(x) for name in "ab"]
    model = gpunn.Model(x, outputs)
    of_file = {"optimizer": "sgd", "loss": "mse", argument: COMPILED[argument]}
    model.compile(**copy.deepcopy(of_file))
    rows = np.random.default_rng(0).normal(size=(6, 2))
    data = rows, {"a": rows[:, :1], "b": rows[:, 1:]}
    weights = {"a": np.arange(6.0), "b": np.ones(6)}
    model.save(tmp_path / f"model.{suffix}")
    again = gpunn.saving.load_model(tmp_path / f"model.{suffix}")
    for _ in range(2):
        found, expected = (
            m.evaluate(*data, sample_weight=weights, verbose=0, return_dict=True)
            for m in (again, model)
        )
        assert found == pytest.approx(expected, rel=1e-6)
        for each in (model, again):
            each.fit(*data, batch_size=3, shuffle=False, verbose=0)
    assert again.run_eagerly == model.run_eagerly


def test_without_the_optimizer_the_model_is_compiled_afresh(tmp_path):
    model = trained()
    gpunn.saving.save_model(model, tmp_path / "m", include_optimizer=False)
    again = gpunn.saving.load_model(tmp_path / "m")
    assert bits(again) == bits(model)
    assert (model.optimizer.iterations, again.optimizer.iterations) == (8, 0)
    uncompiled = gpunn.saving.load_model(tmp_path / "m", compile=False)
    assert uncompiled.get_compile_config() is None


def test_overwrite_can_be_refused(tmp_path):
    model = network()
    model.save_weights(tmp_path / "m")
    for save in (gpunn.saving.save_model, gpunn.saving.save_weights):
        with pytest.raises(FileExistsError, match="overwrite=False"):
            save(model, tmp_path / "m", overwrite=False)


def test_weights_go_into_another_model_of_the_same_shape(tmp_path):
    model, other = trained(), network()
    assert bits(model) != bits(other)
    for save in (model.save_weights, model.save):
        save(tmp_path / "w")
        other = network()  # its layers are named dense_2, dense_3, ... by now
        other.load_weights(tmp_path / "w")
        assert bits(other) == bits(model)


def test_numbers_of_names_are_not_compared_as_texts(tmp_path):
    """More than ten layers of a class, and names such as dense_7 beside dense_12."""

    def made():
        hidden = [layers.Dense(3, "tanh") for _ in range(25)]
        return gpunn.Sequential([layers.Input((3,)), *hidden])

    for _ in range(3):
        model, other = made(), made()
        model.save_weights(tmp_path / "w")
        other.load_weights(tmp_path / "w")
        assert bits(other) == bits(model)


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    def named(units, name="last"):
        return gpunn.Sequential([layers.Input((3,)), layers.Dense(units, name=name)])

    named(4).save_weights(tmp_path / "w")
    for other in (named(5), named(4, "other")):
        before = bits(other)
        with pytest.raises(ValueError, match=r"Cannot load .*w: .*(last|other)/kernel"):
            other.load_weights(tmp_path / "w")
        assert bits(other) == before
    with pytest.raises(ValueError, match="no weights yet"):
        gpunn.Sequential([layers.Dense(4)]).load_weights(tmp_path / "w")
    with pytest.raises(ValueError, match=r"holds 'weights' and not model.*use model\.load_weig"):
        gpunn.saving.load_model(tmp_path / "w")


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_weights_of_equal_shapes_go_by_name_in_any_order(tmp_path, order):
    """If the numeric suffixes differ, so that positions count, another order raises an error."""

    def named(names):
        chain = [layers.Dense(3, name=name, bias_initializer="normal") for name in names]
        return gpunn.Sequential([layers.Input((3,)), *chain])

    model = named("abc")
    model.save_weights(tmp_path / "w")
    kept = {layer.name: layer.get_weights() for layer in model.layers}
    for behind in ("", "_7"):
        other = named([f"{name}{behind}" for name in order])
        before = bits(other)
        if behind and order != (*"abc",):
            with pytest.raises(ValueError, match="Cannot load"):
                other.load_weights(tmp_path / "w")
            assert bits(other) == before
            continue
        other.load_weights(tmp_path / "w")
        for layer in other.layers:
            for ours, theirs in zip(layer.get_weights(), kept[layer.name[0]], strict=True):
                np.testing.assert_array_equal(ours, theirs)


class Doubling(gpunn.layers.Layer):
    def forward(self, call):
        call.backend.xp.multiply(call.x, 2, out=call.y)

    def backward(self, call):
        call.backend.xp.multiply(call.dy, 2, out=call.dx)


def test_custom_classes_have_to_be_known(tmp_path):
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(3), Doubling()])
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"Cannot load .*custom_objects=\{'Doubling': Doubling\}"):
        gpunn.saving.load_model(tmp_path / "m")

    dense = gpunn.Sequential([layers.Input((3,)), layers.Dense(2)])
    dense.save(tmp_path / "m")
    document = files.read(tmp_path / "m")
    entry = document["config"]["layers"][-1]

    class Thick(layers.Dense):
        pass

    for stored, name in (("Thick", "Thick"), ("Custom>Thick", "Thick"), ("a>Thick", "a>Thick")):
        entry["class_name"] = stored
        files.write(tmp_path / "m", document)
        with pytest.raises(ValueError, match=f"Cannot load .*Unknown layer: '{stored}'"):
            gpunn.saving.load_model(tmp_path / "m")
        again = gpunn.saving.load_model(tmp_path / "m", custom_objects={name: Thick})
        assert type(again.layers[-1]) is Thick
    with pytest.raises(ValueError, match=r"custom_objects\['eval'\] is neither a function nor"):
        gpunn.saving.load_model(tmp_path / "m", custom_objects={"eval": eval})  # type: ignore[dict-item]


def test_registered_classes_are_found(tmp_path):
    @gpunn.saving.register_keras_serializable(package="tests")
    class Halving(Doubling):
        pass

    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(3), Halving()])
    model.save(tmp_path / "m")
    again = gpunn.saving.load_model(tmp_path / "m")
    assert type(again.layers[-1]) is Halving


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("document") / "m"
    trained().save(path)
    return files.read(path)


def places(value, place=()):
    """Return every position in a document where a value may be replaced by nonsense."""
    yield place
    if isinstance(value, (dict, list)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(entry, (*place, key))


def exchanged(document, place, value):
    document = copy.deepcopy(document)
    target = document
    for key in place[:-1]:
        target = target[key]
    if value is DELETED:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    return document


DELETED = object()
NONSENSE = [
    DELETED, None, True, -1, 2.5, "", "x", "os.system", "__init__", [], [1], [None], {},
    {"class_name": "eval", "config": {}}, {"class_name": "Dense", "config": {}, "module": "os"},
    {"class_name": "SGD", "config": {"learning_rate": 1.0}}, np.ones(2), float("nan"),
]  # fmt: skip


@settings(max_examples=200)
@given(data=st.data())
def test_nonsense_in_a_model_is_an_error_about_the_file_or_does_no_harm(
    tmp_path_factory, document, data
):
    place = data.draw(st.sampled_from([place for place in places(document) if place]))
    value = data.draw(st.sampled_from(NONSENSE))
    path = tmp_path_factory.mktemp("nonsense") / "model.gpunn"
    files.write(path, exchanged(document, place, value))
    try:
        model = gpunn.saving.load_model(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert type(model) is gpunn.Sequential


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("config", "layers", 3, "class_name"), "Dens", "Unknown layer: 'Dens'. Did you mean 'den"),
        (("config", "layers", 3, "class_name"), "SGD", "Unknown layer: 'SGD'"),
        (("config", "layers", 3, "class_name"), "os.system", "Unknown layer: 'os.system'"),
        (("config", "layers", 3, "config", "module"), "os", "module"),
        (("config", "layers", 3, "config", "units"), 9, "kernel"),
        (("class_name",), "Dense", "Unknown model: 'Dense'"),
        (("weights",), DELETED, "entry 'weights' is missing"),
        (("more",), 1, "entry 'more' is unknown"),
        (("compile", "optimizer", "class_name"), "Adm", "Did you mean 'adam'"),
        (("training", "tensors"), {}, "counters|slot"),
    ],
)  # fmt: skip
def test_the_offending_entry_is_named(tmp_path, document, place, value, named):
    files.write(tmp_path / "model.gpunn", exchanged(document, place, value))
    with pytest.raises(ValueError, match=rf"model\.gpunn: (.|\n)*({named})"):
        gpunn.saving.load_model(tmp_path / "model.gpunn")


def test_a_suffix_of_keras_warns_once(tmp_path, no_backend_yet):
    model, ending = trained(), ".h5"
    with pytest.warns(UserWarning, match=r"Keras does not\. Use the suffix \.gpunn") as caught:
        saver = gpunn.callbacks.ModelCheckpoint(tmp_path / f"{{epoch}}{ending}")
        model.fit(X, Y, epochs=3, callbacks=[saver], verbose=0)
        model.save(tmp_path / f"model{ending}")
    assert [warning.filename for warning in caught] == [__file__]
    again = trained()
    for name in (f"model{ending}", f"3{ending}"):
        again.load_weights(tmp_path / name)
        assert bits(again) == bits(model)


def test_our_own_names_are_saved_without_a_word(tmp_path, no_backend_yet):
    for name in ("model.gpunn", "model", "model.safetensors", "h5", "folder.h5.d/"):
        trained().save(tmp_path / name)  # a warning is an error here


@pytest.mark.parametrize("name", ["x.png", "model.onnx", "runs.d/x.JSON"])
@pytest.mark.parametrize("method", ["save", "save_weights"])
def test_a_suffix_of_other_files_is_refused_before_one_is_written(keras, tmp_path, name, method):
    theirs = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for model in (trained(), theirs):
        with pytest.raises(ValueError, match=r"(?s)\.(keras|weights).*filepath"):
            getattr(model, method)(str(tmp_path / name))
    with pytest.raises(ValueError, match=rf"\.gpunn.*\{os.path.splitext(name)[1]}"):
        gpunn.callbacks.ModelCheckpoint(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["v1.5", "m.best", "1-{loss:.2f}", "of.png/m", "a.png/"])
def test_other_names_with_dots_are_saved(tmp_path, name):
    saver = gpunn.callbacks.ModelCheckpoint(os.path.join(tmp_path, name))
    model = trained()
    model.fit(X, Y, verbose=0, callbacks=[saver])
    assert list(tmp_path.iterdir())


def test_a_model_knows_the_range_of_what_it_was_trained_on(tmp_path):
    inputs = gpunn.Input((2,))
    outputs = gpunn.layers.Dense(1)(gpunn.layers.SimpleImputer(statistics=0.0)(inputs))
    model = gpunn.Model(inputs, outputs)
    model.compile("sgd", "mse")
    x = np.array([[np.nan, -3.0], [0.5, 2.0]])
    model.fit(x, np.ones(2), verbose=0)
    model.save(tmp_path / "m.gpunn")
    assert gpunn.saving.load_model(tmp_path / "m.gpunn").trained_on == {"range": [-3.0, 2.0]}
    model.fit(np.full((2, 2), np.nan), np.ones(2), verbose=0)
    assert model.trained_on == {}


def test_saving_says_once_which_values_of_the_data_are_held(tmp_path, capsys, no_backend_yet):
    def model_of(towns):
        lookup = layers.StringLookup(output_mode="one_hot", name="city")
        lookup.adapt(towns)
        return gpunn.Sequential([gpunn.Input((1,), dtype="string"), lookup, layers.Dense(2)])

    def announced():
        return capsys.readouterr().out.replace(str(tmp_path), "")

    model = model_of(["Oslo", "Rome", "Rome"])
    path = tmp_path / "m.gpunn"
    model.save(path, announce=False)
    assert not announced()
    model.save(path)
    held = "holds values of the data: city/vocabulary (2 categories: 'Rome', 'Oslo')"
    assert announced() == f"gpunn: /m.gpunn {held}. model.data_held() lists them.\n"
    model.save(path)
    gpunn.saving.load_model(path).save(tmp_path / "again.gpunn")
    assert not announced()
    gpunn.saving.save_model(model_of(["Kyiv"]), path)
    assert "/m.gpunn holds values of the data: city/vocabulary (1 category: 'Kyiv')." in announced()
    model.trained_on = dict.fromkeys("abcd", 1)
    model.save(path)
    assert "'Oslo'), trained_on/a (1), trained_on/b (1) and 2 more. model." in announced()
    trained().save(path)
    assert not announced()
