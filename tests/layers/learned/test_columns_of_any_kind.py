"""Layers that read columns read the same values alike, whatever holds them, and invert codes."""

from __future__ import annotations

import copy
import datetime
import itertools
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from properties import columns

import gpunn
from gpunn import layers
from gpunn.layers.preprocessing.on_host import HostLayer

MOMENT = datetime.datetime
VALUES: dict[str, columns.Values] = {
    "texts": ["a", None, "b", "zażółć 日本", "a"],
    "integers": [3, None, 10**12, 2**53 + 1, -4],
    "floats": [0.5, None, -2.5, 1e9, 3.0],
    "dates": [MOMENT(2024, 2, 29, 17, 30), None, MOMENT(1969, 1, 2), MOMENT(2040, 12, 31, 23, 59)],
}
MORE = {"texts": columns.OF_TEXTS, "dates": columns.OF_DATES}
HOSTS = [
    (name, options)
    for name, options in registered.cases("layer")
    if issubclass(type(registered.make("layer", name, options)), HostLayer)
]


def known(values: columns.Values) -> columns.Values:
    return [value for value in values if value is not None]


def outcome(read: Any, column: Any) -> Any:
    """Return what a function gives for a column, or that it refuses it."""
    try:
        return np.asarray(read(column)).tolist()
    except (TypeError, ValueError) as error:
        assert str(error), "a refusal says why"
        return "refused"


def cases() -> list[Any]:
    """Each layer with each kind of values; `make test` takes those that the layer reads."""
    found = []
    for name, options in HOSTS:
        for kind, values in VALUES.items():
            reads = outcome(registered.make("layer", name, options), known(values)) != "refused"
            marks = () if reads else pytest.mark.more
            found.append(pytest.param(name, options, kind, marks=marks))
    return found


@pytest.mark.parametrize(("name", "options", "kind"), cases(), ids=registered.label)
def test_a_column_of_any_kind_is_read_as_a_list(name: str, options: Any, kind: str) -> None:
    layer = registered.make("layer", name, options)
    x = gpunn.Input((1,), dtype="string" if kind in ("texts", "dates") else "float32")
    model = gpunn.Model(x, layer(x))
    for values in (VALUES[kind], known(VALUES[kind])):
        reads = [layer, lambda column: model.predict(column, verbose=0)]
        for read in reads if None in values else reads[:1]:
            expected = outcome(read, values)
            more = {} if expected == "refused" else MORE.get(kind, {})  # some are texts
            for made, make in {**columns.COLUMNS, **more}.items():
                found = outcome(read, make(values))
                np.testing.assert_equal(found, expected, err_msg=made)


# -- codes and back

WORDS = ["", " ", "a", "A", "é", "e\u0301", "日本", "🌳", "a b", "10", "9", "1", "x" * 300]


def vocabulary(r: random.Random, texts: bool, count: int, large: bool) -> list[Any]:
    if texts:
        words = [*WORDS, *(f"w{k}" for k in range(count))]
        return r.sample(words, count)
    beyond = [2**53 + 1, 2**53, -(2**63), 2**63 - 1] if large else []
    return r.sample([*range(-9, -1), *range(2 * count), *beyond], count)


def lookup(r: random.Random, texts: bool, count: int, **options: Any) -> tuple[Any, list[Any]]:
    """Return a lookup with drawn options, and its vocabulary."""
    words = vocabulary(r, texts, count, not options.get("invert"))  # no tensor holds large ones
    options = {"num_oov_indices": r.choice([0, 1, 1, 3]), **options}
    if r.random() < 0.5:
        options["mask_token"] = "mask" if texts else -77
    cls = layers.StringLookup if texts else layers.IntegerLookup
    return cls(vocabulary=words, **options), words


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("count", [1, 9, 11, 120])
def test_codes_far_beyond_the_vocabulary_are_inverted_or_unknown(texts: bool, count: int) -> None:
    r = random.Random(count)
    for _ in range(2):
        back, words = lookup(r, texts, count, invert=True)
        every = back.get_vocabulary()
        codes = np.arange(-5, len(every) + 6)
        expected = [every[c] if 0 <= c < len(every) else back.oov_token for c in codes]
        for kind in ("int16", "int32", "int64", "float32", "float64"):
            assert back(codes.astype(kind)).tolist() == expected
        assert back(codes.tolist()).tolist() == expected
        assert back(codes[:, None]).tolist() == [[word] for word in expected]
        assert back(codes[5:].astype("uint8")).tolist() == expected[5:]
        with pytest.raises(TypeError, match="whole numbers"):
            back([0.5])
        options = {key: getattr(back, key) for key in ("num_oov_indices", "mask_token")}
        there = type(back)(vocabulary=words, **options)
        assert back(there(words)).tolist() == words
        assert there(words).tolist() == [*range(len(every) - count, len(every))]


MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


@pytest.mark.parametrize(("texts", "mode"), [*itertools.product([True, False], MODES)])
def test_a_long_vocabulary_is_read_back(
    backend: str, tmp_path: Path, texts: bool, mode: str
) -> None:
    gpunn.use_backend(backend)
    r = random.Random(f"{texts} {mode}")
    count = r.choice([11, 12, 101])
    given = {"idf_weights": np.linspace(0.5, 4.5, count)} if mode == "tf_idf" else {}
    layer, words = lookup(r, texts, count, output_mode=mode, num_oov_indices=2, **given)
    x = gpunn.Input((1,), dtype="string" if texts else "int64")
    model = gpunn.Model(x, layer(x))
    data = columns.objects([*words, "?" if texts else 10**9])[:, None]
    expected = model.predict(data, verbose=0)
    if mode != "int":  # each word has a place of its own
        assert len(np.unique(expected[:-1], axis=0)) == count
    model.save(tmp_path / "m.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "m.gpunn")
    text = gpunn.models.model_from_json(model.to_json())
    for again in (loaded, pickle.loads(pickle.dumps(model)), copy.deepcopy(model), text):
        assert again.layers[1].get_vocabulary() == layer.get_vocabulary()
        np.testing.assert_array_equal(again.predict(data, verbose=0), expected)
