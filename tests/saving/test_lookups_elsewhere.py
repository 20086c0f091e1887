"""Lookups give in ONNX, in saved models and in clones what they give here, whatever the options."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

runtime = pytest.importorskip("onnxruntime")

WORDS = ["oak", "elm", "", "ash", "ma", "Ünï", "12"]
NUMBERS = [7, -3, 0, 5 * 10**12, -1, 12, 100]
MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")
COLUMNS = 3


def options(draw: random.Random, kind: type, mode: str, masked: bool) -> dict[str, Any]:
    """Draw the arguments of a lookup: given or adapted, padded or not."""
    known = WORDS if kind is layers.StringLookup else NUMBERS
    tokens = draw.sample(known, draw.randint(1, len(known)))
    given: dict[str, Any] = {"output_mode": mode}
    if masked:
        given["mask_token"] = draw.choice(known)
        tokens = [token for token in tokens if token != given["mask_token"]] or [known[-1] * 2]
    if kind is layers.IntegerLookup and tokens == [-1]:
        tokens = [8]  # -1 alone is the entry for unknown values
    if draw.random() < 0.3:
        given["oov_token"] = "?" if kind is layers.StringLookup else -99
    if mode != "int" and draw.random() < 0.5:
        given |= {"max_tokens": len(tokens) + draw.randint(2, 4), "pad_to_max_tokens": True}
    if draw.random() < 0.7:
        given["vocabulary"] = tokens
        if mode == "tf_idf":
            given["idf_weights"] = [draw.uniform(0.2, 3.0) for _ in tokens]
    return given


def model_and_data(seed: int, kind: type, mode: str, masked: bool) -> tuple[Any, np.ndarray]:
    """Return a model of one lookup, and rows of its values, masks and unknown ones."""
    draw = random.Random(f"{seed} {kind.__name__} {mode}")
    strings = kind is layers.StringLookup
    given = options(draw, kind, mode, masked)
    lookup = kind(**given)
    known = [*(WORDS if strings else NUMBERS), *(["new", "?"] if strings else [8, -99])]
    values = [draw.choice(known) for _ in range(20 * COLUMNS)]
    rows = np.array(values, object if strings else np.int64).reshape(20, COLUMNS)
    rows[0] = given.get("mask_token", known[0])  # a row of masks alone, and one of unknown values
    rows[1] = known[-2]
    if "vocabulary" not in given:
        lookup.adapt(rows[1 : draw.randint(4, 20)])
    x = gpunn.Input((COLUMNS,), dtype="string" if strings else "int64", name="x")
    y = lookup(x)
    if mode == "int" and draw.random() < 0.5:  # codes are read by a layer of the step
        y = layers.Embedding(lookup.vocabulary_size(), 4)(y)
    return gpunn.Model(x, y), rows


def expected(lookup: Any, rows: np.ndarray) -> np.ndarray:
    """Compute a lookup's output from its vocabulary."""
    mode, mask = lookup.output_mode, lookup.mask_token
    tokens = lookup.get_vocabulary(include_special_tokens=False)
    begin = 1 + (mask is not None and mode == "int")
    table = {token: begin + k for k, token in enumerate(tokens)}
    codes = [
        [0 if v == mask and mode == "int" else -1 if v == mask else table.get(v, begin - 1)
         for v in row]
        for row in rows.tolist()
    ]  # fmt: skip
    if mode == "int":
        return np.array(codes)
    depth = lookup.max_tokens if lookup.pad_to_max_tokens else begin + len(tokens)
    one_hot = np.array([[[float(c == k) for k in range(depth)] for c in row] for row in codes])
    if mode == "one_hot":
        return one_hot
    counts = one_hot.sum(1)
    if mode == "multi_hot":
        return np.minimum(counts, 1)
    weights = lookup.get_config()["idf_weights"]
    return counts * np.pad(weights, (0, depth - len(weights))) if mode == "tf_idf" else counts


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(k, marks=pytest.mark.more(4)) for k in range(1, 40))]
)
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [layers.StringLookup, layers.IntegerLookup])
def test_a_lookup_gives_the_same_everywhere(
    kind: type, mode: str, masked: bool, seed: int, backend: str, tmp_path: Path
) -> None:
    gpunn.use_backend(backend)
    model, rows = model_and_data(seed, kind, mode, masked)
    lookup = model.layers[1]
    found = model.predict(rows, verbose=0)
    alone = np.asarray(lookup(rows))
    np.testing.assert_allclose(alone, expected(lookup, rows), rtol=1e-6)
    if len(model.layers) == 2:
        np.testing.assert_array_equal(found, alone)
    model.export(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for part in (rows, rows[:1]):
        (theirs,) = session.run(None, {"x": part})
        np.testing.assert_allclose(theirs, model.predict(part, verbose=0), rtol=1e-6)
    model.save(tmp_path / "m.gpunn")
    loaded = gpunn.saving.load_model(tmp_path / "m.gpunn")
    np.testing.assert_array_equal(loaded.predict(rows, verbose=0), found)
    clone = gpunn.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(rows, verbose=0), found)
    loaded.export(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
