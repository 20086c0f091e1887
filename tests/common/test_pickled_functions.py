"""Public functions that describe parts are pickled by name, as for another process."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import gpunn

KINDS = [
    gpunn.layers, gpunn.losses, gpunn.metrics, gpunn.optimizers, gpunn.initializers,
    gpunn.regularizers, gpunn.constraints, gpunn.activations,
]


@pytest.mark.parametrize("module", KINDS, ids=lambda module: module.__name__)
@pytest.mark.parametrize("name", ["get", "serialize", "deserialize"])
def test_a_function_comes_back_from_its_pickle(module: Any, name: str) -> None:
    function = getattr(module, name)
    assert pickle.loads(pickle.dumps(function)) is function
