"""Thousands of files with a change: each is read as before, or refused with one clear error."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_memory import process_limited
from properties.mutations import changed_archive, changed_tensors, cut, flipped

import gpunn
from gpunn import layers

pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore")

MOST_BYTES = 50_000_000
X = {"n": np.ones((4, 3), "f4"), "s": np.array([["a"], ["b"], ["a"], ["c"]], object)}


def network() -> Any:
    gpunn.utils.set_random_seed(1)
    n, s = gpunn.Input((3,), name="n"), gpunn.Input((1,), dtype="string", name="s")
    words = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")(s)
    x = layers.BatchNormalization()(layers.Dense(3, "relu")(layers.Concatenate()([n, words])))
    model = gpunn.Model({"n": n, "s": s}, layers.Dense(1)(x + 1.0))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, np.ones((4, 1), "f4"), verbose=0)
    return model


def weights_changed(data: bytes, r: random.Random) -> bytes:
    return r.choice([flipped, cut])(data, r)


def state(model: Any) -> list[np.ndarray]:
    return [*model.get_weights(), *model.training_state()[0].values()]


CHANGES = {
    ".keras": changed_archive, ".weights.h5": weights_changed, ".gpunn": changed_tensors,
}  # fmt: skip


@pytest.mark.parametrize("seeds", [
    range(5),
    *(pytest.param(range(k, k + 600), marks=pytest.mark.more) for k in range(0, 3000, 600)),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("ending", CHANGES)
def test_a_changed_file_is_read_or_refused(ending: str, seeds: range, tmp_path: Path) -> None:
    model = network()
    path = tmp_path / f"m{ending}"
    if ending == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    data, kept = path.read_bytes(), state(model)
    for seed in seeds:
        path.write_bytes(CHANGES[ending](data, random.Random(seed)))
        try:
            with process_limited(MOST_BYTES):
                if ending == ".weights.h5":
                    model.load_weights(path)
                else:
                    again = gpunn.saving.load_model(path)
        except (ValueError, OSError) as error:
            assert str(path) in str(error), seed
            if ending == ".weights.h5":  # nothing was loaded
                assert all(map(np.array_equal, state(model), kept)), seed
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error
        else:
            if ending == ".gpunn":  # its values have checksums
                assert all(map(np.array_equal, state(again), kept)), seed
                assert again.get_config() == model.get_config(), seed
            elif ending == ".weights.h5":
                kept = state(model)


@pytest.mark.parametrize("places", [
    range(8, 12),  # what kind of text it is
    pytest.param([*range(-8, 8), *range(12, 56)], marks=pytest.mark.more),
], ids=["type", "all"])  # fmt: skip
def test_no_bit_of_a_text_in_a_file_makes_hdf5_read_beyond_it(places: Any, tmp_path: Path) -> None:
    """HDF5 ends the process for a text whose type or place is damaged."""
    model, path = network(), tmp_path / "m.weights.h5"
    model.save_weights(path)
    data, refused = path.read_bytes(), 0
    at = data.find(b"name\0")  # the attribute; its type and value come 8 bytes later
    for place in places:
        for bit in range(8):
            changed = bytearray(data)
            changed[at + place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                model.load_weights(path)
            except (ValueError, OSError) as error:
                assert str(path) in str(error), (place, bit)
                refused += 1
    assert refused > len(places)
