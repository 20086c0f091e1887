"""Lookups in Keras's files: real ones, given or learnt, and ours beside them.

Keras makes these layers with TensorFlow alone, so its files are in ``of_keras/lookups.zip``, with
the outputs that it computed; `of_keras/make_lookups.py` says how they were made.
"""

from __future__ import annotations

import io
import json
import runpy
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.saving import load_model

h5py = pytest.importorskip("h5py")

FOLDER = Path(__file__).parent / "of_keras"
MADE = runpy.run_path(str(FOLDER / "make_lookups.py"))
CASES, DATA = MADE["cases"](), MADE["DATA"]
OFTEN = {
    "StringLookup-int-given", "StringLookup-tf_idf-adapted", "IntegerLookup-multi_hot-adapted",
    "TextVectorization-int-adapted", "TextVectorization-padded", "Hashing-int", "Hashing-count",
    "StringLookup-masked",
}  # fmt: skip
BESIDE = {"vocabulary", "idf_weights", "vocabulary_size"}
"""What Keras writes beside the configuration, if it was learnt, and what follows from it."""


@pytest.fixture(scope="module")
def theirs() -> zipfile.ZipFile:
    return zipfile.ZipFile(FOLDER / "lookups.zip")


def x_of(kind: str) -> np.ndarray:
    return np.array(DATA[kind], np.int64 if kind == "IntegerLookup" else object)


def ours(kind: str, options: dict[str, Any]) -> Any:
    """Return a model of one lookup, given or adapted as Keras's."""
    x = x_of(kind)
    layer = getattr(layers, kind)(**options)
    if kind != "Hashing" and "vocabulary" not in options:
        layer.adapt(x)
    dtype = "int64" if kind == "IntegerLookup" else "string"
    return gpunn.Sequential([gpunn.Input(x.shape[1:], dtype=dtype), layer])


def parts(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the configuration of the second layer in an archive, and all arrays by place."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        document = json.loads(archive.read("config.json"))
        weights = archive.read("model.weights.h5")
    arrays = {}

    def note(place: str, entry: Any) -> None:
        if hasattr(entry, "shape"):
            arrays[place] = entry[()]

    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(note)
    return document["config"]["layers"][1], arrays


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.more) for name in CASES]
)
def test_files_of_both_give_the_same_and_hold_the_same(
    name: str, theirs: zipfile.ZipFile, tmp_path: Path
) -> None:
    kind, options = CASES[name]
    expected = json.loads(theirs.read("outputs.json"))[name]
    path = tmp_path / "theirs.keras"
    path.write_bytes(theirs.read(f"{name}.keras"))
    model = ours(kind, options)
    model.save(tmp_path / "ours.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made in (load_model(path), model, load_model(tmp_path / "ours.keras")):
            y = np.asarray(made(x_of(kind)))
            np.testing.assert_allclose(y, expected, rtol=1e-6)
    entry, arrays = parts(path.read_bytes())
    own, own_arrays = parts((tmp_path / "ours.keras").read_bytes())
    assert own_arrays.keys() == arrays.keys()
    for place, array in arrays.items():
        np.testing.assert_allclose(own_arrays[place], array, rtol=1e-6)
    assert (own["class_name"], own["module"]) == (entry["class_name"], entry["module"])
    # Keras's constructor takes no argument that is not in its own configuration.
    assert own["config"].keys() - entry["config"].keys() <= {"vocabulary_dtype"} - {kind}
    for key in own["config"].keys() & entry["config"].keys() - BESIDE - {"name", "dtype"}:
        assert own["config"][key] == entry["config"][key], key
    if kind == "Hashing":
        assert own["config"]["dtype"] == entry["config"]["dtype"]["config"]["name"]


def test_several_lookups_in_models_in_models(theirs: zipfile.ZipFile, tmp_path: Path) -> None:
    """Each finds its own vocabulary: places are counted by class, and within inner models."""
    vocabularies = [["oak"], ["elm", "ash"], ["fir", "ash", "oak"]]
    entry, _ = parts(theirs.read("StringLookup-multi_hot-adapted.keras"))

    def described(number: int) -> dict[str, Any]:
        return {**entry, "config": {**entry["config"], "name": f"lookup_{number}"}}

    def applied(one: Any, name: str, number: int = 0) -> dict[str, Any]:
        place = {"class_name": "__keras_tensor__",
                 "config": {"shape": [None, 2], "dtype": "string", "keras_history": ["s", 0, 0]}}
        return {**one, "name": name, "inbound_nodes": [{"args": [place], "kwargs": {}}]}

    start = {"module": "keras.layers", "class_name": "InputLayer", "name": "s",
             "config": {"batch_shape": [None, 2], "dtype": "string", "name": "s"},
             "registered_name": None, "inbound_nodes": []}  # fmt: skip
    inner = {"module": "keras", "class_name": "Sequential", "registered_name": None,
             "config": {"name": "inner", "layers": [
                 {k: v for k, v in start.items() if k not in ("name", "inbound_nodes")},
                 described(2)]}}  # fmt: skip
    model = {
        "module": "keras.src.models.functional", "class_name": "Functional",
        "registered_name": "Functional", "compile_config": {}, "config": {
            "name": "m", "layers": [
                start, applied(described(0), "lookup_0"), applied(described(1), "lookup_1"),
                applied(inner, "inner"),
            ],
            "input_layers": [["s", 0, 0]],
            "output_layers": [[name, 0, 0] for name in ("lookup_0", "lookup_1", "inner")],
        },
    }  # fmt: skip
    buffer = io.BytesIO()
    h5py.File(buffer, "w").close()
    places = ["string_lookup", "string_lookup_1", "sequential/layers/string_lookup"]
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", buffer.getvalue())
        for place, words in zip(places, vocabularies, strict=True):
            lines = "\n".join(["[UNK]", *words])
            archive.writestr(f"assets/layers/{place}/vocabulary.txt", lines)
    found = load_model(tmp_path / "m.keras")(np.array([["oak", "ash"]], object))
    for y, words in zip(found, vocabularies, strict=True):
        known = [float(word in ("oak", "ash")) for word in words]
        assert np.asarray(y).tolist() == [[float(sum(known) < 2), *known]]


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"\xff\xfe", "UTF-8"), (b"-1\n7\nnine", "no integer"), (b"-1\n7\n7", "more than once")],
    ids=["bytes", "words", "twice"],
)
def test_vocabularies_that_do_not_fit(
    content: bytes, named: str, theirs: zipfile.ZipFile, tmp_path: Path
) -> None:
    data = theirs.read("IntegerLookup-int-adapted.keras")
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("vocabulary.txt") else old.read(name))
    with pytest.raises(ValueError, match=rf"m\.keras: .*{named}"):
        load_model(path)


@pytest.mark.parametrize(("mode", "dtype"), [("int", "int64"), ("one_hot", "float32")])
def test_codes_of_crosses_are_integers_in_keras(mode: str, dtype: str, tmp_path: Path) -> None:
    """Keras refuses another dtype, and writes this one."""
    inputs = [gpunn.Input((1,), dtype="int64", name=name) for name in "ab"]
    model = gpunn.Model(inputs, layers.HashedCrossing(5, output_mode=mode, name="c")(inputs))
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        found = json.loads(archive.read("config.json"))["config"]["layers"]
    assert next(one for one in found if one["name"] == "c")["config"]["dtype"] == dtype
    x = [np.array([[1], [2]]), np.array([[5], [7]])]
    codes = np.array([3, 2])  # those of Keras, on TensorFlow
    expected = codes[:, None] if mode == "int" else np.eye(5)[codes]
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras")(x), expected)
