"""Test names of Keras that gpunn does not have: each error explains what to use instead."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import gpunn
from gpunn.compat.absent import ABSENT

NAMES = [
    (module, name) for module, rows in ABSENT.items() for _, names in rows for name in names.split()
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_it_is_not_there_and_says_what_to_do(module: str, name: str) -> None:
    place: Any = getattr(gpunn, module) if module else gpunn
    with pytest.raises(AttributeError, match="gpunn has no "):
        getattr(place, name)
    assert not hasattr(place, name)


def test_keras_has_them(keras: Any) -> None:
    beside = {"legacy", "ImageDataGenerator", "Tokenizer", "text_to_word_sequence",  # older ones
              "TensorSpec", "RaggedTensorSpec", "distribute"}  # TensorFlow's
    wrong = [
        f"{module}.{name}"
        for module, name in NAMES
        if not hasattr(getattr(keras, module) if module else keras, name) and name not in beside
    ]
    assert not wrong


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
