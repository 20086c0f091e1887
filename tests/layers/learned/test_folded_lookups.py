"""`StringLookup(fold=True)`: strings that differ in case or in blanks alone have one code."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import Input, layers

WORDS = ["yes", "No", "NEW YORK", "New Delhi", "élan", "b7", "a b c"]


def plain(text: str) -> str:
    return " ".join(text.lower().split())


def spelled(word: str, draw: random.Random) -> str:
    """Return a word in another spelling."""
    text = "".join(draw.choice([letter.upper(), letter.lower()]) for letter in word)
    text = text.replace(" ", draw.choice([" ", "  ", "\t", " \n"]))
    return draw.choice(["", " ", "  "]) + text + draw.choice(["", " ", "\t"])


def rows_of(seed: int) -> list[list[Any]]:
    draw = random.Random(seed)
    rows = [[spelled(draw.choice([*WORDS, "Bonn", "Y"]), draw)] for _ in range(80)]
    return [*rows, [None], [""], ["yes"], ["ye s"]]


@pytest.mark.parametrize("mode", ["int", "one_hot", "count"])
@pytest.mark.parametrize("unknown", [1, 3])
@pytest.mark.parametrize("mask", [None, "b7"])
def test_it_gives_what_a_plain_lookup_gives_for_folded_strings(
    mode: str, unknown: int, mask: str | None
) -> None:
    known = [word for word in WORDS if word != mask]
    options: Any = {"output_mode": mode, "num_oov_indices": unknown, "mask_token": mask}
    rows = rows_of(unknown)
    by_hand = [[None if text is None else plain(text)] for (text,) in rows]
    if mask is not None:  # which is compared as it is written
        rows, by_hand = ([r for r, h in zip(some, by_hand, strict=True) if h != [mask]]
                         for some in (rows, by_hand))  # fmt: skip
    found = layers.StringLookup(vocabulary=known, fold=True, **options)(rows)
    expected = layers.StringLookup(vocabulary=[*map(plain, known)], **options)(by_hand)
    np.testing.assert_array_equal(found, expected)


def test_without_it_spellings_are_apart() -> None:
    assert layers.StringLookup(vocabulary=["yes", "Yes"])(["YES", "Yes"]).tolist() == [0, 2]


def test_a_vocabulary_holds_each_string_in_one_spelling() -> None:
    with pytest.raises(ValueError, match="the vocabulary holds 'yes' more than once"):
        layers.StringLookup(vocabulary=["Yes", "no", "yes "], fold=True)
    layer = layers.StringLookup(fold=True)
    layer.adapt(["Yes", "YES", " no", "yes", "No"])
    assert layer.get_vocabulary() == ["[UNK]", "yes", "no"]
    assert layer(["yEs", b"NO"]).tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore:.*Keras's StringLookup has no argument 'fold'")
def test_a_file_keeps_it_which_one_of_keras_cannot(tmp_path: Path) -> None:
    x = Input((1,), dtype="string")
    model = gpunn.Model(x, layers.StringLookup(vocabulary=WORDS, fold=True)(x))
    rows = np.array(rows_of(0), object)
    for name in ("m.gpunn", "m.keras"):  # the second is in gpunn's format, with a warning
        model.save(tmp_path / name)
        loaded = gpunn.saving.load_model(tmp_path / name)
        expected = model.predict(rows, verbose=0)
        np.testing.assert_array_equal(loaded.predict(rows, verbose=0), expected)
    pytest.importorskip("h5py")
    assert not zipfile.is_zipfile(tmp_path / "m.keras")
    apart = gpunn.Model(x, layers.StringLookup(vocabulary=WORDS)(x))
    apart.save(tmp_path / "apart.keras")
    assert zipfile.is_zipfile(tmp_path / "apart.keras")


def test_onnx_knows_the_usual_spellings(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    x = Input((1,), dtype="string", name="x")
    lookup = layers.StringLookup(vocabulary=[*WORDS, "Straße"], fold=True, output_mode="one_hot")
    model = gpunn.Model(x, lookup(x))
    model.export(tmp_path / "m.onnx")
    usual = [change(word) for word in [*WORDS, "straße", "strasse", "Bonn"]
             for change in (str, str.lower, str.upper, str.capitalize, str.title)]  # fmt: skip
    rows = np.array(usual, object)[:, None]
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"x": rows})
    np.testing.assert_array_equal(theirs, model.predict(rows, verbose=0))
    assert (theirs.argmax(1) > 0).sum() > 30
