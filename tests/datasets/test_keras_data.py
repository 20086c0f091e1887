"""Test Keras's data sets: from files in Keras's format, the same arrays as Keras's loaders give."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn import datasets
from gpunn.datasets import DatasetUnavailable, keras_files
from gpunn.datasets.idx import DataFileError
from gpunn.datasets.keras_files import KerasFile

DRAW = np.random.default_rng(3)


def lists(rows: int) -> np.ndarray:
    """Lists of two to nine words, as integers."""
    found = np.empty(rows, dtype=object)
    for row in range(rows):
        found[row] = DRAW.integers(1, 30, DRAW.integers(2, 10)).tolist()
    return found


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(folder: str, **members: dict[bytes, Any]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        for name, content in members.items():
            body = pickle.dumps(content)
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(body)
            made.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def images(rows: int, *labels: str) -> dict[bytes, Any]:
    bytes_ = DRAW.integers(0, 256, (rows, 3072), dtype=np.uint8)
    return {b"data": bytes_, **{n.encode(): DRAW.integers(0, 10, rows).tolist() for n in labels}}


CIFAR100 = {n: images(5, "fine_labels", "coarse_labels") for n in ("train", "test")}
HOUSES = npz(x=DRAW.normal(size=(700, 4)), y=DRAW.normal(size=700))
IMDB = npz(
    x_train=lists(40), y_train=DRAW.integers(0, 2, 40),
    x_test=lists(20), y_test=DRAW.integers(0, 2, 20),
)  # fmt: skip
REUTERS = npz(x=lists(50), y=DRAW.integers(0, 46, 50))

# module, the name of its file, the content, arguments of load_data
CASES: list[tuple[str, str, bytes, dict[str, Any]]] = [
    ("boston_housing", "BOSTON", HOUSES, {}),
    ("boston_housing", "BOSTON", HOUSES, {"test_split": 0.31, "seed": 4}),
    ("california_housing", "CALIFORNIA", HOUSES, {}),
    ("california_housing", "CALIFORNIA", HOUSES, {"version": "small"}),
    ("imdb", "IMDB", IMDB, {}),
    ("imdb", "IMDB", IMDB, {"num_words": 12, "skip_top": 5, "seed": 1, "maxlen": 8}),
    ("imdb", "IMDB", IMDB, {"num_words": 12, "oov_char": None, "start_char": None}),
    ("imdb", "IMDB", IMDB, {"start_char": None, "index_from": None}),
    ("reuters", "REUTERS", REUTERS, {}),
    ("reuters", "REUTERS", REUTERS, {"num_words": 12, "test_split": 0.5, "maxlen": 7}),
    ("cifar100", "CIFAR100", archive("cifar-100-python", **CIFAR100), {}),
    ("cifar100", "CIFAR100", archive("cifar-100-python", **CIFAR100), {"label_mode": "coarse"}),
]


@pytest.fixture
def home(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where Keras keeps its data sets; nothing is downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("GPUNN_OFFLINE", "1")
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    return tmp_path / "keras" / "datasets"


def substitute(module: Any, name: str, content: bytes, patch: pytest.MonkeyPatch) -> KerasFile:
    """Let gpunn accept this content as the file of a data set."""
    declared = replace(getattr(module, name), digest=hashlib.sha256(content).hexdigest())
    patch.setattr(module, name, declared)
    return declared


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[3]}")
def test_the_arrays_are_keras_s(
    keras: Any, case: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, constant, content, options = case
    module = getattr(datasets, name)
    declared = substitute(module, constant, content, monkeypatch)
    (home / declared.names[-1]).write_bytes(content)

    def get_file(*args: Any, **kwargs: Any) -> str:
        place = home / "for-keras"
        place.write_bytes(content)
        if kwargs.get("extract"):
            with tarfile.open(place) as packed:
                packed.extractall(home / "unpacked", filter="data")
            return str(home / "unpacked")
        return str(place)

    theirs = __import__(f"keras.src.datasets.{name}", fromlist=["load_data"])
    monkeypatch.setattr(theirs, "get_file", get_file)
    expected = theirs.load_data(**options)
    for ours_of, theirs_of in zip(module.load_data(**options), expected, strict=True):
        for ours, wanted in zip(ours_of, theirs_of, strict=True):
            assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_array_equal(ours, wanted)


def test_cifar10_colour_after_colour_row_after_row(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its page says: 1024 bytes each of red, green and blue; the first 32 are the first row.
    Keras's loader takes no file with fewer images."""
    members = {f"data_batch_{n}": images(2, "labels") for n in range(1, 6)}
    members["test_batch"] = images(3, "labels")
    content = archive("cifar-10-batches-py", **members)
    substitute(datasets.cifar10, "CIFAR10", content, monkeypatch)
    (home / "cifar-10-python.tar.gz").write_bytes(content)
    (x, y), (x_test, y_test) = datasets.cifar10.load_data()
    assert (x.shape, y.shape, x_test.shape) == ((10, 32, 32, 3), (10, 1), (3, 32, 32, 3))
    assert {a.dtype.name for a in (x, y, x_test, y_test)} == {"uint8"}
    fourth = members["data_batch_2"]
    assert (
        x[3, 5, 7].tolist()
        == fourth[b"data"][1, [5 * 32 + 7 + c * 1024 for c in range(3)]].tolist()
    )
    assert y[2:4, 0].tolist() == fourth[b"labels"]
    assert y_test[:, 0].tolist() == members["test_batch"][b"labels"]


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_words(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = getattr(datasets, name)
    words = {"the": 1, "café": 2}
    content = json.dumps(words).encode()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(module, "WORDS", replace(module.WORDS, digest=md5))
    (home / f"{name}_word_index.json").write_bytes(content)
    assert module.get_word_index() == words


def test_a_file_is_named_by_its_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boston = datasets.boston_housing
    substitute(boston, "BOSTON", HOUSES, monkeypatch)
    elsewhere = home / "mine.npz"
    elsewhere.write_bytes(HOUSES)
    assert boston.load_data(elsewhere)[0][0].shape == (560, 4)
    with pytest.raises(FileNotFoundError, match=r"other\.npz does not exist"):
        boston.load_data(home / "other.npz")
    elsewhere.write_bytes(IMDB)
    with pytest.raises(DataFileError, match="expected Boston housing, whose SHA256"):
        boston.load_data(elsewhere)


def test_what_is_nowhere_says_where_to_get_it(home: Path) -> None:
    (home / "imdb.npz").write_bytes(b"damaged")
    with pytest.raises(DatasetUnavailable) as refused:
        datasets.imdb.load_data("imdb.npz")  # Keras's default, which names no folder
    message = str(refused.value)
    assert "imdb.npz: expected IMDB, whose SHA256" in message
    assert "not tried, GPUNN_OFFLINE is set" in message
    assert f"put imdb.npz from {keras_files.ADDRESS}imdb.npz into" in message


def test_a_pickle_runs_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (home / "harm",))

    bad = np.empty(1, dtype=object)
    bad[0] = Harm()
    content = npz(x=bad, y=np.zeros(1))
    substitute(datasets.reuters, "REUTERS", content, monkeypatch)
    (home / "reuters.npz").write_bytes(content)
    with pytest.raises(DataFileError, match="is not allowed in a file of arrays"):
        datasets.reuters.load_data()
    assert not (home / "harm").exists()


def test_what_is_fetched_is_kept(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GPUNN_OFFLINE")
    served = tmp_path / "served.npz"
    served.write_bytes(HOUSES)
    boston = datasets.boston_housing
    declared = substitute(boston, "BOSTON", HOUSES, monkeypatch)
    monkeypatch.setattr(boston, "BOSTON", replace(declared, address=served.as_uri()))
    assert boston.load_data()[0][0].shape == (560, 4)
    served.unlink()
    assert boston.load_data()[1][0].shape == (140, 4)
    assert [p.name for p in cache.parent.iterdir()] == ["served.npz"]
