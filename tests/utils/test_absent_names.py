"""Test names of Keras that gpunn does not have: each error explains what to use instead."""

from __future__ import annotations

import contextlib
import re
import runpy
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import gpunn
from gpunn import layers
from gpunn.common import registry
from gpunn.compat.absent import ABSENT

ROOT = Path(__file__).parents[2]
PLACES = {"ops.random": "random"}  # where Keras has them
KERAS_NAMES = (ROOT / "tests" / "project" / "keras_names.txt").read_text().splitlines()
NAMES = [
    (module, name) for module, rows in ABSENT.items() for names in rows for name in names.split()
]


KERAS_MEMBERS = (ROOT / "tests" / "project" / "keras_members.txt").read_text().splitlines()
BASES = {"Layer", "Loss", "Metric", "Optimizer", "Callback", "Initializer", "Regularizer",
         "Constraint"}  # fmt: skip
KINDS = {
    "layers": "layer", "losses": "loss", "metrics": "metric", "optimizers": "optimizer",
    "callbacks": "callback", "initializers": "initializer", "regularizers": "regularizer",
    "constraints": "constraint",
}  # fmt: skip


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_it_is_not_there_and_says_what_to_do(module: str, name: str) -> None:
    place: Any = attrgetter(module)(gpunn) if module else gpunn
    with pytest.raises(AttributeError, match="gpunn has no "):
        getattr(place, name)
    assert not hasattr(place, name)


def test_keras_has_them(keras: Any) -> None:
    beside = {"legacy", "ImageDataGenerator", "Tokenizer", "text_to_word_sequence",  # older ones
              "TensorSpec", "RaggedTensorSpec", "distribute",  # TensorFlow's
              "smart_resize"}  # of preprocessing
    wrong = [
        f"{module}.{name}"
        for module, name in [(PLACES.get(module, module), name) for module, name in NAMES]
        if not hasattr(attrgetter(module)(keras) if module else keras, name) and name not in beside
    ]
    assert not wrong


def test_the_list_of_names_is_that_of_the_installed_keras(keras: Any) -> None:
    written = runpy.run_path(str(ROOT / "tools" / "keras_names.py"))
    assert KERAS_NAMES[0] == f"# Keras {keras.__version__}"
    assert KERAS_NAMES[1:] == sorted(written["public_names"](keras))
    assert [KERAS_NAMES[0], *written["members"](keras)] == KERAS_MEMBERS


def test_each_name_of_keras_is_there_or_says_what_to_do() -> None:
    silent = []
    for name in KERAS_NAMES[1:]:
        try:
            attrgetter(name)(gpunn)
        except AttributeError as error:
            advice = re.search(r"gpunn(\.ops)? has no [^.]*[:;] ", str(error))
            if advice is None or "Did you mean" in str(error):
                silent.append(f"{name}: {error}")
    assert not silent, "\n".join(silent)


def objects_of(module: str, name: str) -> list[Any]:
    """Return objects of a class of Keras's, by its name, or of any in the module for its base."""
    if module == "models":
        model = gpunn.Sequential([gpunn.Input((2,)), layers.Dense(1)])
        model.compile("adam", "mse")
        return [model]
    known: dict[str, Any] = registry.entries(KINDS[module])
    found = []
    for cls in known.values() if name in BASES else [known[name]] if name in known else []:
        with contextlib.suppress(TypeError, ValueError, IndexError):  # it needs one
            found.append(cls(**cls.examples[0]))
    return found[:1]


def test_each_attribute_of_keras_s_objects_is_there_or_says_what_to_do() -> None:
    silent, seen = [], 0
    for line in KERAS_MEMBERS[1:]:
        of, _, names = line.partition(":")
        module, _, name = of.partition(",")[0].partition(".")
        for found in objects_of(module, name):
            for attribute in names.split():
                seen += 1
                try:
                    getattr(found, attribute)
                except AttributeError as error:
                    if re.search(r"gpunn has no |has no (in|out)put", str(error)) is None:
                        silent.append(f"{of}.{attribute}: {error}")
    assert not silent, "\n".join(silent)
    assert seen > 500


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.predict_classes(1), r"Sequential.predict_classes: .*argmax"),
        (lambda model: model.optimizer.lr, "Adam.lr: .*learning_rate"),
        (lambda model: model.to("cuda"), "which is PyTorch's: .*backend='cupy'"),
        (lambda model: layers.Dense(2).kernel, r"Dense.kernel: .* its build.input_shape., first"),
        (lambda model: model.layers[0].no_such, "'Dense' object has no attribute 'no_such'"),
        (lambda model: layers.Dense(2).output, "has no output yet"),
    ],
)
def test_an_attribute_that_is_missing_says_what_to_do(ask: Any, message: str) -> None:
    (model,) = objects_of("models", "Model")
    with pytest.raises(AttributeError, match=message):
        ask(model)


def test_what_is_imported_says_so_too() -> None:
    code = "from gpunn.keras.layers import Dense, JaxLayer"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: layers.JaxLayer: gpunn has no layers of other frameworks" in done.stderr


def test_what_programs_import_without_need_says_so_when_it_is_called() -> None:
    code = "from gpunn.keras.preprocessing.image import ImageDataGenerator as G\nprint(1)\nG()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n" and "gpunn has no generators of pictures; utils." in done.stderr


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"gpunn\.layers.*'Dens'\. Did you mean 'Dense'\?"):
        getattr(gpunn.layers, "Dens")  # noqa: B009  type checkers know that there is none
