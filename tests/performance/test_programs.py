"""The command that runs third-party programs with gpunn instead of Keras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ROOT
from benchmarks.programs import names, sources
from benchmarks.programs.rewrite import GPUNN, imports

pytestmark = pytest.mark.checks("benchmarks")

Program = dict[str, Any]
Found = tuple[dict[str, Any], str]

FITS = """\
import numpy as np
import tensorflow as tf
from tensorflow.keras.layers import Dense, Dropout
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()
assert x_train.shape == (60000, 28, 28)
x_train, y_train = x_train[:2000].reshape((2000, 784)) / 255.0, y_train[:2000]
model = tf.keras.Sequential([Dense(16, activation="relu", input_shape=(784,)), Dense(10)])
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("sgd", loss, metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=50, validation_split=0.5)
assert len(history.history["loss"]) == len(history.epoch) == 50
assert model.predict(x_test.reshape(-1, 784)).shape == (10000, 10)
"""
FAILS = "import keras\n\nkeras.layers.Dense(3)\nkeras.layers.NoSuchLayer()\n"
DRAWS = """\
from PIL import Image
Image.new("L", (4, 4)).save("pictures/first.png")
assert Image.open("pictures/first.png").size == (4, 4)
"""
KERAS_ALONE = """\
import keras
import numpy as np
x = np.random.default_rng(0).normal(size=(96, 4))
inputs = keras.Input((4,))
hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(8, activation="tanh")(inputs))
model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
model.compile("adam", "mse", metrics=["mae"])
model.fit(x, x.sum(1), epochs=2, validation_split=0.25, verbose=0)
print(model.evaluate(x, x.sum(1), verbose=0), model.predict(x, verbose=0).shape)
"""
BY_HAND = """\
import keras  # the name GradientTape is what a step by hand is told by
import numpy as np
x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
w = keras.Variable(keras.random.normal((3, 2)))
optimizer = keras.optimizers.Adam(0.1)
for _ in range(4):
    error = keras.ops.matmul(x, w) - 1.0
    g = keras.ops.stop_gradient(keras.ops.matmul(x.T, error))
    optimizer.apply_gradients([(g, w)])
"""
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# A title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import keras\n", "!pip list"]},
        {"cell_type": "code", "source": ["%%time\n", "text = '''\n", "!no command\n", "'''"]},
        {"cell_type": "code", "source": ["%%bash\n", "ls"]},
        {"cell_type": "code", "source": ["if text:\n", "    !ls \\\n", "      -l\n", "a.b?"]},
    ]
}


def commit(folder: Path, files: dict[str, str]) -> str:
    """Create a repository with these files, and return its commit."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Files"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=folder, text=True).strip()


