"""Write lookups.zip: files of Keras 3.15.1 with its lookups, which it makes with TensorFlow alone.

``python make_lookups.py`` needs ``pip install tensorflow-cpu keras==3.15.1``, which no test has.
With the name of a folder it instead loads the files there in Keras, as written by gpunn under the
same names, and says which of them give something else.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

ARCHIVE = Path(__file__).parent / "lookups.zip"
WORDS = [["oak", "elm"], ["oak", "ash"], ["fir", "oak"]]
DATA: dict[str, Any] = {
    "StringLookup": WORDS, "Hashing": WORDS, "IntegerLookup": [[7, 7], [12, -3], [7, 12]],
    "TextVectorization": [["Oak elm oak."], ["ash elm"], ["fir"]],
}  # fmt: skip


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the layers and their arguments; without a vocabulary they are adapted."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for mode in ("int", "one_hot", "multi_hot", "count", "tf_idf"):
        weights = {"idf_weights": [0.5, 2.0]} if mode == "tf_idf" else {}
        for kind, known in (
            ("StringLookup", ["oak", "elm"]), ("IntegerLookup", [7, 12]),
            ("TextVectorization", ["oak", "elm"]),
        ):  # fmt: skip
            if mode != "one_hot" or kind != "TextVectorization":
                given = {"output_mode": mode, "vocabulary": known, **weights}
                found[f"{kind}-{mode}-given"] = kind, given
                found[f"{kind}-{mode}-adapted"] = kind, {"output_mode": mode}
        if mode != "tf_idf":
            found[f"Hashing-{mode}"] = "Hashing", {"num_bins": 5, "output_mode": mode}
    padded = {"output_mode": "tf_idf", "max_tokens": 9, "pad_to_max_tokens": True, "ngrams": 2}
    found["TextVectorization-padded"] = "TextVectorization", padded
    found["StringLookup-masked"] = "StringLookup", {"mask_token": "", "num_oov_indices": 2}
    salted = {"num_bins": 5, "salt": [3, 4], "mask_value": "oak"}
    found["Hashing-salted"] = "Hashing", salted
    return found


def main(folder: str | None) -> None:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf  # type: ignore[import-untyped]

    outputs: dict[str, Any] = {}
    made: dict[str, bytes] = {}
    for name, (kind, options) in cases().items():
        x = DATA[kind]
        numbers = kind == "IntegerLookup"
        data = np.array(x) if numbers else tf.constant(x)
        if folder is not None:
            model = keras.saving.load_model(Path(folder) / f"{name}.keras")
            expected = json.loads(zipfile.ZipFile(ARCHIVE).read("outputs.json"))[name]
            y = np.asarray(model(data))
            same = y.shape == np.shape(expected) and np.allclose(y, expected, rtol=1e-6)
            print(name, "as expected" if same else "DIFFERS")
            continue
        layer = getattr(keras.layers, kind)(**options)
        if kind != "Hashing" and "vocabulary" not in options:
            layer.adapt(np.array(x))
        dtype = "int64" if numbers else "string"
        model = keras.Sequential([keras.Input((len(x[0]),), dtype=dtype), layer])
        path = Path(f"{name}.keras")
        model.save(path)
        made[path.name] = path.read_bytes()
        path.unlink()
        outputs[name] = np.asarray(model(data)).tolist()
    if folder is None:
        with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("outputs.json", json.dumps(outputs))
            for name, content in made.items():
                archive.writestr(name, content)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
