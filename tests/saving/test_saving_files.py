"""Test the file format: exact round trips, atomic writes, and rejection of damaged files."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gpunn.saving import files

DOCUMENT = {
    "kind": "test",
    "weights": {"dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "states": [{"best": 0.1, "wait": 2}, {"arrays": [np.zeros((0, 3)), np.array(7)]}],
    "none": None,
    "worst": [float("inf"), -float("inf")],
}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text(min_size=1).filter(lambda key: not key.startswith("$") and "/" not in key)
tensors = arrays.arrays(
    st.sampled_from([np.dtype(name) for name in files.DTYPES.values()]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
trees = st.recursive(
    scalars | tensors,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def tampered(path, change):
    """Rewrite the JSON of a file with ``change`` applied to the text or the document.

    The checksum is updated for a changed document, and kept for a changed text."""
    with open(path, "rb") as stream:
        data = stream.read()
    length = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + length])["__metadata__"]["gpunn"]
    tensors = safetensors.numpy.load(data)
    if isinstance(change, tuple):
        assert change[0] in text
        text = text.replace(*change)
    else:
        envelope = json.loads(text)
        change(envelope, tensors)
        if "crc32" in envelope:
            envelope["crc32"] = zlib.crc32(json.dumps(envelope["document"]).encode())
        text = json.dumps(envelope)
    with open(path, "wb") as stream:
        stream.write(safetensors.numpy.save(tensors, {"gpunn": text}))


@settings(max_examples=60)
@given(st.dictionaries(keys, trees, max_size=4))
def test_any_document_comes_back_bit_for_bit(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("files") / "any name"
    files.write(path, document)
    assert same(document, files.read(path))


def test_nan_comes_back(tmp_path):
    files.write(tmp_path / "f", {"loss": [float("nan"), np.float32(0.1)]})
    nan, tenth = files.read(tmp_path / "f")["loss"]
    assert nan != nan and tenth == float(np.float32(0.1))


def test_arrays_may_be_views_or_of_the_other_byte_order(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    files.write(tmp_path / "f", {"t": values.T, "swapped": values.astype(">f8")})
    back = files.read(tmp_path / "f")
    assert same(back, {"t": np.ascontiguousarray(values.T), "swapped": values})
    back["t"][0, 0] = 5  # loaded arrays are writable


def test_a_file_is_safetensors_and_its_json_is_plain(tmp_path):
    files.write(tmp_path / "f", DOCUMENT)
    data = (tmp_path / "f").read_bytes()
    kernel = safetensors.numpy.load(data)["weights/dense/kernel"]
    assert np.array_equal(kernel, DOCUMENT["weights"]["dense/kernel"])


def test_equal_documents_give_equal_bytes_in_any_process(tmp_path):
    script = (
        "import sys, numpy as np; from gpunn.saving import files;"
        "files.write(sys.argv[1], {'a': {n: np.arange(4.0) for n in 'zyxw'}, 'b': 1.5})"
    )
    contents = []
    for seed in ("1", "2"):
        path = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, path], env=environment, check=True)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["folder/", "there"])
def test_a_folder_holds_the_file_and_a_readable_copy(tmp_path, name):
    (tmp_path / "there").mkdir()
    path = os.path.join(tmp_path, name)
    files.write(path, DOCUMENT)
    assert sorted(os.listdir(path)) == ["model.json", "model.safetensors"]
    assert same(files.read(path), DOCUMENT)
    copy = os.path.join(path, "model.json")
    with open(copy) as stream:
        text = stream.read()
    assert json.loads(text)["document"]["states"][0] == {"best": 0.1, "wait": 2}
    with open(copy, "w") as stream:
        stream.write(text.replace("0.1", "0.2"))
    with pytest.raises(ValueError, match=r"model\.json is not a copy"):
        files.read(path)
    os.remove(copy)
    assert same(files.read(path), DOCUMENT)


def test_parents_are_made_and_symbolic_links_kept(tmp_path):
    files.write(tmp_path / "a" / "b" / "f", DOCUMENT)
    os.symlink(tmp_path / "a" / "b" / "f", tmp_path / "link")
    files.write(tmp_path / "link", {"new": 1})
    assert (tmp_path / "link").is_symlink()
    assert files.read(tmp_path / "a" / "b" / "f") == {"new": 1}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    files.write(tmp_path / "f", DOCUMENT)

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        files.write(tmp_path / "f", {"new": 1})
    assert os.listdir(tmp_path) == ["f"]
    assert same(files.read(tmp_path / "f"), DOCUMENT)


def test_the_data_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    files.write(tmp_path / "f", DOCUMENT)
    assert done == ["fsync", "rename", "fsync"]


@pytest.mark.parametrize(
    ("document", "entry"),
    [
        ({"a": {"b": object()}}, "'a/b' is <object"),
        ({"a": [np.array([None])]}, "'a/0' is an array of dtype object"),
        ({"a": {1: 2}}, "'a' has the key 1"),
        ({"a": {"$float": "nan"}}, "'a' has the key '[$]float'"),
        ({"a": {"b": np.ones(1)}, "a/b": np.ones(1)}, "same path 'a/b'"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path, document, entry):
    with pytest.raises(ValueError, match=entry):
        files.write(tmp_path / "f", document)
    assert not os.listdir(tmp_path)


def test_a_missing_file_raises_with_the_closest_name(tmp_path):
    files.write(tmp_path / "model.gpunn", DOCUMENT)
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'model\.gpunn'"):
        files.read(tmp_path / "modle.gpunn")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        files.read(tmp_path)
    (tmp_path / "saved_model.pb").touch()  # TensorFlow's
    with pytest.raises(ValueError, match=r"SavedModel folder of TensorFlow.*save it.*\.h5"):
        files.read(tmp_path)


class Bomb:
    def __reduce__(self):
        return os._exit, (1,)


def test_other_kinds_of_files_are_refused_unopened(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="f: it is a pickle"):
        files.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="f: it is a zip archive"):
        files.read(path)
    path.write_bytes(safetensors.numpy.save({"a": np.ones(3)}))
    with pytest.raises(ValueError, match=r"not one of gpunn's"):
        files.read(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="f: it is not a safetensors file"):
        files.read(path)


def edit(*place, value):
    def change(envelope, tensors):
        target = envelope["document"]
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = value

    return change


def rename(envelope, tensors):
    tensors["other"] = tensors.pop("weights/dense/kernel")


def surplus(envelope, tensors):
    tensors["other"] = np.ones(2)


def reshape(envelope, tensors):
    tensors["weights/dense/kernel"] = tensors["weights/dense/kernel"].T.copy()


def retype(envelope, tensors):
    tensors["weights/dense/kernel"] = tensors["weights/dense/kernel"].astype(np.float64)


def change_value(envelope, tensors):
    tensors["weights/dense/kernel"] = tensors["weights/dense/kernel"] + np.float32(1e-3)


def twice(envelope, tensors):
    weights = envelope["document"]["weights"]
    weights["other"] = weights["dense/kernel"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, "tensor 'weights/dense/kernel' is missing"),
        (surplus, "tensor 'other' belongs to nothing"),
        (reshape, r"'weights/dense/kernel' has shape \[3, 2\], not \[2, 3\]"),
        (retype, "'weights/dense/kernel' has dtype float64, not float32"),
        (change_value, "'weights/dense/kernel' are damaged"),
        (twice, "'weights/dense/kernel' is used twice"),
        (edit("weights", "dense/kernel", "shape", value=[6]), "has shape"),
        (edit("weights", "dense/kernel", "$tensor", value=3), "does not describe a tensor"),
        (edit("worst", 0, "$float", value="7"), "not a number"),
        (('"version": 2', '"version": 3'), "written by a newer gpunn"),
        (('"version": 2', '"version": 1'), "format version 1 is not one"),
        (('"version": 2', '"version": true'), "format version True"),
        (('"version": 2', '"version": "x"'), "format version 'x'"),
        (('"version": 2', '"version": 2, "more": 1'), "format version 2 is not one"),
        (('"crc32": ', '"crc3": '), "format version 2 is not one"),
        (('"wait": 2', '"wait": 3'), "settings and states are damaged"),
        (('"best": 0.1', '"best": 4.1'), "settings and states are damaged"),
        (('"wait": 2', '"wait": NaN'), "number NaN is not finite"),
        (('"wait": 2', '"wait": 1e999'), "number 1e999 is not finite"),
        (('"wait": 2', '"wait": 2, "wait": 3'), "'wait' occurs twice"),
        (('"wait": 2', '"wait": '), "bad JSON"),
        (('"wait": 2', '"wait": ' + "[" * 100000), "bad JSON|recursion|Stack overflow"),
        (('"wait": 2', '"wait": ' + "9" * 5000), "integer string conversion"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    path = tmp_path / "model.gpunn"
    files.write(path, DOCUMENT)
    tampered(path, change)
    with pytest.raises(ValueError, match=rf"model\.gpunn: (.|\n)*({message})"):
        files.read(path)


mutations = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**9), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 10**9), st.integers(1, 40)),
    st.tuples(st.just("insert"), st.integers(0, 10**9), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("truncate"), st.integers(0, 10**9), st.none()),
)


def mutate(data, how, where, what):
    where %= len(data)
    if how == "flip":
        return data[:where] + bytes([data[where] ^ what]) + data[where + 1 :]
    if how == "cut":
        return data[:where] + data[where + what :]
    if how == "insert":
        return data[:where] + what + data[where:]
    return data[:where]


@settings(max_examples=200)
@given(st.lists(mutations, min_size=1, max_size=3))
def test_a_damaged_file_is_an_error_that_names_it_or_does_no_harm(tmp_path_factory, damage):
    path = tmp_path_factory.mktemp("damaged") / "model.gpunn"
    files.write(path, DOCUMENT)
    data = path.read_bytes()
    for step in damage:
        data = mutate(data, *step) or b"\0"
    path.write_bytes(data)
    try:
        document = files.read(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert same(document, DOCUMENT)


def test_no_single_bit_can_change(tmp_path):
    """Each bit of the header and the settings in turn."""
    path = tmp_path / "model.gpunn"
    files.write(path, {"rate": 0.001, "weights": np.ones(2, np.float32), "name": "a"})
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"model\.gpunn: "):
            files.read(path)


# Written by the first version, which had no checksum of the settings.
OLD = (
    b'\xe8\x01\0\0\0\0\0\0{"__metadata__":{"gpunn":"{\\"version\\": 1, \\"document\\": {\\"kind'
    b'\\": \\"weights\\", \\"weights\\": {\\"dense/kernel\\": {\\"$tensor\\": \\"weights/dense/kern'
    b'el\\", \\"dtype\\": \\"float32\\", \\"shape\\": [2, 2], \\"crc32\\": 627055499}, \\"dense/b'
    b'ias\\": {\\"$tensor\\": \\"weights/dense/bias\\", \\"dtype\\": \\"float32\\", \\"shape\\": ['
    b'2], \\"crc32\\": 638502504}}}}"},"weights/dense/bias":{"dtype":"F32","shape":[2],"da'
    b'ta_offsets":[0,8]},"weights/dense/kernel":{"dtype":"F32","shape":[2,2],"data_offset'
    b's":[8,24]}}   \0\0\0?\0\0\x80\xbf\0\0\0\0\0\0\x80?\0\0\0@\0\0@@'
)


def test_files_of_the_first_version_still_load(tmp_path):
    path = tmp_path / "model.gpunn"
    files.write(path, DOCUMENT)

    def first_version(envelope, tensors):
        envelope["version"] = 1
        del envelope["crc32"]

    tampered(path, first_version)
    assert same(files.read(path), DOCUMENT)
    path.write_bytes(OLD)
    weights = {
        "dense/kernel": np.arange(4, dtype=np.float32).reshape(2, 2),
        "dense/bias": np.array([0.5, -1], np.float32),
    }
    assert same(files.read(path), {"kind": "weights", "weights": weights})


def header_of(path):
    return int.from_bytes(path.read_bytes()[:8], "little")


def test_a_long_header_is_read_only_if_asked_for(tmp_path):
    """The time grows with the number of keys; quadratic time would not finish."""
    path = tmp_path / "model.gpunn"
    many = {"entries": {f"key {i}": i for i in range(200_000)}}
    files.write(path, many)
    length = header_of(path)
    with pytest.raises(ValueError, match=rf"model\.gpunn: .* pass max_header={length}"):
        files.read(path, max_header=length - 1)
    assert files.read(path, max_header=length) == many
    path.write_bytes((10**15).to_bytes(8, "little") + b"{")
    with pytest.raises(ValueError, match="truncated"):
        files.read(path)


def test_what_has_a_long_header_is_written_with_a_warning_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.gpunn"
    monkeypatch.setattr(files, "MAX_HEADER", 100)
    with pytest.warns(UserWarning, match=r"model\.gpunn has .*: load it with max_header="):
        files.write(path, DOCUMENT)
    before = path.read_bytes()
    monkeypatch.setattr(files, "HEADER_LIMIT", 300)
    with pytest.raises(ValueError, match="which no program can read again"):
        files.write(path, {**DOCUMENT, "more": "x" * 300})
    assert path.read_bytes() == before
