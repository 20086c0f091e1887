"""Texts in folders, and padded sequences, beside Keras."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn import layers
from gpunn.utils import pad_sequences, text_dataset_from_directory

SEQUENCES: list[list[Any]] = [[1], [], [2, 3, 4], [5, 6]]
TEXTS = {
    "good": ["A fine film.", "fine, fine, fine", "so fine \u00fc", "Fine and good!"],
    "bad": ["Dull.", "a dull and bad film", "bad", "so bad"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, texts in TEXTS.items():
        (tmp_path / name).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / name / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "bad" / "notes.md").write_text("not a text")
    return tmp_path


@pytest.mark.parametrize("maxlen", [None, 2, 5])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
def test_padding_is_kerass(keras: Any, maxlen: Any, padding: str, truncating: str) -> None:
    for dtype, value in itertools.product(("int32", "float32"), (0.0, -1)):
        options = maxlen, dtype, padding, truncating, value
        expected = keras.utils.pad_sequences(SEQUENCES, *options)
        found = pad_sequences(SEQUENCES, *options)
        assert found.dtype == expected.dtype
        assert_array_equal(found, expected)


def test_padding_of_vectors_and_strings_is_kerass(keras: Any) -> None:
    vectors = [np.ones((2, 3)), np.zeros((0,)), np.ones((1, 3)) * 5]
    words = [["red", "tea"], ["milk"]]
    for sequences, options in (
        (vectors, {"dtype": "float64"}), (words, {"dtype": object, "value": "-"}),
    ):  # fmt: skip
        expected = keras.utils.pad_sequences(sequences, 2, **options)
        assert_array_equal(pad_sequences(sequences, 2, **options), expected)
    assert gpunn.preprocessing.sequence.pad_sequences is pad_sequences


def test_padding_without_entries() -> None:
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([[], []]).shape == (2, 0)
    assert pad_sequences([[1, 2]], maxlen=0).shape == (1, 0)  # Keras does not cut it off


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([[0.5]], {}, r"sequences\[0\] holds fractions.*dtype='float32'"),
        ([[2**40]], {}, r"sequences\[0\] holds numbers that int32 cannot"),
        ([[1]], {"value": 0.5}, "value holds fractions"),
        ([[1]], {"value": "-"}, "dtype=object"),
        ([[1], 2], {}, r"sequences\[1\] is no sequence, but 2"),
        ([[[1, 2]], [[1]]], {}, r"sequences\[1\] has entries of shape \(1,\), .* \(2,\)"),
        ([[1]], {"padding": "left"}, "padding must be one of pre, post"),
        ([[1]], {"maxlen": -1}, "maxlen must be"),
    ],
)
def test_what_cannot_be_padded(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad_sequences(given, **options)


def test_texts_are_read_by_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = text_dataset_from_directory(folder, shuffle=False, batch_size=3)
    assert capsys.readouterr().out == "Found 8 files belonging to 2 classes.\n"
    assert data.class_names == ["bad", "good"]
    batches = list(data)
    assert [len(y) for _, y in batches] == [3, 3, 2]
    assert np.concatenate([x for x, _ in batches]).tolist() == [*TEXTS["bad"], *TEXTS["good"]]
    assert np.concatenate([y for _, y in batches]).tolist() == [0] * 4 + [1] * 4
    (only,) = text_dataset_from_directory(folder, None, max_length=4, shuffle=False, verbose=False)
    assert only.tolist() == [text[:4] for text in [*TEXTS["bad"], *TEXTS["good"]]]
    single = next(iter(text_dataset_from_directory(folder, batch_size=None, verbose=False)))
    assert np.shape(single[0]) == np.shape(single[1]) == ()


def test_parts_are_kerass(folder: Path, keras: Any) -> None:
    from keras.src.utils import dataset_utils

    options = {"validation_split": 0.25, "subset": "both", "seed": 3, "verbose": False}
    parts = text_dataset_from_directory(folder, **options)
    paths, labels, _ = dataset_utils.index_directory(
        str(folder), "inferred", (".txt",), shuffle=True, seed=3, verbose=False
    )
    for part, subset in zip(parts, ("training", "validation"), strict=True):
        files, _ = dataset_utils.get_training_or_validation_split(paths, labels, 0.25, subset)
        assert part.file_paths == list(files)


def test_texts_train_a_model(folder: Path, every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    gpunn.utils.set_random_seed(1)
    data = text_dataset_from_directory(folder, batch_size=3, seed=1, verbose=False)
    vectorize = layers.TextVectorization(output_sequence_length=5)
    vectorize.adapt(data.map(lambda x, y: x))
    assert vectorize.get_vocabulary()[:4] == ["", "[UNK]", "fine", "bad"]
    chain = [layers.Embedding(vectorize.vocabulary_size(), 4), layers.Flatten()]
    model = gpunn.Sequential(
        [gpunn.Input((1,), dtype="string"), vectorize, *chain, layers.Dense(1, "sigmoid")]
    )
    model.compile(gpunn.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    model.fit(data, epochs=10, verbose=0)
    assert model.evaluate(data, verbose=0)[1] == 1.0
    # The other way: numbers are made while the data set is read.
    inner = gpunn.Sequential([gpunn.Input((5,), dtype="int64"), *chain, model.layers[-1]])
    inner.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    coded = data.map(lambda x, y: (vectorize(x), y))
    assert inner.evaluate(coded, verbose=0)[1] == 1.0


def test_bytes_that_are_not_utf8(folder: Path) -> None:
    (folder / "bad" / "0.txt").write_bytes(b"caf\xe9")
    ((x, _),) = text_dataset_from_directory(folder, shuffle=False, verbose=False)
    assert x[0] == "caf\ufffd"


def test_ends_of_lines_are_kept(folder: Path) -> None:
    (folder / "bad" / "0.txt").write_bytes(b"one\r\ntwo\rthree\n")
    ((x, _),) = text_dataset_from_directory(folder, shuffle=False, verbose=False)
    assert x[0] == "one\r\ntwo\rthree\n"


def test_folders_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    with pytest.raises(ValueError, match="no subfolders with texts"):
        text_dataset_from_directory(tmp_path)
    with pytest.raises(ValueError, match="format must be 'tf'"):
        text_dataset_from_directory(tmp_path, format="grain")
    with pytest.raises(ValueError, match="max_length"):
        text_dataset_from_directory(tmp_path, max_length=0)


@pytest.mark.parametrize("classes", [1, 2, 9, 10, 11, 12, 101])
@pytest.mark.parametrize("mode", ["int", "categorical"])
def test_any_number_of_classes_of_ones_own(tmp_path: Path, classes: int, mode: str) -> None:
    rows = [*range(classes), 0]
    for k in range(len(rows)):
        (tmp_path / f"{k:03}.txt").write_text(str(k))
    data = text_dataset_from_directory(
        tmp_path, labels=rows, label_mode=mode, shuffle=False, batch_size=7, verbose=False
    )
    names = [str(k) for k in range(classes)]
    assert data.class_names == names
    texts, labels = map(np.concatenate, zip(*data, strict=True))
    codes = labels.argmax(1) if mode == "categorical" else labels
    assert [int(text) for text in texts] == [*range(len(rows))]
    assert [int(names[code]) for code in codes] == rows
