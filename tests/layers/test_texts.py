"""Running text as codes and counts, and hashes, beside Keras's documentation and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_extraction.text import CountVectorizer

import gpunn
from gpunn import layers
from gpunn.common import registry
from gpunn.layers import Hashing, TextVectorization

TEXTS = ["The cat sat on the mat.", "The dog, the DOG!", "", "cat\tand  dog", "a mat"]
THREE = ["foo bar", "bar baz", "baz bada boom"]


def test_what_keras_documents() -> None:
    layer = TextVectorization(max_tokens=5000, output_mode="int", output_sequence_length=4)
    layer.adapt(THREE)
    assert layer([["foo qux bar"], ["qux baz"]]).tolist() == [[4, 1, 3, 0], [1, 2, 0, 0]]
    words = ["earth", "wind", "and", "fire"]
    layer = TextVectorization(5000, output_sequence_length=4, vocabulary=words)
    assert layer.get_vocabulary() == ["", "[UNK]", *words]
    assert layer.get_vocabulary(include_special_tokens=False) == words
    assert layer.vocabulary_size() == 6


def test_published_hashes() -> None:
    """The examples of Keras's `Hashing`; the last are the 64-bit numbers of FarmHash and SipHash
    modulo 3."""
    letters = [["A"], ["B"], ["C"], ["D"], ["E"]]
    assert_array_equal(Hashing(3)(letters), [[1], [0], [1], [1], [2]])
    masked = Hashing(3, mask_value="")([["A"], ["B"], [""], ["C"], ["D"]])
    assert_array_equal(masked, [[1], [1], [0], [2], [2]])
    assert_array_equal(Hashing(3, salt=[133, 137])(letters), [[1], [2], [1], [0], [2]])
    assert_array_equal(Hashing(3, salt=133)(letters), [[0], [0], [2], [1], [0]])


def test_hashes_of_integers_are_those_of_their_digits() -> None:
    numbers = np.array([[0, 7], [-3, 10**15]])
    for layer in (Hashing(100), Hashing(100, salt=5)):
        assert_array_equal(layer(numbers), layer(numbers.astype(str).astype(object)))
        assert_array_equal(layer(numbers), layer(numbers.astype("float64")))
    assert Hashing(9, mask_value=7)(numbers).tolist()[0][1] == 0


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count"])
def test_hashes_in_models(every_backend: str, mode: str) -> None:
    gpunn.use_backend(every_backend)
    x = np.array([["oak", "elm", "oak"], ["ash", "fir", "yew"]], object)
    layer = Hashing(5, output_mode=mode)
    codes = np.asarray(Hashing(5)(x))
    rows = np.eye(5)[codes]
    expected = {"int": codes, "one_hot": rows, "count": rows.sum(1), "multi_hot": rows.max(1)}
    assert_array_equal(layer(x), expected[mode])
    text = gpunn.Input((3,), dtype="string")
    model = gpunn.Model(text, layers.Rescaling(2.0)(layer(text)))
    assert_array_equal(model.predict(x), 2 * expected[mode])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Hashing(0), ValueError, "num_bins"),
        (lambda: Hashing(3, salt=[1, 2, 3]), ValueError, "salt must be an integer or two"),
        (lambda: Hashing(3)([["a"], [None]]), TypeError, r"holds None at \[1, 0\]"),
        (lambda: Hashing(3)([[1.5]]), TypeError, r"holds 1.5 at \[0, 0\]"),
        (lambda: Hashing(3, sparse=True), ValueError, "sparse"),
        (lambda: TextVectorization(output_mode="one_hot"), ValueError, "output_mode must be"),
        (lambda: TextVectorization(standardize="upper"), ValueError, "standardize must be"),
        (lambda: TextVectorization(split="words"), ValueError, "split must be"),
        (lambda: TextVectorization(ngrams=0), ValueError, "ngrams must be"),
        (lambda: TextVectorization(ragged=True), ValueError, "ragged"),
        (lambda: TextVectorization(mask_token="-"), TypeError, "mask_token"),
        (
            lambda: TextVectorization(output_mode="count", output_sequence_length=3),
            ValueError, "output_sequence_length requires output_mode='int'",
        ),
        (lambda: TextVectorization()(["a"]), ValueError, "has no vocabulary yet"),
        (lambda: TextVectorization(vocabulary=["a"])([1.5]), TypeError, r"holds 1.5 at \[0\]"),
        (
            lambda: TextVectorization(vocabulary=["a"])([["a", "b"]]), ValueError,
            r"\(1, 2\); .* splits texts",
        ),
        (
            lambda: TextVectorization(vocabulary=["a"], standardize=lambda x: x[:1])(["a", "b"]),
            ValueError, "standardize must return an array of the shape",
        ),
        (
            lambda: TextVectorization(vocabulary=["a"], split=lambda x: [["a"]])(["a", "b"]),
            ValueError, "split must return a list of words for each of 2 texts",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("ngrams", [None, 2, (2, 3)])
def test_counts_are_those_of_scikit_learn(ngrams: Any) -> None:
    layer = TextVectorization(output_mode="count", ngrams=ngrams)
    layer.adapt(TEXTS)
    words = layer.get_vocabulary(include_special_tokens=False)
    theirs = CountVectorizer(
        vocabulary=words, ngram_range={None: (1, 1), 2: (1, 2)}.get(ngrams, (2, 3)),
        token_pattern=r"[a-z]+",
    )  # fmt: skip
    counts = theirs.transform(TEXTS).toarray()
    found = np.asarray(layer(TEXTS))
    assert_array_equal(found[:, 1:], counts)
    assert not found[:, 0].any()
    assert set(words) == set(CountVectorizer(**{**theirs.get_params(), "vocabulary": None}).fit(
        TEXTS).get_feature_names_out())  # fmt: skip
    often = counts.sum(axis=0)
    assert [*words] == sorted(words, key=lambda w: (often[words.index(w)], w), reverse=True)
    for mode in ("multi_hot", "tf_idf"):
        other = TextVectorization(output_mode=mode, ngrams=ngrams)
        other.adapt(np.array(TEXTS)[:, None])
        weights = np.log(1 + len(TEXTS) / (1 + (counts > 0).sum(axis=0)))
        expected = {"multi_hot": counts > 0, "tf_idf": counts * weights}
        assert_allclose(np.asarray(other(TEXTS))[:, 1:], expected[mode], rtol=1e-6)


def test_codes_are_the_words_in_order() -> None:
    layer = TextVectorization()
    layer.adapt(iter([TEXTS[:2], TEXTS[2:]]))
    vocabulary = np.array(layer.get_vocabulary())
    codes = np.asarray(layer(TEXTS))
    assert codes.shape == (5, 6)  # the longest
    read = [" ".join(word for word in vocabulary[row] if word) for row in codes]
    assert read == ["the cat sat on the mat", "the dog the dog", "", "cat and dog", "a mat"]
    short = TextVectorization(
        output_sequence_length=3, vocabulary=layer.get_vocabulary(), max_tokens=50
    )
    assert_array_equal(short(TEXTS), codes[:, :3])
    assert_array_equal(short([None, b"a mat", "\u00c4 MAT"])[0], [0, 0, 0])
    assert short(["\u00c4 mat", b"mat"]).tolist()[1][0] == short("mat").tolist()[0]


def test_forms_of_words() -> None:
    given = ["A-b c", "\u00c4b"]
    found = {
        standard: [row for row in TextVectorization(standardize=standard, vocabulary=["x"]).rows_of(
            given, "x")] for standard in (None, "lower", "strip_punctuation",
                                          "lower_and_strip_punctuation")
    }  # fmt: skip
    assert found[None] == [["A-b", "c"], ["\u00c4b"]]
    assert found["lower"] == [["a-b", "c"], ["\u00c4b"]]  # of ASCII only, as in Keras
    assert found["strip_punctuation"] == [["Ab", "c"], ["\u00c4b"]]
    assert found["lower_and_strip_punctuation"] == [["ab", "c"], ["\u00c4b"]]
    letters = TextVectorization(split="character", vocabulary=["a", "b"])
    assert letters(["abA", "c"]).tolist() == [[2, 3, 2], [1, 0, 0]]
    whole = TextVectorization(split=None, vocabulary=["red tea", "tea"], output_mode="multi_hot")
    assert whole([["Red tea!", "milk"], ["tea", "tea"]]).tolist() == [[1, 1, 0], [0, 0, 1]]
    own = TextVectorization(
        standardize=lambda x: np.char.replace(x, "x", " "), split=lambda x: [s.split() for s in x],
        vocabulary=["a", "b"],
    )  # fmt: skip
    assert own(["axb", "bxxb a"]).tolist() == [[2, 3, 0], [3, 3, 2]]


def _shout(x: Any) -> Any:
    return np.char.upper(x)


@pytest.fixture
def shout() -> Iterator[None]:
    with registry.restored():
        gpunn.saving.register_serializable()(_shout)
        yield


@pytest.mark.usefixtures("shout")
@pytest.mark.parametrize("mode", ["int", "count", "tf_idf"])
def test_it_trains_in_a_model_and_is_saved(every_backend: str, mode: str, tmp_path: Path) -> None:
    gpunn.use_backend(every_backend)
    length = {"output_sequence_length": 6} if mode == "int" else {}
    layer = TextVectorization(output_mode=mode, standardize=_shout, **length)
    layer.adapt(TEXTS)
    chain = [layers.Embedding(layer.vocabulary_size(), 3), layers.Flatten()] if length else []
    model = gpunn.Sequential([gpunn.Input((1,), dtype="string"), layer, *chain, layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.array(TEXTS, object)[:, None]
    model.fit(x, np.ones(5), 2, 2, verbose=0)
    plain = gpunn.Sequential([*chain, model.layers[-1]])
    assert_allclose(model.predict(x), plain.predict(np.asarray(layer(x))), rtol=1e-6)
    model.save(tmp_path / "m.gpunn")
    again = gpunn.models.load_model(tmp_path / "m.gpunn")
    assert_array_equal(again.predict(x), model.predict(x))
    assert again.layers[0].get_config() == layer.get_config()


def test_the_longest_text_gives_the_length(every_backend: str, tmp_path: Path) -> None:
    gpunn.use_backend(every_backend)
    layer = TextVectorization()
    layer.adapt(TEXTS)
    text = gpunn.Input((1,), dtype="string")
    codes = layer(text)
    assert codes.shape == (None, None)
    y = layers.Dense(1)(gpunn.ops.sum(layers.Embedding(20, 3)(codes), 1))
    model = gpunn.Model(text, y)
    model.compile("sgd", "mse")
    x = np.array(TEXTS, object)[:, None]
    model.fit(x, np.ones(5), 2, verbose=0)
    model.fit(((x[k : k + 2], np.ones(2)) for k in (0, 2)), verbose=0)
    (table, kernel, bias), rows = model.get_weights(), np.asarray(layer(x[1:4]))
    assert_allclose(
        model.predict(x[1:4]), table[rows].sum(axis=1) @ kernel + bias, rtol=1e-5, atol=1e-6
    )
    model.save(tmp_path / "m.gpunn")
    assert_array_equal(gpunn.models.load_model(tmp_path / "m.gpunn").predict(x), model.predict(x))


def test_functions_that_no_file_can_hold() -> None:
    layer = TextVectorization(vocabulary=["a"], split=lambda x: [s.split(",") for s in x])
    with pytest.raises(ValueError, match="split is a function, which no file can hold"):
        layer.get_config()


def test_the_vocabulary_is_cut_and_padded() -> None:
    layer = TextVectorization(4, output_mode="count", pad_to_max_tokens=True)
    layer.adapt(TEXTS)
    assert layer.get_vocabulary() == ["[UNK]", "the", "dog", "mat"]
    few = TextVectorization(6, output_mode="count", pad_to_max_tokens=True, vocabulary=["the"])
    assert few(["the dog the"]).tolist() == [[1, 2, 0, 0, 0, 0]]


def test_pages_and_onnx_refuse_it(tmp_path: Path) -> None:
    layer = TextVectorization(vocabulary=["a"], output_sequence_length=2)
    model = gpunn.Sequential([gpunn.Input((1,), dtype="string"), layer, layers.Dense(1)])
    with pytest.raises(Exception, match="TextVectorization"):
        model.export(tmp_path / "m.onnx")


@pytest.mark.parametrize("mode", ["int", "multi_hot"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_model_of_texts_is_a_layer_of_another(mode: str, shape: tuple[int, ...]) -> None:
    length = {"output_sequence_length": 4} if mode == "int" else {}
    vectorize = layers.TextVectorization(10, output_mode=mode, **length)
    vectorize.adapt(["a b", "c d"])
    inside = [layers.Embedding(10, 3), layers.Flatten()] if mode == "int" else []
    model = gpunn.Sequential([
        gpunn.Input(shape, dtype="string"), vectorize, *inside, layers.Dense(2)
    ])  # fmt: skip
    x = np.array(["a b c", "d", "e a a a a"], object).reshape(-1, *shape)
    expected = model.predict(x, verbose=0)
    text = gpunn.Input(shape, dtype="string")
    whole = gpunn.Model(text, layers.Rescaling(2.0)(model(text)))
    assert_allclose(whole.predict(x, verbose=0), 2 * expected, rtol=1e-6)
    whole.compile("sgd", "mse")
    assert np.isfinite(whole.fit(x, expected, verbose=0).history["loss"][0])