def command(folder: Path, programs: list[Program], *words: str) -> tuple[dict[str, Any], str]:
    """Return the command's results for these programs, by name, and its page."""
    files = {program["path"]: program.pop("text") for program in programs}
    at = commit(folder / "a" / "someone+programs", files)
    here = {"repository": "someone/programs", "commit": at}
    (folder / "list.json").write_text(json.dumps([{**here, **program} for program in programs]))
    subprocess.run(
        [sys.executable, "-m", "benchmarks.programs.run", "a", "--list", "list.json", "--out",
         "out", "--at-once", "1", *words],
        cwd=folder, check=True, timeout=250, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = json.loads((folder / "out" / "programs.json").read_text())
    return {p["path"]: p["outcome"] for p in found["programs"]}, (
        folder / "out" / "programs.md"
    ).read_text()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    edit = {"old": "keras.layers.NoSuchLayer()", "new": "pass", "for": "gpunn"}
    shorter = {"old": "while True: pass", "new": "pass", "for": "size"}
    programs = [
        {"path": "fails.py", "text": FAILS},
        {"path": "fits.py", "text": FITS},
        {"path": "edited.py", "text": FAILS, "changes": [edit]},
        {"path": "shorter.py", "text": "while True: pass", "changes": [shorter]},
        {"path": "ends.py", "text": "import os\nos.abort()"},
        {"path": "lacks.py", "text": "from keras.layers import NoSuchLayer"},
        {"path": "by hand.py", "text": FAILS, "needs": "training step by hand"},
        {"path": "draws.py", "text": DRAWS},
        {"path": "fetches.py", "text": "import urllib.request as u\nu.urlopen('http://a.b')"},
    ]
    return command(tmp_path_factory.mktemp("programs"), programs)


def test_it_says_what_runs_and_the_first_error_of_what_does_not(found: Found) -> None:
    outcomes, page = found
    error = outcomes["fails.py"]["error"]
    assert (error["type"], error["line"]) == ("AttributeError", 4)
    assert "NoSuchLayer" in error["message"] and error["text"] == "keras.layers.NoSuchLayer()"
    assert outcomes["lacks.py"]["error"]["type"] == "ImportError"
    assert "no network" in outcomes["fetches.py"]["error"]["message"]
    assert "AttributeError: module 'gpunn.layers' has no attribute 'NoSuchLayer'" in page


def test_it_trains_on_less_and_keeps_what_was_trained(found: Found) -> None:
    outcome = found[0]["fits.py"]
    assert outcome["error"] is None
    fit, predict = outcome["events"]
    assert len(fit["fit"]["val_accuracy"]) == 2 and predict == {"predict": [10000, 10]}


def test_pictures_have_a_folder(found: Found) -> None:
    assert found[0]["draws.py"]["error"] is None


def test_what_is_edited_for_gpunn_is_not_counted_as_unchanged(found: Found) -> None:
    outcomes, page = found
    assert outcomes["edited.py"]["error"] is outcomes["shorter.py"]["error"] is None
    assert "3 of 8 programs that train by `fit` run with gpunn" in page
    assert "1 more after small edits" in page
    assert "1 programs write the training step by hand" in page


def test_a_program_that_breaks_down_stops_no_other(found: Found) -> None:
    assert found[0]["ends.py"]["error"]["message"].startswith("status -6")


@pytest.mark.more
def test_one_that_takes_too_long_is_ended_and_data_sets_are_made_up(tmp_path: Path) -> None:
    text = "from keras.datasets import imdb\nassert len(imdb.load_data()[1][0]) == 1000"
    programs = [
        {"path": "loops.py", "text": "while True: pass"},
        {"path": "texts.py", "text": text},
    ]
    outcomes, _ = command(tmp_path, programs, "--seconds", "3")
    assert outcomes["loops.py"]["error"]["type"] == "Timeout"
    assert outcomes["texts.py"]["error"] is None


@pytest.mark.more  # Keras takes ten seconds to start
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Keras is there on Python 3.11 alone")
def test_it_compares_with_keras_from_equal_weights(tmp_path: Path) -> None:
    wide = KERAS_ALONE.replace("Dense(8", "Dense(8 if keras.__version__ < '3' else 7")
    rate = BY_HAND.replace("Adam(0.1)", "Adam(0.1 if keras.__version__ < '3' else 0.2)")
    programs = [
        {"path": "same.py", "text": KERAS_ALONE},
        {"path": "other.py", "text": wide},
        {"path": "by hand.py", "text": BY_HAND, "needs": "training step by hand"},
        {"path": "by other hand.py", "text": rate, "needs": "training step by hand"},
    ]
    outcomes, page = command(tmp_path, programs, "--compare", sys.executable)
    assert outcomes["same.py"]["beside"] == "runs, as Keras does"
    assert outcomes["other.py"]["beside"].startswith("differs: 0: fit: loss: 0: ")
    assert outcomes["by hand.py"]["beside"] == "runs, as Keras does"
    assert len(outcomes["by hand.py"]["events"]) == 3
    assert outcomes["by other hand.py"]["beside"].startswith("differs: 1: apply_gradients: 0: ")
    assert "| runs, as Keras does |" in page and "1 give the same losses" in page


def test_only_imports_are_replaced_and_lines_keep_their_numbers() -> None:
    program = (
        "import tensorflow as tf, os\n"
        "import keras.backend as K\n"
        "from tensorflow.keras.layers import (\n"
        "    Dense,\n"
        ")\n"
        "from keras.utils import np_utils\n"
        "from keras.layers.core import Flatten\n"
        "import tensorflow.keras\n"
        "import tensorflow_datasets as tfds\n"
        "text = 'import keras'\n"
    )
    assert imports(program, GPUNN) == (
        "import gpunn.tensorflow as tf; import os\n"
        "import gpunn.keras.backend as K\n"
        "from gpunn.keras.layers import (\n"
        "    Dense,\n"
        ")\n"
        "from gpunn.keras import utils as np_utils\n"
        "from gpunn.keras.layers import Flatten\n"
        "import gpunn.keras; import gpunn.tensorflow as tensorflow\n"
        "import tensorflow_datasets as tfds\n"
        "text = 'import keras'\n"
    )


def test_a_notebook_is_the_python_of_its_cells() -> None:
    text = sources.from_notebook(json.dumps(NOTEBOOK))
    assert text.split("\n") == [
        "pass", "import keras", "pass", "", "text = '''", "!no command", "'''", "", "", "",
        "if text:", "    pass", "", "pass",
    ]  # fmt: skip


def test_names_are_counted_under_whatever_alias_they_have() -> None:
    tree = sources.parse(
        "import tensorflow as tf\n"
        "from tensorflow.keras import backend as K\n"
        "layers = tf.keras.layers\n"
        "class Own(layers.Layer):\n"
        "    def call(self, x):\n"
        "        y = K.sqrt(x[:, None] + 1)\n"
        "        return tf.reduce_sum(y * y)\n"
    )
    assert tree is not None
    found = names.Names(tree)
    used = {"keras.layers.Layer", "keras.backend.sqrt", "tf.reduce_sum"}
    assert used <= set(found.used)
    assert found.on_tensors == {"[:, None]": 1, "+": 1, "*": 1}
