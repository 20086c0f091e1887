"""Test preprocessing layers against Keras 3's worked examples and values of Keras 3.15."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.impute import SimpleImputer

import gpunn

layers = gpunn.layers
CODES = np.array([[0, 1], [0, 0], [1, 2], [3, 1]])


@pytest.mark.parametrize(
    ("mode", "codes", "expected"),
    [
        ("one_hot", [3, 2, 0, 1], np.eye(4)[[3, 2, 0, 1]]),
        ("one_hot", [[3], [1]], np.eye(4)[[3, 1]]),
        ("one_hot", CODES, np.eye(4)[CODES]),
        ("multi_hot", CODES, [[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]),
        ("multi_hot", [0, 3, 3], [1, 0, 0, 1]),
        ("count", CODES, np.eye(4)[CODES].sum(1)),
    ],
)
def test_category_encoding(mode: str, codes: Any, expected: Any) -> None:
    assert_array_equal(layers.CategoryEncoding(4, mode)(codes), expected)


def test_category_encoding_counts_weights() -> None:
    weights = np.array([[0.1, 0.2], [0.1, 0.1], [0.2, 0.3], [0.4, 0.2]])
    found = layers.CategoryEncoding(4, "count")(CODES, count_weights=weights)
    expected = [[0.1, 0.2, 0, 0], [0.2, 0, 0, 0], [0, 0.2, 0.3, 0], [0, 0.2, 0, 0.4]]
    assert_allclose(found, expected, rtol=1e-6)


STRINGS = [["a", "c", "d"], ["d", "z", "b"]]
UNKNOWN = ["new", "é1", "zz" * 5, "q" * 17, "x" * 33, "y" * 65, "t" * 200]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [[1, 3, 4], [4, 0, 2]]),
        ({"mask_token": "d"}, [[2, 4, 0], [0, 1, 3]]),
        ({"mask_token": "", "num_oov_indices": 2}, [[3, 5, 6], [6, 2, 4]]),
        ({"output_mode": "multi_hot"}, [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]),
        ({"output_mode": "count", "mask_token": "d"}, [[0, 1, 0, 1], [1, 0, 1, 0]]),
        (
            {"output_mode": "tf_idf", "idf_weights": [0.25, 0.75, 0.6, 0.4]},
            [[0, 0.25, 0, 0.6, 0.4], [0.5, 0, 0.75, 0, 0.4]],
        ),
    ],
)
def test_string_lookup(arguments: Any, expected: Any) -> None:
    words = ["a", "b", "c", *(["d"] if arguments.get("mask_token") != "d" else [])]
    layer = layers.StringLookup(vocabulary=words, **arguments)
    assert_allclose(layer(STRINGS), expected, rtol=1e-6)


def test_unknown_strings_take_the_codes_that_tensorflow_gives_them() -> None:
    layer = layers.StringLookup(vocabulary=["a"], num_oov_indices=1000)
    assert layer(UNKNOWN).tolist() == [279, 24, 194, 545, 935, 76, 581]
    numbers = layers.IntegerLookup(vocabulary=[1], num_oov_indices=4, oov_method="farmhash")
    assert numbers([5, 6, 7, -9]).tolist() == [3, 3, 0, 0]
    assert layers.IntegerLookup(vocabulary=[1], num_oov_indices=4)([5, 6, 7, -9]).tolist() == [
        1, 2, 3, 3,
    ]  # fmt: skip


def test_a_vocabulary_is_ordered_by_how_often_its_entries_occur() -> None:
    layer = layers.StringLookup(max_tokens=4, mask_token="m")
    layer.adapt([["b", "a", "c"], ["c", "a", "m"], ["b", "d", "[UNK]"]])
    assert layer.get_vocabulary() == ["m", "[UNK]", "c", "b"]
    assert layer.vocabulary_size() == 4
    back = layers.StringLookup(vocabulary=layer.get_vocabulary(), mask_token="m", invert=True)
    assert back(layer([["b", "c", "d"]])).tolist() == [["b", "c", "[UNK]"]]
    numbers = layers.IntegerLookup(output_mode="tf_idf")
    numbers.adapt([[7, 7], [7, 10**15]])
    weights = np.log(1 + 2 / (1 + np.array([2, 1])))
    assert_allclose(numbers([[7, 10**15, 7]]), [[0, 2 * weights[0], weights[1]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "vocabulary"), [(layers.StringLookup, ["[UNK]"]), (layers.IntegerLookup, [-1])]
)
def test_a_vocabulary_of_nothing_but_unknown_values_is_refused(kind: Any, vocabulary: Any) -> None:
    with pytest.raises(ValueError, match="vocabulary holds nothing but"):
        kind(vocabulary=vocabulary)


VALUES = np.random.default_rng(5).normal(5, 3, (200, 3)).astype("float32")


@pytest.mark.parametrize(
    ("bins", "epsilon", "parts", "boundaries"),
    [
        (5, 0.2, 1, [2.297616, 4.1118269, 5.6675892, 7.4190893]),
        (5, 0.2, 2, [2.4134312, 4.1978369, 5.7555733, 7.4956894]),
    ],
)
def test_discretization(bins: int, epsilon: float, parts: int, boundaries: Any) -> None:
    layer = layers.Discretization(num_bins=bins, epsilon=epsilon)
    layer.adapt(VALUES if parts == 1 else iter([VALUES[:50], VALUES[50:]]))
    assert_allclose(layer.bin_boundaries, boundaries, rtol=1e-6)
    assert_array_equal(layer(VALUES[:5]), np.digitize(VALUES[:5], layer.bin_boundaries))


@pytest.mark.parametrize("axis", [-1, None, 1, (1, 2)])
@pytest.mark.parametrize("batches", [False, True])
def test_normalization(axis: Any, batches: bool) -> None:
    data = VALUES.reshape(50, 4, 3)
    layer = layers.Normalization(axis=axis)
    layer.adapt(iter([data[:20], data[20:]]) if batches else data)
    kept = {None: (), -1: (2,), 1: (1,)}.get(axis, axis)
    around = tuple(k for k in range(3) if k not in kept)
    exact = data.astype(np.float64)
    mean, variance = exact.mean(around, keepdims=True), exact.var(around, keepdims=True)
    assert_allclose(layer.mean, mean, rtol=1e-6)
    assert_allclose(layer.variance, variance, rtol=1e-6)
    assert_allclose(layer(data[:3]), (exact[:3] - mean) / np.sqrt(variance), rtol=1e-4, atol=1e-5)
    assert [w.name for w in layer.weights] == ["mean", "variance", "count"]


def test_normalization_by_given_numbers() -> None:
    x = np.array([[1.0, 2.0, 3.0], [5.0, 4.0, 3.5]])
    layer = layers.Normalization(mean=[1, 2, 3], variance=[4, 5, 0])
    expected = (x - [1, 2, 3]) / np.maximum(np.sqrt([4, 5, 0]), 1e-7)
    assert_allclose(layer(x), expected, rtol=1e-6)
    back = layers.Normalization(mean=3, variance=2, invert=True)
    assert_allclose(back(x), x * np.sqrt(2) + 3, rtol=1e-6)
    assert not back.weights


@pytest.mark.parametrize("strategy", ["median", "mean", "constant"])
def test_gaps_are_filled_as_scikit_learn_does(tmp_path: Any, strategy: str) -> None:
    random = np.random.default_rng(0)
    x = np.where(random.random((40, 3)) < 0.3, np.nan, random.standard_normal((40, 3)))
    theirs = SimpleImputer(strategy=strategy, fill_value=7.0, add_indicator=True).fit(x)
    own = layers.SimpleImputer(strategy, 7.0 if strategy == "constant" else None)
    own.adapt(x)
    inputs = gpunn.Input((3,))
    outputs = layers.Concatenate()([own(inputs), layers.MissingIndicator()(inputs)])
    model = gpunn.Model(inputs, outputs)
    model.save(tmp_path / "m.gpunn")
    gaps = np.array([[None, 1, 2.0], [3.0, np.nan, None]], object)
    for made in (model, gpunn.saving.load_model(tmp_path / "m.gpunn")):
        assert_allclose(made.predict(x, verbose=0), theirs.transform(x), rtol=1e-6)
        expected = theirs.transform(gaps.astype(float))
        assert_allclose(made.predict(gaps, verbose=0), expected, rtol=1e-6)
    with pytest.raises(TypeError, match=r"x holds 'a' at \[0, 1\]; numbers are expected"):
        model.predict(np.array([[1.0, "a", None]], object), verbose=0)
    with pytest.raises(ValueError, match=r"no number at index 1 of the last axis"):
        layers.SimpleImputer().adapt([[1.0, None], [2.0, None]])
    with pytest.raises(ValueError, match=r"call simple_imputer.*\.adapt\(data\) first"):
        layers.SimpleImputer()([[1.0]])


@pytest.mark.parametrize(
    "missing",
    [None, float("nan"), np.float32("nan"), np.datetime64("NaT", "D"), np.timedelta64("NaT", "s")],
)
def test_a_lookup_leaves_out_what_is_missing(missing: Any) -> None:
    column = np.empty(3, object)
    column[:] = ["oak", missing, "elm"]
    layer = layers.StringLookup()
    layer.adapt(column)
    assert layer.get_vocabulary() == ["[UNK]", "oak", "elm"]


SEPARATORS = "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_a_vocabulary_end_at_newlines_only(tmp_path: Any, mark: bytes, end: str) -> None:
    words = ["oak", *(f"a{c}b" for c in SEPARATORS), "elm \u00e9", "ash"]
    path = tmp_path / "words.txt"
    for last in ("", end):
        path.write_bytes(mark + end.join(words).encode() + last.encode())
        for given in (str(path), path):
            layer = layers.StringLookup(vocabulary=given)
            assert layer.get_vocabulary() == ["[UNK]", *words]
            assert layer(words).tolist() == list(range(1, len(words) + 1))
            texts = layers.TextVectorization(vocabulary=given, standardize=None, split=None)
            assert texts(words)[:, 0].tolist() == list(range(2, len(words) + 2))
    later = layers.StringLookup()
    later.set_vocabulary(path)
    assert later.get_vocabulary() == ["[UNK]", *words]
    path.write_bytes(mark + end.join(["12", "-3", str(2**40)]).encode())
    assert layers.IntegerLookup(vocabulary=str(path))([12, -3, 2**40, 7]).tolist() == [1, 2, 3, 0]


def test_a_vocabulary_has_the_encoding_of_the_layer(tmp_path: Any) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\u00e4\n\u00f6\n".encode("latin-1"))
    layer = layers.StringLookup(vocabulary=str(path), encoding="latin-1")
    assert layer(["\u00f6", b"\xe4"]).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("StringLookup", "oak\nelm".encode("utf-16"), "words.txt is encoded in UTF-16.*as UTF-8"),
        ("StringLookup", "oak\nelm".encode("utf-32"), "words.txt is encoded in UTF-32.*as UTF-8"),
        ("TextVectorization", b"oak\nel\xffm", r"line 2 of .*words.txt.*byte 0xff.*as UTF-8"),
        ("IntegerLookup", b"\xfe\xff\x001", "words.txt is encoded in UTF-16"),
        ("IntegerLookup", b"1\n2\nelm\n", "line 3 of .*words.txt.*'elm'.*integer"),
        ("IntegerLookup", b"1\n\n2\n", "line 2 of .*words.txt.*''.*integer"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(
    tmp_path: Any, kind: str, content: bytes, message: str
) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        getattr(layers, kind)(vocabulary=str(path))
    with pytest.raises(FileNotFoundError, match=r"no file wrods\.txt: a vocabulary is a list"):
        getattr(layers, kind)(vocabulary="wrods.txt")
